//! Who was let in, and what of all that there is lies within their scope.
//!
//! What lies outside is answered as if it were not there.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio_util::sync::CancellationToken;

use super::{Person, Source};
use crate::api::error::{
    LONGEST_ECHO, NO_SUCH_OPENING, NO_SUCH_SEGMENT, Problem, ROLE, SCOPE, SIGN_IN,
};
use crate::api::queues;
use crate::rules::access::{Need, Role};
use crate::rules::change::{Actor, Edit, Refused};
use crate::rules::clause::{ClauseDocument, named_segments};
use crate::rules::doubt::Resolved;
use crate::rules::flag::Flag;
use crate::rules::opening::{LONGEST, Opening, OpeningId};
use crate::rules::snapshot::Snapshot;
use crate::rules::units::Span;

/// The longest opening of an admin.
const LONGEST_OF_ADMINS: Span = Span::from_secs(365 * 86_400);

/// Somebody who was let in.
#[derive(Debug, Clone)]
pub(in crate::api) struct Caller {
    person: Arc<Person>,
    /// How we know that it is they: `token`, `proxy`; empty: nothing was asked for.
    auth: &'static str,
    address: Option<IpAddr>,
    /// Cancelled when the file says otherwise who may come in.
    over: CancellationToken,
}

impl Caller {
    pub(super) fn new(
        person: Arc<Person>,
        auth: &'static str,
        address: Option<IpAddr>,
        over: CancellationToken,
    ) -> Self {
        Self {
            person,
            auth,
            address,
            over,
        }
    }

    /// Their name.
    pub(in crate::api) fn name(&self) -> &str {
        &self.person.name
    }

    /// Cancelled when whoever still listens must sign in again.
    pub(in crate::api) fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// When they are let in no more, milliseconds since 1970; `None`: never.
    pub(in crate::api) fn expires_ms(&self) -> Option<i64> {
        self.person.expires_ms
    }

    /// Tells answers for this scope from those for others.
    pub(in crate::api) fn mark_of_scope(&self) -> u64 {
        if self.sees_everything() {
            return 0;
        }
        xxhash_rust::xxh3::xxh3_64(format!("{:?}", self.person.scope).as_bytes())
    }

    /// Whether anybody was asked who they are.
    pub(in crate::api) fn is_known(&self) -> bool {
        !self.auth.is_empty()
    }

    /// The same as the record of a change has it. Only who was not asked may tell a name.
    pub(in crate::api) fn actor(&self, told: Option<&str>, via: &str) -> Actor {
        let name = told.filter(|_| !self.is_known()).unwrap_or(self.name());
        Actor {
            auth: self.auth.to_owned(),
            address: self
                .address
                .map(|address| address.to_string())
                .unwrap_or_default(),
            ..Actor::new(name, via)
        }
    }

    /// What tells a token or user from others, or, where nobody was asked who they are, an address.
    pub(in crate::api) fn mark_of_source(&self) -> String {
        if self.is_known() {
            return self.mark();
        }
        format!("{:?}", Source::of(self.address))
    }

    /// What must be said once more to tell this caller's requests from others'.
    pub(in crate::api) fn mark(&self) -> String {
        format!("{}:{}", self.auth, self.name())
    }

    /// Refuses what the role does not allow.
    pub(in crate::api) fn must(&self, need: Need, what: impl fmt::Display) -> Result<(), Problem> {
        if self.person.role.may(need) {
            return Ok(());
        }
        let role = self.person.role;
        Err(Problem::new(
            ROLE,
            format!(
                "{what} takes the role {}, and yours is {role}; ask who keeps the file of this daemon",
                need.roles()
            ),
        ))
    }

    /// Whether nothing is hidden from them.
    pub(in crate::api) fn sees_everything(&self) -> bool {
        self.person.scope.is_everything()
    }

    /// Refuses what tells of everything, to whom something is hidden.
    pub(in crate::api) fn must_see_everything(&self) -> Result<(), Problem> {
        if self.sees_everything() {
            return Ok(());
        }
        let sentence =
            "this tells of all queues and flags; ask with a token that has no limits to its scope";
        Err(Problem::new(SCOPE, sentence))
    }

    /// Whether this queue is there for them.
    pub(in crate::api) fn sees_queue(&self, name: &str) -> bool {
        self.person.scope.has_queue(name)
    }

    /// Whether this flag is there for them.
    pub(in crate::api) fn sees_flag(&self, key: &str) -> bool {
        self.person.scope.has_flag(key)
    }

    /// Whether this opening is there for them: it lies on a flag that is.
    pub(in crate::api) fn sees_opening(&self, opening: &Opening) -> bool {
        opening
            .values
            .iter()
            .any(|(key, _)| self.sees_flag(key.as_str()))
    }

    /// Whether this segment is there for them: a flag that is names it, or none at all does.
    pub(in crate::api) fn sees_segment(&self, name: &str, snapshot: &Snapshot) -> bool {
        self.sees_everything() || {
            let mut flags = flags_of(name, snapshot).peekable();
            flags.peek().is_none() || flags.any(|key| self.sees_flag(key))
        }
    }

    /// Refuses an edit of what is not there for them, or is more than their role allows.
    pub(in crate::api) fn may_make(&self, edit: &Edit, snapshot: &Snapshot) -> Result<(), Problem> {
        let flag = |key: &str| {
            if self.sees_flag(key) {
                Ok(())
            } else {
                Err(Problem::never_a_flag(key))
            }
        };
        match edit {
            Edit::Create(document) | Edit::Replace(document) => flag(&document.key),
            Edit::Set(key, _) | Edit::SetOver(key, ..) | Edit::Undo(key, Some(_)) => {
                flag(key.as_str())
            }
            Edit::Delete(key) | Edit::Undo(key, None) => {
                flag(key.as_str())?;
                self.must(
                    Need::Administer,
                    "to delete a flag, whose name is then never given again,",
                )
            }
            Edit::PutSegment(document) => self.may_edit_segment(&document.name, snapshot),
            Edit::Members { segment, .. } => self.may_edit_segment(segment.as_str(), snapshot),
            Edit::DeleteSegment(name) => {
                self.may_edit_segment(name.as_str(), snapshot)?;
                self.must(Need::Administer, "to delete a segment")
            }
            Edit::Open { values, .. } => values.iter().try_for_each(|(key, _)| flag(key.as_str())),
            Edit::Extend(id, _) | Edit::Ramp(id, _) | Edit::Close(id) => {
                self.may_edit_opening(*id, snapshot)
            }
            Edit::Resolve(resolution) => {
                let unseen = |job: &&Resolved| !self.sees_queue(job.queue.as_str());
                match resolution.jobs.iter().find(unseen) {
                    Some(job) => Err(queues::none(job.queue.as_str())),
                    None => Ok(()),
                }
            }
            Edit::Several(edits) => edits
                .iter()
                .try_for_each(|one| self.may_make(&one.edit, snapshot)),
        }
    }

    /// Says of a segment that is not there for them, that it is not there.
    pub(in crate::api) fn may_see_segment(
        &self,
        name: &str,
        snapshot: &Snapshot,
    ) -> Result<(), Problem> {
        if self.sees_segment(name, snapshot) {
            return Ok(());
        }
        let none = Refused::NoSegment(name.chars().take(LONGEST_ECHO).collect());
        Err(Problem::new(NO_SUCH_SEGMENT, none.to_string()))
    }

    /// Says of an opening that is not there for them, that it is not there.
    pub(in crate::api) fn may_see_opening(
        &self,
        id: OpeningId,
        snapshot: &Snapshot,
    ) -> Result<(), Problem> {
        match snapshot.opening(id) {
            Some(opening) if !self.sees_opening(opening) => Err(Problem::new(
                NO_SUCH_OPENING,
                Refused::NoOpening(id).to_string(),
            )),
            _ => Ok(()), // whoever looks for it says that it is not there
        }
    }

    fn may_edit_segment(&self, name: &str, snapshot: &Snapshot) -> Result<(), Problem> {
        self.may_see_segment(name, snapshot)?;
        if self.sees_everything() || flags_of(name, snapshot).all(|key| self.sees_flag(key)) {
            return Ok(());
        }
        Err(Problem::new(
            SCOPE,
            "this segment is named by flags outside of your scope too; ask somebody whose scope has them all",
        ))
    }

    fn may_edit_opening(&self, id: OpeningId, snapshot: &Snapshot) -> Result<(), Problem> {
        self.may_see_opening(id, snapshot)?;
        let Some(opening) = snapshot.opening(id) else {
            return Ok(());
        };
        if opening
            .values
            .iter()
            .all(|(key, _)| self.sees_flag(key.as_str()))
        {
            return Ok(());
        }
        Err(Problem::new(
            SCOPE,
            "this opening lies on flags outside of your scope too; ask somebody whose scope has them all",
        ))
    }

    /// How long an opening of theirs may last.
    pub(in crate::api) fn longest_opening(&self) -> Span {
        // Who was not asked who they are may what an operator may.
        if self.is_known() && self.person.role == Role::Admin {
            LONGEST_OF_ADMINS
        } else {
            LONGEST
        }
    }
}

/// The flags whose rules or openings name a segment.
fn flags_of<'s>(segment: &'s str, snapshot: &'s Snapshot) -> impl Iterator<Item = &'s str> {
    let names = move |clauses: &[ClauseDocument]| named_segments(clauses).any(|one| one == segment);
    let by_rule = move |flag: &&Arc<Flag>| flag.names_segment(segment);
    let openings = snapshot
        .openings()
        .filter(move |opening| names(&opening.when));
    let opened: BTreeSet<&str> = openings
        .flat_map(|opening| opening.values.iter().map(|(key, _)| key.as_str()))
        .collect();
    snapshot
        .flags()
        .filter(by_rule)
        .map(|flag| flag.key.as_str())
        .chain(opened)
}

impl Caller {
    /// Who sent this request: the guard has let them in.
    pub(in crate::api) fn of(parts: &Parts) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::new(SIGN_IN, super::SIGN_IN_BY))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(parts)
    }
}
