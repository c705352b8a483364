//! An admitted queue that is missing or was made otherwise: used aloud, or not at all, and never at the price of a message.

use std::time::Duration;

use lapin::types::AMQPValue;

use crate::admitted::{ADMITTED, config, reader, started};
use crate::broker::Broker;
use crate::daemon::{Daemon, command};
use crate::keeper::eventually;
use crate::ledger::{Kind, long};
use crate::scene::{QUEUE, Scene, secs};

#[test]
fn a_queue_made_otherwise_is_used_aloud_or_not_at_all() {
    let scene = Scene::set(Broker::shared(), "otherwise", Kind::Classic);
    scene.ledger.declare(ADMITTED, Kind::Classic, &[]);
    let config = config(&scene, "slots = 4");
    let daemon = started(&config);
    scene.publish_many("unbounded", 10);
    daemon.counts("all are handed over", secs(10), |now| {
        now.settled(QUEUE, "handed_over") == 10
    });
    says(&daemon, "has no `x-max-length`");
    assert_eq!(
        daemon.log().matches("has no `x-max-length`").count(),
        1,
        "{}",
        daemon.log()
    );
    drop(daemon);
    scene.also_worked(scene.ledger.drain(ADMITTED).into_iter().map(|one| one.id));
    scene.ledger.delete(ADMITTED);
    // The same limit, and it would drop its oldest.
    scene.ledger.declare(
        ADMITTED,
        Kind::Classic,
        &[("x-max-length", AMQPValue::LongInt(4))],
    );
    let daemon = started(&config);
    scene.publish_many("dropping", 10);
    says(&daemon, "drops messages when it is full");
    assert_eq!(scene.ledger.ready(ADMITTED), Some(0));
    scene.ledger.delete(ADMITTED);
    let worker = reader(&scene, Duration::ZERO, None);
    let now = daemon.counts("declared by us, it is used", secs(20), |now| {
        now.settled(QUEUE, "handed_over") == 10
    });
    assert_eq!(now.settled(QUEUE, "retry"), 0);
    scene.settles(&daemon, secs(10));
    scene.also_worked(worker.ends());
    scene.nothing_lost(daemon);
}

fn says(daemon: &Daemon, words: &str) {
    eventually(&format!("it says {words:?}"), secs(10), || {
        let detail = daemon.queue(QUEUE)["vitals"]["state_detail"].to_string();
        detail.contains(words).then_some(()).ok_or(detail)
    });
}

#[test]
fn what_is_missing_and_not_ours_to_declare_is_held_and_said() {
    let scene = Scene::set(Broker::shared(), "not-ours", Kind::Quorum);
    let mut config = config(&scene, "slots = 4");
    config.amqp.push_str("declare = false\n");
    let daemon = started(&config);
    scene.publish_many("held", 10);
    says(&daemon, "orders.admitted does not exist");
    assert_eq!(daemon.get("/readyz").status, 200);
    let now = daemon.metrics();
    assert_eq!(now.of_queue("messages_in_hand", QUEUE), 10.0);
    let limited = [
        ("x-max-length", AMQPValue::LongInt(4)),
        ("x-overflow", long("reject-publish")),
    ];
    scene.ledger.declare(ADMITTED, Kind::Classic, &limited);
    let worker = reader(&scene, Duration::ZERO, None);
    daemon.counts("all are handed over", secs(20), |now| {
        now.settled(QUEUE, "handed_over") == 10
    });
    scene.settles(&daemon, secs(10));
    scene.also_worked(worker.ends());
    scene.nothing_lost(daemon);
}

#[test]
fn check_says_how_the_admitted_queue_stands_and_leaves_nothing_behind() {
    let scene = Scene::set(Broker::shared(), "check-admitted", Kind::Classic);
    let url = scene.broker.url(&scene.vhost);
    let home = crate::keeper::directory("check-admitted");
    let file = home.join("sluicegate.toml");
    let text = format!(
        "[amqp]\nurl = \"{url}\"\n[[queue]]\nname = \"{QUEUE}\"\nslots = 4\ntarget = {{ queue = \"{ADMITTED}\" }}\noutcomes = {{ queue = \"orders.outcomes\" }}\n"
    );
    std::fs::write(&file, text).unwrap();
    let says = |passes: bool, words: &[&str]| {
        let (status, said, _) =
            command(&["check", "--connect", "--config", file.to_str().unwrap()]);
        for words in words {
            assert!(said.contains(words), "{words:?} is missing in {said}");
        }
        assert_eq!(status, Some(i32::from(!passes)), "{said}");
    };
    let (can, no_reports) = (
        "the admitted queue orders.admitted can be declared",
        "create it, or leave `outcomes` out",
    );
    says(false, &[can, no_reports]);
    assert_eq!(scene.broker.queues(&scene.vhost), [QUEUE]);
    scene.ledger.declare("orders.outcomes", Kind::Classic, &[]);
    says(
        true,
        &[can, "the queue of outcomes orders.outcomes is there"],
    );
    scene.ledger.declare(ADMITTED, Kind::Classic, &[]);
    says(true, &["has no `x-max-length`"]);
    scene.ledger.delete(ADMITTED);
    let limit = ("x-max-length", AMQPValue::LongInt(4));
    let kept = ("x-overflow", long("reject-publish"));
    scene
        .ledger
        .declare(ADMITTED, Kind::Classic, std::slice::from_ref(&limit));
    says(false, &["drops messages when it is full"]);
    scene.ledger.delete(ADMITTED);
    scene
        .ledger
        .declare(ADMITTED, Kind::Classic, &[limit, kept]);
    says(
        true,
        &["the admitted queue orders.admitted is there, with the limit"],
    );
}
