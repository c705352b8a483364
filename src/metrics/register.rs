//! Families, made and registered under our prefix.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts};

/// A family that may be shown: dashboards and alerts name no other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Declared {
    /// Its whole name, such as `sluicegate_messages_in_hand`.
    pub name: String,
    /// The labels of its series, beside the `le` of a histogram.
    pub labels: Vec<String>,
}

/// What is shown, and what was declared so: a family without a series yet is known here alone.
#[derive(Debug, Default)]
pub(super) struct Registry {
    inner: prometheus::Registry,
    declared: Mutex<Vec<Declared>>,
}

impl Registry {
    pub(super) fn register(&self, families: Box<dyn Collector>) -> Result<(), prometheus::Error> {
        let declared = families.desc().into_iter().map(|desc| Declared {
            name: desc.fq_name.clone(),
            labels: desc.variable_labels.clone(),
        });
        let mut all = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(declared);
        drop(all);
        self.inner.register(families)
    }

    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.inner.gather()
    }

    pub(super) fn declared(&self) -> Vec<Declared> {
        let all = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = all.clone();
        all.sort();
        all
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("sluicegate")
}

pub(super) fn counter(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let family = IntCounterVec::new(opts(name, help), labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

pub(super) fn gauge(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<GaugeVec, prometheus::Error> {
    let family = GaugeVec::new(opts(name, help), labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

pub(super) fn int_gauge(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    let family = IntGaugeVec::new(opts(name, help), labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

/// A family that a collector of ours fills.
pub(super) fn desc(name: &str, help: &str, labels: &[&str]) -> Result<Desc, prometheus::Error> {
    Desc::new(
        format!("sluicegate_{name}"),
        help.to_owned(),
        labels.iter().map(|&label| label.to_owned()).collect(),
        HashMap::new(),
    )
}

pub(super) fn label(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

pub(super) fn family(desc: &Desc, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(desc.fq_name.clone());
    family.set_help(desc.help.clone());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}
