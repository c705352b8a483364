//! What a change would do, from outside.

use std::collections::BTreeMap;

use super::explain::turn;
use super::*;
use crate::rules::facts::{Reading, Source};
use crate::rules::message::{Field, Properties, Raw};
use crate::vitals::Collector;

const PREVIEW: &str = "/api/v1/flags/queue.orders.skip/preview";

/// Doors of a daemon whose queue `orders` finds `account` in a header, and counts by it.
pub(super) fn busy() -> Arc<Doors> {
    let account = Source::Header("x-account".to_owned());
    let mut orders = queue("orders");
    orders.reading = Reading {
        attributes: BTreeMap::from([("account".into(), account)]),
        key: Some("account".to_owned()),
        max_body: 1_000,
        ..Reading::default()
    };
    doors_of([orders, queue("billing/orders")])
}

/// A message with the time at which it comes.
pub(super) fn message(
    id: &str,
    account: &str,
    at_ms: i64,
    age_ms: i64,
    more: &[(&str, Field)],
) -> (i64, Raw) {
    let header = |name: &str, field: Field| (name.to_owned(), field);
    let mut headers = vec![
        header("x-account", Field::LongString(account.into())),
        header("timestamp_in_ms", Field::LongLongInt(at_ms - age_ms)),
    ];
    headers.extend(more.iter().map(|(name, field)| header(name, field.clone())));
    let raw = Raw {
        properties: Properties {
            message_id: Some(id.to_owned()),
            ..Properties::default()
        },
        headers,
        ..Raw::default()
    };
    (at_ms, raw)
}

/// Lets messages come to the queue `orders`.
pub(super) fn take(doors: &Arc<Doors>, messages: impl IntoIterator<Item = (i64, Raw)>) {
    let door = &doors.queues[0];
    let gate = Arc::clone(doors.store.snapshot().gate("orders").unwrap());
    let mut collector = Collector::default();
    for (at_ms, raw) in messages {
        let facts = door.settings.reading.read(&raw, &gate.asks).unwrap();
        collector.offer(&door.vitals.recent, &facts, &raw, at_ms);
    }
    collector.second(&door.vitals.recent);
}

/// A minute with a thousand messages of ten accounts.
fn a_minute(doors: &Arc<Doors>) {
    let messages = (0..1_000).map(|number| {
        let (id, account) = (format!("m-{number}"), format!("a-{}", number % 10));
        message(&id, &account, NOON - 60_000 + number * 60, 1_000, &[])
    });
    take(doors, messages);
}

#[tokio::test]
async fn a_value_rules_and_an_opening_are_previewed_and_nothing_is_changed() {
    let doors = busy();
    a_minute(&doors);
    let acme = json!([{"attribute": "account", "op": "in", "values": ["a-3"]}]);
    for (what, body, after, accounts, confirm) in [
        ("everybody", json!({"value": 1.0}), 1_000, 10, json!(100)),
        (
            "a rule",
            json!({"patch": {"rules": [{"name": "a", "when": acme, "value": 1.0}]}}),
            100,
            1,
            json!(null),
        ),
        (
            "an opening",
            json!({"open": {"value": 1.0, "when": acme}}),
            100,
            1,
            json!(null),
        ),
        ("nobody", json!({"value": 0}), 0, 0, json!(null)),
    ] {
        let got = check(what, &doors, send("POST", PREVIEW, &body), "200", "").await;
        let json = got.json();
        let effect = &json["effect"];
        let summary = format!(
            "0 -> {} of the last 1,000 messages are shed; {accounts} accounts; protected: 0",
            if after == 1_000 {
                "1,000".to_owned()
            } else {
                after.to_string()
            }
        );
        assert_eq!(json["summary"], summary, "{what}");
        assert_eq!(
            (&effect["changed"], &effect["accounts"]),
            (&json!(after), &json!(accounts)),
            "{what}"
        );
        if what != "an opening" && what != "a rule" {
            assert_eq!(json["confirm"], confirm, "{what}");
        }
        assert_eq!(effect["from"], "2026-11-21T11:59:00Z");
        let per_minute = effect["changed_per_minute"].as_f64().unwrap();
        assert!(
            (per_minute - f64::from(after)).abs() < 0.01 * f64::from(after) + 0.1,
            "{what}: {per_minute}"
        );
    }
    assert_eq!(doors.store.snapshot().revision(), 0, "nothing was changed");
}

#[tokio::test]
async fn the_lots_are_those_that_will_be_drawn() {
    let doors = busy();
    a_minute(&doors);
    let json = send("POST", PREVIEW, &json!({"value": "25%"}))
        .to(&doors)
        .await
        .json();
    let foretold = json["effect"]["changed"].as_u64().unwrap();
    assert!((200..300).contains(&foretold), "{json}");
    turn(&doors, "queue.orders.skip", json!({"value": 0.25})).await;
    let mut skipped = 0;
    for number in 0..1_000 {
        let path = format!("/api/v1/explain?queue=orders&id=m-{number}&account=x");
        let json = get(&path).to(&doors).await.json();
        skipped += u64::from(json["reason"] == "skipped");
    }
    assert_eq!(skipped, foretold, "explain and preview agree");
}

/// What is foretold of an account, explained of it, told to a service of it and done with its message is the same.
#[tokio::test]
async fn one_account_gets_one_answer_at_every_door() {
    let doors = busy();
    let messages = (0..200).map(|number| {
        let (id, account) = (format!("m-{number}"), format!("a-{number}"));
        message(&id, &account, NOON - 60_000 + number * 300, 1_000, &[])
    });
    take(&doors, messages);
    let rules = json!({"rules": [{"name": "ring", "by": "account", "split": [{"value": 1.0, "share": 0.3}]}]});
    let foretold = send("POST", PREVIEW, &json!({"patch": rules}))
        .to(&doors)
        .await
        .json();
    turn(&doors, "queue.orders.skip", rules).await;
    let mut in_the_ring = 0;
    for number in 0..200 {
        let asking = format!("/api/v1/explain?account=a-{number}");
        let flag = get(&format!("{asking}&flag=queue.orders.skip"));
        let explained = flag.to(&doors).await.json();
        let message = get(&format!("{asking}&queue=orders&id=m-{number}"));
        let message = message.to(&doors).await.json();
        let context = json!({"context": {"account": format!("a-{number}")}});
        let service = send(
            "POST",
            "/ofrep/v1/evaluate/flags/queue.orders.skip",
            &context,
        );
        let service = service.to(&doors).await.json();
        assert_eq!(explained["value"], service["value"], "a-{number}");
        let is_in = explained["value"] == 1.0;
        assert_eq!(message["reason"] == "skipped", is_in, "{message}");
        in_the_ring += u64::from(is_in);
    }
    assert!((30..90).contains(&in_the_ring), "{in_the_ring}");
    assert_eq!(foretold["effect"]["accounts"], in_the_ring, "{foretold}");
}

#[tokio::test]
async fn without_data_it_says_so() {
    let doors = busy();
    let flag = json!({"kind": "config", "type": "string", "value": "red", "reason": "x"});
    let put = send("PUT", "/api/v1/flags/colour", &flag).with("if-none-match", "*");
    put.to(&doors).await;
    let body = json!({"value": 0.5});
    let got = check(
        "none",
        &doors,
        send("POST", PREVIEW, &body),
        "200",
        "no data: 0 messages",
    )
    .await;
    assert_eq!(got.json()["effect"], Value::Null);
    a_minute(&doors);
    let by_body =
        json!({"open": {"value": 1.0, "when": [{"attribute": "body.plan", "op": "exists"}]}});
    check(
        "a body",
        &doors,
        send("POST", PREVIEW, &by_body),
        "200",
        "no data for body.plan yet",
    )
    .await;
    let colour = send(
        "POST",
        "/api/v1/flags/colour/preview",
        &json!({"value": "blue"}),
    );
    check("no valve", &doors, colour, "200", "is no valve").await;
    let rate = send(
        "POST",
        "/api/v1/flags/queue.orders.rate/preview",
        &json!({"value": "5/s"}),
    );
    check(
        "a rate",
        &doors,
        rate,
        "200",
        "About 1,001 messages a minute",
    )
    .await;
}

#[tokio::test]
async fn what_would_be_refused_is_refused_here() {
    let doors = busy();
    for (what, body, verdict, part) in [
        (
            "nothing",
            json!({}),
            "422 bad-document",
            "one of value, patch and open",
        ),
        (
            "two",
            json!({"value": 0.1, "patch": {}}),
            "422 bad-document",
            "one of value",
        ),
        ("no ratio", json!({"value": 7}), "422 bad-value", "ratio"),
        (
            "another key",
            json!({"patch": {"key": "x"}}),
            "422 bad-document",
            "/patch",
        ),
        (
            "another type",
            json!({"patch": {"type": "string", "value": "x"}}),
            "422 limit",
            "never change",
        ),
        (
            "a misspelt part",
            json!({"patch": {"ruels": []}}),
            "422 bad-document",
            "ruels",
        ),
        (
            "a misspelt word",
            json!({"valeu": 1}),
            "422 bad-document",
            "valeu",
        ),
        (
            "no message has it",
            json!({"open": {"value": 1.0, "when": [{"attribute": "city", "op": "exists"}]}}),
            "422 limit",
            "city",
        ),
    ] {
        check(what, &doors, send("POST", PREVIEW, &body), verdict, part).await;
    }
    let path = "/api/v1/flags/queue.ordres.skip/preview";
    check(
        "no flag",
        &doors,
        send("POST", path, &json!({"value": 1})),
        "404 no-such-flag",
        "",
    )
    .await;
}

#[tokio::test]
async fn an_opening_that_is_only_tried_is_previewed_flag_by_flag() {
    let doors = busy();
    let ask = |dry_run: bool| {
        let values = json!({"queue.orders.skip": 1.0, "queue.orders.rate": "5/s"});
        let acme = json!([{"attribute": "account", "op": "in", "values": ["a-3"]}]);
        let body = match dry_run {
            true => json!({"values": {"queue.orders.skip": 1.0}, "when": acme, "reason": "x"}),
            false => json!({"values": values, "confirm": 100, "reason": "x", "dry_run": true}),
        };
        let path = format!("/api/v1/openings?dry_run={dry_run}");
        send("POST", &path, &body)
    };
    let nothing = check("nothing came", &doors, ask(true), "200", "no data").await;
    assert_eq!(nothing.json()["preview"][0]["effect"], Value::Null);
    a_minute(&doors);
    let got = check("for one", &doors, ask(true), "200", "").await.json();
    assert_eq!((&got["dry_run"], &got["id"]), (&json!(true), &json!("o1")));
    let preview = &got["preview"][0];
    let effect = &preview["effect"];
    assert_eq!(
        (&preview["flag"], &effect["changed"], &effect["accounts"]),
        (&json!("queue.orders.skip"), &json!(100), &json!(1))
    );
    // As `…/preview` says it.
    let acme = json!([{"attribute": "account", "op": "in", "values": ["a-3"]}]);
    let alone = json!({"open": {"value": 1.0, "when": acme}});
    let alone = send("POST", PREVIEW, &alone).to(&doors).await.json();
    assert_eq!((preview, &preview["revision"]), (&alone, &json!(0)));
    let got = check("several", &doors, ask(false), "200", "").await.json();
    let told: Vec<(&str, bool)> = got["preview"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["flag"].as_str().unwrap(), one["effect"].is_object()))
        .collect();
    assert_eq!(
        told,
        [("queue.orders.skip", true), ("queue.orders.rate", false)]
    );
    assert_eq!(doors.store.snapshot().revision(), 0);
    let real = json!({"values": {"queue.orders.skip": 0.1}, "reason": "x"});
    let real = send("POST", "/api/v1/openings", &real);
    let real = check("a real one", &doors, real, "201", "").await.json();
    assert_eq!(real.get("preview"), None);
}
