//! Segments: who is meant, who comes and who leaves.

use super::*;

const BETA: &str = "/api/v1/segments/beta";

async fn made(doors: &Arc<Doors>) {
    let body = json!({"description": "first", "members": ["bolt", "acme"], "reason": "x"});
    let ask = send("PUT", BETA, &body).with("if-none-match", "*");
    let got = check("create", doors, ask, "201", "").await;
    assert_eq!(got.header("etag"), "\"1\"");
    let shown = got.json();
    assert_eq!(
        (&shown["member_count"], shown.get("members")),
        (&json!(2), None)
    );
}

#[tokio::test]
async fn a_segment_is_made_read_and_replaced_by_whoever_saw_it() {
    let doors = doors();
    made(&doors).await;
    let shown = get(BETA).to(&doors).await;
    assert_eq!(shown.header("etag"), "\"1\"");
    assert_eq!(shown.json()["members"], json!(["acme", "bolt"]));
    assert_eq!(shown.json()["by"], "account");
    let body = json!({"members": ["cord"], "when": [{"attribute": "plan", "op": "in", "values": ["pro"]}], "reason": "x"});
    let put = || send("PUT", BETA, &body);
    check(
        "again",
        &doors,
        put().with("if-none-match", "*"),
        "412 exists",
        "exists already",
    )
    .await;
    check("unsaid", &doors, put(), "428 precondition-required", "").await;
    check(
        "stale",
        &doors,
        put().with("if-match", "\"7\""),
        "412 stale",
        "saw revision 7",
    )
    .await;
    check(
        "replaced",
        &doors,
        put().with("if-match", "\"1\""),
        "200",
        "\"member_count\":1",
    )
    .await;
    let none = send("PUT", "/api/v1/segments/none", &body).with("if-match", "\"1\"");
    check("not there", &doors, none, "404 no-such-segment", "").await;
    check(
        "not there to read",
        &doors,
        get("/api/v1/segments/none"),
        "404 no-such-segment",
        "segment list",
    )
    .await;
}

#[tokio::test]
async fn members_come_and_leave() {
    let doors = doors();
    made(&doors).await;
    let change = |body: Value| send("POST", &format!("{BETA}/members"), &body);
    let body = json!({"add": ["cord", "acme"], "remove": ["bolt", "nobody"], "reason": "x"});
    let got = check("changed", &doors, change(body), "200", "").await;
    assert_eq!(
        (got.header("etag"), &got.json()["member_count"]),
        ("\"2\"", &json!(2))
    );
    assert_eq!(
        get(BETA).to(&doors).await.json()["members"],
        json!(["acme", "cord"])
    );
    for (what, body, verdict, part) in [
        (
            "nobody",
            json!({"reason": "x"}),
            "422 incomplete",
            "who comes",
        ),
        (
            "no reason",
            json!({"add": ["x"]}),
            "422 incomplete",
            "say why",
        ),
        (
            "an empty name",
            json!({"add": [""], "reason": "x"}),
            "422 bad-value",
            "1 to 256 bytes",
        ),
        (
            "a number",
            json!({"add": [1], "reason": "x"}),
            "422 bad-document",
            "/add/0",
        ),
    ] {
        check(what, &doors, change(body), verdict, part).await;
    }
    let stale = change(json!({"add": ["x"], "reason": "x"})).with("if-match", "\"1\"");
    check("stale", &doors, stale, "412 stale", "").await;
    let dry = change(json!({"add": ["x"], "reason": "x", "dry_run": true}));
    check("dry", &doors, dry, "200", "\"member_count\":3").await;
    let elsewhere = json!({"add": ["x"], "reason": "x"});
    let elsewhere = send("POST", "/api/v1/segments/none/members", &elsewhere);
    check("not there", &doors, elsewhere, "404 no-such-segment", "").await;

    let told = get("/api/v1/changes?segment=beta").to(&doors).await.json();
    let newest = &told["items"][0];
    assert_eq!(
        (&newest["edit"], &newest["segments"][0]["added"]),
        (&json!("members"), &json!(["cord"]))
    );
    assert_eq!(newest["segments"][0]["removed"], json!(["bolt"]));
}

#[tokio::test]
async fn many_members_come_at_once_and_are_read_page_by_page() {
    let doors = doors();
    let members: Vec<String> = (0..20_000)
        .map(|number| format!("account-{number:06}"))
        .collect();
    let body = json!({"members": members, "reason": "x"});
    assert!(body.to_string().len() > 256 * 1024);
    let ask = send("PUT", BETA, &body).with("if-none-match", "*");
    check("a large body", &doors, ask, "201", "\"member_count\":20000").await;
    let page = get(BETA).to(&doors).await.json();
    assert_eq!(page["members"].as_array().unwrap().len(), 1_000);
    assert_eq!(page["next"], "account-000999");
    let rest = get(&format!("{BETA}?limit=2&cursor=account-019997"))
        .to(&doors)
        .await
        .json();
    assert_eq!(rest["members"], json!(["account-019998", "account-019999"]));
    assert!(rest.get("next").is_none());
    check(
        "too many",
        &doors,
        get(&format!("{BETA}?limit=10001")),
        "400 malformed-request",
        "10000",
    )
    .await;

    let huge = format!(
        "{{\"members\": [\"{}\"], \"reason\": \"x\"}}",
        "x".repeat(4 << 20)
    );
    let huge = raw("PUT", BETA, &huge)
        .with("content-type", "application/json")
        .with("if-none-match", "*");
    check("too large", &doors, huge, "413 too-large", "4194304 bytes").await;
    let elsewhere = json!({"value": "x".repeat(300 * 1024), "reason": "x"});
    let elsewhere = send("PATCH", SKIP, &elsewhere).with("if-match", "\"0\"");
    check(
        "large elsewhere",
        &doors,
        elsewhere,
        "413 too-large",
        "262144 bytes",
    )
    .await;
}

#[tokio::test]
async fn a_segment_in_use_stays() {
    let doors = doors();
    made(&doors).await;
    let flag = json!({"kind": "config", "type": "boolean", "value": false, "reason": "x",
        "rules": [{"name": "beta", "when": [{"segment": "beta"}], "value": true}]});
    let ask = send("PUT", "/api/v1/flags/shop.new", &flag).with("if-none-match", "*");
    check("a flag that names it", &doors, ask, "201", "").await;
    assert_eq!(
        get(BETA).to(&doors).await.json()["used_by"],
        json!(["shop.new"])
    );
    let listed = get("/api/v1/segments").to(&doors).await.json();
    assert_eq!(
        (
            &listed["items"][0]["name"],
            listed["items"][0].get("members")
        ),
        (&json!("beta"), None)
    );
    let delete = |seen: &str| raw("DELETE", &format!("{BETA}?reason=x"), "").with("if-match", seen);
    check(
        "in use",
        &doors,
        delete("\"1\""),
        "422 limit",
        "used by shop.new",
    )
    .await;
    let gone = raw("DELETE", "/api/v1/flags/shop.new?reason=x", "").with("if-match", "\"2\"");
    check("the flag", &doors, gone, "200", "").await;
    check("stale", &doors, delete("\"9\""), "412 stale", "").await;
    check("deleted", &doors, delete("\"1\""), "200", "").await;
    check("gone", &doors, get(BETA), "404 no-such-segment", "").await;
}
