//! A reading of a queue's live health, as pages and API show it. May import `rules`.

use serde::Serialize;
use utoipa::ToSchema;

use super::relief::ReliefReport;
use crate::rules::top::Heavy;

/// A reading of a queue's vitals over the last minute.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct VitalsReport {
    /// How the link stands: connecting, consuming, standby, idle, queue_missing, denied.
    pub state: String,
    /// More about the state, such as why the link is down; empty: nothing more.
    pub state_detail: String,
    /// Messages ready at the broker; null: not known yet.
    pub ready: Option<u64>,
    /// Age of the oldest message in seconds: in hand, and with `[management]` also at the head of the queue.
    pub oldest_age_seconds: Option<f64>,
    /// Age of the message at the queue's head, in seconds; null: not told (it needs `[management]`, and messages with a timestamp).
    pub head_age_seconds: Option<f64>,
    /// Consumers that read the queue past the gate; null: unknown, it needs `[management]`.
    pub other_consumers: Option<u64>,
    /// Messages at the target now.
    pub slots_busy: u32,
    /// Messages that may be at the target at once.
    pub slots: u32,
    /// Messages taken per second, over the last ten seconds.
    pub received_per_second: f64,
    /// Jobs done per second, over the last ten seconds.
    pub done_per_second: f64,
    /// Messages shed per second, over the last ten seconds.
    pub shed_per_second: f64,
    /// Share of the jobs done that were on time, of the last ten seconds, else of the last minute; null: none had a deadline.
    pub on_time_ratio: Option<f64>,
    /// Median service time of the last 512 jobs done, in seconds; null: nothing was done yet.
    pub service_p50_seconds: Option<f64>,
    /// 90th percentile of the service time, in seconds.
    pub service_p90_seconds: Option<f64>,
    /// 99th percentile of the service time, in seconds.
    pub service_p99_seconds: Option<f64>,
    /// Reports of what came of jobs that were handed over, since the start; each counts once.
    pub reported: u64,
    /// Jobs handed over in the last hour of which nobody has reported the end, at most 100,000.
    pub unreported: u64,
    /// How it stands to its load, and what automatic relief does.
    pub relief: ReliefReport,
    /// The keys with the most messages, at most ten.
    pub top_by_count: Vec<KeyLoad>,
    /// The keys that took the most of the target's time, at most ten.
    pub top_by_work: Vec<KeyLoad>,
}

/// What one key brings, in the last minutes (older load counts less). At least: no key is blamed for the load of others.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct KeyLoad {
    /// The key, such as an account.
    pub key: String,
    /// Its share of all messages, or of all work, from 0 to 1; messages without a key count for nothing here.
    pub ratio: f64,
    /// Messages per second, or seconds of work per second.
    pub per_second: f64,
}

impl From<Heavy> for KeyLoad {
    fn from(heavy: Heavy) -> Self {
        Self {
            key: heavy.key,
            ratio: heavy.at_least,
            per_second: heavy.per_second,
        }
    }
}
