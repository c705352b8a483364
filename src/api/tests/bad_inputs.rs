//! What people and programs get wrong (FAULTS H01, H02, F06, F14, G12, G29): each is refused with a sentence that says the cure,
//! and changes nothing.

use super::*;

/// Each case is a body for a PUT of a new flag with `kind`, `type` and `reason` said, unless the case says otherwise.
async fn refused(cases: &[(&str, &str, &str, &str)]) {
    let doors = doors();
    for (what, body, verdict, cure) in cases {
        let ask = raw("PUT", "/api/v1/flags/shop.x", body)
            .with("content-type", "application/json")
            .with("if-none-match", "*");
        check(what, &doors, ask, verdict, cure).await;
    }
    assert_eq!(doors.store.snapshot().revision(), 0);
}

fn of(value_type: &str, value: &str) -> String {
    format!(r#"{{"kind": "ops", "type": "{value_type}", "value": {value}, "reason": "x"}}"#)
}

#[tokio::test]
async fn h01_a_slip_of_the_unit() {
    let percent = "write 5 percent as 0.05";
    let cases = [
        ("100 meant as 100 %", of("ratio", "100"), percent),
        ("30 meant as 30 %", of("ratio", "30"), percent),
        ("1.01", of("ratio", "1.01"), percent),
        ("a text without %", of("ratio", "\"30\""), percent),
        ("140 %", of("ratio", "\"140%\""), percent),
        ("seconds as a number", of("duration", "30"), "30s"),
        ("a duration without a unit", of("duration", "\"30\""), "30s"),
        ("a rate as a number", of("rate", "50"), "50/s"),
        ("a rate without a time", of("rate", "\"50\""), "50/s"),
    ];
    let cases: Vec<_> = cases
        .iter()
        .map(|(what, body, cure)| (*what, body.as_str(), "422 bad-value", *cure))
        .collect();
    refused(&cases).await;
    let doors = doors();
    let all = json!({"value": 1.0, "keep": true, "reason": "one percent, I thought"});
    let ask = send("PATCH", SKIP, &all).with("if-match", "\"0\"");
    check(
        "1.0 meant as 1 %",
        &doors,
        ask,
        "409 confirm-size",
        "100 percent",
    )
    .await;
}

#[tokio::test]
async fn h02_numbers_that_are_none() {
    let (json, value) = ("400 malformed-json", "422 bad-value");
    let cases = [
        ("NaN", of("ratio", "NaN"), json, "line 1 column"),
        ("inf", of("number", "Infinity"), json, "line 1 column"),
        ("1e999", of("number", "1e999"), json, "out of range"),
        (
            "a text NaN",
            of("ratio", "\"NaN\""),
            value,
            "between 0 and 1",
        ),
        ("negative", of("ratio", "-0.1"), value, "between 0 and 1"),
        ("1e308", of("ratio", "1e308"), value, "between 0 and 1"),
        (
            "10^19",
            of("integer", "10000000000000000000"),
            value,
            "got 10000000000000000000",
        ),
        ("a fraction", of("integer", "1.5"), value, "got 1.5"),
        ("an empty text", of("duration", "\"\""), value, "30s"),
        (
            "a negative duration",
            of("duration", "\"-5s\""),
            value,
            "30s",
        ),
        (
            "a huge duration",
            of("duration", "\"99999999999999999999d\""),
            value,
            "30s",
        ),
        ("an empty rate", of("rate", "\"\""), value, "50/s"),
        ("a negative rate", of("rate", "\"-1/s\""), value, "50/s"),
    ];
    let cases: Vec<_> = cases
        .iter()
        .map(|(what, body, verdict, cure)| (*what, body.as_str(), *verdict, *cure))
        .collect();
    refused(&cases).await;
    let doors = doors();
    let ask = send("PATCH", SKIP, &json!({"value": -0.0, "reason": "x"})).with("if-match", "\"0\"");
    let got = check("-0.0 is zero", &doors, ask, "200", "").await;
    assert_eq!(
        got.json()["value"].as_f64().unwrap().to_bits(),
        0.0_f64.to_bits()
    );
}

#[tokio::test]
async fn f06_documents_that_are_none() {
    let whole = r#"{"kind": "ops", "type": "boolean", "value": true, "reason": "x""#;
    let (document, value) = ("422 bad-document", "422 bad-value");
    let no_kind = r#"{"kind": "opps", "type": "boolean", "reason": "x"}"#;
    let colour = format!(r#"{whole}, "colour": "red"}}"#);
    let choices = format!(r#"{whole}, "choices": "a"}}"#);
    let rules = format!(r#"{whole}, "rules": {{"a": 1}}}}"#);
    let rule = format!(r#"{whole}, "rules": [null]}}"#);
    let no_value = r#"{"kind": "ops", "type": "boolean", "reason": "x"}"#;
    let text = of("boolean", "\"yes\"");
    refused(&[
        ("null", "null", document, "is not a JSON object"),
        ("a list", "[]", document, "is not a JSON object"),
        ("blank", "{}", document, "missing field `kind`"),
        ("no type", r#"{"kind": "ops"}"#, document, "field `type`"),
        ("no kind", no_kind, document, "expected one of `ops`"),
        ("an unknown field", &colour, document, "\"/colour\""),
        ("a wrong type below", &choices, document, "\"/choices\""),
        ("rules that are none", &rules, document, "\"/rules\""),
        ("a rule that is null", &rule, document, "\"/rules/0\""),
        ("another type", &text, value, "takes a boolean"),
        ("no value", no_value, value, "takes a boolean"),
    ])
    .await;
}

#[tokio::test]
async fn f06_documents_that_are_too_large() {
    let whole = r#"{"kind": "ops", "type": "boolean", "value": true, "reason": "x""#;
    let text = |length: usize| format!("\"{}\"", "x".repeat(length));
    let long_text = format!(r#"{whole}, "description": {}}}"#, text(1_025));
    let deep = of("object", &format!("{}{}", "[".repeat(200), "]".repeat(200)));
    let rules = (0..101).map(|number| format!(r#"{{"name": "r{number}", "value": true}}"#));
    let many = rules.collect::<Vec<_>>().join(",");
    let many = format!(r#"{whole}, "rules": [{many}]}}"#);
    let clauses = [r#"{"attribute": "a", "op": "exists"}"#; 21].join(",");
    let rule = format!(r#"{{"name": "r", "when": [{clauses}], "value": true}}"#);
    let clauses = format!(r#"{whole}, "rules": [{rule}]}}"#);
    let value = "422 bad-value";
    let (long_value, huge) = (of("string", &text(4_096)), of("string", &text(300_000)));
    refused(&[
        ("many rules", &many, value, "make segments of some"),
        ("many clauses", &clauses, value, "20 clauses"),
        (
            "a long text",
            &long_text,
            value,
            "put the rest behind a link",
        ),
        ("a long value", &long_value, value, "at most 4096"),
        (
            "a huge body",
            &huge,
            "413 too-large",
            "several smaller changes",
        ),
        (
            "a deep body",
            &deep,
            "400 malformed-json",
            "recursion limit",
        ),
    ])
    .await;
}

#[tokio::test]
async fn f14_a_key_has_one_meaning_for_ever() {
    let doors = doors();
    let body = |kind: &str, value_type: &str, value: Value| json!({"kind": kind, "type": value_type, "value": value, "reason": "x"});
    let path = "/api/v1/flags/shop.x";
    let made = send("PUT", path, &body("config", "integer", json!(1))).with("if-none-match", "*");
    check("made", &doors, made, "201", "").await;
    for (what, other) in [
        ("type", body("config", "boolean", json!(true))),
        ("kind", body("ops", "integer", json!(1))),
    ] {
        let ask = send("PUT", path, &other).with("if-match", "\"1\"");
        check(
            what,
            &doors,
            ask,
            "422 limit",
            "create a flag with another key",
        )
        .await;
    }
    let gone = raw("DELETE", &format!("{path}?reason=x"), "").with("if-match", "\"1\"");
    check("deleted", &doors, gone, "200", "").await;
    let other = body("release", "boolean", json!(true));
    let cure = "choose another, or undo the deletion";
    let reused = send("PUT", path, &other).with("if-none-match", "*");
    let got = check("reused", &doors, reused, "412 exists", cure).await;
    assert_eq!(got.json()["tombstone"], 2);
    let document = json!({"key": "shop.x", "kind": "config", "type": "boolean", "value": true});
    let several = json!({"edits": [{"edit": "create", "document": document}], "reason": "x"});
    check(
        "among others",
        &doors,
        send("POST", "/api/v1/changes", &several),
        "412 exists",
        cure,
    )
    .await;
    let file = json!({"flags": [document], "reason": "x"});
    check(
        "by a file",
        &doors,
        send("POST", "/api/v1/flags/apply", &file),
        "412 exists",
        cure,
    )
    .await;
    assert_eq!(doors.store.snapshot().revision(), 2);
}

#[tokio::test]
async fn g12_nobody_assigns_what_the_daemon_sets() {
    let doors = doors();
    let flag = |field: &str, value: Value| {
        let mut body = json!({"kind": "ops", "type": "boolean", "value": true, "reason": "x"});
        body[field] = value;
        body
    };
    let opening = |field: &str, value: Value| {
        let mut body = json!({"values": {"queue.orders.skip": 0.1}, "reason": "x"});
        body[field] = value;
        body
    };
    for (field, value) in [
        ("role", json!("admin")),
        ("revision", json!(9)),
        ("actor", json!("root")),
        ("cause", json!("file")),
        ("at", json!("2020-01-01T00:00:00Z")),
        ("last_evaluated", json!(null)),
        ("__proto__", json!({"a": 1})),
    ] {
        let put = send("PUT", "/api/v1/flags/shop.x", &flag(field, value.clone()))
            .with("if-none-match", "*");
        check(
            field,
            &doors,
            put,
            "422 bad-document",
            &format!(r#""pointer":"/{field}""#),
        )
        .await;
        check(
            field,
            &doors,
            send("POST", "/api/v1/openings", &opening(field, value.clone())),
            "422 bad-document",
            field,
        )
        .await;
        let mut segment = json!({"members": [], "reason": "x"});
        segment[field] = value.clone();
        let put = send("PUT", "/api/v1/segments/beta", &segment).with("if-none-match", "*");
        check(
            field,
            &doors,
            put,
            "422 bad-document",
            &format!(r#""pointer":"/{field}""#),
        )
        .await;
        let mut several = json!({"edits": [], "reason": "x"});
        several[field] = value;
        check(
            field,
            &doors,
            send("POST", "/api/v1/changes", &several),
            "422 bad-document",
            field,
        )
        .await;
    }
    for (field, value) in [
        ("owner", json!("root")),
        ("id", json!("o1")),
        ("strength", json!(0.5)),
        ("opened_at_ms", json!(0)),
    ] {
        let ask = send("POST", "/api/v1/openings", &opening(field, value));
        check(field, &doors, ask, "422 bad-document", field).await;
    }
    assert_eq!(doors.store.snapshot().revision(), 0);
}

#[tokio::test]
async fn g29_the_same_request_three_times_is_one_change() {
    let doors = doors();
    let several = json!({"edits": [{"edit": "set", "flag": "queue.orders.rate", "value": "9/s", "seen": 0}], "reason": "x"});
    let segment = json!({"members": ["acme"], "reason": "x"});
    let members = json!({"add": ["bolt"], "reason": "x"});
    let file = json!({"flags": [{"key": "shop.x", "kind": "config", "type": "boolean", "value": true}], "reason": "x"});
    let extend = json!({"for": "5m", "reason": "x"});
    let opening = json!({"values": {"shop.x": false}, "reason": "x"});
    let undo = json!({"reason": "x"});
    let asks: [(&str, &str, &Value); 7] = [
        ("POST", "/api/v1/changes", &several),
        ("PUT", "/api/v1/segments/beta", &segment),
        ("POST", "/api/v1/segments/beta/members", &members),
        ("POST", "/api/v1/flags/apply", &file),
        ("POST", "/api/v1/openings", &opening),
        ("POST", "/api/v1/openings/o5/extend", &extend),
        ("POST", "/api/v1/flags/queue.orders.rate/undo", &undo),
    ];
    for (number, (method, path, body)) in asks.into_iter().enumerate() {
        let mut answers = Vec::new();
        for _ in 0..3 {
            let mut ask = send(method, path, body).with("idempotency-key", path);
            if method == "PUT" {
                ask = ask.with("if-none-match", "*");
            }
            let got = ask.to(&doors).await;
            assert!(got.status.is_success(), "{path}: {}", got.text);
            answers.push(got.text);
        }
        let same = answers.iter().all(|answer| *answer == answers[0]);
        assert!(same, "{path}: {answers:?}");
        assert_eq!(
            doors.store.snapshot().revision(),
            number as u64 + 1,
            "{path}"
        );
    }
    for _ in 0..3 {
        let gone = raw("DELETE", "/api/v1/segments/beta?reason=x", "");
        let gone = gone
            .with("if-match", "\"3\"")
            .with("idempotency-key", "gone");
        check("a deletion", &doors, gone, "200", "\"member_count\":2").await;
    }
    assert_eq!(doors.store.snapshot().revision(), 8);
    let other = json!({"add": ["cord"], "reason": "x"});
    let reused = send("POST", "/api/v1/segments/beta/members", &other)
        .with("idempotency-key", "/api/v1/segments/beta/members");
    check(
        "another request",
        &doors,
        reused,
        "422 idempotency-key-reused",
        "take a new key",
    )
    .await;
}
