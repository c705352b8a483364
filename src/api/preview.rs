//! `/api/v1/flags/{key}/preview`: what a change would do to messages like those that came lately.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Doors;
use super::body::Named;
use super::documents::{merged, said};
use super::error::{BAD_DOCUMENT, BROKEN, Problem};
use super::queues::find;
use super::schemas::named;
use super::views::{FlagView, rfc3339};
use super::write::Write;
use crate::rules::change::{Actor, Change, Edit};
use crate::rules::clause::ClauseDocument;
use crate::rules::flag::{Flag, FlagDocument};
use crate::rules::opening::{DEFAULT_LENGTH, Restore};
use crate::rules::preview::{Counts, Effect, Moved, effect, thousands, tried};
use crate::rules::snapshot::Snapshot;
use crate::rules::valve::Valve;

/// What might be changed: one of these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Proposal {
    /// Another value for everybody.
    #[serde(default, deserialize_with = "said")]
    value: Option<Value>,
    /// A merge patch (RFC 7396) of the flag's document, such as its rules.
    #[serde(default)]
    #[schema(value_type = Option<Object>, example = json!({"rules": [{"name": "acme", "when": [{"attribute": "account", "op": "in", "values": ["acme"]}], "value": 1.0}]}))]
    patch: Option<Map<String, Value>>,
    /// A value laid over the flag.
    #[serde(default)]
    open: Option<ProposedOpening>,
}

/// A value that might be laid over a flag.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProposedOpening {
    /// The value.
    value: Value,
    /// For whom; empty: for everybody.
    #[serde(default)]
    #[schema(value_type = Vec<Clause>)]
    when: Vec<ClauseDocument>,
}

/// A clause in the document.
struct Clause;
named!(Clause = "Clause" of ClauseDocument);

/// What a change would do. Nothing was changed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Preview)]
pub(super) struct PreviewView {
    /// The flag.
    #[schema(example = "queue.orders.skip")]
    flag: String,
    /// The revision of the flags that it was compared with.
    revision: u64,
    /// What would become of the last messages, in a sentence; or why nothing can be said.
    #[schema(
        example = "1,003 -> 2,512 of the last 10,000 messages are shed; 87 accounts; protected: 0"
    )]
    summary: String,
    /// The same in numbers; `null`: there is no data to say it from.
    effect: Option<EffectView>,
    /// The size that the change will have to `confirm`, when it is a big move.
    confirm: Option<u64>,
}

/// What a change would do to messages like the last ones.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Effect)]
struct EffectView {
    /// The queue.
    queue: String,
    /// How many messages were looked at.
    messages: usize,
    /// For how many they stand: more, when many came and a sample was kept.
    stand_for: u64,
    /// When the first of them came.
    #[schema(format = DateTime)]
    from: String,
    /// When the last came.
    #[schema(format = DateTime)]
    to: String,
    /// Their verdicts before and after. Limits of rate and concurrency are no part of it.
    verdicts: Vec<TallyView>,
    /// What the flag says to them, the most frequent values first.
    values: Vec<SaidView>,
    /// How many get another verdict.
    changed: usize,
    /// The same for each minute; `null`: the messages came too fast to tell.
    changed_per_minute: Option<f64>,
    /// Of how many accounts; `null`: the queue names no `key`.
    accounts: Option<usize>,
    /// The accounts with the most messages that get another verdict, at most 10.
    most_touched: Vec<Touched>,
    /// How many are exempt from a skip that would have taken them.
    protected: MovedView,
    /// Messages that were left out, because something that is asked for is not known of them, by attribute.
    #[schema(value_type = std::collections::BTreeMap<String, usize>)]
    unknown: Map<String, Value>,
}

/// A verdict and how many get it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PreviewTally)]
struct TallyView {
    /// run, shed or wait.
    verdict: &'static str,
    /// Why; `null`: it runs.
    #[schema(example = "skipped")]
    reason: Option<&'static str>,
    #[serde(flatten)]
    moved: MovedView,
}

/// A value and how many get it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PreviewValue)]
struct SaidView {
    /// The value, as text.
    value: String,
    #[serde(flatten)]
    moved: MovedView,
}

/// An account and how many of its messages get another verdict.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PreviewAccount)]
struct Touched {
    /// The account: the attribute that the queue's `key` names.
    #[schema(example = "acme")]
    key: String,
    /// How many of its messages.
    messages: usize,
}

/// How many, before and after.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Moved)]
struct MovedView {
    /// As the flags stand.
    before: usize,
    /// As they would.
    after: usize,
    /// As they stand, for each minute.
    before_per_minute: Option<f64>,
    /// As they would, for each minute.
    after_per_minute: Option<f64>,
}

/// Shows what a change would do to messages like those that came lately; nothing is changed. It is checked as the change would be.
#[utoipa::path(post, path = "/api/v1/flags/{key}/preview", tag = "flags", request_body = Proposal,
    params(("key" = String, Path, description = "The flag's key, percent-encoded.")),
    responses(
        (status = 200, description = "What it would do, or that there is no data to say it from.", body = PreviewView),
        (status = 404, description = "There is no such flag."),
))]
pub(super) async fn preview(
    State(doors): State<Arc<Doors>>,
    Named(key): Named,
    Write { body, sender }: Write<Proposal>,
) -> Result<Json<PreviewView>, Problem> {
    let by = Actor::new(sender.name(), "api");
    let caller = sender.caller().clone();
    let trying = tokio::task::spawn_blocking(move || {
        let before = doors.store.snapshot();
        let flag = before
            .flag(&key)
            .ok_or_else(|| Problem::no_flag(&before, &key))?;
        let now_ms = doors.clock.now().ms;
        let edit = body.edit(flag, now_ms)?;
        let change = Change {
            keep: true,
            ..Change::new(edit, by, "preview", now_ms)
        };
        let look_up =
            |key: &str| FlagView::of(&before, key).map(|flag| flag.for_the_eyes_of(&caller));
        let (after, confirm) = tried(&before, change.clone())
            .map_err(|refused| Problem::refused(&refused, &change, look_up))?;
        Ok(Json(compare(&doors, &before, &after, &key, confirm)))
    });
    trying.await.unwrap_or_else(|_| {
        let what = "the preview broke off by a fault of ours; nothing was changed, report the log";
        Err(Problem::new(BROKEN, what))
    })
}

impl Proposal {
    fn edit(self, flag: &Flag, now_ms: i64) -> Result<Edit, Problem> {
        match (self.value, self.patch, self.open) {
            (Some(value), None, None) => Ok(Edit::Set(flag.key.clone(), value)),
            (None, Some(patch), None) => patched(flag, patch),
            (None, None, Some(open)) => Ok(Edit::Open {
                values: vec![(flag.key.clone(), open.value)],
                when: open.when,
                ends_at_ms: now_ms.saturating_add(DEFAULT_LENGTH.as_millis()),
                restore: Restore::Snap,
                until: None,
            }),
            _ => Err(Problem::new(
                BAD_DOCUMENT,
                "say one of value, patch and open, such as {\"value\": 0.3} or {\"open\": {\"value\": 1.0, \"when\": […]}}",
            )),
        }
    }
}

fn patched(flag: &Flag, patch: Map<String, Value>) -> Result<Edit, Problem> {
    let bad = |why: String| Problem::new(BAD_DOCUMENT, why).at("/patch");
    let old = serde_json::to_value(flag.document()).map_err(|why| bad(why.to_string()))?;
    let document: FlagDocument = serde_json::from_value(merged(&old, Value::Object(patch)))
        .map_err(|why| bad(why.to_string()))?;
    if document.key != flag.key.as_str() {
        return Err(bad(
            "the key of a flag never changes; leave it out".to_owned()
        ));
    }
    Ok(Edit::Replace(Box::new(document)))
}

/// What the flags `after` in the place of those `before` would do, as far as this flag has to do with it.
pub(super) fn compare(
    doors: &Doors,
    before: &Snapshot,
    after: &Snapshot,
    key: &str,
    confirm: Option<u64>,
) -> PreviewView {
    let compared = compared(doors, before, after, key);
    let (summary, effect) = match compared {
        Ok((summary, effect)) => (summary, Some(effect)),
        Err(why) => (why, None),
    };
    PreviewView {
        flag: key.to_owned(),
        revision: before.revision(),
        summary,
        effect,
        confirm,
    }
}

fn compared(
    doors: &Doors,
    before: &Snapshot,
    after: &Snapshot,
    key: &str,
) -> Result<(String, EffectView), String> {
    let Some((queue, valve)) = before.valve(key) else {
        return Err(format!(
            "no data: `{key}` is no valve of a queue, and what services ask of it is not kept yet"
        ));
    };
    let name = queue.name.as_str();
    let missing = || format!("no data: the daemon does not serve {name}");
    let door = find(doors, name).map_err(|_| missing())?;
    let (gate, next) = before
        .gate(name)
        .zip(after.gate(name))
        .ok_or_else(missing)?;
    let kept = door.vitals.recent.kept();
    let told = effect(gate, next, valve, kept.samples()).map_err(|why| why.to_string())?;
    if !valve.facts().by_rules {
        return Err(holds_back(key, valve, &told));
    }
    Ok((told.summary(), EffectView::of(name, &told)))
}

/// What can be said of a valve that sheds nothing.
fn holds_back(key: &str, valve: Valve, told: &Effect) -> String {
    let waits = match valve {
        Valve::SkipMode | Valve::ConcurrencyMode => "says who turns another valve",
        _ => "holds messages of the whole queue back and sheds none",
    };
    let come = told.minutes().map_or_else(String::new, |minutes| {
        let come = thousands((told.stand_for as f64 / minutes).round() as usize);
        format!(" About {come} messages a minute come to the queue.")
    });
    format!("no data: `{key}` {waits}; how long they would wait is not foretold.{come}")
}

impl PreviewView {
    /// Accounts of which messages get another verdict.
    pub(super) fn accounts(&self) -> Option<usize> {
        self.effect.as_ref()?.accounts
    }
}

impl EffectView {
    fn of(queue: &str, effect: &Effect) -> Self {
        let minutes = effect.minutes();
        let moved = |moved: &Moved| MovedView {
            before: moved.before.messages,
            after: moved.after.messages,
            before_per_minute: per_minute(moved.before, minutes),
            after_per_minute: per_minute(moved.after, minutes),
        };
        let touched = effect.most_touched.iter().map(|(key, messages)| Touched {
            key: key.to_string(),
            messages: *messages,
        });
        let unknown = effect.unknown.iter();
        Self {
            queue: queue.to_owned(),
            messages: effect.messages,
            stand_for: effect.stand_for,
            from: rfc3339(effect.from_ms),
            to: rfc3339(effect.to_ms),
            verdicts: effect
                .verdicts
                .iter()
                .map(|tally| TallyView {
                    verdict: tally.verdict,
                    reason: tally.reason,
                    moved: moved(&tally.count),
                })
                .collect(),
            values: effect
                .values
                .iter()
                .map(|said| SaidView {
                    value: said.value.clone(),
                    moved: moved(&said.count),
                })
                .collect(),
            changed: effect.changed.messages,
            changed_per_minute: per_minute(effect.changed, minutes),
            accounts: effect.accounts,
            most_touched: touched.collect(),
            protected: moved(&effect.protected),
            unknown: unknown
                .map(|(name, messages)| (name.to_string(), Value::from(*messages)))
                .collect(),
        }
    }
}

/// How many there are for each minute, to one decimal.
fn per_minute(counts: Counts, minutes: Option<f64>) -> Option<f64> {
    minutes.map(|minutes| (counts.stand_for as f64 / minutes * 10.0).round() / 10.0)
}
