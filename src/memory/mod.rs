//! The queue without a broker, with the same semantics behind the same seam: for the demo, and for tests of time.
//!
//! Unsettled deliveries come back when the link breaks, settlements of an earlier epoch are in vain, delayed messages return to
//! the queue, and places may refuse. May import `rules` and `seams`.

mod inlet;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::rules::message::Raw;
use crate::seams::{NotPlaced, Outgoing, Outlet, Place};
pub use inlet::MemoryInlet;

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
    /// By the place that each got when it came; one that is given back takes its place again.
    ready: BTreeMap<u64, Raw>,
    next_place: u64,
    delayed: BTreeMap<(Instant, u64), Raw>,
    delayed_in_all: u64,
    parked: Kept,
    dead: Kept,
    /// Rises each time the link breaks.
    epoch: u32,
    refusing: bool,
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

impl State {
    fn append(&mut self, raw: Raw) {
        self.next_place += 1;
        self.ready.insert(self.next_place, raw);
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
        self.lock().append(raw);
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

    /// Breaks the link, as when a broker dies: whatever was not settled comes back, and old receipts settle nothing.
    pub fn break_link(&self) {
        self.lock().epoch += 1;
        self.shared.changed.notify_one();
    }

    /// Whether every place refuses what is put there.
    pub fn refuse(&self, refusing: bool) {
        self.lock().refusing = refusing;
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

/// Puts messages in the park, among the dead letters, or back into the queue after a delay.
#[derive(Debug, Clone)]
pub struct MemoryOutlet {
    queue: MemoryQueue,
}

impl MemoryOutlet {
    fn place(&self, place: Place, message: Outgoing) -> Result<(), NotPlaced> {
        let mut state = self.queue.lock();
        if state.refusing {
            return Err(NotPlaced::Refused(
                "this queue was told to refuse".to_owned(),
            ));
        }
        match place {
            Place::Park => state.parked.keep(message),
            Place::Dead | Place::Lane(_) | Place::Admitted => state.dead.keep(message),
            Place::Delay(delay) => {
                let clock = self.queue.shared.clock;
                let due = clock.instant(clock.now().mono + delay.get());
                state.delayed_in_all += 1;
                let number = state.delayed_in_all;
                let Outgoing {
                    properties,
                    headers,
                    body,
                    ..
                } = message;
                state.delayed.insert(
                    (due, number),
                    Raw {
                        properties,
                        headers,
                        body,
                        ..Raw::default()
                    },
                );
                self.queue.shared.changed.notify_one();
            }
        }
        Ok(())
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

    fn prepare(&self, _place: Place) -> impl Future<Output = Result<(), NotPlaced>> + 'static {
        std::future::ready(Ok(()))
    }

    fn blocked(&self) -> bool {
        self.queue.lock().refusing
    }

    async fn close(&self) {}
}
