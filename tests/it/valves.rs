//! Valves turned on live traffic, over the API, as an operator does it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::broker::Broker;
use crate::daemon::command;
use crate::keeper::eventually;
use crate::ledger::{Kind, Message};
use crate::scene::{QUEUE, Scene, on_both_kinds, secs};
use crate::worker::Reply;

on_both_kinds![
    pause_stops_at_once_and_gives_back,
    skip_sheds_its_share_and_the_same_messages_again,
];

fn pause_stops_at_once_and_gives_back(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "pause", kind);
    scene.worker.always(Reply::Slow(Duration::from_millis(20)));
    let daemon = scene.daemon("slots = 2\nprefetch = 50");
    scene.publish_many("job", 200);
    scene.worker_got(10, secs(10));
    daemon.set(&format!("queue.{QUEUE}.pause"), true);
    let answered = Instant::now();
    std::thread::sleep(secs(1));
    let after = scene.worker.got();
    // What was at the worker when the call was answered is finished; a request may still have been on its way for a moment.
    let late = after
        .iter()
        .filter(|job| job.at > answered + Duration::from_millis(100));
    assert_eq!(late.count(), 0, "dispatched after the answered call");
    daemon.counts("all is given back", secs(10), |now| {
        now.of_queue("messages_in_hand", QUEUE) == 0.0
    });
    let done = scene.worker.ids().len();
    eventually("the rest is in the queue", secs(10), || {
        let ready = scene.ledger.ready(QUEUE).unwrap() as usize;
        (ready + done == 200)
            .then_some(())
            .ok_or(format!("{ready} ready, {done} done"))
    });
    assert_eq!(
        daemon.get("/readyz").status,
        200,
        "a paused queue is as it should be"
    );
    daemon.set(&format!("queue.{QUEUE}.pause"), false);
    scene.worker_got(200, secs(20));
    scene.settles(&daemon, secs(10));
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.repeated(), 0);
}

fn skip_sheds_its_share_and_the_same_messages_again(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "skip", kind);
    let daemon = scene.daemon("slots = 16\nprefetch = 200\non_skip = \"park\"");
    daemon.set(&format!("queue.{QUEUE}.skip"), 0.3);
    scene.publish_many("job", 1_000);
    scene.settles(&daemon, secs(20));
    let first = scene.worker.ids();
    assert!(
        (640..=760).contains(&first.len()),
        "{} of 1000 passed at 70 %",
        first.len()
    );
    // The same ids once more, at a higher rate: whoever was skipped is skipped again.
    daemon.set(&format!("queue.{QUEUE}.skip"), 0.6);
    scene.publish_many("job", 1_000);
    scene.settles(&daemon, secs(20));
    let second: BTreeMap<String, usize> = scene.worker.ids();
    assert_eq!(
        first.len(),
        second.len(),
        "raising skip has let somebody pass"
    );
    let twice = second.values().filter(|times| **times == 2).count();
    assert!(
        (330..=470).contains(&twice),
        "{twice} of 1000 passed at 40 %"
    );
    scene.nothing_lost(daemon);
}

#[test]
fn rate_and_concurrency_are_kept_while_they_are_turned() {
    let scene = Scene::set(Broker::shared(), "rate", Kind::Classic);
    scene.worker.always(Reply::Slow(Duration::from_millis(50)));
    let daemon = scene.daemon("slots = 10\nprefetch = 50");
    daemon.set(&format!("queue.{QUEUE}.concurrency"), 3);
    scene.publish_many("first", 60);
    scene.worker_got(60, secs(20));
    assert!(
        scene.worker.most_at_once() <= 3,
        "{}",
        scene.worker.most_at_once()
    );
    daemon.set(&format!("queue.{QUEUE}.rate"), "20/s");
    let started = Instant::now();
    scene.publish_many("second", 60);
    // Ten turns of the knob must not give ten bursts.
    for rate in ["21/s", "20/s", "22/s", "20/s", "21/s", "20/s"] {
        daemon.set(&format!("queue.{QUEUE}.rate"), rate);
    }
    scene.worker_got(120, secs(30));
    let took = started.elapsed();
    assert!(
        took > Duration::from_millis(1_800),
        "60 at 20/s took {took:?}"
    );
    daemon.set(&format!("queue.{QUEUE}.rate"), "0/s");
    scene.publish_many("third", 5);
    std::thread::sleep(secs(1));
    assert_eq!(scene.worker.ids().len(), 120, "0/s stops");
    daemon.set(&format!("queue.{QUEUE}.rate"), json!(null));
    scene.worker_got(125, secs(10));
    scene.settles(&daemon, secs(10));
    scene.nothing_lost(daemon);
}

#[test]
fn one_account_that_floods_does_not_hold_up_the_others() {
    let scene = Scene::set(Broker::shared(), "each", Kind::Quorum);
    scene.worker.always(Reply::Slow(Duration::from_millis(20)));
    let daemon = scene.daemon(
        "slots = 8\nprefetch = 40\nkey = \"account\"\n[queue.attributes]\naccount = \"header:x-account\"",
    );
    daemon.set(&format!("queue.{QUEUE}.rate_each"), "2/s");
    let of = |account: &str, number: usize| {
        Message::new(format!("{account}-{number}")).text("x-account", account)
    };
    let mut messages: Vec<Message> = (0..120).map(|number| of("flood", number)).collect();
    messages.extend((0..10).map(|number| of(&format!("other-{number}"), 0)));
    scene.publish(&messages);
    for number in 0..10 {
        scene.worker_gets(&format!("other-{number}-0"), secs(10));
    }
    let floods = scene
        .worker
        .ids()
        .keys()
        .filter(|id| id.starts_with("flood"))
        .count();
    assert!(floods < 40, "{floods} of the flood went first");
    scene.nothing_lost(daemon);
}

#[test]
fn an_opening_ends_by_itself_also_over_a_crash() {
    let scene = Scene::set(Broker::shared(), "opening", Kind::Classic);
    let daemon = scene.daemon("on_skip = \"park\"");
    let flag = format!("queue.{QUEUE}.skip");
    let url = daemon.url();
    let (status, said, complaint) = command(&[
        "flag", "open", &flag, "100%", "--for", "6s", "--reason", "INC-481", "--yes", "--json",
        "--url", &url,
    ]);
    assert_eq!(status, Some(0), "{said}{complaint}");
    let opened = Instant::now();
    scene.publish_many("during", 10);
    daemon.counts("all are skipped", secs(4), |now| {
        now.settled(QUEUE, "skipped") == 10
    });
    daemon.kill_9();
    daemon.restart();
    let now = daemon.get(&format!("/api/v1/flags/{flag}")).json();
    assert_eq!(now["now"], json!(1.0), "it survives");
    eventually("it ends", secs(10), || {
        let now = daemon.get(&format!("/api/v1/flags/{flag}")).json();
        (now["now"] == json!(0.0))
            .then_some(())
            .ok_or(now.to_string())
    });
    assert!(
        opened.elapsed() > secs(4),
        "it ended early, after {:?}",
        opened.elapsed()
    );
    scene.publish_many("after", 10);
    scene.worker_gets("after-9", secs(10));
    scene.settles(&daemon, secs(10));
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.parked.len(), 10);
}

#[test]
fn promtool_finds_nothing_to_say_of_the_metrics() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let scene = Scene::set(Broker::shared(), "promtool", Kind::Classic);
    let daemon = scene.daemon("");
    scene.publish_many("job", 20);
    scene.worker_got(20, secs(10));
    scene.settles(&daemon, secs(10));
    let page = daemon.get("/metrics").body;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(output.status.success());
    scene.nothing_lost(daemon);
}
