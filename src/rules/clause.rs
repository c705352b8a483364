//! A clause: a condition on one attribute, or on membership of a segment. [`ClauseDocument`] is what people write, [`Clause`] what
//! is asked.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::Regex;
use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use thiserror::Error;

use super::audience::Audiences;
use super::comparison::{
    bad, compares, compares_versions, each, members, network, number, pattern, text, version,
    written_version,
};
use super::context::{Attribute, Context, Slot, Vocabulary};
use super::members::Members;
use super::segment::{SegmentName, Segments};

/// The most values of a clause; more belong into a segment.
pub const MOST_VALUES: usize = 1_000;
/// The most clauses of a rule, a segment or an opening.
pub const MOST_CLAUSES: usize = 20;

/// How a clause compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// It is one of the values.
    In,
    /// It is none of the values, or missing.
    NotIn,
    /// It begins with one of the values.
    StartsWith,
    /// It ends with one of the values.
    EndsWith,
    /// One of the values is part of it.
    Contains,
    /// A regular expression finds something in it.
    Matches,
    /// It is this number.
    Eq,
    /// It is another number, or missing.
    Ne,
    /// It is a smaller number.
    Lt,
    /// It is this number or a smaller one.
    Le,
    /// It is a larger number.
    Gt,
    /// It is this number or a larger one.
    Ge,
    /// It is this version.
    SemverEq,
    /// It is an earlier version.
    SemverLt,
    /// It is this version or an earlier one.
    SemverLe,
    /// It is a later version.
    SemverGt,
    /// It is this version or a later one.
    SemverGe,
    /// It is this version or a later one with the same first number.
    SemverMajor,
    /// It is this version or a later one with the same first two numbers.
    SemverMinor,
    /// It is an address in one of these networks.
    Cidr,
    /// It is there (`[true]`, or no values) or missing (`[false]`).
    Exists,
}

/// A clause as people write it: about an attribute, or about a segment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClauseDocument {
    /// The attribute, such as `account`, `type` or `header.x-plan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<String>,
    /// How it is compared; of a segment `in` (usual) or `not_in`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op: Option<Op>,
    /// What it is compared with; one that holds is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Json>,
    /// The segment, instead of an attribute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
}

/// Why a clause was refused; each sentence says the cure.
#[derive(Debug, Error, PartialEq)]
pub enum BadClause {
    /// It names neither or both.
    #[error("a clause names either an `attribute` or a `segment`")]
    Neither,
    /// There is no such segment.
    #[error(
        "there is no segment `{0}`; make it first, `sluicegate segment list` shows those there are"
    )]
    NoSegment(String),
    /// A segment was compared otherwise.
    #[error("a segment takes op \"in\" or \"not_in\" and no values")]
    SegmentOp,
    /// Something is missing or too long.
    #[error("{0}")]
    Shape(String),
    /// A value that the operator cannot use.
    #[error("{op:?} cannot compare with {value}: {why}")]
    Value {
        /// the operator
        op: Op,
        /// the value
        value: String,
        /// why, or what it takes
        why: String,
    },
}

/// A clause, ready to be asked.
#[derive(Debug, Clone)]
pub struct Clause {
    pub(super) test: Test,
}

#[derive(Debug, Clone)]
pub(super) enum Test {
    In(Slot, Members),
    NotIn(Slot, Members),
    Segment { number: u16, inside: bool },
    StartsWith(Slot, Box<[Box<str>]>),
    EndsWith(Slot, Box<[Box<str>]>),
    Contains(Slot, Box<[Box<str>]>),
    Matches(Slot, Box<[Regex]>),
    Number(Slot, Op, Box<[f64]>),
    Semver(Slot, Op, Box<[Version]>),
    Cidr(Slot, Box<[IpNet]>),
    Exists(Slot, bool),
}

impl Clause {
    /// Checks and compiles a clause; the names that it asks for get their slots.
    ///
    /// # Errors
    /// See [`BadClause`].
    pub fn compile(
        document: &ClauseDocument,
        segments: &Segments,
        vocabulary: &mut Vocabulary,
    ) -> Result<Self, BadClause> {
        let test = match (&document.attribute, &document.segment) {
            (None, Some(name)) => of_segment(document, name, segments)?,
            (Some(name), None) => {
                let slot = vocabulary.slot(attribute_name(name)?);
                of_attribute(document, slot)?
            }
            _ => return Err(BadClause::Neither),
        };
        Ok(Self { test })
    }

    /// Whether it holds. A missing attribute fails it, except of `not_in` and `ne`.
    pub fn holds<C: Context + ?Sized>(&self, context: &C, audiences: &Audiences) -> bool {
        let any = |slot: &Slot, holds: &dyn Fn(&Attribute) -> bool| {
            context.attribute(*slot).is_some_and(holds)
        };
        match &self.test {
            Test::In(slot, members) => context
                .attribute(*slot)
                .is_some_and(|found| members.contains(found)),
            Test::NotIn(slot, members) => context
                .attribute(*slot)
                .is_none_or(|found| !members.contains(found)),
            Test::Segment { number, inside } => audiences.includes(*number, context) == *inside,
            Test::StartsWith(slot, values) => any(slot, &|found| {
                values
                    .iter()
                    .any(|value| found.text().starts_with(&**value))
            }),
            Test::EndsWith(slot, values) => any(slot, &|found| {
                values.iter().any(|value| found.text().ends_with(&**value))
            }),
            Test::Contains(slot, values) => any(slot, &|found| {
                values.iter().any(|value| found.text().contains(&**value))
            }),
            Test::Matches(slot, patterns) => any(slot, &|found| {
                patterns
                    .iter()
                    .any(|pattern| pattern.is_match(found.text()))
            }),
            Test::Number(slot, op, values) => {
                let found = context.attribute(*slot);
                match found.map(Attribute::number) {
                    None => *op == Op::Ne,
                    Some(None) => false,
                    Some(Some(number)) if *op == Op::Ne => values.iter().all(|v| number != *v),
                    Some(Some(number)) => values.iter().any(|value| compares(*op, number, *value)),
                }
            }
            Test::Semver(slot, op, values) => any(slot, &|found| {
                version(found.text()).is_some_and(|found| {
                    values
                        .iter()
                        .any(|value| compares_versions(*op, &found, value))
                })
            }),
            Test::Cidr(slot, networks) => any(slot, &|found| {
                let address = found.text().parse::<IpAddr>();
                address.is_ok_and(|address| networks.iter().any(|net| net.contains(&address)))
            }),
            Test::Exists(slot, there) => context.attribute(*slot).is_some() == *there,
        }
    }

    /// The segment that it asks about.
    #[must_use]
    pub fn segment(&self) -> Option<u16> {
        match self.test {
            Test::Segment { number, .. } => Some(number),
            _ => None,
        }
    }
}

/// Whether all of them hold.
pub fn all_hold<C: Context + ?Sized>(
    clauses: &[Clause],
    context: &C,
    audiences: &Audiences,
) -> bool {
    clauses
        .iter()
        .all(|clause| clause.holds(context, audiences))
}

/// Checks and compiles the clauses of one rule, segment or opening.
///
/// # Errors
/// See [`BadClause`].
pub fn compile_all(
    documents: &[ClauseDocument],
    segments: &Segments,
    vocabulary: &mut Vocabulary,
) -> Result<Box<[Clause]>, BadClause> {
    if documents.len() > MOST_CLAUSES {
        let shape =
            format!("at most {MOST_CLAUSES} clauses stand together; make a segment of some");
        return Err(BadClause::Shape(shape));
    }
    documents
        .iter()
        .map(|document| Clause::compile(document, segments, vocabulary))
        .collect()
}

/// The name of an attribute, if it can be one.
///
/// # Errors
/// When it is empty, longer than 200 bytes, or has spaces or signs that cannot be seen.
pub fn attribute_name(name: &str) -> Result<&str, BadClause> {
    let fine = (1..=200).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    fine.then_some(name).ok_or_else(|| {
        let short: String = name.chars().take(40).collect();
        BadClause::Shape(format!(
            "{short:?} is no name of an attribute; use 1 to 200 visible ASCII characters, such as account or header.x-plan"
        ))
    })
}

fn of_segment(
    document: &ClauseDocument,
    name: &str,
    segments: &Segments,
) -> Result<Test, BadClause> {
    let inside = match document.op {
        None | Some(Op::In) => true,
        Some(Op::NotIn) => false,
        Some(_) => return Err(BadClause::SegmentOp),
    };
    if !document.values.is_empty() {
        return Err(BadClause::SegmentOp);
    }
    let known = name.parse::<SegmentName>().ok();
    let number = known.and_then(|name| segments.number(&name));
    let number = number.ok_or_else(|| BadClause::NoSegment(name.chars().take(80).collect()))?;
    Ok(Test::Segment { number, inside })
}

fn of_attribute(document: &ClauseDocument, slot: Slot) -> Result<Test, BadClause> {
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
        Op::In => Test::In(slot, members(op, values)?),
        Op::NotIn => Test::NotIn(slot, members(op, values)?),
        Op::StartsWith => Test::StartsWith(slot, each(op, values, text)?),
        Op::EndsWith => Test::EndsWith(slot, each(op, values, text)?),
        Op::Contains => Test::Contains(slot, each(op, values, text)?),
        Op::Matches => Test::Matches(slot, each(op, values, pattern)?),
        Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge => {
            Test::Number(slot, op, each(op, values, number)?)
        }
        Op::SemverEq
        | Op::SemverLt
        | Op::SemverLe
        | Op::SemverGt
        | Op::SemverGe
        | Op::SemverMajor
        | Op::SemverMinor => Test::Semver(slot, op, each(op, values, written_version)?),
        Op::Cidr => Test::Cidr(slot, each(op, values, network)?),
        Op::Exists => match values.as_slice() {
            [] => Test::Exists(slot, true),
            [Json::Bool(there)] => Test::Exists(slot, *there),
            _ => {
                return Err(bad(
                    op,
                    &Json::from(values.clone()),
                    "it takes [true], [false] or nothing",
                ));
            }
        },
    })
}

/// The segments that clauses name.
pub fn named_segments(documents: &[ClauseDocument]) -> impl Iterator<Item = &str> {
    documents
        .iter()
        .filter_map(|document| document.segment.as_deref())
}

/// The attributes that clauses name.
pub fn named_attributes(documents: &[ClauseDocument]) -> impl Iterator<Item = &str> {
    documents
        .iter()
        .filter_map(|document| document.attribute.as_deref())
}

/// A clause that asks whether an attribute is one of these texts.
#[must_use]
pub fn one_of(attribute: &str, values: &[&str]) -> ClauseDocument {
    ClauseDocument {
        attribute: Some(attribute.to_owned()),
        op: Some(Op::In),
        values: values.iter().copied().map(Json::from).collect(),
        segment: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn clause(document: Json) -> Result<(Clause, Vocabulary), BadClause> {
        let document: ClauseDocument = serde_json::from_value(document).unwrap();
        let mut vocabulary = Vocabulary::default();
        let clause = Clause::compile(&document, &Segments::default(), &mut vocabulary)?;
        Ok((clause, vocabulary))
    }

    fn check(op: &str, values: Json, holds: &[&str], fails: &[&str], missing: bool) {
        let document = json!({"attribute": "a", "op": op, "values": values});
        let (clause, vocabulary) = clause(document).unwrap();
        let asked = |given: Option<&str>| {
            let given = given.map(|text| ("a", Attribute::of(text)));
            let context = vocabulary.context(given);
            clause.holds(context.as_slice(), &Audiences::default())
        };
        for text in holds {
            assert!(asked(Some(text)), "{text:?} {op} {values}");
        }
        for text in fails {
            assert!(!asked(Some(text)), "not {text:?} {op} {values}");
        }
        assert_eq!(asked(None), missing, "missing {op} {values}");
    }

    #[test]
    fn every_operator_holds_for_what_it_says() {
        check(
            "in",
            json!(["acme", 7, true]),
            &["acme", "7", "true"],
            &["Acme", "", "70"],
            false,
        );
        check("not_in", json!(["acme"]), &["other", ""], &["acme"], true);
        check(
            "starts_with",
            json!(["bulk.", "slow."]),
            &["bulk.mail", "slow."],
            &["mail.bulk.", ""],
            false,
        );
        check(
            "ends_with",
            json!([".test"]),
            &["a.test"],
            &["test", ".tests"],
            false,
        );
        check(
            "contains",
            json!(["@acme."]),
            &["x@acme.org"],
            &["acme"],
            false,
        );
        check(
            "matches",
            json!(["^a[0-9]+$"]),
            &["a1", "a22"],
            &["a", "ba1"],
            false,
        );
    }

    #[test]
    fn numbers_versions_and_addresses_are_compared_as_such() {
        check("eq", json!([5]), &["5", "5.0"], &["6", "five", ""], false);
        check("ne", json!([5]), &["6"], &["5", "five"], true);
        check(
            "lt",
            json!([5]),
            &["4.9", "-1"],
            &["5", "NaN", "inf"],
            false,
        );
        check("le", json!([5]), &["5"], &["5.1"], false);
        check("gt", json!([5]), &["6"], &["5", "inf"], false);
        check("ge", json!([5]), &["5"], &["4"], false);
        check(
            "semver_eq",
            json!(["1.0"]),
            &["1.0.0", "v1", "1.0.0+b7"],
            &["1.0.1", "x"],
            false,
        );
        check(
            "semver_lt",
            json!(["2.0.0"]),
            &["1.9.9", "2.0.0-rc.1"],
            &["2.0.0"],
            false,
        );
        check(
            "semver_ge",
            json!(["1.4"]),
            &["1.4.0", "2"],
            &["1.3.9"],
            false,
        );
        check(
            "semver_major",
            json!(["1.4"]),
            &["1.4", "1.9"],
            &["2.0", "1.3"],
            false,
        );
        check(
            "semver_minor",
            json!(["1.4"]),
            &["1.4.7"],
            &["1.5", "1.3"],
            false,
        );
        check(
            "cidr",
            json!(["10.0.0.0/8", "::1"]),
            &["10.1.2.3", "::1"],
            &["11.0.0.1", "ten"],
            false,
        );
        check("exists", json!([]), &["", "x"], &[], false);
        check("exists", json!([false]), &[], &["x"], true);
    }

    #[test]
    fn bad_clauses_are_refused_with_a_sentence_that_says_the_cure() {
        for (document, sentence) in [
            (json!({}), "either an `attribute` or a `segment`"),
            (
                json!({"attribute": "a", "segment": "b"}),
                "either an `attribute` or a `segment`",
            ),
            (json!({"segment": "beta"}), "make it first"),
            (json!({"attribute": "a"}), "say how to compare"),
            (json!({"attribute": "a b", "op": "exists"}), "visible ASCII"),
            (json!({"attribute": "a", "op": "in"}), "needs values"),
            (
                json!({"attribute": "a", "op": "in", "values": [null]}),
                "texts, numbers and booleans",
            ),
            (
                json!({"attribute": "a", "op": "lt", "values": ["5"]}),
                "it takes numbers",
            ),
            (
                json!({"attribute": "a", "op": "matches", "values": ["("]}),
                "unclosed group",
            ),
            (
                json!({"attribute": "a", "op": "matches", "values": ["a{9999}{999}"]}),
                "cannot compare",
            ),
            (
                json!({"attribute": "a", "op": "cidr", "values": ["10/8"]}),
                "10.0.0.0/8",
            ),
            (
                json!({"attribute": "a", "op": "semver_lt", "values": ["one"]}),
                "1.4.2",
            ),
            (
                json!({"attribute": "a", "op": "exists", "values": ["yes"]}),
                "[true], [false]",
            ),
        ] {
            let why = clause(document.clone()).unwrap_err().to_string();
            assert!(why.contains(sentence), "{document}: {why}");
        }
    }
}
