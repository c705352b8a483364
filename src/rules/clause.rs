//! A clause: a condition on one attribute, or on membership of a segment. [`ClauseDocument`] is what people write, [`Clause`] what
//! is asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use thiserror::Error;

use super::audience::Audiences;
use super::comparison::Comparison;
use super::context::{Context, Slot, Vocabulary};
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
pub enum Clause {
    /// Who belongs to the segment of this number, or who does not.
    Segment {
        /// the segment
        number: u16,
        /// `false`: who does not
        inside: bool,
    },
    /// Whose attribute compares so.
    Attribute(Slot, Comparison),
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
        match (&document.attribute, &document.segment) {
            (None, Some(name)) => of_segment(document, name, segments),
            (Some(name), None) => {
                let slot = vocabulary.slot(attribute_name(name)?);
                Ok(Self::Attribute(slot, Comparison::of(document)?))
            }
            _ => Err(BadClause::Neither),
        }
    }

    /// Whether it holds. A missing attribute fails it, except of `not_in` and `ne`.
    #[inline]
    pub fn holds<C: Context + ?Sized>(&self, context: &C, audiences: &Audiences) -> bool {
        match self {
            Self::Segment { number, inside } => audiences.includes(*number, context) == *inside,
            Self::Attribute(slot, comparison) => comparison.holds(context.attribute(*slot)),
        }
    }

    /// The segment that it asks about.
    #[must_use]
    pub fn segment(&self) -> Option<u16> {
        match self {
            Self::Segment { number, .. } => Some(*number),
            Self::Attribute(..) => None,
        }
    }
}

/// Whether all of them hold.
#[inline]
pub fn all_hold<C: Context + ?Sized>(
    clauses: &[Clause],
    context: &C,
    audiences: &Audiences,
) -> bool {
    for clause in clauses {
        if !clause.holds(context, audiences) {
            return false;
        }
    }
    true
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
) -> Result<Clause, BadClause> {
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
    Ok(Clause::Segment { number, inside })
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
    use crate::rules::context::Attribute;

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
