//! Messages that are strange or hostile: FAULTS section B. Each ends as the table says, and the next one is served as ever.

use lapin::types::{AMQPValue, FieldArray, FieldTable};

use crate::broker::Broker;
use crate::daemon::Daemon;
use crate::ledger::{Kind, Message, long, now_ms};
use crate::scene::{Found, QUEUE, Scene, on_both_kinds, secs};
use crate::worker::Reply;

on_both_kinds![
    b01_nothing_but_an_empty_body,
    b02_a_body_that_is_too_large,
    b03_to_b05_bodies_that_are_no_json,
    b06_an_account_of_any_type,
    b07_hostile_headers,
    b09_line_ends_where_http_would_read_a_header,
    b15_times_that_cannot_be,
];

/// Publishes messages and one plain message after them, and waits until all are settled.
fn serve(scene: &Scene<'_>, daemon: &Daemon, messages: &[Message]) {
    scene.publish(messages);
    scene.publish(&[Message::new("plain")]);
    scene.worker_gets("plain", secs(15));
    let now = scene.settles(daemon, secs(15));
    assert_eq!(now.settled(QUEUE, "unsettled"), 0, "{}", daemon.log());
    assert_eq!(
        now.of_queue("broker_reconnects_total", QUEUE),
        0.0,
        "{}",
        daemon.log()
    );
}

fn dead_with_reason(found: &Found, reason: &str) -> Vec<String> {
    let mut ids: Vec<String> = found
        .dead
        .iter()
        .filter(|message| message.said("x-sluicegate-reason").as_deref() == Some(reason))
        .map(|message| message.id.clone())
        .collect();
    ids.sort();
    ids
}

fn b01_nothing_but_an_empty_body(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "b01", kind);
    let daemon =
        scene.daemon("key = \"account\"\n[queue.attributes]\naccount = \"header:x-account\"");
    daemon.set(&format!("queue.{QUEUE}.max_age"), "1m");
    daemon.set(&format!("queue.{QUEUE}.concurrency_each"), 3);
    let bare = Message::default();
    scene.ledger.publish(QUEUE, &[bare.clone(), bare]);
    serve(&scene, &daemon, &[]);
    let now = daemon.metrics();
    assert_eq!(now.settled(QUEUE, "done"), 3);
    assert_eq!(now.of_queue("message_age_unknown_total", QUEUE), 2.0);
    assert_eq!(now.of_queue("message_id_from_body_total", QUEUE), 2.0);
    let ids = scene.worker.ids();
    assert_eq!(
        ids.len(),
        2,
        "the two that are equal have the same id: {ids:?}"
    );
    scene.nothing_lost(daemon);
}

fn b02_a_body_that_is_too_large(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "b02", kind);
    let daemon = scene.daemon("max_body_bytes = 100000");
    let sized = |id: &str, bytes| Message::new(id).body(vec![b'x'; bytes]);
    serve(
        &scene,
        &daemon,
        &[
            sized("largest", 100_000),
            sized("larger", 100_001),
            sized("huge", 8_000_000),
        ],
    );
    assert_eq!(daemon.metrics().settled(QUEUE, "malformed"), 2);
    let found = scene.nothing_lost(daemon);
    assert_eq!(dead_with_reason(&found, "malformed"), ["huge", "larger"]);
    assert_eq!(found.worked["largest"], 1);
    let huge = found
        .dead
        .iter()
        .find(|message| message.id == "huge")
        .unwrap();
    assert_eq!(huge.body.len(), 8_000_000, "it is kept whole");
}

fn b03_to_b05_bodies_that_are_no_json(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "b03", kind);
    let daemon = scene.daemon("key = \"account\"\n[queue.attributes]\naccount = \"body:/account\"");
    let deep = "[".repeat(100_000);
    let wide: String = (0..20_000)
        .map(|number| format!("\"k{number}\":1,"))
        .collect();
    let bodies: [(&str, &[u8]); 8] = [
        ("cut", b"{\"account\":"),
        ("not-utf8", b"{\"account\":\"\xff\xfe\"}"),
        ("twice", b"{\"account\":\"a\",\"account\":\"b\"}"),
        ("nan", b"{\"account\":NaN}"),
        ("infinite", b"{\"account\":1e999}"),
        ("deep", deep.as_bytes()),
        ("empty", b""),
        ("trailing", b"{\"account\":\"a\"} and more"),
    ];
    let mut messages: Vec<Message> = bodies
        .iter()
        .map(|(id, body)| Message::new(*id).body(*body))
        .collect();
    messages.push(Message::new("wide").body(format!("{{{wide}\"account\":\"acme\"}}")));
    messages.push(Message::new("missing").body("{}"));
    messages.push(Message::new("table").body("{\"account\":{\"a\":1}}"));
    serve(&scene, &daemon, &messages);
    let found = scene.nothing_lost(daemon);
    let expected = [
        "cut", "deep", "empty", "infinite", "nan", "not-utf8", "trailing", "twice",
    ];
    assert_eq!(dead_with_reason(&found, "malformed"), expected);
    for id in ["wide", "missing", "table"] {
        assert_eq!(found.worked[id], 1, "{id}");
    }
}

fn b06_an_account_of_any_type(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "b06", kind);
    let daemon =
        scene.daemon("key = \"account\"\n[queue.attributes]\naccount = \"header:x-account\"");
    let of = |id: &str, value: AMQPValue| Message::new(id).header("x-account", value);
    let long_name = "x".repeat(10_240);
    serve(
        &scene,
        &daemon,
        &[
            of("text", long("42")),
            of("integer", AMQPValue::LongInt(42)),
            of("tiny", AMQPValue::ShortShortUInt(42)),
            of("wide", AMQPValue::LongLongInt(42)),
            of("bytes", AMQPValue::ByteArray(b"42".to_vec().into())),
            of("void", AMQPValue::Void),
            of("table", AMQPValue::FieldTable(FieldTable::default())),
            of("not-utf8", AMQPValue::LongString(vec![0xff, 0xfe].into())),
            of("long", long(&long_name)),
            of("float", AMQPValue::Double(0.5)),
        ],
    );
    let got = scene.worker.got();
    let account = |id: &str| {
        let job = got.iter().find(|job| job.id == id).unwrap();
        job.header("sluicegate-account")
            .unwrap_or_default()
            .to_owned()
    };
    for id in ["text", "integer", "tiny", "wide", "bytes"] {
        assert_eq!(
            account(id),
            "42",
            "{id}: one account, however it is written"
        );
    }
    for id in ["void", "table", "not-utf8", "plain"] {
        assert_eq!(account(id), "unknown", "{id}");
    }
    assert!(account("long").len() < 64, "{}", account("long"));
    scene.nothing_lost(daemon);
}

fn b07_hostile_headers(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "b07", kind);
    let daemon = scene.daemon("on_skip = \"park\"");
    daemon.set(&format!("queue.{QUEUE}.skip"), 1.0);
    let many = |count: usize| {
        (0..count).fold(Message::new(format!("many-{count}")), |message, number| {
            message.header(&format!("h{number}"), AMQPValue::ShortShortInt(1))
        })
    };
    let mut nested = FieldTable::default();
    for _ in 0..60 {
        let mut outer = FieldTable::default();
        outer.insert("t".into(), AMQPValue::FieldTable(nested));
        nested = outer;
    }
    let mut bomb = FieldArray::default();
    for _ in 0..5_000 {
        bomb.push(AMQPValue::Void);
    }
    // The frames of this broker hold 128 KiB of headers; beyond 96 KiB they cannot be kept beside what they were.
    scene.publish(&[
        many(1_000),
        many(10_000),
        Message::new("nested").header("n", AMQPValue::FieldTable(nested)),
        Message::new("bomb").header("b", AMQPValue::FieldArray(bomb)),
        Message::new("wide").text("w", &"x".repeat(60_000)),
        Message::new("too-wide").text("w", &"x".repeat(120_000)),
    ]);
    let now = daemon.counts("all are shed", secs(20), |now| {
        now.settled(QUEUE, "skipped") + now.settled(QUEUE, "malformed") == 6
    });
    assert_eq!(
        now.of_queue("broker_reconnects_total", QUEUE),
        0.0,
        "{}",
        daemon.log()
    );
    assert_eq!(now.settled(QUEUE, "unsettled"), 0);
    daemon.set(&format!("queue.{QUEUE}.skip"), 0.0);
    serve(&scene, &daemon, &[]);
    let found = scene.nothing_lost(daemon);
    assert_eq!(
        dead_with_reason(&found, "malformed"),
        ["many-10000", "too-wide"]
    );
}

fn b09_line_ends_where_http_would_read_a_header(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "b09", kind);
    let daemon =
        scene.daemon("key = \"account\"\n[queue.attributes]\naccount = \"header:x-account\"");
    let evil = "a\r\nx-evil: 1\r\n\r\n";
    let message = Message::new(evil)
        .text("x-account", evil)
        .text("traceparent", evil)
        .with(|properties| {
            properties
                .with_type(evil.into())
                .with_content_type(evil.into())
                .with_content_encoding(evil.into())
        });
    scene.ledger.publish(QUEUE, &[message]);
    serve(&scene, &daemon, &[]);
    for job in scene.worker.got() {
        assert_eq!(job.header("x-evil"), None, "{job:?}");
    }
    assert_eq!(scene.worker.got().len(), 2);
    let log = daemon.log();
    assert!(!log.contains("\nx-evil"), "a log line was forged:\n{log}");
    scene.nothing_lost(daemon);
}

fn b15_times_that_cannot_be(kind: Kind) {
    let scene = Scene::set(Broker::shared(), "b15", kind);
    let daemon = scene.daemon("");
    daemon.set(&format!("queue.{QUEUE}.max_age"), "1m");
    let at =
        |id: &str, ms: i64| Message::new(id).header("timestamp_in_ms", AMQPValue::LongLongInt(ms));
    serve(
        &scene,
        &daemon,
        &[
            at("in-a-year", now_ms() + 31_536_000_000),
            at("in-1970", 1),
            at("before-1970", -5),
            at("minimum", i64::MIN),
            at("maximum", i64::MAX),
            at("a-moment-ahead", now_ms() + 300),
            at("old", now_ms() - 120_000),
        ],
    );
    let now = daemon.metrics();
    assert_eq!(
        now.settled(QUEUE, "expired"),
        1,
        "only what is surely old is late"
    );
    assert_eq!(now.of_queue("message_age_unknown_total", QUEUE), 5.0);
    let sum = now.of_queue("message_age_seconds_sum", QUEUE);
    assert!(
        (0.0..1_000.0).contains(&sum),
        "the histogram is poisoned: {sum}"
    );
    scene.nothing_lost(daemon);
}

#[test]
fn b08_a_hundred_thousand_accounts_leave_no_label_behind() {
    let scene = Scene::set(Broker::shared(), "b08", Kind::Classic);
    let daemon = scene.daemon(
        "slots = 32\nkey = \"account\"\n[queue.attributes]\naccount = \"header:x-account\"",
    );
    daemon.set(&format!("queue.{QUEUE}.concurrency_each"), 2);
    let before = daemon.get("/metrics").body.lines().count();
    let messages: Vec<Message> = (0..3_000)
        .map(|number| {
            Message::new(format!("m-{number}")).text("x-account", &format!("account-{number}"))
        })
        .collect();
    scene.publish(&messages);
    scene.worker_got(3_000, secs(60));
    let page = daemon.get("/metrics").body;
    assert!(!page.contains("account-"), "an account is a label");
    assert!(page.lines().count() <= before + 5);
    scene.settles(&daemon, secs(10));
    scene.nothing_lost(daemon);
}

#[test]
fn b13_a_message_that_always_times_out_is_given_up() {
    let scene = Scene::set(Broker::shared(), "b13", Kind::Classic);
    scene.worker.decides(|job, _| match job.id.as_str() {
        "stuck" => Reply::Hang,
        _ => Reply::Status(200),
    });
    let daemon = scene.daemon("slots = 2\nattempts = 2");
    daemon.set(&format!("queue.{QUEUE}.timeout"), "500ms");
    scene.publish(&[Message::new("stuck")]);
    scene.publish_many("others", 50);
    scene.worker_gets("others-49", secs(10));
    daemon.counts("it is given up", secs(20), |now| {
        now.settled(QUEUE, "attempts") == 1
    });
    let found = scene.nothing_lost(daemon);
    assert_eq!(dead_with_reason(&found, "attempts"), ["stuck"]);
}

#[test]
fn b14_what_becomes_late_while_it_is_held_is_not_worked() {
    let scene = Scene::set(Broker::shared(), "b14", Kind::Classic);
    scene.worker.always(Reply::Slow(secs(3)));
    let daemon = scene.daemon("slots = 1");
    daemon.set(&format!("queue.{QUEUE}.max_age"), "2s");
    scene.publish(&["first", "held"].map(Message::new));
    let now = daemon.counts("the second is late", secs(10), |now| {
        now.settled(QUEUE, "expired") == 1
    });
    assert_eq!(now.settled(QUEUE, "malformed"), 0);
    daemon.counts("the first is done", secs(10), |now| {
        now.settled(QUEUE, "done") == 1
    });
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.worked.keys().collect::<Vec<_>>(), ["first"]);
    assert_eq!(found.parked.len(), 1);
}
