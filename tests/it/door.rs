//! Flags and segments through the doors of the program: seeded by a file, limited by a file, and brought back after a crash.

use serde_json::{Value as Json, json};

use crate::daemon::{Config, Daemon};
use crate::http::Answer;
use crate::keeper::{eventually, free_port};
use crate::laws::root;
use crate::scene::secs;

const FLAG: &str = "/api/v1/flags/shop.orders.new-pricing";
const SKIP: &str = "/api/v1/flags/queue.orders.skip";

/// A daemon whose broker is away: flags need none.
fn daemon() -> Daemon {
    let amqp = format!("amqp://127.0.0.1:{}/%2f", free_port());
    let mut config = Config::new(&amqp).queue("orders", "http://127.0.0.1:9/jobs", "");
    let flags = root().join("config/flags.toml");
    config.daemon += &format!("flags_file = \"{}\"\n", flags.display());
    config.sections = "[limits]\nskip = \"95%\"\n".to_owned();
    Daemon::start(&config)
}

fn patch(daemon: &Daemon, path: &str, body: &Json) -> Answer {
    let tag = daemon.get(path).headers["etag"].clone();
    daemon.send("PATCH", path, &[("if-match", &tag)], body)
}

#[test]
fn a_new_store_has_the_flags_and_segments_of_the_file() {
    let daemon = daemon();
    let beta = daemon.get("/api/v1/segments/beta").json();
    assert_eq!(
        (&beta["members"], &beta["used_by"]),
        (&json!(["acme"]), &json!(["shop.orders.new-pricing"]))
    );
    let flag = daemon.get(FLAG).json();
    assert_eq!(flag["rules"][0]["when"][0]["segment"], "beta", "{flag}");
}

#[test]
fn the_limits_of_the_file_are_read_again_while_it_runs() {
    let daemon = daemon();
    let skip = |share: f64| {
        let body = json!({"value": share, "confirm": (share * 100.0) as u64, "keep": true, "reason": "x", "dry_run": true});
        patch(&daemon, SKIP, &body)
    };
    assert_eq!(skip(0.9).status, 200);
    assert!(skip(0.96).body.contains("at most 0.95"));
    daemon.reads_again(|text| {
        text.replace("skip = \"95%\"", "skip = \"50%\"\nchanges_per_minute = 1")
    });
    eventually("the new limit holds", secs(5), || {
        let answer = skip(0.9);
        answer
            .body
            .contains("at most 0.5")
            .then_some(())
            .ok_or(answer.body)
    });
    let change = || patch(&daemon, FLAG, &json!({"owner": "team-shop", "reason": "x"}));
    assert_eq!(change().status, 200);
    let slowed = change();
    assert_eq!(slowed.status, 429, "{}", slowed.body);
    assert!(slowed.headers["retry-after"].parse::<u64>().unwrap() <= 60);
    assert!(daemon.log().contains("limits.skip"), "{}", daemon.log());
}

#[test]
fn what_a_flag_was_is_known_after_a_crash() {
    let daemon = daemon();
    let first = daemon.get(FLAG).json();
    let off = json!({"enabled": false, "rules": null, "reason": "INC-481"});
    assert_eq!(patch(&daemon, FLAG, &off).status, 200);
    daemon.kill_9();
    daemon.restart();
    let history = daemon.get(&format!("{FLAG}/history")).json();
    assert_eq!(history["items"][0]["reason"], "INC-481");
    let undone = daemon.send(
        "POST",
        &format!("{FLAG}/undo"),
        &[],
        &json!({"reason": "it was not that"}),
    );
    let (undone, now) = (undone.json(), daemon.get(FLAG).json());
    for field in [
        "rules",
        "enabled",
        "value",
        "owner",
        "description",
        "runbook",
    ] {
        assert_eq!(
            (&undone[field], &now[field]),
            (&first[field], &first[field]),
            "{field}"
        );
    }
    let chain = daemon.get("/api/v1/changes/verify").json();
    assert_eq!(chain["whole"], true, "{chain}");
    let export = daemon.get("/api/v1/changes?format=jsonl").body;
    assert_eq!(
        export.lines().count() as u64,
        chain["newest"].as_u64().unwrap()
    );
}
