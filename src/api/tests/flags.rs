//! Flags whole: rules, patches of them, deletion, history and the way back.

use super::*;

const PLAN: &str = "/api/v1/flags/shop.plan";

fn with_rules() -> Value {
    json!({
        "kind": "config", "type": "string", "value": "old", "choices": ["old", "new", "newer"], "owner": "team-shop",
        "by": "account", "seed": "one-seed", "bucketing": "sluicegate", "enabled": true,
        "rules": [
            {"name": "acme", "when": [{"attribute": "account", "op": "in", "values": ["acme"]}], "value": "new"},
            {"name": "ring", "split": [{"value": "newer", "share": 0.25}]},
        ],
        "reason": "INC-481",
    })
}

async fn made(doors: &Arc<Doors>) {
    let ask = send("PUT", PLAN, &with_rules()).with("if-none-match", "*");
    check("create", doors, ask, "201", "").await;
}

fn patch(body: &Value, seen: u64) -> Ask {
    send("PATCH", PLAN, body).with("if-match", &format!("\"{seen}\""))
}

#[tokio::test]
async fn a_flag_is_written_and_shown_whole() {
    let doors = doors();
    made(&doors).await;
    let shown = get(PLAN).to(&doors).await.json();
    let written = with_rules();
    for field in [
        "kind",
        "type",
        "value",
        "choices",
        "owner",
        "by",
        "seed",
        "bucketing",
        "enabled",
        "rules",
    ] {
        assert_eq!(shown[field], written[field], "{field}");
    }
    assert_eq!(shown["last_evaluated"], Value::Null);
    assert!(
        shown.get("warnings").is_none(),
        "a reading warns of nothing"
    );
}

#[tokio::test]
async fn a_patch_replaces_rules_whole_and_leaves_what_it_does_not_say() {
    let doors = doors();
    made(&doors).await;
    let one = json!({"rules": [{"name": "all", "value": "newer"}], "seed": null, "reason": "x"});
    let got = check("rules", &doors, patch(&one, 1), "200", "")
        .await
        .json();
    assert_eq!(got["rules"], json!([{"name": "all", "value": "newer"}]));
    assert_eq!((&got["by"], got.get("seed")), (&json!("account"), None));
    let off = json!({"enabled": false, "reason": "x"});
    let got = check("disabled", &doors, patch(&off, 2), "200", "")
        .await
        .json();
    assert_eq!(
        (&got["enabled"], &got["rules"]),
        (&json!(false), &json!([{"name": "all", "value": "newer"}]))
    );
    let gone = json!({"rules": null, "enabled": null, "reason": "x"});
    let got = check("removed", &doors, patch(&gone, 3), "200", "")
        .await
        .json();
    assert_eq!((&got["rules"], &got["enabled"]), (&json!([]), &json!(true)));
    let same = json!({"kind": "config", "type": "string", "key": "shop.plan", "owner": "b", "reason": "x"});
    check("said again", &doors, patch(&same, 4), "200", "").await;
}

#[tokio::test]
async fn a_patch_with_a_bad_rule_is_refused_where_it_is_bad() {
    let doors = doors();
    made(&doors).await;
    let matches = json!([{"attribute": "a", "op": "matches", "values": ["("]}]);
    let (document, value) = ("422 bad-document", "422 bad-value");
    let like = json!({"when": [{"attribute": "a", "op": "like"}], "value": "old"});
    let no_segment = json!({"when": [{"segment": "s"}], "value": "old"});
    let large = json!({"split": [{"value": "old", "share": 1.5}]});
    let pattern = json!({"when": matches, "value": "old"});
    for (mut rule, verdict, part) in [
        (like, document, "\"/rules/1/when/0/op\""),
        (json!({"valeu": "old"}), document, "\"/rules/1/valeu\""),
        (json!({}), value, "needs a `value`, or a `split`"),
        (
            json!({"name": "a", "value": "old"}),
            value,
            "two rules named",
        ),
        (json!({"value": "x"}), value, "is one of old, new, newer"),
        (no_segment, value, "make it first"),
        (large, value, "between 0 and 1"),
        (pattern, value, "rule \\\"b\\\""),
    ] {
        if rule["name"].is_null() {
            rule["name"] = json!("b");
        }
        let rules = json!({"rules": [{"name": "a", "value": "old"}, rule], "reason": "x"});
        check(part, &doors, patch(&rules, 1), verdict, part).await;
    }
    assert_eq!(doors.store.snapshot().revision(), 1);
}

#[tokio::test]
async fn a_patch_leaves_a_flag_what_it_is() {
    let doors = doors();
    made(&doors).await;
    for (field, value, verdict, part) in [
        ("type", json!("boolean"), "422 limit", "never change"),
        ("kind", json!(null), "422 bad-document", "missing field"),
        ("key", json!("b"), "422 bad-document", "\"/key\""),
    ] {
        let mut body = json!({"reason": "x"});
        body[field] = value;
        check(field, &doors, patch(&body, 1), verdict, part).await;
    }
    assert_eq!(doors.store.snapshot().revision(), 1);
}

#[tokio::test]
async fn a_valve_put_whole_keeps_what_comes_with_the_daemon() {
    let doors = doors();
    let put = |body: Value| send("PUT", SKIP, &body).with("if-match", "\"0\"");
    let whole = json!({"kind": "ops", "type": "ratio", "value": 0.2, "owner": "team-orders", "keep": true, "reason": "x"});
    let got = check("put", &doors, put(whole.clone()), "200", "")
        .await
        .json();
    assert_eq!(
        (&got["max"], &got["owner"]),
        (&json!(1.0), &json!("team-orders"))
    );
    let mut wider = whole;
    wider["max"] = json!(2.0);
    let ask = send("PUT", SKIP, &wider).with("if-match", "\"1\"");
    check(
        "its bounds",
        &doors,
        ask,
        "422 limit",
        "come with the daemon",
    )
    .await;
}

#[tokio::test]
async fn a_valve_that_sheds_needs_an_end_or_the_word_keep() {
    let doors = doors();
    let ask = |body: Value| send("PATCH", SKIP, &body).with("if-match", "\"0\"");
    let body = json!({"value": 0.2, "reason": "x"});
    check(
        "without an end",
        &doors,
        ask(body),
        "422 limit",
        "open it for a time instead",
    )
    .await;
    let body = json!({"value": 0.2, "keep": true, "reason": "x"});
    check("kept", &doors, ask(body), "200", "").await;
}

#[tokio::test]
async fn a_deleted_flag_leaves_a_tombstone() {
    let doors = doors();
    made(&doors).await;
    let delete = |query: &str| raw("DELETE", &format!("{PLAN}?{query}"), "");
    check(
        "unseen",
        &doors,
        delete("reason=done"),
        "428 precondition-required",
        "",
    )
    .await;
    check(
        "no reason",
        &doors,
        delete("").with("if-match", "\"1\""),
        "422 incomplete",
        "say why",
    )
    .await;
    check(
        "stale",
        &doors,
        delete("reason=done").with("if-match", "\"7\""),
        "412 stale",
        "saw revision 7",
    )
    .await;
    let dry = delete("reason=done&dry_run=true").with("if-match", "\"1\"");
    check("dry", &doors, dry, "200", "\"dry_run\":true").await;
    let gone = delete("reason=done%20with%20it").with("if-match", "\"1\"");
    check("deleted", &doors, gone, "200", "\"value\":\"old\"").await;

    let got = check(
        "gone",
        &doors,
        get(PLAN),
        "404 no-such-flag",
        "was deleted by revision 2",
    )
    .await;
    assert_eq!(got.json()["tombstone"], 2);
    let again = send("PUT", PLAN, &with_rules()).with("if-none-match", "*");
    check(
        "another meaning",
        &doors,
        again,
        "412 exists",
        "never given another meaning",
    )
    .await;
    let valve = raw("DELETE", &format!("{SKIP}?reason=x"), "").with("if-match", "\"0\"");
    check(
        "a valve",
        &doors,
        valve,
        "422 limit",
        "neutral value instead",
    )
    .await;
}

#[tokio::test]
async fn a_deleted_flag_can_come_back() {
    let doors = doors();
    made(&doors).await;
    let gone = raw("DELETE", &format!("{PLAN}?reason=done%20with%20it"), "");
    let gone = gone.with("if-match", "\"1\"");
    check("deleted", &doors, gone, "200", "\"value\":\"old\"").await;
    let history = get(&format!("{PLAN}/history")).to(&doors).await.json();
    let edits: Vec<&Value> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["edit"])
        .collect();
    assert_eq!(edits, ["delete", "create"]);
    assert_eq!(history["items"][0]["reason"], "done with it");
    let undo = send(
        "POST",
        &format!("{PLAN}/undo"),
        &json!({"reason": "still needed"}),
    );
    let back = check("undone", &doors, undo, "200", "").await;
    assert_eq!(
        (back.json()["rules"].clone(), back.header("etag")),
        (with_rules()["rules"].clone(), "\"3\"")
    );
    check("there again", &doors, get(PLAN), "200", "").await;
}

#[tokio::test]
async fn a_flag_that_is_still_evaluated_is_not_deleted() {
    let mut doors = doors();
    let asked = LastEvaluated::by(|key| (key == "shop.plan").then_some(NOON - 60_000));
    Arc::get_mut(&mut doors).unwrap().evaluated = asked;
    made(&doors).await;
    let shown = get(PLAN).to(&doors).await.json();
    assert_eq!(shown["last_evaluated"], "2026-11-21T11:59:00Z");
    let delete = |query: &str| {
        raw("DELETE", &format!("{PLAN}?reason=x{query}"), "").with("if-match", "\"1\"")
    };
    check(
        "in use",
        &doors,
        delete(""),
        "409 still-evaluated",
        "force=true",
    )
    .await;
    let undo = send("POST", &format!("{PLAN}/undo"), &json!({"reason": "x"}));
    check(
        "undone in use",
        &doors,
        undo,
        "409 still-evaluated",
        "force=true",
    )
    .await;
    let several =
        json!({"edits": [{"edit": "delete", "flag": "shop.plan", "seen": 1}], "reason": "x"});
    let several = send("POST", "/api/v1/changes", &several);
    check(
        "among others",
        &doors,
        several,
        "409 still-evaluated",
        "force=true",
    )
    .await;
    check("forced", &doors, delete("&force=true"), "200", "").await;
}

#[tokio::test]
async fn undo_goes_back_to_the_exact_former_definition() {
    let doors = doors();
    made(&doors).await;
    let first = get(PLAN).to(&doors).await.json();
    for (revision, body) in [
        (1, json!({"value": "new", "reason": "x"})),
        (2, json!({"rules": null, "owner": "b", "reason": "x"})),
    ] {
        check("changed", &doors, patch(&body, revision), "200", "").await;
    }
    let undo = |body: Value| send("POST", &format!("{PLAN}/undo"), &body);
    let got = check("the last", &doors, undo(json!({"reason": "x"})), "200", "")
        .await
        .json();
    assert_eq!(
        (&got["value"], &got["rules"], &got["owner"]),
        (&json!("new"), &first["rules"], &first["owner"])
    );
    let got = check(
        "to the first",
        &doors,
        undo(json!({"revision": 2, "reason": "x"})),
        "200",
        "",
    )
    .await
    .json();
    let mut awaited = first.clone();
    awaited["revision"] = json!(5);
    awaited["warnings"] = json!([]);
    assert_eq!(got, awaited);

    for (what, path, body, verdict, part) in [
        (
            "of others",
            PLAN,
            json!({"revision": 77, "reason": "x"}),
            "422 bad-value",
            "did not touch",
        ),
        (
            "never changed",
            SKIP,
            json!({"reason": "x"}),
            "422 bad-value",
            "nothing to undo",
        ),
        ("no reason", PLAN, json!({}), "422 incomplete", "say why"),
        (
            "never there",
            "/api/v1/flags/nothing",
            json!({"reason": "x"}),
            "404 no-such-flag",
            "",
        ),
    ] {
        check(
            what,
            &doors,
            send("POST", &format!("{path}/undo"), &body),
            verdict,
            part,
        )
        .await;
    }
    let made_undone = undo(json!({"revision": 1, "reason": "x"}));
    let gone = check("before it was made", &doors, made_undone, "200", "null").await;
    assert_eq!(gone.header("etag"), "");
    check("gone", &doors, get(PLAN), "404 no-such-flag", "was deleted").await;
}

#[tokio::test]
async fn a_flag_managed_by_the_file_is_opened_and_not_edited() {
    let doors = doors();
    let mut body = with_rules();
    body["managed"] = json!("file");
    let ask = send("PUT", PLAN, &body).with("if-none-match", "*");
    check("made", &doors, ask, "201", "\"managed\":\"file\"").await;
    let edit = patch(&json!({"value": "new", "reason": "x"}), 1);
    check("edited", &doors, edit, "422 limit", "managed by the file").await;
    let undo = send("POST", &format!("{PLAN}/undo"), &json!({"reason": "x"}));
    check("undone", &doors, undo, "422 limit", "managed by the file").await;
    let open = json!({"values": {"shop.plan": "new"}, "reason": "x"});
    check(
        "opened",
        &doors,
        send("POST", "/api/v1/openings", &open),
        "201",
        "",
    )
    .await;
}

#[tokio::test]
async fn a_team_with_many_release_flags_is_warned() {
    let doors = doors();
    let policy = crate::rules::policy::Policy {
        releases_of_a_team: Some(1),
        ..Default::default()
    };
    doors.store.limit(policy);
    let put = |key: &str, owner: &str| {
        let body = json!({"kind": "release", "type": "boolean", "value": false, "owner": owner, "reason": "x"});
        send("PUT", &format!("/api/v1/flags/{key}"), &body).with("if-none-match", "*")
    };
    let first = check("the first", &doors, put("shop.web.a", "web"), "201", "").await;
    assert_eq!(first.json()["warnings"], json!([]));
    let second = check("the second", &doors, put("shop.web.b", "web"), "201", "").await;
    assert!(
        second.json()["warnings"][0]
            .as_str()
            .unwrap()
            .starts_with("web has 2 open release flags"),
        "{}",
        second.text
    );
    let other = check(
        "another team",
        &doors,
        put("shop.till.a", "till"),
        "201",
        "",
    )
    .await;
    assert_eq!(other.json()["warnings"], json!([]));
    check(
        "no owner",
        &doors,
        put("shop.web.c", ""),
        "422 limit",
        "needs an owner",
    )
    .await;
    check(
        "no such name",
        &doors,
        put("c", "web"),
        "422 limit",
        "<stakeholder>.<team>.<id>",
    )
    .await;
}

#[tokio::test]
async fn the_limits_of_the_file_hold_from_the_moment_they_are_read() {
    let doors = doors();
    let open = |share: f64| {
        let body = json!({"values": {"queue.orders.skip": share}, "reason": "x", "dry_run": true});
        send("POST", "/api/v1/openings", &body)
    };
    check("before", &doors, open(0.2), "200", "").await;
    let policy = crate::rules::policy::Policy {
        largest_skip: vec![("ord*".parse().unwrap(), "10%".parse().unwrap())],
        ..Default::default()
    };
    doors.store.limit(policy);
    check("beyond", &doors, open(0.2), "422 limit", "at most 0.1").await;
    check("within", &doors, open(0.1), "200", "").await;
    assert_eq!(
        doors.store.snapshot().revision(),
        0,
        "a limit is no change of a flag"
    );
}

#[tokio::test(start_paused = true)]
async fn changes_have_a_pace() {
    let doors = doors();
    doors.pace.limit(2);
    let open = |who: &str| {
        let body = json!({"values": {"queue.orders.skip": 0.1}, "reason": "x"});
        send("POST", "/api/v1/openings", &body).with("sluicegate-user", who)
    };
    for _ in 0..2 {
        check("at once", &doors, open("ana"), "201", "").await;
    }
    let slowed = check(
        "too fast",
        &doors,
        open("ana"),
        "429 too-many-changes",
        "changes_per_minute",
    )
    .await;
    assert_eq!(slowed.header("retry-after"), "30");
    check("another", &doors, open("bob"), "201", "").await;
    let dry = json!({"values": {"queue.orders.skip": 0.1}, "reason": "x", "dry_run": true});
    let dry = send("POST", "/api/v1/openings", &dry).with("sluicegate-user", "ana");
    check("a dry run floods nothing", &doors, dry, "200", "").await;
    tokio::time::advance(std::time::Duration::from_secs(30)).await;
    check("later", &doors, open("ana"), "201", "").await;
}
