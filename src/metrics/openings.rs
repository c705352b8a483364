//! What is counted of openings, and of telling others about them.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};

use super::register::{counter, int_gauge};

/// What became of a notice, for one who was to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It was taken.
    Delivered,
    /// It was refused, so that trying again is of no use.
    Refused,
    /// It was tried until it was too old.
    GivenUp,
    /// Too many were waiting, and it was the oldest.
    Dropped,
    /// The daemon stopped first.
    Unsent,
}

impl Sent {
    const ALL: [Sent; 5] = [
        Self::Delivered,
        Self::Refused,
        Self::GivenUp,
        Self::Dropped,
        Self::Unsent,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::GivenUp => "given_up",
            Self::Dropped => "dropped",
            Self::Unsent => "unsent",
        }
    }
}

/// The numbers of openings.
#[derive(Debug)]
pub struct Openings {
    overdue: IntGauge,
    reminders: IntCounter,
    extended: IntCounter,
    notices: IntCounterVec,
}

impl Openings {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let nothing: &[&str] = &[];
        let notices = counter(
            registry,
            "notices_total",
            "Notices for webhooks, by what became of them.",
            &["outcome"],
        )?;
        for sent in Sent::ALL {
            notices.with_label_values(&[sent.word()]);
        }
        Ok(Self {
            overdue: int_gauge(
                registry,
                "openings_overdue",
                "Openings that are past their end and could not be closed.",
                nothing,
            )?
            .with_label_values(nothing),
            reminders: counter(
                registry,
                "opening_reminders_total",
                "Openings of which somebody was reminded before their end.",
                nothing,
            )?
            .with_label_values(nothing),
            extended: counter(
                registry,
                "opening_extensions_total",
                "Openings that were extended by themselves, once, because their end would have hurt.",
                nothing,
            )?
            .with_label_values(nothing),
            notices,
        })
    }

    /// So many are past their end and could not be closed.
    pub fn overdue(&self, count: usize) {
        self.overdue.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Somebody was reminded of one.
    pub fn reminded(&self) {
        self.reminders.inc();
    }

    /// One was extended by itself.
    pub fn extended(&self) {
        self.extended.inc();
    }

    /// So many notices came to this end.
    pub fn notices(&self, sent: Sent, count: u64) {
        self.notices.with_label_values(&[sent.word()]).inc_by(count);
    }
}
