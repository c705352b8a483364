//! Histograms of times, and how they become families. A worker observes some for each message, so that is a lock that only a
//! scrape can contend for and two additions; whole nanoseconds, so that the sum is exact.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, Bucket, LabelPair, Metric, MetricFamily, MetricType};

use super::queue::{DONE, OUTCOMES, QueueMetrics};
use super::register::{desc, family, label};
use crate::rules::names::QueueName;

/// The upper bounds of the buckets, in nanoseconds.
#[derive(Debug)]
pub(super) struct Bounds<const N: usize>([u64; N]);

impl<const N: usize> Bounds<N> {
    /// From milliseconds, the least first.
    const fn of_ms(mut bounds: [u64; N]) -> Self {
        let mut at = 0;
        while at < N {
            bounds[at] *= 1_000_000;
            at += 1;
        }
        Self(bounds)
    }
}

/// Bounds for how long a target takes.
pub(super) const PROCESSING: Bounds<14> = Bounds::of_ms([
    5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000,
]);
/// Bounds for the age of messages.
pub(super) const AGE: Bounds<12> = Bounds::of_ms([
    100, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 900_000, 3_600_000,
]);

/// How often a time fell into each bucket, and the sum of all.
#[derive(Debug)]
pub(super) struct Histogram<const N: usize> {
    bounds: &'static Bounds<N>,
    counts: Mutex<Counts<N>>,
}

#[derive(Debug, Clone, Copy)]
struct Counts<const N: usize> {
    within: [u64; N],
    beyond: u64,
    nanos: u128,
}

impl<const N: usize> Histogram<N> {
    pub(super) const fn new(bounds: &'static Bounds<N>) -> Self {
        Self {
            bounds,
            counts: Mutex::new(Counts {
                within: [0; N],
                beyond: 0,
                nanos: 0,
            }),
        }
    }

    pub(super) fn observe(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // All bounds are looked at: that is cheaper than a branch that is guessed wrong.
        let bounds = self.bounds.0.iter();
        let bucket = bounds.fold(0_u8, |below, &bound| {
            below.wrapping_add(u8::from(bound < nanos))
        });
        let mut counts = self.counts();
        match counts.within.get_mut(usize::from(bucket)) {
            Some(count) => *count += 1,
            None => counts.beyond += 1,
        }
        counts.nanos += u128::from(nanos);
    }

    fn counts(&self) -> MutexGuard<'_, Counts<N>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metric(&self, labels: Vec<LabelPair>) -> Metric {
        self.counts().metric(self.bounds, labels)
    }

    /// This and another as one.
    fn metric_with(&self, other: &Self, labels: Vec<LabelPair>) -> Metric {
        let mut counts = *self.counts();
        counts.add(&other.counts());
        counts.metric(self.bounds, labels)
    }
}

impl<const N: usize> Counts<N> {
    fn add(&mut self, other: &Self) {
        for (count, more) in self.within.iter_mut().zip(other.within) {
            *count += more;
        }
        self.beyond += other.beyond;
        self.nanos += other.nanos;
    }

    fn metric(&self, bounds: &Bounds<N>, labels: Vec<LabelPair>) -> Metric {
        let mut total = 0;
        let mut buckets = Vec::with_capacity(N);
        for (bound, count) in bounds.0.iter().zip(self.within) {
            total += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / 1e9);
            bucket.set_cumulative_count(total);
            buckets.push(bucket);
        }
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(total + self.beyond);
        histogram.set_sample_sum(self.nanos as f64 / 1e9);
        let mut metric = Metric::from_label(labels);
        metric.set_histogram(histogram);
        metric
    }
}

/// Turns each queue's histograms into families.
pub(super) struct Histograms {
    queues: BTreeMap<QueueName, Arc<QueueMetrics>>,
    message_age: Desc,
    processing: Desc,
    service: Desc,
    throttle_wait: Desc,
}

impl Histograms {
    pub(super) fn new(
        queues: BTreeMap<QueueName, Arc<QueueMetrics>>,
    ) -> Result<Self, prometheus::Error> {
        Ok(Self {
            queues,
            message_age: desc(
                "message_age_seconds",
                "Age of messages when they were picked up.",
                &["queue"],
            )?,
            processing: desc(
                "processing_seconds",
                "How long the target took, by what came back.",
                &["queue", "outcome"],
            )?,
            service: desc(
                "service_seconds",
                "How long the target took for jobs that it did.",
                &["queue"],
            )?,
            throttle_wait: desc(
                "throttle_wait_seconds",
                "How long messages were held by a rate or concurrency limit.",
                &["queue"],
            )?,
        })
    }

    /// One metric for each queue.
    fn each(
        &self,
        desc: &Desc,
        metric: impl Fn(&QueueMetrics, Vec<LabelPair>) -> Metric,
    ) -> MetricFamily {
        let queues = self.queues.iter();
        let metrics =
            queues.map(|(name, queue)| metric(queue, vec![label("queue", name.as_str())]));
        family(desc, MetricType::HISTOGRAM, metrics.collect())
    }
}

impl Collector for Histograms {
    fn desc(&self) -> Vec<&Desc> {
        vec![
            &self.message_age,
            &self.processing,
            &self.service,
            &self.throttle_wait,
        ]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut processing = Vec::new();
        for (name, queue) in &self.queues {
            for (outcome, times) in OUTCOMES.iter().zip(&queue.processing) {
                let labels = vec![label("outcome", outcome), label("queue", name.as_str())];
                processing.push(times.metric(labels));
            }
        }
        vec![
            self.each(&self.message_age, |queue, labels| {
                queue.message_age.metric(labels)
            }),
            family(&self.processing, MetricType::HISTOGRAM, processing),
            // What was done here is counted once, as processed.
            self.each(&self.service, |queue, labels| {
                queue.processing[DONE].metric_with(&queue.service_elsewhere, labels)
            }),
            self.each(&self.throttle_wait, |queue, labels| {
                queue.throttle_wait.metric(labels)
            }),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_holds_it() {
        let ms = Duration::from_millis;
        for (time, bound, below) in [
            (Duration::ZERO, "0.005", None),
            (ms(5), "0.005", None),
            (ms(5) + Duration::from_nanos(1), "0.01", Some("0.005")),
            (ms(1_000), "1", Some("0.75")),
            (ms(10_000), "10", Some("7.5")),
            (ms(10_001), "+Inf", Some("10")),
            (Duration::MAX, "+Inf", Some("10")),
        ] {
            let metrics = Metrics::new(&["orders".parse().unwrap()]).unwrap();
            metrics.queue("orders").unwrap().waited(time);
            let page = metrics.encode().unwrap();
            let bucket = |bound: &str, count: u64| {
                let series = "sluicegate_throttle_wait_seconds_bucket";
                page.contains(&format!(
                    "{series}{{queue=\"orders\",le=\"{bound}\"}} {count}\n"
                ))
            };
            assert!(bucket(bound, 1), "{time:?} is not in {bound}: {page}");
            assert!(
                below.is_none_or(|below| bucket(below, 0)),
                "{time:?}: {page}"
            );
        }
    }

    #[test]
    fn each_outcome_has_its_own_and_the_sum_is_exact() {
        let metrics = Metrics::new(&["orders".parse().unwrap()]).unwrap();
        let queue = metrics.queue("orders").unwrap();
        for _ in 0..3 {
            queue.processed("retry", Duration::from_millis(100));
        }
        queue.processed("done", Duration::from_millis(5));
        queue.completed_elsewhere(None, Duration::from_millis(6));
        queue.picked_up(Some(-5_000)); // a sender's clock that is ahead makes no sum shrink
        let page = metrics.encode().unwrap();
        for series in [
            "processing_seconds_sum{outcome=\"retry\",queue=\"orders\"} 0.3",
            "processing_seconds_count{outcome=\"retry\",queue=\"orders\"} 3",
            "processing_seconds_count{outcome=\"done\",queue=\"orders\"} 1",
            "processing_seconds_count{outcome=\"failed\",queue=\"orders\"} 0",
            "service_seconds_bucket{queue=\"orders\",le=\"0.005\"} 1",
            "service_seconds_bucket{queue=\"orders\",le=\"0.01\"} 2",
            "service_seconds_sum{queue=\"orders\"} 0.011",
            "service_seconds_count{queue=\"orders\"} 2",
            "message_age_seconds_sum{queue=\"orders\"} 0",
            "message_age_seconds_count{queue=\"orders\"} 1",
        ] {
            assert!(
                page.contains(&format!("sluicegate_{series}\n")),
                "{series} is missing: {page}"
            );
        }
    }
}
