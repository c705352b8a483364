//! What a pool says of a job when nobody is asked any more: to the worker, to the list of jobs in doubt, and to whoever is told results; and of a
//! provider that rests or passes again, to the log.

use std::sync::Arc;

use super::mail::Mail;
use super::pool::SharedPool;
use super::results::{CallMade, JobResult, RecipientTold};
use crate::clock::Now;
use crate::config::OnUnknown;
use crate::rules::breaker::Turn;
use crate::rules::doubt::Doubt;
use crate::rules::reply::Reply;
use crate::seams::{Job, Outcome};
use crate::vitals::providers::ProviderVitals;

/// A job as it ended in this attempt.
pub(super) struct Ending<'a> {
    pub(super) job: &'a Job,
    pub(super) mail: Option<&'a Mail>,
    /// Addresses that were left out.
    pub(super) left_out: &'a [String],
    /// Who was asked, by number in the pool, and what each said.
    pub(super) calls: &'a [(usize, Reply)],
    pub(super) outcome: &'a Outcome,
}

impl Ending<'_> {
    /// Nobody was left to send it to.
    pub(super) fn was_suppressed(&self) -> bool {
        self.calls.is_empty() && !self.left_out.is_empty() && *self.outcome == Outcome::Done
    }

    /// Whether the worker is done with the job after this attempt: its word, or nothing while it is tried again.
    fn last_word(&self, on_unknown: OnUnknown, attempts: u32) -> Option<&'static str> {
        let last = self.job.attempt >= attempts;
        Some(match self.outcome {
            Outcome::Done if self.was_suppressed() => "suppressed",
            Outcome::Done => "done",
            Outcome::Failed(_) => "failed",
            Outcome::Retry(_) if last => "failed",
            Outcome::Unknown(_) if last || on_unknown != OnUnknown::Retry => "unknown",
            _ => return None,
        })
    }

    /// The job as one that may have been done; none unless its message goes to the park because of that.
    pub(super) fn doubt(
        &self,
        pool: &SharedPool,
        on_unknown: OnUnknown,
        now: Now,
    ) -> Option<Doubt> {
        let Outcome::Unknown(cause) = self.outcome else {
            return None;
        };
        let (at, _) = self.calls.last()?;
        (on_unknown != OnUnknown::Retry).then(|| Doubt {
            queue: self.job.queue.clone(),
            id: Arc::clone(&self.job.id),
            pool: Arc::clone(&pool.settings.name),
            provider: Arc::clone(&pool.providers[*at].name),
            message_id: self.mail.map(|mail| mail.message_id.as_str().into()),
            account: self.job.account.clone(),
            cause: cause.clone(),
            attempt: self.job.attempt,
            at_ms: now.ms,
        })
    }

    /// What is told of it; nothing while it is tried again.
    pub(super) fn result(
        &self,
        pool: &SharedPool,
        (on_unknown, attempts): (OnUnknown, u32),
        now: Now,
    ) -> Option<JobResult> {
        let outcome = self.last_word(on_unknown, attempts)?;
        let name = |at: usize| pool.providers[at].name.to_string();
        let calls = self.calls.iter().map(|(at, reply)| CallMade {
            provider: name(*at),
            reply: reply.word(),
            cause: reply.cause().to_owned(),
        });
        let last = self.calls.last();
        let theirs = last.and_then(|(_, reply)| match reply {
            Reply::Done(theirs) => theirs.clone(),
            _ => None,
        });
        let cause = self.outcome.cause();
        Some(JobResult {
            v: JobResult::V,
            queue: self.job.queue.to_string(),
            id: self.job.id.to_string(),
            pool: pool.settings.name.to_string(),
            outcome,
            provider: last.map(|(at, _)| name(*at)),
            provider_message_id: theirs,
            message_id: self.mail.map(|mail| mail.message_id.clone()),
            account: self.job.account.as_ref().map(ToString::to_string),
            attempt: self.job.attempt,
            calls: calls.collect(),
            cause: (!cause.is_empty()).then(|| cause.to_owned()),
            recipients: self.recipients(outcome),
            at: jiff::Timestamp::from_millisecond(now.ms)
                .unwrap_or_default()
                .to_string(),
        })
    }

    fn recipients(&self, outcome: &'static str) -> Vec<RecipientTold> {
        let Some(mail) = self.mail else {
            return Vec::new();
        };
        let outcome = match outcome {
            "done" => "accepted",
            other => other,
        };
        let refused = mail.refused.borrow();
        let others = mail.recipients().map(|mailbox| {
            let address = mailbox.email.to_string();
            let refused = refused.iter().find(|one| one.address == address);
            match refused.filter(|_| outcome == "accepted") {
                Some(refused) => told(address, "refused", &refused.cause),
                None => told(address, outcome, ""),
            }
        });
        let left_out = self.left_out.iter();
        let left_out = left_out.map(|address| told(address.clone(), "suppressed", ""));
        others.chain(left_out).collect()
    }
}

fn told(address: String, outcome: &'static str, cause: &str) -> RecipientTold {
    RecipientTold {
        address,
        outcome,
        cause: cause.to_owned(),
    }
}

/// Says that a provider rests or passes again.
pub(crate) fn tell(provider: &ProviderVitals, turn: Option<Turn>) {
    let name = &provider.name;
    match turn {
        Some(Turn::Rests(trip)) => {
            let report = provider.refuses_us();
            tracing::warn!(
                provider = %name, failed = trip.failed, calls = trip.calls, overdue = trip.overdue, refuses_us = report,
                "a provider rests; what is meant for it goes to the next"
            );
        }
        Some(Turn::Passes) => {
            tracing::info!(provider = %name, "a provider passes again; its share grows in steps");
        }
        None => {}
    }
}
