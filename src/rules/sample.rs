//! What is kept of a message to ask about it later: its facts, and its small headers as text. No body.
//!
//! When a rule asks for something new, an attribute of a header can still be found; what is not kept is said to be unknown, and
//! never taken for missing. The same way makes the facts of a message that somebody only tells of.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::asks::{Asks, Place, source_of};
use super::context::Attribute;
use super::facts::{Attributes, Facts, Source};
use super::lots::KeyHash;
use super::message::{PROPERTIES, Raw};

/// So many bytes of properties and headers are kept of one message.
pub const MOST_WORDS: usize = 512;
/// A longer property or header is left out.
pub const LONGEST_WORD: usize = 255;

/// What is kept of a message that was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    facts: Facts,
    /// When it was taken, milliseconds since 1970.
    pub taken_ms: i64,
    /// For how many messages it stands, itself included.
    pub stands_for: u32,
    words: Words,
}

impl Sample {
    /// What is kept of this message.
    #[must_use]
    pub fn of(facts: &Facts, raw: &Raw, taken_ms: i64, stands_for: u32) -> Self {
        Self {
            facts: facts.clone(),
            taken_ms,
            stands_for,
            words: Words::of(raw),
        }
    }

    /// Its facts, with the attributes that were asked for when it was taken.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Roughly the bytes that it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        let texts = self.facts.attributes.found.iter().flatten();
        let texts: usize = texts.map(|found| found.text().len() + 16).sum();
        let slots = self.facts.attributes.found.len() * size_of::<Option<Attribute>>();
        let key = self.facts.key.as_ref().map_or(0, |(_, key)| key.len() + 16);
        let id = self.facts.id.len() + 16;
        size_of::<Self>() + texts + slots + key + id + self.words.bytes.len()
    }

    /// Its facts with what is asked for now, and the slots of what is not known of it.
    #[must_use]
    pub fn asked(&self, asks: &Arc<Asks>) -> (Cow<'_, Facts>, Vec<usize>) {
        if self.facts.attributes.answer(asks) {
            return (Cow::Borrowed(&self.facts), Vec::new());
        }
        let mut unknown = Vec::new();
        let found = asks.places().iter().enumerate().map(|(slot, place)| {
            self.find(place).unwrap_or_else(|NotKept| {
                unknown.push(slot);
                None
            })
        });
        let found = found.collect();
        (Cow::Owned(with(&self.facts, asks, found)), unknown)
    }

    fn find(&self, place: &Place) -> Result<Option<Attribute>, NotKept> {
        let source = match place {
            Place::Id => return Ok(Some(Attribute::of(&self.facts.id))),
            Place::Fixed(attribute) => return Ok(Some(attribute.clone())),
            Place::Nowhere => return Ok(None),
            Place::Declared(source) | Place::Asked(source) => source,
        };
        let known = &self.facts.attributes;
        let mut places = known.asks.places().iter().zip(&known.found);
        match places.find(|(place, _)| source_in(place) == Some(source)) {
            Some((_, found)) => Ok(found.clone()),
            None => Ok(self.words.find(source)?.map(Attribute::of)),
        }
    }
}

fn source_in(place: &Place) -> Option<&Source> {
    match place {
        Place::Declared(source) | Place::Asked(source) => Some(source),
        Place::Id | Place::Fixed(_) | Place::Nowhere => None,
    }
}

/// The same facts with other attributes.
fn with(facts: &Facts, asks: &Arc<Asks>, found: Box<[Option<Attribute>]>) -> Facts {
    Facts {
        attributes: Attributes {
            asks: Arc::clone(asks),
            found,
        },
        ..facts.clone()
    }
}

/// It was not kept, so nobody knows.
struct NotKept;

/// Properties and headers as text, in one piece: of each whether it is a header, the lengths of name and text, then both.
#[derive(Debug, Clone, PartialEq)]
struct Words {
    bytes: Box<[u8]>,
    /// Whether nothing was left out.
    whole: bool,
}

impl Words {
    fn of(raw: &Raw) -> Self {
        let mut bytes = Vec::with_capacity(128);
        let mut whole = true;
        let properties = PROPERTIES.into_iter().filter(|name| *name != "timestamp");
        for name in properties {
            if let Some(text) = raw.properties.text(name) {
                whole &= push(&mut bytes, 0, name, &text);
            }
        }
        if let Some(timestamp) = raw.properties.text("timestamp") {
            whole &= push(&mut bytes, 0, "timestamp", &timestamp);
        }
        for (name, value) in &raw.headers {
            if let Some(text) = value.as_text() {
                whole &= push(&mut bytes, 1, name, &text);
            }
        }
        let bytes = bytes.into();
        Self { bytes, whole }
    }

    fn find(&self, source: &Source) -> Result<Option<&str>, NotKept> {
        let (sort, wanted) = match source {
            Source::Property(name) => (0, name.as_bytes()),
            Source::Header(name) => (1, name.as_bytes()),
            Source::Body(_) => return Err(NotKept),
        };
        let mut rest = &*self.bytes;
        while let [of, name, text, more @ ..] = rest {
            let Some((name, more)) = more.split_at_checked(usize::from(*name)) else {
                break;
            };
            let Some((text, more)) = more.split_at_checked(usize::from(*text)) else {
                break;
            };
            if *of == sort && name == wanted {
                return Ok(std::str::from_utf8(text).ok());
            }
            rest = more;
        }
        if self.whole { Ok(None) } else { Err(NotKept) }
    }
}

/// Appends a word, if there is room for it.
fn push(bytes: &mut Vec<u8>, sort: u8, name: &str, text: &str) -> bool {
    let (Ok(name_length), Ok(text_length)) = (u8::try_from(name.len()), u8::try_from(text.len()))
    else {
        return false;
    };
    if bytes.len() + name.len() + text.len() + 3 > MOST_WORDS {
        return false;
    }
    bytes.extend([sort, name_length, text_length]);
    bytes.extend(name.as_bytes());
    bytes.extend(text.as_bytes());
    true
}

/// A message that somebody tells of, by the names of its attributes.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    /// Its facts.
    pub facts: Facts,
    /// The names that were told and that no rule asks for.
    pub unused: Vec<String>,
}

/// The facts of a message of a queue whose file finds `declared`, of which these attributes are told. `header.x-plan` and an
/// attribute of the file that is found there are the same.
#[must_use]
pub fn told(
    asks: &Arc<Asks>,
    declared: &BTreeMap<Arc<str>, Source>,
    given: &[(String, String)],
    published_ms: Option<i64>,
) -> Story {
    let id = given.iter().find(|(name, _)| name == "id");
    let id = id.map_or("", |(_, id)| id);
    let sources: Vec<Option<Source>> = given
        .iter()
        .map(|(name, _)| source_of(name, declared))
        .collect();
    let mut used = vec![false; given.len()];
    let mut say = |told: Option<usize>| {
        let told = told?;
        *used.get_mut(told)? = true;
        given.get(told).map(|(_, text)| Attribute::of(text))
    };
    let named = asks.names().iter().zip(asks.places());
    let found = named.map(|(name, place)| {
        let by_name = given.iter().position(|(given, _)| **given == **name);
        let by_source = || {
            let wanted = source_in(place)?;
            sources
                .iter()
                .position(|source| source.as_ref() == Some(wanted))
        };
        match place {
            Place::Fixed(attribute) => Some(attribute.clone()),
            Place::Nowhere => None,
            _ => say(by_name.or_else(by_source)),
        }
    });
    let found = found.collect();
    let bare = Facts {
        id: id.into(),
        published_ms,
        ..Facts::bare(KeyHash::of(id.as_bytes()))
    };
    let unused = given.iter().zip(used);
    let unused = unused.filter(|((name, _), used)| !used && name != "id");
    Story {
        facts: with(&bare, asks, found),
        unused: unused.map(|((name, _), _)| name.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::context::{Context, Slot};
    use crate::rules::facts::Reading;
    use crate::rules::message::{Field, Properties};

    fn declared() -> BTreeMap<Arc<str>, Source> {
        let account = Source::Header("x-account".to_owned());
        BTreeMap::from([(Arc::from("account"), account)])
    }

    fn asks(names: &[&str]) -> Arc<Asks> {
        let names: Vec<Arc<str>> = names.iter().copied().map(Arc::from).collect();
        Arc::new(Asks::of(&names, &declared(), "orders"))
    }

    fn text(text: &str) -> Field {
        Field::LongString(text.into())
    }

    fn sample(headers: &[(&str, Field)], asked: &[&str]) -> Sample {
        let raw = Raw {
            properties: Properties {
                message_id: Some("m-1".to_owned()),
                kind: Some("bulk.mail".to_owned()),
                priority: Some(3),
                timestamp: Some(1_000),
                ..Properties::default()
            },
            headers: headers
                .iter()
                .map(|(name, field)| ((*name).to_owned(), field.clone()))
                .collect(),
            body: br#"{"plan": "gold"}"#.as_slice().into(),
            ..Raw::default()
        };
        let reading = Reading {
            attributes: declared(),
            max_body: 1_000,
            ..Reading::default()
        };
        let facts = reading.read(&raw, &asks(asked)).unwrap();
        Sample::of(&facts, &raw, 5_000, 1)
    }

    /// What a rule that asks for `name` now finds of a sample: its text, `-` for missing, `?` for unknown.
    fn finds(sample: &Sample, name: &str) -> String {
        let (facts, unknown) = sample.asked(&asks(&["account", name]));
        match (facts.attribute(Slot(1)), unknown.as_slice()) {
            (Some(found), []) => found.text().to_string(),
            (None, []) => "-".to_owned(),
            (None, [1]) => "?".to_owned(),
            odd => format!("{odd:?}"),
        }
    }

    #[test]
    fn what_was_not_asked_for_is_found_in_what_is_kept_or_said_to_be_unknown() {
        let long = "x".repeat(300);
        let small = [
            ("x-account", text("acme")),
            ("x-plan", text("gold")),
            ("x-number", Field::LongInt(7)),
            ("x-table", Field::Table(vec![])),
        ];
        let mut large = small.to_vec();
        large.push(("x-long", text(&long)));
        let whole = sample(&small, &["account"]);
        let cut = sample(&large, &["account"]);
        let read = sample(&large, &["account", "body.plan", "header.x-long"]);
        for (name, of_whole, of_cut, of_read) in [
            ("header.x-plan", "gold", "gold", "gold"),
            ("header.x-account", "acme", "acme", "acme"),
            ("header.x-number", "7", "7", "7"),
            ("header.x-table", "-", "?", "?"),
            ("header.x-other", "-", "?", "?"),
            ("header.type", "-", "?", "?"),
            ("type", "bulk.mail", "bulk.mail", "bulk.mail"),
            ("priority", "3", "3", "3"),
            ("property.timestamp", "1000", "1000", "1000"),
            ("property.user_id", "-", "?", "?"),
            ("id", "m-1", "m-1", "m-1"),
            ("queue", "orders", "orders", "orders"),
            ("nowhere", "-", "-", "-"),
            ("body.plan", "?", "?", "gold"),
            ("body.city", "?", "?", "?"),
        ] {
            let found = [&whole, &cut, &read].map(|sample| finds(sample, name));
            assert_eq!(found, [of_whole, of_cut, of_read], "{name}");
        }
        let found = finds(&read, "header.x-long");
        assert!(
            found.starts_with("xxh3:"),
            "what was asked for is known at any length: {found}"
        );
    }

    #[test]
    fn it_takes_no_more_than_it_may() {
        let many: Vec<(String, Field)> = (0..500)
            .map(|number| (format!("x-{number}"), text(&"y".repeat(100))))
            .collect();
        let many: Vec<(&str, Field)> = many.iter().map(|(n, f)| (&**n, f.clone())).collect();
        let sample = sample(&many, &["account"]);
        assert!(sample.words.bytes.len() <= MOST_WORDS && !sample.words.whole);
        assert!(sample.size() < 1_200, "{}", sample.size());
    }

    #[test]
    fn a_message_that_is_told_of_is_known_by_name_or_by_place() {
        let asks = asks(&["account", "header.x-plan", "queue", "id", "body.city"]);
        for (given, found, unused) in [
            (
                vec![
                    ("account", "acme"),
                    ("header.x-plan", "gold"),
                    ("id", "m-1"),
                ],
                [
                    Some("acme"),
                    Some("gold"),
                    Some("orders"),
                    Some("m-1"),
                    None,
                ],
                vec![],
            ),
            (
                vec![
                    ("header.x-account", "acme"),
                    ("acount", "b"),
                    ("body.city", "Oslo"),
                ],
                [Some("acme"), None, Some("orders"), None, Some("Oslo")],
                vec!["acount"],
            ),
        ] {
            let given: Vec<(String, String)> = given
                .into_iter()
                .map(|(name, text)| (name.to_owned(), text.to_owned()))
                .collect();
            let story = told(&asks, &declared(), &given, Some(7));
            let slots = (0..5).map(Slot).map(|slot| story.facts.attribute(slot));
            let texts: Vec<Option<&str>> = slots
                .map(|found| found.map(|found| &**found.text()))
                .collect();
            assert_eq!(texts, found, "{given:?}");
            assert_eq!(story.unused, unused, "{given:?}");
            assert_eq!(story.facts.published_ms, Some(7));
        }
    }
}
