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

/// Says which, and what came of it, of jobs of `orders`.
fn body(verdict: &str, ids: &[&str]) -> Value {
    json!({"as": verdict, "ids": ids, "queue": "orders", "reason": "the log has it"})
}

fn without(mut body: Value, part: &str) -> Value {
    body.as_object_mut().unwrap().remove(part);
    body
}

fn with(mut body: Value, part: &str, value: Value) -> Value {
    body[part] = value;
    body
}

#[tokio::test]
async fn they_are_resolved_by_name_or_all_and_what_is_unclear_is_refused() {
    let doors = with_doubts(&["a", "b", "s"]);
    let all = |verdict: &str| with(without(body(verdict, &[]), "ids"), "all", json!(true));
    let of_ses = with(all("failed"), "provider", json!("ses"));
    let dry = with(all("done"), "dry_run", json!(true));
    let a = || body("done", &["a"]);
    let elsewhere = with(a(), "queue", json!("odrers"));
    let refused = "422 incomplete";
    for (what, body, verdict, part) in [
        ("which", without(a(), "ids"), refused, "/ids"),
        ("both", with(a(), "all", json!(true)), refused, "/ids"),
        ("whose", without(a(), "queue"), refused, "/queue"),
        ("what", without(a(), "as"), refused, "/as"),
        ("why", without(a(), "reason"), refused, "/reason"),
        ("no word", body("sent", &["a"]), "422 bad-value", "again"),
        ("another", body("done", &["z"]), "404 no-such-job", "z"),
        ("elsewhere", elsewhere, "404 no-such-queue", "odrers"),
        ("no park", body("again", &["b"]), "503 park", "stay in"),
        ("dry", dry, "200", "\"resolved\":3"),
        ("one", a(), "200", "\"left\":2"),
        ("all of one", of_ses, "200", "\"left\":1"),
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
        .find(|change| change["resolved"]["jobs"][0]["id"] == "a");
    assert_eq!(
        first.unwrap()["resolved"],
        json!({"as": "done", "jobs": [{"queue": "orders", "id": "a"}]})
    );
}
