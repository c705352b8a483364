//! What a proxy is told: may this request pass?

use serde_json::json;

use super::*;
use crate::rules::change::{Actor, Change, Edit};

/// Doors with a flag that is false for one account, for a path, for a network and for a node.
fn furnished() -> Arc<Doors> {
    let doors = doors();
    let rule = |name: &str, attribute: &str, op: &str, value: &str| json!({"name": name, "value": false, "when": [{"attribute": attribute, "op": op, "values": [value]}]});
    for document in [
        json!({"key": "shop.open", "kind": "permission", "type": "boolean", "value": true, "rules": [
            rule("not for acme", "account", "in", "acme"),
            rule("no reports", "route", "in", "/reports"),
            rule("no deletes", "method", "in", "DELETE"),
            rule("not from there", "ip", "cidr", "10.0.0.0/8"),
            rule("not this node", "node", "in", "web-3")]}),
        json!({"key": "shop.text", "kind": "config", "type": "string", "value": "true"}),
    ] {
        let document = serde_json::from_value(document).unwrap();
        let edit = Edit::Create(Box::new(document));
        let change = Change::new(edit, Actor::new("ana", "api"), "a test", 1_000);
        doors.store.turn(&change).unwrap();
    }
    doors
}

/// Asks, and compares the status with the rule that decided.
async fn check_authz(
    doors: &Arc<Doors>,
    path: &str,
    headers: &[(&'static str, &str)],
    verdict: &str,
) {
    let mut ask = get(&format!("/api/v1/authz/{path}"));
    for (name, value) in headers {
        ask = ask.with(name, value);
    }
    let got = ask.to(doors).await;
    let rule = got.header("x-sluicegate-rule");
    let said = format!("{} {rule}", got.status.as_u16());
    assert_eq!(said.trim(), verdict, "{path} {headers:?}: {}", got.text);
}

#[tokio::test]
async fn one_account_may_not_pass_and_everybody_else_may() {
    let doors = furnished();
    let account = "x-sluicegate-account";
    check_authz(&doors, "shop.open", &[], "204").await;
    check_authz(&doors, "shop.open", &[(account, "emca")], "204").await;
    let refused = "403 not for acme";
    check_authz(&doors, "shop.open", &[(account, "acme")], refused).await;
    check_authz(&doors, "shop.open?account=acme", &[], refused).await;
    let both = [(account, "emca")];
    check_authz(&doors, "shop.open?account=acme", &both, refused).await;
    let twice = [(account, "acme"), (account, "emca")];
    check_authz(&doors, "shop.open", &twice, "204").await;
}

#[tokio::test]
async fn path_method_address_and_node_are_known() {
    let doors = furnished();
    for (path, headers, verdict) in [
        (
            "shop.open",
            vec![("x-original-uri", "/reports?year=1")],
            "403 no reports",
        ),
        (
            "shop.open",
            vec![("x-forwarded-uri", "/reports")],
            "403 no reports",
        ),
        ("shop.open", vec![("x-original-uri", "/orders")], "204"),
        (
            "shop.open",
            vec![("x-original-method", "DELETE")],
            "403 no deletes",
        ),
        (
            "shop.open",
            vec![("x-real-ip", "10.1.2.3")],
            "403 not from there",
        ),
        (
            "shop.open",
            vec![("x-forwarded-for", "10.1.2.3, 192.0.2.1")],
            "204",
        ),
        (
            "shop.open",
            vec![("x-forwarded-for", "192.0.2.1, 10.1.2.3")],
            "403 not from there",
        ),
        ("shop.open?node=web-3", vec![], "403 not this node"),
        (
            "shop.open",
            vec![("node", "web-3"), ("x-sluicegate-node", "web-3")],
            "204",
        ),
    ] {
        check_authz(&doors, path, &headers, verdict).await;
    }
}

#[tokio::test]
async fn a_flag_that_is_not_there_or_not_boolean_lets_nothing_pass() {
    let doors = furnished();
    check_authz(&doors, "shop.opne", &[], "403").await;
    check_authz(&doors, "no%20key", &[], "403").await;
    check_authz(&doors, "shop.text", &[], "403").await;
    check_authz(&doors, "shop.open?node=a&node=b", &[], "400").await;
    let last = doors.metrics.last_evaluated("shop.text").unwrap();
    assert!(last >= NOON, "asking is evaluating: {last}");
    assert_eq!(doors.metrics.last_evaluated("shop.opne"), None);
}
