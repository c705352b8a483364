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
    Object(Arc<Json>),
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
            Self::Object(value) => Json::clone(value),
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

    /// The value that lies so far (0 to 1) on the way from `below` to this one; `None` where there is no way between the two.
    #[must_use]
    pub fn at_strength(&self, below: &Self, strength: f64) -> Option<Self> {
        let between = |from: f64, to: f64| from + (to - from) * strength.clamp(0.0, 1.0);
        let whole = |from: i64, to: i64| between(from as f64, to as f64).round() as i64;
        Some(match (below, self) {
            (Self::Ratio(from), Self::Ratio(to)) => {
                Self::Ratio(Ratio::try_from(between(from.get(), to.get())).ok()?)
            }
            (Self::Integer(from), Self::Integer(to)) => Self::Integer(whole(*from, *to)),
            (Self::Number(from), Self::Number(to)) => Self::Number(between(*from, *to)),
            (Self::Duration(from), Self::Duration(to)) => {
                let millis = whole(from.as_millis(), to.as_millis());
                Self::Duration(Span::from_millis(millis.unsigned_abs()))
            }
            (Self::Rate(from), Self::Rate(to)) => {
                Self::Rate(to.with_per_second(between(from.per_second(), to.per_second())))
            }
            // From a limit to none there is no middle: half of a limit is one twice as wide.
            (Self::None, Self::Duration(to)) if strength > 0.0 => {
                let millis = to.as_millis() as f64 / strength.min(1.0);
                Self::Duration(Span::from_millis(millis.round() as u64))
            }
            (Self::None, Self::Rate(to)) if strength > 0.0 && !to.is_stop() => {
                Self::Rate(to.with_per_second(to.per_second() / strength.min(1.0)))
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_way_between_them_and_nothing_else_has() {
        let ratio = |share| Value::Ratio(Ratio::try_from(share).unwrap());
        let span = |text: &str| Value::Duration(text.parse().unwrap());
        let rate = |text: &str| Value::Rate(text.parse().unwrap());
        for (below, above, strength, between) in [
            (ratio(0.0), ratio(0.8), 0.25, Some(ratio(0.2))),
            (
                Value::Integer(0),
                Value::Integer(9),
                0.5,
                Some(Value::Integer(5)),
            ),
            (
                Value::Number(-1.0),
                Value::Number(1.0),
                0.5,
                Some(Value::Number(0.0)),
            ),
            (span("10s"), span("30s"), 0.5, Some(span("20s"))),
            (rate("10/s"), rate("50/s"), 0.5, Some(rate("30/s"))),
            (rate("0/s"), rate("60/m"), 0.5, Some(rate("30/m"))),
            (Value::None, rate("50/s"), 0.5, Some(rate("100/s"))),
            (Value::None, span("9s"), 0.25, Some(span("36s"))),
            (Value::None, rate("0/s"), 0.5, None),
            (Value::None, rate("50/s"), 0.0, None),
            (span("9s"), Value::None, 0.5, None),
            (Value::Boolean(false), Value::Boolean(true), 0.5, None),
        ] {
            assert_eq!(
                above.at_strength(&below, strength),
                between,
                "{below:?} {above:?}"
            );
        }
    }
}
