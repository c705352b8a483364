//! What the worker asks of the world: a queue to take from ([`Inlet`]), places to put messages ([`Outlet`]), and somebody who
//! does the work ([`Target`]). RabbitMQ and the queue in memory stand behind the same seam. May import `rules`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::rules::doubt::{Doubt, Resolved};
use crate::rules::lane::Lane;
use crate::rules::message::{Field, Properties, Raw};
use crate::rules::names::QueueName;
use crate::rules::route::Way;
pub use crate::rules::settlement::{Outcome, Place};
use crate::rules::verdict::Why;
use crate::rules::watermark::Tally;

/// The right to settle one delivery, once. Not `Clone`: to settle is to use it up.
#[derive(Debug)]
#[must_use = "a delivery that is not settled stays with the broker until the channel closes"]
pub struct Receipt {
    epoch: u32,
    tag: u64,
}

/// Receipts that were dropped instead of settled: a fault of ours, counted and tested to be zero.
static DROPPED: AtomicU64 = AtomicU64::new(0);

impl Receipt {
    /// The receipt of delivery `tag` of the channel numbered `epoch`; made by an [`Inlet`].
    pub fn new(epoch: u32, tag: u64) -> Self {
        Self { epoch, tag }
    }

    /// The number of the channel: a later channel cannot settle it.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Uses the receipt up.
    #[must_use]
    pub fn spend(self) -> (u32, u64) {
        let spent = (self.epoch, self.tag);
        std::mem::forget(self);
        spent
    }

    /// How many were dropped unsettled since the start of the process.
    #[must_use]
    pub fn dropped() -> u64 {
        DROPPED.load(Ordering::Relaxed)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// A message that was taken, with the right to settle it.
#[derive(Debug)]
pub struct Delivery {
    /// What came.
    pub raw: Raw,
    /// The right to settle it.
    pub receipt: Receipt,
    /// The lane that it came from; `None`: the queue itself.
    pub lane: Option<Lane>,
}

/// The ways to settle a delivery. Dead letters and parked ones are published first, then acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// It is done with.
    Ack,
    /// It goes back to the queue, undispatched; only at pause and stop, and when it could not be put where it belongs for long.
    GiveBack,
}

/// What an [`Inlet`] is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Take messages, at most this many out at once; never 0.
    Consume {
        /// the prefetch
        prefetch: u16,
    },
    /// Take none; settling goes on.
    Idle,
}

/// How the link to a queue stands: what `/readyz` and `broker_connected` say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Not connected yet, or lost and being mended; with the reason in the field's words.
    Connecting(String),
    /// Connected, and messages are being taken.
    Consuming,
    /// Connected with a consumer that gets nothing though messages are ready: another consumer of this queue may be the single
    /// active one, and this one takes over when it goes.
    Standby,
    /// Connected, and none are taken because nobody wants them.
    Idle,
    /// Connected, and the queue is not there; asked again with backoff, never declared by us.
    QueueMissing,
    /// The broker refuses us: password, vhost or permission; asked again slowly.
    Denied(String),
}

impl LinkState {
    /// Whether the broker is reached.
    #[must_use]
    pub fn connected(&self) -> bool {
        matches!(
            self,
            Self::Consuming | Self::Standby | Self::Idle | Self::QueueMissing
        )
    }

    /// More than the word, such as why the link is down; may be empty.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::Connecting(why) | Self::Denied(why) => why,
            Self::Consuming | Self::Standby | Self::Idle | Self::QueueMissing => "",
        }
    }

    /// One word for pages and logs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Connecting(_) => "connecting",
            Self::Consuming => "consuming",
            Self::Standby => "standby",
            Self::Idle => "idle",
            Self::QueueMissing => "queue_missing",
            Self::Denied(_) => "denied",
        }
    }
}

/// What happened at a queue.
#[derive(Debug)]
pub enum Arrival {
    /// A message came.
    Message(Box<Delivery>),
    /// Settlements were sent, or were not: those are counted `unsettled`, the broker will redeliver them.
    Settled(Tally),
    /// The link changed. After a loss every receipt of an earlier epoch is settled in vain.
    Link(LinkState),
    /// What the broker says of the queue.
    Depth {
        /// messages ready
        ready: u64,
    },
    /// News of a lane that was wanted.
    Lane(Lane, LaneNews),
}

/// What the broker says of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneNews {
    /// So many messages are ready in it; told every few seconds, and each time its consumer was opened anew.
    Depth {
        /// messages ready
        ready: u64,
    },
    /// It is not there, or was removed because [`Inlet::remove_lane`] found it empty.
    Gone,
    /// It could not be removed: there is something in it, or the broker cannot be asked.
    Stays,
    /// It is there and cannot be read, because of this. That is tried again by itself, until it is [`LaneNews::Read`].
    Unread(String),
    /// It could not be read, and now it is.
    Read,
}

/// A queue to take messages from. One owner, one thread; nothing here blocks.
pub trait Inlet {
    /// The next thing that happened. Cancel safe: may be dropped at any await and called again. There may be something for a long
    /// time: who takes it lets the other tasks of the thread have their turn now and then, the client of the broker among them.
    fn next(&mut self) -> impl Future<Output = Arrival>;

    /// Says what is wanted from now on. Takes effect while `next` is polled; messages that were on their way still come.
    fn want(&mut self, wanted: Wanted);

    /// Says what is wanted of a lane: the same as [`Inlet::want`] does for the queue, on a channel of the lane's own. A lane that
    /// was never wanted is not asked for anything. Wanted [`Wanted::Idle`], it is not consumed, and its depth is still told.
    fn want_lane(&mut self, lane: Lane, wanted: Wanted);

    /// Removes a lane if it is empty and nobody uses it; [`Arrival::Lane`] tells what came of it. Its consumer ends first.
    fn remove_lane(&mut self, lane: Lane);

    /// Whether a delivery can still be settled: asked right before each side effect.
    fn usable(&self, receipt: &Receipt) -> bool;

    /// Settles a delivery as `why`. Never waits: what came of it is told by [`Arrival::Settled`], for every receipt exactly once.
    fn settle(&mut self, receipt: Receipt, how: Settle, why: Why);

    /// How many settlements were asked for and not yet told of: part of what is in hand.
    fn settling(&self) -> usize;

    /// Stops taking, sends every settlement that was asked for and waits until each was written, then closes. Gives what
    /// [`Arrival::Settled`] would have said.
    fn close(&mut self) -> impl Future<Output = Tally>;
}

/// A message as it is published.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// Its properties; persistent whatever they say, except for [`Place::Admitted`], where they stay as they are.
    pub properties: Properties,
    /// Its headers.
    pub headers: Vec<(String, Field)>,
    /// Its body.
    pub body: Bytes,
    /// The time, milliseconds since 1970: it chooses the day's stream.
    pub at_ms: i64,
}

/// Why a publish is not known to have succeeded. The source delivery must not be acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotPlaced {
    /// The broker said no: returned (nothing is bound), or the place is missing or differs.
    #[error("the broker refused it: {0}")]
    Refused(String),
    /// The place is full: it will take more when what lies there was taken.
    #[error("{0} is full")]
    Full(String),
    /// It was not sent: there is no connection, or it is blocked by an alarm.
    #[error("it could not be sent: {0}")]
    NotSent(String),
    /// It was sent, and the confirm did not come: it may have been placed.
    #[error("it is not known whether the broker has it: {0}")]
    Unsure(String),
}

/// Places to put messages. Cheap to clone; many publishes at once.
pub trait Outlet: Clone + 'static {
    /// Publishes with confirm and mandatory; `Ok` only when the broker has it for sure.
    fn publish(
        &self,
        place: Place,
        message: Outgoing,
    ) -> impl Future<Output = Result<(), NotPlaced>> + 'static;

    /// Makes sure that a place is there, without putting anything in it. What is published to it afterwards, each call after the
    /// one before, arrives in that order. A lane is made in no other way: a publish to one that is missing is refused.
    fn prepare(&self, place: Place) -> impl Future<Output = Result<(), NotPlaced>> + 'static;

    /// Whether publishing is known to be blocked now (no connection, or an alarm): work that may need it is not started.
    fn blocked(&self) -> bool;

    /// What is doubtful about a place though it is used, for people; `None`: nothing is known to be.
    fn doubts(&self) -> Option<String> {
        None
    }

    /// Waits until every publish was confirmed, then closes.
    fn close(&self) -> impl Future<Output = ()>;
}

/// One message as a target gets it.
#[derive(Debug, Clone)]
pub struct Job {
    /// The queue it comes from.
    pub queue: QueueName,
    /// Its id; with the queue the idempotency key, the same at each attempt.
    pub id: Arc<str>,
    /// What came, whole.
    pub raw: Arc<Raw>,
    /// Attempt number, from 1.
    pub attempt: u32,
    /// When it was published, milliseconds since 1970.
    pub published_ms: Option<i64>,
    /// When it is useless, milliseconds since 1970.
    pub deadline_ms: Option<i64>,
    /// The light version asked for.
    pub mode: Option<Arc<str>>,
    /// The key that limits count by.
    pub account: Option<Arc<str>>,
    /// Values of the flags that the queue passes on.
    pub flags: Passed,
    /// How long the target may take.
    pub timeout: Duration,
    /// Which providers may have it, when the target is a pool.
    pub way: Way,
}

/// Flags that a worker is told, by key.
pub type Passed = Arc<[(Arc<str>, Arc<str>)]>;

/// An outcome with what the worker said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What came back.
    pub outcome: Outcome,
    /// The worker's version, if it told one.
    pub worker_version: Option<String>,
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            worker_version: None,
        }
    }
}

/// Keeps jobs that may have been done, until somebody says what came of each.
pub trait KeepsDoubts: fmt::Debug + Send + Sync {
    /// Keeps one. When it cannot be kept, that is told to people: its message is parked all the same.
    fn keep(&self, doubt: Doubt) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Puts messages of jobs in doubt back from the park into their queues.
pub trait PutsBack: fmt::Debug + Send + Sync {
    /// Puts these back, and gives those that were; the others were found nowhere. The error says why the park cannot be read.
    fn put_back(&self, doubts: Vec<Doubt>) -> PuttingBack<'_>;

    /// Counts what is in doubt anew: something was resolved.
    fn recount(&self) {}
}

/// What comes of putting messages back.
pub type PuttingBack<'a> = Pin<Box<dyn Future<Output = Result<Vec<Resolved>, String>> + Send + 'a>>;

/// There is no park.
#[derive(Debug)]
pub struct NoPark;

impl PutsBack for NoPark {
    fn put_back(&self, _: Vec<Doubt>) -> PuttingBack<'_> {
        Box::pin(async { Err("these queues have no park that can be read".to_owned()) })
    }
}

/// Somebody who does the work.
pub trait Target {
    /// Hands a job over and says what came back, within the job's timeout. Never panics: a panic of a handler is an outcome.
    fn hand_over(&self, job: Job) -> Pin<Box<dyn Future<Output = Answer>>>;
}
