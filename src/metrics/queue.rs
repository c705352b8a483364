//! The numbers of one queue, and the families that they are children of.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::rules::verdict::Why;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry,
};

use super::ledger::Ledger;
use super::register::{counter, gauge, histogram, int_gauge};

/// The outcomes of `processing_seconds`.
pub const OUTCOMES: [&str; 6] = [
    "done",
    "handed_over",
    "retry",
    "throttled",
    "failed",
    "unknown",
];
const ON_TIME: [&str; 3] = ["true", "false", "unknown"];
const PROCESSING_BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
const AGE_BUCKETS: [f64; 12] = [
    0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0,
];

/// The numbers of one queue.
#[derive(Debug)]
pub struct QueueMetrics {
    ledger: Mutex<Ledger>,
    message_age: Histogram,
    processing: [Histogram; OUTCOMES.len()],
    service: Histogram,
    completed: [IntCounter; ON_TIME.len()],
    throttle_wait: Histogram,
    ready: IntGauge,
    oldest_age: Gauge,
    connected: IntGauge,
    ever_connected: AtomicBool,
    reconnects: IntCounter,
    age_unknown: IntCounter,
    id_from_body: IntCounter,
    not_before_unread: IntCounter,
    publish_failures: IntCounter,
    blocked_keys: IntGauge,
}

impl QueueMetrics {
    /// Writes the queue's account, whole.
    pub fn write_ledger(&self, ledger: Ledger) {
        *self.ledger.lock().unwrap_or_else(PoisonError::into_inner) = ledger;
    }

    /// Reads the queue's account, whole.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        *self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker died: what it had in hand is unsettled, the broker will redeliver it.
    pub fn in_hand_is_lost(&self) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = std::mem::take(&mut ledger.in_hand);
        ledger.settled[Why::Unsettled as usize] += lost;
    }

    /// A message of this age was picked up; `None`: its age is unknown.
    pub fn picked_up(&self, age_ms: Option<i64>) {
        match age_ms {
            Some(ms) => self.message_age.observe(ms as f64 / 1_000.0),
            None => self.age_unknown.inc(),
        }
    }

    /// A message carried no id of its own.
    pub fn id_from_body(&self) {
        self.id_from_body.inc();
    }

    /// A message carried a time not to be done before that is no time that can be.
    pub fn not_before_unread(&self) {
        self.not_before_unread.inc();
    }

    /// The target answered with this outcome after this long.
    pub fn processed(&self, outcome: &str, took: Duration) {
        if let Some(index) = OUTCOMES.iter().position(|word| *word == outcome) {
            self.processing[index].observe(took.as_secs_f64());
        }
    }

    /// A job was done: on time, late, or without a known deadline.
    pub fn completed(&self, on_time: Option<bool>, service: Duration) {
        let index = match on_time {
            Some(true) => 0,
            Some(false) => 1,
            None => 2,
        };
        self.completed[index].inc();
        self.service.observe(service.as_secs_f64());
    }

    /// A message was held by a throttle for this long.
    pub fn waited(&self, wait: Duration) {
        self.throttle_wait.observe(wait.as_secs_f64());
    }

    /// What is known of the backlog.
    pub fn backlog(&self, ready: u64, oldest_age: Duration) {
        self.ready.set(i64::try_from(ready).unwrap_or(i64::MAX));
        self.oldest_age.set(oldest_age.as_secs_f64());
    }

    /// The link to the broker is up or down.
    pub fn link(&self, connected: bool) {
        let was_connected = self.connected.get() == 1;
        if connected && !was_connected && self.ever_connected.swap(true, Ordering::Relaxed) {
            self.reconnects.inc();
        }
        self.connected.set(i64::from(connected));
    }

    /// So many keys are blocked.
    pub fn blocked_keys(&self, count: u64) {
        self.blocked_keys
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A message could not be put where it belongs; it is held and tried again.
    pub fn publish_failed(&self) {
        self.publish_failures.inc();
    }
}

/// The families of which each queue has its children.
pub(super) struct Families {
    message_age: HistogramVec,
    processing: HistogramVec,
    service: HistogramVec,
    completed: IntCounterVec,
    throttle_wait: HistogramVec,
    ready: IntGaugeVec,
    oldest_age: GaugeVec,
    connected: IntGaugeVec,
    reconnects: IntCounterVec,
    age_unknown: IntCounterVec,
    id_from_body: IntCounterVec,
    not_before_unread: IntCounterVec,
    publish_failures: IntCounterVec,
    blocked_keys: IntGaugeVec,
}

impl Families {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let queue = &["queue"];
        let counted = |name, help| counter(registry, name, help, queue);
        let measured = |name, help| gauge(registry, name, help, queue);
        let whole = |name, help| int_gauge(registry, name, help, queue);
        let timed = |name, help| histogram(registry, name, help, queue, &PROCESSING_BUCKETS);
        Ok(Self {
            message_age: histogram(
                registry,
                "message_age_seconds",
                "Age of messages when they were picked up.",
                queue,
                &AGE_BUCKETS,
            )?,
            processing: histogram(
                registry,
                "processing_seconds",
                "How long the target took, by what came back.",
                &["queue", "outcome"],
                &PROCESSING_BUCKETS,
            )?,
            service: timed(
                "service_seconds",
                "How long the target took for jobs that it did.",
            )?,
            completed: counter(
                registry,
                "completed_total",
                "Jobs done, by whether that was before their deadline; unknown: they had none.",
                &["queue", "on_time"],
            )?,
            throttle_wait: timed(
                "throttle_wait_seconds",
                "How long messages were held by a rate or concurrency limit.",
            )?,
            ready: whole("queue_ready_messages", "Messages ready at the broker.")?,
            oldest_age: measured(
                "queue_oldest_age_seconds",
                "Age of the oldest message in hand; 0: none, or its age is unknown.",
            )?,
            connected: whole(
                "broker_connected",
                "Whether the broker is reached for a queue and its channel is open.",
            )?,
            reconnects: counted(
                "broker_reconnects_total",
                "How often the link of a queue came up again.",
            )?,
            age_unknown: counted(
                "message_age_unknown_total",
                "Messages whose age is unknown, so that age valves let them pass.",
            )?,
            id_from_body: counted(
                "message_id_from_body_total",
                "Messages without an id, so that a hash of the body serves.",
            )?,
            not_before_unread: counted(
                "message_not_before_unread_total",
                "Messages whose time not to be done before is no time, or more than 365 days ahead: it is not heeded.",
            )?,
            publish_failures: counted(
                "publish_failures_total",
                "Tries to park, defer or dead-letter a message that did not surely succeed; it is held and tried again.",
            )?,
            blocked_keys: whole(
                "blocked_keys",
                "Keys of an ordered queue that wait for their release after a failure; what comes of them is parked.",
            )?,
        })
    }

    pub(super) fn queue(&self, name: &str) -> QueueMetrics {
        let of = &[name];
        QueueMetrics {
            ledger: Mutex::default(),
            message_age: self.message_age.with_label_values(of),
            processing: OUTCOMES.map(|outcome| self.processing.with_label_values(&[name, outcome])),
            service: self.service.with_label_values(of),
            completed: ON_TIME.map(|on_time| self.completed.with_label_values(&[name, on_time])),
            throttle_wait: self.throttle_wait.with_label_values(of),
            ready: self.ready.with_label_values(of),
            oldest_age: self.oldest_age.with_label_values(of),
            connected: self.connected.with_label_values(of),
            ever_connected: AtomicBool::new(false),
            reconnects: self.reconnects.with_label_values(of),
            age_unknown: self.age_unknown.with_label_values(of),
            id_from_body: self.id_from_body.with_label_values(of),
            not_before_unread: self.not_before_unread.with_label_values(of),
            publish_failures: self.publish_failures.with_label_values(of),
            blocked_keys: self.blocked_keys.with_label_values(of),
        }
    }
}
