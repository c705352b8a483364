//! Several edits in one change, the log of them, and its export.

use super::*;

fn several(body: &Value) -> Ask {
    send("POST", "/api/v1/changes", body)
}

fn flag(key: &str) -> Value {
    json!({"key": key, "kind": "config", "type": "integer", "value": 1})
}

#[tokio::test]
async fn several_edits_are_made_all_or_none() {
    let doors = doors();
    let all = json!({"edits": [
        {"edit": "put_segment", "document": {"name": "beta", "members": ["acme"]}},
        {"edit": "create", "document": {"key": "shop.a", "kind": "config", "type": "integer", "value": 1,
            "rules": [{"name": "beta", "when": [{"segment": "beta"}], "value": 2}]}},
        {"edit": "create", "document": flag("shop.b")},
        {"edit": "set", "flag": "queue.orders.rate", "value": "50/s", "seen": 0},
    ], "reason": "INC-481"});
    let made = check("made", &doors, several(&all), "200", "").await.json();
    assert_eq!(made["revision"], 1, "it is one change");
    assert_eq!(made["flags"].as_array().unwrap().len(), 3);
    assert_eq!(made["segments"][0]["used_by"], json!(["shop.a"]));

    let more = json!({"edits": [
        {"edit": "patch", "flag": "shop.a", "patch": {"owner": "ops"}, "seen": 1},
        {"edit": "delete", "flag": "shop.b", "seen": 1},
        {"edit": "members", "segment": "beta", "add": ["bolt"]},
        {"edit": "undo", "flag": "queue.orders.rate"},
    ], "reason": "INC-482"});
    let made = check("more", &doors, several(&more), "200", "")
        .await
        .json();
    assert_eq!(
        (&made["deleted"], &made["flags"][0]["owner"]),
        (&json!(["shop.b"]), &json!("ops"))
    );
    assert_eq!(made["flags"][1]["value"], Value::Null);

    let stale = json!({"edits": [
        {"edit": "set", "flag": "shop.a", "value": 7, "seen": 2},
        {"edit": "replace", "document": flag("shop.a"), "seen": 2},
    ], "reason": "x"});
    check(
        "twice",
        &doors,
        several(&stale),
        "422 bad-document",
        r#""pointer":"/edits/1""#,
    )
    .await;
    let stale = json!({"edits": [
        {"edit": "set", "flag": "shop.a", "value": 7, "seen": 2},
        {"edit": "set", "flag": "queue.orders.rate", "value": "9/s", "seen": 1},
    ], "reason": "x"});
    let refused = check(
        "one is stale",
        &doors,
        several(&stale),
        "412 stale",
        "queue.orders.rate",
    )
    .await;
    assert_eq!(refused.json()["now"]["revision"], 2);
    assert_eq!(doors.store.snapshot().revision(), 2, "and so none was made");
    let dry = json!({"edits": [{"edit": "delete_segment", "segment": "beta", "seen": 2}, {"edit": "delete", "flag": "shop.a", "seen": 2}], "reason": "x", "dry_run": true});
    check(
        "in the wrong order",
        &doors,
        several(&dry),
        "422 limit",
        "used by shop.a",
    )
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_one_edit_is_told_by_its_place() {
    let doors = doors();
    let create = |document: Value| json!({"edit": "create", "document": document});
    let no_type = create(json!({"key": "a", "kind": "ops"}));
    let bad = create(json!({"key": "a", "kind": "ops", "type": "boolean", "value": 1}));
    let mut numbered = flag("a");
    numbered["revision"] = json!(9);
    let unseen = json!({"edit": "set", "flag": "queue.orders.skip", "value": 0.1});
    let no_flag = json!({"edit": "set", "flag": "a", "value": 0.1, "seen": 1});
    let slip = json!({"edit": "delete", "flag": "a", "sen": 1});
    let no_segment = json!({"edit": "put_segment", "document": {"name": "beta"}, "seen": 3});
    let document = "422 bad-document";
    for (edit, verdict, part) in [
        (json!({"flag": "a"}), document, "/edits/1"),
        (json!({"edit": "sett"}), document, "unknown variant `sett`"),
        (slip, document, "unknown field `sen`"),
        (unseen, "422 incomplete", "\"/edits/1/seen\""),
        (no_flag, "404 no-such-flag", "/edits/1/flag"),
        (create(json!({})), "422 incomplete", "/edits/1/document/key"),
        (no_type, document, "missing field `type`"),
        (create(numbered), document, "/edits/1/document/revision"),
        (bad, "422 bad-value", "\"/edits/1\""),
        (no_segment, "404 no-such-segment", "segment list"),
    ] {
        let body = json!({"edits": [create(flag("shop.z")), edit], "reason": "x"});
        check(part, &doors, several(&body), verdict, part).await;
    }
    assert_eq!(doors.store.snapshot().revision(), 0);
}

#[tokio::test]
async fn several_edits_are_some_and_of_a_size_that_was_confirmed() {
    let doors = doors();
    let none = json!({"edits": [], "reason": "x"});
    check("none", &doors, several(&none), "422 limit", "1 to 100").await;
    let create = |number| json!({"edit": "create", "document": flag(&format!("shop.f{number}"))});
    let many: Vec<Value> = (0..101).map(create).collect();
    let many = json!({"edits": many, "reason": "x"});
    let verdict = "422 bad-value";
    check("many", &doors, several(&many), verdict, "at most 100").await;
    let big = json!({"edit": "set", "flag": "queue.orders.skip", "value": 0.7, "seen": 0});
    let big = json!({"edits": [big], "reason": "x", "keep": true});
    let asked = check("big", &doors, several(&big), "409 confirm-size", "").await;
    assert_eq!(asked.json()["size"], 70);
    assert_eq!(doors.store.snapshot().revision(), 0);
}

/// Makes so many changes.
fn changed(doors: &Doors, count: u64) {
    for number in 0..count {
        let edit = crate::rules::change::Edit::Set(
            "queue.orders.rate".parse().unwrap(),
            json!(format!("{}/s", number + 1)),
        );
        let change = crate::rules::change::Change::new(
            edit,
            crate::rules::change::Actor::new("ana", "api"),
            "x",
            NOON,
        );
        doors.store.turn(&change).unwrap();
    }
}

#[tokio::test]
async fn an_export_can_be_verified_with_nothing_but_a_hash() {
    use sha2::{Digest, Sha256};
    let doors = doors();
    changed(&doors, 700); // more than are read at once
    let got = get("/api/v1/changes?format=jsonl").to(&doors).await;
    assert_eq!(got.header("content-type"), "application/jsonl");
    let mut prev = "0".repeat(64);
    let mut count = 0;
    for line in got.text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        count += 1;
        assert_eq!(
            (&record["revision"], record["prev"].as_str().unwrap()),
            (&json!(count), prev.as_str())
        );
        prev = Sha256::digest(line.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
    }
    assert_eq!(count, 700);
    let newest = get("/api/v1/changes?limit=1").to(&doors).await.json();
    assert_eq!(newest["items"][0]["hash"], prev.as_str());
    let chain = get("/api/v1/changes/verify").to(&doors).await.json();
    assert_eq!(
        (&chain["whole"], &chain["records"], &chain["head"]),
        (&json!(true), &json!(700), &json!(prev))
    );

    let rest = get("/api/v1/changes?format=jsonl&after=698")
        .to(&doors)
        .await;
    assert_eq!(rest.text.lines().count(), 2);
    let none = get("/api/v1/changes?format=jsonl&after=700")
        .to(&doors)
        .await;
    assert_eq!((none.status, none.text.as_str()), (StatusCode::OK, ""));
    for query in [
        "format=jsonl&flag=a",
        "format=jsonl&limit=3",
        "after=3",
        "format=csv",
        "flag=a&segment=b",
    ] {
        check(
            query,
            &doors,
            get(&format!("/api/v1/changes?{query}")),
            "400 malformed-request",
            "",
        )
        .await;
    }
}

#[tokio::test]
async fn changes_of_one_flag_are_told_page_by_page() {
    let doors = doors();
    changed(&doors, 3);
    let open = json!({"values": {"queue.orders.skip": 0.1}, "reason": "x"});
    check(
        "open",
        &doors,
        send("POST", "/api/v1/openings", &open),
        "201",
        "",
    )
    .await;
    let page = get("/api/v1/changes?flag=queue.orders.rate&limit=2")
        .to(&doors)
        .await;
    let revisions = |page: &Got| -> Vec<u64> {
        page.json()["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["revision"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(revisions(&page), [3, 2]);
    let link = "</api/v1/changes?flag=queue.orders.rate&limit=2&cursor=2>; rel=\"next\"";
    assert_eq!(page.header("link"), link);
    let next = get("/api/v1/changes?flag=queue.orders.rate&limit=2&cursor=2")
        .to(&doors)
        .await;
    assert_eq!(revisions(&next), [1]);
    let history = get("/api/v1/flags/queue.orders.skip/history")
        .to(&doors)
        .await;
    assert_eq!(revisions(&history), [4]);
    assert_eq!(history.json()["items"][0]["opening"], "o4");
    assert!(history.json()["items"][0]["ends_at"].is_string());
}
