//! Why a flag or a gate says what it says, from outside.

use super::preview::{busy, message, take};
use super::*;
use crate::rules::message::Field;

const EXPLAIN: &str = "/api/v1/explain";

/// Turns a valve, whatever it takes.
pub(super) async fn turn(doors: &Arc<Doors>, flag: &str, patch: Value) {
    use crate::rules::change::{Actor, Change, Edit};
    let snapshot = doors.store.snapshot();
    let document = serde_json::to_value(snapshot.flag(flag).unwrap().document()).unwrap();
    let merged = crate::api::documents::merged(&document, patch);
    let edit = Edit::Replace(Box::new(serde_json::from_value(merged).unwrap()));
    let change = Change {
        keep: true,
        confirm: Some(100),
        ..Change::new(edit, Actor::new("ana", "api"), "INC-481", NOON)
    };
    doors.store.turn(&change).unwrap();
}

#[tokio::test]
async fn a_message_that_is_told_of_is_followed_through_the_valves() {
    let doors = busy();
    let rules = json!({"value": 0.25, "rules": [{"name": "acme-bulk", "value": 1.0, "when": [
        {"attribute": "account", "op": "in", "values": ["acme"]},
        {"attribute": "type", "op": "starts_with", "values": ["bulk."]},
        {"attribute": "header.x-plan", "op": "in", "values": ["gold"]}]}]});
    turn(&doors, "queue.orders.skip", rules).await;
    turn(&doors, "queue.orders.max_age", json!({"value": "30s"})).await;
    for (query, verdict, reason) in [
        (
            "account=acme&type=bulk.mail&header.x-plan=gold&age=20s",
            "shed",
            "skipped",
        ),
        (
            "header.x-account=acme&property.type=bulk.mail&header.x-plan=gold",
            "shed",
            "skipped",
        ),
        (
            "account=acme&type=bulk.mail&header.x-plan=gold&age=45s",
            "shed",
            "expired",
        ),
        ("account=acme", "depends", "skipped"),
        ("account=acme&id=m-1&age=1s", "run", ""),
    ] {
        let got = get(&format!("{EXPLAIN}?queue=orders&{query}"))
            .to(&doors)
            .await;
        let json = got.json();
        assert_eq!(json["verdict"], verdict, "{query}: {json}");
        assert_eq!(
            json["reason"].as_str().unwrap_or_default(),
            reason,
            "{query}"
        );
        assert_eq!(json["known"]["from"], "query");
        assert_eq!(json["revision"], 2);
    }
    let query = "account=acme&type=bulk.mail&header.x-plan=gold&acount=b";
    let json = get(&format!("{EXPLAIN}?queue=orders&{query}"))
        .to(&doors)
        .await
        .json();
    assert_eq!(json["rule"], "acme-bulk");
    assert_eq!(
        json["known"]["unused"],
        json!(["acount"]),
        "what may be misspelt is said"
    );
    let skip = &json["links"][2];
    assert_eq!(
        (&skip["asks"], &skip["decides"]),
        (&json!("skip"), &json!(true))
    );
    assert_eq!(skip["says"]["reason"], "rule acme-bulk");
    assert_eq!(skip["says"]["steps"][0]["clauses"][1]["found"], "bulk.mail");
    assert_eq!(skip["lot"]["below"], 100_000);
}

#[tokio::test]
async fn a_message_that_came_lately_is_found_by_its_id() {
    let doors = busy();
    turn(&doors, "queue.orders.max_age", json!({"value": "30s"})).await;
    let plan = ("x-plan", Field::LongString("gold".into()));
    take(
        &doors,
        [message("m-1", "acme", NOON - 3_600_000, 40_000, &[plan])],
    );
    let path = |id: &str| get(&format!("{EXPLAIN}?queue=orders&id={id}"));
    let json = path("m-1").to(&doors).await.json();
    assert_eq!(
        (&json["verdict"], &json["reason"]),
        (&json!("shed"), &json!("expired")),
        "as it stood when it came: {json}"
    );
    assert_eq!(json["known"]["from"], "recent");
    assert_eq!(json["known"]["at"], "2026-11-21T11:00:00Z");
    let by_plan = |attribute: &str| {
        json!({"value": null, "rules": [{"name": "gold", "value": "10s",
            "when": [{"attribute": attribute, "op": "in", "values": ["gold"]}]}]})
    };
    turn(&doors, "queue.orders.max_age", by_plan("header.x-plan")).await;
    let json = path("m-1").to(&doors).await.json();
    assert_eq!(json["rule"], "gold", "a small header is kept: {json}");
    assert_eq!(json["known"]["unknown"], json!([]));
    turn(&doors, "queue.orders.max_age", by_plan("body.plan")).await;
    let json = path("m-1").to(&doors).await.json();
    assert_eq!(json["known"]["unknown"], json!(["body.plan"]));
    let json = path("gone").to(&doors).await.json();
    assert_eq!(json["known"]["from"], "query");
    assert!(
        json["known"]["note"]
            .as_str()
            .unwrap()
            .contains("Parked messages"),
        "{json}"
    );
}

#[tokio::test]
async fn a_flag_is_explained_and_so_are_all_of_them() {
    let doors = doors();
    for key in ["basket", "colour"] {
        let flag = json!({"kind": "config", "type": "string", "value": "red", "reason": "x"});
        let path = format!("/api/v1/flags/{key}");
        send("PUT", &path, &flag)
            .with("if-none-match", "*")
            .to(&doors)
            .await;
    }
    let rules = json!({"by": "account", "rules": [{"name": "ring-1", "split": [{"value": "blue", "share": 1.0}]}]});
    turn(&doors, "basket", rules).await;
    let json = get(&format!("{EXPLAIN}?flag=basket&account=acme&age=17"))
        .to(&doors)
        .await
        .json();
    assert_eq!(
        (&json["value"], &json["reason"]),
        (&json!("blue"), &json!("split ring-1"))
    );
    assert_eq!(
        (&json["revision"], &json["snapshot"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(json["steps"][0]["split"]["key"], "acme");
    assert_eq!(json["unused"], json!(["age"]));
    let page = get(&format!("{EXPLAIN}?account=acme&limit=1"))
        .to(&doors)
        .await
        .json();
    assert_eq!(
        (&page["items"][0]["value"], &page["next"]),
        (&json!("blue"), &json!("basket"))
    );
    let page = get(&format!("{EXPLAIN}?account=acme&cursor=basket"))
        .to(&doors)
        .await
        .json();
    assert_eq!(
        page["items"].as_array().unwrap().len(),
        1,
        "valves are left out: {page}"
    );
}

#[tokio::test]
async fn what_cannot_be_explained_says_the_cure() {
    let doors = doors();
    for (query, verdict, part) in [
        (
            "?queue=orders&flag=basket",
            "400 malformed-request",
            "not both",
        ),
        ("?queue=ordres", "404 no-such-queue", "ordres"),
        ("?flag=bascet", "404 no-such-flag", "bascet"),
        ("?queue=orders&age=old", "400 malformed-request", "age"),
        (
            "?queue=orders&account=a&account=b",
            "400 malformed-request",
            "twice",
        ),
        ("?limit=0", "400 malformed-request", "between 1 and 500"),
        ("?limit=x", "400 malformed-request", "whole number"),
        ("?=x", "400 malformed-request", "no name"),
    ] {
        check(
            query,
            &doors,
            get(&format!("{EXPLAIN}{query}")),
            verdict,
            part,
        )
        .await;
    }
}
