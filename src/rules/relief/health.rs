//! An opening that ends when its queue is well: `until on-time >= 98% for 10m, at most 8h`. And what stands at any end of an
//! overload valve: would that hurt now?
//!
//! Well is a queue in which enough of what is done is done on time, and which needs no valve for that: a queue whose valve sheds
//! what its workers cannot do is on time, and is not well. A queue to which nothing comes any more is.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::load::Load;
use crate::rules::opening::LONGEST;
use crate::rules::units::{Ratio, Span};

/// The share that must be done on time when nobody says.
const USUAL_SHARE: f64 = 0.98;
/// For so long a queue must be well when nobody says.
const USUAL_FOR: Span = Span::from_secs(10 * 60);
/// The longest that such an opening lasts when nobody says.
const USUAL_AT_MOST: Span = Span::from_secs(8 * 3_600);

/// When an opening ends by health. Written `on-time >= 98% for 10m, at most 8h`; `for` and `at most` may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UntilWell {
    /// The share of jobs that must be done on time.
    pub on_time: Ratio,
    /// For how long without a break.
    pub lasting: Span,
    /// After this it ends in any case.
    pub at_most: Span,
}

impl Default for UntilWell {
    fn default() -> Self {
        Self {
            on_time: Ratio::try_from(USUAL_SHARE).unwrap_or(Ratio::ONE),
            lasting: USUAL_FOR,
            at_most: USUAL_AT_MOST,
        }
    }
}

/// Until when an opening lasts, as people write it: a time, or its queue's health.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub enum Until {
    /// Until then.
    At(jiff::Timestamp),
    /// Until its queue is well.
    Well(UntilWell),
}

/// Why a text says no end.
#[derive(Debug, Error, Clone, PartialEq)]
#[error(
    "{0:?} is no end; write a time such as 2026-11-21T18:00:00Z, or a queue's health such as \"on-time >= 98% for 10m, at most 8h\" (the last two may be left out; at most 24h)"
)]
pub struct NotUntil(String);

impl FromStr for Until {
    type Err = NotUntil;
    fn from_str(text: &str) -> Result<Self, NotUntil> {
        let at = text.trim().parse().ok().map(Self::At);
        at.or_else(|| read(text).map(Self::Well))
            .ok_or_else(|| NotUntil(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for Until {
    type Error = NotUntil;
    fn try_from(text: String) -> Result<Self, NotUntil> {
        text.parse()
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(time) => write!(f, "{time}"),
            Self::Well(until) => write!(f, "{until}"),
        }
    }
}

/// Why a text says no such end.
#[derive(Debug, Error, Clone, PartialEq)]
#[error(
    "{0:?} does not say when a queue is well; write \"on-time >= 98% for 10m, at most 8h\" (the last two may be left out; at most 24h)"
)]
pub struct NotAnEnd(String);

impl FromStr for UntilWell {
    type Err = NotAnEnd;
    fn from_str(text: &str) -> Result<Self, NotAnEnd> {
        read(text).ok_or_else(|| NotAnEnd(text.chars().take(80).collect()))
    }
}

fn read(text: &str) -> Option<UntilWell> {
    let rest = text.trim().strip_prefix("on-time")?.trim_start();
    let rest = rest.strip_prefix(">=").or_else(|| rest.strip_prefix('≥'))?;
    let (rest, at_most) = match rest.split_once(',') {
        Some((rest, end)) => (rest, end.trim().strip_prefix("at most")?.parse().ok()?),
        None => (rest, USUAL_AT_MOST),
    };
    let (share, lasting) = match rest.split_once(" for ") {
        Some((share, lasting)) => (share, lasting.parse().ok()?),
        None => (rest, USUAL_FOR),
    };
    let until = UntilWell {
        on_time: share.trim().parse().ok()?,
        lasting,
        at_most,
    };
    let possible = until.on_time > Ratio::ZERO
        && until.lasting >= Span::from_secs(1)
        && until.lasting <= until.at_most
        && until.at_most <= LONGEST;
    possible.then_some(until)
}

impl fmt::Display for UntilWell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = (self.on_time.get() * 1e6).round() / 1e4;
        write!(
            f,
            "on-time >= {percent}% for {}, at most {}",
            self.lasting, self.at_most
        )
    }
}

impl TryFrom<String> for UntilWell {
    type Error = NotAnEnd;
    fn try_from(text: String) -> Result<Self, NotAnEnd> {
        text.parse()
    }
}

impl From<UntilWell> for String {
    fn from(until: UntilWell) -> String {
        until.to_string()
    }
}

/// How a queue stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// The share of jobs done on time lately, from 0 to 1; `None`: none was done.
    pub on_time: Option<f64>,
    /// The load on it; see [`super::load::Measures::load`].
    pub load: Load,
    /// Whether a valve of the opening shed anything in the last minute.
    pub sheds: bool,
}

impl Standing {
    /// Whether the queue is well: on time, and not only because it is relieved.
    #[must_use]
    pub fn is_well(&self, on_time: Ratio) -> bool {
        let enough = match self.on_time {
            Some(share) => share >= on_time.get(),
            None => self.load.offered <= 0.0 && !self.sheds,
        };
        enough && !self.load.end_would_hurt(self.sheds)
    }
}

/// Watches for the end of one opening. A restart of the daemon begins the watch anew: an end may come later for it, never sooner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watch {
    well_since: Option<Duration>,
}

impl Watch {
    /// Looks at the queue, each second or so; whether the opening is to end now because the queue has been well for long enough.
    pub fn look(&mut self, now: Duration, until: &UntilWell, standing: &Standing) -> bool {
        let well = standing.is_well(until.on_time);
        self.well_since = well.then(|| self.well_since.unwrap_or(now));
        self.well_since
            .is_some_and(|since| now.saturating_sub(since) >= until.lasting.get())
    }

    /// How long the queue has been well without a break.
    #[must_use]
    pub fn well_for(&self, now: Duration) -> Option<Duration> {
        self.well_since.map(|since| now.saturating_sub(since))
    }
}

/// What becomes of an opening whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtEnd {
    /// It ends.
    Ends,
    /// It is extended by this, because its end would hurt now; to be said loudly.
    Extended(Span),
}

/// Asked when the time of an overload valve's opening is over, also at the `at most` of one that ends by health: it is extended
/// once, by its own length, if its end would hurt.
#[must_use]
pub fn at_end(length: Span, extended_before: bool, standing: &Standing) -> AtEnd {
    if !extended_before && standing.load.end_would_hurt(standing.sheds) {
        AtEnd::Extended(length)
    } else {
        AtEnd::Ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_written_as_people_say_it() {
        let check = |text: &str, expected: &str| {
            let read: Result<UntilWell, _> = text.parse();
            assert_eq!(
                read.map_or_else(|_| "no".to_owned(), |one| one.to_string()),
                expected,
                "{text}"
            );
        };
        let usual = "on-time >= 98% for 10m, at most 8h";
        check(usual, usual);
        check("on-time >= 0.98", usual);
        check(" on-time>=98% for 10m", usual);
        check(
            "on-time ≥ 99.5% for 1m, at most 1d",
            "on-time >= 99.5% for 1m, at most 1d",
        );
        for wrong in [
            "",
            "98%",
            "on-time > 98%",
            "on-time >= 120%",
            "on-time >= 0",
            "on-time >= 98% for ever",
            "on-time >= 98% for 10m, 8h",
            "on-time >= 98% for 0s",
            "on-time >= 98% for 9h, at most 8h",
            "on-time >= 98% for 10m, at most 2d",
        ] {
            check(wrong, "no");
        }
    }

    #[test]
    fn an_end_is_a_time_or_a_queues_health() {
        let check = |text: &str, expected: &str| {
            let read: Result<Until, _> = text.parse();
            let said = read.map_or_else(|why| why.to_string(), |until| until.to_string());
            assert!(said.contains(expected), "{text}: {said}");
        };
        check("2026-11-21T18:00:00Z", "2026-11-21T18:00:00Z");
        check("2026-11-21T18:00:00+01:00", "2026-11-21T17:00:00Z");
        check("on-time >= 98%", "on-time >= 98% for 10m, at most 8h");
        check("tomorrow", "write a time such as");
        let usual = UntilWell::default();
        assert_eq!(usual.to_string().parse(), Ok(usual));
    }

    fn standing(on_time: Option<f64>, offered: f64, sheds: bool) -> Standing {
        let load = Load {
            offered,
            service_s: Some(1.0),
            slots: 8,
        };
        Standing {
            on_time,
            load,
            sheds,
        }
    }

    #[test]
    fn well_is_who_is_on_time_without_help() {
        let check = |what: &str, standing: Standing, well: bool| {
            assert_eq!(
                standing.is_well(Ratio::try_from(0.98).unwrap()),
                well,
                "{what}"
            );
        };
        check("on time", standing(Some(0.99), 4.0, false), true);
        check("late", standing(Some(0.97), 4.0, false), false);
        check(
            "on time, because the rest is shed",
            standing(Some(1.0), 16.0, true),
            false,
        );
        check(
            "a share is shed by hand, without need",
            standing(Some(1.0), 4.0, true),
            true,
        );
        check("nothing comes any more", standing(None, 0.0, false), true);
        check("everything is shed", standing(None, 4.0, true), false);
        check(
            "nothing is done of what comes",
            standing(None, 4.0, false),
            false,
        );
    }

    #[test]
    fn it_ends_after_being_well_for_long_enough_without_a_break() {
        let until: UntilWell = "on-time >= 98% for 10m, at most 8h".parse().unwrap();
        let mut watch = Watch::default();
        let mut look = |minute: u64, on_time: f64| {
            let now = Duration::from_secs(60 * minute);
            watch.look(now, &until, &standing(Some(on_time), 4.0, false))
        };
        assert!((0..10).all(|minute| !look(minute, 1.0)));
        assert!(!look(10, 0.5));
        assert!((11..21).all(|minute| !look(minute, 0.99)));
        assert!(look(21, 0.99));
        assert_eq!(
            watch.well_for(Duration::from_secs(60 * 21)),
            Some(Duration::from_secs(600))
        );
    }

    #[test]
    fn nobody_is_ended_into_a_fire_but_once() {
        let half = Span::from_secs(1_800);
        let fire = standing(Some(1.0), 16.0, true);
        assert_eq!(at_end(half, false, &fire), AtEnd::Extended(half));
        assert_eq!(at_end(half, true, &fire), AtEnd::Ends);
        assert_eq!(
            at_end(half, false, &standing(Some(1.0), 16.0, false)),
            AtEnd::Ends
        );
        assert_eq!(
            at_end(half, false, &standing(Some(1.0), 4.0, true)),
            AtEnd::Ends
        );
    }
}
