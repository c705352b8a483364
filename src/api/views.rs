//! Flags and openings as the API shows them: what stands, and what holds now. May import `rules`.

use std::collections::BTreeSet;

use axum::http::HeaderValue;
use serde::Serialize;
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema};

use super::access::Caller;
use super::shapes;
use crate::rules::clause::ClauseDocument;
use crate::rules::flag::{Flag, Kind, Managed, RuleDocument, ValueType};
use crate::rules::lots::Bucketing;
use crate::rules::opening::{Opening, Restore};
use crate::rules::relief::health::UntilWell;
use crate::rules::snapshot::Snapshot;

/// A flag: its document, what it says now, and what is laid over it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Flag)]
pub(super) struct FlagView {
    /// The key.
    #[schema(example = "queue.orders.skip")]
    pub(super) key: String,
    /// What the flag is for.
    #[schema(schema_with = kinds)]
    kind: Kind,
    /// The type of its value.
    #[serde(rename = "type")]
    #[schema(schema_with = types)]
    value_type: ValueType,
    /// The value that stands: for everybody, below all openings. `null`: none.
    value: Json,
    /// The smallest value allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    /// The largest value allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
    /// The values a string may take.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    choices: Vec<String>,
    /// What the flag does.
    description: String,
    /// The team that answers for it.
    owner: String,
    /// Where to read what to do.
    runbook: String,
    /// `false`: everybody gets `value`, no rule is asked.
    enabled: bool,
    /// Rules in order; the first that holds wins.
    #[schema(schema_with = shapes::rules)]
    rules: Vec<RuleDocument>,
    /// The attribute whose lot decides in splits, and for a valve `skip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// What lots are drawn with, instead of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<String>,
    /// Whose formula draws the lots.
    #[schema(schema_with = shapes::bucketing)]
    bucketing: Bucketing,
    /// `file`: edited by `flag apply` alone; people open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    managed: Option<Managed>,
    /// The revision of its last change; also its ETag. Openings do not change it.
    revision: u64,
    /// What it says now.
    now: Json,
    /// The opening that `now` comes from; `null`: it is the value that stands.
    opening: Option<String>,
    /// The openings on it, oldest first: the last one wins.
    openings: Vec<OpeningView>,
    /// When it was last evaluated (RFC 3339); `null`: not since the daemon started, as far as it counts.
    #[schema(format = DateTime)]
    last_evaluated: Option<String>,
    /// In the answer to a write: what is allowed and should not last.
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Vec<String>>,
    /// Present and true when this only shows what would be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

impl FlagView {
    /// How a flag stands in `snapshot`; `None`: it is not there.
    pub(super) fn of(snapshot: &Snapshot, key: &str) -> Option<Self> {
        snapshot.flag(key).map(|flag| Self::show(snapshot, flag))
    }

    /// How this flag of `snapshot` stands.
    pub(super) fn show(snapshot: &Snapshot, flag: &Flag) -> Self {
        let document = flag.document();
        let (now, opening) = snapshot
            .value(flag.key.as_str())
            .unwrap_or_else(|| (flag.value.clone(), None));
        Self {
            key: document.key,
            kind: document.kind,
            value_type: document.value_type,
            value: document.value,
            min: document.min,
            max: document.max,
            choices: document.choices,
            description: document.description,
            owner: document.owner,
            runbook: document.runbook,
            enabled: document.enabled,
            rules: document.rules,
            by: document.by,
            seed: document.seed,
            bucketing: document.bucketing,
            managed: document.managed,
            revision: document.revision,
            now: now.to_json(),
            opening: opening.map(|id| id.to_string()),
            openings: snapshot
                .openings_on(flag.key.as_str())
                .map(|opening| OpeningView::show(snapshot, opening))
                .collect(),
            last_evaluated: None,
            warnings: None,
            dry_run: false,
        }
    }

    /// The same, with the time at which it was last evaluated.
    pub(super) fn evaluated(self, at_ms: Option<i64>) -> Self {
        let last_evaluated = at_ms.map(rfc3339);
        Self {
            last_evaluated,
            ..self
        }
    }

    /// The same, with what the change that led to it should not leave so for long.
    pub(super) fn warned(self, warnings: Vec<String>) -> Self {
        let warnings = Some(warnings);
        Self { warnings, ..self }
    }

    /// The same, as it would be if this were not only tried.
    pub(super) fn tried(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }

    /// The same without what others have opened together with it, where the caller may not look.
    pub(super) fn for_the_eyes_of(mut self, caller: &Caller) -> Self {
        let openings = self.openings.into_iter();
        self.openings = openings
            .map(|opening| opening.for_the_eyes_of(caller))
            .collect();
        self
    }

    /// Its ETag.
    pub(super) fn tag(&self) -> HeaderValue {
        tag(self.revision)
    }
}

/// A revision as an ETag.
pub(super) fn tag(revision: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// What the limits of the file say of these flags and the others of their teams.
pub(super) fn warnings<'k>(
    snapshot: &Snapshot,
    keys: impl IntoIterator<Item = &'k str>,
) -> Vec<String> {
    let policy = snapshot.policy();
    let flags = keys.into_iter().filter_map(|key| snapshot.flag(key));
    let releases = flags.filter(|flag| flag.kind() == Kind::Release);
    let teams: BTreeSet<String> = releases.map(|flag| policy.team(flag)).collect();
    let theirs = snapshot.flags().map(|flag| &**flag);
    policy.warnings(theirs.filter(|flag| teams.contains(&policy.team(flag))))
}

/// An opening: a temporary value laid over one or several flags.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Opening)]
pub(super) struct OpeningView {
    /// Its id.
    #[schema(example = "o41")]
    pub(super) id: String,
    /// What it lays over which flag.
    #[schema(value_type = Object, example = json!({"queue.orders.skip": 0.2}))]
    values: Map<String, Json>,
    /// For whom: those of whom all of these hold; none: everybody.
    #[schema(schema_with = shapes::clauses)]
    when: Vec<ClauseDocument>,
    /// What those flags say to everybody now: something else when a newer opening lies over them, or when this one was closed.
    #[schema(value_type = Object, example = json!({"queue.orders.skip": 0.2}))]
    now: Map<String, Json>,
    /// Who opened it.
    owner: String,
    /// Why.
    reason: String,
    /// When it was opened (RFC 3339).
    #[schema(format = DateTime)]
    opened_at: String,
    /// When it ends (RFC 3339), at the latest.
    #[schema(format = DateTime)]
    ends_at: String,
    /// That it ends sooner, once its queue is well; `null`: at its time.
    #[schema(value_type = Option<String>, example = "on-time >= 98% for 10m, at most 8h")]
    until: Option<UntilWell>,
    /// Present and true when it was extended by itself, once, because its end would have hurt.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    extended: bool,
    /// How it ends.
    #[schema(schema_with = shapes::restore)]
    restore: Restore,
    /// When nothing of it holds any more (RFC 3339): `ends_at`, and the time of its ramp.
    #[schema(format = DateTime)]
    over_at: String,
    /// How much of it holds: 1, and less while it ramps back.
    #[schema(minimum = 0, maximum = 1)]
    strength: f64,
    /// Present and true when it lies beneath rules and other openings: the flag's own value, on its way from this former one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    beneath: bool,
    /// In the answer to a write: what is allowed and should not last.
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Vec<String>>,
    /// Present and true when this only shows what would be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

impl OpeningView {
    /// An opening, and what its flags say in `snapshot`.
    pub(super) fn show(snapshot: &Snapshot, opening: &Opening) -> Self {
        let says = |key: &str| {
            snapshot
                .value(key)
                .map_or(Json::Null, |(now, _)| now.to_json())
        };
        Self {
            id: opening.id.to_string(),
            values: opening
                .values
                .iter()
                .map(|(key, value)| (key.to_string(), value.clone()))
                .collect(),
            when: opening.when.clone(),
            now: opening
                .values
                .iter()
                .map(|(key, _)| (key.to_string(), says(key.as_str())))
                .collect(),
            owner: opening.owner.clone(),
            reason: opening.reason.clone(),
            opened_at: rfc3339(opening.opened_at_ms),
            ends_at: rfc3339(opening.ends_at_ms),
            until: opening.until,
            extended: opening.extended,
            restore: opening.restore,
            over_at: rfc3339(opening.over_at_ms()),
            strength: opening.strength,
            beneath: opening.beneath,
            warnings: None,
            dry_run: false,
        }
    }

    /// The same, with what the change that led to it should not leave so for long.
    pub(super) fn warned(self, warnings: Vec<String>) -> Self {
        let warnings = Some(warnings);
        Self { warnings, ..self }
    }

    /// The same, as it would be if this were not only tried.
    pub(super) fn tried(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }
}

impl OpeningView {
    /// The same without flags where the caller may not look.
    pub(super) fn for_the_eyes_of(mut self, caller: &Caller) -> Self {
        self.values.retain(|key, _| caller.sees_flag(key));
        self.now.retain(|key, _| caller.sees_flag(key));
        self
    }
}

/// A time as people and programs read it, in UTC.
pub(super) fn rfc3339(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms)
        .map_or_else(|_| format!("{at_ms} ms since 1970"), |at| at.to_string())
}

const KINDS: [&str; 5] = ["ops", "release", "permission", "config", "migration"];
const TYPES: [&str; 8] = [
    "boolean", "ratio", "integer", "number", "duration", "rate", "string", "object",
];
const EDITS: [&str; 15] = [
    "create",
    "replace",
    "set",
    "set_over",
    "delete",
    "undo",
    "put_segment",
    "delete_segment",
    "members",
    "open",
    "extend",
    "ramp",
    "close",
    "resolve",
    "several",
];

/// The schema of [`Kind`], whose own room knows nothing of OpenAPI.
pub(super) fn kinds() -> Schema {
    one_of("What a flag is for.", &KINDS)
}

/// The schema of [`ValueType`].
pub(super) fn types() -> Schema {
    one_of("The type of a flag's value.", &TYPES)
}

/// The schema of [`EditKind`](crate::rules::record::EditKind).
pub(super) fn edits() -> Schema {
    one_of("A kind of edit.", &EDITS)
}

fn one_of(description: &str, words: &[&'static str]) -> Schema {
    Schema::Object(
        ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some(description))
            .enum_values(Some(words.iter().copied()))
            .build(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `theirs` is the JSON schema of the enum itself: what it lists must be what we list.
    fn check(words: &[&str], theirs: &schemars::Schema) {
        let text = serde_json::to_string(theirs).unwrap();
        for word in words {
            assert!(
                text.contains(&format!("\"const\":\"{word}\"")),
                "{word} in {text}"
            );
        }
        assert_eq!(text.matches("\"const\"").count(), words.len(), "{text}");
    }

    #[test]
    fn the_words_in_the_document_are_those_of_the_types() {
        check(&KINDS, &schemars::schema_for!(Kind));
        check(&TYPES, &schemars::schema_for!(ValueType));
        use crate::rules::record::EditKind::{self, *};
        let all: [EditKind; EDITS.len()] = [
            Create,
            Replace,
            Set,
            SetOver,
            Delete,
            Undo,
            PutSegment,
            DeleteSegment,
            Members,
            Open,
            Extend,
            Ramp,
            Close,
            Resolve,
            Several,
        ];
        let words = all.map(|kind| serde_json::to_value(kind).unwrap());
        assert_eq!(words.to_vec(), EDITS.map(serde_json::Value::from));
    }
}
