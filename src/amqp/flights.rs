//! Publishes under way, and what may be believed of each.
//!
//! A mandatory message that has no queue comes back, and its confirm is an `Ack` all the same. Lapin gives what came back to
//! whichever publish of the same acknowledgement it completes first: one that was placed may carry the return of another, and
//! that other a bare `Ack`. So each message bears a number; those that carry a return are asked whose it is; and a bare `Ack` is
//! believed only when everything that lapin completed before it was looked at. May import `seams`.

use std::collections::{HashSet, VecDeque};
use std::future::{Future, ready};

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::oneshot;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::seams::NotPlaced;

/// Who waits for what comes of a publish.
pub(super) type Waiting = oneshot::Sender<Result<(), NotPlaced>>;

/// What the broker said, as lapin tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Acknowledged.
    Taken,
    /// Acknowledged, and the message with this number came back.
    CameBack(Option<i64>),
    /// Not acknowledged: the queue is full.
    Full,
}

/// What may be believed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Believed {
    Placed,
    CameBack,
    Full,
    /// The return of another came with it; its own may have gone to somebody else.
    Doubtful,
    Not(NotPlaced),
}

/// A publish that has come to its end; nobody waits for it when it came too late.
pub(super) struct Landed {
    pub(super) number: i64,
    pub(super) name: String,
    pub(super) said: Result<Said, NotPlaced>,
    pub(super) waiting: Option<Waiting>,
    /// Given back when it is answered.
    pub(super) _token: TaskTrackerToken,
}

enum Came {
    Home(Landed),
    /// All that was completed before the mark was set has come.
    Mark,
}

/// Publishes under way.
#[derive(Default)]
pub(super) struct Flights {
    set: FuturesUnordered<LocalBoxFuture<'static, Came>>,
    /// The numbers of messages that came back with another.
    returned: HashSet<i64>,
    /// Bare acknowledgements that are not believed yet, in the order in which they came.
    held: VecDeque<Landed>,
    /// So many of them will be believed when the mark comes; 0: no mark is set.
    marked: usize,
    /// So many of them can be believed now.
    sure: usize,
}

impl Flights {
    /// One more; it is first polled by [`Flights::next`].
    pub(super) fn push(&mut self, flight: impl Future<Output = Landed> + 'static) {
        self.set.push(flight.map(Came::Home).boxed_local());
    }

    /// How many are not answered.
    pub(super) fn len(&self) -> usize {
        self.set.len() + self.held.len() - usize::from(self.marked > 0)
    }

    /// The next that can be answered; none while none is under way. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<(Landed, Believed)> {
        loop {
            if self.sure > 0
                && let Some(landed) = self.held.pop_front()
            {
                self.sure -= 1;
                let back = self.returned.remove(&landed.number);
                let believed = if back {
                    Believed::CameBack
                } else {
                    Believed::Placed
                };
                return Some((landed, believed));
            }
            if self.set.is_empty() {
                self.returned.clear();
            }
            let landed = match self.set.next().await? {
                Came::Home(landed) => landed,
                Came::Mark => {
                    self.sure = std::mem::take(&mut self.marked);
                    self.mark();
                    continue;
                }
            };
            let believed = match landed.said.clone() {
                Ok(Said::Taken) => {
                    self.held.push_back(landed);
                    self.mark();
                    continue;
                }
                Ok(Said::Full) => Believed::Full,
                Ok(Said::CameBack(Some(back))) if back == landed.number => Believed::CameBack,
                Ok(Said::CameBack(another)) => {
                    self.returned.extend(another);
                    Believed::Doubtful
                }
                Err(why) => Believed::Not(why),
            };
            return Some((landed, believed));
        }
    }

    /// Sets a mark behind all that was completed by now, unless one is under way. The set hands out what was woken in the order in
    /// which it was woken, and lapin completes those with a return first; so when the mark comes, every return that belongs to
    /// what is held has been seen.
    fn mark(&mut self) {
        let unmarked = self.held.len() - self.sure;
        if self.marked == 0 && unmarked > 0 {
            self.marked = unmarked;
            self.set.push(ready(Came::Mark).boxed_local());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;

    fn landed(number: i64, said: Said) -> Landed {
        Landed {
            number,
            name: "park".to_owned(),
            said: Ok(said),
            waiting: None,
            _token: TaskTracker::new().token(),
        }
    }

    /// What is believed of publishes that are complete when they are looked at, in this order.
    fn check(what: &str, said: &[(i64, Said)], believed: &[(i64, Believed)]) {
        let mut flights = Flights::default();
        for (number, said) in said {
            flights.push(ready(landed(*number, *said)));
        }
        assert_eq!(flights.len(), said.len());
        let mut found = Vec::new();
        while let Some(Some((landed, believed))) = flights.next().now_or_never() {
            found.push((landed.number, believed));
        }
        found.sort_by_key(|(number, _)| *number);
        assert_eq!(found, believed, "{what}");
        assert_eq!(flights.len(), 0);
        assert!(
            flights.returned.is_empty(),
            "nothing is remembered for ever"
        );
    }

    #[test]
    fn no_message_that_came_back_is_believed_to_be_placed() {
        use Believed::{CameBack, Doubtful, Full, Placed};
        use Said::Taken;
        let back = |number| Said::CameBack(Some(number));
        check(
            "taken",
            &[(1, Taken), (2, Taken)],
            &[(1, Placed), (2, Placed)],
        );
        check(
            "its own return",
            &[(1, back(1)), (2, Taken)],
            &[(1, CameBack), (2, Placed)],
        );
        check(
            "another carries its return, and is looked at first",
            &[(1, back(2)), (2, Taken), (3, Taken)],
            &[(1, Doubtful), (2, CameBack), (3, Placed)],
        );
        check(
            "another carries its return, and is looked at later",
            &[(2, Taken), (3, Taken), (1, back(2))],
            &[(1, Doubtful), (2, CameBack), (3, Placed)],
        );
        check(
            "two returns change hands",
            &[(1, back(2)), (3, Taken), (2, back(1))],
            &[(1, Doubtful), (2, Doubtful), (3, Placed)],
        );
        check(
            "a return that cannot be read",
            &[(1, Said::CameBack(None)), (2, Said::Full)],
            &[(1, Doubtful), (2, Full)],
        );
    }
}
