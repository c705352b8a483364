//! Every number that we publish is a field here; the doc comment beside it is its help text, or says what it is for.
//!
//! Rooms call a verb. Children of a labelled family are looked up once and kept beside the queue they belong to. Every known
//! series is there at zero from the start. May import `rules`.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus::{GaugeVec, IntCounterVec, IntGauge, TextEncoder};

use crate::rules::change::Cause;
use crate::rules::names::QueueName;
use evaluations::Evaluations;
use histogram::Histograms;
use ledger::Ledgers;
use queue::Families;
use register::{Registry, counter, gauge, int_gauge};

pub use evaluations::Tally;
pub use ledger::Ledger;
pub use openings::{Openings, Sent};
pub use providers::{PoolMetrics, Telling};
pub use queue::{NotCounted, OUTCOMES, QueueMetrics};
pub use register::Declared;
pub use relief::{GROUNDS, ReliefFigures, ReliefMetrics};

mod evaluations;
mod histogram;
mod ledger;
mod openings;
mod providers;
mod queue;
mod register;
mod relief;

/// All numbers.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    queues: BTreeMap<QueueName, Arc<QueueMetrics>>,
    flag_value: GaugeVec,
    flag_changes: IntCounterVec,
    flag_changed: GaugeVec,
    opening_ends: GaugeVec,
    evaluations: Evaluations,
    snapshot_revision: IntGauge,
    config_reload_ok: IntGauge,
    store_writable: IntGauge,
    denied: IntCounterVec,
    openings: Openings,
    flags_drifted: IntGauge,
    providers: providers::Providers,
}

/// Why requests are denied, as the label `reason` of `denied_total` has it.
const DENIALS: [&str; 7] = [
    "no_token",
    "wrong_token",
    "expired_token",
    "unknown_user",
    "too_often",
    "role",
    "scope",
];

impl Metrics {
    /// The numbers of a daemon with these queues.
    ///
    /// # Errors
    /// When two of our own series clash, which a test rules out.
    pub fn new(queues: &[QueueName]) -> Result<Self, prometheus::Error> {
        let registry = Registry::default();
        let families = Families::register(&registry)?;
        let queues: BTreeMap<QueueName, Arc<QueueMetrics>> = queues
            .iter()
            .map(|queue| (queue.clone(), Arc::new(families.queue(queue.as_str()))))
            .collect();
        collect(&registry, &queues)?;
        tell_the_version(&registry)?;
        let denied = denials(&registry)?;
        Ok(Self {
            flag_value: gauge(
                &registry,
                "flag_value",
                "What a flag says now: numbers and booleans; durations in seconds, rates per second.",
                &["flag"],
            )?,
            flag_changes: counter(
                &registry,
                "flag_changes_total",
                "Changes of what a flag says, by what caused them.",
                &["flag", "cause"],
            )?,
            flag_changed: gauge(
                &registry,
                "flag_changed_timestamp_seconds",
                "When what a flag says last changed, in seconds since 1970; 0: never.",
                &["flag"],
            )?,
            opening_ends: gauge(
                &registry,
                "opening_ends_timestamp_seconds",
                "When the newest opening on a flag is over, its way back included, in seconds since 1970; 0: none.",
                &["flag"],
            )?,
            evaluations: Evaluations::counted_in(counter(
                &registry,
                "evaluations_total",
                "How often a flag was evaluated.",
                &["flag"],
            )?),
            snapshot_revision: single(
                &registry,
                "snapshot_revision",
                "The revision of the flags in force.",
            )?,
            config_reload_ok: fine(
                &registry,
                "config_reload_ok",
                "Whether the file was fine when it was last read: 1 yes, 0 no (the old one stays).",
            )?,
            store_writable: fine(
                &registry,
                "store_writable",
                "Whether the store took what was last written to it: 1 yes, 0 no (changes are refused, but for the ends of openings).",
            )?,
            denied,
            openings: Openings::register(&registry)?,
            flags_drifted: single(
                &registry,
                "flags_drifted",
                "Flags managed by the file that differ from the file of flags last applied or tried, or are not in it.",
            )?,
            providers: providers::Providers::register(&registry)?,
            queues,
            registry,
        })
    }

    /// The numbers of a pool with these providers, at zero.
    #[must_use]
    pub fn pool(&self, pool: &str, providers: &[&str]) -> PoolMetrics {
        self.providers.pool(pool, providers)
    }

    /// The numbers of one queue.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<&Arc<QueueMetrics>> {
        self.queues.get(name)
    }

    /// What a flag says now, and when the newest opening on it is over (seconds since 1970). Makes the flag's series if need be.
    pub fn flag_says(&self, flag: &str, value: Option<f64>, ends: Option<f64>) {
        if let Some(value) = value {
            self.flag_value.with_label_values(&[flag]).set(value);
        } else {
            let _ = self.flag_value.remove_label_values(&[flag]);
        }
        self.opening_ends
            .with_label_values(&[flag])
            .set(ends.unwrap_or(0.0));
        self.flag_changed.with_label_values(&[flag]);
        self.evaluations.of(flag);
        for cause in Cause::ALL {
            self.flag_changes.with_label_values(&[flag, cause.word()]);
        }
    }

    /// A flag was deleted: none of its series is left. (An error says that a series was not there.)
    pub fn flag_gone(&self, flag: &str) {
        let _ = self.flag_value.remove_label_values(&[flag]);
        let _ = self.opening_ends.remove_label_values(&[flag]);
        let _ = self.flag_changed.remove_label_values(&[flag]);
        self.evaluations.forget(flag);
        for cause in Cause::ALL {
            let _ = self.flag_changes.remove_label_values(&[flag, cause.word()]);
        }
    }

    /// What a flag says has changed at this time, in seconds since 1970.
    pub fn flag_changed(&self, flag: &str, cause: Cause, at: f64) {
        self.flag_changes
            .with_label_values(&[flag, cause.word()])
            .inc();
        self.flag_changed.with_label_values(&[flag]).set(at);
    }

    /// The evaluations of a flag, to be kept beside what evaluates it.
    #[must_use]
    pub fn tally(&self, flag: &str) -> Arc<Tally> {
        self.evaluations.of(flag)
    }

    /// When a flag was last asked for by its name, by a message or a service, milliseconds since 1970; `None`: nobody knows of
    /// any time. Answers that hold all flags do not count: they do not say which of them are needed.
    #[must_use]
    pub fn last_evaluated(&self, flag: &str) -> Option<i64> {
        self.evaluations.find(flag)?.last_asked_ms()
    }

    /// When each flag was last asked for by its name, where that is known.
    #[must_use]
    pub fn all_last_evaluated(&self) -> BTreeMap<String, i64> {
        self.evaluations.all_asked()
    }

    /// A flag was last asked for by its name at this time, before the daemon started.
    pub fn was_evaluated(&self, flag: &str, at_ms: i64) {
        self.evaluations.of(flag).asked(0, at_ms);
    }

    /// What is counted of openings and of telling others about them.
    #[must_use]
    pub fn openings(&self) -> &Openings {
        &self.openings
    }

    /// The revision in force.
    pub fn snapshot(&self, revision: u64) {
        self.snapshot_revision
            .set(i64::try_from(revision).unwrap_or(i64::MAX));
    }

    /// Whether the file was fine when it was last read.
    pub fn config_reloaded(&self, fine: bool) {
        self.config_reload_ok.set(i64::from(fine));
    }

    /// Whether the store took what was written to it.
    pub fn store_written(&self, fine: bool) {
        self.store_writable.set(i64::from(fine));
    }

    /// How many flags that the file manages are not as the file last applied or tried says.
    pub fn flags_drifted(&self, count: usize) {
        self.flags_drifted
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A request was denied, for one of [`DENIALS`].
    pub fn denied(&self, reason: &'static str) {
        debug_assert!(DENIALS.contains(&reason));
        self.denied.with_label_values(&[reason]).inc();
    }

    /// Every family that may be shown, by name, also those that have no series yet.
    #[must_use]
    pub fn declared(&self) -> Vec<Declared> {
        self.registry.declared()
    }

    /// All numbers in Prometheus' text format.
    ///
    /// # Errors
    /// When a family cannot be encoded, which a test rules out.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn tell_the_version(registry: &Registry) -> Result<(), prometheus::Error> {
    let help = "What runs: always 1, with the version as a label.";
    let build = gauge(registry, "build_info", help, &["version"])?;
    build
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1.0);
    Ok(())
}

/// The family of denials, each reason at zero.
fn denials(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    let denied = counter(
        registry,
        "denied_total",
        "Requests of somebody who was not let in, or asked for more than they may.",
        &["reason"],
    )?;
    for reason in DENIALS {
        denied.with_label_values(&[reason]);
    }
    Ok(denied)
}

/// A gauge without labels that says 1 until something is amiss.
fn fine(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = single(registry, name, help)?;
    gauge.set(1);
    Ok(gauge)
}

/// A gauge without labels.
fn single(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    Ok(int_gauge(registry, name, help, &[])?.with_label_values(&[] as &[&str]))
}

/// Registers what is not a family of counters and gauges.
fn collect(
    registry: &Registry,
    queues: &BTreeMap<QueueName, Arc<QueueMetrics>>,
) -> Result<(), prometheus::Error> {
    registry.register(Box::new(Ledgers::new(queues.clone())?))?;
    registry.register(Box::new(Histograms::new(queues.clone())?))?;
    #[cfg(target_os = "linux")]
    registry.register(Box::new(
        prometheus::process_collector::ProcessCollector::for_self(),
    ))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::verdict::Why;

    #[test]
    fn every_known_series_is_there_at_zero_from_the_start() {
        let metrics = Metrics::new(&["orders".parse().unwrap()]).unwrap();
        metrics.flag_says("queue.orders.skip", Some(0.0), None);
        let page = metrics.encode().unwrap();
        for why in Why::ALL {
            let series = format!(
                "sluicegate_messages_settled_total{{queue=\"orders\",reason=\"{}\",verdict=\"{}\"}} 0",
                why.word(),
                why.verdict()
            );
            assert!(page.contains(&series), "{series} is missing");
        }
        for series in [
            "sluicegate_messages_in_hand{queue=\"orders\"} 0",
            "sluicegate_relief_workers_wanted{queue=\"orders\"} 0",
            "sluicegate_relief_shed_total{grounds=\"fair_share\",queue=\"orders\"} 0",
            "sluicegate_flag_changes_total{cause=\"expiry\",flag=\"queue.orders.skip\"} 0",
        ] {
            assert!(page.contains(series), "{series} is missing");
        }
    }

    #[test]
    fn names_have_base_units_and_no_percent() {
        let metrics = Metrics::new(&["orders".parse().unwrap()]).unwrap();
        for line in metrics
            .encode()
            .unwrap()
            .lines()
            .filter(|line| line.starts_with("# TYPE sluicegate_"))
        {
            for word in ["percent", "pct", "_ms", "milliseconds"] {
                assert!(!line.contains(word), "{line}: use base units and ratios");
            }
        }
    }
}
