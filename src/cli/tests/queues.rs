//! `queue`.

use super::*;

fn orders() -> Json {
    let valve = |name: &str, now: Json, neutral: bool, opening: Json| json!({"valve": name, "flag": "", "now": now, "neutral": neutral, "opening": opening});
    json!({
        "name": "orders",
        "gate": [valve("max_age", json!("30s"), false, Json::Null), valve("skip", json!(0.7), false, json!("o42")),
                 valve("rate", Json::Null, true, Json::Null)],
        "vitals": {
            "state": "consuming", "state_detail": "", "ready": 1200, "oldest_age_seconds": 95.2, "received_per_second": 240.04,
            "done_per_second": 79.96, "shed_per_second": 160.0, "on_time_ratio": 0.984, "service_p50_seconds": 0.1,
            "service_p90_seconds": 0.2, "service_p99_seconds": null,
            "top_by_count": [{"key": "acme", "ratio": 0.5, "per_second": 120.0}], "top_by_work": [],
            "relief": {"mode": "manual", "offered_per_second": 240.0, "capacity_per_second": 80.0, "expected_ratio": 0.667},
        },
        "ledger": {"received": 10, "in_hand": 3, "settled": [
            {"verdict": "run", "reason": "done", "count": 7}, {"verdict": "run", "reason": "retry", "count": 0}]},
    })
}

#[test]
fn queues_are_listed_with_figures_to_the_right_and_what_is_open() {
    let page = json!({"items": [orders()], "next": null});
    let daemon = Scripted::answering(vec![(200, page.clone()), (200, page), (200, orders())]);
    let ended = type_at(&daemon.url, "sluicegate queue list", None);
    let wanted = "\
QUEUE   STATE      READY  OLDEST  OFFERED/S  CAN DO/S   IN/S  DONE/S  SHED/S  ON TIME    P50  P99  VALVES
orders  consuming   1200  1m 35s      240.0      80.0  240.0    80.0   160.0    98.4%  100ms    -  max_age 30s, skip 70% (o42)
";
    assert_eq!(
        (ended.code, ended.data.as_str()),
        (0, wanted),
        "{}",
        ended.talk
    );

    let ended = type_at(&daemon.url, "sluicegate queue list --json", None);
    let printed: Json = serde_json::from_str(&ended.data).unwrap();
    assert_eq!(
        printed,
        json!({"items": [orders()]}),
        "JSON is the daemon's own"
    );

    let ended = type_at(&daemon.url, "sluicegate queue list orders", None);
    let wanted = "
MESSAGES        COUNT
received           10
in hand             3
run       done      7

TOP BY COUNT  SHARE     /S
acme          50.0%  120.0
";
    assert!(ended.data.ends_with(wanted), "{}", ended.data);
}

fn pause_flag(own: bool, openings: Json) -> (u16, Json) {
    let flag = json!({
        "key": "queue.orders.pause", "kind": "ops", "type": "boolean", "value": own, "now": true, "revision": 41,
        "openings": openings,
    });
    (200, flag)
}

/// What `queue resume orders` asks a daemon whose flag says this, after it has read the flag.
fn resumes(flag: &(u16, Json), more: Vec<(u16, Json)>, asked: &[&str], said: &str) {
    let mut script = vec![flag.clone()];
    script.extend(more);
    let daemon = Scripted::answering(script);
    let ended = type_at(&daemon.url, "sluicegate queue resume orders -r over", None);
    assert_eq!(
        (ended.code, ended.data.trim_end()),
        (0, said),
        "{}",
        ended.talk
    );
    let heard = daemon.asked.join().unwrap();
    assert_eq!(heard[1..], *asked);
}

#[test]
fn resume_ends_whatever_pauses_and_nothing_else() {
    let closed = || (200, pausing("o7", true));
    let read = "ana: GET /api/v1/flags/queue.orders.pause ";
    let unset =
        r#"ana: PATCH /api/v1/flags/queue.orders.pause "41"{"value":false,"reason":"over"}"#;
    let close_7 = r#"ana: POST /api/v1/openings/o7/close {"reason":"over"}"#;
    resumes(
        &pause_flag(false, json!([])),
        vec![],
        &[],
        "orders is not paused",
    );
    resumes(
        &pause_flag(false, json!([pausing("o6", false), pausing("o7", true)])),
        vec![closed()],
        &[close_7],
        "orders: closed o7",
    );
    let own = pause_flag(true, json!([]));
    resumes(
        &own,
        vec![own.clone(), own.clone()],
        &[read, unset],
        "queue.orders.pause false",
    );
    let both = pause_flag(true, json!([pausing("o7", true)]));
    resumes(
        &both,
        vec![closed(), own.clone(), own.clone()],
        &[close_7, read, unset],
        "orders: closed o7, and queue.orders.pause false",
    );
}

#[test]
fn a_queue_that_is_not_there_is_called_so() {
    for line in [
        "sluicegate queue pause ordres -r x",
        "sluicegate queue resume ordres -r x",
    ] {
        let daemon = Scripted::answering(vec![problem(404, "no-such-flag")]);
        let ended = type_at(&daemon.url, line, None);
        assert_eq!(ended.code, 3);
        assert!(
            ended.talk.contains("there is no queue ordres"),
            "{}",
            ended.talk
        );
    }
}

#[test]
fn lanes_are_listed_with_their_pace_and_when_a_new_one_runs() {
    let lane = |key: &str, shared: bool, waiting: Json, rate: Json, at_once: Json, eta: Json| {
        json!({"key": key, "shared": shared,
        "waiting": waiting, "since": "2026-11-21T12:00:00Z", "per_second": rate, "at_once": at_once, "eta_seconds": eta})
    };
    let none = || Json::Null;
    let page = json!({"items": [
        lane("acme", false, json!(98_500), json!(50.0), none(), json!(1_970.2)),
        lane("bulk", false, json!(7), json!(1.0 / 3_600.0), json!(2), json!(25_000.0)),
        lane("tiny", true, none(), none(), none(), none()),
        {"key": "vip", "shared": false, "waiting": 3, "since": "2026-11-21T12:00:00Z", "unread": "not permitted"},
    ], "next": null});
    let nothing = (200, json!({"items": [], "next": null}));
    let daemon = Scripted::answering(vec![(200, page), nothing.clone(), nothing]);
    let ended = type_at(&daemon.url, "sluicegate queue lanes orders", None);
    let wanted = "\
KEY   LANE    WAITING  SINCE                 PACE                  A NEW ONE RUNS IN
acme  own       98500  2026-11-21 12:00:00Z  50.0/s                          32m 50s
bulk  own           7  2026-11-21 12:00:00Z  one in 1h, 2 at once             6h 56m
tiny  shared        -  2026-11-21 12:00:00Z  no limit                              -
vip   own           3  2026-11-21 12:00:00Z  no limit                              -
the lane of vip cannot be read: not permitted
";
    assert_eq!(
        (ended.code, ended.data.as_str()),
        (0, wanted),
        "{}",
        ended.talk
    );
    let ended = type_at(&daemon.url, "sluicegate queue lanes orders --key a/b", None);
    assert!(
        ended
            .talk
            .contains("nothing of a/b waits in a lane of orders"),
        "{}",
        ended.talk
    );
    let ended = type_at(&daemon.url, "sluicegate queue lanes orders --json", None);
    assert_eq!(ended.data.trim(), "{\n  \"items\": []\n}");
}
