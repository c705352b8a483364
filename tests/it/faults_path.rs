//! The network fails: FAULTS rows A03 and A05 to A07, with a relay between the daemon and the broker.

use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::daemon::Daemon;
use crate::ledger::Kind;
use crate::path::Path;
use crate::scene::{QUEUE, Scene, on_both_kinds, secs};
use crate::worker::Reply;

on_both_kinds![
    a03_connections_cut_in_the_middle_of_a_frame,
    a05_the_way_to_the_broker_stalls,
    a06_the_way_from_the_broker_stalls,
];

/// A daemon that reaches its broker over `path`, with a heartbeat of 2 s, and 5 ms of work for each message.
fn over(path: &Path, scene: &Scene<'_>) -> Daemon {
    let mut config = scene.config("slots = 4\nprefetch = 50\non_skip = \"park\"");
    config.amqp_url = format!(
        "amqp://guest:guest@127.0.0.1:{}/{}",
        path.port(),
        scene.vhost
    );
    config.amqp = "heartbeat = \"2s\"".to_owned();
    scene.worker.always(Reply::Slow(Duration::from_millis(5)));
    Daemon::start(&config)
}

fn a03_connections_cut_in_the_middle_of_a_frame(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "a03", kind);
    let path = Path::to(scene.broker.port());
    let daemon = over(&path, &scene);
    daemon.ready(secs(10));
    daemon.set(&format!("queue.{QUEUE}.skip"), 0.3);
    for round in 1..=5 {
        scene.publish_many(&format!("round-{round}"), 60);
        scene.worker_got(round * 20, secs(20));
        path.cut();
    }
    daemon.ready(secs(10));
    scene.settles(&daemon, secs(30));
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.remaining, []);
}

fn a05_the_way_to_the_broker_stalls(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "a05", kind);
    let path = Path::to(scene.broker.port());
    let daemon = over(&path, &scene);
    daemon.ready(secs(10));
    scene.publish_many("before", 300);
    scene.worker_got(50, secs(20));
    path.stall_up(true);
    // Acks are written and never arrive. The broker hears no heartbeat, drops us and gives the messages out again.
    daemon.not_ready(secs(20));
    path.stall_up(false);
    daemon.ready(secs(10));
    scene.worker_got(300, secs(30));
    scene.settles(&daemon, secs(30));
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.remaining, []);
}

fn a06_the_way_from_the_broker_stalls(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "a06", kind);
    let path = Path::to(scene.broker.port());
    let daemon = over(&path, &scene);
    daemon.ready(secs(10));
    daemon.set(&format!("queue.{QUEUE}.skip"), 0.3);
    scene.publish_many("before", 300);
    scene.worker_got(50, secs(20));
    path.stall_down(true);
    let stalled = Instant::now();
    daemon.not_ready(secs(12));
    eprintln!(
        "{kind:?}: noticed after {:?}, of 2 heartbeats of 2 s",
        stalled.elapsed()
    );
    path.stall_down(false);
    daemon.ready(secs(10));
    scene.settles(&daemon, secs(30));
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.remaining, []);
}

#[test]
fn a07_a_peer_that_accepts_and_stays_mute() {
    let scene = Scene::set(Broker::shared(), "a07", Kind::Classic);
    let path = Path::to(scene.broker.port());
    path.mute(true);
    let daemon = over(&path, &scene);
    daemon.not_ready(secs(10));
    let (threads, tries) = (daemon.threads(), path.accepted());
    std::thread::sleep(secs(13));
    let tries = path.accepted() - tries;
    // Two connections, 5 s for each handshake, at most a second between.
    assert!((2..=8).contains(&tries), "{tries} tries in 13 s");
    assert!(
        daemon.threads() <= threads + 2,
        "tries to connect leave threads behind"
    );
    path.mute(false);
    path.cut();
    daemon.ready(secs(10));
    scene.publish_many("after", 5);
    scene.worker_gets("after-4", secs(10));
    scene.settles(&daemon, secs(10));
    scene.nothing_lost(daemon);
}
