//! The numbers of one queue, and the families that they are children of.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::rules::handed::Reported;
use crate::rules::verdict::Why;
use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::histogram::{AGE, Histogram, PROCESSING};
use super::ledger::Ledger;
use super::register::{counter, gauge, int_gauge};
use super::relief::{ReliefFamilies, ReliefMetrics};

/// The outcomes of `processing_seconds`.
pub const OUTCOMES: [&str; 6] = [
    "done",
    "handed_over",
    "retry",
    "throttled",
    "failed",
    "unknown",
];
/// The first of them.
pub(super) const DONE: usize = 0;
/// Why a report of an outcome does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum NotCounted {
    /// It was told before.
    Repeated,
    /// Nothing of its id is remembered.
    Unknown,
    /// It cannot be read.
    Malformed,
}

const NOT_COUNTED: [&str; 3] = ["repeated", "unknown", "malformed"];
const ON_TIME: [&str; 3] = ["true", "false", "unknown"];
/// The numbers of one queue.
#[derive(Debug)]
pub struct QueueMetrics {
    ledger: Mutex<Ledger>,
    pub(super) message_age: Histogram<12>,
    pub(super) processing: [Histogram<14>; OUTCOMES.len()],
    pub(super) service_elsewhere: Histogram<14>,
    completed: [IntCounter; ON_TIME.len()],
    pub(super) throttle_wait: Histogram<14>,
    ready: IntGauge,
    oldest_age: Gauge,
    connected: IntGauge,
    ever_connected: AtomicBool,
    reconnects: IntCounter,
    age_unknown: IntCounter,
    id_from_body: IntCounter,
    not_before_unread: IntCounter,
    publish_failures: IntCounter,
    lanes: IntGauge,
    lane_messages: IntGauge,
    blocked_keys: IntGauge,
    target_full: IntCounter,
    /// How it stands to its load, and what the automatic valve does.
    pub relief: ReliefMetrics,
    reported: [IntCounter; Reported::ALL.len()],
    not_counted: [IntCounter; NOT_COUNTED.len()],
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
            Some(ms) => {
                let age = Duration::from_millis(ms.max(0).unsigned_abs());
                self.message_age.observe(age);
            }
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
            self.processing[index].observe(took);
        }
    }

    /// A job was done: on time, late, or without a known deadline.
    pub fn completed(&self, on_time: Option<bool>) {
        let index = match on_time {
            Some(true) => 0,
            Some(false) => 1,
            None => 2,
        };
        self.completed[index].inc();
    }

    /// A job that was handed over was done, after this long.
    pub fn completed_elsewhere(&self, on_time: Option<bool>, service: Duration) {
        self.completed(on_time);
        self.service_elsewhere.observe(service);
    }

    /// A message was held by a throttle for this long.
    pub fn waited(&self, wait: Duration) {
        self.throttle_wait.observe(wait);
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

    /// So many lanes there are, with so many messages as far as is known.
    pub fn lanes(&self, lanes: usize, messages: u64) {
        self.lanes.set(i64::try_from(lanes).unwrap_or(i64::MAX));
        self.lane_messages
            .set(i64::try_from(messages).unwrap_or(i64::MAX));
    }

    /// So many keys are blocked.
    pub fn blocked_keys(&self, count: u64) {
        self.blocked_keys
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The target had no room for a message; it stays in hand.
    pub fn target_full(&self) {
        self.target_full.inc();
    }

    /// Somebody reported what came of a job that was handed over, and it counts.
    pub fn reported(&self, reported: Reported) {
        self.reported[reported as usize].inc();
    }

    /// A report does not count.
    pub fn not_counted(&self, why: NotCounted) {
        self.not_counted[why as usize].inc();
    }

    /// A message could not be put where it belongs; it is held and tried again.
    pub fn publish_failed(&self) {
        self.publish_failures.inc();
    }
}

/// The families of which each queue has its children.
pub(super) struct Families {
    completed: IntCounterVec,
    ready: IntGaugeVec,
    oldest_age: GaugeVec,
    connected: IntGaugeVec,
    reconnects: IntCounterVec,
    age_unknown: IntCounterVec,
    id_from_body: IntCounterVec,
    not_before_unread: IntCounterVec,
    blocked_keys: IntGaugeVec,
    lanes: LaneFamilies,
    onward: OnwardFamilies,
    relief: ReliefFamilies,
}

/// The families that tell of lanes.
struct LaneFamilies {
    lanes: IntGaugeVec,
    messages: IntGaugeVec,
}

impl LaneFamilies {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            lanes: int_gauge(
                registry,
                "lanes",
                "Lanes of a queue: one for each throttled key, up to 64, and one that the rest share.",
                &["queue"],
            )?,
            messages: int_gauge(
                registry,
                "lane_messages",
                "Messages in the lanes of a queue, at the broker and in hand, as far as is known.",
                &["queue"],
            )?,
        })
    }
}

/// The families that tell of what goes on from here: to a place, to a target that may be full, and what its workers report.
struct OnwardFamilies {
    publish_failures: IntCounterVec,
    target_full: IntCounterVec,
    reported: IntCounterVec,
    not_counted: IntCounterVec,
}

impl OnwardFamilies {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            publish_failures: counter(
                registry,
                "publish_failures_total",
                "Tries to park, defer or dead-letter a message that did not surely succeed; it is held and tried again.",
                &["queue"],
            )?,
            target_full: counter(
                registry,
                "target_full_total",
                "Messages for which the target had no room; they stay in hand until it has.",
                &["queue"],
            )?,
            reported: counter(
                registry,
                "outcomes_reported_total",
                "Reports of what came of jobs that were handed over; each counts once.",
                &["queue", "outcome"],
            )?,
            not_counted: counter(
                registry,
                "outcomes_not_counted_total",
                "Reports that do not count: told before, of an id that is not remembered, or unreadable.",
                &["queue", "reason"],
            )?,
        })
    }
}

impl Families {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let queue = &["queue"];
        let counted = |name, help| counter(registry, name, help, queue);
        let measured = |name, help| gauge(registry, name, help, queue);
        let whole = |name, help| int_gauge(registry, name, help, queue);
        Ok(Self {
            completed: counter(
                registry,
                "completed_total",
                "Jobs done, by whether that was before their deadline; unknown: they had none.",
                &["queue", "on_time"],
            )?,
            ready: whole("queue_ready_messages", "Messages ready at the broker.")?,
            oldest_age: measured(
                "queue_oldest_age_seconds",
                "Age of the oldest message in hand, with [management] also of the queue's head; 0: none, or unknown.",
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
            blocked_keys: whole(
                "blocked_keys",
                "Keys of an ordered queue that wait for their release after a failure; what comes of them is parked.",
            )?,
            lanes: LaneFamilies::register(registry)?,
            onward: OnwardFamilies::register(registry)?,
            relief: ReliefFamilies::register(registry)?,
        })
    }

    pub(super) fn queue(&self, name: &str) -> QueueMetrics {
        let of = &[name];
        QueueMetrics {
            ledger: Mutex::default(),
            message_age: Histogram::new(&AGE),
            processing: OUTCOMES.map(|_| Histogram::new(&PROCESSING)),
            service_elsewhere: Histogram::new(&PROCESSING),
            completed: ON_TIME.map(|on_time| self.completed.with_label_values(&[name, on_time])),
            throttle_wait: Histogram::new(&PROCESSING),
            ready: self.ready.with_label_values(of),
            oldest_age: self.oldest_age.with_label_values(of),
            connected: self.connected.with_label_values(of),
            ever_connected: AtomicBool::new(false),
            reconnects: self.reconnects.with_label_values(of),
            age_unknown: self.age_unknown.with_label_values(of),
            id_from_body: self.id_from_body.with_label_values(of),
            not_before_unread: self.not_before_unread.with_label_values(of),
            blocked_keys: self.blocked_keys.with_label_values(of),
            publish_failures: self.onward.publish_failures.with_label_values(of),
            target_full: self.onward.target_full.with_label_values(of),
            relief: self.relief.queue(name),
            reported: Reported::ALL
                .map(|one| self.onward.reported.with_label_values(&[name, one.word()])),
            not_counted: NOT_COUNTED
                .map(|reason| self.onward.not_counted.with_label_values(&[name, reason])),
            lanes: self.lanes.lanes.with_label_values(of),
            lane_messages: self.lanes.messages.with_label_values(of),
        }
    }
}
