//! Behind real Celery and in front of it: what its messages say is read right, and nothing of it is lost on any way through.

use std::collections::BTreeMap;

use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value as Json, json};

use crate::broker::Broker;
use crate::daemon::command;
use crate::keeper::{directory, eventually};
use crate::ledger::{Message, now_ms};
use crate::scene::secs;
use crate::shop::{ADMITTED, Shop, WORK};
use crate::worker::Worker;

fn job(args: Json, options: Json) -> Json {
    json!({ "args": args, "kwargs": {"colour": "blue"}, "options": options })
}

fn http(worker: &Worker) -> String {
    format!("{{ http = \"{}\" }}", worker.url())
}

/// A time as Celery writes it, in milliseconds since 1970.
fn milliseconds(time: &Json) -> i64 {
    let time: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
    time.as_millisecond()
}

#[test]
fn the_preset_reads_what_celery_writes() {
    let shop = Shop::open(Broker::shared(), "preset");
    let worker = Worker::start();
    let began = now_ms();
    let ids = shop.publish(&[
        job(json!([1]), json!({})),
        job(
            json!([2]),
            json!({"countdown": 3, "expires": 3_600, "retries": 2}),
        ),
    ]);
    for (key, says) in [
        ("type", ["test.record", "test.record"]),
        ("retries", ["0", "2"]),
    ] {
        let messages = shop.look(WORK);
        assert_eq!(messages.len(), 2);
        let daemon = shop.daemon(&http(&worker), &format!("key = \"{key}\""));
        worker.always(crate::worker::Reply::Status(200));
        let now = daemon.counts("both are done", secs(20), |now| {
            now.settled(WORK, "done") == 2
        });
        assert_eq!(now.of_queue("message_age_unknown_total", WORK), 0.0);
        assert_eq!(now.of_queue("message_id_from_body_total", WORK), 0.0);
        let got = worker.got();
        let of = |id: &str| got.iter().rfind(|job| job.id == id).unwrap();
        let accounts = [&ids[0], &ids[1]].map(|id| of(id).header("sluicegate-account").unwrap());
        assert_eq!(accounts, says, "{key}");
        assert_eq!(of(&ids[0]).header("sluicegate-deadline"), None);
        let deadline: i64 = of(&ids[1])
            .header("sluicegate-deadline")
            .unwrap()
            .parse()
            .unwrap();
        let expected = began + 3_600_000;
        assert!(
            (expected..expected + 10_000).contains(&deadline),
            "{deadline}"
        );
        daemon.always_added_up();
        daemon.terminate();
        shop.ledger.publish(WORK, &messages);
    }
}

#[test]
fn a_countdown_is_kept_and_costs_no_attempt() {
    // The broker itself drops what expires while it lies in `work`: Celery writes `expires` as the property `expiration`, too.
    let shop = Shop::open(Broker::shared(), "countdown");
    let worker = Worker::start();
    let daemon = shop.daemon(&http(&worker), "attempts = 1");
    let began = now_ms();
    daemon.set(&format!("queue.{WORK}.max_age"), "2s");
    let ids = shop.publish(&[
        job(json!([]), json!({"countdown": 9})),
        job(json!([]), json!({"countdown": 2})),
    ]);
    let now = daemon.counts("both are done", secs(20), |now| {
        now.settled(WORK, "done") == 2
    });
    let took = now_ms() - began;
    assert!((9_000..14_000).contains(&took), "{took} ms");
    let order: Vec<String> = worker.got().into_iter().map(|job| job.id).collect();
    assert_eq!(order, [ids[1].clone(), ids[0].clone()]);
    let hops = now.settled(WORK, "not_yet");
    assert!((1..=2).contains(&hops), "{hops} hops for seven seconds");
    assert_eq!(
        now.settled(WORK, "expired"),
        0,
        "its age counts from its time"
    );
    daemon.always_added_up();
}

#[test]
fn a_check_reads_well_for_celery() {
    let shop = Shop::open(Broker::shared(), "check");
    shop.publish(&[
        job(json!([]), json!({"countdown": 60})),
        job(json!([]), json!({})),
    ]);
    let home = directory("check");
    let file = home.join("sluicegate.toml");
    let config = shop.config("{ http = \"http://127.0.0.1:9/jobs\" }", "");
    let text = format!("[amqp]\nurl = \"{}\"\n{}", config.amqp_url, config.queues);
    std::fs::write(&file, text).unwrap();
    let (status, said, complaint) =
        command(&["check", "--config", file.to_str().unwrap(), "--connect"]);
    assert_eq!(status, Some(0), "{said}{complaint}");
    for line in [
        "2 of 2 carry an age",
        "2 of 2 carry an id",
        "2 of 2 carry the attribute `type`",
        "0 of 2 carry a deadline (header:expires)",
        "1 of 2 are not to be done yet (header:eta)",
    ] {
        assert!(said.contains(line), "{line:?} is missing in:\n{said}");
    }
}

const TO_ADMITTED: &str = "{ queue = \"work.admitted\" }";

fn id_of(message: &Message) -> String {
    message.said("id").unwrap()
}

/// What its publisher wrote: properties, headers, body; without what the daemon adds.
fn written(message: &Message) -> (lapin::BasicProperties, BTreeMap<String, AMQPValue>, Vec<u8>) {
    let mut headers = message.headers.clone();
    headers.retain(|name, _| !name.starts_with("x-sluicegate-"));
    let properties = message
        .properties
        .clone()
        .with_headers(FieldTable::default());
    (properties, headers, message.body.clone())
}

/// A header as the envelope writes it: the letter of its AMQP type, and its value.
fn enveloped(value: &AMQPValue) -> Json {
    match value {
        AMQPValue::LongString(text) => json!(["S", text.to_string()]),
        AMQPValue::LongInt(number) => json!(["I", number]),
        AMQPValue::LongLongInt(number) => json!(["l", number]),
        AMQPValue::Boolean(value) => json!(["t", value]),
        AMQPValue::Void => json!(["V"]),
        AMQPValue::FieldArray(items) => {
            let items: Vec<Json> = items.as_slice().iter().map(enveloped).collect();
            json!(["A", items])
        }
        AMQPValue::FieldTable(table) => {
            let entries = table.inner().iter();
            let entries: Vec<Json> = entries
                .map(|(name, value)| json!([name.as_str(), enveloped(value)]))
                .collect();
            json!(["F", entries])
        }
        other => panic!("Celery wrote {other:?}"),
    }
}

#[test]
fn every_header_survives_the_park_a_delay_and_admission() {
    let shop = Shop::open(Broker::shared(), "headers");
    let rich =
        json!({"x-account": "acme", "nested": {"list": [1, null, true], "far": 1_u64 << 40}});
    let mut ids = shop.publish(&[
        job(
            json!(["plain", {"deep": [1, 2]}]),
            json!({"headers": rich, "expires": 3_600, "priority": 3}),
        ),
        job(
            json!(["delayed"]),
            json!({"headers": rich, "countdown": 15}),
        ),
    ]);
    let mut originals = shop.look(WORK);
    let daemon = shop.daemon(TO_ADMITTED, "slots = 4");
    daemon.counts("both are admitted", secs(30), |now| {
        now.settled(WORK, "handed_over") == 2
    });
    daemon.set(&format!("queue.{WORK}.pause"), true);
    ids.extend(shop.publish(&[job(json!(["parked"]), json!({"headers": rich}))]));
    originals.extend(shop.look(WORK));
    daemon.set(&format!("queue.{WORK}.skip"), 1.0);
    daemon.set(&format!("queue.{WORK}.pause"), false);
    let now = daemon.counts("one is parked", secs(20), |now| {
        now.settled(WORK, "skipped") == 1
    });
    assert!(
        now.settled(WORK, "not_yet") >= 1,
        "one went through a delay queue"
    );
    let original = |id: &str| originals.iter().find(|one| id_of(one) == id).unwrap();
    let admitted = shop.ledger.drain(ADMITTED);
    assert_eq!(admitted.iter().map(id_of).collect::<Vec<_>>(), ids[..2]);
    for message in &admitted {
        assert_eq!(written(message), written(original(&id_of(message))));
    }
    let streams = shop.broker.queues(&shop.vhost).into_iter();
    let park = streams
        .filter(|queue| queue.starts_with("sluicegate.park."))
        .flat_map(|queue| shop.ledger.read_stream(&queue));
    let parked: Vec<Message> = park.collect();
    let envelope: Json =
        serde_json::from_str(&parked[0].said("x-sluicegate-original").unwrap()).unwrap();
    let headers = &original(&ids[2]).headers;
    let expected = headers
        .iter()
        .map(|(name, value)| (name.clone(), enveloped(value)));
    assert_eq!(envelope["headers"], Json::Object(expected.collect()));
    assert_eq!(parked[0].body, original(&ids[2]).body);
    daemon.always_added_up();
}

#[test]
fn every_header_survives_a_lane() {
    let shop = Shop::open(Broker::shared(), "lane");
    let rich = json!({"x-account": "acme", "nested": {"list": [1, null, true]}});
    let jobs: Vec<Json> = (0..4)
        .map(|number| job(json!([number]), json!({"headers": rich, "expires": 3_600})))
        .collect();
    let ids = shop.publish(&jobs);
    let originals = shop.look(WORK);
    shop.ledger.drain(WORK);
    let daemon = shop.daemon(TO_ADMITTED, "slots = 8\nkey = \"type\"");
    daemon.set(&format!("queue.{WORK}.rate_each"), "4/m burst 1");
    shop.ledger.publish(WORK, &originals);
    daemon.counts("some wait in the lane", secs(20), |now| {
        now.settled(WORK, "rate") >= 2
    });
    daemon.set(&format!("queue.{WORK}.rate_each"), Json::Null);
    daemon.counts("all are admitted again", secs(30), |now| {
        now.settled(WORK, "handed_over") == 4
    });
    let admitted = shop.ledger.drain(ADMITTED);
    assert_eq!(admitted.iter().map(id_of).collect::<Vec<_>>(), ids);
    for (message, original) in admitted.iter().zip(&originals) {
        assert_eq!(written(message), written(original));
    }
    let lanes = shop.broker.queues(&shop.vhost);
    assert!(
        lanes
            .iter()
            .any(|name| name.starts_with("sluicegate.lane.")),
        "{lanes:?}"
    );
    daemon.always_added_up();
}

#[test]
fn a_real_worker_behind_the_admitted_queue_does_the_jobs() {
    let shop = Shop::open(Broker::shared(), "worker");
    let daemon = shop.daemon(TO_ADMITTED, "slots = 2\ndeadline_after = \"1m\"");
    let _worker = shop.worker(2, &daemon);
    let most = shop.most_admitted(|| {
        let began = now_ms();
        let at_once: Vec<Json> = (0..12).map(|n| json!({"args": [n], "kwargs": {"seconds": 0.1, "name": "Zoë"}, "options": {}})).collect();
        let later = json!({"args": [], "kwargs": {}, "options": {"countdown": 7, "expires": 60, "headers": {"x-account": "acme"}}});
        let flaky = json!({"args": ["flaky"], "kwargs": {"fail_times": 2}, "options": {}});
        let ids = shop.publish(&[&at_once[..], &[later, flaky]].concat());
        for (number, id) in ids[..12].iter().enumerate() {
            let runs = shop.ran(id, 1, secs(40));
            assert_eq!((&runs[0]["args"], &runs[0]["kwargs"]["name"]), (&json!([number]), &json!("Zoë")));
        }
        let later = &shop.ran(&ids[12], 1, secs(20))[0];
        let due = milliseconds(&later["eta"]);
        let at = later["at_ms"].as_i64().unwrap();
        assert!(due >= began + 7_000 && (due..due + 2_000).contains(&at), "due {due}, run {at}");
        assert_eq!(later["headers"]["x-account"], "acme");
        let retries: Vec<Json> = shop.ran(&ids[13], 3, secs(20)).iter().map(|run| run["retries"].clone()).collect();
        assert_eq!(retries, [0, 1, 2], "Celery's own retries");
    });
    assert!(most <= 2, "{most} were ready of 2 slots");
    assert!((1..=2).contains(&shop.most_held()), "two at once");
    let now = daemon.counts("all of them are reported done", secs(20), |now| {
        now.get(&format!(
            "sluicegate_completed_total{{on_time=\"true\",queue=\"{WORK}\"}}"
        )) == 14.0
    });
    assert_eq!(
        now.settled(WORK, "handed_over"),
        16,
        "each retry came through the gate"
    );
    let (runs, repeated) = (shop.recorded().len(), now.settled(WORK, "unsettled"));
    assert_eq!((runs, repeated), (16, 0), "nothing was done twice");
    eventually("both queues are empty", secs(5), || {
        let left = (shop.ledger.ready(WORK), shop.ledger.ready(ADMITTED));
        (left == (Some(0), Some(0)))
            .then_some(())
            .ok_or(format!("{left:?}"))
    });
    daemon.always_added_up();
}
