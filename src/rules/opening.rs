//! An opening: a temporary value laid over flags, with an owner, a reason and an end.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use thiserror::Error;

use super::clause::ClauseDocument;
use super::names::FlagKey;
use super::relief::health::UntilWell;
use super::units::Span;

/// The name of an opening, from the revision that opened it: `o41`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OpeningId(pub u64);

/// Why a text is no id of an opening.
#[derive(Debug, Error)]
#[error("{0:?} is not the id of an opening; `sluicegate flag list` shows the ids, such as o41")]
pub struct NotAnOpening(String);

impl fmt::Display for OpeningId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "o{}", self.0)
    }
}

impl FromStr for OpeningId {
    type Err = NotAnOpening;
    fn from_str(text: &str) -> Result<Self, NotAnOpening> {
        text.strip_prefix('o')
            .and_then(|digits| digits.parse().ok())
            .map(Self)
            .ok_or_else(|| NotAnOpening(text.chars().take(40).collect()))
    }
}

impl TryFrom<String> for OpeningId {
    type Error = NotAnOpening;
    fn try_from(text: String) -> Result<Self, NotAnOpening> {
        text.parse()
    }
}

impl From<OpeningId> for String {
    fn from(id: OpeningId) -> String {
        id.to_string()
    }
}

/// How a flag goes back to what stands below an opening.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Restore {
    /// At once.
    #[default]
    Snap,
    /// In steps over this time, which begins when the opening ends; between numbers only.
    Ramp(
        /// such as `"10m"`
        #[schemars(with = "String")]
        Span,
    ),
}

/// The shortest ramp.
pub const SHORTEST_RAMP: Span = Span::from_secs(1);
/// How many steps a ramp has, unless they would be shorter than a second.
pub const RAMP_STEPS: u32 = 20;

/// A temporary value over one or several flags.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// Its id.
    pub id: OpeningId,
    /// What it lays over which flag, as people write it.
    pub values: Vec<(FlagKey, Json)>,
    /// For whom; empty: for everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<ClauseDocument>,
    /// Who opened it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// When it was opened, milliseconds since 1970.
    pub opened_at_ms: i64,
    /// When it ends, milliseconds since 1970.
    pub ends_at_ms: i64,
    /// How it ends.
    pub restore: Restore,
    /// How much of it holds: 1, and less while it ramps back.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub strength: f64,
    /// Whether it lies beneath rules and other openings, in place of the flag's own value: that value on its way from a former
    /// one to the one that was set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beneath: bool,
    /// That it ends sooner, once its queue is well; `ends_at_ms` is then the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UntilWell>,
    /// Whether it was extended by itself because its end would have hurt: that happens once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extended: bool,
}

impl Opening {
    /// What it lays over a flag.
    #[must_use]
    pub fn value_on(&self, key: &str) -> Option<&Json> {
        let mut values = self.values.iter();
        values
            .find(|(on, _)| on.as_str() == key)
            .map(|(_, value)| value)
    }

    /// When nothing of it holds any more, milliseconds since 1970.
    #[must_use]
    pub fn over_at_ms(&self) -> i64 {
        match self.restore {
            Restore::Snap => self.ends_at_ms,
            Restore::Ramp(over) => self.ends_at_ms.saturating_add(over.as_millis()),
        }
    }
}

fn whole() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
fn is_whole(strength: &f64) -> bool {
    *strength >= 1.0
}

/// How long an opening lasts when nobody says.
pub const DEFAULT_LENGTH: Span = Span::from_secs(30 * 60);
/// The longest opening.
pub const LONGEST: Span = Span::from_secs(24 * 3_600);
/// How many openings may lie on one flag.
pub const MOST_ON_ONE_FLAG: usize = 16;
