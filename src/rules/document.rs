//! A flag as people write and see it: one JSON object, or one `[[flag]]` table.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;

use super::clause::ClauseDocument;
use super::flag::BadFlag;
use super::flag_value::read_value;
use super::lots::Bucketing;
use super::value::{Value, ValueType};

/// What a flag is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A valve or another knob of operations.
    Ops,
    /// A change on its way to everybody.
    Release,
    /// Who may do something.
    Permission,
    /// A setting of a service.
    Config,
    /// A step of a data migration.
    Migration,
}

/// Who edits what stands below the openings of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Managed {
    /// `flag apply` alone; people open it.
    File,
}

/// A flag as people write and see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlagDocument {
    /// The key, such as `queue.orders.skip`.
    pub key: String,
    /// What the flag is for.
    pub kind: Kind,
    /// The type of its value.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// The value for everybody; `null` where the type allows "none".
    #[serde(default)]
    pub value: Json,
    /// `false`: everybody gets the value, no rule is asked.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub enabled: bool,
    /// The smallest value allowed (numbers only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest value allowed (numbers only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The values a string may take; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// What the flag does, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The team that answers for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Where to read what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub runbook: String,
    /// Rules in order; the first that holds wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleDocument>,
    /// The attribute whose lot decides in splits (usually `account`) and for a valve `skip` (usually the message's id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What lots are drawn with, instead of the key: flags of one seed draw the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
    /// Whose formula draws the lots.
    #[serde(default, skip_serializing_if = "Bucketing::is_ours")]
    pub bucketing: Bucketing,
    /// Who edits what stands below its openings; nobody named: people and programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<Managed>,
    /// The revision of its last change; set by the daemon.
    #[serde(default)]
    pub revision: u64,
}

/// A rule: who it is for, and the value or split they get.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleDocument {
    /// Its name, one of a kind in its flag.
    pub name: String,
    /// Who it is for: those of whom all clauses hold; none: everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<ClauseDocument>,
    /// The value they get.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub value: Option<Json>,
    /// The attribute whose lot decides in `split`; usually the flag's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Shares of them, instead of one value; who is in none falls through to the next rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub split: Vec<ShareDocument>,
}

/// A share of a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShareDocument {
    /// The value that this share gets.
    pub value: Json,
    /// How large it is, from 0 to 1; all shares of a split are at most 1.
    pub share: f64,
}

impl FlagDocument {
    /// A flag of which nothing else is said.
    #[must_use]
    pub fn plain(key: &str, kind: Kind, value_type: ValueType, value: Json) -> Self {
        Self {
            key: key.to_owned(),
            kind,
            value_type,
            value,
            enabled: true,
            min: None,
            max: None,
            choices: Vec::new(),
            description: String::new(),
            owner: String::new(),
            runbook: String::new(),
            rules: Vec::new(),
            by: None,
            seed: None,
            bucketing: Bucketing::default(),
            managed: None,
            revision: 0,
        }
    }

    /// Reads a value that this flag could take.
    ///
    /// # Errors
    /// When it does not fit the flag's type, bounds or choices.
    pub fn read(&self, value: &Json) -> Result<Value, BadFlag> {
        read_value(self, value)
    }

    /// Whether `other` has the same bounds, choices and description.
    #[must_use]
    pub fn same_frame(&self, other: &Self) -> bool {
        let frame = |of: &Self| (of.min, of.max);
        frame(self) == frame(other)
            && self.choices == other.choices
            && self.description == other.description
    }

    /// The attribute that draws the lots of a rule.
    #[must_use]
    pub fn draws_by<'a>(&'a self, rule: &'a RuleDocument) -> &'a str {
        let by = rule.by.as_deref().or(self.by.as_deref());
        by.unwrap_or("account")
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
fn is_yes(value: &bool) -> bool {
    *value
}

/// A `null` that was written is a value; one that was not is none.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(from).map(Some)
}
