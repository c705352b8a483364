//! `relieve`: what is asked of the daemon, and what is told.

use super::*;

fn relieved(dry_run: bool) -> (u16, Json) {
    let answer = json!({
        "id": "o7", "ends_at": "2026-11-21T20:00:00Z", "until": "on-time >= 98% for 10m, at most 8h",
        "values": {"queue.orders.max_age": "9s 860ms", "queue.orders.skip_mode": "auto"},
        "deadline": "10s", "max_age": "9s 860ms", "notes": ["o3 lies on max_age already"],
        "forecast": {
            "waiting": 12_000, "shed_at_once": 6_084, "offered_per_second": 600.0, "capacity_per_second": 200.0,
            "on_time_per_second_now": 20.0, "on_time_per_second_then": 200.0, "shed_ratio_then": 0.667, "accounts": 87,
        },
        "preview": [{"flag": "queue.orders.max_age", "summary": "0 -> 512 of the last 1,000 messages are shed; 87 accounts; protected: 0"}],
        "dry_run": dry_run,
    });
    (if dry_run { 200 } else { 201 }, answer)
}

#[test]
fn one_line_relieves_a_queue_and_says_what_comes_of_it() {
    let daemon = Scripted::answering(vec![relieved(false)]);
    let line = "sluicegate relieve orders --deadline 10s --reason INC-481";
    let ended = type_at(&daemon.url, line, None);
    assert_eq!(ended.code, 0, "{}", ended.talk);
    for part in [
        "orders is relieved by o7 until on-time >= 98% for 10m, at most 8h (",
        "queue.orders.skip_mode",
        "about 6,084 of the 12,000 that wait are too old for 10s and go",
        "20.0/s now, up to 200.0/s then (offered 600.0/s, workers can do 200.0/s)",
        "about 66.7% from then on",
        "512 of the last 1,000",
    ] {
        assert!(ended.data.contains(part), "{part}: {}", ended.data);
    }
    for part in [
        "note: o3 lies",
        "sluicegate queue list orders",
        "flag close o7",
    ] {
        assert!(ended.talk.contains(part), "{part}: {}", ended.talk);
    }
    let asked = daemon.asked.join().unwrap();
    let wanted = r#"ana: POST /api/v1/queues/orders/relieve {"deadline":"10s","reason":"INC-481"}"#;
    assert_eq!(asked, [wanted]);
}

#[test]
fn who_says_no_reason_sees_first_and_is_asked() {
    let daemon = Scripted::answering(vec![relieved(true), relieved(false)]);
    let line = "sluicegate relieve billing/orders --skip 60% --for 1h --restore snap --yes";
    let ended = type_at(&daemon.url, line, Some("INC-481\n"));
    assert_eq!(ended.code, 0, "{}", ended.talk);
    let first = ended
        .data
        .find("dry run, nothing was changed: billing/orders would be relieved");
    let then = ended.data.find("billing/orders is relieved by o7");
    assert!(first.is_some() && first < then, "{}", ended.data);
    let asked = daemon.asked.join().unwrap();
    assert!(
        asked[0].contains("relieve?dry_run=true") && asked[0].contains("what if"),
        "{asked:?}"
    );
    let wanted = r#"POST /api/v1/queues/billing%2Forders/relieve {"for":"1h","ratio":"60%","reason":"INC-481","restore":"snap"}"#;
    assert!(asked[1].contains(wanted), "{asked:?}");
}

#[test]
fn without_a_terminal_the_reason_is_asked_for_by_name() {
    let ended = type_at("http://127.0.0.1:1", "sluicegate relieve orders", None);
    assert_eq!(ended.code, Exit::Usage as u8);
    assert!(ended.talk.contains("--reason"), "{}", ended.talk);
    let wrong = parse_line("sluicegate relieve orders --until soon")
        .map(|_| ())
        .unwrap_err();
    assert!(wrong.to_string().contains("on-time >= 98%"), "{wrong}");
}
