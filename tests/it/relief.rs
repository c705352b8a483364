//! The automatic valve on a real broker: three times as many jobs as the worker can do.

use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::broker::Broker;
use crate::ledger::{Kind, Message};
use crate::scene::{QUEUE, Scene, secs};
use crate::worker::Reply;

/// Jobs of 50 ms in four slots: at most eighty a second.
const SLOTS: usize = 4;
const JOB: Duration = Duration::from_millis(50);
const OFFERED: u32 = 240;

/// Publishes so many a second for so long, in parts of a tenth of a second.
fn offer(scene: &Scene<'_>, name: &str, rate: u32, lasting: Duration) {
    let began = Instant::now();
    let mut sent = 0;
    while began.elapsed() < lasting {
        let due = (began.elapsed().as_secs_f64() * f64::from(rate)) as u32;
        let messages: Vec<Message> = (sent..due)
            .map(|number| Message::new(format!("{name}-{number}")))
            .collect();
        scene.publish(&messages);
        sent = due;
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn relief(queue: &Json, figure: &str) -> f64 {
    let said = &queue["vitals"]["relief"][figure];
    said.as_f64().unwrap_or_else(|| panic!("{figure}: {said}"))
}

#[test]
fn at_three_times_the_load_the_worker_does_on_time_what_it_can_do() {
    let scene = Scene::set(Broker::shared(), "relief", Kind::Quorum);
    scene.worker.always(Reply::Slow(JOB));
    let daemon = scene.daemon(&format!("slots = {SLOTS}\ndeadline_after = \"2s\""));
    daemon.set(&format!("queue.{QUEUE}.skip_mode"), "auto");
    offer(&scene, "first", OFFERED, secs(6));
    let on_time = || {
        let now = daemon.metrics();
        let labels = ["on_time=\"true\""];
        now.sum("sluicegate_completed_total", &labels)
    };
    let (before, began) = (on_time(), Instant::now());
    offer(&scene, "second", OFFERED, secs(8));
    let (after, took) = (on_time(), began.elapsed().as_secs_f64());
    let queue = daemon.queue(QUEUE);
    let capacity = relief(&queue, "capacity_per_second");
    let goodput = (after - before) / took / capacity;
    assert!(
        goodput >= 0.85,
        "{goodput} of {capacity}/s on time: {queue:#}"
    );
    assert!(relief(&queue, "offered_per_second") > 1.5 * capacity);
    assert_eq!(queue["vitals"]["relief"]["mode"], "auto");

    let scale = daemon.get(&format!("/api/v1/queues/{QUEUE}/scale")).json();
    let workers = scale["workers"].as_u64().unwrap_or_default();
    assert!(
        workers > 2 * SLOTS as u64,
        "more are wanted while it sheds: {scale}"
    );
    let late = format!("/api/v1/explain?queue={QUEUE}&id=m-1&age=1900ms");
    let told = daemon.get(&late).json();
    assert_eq!(told["verdict"], "shed", "{told:#}");
    assert!(told.to_string().contains("gamma"), "{told:#}");

    scene.settles(&daemon, secs(20));
    let shed = daemon.metrics().settled(QUEUE, "skipped");
    assert!(shed > 500, "{shed}");
    offer(&scene, "third", 30, secs(4));
    scene.settles(&daemon, secs(20));
    let later = daemon.metrics().settled(QUEUE, "skipped");
    assert_eq!(later, shed, "it lets go when the load goes");
    let by_itself = daemon.metrics().sum("sluicegate_relief_shed_total", &[]);
    assert_eq!(by_itself as u64, shed);
    scene.nothing_lost(daemon);
}
