//! Live health: what a queue does now, for pages, API and later the automatic valves. The worker writes, everybody reads.
//! May import `rules` and `seams`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::seams::LinkState;

/// What one queue does now.
#[derive(Debug)]
pub struct QueueVitals {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    link: LinkState,
    shut: bool,
    ready: Option<u64>,
    oldest_age_ms: Option<i64>,
}

/// A reading of a queue's vitals over the last minute.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct VitalsReport {
    /// How the link stands: connecting, consuming, idle, queue_missing, denied.
    pub state: String,
    /// More about the state, such as why the link is down.
    pub state_detail: String,
    /// Messages ready at the broker; null: not known yet.
    pub ready: Option<u64>,
    /// Age of the oldest message in hand, in seconds.
    pub oldest_age_seconds: Option<f64>,
    /// Messages taken per second.
    pub received_per_second: f64,
    /// Jobs done per second.
    pub done_per_second: f64,
    /// Messages shed per second.
    pub shed_per_second: f64,
    /// Share of the jobs done that were on time; null: none had a deadline.
    pub on_time_ratio: Option<f64>,
    /// Median service time in seconds; null: nothing was done yet.
    pub service_p50_seconds: Option<f64>,
    /// 90th percentile of the service time, in seconds.
    pub service_p90_seconds: Option<f64>,
    /// 99th percentile of the service time, in seconds.
    pub service_p99_seconds: Option<f64>,
    /// The keys with the most messages.
    pub top_by_count: Vec<KeyLoad>,
    /// The keys that took the most of the target's time.
    pub top_by_work: Vec<KeyLoad>,
}

/// What one key brings, in the last minutes (older load counts less).
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct KeyLoad {
    /// The key, such as an account.
    pub key: String,
    /// Its share of all messages, or of all work.
    pub ratio: f64,
    /// Messages per second, or seconds of work per second.
    pub per_second: f64,
}

impl Default for QueueVitals {
    fn default() -> Self {
        let link = LinkState::Connecting("starting".to_owned());
        Self {
            inner: Mutex::new(Inner {
                link,
                shut: false,
                ready: None,
                oldest_age_ms: None,
            }),
        }
    }
}

impl QueueVitals {
    /// A message was taken at `now` (time since the clock's start).
    pub fn received(&self, _now: Duration, _key: Option<&str>) {}

    /// A message was shed.
    pub fn shed(&self, _now: Duration) {}

    /// A job was done: after `service` at the target, on time or not.
    pub fn done(
        &self,
        _now: Duration,
        _key: Option<&str>,
        _service: Duration,
        _on_time: Option<bool>,
    ) {
    }

    /// How the link stands, and whether the gate is shut (paused, or a limit of zero).
    pub fn link(&self, link: LinkState, shut: bool) {
        let mut inner = self.lock();
        inner.link = link;
        inner.shut = shut;
    }

    /// What is known of the backlog.
    pub fn backlog(&self, ready: Option<u64>, oldest_age_ms: Option<i64>) {
        let mut inner = self.lock();
        inner.ready = ready.or(inner.ready);
        inner.oldest_age_ms = oldest_age_ms;
    }

    /// Whether the queue is served, or nobody wants it to be: what `/readyz` asks. Else the reason.
    ///
    /// # Errors
    /// When it is not served, with the reason.
    pub fn ready(&self) -> Result<(), String> {
        let inner = self.lock();
        match &inner.link {
            LinkState::Consuming => Ok(()),
            _ if inner.shut => Ok(()),
            LinkState::Idle => Err("connected, not consuming".to_owned()),
            LinkState::QueueMissing => Err("the queue does not exist at the broker".to_owned()),
            LinkState::Connecting(why) | LinkState::Denied(why) => Err(why.clone()),
        }
    }

    /// A reading at `now`.
    #[must_use]
    pub fn report(&self, _now: Duration) -> VitalsReport {
        let inner = self.lock();
        VitalsReport {
            state: inner.link.word().to_owned(),
            state_detail: String::new(),
            ready: inner.ready,
            oldest_age_seconds: None,
            received_per_second: 0.0,
            done_per_second: 0.0,
            shed_per_second: 0.0,
            on_time_ratio: None,
            service_p50_seconds: None,
            service_p90_seconds: None,
            service_p99_seconds: None,
            top_by_count: Vec::new(),
            top_by_work: Vec::new(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
