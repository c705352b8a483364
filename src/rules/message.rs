//! A message as it came, and the facts that the valves ask of it.
//!
//! [`Raw`] is what the queue delivered, whole. [`Reading`] says where a queue keeps id, age and attributes; with it
//! [`Facts`] are read once, and every rule sees only those.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use thiserror::Error;

use super::lots::KeyHash;

/// A value of an AMQP 0-9-1 header table, with its exact type.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "named after AMQP's own types")]
pub enum Field {
    Boolean(bool),
    ShortShortInt(i8),
    ShortShortUInt(u8),
    ShortInt(i16),
    ShortUInt(u16),
    LongInt(i32),
    LongUInt(u32),
    LongLongInt(i64),
    Float(f32),
    Double(f64),
    Decimal { scale: u8, value: u32 },
    ShortString(Vec<u8>),
    LongString(Vec<u8>),
    Array(Vec<Field>),
    Timestamp(u64),
    Table(Vec<(String, Field)>),
    ByteArray(Vec<u8>),
    Void,
}

impl Field {
    /// The value as canonical text, so that an account is the same whether it came as number or text; none for arrays, tables
    /// and what is not UTF-8.
    #[must_use]
    pub fn as_text(&self) -> Option<String> {
        match self {
            Self::Boolean(value) => Some(value.to_string()),
            Self::Float(value) => Some(value.to_string()),
            Self::Double(value) => Some(value.to_string()),
            Self::ShortString(bytes) | Self::LongString(bytes) | Self::ByteArray(bytes) => {
                String::from_utf8(bytes.clone()).ok()
            }
            _ => self.as_integer().map(|number| number.to_string()),
        }
    }

    /// The value as a whole number, also when it was written as text.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::ShortShortInt(value) => Some((*value).into()),
            Self::ShortShortUInt(value) => Some((*value).into()),
            Self::ShortInt(value) => Some((*value).into()),
            Self::ShortUInt(value) => Some((*value).into()),
            Self::LongInt(value) => Some((*value).into()),
            Self::LongUInt(value) => Some((*value).into()),
            Self::LongLongInt(value) => Some(*value),
            Self::Timestamp(value) => i64::try_from(*value).ok(),
            Self::Double(value) if value.is_finite() => Some(*value as i64),
            Self::ShortString(bytes) | Self::LongString(bytes) => {
                std::str::from_utf8(bytes).ok()?.trim().parse().ok()
            }
            _ => None,
        }
    }
}

/// The properties of a message that AMQP 0-9-1 names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named after AMQP's own properties")]
#[serde(default, deny_unknown_fields)]
pub struct Properties {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_mode: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u64>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
}

impl Properties {
    fn text(&self, name: &str) -> Option<String> {
        match name {
            "content_type" => self.content_type.clone(),
            "content_encoding" => self.content_encoding.clone(),
            "correlation_id" => self.correlation_id.clone(),
            "reply_to" => self.reply_to.clone(),
            "message_id" => self.message_id.clone(),
            "timestamp" => self.timestamp.map(|seconds| seconds.to_string()),
            "type" => self.kind.clone(),
            "user_id" => self.user_id.clone(),
            "app_id" => self.app_id.clone(),
            "priority" => self.priority.map(|priority| priority.to_string()),
            _ => None,
        }
    }
}

/// The properties that a [`Source`] may name.
pub const PROPERTIES: [&str; 10] = [
    "app_id",
    "content_encoding",
    "content_type",
    "correlation_id",
    "message_id",
    "priority",
    "reply_to",
    "timestamp",
    "type",
    "user_id",
];

/// A message as the queue delivered it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Raw {
    /// The exchange it was published to; empty: the default exchange.
    pub exchange: String,
    /// Its routing key.
    pub routing_key: String,
    /// Whether the broker has delivered it before.
    pub redelivered: bool,
    /// Its properties.
    pub properties: Properties,
    /// Its headers, in their order.
    pub headers: Vec<(String, Field)>,
    /// Its body.
    pub body: Bytes,
}

impl Raw {
    /// A header by name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&Field> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value)
    }
}

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
    /// Where the time of publishing is; `None`: header `timestamp_in_ms`, else property `timestamp`. Numbers above 10^11 are
    /// milliseconds, others seconds.
    pub age: Option<Source>,
    /// Where an absolute deadline is, in the same form.
    pub deadline: Option<Source>,
    /// The attributes, by name.
    pub attributes: BTreeMap<String, Source>,
    /// The name of the attribute that keyed limits count by.
    pub key: Option<String>,
    /// The largest body that is read, in bytes.
    pub max_body: usize,
}

/// What the valves ask of a message; read once.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The id.
    pub id: String,
    /// The hash of the id: the lot it draws.
    pub lot: KeyHash,
    /// Whether the id is only a hash of the body, because the message carries none.
    pub id_from_body: bool,
    /// When it was published, milliseconds since 1970; `None`: unknown.
    pub published_ms: Option<i64>,
    /// When it is useless, milliseconds since 1970.
    pub deadline_ms: Option<i64>,
    /// What keyed limits count by.
    pub key: Option<(KeyHash, String)>,
    /// The attributes that were found.
    pub attributes: BTreeMap<String, String>,
    /// Higher goes first.
    pub priority: u8,
}

/// Why a message cannot be read: a word for its dead letter.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The body is larger than the queue's `max_body`.
    #[error("the body is larger than this queue's max_body")]
    TooLarge,
    /// An attribute lies in the body, and the body is no JSON that can be read: not UTF-8, cut, nested too deep, or with
    /// a key twice.
    #[error("an attribute is read from the body, and the body is no readable JSON")]
    NotJson,
}

/// The longest attribute that is kept as it is; a longer one is replaced by its hash.
pub const LONGEST_ATTRIBUTE: usize = 256;
/// An age below this is clamped to zero, further below it is unknown: clocks differ a little.
const CLOCK_SKEW_MS: i64 = 1_000;
const DAY_MS: i64 = 86_400_000;

impl Facts {
    /// The facts of a message that carries nothing but an id with this hash.
    #[must_use]
    pub fn bare(lot: KeyHash) -> Self {
        Self {
            id: format!("{:016x}", lot.0),
            lot,
            id_from_body: false,
            published_ms: None,
            deadline_ms: None,
            key: None,
            attributes: BTreeMap::new(),
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
            .read(raw)
            .unwrap_or_else(|_| Self::bare(KeyHash::of(&raw.body)))
    }

    /// How long ago it was published. Unknown when it carries no time, or one that cannot be: more than a second in the
    /// future or more than 365 days ago.
    #[must_use]
    pub fn age_ms(&self, now_ms: i64) -> Option<i64> {
        let age = now_ms.saturating_sub(self.published_ms?);
        (-CLOCK_SKEW_MS..=365 * DAY_MS)
            .contains(&age)
            .then_some(age.max(0))
    }
}

impl Reading {
    /// Reads the facts of a message.
    ///
    /// # Errors
    /// When the message cannot be read; it is then dead-lettered.
    pub fn read(&self, raw: &Raw) -> Result<Facts, Malformed> {
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
            None => raw
                .properties
                .message_id
                .clone()
                .or_else(|| raw.properties.correlation_id.clone()),
        };
        let given = given.filter(|id| !id.is_empty()).map(bounded);
        let id_from_body = given.is_none();
        let id = given.unwrap_or_else(|| format!("{:016x}", KeyHash::of(&raw.body).0));
        let attributes: BTreeMap<String, String> = self
            .attributes
            .iter()
            .filter_map(|(name, source)| Some((name.clone(), bounded(find(source)?))))
            .collect();
        let key = self.key.as_ref().map(|name| {
            let value = attributes
                .get(name)
                .cloned()
                .unwrap_or_else(|| "unknown".to_owned());
            (KeyHash::of(value.as_bytes()), value)
        });
        Ok(Facts {
            lot: KeyHash::of(id.as_bytes()),
            id,
            id_from_body,
            published_ms: self.published_ms(raw, &find),
            deadline_ms: self
                .deadline
                .as_ref()
                .and_then(&find)
                .and_then(|text| time_ms(&text)),
            key,
            attributes,
            priority: raw.properties.priority.unwrap_or(0),
        })
    }

    fn needs_body(&self) -> bool {
        let places = [&self.id, &self.age, &self.deadline];
        places
            .into_iter()
            .flatten()
            .chain(self.attributes.values())
            .any(|source| matches!(source, Source::Body(_)))
    }

    fn published_ms(&self, raw: &Raw, find: &impl Fn(&Source) -> Option<String>) -> Option<i64> {
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

fn find(source: &Source, raw: &Raw, body: Option<&Json>) -> Option<String> {
    match source {
        Source::Header(name) => raw.header(name)?.as_text(),
        Source::Property(name) => raw.properties.text(name),
        Source::Body(pointer) => match body?.pointer(pointer)? {
            Json::String(text) => Some(text.clone()),
            Json::Number(number) => Some(number.to_string()),
            Json::Bool(value) => Some(value.to_string()),
            Json::Null | Json::Array(_) | Json::Object(_) => None,
        },
    }
}

/// A value that is too long to be kept is replaced by its hash, so that the same account stays the same.
fn bounded(text: String) -> String {
    if text.len() <= LONGEST_ATTRIBUTE {
        text
    } else {
        format!("xxh3:{:016x}", KeyHash::of(text.as_bytes()).0)
    }
}

/// A time written as seconds or milliseconds since 1970.
fn time_ms(text: &str) -> Option<i64> {
    let number: f64 = text.trim().parse().ok()?;
    if !(0.0..=1e15).contains(&number) {
        return None;
    }
    let ms = if number >= 1e11 {
        number as i64
    } else {
        (number * 1_000.0) as i64
    };
    Some(ms)
}
