//! Publishes under way, and what may be believed of each.
//!
//! A mandatory message that has no queue comes back, and its confirm is an `Ack` all the same. Lapin gives what came back to
//! whichever publish of the same acknowledgement it completes first: one that was placed may carry the return of another, and
//! that other a bare `Ack`. So each message bears a number; those that carry a return are asked whose it is; and a bare `Ack` is
//! believed only when all that was under way when it was found has been looked at once more: what carries its return was
//! completed before it.
//!
//! They stand in rows, one for each queue, as they were sent, for that is how a queue confirms them. Only the first of a row
//! wakes the thread, which then finds many; to be woken for each would cost more than all the rest. May import `seams`.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::future::{Future, poll_fn};
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;
use tokio_util::sync::ReusableBoxFuture;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::seams::NotPlaced;

/// Who waits for what comes of a publish.
pub(super) type Waiting = oneshot::Sender<Result<(), NotPlaced>>;
/// What is heard of a publish in the end.
pub(super) type Heard = Result<Said, NotPlaced>;

/// A publish on its way.
type Publish = ReusableBoxFuture<'static, Heard>;

/// So many boxes are kept for later publishes: lapin's future is too large for malloc to be quick.
const SPARES: usize = 256;
/// Whole seconds after which nobody is left waiting: what they wait for may still come, and may carry news of another.
const PATIENCE: u64 = 10;

/// What the broker said, as lapin tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Acknowledged.
    Taken,
    /// Acknowledged, and the message with this number came back.
    CameBack(Option<i64>),
    /// Not acknowledged: the queue is full. The message with this number, another, may have come back with it.
    Full(Option<i64>),
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

/// A publish.
pub(super) struct Flight {
    pub(super) number: i64,
    /// The queue that it goes to.
    pub(super) to: String,
    /// None when it has become too late to tell anybody.
    pub(super) waiting: Option<Waiting>,
    /// Given back when it is answered.
    pub(super) _token: TaskTrackerToken,
}

/// A flight in its row.
struct Standing {
    flight: Flight,
    /// The second in which it was sent.
    since: u64,
    publish: Publish,
    /// What was heard of it while those before it were still under way.
    heard: Option<Heard>,
}

impl Standing {
    /// Whether it is over. A return that it carries is remembered as soon as it is seen.
    fn is_over(&mut self, context: &mut Context<'_>, returned: &mut HashSet<i64>) -> bool {
        if self.heard.is_none()
            && let Poll::Ready(heard) = self.publish.poll(context)
        {
            if let Ok(Said::CameBack(Some(back)) | Said::Full(Some(back))) = heard {
                returned.insert(back);
            }
            self.heard = Some(heard);
        }
        self.heard.is_some()
    }
}

/// Publishes under way.
#[derive(Default)]
pub(super) struct Flights {
    /// By the queue that they go to, as they were sent.
    rows: BTreeMap<String, VecDeque<Standing>>,
    /// Boxes of those that are over.
    spares: Vec<Publish>,
    /// The numbers of messages that came back.
    returned: HashSet<i64>,
    /// Bare acknowledgements that are not believed yet.
    held: Vec<Flight>,
    /// What can be told.
    known: VecDeque<(Flight, Believed)>,
    /// How many were pushed and not told of.
    untold: usize,
    /// Seconds that have passed.
    second: u64,
}

impl Flights {
    /// One more. Its first poll, which sends it, is done here: publishes leave as they are pushed.
    pub(super) fn push(
        &mut self,
        flight: Flight,
        publish: impl Future<Output = Heard> + Send + 'static,
    ) {
        let publish = match self.spares.pop() {
            Some(mut spare) => {
                spare.set(publish);
                spare
            }
            None => ReusableBoxFuture::new(publish),
        };
        let mut one = Standing {
            flight,
            since: self.second,
            publish,
            heard: None,
        };
        one.is_over(&mut quiet(), &mut self.returned);
        self.untold += 1;
        match self.rows.get_mut(&one.flight.to) {
            Some(row) => row.push_back(one),
            None => {
                self.rows.insert(one.flight.to.clone(), [one].into());
            }
        }
    }

    /// How many are not answered.
    pub(super) fn len(&self) -> usize {
        self.untold
    }

    /// The next that can be answered; none while none is under way. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<(Flight, Believed)> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// A second has passed: gives those who have waited for too long.
    pub(super) fn second_passed(&mut self) -> Vec<Waiting> {
        self.second += 1;
        let second = self.second;
        let all = self.rows.values_mut().flatten();
        let late = all.filter(|one| second - one.since > PATIENCE);
        late.filter_map(|one| one.flight.waiting.take()).collect()
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<(Flight, Believed)>> {
        if self.known.is_empty() {
            self.look(context);
            if !self.held.is_empty() {
                self.look(context);
            }
            if !self.held.is_empty() {
                context.waker().wake_by_ref();
            }
        }
        match self.known.pop_front() {
            Some(known) => {
                self.untold -= 1;
                Poll::Ready(Some(known))
            }
            None if self.untold == 0 => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Takes from the rows those that are over. What was held before is sure then, for in that case all are looked at.
    fn look(&mut self, context: &mut Context<'_>) {
        let sure = self.held.len();
        for row in self.rows.values_mut() {
            while row
                .front_mut()
                .is_some_and(|first| first.is_over(context, &mut self.returned))
            {
                let Some(Standing {
                    flight,
                    publish,
                    heard: Some(heard),
                    ..
                }) = row.pop_front()
                else {
                    break;
                };
                if self.spares.len() < SPARES {
                    self.spares.push(publish);
                }
                match believed_at_once(flight.number, heard) {
                    Some(believed) => self.known.push_back((flight, believed)),
                    None => self.held.push(flight),
                }
            }
            if sure > 0 {
                for behind in row.iter_mut().skip(1) {
                    behind.is_over(&mut quiet(), &mut self.returned);
                }
            }
        }
        self.rows.retain(|_, row| !row.is_empty());
        for flight in self.held.drain(..sure) {
            let believed = if self.returned.remove(&flight.number) {
                Believed::CameBack
            } else {
                Believed::Placed
            };
            self.known.push_back((flight, believed));
        }
        if self.rows.is_empty() && self.held.is_empty() {
            self.returned.clear();
        }
    }
}

/// What is polled with it wakes nobody.
fn quiet() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// What needs no look at the others; `None`: it does.
fn believed_at_once(number: i64, heard: Heard) -> Option<Believed> {
    Some(match heard {
        Ok(Said::Taken) => return None,
        Ok(Said::CameBack(Some(back))) if back == number => Believed::CameBack,
        Ok(Said::CameBack(_)) => Believed::Doubtful,
        Ok(Said::Full(_)) => Believed::Full,
        Err(why) => Believed::Not(why),
    })
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};

    use futures_util::FutureExt;
    use tokio_util::task::TaskTracker;

    use super::*;

    fn flight(number: i64, to: &str) -> Flight {
        Flight {
            number,
            to: to.into(),
            waiting: None,
            _token: TaskTracker::new().token(),
        }
    }

    /// All that can be told, by number.
    fn told(flights: &mut Flights) -> Vec<(i64, Believed)> {
        let mut found = Vec::new();
        while let Some(Some((flight, believed))) = flights.next().now_or_never() {
            found.push((flight.number, believed));
        }
        found.sort_by_key(|(number, _)| *number);
        found
    }

    /// What is believed of publishes to these queues that are complete when they are looked at, in this order.
    fn check(what: &str, said: &[(i64, Said)], believed: &[(i64, Believed)]) {
        for queues in [1, 2, 3] {
            let mut flights = Flights::default();
            for (at, (number, said)) in said.iter().enumerate() {
                let to = format!("queue {}", at % queues);
                flights.push(flight(*number, &to), ready(Ok(*said)));
            }
            assert_eq!(flights.len(), said.len());
            assert_eq!(told(&mut flights), believed, "{what}, {queues} queues");
            assert_eq!(flights.len(), 0);
            assert!(
                flights.returned.is_empty(),
                "nothing is remembered for ever"
            );
        }
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
            &[(1, Said::CameBack(None)), (2, Said::Full(None))],
            &[(1, Doubtful), (2, Full)],
        );
        check(
            "one that was refused carries the return of another",
            &[(1, Taken), (2, Said::Full(Some(1)))],
            &[(1, CameBack), (2, Full)],
        );
    }

    #[test]
    fn a_return_is_found_behind_one_that_is_pending() {
        let mut flights = Flights::default();
        flights.push(flight(1, "slow"), pending());
        flights.push(flight(2, "slow"), ready(Ok(Said::CameBack(Some(3)))));
        flights.push(flight(3, "gone"), ready(Ok(Said::Taken)));
        flights.push(flight(4, "park"), ready(Ok(Said::Taken)));
        let believed = [(3, Believed::CameBack), (4, Believed::Placed)];
        assert_eq!(
            told(&mut flights),
            believed,
            "the slow one holds up nobody else"
        );
        assert_eq!(flights.len(), 2);
    }

    /// What lapin completes while we look: the return comes to the first of a row that was looked at already.
    #[test]
    fn a_return_that_comes_while_we_look_is_found() {
        let (mut flights, come) = (Flights::default(), Arc::new(AtomicBool::new(false)));
        let carrier = {
            let come = Arc::clone(&come);
            poll_fn(move |_| match come.load(Ordering::Relaxed) {
                true => Poll::Ready(Ok(Said::CameBack(Some(2)))),
                false => Poll::Pending,
            })
        };
        flights.push(flight(1, "a"), carrier);
        let mut polls = 0;
        let bare = poll_fn(move |_| {
            polls += 1;
            if polls == 1 {
                return Poll::Pending;
            }
            come.store(true, Ordering::Relaxed);
            Poll::Ready(Ok(Said::Taken))
        });
        flights.push(flight(2, "b"), bare);
        let believed = [(1, Believed::Doubtful), (2, Believed::CameBack)];
        assert_eq!(told(&mut flights), believed);
    }

    #[test]
    fn they_leave_as_they_are_pushed_and_before_they_are_awaited() {
        let (mut flights, sent) = (Flights::default(), Arc::new(Mutex::new(Vec::new())));
        for number in 0..10 {
            let sent = Arc::clone(&sent);
            let publish = async move {
                sent.lock().unwrap().push(number);
                pending().await
            };
            let to = ["park", "delay"][usize::from(number % 3 == 0)];
            flights.push(flight(number, to), publish);
        }
        assert_eq!(*sent.lock().unwrap(), Vec::from_iter(0..10));
    }

    #[test]
    fn whoever_waits_for_too_long_is_given_once_and_what_they_wait_for_may_still_come() {
        let (mut flights, come) = (Flights::default(), Arc::new(AtomicBool::new(false)));
        let push = |flights: &mut Flights, number| {
            let come = Arc::clone(&come);
            let publish = poll_fn(move |_| match come.load(Ordering::Relaxed) {
                true => Poll::Ready(Ok(Said::Taken)),
                false => Poll::Pending,
            });
            let mut flight = flight(number, "park");
            flight.waiting = Some(oneshot::channel().0);
            flights.push(flight, publish);
        };
        let seconds = |flights: &mut Flights, count| -> usize {
            (0..count).map(|_| flights.second_passed().len()).sum()
        };
        push(&mut flights, 1);
        assert_eq!(seconds(&mut flights, 5), 0);
        push(&mut flights, 2);
        assert_eq!(seconds(&mut flights, PATIENCE - 5), 0);
        assert_eq!(seconds(&mut flights, 1), 1, "the first, after ten seconds");
        assert_eq!(seconds(&mut flights, 4), 0);
        assert_eq!(seconds(&mut flights, 100), 1, "the second, once");
        come.store(true, Ordering::Relaxed);
        let believed = [(1, Believed::Placed), (2, Believed::Placed)];
        assert_eq!(told(&mut flights), believed);
    }
}
