//! The types that a flag's value can have, and a value that was checked against one.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::units::{Rate, Ratio, Span};

/// The type of a flag's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// `true` or `false`
    Boolean,
    /// 0 to 1, also written `"25%"`
    Ratio,
    /// a whole number
    Integer,
    /// a number
    Number,
    /// `"1m 30s"`
    Duration,
    /// `"50/s"`, `"100/m burst 20"`
    Rate,
    /// text, perhaps one of `choices`
    String,
    /// any JSON object
    Object,
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "boolean (true or false)",
            Self::Ratio => "ratio (0 to 1, or \"25%\")",
            Self::Integer => "integer (a whole number)",
            Self::Number => "number",
            Self::Duration => "duration (such as \"1m 30s\")",
            Self::Rate => "rate (such as \"50/s\" or \"100/m burst 20\")",
            Self::String => "string",
            Self::Object => "object",
        })
    }
}

/// A value that was checked against the type of its flag.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No limit; written `null` or `"none"`. For durations, rates and integers that have none as their neutral value.
    None,
    /// see [`ValueType::Boolean`]
    Boolean(bool),
    /// see [`ValueType::Ratio`]
    Ratio(Ratio),
    /// see [`ValueType::Integer`]
    Integer(i64),
    /// see [`ValueType::Number`]
    Number(f64),
    /// see [`ValueType::Duration`]
    Duration(Span),
    /// see [`ValueType::Rate`]
    Rate(Rate),
    /// see [`ValueType::String`]
    Text(Arc<str>),
    /// see [`ValueType::Object`]
    Object(Json),
}

impl Value {
    /// The value as people read and write it.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::None => Json::Null,
            Self::Boolean(value) => Json::from(*value),
            Self::Ratio(value) => Json::from(value.get()),
            Self::Integer(value) => Json::from(*value),
            Self::Number(value) => Json::from(*value),
            Self::Duration(value) => Json::from(value.to_string()),
            Self::Rate(value) => Json::from(value.to_string()),
            Self::Text(value) => Json::from(value.as_ref()),
            Self::Object(value) => value.clone(),
        }
    }

    /// The value as a number, for `flag_value` and charts; text, objects and "none" have no number.
    #[must_use]
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Boolean(value) => Some(f64::from(u8::from(*value))),
            Self::Ratio(value) => Some(value.get()),
            Self::Integer(value) => Some(*value as f64),
            Self::Number(value) => Some(*value),
            Self::Duration(value) => Some(value.get().as_secs_f64()),
            Self::Rate(value) => Some(value.per_second()),
            Self::None | Self::Text(_) | Self::Object(_) => None,
        }
    }
}
