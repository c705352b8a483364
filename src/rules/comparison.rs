//! What clauses compare with: how the values of an operator are read, and what the comparing ones mean.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::{Regex, RegexBuilder};
use semver::Version;
use serde_json::Value as Json;

use super::clause::{BadClause, Op};
use super::context::plain_text;
use super::members::Members;

/// The longest pattern, in bytes.
pub const LONGEST_PATTERN: usize = 256;
const LARGEST_PATTERN: usize = 64 * 1_024;

pub(super) fn bad(op: Op, value: &Json, why: impl ToString) -> BadClause {
    BadClause::Value {
        op,
        value: value.to_string().chars().take(80).collect(),
        why: why.to_string(),
    }
}

pub(super) fn each<T>(
    op: Op,
    values: &[Json],
    read: impl Fn(&Json) -> Result<T, String>,
) -> Result<Box<[T]>, BadClause> {
    let read = |value: &Json| read(value).map_err(|why| bad(op, value, why));
    values.iter().map(read).collect()
}

pub(super) fn members(op: Op, values: &[Json]) -> Result<Members, BadClause> {
    let texts = each(op, values, text)?;
    Ok(Members::of(texts.iter().map(|text| &**text)))
}

pub(super) fn text(value: &Json) -> Result<Box<str>, String> {
    let text = plain_text(value).filter(|text| !text.is_empty());
    text.map(Into::into)
        .ok_or_else(|| "it takes texts, numbers and booleans".to_owned())
}

pub(super) fn number(value: &Json) -> Result<f64, String> {
    let number = value.as_f64().filter(|number| number.is_finite());
    number.ok_or_else(|| "it takes numbers".to_owned())
}

pub(super) fn pattern(value: &Json) -> Result<Regex, String> {
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

pub(super) fn network(value: &Json) -> Result<IpNet, String> {
    let text = value.as_str().unwrap_or_default();
    let single = || text.parse().map(|address: IpAddr| IpNet::from(address));
    text.parse()
        .or_else(|_| single())
        .map_err(|_| "it takes networks, such as \"10.0.0.0/8\"".to_owned())
}

pub(super) fn written_version(value: &Json) -> Result<Version, String> {
    plain_text(value)
        .and_then(|text| version(&text))
        .ok_or_else(|| "it takes versions, such as \"1.4.2\"".to_owned())
}

/// Reads a version; a `v` before it is dropped, and numbers that are left out are 0.
pub(super) fn version(text: &str) -> Option<Version> {
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

pub(super) fn compares(op: Op, found: f64, value: f64) -> bool {
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
pub(super) fn compares_versions(op: Op, found: &Version, value: &Version) -> bool {
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
