//! Names: of queues, of flags, and of the queues that we declare for ourselves.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::lane::Lane;
use super::valve::Valve;

/// The key of a flag: 1 to 200 visible ASCII characters, such as `queue.orders.skip`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FlagKey(Arc<str>);

/// Why a text is no flag key.
#[derive(Debug, Error, PartialEq)]
#[error(
    "{0:?} is not a flag key; use 1 to 200 visible ASCII characters without spaces, such as \"queue.orders.skip\""
)]
pub struct NotAKey(String);

impl FlagKey {
    /// The key of one valve of one queue.
    #[must_use]
    pub fn of_valve(queue: &QueueName, valve: Valve) -> Self {
        Self(format!("queue.{queue}.{}", valve.name()).into())
    }

    /// The key of the flag that says which of a pool's providers gets a job.
    #[must_use]
    pub fn of_pool(pool: &str) -> Self {
        Self(format!("pool.{pool}.provider").into())
    }

    /// The key of the flag by which an operator forces a provider to rest or to pass.
    #[must_use]
    pub fn of_force(provider: &str) -> Self {
        Self(format!("provider.{provider}.force").into())
    }

    /// Whether a flag of this key comes with the daemon: a valve, or what steers a pool. Its bounds and choices are not people's.
    #[must_use]
    pub fn comes_with_us(key: &str) -> bool {
        let of = |before: &str, after: &str| key.starts_with(before) && key.ends_with(after);
        key.starts_with("queue.") || of("pool.", ".provider") || of("provider.", ".force")
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FlagKey {
    type Err = NotAKey;
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let fine =
            (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fine {
            Ok(Self(text.into()))
        } else {
            Err(NotAKey(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for FlagKey {
    type Error = NotAKey;
    fn try_from(text: String) -> Result<Self, NotAKey> {
        text.parse()
    }
}

impl From<FlagKey> for String {
    fn from(key: FlagKey) -> String {
        key.0.as_ref().to_owned()
    }
}

impl Borrow<str> for FlagKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FlagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A queue as flags, metrics and people name it: `orders`, or `billing/orders` when it lies in a vhost of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueueName(Arc<str>);

/// Why a text cannot name a queue here.
#[derive(Debug, Error, PartialEq)]
#[error("{0:?} cannot name a queue; use 1 to 150 visible ASCII characters without spaces")]
pub struct NotAQueue(String);

impl QueueName {
    /// The queue `name` in the vhost that the file calls `vhost`, if it names one.
    ///
    /// # Errors
    /// When the two together are no name of 1 to 150 visible ASCII characters.
    pub fn new(vhost: Option<&str>, name: &str) -> Result<Self, NotAQueue> {
        vhost.map_or_else(|| name.parse(), |vhost| format!("{vhost}/{name}").parse())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for QueueName {
    type Err = NotAQueue;
    fn from_str(text: &str) -> Result<Self, NotAQueue> {
        let fine =
            (1..=150).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fine {
            Ok(Self(text.into()))
        } else {
            Err(NotAQueue(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for QueueName {
    type Error = NotAQueue;
    fn try_from(text: String) -> Result<Self, NotAQueue> {
        text.parse()
    }
}

impl From<QueueName> for String {
    fn from(name: QueueName) -> String {
        name.0.as_ref().to_owned()
    }
}

impl Borrow<str> for QueueName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pattern over whole names: `*` stands for any characters, none included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob(Box<str>);

/// Why a text is no pattern of names.
#[derive(Debug, Error, PartialEq)]
#[error(
    "{0:?} is no pattern of names; use 1 to 200 visible ASCII characters, `*` for any, such as \"mail.*\""
)]
pub struct NotAGlob(String);

impl Glob {
    /// Whether the whole name fits.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
            return false;
        };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else {
            return rest.is_empty();
        };
        for part in parts {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl FromStr for Glob {
    type Err = NotAGlob;
    fn from_str(text: &str) -> Result<Self, NotAGlob> {
        let fine =
            (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fine {
            Ok(Self(text.into()))
        } else {
            Err(NotAGlob(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for Glob {
    type Error = NotAGlob;
    fn try_from(text: String) -> Result<Self, NotAGlob> {
        text.parse()
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> String {
        glob.0.into()
    }
}

/// A calendar day in UTC, as it ends the name of a stream: `2026-11-21`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day {
    year: i64,
    month: u32,
    day: u32,
}

impl Day {
    /// The day in which `at_ms`, milliseconds since 1970 in UTC, lies (after Howard Hinnant's `civil_from_days`).
    #[must_use]
    pub fn of(at_ms: i64) -> Self {
        let days = at_ms.div_euclid(86_400_000) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self {
            year,
            month: u32::try_from(month).unwrap_or(1),
            day: u32::try_from(day).unwrap_or(1),
        }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// What the tags of Sluicegate's consumers begin with; after it comes which daemon it is.
pub const CONSUMER_TAG: &str = "sluicegate@";

/// What stands in a part of a URL as it is (RFC 3986, *unreserved*).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A name as one segment of a URL's path, or as a value in its query.
#[must_use]
pub fn segment(name: &str) -> String {
    utf8_percent_encode(name, UNRESERVED).to_string()
}

/// The delay queue of `queue` whose messages come back after `delay`, such as `sluicegate.delay.orders.30s`.
#[must_use]
pub fn delay_queue(queue: &str, delay: super::units::Span) -> String {
    format!(
        "sluicegate.delay.{queue}.{}",
        delay.to_string().replace(' ', "")
    )
}

/// The queue of one lane of `queue`, such as `sluicegate.lane.orders.00c0ffee00c0ffee` or `sluicegate.lane.orders.shared`.
#[must_use]
pub fn lane_queue(queue: &str, lane: Lane) -> String {
    match lane {
        Lane::Own(key) => format!("sluicegate.lane.{queue}.{:016x}", key.0),
        Lane::Shared => format!("sluicegate.lane.{queue}.shared"),
    }
}

/// The stream that holds what was parked of `queue` on `day`.
#[must_use]
pub fn park_stream(queue: &str, day: Day) -> String {
    format!("sluicegate.park.{queue}.{day}")
}

/// The stream that holds the dead letters of `queue` of `day`.
#[must_use]
pub fn dead_stream(queue: &str, day: Day) -> String {
    format!("sluicegate.dead.{queue}.{day}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_fits_whole_names() {
        for (glob, fits, fails) in [
            ("orders", &["orders"][..], &["orders2", "order", ""][..]),
            ("mail.*", &["mail.", "mail.bulk"], &["mail", "xmail.a"]),
            ("*", &["", "a/b"], &[]),
            ("a*b*c", &["abc", "aXbYc", "abbcc"], &["ab", "acb", "abcd"]),
            ("*.skip", &["queue.a.skip"], &["queue.a.skips"]),
        ] {
            let glob: Glob = glob.parse().unwrap();
            for name in fits {
                assert!(glob.fits(name), "{glob:?} {name:?}");
            }
            for name in fails {
                assert!(!glob.fits(name), "not {glob:?} {name:?}");
            }
        }
        assert!("".parse::<Glob>().is_err() && "a b".parse::<Glob>().is_err());
    }

    #[test]
    fn a_valve_of_a_queue_has_the_key_people_type() {
        let plain = QueueName::new(None, "orders").unwrap();
        let other = QueueName::new(Some("billing"), "orders.eu").unwrap();
        assert_eq!(
            FlagKey::of_valve(&plain, Valve::Skip).as_str(),
            "queue.orders.skip"
        );
        assert_eq!(
            FlagKey::of_valve(&other, Valve::MaxAge).as_str(),
            "queue.billing/orders.eu.max_age"
        );
    }

    #[test]
    fn names_with_spaces_controls_or_no_end_are_refused() {
        for text in ["", "a b", "a\nb", "ö", &"x".repeat(201)] {
            assert!(text.parse::<FlagKey>().is_err(), "{text:?}");
            assert!(text.parse::<QueueName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn days_follow_the_calendar() {
        for (at_ms, day) in [
            (0, "1970-01-01"),
            (86_399_999, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400_000, "2000-02-29"),
            (1_795_219_200_000, "2026-11-21"),
            (4_107_542_400_000, "2100-03-01"),
        ] {
            assert_eq!(Day::of(at_ms).to_string(), day, "{at_ms}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_a_path() {
        for (name, wanted) in [
            ("queue.orders.skip", "queue.orders.skip"),
            ("queue.billing/orders.skip", "queue.billing%2Forders.skip"),
            ("a?b#c%d", "a%3Fb%23c%25d"),
            ("/a b", "%2Fa%20b"),
            ("grüße-._~", "gr%C3%BC%C3%9Fe-._~"),
        ] {
            assert_eq!(segment(name), wanted);
        }
    }
}
