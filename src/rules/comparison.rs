//! How an attribute is compared: the values of an operator are read once, and then asked.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::{Regex, RegexBuilder};
use semver::Version;
use serde_json::Value as Json;

use super::clause::{BadClause, ClauseDocument, MOST_VALUES, Op};
use super::context::{Attribute, plain_text};
use super::texts::Texts;

/// The longest pattern, in bytes.
pub const LONGEST_PATTERN: usize = 256;
const LARGEST_PATTERN: usize = 64 * 1_024;

/// What an attribute is compared with, and how.
#[derive(Debug, Clone)]
pub enum Comparison {
    /// See [`Op::In`].
    In(Texts),
    /// See [`Op::NotIn`].
    NotIn(Texts),
    /// See [`Op::StartsWith`].
    StartsWith(Box<[Box<str>]>),
    /// See [`Op::EndsWith`].
    EndsWith(Box<[Box<str>]>),
    /// See [`Op::Contains`].
    Contains(Box<[Box<str>]>),
    /// See [`Op::Matches`].
    Matches(Box<[Regex]>),
    /// With numbers.
    Number(Op, Box<[f64]>),
    /// With versions.
    Semver(Op, Box<[Version]>),
    /// See [`Op::Cidr`].
    Cidr(Box<[IpNet]>),
    /// See [`Op::Exists`].
    Exists(bool),
}

impl Comparison {
    /// Checks and reads what a clause compares with.
    ///
    /// # Errors
    /// See [`BadClause`].
    pub fn of(document: &ClauseDocument) -> Result<Self, BadClause> {
        let values = &document.values;
        let op = document
            .op
            .ok_or_else(|| BadClause::Shape("say how to compare: op, such as \"in\"".to_owned()))?;
        if values.len() > MOST_VALUES {
            return Err(BadClause::Shape(format!(
                "a clause has at most {MOST_VALUES} values; make a segment of them"
            )));
        }
        if values.is_empty() && op != Op::Exists {
            return Err(BadClause::Shape(format!(
                "{op:?} needs values to compare with"
            )));
        }
        Ok(match op {
            Op::In => Self::In(texts(op, values)?),
            Op::NotIn => Self::NotIn(texts(op, values)?),
            Op::StartsWith => Self::StartsWith(each(op, values, text)?),
            Op::EndsWith => Self::EndsWith(each(op, values, text)?),
            Op::Contains => Self::Contains(each(op, values, text)?),
            Op::Matches => Self::Matches(each(op, values, pattern)?),
            Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge => {
                Self::Number(op, each(op, values, number)?)
            }
            Op::SemverEq
            | Op::SemverLt
            | Op::SemverLe
            | Op::SemverGt
            | Op::SemverGe
            | Op::SemverMajor
            | Op::SemverMinor => Self::Semver(op, each(op, values, written_version)?),
            Op::Cidr => Self::Cidr(each(op, values, network)?),
            Op::Exists => match values.as_slice() {
                [] => Self::Exists(true),
                [Json::Bool(there)] => Self::Exists(*there),
                _ => {
                    let all = Json::from(values.clone());
                    return Err(bad(op, &all, "it takes [true], [false] or nothing"));
                }
            },
        })
    }

    /// Whether it holds of what was found. What is missing fails it, except of `not_in` and `ne`.
    #[inline]
    #[must_use]
    pub fn holds(&self, found: Option<&Attribute>) -> bool {
        match (self, found) {
            (Self::In(texts), Some(found)) => texts.contains(found),
            (Self::NotIn(texts), Some(found)) => !texts.contains(found),
            (Self::Exists(there), found) => found.is_some() == *there,
            (other, Some(found)) => other.holds_of(found),
            (other, None) => matches!(other, Self::NotIn(_) | Self::Number(Op::Ne, _)),
        }
    }

    /// The same, of those that take longer than a call.
    #[inline(never)]
    fn holds_of(&self, found: &Attribute) -> bool {
        let text: &str = found.text();
        match self {
            Self::StartsWith(values) => values.iter().any(|value| text.starts_with(&**value)),
            Self::EndsWith(values) => values.iter().any(|value| text.ends_with(&**value)),
            Self::Contains(values) => values.iter().any(|value| text.contains(&**value)),
            Self::Matches(patterns) => patterns.iter().any(|pattern| pattern.is_match(text)),
            Self::Number(op, values) => found.number().is_some_and(|found| match op {
                Op::Ne => values.iter().all(|value| found != *value),
                op => values.iter().any(|value| compares(*op, found, *value)),
            }),
            Self::Semver(op, values) => version(text).is_some_and(|found| {
                let mut values = values.iter();
                values.any(|value| compares_versions(*op, &found, value))
            }),
            Self::Cidr(networks) => text.parse().is_ok_and(|address: IpAddr| {
                networks.iter().any(|network| network.contains(&address))
            }),
            Self::In(_) | Self::NotIn(_) | Self::Exists(_) => self.holds(Some(found)),
        }
    }
}

fn bad(op: Op, value: &Json, why: impl ToString) -> BadClause {
    BadClause::Value {
        op,
        value: value.to_string().chars().take(80).collect(),
        why: why.to_string(),
    }
}

fn each<T>(
    op: Op,
    values: &[Json],
    read: impl Fn(&Json) -> Result<T, String>,
) -> Result<Box<[T]>, BadClause> {
    let read = |value: &Json| read(value).map_err(|why| bad(op, value, why));
    values.iter().map(read).collect()
}

fn texts(op: Op, values: &[Json]) -> Result<Texts, BadClause> {
    let texts = each(op, values, text)?;
    Ok(Texts::of(texts.iter().map(|text| &**text)))
}

fn text(value: &Json) -> Result<Box<str>, String> {
    let text = plain_text(value).filter(|text| !text.is_empty());
    text.map(Into::into)
        .ok_or_else(|| "it takes texts, numbers and booleans".to_owned())
}

fn number(value: &Json) -> Result<f64, String> {
    let number = value.as_f64().filter(|number| number.is_finite());
    number.ok_or_else(|| "it takes numbers".to_owned())
}

fn pattern(value: &Json) -> Result<Regex, String> {
    let pattern = value.as_str().ok_or("it takes a regular expression")?;
    if pattern.len() > LONGEST_PATTERN {
        return Err(format!("a pattern has at most {LONGEST_PATTERN} bytes"));
    }
    RegexBuilder::new(pattern)
        .size_limit(LARGEST_PATTERN)
        .dfa_size_limit(LARGEST_PATTERN)
        .build()
        .map_err(|why| why.to_string())
}

fn network(value: &Json) -> Result<IpNet, String> {
    let text = value.as_str().unwrap_or_default();
    let single = || text.parse().map(|address: IpAddr| IpNet::from(address));
    text.parse()
        .or_else(|_| single())
        .map_err(|_| "it takes networks, such as \"10.0.0.0/8\"".to_owned())
}

fn written_version(value: &Json) -> Result<Version, String> {
    plain_text(value)
        .and_then(|text| version(&text))
        .ok_or_else(|| "it takes versions, such as \"1.4.2\"".to_owned())
}

/// Reads a version; a `v` before it is dropped, and numbers that are left out are 0.
fn version(text: &str) -> Option<Version> {
    let text = text.trim().trim_start_matches(['v', 'V']);
    if let Ok(version) = Version::parse(text) {
        return Some(version);
    }
    let numbers = text
        .split('.')
        .map(str::parse)
        .collect::<Result<Vec<u64>, _>>()
        .ok()?;
    match numbers.as_slice() {
        [major] => Some(Version::new(*major, 0, 0)),
        [major, minor] => Some(Version::new(*major, *minor, 0)),
        _ => None,
    }
}

fn compares(op: Op, found: f64, value: f64) -> bool {
    match op {
        Op::Eq => found == value,
        Op::Ne => found != value,
        Op::Lt => found < value,
        Op::Le => found <= value,
        Op::Gt => found > value,
        _ => found >= value,
    }
}

/// The build part of a version says nothing about its order.
fn compares_versions(op: Op, found: &Version, value: &Version) -> bool {
    let order = found.cmp_precedence(value);
    match op {
        Op::SemverLt => order.is_lt(),
        Op::SemverLe => order.is_le(),
        Op::SemverGt => order.is_gt(),
        Op::SemverGe => order.is_ge(),
        Op::SemverMajor => order.is_ge() && found.major == value.major,
        Op::SemverMinor => {
            order.is_ge() && (found.major, found.minor) == (value.major, value.minor)
        }
        _ => order.is_eq(),
    }
}
