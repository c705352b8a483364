//! The numbers of pools and their providers. May import `rules`.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};

use super::register::{Registry, counter, int_gauge};
use crate::rules::accepted::Later;
use crate::rules::breaker::Standing;
use crate::rules::doubt::Verdict;
use crate::rules::reply::Reply;

/// Bounds in seconds, as OpenTelemetry has them for messaging.
const SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

#[derive(Debug)]
pub(super) struct Providers {
    requests: IntCounterVec,
    seconds: HistogramVec,
    state: IntGaugeVec,
    failovers: IntCounterVec,
    on_backup: IntGaugeVec,
    in_doubt: IntGaugeVec,
    resolved: IntCounterVec,
    results: IntCounterVec,
    suppressed: IntCounterVec,
    later: IntCounterVec,
}

impl Providers {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let of = &["pool", "provider"];
        let help = "How long a provider took to answer, or was waited for.";
        let opts = HistogramOpts::new("provider_request_seconds", help).namespace("sluicegate");
        let seconds = HistogramVec::new(opts.buckets(SECONDS.to_vec()), of)?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self {
            requests: counter(
                registry,
                "provider_requests_total",
                "Jobs given to a provider, by what came of it.",
                &["pool", "provider", "outcome"],
            )?,
            seconds,
            state: int_gauge(
                registry,
                "provider_state",
                "Whether a provider is passing, resting or probing: 1 for the one it is.",
                &["pool", "provider", "state"],
            )?,
            failovers: counter(
                registry,
                "provider_failovers_total",
                "Jobs that one provider did not take and another one was given.",
                &["pool", "from", "to"],
            )?,
            on_backup: int_gauge(
                registry,
                "pool_on_backup",
                "Whether the first provider of a pool does not carry all that is meant for it.",
                &["pool"],
            )?,
            in_doubt: int_gauge(
                registry,
                "pool_jobs_in_doubt",
                "Jobs that a provider may have done, and of which nobody has said yet what came of them.",
                &["pool"],
            )?,
            resolved: counter(
                registry,
                "pool_jobs_resolved_total",
                "Jobs in doubt of which somebody has said what came of them: done, again or failed.",
                &["pool", "verdict"],
            )?,
            results: counter(
                registry,
                "pool_results_total",
                "Results of jobs: told; retried, when a try to tell one was in vain; refused for good.",
                &["pool", "told"],
            )?,
            suppressed: counter(
                registry,
                "pool_recipients_suppressed_total",
                "Recipients that were left out of mails, because the segment `suppress` has them.",
                &["pool"],
            )?,
            later: counter(
                registry,
                "provider_reported_total",
                "What was reported of jobs after a provider took them: delivered, bounced or complained; by `POST /api/v1/outcomes`.",
                &["provider", "outcome"],
            )?,
        })
    }

    pub(super) fn pool(&self, pool: &str, providers: &[&str]) -> PoolMetrics {
        let one = |provider: &&str| ProviderMetrics {
            requests: Reply::WORDS
                .map(|word| self.requests.with_label_values(&[pool, provider, word])),
            seconds: self.seconds.with_label_values(&[pool, provider]),
            state: Standing::ALL.map(|standing| {
                let of = [pool, provider, standing.word()];
                self.state.with_label_values(&of)
            }),
            failovers: providers
                .iter()
                .map(|to| {
                    let of = [pool, provider, to];
                    (provider != to).then(|| self.failovers.with_label_values(&of))
                })
                .collect(),
            later: Later::ALL.map(|later| self.later.with_label_values(&[provider, later.word()])),
        };
        PoolMetrics {
            providers: providers.iter().map(one).collect(),
            on_backup: self.on_backup.with_label_values(&[pool]),
            in_doubt: self.in_doubt.with_label_values(&[pool]),
            resolved: Verdict::ALL
                .map(|verdict| self.resolved.with_label_values(&[pool, verdict.word()])),
            results: Telling::ALL.map(|told| self.results.with_label_values(&[pool, told.word()])),
            suppressed: self.suppressed.with_label_values(&[pool]),
        }
    }
}

/// The numbers of one pool; providers by their number in it.
#[derive(Debug)]
pub struct PoolMetrics {
    providers: Vec<ProviderMetrics>,
    on_backup: IntGauge,
    in_doubt: IntGauge,
    resolved: [IntCounter; Verdict::ALL.len()],
    results: [IntCounter; Telling::ALL.len()],
    suppressed: IntCounter,
}

#[derive(Debug)]
struct ProviderMetrics {
    requests: [IntCounter; Reply::WORDS.len()],
    seconds: Histogram,
    state: [IntGauge; Standing::ALL.len()],
    failovers: Vec<Option<IntCounter>>,
    later: [IntCounter; Later::ALL.len()],
}

/// What came of a try to tell a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// It was taken.
    Told,
    /// It was not, and is told again.
    Retried,
    /// It will never be taken.
    Refused,
}

impl Telling {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Told, Self::Retried, Self::Refused];

    /// Its word, as in the label `told`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::Retried => "retried",
            Self::Refused => "refused",
        }
    }
}

impl PoolMetrics {
    /// A provider said this after so long.
    pub fn answered(&self, provider: usize, reply: &Reply, took: Duration) {
        if let Some(of) = self.providers.get(provider) {
            of.requests[reply.number()].inc();
            of.seconds.observe(took.as_secs_f64());
        }
    }

    /// A job went from one provider to another.
    pub fn failed_over(&self, from: usize, to: usize) {
        let pair = self.providers.get(from).and_then(|of| of.failovers.get(to));
        if let Some(Some(counter)) = pair {
            counter.inc();
        }
    }

    /// How a provider stands.
    pub fn stands(&self, provider: usize, standing: Standing) {
        let Some(of) = self.providers.get(provider) else {
            return;
        };
        for (known, gauge) in Standing::ALL.into_iter().zip(&of.state) {
            gauge.set(i64::from(known == standing));
        }
    }

    /// So many jobs are in doubt.
    pub fn in_doubt(&self, jobs: usize) {
        self.in_doubt.set(i64::try_from(jobs).unwrap_or(i64::MAX));
    }

    /// Somebody has said what came of so many jobs in doubt.
    pub fn resolved(&self, verdict: Verdict, jobs: u64) {
        self.resolved[verdict as usize].inc_by(jobs);
    }

    /// A result was told, or not.
    pub fn told(&self, telling: Telling) {
        self.results[telling as usize].inc();
    }

    /// So many recipients were left out of a mail.
    pub fn suppressed(&self, recipients: usize) {
        self.suppressed.inc_by(recipients as u64);
    }

    /// This was reported of a job that a provider took.
    pub fn reported(&self, provider: usize, later: Later) {
        if let Some(of) = self.providers.get(provider) {
            of.later[later as usize].inc();
        }
    }

    /// Whether the first provider does not carry all that is meant for it.
    pub fn on_backup(&self, backup: bool) {
        self.on_backup.set(i64::from(backup));
    }
}
