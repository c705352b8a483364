//! Relief: one opening, with what comes of it.

use std::time::Duration;

use super::*;
use crate::rules::relief::load::Load;
use crate::vitals::{QueueVitals, ReliefNow};

const RELIEVE: &str = "/api/v1/queues/orders/relieve";

fn relieve(body: &Value) -> Ask {
    send("POST", RELIEVE, body)
}

/// `orders` with a deadline of ten seconds, eight slots and jobs of 40 ms, behind a backlog of 20 s; `billing/orders` without any.
fn burning() -> Arc<Doors> {
    let mut orders = queue("orders");
    orders.deadline_after = Some(Duration::from_secs(10));
    let doors = doors_of([orders, queue("billing/orders")]);
    burn(&doors.queues[0].vitals);
    doors
}

fn burn(vitals: &QueueVitals) {
    for number in 0..2_000 {
        let now = Duration::from_millis(number * 5);
        vitals.received(now, None);
        vitals.done(now, None, Duration::from_millis(40), Some(number % 10 == 0));
    }
    vitals.backlog(Some(12_000), Some(20_000));
    let load = Load {
        offered: 200.0,
        service_s: Some(0.04),
        slots: 8,
    };
    vitals.relief(ReliefNow {
        load: Some(load),
        ..ReliefNow::default()
    });
}

#[tokio::test(start_paused = true)]
async fn one_opening_sheds_what_is_late_and_then_what_does_not_fit() {
    let doors = burning();
    tokio::time::advance(Duration::from_secs(10)).await;
    let body = json!({"reason": "INC-481"});
    let dry = send("POST", &format!("{RELIEVE}?dry_run=true"), &body);
    let tried = check("dry", &doors, dry, "200", r#""dry_run":true"#)
        .await
        .json();
    assert_eq!(doors.store.snapshot().openings().count(), 0);
    let done = check("relieve", &doors, relieve(&body), "201", "")
        .await
        .json();
    assert_eq!(tried["forecast"], done["forecast"]);
    assert_eq!(
        done["values"],
        json!({"queue.orders.max_age": "9s 860ms", "queue.orders.skip_mode": "auto"})
    );
    assert_eq!(
        (&done["max_age"], &done["deadline"], &done["restore"]),
        (&json!("9s 860ms"), &json!("10s"), &json!({"ramp": "5m"}))
    );
    assert_eq!(done["until"], "on-time >= 98% for 10m, at most 8h");
    let told = &done["forecast"];
    let near = |name: &str, wanted: f64| {
        let found = told[name].as_f64().unwrap_or(f64::NAN);
        assert!(
            (found / wanted - 1.0).abs() < 0.02,
            "{name}: {found}, not {wanted}"
        );
    };
    assert_eq!(
        (&told["waiting"], &told["shed_at_once"]),
        (&json!(12_000), &json!(6_084))
    );
    near("offered_per_second", 600.0);
    near("capacity_per_second", 200.0);
    near("on_time_per_second_now", 20.0);
    near("on_time_per_second_then", 200.0);
    near("shed_ratio_then", 2.0 / 3.0);
    assert_eq!(
        told["accounts"],
        Value::Null,
        "too few messages came lately"
    );
    assert_eq!(done["notes"], json!([]));
    assert_eq!(done["preview"][0]["flag"], "queue.orders.max_age");
    let again = check("again", &doors, relieve(&body), "201", "")
        .await
        .json();
    let note = again["notes"][0].as_str().unwrap();
    assert!(note.starts_with("o1 lies on max_age already"), "{note}");
}

#[tokio::test(start_paused = true)]
async fn a_share_by_hand_is_a_big_move_like_any() {
    let doors = burning();
    let body = json!({"ratio": "60%", "reason": "x"});
    let asked = check("big", &doors, relieve(&body), "409 confirm-size", "")
        .await
        .json();
    assert_eq!(asked["size"], 60);
    let body = json!({"ratio": 0.6, "reason": "x", "confirm": 60, "for": "10m", "restore": "snap", "deadline": "1m"});
    let done = check("said", &doors, relieve(&body), "201", "")
        .await
        .json();
    assert_eq!(done["values"]["queue.orders.skip"], 0.6);
    assert_eq!(done["values"].as_object().unwrap().len(), 2);
    assert_eq!(
        (&done["ends_at"], &done["until"], &done["restore"]),
        (&json!("2026-11-21T12:10:00Z"), &Value::Null, &json!("snap"))
    );
    let notes = done["notes"].to_string();
    assert!(notes.contains("deadline_after, 10s, not by 1m"), "{notes}");
}

#[tokio::test]
async fn what_is_missing_is_named_with_its_cure() {
    let doors = burning();
    let other = "/api/v1/queues/billing%2Forders/relieve";
    let long = json!({"until": "on-time >= 98% for 10m, at most 8h", "for": "1h", "reason": "x"});
    for (what, path, body, verdict, part) in [
        (
            "no deadline",
            other,
            json!({"reason": "x"}),
            "422 incomplete",
            "--deadline 30s",
        ),
        (
            "no deadline",
            other,
            json!({"reason": "x"}),
            "422 incomplete",
            "`deadline_after`",
        ),
        (
            "no queue",
            "/api/v1/queues/ordres/relieve",
            json!({"reason": "x"}),
            "404 no-such-queue",
            "",
        ),
        ("no reason", RELIEVE, json!({}), "422 incomplete", "say why"),
        (
            "nothing is left",
            RELIEVE,
            json!({"deadline": "0s", "reason": "x"}),
            "422 bad-value",
            "pause it",
        ),
        ("two ends", RELIEVE, long, "422 bad-value", "/until"),
        (
            "no end",
            RELIEVE,
            json!({"until": "soon", "reason": "x"}),
            "422 bad-document",
            "is no end",
        ),
        (
            "no share",
            RELIEVE,
            json!({"ratio": 7, "reason": "x"}),
            "422 bad-value",
            "between 0 and 1",
        ),
        (
            "nobody knows",
            other,
            json!({"deadline": "30s", "until": "on-time >= 98%", "reason": "x"}),
            "422 bad-value",
            "nobody knows what is on time in `billing/orders`",
        ),
    ] {
        check(what, &doors, send("POST", path, &body), verdict, part).await;
    }
    assert_eq!(doors.store.snapshot().openings().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_yet_is_said() {
    let doors = burning();
    let other = "/api/v1/queues/billing%2Forders/relieve";
    let body = json!({"deadline": "30s", "reason": "x"});
    let done = check("new", &doors, send("POST", other, &body), "201", "")
        .await
        .json();
    assert_eq!(
        (&done["max_age"], &done["until"], &done["ends_at"]),
        (&json!("30s"), &Value::Null, &json!("2026-11-21T12:30:00Z"))
    );
    let notes = done["notes"].to_string();
    for part in [
        "max_age is the deadline itself",
        "nobody knows what is on time",
    ] {
        assert!(notes.contains(part), "{notes}");
    }
    assert_eq!(done["forecast"]["capacity_per_second"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn any_opening_of_valves_may_end_by_health() {
    let doors = burning();
    let open = |flag: &str| {
        let body = json!({"values": {flag: 0.1}, "until": "on-time >= 98% for 5m", "reason": "x"});
        send("POST", "/api/v1/openings", &body)
    };
    let ask = open("queue.orders.skip");
    let opened = check("by health", &doors, ask, "201", "").await.json();
    assert_eq!(opened["until"], "on-time >= 98% for 5m, at most 8h");
    assert_eq!(opened["ends_at"], "2026-11-21T20:00:00Z");
    let ask = open("queue.billing/orders.skip");
    check(
        "nobody knows",
        &doors,
        ask,
        "422 bad-value",
        r#""pointer":"/until""#,
    )
    .await;
}
