//! The same request sent twice changes things once: answers are remembered by the caller's `Idempotency-Key` (FAULTS G29).
//!
//! In memory, bounded in number, bytes and time. Only what changed something is remembered: a refusal may be asked again.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::answer::Answer;
use super::error::{KEY_REUSED, Problem};

const KEPT_FOR: Duration = Duration::from_secs(24 * 3_600);
const MOST_KEPT: usize = 1_000;
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// One request, as told from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticket {
    /// The caller's key.
    pub(super) key: String,
    /// A hash of all that the request says.
    pub(super) request: [u8; 32],
}

/// The answers of the last day.
#[derive(Debug, Default)]
pub struct Remembered {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    answers: VecDeque<(Duration, Ticket, Answer)>, // oldest first
    bytes: usize,
}

impl Remembered {
    /// The answer to a request: the remembered one, or what `act` gives, which is then remembered. Holds the list meanwhile, so
    /// that the same request twice at once is not done twice; changes wait for each other anyway.
    pub(super) fn once(
        &self,
        ticket: &Ticket,
        now: Duration,
        act: impl FnOnce() -> Result<Answer, Problem>,
    ) -> Result<Answer, Problem> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.forget(now);
        if let Some(answer) = kept.find(ticket)? {
            return Ok(answer);
        }
        let answer = act()?;
        kept.bytes += answer.size();
        kept.answers
            .push_back((now, ticket.clone(), answer.clone()));
        Ok(answer)
    }
}

impl Remembered {
    /// The answer of the last time, if the same request came before.
    pub(super) fn find(&self, ticket: &Ticket, now: Duration) -> Result<Option<Answer>, Problem> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.forget(now);
        kept.find(ticket)
    }
}

impl Kept {
    fn find(&self, ticket: &Ticket) -> Result<Option<Answer>, Problem> {
        let mut answers = self.answers.iter();
        match answers.find(|(_, one, _)| one.key == ticket.key) {
            None => Ok(None),
            Some((_, first, answer)) if first == ticket => Ok(Some(answer.clone())),
            Some(_) => Err(Problem::new(
                KEY_REUSED,
                "this Idempotency-Key came with another request before; take a new key for each new request",
            )),
        }
    }

    fn forget(&mut self, now: Duration) {
        while self.answers.front().is_some_and(|(since, ..)| {
            now.saturating_sub(*since) >= KEPT_FOR
                || self.answers.len() >= MOST_KEPT
                || self.bytes > MOST_BYTES
        }) {
            if let Some((.., answer)) = self.answers.pop_front() {
                self.bytes -= answer.size();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(key: &str, request: u8) -> Ticket {
        Ticket {
            key: key.to_owned(),
            request: [request; 32],
        }
    }

    /// Whether a request was acted on, for the first time or again; `None`: it was refused.
    fn acted(remembered: &Remembered, ticket: &Ticket, hours: u64) -> Option<bool> {
        let mut acted = false;
        let answer = remembered.once(ticket, Duration::from_secs(hours * 3_600), || {
            acted = true;
            Ok(Answer::sample())
        });
        answer.ok().map(|_| acted)
    }

    #[test]
    fn a_key_acts_once_within_a_day_and_never_for_two_requests() {
        let remembered = Remembered::default();
        for (what, key, request, hours, expected) in [
            ("first", "a", 1, 0, Some(true)),
            ("again", "a", 1, 23, Some(false)),
            ("another request", "a", 2, 23, None),
            ("another key", "b", 1, 23, Some(true)),
            ("after a day", "a", 1, 24, Some(true)),
        ] {
            assert_eq!(
                acted(&remembered, &ticket(key, request), hours),
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn a_refusal_is_not_remembered() {
        let remembered = Remembered::default();
        let refused = Problem::new(super::super::error::LIMIT, "no");
        let first = remembered.once(&ticket("a", 1), Duration::ZERO, || Err(refused));
        assert!(first.is_err());
        assert_eq!(acted(&remembered, &ticket("a", 2), 0), Some(true));
    }

    #[test]
    fn memory_is_bounded() {
        let remembered = Remembered::default();
        for number in 0..2 * MOST_KEPT {
            assert_eq!(
                acted(&remembered, &ticket(&number.to_string(), 0), 0),
                Some(true)
            );
        }
        assert!(remembered.kept.lock().unwrap().answers.len() <= MOST_KEPT);
    }
}
