//! What becomes of a delivery once it was shed or came back from the target.

use std::time::Duration;

use super::backoff::{DELAYS, delay_for, retry_delay};
use super::lane::Lane;
use super::units::Span;
use super::verdict::Why;

/// What came back for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was passed on for certain, to somebody who may report later what came of it.
    HandedOver,
    /// It was surely not done; try again later.
    Retry(String),
    /// The target asks for less; after this long, if it said so.
    Throttled(Option<Duration>),
    /// It was refused for good.
    Failed(String),
    /// It was sent, and no full answer came: it may have been done.
    Unknown(String),
    /// The target has no room for it now: it stays in hand, nothing is settled, and the target has a rest.
    Full,
    /// Nobody who may do this one takes it now, though others are done: deferred, the attempt not counted.
    NoProvider(String),
    /// The target cannot take it now for this reason, which somebody should mend: it stays in hand, too.
    Held(String),
}

impl Outcome {
    /// The word of the label `outcome`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::HandedOver => "handed_over",
            Self::Retry(_) => "retry",
            Self::Throttled(_) => "throttled",
            Self::Failed(_) => "failed",
            Self::Unknown(_) => "unknown",
            Self::Full => "full",
            Self::NoProvider(_) => "no_provider",
            Self::Held(_) => "held",
        }
    }

    /// Whether the target did not take it, so that nothing has happened.
    #[must_use]
    pub fn was_not_taken(&self) -> bool {
        matches!(self, Self::Full | Self::Held(_))
    }

    /// What went wrong, in a sentence; empty when nothing did.
    #[must_use]
    pub fn cause(&self) -> &str {
        match self {
            Self::Retry(cause)
            | Self::Failed(cause)
            | Self::Unknown(cause)
            | Self::NoProvider(cause)
            | Self::Held(cause) => cause,
            Self::Done | Self::HandedOver | Self::Throttled(_) | Self::Full => "",
        }
    }
}

/// A place for a message that leaves our hands otherwise than through the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The park: durable, replayable.
    Park,
    /// Where dead letters go.
    Dead,
    /// Back to the queue after this delay, one of [`DELAYS`].
    Delay(Span),
    /// The lane of its key, from which it is taken when its key's turn has come.
    Lane(Lane),
    /// The admitted queue that workers read: the target itself, when that is a queue.
    Admitted,
    /// The queue that is told what came of jobs.
    Results,
}

/// What happens to a shed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It is gone.
    Drop,
    /// It goes where dead letters go.
    DeadLetter,
    /// It goes to the park, from which it can be replayed.
    Park,
}

/// What happens to a message that may have been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnknown {
    /// It is tried again, with the same idempotency key.
    Retry,
    /// Another provider of the pool gets it at once; when there is none, it goes to the park.
    Failover,
    /// It goes to the park.
    Park,
}

/// The next step for a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Acknowledge it.
    Ack,
    /// Put it somewhere, then acknowledge it; there it is known to have been tried this often.
    Move(Place, u32),
}

/// What becomes of a message that came back from its `attempt`th attempt (from 1) of at most `attempts`; `None`: it was not
/// taken, which is no attempt, and stays in hand.
#[must_use]
pub fn after_run(
    outcome: &Outcome,
    attempt: u32,
    attempts: u32,
    on_unknown: OnUnknown,
) -> Option<(Next, Why)> {
    let again = |why| {
        if attempt < attempts {
            (Next::Move(Place::Delay(retry_delay(attempt)), attempt), why)
        } else {
            (Next::Move(Place::Dead, attempt), Why::Attempts)
        }
    };
    Some(match outcome {
        Outcome::Full | Outcome::Held(_) => return None,
        Outcome::Done => (Next::Ack, Why::Done),
        Outcome::HandedOver => (Next::Ack, Why::HandedOver),
        Outcome::Failed(_) => (Next::Move(Place::Dead, attempt), Why::Failed),
        Outcome::Retry(_) => again(Why::Retry),
        Outcome::Unknown(_) if on_unknown != OnUnknown::Retry => {
            (Next::Move(Place::Park, attempt), Why::Unknown)
        }
        Outcome::Unknown(_) => again(Why::Unknown),
        Outcome::NoProvider(_) => {
            let made = attempt.saturating_sub(1);
            (Next::Move(Place::Delay(DELAYS[0]), made), Why::NoProvider)
        }
        Outcome::Throttled(after) => {
            let delay = after.map_or(DELAYS[0], delay_for);
            (
                Next::Move(Place::Delay(delay), attempt.saturating_sub(1)),
                Why::Throttled,
            )
        }
    })
}

/// What becomes of a shed message, or of one that must wait elsewhere.
#[must_use]
pub fn after_shed(disposition: Disposition, attempts_made: u32) -> Next {
    match disposition {
        Disposition::Drop => Next::Ack,
        Disposition::DeadLetter => Next::Move(Place::Dead, attempts_made),
        Disposition::Park => Next::Move(Place::Park, attempts_made),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(what: &str, outcome: &Outcome, attempt: u32, on_unknown: OnUnknown, expected: &str) {
        let Some((next, why)) = after_run(outcome, attempt, 5, on_unknown) else {
            return assert_eq!("in hand", expected, "{what}");
        };
        let said = match next {
            Next::Ack => "ack".to_owned(),
            Next::Move(Place::Delay(delay), tried) => format!("delay {delay}, tried {tried}"),
            Next::Move(place, tried) => format!("{place:?}, tried {tried}").to_lowercase(),
        };
        assert_eq!(format!("{said} ({})", why.word()), expected, "{what}");
    }

    #[test]
    fn what_becomes_of_what_came_back() {
        let cause = || "the worker answered 500".to_owned();
        let hour = Outcome::Throttled(Some(Duration::from_secs(3_600)));
        use OnUnknown::{Park, Retry};
        check("done", &Outcome::Done, 1, Retry, "ack (done)");
        check("no room", &Outcome::Full, 5, Park, "in hand");
        check("held", &Outcome::Held(cause()), 5, Park, "in hand");
        check(
            "first retry",
            &Outcome::Retry(cause()),
            1,
            Retry,
            "delay 5s, tried 1 (retry)",
        );
        check(
            "fourth",
            &Outcome::Retry(cause()),
            4,
            Retry,
            "delay 10m, tried 4 (retry)",
        );
        check(
            "the last",
            &Outcome::Retry(cause()),
            5,
            Retry,
            "dead, tried 5 (attempts)",
        );
        check(
            "failed",
            &Outcome::Failed(cause()),
            1,
            Retry,
            "dead, tried 1 (failed)",
        );
        check(
            "unknown is tried again",
            &Outcome::Unknown(cause()),
            1,
            Retry,
            "delay 5s, tried 1 (unknown)",
        );
        check(
            "but not for ever",
            &Outcome::Unknown(cause()),
            5,
            Retry,
            "dead, tried 5 (attempts)",
        );
        check(
            "or parked",
            &Outcome::Unknown(cause()),
            1,
            Park,
            "park, tried 1 (unknown)",
        );
        check(
            "throttled costs no attempt",
            &hour,
            2,
            Retry,
            "delay 10m, tried 1 (throttled)",
        );
        check(
            "without a time",
            &Outcome::Throttled(None),
            1,
            Retry,
            "delay 5s, tried 0 (throttled)",
        );
    }
}
