//! Openings for some, with a way back in steps, and longer than was thought.

use super::*;

fn open(body: &Value) -> Ask {
    send("POST", "/api/v1/openings", body)
}

async fn flag(doors: &Arc<Doors>) {
    let body = json!({"kind": "config", "type": "integer", "value": 10, "reason": "x"});
    let ask = send("PUT", "/api/v1/flags/shop.limit", &body).with("if-none-match", "*");
    check("a flag", doors, ask, "201", "").await;
}

#[tokio::test]
async fn an_opening_is_for_those_of_whom_its_clauses_hold() {
    let doors = doors();
    flag(&doors).await;
    let when = json!([{"attribute": "account", "op": "in", "values": ["acme"]}]);
    let body = json!({"values": {"shop.limit": 99}, "when": when, "reason": "x"});
    let opened = check("open", &doors, open(&body), "201", "").await.json();
    assert_eq!(
        (&opened["when"], &opened["now"]["shop.limit"]),
        (&when, &json!(10)),
        "others see what stood"
    );
    let shown = get("/api/v1/flags/shop.limit").to(&doors).await.json();
    assert_eq!(
        (&shown["now"], &shown["openings"][0]["when"]),
        (&json!(10), &when)
    );
    let bad = json!({"values": {"shop.limit": 99}, "when": [{"segment": "none"}], "reason": "x"});
    check(
        "no segment",
        &doors,
        open(&bad),
        "422 bad-value",
        r#""pointer":"/when""#,
    )
    .await;
    let bad = json!({"values": {"shop.limit": 99}, "when": [{"op": "in"}], "reason": "x"});
    check(
        "neither",
        &doors,
        open(&bad),
        "422 bad-value",
        "either an `attribute` or a `segment`",
    )
    .await;
    let valve = json!({"values": {"queue.orders.skip": 0.1}, "when": when, "reason": "x"});
    check(
        "what no message carries",
        &doors,
        open(&valve),
        "422 limit",
        "queue.attributes",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_opening_may_go_back_in_steps() {
    let doors = doors();
    flag(&doors).await;
    let body = json!({"values": {"shop.limit": 99}, "for": "10m", "restore": {"ramp": "10m"}, "reason": "x"});
    let opened = check("open", &doors, open(&body), "201", "").await.json();
    assert_eq!(opened["restore"], json!({"ramp": "10m"}));
    assert_eq!(
        (&opened["ends_at"], &opened["over_at"]),
        (
            &json!("2026-11-21T12:10:00Z"),
            &json!("2026-11-21T12:20:00Z")
        )
    );
    assert_eq!(opened["strength"], 1.0);
    for (what, restore, part) in [
        ("an odd word", json!("slowly"), "slowly"),
        ("no time", json!({"ramp": "soon"}), "soon"),
        ("both", json!({"ramp": "1m", "snap": true}), ""),
    ] {
        let body = json!({"values": {"shop.limit": 99}, "restore": restore, "reason": "x"});
        check(what, &doors, open(&body), "422 bad-document", part).await;
    }
    let body = json!({"values": {"queue.orders.pause": true}, "restore": {"ramp": "10m"}, "reason": "x", "confirm": 100});
    check(
        "no steps between",
        &doors,
        open(&body),
        "422 limit",
        r#"restore \"snap\""#,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_opening_is_extended_and_never_shortened() {
    let doors = doors();
    flag(&doors).await;
    let body = json!({"values": {"shop.limit": 99}, "for": "10m", "reason": "x"});
    check("open", &doors, open(&body), "201", "o2").await;
    let extend = |body: Value| send("POST", "/api/v1/openings/o2/extend", &body);
    let longer = extend(json!({"for": "30m", "reason": "still down"}));
    check(
        "longer",
        &doors,
        longer,
        "200",
        r#""ends_at":"2026-11-21T12:40:00Z""#,
    )
    .await;
    let until =
        extend(json!({"until": "2026-11-21T13:00:00Z", "reason": "still down", "dry_run": true}));
    check(
        "until",
        &doors,
        until,
        "200",
        r#""ends_at":"2026-11-21T13:00:00Z""#,
    )
    .await;
    for (what, body, verdict, part) in [
        (
            "neither",
            json!({"reason": "x"}),
            "422 bad-value",
            "`until`",
        ),
        (
            "both",
            json!({"for": "1m", "until": "2026-11-21T13:00:00Z", "reason": "x"}),
            "422 bad-value",
            "`until`",
        ),
        (
            "shorter",
            json!({"until": "2026-11-21T12:30:00Z", "reason": "x"}),
            "422 bad-value",
            "until 2026-11-21T12:40:00Z already",
        ),
        (
            "too long",
            json!({"for": "24h", "reason": "x"}),
            "422 limit",
            "at most 1d",
        ),
        (
            "no reason",
            json!({"for": "1m"}),
            "422 incomplete",
            "say why",
        ),
    ] {
        check(what, &doors, extend(body), verdict, part).await;
    }
    let other = send(
        "POST",
        "/api/v1/openings/o9/extend",
        &json!({"for": "1m", "reason": "x"}),
    );
    check("none", &doors, other, "404 no-such-opening", "").await;
    let told = get("/api/v1/changes?limit=1").to(&doors).await.json();
    assert_eq!(
        (&told["items"][0]["edit"], &told["items"][0]["ends_at"]),
        (&json!("extend"), &json!("2026-11-21T12:40:00Z"))
    );
}
