//! A segment: a named audience, used in rules. Members by an attribute, or clauses, or both: either is enough.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::audience::{Audience, Audiences};
use super::clause::{BadClause, ClauseDocument, attribute_name, compile_all};
use super::context::Vocabulary;
use super::members::Members;

/// The most members of one segment.
pub const MOST_MEMBERS: usize = 100_000;
/// The most segments.
pub const MOST_SEGMENTS: usize = 500;
/// The longest member, in bytes.
pub const LONGEST_MEMBER: usize = 256;

/// The name of a segment: 1 to 100 visible ASCII characters without `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SegmentName(Arc<str>);

/// Why a text is no name of a segment.
#[derive(Debug, Error, PartialEq)]
#[error(
    "{0:?} cannot name a segment; use 1 to 100 visible ASCII characters without spaces and slashes, such as beta"
)]
pub struct NotASegment(String);

impl SegmentName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SegmentName {
    type Err = NotASegment;
    fn from_str(text: &str) -> Result<Self, NotASegment> {
        let fine = (1..=100).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'/');
        if fine {
            Ok(Self(text.into()))
        } else {
            Err(NotASegment(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for SegmentName {
    type Error = NotASegment;
    fn try_from(text: String) -> Result<Self, NotASegment> {
        text.parse()
    }
}

impl From<SegmentName> for String {
    fn from(name: SegmentName) -> String {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A segment as people write and see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentDocument {
    /// The name, such as `beta`.
    pub name: String,
    /// Who is meant, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The team that answers for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// The attribute that members are values of.
    #[serde(default = "by_account")]
    pub by: String,
    /// The members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// Who else belongs to it: those of whom all of these hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<ClauseDocument>,
    /// The revision of its last change; set by the daemon.
    #[serde(default)]
    pub revision: u64,
}

fn by_account() -> String {
    "account".to_owned()
}

/// Why a segment was refused; each sentence says the cure.
#[derive(Debug, Error, PartialEq)]
pub enum BadSegment {
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NotASegment),
    /// A clause is bad.
    #[error("segment `{name}`: {why}")]
    Clause {
        /// the segment
        name: String,
        /// the reason
        why: BadClause,
    },
    /// A clause names a segment.
    #[error(
        "segment `{0}`: the clauses of a segment cannot name another; write that one's clauses out"
    )]
    Nested(String),
    /// Something is too long or too many.
    #[error("segment `{name}`: {what}")]
    TooMuch {
        /// the segment
        name: String,
        /// what, and the most
        what: String,
    },
}

/// A segment that was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Its name.
    pub name: SegmentName,
    /// Its members.
    pub members: Arc<Members>,
    /// All else of its document; the members there are empty.
    frame: SegmentDocument,
}

impl Segment {
    /// The segment as people see it, members in order.
    #[must_use]
    pub fn document(&self) -> SegmentDocument {
        let mut members: Vec<String> = self.members.iter().map(str::to_owned).collect();
        members.sort_unstable();
        SegmentDocument {
            members,
            ..self.frame.clone()
        }
    }

    /// The segment as people see it, without its members.
    #[must_use]
    pub fn frame(&self) -> &SegmentDocument {
        &self.frame
    }

    /// The revision of its last change.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.frame.revision
    }

    /// The same segment with other members, at another revision.
    ///
    /// # Errors
    /// When a member is bad, or there would be too many.
    pub fn with_members(
        &self,
        add: &[String],
        remove: &[String],
        revision: u64,
    ) -> Result<Self, BadSegment> {
        check_members(self.name.as_str(), add)?;
        let members = self.members.with(add, remove);
        check_count(self.name.as_str(), members.len())?;
        Ok(Self {
            name: self.name.clone(),
            members: Arc::new(members),
            frame: SegmentDocument {
                revision,
                ..self.frame.clone()
            },
        })
    }

    /// A segment of this document, whose members are given beside it; those that the document names are left out.
    ///
    /// # Errors
    /// See [`BadSegment`].
    pub fn made_of(mut document: SegmentDocument, members: Members) -> Result<Self, BadSegment> {
        let name: SegmentName = document.name.parse()?;
        let clause = |why| BadSegment::Clause {
            name: document.name.clone(),
            why,
        };
        if document.when.iter().any(|clause| clause.segment.is_some()) {
            return Err(BadSegment::Nested(document.name));
        }
        attribute_name(&document.by).map_err(clause)?;
        let mut vocabulary = Vocabulary::default();
        compile_all(&document.when, &Segments::default(), &mut vocabulary).map_err(clause)?;
        for (what, text) in [
            ("description", &document.description),
            ("owner", &document.owner),
        ] {
            if text.len() > 1_024 {
                return Err(too_much(
                    name.as_str(),
                    format!("its {what} has at most 1024 bytes"),
                ));
            }
        }
        check_count(name.as_str(), members.len())?;
        document.members = Vec::new();
        Ok(Self {
            name,
            members: Arc::new(members),
            frame: document,
        })
    }
}

impl TryFrom<SegmentDocument> for Segment {
    type Error = BadSegment;
    fn try_from(document: SegmentDocument) -> Result<Self, BadSegment> {
        check_members(&document.name, &document.members)?;
        let members = Members::of(document.members.iter().map(String::as_str));
        Self::made_of(document, members)
    }
}

fn too_much(name: &str, what: String) -> BadSegment {
    BadSegment::TooMuch {
        name: name.to_owned(),
        what,
    }
}

fn check_members(name: &str, members: &[String]) -> Result<(), BadSegment> {
    let bad = members
        .iter()
        .find(|member| !(1..=LONGEST_MEMBER).contains(&member.len()));
    bad.map_or(Ok(()), |_| {
        Err(too_much(
            name,
            format!("a member has 1 to {LONGEST_MEMBER} bytes"),
        ))
    })
}

fn check_count(name: &str, count: usize) -> Result<(), BadSegment> {
    if count <= MOST_MEMBERS {
        return Ok(());
    }
    let what = format!(
        "it would have {count} members; at most {MOST_MEMBERS} are kept, use a clause on an attribute instead"
    );
    Err(too_much(name, what))
}

/// All segments; each keeps its number as long as the daemon runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Segments {
    numbers: Arc<BTreeMap<SegmentName, u16>>,
    all: Vec<Option<Arc<Segment>>>,
}

impl Segments {
    /// One segment.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Segment>> {
        let number = self.number(&name.parse().ok()?)?;
        self.all.get(usize::from(number))?.as_ref()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Segment>> {
        let at = |number: &u16| self.all.get(usize::from(*number))?.as_ref();
        self.numbers.values().filter_map(at)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of a segment that is there.
    #[must_use]
    pub fn number(&self, name: &SegmentName) -> Option<u16> {
        let number = *self.numbers.get(name)?;
        self.all.get(usize::from(number))?.as_ref()?;
        Some(number)
    }

    /// Puts a segment in, or in the place of the one of its name.
    pub fn put(&mut self, segment: Arc<Segment>) {
        let next = u16::try_from(self.all.len()).unwrap_or(u16::MAX);
        let number = match self.numbers.get(&segment.name) {
            Some(number) => *number,
            None => {
                Arc::make_mut(&mut self.numbers).insert(segment.name.clone(), next);
                next
            }
        };
        match self.all.get_mut(usize::from(number)) {
            Some(place) => *place = Some(segment),
            None => self.all.push(Some(segment)),
        }
    }

    /// Takes a segment out; its number stays its own.
    pub fn remove(&mut self, name: &SegmentName) {
        let number = self.numbers.get(name).copied();
        if let Some(place) = number.and_then(|number| self.all.get_mut(usize::from(number))) {
            *place = None;
        }
    }

    /// The audiences of these segments for one vocabulary; `wanted` says by number which are asked for.
    pub fn audiences(
        &self,
        vocabulary: &mut Vocabulary,
        wanted: impl Fn(u16) -> bool,
    ) -> Audiences {
        let of = |(number, segment): (usize, &Option<Arc<Segment>>)| {
            let segment = segment.as_ref().filter(|_| wanted(number as u16))?;
            Some(Arc::new(Audience::of(segment, vocabulary)))
        };
        Audiences(self.all.iter().enumerate().map(of).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::rules::context::Attribute;

    fn segment(document: Json) -> Result<Segment, BadSegment> {
        Segment::try_from(serde_json::from_value::<SegmentDocument>(document).unwrap())
    }

    #[test]
    fn a_member_belongs_to_it_and_so_does_whoever_meets_all_clauses() {
        let beta = segment(json!({
            "name": "beta", "members": ["acme"],
            "when": [{"attribute": "plan", "op": "in", "values": ["free"]},
                     {"attribute": "country", "op": "in", "values": ["no"]}]
        }))
        .unwrap();
        let mut segments = Segments::default();
        segments.put(Arc::new(beta));
        let mut vocabulary = Vocabulary::default();
        let audiences = segments.audiences(&mut vocabulary, |_| true);
        for (given, inside) in [
            (vec![("account", "acme")], true),
            (vec![("account", "other")], false),
            (vec![("account", "other"), ("plan", "free")], false),
            (
                vec![("account", "other"), ("plan", "free"), ("country", "no")],
                true,
            ),
            (vec![], false),
        ] {
            let attributes = given
                .iter()
                .map(|(name, text)| (*name, Attribute::of(text)));
            let context = vocabulary.context(attributes);
            assert_eq!(
                audiences.includes(0, context.as_slice()),
                inside,
                "{given:?}"
            );
        }
    }

    #[test]
    fn a_segment_keeps_its_number_and_leaves_it_to_nobody() {
        let mut segments = Segments::default();
        let put = |segments: &mut Segments, name: &str| {
            segments.put(Arc::new(
                segment(json!({"name": name, "members": ["a"]})).unwrap(),
            ));
        };
        put(&mut segments, "beta");
        put(&mut segments, "alpha");
        let beta: SegmentName = "beta".parse().unwrap();
        assert_eq!(segments.number(&beta), Some(0));
        segments.remove(&beta);
        assert_eq!((segments.number(&beta), segments.len()), (None, 1));
        put(&mut segments, "gamma");
        put(&mut segments, "beta");
        assert_eq!(segments.number(&beta), Some(0));
        assert_eq!(segments.len(), 3);
    }

    #[test]
    fn bad_segments_are_refused_with_a_sentence_that_says_the_cure() {
        for (document, sentence) in [
            (json!({"name": "a b"}), "cannot name a segment"),
            (
                json!({"name": "a", "when": [{"segment": "b"}]}),
                "cannot name another",
            ),
            (
                json!({"name": "a", "when": [{"attribute": "x"}]}),
                "say how to compare",
            ),
            (json!({"name": "a", "members": [""]}), "1 to 256 bytes"),
            (json!({"name": "a", "by": "b c"}), "no name of an attribute"),
        ] {
            let why = segment(document.clone()).unwrap_err().to_string();
            assert!(why.contains(sentence), "{document}: {why}");
        }
        let crowd: Vec<String> = (0..=MOST_MEMBERS).map(|n| n.to_string()).collect();
        let why = segment(json!({"name": "a", "members": crowd}))
            .unwrap_err()
            .to_string();
        assert!(why.contains("at most 100000"), "{why}");
    }
}
