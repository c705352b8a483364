//! What a breaker is told and tells.

use std::time::Duration;

/// The two stories that a call is evidence for or against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Odds {
    pub(super) failure: f64,
    pub(super) success: f64,
}

impl Odds {
    /// The share of calls that fail when all is well, and when the provider is ill; each is moved between 0.001 and 0.98, and
    /// the second is at least one point above the first.
    #[must_use]
    pub fn of(usual: f64, ill: f64) -> Self {
        let usual = usual.clamp(0.001, 0.97);
        let ill = ill.clamp(usual + 0.01, 0.98);
        Self {
            failure: (ill / usual).ln(),
            success: ((1.0 - usual) / (1.0 - ill)).ln(),
        }
    }
}

impl Default for Odds {
    /// 5 % against 36 %.
    fn default() -> Self {
        Self::of(0.05, 0.36)
    }
}

/// What a call said of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The provider is well.
    Good,
    /// It failed.
    Bad,
    /// Nothing: a bad recipient, a throttle.
    Nothing,
}

/// The numbers behind a rest: what happened since the evidence began to gather.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trip {
    /// When it rested (since the clock's start).
    pub at: Duration,
    /// So many calls said something,
    pub calls: u32,
    /// so many of them failed,
    pub failed: u32,
    /// and so many of those were overdue rather than answered.
    pub overdue: u32,
}

/// The word for how a provider stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is called.
    Passing,
    /// It is left alone.
    Resting,
    /// Some jobs are probes.
    Probing,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Passing, Self::Resting, Self::Probing];

    /// Its word, as in the label `state`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Resting => "resting",
            Self::Probing => "probing",
        }
    }
}

/// A change of how a provider stands: what is told and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It rests, because of this.
    Rests(Trip),
    /// It passes again, with a share that grows.
    Passes,
}

/// A reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// How it stands.
    pub standing: Standing,
    /// The share that it is given of what is meant for it.
    pub share: f64,
    /// The next time that it may be probed, while it rests.
    pub until: Option<Duration>,
    /// The numbers behind the last rest, until it passes in full again.
    pub trip: Option<Trip>,
    /// Calls that are out.
    pub out: usize,
    /// The usual time of a good call, once it is known.
    pub usual: Option<Duration>,
}

/// Nothing happened yet.
pub(super) const NOTHING: Trip = Trip {
    at: Duration::ZERO,
    calls: 0,
    failed: 0,
    overdue: 0,
};

/// A call that is out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Out {
    pub(super) started: Duration,
    pub(super) round: u32,
    pub(super) counted: bool,
}
