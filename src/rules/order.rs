//! Order: what must be done one after the other, and what becomes of those that wait behind one that fails.
//!
//! Messages that must keep their order form a line: those of one key, or all of a queue. Of a line at most one is at the target.
//! It is tried again where it stands, at the head of its line; when it fails for good its line is blocked, and what follows is
//! parked until an operator releases the key. So a message is never done before one that came before it in its line.

use std::time::Duration;

use super::lots::KeyHash;
use super::settlement::{Next, OnUnknown, Outcome, Place, after_run};
use super::verdict::Why;

/// Whether a queue keeps the order of its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// It does not: by priority, then age.
    #[default]
    None,
    /// For each key; messages without the key keep it among themselves.
    Key,
    /// For all.
    Strict,
}

/// The name under which a whole queue is blocked, when its order is strict.
pub const EVERYTHING: &str = "*";

/// The longest wait in place that a target may ask for.
const LONGEST_AS_ASKED: Duration = Duration::from_secs(300);
/// The wait for a target that asks for less and does not say for how long.
const AS_ASKED: Duration = Duration::from_secs(5);

impl Order {
    /// Whether any order is kept.
    #[must_use]
    pub fn is_kept(self) -> bool {
        self != Self::None
    }

    /// The line in which a message of `key` stands. Without order a line is only formed by those of a key that must wait.
    #[must_use]
    pub fn line(self, key: Option<KeyHash>) -> Option<KeyHash> {
        match self {
            Self::None => key,
            Self::Key => Some(key.unwrap_or_else(|| KeyHash::of(b""))),
            Self::Strict => Some(KeyHash::of(EVERYTHING.as_bytes())),
        }
    }

    /// What a line of messages with this key is called.
    #[must_use]
    pub fn line_name(self, key: Option<&str>) -> &str {
        match self {
            Self::Strict => EVERYTHING,
            Self::None | Self::Key => key.unwrap_or_default(),
        }
    }

    /// The slots of a queue that does not say how many it has.
    #[must_use]
    pub fn usual_slots(self, otherwise: u32) -> u32 {
        if self == Self::Strict { 1 } else { otherwise }
    }

    /// The prefetch that follows from the slots. Of many keys some wait for a retry with all that follows of them in hand, and
    /// the others must still find room.
    #[must_use]
    pub fn prefetch_for(self, slots: u32) -> u16 {
        let (each, least) = if self == Self::Key {
            (32, 256)
        } else {
            (2, 16)
        };
        u16::try_from(slots.saturating_mul(each).clamp(least, 1_000)).unwrap_or(1_000)
    }

    /// The word of the setting.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Key => "key",
            Self::Strict => "strict",
        }
    }
}

/// The next step for a message of an ordered queue that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is acknowledged, and the next of its line may go.
    Over,
    /// It stays at the head of its line and is tried again after so long; by then it is known to have been tried so often.
    Again(Duration, u32),
    /// Its line is blocked, which is written down first; then it is put there, known to have been tried so often.
    Blocked(Place, u32),
}

/// What becomes of a message of an ordered queue that came back from its `attempt`th attempt (from 1) of at most `attempts`;
/// `None`: it was not taken, and stays in its place.
#[must_use]
pub fn after_run_in_order(
    outcome: &Outcome,
    attempt: u32,
    attempts: u32,
    on_unknown: OnUnknown,
) -> Option<(Turn, Why)> {
    let (next, why) = after_run(outcome, attempt, attempts, on_unknown)?;
    let turn = match next {
        Next::Ack => Turn::Over,
        Next::Move(Place::Delay(_), tried) => Turn::Again(wait_in_place(outcome, attempt), tried),
        Next::Move(place, tried) => Turn::Blocked(place, tried),
    };
    Some((turn, why))
}

/// How long a message waits at the head of its line after its `attempt`th attempt: 1 s, 5 s, then 30 s each; or as long as the
/// target asks for, at most 5 minutes. All far below the 30 minutes after which a broker takes a delivery back.
fn wait_in_place(outcome: &Outcome, attempt: u32) -> Duration {
    match outcome {
        Outcome::Throttled(asked) => asked.unwrap_or(AS_ASKED).min(LONGEST_AS_ASKED),
        _ => Duration::from_secs(match attempt {
            0 | 1 => 1,
            2 => 5,
            _ => 30,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(what: &str, outcome: &Outcome, attempt: u32, on_unknown: OnUnknown, expected: &str) {
        let (turn, why) = after_run_in_order(outcome, attempt, 5, on_unknown).unwrap();
        let said = match turn {
            Turn::Over => "over".to_owned(),
            Turn::Again(wait, tried) => format!("again after {} s, tried {tried}", wait.as_secs()),
            Turn::Blocked(place, tried) => {
                format!("blocked, {place:?}, tried {tried}").to_lowercase()
            }
        };
        assert_eq!(format!("{said} ({})", why.word()), expected, "{what}");
    }

    #[test]
    fn what_becomes_of_what_came_back() {
        use OnUnknown::{Park, Retry};
        let down = || Outcome::Retry("down".into());
        let unknown = || Outcome::Unknown("cut off".into());
        let asks = |secs| Outcome::Throttled(Some(Duration::from_secs(secs)));
        check("done", &Outcome::Done, 1, Retry, "over (done)");
        check("on", &Outcome::HandedOver, 1, Retry, "over (handed_over)");
        check("1st", &down(), 1, Retry, "again after 1 s, tried 1 (retry)");
        check("2nd", &down(), 2, Retry, "again after 5 s, tried 2 (retry)");
        let fourth = "again after 30 s, tried 4 (retry)";
        check("4th", &down(), 4, Retry, fourth);
        let last = "blocked, dead, tried 5 (attempts)";
        check("the last", &down(), 5, Retry, last);
        let failed = Outcome::Failed("no".into());
        let dead = "blocked, dead, tried 1 (failed)";
        check("failed", &failed, 1, Retry, dead);
        let again = "again after 1 s, tried 1 (unknown)";
        check("unknown is tried again", &unknown(), 1, Retry, again);
        let parked = "blocked, park, tried 1 (unknown)";
        check("or parked", &unknown(), 1, Park, parked);
        let as_asked = "again after 40 s, tried 0 (throttled)";
        check("throttled", &asks(40), 1, Retry, as_asked);
        let bounded = "again after 300 s, tried 2 (throttled)";
        check("for an hour", &asks(3_600), 3, Retry, bounded);
        let unsaid = "again after 5 s, tried 0 (throttled)";
        check(
            "without a time",
            &Outcome::Throttled(None),
            1,
            Retry,
            unsaid,
        );
    }

    #[test]
    fn who_stands_in_which_line() {
        let (acme, bulk) = (Some(KeyHash(1)), Some(KeyHash(2)));
        assert_eq!(Order::None.line(None), None);
        assert_eq!(Order::None.line(acme), acme);
        assert_eq!(Order::Key.line(acme), acme);
        assert_ne!(Order::Key.line(acme), Order::Key.line(bulk));
        assert_eq!(Order::Key.line(None), Order::Key.line(None));
        assert!(Order::Key.line(None).is_some(), "they keep it, too");
        assert_eq!(Order::Strict.line(acme), Order::Strict.line(None));
        assert_eq!(Order::Strict.line_name(Some("acme")), EVERYTHING);
        assert_eq!(Order::Key.line_name(None), "");
    }
}
