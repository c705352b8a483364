//! Queues that keep their order: whatever breaks, no message is worked for the first time after one that follows it in its line.

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::types::AMQPValue;
use serde_json::json;

use crate::broker::Broker;
use crate::daemon::Daemon;
use crate::keeper::eventually;
use crate::ledger::{Kind, Message};
use crate::scene::{QUEUE, Scene, on_both_kinds, secs};
use crate::worker::Reply;

on_both_kinds![
    a_key_keeps_its_order_through_kills_pauses_and_cut_links,
    a_strict_queue_keeps_its_order_through_stops,
    a_failed_one_blocks_its_key_until_its_release,
    of_two_daemons_one_stands_by_and_goes_on,
    with_a_standby_a_stop_and_a_pause_keep_the_order,
];

const KEYED: &str = "key = \"account\"\norder = \"key\"\nslots = 4\nattributes = { account = \"header:x-account\" }";
const STRICT: &str = "order = \"strict\"";
const ACCOUNTS: [&str; 3] = ["acme", "bulk", "small"];

/// Messages `name-0000`, … of three accounts in turn.
fn messages(name: &str, numbers: std::ops::Range<usize>) -> Vec<Message> {
    let message = |n: usize| {
        Message::new(format!("{name}-{n:04}")).text("x-account", ACCOUNTS[n % ACCOUNTS.len()])
    };
    numbers.map(message).collect()
}

/// Says that of each line the worker got each id for the first time after all that were published before it.
fn first_occurrences_are_in_order(scene: &Scene<'_>, by_key: bool) {
    let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for got in scene.worker.got() {
        let account = got.header("sluicegate-account").unwrap_or_default();
        let line = lines
            .entry(if by_key {
                account.to_owned()
            } else {
                String::new()
            })
            .or_default();
        if !line.contains(&got.id) {
            line.push(got.id);
        }
    }
    assert!(!lines.is_empty());
    for (account, ids) in lines {
        let out = ids.windows(2).find(|pair| pair[0] > pair[1]);
        assert_eq!(out, None, "of {account:?}: {ids:?}");
    }
}

fn a_key_keeps_its_order_through_kills_pauses_and_cut_links(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "order-key", kind);
    scene.worker.decides(|got, before| {
        let number: usize = got.id.rsplit('-').next().unwrap().parse().unwrap();
        match (number % 40, before) {
            (7, 0) => Reply::Status(500),
            (19, 0) => Reply::Throttle(1),
            _ => Reply::Slow(Duration::from_millis(4)),
        }
    });
    let daemon = scene.daemon(KEYED);
    scene.publish(&messages("job", 0..300));
    for (done, blow) in [(30, 0), (70, 1), (110, 2), (150, 0), (190, 1), (230, 2)] {
        scene.worker_got(done, secs(40));
        match blow {
            0 => {
                daemon.kill_9();
                daemon.restart();
            }
            1 => {
                daemon.set(&format!("queue.{QUEUE}.pause"), true);
                daemon.counts("all is back", secs(20), |now| {
                    now.of_queue("messages_in_hand", QUEUE) == 0.0
                });
                daemon.set(&format!("queue.{QUEUE}.pause"), false);
            }
            _ => cut(&scene),
        }
    }
    scene.worker_got(300, secs(60));
    scene.settles(&daemon, secs(30));
    first_occurrences_are_in_order(&scene, true);
    let found = scene.nothing_lost(daemon);
    assert_eq!((found.parked.len(), found.dead.len()), (0, 0));
}

/// The broker closes every connection to this vhost.
fn cut(scene: &Scene<'_>) {
    let vhost = &scene.vhost;
    scene.broker.eval(&format!(
        "[rabbit_networking:close_connection(Pid, \"cut\") || Pid <- rabbit_networking:connections(), [{{vhost, V}}] <- [rabbit_networking:connection_info(Pid, [vhost])], V =:= <<\"{vhost}\">>]."
    ));
}

fn a_strict_queue_keeps_its_order_through_stops(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "order-strict", kind);
    scene.worker.always(Reply::Slow(Duration::from_millis(3)));
    let daemon = scene.daemon(STRICT);
    scene.publish(&messages("job", 0..200));
    for done in [30, 80, 130] {
        scene.worker_got(done, secs(20));
        assert_eq!(daemon.terminate(), Some(0), "{}", daemon.log());
        let worked = scene.worker.ids().len();
        assert_eq!(scene.ledger.ready(QUEUE), Some(200 - worked as u32));
        daemon.restart();
    }
    scene.worker_got(200, secs(20));
    scene.settles(&daemon, secs(20));
    first_occurrences_are_in_order(&scene, false);
    assert_eq!(scene.worker.most_at_once(), 1);
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.repeated(), 0, "a stop repeats nothing");
}

fn a_failed_one_blocks_its_key_until_its_release(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "order-blocked", kind);
    scene.worker.decides(|got, _| match got.id.as_str() {
        "job-0003" => Reply::Status(400),
        _ => Reply::Status(200),
    });
    let daemon = scene.daemon(KEYED);
    scene.publish(&messages("job", 0..12));
    scene.worker_got(10, secs(10));
    let blocked = || daemon.queue(QUEUE)["blocked"].clone();
    eventually("the key is blocked", secs(10), || {
        (blocked()["count"] == 1)
            .then_some(())
            .ok_or(blocked().to_string())
    });
    assert_eq!(blocked()["keys"][0]["key"], "acme");
    daemon.counts("the rest is parked", secs(10), |now| {
        now.settled(QUEUE, "blocked") == 2
    });
    daemon.kill_9();
    daemon.restart();
    daemon.ready(secs(10));
    assert_eq!(blocked()["count"], 1, "it survives");
    assert_eq!(daemon.metrics().of_queue("blocked_keys", QUEUE), 1.0);
    scene.publish(&messages("later", 0..3));
    scene.worker_gets("later-0001", secs(10));
    let path = format!("/api/v1/queues/{QUEUE}/release");
    let body = json!({ "key": "acme", "reason": "the address is mended" });
    assert_eq!(daemon.send("POST", &path, &[], &body).status, 200);
    scene.publish(&messages("last", 0..3));
    scene.worker_gets("last-0000", secs(10));
    scene.settles(&daemon, secs(20));
    let found = scene.nothing_lost(daemon);
    let ids = |messages: &[Message]| -> Vec<String> {
        messages.iter().map(|message| message.id.clone()).collect()
    };
    assert_eq!(ids(&found.dead), ["job-0003"]);
    assert_eq!(ids(&found.parked), ["job-0006", "job-0009", "later-0000"]);
    for message in &found.parked {
        assert_eq!(
            message.said("x-sluicegate-reason").as_deref(),
            Some("blocked")
        );
    }
}

/// A queue with a single active consumer and two daemons on it: the active one, and the other.
fn two_daemons(name: &str, kind: Kind) -> (Scene<'static>, Daemon, Daemon) {
    let single = [("x-single-active-consumer", AMQPValue::Boolean(true))];
    let scene = Scene::set_with(Broker::shared(), name, kind, &single);
    scene.worker.always(Reply::Slow(Duration::from_millis(4)));
    let first = scene.daemon(STRICT);
    let second = scene.daemon(STRICT);
    (scene, first, second)
}

fn received(daemon: &Daemon) -> f64 {
    daemon.metrics().of_queue("messages_received_total", QUEUE)
}

fn of_two_daemons_one_stands_by_and_goes_on(kind: Kind) {
    let (scene, first, second) = two_daemons("order-standby", kind);
    // For as long as a consumer that gets nothing would otherwise be taken for dead.
    scene.worker.always(Reply::Slow(Duration::from_millis(600)));
    scene.publish(&messages("job", 0..400));
    eventually("the second stands by", secs(40), || {
        let state = second.queue(QUEUE)["vitals"]["state"].clone();
        (state == "standby").then_some(()).ok_or(state.to_string())
    });
    assert_eq!(second.get("/readyz").status, 200);
    std::thread::sleep(secs(65));
    assert_eq!(received(&second), 0.0);
    let reconnects = second.metrics().of_queue("broker_reconnects_total", QUEUE);
    assert_eq!(reconnects, 0.0, "{}", second.log());
    scene.worker.always(Reply::Slow(Duration::from_millis(3)));
    let before = scene.worker.ids().len();
    scene.worker_got(before + 20, secs(20));
    first.kill_9();
    let before = scene.worker.ids().len();
    scene.worker_got(before + 20, secs(3));
    assert!(received(&second) > 0.0);
    assert_eq!(second.queue(QUEUE)["vitals"]["state"], "consuming");
    scene.worker_got(400, secs(30));
    scene.settles(&second, secs(20));
    first_occurrences_are_in_order(&scene, false);
    drop(first);
    second.always_added_up();
}

fn with_a_standby_a_stop_and_a_pause_keep_the_order(kind: Kind) {
    let (scene, first, second) = two_daemons("order-hand-over", kind);
    scene.publish(&messages("job", 0..400));
    scene.worker_got(50, secs(10));
    first.set(&format!("queue.{QUEUE}.pause"), true);
    scene.worker_got(120, secs(10));
    assert!(received(&second) > 0.0, "the second has taken over");
    first.set(&format!("queue.{QUEUE}.pause"), false);
    first.ready(secs(10));
    assert_eq!(second.terminate(), Some(0), "{}", second.log());
    scene.worker_got(400, secs(30));
    scene.settles(&first, secs(20));
    first_occurrences_are_in_order(&scene, false);
    // A quorum queue with a single active consumer cannot be looked into: all went to the worker.
    assert!(scene.worker.ids().values().all(|times| *times == 1));
    first.always_added_up();
}

#[test]
fn a_message_of_high_priority_overtakes_those_before_it() {
    let most = [("x-max-priority", AMQPValue::ShortShortUInt(9))];
    let scene = Scene::set_with(Broker::shared(), "priority", Kind::Classic, &most);
    scene
        .worker
        .decides(|got, before| match (got.id.as_str(), before) {
            ("urgent-again", 0) => Reply::Throttle(1),
            _ => Reply::Slow(Duration::from_millis(100)),
        });
    let daemon = scene.daemon("slots = 2\nprefetch = 16");
    let plain: Vec<Message> = (0..80)
        .map(|n| Message::new(format!("plain-{n}")))
        .collect();
    scene.publish(&plain);
    scene.worker_got(6, secs(10));
    let urgent = |id: &str| Message::new(id).with(|properties| properties.with_priority(9));
    scene.publish(&[urgent("urgent"), urgent("urgent-again")]);
    scene.worker_gets("urgent", secs(10));
    scene.worker_got(82, secs(30));
    scene.settles(&daemon, secs(30));
    let order: Vec<String> = scene.worker.got().into_iter().map(|got| got.id).collect();
    let at = |id: &str| order.iter().position(|got| got == id).unwrap();
    // Those that were out with us when it came are before it at most, and of those only what was at work.
    assert!(at("urgent") < 6 + 16, "{order:?}");
    scene.nothing_lost(daemon);
}
