//! Evaluations from outside: what an SDK sends, and what it is answered.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::Doors;
use crate::api::tests::{Got, doors, raw, send};
use crate::rules::change::{Actor, Change, Edit};
use crate::rules::opening::Restore;

/// Doors with some flags for services.
fn furnished() -> Arc<Doors> {
    let doors = doors();
    for document in [
        json!({"key": "checkout", "kind": "permission", "type": "boolean", "value": false}),
        json!({"key": "greeting", "kind": "config", "type": "string", "value": "hi \"you\""}),
        json!({"key": "request-timeout", "kind": "config", "type": "duration", "value": "2s", "rules": [
            {"name": "slow reports", "value": "30s",
             "when": [{"attribute": "route", "op": "starts_with", "values": ["/reports"]},
                      {"attribute": "roles.ops", "op": "exists"}]}]}),
        json!({"key": "ring", "kind": "config", "type": "integer", "value": 1, "rules": [
            {"name": "half", "split": [{"value": 2, "share": 0.5}]}]}),
        json!({"key": "asleep", "kind": "config", "type": "object", "value": {"a": [1]}, "enabled": false}),
    ] {
        let document = serde_json::from_value(document).unwrap();
        turn(&doors, Edit::Create(Box::new(document)));
    }
    doors
}

fn turn(doors: &Doors, edit: Edit) {
    let mut change = Change::new(edit, Actor::new("ana", "api"), "a test", 1_000);
    change.keep = true;
    doors.store.turn(&change).unwrap();
}

async fn evaluate(doors: &Arc<Doors>, key: &str, context: &Value) -> Got {
    let path = format!("/ofrep/v1/evaluate/flags/{key}");
    let body = json!({ "context": context });
    send("POST", &path, &body).to(doors).await
}

async fn evaluate_all(doors: &Arc<Doors>, context: &Value, seen: &str) -> Got {
    let body = json!({ "context": context });
    let ask = send("POST", "/ofrep/v1/evaluate/flags", &body);
    ask.with("if-none-match", seen).to(doors).await
}

/// Evaluates one flag, and compares value, reason and variant.
async fn check(doors: &Arc<Doors>, key: &str, context: Value, value: Value, why: &str) {
    let got = evaluate(doors, key, &context).await;
    let json = got.json();
    assert_eq!(got.status, 200, "{key} {context}: {}", got.text);
    assert_eq!((&json["key"], &json["value"]), (&json!(key), &value));
    let said = format!(
        "{} {}",
        json["reason"].as_str().unwrap(),
        json["variant"].as_str().unwrap()
    );
    assert_eq!(said, why, "{key} {context}");
    assert!(json["metadata"]["revision"].is_u64(), "{json}");
}

#[tokio::test]
async fn a_flag_says_its_value_and_why_it_is_this_one() {
    let doors = furnished();
    check(
        &doors,
        "checkout",
        json!({}),
        json!(false),
        "STATIC default",
    )
    .await;
    check(
        &doors,
        "greeting",
        json!({}),
        json!("hi \"you\""),
        "STATIC default",
    )
    .await;
    check(
        &doors,
        "asleep",
        json!({}),
        json!({"a": [1]}),
        "DISABLED default",
    )
    .await;
    check(
        &doors,
        "queue.orders.skip",
        json!({}),
        json!(0.0),
        "STATIC default",
    )
    .await;
    check(
        &doors,
        "queue.orders.max_age",
        json!({}),
        json!("none"),
        "STATIC default",
    )
    .await;
    check(
        &doors,
        "queue.orders.concurrency",
        json!({}),
        json!(null),
        "STATIC default",
    )
    .await;
    let timeout = "request-timeout";
    check(&doors, timeout, json!({}), json!("2s"), "DEFAULT default").await;
    let ops = json!({"route": "/reports/7", "roles": ["ops"]});
    check(
        &doors,
        timeout,
        ops,
        json!("30s"),
        "TARGETING_MATCH slow reports",
    )
    .await;
    let others = json!({"route": "/reports/7", "roles": ["sales"]});
    check(&doors, timeout, others, json!("2s"), "DEFAULT default").await;
}

#[tokio::test]
async fn the_lot_of_a_key_is_that_of_the_snapshot_and_without_a_key_none_is_drawn() {
    let doors = furnished();
    let snapshot = doors.store.snapshot();
    let handle = snapshot.handle("ring").unwrap();
    let mut drawn = 0;
    for number in 0..100 {
        let account = format!("account-{number}");
        let attribute = crate::rules::context::Attribute::of(&account);
        let context = snapshot.context([("account", attribute)]);
        let chosen = snapshot.ask(handle, context.as_slice()).unwrap();
        let value = chosen.value.to_json();
        let why = match value == json!(2) {
            true => "SPLIT half",
            false => "DEFAULT default",
        };
        drawn += usize::from(value == json!(2));
        let told = json!({ "targetingKey": account });
        check(&doors, "ring", told, value, why).await;
    }
    assert!((30..70).contains(&drawn), "{drawn} of 100");

    let got = evaluate(&doors, "ring", &json!({"plan": "gold"})).await;
    assert_eq!(got.status, 400);
    assert_eq!(got.json()["errorCode"], "TARGETING_KEY_MISSING");
    let all = evaluate_all(&doors, &json!({}), "").await.json();
    let flags = all["flags"].as_array().unwrap();
    let of = |key: &str| flags.iter().find(|flag| flag["key"] == key).unwrap();
    assert_eq!(of("ring")["errorCode"], "TARGETING_KEY_MISSING");
    assert_eq!(of("checkout")["value"], false);
}

#[tokio::test]
async fn an_opening_is_the_variant_and_names_itself() {
    let doors = furnished();
    let open = |value: Value, when: Value| Edit::Open {
        values: vec![("checkout".parse().unwrap(), value)],
        when: serde_json::from_value(when).unwrap(),
        ends_at_ms: 61_000,
        restore: Restore::Snap,
        until: None,
    };
    let acme = json!([{"attribute": "account", "op": "in", "values": ["acme"]}]);
    turn(&doors, open(json!(true), acme));
    let id = format!("o{}", doors.store.snapshot().revision());
    let why = format!("TARGETING_MATCH {id}");
    let told = json!({"targetingKey": "acme"});
    check(&doors, "checkout", told, json!(true), &why).await;
    check(
        &doors,
        "checkout",
        json!({}),
        json!(false),
        "STATIC default",
    )
    .await;
    turn(&doors, open(json!(true), json!([])));
    let id = format!("o{}", doors.store.snapshot().revision());
    let why = format!("STATIC {id}");
    check(&doors, "checkout", json!({}), json!(true), &why).await;
    let got = evaluate(&doors, "checkout", &json!({})).await.json();
    assert_eq!(got["metadata"]["opening"], json!(id));
}

#[tokio::test]
async fn what_cannot_be_answered_is_said_in_the_words_of_the_protocol() {
    let doors = furnished();
    let flag = "/ofrep/v1/evaluate/flags/checkout";
    let of = async |path: &str, body: &str, kind: &'static str| {
        let ask = crate::api::tests::raw("POST", path, body).with("content-type", kind);
        let got = ask.to(&doors).await;
        assert!(got.json()["errorDetails"].is_string(), "{}", got.text);
        format!("{} {}", got.status.as_u16(), got.json()["errorCode"])
    };
    let json = "application/json";
    let unknown = "/ofrep/v1/evaluate/flags/chekout";
    assert_eq!(of(unknown, "{}", json).await, "404 \"FLAG_NOT_FOUND\"");
    assert_eq!(of(flag, "{", json).await, "400 \"PARSE_ERROR\"");
    let list = "{\"context\": [1]}";
    assert_eq!(of(flag, list, json).await, "400 \"INVALID_CONTEXT\"");
    assert_eq!(of(flag, "{}", "text/plain").await, "415 \"GENERAL\"");
    let large = format!("{{\"context\": {{\"a\": \"{}\"}}}}", "x".repeat(65_536));
    assert_eq!(of(flag, &large, json).await, "413 \"GENERAL\"");
    let bad = "/ofrep/v1/evaluate/flags/%ff";
    assert_eq!(of(bad, "{}", json).await, "400 \"PARSE_ERROR\"");
}

#[tokio::test]
async fn all_flags_come_with_a_tag_that_knows_flags_and_context() {
    let doors = furnished();
    let gold = json!({"targetingKey": "acme", "city": "Oslo"});
    let got = evaluate_all(&doors, &gold, "").await;
    let all = got.json();
    let keys: Vec<&str> = all["flags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|flag| flag["key"].as_str().unwrap())
        .collect();
    let snapshot = doors.store.snapshot();
    let there: Vec<&str> = snapshot.flags().map(|flag| flag.key.as_str()).collect();
    assert_eq!(keys, there);
    assert_eq!(all["metadata"]["revision"], json!(snapshot.revision()));
    assert_eq!(all["eventStreams"][0]["type"], "sse");
    assert_eq!(
        all["eventStreams"][0]["endpoint"]["requestUri"],
        "/ofrep/v1/events"
    );

    let tag = got.header("etag").to_owned();
    let again = evaluate_all(&doors, &gold, &tag).await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
    assert_eq!(again.header("etag"), tag);
    let weak = format!("\"other\", W/{tag}");
    assert_eq!(evaluate_all(&doors, &gold, &weak).await.status, 304);
    // No flag asks for the city, so it is the same answer; for the account one does.
    let moved = json!({"targetingKey": "acme", "city": "Rome"});
    assert_eq!(evaluate_all(&doors, &moved, &tag).await.status, 304);
    let other = json!({"targetingKey": "emca", "city": "Oslo"});
    assert_eq!(evaluate_all(&doors, &other, &tag).await.status, 200);
    turn(
        &doors,
        Edit::Set("greeting".parse().unwrap(), json!("hello")),
    );
    let changed = evaluate_all(&doors, &gold, &tag).await;
    assert_eq!(changed.status, 200);
    assert!(changed.text.contains("\"value\":\"hello\""));
    assert_ne!(changed.header("etag"), tag);
}

#[tokio::test]
async fn only_a_flag_that_is_asked_for_by_name_is_needed() {
    let doors = furnished();
    evaluate_all(&doors, &json!({}), "").await;
    assert_eq!(doors.metrics.last_evaluated("checkout"), None);
    evaluate(&doors, "checkout", &json!({})).await;
    let last = doors.metrics.last_evaluated("checkout").unwrap();
    assert!(last >= crate::api::tests::NOON, "{last}");
    let page = doors.metrics.encode().unwrap();
    assert!(page.contains("sluicegate_evaluations_total{flag=\"checkout\"} 2"));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_asks_too_often_is_told_when_to_come_again() {
    let doors = furnished();
    doors.services.limit(3);
    let nobody = json!({});
    let ask = || evaluate(&doors, "checkout", &nobody);
    for _ in 0..2 {
        assert_eq!(ask().await.status, 200);
    }
    assert_eq!(evaluate_all(&doors, &nobody, "").await.status, 200);
    for got in [ask().await, evaluate_all(&doors, &nobody, "").await] {
        assert_eq!((got.status.as_u16(), got.header("retry-after")), (429, "1"));
        let said = got.json();
        assert_eq!(said["errorCode"], "GENERAL");
        let details = said["errorDetails"].as_str().unwrap();
        assert!(details.contains("ask again after Retry-After"), "{details}");
    }
    let authz = raw("GET", "/api/v1/authz/checkout", "");
    let passes = authz.to(&doors).await.status;
    assert_eq!(
        passes, 403,
        "a proxy that asks for all its clients is not slowed"
    );
}
