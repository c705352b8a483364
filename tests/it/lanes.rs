//! One key floods a queue and is throttled: it waits in its lane, in order and at its pace, and nobody else waits for it. Also
//! when the daemon or the broker is killed meanwhile.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::daemon::Daemon;
use crate::keeper::eventually;
use crate::ledger::{Kind, Message};
use crate::scene::{QUEUE, Scene, on_both_kinds, secs};
use crate::worker::Reply;

on_both_kinds![
    a_flood_holds_nobody_up,
    a_killed_daemon_goes_on_with_its_lanes,
    a_killed_broker_loses_no_lane,
];

const SETTINGS: &str =
    "slots = 8\nkey = \"account\"\n[queue.attributes]\naccount = \"header:x-account\"";
const SLOTS: usize = 8;
const OTHERS: usize = 99;

fn of(account: &str, number: usize) -> Message {
    Message::new(format!("{account}-{number}")).text("x-account", account)
}

/// So many of the flood, with one message of each of the others spread among them.
fn mixed(flood: usize) -> Vec<Message> {
    let mut all: Vec<Message> = (0..flood).map(|number| of("flood", number)).collect();
    for other in (0..OTHERS).rev() {
        all.insert(
            flood * (other + 1) / OTHERS,
            of(&format!("other{other}"), 0),
        );
    }
    all
}

fn turn(daemon: &Daemon, valve: &str, value: impl Into<serde_json::Value>) {
    daemon.set(&format!("queue.{QUEUE}.{valve}"), value);
}

/// The numbers of the flood's messages in the order in which the worker first got them.
fn flood_in_order(scene: &Scene<'_>) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let got = scene.worker.got().into_iter();
    let numbers = got.filter_map(|got| got.id.strip_prefix("flood-")?.parse().ok());
    numbers.filter(|number| seen.insert(*number)).collect()
}

/// What came later than so many that come after it, as there are slots: those beside each other may overtake on their way.
fn out_of_order(numbers: &[usize]) -> Vec<usize> {
    let mut newest = 0;
    let late = numbers.iter().filter(|number| {
        newest = newest.max(**number);
        **number + SLOTS < newest
    });
    late.copied().collect()
}

fn others_got(scene: &Scene<'_>) -> usize {
    let ids = scene.worker.ids();
    ids.keys().filter(|id| id.starts_with("other")).count()
}

/// How long it takes until the worker has got all of the others, with so many of the flood among them.
fn until_the_others_are_through(scene: &Scene<'_>, daemon: &Daemon, flood: usize) -> Duration {
    turn(daemon, "pause", true);
    scene.publish(&mixed(flood));
    turn(daemon, "pause", false);
    let started = Instant::now();
    eventually("all others are through", secs(20), || {
        let got = others_got(scene);
        (got == OTHERS).then_some(()).ok_or(format!("{got} are"))
    });
    started.elapsed()
}

fn a_flood_holds_nobody_up(kind: Kind) {
    let slow = Reply::Slow(Duration::from_millis(10));
    let alone = {
        let scene = Scene::set(Broker::shared(), "no-flood", kind);
        scene.worker.always(slow.clone());
        let daemon = scene.daemon(SETTINGS);
        until_the_others_are_through(&scene, &daemon, 0)
    };
    let scene = Scene::set(Broker::shared(), "flood", kind);
    scene.worker.always(slow);
    let daemon = scene.daemon(SETTINGS);
    turn(&daemon, "rate_each", "50/s burst 1");
    let flood = 3_000;
    let among = until_the_others_are_through(&scene, &daemon, flood);
    eprintln!("{kind:?}: the others took {alone:?} alone, {among:?} among {flood} of one key");
    // The flood is put aside first: on its own that takes a debug build on a busy machine about a second.
    assert!(
        among < alone.mul_f64(1.1) + secs(5),
        "{among:?}, alone {alone:?}"
    );

    let (before, started) = (flood_in_order(&scene).len(), Instant::now());
    std::thread::sleep(secs(4));
    let (ran, took) = (flood_in_order(&scene).len() - before, started.elapsed());
    let rate = ran as f64 / took.as_secs_f64();
    assert!((40.0..=52.0).contains(&rate), "{rate} a second");
    let late = out_of_order(&flood_in_order(&scene));
    assert!(late.is_empty(), "{late:?}");
    let lanes = daemon.get(&format!("/api/v1/queues/{QUEUE}/lanes?key=flood"));
    let lane = &lanes.json()["items"][0];
    let waiting = lane["waiting"].as_f64().unwrap();
    assert!((2_000.0..3_000.0).contains(&waiting), "{lane}");
    let eta = lane["eta_seconds"].as_f64().unwrap();
    assert!((waiting / 50.0 - eta).abs() < 3.0, "{lane}");

    turn(&daemon, "rate_each", "2000/s burst 100");
    let now = scene.settles(&daemon, secs(30));
    let aside = now.settled(QUEUE, "rate");
    assert!(
        aside <= flood as u64,
        "{aside} of {flood} were put in the lane"
    );
    assert_eq!(
        now.of_queue("messages_received_total", QUEUE) as u64,
        (flood + OTHERS) as u64 + aside + now.settled(QUEUE, "given_back")
    );
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.repeated(), 0);
}

/// Every two seconds `kill` strikes while a flood waits in its lane; at the end all ran, in order.
/// `may_be_late`: so many may run after those that follow them, for each kill.
fn survives(
    scene: &Scene<'_>,
    daemon: Daemon,
    (kills, may_be_late): (usize, usize),
    kill: impl Fn(&Daemon),
) {
    scene.worker.always(Reply::Slow(Duration::from_millis(2)));
    turn(&daemon, "rate_each", "100/s burst 1");
    let flood = 800;
    scene.publish(&mixed(flood));
    for _ in 0..kills {
        std::thread::sleep(secs(2));
        let aside = daemon.metrics().settled(QUEUE, "rate");
        let ran = flood_in_order(scene).len();
        eprintln!("{aside} put in the lane and {ran} at the worker when it strikes");
        kill(&daemon);
        daemon.ready(secs(15));
    }
    eventually("all others are through", secs(10), || {
        let got = others_got(scene);
        (got == OTHERS).then_some(()).ok_or(format!("{got} are"))
    });
    scene.worker_got(flood + OTHERS, secs(30));
    let late = out_of_order(&flood_in_order(scene));
    eprintln!("{} late", late.len());
    assert!(late.len() <= may_be_late * kills, "{late:?}");
    let now = scene.settles(&daemon, secs(20));
    assert!(now.of_queue("lanes", QUEUE) <= 1.0);
    let found = scene.nothing_lost(daemon);
    // Those at the worker when it struck, and those put in the lane whose acknowledgement the queue had not got yet.
    eprintln!("{} repeated in {kills} kills", found.repeated());
}

fn a_killed_daemon_goes_on_with_its_lanes(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "lanes-daemon", kind);
    let daemon = scene.daemon(SETTINGS);
    // Those at work when it struck are done again, and may be late.
    survives(&scene, daemon, (3, SLOTS), |daemon| {
        daemon.kill_9();
        daemon.restart();
    });
}

fn a_killed_broker_loses_no_lane(kind: Kind) {
    let broker = Broker::own();
    let scene = Scene::set(&broker, "lanes-broker", kind);
    let daemon = scene.daemon(SETTINGS);
    survives(&scene, daemon, (1, SLOTS), |_| {
        broker.kill_9();
        broker.start_and_wait_for_port();
    });
}
