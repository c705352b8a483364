//! What the gate says of a message, and every way in which a delivery can end. The words are the same in metric, log and panel.

use std::sync::Arc;
use std::time::Duration;

use super::opening::OpeningId;
use super::rule_name::RuleName;

/// Why a delivery was settled the way it was: a closed list, one entry for each series of `messages_settled_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Why {
    /// The target did it.
    Done,
    /// The target passed it on.
    HandedOver,
    /// Surely not done: deferred, to be tried again.
    Retry,
    /// The last attempt was used up: dead-lettered.
    Attempts,
    /// The target asked for less: deferred, the attempt not counted.
    Throttled,
    /// The target refused it for good: dead-lettered.
    Failed,
    /// It may have been done.
    Unknown,
    /// It cannot be read: dead-lettered.
    Malformed,
    /// An earlier message of its key failed, and the queue keeps their order.
    Blocked,
    /// It is too old.
    Expired,
    /// `degrade` said reject.
    Rejected,
    /// `skip` drew its lot.
    Skipped,
    /// It is not to be done before a time that has not come: deferred.
    NotYet,
    /// A rate made it wait too long: in a lane, or deferred.
    Rate,
    /// A concurrency limit made it wait too long: in a lane, or deferred.
    Concurrency,
    /// No provider takes it: deferred.
    NoProvider,
    /// Undispatched at pause or stop: returned to the queue.
    GivenBack,
    /// An acknowledgement that was not surely sent: the broker will redeliver.
    Unsettled,
}

impl Why {
    /// All of them, in the order of their numbers.
    pub const ALL: [Why; 18] = [
        Why::Done,
        Why::HandedOver,
        Why::Retry,
        Why::Attempts,
        Why::Throttled,
        Why::Failed,
        Why::Unknown,
        Why::Malformed,
        Why::Blocked,
        Why::Expired,
        Why::Rejected,
        Why::Skipped,
        Why::NotYet,
        Why::Rate,
        Why::Concurrency,
        Why::NoProvider,
        Why::GivenBack,
        Why::Unsettled,
    ];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Its word, as in the label `reason`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::HandedOver => "handed_over",
            Self::Retry => "retry",
            Self::Attempts => "attempts",
            Self::Throttled => "throttled",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Malformed => "malformed",
            Self::Blocked => "blocked",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::Skipped => "skipped",
            Self::NotYet => "not_yet",
            Self::Rate => "rate",
            Self::Concurrency => "concurrency",
            Self::NoProvider => "no_provider",
            Self::GivenBack => "given_back",
            Self::Unsettled => "unsettled",
        }
    }

    /// The verdict it belongs to, as in the label `verdict`: run, shed, wait or back.
    #[must_use]
    pub const fn verdict(self) -> &'static str {
        match self {
            Self::Done
            | Self::HandedOver
            | Self::Retry
            | Self::Attempts
            | Self::Throttled
            | Self::Failed
            | Self::Unknown => "run",
            Self::Malformed | Self::Blocked | Self::Expired | Self::Rejected | Self::Skipped => {
                "shed"
            }
            Self::NotYet | Self::Rate | Self::Concurrency | Self::NoProvider => "wait",
            Self::GivenBack | Self::Unsettled => "back",
        }
    }
}

/// Whose value decided: that of an opening, of a rule, or neither.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct By {
    /// The opening.
    pub opening: Option<OpeningId>,
    /// The rule's name.
    pub rule: Option<RuleName>,
    /// The numbers that it was decided by, in a sentence; `None`: the value alone decided.
    pub numbers: Option<Arc<str>>,
}

/// What the gate says of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may go on to the throttle and the target.
    Run,
    /// It is shed.
    Shed {
        /// Why: malformed, blocked, expired, rejected or skipped.
        why: Why,
        /// Who decided.
        by: By,
    },
    /// Its time has not come.
    NotYet(Duration),
}

impl Verdict {
    /// It is shed.
    #[must_use]
    pub fn shed(why: Why, by: By) -> Self {
        Self::Shed { why, by }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_the_order_of_its_numbers() {
        for (number, why) in Why::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, number, "{}", why.word());
        }
    }
}
