//! What is foretold of a valve, and what then happens to the same messages on a real queue.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::broker::Broker;
use crate::keeper::eventually;
use crate::ledger::{Kind, Message};
use crate::scene::{QUEUE, Scene, on_both_kinds, secs};

on_both_kinds![what_is_foretold_of_a_skip_is_what_happens];

const COUNT: usize = 400;

fn messages() -> Vec<Message> {
    let of = |number: usize| {
        let account = format!("a-{}", number % 20);
        Message::new(format!("job-{number}")).text("x-account", &account)
    };
    (0..COUNT).map(of).collect()
}

fn what_is_foretold_of_a_skip_is_what_happens(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "preview", kind);
    let daemon = scene.daemon(
        "slots = 16\nprefetch = 200\non_skip = \"park\"\nkey = \"account\"\n[queue.attributes]\naccount = \"header:x-account\"",
    );
    let path = format!("/api/v1/flags/queue.{QUEUE}.skip/preview");
    let proposal = json!({"open": {"value": 0.25}});
    let ask = || -> Json { daemon.send("POST", &path, &[], &proposal).json() };
    let before = ask();
    assert_eq!(before["effect"], Json::Null);
    assert!(
        before["summary"].as_str().unwrap().starts_with("no data"),
        "{before}"
    );
    scene.publish(&messages());
    scene.worker_got(COUNT, secs(20));
    scene.settles(&daemon, secs(20));
    let foretold = eventually("all that came is looked at", secs(10), || {
        let told = ask();
        let looked_at = told["effect"]["messages"].as_u64().unwrap_or(0);
        (looked_at == COUNT as u64)
            .then_some(told["effect"].clone())
            .ok_or(told.to_string())
    });
    let expected = foretold["changed"].as_u64().unwrap();
    assert!((60..140).contains(&expected), "{foretold}");
    // The opening is real, and the same messages come again.
    let opening = json!({"values": {(format!("queue.{QUEUE}.skip")): 0.25}, "for": "10m", "reason": "a test"});
    let opened = daemon.send("POST", "/api/v1/openings", &[], &opening);
    assert_eq!(opened.status, 201, "{}", opened.body);
    let explained: BTreeSet<String> = (0..COUNT)
        .map(|number| format!("job-{number}"))
        .filter(|id| {
            let told = daemon
                .get(&format!("/api/v1/explain?queue={QUEUE}&id={id}"))
                .json();
            assert_eq!(told["known"]["from"], "recent", "{told}");
            told["reason"] == "skipped"
        })
        .collect();
    scene.publish(&messages());
    let settled = scene.settles(&daemon, secs(20));
    assert_eq!(
        settled.settled(QUEUE, "skipped"),
        expected,
        "what was foretold"
    );
    assert_eq!(
        settled.settled(QUEUE, "done"),
        (2 * COUNT) as u64 - expected
    );
    let found = scene.nothing_lost(daemon);
    let parked: BTreeSet<String> = found
        .parked
        .iter()
        .map(|message| message.id.clone())
        .collect();
    assert_eq!(parked, explained, "each message as explained");
}
