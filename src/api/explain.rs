//! `/api/v1/explain`: why a flag, or the gate of a queue, says what it says, rule by rule.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Caller;
use super::body::Asked;
use super::error::{LONGEST_ECHO, MALFORMED_REQUEST, Problem};
use super::page::{Page, Paging};
use super::queues::{find, none};
use super::schemas::named;
use super::views::rfc3339;
use super::{Doors, QueueDoor};
use crate::rules::chain::{self, Auto, Chain, Message};
use crate::rules::context::Attribute;
use crate::rules::explain::{self, Explanation};
use crate::rules::relief::asking::Asking;
use crate::rules::relief::valve::AutoValve;
use crate::rules::sample::{Sample, told};
use crate::rules::snapshot::Snapshot;
use crate::rules::units::Span;
use crate::vitals::Kept;

const PATH: &str = "/api/v1/explain";
/// The most parameters, and the longest, in bytes.
const MOST_TOLD: usize = 100;
const LONGEST_TOLD: usize = 1_024;

/// An explanation, as far as it was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Explained)]
pub(super) enum Explained {
    /// Of `queue`: what happens to a message.
    Message(MessageExplained),
    /// Of `flag`: what it says.
    Flag(FlagExplained),
    /// Of neither: what each flag says that is no valve.
    Flags(Page<Explanation>),
}

/// What a flag says to somebody, and why.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FlagExplained)]
pub(super) struct FlagExplained {
    #[serde(flatten)]
    explanation: Explanation,
    /// The revision of all flags.
    snapshot: u64,
    /// What was told and no flag asks for: perhaps misspelt.
    unused: Vec<String>,
}

/// What happens to a message, and why.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MessageExplained)]
pub(super) struct MessageExplained {
    #[serde(flatten)]
    chain: Chain,
    /// How the message is known.
    known: Known,
}

/// How a message is known.
#[derive(Debug, Serialize, ToSchema)]
struct Known {
    /// `query`: it was told of in the request; `recent`: it came lately, and is asked about as it stood then, with the flags of now.
    #[schema(example = "recent")]
    from: &'static str,
    /// When it came.
    #[schema(format = DateTime)]
    at: Option<String>,
    /// What was told and no rule of this queue asks for: perhaps misspelt.
    unused: Vec<String>,
    /// What a rule asks for and nobody knows of this message: taken for missing here.
    unknown: Vec<String>,
    /// What more is to be said.
    note: Option<&'static str>,
}

named!(Explanation = "Explanation" of Explanation, Chain = "Chain" of Chain);

/// Explains what a flag says in a context, or what happens to a message of a queue, rule by rule: with `queue`, the chain of its
/// valves; with `flag`, that flag; with neither, each flag that is no valve. All other parameters are attributes of the context.
#[utoipa::path(get, path = PATH, tag = "explain",
    params(
        ("queue" = Option<String>, Query, description = "The queue of a message. With `id` alone, the message is looked for among the last 10,000."),
        ("flag" = Option<String>, Query, description = "The flag, instead of a queue."),
        ("age" = Option<String>, Query, description = "With `queue`: how old the message is, such as `45s`; not said: unknown. Else an attribute."),
        ("id" = Option<String>, Query, description = "With `queue`: the id of the message. Else an attribute."),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 500, description = "With neither queue nor flag: how many flags at most, usually 100."),
        ("cursor" = Option<String>, Query, description = "With neither queue nor flag: where to go on, `next` of the page before."),
        ("attributes" = std::collections::HashMap<String, String>, Query, style = Form, explode, description = "Attributes by name, each a parameter of its own: `account=acme&type=bulk.mail&header.x-plan=gold`."),
    ),
    responses(
        (status = 200, description = "Why.", body = Explained),
        (status = 404, description = "There is no such queue, or no such flag."),
))]
pub(super) async fn explain(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    Asked(told): Asked<Vec<(String, String)>>,
) -> Result<Explained, Problem> {
    check(&told)?;
    let snapshot = doors.store.snapshot();
    let mut told = Told(told);
    Ok(match (told.take("queue"), told.take("flag")) {
        (Some(_), Some(_)) => {
            return Err(Problem::new(
                MALFORMED_REQUEST,
                "say either a queue (what happens to a message) or a flag (what it says), not both",
            ));
        }
        (Some(queue), None) if !caller.sees_queue(&queue) => return Err(none(&queue)),
        (Some(queue), None) => {
            let queue = find(&doors, &queue)?;
            Explained::Message(of_message(&doors, queue, &snapshot, told)?)
        }
        (None, Some(flag)) if !caller.sees_flag(&flag) => return Err(Problem::never_a_flag(&flag)),
        (None, Some(flag)) => Explained::Flag(of_flag(&snapshot, &flag, &told)?),
        (None, None) => Explained::Flags(of_all(&snapshot, &caller, told)?),
    })
}

impl IntoResponse for Explained {
    fn into_response(self) -> Response {
        match self {
            Self::Flags(page) => page.into_response(),
            one => Json(one).into_response(),
        }
    }
}

/// What the query tells.
struct Told(Vec<(String, String)>);

impl Told {
    /// Takes a parameter out, so that it is no attribute.
    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(told, _)| told == name)?;
        Some(self.0.remove(at).1)
    }

    fn attributes(&self) -> impl Iterator<Item = (&str, Attribute)> {
        let told = self.0.iter();
        told.map(|(name, text)| (name.as_str(), Attribute::of(text)))
    }

    /// The names that no flag asks for.
    fn unused(&self, snapshot: &Snapshot) -> Vec<String> {
        let names = self.0.iter().map(|(name, _)| name);
        let unused = names.filter(|name| snapshot.vocabulary().find(name).is_none());
        unused.cloned().collect()
    }
}

fn check(told: &[(String, String)]) -> Result<(), Problem> {
    let mut names = HashSet::new();
    for (name, text) in told {
        let short: String = name.chars().take(LONGEST_ECHO).collect();
        let problem = |what: &str| {
            let cure = "say each attribute once, such as account=acme";
            Problem::new(MALFORMED_REQUEST, format!("{short:?} {what}; {cure}"))
        };
        if !names.insert(name) {
            return Err(problem("is said twice"));
        }
        if name.is_empty() || name.len() + text.len() > LONGEST_TOLD {
            return Err(problem("has no name, or is longer than 1024 bytes"));
        }
    }
    if told.len() > MOST_TOLD {
        let what = format!(
            "a context has at most {MOST_TOLD} attributes here; leave out what no rule asks for"
        );
        return Err(Problem::new(MALFORMED_REQUEST, what));
    }
    Ok(())
}

fn of_flag(snapshot: &Snapshot, flag: &str, told: &Told) -> Result<FlagExplained, Problem> {
    let context = snapshot.context(told.attributes());
    let explanation = explain::explain(snapshot, flag, &*context);
    Ok(FlagExplained {
        explanation: explanation.ok_or_else(|| Problem::no_flag(snapshot, flag))?,
        snapshot: snapshot.revision(),
        unused: told.unused(snapshot),
    })
}

fn of_all(
    snapshot: &Snapshot,
    caller: &Caller,
    mut told: Told,
) -> Result<Page<Explanation>, Problem> {
    let limit = told.take("limit");
    let limit = limit.map(|limit| limit.parse()).transpose();
    let limit = limit.map_err(|_| Problem::new(MALFORMED_REQUEST, "`limit` is a whole number"))?;
    let paging = Paging::at(limit, told.take("cursor"));
    let after = paging.cursor.clone().unwrap_or_default();
    let context = snapshot.context(told.attributes());
    let keys = snapshot.flags().map(|flag| flag.key.as_str());
    let rest = keys
        .skip_while(|key| *key <= after.as_str())
        .filter(|key| snapshot.valve(key).is_none() && caller.sees_flag(key))
        .filter_map(|key| explain::explain(snapshot, key, &*context));
    Page::of(PATH, &paging, rest, |explanation| explanation.flag.clone())
}

const NOT_AMONG_THE_LAST: &str = "no message with this id is among those that came lately; only what the query tells is known. Parked messages cannot be looked up yet";
const FLAGS_OF_NOW: &str =
    "it is asked about as it stood when it came, with the flags as they stand now";

fn of_message(
    doors: &Doors,
    queue: &QueueDoor,
    snapshot: &Snapshot,
    mut told: Told,
) -> Result<MessageExplained, Problem> {
    let age = told.take("age").map(|age| age.parse::<Span>()).transpose();
    let age = age.map_err(|why| Problem::new(MALFORMED_REQUEST, format!("`age`: {why}")))?;
    let kept: Kept;
    let mut note = None;
    if let ([(name, id)], None) = (told.0.as_slice(), age)
        && name == "id"
    {
        kept = queue.vitals.recent.kept();
        if let Some(sample) = kept.find(id) {
            return of_sample(doors, queue, snapshot, sample);
        }
        note = Some(NOT_AMONG_THE_LAST);
    }
    let gate = snapshot.gate(queue.settings.name.as_str());
    let gate = gate.ok_or_else(|| no_gate(queue))?;
    let now_ms = doors.clock.now().ms;
    let published_ms = age.map(|age| now_ms.saturating_sub(age.as_millis()));
    let has_id = told.0.iter().any(|(name, _)| name == "id");
    let declared = &queue.settings.reading.attributes;
    let story = self::told(&gate.asks, declared, &told.0, published_ms);
    let auto = queue.vitals.auto_valve();
    let message = Message {
        facts: &story.facts,
        has_id,
        now_ms,
        auto: asked(auto.as_deref(), doors),
    };
    Ok(MessageExplained {
        chain: chain_of(queue, snapshot, message)?,
        known: Known {
            from: "query",
            at: None,
            unused: story.unused,
            unknown: Vec::new(),
            note,
        },
    })
}

/// The automatic valve, to be asked now.
fn asked<'a>(valve: Option<&'a (AutoValve, Asking)>, doors: &Doors) -> Option<Auto<'a>> {
    let now = doors.clock.now().mono;
    valve.map(|(valve, asking)| Auto { valve, asking, now })
}

fn of_sample(
    doors: &Doors,
    queue: &QueueDoor,
    snapshot: &Snapshot,
    sample: &Sample,
) -> Result<MessageExplained, Problem> {
    let gate = snapshot.gate(queue.settings.name.as_str());
    let gate = gate.ok_or_else(|| no_gate(queue))?;
    let (facts, unknown) = sample.asked(&gate.asks);
    let names = unknown
        .iter()
        .filter_map(|slot| gate.asks.names().get(*slot));
    let auto = queue.vitals.auto_valve();
    let message = Message {
        facts: &facts,
        has_id: true,
        now_ms: sample.taken_ms,
        auto: asked(auto.as_deref(), doors),
    };
    Ok(MessageExplained {
        chain: chain_of(queue, snapshot, message)?,
        known: Known {
            from: "recent",
            at: Some(rfc3339(sample.taken_ms)),
            unused: Vec::new(),
            unknown: names.map(ToString::to_string).collect(),
            note: Some(FLAGS_OF_NOW),
        },
    })
}

fn chain_of(
    queue: &QueueDoor,
    snapshot: &Snapshot,
    message: Message<'_>,
) -> Result<Chain, Problem> {
    let chain = chain::explain(snapshot, queue.settings.name.as_str(), message);
    chain.ok_or_else(|| no_gate(queue))
}

fn no_gate(queue: &QueueDoor) -> Problem {
    let what = format!(
        "the queue {} has no gate; its flags were not made",
        queue.settings.name
    );
    Problem::new(super::error::BROKEN, what)
}
