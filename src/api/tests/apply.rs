//! A file of flags, tried and applied.

use super::*;

fn apply(body: &Value) -> Ask {
    send("POST", "/api/v1/flags/apply", body)
}

fn file() -> Value {
    json!({
        "segments": [{"name": "beta", "members": ["acme"]}],
        "flags": [
            {"key": "shop.a", "kind": "config", "type": "integer", "value": 1, "managed": "file",
             "rules": [{"name": "beta", "when": [{"segment": "beta"}], "value": 2}]},
            {"key": "queue.orders.max_age", "kind": "ops", "type": "duration", "value": "60s", "managed": "file"},
        ],
        "reason": "release 41", "keep": true,
    })
}

async fn drift(doors: &Arc<Doors>) -> String {
    let text = get("/metrics").to(doors).await.text;
    let line = text
        .lines()
        .find(|line| line.starts_with("sluicegate_flags_drifted "))
        .unwrap();
    line.rsplit(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_file_is_a_plan_first_and_one_change_then() {
    let doors = doors();
    let mut dry = file();
    dry["dry_run"] = json!(true);
    let plan = check("dry", &doors, apply(&dry), "200", "\"dry_run\":true")
        .await
        .json();
    let steps: Vec<String> = plan["plan"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            format!(
                "{} {}",
                step["act"].as_str().unwrap(),
                step["flag"].as_str().or(step["segment"].as_str()).unwrap()
            )
        })
        .collect();
    assert_eq!(
        steps,
        [
            "create beta",
            "create shop.a",
            "change queue.orders.max_age"
        ]
    );
    let value = &plan["plan"][2]["differs"][0];
    assert_eq!(value, &json!({"field": "value", "from": null, "to": "1m"}));
    assert_eq!(doors.store.snapshot().revision(), 0);

    let applied = check("wet", &doors, apply(&file()), "200", "").await.json();
    assert_eq!(
        (
            &applied["revision"],
            applied["plan"].as_array().unwrap().len()
        ),
        (&json!(1), 3)
    );
    let told = get("/api/v1/changes").to(&doors).await.json();
    assert_eq!(
        (
            &told["items"][0]["cause"],
            told["items"].as_array().unwrap().len()
        ),
        (&json!("file"), 1)
    );
    let again = check("again", &doors, apply(&file()), "200", "")
        .await
        .json();
    assert_eq!(
        (&again["same"], &again["plan"], &again["revision"]),
        (&json!(3), &json!([]), &json!(1))
    );
    let max_age = get("/api/v1/flags/queue.orders.max_age")
        .to(&doors)
        .await
        .json();
    assert!(
        !max_age["description"].as_str().unwrap().is_empty(),
        "what comes with the daemon stays"
    );
}

#[tokio::test]
async fn what_has_drifted_is_told_counted_and_pruned() {
    let doors = doors();
    check("applied", &doors, apply(&file()), "200", "").await;
    assert_eq!(drift(&doors).await, "0");
    let mut other = file();
    other["flags"] = json!([{"key": "shop.a", "kind": "config", "type": "integer", "value": 7, "managed": "file"}]);
    other["dry_run"] = json!(true);
    let plan = check("tried", &doors, apply(&other), "200", "")
        .await
        .json();
    assert_eq!(plan["drifted"], json!(["shop.a", "queue.orders.max_age"]));
    assert_eq!(plan["left"], json!(["queue.orders.max_age"]));
    assert_eq!(drift(&doors).await, "2");
    other["dry_run"] = json!(false);
    check("applied", &doors, apply(&other), "200", "").await;
    assert_eq!(
        drift(&doors).await,
        "1",
        "what is not in the file stays, and is counted"
    );
    other["prune"] = json!(true);
    let plan = check("pruned", &doors, apply(&other), "200", "")
        .await
        .json();
    assert_eq!(plan["plan"][0]["flag"], "queue.orders.max_age");
    assert_eq!(drift(&doors).await, "0");
}

fn with(change: &dyn Fn(&mut Value)) -> Ask {
    let mut body = file();
    change(&mut body);
    apply(&body)
}

#[tokio::test]
async fn a_file_goes_around_no_rule() {
    let doors = doors();
    let shed = |body: &mut Value| {
        body["flags"] =
            json!([{"key": "queue.orders.skip", "kind": "ops", "type": "ratio", "value": "70%"}]);
    };
    check(
        "a big move",
        &doors,
        with(&shed),
        "409 confirm-size",
        "70 percent",
    )
    .await;
    let endless = |body: &mut Value| {
        shed(body);
        body["keep"] = json!(false);
    };
    check(
        "without an end",
        &doors,
        with(&endless),
        "422 limit",
        "open it for a time",
    )
    .await;
    let no_segment = |body: &mut Value| body["segments"] = json!([]);
    check(
        "a segment that is not there",
        &doors,
        with(&no_segment),
        "422 bad-value",
        "make it first",
    )
    .await;
    let foreign = |body: &mut Value| body["flags"][0]["key"] = json!("queue.others.skip");
    check(
        "a valve of no queue",
        &doors,
        with(&foreign),
        "422 limit",
        "belong to the valves",
    )
    .await;
    assert_eq!(
        doors.store.snapshot().revision(),
        0,
        "nothing of any was made"
    );
}

#[tokio::test]
async fn what_is_wrong_in_a_file_is_told_by_its_place() {
    let doors = doors();
    let twice = |body: &mut Value| {
        let first = body["flags"][0].clone();
        body["flags"].as_array_mut().unwrap().push(first);
    };
    check(
        "twice",
        &doors,
        with(&twice),
        "422 bad-document",
        "/flags/2/key",
    )
    .await;
    let bad = |body: &mut Value| body["flags"][0]["value"] = json!("one");
    check(
        "a bad value",
        &doors,
        with(&bad),
        "422 bad-value",
        "/flags/0",
    )
    .await;
    let unknown = |body: &mut Value| body["flags"][0]["rules"][0]["vaule"] = json!(1);
    check(
        "an unknown field",
        &doors,
        with(&unknown),
        "422 bad-document",
        "/flags/0/rules/0/vaule",
    )
    .await;
    let no_reason = |body: &mut Value| body["reason"] = json!(" ");
    check(
        "no reason",
        &doors,
        with(&no_reason),
        "422 incomplete",
        "say why",
    )
    .await;
    let many: Vec<Value> = (0..2_001).map(|number| json!({"key": format!("f{number}"), "kind": "config", "type": "boolean", "value": true})).collect();
    let many = json!({"flags": many, "reason": "x"});
    check(
        "too many",
        &doors,
        apply(&many),
        "422 bad-value",
        "at most 2000 flags",
    )
    .await;
    assert_eq!(
        doors.store.snapshot().revision(),
        0,
        "nothing of any of them was made"
    );
}

#[tokio::test]
async fn a_large_file_is_one_change() {
    let doors = doors();
    let flags: Vec<Value> = (0..1_900).map(|number| json!({"key": format!("shop.f{number}"), "kind": "config", "type": "boolean", "value": true})).collect();
    let body = json!({"flags": flags, "reason": "x"});
    let applied = check("applied", &doors, apply(&body), "200", "")
        .await
        .json();
    assert_eq!(
        (
            &applied["revision"],
            applied["plan"].as_array().unwrap().len()
        ),
        (&json!(1), 1_900)
    );
}
