//! The queue without a broker, with the same semantics behind the same seam: for the demo, and for tests of time.
//!
//! Unsettled deliveries come back when the link breaks, settlements of an earlier epoch are in vain, delayed messages return to
//! the queue, lanes are there once they were made ready, and places may refuse. May import `rules` and `seams`.

mod inlet;
mod ready;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::rules::envelope::ID;
use crate::rules::lane::Lane;
use crate::rules::message::Raw;
use crate::seams::{NotPlaced, Outgoing, Outlet, Place};
pub use inlet::MemoryInlet;
use ready::Ready;

/// How many parked or dead messages are kept to be looked at; of the rest only the number.
const MOST_KEPT: usize = 10_000;

/// A queue in memory. Cheap to clone: all clones are the same queue.
#[derive(Debug, Clone)]
pub struct MemoryQueue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    changed: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ready: Ready,
    lanes: BTreeMap<Lane, Ready>,
    put_into_lanes: u64,
    /// Lanes that cannot be read.
    unread: BTreeSet<Lane>,
    delayed: BTreeMap<(Instant, u64), Raw>,
    delayed_in_all: u64,
    parked: Kept,
    dead: Kept,
    results: Kept,
    admitted: VecDeque<Outgoing>,
    /// So many may be admitted and not yet taken; `None`: any number.
    admits: Option<usize>,
    /// Rises each time the link breaks.
    epoch: u32,
    refusing: bool,
    /// So many publishes to lanes are refused, each second one.
    refuses_some: u64,
}

/// Messages that were put away: the last ones, and how many in all.
#[derive(Debug, Default, Clone)]
pub struct Kept {
    /// The last ones.
    pub last: VecDeque<Outgoing>,
    /// How many in all.
    pub count: u64,
}

impl Kept {
    fn keep(&mut self, message: Outgoing) {
        self.count += 1;
        self.last.push_back(message);
        if self.last.len() > MOST_KEPT {
            self.last.pop_front();
        }
    }
}

impl MemoryQueue {
    /// An empty queue.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let state = Mutex::new(State {
            epoch: 1,
            ..State::default()
        });
        Self {
            shared: Arc::new(Shared {
                clock,
                changed: Notify::new(),
                state,
            }),
        }
    }

    /// Puts a message at the end.
    pub fn publish(&self, raw: Raw) {
        self.lock().ready.put(raw);
        self.shared.changed.notify_one();
    }

    /// How many messages are ready.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.lock().ready.len()
    }

    /// How many messages wait in delay queues.
    #[must_use]
    pub fn delayed(&self) -> usize {
        self.lock().delayed.len()
    }

    /// The messages that are ready in a lane, the first one first; `None`: there is no such lane.
    #[must_use]
    pub fn lane(&self, lane: Lane) -> Option<Vec<Raw>> {
        let state = self.lock();
        let ready = state.lanes.get(&lane)?;
        Some(ready.iter().cloned().collect())
    }

    /// The lanes that there are.
    #[must_use]
    pub fn lanes(&self) -> Vec<Lane> {
        self.lock().lanes.keys().copied().collect()
    }

    /// How many messages were published to lanes, in all.
    #[must_use]
    pub fn put_into_lanes(&self) -> u64 {
        self.lock().put_into_lanes
    }

    /// What came of jobs, as it was told.
    #[must_use]
    pub fn results(&self) -> Kept {
        self.lock().results.clone()
    }

    /// Puts the parked message of a job in doubt back into the queue, as its envelope says; whether there is one.
    #[must_use]
    pub fn put_back(&self, id: &str) -> bool {
        let mut state = self.lock();
        let is_of = |message: &Outgoing| {
            let found = message.headers.iter().find(|(name, _)| name == ID);
            found.and_then(|(_, value)| value.as_text()).as_deref() == Some(id)
        };
        let Some(at) = state.parked.last.iter().rposition(is_of) else {
            return false;
        };
        if let Some(message) = state.parked.last.remove(at) {
            state.ready.put(came(message));
        }
        self.shared.changed.notify_one();
        true
    }

    /// What was parked.
    #[must_use]
    pub fn parked(&self) -> Kept {
        self.lock().parked.clone()
    }

    /// How many messages were parked, and how many are dead letters.
    #[must_use]
    pub fn put_away(&self) -> (u64, u64) {
        let state = self.lock();
        (state.parked.count, state.dead.count)
    }

    /// The dead letters.
    #[must_use]
    pub fn dead(&self) -> Kept {
        self.lock().dead.clone()
    }

    /// The admitted queue holds at most so many that were not taken.
    pub fn admit_at_most(&self, count: usize) {
        self.lock().admits = Some(count);
    }

    /// How many were admitted and not yet taken.
    #[must_use]
    pub fn admitted(&self) -> usize {
        self.lock().admitted.len()
    }

    /// Takes the oldest that was admitted, as a worker behind the admitted queue does.
    #[must_use]
    pub fn take_admitted(&self) -> Option<Outgoing> {
        self.lock().admitted.pop_front()
    }

    /// Breaks the link, as when a broker dies: whatever was not settled comes back, and old receipts settle nothing.
    pub fn break_link(&self) {
        self.lock().epoch += 1;
        self.shared.changed.notify_one();
    }

    /// Whether every place refuses what is put there.
    pub fn refuse(&self, refusing: bool) {
        self.lock().refusing = refusing;
    }

    /// Whether a lane cannot be read.
    pub fn forbid(&self, lane: Lane, forbidden: bool) {
        let mut state = self.lock();
        match forbidden {
            true => state.unread.insert(lane),
            false => state.unread.remove(&lane),
        };
        self.shared.changed.notify_one();
    }

    /// Every second one of the next publishes to lanes is refused, as by one that is full.
    pub fn refuse_some(&self, publishes: u64) {
        self.lock().refuses_some = publishes;
    }

    /// The two ends that a worker is given; there is one worker at a time.
    #[must_use]
    pub fn open(&self) -> (MemoryInlet, MemoryOutlet) {
        (
            MemoryInlet::new(self.clone()),
            MemoryOutlet {
                queue: self.clone(),
            },
        )
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts messages in the park, among the dead letters, in the admitted queue, or back into the queue after a delay.
#[derive(Debug, Clone)]
pub struct MemoryOutlet {
    queue: MemoryQueue,
}

impl MemoryOutlet {
    fn place(&self, place: Place, message: Outgoing) -> Result<(), NotPlaced> {
        let mut state = self.queue.lock();
        if state.refusing {
            return Err(refusing());
        }
        match place {
            Place::Park => state.parked.keep(message),
            Place::Dead => state.dead.keep(message),
            Place::Lane(lane) => {
                if state.refuses_some > 0 {
                    state.refuses_some -= 1;
                    if state.refuses_some % 2 == 1 {
                        return Err(NotPlaced::Full("the lane".to_owned()));
                    }
                }
                let Some(ready) = state.lanes.get_mut(&lane) else {
                    let why = "the lane does not exist".to_owned();
                    return Err(NotPlaced::Refused(why));
                };
                ready.put(came(message));
                state.put_into_lanes += 1;
                self.queue.shared.changed.notify_one();
            }
            Place::Admitted if state.admits == Some(state.admitted.len()) => {
                return Err(NotPlaced::Full("the admitted queue".to_owned()));
            }
            Place::Admitted => state.admitted.push_back(message),
            Place::Results => state.results.keep(message),
            Place::Delay(delay) => {
                let clock = self.queue.shared.clock;
                let due = clock.instant(clock.now().mono + delay.get());
                state.delayed_in_all += 1;
                let number = state.delayed_in_all;
                state.delayed.insert((due, number), came(message));
                self.queue.shared.changed.notify_one();
            }
        }
        Ok(())
    }

    fn make(&self, place: Place) -> Result<(), NotPlaced> {
        let mut state = self.queue.lock();
        if state.refusing {
            return Err(refusing());
        }
        if let Place::Lane(lane) = place {
            state.lanes.entry(lane).or_default();
        }
        Ok(())
    }
}

fn refusing() -> NotPlaced {
    NotPlaced::Refused("this queue was told to refuse".to_owned())
}

/// A message as it comes back out of a queue of ours.
fn came(message: Outgoing) -> Raw {
    Raw {
        properties: message.properties,
        headers: message.headers,
        body: message.body,
        ..Raw::default()
    }
}

impl Outlet for MemoryOutlet {
    fn publish(
        &self,
        place: Place,
        message: Outgoing,
    ) -> impl Future<Output = Result<(), NotPlaced>> + 'static {
        std::future::ready(self.place(place, message))
    }

    fn prepare(&self, place: Place) -> impl Future<Output = Result<(), NotPlaced>> + 'static {
        std::future::ready(self.make(place))
    }

    fn blocked(&self) -> bool {
        self.queue.lock().refusing
    }

    async fn close(&self) {}
}
