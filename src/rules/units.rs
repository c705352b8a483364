//! Values with a unit: a ratio, a span of time, a rate. Checked once, when read; from then on the type is the proof.
//!
//! Files, API bodies and the store all come through serde, so one `TryFrom` or `FromStr` guards every door.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A share between 0 and 1. Written `0.25` or `"25%"`; shown as a number.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Ratio(f64);

/// Why a number is no ratio.
#[derive(Debug, Error, PartialEq)]
#[error("a ratio lies between 0 and 1, got {0}; write 5 percent as 0.05 or \"5%\"")]
pub struct NotARatio(String);

impl Ratio {
    /// Nothing at all.
    pub const ZERO: Ratio = Ratio(0.0);
    /// The whole.
    pub const ONE: Ratio = Ratio(1.0);

    /// The share as a number from 0 to 1.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Ratio {
    type Error = NotARatio;
    fn try_from(share: f64) -> Result<Self, NotARatio> {
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share + 0.0))
        } else {
            Err(NotARatio(share.to_string()))
        }
    }
}

impl FromStr for Ratio {
    type Err = NotARatio;
    fn from_str(text: &str) -> Result<Self, NotARatio> {
        let unreadable = || NotARatio(format!("{text:?}"));
        let (digits, divisor) = match text.trim().strip_suffix('%') {
            Some(percent) => (percent.trim(), 100.0),
            None => (text.trim(), 1.0),
        };
        let number: f64 = digits.parse().map_err(|_| unreadable())?;
        Self::try_from(number / divisor).map_err(|_| unreadable())
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A span of time with a resolution of one millisecond, at most about 10 years. Written `"1m 30s"`, `"500ms"`, `"2h"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

/// Why a text is no span.
#[derive(Debug, Error, PartialEq)]
#[error(
    "{0:?} is not a duration; write a number and a unit, such as \"500ms\", \"30s\", \"1m 30s\", \"2h\" or \"7d\" (at most 3650d)"
)]
pub struct NotASpan(String);

const SPAN_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];
const LONGEST_SPAN_MS: u64 = 3_650 * 86_400_000;

impl Span {
    /// A span of whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(if millis > LONGEST_SPAN_MS {
            LONGEST_SPAN_MS
        } else {
            millis
        }))
    }

    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self::from_millis(secs.saturating_mul(1_000))
    }

    /// The span as the standard library has it.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }

    /// The span in whole milliseconds.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

impl FromStr for Span {
    type Err = NotASpan;
    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let unreadable = || NotASpan(text.to_owned());
        let mut rest = text.trim();
        let mut millis: u64 = 0;
        if rest.is_empty() {
            return Err(unreadable());
        }
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit())
                .ok_or_else(unreadable)?;
            let number: u64 = rest[..digits].parse().map_err(|_| unreadable())?;
            let after = rest[digits..].trim_start();
            let letters = after
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(after.len());
            let unit = SPAN_UNITS
                .iter()
                .find(|(name, _)| *name == &after[..letters])
                .ok_or_else(unreadable)?
                .1;
            millis = number
                .checked_mul(unit)
                .and_then(|part| millis.checked_add(part))
                .ok_or_else(unreadable)?;
            rest = after[letters..].trim_start();
        }
        if millis > LONGEST_SPAN_MS {
            Err(unreadable())
        } else {
            Ok(Self::from_millis(millis))
        }
    }
}

impl TryFrom<String> for Span {
    type Error = NotASpan;
    fn try_from(text: String) -> Result<Self, NotASpan> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if left == 0 {
            return f.write_str("0s");
        }
        let mut first = true;
        for (name, size) in SPAN_UNITS {
            if left >= size {
                write!(f, "{}{}{name}", if first { "" } else { " " }, left / size)?;
                left %= size;
                first = false;
            }
        }
        Ok(())
    }
}

/// The time unit of a [`Rate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// per second
    Second,
    /// per minute
    Minute,
    /// per hour
    Hour,
}

impl Per {
    const fn secs(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }
}

/// So many messages for each unit of time, with a burst. Written `"50/s"`, `"100/m burst 20"`; `"0/s"` means stop.
///
/// Without a burst a tenth of a second's worth, at least one, may go at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    count: u32,
    per: Per,
    burst: Option<u32>,
}

/// Why a text is no rate.
#[derive(Debug, Error, PartialEq)]
#[error(
    "{0:?} is not a rate; write \"50/s\", \"100/m\" or \"10/h\", if you like with a burst: \"100/m burst 20\" (at most 1000000/s; 0/s means stop)"
)]
pub struct NotARate(String);

const HIGHEST_COUNT: u32 = 1_000_000;

impl Rate {
    /// Whether nothing may pass at all.
    #[must_use]
    pub fn is_stop(self) -> bool {
        self.count == 0
    }

    /// The time between two messages; `None` when nothing may pass.
    #[must_use]
    pub fn interval(self) -> Option<Duration> {
        Duration::from_secs(u64::from(self.per.secs())).checked_div(self.count)
    }

    /// How many may go at once after a pause; at least 1.
    #[must_use]
    pub fn burst(self) -> u32 {
        let tenth = self.count / (self.per.secs() * 10);
        self.burst.unwrap_or(tenth).max(1)
    }

    /// Messages per second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        f64::from(self.count) / f64::from(self.per.secs())
    }

    /// Another number of messages with the same unit and burst.
    #[must_use]
    pub fn with_per_second(self, per_second: f64) -> Self {
        let count = (per_second * f64::from(self.per.secs())).round();
        Self {
            count: (count.clamp(0.0, f64::from(HIGHEST_COUNT))) as u32,
            ..self
        }
    }
}

impl FromStr for Rate {
    type Err = NotARate;
    fn from_str(text: &str) -> Result<Self, NotARate> {
        let unreadable = || NotARate(text.to_owned());
        let mut words = text.split_whitespace();
        let (count, unit) = words
            .next()
            .and_then(|word| word.split_once('/'))
            .ok_or_else(unreadable)?;
        let count = count
            .parse()
            .ok()
            .filter(|count| *count <= HIGHEST_COUNT)
            .ok_or_else(unreadable)?;
        let per = match unit {
            "s" => Per::Second,
            "m" => Per::Minute,
            "h" => Per::Hour,
            _ => return Err(unreadable()),
        };
        let burst = match (words.next(), words.next(), words.next()) {
            (None, ..) => None,
            (Some("burst"), Some(size), None) => Some(
                size.parse()
                    .ok()
                    .filter(|size| (1..=HIGHEST_COUNT).contains(size))
                    .ok_or_else(unreadable)?,
            ),
            _ => return Err(unreadable()),
        };
        Ok(Self { count, per, burst })
    }
}

impl TryFrom<String> for Rate {
    type Error = NotARate;
    fn try_from(text: String) -> Result<Self, NotARate> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> String {
        rate.to_string()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per {
            Per::Second => "s",
            Per::Minute => "m",
            Per::Hour => "h",
        };
        write!(f, "{}/{unit}", self.count)?;
        self.burst
            .map_or(Ok(()), |burst| write!(f, " burst {burst}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_are_read_and_shown_in_the_same_words() {
        for (text, millis, shown) in [
            ("1m 30s", 90_000, "1m 30s"),
            ("90s", 90_000, "1m 30s"),
            ("500ms", 500, "500ms"),
            ("2 h", 7_200_000, "2h"),
            ("0s", 0, "0s"),
            ("1d2h", 93_600_000, "1d 2h"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(
                (span.as_millis(), span.to_string().as_str()),
                (millis, shown),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_span_rate_or_ratio_is_refused_with_its_cure() {
        for text in [
            "",
            "s",
            "10",
            "10 fortnights",
            "-1s",
            "1.5s",
            "99999999999999999999s",
            "4000d",
        ] {
            assert!(
                text.parse::<Span>()
                    .unwrap_err()
                    .to_string()
                    .contains("write"),
                "{text}"
            );
        }
        for text in [
            "",
            "50",
            "50/day",
            "-1/s",
            "50/s burst",
            "50/s burst 0",
            "50/s burst 1 2",
            "1e9/s",
            "2000000/s",
        ] {
            assert!(
                text.parse::<Rate>()
                    .unwrap_err()
                    .to_string()
                    .contains("write"),
                "{text}"
            );
        }
        for text in ["", "NaN", "inf", "-0.1", "1.1", "101%", "1e308", "nonsense"] {
            assert!(
                text.parse::<Ratio>()
                    .unwrap_err()
                    .to_string()
                    .contains("write"),
                "{text}"
            );
        }
    }

    #[test]
    fn percent_is_a_hundredth_and_minus_zero_is_zero() {
        assert_eq!("25%".parse(), Ok(Ratio(0.25)));
        assert_eq!(Ratio::try_from(-0.0).unwrap().to_string(), "0");
    }

    #[test]
    fn a_rate_knows_its_interval_and_burst() {
        let rate: Rate = "100/m burst 20".parse().unwrap();
        assert_eq!(
            (rate.interval(), rate.burst()),
            (Some(Duration::from_millis(600)), 20)
        );
        let fast: Rate = "500/s".parse().unwrap();
        assert_eq!(
            (fast.interval(), fast.burst()),
            (Some(Duration::from_millis(2)), 50)
        );
        let stop: Rate = "0/s".parse().unwrap();
        assert!(stop.is_stop() && stop.interval().is_none());
    }

    proptest! {
        #[test]
        fn any_span_survives_its_own_text(millis in 0..LONGEST_SPAN_MS) {
            let span = Span::from_millis(millis);
            prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }

        #[test]
        fn any_rate_survives_its_own_text(count in 0..=HIGHEST_COUNT, burst in proptest::option::of(1..=HIGHEST_COUNT)) {
            for per in [Per::Second, Per::Minute, Per::Hour] {
                let rate = Rate { count, per, burst };
                prop_assert_eq!(rate.to_string().parse::<Rate>(), Ok(rate));
            }
        }

        #[test]
        fn no_text_makes_the_readers_panic(text in ".{0,40}") {
            let _ = (text.parse::<Span>(), text.parse::<Rate>(), text.parse::<Ratio>());
        }
    }
}
