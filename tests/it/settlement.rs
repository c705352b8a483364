//! What becomes of a message, for each answer of its worker and each valve: counted once, found where it belongs.

use std::time::Duration;

use lapin::types::{AMQPValue, FieldArray, FieldTable};
use serde_json::Value as Json;

use crate::broker::Broker;
use crate::keeper::eventually;
use crate::ledger::{Kind, Message, long, now_ms};
use crate::scene::{QUEUE, Scene, on_both_kinds, secs};
use crate::worker::{Got, Reply};

on_both_kinds![
    each_answer_of_the_worker_ends_where_it_should,
    what_is_parked_comes_with_its_envelope_whole,
    shed_messages_are_dropped_dead_lettered_or_parked_as_the_file_says,
    dead_letters_that_cannot_be_placed_are_held_until_they_can,
];

fn each_answer_of_the_worker_ends_where_it_should(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "answers", kind);
    scene
        .worker
        .decides(|job, before| match (job.id.as_str(), before) {
            ("broken", 0) => Reply::Status(500),
            ("dropped", 0) => Reply::Drop,
            ("cut", 0) => Reply::Cut,
            ("hung", 0) => Reply::Hang,
            ("throttled", 0) => Reply::Throttle(5),
            ("refused", _) => Reply::Status(404),
            ("redirected", _) => Reply::Redirect("http://127.0.0.1:1/elsewhere".to_owned()),
            ("endless", _) => Reply::Endless,
            _ => Reply::Status(200),
        });
    let daemon = scene.daemon("slots = 16\nattempts = 5");
    daemon.set(&format!("queue.{QUEUE}.timeout"), "2s");
    // The throttled one goes last: a target that asks for less is left alone for a while.
    let ids = [
        "fine",
        "broken",
        "dropped",
        "cut",
        "hung",
        "refused",
        "redirected",
        "endless",
    ];
    scene.publish(&ids.map(Message::new));
    scene.worker_got(ids.len(), secs(10));
    scene.publish(&[Message::new("throttled")]);
    scene.worker_gets("throttled", secs(10));
    let now = scene.settles(&daemon, secs(45));
    for (reason, times) in [
        ("retry", 1),
        ("unknown", 3),
        ("throttled", 1),
        ("failed", 2),
        ("attempts", 0),
        ("unsettled", 0),
    ] {
        assert_eq!(
            now.settled(QUEUE, reason),
            times,
            "{reason}\n{}",
            daemon.log()
        );
    }
    check_what_the_worker_got(&scene.worker.got());
    let found = scene.nothing_lost(daemon);
    for id in ["broken", "dropped", "cut", "hung", "throttled"] {
        assert_eq!(found.worked[id], 2, "{id}");
    }
    let mut dead: Vec<(String, Option<String>)> = found
        .dead
        .iter()
        .map(|message| (message.id.clone(), message.said("x-sluicegate-reason")))
        .collect();
    dead.sort();
    let failed = Some("failed".to_owned());
    let expected = [
        ("redirected".to_owned(), failed.clone()),
        ("refused".to_owned(), failed),
    ];
    // The endless answer is cut off and counts as done; a redirect is not followed.
    assert_eq!(dead, expected);
}

fn check_what_the_worker_got(got: &[Got]) {
    let said = |id: &str, header: &str| -> Vec<String> {
        let of_id = got.iter().filter(|job| job.id == id);
        of_id
            .map(|job| job.header(header).unwrap().to_owned())
            .collect()
    };
    assert_eq!(said("broken", "sluicegate-attempt"), ["1", "2"]);
    let throttled = said("throttled", "sluicegate-attempt");
    assert_eq!(throttled, ["1", "1"], "being throttled is no attempt");
    let keys = said("hung", "idempotency-key");
    assert_eq!(keys, ["orders:hung", "orders:hung"]);
}

/// A message with all that a republisher gets wrong: a user id, copies, an expiration, deaths, tables and arrays.
fn difficult(id: &str) -> Message {
    let mut death = FieldTable::default();
    death.insert("queue".into(), long(QUEUE));
    death.insert("reason".into(), long("expired"));
    death.insert("count".into(), AMQPValue::LongLongInt(1));
    let mut deaths = FieldArray::default();
    deaths.push(AMQPValue::FieldTable(death));
    Message::new(id)
        .with(|properties| {
            properties
                .with_user_id("guest".into())
                .with_expiration("3600000".into())
                .with_content_type("application/json".into())
                .with_priority(3)
                .with_reply_to("answers".into())
        })
        .header("x-death", AMQPValue::FieldArray(deaths))
        .header("tiny", AMQPValue::ShortShortInt(-3))
        .header("precise", AMQPValue::Double(0.1))
        .text("x-account", "acme")
        .body(b"\x00\xffnot text".to_vec())
}

fn what_is_parked_comes_with_its_envelope_whole(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "envelope", kind);
    let daemon = scene.daemon("on_skip = \"park\"");
    daemon.set(&format!("queue.{QUEUE}.skip"), 1.0);
    scene.publish(&[difficult("parked")]);
    daemon.counts("it is parked", secs(10), |now| {
        now.settled(QUEUE, "skipped") == 1
    });
    daemon.set(&format!("queue.{QUEUE}.skip"), 0.0);
    // It is deferred and comes back through the broker as it was.
    scene
        .worker
        .decides(|_, before| Reply::Status(if before == 0 { 500 } else { 200 }));
    scene.publish(&[difficult("deferred")]);
    let now = scene.settles(&daemon, secs(20));
    assert_eq!(
        (now.settled(QUEUE, "retry"), now.settled(QUEUE, "done")),
        (1, 1)
    );
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.parked.len(), 1);
    let parked = &found.parked[0];
    assert_eq!(parked.body, b"\x00\xffnot text");
    assert_eq!(
        parked.said("x-sluicegate-reason").as_deref(),
        Some("skipped")
    );
    assert!(
        parked.properties.user_id().is_none(),
        "the broker would refuse it"
    );
    assert!(
        parked.properties.expiration().is_none(),
        "it would be gone in an hour"
    );
    assert!(
        !parked.headers.contains_key("x-death"),
        "the broker would see a cycle"
    );
    let original: Json =
        serde_json::from_str(&parked.said("x-sluicegate-original").unwrap()).unwrap();
    assert_eq!(original["properties"]["user_id"], "guest");
    assert_eq!(original["properties"]["expiration"], "3600000");
    assert_eq!(original["key"], QUEUE);
    for (header, letter) in [
        ("x-death", "A"),
        ("tiny", "b"),
        ("precise", "d"),
        ("x-account", "S"),
    ] {
        assert_eq!(
            original["headers"][header][0], letter,
            "{header} in {original}"
        );
    }
    let bodies: Vec<Vec<u8>> = scene.worker.got().into_iter().map(|job| job.body).collect();
    assert_eq!(
        bodies,
        [b"\x00\xffnot text".to_vec(), b"\x00\xffnot text".to_vec()]
    );
}

fn shed_messages_are_dropped_dead_lettered_or_parked_as_the_file_says(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "dispositions", kind);
    scene.ledger.declare("orders.dead", Kind::Classic, &[]);
    let daemon = scene.daemon(
        "on_skip = \"drop\"\non_expired = \"park\"\non_rejected = \"dead_letter\"\ndead_letter = { queue = \"orders.dead\" }",
    );
    daemon.set(&format!("queue.{QUEUE}.max_age"), "1m");
    scene.publish(&[Message::new("late").aged(secs(120)), Message::new("fine")]);
    daemon.counts("one is late", secs(10), |now| {
        now.settled(QUEUE, "expired") == 1
    });
    daemon.set(&format!("queue.{QUEUE}.degrade"), "reject");
    scene.publish(&[Message::new("rejected")]);
    daemon.counts("one is rejected", secs(10), |now| {
        now.settled(QUEUE, "rejected") == 1
    });
    daemon.set(&format!("queue.{QUEUE}.degrade"), "none");
    daemon.set(&format!("queue.{QUEUE}.skip"), 1.0);
    // Dropped on purpose, so the ledger must not look for it.
    scene.ledger.publish(QUEUE, &[Message::new("dropped")]);
    let now = daemon.counts("one is skipped", secs(10), |now| {
        now.settled(QUEUE, "skipped") == 1
    });
    assert_eq!(now.settled(QUEUE, "done"), 1);
    let found = scene.nothing_lost(daemon);
    let ids = |messages: &[Message]| -> Vec<String> {
        messages.iter().map(|message| message.id.clone()).collect()
    };
    assert_eq!(ids(&found.parked), ["late"]);
    assert_eq!(ids(&found.elsewhere["orders.dead"]), ["rejected"]);
    assert_eq!(found.worked.keys().collect::<Vec<_>>(), ["fine"]);
}

/// FAULTS rows A17 to A19: nothing is bound, or the queue is full.
fn dead_letters_that_cannot_be_placed_are_held_until_they_can(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "a17-a19", kind);
    scene
        .worker
        .decides(|job, _| Reply::Status(if job.id.starts_with("bad") { 404 } else { 200 }));
    let daemon = scene.daemon("dead_letter = { queue = \"orders.dead\" }");
    scene.publish(&["bad-0", "bad-1", "bad-2", "good-0"].map(Message::new));
    let now = daemon.counts(
        "the publish was returned, and counted so",
        secs(10),
        |now| {
            now.of_queue("publish_failures_total", QUEUE) >= 3.0 && now.settled(QUEUE, "done") == 1
        },
    );
    assert_eq!(
        now.settled(QUEUE, "failed"),
        0,
        "a returned message is not placed"
    );
    assert_eq!(now.of_queue("messages_in_hand", QUEUE), 3.0);
    // Now it is there, with room for one.
    let full = [
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", long("reject-publish")),
    ];
    scene.ledger.declare("orders.dead", kind, &full);
    let mut taken = Vec::new();
    eventually("each is placed when there is room", secs(45), || {
        taken.extend(
            scene
                .ledger
                .drain("orders.dead")
                .into_iter()
                .map(|message| message.id),
        );
        (taken.len() >= 3).then_some(()).ok_or(format!("{taken:?}"))
    });
    let now = scene.settles(&daemon, secs(10));
    assert_eq!(now.settled(QUEUE, "failed"), 3);
    scene.worker_gets("good-0", secs(1));
    let works = scene.worker.ids().values().sum::<usize>();
    assert_eq!(works, 4, "what waits for its place is not worked again");
    scene.nothing_lost(daemon);
}

#[test]
fn the_last_attempt_is_dead_lettered_with_its_cause() {
    let scene = Scene::set(Broker::shared(), "attempts", Kind::Quorum);
    scene.worker.always(Reply::Status(503));
    let daemon = scene.daemon("attempts = 2");
    scene.publish(&[Message::new("hopeless")]);
    let now = daemon.counts("it is given up", secs(20), |now| {
        now.settled(QUEUE, "attempts") == 1
    });
    assert_eq!(now.settled(QUEUE, "retry"), 1);
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.worked["hopeless"], 2);
    let dead = &found.dead[0];
    assert_eq!(
        dead.said("x-sluicegate-reason").as_deref(),
        Some("attempts")
    );
    assert!(
        dead.said("x-sluicegate-cause").unwrap().contains("503"),
        "{dead:?}"
    );
}

#[test]
fn what_may_have_been_done_is_parked_when_the_file_says_so() {
    let scene = Scene::set(Broker::shared(), "unknown", Kind::Classic);
    scene.worker.always(Reply::Drop);
    let daemon = scene.daemon("on_unknown = \"park\"");
    scene.publish(&[Message::new("perhaps")]);
    daemon.counts("it is unknown", secs(10), |now| {
        now.settled(QUEUE, "unknown") == 1
    });
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.parked.len(), 1);
    assert_eq!(found.worked["perhaps"], 1, "it is not sent twice");
}

#[test]
fn a_worker_that_is_not_there_costs_retries_and_nothing_else() {
    let scene = Scene::set(Broker::shared(), "no-worker", Kind::Classic);
    let nobody = format!("http://127.0.0.1:{}/jobs", crate::keeper::free_port());
    let mut config = scene.config("");
    config.queues = config.queues.replace(&scene.worker.url(), &nobody);
    let daemon = crate::daemon::Daemon::start(&config);
    daemon.ready(secs(10));
    scene.publish_many("waits", 5);
    let now = daemon.counts("all are deferred", secs(15), |now| {
        now.settled(QUEUE, "retry") >= 5
    });
    assert_eq!(
        now.settled(QUEUE, "unknown"),
        0,
        "refused is surely not done"
    );
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.worked.len(), 0);
}

#[test]
fn the_numbers_of_on_time_work_follow_the_deadline() {
    let scene = Scene::set(Broker::shared(), "on-time", Kind::Classic);
    scene.worker.always(Reply::Slow(Duration::from_millis(30)));
    let daemon = scene.daemon("slots = 4\ndeadline_after = \"1m\"");
    scene.publish(&[
        Message::new("early"),
        Message::new("late").aged(secs(90)),
        Message::new("future").header("timestamp_in_ms", AMQPValue::LongLongInt(now_ms() + 500)),
    ]);
    let now = scene.settles(&daemon, secs(10));
    let completed = |on_time: &str| {
        now.get(&format!(
            "sluicegate_completed_total{{on_time=\"{on_time}\",queue=\"{QUEUE}\"}}"
        ))
    };
    assert_eq!((completed("true"), completed("false")), (2.0, 1.0));
    scene.nothing_lost(daemon);
}
