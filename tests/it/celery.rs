//! Behind real Celery and in front of it: what its messages say is read right, and nothing of it is lost on any way through.

use serde_json::{Value as Json, json};

use crate::broker::Broker;
use crate::daemon::command;
use crate::keeper::directory;
use crate::ledger::now_ms;
use crate::scene::secs;
use crate::shop::{Shop, WORK};
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
        job(json!([]), json!({"countdown": 7})),
        job(json!([]), json!({"countdown": 2})),
    ]);
    let now = daemon.counts("both are done", secs(20), |now| {
        now.settled(WORK, "done") == 2
    });
    let took = now_ms() - began;
    assert!((7_000..12_000).contains(&took), "{took} ms");
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
