//! The daemon ends: killed (FAULTS row E01), asked to (E02), asked while somebody hangs (E03).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::broker::Broker;
use crate::daemon::Daemon;
use crate::keeper::eventually;
use crate::ledger::Kind;
use crate::scene::{QUEUE, Scene, on_both_kinds, secs};
use crate::worker::Reply;

on_both_kinds![
    e01_daemon_killed_under_load,
    e02_asked_to_stop_with_work_in_hand,
    e03_a_straggler_is_named,
];

const SLOTS: usize = 8;

fn e01_daemon_killed_under_load(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "e01", kind);
    scene.worker.always(Reply::Slow(Duration::from_millis(4)));
    let daemon = scene.daemon(&format!("slots = {SLOTS}\non_skip = \"park\""));
    daemon.set(&format!("queue.{QUEUE}.skip"), 0.2);
    for round in 1..=5 {
        scene.publish_many(&format!("round-{round}"), 100);
        scene.worker_got(round * 40, secs(20));
        daemon.kill_9();
        let started = Instant::now();
        daemon.restart();
        daemon.ready(secs(10));
        eprintln!("{kind:?}: ready {:?} after its start", started.elapsed());
        let flag = daemon
            .get(&format!("/api/v1/flags/queue.{QUEUE}.skip"))
            .json();
        assert_eq!(flag["value"], json!(0.2), "valves survive");
    }
    scene.settles(&daemon, secs(30));
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.remaining, []);
    // At the worker once more: what was at the worker when the daemon died, and answers whose ack was not yet written.
    let bound = 5 * 2 * SLOTS;
    assert!(
        found.repeated() <= bound,
        "{} repeated in 5 kills",
        found.repeated()
    );
    eprintln!(
        "{kind:?}: {} repeated in 5 kills, {SLOTS} slots",
        found.repeated()
    );
}

fn e02_asked_to_stop_with_work_in_hand(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "e02", kind);
    scene.worker.always(Reply::Slow(Duration::from_millis(800)));
    let daemon = scene.daemon("slots = 4");
    scene.publish_many("job", 30);
    scene.worker_got(4, secs(10));
    daemon.ask_to_stop();
    let said = daemon.not_ready(secs(2));
    assert!(said.contains("stopping"), "{said}");
    assert_eq!(daemon.get("/livez").status, 200, "it answers to the last");
    let asked = Instant::now();
    assert_eq!(daemon.ended(secs(15)), Some(0), "{}", daemon.log());
    assert!(asked.elapsed() < secs(8), "it took {:?}", asked.elapsed());
    let worked = scene.worker.ids();
    // Every ack is out: what was worked is gone from the queue, and what was not lies there.
    eventually("the rest is back", secs(5), || {
        let ready = scene.ledger.ready(QUEUE).unwrap() as usize;
        (ready + worked.len() == 30)
            .then_some(())
            .ok_or(format!("{ready} ready"))
    });
    let found = scene.nothing_lost(daemon);
    for message in &found.remaining {
        assert!(
            !worked.contains_key(&message.id),
            "{} was worked and came back",
            message.id
        );
    }
    assert_eq!(found.remaining.len() + worked.len(), 30);
}

fn e03_a_straggler_is_named(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "e03", kind);
    scene.worker.decides(|job, _| match job.id.as_str() {
        "hangs" => Reply::Hang,
        _ => Reply::Status(200),
    });
    let mut config = scene.config("slots = 4");
    config.daemon = "stop_within = \"1s\"\nlog = \"info\"".to_owned();
    let daemon = Daemon::start(&config);
    daemon.ready(secs(10));
    scene.publish(&["hangs", "fine"].map(crate::ledger::Message::new));
    scene.worker_got(2, secs(10));
    daemon.ask_to_stop();
    let asked = Instant::now();
    assert_eq!(daemon.ended(secs(15)), Some(1), "{}", daemon.log());
    assert!(asked.elapsed() < secs(8), "it took {:?}", asked.elapsed());
    let log = daemon.log();
    assert!(log.contains("hangs"), "the straggler is named:\n{log}");
    let found = scene.nothing_lost(daemon);
    let remaining: Vec<&str> = found
        .remaining
        .iter()
        .map(|message| message.id.as_str())
        .collect();
    assert_eq!(
        remaining,
        ["hangs"],
        "it is left to the broker, which gives it out again"
    );
}

#[test]
fn e03_asked_twice_it_ends_at_once() {
    let scene = Scene::set(Broker::shared(), "e03-twice", Kind::Classic);
    scene.worker.always(Reply::Hang);
    let daemon = scene.daemon("slots = 4");
    scene.publish_many("hangs", 2);
    scene.worker_got(2, secs(10));
    daemon.ask_to_stop();
    daemon.not_ready(secs(5));
    daemon.ask_to_stop();
    let asked = Instant::now();
    assert_eq!(daemon.ended(secs(10)), Some(1), "{}", daemon.log());
    assert!(asked.elapsed() < secs(3), "it took {:?}", asked.elapsed());
    scene.nothing_lost(daemon);
}

#[test]
fn what_is_being_parked_at_a_stop_is_parked() {
    let scene = Scene::set(Broker::shared(), "stop-parking", Kind::Quorum);
    let daemon = scene.daemon("prefetch = 200\non_skip = \"park\"");
    daemon.set(&format!("queue.{QUEUE}.skip"), 1.0);
    scene.publish_many("parked", 500);
    daemon.counts("some are parked", secs(10), |now| {
        now.settled(QUEUE, "skipped") > 20
    });
    assert_eq!(daemon.terminate(), Some(0), "{}", daemon.log());
    let log = daemon.log();
    let found = scene.nothing_lost(daemon);
    let parked: BTreeSet<&String> = found.parked.iter().map(|message| &message.id).collect();
    let twice = found
        .remaining
        .iter()
        .filter(|message| parked.contains(&message.id));
    assert_eq!(
        twice.count(),
        0,
        "none is in both places, of {} parked (once: {})\n{log}",
        found.parked.len(),
        parked.len()
    );
    assert_eq!(
        parked.len(),
        found.parked.len(),
        "none is parked twice\n{log}"
    );
}

#[test]
fn two_daemons_do_not_share_a_data_directory() {
    let scene = Scene::set(Broker::shared(), "e10", Kind::Classic);
    let daemon = scene.daemon("");
    let mut second = scene.config("");
    second.daemon = format!("data_dir = \"{}\"", daemon.data().display());
    let (status, said) = Daemon::refuses_to_start(&second);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("data"), "{said}");
    assert_eq!(daemon.terminate(), Some(0));
}

/// A quorum queue takes acks as fast as its disk: those that the broker has not passed on when their channel closes are forgotten.
#[test]
fn acks_to_a_quorum_queue_on_a_slow_disk_are_out_before_the_end() {
    let broker = Broker::own();
    let scene = Scene::set(&broker, "slow-disk", Kind::Quorum);
    let daemon = scene.daemon("prefetch = 300\non_skip = \"park\"");
    daemon.set(&format!("queue.{QUEUE}.skip"), 1.0);
    scene.publish_many("first", 1);
    daemon.counts("there is a park", secs(10), |now| {
        now.settled(QUEUE, "skipped") == 1
    });
    daemon.set(&format!("queue.{QUEUE}.pause"), true);
    scene.publish_many("parked", 300);
    // Nothing can be parked while the alarm lasts, so that all of it is in hand when the daemon is asked to stop.
    broker.alarm();
    daemon.set(&format!("queue.{QUEUE}.pause"), false);
    daemon.counts("all is in hand", secs(10), |now| {
        now.of_queue("messages_in_hand", QUEUE) >= 300.0
    });
    daemon.ask_to_stop();
    std::thread::sleep(Duration::from_millis(500));
    broker.eval("sys:suspend(ra_log_wal).");
    broker.clear_alarm();
    std::thread::sleep(Duration::from_millis(1_500));
    broker.eval("sys:resume(ra_log_wal).");
    assert_eq!(daemon.ended(secs(20)), Some(0), "{}", daemon.log());
    let log = daemon.log();
    let found = scene.nothing_lost(daemon);
    let parked: BTreeSet<&String> = found.parked.iter().map(|message| &message.id).collect();
    let twice = found
        .remaining
        .iter()
        .filter(|message| parked.contains(&message.id));
    assert_eq!(
        twice.count(),
        0,
        "parked and yet in the queue, of {}\n{log}",
        parked.len()
    );
}
