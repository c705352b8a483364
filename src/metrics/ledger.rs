//! Each queue's account, and how it becomes three families from one copy.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use super::queue::QueueMetrics;
use super::register::{desc, family, label};
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

/// Turns each queue's ledger into three families, from one copy.
pub(super) struct Ledgers {
    queues: BTreeMap<QueueName, Arc<QueueMetrics>>,
    received: Desc,
    settled: Desc,
    in_hand: Desc,
}

impl Ledgers {
    pub(super) fn new(
        queues: BTreeMap<QueueName, Arc<QueueMetrics>>,
    ) -> Result<Self, prometheus::Error> {
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
        let counter = |labels: Vec<LabelPair>, count: u64| {
            let mut value = prometheus::proto::Counter::default();
            value.set_value(count as f64);
            let mut metric = Metric::from_label(labels);
            metric.set_counter(value);
            metric
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
