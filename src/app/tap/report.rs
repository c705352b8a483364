//! What was seen, as it is told to people and programs.

use serde::Serialize;

use crate::rules::arrivals::Spread;

/// What was seen, in base units; shares from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Report {
    /// Whether it is of all that was seen, at the end; else since the one before.
    pub(super) whole: bool,
    /// Since the beginning.
    pub(super) seconds: f64,
    pub(super) came: u64,
    pub(super) per_second: f64,
    pub(super) most_per_second: f64,
    pub(super) bytes_per_second: f64,
    pub(super) age_seconds: Quantiles,
    pub(super) without_age: u64,
    pub(super) size_bytes: Quantiles,
    pub(super) unreadable: u64,
    pub(super) not_yet: u64,
    /// `None`: the queue has no `key`.
    pub(super) accounts: Option<Vec<Share>>,
    pub(super) types: Vec<Share>,
    /// `None`: not asked yet.
    pub(super) queue: Option<Theirs>,
    pub(super) dropped: Dropped,
    pub(super) relief: Relief,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
}

impl Quantiles {
    pub(super) fn of(spread: &Spread, parts: f64) -> Self {
        let of = |share: f64| spread.quantile(share).map(|value| value as f64 / parts);
        Self {
            p50: of(0.5),
            p99: of(0.99),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Share {
    pub(super) name: String,
    /// Of all since the beginning, at least.
    pub(super) share: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Theirs {
    pub(super) ready: u64,
    pub(super) consumers: u32,
}

/// What fell out of our own queue, and was not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Dropped {
    pub(super) surely_none: bool,
    /// As far as the management API tells.
    pub(super) at_least: u64,
}

/// What relief would have done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Relief {
    Rehearsed(Rehearsed),
    Unknown(Unknown),
}

/// How two made-up queues did, without a valve (`now`) and with relief.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Rehearsed {
    pub(super) slots: u32,
    pub(super) offered_per_second: f64,
    pub(super) capacity_per_second: f64,
    pub(super) slots_wanted: f64,
    /// Of what came.
    pub(super) on_time_now: Option<f64>,
    pub(super) on_time_relieved: Option<f64>,
    /// Of what the slots could do of it.
    pub(super) on_time_of_possible_now: Option<f64>,
    pub(super) on_time_of_possible_relieved: Option<f64>,
    pub(super) shed: Option<f64>,
    pub(super) over_fair_share: Vec<Over>,
}

/// Why nothing was rehearsed, and what can be said all the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Unknown {
    pub(super) unknown: String,
    pub(super) slots: u32,
    pub(super) keeps_up_below_service_seconds: Option<f64>,
}

/// An account that brings more than its fair share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Over {
    pub(super) account: String,
    /// That it keeps busy, or would.
    pub(super) slots: f64,
    pub(super) fair_slots: f64,
    /// Of all work.
    pub(super) share: f64,
}
