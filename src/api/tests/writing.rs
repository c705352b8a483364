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
    let body = json!({"value": "20%", "reason": "INC-481"});
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

#[tokio::test]
async fn a_body_is_read_strictly() {
    let doors = doors();
    for (what, body, verdict, part) in [
        ("empty", "", "400 malformed-json", "line 1 column 0"),
        (
            "cut",
            r#"{"value": 0."#,
            "400 malformed-json",
            "line 1 column",
        ),
        (
            "no JSON",
            "value=0.3",
            "400 malformed-json",
            "line 1 column 1",
        ),
        (
            "more than one",
            "{} {}",
            "400 malformed-json",
            "trailing characters",
        ),
        (
            "not UTF-8 escapes",
            r#"{"reason": "\ud800"}"#,
            "400 malformed-json",
            "column",
        ),
        (
            "twice",
            r#"{"value": 0.1, "reason": "x", "value": 0.9}"#,
            "400 malformed-json",
            "the key \\\"value\\\" stands here twice at line 1 column",
        ),
        (
            "twice, deep below",
            r#"{"value": {"a": [{"b": 1, "b": 2}]}, "reason": "x"}"#,
            "400 malformed-json",
            "twice",
        ),
        (
            "a list",
            r#" [0.1, null, null]"#,
            "422 bad-document",
            "not a JSON object",
        ),
        (
            "text for a number",
            r#"{"confirm": "30"}"#,
            "422 bad-document",
            "\"pointer\":\"/confirm\"",
        ),
        (
            "revision",
            r#"{"value": 0.1, "reason": "x", "revision": 9}"#,
            "422 bad-document",
            "\"pointer\":\"/revision\"",
        ),
        (
            "by",
            r#"{"value": 0.1, "reason": "x", "by": "root"}"#,
            "422 bad-document",
            "unknown field `by`",
        ),
        (
            "role",
            r#"{"value": 0.1, "reason": "x", "role": "admin"}"#,
            "422 bad-document",
            "unknown field `role`",
        ),
        (
            "no reason",
            r#"{"value": 0.1}"#,
            "422 incomplete",
            "a reason is missing",
        ),
        (
            "no change",
            r#"{"reason": "x"}"#,
            "422 bad-document",
            "changes nothing",
        ),
        (
            "another type",
            r#"{"value": true, "reason": "x"}"#,
            "422 bad-value",
            "\"pointer\":\"/value\"",
        ),
        (
            "out of range",
            r#"{"value": 70, "reason": "x"}"#,
            "422 bad-value",
            "write 5 percent as 0.05",
        ),
        (
            "a valve's bounds",
            r#"{"max": 2, "reason": "x"}"#,
            "422 limit",
            "come with the daemon",
        ),
    ] {
        let ask = raw("PATCH", SKIP, body)
            .with("content-type", "application/json")
            .with("if-match", "\"0\"");
        check(what, &doors, ask, verdict, part).await;
    }
    let long = json!({"value": 0.1, "reason": "x".repeat(2_000)});
    check(
        "a long reason",
        &doors,
        patch(&long),
        "422 limit",
        "1024 bytes",
    )
    .await;
    assert_eq!(doors.store.snapshot().revision(), 0);
}

#[tokio::test]
async fn a_big_move_is_confirmed_by_its_size() {
    let doors = doors();
    let big =
        |confirm: Value| patch(&json!({"value": 0.7, "reason": "INC-481", "confirm": confirm}));
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
    let dry = json!({"value": 0.2, "reason": "x", "dry_run": true});
    let wet = json!({"value": 0.2, "reason": "x"});
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

#[tokio::test]
async fn an_opening_opens_and_closes() {
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

#[tokio::test]
async fn an_opening_ends() {
    let doors = doors();
    for (what, end, verdict, part) in [
        (
            "not said",
            json!({}),
            "201",
            "\"ends_at\":\"2026-11-21T12:30:00",
        ),
        (
            "until",
            json!({"until": "2026-11-21T14:00:00+01:00"}),
            "201",
            "\"ends_at\":\"2026-11-21T13:00:00Z\"",
        ),
        (
            "both",
            json!({"for": "1h", "until": "2026-11-21T13:00:00Z"}),
            "422 bad-value",
            "not both",
        ),
        (
            "before now",
            json!({"until": "2020-01-01T00:00:00Z"}),
            "422 limit",
            "in the future",
        ),
        ("too long", json!({"for": "25h"}), "422 limit", "at most 1d"),
        (
            "no length",
            json!({"for": "soon"}),
            "422 bad-document",
            "\"pointer\":\"/for\"",
        ),
        (
            "no time",
            json!({"until": "tomorrow"}),
            "422 bad-document",
            "\"pointer\":\"/until\"",
        ),
        (
            "no such way back",
            json!({"restore": "explode"}),
            "422 bad-document",
            "\"pointer\":\"/restore\"",
        ),
        (
            "no such flag",
            json!({"values": {"queue.none.skip": 0.1}}),
            "404 no-such-flag",
            "queue.none.skip",
        ),
        (
            "no flag at all",
            json!({"values": {}}),
            "422 incomplete",
            "at least one flag",
        ),
        (
            "no key",
            json!({"values": {"a b": 1}}),
            "422 bad-value",
            "visible ASCII",
        ),
        (
            "a big one",
            json!({"values": {"queue.orders.pause": true}}),
            "409 confirm-size",
            "\"size\":100",
        ),
    ] {
        let mut body = json!({"values": {"queue.orders.skip": 0.1}, "reason": "x"});
        body.as_object_mut()
            .unwrap()
            .extend(end.as_object().unwrap().clone());
        check(what, &doors, open(&body), verdict, part).await;
    }
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
    let elsewhere =
        patch(&json!({"value": 0.1, "reason": "x"})).with("idempotency-key", "8e03978e");
    check(
        "another path",
        &doors,
        elsewhere,
        "422 idempotency-key-reused",
        "",
    )
    .await;
    let set = || patch(&json!({"value": 0.2, "reason": "x"})).with("idempotency-key", "k2");
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
        patch(&json!({"value": 0.7, "reason": "x", "confirm": confirm}))
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
