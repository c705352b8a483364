//! What operators do to each other and to the daemon by mistake: two turn one knob at once, somebody types what makes no sense,
//! and the daemon dies while a valve is open (FAULTS F06, F10, F14, H01, H02, H09).

use std::path::Path;
use std::sync::Barrier;

use serde_json::{Value as Json, json};

use crate::broker::Broker;
use crate::daemon::{Config, Daemon, command};
use crate::http::{Answer, request};
use crate::keeper::{eventually, free_port};
use crate::ledger::Kind;
use crate::scene::{QUEUE, Scene, on_both_kinds, secs};

on_both_kinds![killed_across_the_end_of_an_opening_it_starts_on_what_stood_below];

const SKIP: &str = "queue.orders.skip";

/// A daemon whose broker is away: flags need none.
fn daemon() -> Daemon {
    let nobody = format!("amqp://127.0.0.1:{}/%2f", free_port());
    Daemon::start(&Config::new(&nobody).queue(QUEUE, "http://127.0.0.1:9/jobs", ""))
}

/// Types a command that this daemon is meant to get: exit status, and all that was said.
fn types(daemon: &Daemon, words: &[&str]) -> (Option<i32>, String) {
    let url = daemon.url();
    let (status, said, complaint) = command(&[words, &["--url", &url]].concat());
    (status, format!("{said}{complaint}"))
}

/// The chain holds: as the running daemon says, and as the store says by itself once it has ended.
fn the_chain_holds(daemon: &Daemon) {
    let (status, said) = types(daemon, &["changes", "verify"]);
    assert_eq!(
        (status, said.contains("the chain holds")),
        (Some(0), true),
        "{said}"
    );
    assert_eq!(daemon.terminate(), Some(0), "{}", daemon.log());
    the_chain_at_rest_holds(&daemon.data());
}

fn the_chain_at_rest_holds(data: &Path) {
    let asked = ["changes", "verify", "--data-dir", data.to_str().unwrap()];
    let (status, said, complaint) = command(&asked);
    assert_eq!(
        (status, said.contains("the chain holds")),
        (Some(0), true),
        "{said}{complaint}"
    );
}

fn killed_across_the_end_of_an_opening_it_starts_on_what_stood_below(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "killed-across", kind);
    let daemon = scene.daemon("on_skip = \"park\"");
    daemon.set("queue.orders.max_age", "1h");
    let open = [
        "flag",
        "open",
        SKIP,
        "100%",
        "queue.orders.max_age",
        "30m",
        "--for",
        "4s",
        "--reason",
        "INC-481",
        "--yes",
    ];
    let (status, said) = types(&daemon, &open);
    assert_eq!(status, Some(0), "{said}");
    scene.publish_many("during", 20);
    daemon.counts("all are skipped", secs(4), |now| {
        now.settled(QUEUE, "skipped") == 20
    });
    daemon.kill_9();
    the_chain_at_rest_holds(&daemon.data());
    scene.publish_many("meanwhile", 20);
    std::thread::sleep(secs(5));
    daemon.restart();
    // Nobody asks for it: it stands on the right value before the first delivery is taken.
    scene.worker_got(20, secs(10));
    let settled = scene.settles(&daemon, secs(10));
    assert_eq!(settled.settled(QUEUE, "skipped"), 0, "after the end");
    for (flag, stands) in [(SKIP, json!(0.0)), ("queue.orders.max_age", json!("1h"))] {
        let now = daemon.get(&format!("/api/v1/flags/{flag}")).json();
        assert_eq!((&now["now"], &now["value"]), (&stands, &stands), "{now}");
    }
    let newest = daemon.get("/api/v1/changes?limit=1").json()["items"][0].clone();
    assert_eq!(
        (&newest["edit"], &newest["cause"]),
        (&json!("close"), &json!("expiry"))
    );
    the_chain_holds(&daemon);
    let found = scene.nothing_lost(daemon);
    assert!(
        found
            .parked
            .iter()
            .all(|parked| parked.id.starts_with("during"))
    );
}

/// What both are answered who change a flag at the same moment, having seen the same.
fn both(daemon: &Daemon, path: &str, bodies: [&Json; 2]) -> [Answer; 2] {
    let port: u16 = daemon.url().rsplit(':').next().unwrap().parse().unwrap();
    let tag = daemon.get(path).headers["etag"].clone();
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        let racers = bodies.map(|body| {
            let (start, tag) = (&start, &tag);
            scope.spawn(move || {
                start.wait();
                let seen = [("if-match", tag.as_str())];
                request(port, "PATCH", path, &seen, Some(&body.to_string())).unwrap()
            })
        });
        racers.map(|racer| racer.join().unwrap())
    })
}

#[test]
fn of_two_operators_who_race_one_is_told_what_stands_now() {
    let mut config = Config::new(&format!("amqp://127.0.0.1:{}/%2f", free_port()));
    config.sections = "[limits]\nchanges_per_minute = 1000\n".to_owned();
    let daemon = Daemon::start(&config.queue(QUEUE, "http://127.0.0.1:9/jobs", ""));
    let path = format!("/api/v1/flags/{SKIP}");
    for round in 1..=30_u64 {
        let bodies = [0.001, 0.002].map(|more| {
            json!({"value": round as f64 / 1_000.0 + more * 0.1, "keep": true, "reason": format!("round {round}")})
        });
        let mut answers = both(&daemon, &path, [&bodies[0], &bodies[1]]);
        answers.sort_by_key(|answer| answer.status);
        let [won, lost] = &answers;
        assert_eq!((won.status, lost.status), (200, 412), "{won:?} {lost:?}");
        let (won, lost) = (won.json(), lost.json());
        assert_eq!(lost["type"], "/problems/stale", "{lost}");
        assert_eq!(lost["now"]["value"], won["value"], "{lost}");
        assert_eq!(lost["now"]["revision"], won["revision"], "{lost}");
        let detail = lost["detail"].as_str().unwrap();
        assert!(
            detail.contains(&format!("it stands at {round};")),
            "{detail}"
        );
        let now = daemon.get(&path).json();
        assert_eq!(
            (&now["value"], &now["revision"]),
            (&won["value"], &json!(round))
        );
    }
    the_chain_holds(&daemon);
}

/// Each case is typed, refused with this exit code and a sentence with this cure, and changes nothing.
fn refused(daemon: &Daemon, cases: &[(&[&str], i32, &str)]) {
    let revision = || daemon.metrics().get("sluicegate_snapshot_revision");
    let before = revision();
    for (words, code, cure) in cases {
        let (status, said) = types(daemon, words);
        assert_eq!(
            (status, said.contains(cure)),
            (Some(*code), true),
            "{words:?}: {cure}: {said}"
        );
        assert_eq!(
            revision().to_bits(),
            before.to_bits(),
            "{words:?} changed something"
        );
    }
}

#[rustfmt::skip] // a table, one line for each
#[test]
fn what_makes_no_sense_is_refused_with_the_cure() {
    let daemon = daemon();
    let percent = "write 5 percent as 0.05";
    refused(&daemon, &[
        (&["flag", "set", SKIP, "100", "-r", "x"], 2, percent), // H01
        (&["flag", "set", SKIP, "30", "-r", "x"], 2, percent),
        (&["flag", "open", SKIP, "140%", "-r", "x"], 2, percent),
        (&["flag", "set", SKIP, "1.0", "--keep", "-r", "one percent, I thought"], 6, "100 percent"),
        (&["flag", "set", "queue.orders.max_age", "30", "--keep", "-r", "x"], 2, "30s"),
        (&["flag", "set", "queue.orders.rate", "50", "--keep", "-r", "x"], 2, "50/s"),
        (&["flag", "set", SKIP, "NaN", "-r", "x"], 2, "between 0 and 1"), // H02
        (&["flag", "set", SKIP, "inf", "-r", "x"], 2, "between 0 and 1"),
        (&["flag", "open", SKIP, "1e308", "-r", "x"], 2, "between 0 and 1"),
        (&["flag", "open", SKIP, "", "-r", "x"], 2, "between 0 and 1"),
        (&["flag", "set", "queue.orders.concurrency", "10000000000000000000", "--keep", "-r", "x"], 2, "whole number"),
        (&["flag", "set", "queue.orders.max_age", "", "--keep", "-r", "x"], 2, "30s"),
        (&["flag", "open", "queue.orders.rate", "99999999999999999999/s", "-r", "x"], 2, "/s"),
    ]);
    let create = |more: &[&str]| types(&daemon, &[&["flag", "create", "shop.x", "--reason", "x"], more].concat());
    assert_eq!(create(&["--type", "integer", "--value", "1"]).0, Some(0));
    let delete = json!({});
    let gone = daemon.send("DELETE", "/api/v1/flags/shop.x?reason=over", &[("if-match", "\"1\"")], &delete);
    assert_eq!(gone.status, 200, "{}", gone.body);
    let again = create(&["--type", "boolean", "--value", "true"]); // F14
    assert!(again.0 == Some(5) && again.1.contains("choose another, or undo the deletion"), "{again:?}");
    let put = |body: &str| {
        let port: u16 = daemon.url().rsplit(':').next().unwrap().parse().unwrap();
        let new = [("if-none-match", "*")];
        request(port, "PUT", "/api/v1/flags/shop.y", &new, Some(body)).unwrap()
    };
    let whole = r#"{"kind": "ops", "type": "boolean", "value": true, "reason": "x""#;
    for (body, status, cure) in [ // F06
        (format!("{whole}, \"colour\": \"red\"}}"), 422, "\"/colour\""),
        (format!("{whole}, \"value\": false}}"), 400, "value"),
        (format!("{whole}, \"rules\": [null]}}"), 422, "\"/rules/0\""),
        ("null".to_owned(), 422, "is not a JSON object"),
        (String::new(), 400, "line 1 column"),
        (format!("{whole}, \"description\": \"{}\"}}", "x".repeat(1_025)), 422, "put the rest behind a link"),
        (format!("{whole}, \"description\": \"{}\"}}", "x".repeat(300_000)), 413, "several smaller changes"),
    ] {
        let answer = put(&body);
        assert_eq!((answer.status, answer.body.contains(cure)), (status, true), "{cure}: {answer:?}");
    }
    the_chain_holds(&daemon);
}

#[test]
fn a_flag_in_use_is_not_deleted_also_after_a_restart_and_one_that_is_leaves_no_series() {
    let daemon = daemon();
    for key in ["shop.used", "shop.unused"] {
        let body = json!({"kind": "config", "type": "boolean", "value": true, "reason": "new"});
        let path = format!("/api/v1/flags/{key}");
        let made = daemon.send("PUT", &path, &[("if-none-match", "*")], &body);
        assert_eq!(made.status, 201, "{}", made.body);
    }
    let evaluate = "/ofrep/v1/evaluate/flags/shop.used";
    let said = daemon.send("POST", evaluate, &[], &json!({"context": {}}));
    assert_eq!(said.json()["value"], true, "{}", said.body);
    let seen = daemon.get("/api/v1/flags/shop.used").json()["last_evaluated"].clone();
    assert!(seen.is_string(), "{seen}");
    assert_eq!(daemon.terminate(), Some(0), "{}", daemon.log());
    daemon.restart();
    let flag = daemon.get("/api/v1/flags/shop.used").json();
    assert_eq!(flag["last_evaluated"], seen, "{flag}");
    let delete = |key: &str, more: &str| {
        let path = format!("/api/v1/flags/{key}");
        let tag = daemon.get(&path).headers["etag"].clone();
        let path = format!("{path}?reason=over{more}");
        daemon.send("DELETE", &path, &[("if-match", &tag)], &json!({}))
    };
    let refused = delete("shop.used", "");
    assert!(
        refused.status == 409 && refused.body.contains("still-evaluated"),
        "{}",
        refused.body
    );
    assert_eq!(delete("shop.unused", "").status, 200);
    assert!(daemon.get("/metrics").body.contains("\"shop.used\""));
    assert_eq!(delete("shop.used", "&force=true").status, 200);
    let page = daemon.get("/metrics").body;
    assert!(!page.contains("shop."), "{page}");
    the_chain_holds(&daemon);
}

#[test]
fn a_service_that_runs_wild_is_slowed_and_the_limit_is_read_again() {
    let daemon = daemon();
    let evaluate = || {
        let path = "/ofrep/v1/evaluate/flags/queue.orders.skip";
        daemon.send("POST", path, &[], &json!({"context": {}}))
    };
    assert!((0..50).all(|_| evaluate().status == 200));
    daemon.reads_again(|text| format!("{text}\n[limits]\nevaluations_per_second = 1\n"));
    eventually("it is slowed", secs(10), || {
        let slowed = [evaluate(), evaluate(), evaluate()];
        let slowed = slowed.iter().find(|answer| answer.status == 429);
        let slowed = slowed.ok_or_else(|| daemon.log())?;
        assert_eq!(slowed.headers["retry-after"], "1");
        Ok(())
    });
    assert_eq!(daemon.get("/api/v1/flags?limit=1").status, 200);
}
