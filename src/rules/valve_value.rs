//! What a gate makes of the values of its flags: one that a flag of that type cannot have is the neutral one.

use std::sync::Arc;

use super::flag::Value;
use super::route::{Force, Route};
use super::units::{Rate, Ratio, Span};

/// What `degrade` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Degrade {
    /// The whole job.
    None,
    /// No job.
    Reject,
    /// The light version of this name.
    Mode(Arc<str>),
}

impl Degrade {
    /// As it is written.
    pub(super) fn word(&self) -> &str {
        match self {
            Self::None => "none",
            Self::Reject => "reject",
            Self::Mode(mode) => mode,
        }
    }
}

pub(super) fn rate(value: &Value) -> Option<Rate> {
    match value {
        Value::Rate(rate) => Some(*rate),
        _ => None,
    }
}

pub(super) fn count(value: &Value) -> Option<u32> {
    match value {
        Value::Integer(count) => Some(u32::try_from(*count.max(&0)).unwrap_or(u32::MAX)),
        _ => None,
    }
}

pub(super) fn span(value: &Value) -> Option<Span> {
    match value {
        Value::Duration(span) => Some(*span),
        _ => None,
    }
}

pub(super) fn share(value: &Value) -> Ratio {
    match value {
        Value::Ratio(share) => *share,
        _ => Ratio::ZERO,
    }
}

pub(super) fn route(value: &Value) -> Route {
    match value {
        Value::Text(text) => text.parse().unwrap_or_default(),
        _ => Route::Auto,
    }
}

pub(super) fn force(value: &Value) -> Force {
    match value {
        Value::Text(text) => Force::of(text),
        _ => Force::None,
    }
}

pub(super) fn degrade(value: &Value) -> Degrade {
    match value {
        Value::Text(mode) if mode.as_ref() == "reject" => Degrade::Reject,
        Value::Text(mode) if mode.as_ref() != "none" => Degrade::Mode(Arc::clone(mode)),
        _ => Degrade::None,
    }
}

/// A value as a header of the worker's request says it.
pub(super) fn plain(value: &Value) -> Arc<str> {
    let json = value.to_json();
    json.as_str()
        .map_or_else(|| json.to_string().into(), Into::into)
}
