//! Who may call, and how: FAULTS G02, G05, G06, G08, G13.

use super::*;

fn open() -> Ask {
    let body = json!({"values": {"queue.orders.skip": 0.1}, "reason": "INC-481"});
    send("POST", "/api/v1/openings", &body)
}

#[tokio::test]
async fn only_those_who_call_us_by_a_name_of_ours_are_heard() {
    let doors = doors();
    for (host, verdict) in [
        ("127.0.0.1:7070", "200"),
        ("127.8.8.8", "200"),
        ("localhost:1234", "200"),
        ("LOCALHOST", "200"),
        ("[::1]:7070", "200"),
        ("panel.example", "200"),
        ("Panel.Example:8443", "200"),
        ("evil.example", "421 wrong-host"),
        ("127.0.0.1.evil.example", "421 wrong-host"),
        ("localhost.evil.example:7070", "421 wrong-host"),
        ("10.0.0.1:7070", "421 wrong-host"),
        ("evil@127.0.0.1", "400 malformed-request"),
        ("", "400 malformed-request"),
    ] {
        for path in ["/api/v1/flags", "/status"] {
            let ask = get(path).without("host").with("host", host);
            check(host, &doors, ask, verdict, "").await;
        }
        for path in ["/livez", "/readyz", "/metrics"] {
            let ask = get(path).without("host").with("host", host);
            check(host, &doors, ask, "200", "").await;
        }
    }
    let missing = get(SKIP).without("host");
    check(
        "no host",
        &doors,
        missing,
        "400 malformed-request",
        "one Host",
    )
    .await;
    let two = get(SKIP).with("host", "evil.example");
    check(
        "two hosts",
        &doors,
        two,
        "400 malformed-request",
        "two Host",
    )
    .await;
    let absolute = get("http://evil.example/api/v1/flags");
    check(
        "an absolute URI",
        &doors,
        absolute,
        "400 malformed-request",
        "several hosts",
    )
    .await;
}

#[tokio::test]
async fn a_foreign_page_turns_no_knob() {
    let doors = doors();
    let cross = "403 cross-site";
    for (what, name, value, verdict) in [
        ("our page", "origin", "http://127.0.0.1:7070", "201"),
        (
            "our page behind a proxy",
            "origin",
            "https://127.0.0.1:7070",
            "201",
        ),
        ("another site", "origin", "http://evil.example", cross),
        ("another port", "origin", "http://127.0.0.1:8080", cross),
        ("a sandbox or file", "origin", "null", cross),
        ("no scheme", "origin", "127.0.0.1:7070", cross),
        (
            "the browser says ours",
            "sec-fetch-site",
            "same-origin",
            "201",
        ),
        ("typed", "sec-fetch-site", "none", "201"),
        (
            "the browser says another's",
            "sec-fetch-site",
            "cross-site",
            cross,
        ),
        ("a sister site", "sec-fetch-site", "same-site", cross),
    ] {
        check(what, &doors, open().with(name, value), verdict, "").await;
    }
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "",
    ] {
        let ask = open()
            .without("content-type")
            .with("content-type", content_type);
        check(
            content_type,
            &doors,
            ask,
            "415 not-json",
            "Content-Type: application/json",
        )
        .await;
    }
    let none = open().without("content-type");
    check("no content type", &doors, none, "415 not-json", "send JSON").await;
    let with_charset = open()
        .without("content-type")
        .with("content-type", "Application/JSON; charset=utf-8");
    check("with a charset", &doors, with_charset, "201", "o").await;
    let merge = send(
        "PATCH",
        SKIP,
        &json!({"value": 0.1, "keep": true, "reason": "x"}),
    )
    .without("content-type")
    .with("content-type", "application/merge-patch+json")
    .with("if-match", "\"0\"");
    check("a merge patch by its name", &doors, merge, "200", "0.1").await;
}

#[tokio::test]
async fn no_spelling_of_a_path_leads_around() {
    let doors = doors();
    for path in [
        "//api/v1/flags",
        "/api//v1/flags",
        "/api/v1/flags/",
        "/api/../status",
        "/API/v1/flags",
        "/api%2Fv1/flags",
        "/api/%2e%2e/status",
        "/status/",
        "/status;a=b",
        "/livez/x",
        "/nothing",
        "/favicon.ico",
    ] {
        check(path, &doors, get(path), "404 no-such-path", "openapi.json").await;
    }
    for path in ["/livez;a=b", "//metrics", "/Metrics", "/metrics/"] {
        let ask = get(path).without("host").with("host", "evil.example");
        check(path, &doors, ask, "421 wrong-host", "").await;
    }
    check(
        "not UTF-8",
        &doors,
        get("/api/v1/flags/%ff"),
        "400 malformed-request",
        "UTF-8",
    )
    .await;
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let doors = doors();
    for (method, path, allow) in [
        ("POST", SKIP, "GET,HEAD,PUT,PATCH,DELETE"),
        ("GET", "/api/v1/openings/o1/close", "POST"),
        ("HEAD", "/api/v1/openings/o1/close", "POST"),
        ("POST", "/status", "GET,HEAD"),
        ("OPTIONS", "/api/v1/openings", "GET,HEAD,POST"),
        ("TRACE", "/livez", "GET,HEAD"),
    ] {
        let got = raw(method, path, "").to(&doors).await;
        assert_eq!(
            got.status,
            StatusCode::METHOD_NOT_ALLOWED,
            "{method} {path}"
        );
        let mut allowed: Vec<&str> = got.header("allow").split(',').collect();
        let mut expected: Vec<&str> = allow.split(',').collect();
        allowed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(allowed, expected, "{method} {path}");
        if method != "HEAD" {
            assert_eq!(got.verdict(), "405 method-not-allowed", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn reading_changes_nothing() {
    let doors = doors();
    for path in openapi().paths.paths.keys() {
        for query in ["", "?dry_run=false", "?value=1&reason=x"] {
            get(&format!("{path}{query}")).to(&doors).await;
        }
    }
    assert_eq!(doors.store.snapshot().revision(), 0);
}

#[tokio::test]
async fn every_answer_is_neither_framed_nor_guessed_at_nor_kept() {
    let doors = doors();
    for ask in [
        get("/status"),
        get("/metrics"),
        get("/nothing"),
        get(SKIP),
        open(),
    ] {
        let path = ask.path.clone();
        let got = ask.to(&doors).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(got.header(name), value, "{path}");
        }
        let policy = got.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-"),
            "{policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(got.header("access-control-allow-origin"), "", "{path}");
    }
}

#[tokio::test]
async fn a_body_is_neither_huge_nor_endless() {
    let doors = doors();
    let huge = raw("POST", "/api/v1/openings", &" ".repeat(256 * 1024 + 1))
        .with("content-type", "application/json");
    check("too large", &doors, huge, "413 too-large", "262144 bytes").await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep = raw("POST", "/api/v1/openings", &deep).with("content-type", "application/json");
    check(
        "too deep",
        &doors,
        deep,
        "400 malformed-json",
        "recursion limit",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let never = Body::from_stream(futures_util::stream::pending::<Result<&[u8], std::io::Error>>());
    let request = Request::post("/api/v1/openings")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(never)
        .unwrap();
    let answer = router(doors()).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
}
