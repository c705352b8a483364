//! Jobs that a provider may have done: listed, and resolved with a change on record.

use super::*;
use crate::rules::doubt::Doubt;

const LIST: &str = "/api/v1/providers/unknown";
const RESOLVE: &str = "/api/v1/providers/unknown/resolve";

fn with_doubts(ids: &[&str]) -> Arc<Doors> {
    let doors = doors();
    let doubts: Vec<Doubt> = ids
        .iter()
        .zip(NOON..)
        .map(|(id, at_ms)| Doubt {
            queue: "orders".parse().unwrap(),
            id: (*id).into(),
            pool: "mail".into(),
            provider: if *id == "s" { "ses" } else { "mailgun" }.into(),
            message_id: Some("abc@shop.example".into()),
            account: None,
            cause: "no answer".to_owned(),
            attempt: 1,
            at_ms,
        })
        .collect();
    doors.store.doubts().keep(&doubts).unwrap();
    doors
}

#[tokio::test]
async fn jobs_in_doubt_are_listed_page_by_page_the_oldest_first() {
    let doors = with_doubts(&["b", "a", "s"]);
    let ids = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = check("all", &doors, get(LIST), "200", "mailgun")
        .await
        .json();
    assert_eq!(ids(&all), ["b", "a", "s"]);
    assert_eq!(all["items"][0]["at"], "2026-11-21T12:00:00Z");
    let page = check("one", &doors, get(&format!("{LIST}?limit=2")), "200", "")
        .await
        .json();
    assert_eq!(ids(&page), ["b", "a"]);
    let next = crate::rules::names::segment(page["next"].as_str().unwrap()).to_string();
    let rest = check(
        "next",
        &doors,
        get(&format!("{LIST}?limit=2&cursor={next}")),
        "200",
        "",
    )
    .await
    .json();
    assert_eq!(
        (ids(&rest), &rest["next"]),
        (vec!["s".to_owned()], &Value::Null)
    );
    let some = check(
        "of one",
        &doors,
        get(&format!("{LIST}?provider=ses")),
        "200",
        "",
    )
    .await
    .json();
    assert_eq!(ids(&some), ["s"]);
}

#[tokio::test]
async fn what_is_unclear_is_refused_and_stays() {
    let doors = with_doubts(&["a", "b", "s"]);
    for (what, body, verdict, part) in [
        (
            "which",
            json!({"as": "done", "reason": "x"}),
            "422 incomplete",
            "/ids",
        ),
        (
            "both",
            json!({"as": "done", "ids": ["a"], "queue": "orders", "all": true, "reason": "x"}),
            "422 incomplete",
            "/ids",
        ),
        (
            "whose",
            json!({"as": "done", "ids": ["a"], "reason": "x"}),
            "422 incomplete",
            "/queue",
        ),
        (
            "what",
            json!({"ids": ["a"], "queue": "orders", "reason": "x"}),
            "422 incomplete",
            "/as",
        ),
        (
            "no word",
            json!({"as": "sent", "ids": ["a"], "queue": "orders", "reason": "x"}),
            "422 bad-value",
            "again",
        ),
        (
            "why",
            json!({"as": "done", "ids": ["a"], "queue": "orders"}),
            "422 incomplete",
            "/reason",
        ),
        (
            "another",
            json!({"as": "done", "ids": ["z"], "queue": "orders", "reason": "x"}),
            "404 no-such-job",
            "\\\"z\\\"",
        ),
        (
            "another queue",
            json!({"as": "done", "ids": ["a"], "queue": "odrers", "reason": "x"}),
            "404 no-such-queue",
            "odrers",
        ),
        (
            "no park",
            json!({"as": "again", "ids": ["b"], "queue": "orders", "reason": "x"}),
            "503 park",
            "stay in the list",
        ),
    ] {
        check(what, &doors, send("POST", RESOLVE, &body), verdict, part).await;
    }
    assert_eq!(doors.store.doubts().count(), 3);
}

#[tokio::test]
async fn they_are_resolved_by_name_or_all() {
    let doors = with_doubts(&["a", "b", "s"]);
    for (what, body, verdict, part) in [
        (
            "dry",
            json!({"as": "done", "all": true, "reason": "x", "dry_run": true}),
            "200",
            "\"resolved\":3",
        ),
        (
            "one",
            json!({"as": "done", "ids": ["a"], "queue": "orders", "reason": "the log has it"}),
            "200",
            "\"left\":2",
        ),
        (
            "all of one",
            json!({"as": "failed", "all": true, "provider": "ses", "reason": "x"}),
            "200",
            "\"left\":1",
        ),
    ] {
        check(what, &doors, send("POST", RESOLVE, &body), verdict, part).await;
    }
    let left = doors.store.doubts().all();
    assert_eq!(
        left.iter().map(|doubt| &*doubt.id).collect::<Vec<_>>(),
        ["b"]
    );
    let changes = check("changes", &doors, get("/api/v1/changes"), "200", "resolve")
        .await
        .json();
    let first = changes["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|change| change["reason"] == "the log has it");
    assert_eq!(
        first.unwrap()["resolved"],
        json!({"as": "done", "jobs": [{"queue": "orders", "id": "a"}]})
    );
}
