//! The first choice dies under load, stays dead, and returns. What its ledger, the ledger of the second choice, the park and the counters
//! must say afterwards: nothing lost, none failed for good, doubles only among what is marked unknown, unknowns at most what was on its
//! way when it died, and the first choice carries all again after its ramp.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value as Json;

use crate::broker::Broker;
use crate::daemon::Daemon;
use crate::keeper::eventually;
use crate::ledger::Kind;
use crate::providers::{flow, pool_of, served, stands};
use crate::scene::{QUEUE, Scene, secs};
use crate::worker::{Reply, Worker};

/// Three quarters of 16 slots: what one provider may hold.
const MOST: usize = 12;

/// The ids that the daemon said may have been done.
fn marked(daemon: &Daemon) -> BTreeSet<String> {
    let lines = daemon.log_with("a provider may have done a job");
    let id = |line: &String| {
        let line: Json = serde_json::from_str(line).unwrap();
        line["id"].as_str().unwrap().to_owned()
    };
    lines.iter().map(id).collect()
}

/// From its death to when it is back at its full share. Gives how many requests can have been on their way to it at its death.
fn death_and_return(daemon: &Daemon, first: &Worker, second: &Worker, outage: Duration) -> usize {
    eventually("the first does all", secs(20), || {
        let done = first.ids().len();
        (done > 100).then_some(()).ok_or(done.to_string())
    });
    assert_eq!(second.ids().len(), 0, "while the first is well");
    let on_their_way = first.dies();
    stands(daemon, "first", |now| now["state"] != "passing", secs(20));
    let before = second.ids().len();
    std::thread::sleep(outage);
    let carried = second.ids().len() - before;
    let least = outage.as_secs() as usize * 20;
    assert!(
        carried >= least,
        "the second did {carried} jobs in {outage:?}"
    );
    daemon.counts("it runs on backup", secs(5), |now| {
        now.sum("sluicegate_pool_on_backup", &[]) == 1.0
    });
    first.returns();
    let back = stands(daemon, "first", |now| now["state"] == "passing", secs(90));
    assert!(back["share"].as_f64().unwrap() <= 0.5, "a ramp: {back}");
    stands(daemon, "first", |now| now["share"] == 1.0, secs(60));
    on_their_way.min(MOST)
}

/// How many jobs each of them did while 400 more were done.
fn shares_of_the_next(first: &Worker, second: &Worker) -> (usize, usize) {
    let both = || (first.ids().len(), second.ids().len());
    // What was given to the second before the last step is still on its way there.
    std::thread::sleep(secs(1));
    let (ones, twos) = both();
    eventually("400 more are done", secs(60), || {
        let now = both();
        let more = (now.0 - ones, now.1 - twos);
        let enough = more.0 + more.1 >= 400;
        enough.then_some(more).ok_or(format!("{more:?}"))
    })
}

fn dies_and_returns(name: &str, on_unknown: &str, outage: Duration) {
    let scene = Scene::set(Broker::shared(), name, Kind::Quorum);
    let (first, second) = (Worker::start(), Worker::start());
    for worker in [&first, &second] {
        worker.always(Reply::Slow(Duration::from_millis(20)));
    }
    let sections = pool_of(
        &[("first", &first), ("second", &second)],
        "deadline = \"3s\"",
    );
    let settings = format!("slots = 16\non_unknown = \"{on_unknown}\"");
    let daemon = served(&scene, &settings, &sections);
    let stop = AtomicBool::new(false);
    let on_their_way = std::thread::scope(|scope| {
        scope.spawn(|| flow(&scene, "job", &stop));
        let on_their_way = death_and_return(&daemon, &first, &second, outage);
        let (ones, twos) = shares_of_the_next(&first, &second);
        assert!(twos * 100 <= ones + twos, "{ones} and {twos}");
        stop.store(true, Ordering::Relaxed);
        on_their_way
    });
    let now = scene.settles(&daemon, secs(60));
    for reason in ["failed", "attempts", "unsettled"] {
        assert_eq!(now.settled(QUEUE, reason), 0, "{reason}\n{}", daemon.log());
    }
    let unknown = now.sum(
        "sluicegate_provider_requests_total",
        &["outcome=\"unknown\""],
    ) as usize;
    assert!(
        (1..=on_their_way).contains(&unknown),
        "{unknown} of {on_their_way} on their way"
    );
    let marked = marked(&daemon);
    assert_eq!(marked.len(), unknown);
    scene.also_worked(first.ids().into_keys());
    scene.also_worked(second.ids().into_keys());
    let found = scene.nothing_lost(daemon);
    let twice = found.worked.iter().filter(|(_, times)| **times > 1);
    let doubled: BTreeSet<String> = twice.map(|(id, _)| id.clone()).collect();
    assert!(
        doubled.is_subset(&marked),
        "{doubled:?} are not all of {marked:?}"
    );
    for (id, times) in first.ids().iter().chain(&second.ids()) {
        assert_eq!(*times, 1, "{id}: no provider gets one twice");
    }
    let parked: BTreeSet<String> = found.parked.into_iter().map(|job| job.id).collect();
    if on_unknown == "park" {
        assert_eq!(parked, marked);
        assert_eq!(doubled, BTreeSet::new(), "what is parked is not sent again");
    } else {
        assert_eq!(parked, BTreeSet::new());
        assert!(marked.iter().all(|id| second.ids().contains_key(id)));
    }
}

#[test]
fn the_first_is_killed_under_load_and_what_it_may_have_done_is_parked() {
    dies_and_returns("killed-park", "park", secs(8));
}

#[test]
fn the_first_is_killed_under_load_and_what_it_may_have_done_goes_on() {
    dies_and_returns("killed-failover", "failover", secs(8));
}

/// The same for as long as an operator would see it: `cargo test --test it dead_for_five_minutes -- --ignored`.
#[test]
#[ignore = "it takes six minutes; the same with an outage of eight seconds runs each time"]
fn the_first_is_dead_for_five_minutes() {
    dies_and_returns("five-minutes", "park", secs(300));
}
