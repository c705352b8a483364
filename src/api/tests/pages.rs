//! The status page, for people and their terminals: FAULTS G07.

use super::*;

async fn relieved() -> Arc<Doors> {
    let doors = doors();
    doors.queues[1].vitals.link(LinkState::QueueMissing, false);
    doors.queues[0].vitals.backlog(Some(12_034), None);
    let body = json!({"values": {"queue.orders.skip": 0.2, "queue.billing/orders.max_age": "30s"}, "reason": "INC-481", "for": "10m"});
    let ask = send("POST", "/api/v1/openings", &body).with("sluicegate-user", "ana");
    assert_eq!(ask.to(&doors).await.status, 201);
    let body = json!({"value": "50/s", "reason": "x"});
    let ask = send("PATCH", "/api/v1/flags/queue.orders.rate", &body).with("if-match", "\"0\"");
    assert_eq!(ask.to(&doors).await.status, 200);
    doors
}

#[tokio::test(start_paused = true)]
async fn the_page_in_a_terminal() {
    let doors = relieved().await;
    let got = get("/status").with("accept", "*/*").to(&doors).await;
    assert_eq!(got.header("content-type"), "text/plain; charset=utf-8");
    let text = got.text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    insta::assert_snapshot!(text);
    assert_eq!(get("/").to(&doors).await.text, got.text);
}

#[tokio::test(start_paused = true)]
async fn the_page_in_a_browser() {
    let doors = relieved().await;
    let html = get("/").with("accept", "text/html,application/xhtml+xml;q=0.9");
    let got = html.to(&doors).await;
    assert_eq!(got.header("content-type"), "text/html; charset=utf-8");
    let body = got.text.split("</style>").nth(1).unwrap();
    insta::assert_snapshot!(body.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
}

#[tokio::test]
async fn a_quiet_daemon_says_so() {
    let got = get("/status").to(&doors()).await;
    assert!(
        got.text.contains("nothing: every valve is neutral"),
        "{}",
        got.text
    );
}

#[tokio::test]
async fn the_style_is_the_one_that_the_policy_admits() {
    use base64::Engine;
    use sha2::Digest;
    let got = get("/").with("accept", "text/html").to(&doors()).await;
    let style = got
        .text
        .split("<style>")
        .nth(1)
        .unwrap()
        .split("</style>")
        .next()
        .unwrap();
    let hash = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(style));
    let policy = got.header("content-security-policy");
    assert!(
        policy.contains(&format!("style-src 'sha256-{hash}'")),
        "{policy}"
    );
    assert!(
        !got.text.contains(" style="),
        "inline styles are not obeyed"
    );
    assert!(!got.text.contains("<script"));
}

#[tokio::test]
async fn hostile_words_are_shown_as_words() {
    let doors = doors();
    let reason = "<img src=x onerror=alert(1)> \u{202e}gpj.exe \u{1b}[2J \"'&";
    let body = json!({"values": {"queue.orders.skip": 0.1}, "reason": reason});
    let ask = send("POST", "/api/v1/openings", &body).with("sluicegate-user", "<b>\"ana\"</b>");
    assert_eq!(ask.to(&doors).await.status, 201);

    let html = get("/").with("accept", "text/html").to(&doors).await.text;
    for bad in ["<img", "<b>", "\u{202e}", "\u{1b}"] {
        assert!(!html.contains(bad), "{bad:?} in {html}");
    }
    let escaped = "&lt;img src=x onerror=alert(1)&gt; \\u{202e}gpj.exe \\u{1b}[2J &quot;&#39;&amp;";
    assert!(html.contains(escaped), "{html}");
    assert!(
        html.contains("&lt;b&gt;&quot;ana&quot;&lt;/b&gt;"),
        "{html}"
    );

    let text = get("/").to(&doors).await.text;
    for bad in ["\u{202e}", "\u{1b}"] {
        assert!(!text.contains(bad), "{bad:?} in {text}");
    }
}
