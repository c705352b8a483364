//! The facts that the valves ask of a message.
//!
//! [`Reading`] says where a queue keeps id, age and attributes; with it [`Facts`] are read once from what came, and every rule
//! sees only those.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use thiserror::Error;

use super::asks::{Asks, Place};
use super::context::{Attribute, Context, LONGEST_ATTRIBUTE, Slot};
use super::lots::KeyHash;
use super::message::{Field, PROPERTIES, Raw};
use super::times::time_ms;

/// Where in a message something is found. Written `header:x-account`, `property:user_id`, `body:/customer/id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// A header.
    Header(String),
    /// One of [`PROPERTIES`].
    Property(String),
    /// A JSON pointer (RFC 6901) into the body.
    Body(String),
}

/// Why a text names no place in a message.
#[derive(Debug, Error, PartialEq)]
#[error("{0:?} names no place in a message; write \"header:x-account\", \"property:user_id\" (one of {properties}) or \"body:/customer/id\"", properties = PROPERTIES.join(", "))]
pub struct NotASource(String);

impl FromStr for Source {
    type Err = NotASource;
    fn from_str(text: &str) -> Result<Self, NotASource> {
        match text.split_once(':') {
            Some(("header", name)) if !name.is_empty() && name.len() <= 255 => {
                Ok(Self::Header(name.to_owned()))
            }
            Some(("property", name)) if PROPERTIES.contains(&name) => {
                Ok(Self::Property(name.to_owned()))
            }
            Some(("body", pointer)) if pointer.starts_with('/') => {
                Ok(Self::Body(pointer.to_owned()))
            }
            _ => Err(NotASource(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = NotASource;
    fn try_from(text: String) -> Result<Self, NotASource> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> String {
        source.to_string()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Property(name) => write!(f, "property:{name}"),
            Self::Body(pointer) => write!(f, "body:{pointer}"),
        }
    }
}

/// Where a queue keeps what the valves ask for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Where the id is; `None`: message id, else correlation id, else a hash of the body.
    pub id: Option<Source>,
    /// Where the time of publishing is, in one of the forms of [`time_ms`]; `None`: header `timestamp_in_ms`, else property
    /// `timestamp`.
    pub age: Option<Source>,
    /// Where an absolute deadline is, in the same forms.
    pub deadline: Option<Source>,
    /// Where a time is before which the message is not to be done, in the same forms.
    pub not_before: Option<Source>,
    /// The attributes, by name.
    pub attributes: BTreeMap<Arc<str>, Source>,
    /// The name of the attribute that keyed limits count by.
    pub key: Option<String>,
    /// The largest body that is read, in bytes.
    pub max_body: usize,
}

/// What the valves ask of a message; read once.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The id.
    pub id: Arc<str>,
    /// The hash of the id: the lot it draws.
    pub lot: KeyHash,
    /// Whether the id is only a hash of the body, because the message carries none.
    pub id_from_body: bool,
    /// When it was published, milliseconds since 1970; `None`: unknown.
    pub published_ms: Option<i64>,
    /// When it is useless, milliseconds since 1970.
    pub deadline_ms: Option<i64>,
    /// Before this it is not to be done, milliseconds since 1970.
    pub not_before_ms: Option<i64>,
    /// Whether something stands where that time should be, and it is no time that can be.
    pub not_before_unread: bool,
    /// What keyed limits count by.
    pub key: Option<Key>,
    /// The attributes that were asked for.
    pub attributes: Attributes,
    /// Higher goes first.
    pub priority: u8,
}

/// What keyed limits count by: the value of an attribute with its hash.
pub type Key = (KeyHash, Arc<str>);

/// The attributes of one message, in the slots of its queue's [`Asks`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes {
    pub(super) asks: Arc<Asks>,
    pub(super) found: Box<[Option<Attribute>]>,
}

impl Attributes {
    /// Whether these are the attributes that are asked for now.
    #[must_use]
    pub fn answer(&self, asks: &Arc<Asks>) -> bool {
        Arc::ptr_eq(&self.asks, asks)
    }
}

impl Context for Facts {
    fn attribute(&self, slot: Slot) -> Option<&Attribute> {
        self.attributes.found.get(usize::from(slot.0))?.as_ref()
    }
}

/// Why a message cannot be read: a word for its dead letter.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The body is larger than the queue's `max_body`.
    #[error("the body is larger than this queue's max_body_bytes")]
    TooLarge,
    /// An attribute lies in the body, and the body is no JSON that can be read: not UTF-8, cut, nested too deep, or with
    /// a key twice.
    #[error("an attribute is read from the body, and the body is no readable JSON")]
    NotJson,
}

/// An age below this is clamped to zero, further below it is unknown: clocks differ a little.
const CLOCK_SKEW_MS: i64 = 1_000;
/// An age above this is unknown, and so is a time that is further ahead than this.
const YEAR_MS: i64 = 365 * 86_400_000;

impl Facts {
    /// The facts of a message that carries nothing but an id with this hash.
    #[must_use]
    pub fn bare(lot: KeyHash) -> Self {
        Self {
            id: format!("{:016x}", lot.0).into(),
            lot,
            id_from_body: false,
            published_ms: None,
            deadline_ms: None,
            not_before_ms: None,
            not_before_unread: false,
            key: None,
            attributes: Attributes::default(),
            priority: 0,
        }
    }

    /// The facts of a message that cannot be read: its id, as far as its properties tell.
    #[must_use]
    pub fn of_unreadable(raw: &Raw) -> Self {
        let reading = Reading {
            max_body: usize::MAX,
            ..Reading::default()
        };
        reading
            .read(raw, &Arc::default())
            .unwrap_or_else(|_| Self::bare(KeyHash::of(&raw.body)))
    }

    /// The same facts; times that cannot be are dropped: a time of publishing, so that nobody is put before others by it, and a
    /// time not to begin before that is more than 365 days ahead, so that nothing waits for ever.
    #[must_use]
    pub fn with_possible_times(mut self, now_ms: i64) -> Self {
        let far_ahead = |ms: &i64| ms.saturating_sub(now_ms) > YEAR_MS;
        if self.not_before_ms.take_if(|ms| far_ahead(ms)).is_some() {
            self.not_before_unread = true;
        }
        let age = now_ms.saturating_sub(self.published_ms.unwrap_or(now_ms));
        if !(-CLOCK_SKEW_MS..=YEAR_MS).contains(&age) {
            self.published_ms = None;
        }
        self
    }

    /// Since when its age counts: when it was published, or later when it was not to be done before.
    #[must_use]
    pub fn counts_from_ms(&self) -> Option<i64> {
        self.published_ms.max(self.not_before_ms)
    }

    /// How long ago it was published, or could first be done. Unknown when it carries no time, or one that cannot be: more than a
    /// second in the future or more than 365 days ago.
    #[must_use]
    pub fn age_ms(&self, now_ms: i64) -> Option<i64> {
        let age = now_ms.saturating_sub(self.counts_from_ms()?);
        (-CLOCK_SKEW_MS..=YEAR_MS)
            .contains(&age)
            .then_some(age.max(0))
    }

    /// How long it is still not to be done; `None`: its time has come, or it names none.
    #[must_use]
    pub fn not_yet(&self, now_ms: i64) -> Option<Duration> {
        let wait = self.not_before_ms?.saturating_sub(now_ms);
        let wait = u64::try_from(wait).ok().filter(|wait| *wait > 0)?;
        Some(Duration::from_millis(wait))
    }
}

impl Reading {
    /// Reads the facts of a message, with the attributes that are asked for.
    ///
    /// # Errors
    /// When the message cannot be read; it is then dead-lettered.
    pub fn read(&self, raw: &Raw, asks: &Arc<Asks>) -> Result<Facts, Malformed> {
        if raw.body.len() > self.max_body {
            return Err(Malformed::TooLarge);
        }
        let body = if self.needs_body() {
            Some(super::json::strict(&raw.body).map_err(|_| Malformed::NotJson)?)
        } else {
            None
        };
        let find = |source: &Source| find(source, raw, body.as_ref());
        let given = match &self.id {
            Some(source) => find(source),
            None => (raw.properties.message_id.as_deref())
                .or(raw.properties.correlation_id.as_deref())
                .map(Cow::Borrowed),
        };
        let given = given.filter(|id| !id.is_empty()).map(bounded);
        let id_from_body = given.is_none();
        let id = given.unwrap_or_else(|| format!("{:016x}", KeyHash::of(&raw.body).0).into());
        let not_before = self.not_before.as_ref().and_then(&find);
        let not_before_ms = not_before.as_deref().and_then(time_ms);
        Ok(Facts {
            lot: KeyHash::of(id.as_bytes()),
            id_from_body,
            published_ms: self.published_ms(raw, &find),
            deadline_ms: self
                .deadline
                .as_ref()
                .and_then(&find)
                .and_then(|text| time_ms(&text)),
            not_before_ms,
            not_before_unread: not_before.is_some() && not_before_ms.is_none(),
            key: self.key.as_ref().map(|name| self.key(name, &find)),
            attributes: self.attributes(raw, &id, body.as_ref(), asks),
            id,
            priority: raw.properties.priority.unwrap_or(0),
        })
    }

    /// What keyed limits count by.
    fn key<'a>(&self, name: &str, find: &impl Fn(&Source) -> Option<Cow<'a, str>>) -> Key {
        let value = self.attributes.get(name).and_then(find);
        let value = value.map_or_else(|| "unknown".into(), bounded);
        (KeyHash::of(value.as_bytes()), value)
    }

    /// The attributes that are asked for; `body` is there when the file needs it.
    fn attributes(&self, raw: &Raw, id: &str, body: Option<&Json>, asks: &Arc<Asks>) -> Attributes {
        let mut read: Option<Option<Json>> = None;
        let attribute = |text: Cow<'_, str>| Attribute::of(&text);
        let found = asks.places().iter().map(|place| match place {
            Place::Declared(source) => find(source, raw, body).map(attribute),
            Place::Asked(source @ Source::Body(_)) if body.is_none() => {
                let own = read.get_or_insert_with(|| super::json::strict(&raw.body).ok());
                find(source, raw, own.as_ref()).map(attribute)
            }
            Place::Asked(source) => find(source, raw, body).map(attribute),
            Place::Id => Some(Attribute::of(id)),
            Place::Fixed(attribute) => Some(attribute.clone()),
            Place::Nowhere => None,
        });
        Attributes {
            found: found.collect(),
            asks: Arc::clone(asks),
        }
    }

    /// Reads once more what is asked for now of a message that was read before.
    pub fn read_again(&self, facts: &mut Facts, raw: &Raw, asks: &Arc<Asks>) {
        if !facts.attributes.answer(asks) {
            let body = self
                .needs_body()
                .then(|| super::json::strict(&raw.body).ok());
            let attributes = self.attributes(raw, &facts.id, body.flatten().as_ref(), asks);
            facts.attributes = attributes;
        }
    }

    /// The attributes of the file, as what is asked for when no flag asks for more.
    #[must_use]
    pub fn asks(&self) -> Arc<Asks> {
        Arc::new(Asks::declared(&self.attributes))
    }

    fn needs_body(&self) -> bool {
        let places = [&self.id, &self.age, &self.deadline, &self.not_before];
        places
            .into_iter()
            .flatten()
            .chain(self.attributes.values())
            .any(|source| matches!(source, Source::Body(_)))
    }

    fn published_ms<'a>(
        &self,
        raw: &'a Raw,
        find: &impl Fn(&Source) -> Option<Cow<'a, str>>,
    ) -> Option<i64> {
        match &self.age {
            Some(source) => time_ms(&find(source)?),
            None => raw
                .header("timestamp_in_ms")
                .and_then(Field::as_integer)
                .or_else(|| {
                    Some(
                        i64::try_from(raw.properties.timestamp?)
                            .ok()?
                            .saturating_mul(1_000),
                    )
                }),
        }
    }
}

fn find<'a>(source: &Source, raw: &'a Raw, body: Option<&'a Json>) -> Option<Cow<'a, str>> {
    match source {
        Source::Header(name) => raw.header(name)?.as_text(),
        Source::Property(name) => raw.properties.text(name),
        Source::Body(pointer) => match body?.pointer(pointer)? {
            Json::String(text) => Some(Cow::Borrowed(text)),
            Json::Number(number) => Some(number.to_string().into()),
            Json::Bool(value) => Some(value.to_string().into()),
            Json::Null | Json::Array(_) | Json::Object(_) => None,
        },
    }
}

/// A value that is too long to be kept is replaced by its hash, so that the same account stays the same.
fn bounded(text: Cow<'_, str>) -> Arc<str> {
    if text.len() <= LONGEST_ATTRIBUTE {
        text.into()
    } else {
        format!("xxh3:{:016x}", KeyHash::of(text.as_bytes()).0).into()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::message::Properties;
    use super::*;

    fn reading(places: &[(&str, &str)]) -> Reading {
        let place = |name: &str| {
            let found = places.iter().find(|(given, _)| *given == name);
            found.map(|(_, place)| place.parse().unwrap())
        };
        let attributes = place("account").map(|source| ("account".into(), source));
        Reading {
            id: place("id"),
            age: place("age"),
            deadline: place("deadline"),
            not_before: place("not_before"),
            attributes: attributes.into_iter().collect(),
            key: Some("account".to_owned()),
            max_body: 1_000,
        }
    }

    fn with(name: &str, field: Field) -> Raw {
        Raw {
            headers: vec![(name.to_owned(), field)],
            ..Raw::default()
        }
    }

    fn text(text: &str) -> Field {
        Field::LongString(text.into())
    }

    #[test]
    fn an_account_is_the_same_however_it_is_written() {
        for (what, field, account) in [
            ("text", text("42"), "42"),
            ("a number", Field::LongInt(42), "42"),
            ("a long number", Field::LongLongInt(42), "42"),
            ("bytes", Field::ByteArray(b"42".to_vec()), "42"),
            ("a table", Field::Table(vec![]), "unknown"),
            ("not UTF-8", Field::LongString(vec![0xff]), "unknown"),
            ("nothing", Field::Void, "unknown"),
        ] {
            let facts = reading(&[("account", "header:a")])
                .read(&with("a", field), &Arc::default())
                .unwrap();
            assert_eq!(facts.key.unwrap().1.as_ref(), account, "{what}");
        }
    }

    #[test]
    fn an_endless_account_is_kept_as_its_hash() {
        let raw = with("a", text(&"x".repeat(10_000)));
        let facts = reading(&[("account", "header:a")])
            .read(&raw, &Arc::default())
            .unwrap();
        assert_eq!(facts.key.unwrap().1.len(), "xxh3:".len() + 16);
    }

    #[test]
    fn an_id_comes_from_the_message_or_from_its_body() {
        let properties = |message_id: Option<&str>, correlation_id: Option<&str>| {
            let owned = |id: Option<&str>| id.map(str::to_owned);
            let (message_id, correlation_id) = (owned(message_id), owned(correlation_id));
            Properties {
                message_id,
                correlation_id,
                ..Properties::default()
            }
        };
        for (what, properties, expected) in [
            (
                "the message id",
                properties(Some("m"), Some("c")),
                Some("m"),
            ),
            (
                "else the correlation id",
                properties(None, Some("c")),
                Some("c"),
            ),
            ("an empty one is none", properties(Some(""), None), None),
            ("nothing", properties(None, None), None),
        ] {
            let raw = Raw {
                properties,
                body: Bytes::from_static(b"job"),
                ..Raw::default()
            };
            let facts = Reading {
                max_body: 10,
                ..Reading::default()
            }
            .read(&raw, &Arc::default())
            .unwrap();
            let hash = format!("{:016x}", KeyHash::of(b"job").0);
            assert_eq!(
                (facts.id.as_ref(), facts.id_from_body),
                (expected.unwrap_or(&hash), expected.is_none()),
                "{what}"
            );
        }
    }

    #[test]
    fn ages_are_read_in_seconds_and_milliseconds_and_doubted_when_they_cannot_be() {
        let now_ms = 1_795_219_200_000;
        for (what, field, age_ms) in [
            (
                "milliseconds",
                Field::LongLongInt(now_ms - 1_500),
                Some(1_500),
            ),
            (
                "seconds",
                Field::LongLongInt(now_ms / 1_000 - 2),
                Some(2_000),
            ),
            (
                "seconds with a fraction, as text",
                text("1795219198.5"),
                Some(1_500),
            ),
            (
                "a clock a little ahead",
                Field::LongLongInt(now_ms + 900),
                Some(0),
            ),
            (
                "far in the future",
                Field::LongLongInt(now_ms + 60_000),
                None,
            ),
            ("1970", Field::LongLongInt(0), None),
            ("negative", Field::LongLongInt(-5), None),
            ("no number", text("yesterday"), None),
            ("not a number", text("NaN"), None),
            ("too large", text("1e300"), None),
        ] {
            let facts = reading(&[("age", "header:at")])
                .read(&with("at", field), &Arc::default())
                .unwrap();
            assert_eq!(facts.age_ms(now_ms), age_ms, "{what}");
        }
    }

    #[test]
    fn a_time_not_to_begin_before_is_doubted_when_it_cannot_be() {
        let now_ms = 1_795_219_200_000;
        let hour = Some(Duration::from_secs(3_600));
        for (what, field, wait, unread) in [
            (
                "as Celery writes it",
                text("2026-11-21T01:00:00+00:00"),
                hour,
                false,
            ),
            (
                "a number",
                Field::LongLongInt(now_ms + 3_600_000),
                hour,
                false,
            ),
            ("past", text("2026-11-20T23:59:59Z"), None, false),
            ("null", Field::Void, None, false),
            ("nonsense", text("next week"), None, true),
            (
                "366 days ahead",
                text("2027-11-22T00:00:00.001Z"),
                None,
                true,
            ),
        ] {
            let facts = reading(&[("not_before", "header:eta")])
                .read(&with("eta", field), &Arc::default())
                .unwrap()
                .with_possible_times(now_ms);
            assert_eq!(
                (facts.not_yet(now_ms), facts.not_before_unread),
                (wait, unread),
                "{what}"
            );
        }
    }

    #[test]
    fn a_body_is_read_only_when_a_setting_asks_for_it() {
        let broken = Raw {
            body: Bytes::from_static(b"{\"a\": 1, \"a\": 2}"),
            ..Raw::default()
        };
        assert!(
            reading(&[("account", "header:a")])
                .read(&broken, &Arc::default())
                .is_ok()
        );
        assert_eq!(
            reading(&[("account", "body:/a")]).read(&broken, &Arc::default()),
            Err(Malformed::NotJson)
        );
        let fine = Raw {
            body: Bytes::from_static(b"{\"customer\": {\"id\": 7}}"),
            ..Raw::default()
        };
        let facts = reading(&[("account", "body:/customer/id")])
            .read(&fine, &Arc::default())
            .unwrap();
        assert_eq!(facts.key.unwrap().1.as_ref(), "7");
        let large = Raw {
            body: Bytes::from(vec![b' '; 1_001]),
            ..Raw::default()
        };
        assert_eq!(
            reading(&[]).read(&large, &Arc::default()),
            Err(Malformed::TooLarge)
        );
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for place in [
            "",
            "x-account",
            "header:",
            "property:colour",
            "body:customer",
            "cookie:a",
        ] {
            assert!(
                place
                    .parse::<Source>()
                    .unwrap_err()
                    .to_string()
                    .contains("write"),
                "{place}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let raw = Raw { body: body.into(), ..Raw::default() };
            let _ = reading(&[("account", "body:/a/0"), ("id", "body:/b"), ("age", "body:/c")]).read(&raw, &Arc::default());
        }
    }
}
