//! How the value of a flag is read: it fits the type, the bounds and the choices of its flag, or is refused.

use std::sync::Arc;

use serde_json::Value as Json;

use super::document::FlagDocument;
use super::flag::{BadFlag, DEEPEST_VALUE, LARGEST_VALUE};
use super::route::Route;
use super::units::{Ratio, Span};
use super::value::{Value, ValueType};

pub(super) fn read_value(flag: &FlagDocument, json: &Json) -> Result<Value, BadFlag> {
    let size = json.to_string().len();
    if size > LARGEST_VALUE {
        return Err(BadFlag::TooLong {
            key: flag.key.clone(),
            field: "value",
            got: size,
            most: LARGEST_VALUE,
        });
    }
    let wrong = |detail: String| BadFlag::WrongType {
        key: flag.key.clone(),
        wanted: flag.value_type,
        got: json.to_string(),
        detail: if detail.is_empty() {
            detail
        } else {
            format!(": {detail}")
        },
    };
    if depth(json) > DEEPEST_VALUE {
        return Err(wrong(format!(
            "it is nested more than {DEEPEST_VALUE} deep; make it flatter"
        )));
    }
    let none = json.is_null() || json.as_str() == Some("none");
    let value = match (flag.value_type, json) {
        (ValueType::Duration | ValueType::Rate | ValueType::Integer, _) if none => {
            return none_of(flag, wrong);
        }
        (ValueType::Boolean, Json::Bool(value)) => Value::Boolean(*value),
        (ValueType::Ratio, Json::Number(number)) => Value::Ratio(
            Ratio::try_from(number.as_f64().unwrap_or(f64::NAN))
                .map_err(|why| wrong(why.to_string()))?,
        ),
        (ValueType::Ratio, Json::String(text)) => Value::Ratio(
            text.parse()
                .map_err(|why: super::units::NotARatio| wrong(why.to_string()))?,
        ),
        (ValueType::Integer, Json::Number(number)) => {
            Value::Integer(number.as_i64().ok_or_else(|| wrong(String::new()))?)
        }
        (ValueType::Number, Json::Number(number)) => {
            Value::Number(number.as_f64().ok_or_else(|| wrong(String::new()))?)
        }
        (ValueType::Duration, Json::String(text)) => Value::Duration(
            text.parse()
                .map_err(|why: super::units::NotASpan| wrong(why.to_string()))?,
        ),
        (ValueType::Rate, Json::String(text)) => Value::Rate(
            text.parse()
                .map_err(|why: super::units::NotARate| wrong(why.to_string()))?,
        ),
        (ValueType::String, Json::String(text)) => Value::Text(text.as_str().into()),
        (ValueType::Object, Json::Object(_)) => Value::Object(Arc::new(json.clone())),
        _ => return Err(wrong(String::new())),
    };
    within_bounds(flag, value)
}

/// In how many objects and arrays the innermost lies.
fn depth(json: &Json) -> usize {
    let inner = match json {
        Json::Array(all) => all.iter().map(depth).max(),
        Json::Object(all) => all.values().map(depth).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or(0)
}

/// "None" is a value only where it means "no limit": not where a bound says that there must be one.
fn none_of(flag: &FlagDocument, wrong: impl Fn(String) -> BadFlag) -> Result<Value, BadFlag> {
    let must_be_set = flag.value_type == ValueType::Duration && flag.min.is_some();
    if must_be_set {
        Err(wrong("there is no \"none\" here".to_owned()))
    } else {
        Ok(Value::None)
    }
}

/// Whether a text gives shares to providers of the pool that the flag steers.
fn shares_of_choices(flag: &FlagDocument, text: &str) -> bool {
    if !(flag.key.starts_with("pool.") && flag.key.ends_with(".provider")) {
        return false;
    }
    let known = |name: &str| name != "auto" && flag.choices.iter().any(|choice| choice == name);
    match text.parse() {
        Ok(route @ Route::Weights(_)) => route.names().into_iter().all(known),
        _ => false,
    }
}

fn within_bounds(flag: &FlagDocument, value: Value) -> Result<Value, BadFlag> {
    if let Value::Text(text) = &value
        && !flag.choices.is_empty()
        && !flag
            .choices
            .iter()
            .any(|choice| choice.as_str() == text.as_ref())
        && !shares_of_choices(flag, text)
    {
        let choices = flag.choices.join(", ");
        return Err(BadFlag::NotAChoice {
            key: flag.key.clone(),
            choices,
            got: format!("{text:?}"),
        });
    }
    let (min, max) = (
        flag.min.unwrap_or(f64::NEG_INFINITY),
        flag.max.unwrap_or(f64::INFINITY),
    );
    match value.as_number() {
        Some(number) if !matches!(value, Value::Boolean(_)) && !(min..=max).contains(&number) => {
            let shown = |bound: f64| match flag.value_type {
                ValueType::Duration if bound.is_finite() => {
                    Span::from_millis((bound * 1_000.0) as u64).to_string()
                }
                _ => bound.to_string(),
            };
            Err(BadFlag::OutOfBounds {
                key: flag.key.clone(),
                min: shown(min),
                max: shown(max),
                got: value.to_json().to_string(),
            })
        }
        _ => Ok(value),
    }
}
