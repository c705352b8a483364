//! What the daemon says of flags, openings and queues, as far as the command line shows it. May import `rules`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::clauses;
use super::documents;
use super::failure::{Exit, Failure};
use super::release::Blocked;
use super::words::until;
use crate::rules::clause::ClauseDocument;
use crate::rules::document::RuleDocument;

/// A flag with what lies over it.
#[derive(Debug, Deserialize)]
pub(super) struct FlagView {
    pub(super) key: String,
    pub(super) kind: String,
    #[serde(rename = "type")]
    pub(super) value_type: String,
    /// Its own value.
    #[serde(default)]
    pub(super) value: Json,
    /// What is in force.
    #[serde(default)]
    pub(super) now: Json,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    #[serde(default)]
    pub(super) choices: Vec<String>,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) owner: String,
    #[serde(default)]
    pub(super) runbook: String,
    pub(super) revision: u64,
    #[serde(default = "yes")]
    pub(super) enabled: bool,
    #[serde(default)]
    pub(super) rules: Vec<RuleDocument>,
    pub(super) by: Option<String>,
    pub(super) seed: Option<String>,
    pub(super) managed: Option<String>,
    pub(super) last_evaluated: Option<String>,
    #[serde(default)]
    pub(super) openings: Vec<OpeningView>,
    /// All that the daemon said.
    #[serde(skip)]
    pub(super) whole: Json,
}

fn yes() -> bool {
    true
}

impl FlagView {
    /// Reads a flag.
    pub(super) fn of(whole: Json) -> Result<Self, Failure> {
        let view: Self = read(&whole)?;
        Ok(Self { whole, ..view })
    }

    /// Its document, without the revision.
    pub(super) fn document(&self) -> Map<String, Json> {
        documents::of_flag(&self.whole)
    }

    /// The newest opening, for everybody or for some.
    pub(super) fn newest(&self) -> Option<&OpeningView> {
        self.openings.iter().max_by_key(|opening| opening.number())
    }

    /// The newest opening for everybody: its value is in force.
    pub(super) fn in_force(&self) -> Option<&OpeningView> {
        let all = self.openings.iter().filter(|over| over.when.is_empty());
        all.max_by_key(|opening| opening.number())
    }
}

/// A temporary value over one or several flags.
#[derive(Debug, Deserialize)]
pub(super) struct OpeningView {
    pub(super) id: String,
    /// What it lays over which flag.
    pub(super) values: BTreeMap<String, Json>,
    /// For whom; empty: for everybody.
    #[serde(default)]
    pub(super) when: Vec<ClauseDocument>,
    #[serde(default)]
    pub(super) owner: String,
    #[serde(default)]
    pub(super) reason: String,
    pub(super) opened_at: String,
    pub(super) ends_at: String,
    /// That it ends sooner, once its queue is well.
    until: Option<String>,
}

impl OpeningView {
    /// The number in its id: a later opening has a higher one.
    pub(super) fn number(&self) -> u64 {
        self.id.trim_start_matches('o').parse().unwrap_or_default()
    }

    /// When it ends: `in 29m`, `when well, else in 7h 58m`.
    pub(super) fn ends(&self, now_ms: i64) -> String {
        let at_most = until(&self.ends_at, now_ms);
        match self.until {
            Some(_) => format!("when well, else {at_most}"),
            None => at_most,
        }
    }

    /// For whom it is, in words.
    pub(super) fn whom(&self) -> String {
        match self.when.is_empty() {
            true => "everybody".to_owned(),
            false => clauses::shown(&self.when),
        }
    }

    /// For whom it is, unless for everybody, behind a sentence.
    pub(super) fn only_for(&self) -> String {
        match self.when.is_empty() {
            true => String::new(),
            false => format!(" (for {})", self.whom()),
        }
    }

    /// What it lays over this flag.
    pub(super) fn on(&self, key: &str) -> &Json {
        self.values.get(key).unwrap_or(&Json::Null)
    }
}

/// A queue as `GET /api/v1/queues` tells of it.
#[derive(Debug, Deserialize)]
pub(super) struct QueueView {
    pub(super) name: String,
    pub(super) gate: Vec<ValveNow>,
    #[serde(default)]
    pub(super) blocked: Blocked,
    pub(super) vitals: Vitals,
    pub(super) ledger: Ledger,
}

/// A throttled key as `GET /api/v1/queues/{name}/lanes` tells of it.
#[derive(Debug, Deserialize)]
pub(super) struct LaneView {
    pub(super) key: String,
    #[serde(default)]
    pub(super) shared: bool,
    pub(super) waiting: Option<u64>,
    pub(super) since: String,
    pub(super) per_second: Option<f64>,
    pub(super) at_once: Option<u32>,
    pub(super) eta_seconds: Option<f64>,
    pub(super) unread: Option<String>,
}

/// A valve as it stands.
#[derive(Debug, Deserialize)]
pub(super) struct ValveNow {
    pub(super) valve: String,
    /// What is in force.
    #[serde(default)]
    pub(super) now: Json,
    /// Whether it does nothing now.
    pub(super) neutral: bool,
    /// The opening that its value comes from.
    pub(super) opening: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Vitals {
    pub(super) state: String,
    #[serde(default)]
    pub(super) state_detail: String,
    pub(super) ready: Option<u64>,
    pub(super) oldest_age_seconds: Option<f64>,
    pub(super) head_age_seconds: Option<f64>,
    pub(super) other_consumers: Option<u64>,
    pub(super) received_per_second: f64,
    pub(super) done_per_second: f64,
    pub(super) shed_per_second: f64,
    pub(super) on_time_ratio: Option<f64>,
    #[serde(default)]
    pub(super) slots: u32,
    pub(super) service_p50_seconds: Option<f64>,
    pub(super) service_p99_seconds: Option<f64>,
    #[serde(default)]
    pub(super) reported: u64,
    #[serde(default)]
    pub(super) unreported: u64,
    #[serde(default)]
    pub(super) top_by_count: Vec<KeyLoad>,
    #[serde(default)]
    pub(super) top_by_work: Vec<KeyLoad>,
    #[serde(default)]
    pub(super) relief: Option<Relief>,
}

/// How a queue stands to its load.
#[derive(Debug, Deserialize)]
pub(super) struct Relief {
    pub(super) mode: String,
    #[serde(default)]
    pub(super) idle_because: String,
    pub(super) offered_per_second: f64,
    pub(super) capacity_per_second: Option<f64>,
    pub(super) workers_wanted: Option<f64>,
    pub(super) deadline_seconds: Option<f64>,
    pub(super) limit_seconds: Option<f64>,
    pub(super) need_seconds: Option<f64>,
    pub(super) gamma: Option<f64>,
    pub(super) expected_ratio: f64,
    #[serde(default)]
    pub(super) shed: u64,
    #[serde(default)]
    pub(super) would_shed: u64,
    #[serde(default)]
    pub(super) bad_actors: Vec<BadActor>,
}

/// A key that is to blame.
#[derive(Debug, Deserialize)]
pub(super) struct BadActor {
    pub(super) key: Option<String>,
    pub(super) because: String,
    pub(super) workers: Option<f64>,
    pub(super) fair_workers: Option<f64>,
    pub(super) ratio: Option<f64>,
    pub(super) for_seconds: f64,
    pub(super) answer: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct KeyLoad {
    pub(super) key: String,
    pub(super) ratio: f64,
    pub(super) per_second: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Ledger {
    pub(super) received: u64,
    pub(super) in_hand: u64,
    #[serde(default)]
    pub(super) settled: Vec<Settled>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Settled {
    pub(super) verdict: String,
    pub(super) reason: String,
    pub(super) count: u64,
}

/// Reads an answer of the daemon.
pub(super) fn read<T: DeserializeOwned>(json: &Json) -> Result<T, Failure> {
    T::deserialize(json).map_err(|why| {
        let sentence = format!(
            "the daemon's answer is not what sluicegate {} expects ({why}); are both of one version?",
            env!("CARGO_PKG_VERSION")
        );
        Failure::new(Exit::Failed, sentence)
    })
}
