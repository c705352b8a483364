//! Turning knobs: preconditions, bodies, big moves, dry runs, repeats.

use super::*;

fn patch(body: &Value) -> Ask {
    send("PATCH", SKIP, body).with("if-match", "\"0\"")
}

fn open(body: &Value) -> Ask {
    send("POST", "/api/v1/openings", body)
}

fn new_flag() -> Value {
    json!({"kind": "ops", "type": "ratio", "value": "25%", "reason": "INC-481", "min": 0.0, "max": 0.5})
}

#[tokio::test]
async fn a_flag_is_set_by_whoever_saw_it() {
    let doors = doors();
    let seen = get(SKIP).to(&doors).await;
    assert_eq!(seen.header("etag"), "\"0\"");
    let body = json!({"value": "20%", "keep": true, "reason": "INC-481"});
    let set = send("PATCH", SKIP, &body).with("if-match", seen.header("etag"));
    let set = check("set", &doors, set, "200", "").await;
    assert_eq!(set.header("etag"), "\"1\"");
    assert_eq!(
        (&set.json()["value"], &set.json()["now"]),
        (&json!(0.2), &json!(0.2))
    );

    let stale = check("stale", &doors, patch(&body), "412 stale", "saw revision 0").await;
    assert_eq!(stale.header("etag"), "\"1\"");
    assert_eq!(
        stale.json()["now"]["value"],
        json!(0.2),
        "what stands now is told"
    );

    let missing = send("PATCH", SKIP, &body);
    check(
        "not said",
        &doors,
        missing,
        "428 precondition-required",
        "If-Match: \\\"41\\\"",
    )
    .await;
    for (tag, verdict) in [
        ("*", "428 precondition-required"),
        ("1", "400 malformed-request"),
        ("W/\"1\"", "400 malformed-request"),
        ("\"1\", \"2\"", "400 malformed-request"),
    ] {
        let ask = send("PATCH", SKIP, &body).with("if-match", tag);
        check(tag, &doors, ask, verdict, "").await;
    }
    assert_eq!(
        doors.store.snapshot().revision(),
        1,
        "nothing but the first was done"
    );
}

/// Each case is a PATCH of a valve, which must be refused and change nothing.
async fn refused(cases: &[(&str, &str, &str, &str)]) {
    let doors = doors();
    for (what, body, verdict, part) in cases {
        let ask = raw("PATCH", SKIP, body)
            .with("content-type", "application/json")
            .with("if-match", "\"0\"");
        check(what, &doors, ask, verdict, part).await;
    }
    assert_eq!(doors.store.snapshot().revision(), 0);
}

#[tokio::test]
async fn a_body_is_good_json_that_says_each_thing_once() {
    let bad = "400 malformed-json";
    let twice = r#"{"value": 0.1, "reason": "x", "value": 0.9}"#;
    let deep = r#"{"value": {"a": [{"b": 1, "b": 2}]}, "reason": "x"}"#;
    let twice_said = r#"the key \"value\" stands here twice at line 1"#;
    refused(&[
        ("empty", "", bad, "line 1 column 0"),
        ("cut", r#"{"value": 0."#, bad, "line 1 column"),
        ("no JSON", "value=0.3", bad, "line 1 column 1"),
        ("more than one", "{} {}", bad, "trailing characters"),
        ("half a character", r#"{"a": "\ud800"}"#, bad, "column"),
        ("twice", twice, bad, twice_said),
        ("twice, deep below", deep, bad, r#"the key \"b\""#),
    ])
    .await;
}

#[tokio::test]
async fn a_body_says_nothing_that_is_not_asked() {
    let bad = "422 bad-document";
    let confirm = r#"{"confirm": "30"}"#;
    let revision = r#"{"value": 0.1, "reason": "x", "revision": 9}"#;
    let actor = r#"{"value": 0.1, "reason": "x", "actor": "root"}"#;
    let role = r#"{"value": 0.1, "reason": "x", "role": "admin"}"#;
    refused(&[
        ("a list", " [0.1, null]", bad, "not a JSON object"),
        ("a text", confirm, bad, r#""pointer":"/confirm""#),
        ("revision", revision, bad, r#""pointer":"/revision""#),
        ("actor", actor, bad, "unknown field `actor`"),
        ("role", role, bad, "unknown field `role`"),
        ("nothing", r#"{"reason": "x"}"#, bad, "changes nothing"),
    ])
    .await;
}

#[tokio::test]
async fn a_value_fits_its_flag_and_has_a_reason() {
    let bad = "422 bad-value";
    let long = json!({"value": 0.1, "reason": "x".repeat(2_000)}).to_string();
    let of_type = r#"{"value": true, "reason": "x"}"#;
    let percent = r#"{"value": 70, "reason": "x"}"#;
    let bounds = r#"{"max": 2, "reason": "x"}"#;
    refused(&[
        (
            "no reason",
            r#"{"value": 0.1}"#,
            "422 incomplete",
            "a reason",
        ),
        ("a long reason", &long, "422 limit", "1024 bytes"),
        ("another type", of_type, bad, r#""pointer":"/value""#),
        ("out of range", percent, bad, "write 5 percent as 0.05"),
        (
            "a valve's bounds",
            bounds,
            "422 limit",
            "come with the daemon",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_big_move_is_confirmed_by_its_size() {
    let doors = doors();
    let big = |confirm: Value| {
        patch(&json!({"value": 0.7, "keep": true, "reason": "INC-481", "confirm": confirm}))
    };
    let asked = check(
        "unconfirmed",
        &doors,
        big(json!(null)),
        "409 confirm-size",
        "",
    )
    .await;
    assert_eq!(asked.json()["size"], 70);
    check(
        "another size",
        &doors,
        big(json!(30)),
        "409 confirm-size",
        "70 percent",
    )
    .await;
    check("confirmed", &doors, big(json!(70)), "200", "0.7").await;
}

#[tokio::test]
async fn a_dry_run_shows_and_changes_nothing() {
    let doors = doors();
    let dry = json!({"value": 0.2, "keep": true, "reason": "x", "dry_run": true});
    let wet = json!({"value": 0.2, "keep": true, "reason": "x"});
    let by_query = send("PATCH", &format!("{SKIP}?dry_run=true"), &wet).with("if-match", "\"0\"");
    for ask in [patch(&dry), by_query] {
        let got = check("a flag", &doors, ask, "200", "\"dry_run\":true").await;
        assert_eq!(got.json()["now"], json!(0.2));
        assert_eq!(got.header("etag"), "", "what does not stand has no tag");
    }
    let opening = json!({"values": {"queue.orders.skip": 0.2}, "reason": "x", "dry_run": true});
    check(
        "an opening",
        &doors,
        open(&opening),
        "200",
        "\"dry_run\":true",
    )
    .await;
    let create =
        send("PUT", "/api/v1/flags/load?dry_run=true", &new_flag()).with("if-none-match", "*");
    check("a new flag", &doors, create, "200", "\"dry_run\":true").await;
    check(
        "bad too",
        &doors,
        patch(&json!({"value": 7, "reason": "x", "dry_run": true})),
        "422 bad-value",
        "",
    )
    .await;
    let query = format!("{SKIP}?dry_run=perhaps");
    let odd = send("PATCH", &query, &wet).with("if-match", "\"0\"");
    check(
        "neither true nor false",
        &doors,
        odd,
        "400 malformed-request",
        "",
    )
    .await;
    let misspelt = send("PATCH", &format!("{SKIP}?dryrun=true"), &wet).with("if-match", "\"0\"");
    check(
        "a misspelt dry run is no wet one",
        &doors,
        misspelt,
        "400 malformed-request",
        "dryrun",
    )
    .await;
    assert_eq!(doors.store.snapshot().revision(), 0);
}

#[tokio::test]
async fn put_creates_or_replaces_and_never_guesses_which() {
    let doors = doors();
    let put = |body: &Value| send("PUT", "/api/v1/flags/load.share", body);
    check(
        "neither",
        &doors,
        put(&new_flag()),
        "428 precondition-required",
        "If-None-Match: *",
    )
    .await;
    let absent = put(&new_flag()).with("if-match", "\"3\"");
    check(
        "replace what is not there",
        &doors,
        absent,
        "404 no-such-flag",
        "load.share",
    )
    .await;
    let made = put(&new_flag()).with("if-none-match", "*");
    let made = check("create", &doors, made, "201", "").await;
    assert_eq!(
        (made.header("etag"), &made.json()["value"]),
        ("\"1\"", &json!(0.25))
    );
    let again = put(&new_flag()).with("if-none-match", "*");
    let again = check("again", &doors, again, "412 exists", "exists already").await;
    assert_eq!(again.json()["now"]["revision"], 1);
    let both = put(&new_flag())
        .with("if-none-match", "*")
        .with("if-match", "\"1\"");
    check("both", &doors, both, "400 malformed-request", "not both").await;
    let mut smaller = new_flag();
    smaller["value"] = json!(0.1);
    let replaced = put(&smaller).with("if-match", "\"1\"");
    check("replace", &doors, replaced, "200", "\"value\":0.1").await;

    smaller["key"] = json!("another.key");
    let other = put(&smaller).with("if-match", "\"2\"");
    check(
        "another key",
        &doors,
        other,
        "422 bad-document",
        "\"pointer\":\"/key\"",
    )
    .await;
    let valve =
        send("PUT", "/api/v1/flags/queue.orders.mine", &new_flag()).with("if-none-match", "*");
    check(
        "a valve of one's own",
        &doors,
        valve,
        "422 limit",
        "another key",
    )
    .await;
    let spaced = send("PUT", "/api/v1/flags/a%20b", &new_flag()).with("if-none-match", "*");
    check(
        "no key",
        &doors,
        spaced,
        "422 bad-value",
        "\"pointer\":\"/key\"",
    )
    .await;
}

#[tokio::test]
async fn a_patch_merges() {
    let doors = doors();
    let object = json!({"kind": "config", "type": "object", "value": {"a": 1, "b": {"c": 2}}, "owner": "ops", "reason": "x"});
    let made = send("PUT", "/api/v1/flags/plan", &object).with("if-none-match", "*");
    check("create", &doors, made, "201", "").await;
    let body = json!({"value": {"b": {"c": null, "d": 3}}, "owner": null, "description": "a plan", "reason": "x"});
    let merged = send("PATCH", "/api/v1/flags/plan", &body).with("if-match", "\"1\"");
    let merged = check("merge", &doors, merged, "200", "").await.json();
    assert_eq!(merged["value"], json!({"a": 1, "b": {"d": 3}}));
    assert_eq!(
        (&merged["owner"], &merged["description"]),
        (&json!(""), &json!("a plan"))
    );
    let none = json!({"value": "50/s", "reason": "x"});
    let rate = "/api/v1/flags/queue.orders.rate";
    check(
        "a limit",
        &doors,
        send("PATCH", rate, &none).with("if-match", "\"0\""),
        "200",
        "50/s",
    )
    .await;
    let none = json!({"value": null, "reason": "x"});
    let lifted = send("PATCH", rate, &none).with("if-match", "\"3\"");
    check("and none", &doors, lifted, "200", "\"now\":null").await;
}

#[tokio::test(start_paused = true)]
async fn an_opening_lays_its_values_over_the_flags() {
    let doors = doors();
    let body = json!({"values": {"queue.orders.skip": "20%", "queue.billing/orders.rate": "5/s"}, "for": "10m", "restore": "snap", "reason": "INC-481"});
    let opened = open(&body)
        .with("sluicegate-user", "ana")
        .with("user-agent", "sluicegate/0.1.0");
    let opened = check("open", &doors, opened, "201", "").await.json();
    assert_eq!(opened["id"], "o1");
    assert_eq!(
        (&opened["owner"], &opened["reason"]),
        (&json!("ana"), &json!("INC-481"))
    );
    assert_eq!(
        opened["now"],
        json!({"queue.orders.skip": 0.2, "queue.billing/orders.rate": "5/s"})
    );
    assert!(
        opened["ends_at"]
            .as_str()
            .unwrap()
            .starts_with("2026-11-21T12:10:00"),
        "{opened}"
    );

    let flag = get(SKIP).to(&doors).await;
    let json = flag.json();
    assert_eq!(
        (&json["now"], &json["value"], &json["opening"]),
        (&json!(0.2), &json!(0.0), &json!("o1"))
    );
    assert_eq!(
        flag.header("etag"),
        "\"0\"",
        "an opening leaves the flag's own tag alone"
    );
}

#[tokio::test]
async fn an_opening_closes_once() {
    let doors = doors();
    let body = json!({"values": {"queue.orders.skip": 0.2}, "reason": "x"});
    check("open", &doors, open(&body), "201", "o1").await;
    let close =
        |id: &str, body: &Value| send("POST", &format!("/api/v1/openings/{id}/close"), body);
    check(
        "no reason",
        &doors,
        close("o1", &json!({})),
        "422 incomplete",
        "reason",
    )
    .await;
    let reason = json!({"reason": "over"});
    check(
        "no such",
        &doors,
        close("o9", &reason),
        "404 no-such-opening",
        "o9",
    )
    .await;
    check(
        "no id",
        &doors,
        close("41", &reason),
        "404 no-such-opening",
        "o41",
    )
    .await;
    let closed = check("close", &doors, close("o1", &reason), "200", "")
        .await
        .json();
    assert_eq!(closed["now"]["queue.orders.skip"], json!(0.0), "{closed}");
    check(
        "twice",
        &doors,
        close("o1", &reason),
        "404 no-such-opening",
        "may have ended",
    )
    .await;
}

/// Each case is an opening with other words than the usual ones.
async fn opens(cases: &[(&str, Value, &str, &str)]) {
    let doors = doors();
    for (what, words, verdict, part) in cases {
        let mut body = json!({"values": {"queue.orders.skip": 0.1}, "reason": "x"});
        let words = words.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(words);
        check(what, &doors, open(&body), verdict, part).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_opening_ends() {
    let bad = "422 bad-document";
    let until = |until: &str| json!({ "until": until });
    let both = json!({"for": "1h", "until": "2026-11-21T13:00:00Z"});
    let there = until("2026-11-21T14:00:00+01:00");
    let past = until("2020-01-01T00:00:00Z");
    let way = json!({"restore": "explode"});
    opens(&[
        (
            "usually",
            json!({}),
            "201",
            r#""ends_at":"2026-11-21T12:30:00"#,
        ),
        ("until", there, "201", r#""ends_at":"2026-11-21T13:00:00Z""#),
        ("both", both, "422 bad-value", "not both"),
        ("before now", past, "422 limit", "in the future"),
        ("too long", json!({"for": "25h"}), "422 limit", "at most 1d"),
        (
            "no length",
            json!({"for": "soon"}),
            bad,
            r#""pointer":"/for""#,
        ),
        ("no time", until("tomorrow"), bad, r#""pointer":"/until""#),
        ("no such way", way, bad, r#""pointer":"/restore""#),
    ])
    .await;
}

#[tokio::test]
async fn an_opening_lies_on_flags_that_are_there_with_values_that_fit() {
    let values = |values: Value| json!({ "values": values });
    let unknown = values(json!({"queue.none.skip": 0.1}));
    let odd = values(json!({"queue.orders.skip": 0.1, "queue.billing/orders.skip": 7}));
    let pointer = r#""pointer":"/values/queue.billing~1orders.skip""#;
    let pause = values(json!({"queue.orders.pause": true}));
    let no_key = values(json!({"a b": 1}));
    let list = values(json!([]));
    opens(&[
        ("unknown", unknown, "404 no-such-flag", "queue.none.skip"),
        ("none", values(json!({})), "422 incomplete", "at least one"),
        ("no key", no_key, "422 bad-value", "visible ASCII"),
        ("a list", list, "422 bad-document", r#""pointer":"/values""#),
        ("a bad value", odd, "422 bad-value", pointer),
        ("a big one", pause, "409 confirm-size", r#""size":100"#),
    ])
    .await;
}

#[tokio::test]
async fn a_name_is_short_and_visible() {
    let doors = doors();
    let body = json!({"values": {"queue.orders.skip": 0.1}, "reason": "x"});
    for (name, verdict) in [
        ("ana", "201"),
        ("Ana B.", "201"),
        ("", "400 malformed-request"),
        ("x".repeat(65).as_str(), "400 malformed-request"),
        ("an\u{e4}", "400 malformed-request"),
    ] {
        check(
            name,
            &doors,
            open(&body).with("sluicegate-user", name),
            verdict,
            "",
        )
        .await;
    }
    let unnamed = check("unnamed", &doors, open(&body), "201", "")
        .await
        .json();
    assert_eq!(unnamed["owner"], "local");
}

#[tokio::test]
async fn the_same_request_thrice_opens_once() {
    let doors = doors();
    let body = json!({"values": {"queue.orders.skip": 0.1}, "reason": "x"});
    let keyed = |body: &Value| open(body).with("idempotency-key", "8e03978e");
    let first = check("first", &doors, keyed(&body), "201", "").await;
    for _ in 0..2 {
        let again = check("again", &doors, keyed(&body), "201", "").await;
        assert_eq!(again.text, first.text);
    }
    assert_eq!(doors.store.snapshot().revision(), 1);
    let other = json!({"values": {"queue.orders.skip": 0.2}, "reason": "x"});
    check(
        "another body",
        &doors,
        keyed(&other),
        "422 idempotency-key-reused",
        "a new key",
    )
    .await;
    let elsewhere = patch(&json!({"value": 0.1, "keep": true, "reason": "x"}))
        .with("idempotency-key", "8e03978e");
    check(
        "another path",
        &doors,
        elsewhere,
        "422 idempotency-key-reused",
        "",
    )
    .await;
    let set =
        || patch(&json!({"value": 0.2, "keep": true, "reason": "x"})).with("idempotency-key", "k2");
    for _ in 0..2 {
        let got = check("a PATCH", &doors, set(), "200", "").await;
        assert_eq!(got.header("etag"), "\"2\"", "and not stale the second time");
    }
    for key in ["", "k".repeat(129).as_str()] {
        let ask = open(&body).with("idempotency-key", key);
        check("a bad key", &doors, ask, "400 malformed-request", "UUID").await;
    }
}

#[tokio::test]
async fn a_refusal_may_be_asked_again_with_the_same_key() {
    let doors = doors();
    let big = |confirm: Value| {
        patch(&json!({"value": 0.7, "keep": true, "reason": "x", "confirm": confirm}))
            .with("idempotency-key", "k")
    };
    check(
        "unconfirmed",
        &doors,
        big(json!(null)),
        "409 confirm-size",
        "",
    )
    .await;
    check("confirmed", &doors, big(json!(70)), "200", "").await;
}
