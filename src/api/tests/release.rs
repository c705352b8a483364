//! The blocked keys of ordered queues.

use super::*;
use crate::rules::lots::KeyHash;
use crate::store::BlockedEntry;

const RELEASE: &str = "/api/v1/queues/orders/release";

fn with_blocked_keys() -> Arc<Doors> {
    let doors = doors();
    for (n, key) in ["acme", "bulk", ""].into_iter().enumerate() {
        let entry = BlockedEntry {
            hash: KeyHash::of(key.as_bytes()),
            key: key.to_owned(),
            cause: format!("message {key}-1 failed: the worker answered 400"),
            since_ms: NOON + n as i64,
        };
        doors.queues[0].blocked.keep(entry).unwrap();
    }
    doors
}

#[tokio::test]
async fn a_queue_tells_of_its_blocked_keys_the_oldest_first() {
    let doors = with_blocked_keys();
    let got = check("read", &doors, get("/api/v1/queues/orders"), "200", "").await;
    let json = got.json();
    let blocked = &json["blocked"];
    assert_eq!(blocked["count"], 3);
    assert_eq!(blocked["keys"][0]["key"], "acme");
    let cause = "message acme-1 failed: the worker answered 400";
    assert_eq!(blocked["keys"][0]["cause"], cause);
    assert!(blocked["keys"][0]["since"].as_str().unwrap().ends_with('Z'));
    assert_eq!(json["settings"]["order"], "key");
}

#[tokio::test]
async fn keys_are_released_one_by_one_or_all_and_what_is_unclear_is_refused() {
    let doors = with_blocked_keys();
    for (what, body, verdict, part) in [
        ("which", json!({"reason": "x"}), "422 incomplete", "/key"),
        (
            "both",
            json!({"reason": "x", "key": "acme", "all": true}),
            "422 incomplete",
            "all",
        ),
        ("why", json!({"all": true}), "422 incomplete", "/reason"),
        (
            "another",
            json!({"key": "acne", "reason": "x"}),
            "404 no-such-key",
            "acne",
        ),
        (
            "dry",
            json!({"all": true, "reason": "x", "dry_run": true}),
            "200",
            "\"left\":0",
        ),
        (
            "without a key",
            json!({"key": "", "reason": "x"}),
            "200",
            "\"left\":2",
        ),
        (
            "one",
            json!({"key": "acme", "reason": "x"}),
            "200",
            "\"released\":1",
        ),
    ] {
        check(what, &doors, send("POST", RELEASE, &body), verdict, part).await;
    }
    assert_eq!(doors.queues[0].blocked.count(), 1);
    let all = json!({"all": true, "reason": "x"});
    let ask = || send("POST", RELEASE, &all).with("idempotency-key", "k-1");
    check("all", &doors, ask(), "200", "bulk").await;
    check("repeated", &doors, ask(), "200", "bulk").await;
    let elsewhere = "/api/v1/queues/ordres/release";
    let ask = send("POST", elsewhere, &all);
    check("no queue", &doors, ask, "404 no-such-queue", "").await;
}
