//! Every number that we publish is a field here; the doc comment beside it is its help text, or says what it is for.
//!
//! Rooms call a verb. Children of a labelled family are looked up once and kept beside the queue they belong to. Every known
//! series is there at zero from the start. May import `rules`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::rules::change::Cause;
use crate::rules::names::QueueName;
use crate::rules::verdict::Why;

/// One queue's account, read and written as one copy: received = settled + in hand, in each scrape and in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ledger {
    /// Deliveries taken from the queue.
    pub received: u64,
    /// Deliveries settled, by reason.
    pub settled: [u64; Why::COUNT],
    /// Deliveries that some slot or list holds.
    pub in_hand: u64,
}

impl Ledger {
    /// Whether it adds up.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.received == self.settled.iter().sum::<u64>() + self.in_hand
    }
}

/// The outcomes of `processing_seconds`.
pub const OUTCOMES: [&str; 5] = ["done", "retry", "throttled", "failed", "unknown"];
const ON_TIME: [&str; 3] = ["true", "false", "unknown"];
const PROCESSING_BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
const AGE_BUCKETS: [f64; 12] = [
    0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0,
];

/// The numbers of one queue.
#[derive(Debug)]
pub struct QueueMetrics {
    ledger: Mutex<Ledger>,
    message_age: Histogram,
    processing: [Histogram; OUTCOMES.len()],
    service: Histogram,
    completed: [IntCounter; ON_TIME.len()],
    throttle_wait: Histogram,
    ready: IntGauge,
    oldest_age: Gauge,
    connected: IntGauge,
    reconnects: IntCounter,
    age_unknown: IntCounter,
    id_from_body: IntCounter,
    publish_failures: IntCounter,
}

impl QueueMetrics {
    /// Writes the queue's account, whole.
    pub fn write_ledger(&self, ledger: Ledger) {
        *self.ledger.lock().unwrap_or_else(PoisonError::into_inner) = ledger;
    }

    /// Reads the queue's account, whole.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        *self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message of this age was picked up; `None`: its age is unknown.
    pub fn picked_up(&self, age_ms: Option<i64>) {
        match age_ms {
            Some(ms) => self.message_age.observe(ms as f64 / 1_000.0),
            None => self.age_unknown.inc(),
        }
    }

    /// A message carried no id of its own.
    pub fn id_from_body(&self) {
        self.id_from_body.inc();
    }

    /// The target answered with this outcome after this long.
    pub fn processed(&self, outcome: &str, took: Duration) {
        if let Some(index) = OUTCOMES.iter().position(|word| *word == outcome) {
            self.processing[index].observe(took.as_secs_f64());
        }
    }

    /// A job was done: on time, late, or without a known deadline.
    pub fn completed(&self, on_time: Option<bool>, service: Duration) {
        let index = match on_time {
            Some(true) => 0,
            Some(false) => 1,
            None => 2,
        };
        self.completed[index].inc();
        self.service.observe(service.as_secs_f64());
    }

    /// A message was held by a throttle for this long.
    pub fn waited(&self, wait: Duration) {
        self.throttle_wait.observe(wait.as_secs_f64());
    }

    /// What is known of the backlog.
    pub fn backlog(&self, ready: u64, oldest_age: Duration) {
        self.ready.set(i64::try_from(ready).unwrap_or(i64::MAX));
        self.oldest_age.set(oldest_age.as_secs_f64());
    }

    /// The link to the broker is up or down.
    pub fn link(&self, connected: bool) {
        if connected && self.connected.get() == 0 {
            self.reconnects.inc();
        }
        self.connected.set(i64::from(connected));
    }

    /// A message could not be put where it belongs; it is held and tried again.
    pub fn publish_failed(&self) {
        self.publish_failures.inc();
    }
}

/// All numbers.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    queues: BTreeMap<QueueName, Arc<QueueMetrics>>,
    flag_value: GaugeVec,
    flag_changes: IntCounterVec,
    flag_changed: GaugeVec,
    opening_ends: GaugeVec,
    evaluations: IntCounterVec,
    snapshot_revision: IntGauge,
    config_reload_ok: IntGauge,
}

impl Metrics {
    /// The numbers of a daemon with these queues.
    ///
    /// # Errors
    /// When two of our own series clash, which a test rules out.
    pub fn new(queues: &[QueueName]) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let families = Families::register(&registry)?;
        let queues: BTreeMap<QueueName, Arc<QueueMetrics>> = queues
            .iter()
            .map(|queue| (queue.clone(), Arc::new(families.queue(queue.as_str()))))
            .collect();
        registry.register(Box::new(Ledgers::new(queues.clone())?))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        let build = gauge(
            &registry,
            "build_info",
            "What runs: always 1, with the version as a label.",
            &["version"],
        )?;
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1.0);
        let config_reload_ok = int_gauge(
            &registry,
            "config_reload_ok",
            "Whether the file was fine when it was last read: 1 yes, 0 no (the old one stays).",
            &[],
        )?
        .with_label_values(&[] as &[&str]);
        config_reload_ok.set(1);
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
                "When the newest opening on a flag ends, in seconds since 1970; 0: none.",
                &["flag"],
            )?,
            evaluations: counter(
                &registry,
                "evaluations_total",
                "How often a flag was evaluated.",
                &["flag"],
            )?,
            snapshot_revision: int_gauge(
                &registry,
                "snapshot_revision",
                "The revision of the flags in force.",
                &[],
            )?
            .with_label_values(&[] as &[&str]),
            config_reload_ok,
            queues,
            registry,
        })
    }

    /// The numbers of one queue.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<&Arc<QueueMetrics>> {
        self.queues.get(name)
    }

    /// What a flag says now, and when the newest opening on it ends (seconds since 1970). Makes the flag's series if need be.
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
        self.evaluations.with_label_values(&[flag]);
        for cause in Cause::ALL {
            self.flag_changes.with_label_values(&[flag, cause.word()]);
        }
    }

    /// What a flag says has changed at this time, in seconds since 1970.
    pub fn flag_changed(&self, flag: &str, cause: Cause, at: f64) {
        self.flag_changes
            .with_label_values(&[flag, cause.word()])
            .inc();
        self.flag_changed.with_label_values(&[flag]).set(at);
    }

    /// A flag was evaluated so often.
    pub fn evaluated(&self, flag: &str, times: u64) {
        self.evaluations.with_label_values(&[flag]).inc_by(times);
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

    /// All numbers in Prometheus' text format.
    ///
    /// # Errors
    /// When a family cannot be encoded, which a test rules out.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// The families of which each queue has its children.
struct Families {
    message_age: HistogramVec,
    processing: HistogramVec,
    service: HistogramVec,
    completed: IntCounterVec,
    throttle_wait: HistogramVec,
    ready: IntGaugeVec,
    oldest_age: GaugeVec,
    connected: IntGaugeVec,
    reconnects: IntCounterVec,
    age_unknown: IntCounterVec,
    id_from_body: IntCounterVec,
    publish_failures: IntCounterVec,
}

impl Families {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let queue = &["queue"];
        let counted = |name, help| counter(registry, name, help, queue);
        let measured = |name, help| gauge(registry, name, help, queue);
        let whole = |name, help| int_gauge(registry, name, help, queue);
        let timed = |name, help| histogram(registry, name, help, queue, &PROCESSING_BUCKETS);
        Ok(Self {
            message_age: histogram(
                registry,
                "message_age_seconds",
                "Age of messages when they were picked up.",
                queue,
                &AGE_BUCKETS,
            )?,
            processing: histogram(
                registry,
                "processing_seconds",
                "How long the target took, by what came back.",
                &["queue", "outcome"],
                &PROCESSING_BUCKETS,
            )?,
            service: timed(
                "service_seconds",
                "How long the target took for jobs that it did.",
            )?,
            completed: counter(
                registry,
                "completed_total",
                "Jobs done, by whether that was before their deadline; unknown: they had none.",
                &["queue", "on_time"],
            )?,
            throttle_wait: timed(
                "throttle_wait_seconds",
                "How long messages were held by a rate or concurrency limit.",
            )?,
            ready: whole("queue_ready_messages", "Messages ready at the broker.")?,
            oldest_age: measured(
                "queue_oldest_age_seconds",
                "Age of the oldest message in hand; 0: none, or its age is unknown.",
            )?,
            connected: whole(
                "broker_connected",
                "Whether the link of a queue to the broker is up.",
            )?,
            reconnects: counted(
                "broker_reconnects_total",
                "How often the link of a queue came up.",
            )?,
            age_unknown: counted(
                "message_age_unknown_total",
                "Messages whose age is unknown, so that age valves let them pass.",
            )?,
            id_from_body: counted(
                "message_id_from_body_total",
                "Messages without an id, so that a hash of the body serves.",
            )?,
            publish_failures: counted(
                "publish_failures_total",
                "Tries to park, defer or dead-letter a message that did not surely succeed; it is held and tried again.",
            )?,
        })
    }

    fn queue(&self, name: &str) -> QueueMetrics {
        let of = &[name];
        QueueMetrics {
            ledger: Mutex::default(),
            message_age: self.message_age.with_label_values(of),
            processing: OUTCOMES.map(|outcome| self.processing.with_label_values(&[name, outcome])),
            service: self.service.with_label_values(of),
            completed: ON_TIME.map(|on_time| self.completed.with_label_values(&[name, on_time])),
            throttle_wait: self.throttle_wait.with_label_values(of),
            ready: self.ready.with_label_values(of),
            oldest_age: self.oldest_age.with_label_values(of),
            connected: self.connected.with_label_values(of),
            reconnects: self.reconnects.with_label_values(of),
            age_unknown: self.age_unknown.with_label_values(of),
            id_from_body: self.id_from_body.with_label_values(of),
            publish_failures: self.publish_failures.with_label_values(of),
        }
    }
}

/// Turns each queue's ledger into three families, from one copy.
struct Ledgers {
    queues: BTreeMap<QueueName, Arc<QueueMetrics>>,
    received: Desc,
    settled: Desc,
    in_hand: Desc,
}

impl Ledgers {
    fn new(queues: BTreeMap<QueueName, Arc<QueueMetrics>>) -> Result<Self, prometheus::Error> {
        let desc = |name: &str, help: &str, labels: &[&str]| {
            Desc::new(
                format!("sluicegate_{name}"),
                help.to_owned(),
                labels.iter().map(|&label| label.to_owned()).collect(),
                std::collections::HashMap::new(),
            )
        };
        Ok(Self {
            queues,
            received: desc(
                "messages_received_total",
                "Deliveries taken from the queue.",
                &["queue"],
            )?,
            settled: desc(
                "messages_settled_total",
                "Deliveries settled, by verdict and reason.",
                &["queue", "verdict", "reason"],
            )?,
            in_hand: desc(
                "messages_in_hand",
                "Deliveries taken and not yet settled.",
                &["queue"],
            )?,
        })
    }
}

impl Collector for Ledgers {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.received, &self.settled, &self.in_hand]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        use prometheus::proto::{LabelPair, Metric, MetricType};
        let label = |name: &str, value: &str| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        let counter = |labels: Vec<LabelPair>, count: u64| {
            let mut value = prometheus::proto::Counter::default();
            value.set_value(count as f64);
            let mut metric = Metric::from_label(labels);
            metric.set_counter(value);
            metric
        };
        let family = |desc: &Desc, kind: MetricType, metrics: Vec<Metric>| {
            let mut family = MetricFamily::default();
            family.set_name(desc.fq_name.clone());
            family.set_help(desc.help.clone());
            family.set_field_type(kind);
            family.set_metric(metrics);
            family
        };
        let (mut received, mut settled, mut in_hand) = (Vec::new(), Vec::new(), Vec::new());
        for (name, queue) in &self.queues {
            let ledger = queue.ledger();
            let of_queue = || label("queue", name.as_str());
            received.push(counter(vec![of_queue()], ledger.received));
            for why in Why::ALL {
                let labels = vec![
                    of_queue(),
                    label("reason", why.word()),
                    label("verdict", why.verdict()),
                ];
                settled.push(counter(labels, ledger.settled[why as usize]));
            }
            let mut value = prometheus::proto::Gauge::default();
            value.set_value(ledger.in_hand as f64);
            let mut metric = Metric::from_label(vec![of_queue()]);
            metric.set_gauge(value);
            in_hand.push(metric);
        }
        vec![
            family(&self.received, MetricType::COUNTER, received),
            family(&self.settled, MetricType::COUNTER, settled),
            family(&self.in_hand, MetricType::GAUGE, in_hand),
        ]
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("sluicegate")
}

fn counter(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let family = IntCounterVec::new(opts(name, help), labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn gauge(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<GaugeVec, prometheus::Error> {
    let family = GaugeVec::new(opts(name, help), labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn int_gauge(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    let family = IntGaugeVec::new(opts(name, help), labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> Result<HistogramVec, prometheus::Error> {
    let family = HistogramVec::new(
        HistogramOpts::new(name, help)
            .namespace("sluicegate")
            .buckets(buckets.to_vec()),
        labels,
    )?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

#[cfg(test)]
mod tests {
    use super::*;

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
