//! The numbers of pools and their providers. May import `rules`.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry,
};

use super::register::{counter, int_gauge};
use crate::rules::breaker::Standing;
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
        };
        PoolMetrics {
            providers: providers.iter().map(one).collect(),
            on_backup: self.on_backup.with_label_values(&[pool]),
        }
    }
}

/// The numbers of one pool; providers by their number in it.
#[derive(Debug)]
pub struct PoolMetrics {
    providers: Vec<ProviderMetrics>,
    on_backup: IntGauge,
}

#[derive(Debug)]
struct ProviderMetrics {
    requests: [IntCounter; Reply::WORDS.len()],
    seconds: Histogram,
    state: [IntGauge; Standing::ALL.len()],
    failovers: Vec<Option<IntCounter>>,
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

    /// Whether the first provider does not carry all that is meant for it.
    pub fn on_backup(&self, backup: bool) {
        self.on_backup.set(i64::from(backup));
    }
}
