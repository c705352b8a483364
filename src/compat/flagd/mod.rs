//! flagd's JSON: `{"flags": {key: {state, variants, defaultVariant, targeting}}, "$evaluators": {}}`.
//!
//! A variant becomes its value; targeting becomes rules ([`targeting`], [`conditions`]). What flagd answers and what the flag read
//! here answers is the same for every context, with two differences that are meant: texts, numbers and booleans are compared as
//! their texts (flagd's `==` holds for `1` and `"1"` too, but not for `true` and `"true"`); and who lacks the attribute that a
//! `fractional` names gets the default, where flagd draws by the targeting key instead.

mod conditions;
mod export;
mod targeting;

use serde::Deserialize;
use serde_json::{Map, Value as Json};
use thiserror::Error;

use super::{Imported, NoEqual};
use crate::rules::flag::{Flag, FlagDocument, Kind, ValueType};
use crate::rules::lots::Bucketing;

pub use export::{Exported, export};

/// Why nothing was read at all.
#[derive(Debug, Error)]
pub enum NotFlagd {
    /// It is not the JSON of flagd.
    #[error("this is not flagd's JSON: {0}")]
    Json(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct File {
    flags: Map<String, Json>,
    #[serde(rename = "$evaluators", default)]
    evaluators: Map<String, Json>,
}

/// A flag as flagd writes it; what is not named here (such as `metadata`) decides nothing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Theirs {
    state: State,
    variants: Map<String, Json>,
    #[serde(default)]
    default_variant: Option<String>,
    #[serde(default)]
    targeting: Option<Json>,
    #[serde(default)]
    metadata: Map<String, Json>,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
enum State {
    Enabled,
    Disabled,
}

/// Reads flagd's JSON.
///
/// # Errors
/// When it is not that at all; single flags are refused in [`Imported::refused`].
pub fn import(text: &str) -> Result<Imported, NotFlagd> {
    let file: File = serde_json::from_str(text)?;
    let mut imported = Imported::default();
    for (key, flag) in file.flags {
        match one(&key, flag, &file.evaluators) {
            Ok(flag) => imported.flags.push(flag),
            Err(what) => imported.refused.push(NoEqual::new(&key, what)),
        }
    }
    Ok(imported)
}

/// One flag, or what of it has no equal.
fn one(key: &str, flag: Json, evaluators: &Map<String, Json>) -> Result<FlagDocument, String> {
    let theirs: Theirs = serde_json::from_value(flag).map_err(|why| why.to_string())?;
    let value_type = type_of(&theirs.variants)?;
    let default = theirs
        .default_variant
        .as_deref()
        .ok_or("it has no `defaultVariant`, so the caller's own default is used; name a variant")?;
    let variants = targeting::Variants {
        all: &theirs.variants,
        default,
    };
    let value = variants.value(default)?.clone();
    let targeting = theirs.targeting.as_ref().unwrap_or(&Json::Null);
    let read = targeting::read(targeting, &variants, evaluators)?;
    let description = theirs.metadata.get("description").and_then(Json::as_str);
    let document = FlagDocument {
        key: key.to_owned(),
        kind: Kind::Config,
        value_type,
        value,
        enabled: theirs.state == State::Enabled,
        min: None,
        max: None,
        choices: Vec::new(),
        description: description.unwrap_or_default().to_owned(),
        owner: String::new(),
        runbook: String::new(),
        bucketing: if read.draws {
            Bucketing::Flagd
        } else {
            Bucketing::default()
        },
        rules: read.rules,
        by: None,
        seed: read.seed,
        managed: None,
        revision: 0,
    };
    let flag = Flag::try_from(document).map_err(|why| why.to_string())?;
    Ok(flag.document())
}

fn type_of(variants: &Map<String, Json>) -> Result<ValueType, String> {
    let mut types = variants.values().map(|value| match value {
        Json::Bool(_) => Some(ValueType::Boolean),
        Json::Number(_) => Some(ValueType::Number),
        Json::String(_) => Some(ValueType::String),
        Json::Object(_) => Some(ValueType::Object),
        Json::Null | Json::Array(_) => None,
    });
    let first = types.next().ok_or("it has no `variants`")?;
    let first = first.ok_or("a variant is neither boolean, text, number nor object")?;
    if types.all(|other| other == Some(first)) {
        Ok(first)
    } else {
        Err("its variants are not all of one type".to_owned())
    }
}

#[cfg(test)]
mod tests;
