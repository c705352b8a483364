//! The broker fails: FAULTS rows A01, A02, A04, A08, A10 and A12 to A16, on a node that the test may break.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::broker::Broker;
use crate::daemon::Daemon;
use crate::keeper::eventually;
use crate::ledger::{Kind, Message};
use crate::scene::{QUEUE, Scene, on_both_kinds, secs};
use crate::worker::Reply;

/// Working again within 2 s of the port opening is what we promise; a busy machine gets five times that.
const AGAIN: Duration = secs(10);

on_both_kinds![
    a01_broker_killed_under_load_and_restarted,
    a02_broker_stopped_and_started,
    a04_broker_frozen,
    a10_an_alarm_blocks_what_publishes_and_nothing_else,
    a12_channel_closed_by_the_broker,
    a14_queue_deleted_and_made_again,
    a16_connections_closed_by_an_operator,
];

fn a01_broker_killed_under_load_and_restarted(kind: Kind) {
    let broker = Broker::own();
    let scene = Scene::set(&broker, "a01", kind);
    scene.worker.always(Reply::Slow(Duration::from_millis(5)));
    let daemon = scene.daemon("slots = 8");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The producer goes on until the broker is gone; then a part of the last batch may or may not have arrived.
            for batch in 0.. {
                if scene.try_publish_once(&format!("before-{batch}"), 50) < 50 {
                    break;
                }
            }
        });
        scene.worker_got(200, secs(20));
        broker.kill_9();
    });
    let said = daemon.not_ready(secs(5));
    assert!(said.contains(QUEUE), "{said}");
    daemon.counts("the link is down in the numbers", secs(5), |now| {
        now.of_queue("broker_connected", QUEUE) == 0.0
    });
    let lines_before = daemon.log_lines();
    let opened = broker.start_and_wait_for_port();
    daemon.ready(AGAIN);
    eprintln!(
        "{kind:?}: ready {:?} after the port opened",
        opened.elapsed()
    );
    assert!(daemon.log_lines() - lines_before < 50, "{}", daemon.log());
    scene.publish_many("after", 50);
    scene.worker_gets("after-49", secs(20));
    let now = scene.settles(&daemon, secs(20));
    assert!(now.of_queue("broker_reconnects_total", QUEUE) >= 1.0);
    let found = scene.nothing_lost(daemon);
    eprintln!("{kind:?}: {} repeated", found.repeated());
}

fn a02_broker_stopped_and_started(kind: Kind) {
    let broker = Broker::own();
    let scene = Scene::set(&broker, "a02", kind);
    scene.worker.always(Reply::Slow(Duration::from_millis(5)));
    let daemon = scene.daemon("slots = 4");
    scene.publish_many("before", 300);
    scene.worker_got(50, secs(20));
    broker.stop_gracefully();
    daemon.not_ready(secs(5));
    broker.start_and_wait_for_port();
    daemon.ready(AGAIN);
    scene.worker_got(300, secs(30));
    scene.settles(&daemon, secs(20));
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.remaining, []);
}

fn a04_broker_frozen(kind: Kind) {
    let broker = Broker::own();
    let scene = Scene::set(&broker, "a04", kind);
    let mut config = scene.config("slots = 4\non_skip = \"park\"");
    config.amqp = "heartbeat = \"2s\"".to_owned();
    let daemon = Daemon::start(&config);
    daemon.ready(secs(10));
    // Half are parked, so that publishes are under way as well when everything stops.
    daemon.set(&format!("queue.{QUEUE}.skip"), 0.5);
    scene.worker.always(Reply::Slow(Duration::from_millis(5)));
    scene.publish_many("before", 300);
    scene.worker_got(20, secs(20));
    broker.freeze();
    let frozen = Instant::now();
    daemon.not_ready(secs(10));
    eprintln!(
        "{kind:?}: noticed after {:?}, of 2 heartbeats of 2 s",
        frozen.elapsed()
    );
    broker.thaw();
    daemon.ready(AGAIN);
    scene.publish_many("after", 20);
    scene.settles(&daemon, secs(30));
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.remaining, []);
}

fn a10_an_alarm_blocks_what_publishes_and_nothing_else(kind: Kind) {
    let broker = Broker::own();
    let scene = Scene::set(&broker, "a10", kind);
    let daemon = scene.daemon("slots = 4\nprefetch = 100\non_expired = \"park\"");
    daemon.set(&format!("queue.{QUEUE}.max_age"), "1m");
    daemon.set(&format!("queue.{QUEUE}.pause"), true);
    let old = |number| Message::new(format!("old-{number}")).aged(secs(600));
    let messages: Vec<Message> = (0..20)
        .flat_map(|number| [old(number), Message::new(format!("fresh-{number}"))])
        .collect();
    scene.publish(&messages);
    broker.alarm();
    daemon.set(&format!("queue.{QUEUE}.pause"), false);
    scene.worker_got(20, secs(10));
    let now = daemon.counts("the fresh ones are settled", secs(10), |now| {
        now.settled(QUEUE, "done") == 20
    });
    assert_eq!(
        now.settled(QUEUE, "expired"),
        0,
        "nothing can be parked now"
    );
    assert_eq!(now.of_queue("messages_in_hand", QUEUE), 20.0);
    broker.clear_alarm();
    let cleared = Instant::now();
    daemon.counts("the old ones are parked", AGAIN, |now| {
        now.settled(QUEUE, "expired") == 20
    });
    eprintln!(
        "{kind:?}: all parked {:?} after the alarm",
        cleared.elapsed()
    );
    let found = scene.nothing_lost(daemon);
    let mut parked: Vec<&str> = found.parked.iter().map(|old| old.id.as_str()).collect();
    parked.sort_unstable();
    parked.dedup();
    assert_eq!(parked.len(), 20, "{parked:?}");
}

#[test]
fn a11_an_alarm_that_lasts_gives_back_what_cannot_be_parked_and_takes_nothing_more() {
    let broker = Broker::own();
    let scene = Scene::set(&broker, "a11", Kind::Classic);
    let daemon = scene.daemon("slots = 4\nhold = \"1s\"");
    daemon.set(&format!("queue.{QUEUE}.max_age"), "1m");
    daemon.set(&format!("queue.{QUEUE}.pause"), true);
    let old: Vec<Message> = (0..20)
        .map(|number| Message::new(format!("old-{number}")).aged(secs(600)))
        .collect();
    scene.publish(&old);
    broker.alarm();
    daemon.set(&format!("queue.{QUEUE}.pause"), false);
    daemon.counts("all goes back", secs(30), |now| {
        now.settled(QUEUE, "given_back") > 0 && now.of_queue("messages_in_hand", QUEUE) == 0.0
    });
    assert!(daemon.not_ready(secs(5)).contains("not consuming"));
    broker.clear_alarm();
    daemon.counts("all are parked", secs(90), |now| {
        now.settled(QUEUE, "expired") == 20
    });
    scene.nothing_lost(daemon);
}

fn a12_channel_closed_by_the_broker(kind: Kind) {
    let broker = Broker::own();
    broker.set_consumer_timeout(secs(2));
    let scene = Scene::set(&broker, "a12", kind);
    scene
        .worker
        .decides(|job, before| match (job.id.as_str(), before) {
            ("slow-0", 0) => Reply::Slow(secs(5)),
            _ => Reply::Status(200),
        });
    let daemon = scene.daemon("slots = 2");
    scene.publish_many("slow", 1);
    scene.worker_gets("slow-0", secs(5));
    // The broker closes the channel over it and gives it out again; what came back for the old delivery settles nothing.
    eventually("the message comes again", secs(15), || {
        let times = scene.worker.ids()["slow-0"];
        (times == 2).then_some(()).ok_or(times.to_string())
    });
    scene.publish_many("after", 20);
    scene.worker_gets("after-19", AGAIN);
    let now = scene.settles(&daemon, secs(20));
    assert_eq!(now.settled(QUEUE, "unsettled"), 1);
    assert_eq!(now.settled(QUEUE, "done"), 21);
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.remaining, []);
    broker.set_consumer_timeout(secs(1800));
}

fn a14_queue_deleted_and_made_again(kind: Kind) {
    let broker = Broker::shared();
    let scene = Scene::set(broker, "a14", kind);
    let daemon = scene.daemon("slots = 2");
    scene.publish_many("before", 20);
    scene.worker_gets("before-19", secs(10));
    scene.settles(&daemon, secs(10));
    scene.ledger.delete(QUEUE);
    eventually("the page says what is missing", secs(10), || {
        let said = daemon.not_ready(secs(10));
        said.contains("does not exist").then_some(()).ok_or(said)
    });
    let state = daemon.queue(QUEUE);
    assert!(state.to_string().contains("queue_missing"), "{state}");
    assert_eq!(
        scene.ledger.ready(QUEUE),
        None,
        "it is not for us to declare it"
    );
    scene.ledger.declare(QUEUE, kind, &[]);
    let made = Instant::now();
    daemon.ready(secs(30));
    eprintln!(
        "{kind:?}: ready {:?} after the queue was there again",
        made.elapsed()
    );
    scene.publish_many("after", 20);
    scene.worker_gets("after-19", secs(10));
    scene.settles(&daemon, secs(10));
    scene.nothing_lost(daemon);
}

fn a16_connections_closed_by_an_operator(kind: Kind) {
    let broker = Broker::shared();
    let scene = Scene::set(broker, "a16", kind);
    let user = format!("gate-a16-{}", kind.word());
    broker.add_user(&user, &scene.vhost, [".*", ".*", ".*"]);
    let mut config = scene.config("slots = 4");
    config.amqp_url = broker.url_for(&user, "secret", &scene.vhost);
    let daemon = Daemon::start(&config);
    daemon.ready(secs(10));
    scene.worker.always(Reply::Slow(Duration::from_millis(5)));
    scene.publish_many("before", 200);
    scene.worker_got(50, secs(10));
    broker.close_connections_of(&user);
    scene.worker_got(200, AGAIN);
    daemon.ready(AGAIN);
    let now = scene.settles(&daemon, secs(20));
    assert!(now.of_queue("broker_reconnects_total", QUEUE) >= 1.0);
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.remaining, []);
}

#[test]
fn a08_the_daemon_starts_without_a_broker_and_takes_it_when_it_comes() {
    let broker = Broker::own();
    let scene = Scene::set(&broker, "a08", Kind::Classic);
    scene.publish_many("before", 10);
    broker.kill_9();
    let daemon = Daemon::start(&scene.config(""));
    let said = daemon.not_ready(secs(5));
    assert!(
        said.contains("refused"),
        "the reason is in the page: {said}"
    );
    // Flags are turned and kept while the broker is away.
    daemon.set(&format!("queue.{QUEUE}.concurrency"), 3);
    let threads = daemon.threads();
    std::thread::sleep(secs(10));
    assert!(daemon.log_lines() < 60, "{}", daemon.log());
    assert!(
        daemon.threads() <= threads + 2,
        "tries to connect leave threads behind"
    );
    broker.start_and_wait_for_port();
    daemon.ready(AGAIN);
    scene.worker_gets("before-9", secs(10));
    scene.settles(&daemon, secs(10));
    scene.nothing_lost(daemon);
}

#[test]
fn a15_a_queue_that_is_missing_at_the_start_does_not_keep_the_others_from_work() {
    let broker = Broker::shared();
    let scene = Scene::set(broker, "a15", Kind::Quorum);
    let config = scene.config("").queue("missing", &scene.worker.url(), "");
    let daemon = Daemon::start(&config);
    scene.publish_many("before", 10);
    scene.worker_gets("before-9", secs(10));
    let said = daemon.not_ready(secs(10));
    assert!(
        said.contains("[-] missing") && said.contains("[+] orders"),
        "{said}"
    );
    scene.ledger.declare("missing", Kind::Classic, &[]);
    daemon.ready(secs(30));
    scene.settles(&daemon, secs(10));
    scene.nothing_lost(daemon);
}

#[test]
fn a09_a_permission_that_is_missing_is_said_and_does_not_need_a_restart() {
    let broker = Broker::shared();
    let scene = Scene::set(broker, "a09", Kind::Classic);
    broker.add_user("gate-a09", &scene.vhost, ["^$", "^$", "^$"]);
    let mut config = scene.config("");
    config.amqp_url = broker.url_for("gate-a09", "secret", &scene.vhost);
    let daemon = Daemon::start(&config);
    let denied = || {
        let state = daemon.queue(QUEUE).to_string();
        state.contains("denied").then_some(()).ok_or(state)
    };
    eventually("the state is denied", secs(10), denied);
    assert!(
        !daemon.log().contains("secret"),
        "the password is in the log"
    );
    assert!(!daemon.queue(QUEUE).to_string().contains("secret"));
    broker.permit("gate-a09", &scene.vhost, [".*", ".*", ".*"]);
    daemon.ready(secs(45));
    scene.publish_many("after", 5);
    scene.worker_gets("after-4", secs(10));
    scene.settles(&daemon, secs(10));
    scene.nothing_lost(daemon);
}

#[test]
fn a09_a_wrong_password_is_tried_slowly() {
    let broker = Broker::shared();
    let scene = Scene::set(broker, "a09-password", Kind::Classic);
    let path = crate::path::Path::to(broker.port());
    let mut config = scene.config("");
    config.amqp_url = format!(
        "amqp://guest:canary-secret@127.0.0.1:{}/{}",
        path.port(),
        scene.vhost
    );
    let daemon = Daemon::start(&config);
    let said = daemon.not_ready(secs(10));
    eventually("the state is denied", secs(10), || {
        let state = daemon.queue(QUEUE).to_string();
        state.contains("denied").then_some(()).ok_or(state)
    });
    std::thread::sleep(secs(8));
    let tries = path.accepted();
    assert!(tries <= 6, "{tries} tries in 10 s may lock the account");
    for text in [
        said,
        daemon.log(),
        daemon.get("/metrics").body,
        daemon.get("/status").body,
    ] {
        assert!(!text.contains("canary-secret"), "{text}");
    }
    assert_eq!(daemon.terminate(), Some(0), "{}", daemon.log());
}

#[test]
fn what_stands_is_kept_while_the_broker_is_away() {
    let broker = Broker::own();
    let scene = Scene::set(&broker, "kept", Kind::Classic);
    let daemon = scene.daemon("");
    daemon.set(&format!("queue.{QUEUE}.skip"), 0.25);
    broker.kill_9();
    daemon.not_ready(secs(5));
    let flag = daemon
        .get(&format!("/api/v1/flags/queue.{QUEUE}.skip"))
        .json();
    assert_eq!(flag["now"], json!(0.25));
    assert_eq!(daemon.get("/livez").status, 200);
    assert_eq!(
        daemon.terminate(),
        Some(0),
        "a broker that is away does not make a stop unclean:\n{}",
        daemon.log()
    );
    broker.restart();
}
