//! Lists, queues, health and the document.

use super::*;

#[tokio::test]
async fn lists_come_page_by_page() {
    let doors = doors();
    for _ in 0..3 {
        let body = json!({"values": {"queue.orders.skip": 0.1}, "reason": "x"});
        send("POST", "/api/v1/openings", &body).to(&doors).await;
    }
    for (list, name, limit, all) in [
        ("/api/v1/flags", "key", 7, 24),
        ("/api/v1/openings", "id", 2, 3),
        ("/api/v1/queues", "name", 1, 2),
    ] {
        let (mut path, mut seen) = (format!("{list}?limit={limit}"), Vec::new());
        loop {
            let page = get(&path).to(&doors).await;
            let json = page.json();
            let items = json["items"].as_array().unwrap();
            assert!(items.len() <= limit, "{path}");
            seen.extend(
                items
                    .iter()
                    .map(|item| item[name].as_str().unwrap().to_owned()),
            );
            let Some(link) = page.header("link").strip_suffix(">; rel=\"next\"") else {
                assert_eq!(json["next"], Value::Null, "{path}");
                break;
            };
            assert!(json["next"].is_string(), "{path}");
            path = link.trim_start_matches('<').to_owned();
        }
        let mut sorted = seen.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!((seen.len(), &sorted), (all, &seen), "{list}");
    }
    for query in [
        "?limit=0",
        "?limit=501",
        "?limit=x",
        "?order=up",
        "?limit=1&limit=2",
    ] {
        let ask = get(&format!("/api/v1/flags{query}"));
        check(query, &doors, ask, "400 malformed-request", "").await;
    }
    let odd = get("/api/v1/openings?cursor=41");
    check("no cursor", &doors, odd, "400 malformed-request", "cursor").await;
}

#[tokio::test]
async fn changes_are_told_newest_first_page_by_page() {
    let doors = doors();
    for share in [0.1, 0.2, 0.3] {
        let body = json!({"values": {"queue.orders.skip": share}, "reason": format!("to {share}")});
        let ask = send("POST", "/api/v1/openings", &body).with("sluicegate-user", "ana");
        ask.to(&doors).await;
    }
    let page = get("/api/v1/changes?limit=2").to(&doors).await;
    let json = page.json();
    assert_eq!(
        (&json["items"][0]["revision"], &json["next"]),
        (&json!(3), &json!("2"))
    );
    let newest = &json["items"][0];
    assert_eq!(newest["by"], json!({"name": "ana", "via": "api"}));
    assert_eq!(
        (&newest["reason"], &newest["opening"]),
        (&json!("to 0.3"), &json!("o3"))
    );
    assert_eq!(
        newest["touched"],
        json!([{"flag": "queue.orders.skip", "before": 0.2, "after": 0.3}])
    );
    let next = page
        .header("link")
        .trim_start_matches('<')
        .split('>')
        .next()
        .unwrap()
        .to_owned();
    let rest = get(&next).to(&doors).await.json();
    assert_eq!(
        (&rest["items"][0]["revision"], &rest["next"]),
        (&json!(1), &json!(null))
    );
    let odd = get("/api/v1/changes?cursor=o1");
    check("no cursor", &doors, odd, "400 malformed-request", "`next`").await;
}

#[tokio::test]
async fn names_in_paths_are_percent_encoded() {
    let doors = doors();
    let flag = get("/api/v1/flags/queue.billing%2Forders.skip");
    check(
        "a flag",
        &doors,
        flag,
        "200",
        "\"key\":\"queue.billing/orders.skip\"",
    )
    .await;
    let queue = get("/api/v1/queues/billing%2Forders");
    check(
        "a queue",
        &doors,
        queue,
        "200",
        "\"name\":\"billing/orders\"",
    )
    .await;
    let plain = get("/api/v1/queues/billing/orders");
    check("not encoded", &doors, plain, "404 no-such-path", "").await;
    check(
        "no flag",
        &doors,
        get("/api/v1/flags/a;b=c"),
        "404 no-such-flag",
        "a;b=c",
    )
    .await;
    check(
        "no queue",
        &doors,
        get("/api/v1/queues/none"),
        "404 no-such-queue",
        "/api/v1/queues",
    )
    .await;
    let long = get(&format!("/api/v1/flags/{}", "x".repeat(9_000)));
    let long = check("a long name", &doors, long, "404 no-such-flag", "")
        .await
        .json();
    assert!(long["detail"].as_str().unwrap().len() < 400);
}

#[tokio::test]
async fn a_queue_is_shown_whole_and_its_account_adds_up() {
    let doors = doors();
    let mut ledger = Ledger {
        received: 10,
        in_hand: 3,
        ..Ledger::default()
    };
    ledger.settled[Why::Done as usize] = 5;
    ledger.settled[Why::Skipped as usize] = 2;
    doors.queues[0].metrics.write_ledger(ledger);
    let body = json!({"values": {"queue.orders.skip": 0.2}, "reason": "x"});
    send("POST", "/api/v1/openings", &body).to(&doors).await;

    let got = get("/api/v1/queues/orders").to(&doors).await;
    assert!(!got.text.contains("s3cret"), "{}", got.text);
    let queue = got.json();
    assert_eq!(queue["settings"]["target"], "http://127.0.0.1:8081/jobs");
    assert_eq!(queue["vitals"]["state"], "consuming");
    let skip = queue["gate"]
        .as_array()
        .unwrap()
        .iter()
        .find(|valve| valve["valve"] == "skip");
    assert_eq!(
        skip.unwrap(),
        &json!({"valve": "skip", "flag": "queue.orders.skip", "now": 0.2, "neutral": false, "opening": "o1"})
    );
    let settled = queue["ledger"]["settled"].as_array().unwrap();
    let sum: u64 = settled
        .iter()
        .map(|way| way["count"].as_u64().unwrap())
        .sum();
    assert_eq!(settled.len(), Why::COUNT);
    assert_eq!(queue["ledger"]["received"].as_u64(), Some(sum + 3));
}

#[tokio::test]
async fn readiness_follows_queues_and_the_end() {
    let doors = doors();
    check("well", &doors, get("/readyz"), "200", "ready\n").await;
    let verbose = get("/readyz?verbose");
    check(
        "well, line by line",
        &doors,
        verbose,
        "200",
        "[+] orders: ok\n[+] billing/orders: ok\nready",
    )
    .await;

    let down = LinkState::Connecting("refused\u{1b}[2J".to_owned());
    doors.queues[1].vitals.link(down.clone(), false);
    let brief = check(
        "a queue is down",
        &doors,
        get("/readyz"),
        "503",
        "not ready\n",
    )
    .await;
    assert!(!brief.text.contains("billing"), "no detail unless asked");
    let verbose = get("/readyz?verbose=1");
    check(
        "which",
        &doors,
        verbose,
        "503",
        "[-] billing/orders: refused\\u{1b}[2J\n",
    )
    .await;
    doors.queues[1].vitals.link(down, true);
    check("but shut", &doors, get("/readyz"), "200", "ready\n").await;

    doors.stopping.cancel();
    check("stopping", &doors, get("/readyz"), "503", "stopping\n").await;
    check("yet alive", &doors, get("/livez"), "200", "alive\n").await;
}

#[tokio::test]
async fn the_metrics_door_shows_nothing_else() {
    let doors = doors();
    for (path, status) in [
        ("/metrics", 200),
        ("/livez", 200),
        ("/readyz", 200),
        ("/status", 404),
        ("/api/v1/flags", 404),
        ("/api/v1/openapi.json", 404),
    ] {
        let got = get(path).at(metrics_router(Arc::clone(&doors))).await;
        assert_eq!(got.status.as_u16(), status, "{path}");
    }
    let got = check(
        "numbers",
        &doors,
        get("/metrics"),
        "200",
        "sluicegate_messages_in_hand{queue=\"orders\"} 0",
    )
    .await;
    assert_eq!(
        got.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
}

/// The operations of a path in the document, by method.
fn operations(item: &Value) -> Vec<(&'static str, &Value)> {
    let methods = ["get", "put", "post", "patch", "delete"];
    methods
        .into_iter()
        .filter_map(|method| Some((method, item.get(method)?)))
        .collect()
}

#[tokio::test]
async fn the_document_names_each_route_and_no_other() {
    let doors = doors();
    let document = get("/api/v1/openapi.json").to(&doors).await.json();
    let paths = document["paths"].as_object().unwrap();
    let known = [
        "/",
        "/api/v1/authz/{flag}",
        "/api/v1/changes",
        "/api/v1/changes/verify",
        "/api/v1/events",
        "/api/v1/explain",
        "/api/v1/flags",
        "/api/v1/flags/apply",
        "/api/v1/flags/{key}",
        "/api/v1/flags/{key}/history",
        "/api/v1/flags/{key}/preview",
        "/api/v1/flags/{key}/undo",
        "/api/v1/openapi.json",
        "/api/v1/openings",
        "/api/v1/openings/{id}/close",
        "/api/v1/openings/{id}/extend",
        "/api/v1/outcomes",
        "/api/v1/pools",
        "/api/v1/providers",
        "/api/v1/providers/unknown",
        "/api/v1/providers/unknown/resolve",
        "/api/v1/queues",
        "/api/v1/queues/{name}",
        "/api/v1/queues/{name}/lanes",
        "/api/v1/queues/{name}/release",
        "/api/v1/queues/{name}/relieve",
        "/api/v1/queues/{name}/scale",
        "/api/v1/segments",
        "/api/v1/segments/{name}",
        "/api/v1/segments/{name}/members",
        "/livez",
        "/metrics",
        "/ofrep/v1/evaluate/flags",
        "/ofrep/v1/evaluate/flags/{key}",
        "/ofrep/v1/events",
        "/readyz",
        "/status",
    ];
    let mut listed: Vec<_> = paths.keys().collect();
    listed.sort();
    assert_eq!(listed, known, "doors that users were promised");
    for (path, item) in paths {
        let said: Vec<_> = operations(item)
            .into_iter()
            .map(|(method, _)| method)
            .collect();
        for method in ["GET", "PUT", "POST", "PATCH", "DELETE"] {
            let concrete = path.replace(['{', '}'], "");
            let got = raw(method, &concrete, "").to(&doors).await;
            let routed =
                got.status != StatusCode::METHOD_NOT_ALLOWED && got.verdict() != "404 no-such-path";
            assert_eq!(
                routed,
                said.contains(&method.to_lowercase().as_str()),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn the_document_is_complete() {
    let document = serde_json::to_value(openapi()).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is named and not there");
    }
    let mut names = std::collections::HashSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations(item) {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} is there twice");
            let place = format!("{method} {path}");
            for field in ["summary", "operationId", "tags"] {
                assert!(!operation[field].is_null(), "{place}: no {field}");
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                if ["204", "304"].contains(&status.as_str()) {
                    continue; // these have no body
                }
                let content = response["content"].as_object();
                assert!(
                    content.is_some_and(|content| !content.is_empty()),
                    "{place}: {status} has no content"
                );
                if status.as_str() >= "400" && path != "/readyz" {
                    let of = |kind: &str| &response["content"][kind]["schema"]["$ref"];
                    let problem = of("application/problem+json") == "#/components/schemas/Problem";
                    let failure = of("application/json")
                        == "#/components/schemas/EvaluationFailure"
                        && path.starts_with("/ofrep/");
                    assert!(problem || failure, "{place}: {status}");
                }
            }
            let named: Vec<_> = path.match_indices('{').map(|(at, _)| at).collect();
            let parameters = operation["parameters"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let in_path = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .count();
            assert_eq!(in_path, named.len(), "{place}: parameters of the path");
            assert_eq!(
                !["get", "delete"].contains(&method),
                !operation["requestBody"].is_null(),
                "{place}: body"
            );
        }
    }
}

#[tokio::test]
async fn lanes_are_listed_by_key_and_asked_for_by_key() {
    let doors = doors();
    let second = std::time::Duration::from_secs(1);
    let line = |key: &str, interval, waiting| crate::vitals::LaneLine {
        key: key.into(),
        shared: false,
        waiting,
        since_ms: NOON,
        pace: crate::rules::lane::Pace {
            interval,
            ..Default::default()
        },
        eta: waiting.map(|_| second * 30),
        unread: waiting.is_none().then(|| "not permitted".into()),
    };
    let lines = vec![
        line("acme", Some(second / 4), Some(120)),
        line("bulk/é", None, None),
    ];
    doors.queues[1].vitals.lanes(lines);
    let list = "/api/v1/queues/billing%2Forders/lanes";
    let page = get(&format!("{list}?limit=1")).to(&doors).await;
    assert_eq!(
        page.json()["items"],
        json!([{"key": "acme", "shared": false, "waiting": 120, "since": "2026-11-21T12:00:00Z", "per_second": 4.0,
                "at_once": null, "eta_seconds": 30.0, "unread": null}])
    );
    assert_eq!(
        page.header("link"),
        format!("<{list}?limit=1&cursor=acme>; rel=\"next\"")
    );
    let keys = async |query: &str| {
        let json = get(&format!("{list}{query}")).to(&doors).await.json();
        let items = json["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|item| item["key"].clone())
            .collect::<Vec<_>>()
    };
    let other = get(&format!("{list}?cursor=acme")).to(&doors).await;
    assert_eq!(other.json()["items"][0]["unread"], "not permitted");
    assert_eq!(keys("?cursor=acme").await, ["bulk/é"]);
    assert_eq!(keys("?key=bulk%2F%C3%A9").await, ["bulk/é"]);
    assert!(keys("?key=nobody").await.is_empty());
    let queue = get("/api/v1/queues/billing%2Forders").to(&doors).await;
    assert_eq!(queue.json()["lanes"], json!({"keys": 2, "messages": 120}));
    for (path, verdict) in [
        ("/api/v1/queues/none/lanes", "404 no-such-queue"),
        (
            "/api/v1/queues/orders/lanes?limit=0",
            "400 malformed-request",
        ),
        (
            "/api/v1/queues/orders/lanes?of=acme",
            "400 malformed-request",
        ),
    ] {
        check(path, &doors, get(path), verdict, "").await;
    }
}
