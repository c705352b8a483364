//! Reports of workers.

use super::*;
use crate::rules::handed::Work;
use crate::rules::lots::KeyHash;

const OUTCOMES: &str = "/api/v1/outcomes";

fn handed_over(doors: &Doors, ids: &[&str]) {
    for id in ids {
        let work = Work {
            at: doors.clock.now().mono,
            deadline_ms: Some(NOON + 1_000),
            key: None,
        };
        doors.queues[0]
            .vitals
            .handing_over(KeyHash::of(id.as_bytes()), work);
    }
}

fn report(id: &str) -> Value {
    json!({"queue": "orders", "id": id, "outcome": "done"})
}

#[tokio::test]
async fn each_report_is_answered_and_counts_once() {
    let doors = doors();
    handed_over(&doors, &["1", "2"]);
    let all = json!([report("1"), report("2"), report("1"), report("3")]);
    let got = send("POST", OUTCOMES, &all).to(&doors).await;
    assert_eq!(got.status, 200, "{}", got.text);
    let taken = json!({"counted": 2, "repeated": 1, "unknown": 1, "reports": ["counted", "counted", "repeated", "unknown"]});
    assert_eq!(got.json(), taken);
    let got = send("POST", OUTCOMES, &report("1")).to(&doors).await;
    assert_eq!(
        got.json()["reports"],
        json!(["repeated"]),
        "one without a list"
    );
    let queue = get("/api/v1/queues/orders").to(&doors).await.json();
    let vitals = &queue["vitals"];
    assert_eq!(
        (
            &vitals["reported"],
            &vitals["unreported"],
            &vitals["on_time_ratio"]
        ),
        (&json!(2), &json!(0), &json!(1.0))
    );
}

#[tokio::test]
async fn what_does_not_fit_is_refused_whole() {
    let doors = doors();
    handed_over(&doors, &["1"]);
    let and = |other: Value| json!([report("1"), other]);
    let post = |body: &Value| send("POST", OUTCOMES, body);
    let elsewhere = json!({"queue": "elsewhere", "id": "1", "outcome": "done"});
    let many = Value::from(vec![report("1"); 1_001]);
    for (what, ask, verdict, part) in [
        (
            "no report",
            post(&and(json!({}))),
            "422 bad-document",
            "\"/1\"",
        ),
        (
            "a word of ours",
            post(&json!({"queue": "orders", "id": "1", "outcome": "handed_over"})),
            "422 bad-document",
            "unknown variant",
        ),
        (
            "another queue",
            post(&and(elsewhere)),
            "404 no-such-queue",
            "elsewhere",
        ),
        ("too many", post(&many), "422 limit", "at most 1000"),
        (
            "no JSON",
            raw("POST", OUTCOMES, "done").with("content-type", "application/json"),
            "400 malformed-json",
            "mend",
        ),
        (
            "not said to be JSON",
            raw("POST", OUTCOMES, &report("1").to_string()),
            "415 not-json",
            "application/json",
        ),
        (
            "a foreign page",
            post(&report("1")).with("origin", "https://evil.example"),
            "403 cross-site",
            "",
        ),
        (
            "too large",
            post(&json!([{"queue": "orders", "id": "x".repeat(300_000), "outcome": "done"}])),
            "413 too-large",
            "",
        ),
    ] {
        check(what, &doors, ask, verdict, part).await;
    }
    let got = post(&report("1")).to(&doors).await;
    assert_eq!(got.json()["counted"], 1, "none of those counted");
}
