//! A message is deferred while its queue is full, gone, or the broker dies: it comes back, later, and is not lost.

use lapin::types::AMQPValue;

use crate::broker::Broker;
use crate::ledger::{Kind, Message, long};
use crate::scene::{QUEUE, Scene, on_both_kinds, secs};
use crate::worker::Reply;

on_both_kinds![
    the_source_is_full_while_messages_are_deferred,
    the_source_is_gone_while_messages_are_deferred,
    the_broker_dies_while_messages_are_deferred,
];

/// Five messages that fail once, so that all of them lie in the delay queue of five seconds.
fn five_deferred(scene: &Scene<'_>, daemon: &crate::daemon::Daemon) {
    scene.worker.decides(|job, before| {
        let fails = job.id.starts_with("deferred") && before == 0;
        Reply::Status(if fails { 500 } else { 200 })
    });
    scene.publish_many("deferred", 5);
    daemon.counts("all are deferred", secs(10), |now| {
        now.settled(QUEUE, "retry") == 5
    });
}

fn the_source_is_full_while_messages_are_deferred(kind: Kind) {
    let limits = [
        ("x-max-length", AMQPValue::LongInt(6)),
        ("x-overflow", long("reject-publish")),
    ];
    let scene = Scene::set_with(Broker::shared(), "full", kind, &limits);
    let daemon = scene.daemon("slots = 2");
    five_deferred(&scene, &daemon);
    daemon.set(&format!("queue.{QUEUE}.pause"), true);
    // The limit counts what is ready, and for some brokers a little more gets in: fill it until the broker says no.
    let mut fill = Vec::new();
    for number in 0..50 {
        let message = Message::new(format!("filler-{number}"));
        let confirmed = scene.ledger.try_publish(QUEUE, &[message]);
        if confirmed.is_empty() {
            break;
        }
        fill.extend(confirmed);
    }
    assert!(fill.len() < 50, "the queue is not full");
    scene.expect_found(fill);
    // The delay is long over and the source does not take them: a delay queue that confirms keeps them.
    std::thread::sleep(secs(8));
    assert!(scene.worker.ids().values().all(|times| *times == 1));
    daemon.set(&format!("queue.{QUEUE}.pause"), false);
    let now = scene.settles(&daemon, secs(40));
    assert!(now.settled(QUEUE, "done") >= 11, "{:?}", scene.worker.ids());
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.worked["deferred-4"], 2);
}

fn the_source_is_gone_while_messages_are_deferred(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "gone", kind);
    let daemon = scene.daemon("slots = 2");
    five_deferred(&scene, &daemon);
    scene.ledger.delete(QUEUE);
    daemon.not_ready(secs(10));
    std::thread::sleep(secs(7));
    scene.ledger.declare(QUEUE, kind, &[]);
    daemon.ready(secs(30));
    let now = scene.settles(&daemon, secs(40));
    assert_eq!(now.settled(QUEUE, "done"), 5);
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.worked["deferred-4"], 2);
}

fn the_broker_dies_while_messages_are_deferred(kind: Kind) {
    let broker = Broker::own();
    let scene = Scene::set(&broker, "deferred-dies", kind);
    let daemon = scene.daemon("slots = 2");
    five_deferred(&scene, &daemon);
    broker.kill_9();
    broker.restart();
    daemon.ready(secs(15));
    let now = scene.settles(&daemon, secs(40));
    assert!(now.settled(QUEUE, "done") >= 5);
    let found = scene.nothing_lost(daemon);
    assert!(found.worked["deferred-4"] >= 2);
}
