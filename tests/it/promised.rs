//! The families that boards and rules may ask for: what the daemon declares, and what later parts of it promise.

use std::collections::{BTreeMap, BTreeSet};

use sluicegate::metrics::Metrics;

/// Families that the contract promises and this program may not have yet: what kind, name, and labels with some of their values.
/// As soon as the program declares one of them, its labels must be these.
pub(crate) const PROMISED: &[Promised] = &[
    Promised {
        kind: "counter",
        name: "sluicegate_provider_requests_total",
        labels: &[
            POOL,
            PROVIDER,
            (
                "outcome",
                &[
                    "done",
                    "recipient",
                    "sender",
                    "throttled",
                    "later",
                    "provider",
                    "ours",
                    "unknown",
                ],
            ),
        ],
    },
    Promised {
        kind: "histogram",
        name: "sluicegate_provider_request_seconds",
        labels: &[POOL, PROVIDER],
    },
    Promised {
        kind: "gauge",
        name: "sluicegate_provider_state",
        labels: &[
            POOL,
            PROVIDER,
            ("state", &["passing", "resting", "probing"]),
        ],
    },
    Promised {
        kind: "counter",
        name: "sluicegate_provider_failovers_total",
        labels: &[POOL, ("from", &["mailgun"]), ("to", &["relay"])],
    },
    Promised {
        kind: "gauge",
        name: "sluicegate_pool_on_backup",
        labels: &[POOL],
    },
    Promised {
        kind: "gauge",
        name: "sluicegate_rollout_share_ratio",
        labels: &[FLAG],
    },
    Promised {
        kind: "gauge",
        name: "sluicegate_rollout_state",
        labels: &[
            FLAG,
            (
                "state",
                &[
                    "scheduled",
                    "running",
                    "waiting",
                    "paused",
                    "held",
                    "holding_back",
                    "retreating",
                    "done",
                    "cancelled",
                    "frozen",
                ],
            ),
        ],
    },
    Promised {
        kind: "counter",
        name: "sluicegate_rollout_cancelled_total",
        labels: &[FLAG, ("guard", &["evidence"]), ("reason", &["harm"])],
    },
    Promised {
        kind: "counter",
        name: "sluicegate_rollout_outcomes_total",
        labels: &[
            FLAG,
            ("arm", &["exposed", "rest"]),
            ("outcome", &["done", "handed_over", "retry", "failed"]),
        ],
    },
];
const POOL: (&str, &[&str]) = ("pool", &["mail"]);
const PROVIDER: (&str, &[&str]) = ("provider", &["mailgun", "relay"]);
const FLAG: (&str, &[&str]) = ("flag", &["shop.new-mail"]);

/// See [`PROMISED`].
pub(crate) struct Promised {
    pub(crate) kind: &'static str,
    pub(crate) name: &'static str,
    pub(crate) labels: &'static [(&'static str, &'static [&'static str])],
}

/// Every family that may be asked for, with its labels.
pub(crate) fn families() -> BTreeMap<String, BTreeSet<String>> {
    let declared = Metrics::new(&["orders".parse().unwrap()])
        .unwrap()
        .declared();
    let mut all: BTreeMap<String, BTreeSet<String>> = declared
        .into_iter()
        .map(|family| (family.name, family.labels.into_iter().collect()))
        .collect();
    for promised in PROMISED {
        let labels: BTreeSet<String> = promised
            .labels
            .iter()
            .map(|(label, _)| (*label).to_owned())
            .collect();
        let known = all
            .entry(promised.name.to_owned())
            .or_insert_with(|| labels.clone());
        assert_eq!(
            *known, labels,
            "{} has other labels than the boards rely on: mend PROMISED, boards and rules",
            promised.name
        );
    }
    all.insert("up".to_owned(), BTreeSet::new());
    all
}
