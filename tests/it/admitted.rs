//! An admitted queue between the daemon and workers that know nothing of it: never more than the slots in it, nothing stale,
//! nothing changed, nothing lost; and what its workers report counts.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable};
use serde_json::{Value as Json, json};

use crate::broker::Broker;
use crate::daemon::{Config, Daemon, command};
use crate::keeper::eventually;
use crate::ledger::{Kind, Ledger, Message, long, now_ms};
use crate::reader::Reader;
use crate::scene::{QUEUE, Scene, on_both_kinds, secs};

pub(crate) const ADMITTED: &str = "orders.admitted";

on_both_kinds![
    an_overload_is_admitted_by_slots_skipped_and_recovered_from,
    whatever_its_publisher_wrote_is_admitted_as_it_was,
    killed_and_restarted_nothing_is_lost,
];

pub(crate) fn config(scene: &Scene<'_>, settings: &str) -> Config {
    let url = scene.broker.url(&scene.vhost);
    Config::new(&url).admitting(QUEUE, ADMITTED, settings)
}

pub(crate) fn started(config: &Config) -> Daemon {
    let daemon = Daemon::start(config);
    daemon.ready(secs(10));
    daemon
}

pub(crate) fn reader(scene: &Scene<'_>, takes: Duration, reports: Option<&str>) -> Reader {
    Reader::start(&scene.broker.url(&scene.vhost), ADMITTED, takes, reports)
}

/// Looks into the admitted queue again and again while `work` goes on: the most that were ready at once.
fn most_ready<T>(scene: &Scene<'_>, work: impl FnOnce() -> T) -> (u32, T) {
    let (over, most) = (AtomicBool::new(false), AtomicU32::new(0));
    let done = std::thread::scope(|scope| {
        scope.spawn(|| {
            let ledger = Ledger::at(&scene.broker.url(&scene.vhost));
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(ledger.ready(ADMITTED).unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        done
    });
    (most.into_inner(), done)
}

fn an_overload_is_admitted_by_slots_skipped_and_recovered_from(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "admitted", kind);
    let daemon = started(&config(&scene, "slots = 8\non_expired = \"park\""));
    let ids = |name: &str, count: usize| -> Vec<Message> {
        (0..count)
            .map(|number| Message::new(format!("{name}-{number}")))
            .collect()
    };
    // Declared by the first message.
    scene.publish(&ids("first", 1));
    daemon.counts("the first is handed over", secs(10), |now| {
        now.settled(QUEUE, "handed_over") == 1
    });
    let worker = reader(&scene, Duration::from_millis(10), None);
    let (most, ()) = most_ready(&scene, || {
        scene.publish(&ids("rush", 300));
        eventually("it waits for room, and says so", secs(10), || {
            let queue = daemon.queue(QUEUE);
            let detail = queue["vitals"]["state_detail"].as_str().unwrap().to_owned();
            (detail == "waiting for room in orders.admitted" && queue["served"] == true)
                .then_some(())
                .ok_or(detail)
        });
        daemon.set(&format!("queue.{QUEUE}.skip"), 1.0);
        daemon.counts("the rest is skipped", secs(20), |now| {
            now.settled(QUEUE, "skipped") > 100
        });
        daemon.set(&format!("queue.{QUEUE}.skip"), 0.0);
        daemon.counts("nothing is in hand", secs(20), |now| {
            now.of_queue("messages_in_hand", QUEUE) == 0.0
        });
        // What comes late is shed before it is admitted, however full it was.
        daemon.set(&format!("queue.{QUEUE}.max_age"), "2s");
        scene.publish(&ids("late", 600));
        daemon.counts("some were late", secs(20), |now| {
            now.settled(QUEUE, "expired") > 50 && now.of_queue("messages_in_hand", QUEUE) == 0.0
        });
        scene.publish(&ids("after", 20));
        eventually("it works again", secs(20), || {
            let got = worker.got();
            let after = got.iter().filter(|id| id.starts_with("after")).count();
            (after == 20).then_some(()).ok_or(format!("{after}"))
        });
    });
    assert!((4..=8).contains(&most), "{most} were ready at once");
    let now = scene.settles(&daemon, secs(20));
    assert!(now.of_queue("target_full_total", QUEUE) > 10.0);
    assert_eq!(now.settled(QUEUE, "retry") + now.settled(QUEUE, "rate"), 0);
    let worked = worker.ends();
    assert_eq!(worked.len() as u64, now.settled(QUEUE, "handed_over"));
    scene.also_worked(worked);
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.repeated(), 0);
    assert_eq!(found.elsewhere[ADMITTED], []);
}

/// A message with every property, and a header of every type that RabbitMQ carries.
fn with_everything(id: &str) -> Message {
    let mut table = FieldTable::default();
    table.insert("inner".into(), AMQPValue::LongLongInt(-1));
    table.insert("text".into(), long("\u{1f40c}"));
    let mut list = FieldArray::default();
    list.push(AMQPValue::FieldTable(table.clone()));
    list.push(AMQPValue::Void);
    let decimal = DecimalValue {
        scale: 2,
        value: 314,
    };
    let properties = BasicProperties::default()
        .with_message_id(id.into())
        .with_delivery_mode(1)
        .with_content_type("application/x-python-serialize".into())
        .with_content_encoding("binary".into())
        .with_priority(7)
        .with_correlation_id("a-correlation".into())
        .with_reply_to("answers".into())
        .with_expiration("3600000".into())
        .with_timestamp(1_795_219_200)
        .with_type("order.placed".into())
        .with_user_id("guest".into())
        .with_app_id("shop".into());
    let message = Message {
        id: id.to_owned(),
        properties,
        body: b"\x80\x02\xffnot text".to_vec(),
        ..Message::default()
    };
    let headers: [(&str, AMQPValue); 16] = [
        ("boolean", AMQPValue::Boolean(true)),
        ("tiny", AMQPValue::ShortShortInt(-3)),
        ("small", AMQPValue::ShortInt(-300)),
        ("whole", AMQPValue::LongInt(-70_000)),
        ("unsigned", AMQPValue::LongUInt(4_000_000_000)),
        ("large", AMQPValue::LongLongInt(i64::MIN)),
        ("float", AMQPValue::Float(0.1)),
        ("double", AMQPValue::Double(0.1)),
        ("decimal", AMQPValue::DecimalValue(decimal)),
        ("text", long("gr\u{fc}\u{df}e")),
        (
            "bytes",
            AMQPValue::ByteArray(ByteArray::from(vec![0, 255, 7])),
        ),
        ("time", AMQPValue::Timestamp(1_795_219_200)),
        ("table", AMQPValue::FieldTable(table)),
        ("list", AMQPValue::FieldArray(list)),
        ("void", AMQPValue::Void),
        ("x-death", long("of an earlier life")),
    ];
    headers.into_iter().fold(message, |message, (name, value)| {
        message.header(name, value)
    })
}

fn whatever_its_publisher_wrote_is_admitted_as_it_was(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "as-it-was", kind);
    // What comes straight, and what was deferred and came back, arrive the same.
    let settings = "[queue.attributes]\naccount = \"header:text\"";
    let daemon = started(&config(&scene, &format!("key = \"account\"\n{settings}")));
    let copies = || {
        let mut copies = FieldArray::default();
        copies.push(long("copies"));
        AMQPValue::FieldArray(copies)
    };
    scene.ledger.declare("copies", Kind::Classic, &[]);
    let forged = with_everything("forged")
        .header("CC", copies())
        .text("x-sluicegate-account", "forged")
        .text("x-sluicegate-degrade", "forged");
    scene.publish(&[with_everything("plain"), forged]);
    daemon.counts("both are handed over", secs(10), |now| {
        now.settled(QUEUE, "handed_over") == 2
    });
    let admitted = scene.ledger.drain(ADMITTED);
    assert_eq!(admitted.len(), 2);
    let wanted = with_everything("plain");
    for message in &admitted {
        assert_eq!(message.body, wanted.body);
        let theirs: Vec<(&String, &AMQPValue)> = message
            .headers
            .iter()
            .filter(|(name, _)| !name.starts_with("x-sluicegate-"))
            .collect();
        assert_eq!(
            theirs,
            wanted.headers.iter().collect::<Vec<_>>(),
            "{}",
            message.id
        );
        let properties = message
            .properties
            .clone()
            .with_headers(FieldTable::default());
        let of_id = wanted.properties.clone();
        let of_id = of_id.with_message_id(message.id.as_str().into());
        assert_eq!(properties, of_id.with_headers(FieldTable::default()));
        assert_eq!(message.said("x-sluicegate-queue").as_deref(), Some(QUEUE));
        assert_eq!(message.said("x-sluicegate-id").as_ref(), Some(&message.id));
        let account = message.said("x-sluicegate-account");
        assert_eq!(account.as_deref(), Some("gr\u{fc}\u{df}e"));
        assert!(!message.headers.contains_key("x-sluicegate-degrade"));
        let attempt = message.headers.get("x-sluicegate-attempt");
        assert_eq!(attempt, Some(&AMQPValue::LongLongInt(1)));
    }
    let copied = scene.ledger.drain("copies").len();
    assert_eq!(copied, 1, "the broker copied it once, for its publisher");
    scene.also_worked(admitted.into_iter().map(|message| message.id));
    scene.nothing_lost(daemon);
}

fn killed_and_restarted_nothing_is_lost(kind: Kind) {
    let broker = Broker::own();
    let scene = Scene::set(&broker, "killed", kind);
    let daemon = started(&config(&scene, "slots = 20"));
    scene.publish_many("first", 1);
    daemon.counts("the first is handed over", secs(10), |now| {
        now.settled(QUEUE, "handed_over") == 1
    });
    let worker = reader(&scene, Duration::from_millis(2), None);
    let works = |count: usize| {
        eventually("the worker goes on", secs(60), || {
            let got = worker.got().len();
            (got >= count)
                .then_some(())
                .ok_or(format!("{got}\n{}", daemon.log()))
        });
    };
    scene.publish_many("a", 500);
    works(100);
    daemon.kill_9();
    daemon.restart();
    works(200);
    broker.kill_9();
    broker.restart();
    daemon.ready(secs(20));
    scene.publish_many("b", 200);
    works(600);
    scene.settles(&daemon, secs(60));
    scene.also_worked(worker.ends());
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.remaining, []);
    eprintln!("{kind:?}: {} were handed over twice", found.repeated());
}

#[test]
fn anothers_user_id_is_left_out_and_ours_is_kept() {
    let broker = Broker::shared();
    let scene = Scene::set(broker, "user-id", Kind::Classic);
    broker.add_user("gate-admits", &scene.vhost, [".*", ".*", ".*"]);
    let url = broker.url_for("gate-admits", "secret", &scene.vhost);
    let daemon = started(&Config::new(&url).admitting(QUEUE, ADMITTED, ""));
    let of_guest = Message::new("of-guest").with(|all| all.with_user_id("guest".into()));
    scene.publish(&[of_guest]);
    daemon.counts("it is handed over", secs(10), |now| {
        now.settled(QUEUE, "handed_over") == 1
    });
    let admitted = scene.ledger.drain(ADMITTED);
    assert!(admitted[0].properties.user_id().is_none());
    scene.also_worked(["of-guest".to_owned()]);
    scene.nothing_lost(daemon);
}

#[test]
fn workers_report_by_api_and_by_queue_and_each_counts_once() {
    let scene = Scene::set(Broker::shared(), "outcomes", Kind::Classic);
    scene.ledger.declare("orders.outcomes", Kind::Classic, &[]);
    let settings = "deadline_after = \"1m\"\noutcomes = { queue = \"orders.outcomes\" }";
    let daemon = started(&config(&scene, settings));
    scene.publish_many("told", 1);
    daemon.counts("it is handed over", secs(10), |now| {
        now.settled(QUEUE, "handed_over") == 1
    });
    assert_eq!(daemon.queue(QUEUE)["vitals"]["unreported"], 1);
    let report = |reports: Json| daemon.send("POST", "/api/v1/outcomes", &[], &reports);
    let one = |id: &str, outcome: &str| json!({"queue": QUEUE, "id": id, "outcome": outcome});
    scene.ledger.drain(ADMITTED);
    let late = json!({"queue": QUEUE, "id": "told-0", "outcome": "done", "at": now_ms() + 90_000});
    let answer = report(json!([
        one("told-0", "retry"),
        late,
        one("told-0", "done"),
        one("never", "failed")
    ]));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        answer.json(),
        json!({"counted": 2, "repeated": 1, "unknown": 1, "reports": ["counted", "counted", "repeated", "unknown"]})
    );
    let refused =
        report(json!([one("told-0", "done"), {"queue": QUEUE, "id": "x", "outcome": "perhaps"}]));
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert!(refused.body.contains("\"/1\""), "{}", refused.body);
    let worker = reader(&scene, Duration::ZERO, Some("orders.outcomes"));
    scene.publish_many("by-queue", 50);
    scene
        .ledger
        .publish("orders.outcomes", &[Message::new("nonsense")]);
    let completed = |on_time: &str| {
        format!("sluicegate_completed_total{{on_time=\"{on_time}\",queue=\"{QUEUE}\"}}")
    };
    let now = daemon.counts("all are reported", secs(20), |now| {
        now.get(&completed("true")) == 50.0
    });
    assert_eq!(now.get(&completed("false")), 1.0);
    for (series, count) in [
        ("outcomes_reported_total{outcome=\"done\"", 51.0),
        ("outcomes_reported_total{outcome=\"retry\"", 1.0),
        ("outcomes_not_counted_total{reason=\"malformed\"", 1.0),
    ] {
        let (name, label) = series.split_once('{').unwrap();
        let key = if label < "queue" {
            format!("sluicegate_{name}{{{label},queue=\"{QUEUE}\"}}")
        } else {
            format!("sluicegate_{name}{{queue=\"{QUEUE}\",{label}}}")
        };
        assert_eq!(now.get(&key), count, "{key}");
    }
    let vitals = daemon.queue(QUEUE)["vitals"].clone();
    assert_eq!(
        (&vitals["reported"], &vitals["unreported"]),
        (&json!(52), &json!(0))
    );
    let (_, page, _) = command(&["queue", "list", QUEUE, "--url", &daemon.url()]);
    assert!(
        page.contains("handed over") || page.contains("handed_over"),
        "{page}"
    );
    assert!(page.contains("52"), "{page}");
    let mut worked = worker.ends();
    worked.push("told-0".to_owned());
    scene.also_worked(worked);
    scene.settles(&daemon, secs(10));
    scene.nothing_lost(daemon);
}
