//! The numbers of relief: how a queue stands to its load, and what the automatic valve does about it.

use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, Registry};

use super::register::{counter, gauge};

/// Why the automatic valve sheds, as the label `grounds` has it.
pub const GROUNDS: [&str; 5] = ["too_old", "no_time", "floor", "outranked", "fair_share"];

/// What is known of a queue's relief; `None`: not known yet.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ReliefFigures {
    /// Jobs offered per second.
    pub offered: f64,
    /// Jobs per second that the slots can do.
    pub capacity: Option<f64>,
    /// Slots that it takes to do all that is offered.
    pub workers_wanted: Option<f64>,
    /// The share of jobs done on time lately.
    pub on_time: Option<f64>,
    /// The age up to which jobs are worth starting, in seconds.
    pub limit_s: Option<f64>,
    /// What a job needs at least, in seconds.
    pub need_s: Option<f64>,
    /// The factor on that age.
    pub gamma: Option<f64>,
    /// The share that has to be shed.
    pub expected: f64,
    /// Keys that are to blame.
    pub bad_actors: usize,
}

/// The numbers of one queue's relief.
#[derive(Debug)]
pub struct ReliefMetrics {
    figures: [Gauge; FIGURES.len()],
    shed: [IntCounter; GROUNDS.len()],
    would_shed: [IntCounter; GROUNDS.len()],
}

impl ReliefMetrics {
    /// What is known now.
    pub fn stands(&self, now: &ReliefFigures) {
        let known = [
            now.offered,
            now.capacity.unwrap_or(0.0),
            now.workers_wanted.unwrap_or(0.0),
            now.on_time.unwrap_or(0.0),
            now.limit_s.unwrap_or(0.0),
            now.need_s.unwrap_or(0.0),
            now.gamma.unwrap_or(0.0),
            now.expected,
            now.bad_actors as f64,
        ];
        for (figure, known) in self.figures.iter().zip(known) {
            figure.set(known);
        }
    }

    /// The automatic valve shed a message, for one of [`GROUNDS`]; `only_observed`: it would have.
    pub fn shed(&self, grounds: &str, only_observed: bool) {
        let counters = if only_observed {
            &self.would_shed
        } else {
            &self.shed
        };
        if let Some(place) = GROUNDS.iter().position(|word| *word == grounds) {
            counters[place].inc();
        }
    }
}

/// The gauges: name and help, in the order in which they are set.
const FIGURES: [(&str, &str); 9] = [
    (
        "relief_offered_per_second",
        "Jobs offered per second, by the time at which they were published; also those that are shed.",
    ),
    (
        "relief_capacity_per_second",
        "Jobs per second that all slots can do; 0: not known yet.",
    ),
    (
        "relief_workers_wanted",
        "Slots that it takes to do all that is offered; 0: nothing is, or not known yet.",
    ),
    (
        "relief_on_time_ratio",
        "The share of jobs done on time, of the last ten seconds, else of the last minute; 0 also when none was done that had a deadline.",
    ),
    (
        "relief_limit_seconds",
        "The age up to which jobs are worth starting, T; 0: not known yet.",
    ),
    (
        "relief_need_seconds",
        "What a job needs at least to be done; 0: not known yet.",
    ),
    (
        "relief_gamma_ratio",
        "The factor on that age; below 1 more came late than was foreseen; 0: not known yet.",
    ),
    (
        "relief_expected_ratio",
        "The share that automatic relief has to shed as things stand, whether it is on or not.",
    ),
    (
        "relief_bad_actors",
        "Keys that bring more than three times their fair share, or whose jobs fail unlike those of others.",
    ),
];

/// The families of which each queue has its children.
pub(super) struct ReliefFamilies {
    figures: Vec<GaugeVec>,
    shed: IntCounterVec,
    would_shed: IntCounterVec,
}

impl ReliefFamilies {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let figures = FIGURES.map(|(name, help)| gauge(registry, name, help, &["queue"]));
        let labels = &["queue", "grounds"];
        Ok(Self {
            figures: figures.into_iter().collect::<Result<_, _>>()?,
            shed: counter(
                registry,
                "relief_shed_total",
                "Messages that the automatic valve shed; they are among those settled as skipped.",
                labels,
            )?,
            would_shed: counter(
                registry,
                "relief_would_shed_total",
                "Messages that the automatic valve would have shed while skip_mode says observe.",
                labels,
            )?,
        })
    }

    pub(super) fn queue(&self, name: &str) -> ReliefMetrics {
        let counters =
            |of: &IntCounterVec| GROUNDS.map(|grounds| of.with_label_values(&[name, grounds]));
        ReliefMetrics {
            figures: std::array::from_fn(|place| self.figures[place].with_label_values(&[name])),
            shed: counters(&self.shed),
            would_shed: counters(&self.would_shed),
        }
    }
}
