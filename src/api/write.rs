//! What all writes have in common: who sends them, what they saw before, and how the knob is turned, once and whole.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use utoipa::IntoParams;

use super::Doors;
use super::access::Caller;
use super::answer::Answer;
use super::aside::aside;
use super::body::{self, Asked, LARGEST_BODY};
use super::error::{LONGEST_ECHO, MALFORMED_REQUEST, Problem, ROLE, SAY_WHAT_YOU_SAW};
use super::idempotency::Ticket;
use super::views::FlagView;
use crate::rules::access::Need;
use crate::rules::change::{Actor, Cause, Change, Edit};
use crate::rules::snapshot::Snapshot;

/// The header by which callers tell their name, where nobody is asked who they are.
const USER: &str = "sluicegate-user";
/// The header that makes a repeated request harmless.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
pub(super) const LONGEST_NAME: usize = 64;
pub(super) const LONGEST_KEY: usize = 128;

/// A write: its body of at most so many bytes, and who sent it under which conditions.
pub(super) struct Write<T, const LARGEST: usize = LARGEST_BODY> {
    pub(super) body: T,
    pub(super) sender: Sender,
}

/// Who sent a write, and under which conditions.
pub(super) struct Sender {
    caller: Caller,
    by: Actor,
    /// The revision in `If-Match`.
    if_match: Option<u64>,
    /// Whether `If-None-Match: *` was said.
    if_none: bool,
    dry_run: bool,
    ticket: Option<Ticket>,
    /// Method and path, for the log.
    what: String,
}

/// What a body says beside the edit itself.
pub(super) struct Words {
    pub(super) reason: String,
    pub(super) confirm: Option<u64>,
    /// Whether a valve that sheds may stay so without an end.
    pub(super) keep: bool,
    pub(super) dry_run: bool,
    pub(super) cause: Cause,
}

impl Words {
    /// A reason, and nothing else.
    pub(super) fn because(reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            confirm: None,
            keep: false,
            dry_run: false,
            cause: Cause::Operator,
        }
    }
}

/// What a PUT wants.
pub(super) enum Wants {
    Create,
    Replace { seen: u64 },
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WriteQuery {
    /// `true`: checks the change and shows what it would lead to; nothing is changed.
    #[serde(default)]
    dry_run: bool,
}

impl<T: DeserializeOwned, const LARGEST: usize> FromRequest<Arc<Doors>> for Write<T, LARGEST> {
    type Rejection = Problem;
    async fn from_request(request: Request, doors: &Arc<Doors>) -> Result<Self, Problem> {
        let (mut parts, body): (Parts, Body) = request.into_parts();
        body::says_json(&parts.method, &parts.headers)?;
        let Asked(WriteQuery { dry_run }) = Asked::from_request_parts(&mut parts, doors).await?;
        let bytes = body::bytes(body, LARGEST).await?;
        Ok(Self {
            body: body::read(&bytes)?,
            sender: Sender::of(&parts, &bytes, dry_run)?,
        })
    }
}

impl Sender {
    /// Who sent the request with this head and body.
    pub(super) fn of(parts: &Parts, body: &Bytes, dry_run: bool) -> Result<Self, Problem> {
        let caller = Caller::of(parts)?;
        Ok(Self {
            by: actor(&caller, &parts.headers)?,
            if_match: if_match(&parts.headers)?,
            if_none: if_none(&parts.headers)?,
            dry_run,
            ticket: ticket(&caller, parts, body)?,
            what: format!("{} {}", parts.method, parts.uri.path()),
            caller,
        })
    }

    /// The revision in If-Match, where none must be said.
    pub(super) fn may_have_seen(&self) -> Option<u64> {
        self.if_match
    }

    /// The revision that a PATCH or DELETE must have seen.
    pub(super) fn seen(&self) -> Result<u64, Problem> {
        self.if_match.ok_or_else(|| {
            Problem::new(
                SAY_WHAT_YOU_SAW,
                "read it first, then repeat with its ETag, such as If-Match: \"41\"",
            )
        })
    }

    /// The name by which the caller told itself.
    pub(super) fn name(&self) -> &str {
        &self.by.name
    }

    /// Who it is.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether nothing is to be changed.
    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// The answer of the last time, if the same request came before: asked where what stands now would refuse the repetition.
    pub(super) fn repeated(&self, doors: &Doors) -> Result<Option<Answer>, Problem> {
        let ticket = self.ticket.as_ref().filter(|_| !self.dry_run);
        let found = ticket.map(|ticket| doors.remembered.find(ticket, doors.clock.mono()));
        found.transpose().map(Option::flatten)
    }

    /// Does it, unless the same request came before: then it gives the answer of that time.
    pub(super) fn once(
        &self,
        doors: &Doors,
        dry_run: bool,
        act: impl FnOnce() -> Result<Answer, Problem>,
    ) -> Result<Answer, Problem> {
        match &self.ticket {
            Some(ticket) if !dry_run => doors.remembered.once(ticket, doors.clock.now().mono, act),
            _ => act(),
        }
    }

    /// What a PUT wants: to create, or to replace what it saw.
    pub(super) fn wants(&self) -> Result<Wants, Problem> {
        match (self.if_match, self.if_none) {
            (None, true) => Ok(Wants::Create),
            (Some(seen), false) => Ok(Wants::Replace { seen }),
            (None, false) => Err(Problem::new(
                SAY_WHAT_YOU_SAW,
                "say If-None-Match: * to create it, or If-Match with its ETag to replace it",
            )),
            (Some(_), true) => Err(Problem::new(
                MALFORMED_REQUEST,
                "say either If-None-Match: * (create) or If-Match (replace), not both",
            )),
        }
    }
}

/// The text of a header that may be said once.
fn said<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Problem> {
    let mut all = headers.get_all(name).iter();
    let (first, second) = (all.next(), all.next());
    let text = first.map(HeaderValue::to_str).transpose();
    match (text, second) {
        (Ok(text), None) => Ok(text.map(str::trim)),
        _ => Err(Problem::new(
            MALFORMED_REQUEST,
            format!("send the header {name} once, in visible ASCII"),
        )),
    }
}

fn actor(caller: &Caller, headers: &HeaderMap) -> Result<Actor, Problem> {
    let name = said(headers, USER)?;
    if name.is_some_and(|name| name.is_empty() || name.len() > LONGEST_NAME) {
        return Err(Problem::new(
            MALFORMED_REQUEST,
            format!("the header {USER} takes a name of 1 to {LONGEST_NAME} characters"),
        ));
    }
    let by_cli = headers
        .get(header::USER_AGENT)
        .is_some_and(|agent| agent.as_bytes().starts_with(b"sluicegate/"));
    Ok(caller.actor(name, if by_cli { "cli" } else { "api" }))
}

fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(text) = said(headers, header::IF_MATCH.as_str())? else {
        return Ok(None);
    };
    if text == "*" {
        return Err(Problem::new(
            SAY_WHAT_YOU_SAW,
            "If-Match: * does not say what you saw; read the flag and send its ETag, such as If-Match: \"41\"",
        ));
    }
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .and_then(|text| text.parse().ok())
        .map(Some)
        .ok_or_else(|| {
            Problem::new(
                MALFORMED_REQUEST,
                "If-Match takes one ETag of a flag, quoted, such as \"41\"",
            )
        })
}

fn if_none(headers: &HeaderMap) -> Result<bool, Problem> {
    match said(headers, header::IF_NONE_MATCH.as_str())? {
        None => Ok(false),
        Some("*") => Ok(true),
        Some(_) => Err(Problem::new(
            MALFORMED_REQUEST,
            "a write takes If-None-Match: * (create what is not there) and no other",
        )),
    }
}

fn ticket(caller: &Caller, parts: &Parts, body: &Bytes) -> Result<Option<Ticket>, Problem> {
    let Some(key) = said(&parts.headers, IDEMPOTENCY_KEY)? else {
        return Ok(None);
    };
    if key.is_empty() || key.len() > LONGEST_KEY {
        return Err(Problem::new(
            MALFORMED_REQUEST,
            format!("an Idempotency-Key has 1 to {LONGEST_KEY} characters; a UUID does well"),
        ));
    }
    let mut hash = Sha256::new();
    let header = |name: &HeaderName| parts.headers.get(name).map_or(&b""[..], |v| v.as_bytes());
    let uri = parts.uri.to_string();
    for part in [
        parts.method.as_str().as_bytes(),
        uri.as_bytes(),
        header(&header::IF_MATCH),
        header(&header::IF_NONE_MATCH),
        header(&HeaderName::from_static(USER)),
        body.as_ref(),
    ] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    Ok(Some(Ticket {
        key: format!("{} {key}", caller.mark()),
        request: hash.finalize().into(),
    }))
}

/// What a turned knob led to.
pub(super) struct Turned {
    /// Whose knob it is.
    pub(super) doors: Arc<Doors>,
    /// The flags before.
    pub(super) before: Arc<Snapshot>,
    /// The flags after; when dry, as they would be.
    pub(super) after: Arc<Snapshot>,
    /// Whether nothing was changed.
    pub(super) dry_run: bool,
    /// Who turned it.
    pub(super) caller: Caller,
}

/// Turns a knob, unless it is only tried, on a thread where it runs to its end also when the caller goes away meanwhile.
pub(super) async fn turn(
    doors: Arc<Doors>,
    sender: Sender,
    edit: Edit,
    seen: Option<u64>,
    words: Words,
    answer: impl FnOnce(&Turned) -> Answer + Send + 'static,
) -> Result<Answer, Problem> {
    aside(move || {
        let now = doors.clock.now();
        let dry_run = sender.dry_run || words.dry_run;
        let change = Change {
            seen,
            confirm: words.confirm,
            keep: words.keep,
            longest: sender.caller.longest_opening(),
            cause: words.cause,
            ..Change::new(edit, sender.by, &words.reason, now.ms)
        };
        may_turn(&doors, &sender.caller, &change)?;
        let act =
            || turn_now(&doors, &sender.caller, &change, dry_run).map(|turned| answer(&turned));
        let outcome = match sender.ticket {
            Some(ticket) if !dry_run => doors.remembered.once(&ticket, now.mono, act),
            _ => act(),
        };
        log(&sender.what, &change, dry_run, &outcome);
        outcome
    })
    .await
}

/// Refuses what lies outside of the caller's scope, or takes another role.
fn may_turn(doors: &Doors, caller: &Caller, change: &Change) -> Result<(), Problem> {
    let kept = if change.keep {
        caller.must(Need::Administer, "to leave a valve without an end (`keep`)")
    } else {
        Ok(())
    };
    kept.and_then(|()| caller.may_make(&change.edit, &doors.store.snapshot()))
        .inspect_err(|problem| {
            doors.metrics.denied(if problem.is(ROLE) { "role" } else { "scope" });
            tracing::warn!(who = ?caller.name(), outcome = problem.word(), "somebody asked for a change that they may not make");
        })
}

fn turn_now(
    doors: &Arc<Doors>,
    caller: &Caller,
    change: &Change,
    dry_run: bool,
) -> Result<Turned, Problem> {
    if !dry_run {
        let paced = doors.pace.take(&change.by.name, doors.clock.mono());
        paced.map_err(Problem::too_fast)?;
    }
    let before = doors.store.snapshot();
    let after = if dry_run {
        doors.store.try_out(change).map(Arc::new)
    } else {
        doors.store.turn(change)
    };
    match after {
        Ok(after) => Ok(Turned {
            doors: Arc::clone(doors),
            before,
            after,
            dry_run,
            caller: caller.clone(),
        }),
        Err(refused) => Err(Problem::refused(&refused, change, |key| {
            FlagView::of(&doors.store.snapshot(), key).map(|flag| flag.for_the_eyes_of(caller))
        })),
    }
}

/// One line for each write; `?` escapes what would forge a line or move the cursor.
fn log(what: &str, change: &Change, dry_run: bool, outcome: &Result<Answer, Problem>) {
    let (outcome, status) = match outcome {
        Ok(answer) if dry_run => ("dry run", answer.status()),
        Ok(answer) => ("accepted", answer.status()),
        Err(problem) => (problem.word(), problem.status()),
    };
    let short = |text: &str| text.chars().take(LONGEST_ECHO).collect::<String>();
    tracing::info!(
        who = ?change.by.name,
        via = %change.by.via,
        what = ?short(what),
        why = ?short(&change.reason),
        status,
        outcome,
        "write"
    );
}
