//! A message as it came: properties, headers and body, with the exact types of AMQP 0-9-1.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

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
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Boolean(value) => Some(value.to_string().into()),
            Self::Float(value) => Some(value.to_string().into()),
            Self::Double(value) => Some(value.to_string().into()),
            Self::ShortString(bytes) | Self::LongString(bytes) | Self::ByteArray(bytes) => {
                std::str::from_utf8(bytes).ok().map(Cow::Borrowed)
            }
            _ => Some(self.as_integer()?.to_string().into()),
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
    /// A property by name, as text; one of [`PROPERTIES`].
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        let text = match name {
            "content_type" => &self.content_type,
            "content_encoding" => &self.content_encoding,
            "correlation_id" => &self.correlation_id,
            "reply_to" => &self.reply_to,
            "message_id" => &self.message_id,
            "type" => &self.kind,
            "user_id" => &self.user_id,
            "app_id" => &self.app_id,
            "timestamp" => return Some(self.timestamp?.to_string().into()),
            "priority" => return Some(self.priority?.to_string().into()),
            _ => &None,
        };
        text.as_deref().map(Cow::Borrowed)
    }
}

/// The properties that a setting may name as a place.
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
