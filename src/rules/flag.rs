//! A flag: a named, typed value that can be read with a context and changed while running.
//!
//! [`FlagDocument`] is what people write and see; [`Flag`] is what came of checking it. Nothing else makes a [`Flag`].

use std::collections::BTreeSet;

use serde_json::Value as Json;
use thiserror::Error;

use super::clause::{BadClause, Clause, attribute_name, named_segments};
use super::context::Vocabulary;
use super::kept::Kept;
use super::lots::Bucketing;
use super::names::{FlagKey, QueueName};
use super::segment::Segments;
use super::units::Ratio;
use super::valve::Valve;

pub use super::document::{FlagDocument, Kind, Managed, RuleDocument, ShareDocument};
pub use super::value::{Value, ValueType};

/// A flag that was checked. What is asked often stands beside its document, which is kept small.
#[derive(Debug, Clone, PartialEq)]
pub struct Flag {
    /// Its key.
    pub key: FlagKey,
    /// The value for everybody.
    pub value: Value,
    kind: Kind,
    value_type: ValueType,
    revision: u64,
    /// The segments that its rules name.
    segments: Box<[Box<str>]>,
    document: Kept,
}

/// Why a flag or value was refused; each sentence says the cure.
#[derive(Debug, Error, PartialEq)]
pub enum BadFlag {
    /// The key is none.
    #[error(transparent)]
    Key(#[from] super::names::NotAKey),
    /// The value does not fit the type.
    #[error("`{key}` takes a {wanted}, got {got}{detail}")]
    WrongType {
        /// the flag
        key: String,
        /// its type
        wanted: ValueType,
        /// what was given
        got: String,
        /// what the reader of the type said
        detail: String,
    },
    /// The value is not within its bounds.
    #[error("`{key}` lies between {min} and {max}, got {got}")]
    OutOfBounds {
        /// the flag
        key: String,
        /// lower bound
        min: String,
        /// upper bound
        max: String,
        /// what was given
        got: String,
    },
    /// The value is none of the choices.
    #[error("`{key}` is one of {choices}, got {got}")]
    NotAChoice {
        /// the flag
        key: String,
        /// what may be chosen
        choices: String,
        /// what was given
        got: String,
    },
    /// A clause of a rule is bad.
    #[error("rule {rule:?} of `{key}`: {why}")]
    Clause {
        /// the flag
        key: String,
        /// the rule
        rule: String,
        /// the reason
        why: BadClause,
    },
    /// A rule, a split or another part is not as it must be.
    #[error("`{key}`: {what}")]
    Shape {
        /// the flag
        key: String,
        /// what is wrong, and the cure
        what: String,
    },
    /// Part of the document is too long.
    #[error(
        "`{field}` of `{key}` has {got} bytes; at most {most} are kept, put the rest behind a link"
    )]
    TooLong {
        /// the flag
        key: String,
        /// which part
        field: &'static str,
        /// its bytes
        got: usize,
        /// the most
        most: usize,
    },
}

/// The largest value, in bytes of JSON.
pub const LARGEST_VALUE: usize = 4_096;
/// In how many objects and arrays the innermost part of a value lies at most, so that whoever reads JSON can read it.
pub const DEEPEST_VALUE: usize = 64;
/// The most rules of a flag.
pub const MOST_RULES: usize = 100;
/// The most shares of a split.
pub const MOST_SHARES: usize = 100;
const LONGEST_TEXT: usize = 1_024;
const LONGEST_NAME: usize = 100;

impl Flag {
    /// The flag as people see it, read anew each time: a few microseconds.
    #[must_use]
    pub fn document(&self) -> FlagDocument {
        let plain = |_| {
            // Never: what is nested too deep to be read again is no value.
            let value = self.value.to_json();
            FlagDocument::plain(self.key.as_str(), self.kind, self.value_type, value)
        };
        self.document.document().unwrap_or_else(plain)
    }

    /// What the flag is for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The type of its value.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        self.value_type
    }

    /// The revision of its last change.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether a rule names this segment.
    #[must_use]
    pub fn names_segment(&self, segment: &str) -> bool {
        self.segments.iter().any(|named| &**named == segment)
    }

    /// The flag of a document that was checked and says this value to everybody.
    fn of(key: FlagKey, value: Value, document: &FlagDocument) -> Self {
        let rules = document.rules.iter();
        let segments: BTreeSet<&str> = rules.flat_map(|rule| named_segments(&rule.when)).collect();
        Self {
            key,
            value,
            kind: document.kind,
            value_type: document.value_type,
            revision: document.revision,
            segments: segments.into_iter().map(Into::into).collect(),
            document: Kept::of(document),
        }
    }

    /// The valve of `queue` at its neutral value, as it exists from the start.
    #[must_use]
    pub fn neutral_valve(queue: &QueueName, valve: Valve, modes: &[String]) -> Self {
        let key = FlagKey::of_valve(queue, valve);
        let facts = valve.facts();
        let (min, max) = match valve {
            Valve::Skip => (Some(0.0), Some(1.0)),
            Valve::Concurrency | Valve::ConcurrencyEach => (Some(0.0), Some(100_000.0)),
            Valve::Timeout => (Some(0.001), Some(1_500.0)),
            _ => (None, None),
        };
        let plain = FlagDocument::plain(key.as_str(), Kind::Ops, facts.value_type, valve.neutral());
        let document = FlagDocument {
            min,
            max,
            choices: valve.choices(modes),
            description: facts.help.to_owned(),
            ..plain
        };
        let value = document.read(&document.value).unwrap_or(Value::None);
        Self::of(key, value, &document)
    }

    /// A flag of the daemon's own that says one of some words.
    pub(super) fn of_words(key: FlagKey, document: &FlagDocument) -> Self {
        let value = document.read(&document.value).unwrap_or(Value::None);
        Self::of(key, value, document)
    }

    /// The same flag with another value for everybody, at another revision.
    ///
    /// # Errors
    /// When the value does not fit the flag's type, bounds or choices.
    pub fn with_value(&self, value: &Json, revision: u64) -> Result<Self, BadFlag> {
        let mut document = self.document();
        let read = document.read(value)?;
        document.value = read.to_json();
        document.revision = revision;
        Ok(Self::of(self.key.clone(), read, &document))
    }

    /// This valve as it comes with the daemon, with the value and all else that people gave to `old`, the same valve as it was
    /// stored.
    ///
    /// # Errors
    /// When the value, or one of a rule, no longer fits, such as a mode that left the file.
    pub fn taking_over(&self, old: &Self) -> Result<Self, BadFlag> {
        let own = self.document();
        Self::try_from(FlagDocument {
            kind: own.kind,
            value_type: own.value_type,
            min: own.min,
            max: own.max,
            choices: own.choices,
            description: own.description,
            ..old.document()
        })
    }

    /// What people wrote of this flag elsewhere, as a document that may replace its own: of a valve the bounds, choices and
    /// description come with the daemon.
    #[must_use]
    pub fn framing(&self, written: &FlagDocument) -> FlagDocument {
        if !FlagKey::comes_with_us(self.key.as_str()) {
            return written.clone();
        }
        let own = self.document();
        FlagDocument {
            min: own.min,
            max: own.max,
            choices: own.choices,
            description: own.description,
            ..written.clone()
        }
    }

    /// Reads a value that this flag could take; of several, [`FlagDocument::read`] is quicker.
    ///
    /// # Errors
    /// When it does not fit the flag's type, bounds or choices.
    pub fn read(&self, value: &Json) -> Result<Value, BadFlag> {
        self.document().read(value)
    }
}

impl TryFrom<FlagDocument> for Flag {
    type Error = BadFlag;
    fn try_from(mut document: FlagDocument) -> Result<Self, BadFlag> {
        let key: FlagKey = document.key.parse()?;
        let texts = [
            ("description", &document.description),
            ("owner", &document.owner),
            ("runbook", &document.runbook),
        ];
        for (field, text) in texts {
            if text.len() > LONGEST_TEXT {
                return Err(BadFlag::TooLong {
                    key: document.key.clone(),
                    field,
                    got: text.len(),
                    most: LONGEST_TEXT,
                });
            }
        }
        let value = document.read(&document.value)?;
        document.value = value.to_json();
        document.rules = checked_rules(&document)?;
        // flagd's lots may be drawn with nothing before the key.
        let nothing = |seed: &&String| document.bucketing == Bucketing::Flagd && seed.is_empty();
        let seed = document.seed.as_ref().filter(|seed| !nothing(seed));
        for name in document.by.iter().chain(seed) {
            attribute_name(name).map_err(|why| shape(&document, why.to_string()))?;
        }
        Ok(Self::of(key, value, &document))
    }
}

fn shape(flag: &FlagDocument, what: String) -> BadFlag {
    BadFlag::Shape {
        key: flag.key.clone(),
        what,
    }
}

/// The rules with their values as they are kept.
fn checked_rules(flag: &FlagDocument) -> Result<Vec<RuleDocument>, BadFlag> {
    if flag.rules.len() > MOST_RULES {
        return Err(shape(
            flag,
            format!("a flag has at most {MOST_RULES} rules; make segments of some"),
        ));
    }
    let mut names = BTreeSet::new();
    let mut checked = Vec::new();
    for rule in &flag.rules {
        if !(1..=LONGEST_NAME).contains(&rule.name.len()) || rule.name.chars().any(char::is_control)
        {
            return Err(shape(
                flag,
                format!(
                    "the name of a rule has 1 to {LONGEST_NAME} bytes, got {:?}",
                    rule.name
                ),
            ));
        }
        if !names.insert(rule.name.as_str()) {
            return Err(shape(
                flag,
                format!(
                    "there are two rules named {:?}; name one of them otherwise",
                    rule.name
                ),
            ));
        }
        checked.push(checked_rule(flag, rule)?);
    }
    Ok(checked)
}

fn checked_rule(flag: &FlagDocument, rule: &RuleDocument) -> Result<RuleDocument, BadFlag> {
    let clause = |why| BadFlag::Clause {
        key: flag.key.clone(),
        rule: rule.name.clone(),
        why,
    };
    let mut vocabulary = Vocabulary::default();
    // Whether a segment exists is asked when the flag is put among the others.
    for document in rule.when.iter().filter(|clause| clause.segment.is_none()) {
        Clause::compile(document, &Segments::default(), &mut vocabulary).map_err(clause)?;
    }
    let wrong = |what: &str| Err(shape(flag, format!("rule {:?} {what}", rule.name)));
    let mut checked = rule.clone();
    match (&rule.value, rule.split.as_slice()) {
        (Some(value), []) if rule.by.is_none() => {
            checked.value = Some(flag.read(value)?.to_json());
        }
        (Some(_), []) => return wrong("draws `by` an attribute, but has no `split`"),
        (None, []) => return wrong("needs a `value`, or a `split` into shares"),
        (Some(_), _) => return wrong("has both a `value` and a `split`; leave one out"),
        (None, split) if split.len() > MOST_SHARES => {
            return wrong(&format!("has more than {MOST_SHARES} shares"));
        }
        (None, _) => {
            attribute_name(flag.draws_by(rule)).map_err(clause)?;
            let mut all = 0.0;
            for share in &mut checked.split {
                let size = Ratio::try_from(share.share);
                all += size
                    .map_err(|why| shape(flag, format!("rule {:?}: {why}", rule.name)))?
                    .get();
                share.value = flag.read(&share.value)?.to_json();
            }
            if all > 1.0 + 1e-9 {
                return wrong(&format!(
                    "splits into {all}; all shares together are at most 1"
                ));
            }
        }
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn valve(valve: Valve) -> Flag {
        Flag::neutral_valve(&"orders".parse().unwrap(), valve, &["light".to_owned()])
    }

    #[test]
    fn every_valve_starts_at_a_value_that_it_accepts() {
        for each in Valve::ALL {
            let flag = valve(each);
            assert_eq!(
                flag.read(&each.neutral()),
                Ok(flag.value.clone()),
                "{}",
                each.name()
            );
            assert!(
                !flag.document().description.is_empty(),
                "{} needs help",
                each.name()
            );
            assert_eq!(Flag::try_from(flag.document()), Ok(flag), "{}", each.name());
        }
    }

    #[test]
    fn values_are_read_as_people_write_them() {
        for (each, written, read) in [
            (Valve::Skip, json!("70%"), json!(0.7)),
            (Valve::Skip, json!(1), json!(1.0)),
            (Valve::MaxAge, json!("90s"), json!("1m 30s")),
            (Valve::MaxAge, json!("none"), Json::Null),
            (
                Valve::Rate,
                json!("100/m burst 20"),
                json!("100/m burst 20"),
            ),
            (Valve::Concurrency, json!(0), json!(0)),
            (Valve::Degrade, json!("light"), json!("light")),
        ] {
            assert_eq!(
                valve(each).read(&written).unwrap().to_json(),
                read,
                "{} = {written}",
                each.name()
            );
        }
    }

    #[test]
    fn bad_values_are_refused_with_a_sentence_that_says_the_cure() {
        for (each, written, sentence) in [
            (
                Valve::Skip,
                json!(100),
                "`queue.orders.skip` takes a ratio (0 to 1, or \"25%\"), got 100: a ratio lies between 0 and 1, got 100; write 5 percent as 0.05 or \"5%\"",
            ),
            (
                Valve::Skip,
                Json::Null,
                "`queue.orders.skip` takes a ratio (0 to 1, or \"25%\"), got null",
            ),
            (
                Valve::Pause,
                json!("yes"),
                "`queue.orders.pause` takes a boolean (true or false), got \"yes\"",
            ),
            (
                Valve::Degrade,
                json!("heavy"),
                "`queue.orders.degrade` is one of none, reject, light, got \"heavy\"",
            ),
            (
                Valve::SkipMode,
                json!("always"),
                "`queue.orders.skip_mode` is one of manual, observe, auto, got \"always\"",
            ),
            (
                Valve::Concurrency,
                json!(-1),
                "`queue.orders.concurrency` lies between 0 and 100000, got -1",
            ),
            (
                Valve::Concurrency,
                json!(1.5),
                "`queue.orders.concurrency` takes a integer (a whole number), got 1.5",
            ),
            (
                Valve::Timeout,
                json!("2h"),
                "`queue.orders.timeout` lies between 1ms and 25m, got \"2h\"",
            ),
            (
                Valve::Timeout,
                Json::Null,
                "`queue.orders.timeout` takes a duration (such as \"1m 30s\"), got null: there is no \"none\" here",
            ),
        ] {
            assert_eq!(
                valve(each).read(&written).unwrap_err().to_string(),
                sentence
            );
        }
    }

    #[test]
    fn a_value_is_read_again_as_deep_as_it_may_be_and_refused_beyond() {
        let nested = |depth| {
            let inner = (1..depth).fold(json!(1), |inner, _| json!([inner]));
            let value = json!({ "in": inner });
            let split = json!([{"name": "a", "split": [{"value": value, "share": 1.0}]}]);
            let document = json!({"key": "a", "kind": "config", "type": "object", "value": value, "rules": split});
            serde_json::from_value::<FlagDocument>(document).unwrap()
        };
        let deepest = nested(DEEPEST_VALUE);
        let flag = Flag::try_from(deepest.clone()).unwrap();
        assert_eq!(flag.document(), deepest);
        let why = Flag::try_from(nested(DEEPEST_VALUE + 1)).unwrap_err();
        assert!(why.to_string().contains("more than 64 deep"), "{why}");
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let document =
            json!({"key": "a.b", "kind": "ops", "type": "boolean", "value": true, "colour": "red"});
        assert!(
            serde_json::from_value::<FlagDocument>(document)
                .unwrap_err()
                .to_string()
                .contains("colour")
        );
    }
}
