//! Pools of providers on a real broker: who gets a job when one of them fails, hangs, asks for less or comes back; what is lost (nothing),
//! what is sent twice (nothing but what is unknown), and what an operator sees and does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::broker::Broker;
use crate::daemon::{Daemon, command};
use crate::keeper::eventually;
use crate::ledger::Kind;
use crate::scene::{QUEUE, Scene, secs};
use crate::worker::{Reply, Worker};

/// A pool of plain HTTP services, the first choice first.
pub(crate) fn pool_of(workers: &[(&str, &Worker)], more: &str) -> String {
    let names: Vec<String> = workers
        .iter()
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    let mut text = format!(
        "[[pool]]\nname = \"work\"\nproviders = [{}]\n",
        names.join(", ")
    );
    for (name, worker) in workers {
        text += &format!(
            "[[provider]]\nname = \"{name}\"\nkind = \"http\"\nurl = \"{}\"\n{}\n",
            worker.url(),
            if more.is_empty() {
                "deadline = \"1s\""
            } else {
                more
            }
        );
    }
    text
}

pub(crate) fn served(scene: &Scene<'_>, settings: &str, sections: &str) -> Daemon {
    let url = scene.broker.url(&scene.vhost);
    let config = crate::daemon::Config::new(&url).pooled(QUEUE, "work", settings, sections);
    let daemon = Daemon::start(&config);
    daemon.ready(secs(10));
    daemon
}

fn of_provider(daemon: &Daemon, name: &str) -> Json {
    let all = daemon.get("/api/v1/providers").json();
    let items = all["items"].as_array().unwrap();
    let found = items.iter().find(|provider| provider["name"] == name);
    found.unwrap_or_else(|| panic!("{name} in {all}")).clone()
}

pub(crate) fn stands(
    daemon: &Daemon,
    name: &str,
    wanted: impl Fn(&Json) -> bool,
    within: Duration,
) -> Json {
    eventually(&format!("{name} stands as it should"), within, || {
        let provider = of_provider(daemon, name);
        match wanted(&provider) {
            true => Ok(provider),
            false => Err(format!("{provider}\n{}", daemon.log())),
        }
    })
}

/// Publishes a few messages again and again until it is told to stop; gives how many.
pub(crate) fn flow(scene: &Scene<'_>, name: &str, stop: &AtomicBool) -> usize {
    let mut published = 0;
    while !stop.load(Ordering::Relaxed) {
        scene.publish_many(&format!("{name}-{published}"), 10);
        published += 10;
        std::thread::sleep(Duration::from_millis(50));
    }
    published
}

/// Which ids a service took: it was asked and answered 200.
fn took(worker: &Worker) -> BTreeMap<String, usize> {
    worker.ids()
}

#[test]
fn the_first_dies_the_next_takes_over_and_the_first_comes_back_by_a_ramp() {
    let scene = Scene::set(Broker::shared(), "failover", Kind::Quorum);
    let (first, second) = (Worker::start(), Worker::start());
    let daemon = served(
        &scene,
        "slots = 16",
        &pool_of(&[("first", &first), ("second", &second)], ""),
    );
    let stop = AtomicBool::new(false);
    let passing = |provider: &Json| provider["state"] == "passing" && provider["share"] == 1.0;
    std::thread::scope(|scope| {
        scope.spawn(|| flow(&scene, "job", &stop));
        eventually("the first does all", secs(10), || {
            (first.ids().len() > 50)
                .then_some(())
                .ok_or("not yet".to_owned())
        });
        assert_eq!(second.ids().len(), 0);
        first.always(Reply::Status(500));
        let resting = stands(
            &daemon,
            "first",
            |provider| provider["state"] != "passing",
            secs(10),
        );
        let failed = resting["trip"]["failed"].as_u64().unwrap();
        assert!((6..=30).contains(&failed), "{resting}");
        daemon.counts("it runs on backup", secs(5), |now| {
            now.sum("sluicegate_pool_on_backup", &[]) == 1.0
        });
        let asked_before = first.ids().len();
        std::thread::sleep(secs(6));
        let probes = first.ids().len() - asked_before;
        assert!(probes <= 30, "{probes} were sent into the outage");
        first.always(Reply::Status(200));
        let back = stands(
            &daemon,
            "first",
            |provider| provider["state"] == "passing",
            secs(30),
        );
        assert!(back["share"].as_f64().unwrap() <= 0.5, "a ramp: {back}");
        stands(&daemon, "first", passing, secs(30));
        let (ones, twos) = (first.ids().len(), second.ids().len());
        std::thread::sleep(secs(3));
        let (ones, twos) = (first.ids().len() - ones, second.ids().len() - twos);
        assert!(ones > 50 && twos <= ones / 50, "{ones} and {twos}");
        stop.store(true, Ordering::Relaxed);
    });
    let now = scene.settles(&daemon, secs(60));
    for reason in ["failed", "unknown", "attempts", "unsettled"] {
        assert_eq!(now.settled(QUEUE, reason), 0, "{reason}\n{}", daemon.log());
    }
    scene.also_worked(took(&second).into_keys().chain(took(&first).into_keys()));
    scene.nothing_lost(daemon);
}

#[test]
fn a_bad_recipient_never_marks_a_provider() {
    let scene = Scene::set(Broker::shared(), "recipient", Kind::Quorum);
    let (first, second) = (Worker::start(), Worker::start());
    first.decides(|job, _| Reply::Status(if job.id.starts_with("bad") { 422 } else { 200 }));
    let daemon = served(
        &scene,
        "slots = 16",
        &pool_of(&[("first", &first), ("second", &second)], ""),
    );
    scene.publish_many("bad", 100);
    scene.publish_many("good", 20);
    let now = scene.settles(&daemon, secs(30));
    assert_eq!(
        (now.settled(QUEUE, "failed"), now.settled(QUEUE, "done")),
        (100, 20)
    );
    let provider = of_provider(&daemon, "first");
    assert_eq!(
        (&provider["state"], &provider["share"]),
        (&json!("passing"), &json!(1.0))
    );
    assert_eq!(
        second.ids().len(),
        0,
        "nobody else is asked to send what nobody can"
    );
    scene.also_worked(first.ids().into_keys());
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.dead.len(), 100);
}

#[test]
fn what_asks_for_less_is_given_less_and_is_not_ill() {
    let scene = Scene::set(Broker::shared(), "throttles", Kind::Quorum);
    let (first, second) = (Worker::start(), Worker::start());
    first.always(Reply::Throttle(3600));
    let daemon = served(
        &scene,
        "slots = 4",
        &pool_of(&[("first", &first), ("second", &second)], ""),
    );
    scene.publish_many("job", 100);
    let now = scene.settles(&daemon, secs(30));
    assert_eq!(now.settled(QUEUE, "done"), 100);
    assert!(first.ids().len() <= 8, "asked {} times", first.ids().len());
    let provider = of_provider(&daemon, "first");
    assert_eq!(provider["state"], "passing");
    assert!(provider["asked_until"].is_string(), "{provider}");
    scene.also_worked(second.ids().into_keys());
    scene.nothing_lost(daemon);
}

#[test]
fn what_hangs_never_takes_all_slots_and_is_seen() {
    let scene = Scene::set(Broker::shared(), "hangs", Kind::Quorum);
    let (first, second) = (Worker::start(), Worker::start());
    let settings = "slots = 16\non_unknown = \"failover\"";
    let daemon = served(
        &scene,
        settings,
        &pool_of(&[("first", &first), ("second", &second)], ""),
    );
    scene.publish_many("warm", 30);
    scene.settles(&daemon, secs(20));
    first.always(Reply::Hang);
    scene.publish_many("job", 200);
    let mut most_out = 0;
    eventually("the first rests", secs(15), || {
        let provider = of_provider(&daemon, "first");
        most_out = most_out.max(provider["out"].as_u64().unwrap());
        (provider["state"] != "passing")
            .then_some(())
            .ok_or(provider.to_string())
    });
    assert!(
        (1..=12).contains(&most_out),
        "three quarters of 16, not {most_out}"
    );
    let now = scene.settles(&daemon, secs(60));
    assert_eq!(now.settled(QUEUE, "done"), 230, "{}", daemon.log());
    // Told to both: those that hung at the first, at most what it could hold at each look.
    let both: BTreeSet<String> = second.ids().into_keys().collect();
    let doubled = first
        .ids()
        .into_keys()
        .filter(|id| both.contains(id))
        .count();
    assert!(doubled <= 40, "{doubled}");
    scene.also_worked(second.ids().into_keys().chain(first.ids().into_keys()));
    scene.nothing_lost(daemon);
}

#[test]
fn when_all_are_down_messages_are_held_and_nothing_is_lost() {
    let scene = Scene::set(Broker::shared(), "all-down", Kind::Quorum);
    let (first, second) = (Worker::start(), Worker::start());
    let settings = "slots = 8\nattempts = 20";
    let daemon = served(
        &scene,
        settings,
        &pool_of(&[("first", &first), ("second", &second)], ""),
    );
    for worker in [&first, &second] {
        worker.always(Reply::Status(503));
    }
    scene.publish_many("job", 500);
    for name in ["first", "second"] {
        stands(
            &daemon,
            name,
            |provider| provider["state"] != "passing",
            secs(20),
        );
    }
    eventually("the queue says that nobody passes", secs(20), || {
        let said = daemon.queue(QUEUE)["vitals"]["state_detail"].to_string();
        said.contains("no provider of the pool work passes")
            .then_some(())
            .ok_or(said)
    });
    let asked = first.got().len() + second.got().len();
    std::thread::sleep(secs(5));
    let more = first.got().len() + second.got().len() - asked;
    assert!(more <= 40, "{more} calls in 5 s are no rest");
    for worker in [&first, &second] {
        worker.always(Reply::Status(200));
    }
    let now = scene.settles(&daemon, secs(90));
    assert_eq!(now.settled(QUEUE, "done"), 500, "{}", daemon.log());
    for reason in ["failed", "attempts", "unknown"] {
        assert_eq!(now.settled(QUEUE, reason), 0, "{reason}");
    }
    scene.also_worked(second.ids().into_keys().chain(first.ids().into_keys()));
    scene.nothing_lost(daemon);
}

#[test]
fn an_operator_pins_and_rests_providers_and_sees_them() {
    let scene = Scene::set(Broker::shared(), "pins", Kind::Quorum);
    let (first, second) = (Worker::start(), Worker::start());
    let daemon = served(
        &scene,
        "slots = 4",
        &pool_of(&[("first", &first), ("second", &second)], ""),
    );
    let url = daemon.url();
    let told = |arguments: &[&str]| {
        let all = [arguments, &["--url", &url]].concat();
        let (code, said, complaint) = command(&all);
        assert_eq!(code, Some(0), "{arguments:?}: {said}{complaint}");
        said
    };
    told(&[
        "provider", "pin", "work", "second", "--for", "10m", "--reason", "a test", "--yes",
    ]);
    scene.publish_many("pinned", 20);
    scene.settles(&daemon, secs(20));
    assert_eq!((first.ids().len(), second.ids().len()), (0, 20));
    told(&[
        "flag",
        "close",
        "pool.work.provider",
        "--reason",
        "a test",
        "--yes",
    ]);
    told(&["provider", "rest", "first", "--reason", "a test", "--yes"]);
    scene.publish_many("rested", 20);
    scene.settles(&daemon, secs(20));
    assert_eq!((first.ids().len(), second.ids().len()), (0, 40));
    let list = told(&["provider", "list"]);
    assert!(
        list.contains("resting (forced)") && list.contains("on backup"),
        "{list}"
    );
    told(&[
        "flag",
        "close",
        "provider.first.force",
        "--reason",
        "a test",
        "--yes",
    ]);
    scene.publish_many("free", 20);
    scene.settles(&daemon, secs(20));
    assert_eq!(first.ids().len(), 20);
    let (code, said, complaint) = command(&[
        "provider", "pin", "work", "third", "--reason", "x", "--yes", "--url", &url,
    ]);
    assert_ne!(code, Some(0), "{said}");
    assert!(complaint.contains("auto, first, second"), "{complaint}");
    scene.also_worked(second.ids().into_keys().chain(first.ids().into_keys()));
    scene.nothing_lost(daemon);
}
