//! What AMQP cannot tell, told by a real management API; and the shovels of `sluicegate bypass`.

use std::process::Command;

use lapin::types::AMQPValue;
use serde_json::Value as Json;

use crate::broker::Broker;
use crate::daemon::{Config, Daemon, command};
use crate::keeper::{directory, eventually, free_port};
use crate::ledger::{Kind, Ledger, Message, long};
use crate::nodes::Managed;
use crate::scene::{QUEUE, Scene, secs};

/// The file of a daemon that asks the API of this node as `guest`.
fn asking(scene: &Scene<'_>, port: u16, settings: &str) -> Config {
    let mut config = scene.config(settings);
    config.sections = format!("[management]\nurl = \"http://guest:guest@127.0.0.1:{port}\"\n");
    config
}

/// The findings of `check --connect`, as `weight: text`.
fn findings(config: &Config) -> Vec<String> {
    let (_, said, complaint) = command(&[
        "check",
        "--connect",
        "--json",
        "--config",
        &config.written(),
    ]);
    let report: Json =
        serde_json::from_str(&said).unwrap_or_else(|why| panic!("{why}: {said}{complaint}"));
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .map(|one| {
            format!(
                "{}: {}",
                one["weight"].as_str().unwrap(),
                one["text"].as_str().unwrap()
            )
        })
        .collect()
}

fn says(found: &[String], weight: &str, part: &str) {
    let said = found
        .iter()
        .any(|one| one.starts_with(weight) && one.contains(part));
    assert!(said, "no {weight} that says {part:?}: {found:#?}");
}

#[test]
fn check_tells_what_the_broker_does_behind_our_back() {
    let Managed { broker, port } = Broker::managed();
    let bound = [
        ("x-single-active-consumer", AMQPValue::Boolean(true)),
        ("x-max-length", AMQPValue::LongInt(50)),
    ];
    let scene = Scene::set_with(broker, "managed", Kind::Quorum, &bound);
    let policy = "rabbit_policy:parse_set(<<\"managed-quorum\">>, <<\"strict\">>, <<\"^orders$\">>, \
         <<\"{\\\"delivery-limit\\\": 3, \\\"message-ttl\\\": 60000}\">>, <<\"0\">>, <<\"queues\">>, <<\"tests\">>).";
    broker.eval(policy);
    scene.ledger.declare(
        "sluicegate.delay.orders.5s",
        Kind::Classic,
        &[("x-overflow", long("drop-head"))],
    );
    let config = asking(&scene, *port, "");
    // The policy is told once the queue has taken it up.
    let found = eventually("all is found", secs(20), || {
        let found = findings(&config);
        let all = found.iter().any(|one| one.contains("limit is 3"));
        all.then_some(found.clone()).ok_or(format!("{found:#?}"))
    });
    says(
        &found,
        "fine",
        "its type is quorum, the policy strict acts on it",
    );
    says(&found, "problem", "single active consumer");
    says(&found, "warning", "older than 60000 ms vanish");
    says(&found, "warning", "over max-length 50");
    says(
        &found,
        "problem",
        "sluicegate.delay.orders.5s has other arguments",
    );
    says(&found, "fine", "nobody else reads it");
    // Without the section it is unknown, and a password that is wrong is said.
    says(&findings(&scene.config("")), "unknown", "set [management]");
    let mut config = asking(&scene, *port, "");
    config.sections = config.sections.replace("guest:guest", "guest:wrong");
    says(&findings(&config), "warning", "refuses the user (401)");
}

#[test]
fn what_the_daemon_declares_is_what_the_api_shows() {
    let Managed { broker, port } = Broker::managed();
    let scene = Scene::set(broker, "declared", Kind::Classic);
    let config = asking(&scene, *port, "");
    let daemon = Daemon::start(&config);
    daemon.ready(secs(10));
    daemon.set("queue.orders.skip", 1.0);
    scene.publish_many("shed", 3);
    daemon.counts("shed", secs(10), |now| now.settled(QUEUE, "skipped") == 3);
    eventually("the park is shown, as it is declared", secs(10), || {
        let found = findings(&config);
        let shown = found.iter().any(|one| {
            one.contains("1 queues of Sluicegate's own are there, each as it is declared")
        });
        shown.then_some(()).ok_or(format!("{found:#?}"))
    });
}

#[test]
fn the_running_daemon_tells_the_age_of_the_head_and_who_reads_past_the_gate() {
    let Managed { broker, port } = Broker::managed();
    let scene = Scene::set(broker, "watched", Kind::Classic);
    // Something old at the head, which nobody takes because the gate is shut, and a consumer that has nothing to do with us.
    let config = asking(&scene, *port, "");
    let daemon = Daemon::start(&config);
    daemon.ready(secs(10));
    daemon.set("queue.orders.pause", true);
    let hour_ago = (crate::ledger::now_ms() / 1_000 - 3_600) as u64;
    let old = Message::new("old").with(|properties| properties.with_timestamp(hour_ago));
    scene.publish(&[old]);
    let told = |what: &str, want: &dyn Fn(&Json) -> bool| {
        eventually(what, secs(40), || {
            let vitals = daemon.queue(QUEUE)["vitals"].clone();
            want(&vitals)
                .then_some(())
                .ok_or(format!("{vitals}\n{}", daemon.log()))
        });
    };
    told("an old head and no others", &|vitals| {
        vitals["head_age_seconds"].as_f64() > Some(3_500.0)
            && vitals["oldest_age_seconds"].as_f64() > Some(3_500.0)
            && vitals["other_consumers"] == 0
    });
    daemon.counts("the metric says so, too", secs(10), |now| {
        now.of_queue("queue_oldest_age_seconds", QUEUE) > 3_500.0
    });
    let (_, page, _) = command(&["queue", "list", QUEUE, "--url", &daemon.url()]);
    assert!(page.contains("other consumers: none"), "{page}");
    let thief = Ledger::at(&broker.url(&scene.vhost));
    let _held = thief.consume_and_hold(QUEUE);
    told("another consumer", &|vitals| vitals["other_consumers"] == 1);
}

#[test]
fn an_api_that_is_down_disturbs_nothing_and_is_said_once() {
    let scene = Scene::set(Broker::shared(), "unmanaged", Kind::Classic);
    let config = asking(&scene, free_port(), "");
    let daemon = Daemon::start(&config);
    daemon.ready(secs(10));
    scene.publish_many("job", 20);
    scene.worker_got(20, secs(10));
    eventually("it is said", secs(10), || {
        let log = daemon.log();
        log.contains("not reached").then_some(()).ok_or(log)
    });
    let vitals = daemon.queue(QUEUE)["vitals"].clone();
    assert!(
        vitals["other_consumers"].is_null() && vitals["head_age_seconds"].is_null(),
        "{vitals}"
    );
    let (_, page, _) = command(&["queue", "list", QUEUE, "--url", &daemon.url()]);
    assert!(page.contains("other consumers: unknown"), "{page}");
    scene.settles(&daemon, secs(10));
    assert_eq!(daemon.log().matches("not reached").count(), 1);
    scene.nothing_lost(daemon);
}

/// The lines of a page that a shell is to run.
fn lines(page: &str, with: &str) -> Vec<String> {
    let lines = page
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with(with));
    lines.map(str::to_owned).collect()
}

#[test]
fn the_shovels_that_bypass_prints_bring_lanes_home() {
    let Managed { broker, .. } = Broker::managed();
    let scene = Scene::set(broker, "bypass", Kind::Classic);
    let lanes = ["shared", "00c0ffee00c0ffee"].map(|lane| format!("sluicegate.lane.orders.{lane}"));
    for lane in &lanes {
        scene.ledger.declare(lane, Kind::Classic, &[]);
        scene.ledger.publish(
            lane,
            &["a", "b", "c"].map(|id| Message::new(format!("{lane}-{id}"))),
        );
    }
    let config = scene.config("key = \"account\"\nattributes = { account = \"header:x-account\" }");
    let (status, page, _) = command(&[
        "bypass",
        QUEUE,
        "--config",
        &config.written(),
        "--url",
        "http://127.0.0.1:9",
    ]);
    assert_eq!(
        status,
        Some(0),
        "without a daemon it is printed all the same"
    );
    let shovels = lines(&page, "rabbitmqctl -q list_queues");
    assert_eq!(shovels.len(), 1, "{page}");
    broker
        .shell(&shovels[0])
        .unwrap_or_else(|why| panic!("{why}"));
    eventually("they are home", secs(20), || {
        let home = scene.ledger.ready(QUEUE);
        let left: Vec<_> = lanes.iter().map(|lane| scene.ledger.ready(lane)).collect();
        (home == Some(6) && left == [Some(0), Some(0)])
            .then_some(())
            .ok_or(format!("{home:?}, {left:?}"))
    });
    let home: Vec<String> = scene
        .ledger
        .drain(QUEUE)
        .into_iter()
        .map(|message| message.id)
        .collect();
    for lane in &lanes {
        let of_lane: Vec<&String> = home.iter().filter(|id| id.starts_with(lane)).collect();
        assert!(of_lane.is_sorted() && of_lane.len() == 3, "{home:?}");
    }
}

#[test]
fn bypass_shows_what_a_running_daemon_says() {
    let scene = Scene::set(Broker::shared(), "bypassed", Kind::Classic);
    let config = scene.config("");
    let daemon = Daemon::start(&config);
    daemon.ready(secs(10));
    let file = config.written();
    let (status, page, complaint) =
        command(&["bypass", QUEUE, "--config", &file, "--url", &daemon.url()]);
    assert_eq!((status, complaint.as_str()), (Some(0), ""));
    assert!(
        page.contains("Now: consuming") && page.contains("0 in hand"),
        "{page}"
    );
    for line in lines(&page, "sluicegate flag set") {
        let line = format!("{line} --dry-run --url {}", daemon.url());
        let ran = Command::new("sh")
            .args([
                "-c",
                &format!(
                    "{}{}",
                    crate::daemon::PROGRAM,
                    line.strip_prefix("sluicegate").unwrap()
                ),
            ])
            .output()
            .unwrap();
        assert!(
            ran.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
    }
    let (status, _, complaint) = command(&["bypass", "mail", "--config", &file]);
    assert_eq!(status, Some(3), "{complaint}");
    let missing = directory("none").join("sluicegate.toml");
    let (status, _, complaint) = command(&["topology", "--config", missing.to_str().unwrap()]);
    assert!(
        status == Some(1) && complaint.contains("sluicegate.toml"),
        "{complaint}"
    );
}
