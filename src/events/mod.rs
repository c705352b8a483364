//! What happens, told to whoever listens: changes of flags, openings that begin, end and are about to, and providers that rest or pass.
//!
//! One ring of small events, written once and read by all: a listener is a place in the ring, so a thousand of them cost little,
//! and a slow one costs nobody anything. Who falls behind the ring is told so, and reads the state anew. May import `rules`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::{Value as Json, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::rules::names::FlagKey;
use crate::rules::notice::{Kind, Notice};
use crate::rules::opening::Opening;
use crate::rules::record::{ChangeRecord, EditKind};
use ring::Ring;

mod ring;
mod say;

pub use ring::Event;

/// What events tell; the name of each is its `event:` in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Flags or segments were changed.
    Change,
    /// A temporary value was laid over flags.
    OpeningBegan,
    /// An opening got another end.
    OpeningExtended,
    /// An opening ends in a few minutes.
    OpeningEndsSoon,
    /// An opening is past its end, and could not be ended.
    OpeningOverdue,
    /// An opening ended, or was closed.
    OpeningEnded,
    /// A provider rests, is probed or passes again.
    Provider,
    /// Events were missed: read the state anew.
    Resync,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Change,
        Self::OpeningBegan,
        Self::OpeningExtended,
        Self::OpeningEndsSoon,
        Self::OpeningOverdue,
        Self::OpeningEnded,
        Self::Provider,
        Self::Resync,
    ];

    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::OpeningBegan => "opening_began",
            Self::OpeningExtended => "opening_extended",
            Self::OpeningEndsSoon => "opening_ends_soon",
            Self::OpeningOverdue => "opening_overdue",
            Self::OpeningEnded => "opening_ended",
            Self::Provider => "provider",
            Self::Resync => "resync",
        }
    }

    /// What it tells, in a few words.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::Change => {
                "flags or segments were changed; sent for each change, also those below"
            }
            Self::OpeningBegan => "a temporary value was laid over flags",
            Self::OpeningExtended => "an opening got another end",
            Self::OpeningEndsSoon => "an opening ends in a few minutes",
            Self::OpeningOverdue => "an opening is past its end, and could not be ended",
            Self::OpeningEnded => "an opening ended, or was closed",
            Self::Provider => "a provider rests, is probed or passes again, or its share grows",
            Self::Resync => "events were missed: read the state anew",
        }
    }
}

/// Since when services that hold what flags said should evaluate anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Since this change.
    Change {
        /// the revision that it led to
        revision: u64,
        /// when it was made, milliseconds since 1970
        at_ms: i64,
    },
    /// Nobody knows; the flags have this revision now.
    Now {
        /// the revision
        revision: u64,
    },
    /// Nobody knows.
    Unknown,
}

/// How a provider stands, as it is told.
#[derive(Debug, Clone, Copy)]
pub struct ProviderTold<'a> {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// passing, resting or probing
    pub state: &'a str,
    /// The share that it gets of what is meant for it.
    pub share: f64,
    /// The failures behind its last rest,
    pub failed: u32,
    /// of so many calls.
    pub calls: u32,
    /// What it said last when something was wrong; may be empty.
    pub cause: &'a str,
}

/// What happens.
#[derive(Debug)]
pub struct Events {
    ring: Mutex<Ring>,
    /// The number of the newest event.
    newest: watch::Sender<u64>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            ring: Mutex::default(),
            newest: watch::Sender::new(0),
        }
    }
}

impl Events {
    /// Tells everybody. `data` is the event's JSON; `flags` are those that it is about; `refetch`: what services read may be
    /// something else now.
    pub fn tell(&self, kind: EventKind, flags: Vec<FlagKey>, data: &Json, refetch: Option<Since>) {
        let newest = self.ring().push(kind, flags, data, refetch);
        self.newest.send_replace(newest);
    }

    /// Tells of an opening.
    pub fn tell_of_opening(&self, kind: EventKind, opening: &Opening, at_ms: i64) {
        let flags = opening.values.iter().map(|(key, _)| key.clone()).collect();
        self.tell(kind, flags, &say::opening(opening, at_ms), None);
    }

    /// Tells of a change, and of the opening that it began, extended or ended.
    pub fn tell_of_change(&self, record: &ChangeRecord) {
        let flags = record.touched.iter().map(|touched| touched.flag.clone());
        let refetch = Some(Since::Change {
            revision: record.revision,
            at_ms: record.at_ms,
        });
        let data = say::change(record);
        self.tell(EventKind::Change, flags.collect(), &data, refetch);
        let kind = match record.edit {
            EditKind::Open => EventKind::OpeningBegan,
            EditKind::Extend => EventKind::OpeningExtended,
            EditKind::Close => EventKind::OpeningEnded,
            _ => return,
        };
        if let Some(opening) = &record.opening {
            self.tell_of_opening(kind, opening, record.at_ms);
        }
    }

    /// Tells of what the guard has noticed; what comes of a change is told with it.
    pub fn tell_of_notice(&self, notice: &Notice) {
        let kind = match notice.kind {
            Kind::Reminder => EventKind::OpeningEndsSoon,
            Kind::Overdue => EventKind::OpeningOverdue,
            _ => return,
        };
        let flags = notice.flags.iter().map(|touched| touched.flag.clone());
        self.tell(kind, flags.collect(), &say::notice(notice), None);
    }

    /// Tells how a provider stands now.
    pub fn tell_of_provider(&self, name: &str, told: ProviderTold<'_>) {
        let data = json!({
            "provider": name,
            "at": say::rfc3339(told.at_ms),
            "state": told.state,
            "share": told.share,
            "failed": told.failed,
            "calls": told.calls,
            "cause": told.cause,
        });
        self.tell(
            EventKind::Provider,
            vec![FlagKey::of_force(name)],
            &data,
            None,
        );
    }

    /// Tells everybody that events were missed.
    pub fn tell_to_resync(&self) {
        self.tell(
            EventKind::Resync,
            Vec::new(),
            &json!({}),
            Some(Since::Unknown),
        );
    }

    /// Listens from now on, or from behind the event with this id, if one is given and it is remembered.
    #[must_use]
    pub fn listen(&self, last_id: Option<&str>) -> Listener {
        let ring = self.ring();
        let (next, missed) = match last_id.map(|id| ring.after(id)) {
            None => (ring.next(), false),
            Some(Some(next)) => (next, false),
            Some(None) => (ring.next(), true),
        };
        Listener {
            news: self.newest.subscribe(),
            next,
            missed,
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the stream of events.
#[derive(Debug)]
pub struct Listener {
    news: watch::Receiver<u64>,
    /// The number of the next event.
    next: u64,
    /// Whether events were missed, which is not said yet.
    missed: bool,
}

impl Listener {
    /// The events since the last call, at most 100; waits for one if there is none. Dropping the wait loses nothing.
    pub async fn next(&mut self, events: &Events) -> Vec<Arc<Event>> {
        loop {
            self.news.mark_unchanged();
            let found = self.read(&mut events.ring());
            if !found.is_empty() {
                return found;
            }
            if self.news.changed().await.is_err() {
                return std::future::pending().await; // nobody tells any more
            }
        }
    }

    fn read(&mut self, ring: &mut Ring) -> Vec<Arc<Event>> {
        if self.missed || self.next < ring.oldest() {
            self.missed = false;
            self.next = ring.next();
            return vec![ring.resync()];
        }
        let found = ring.since(self.next);
        self.next += found.len() as u64;
        found
    }

    /// Where this listener stands: the id from which it could go on elsewhere.
    #[must_use]
    pub fn position(&self, events: &Events) -> String {
        events.ring().id(self.next.saturating_sub(1))
    }
}

/// Tells of each change that the store makes, and of what the guard puts on its board, until told to stop.
pub async fn run(
    (mut records, mut notices): (
        broadcast::Receiver<Arc<ChangeRecord>>,
        broadcast::Receiver<Arc<Notice>>,
    ),
    events: Arc<Events>,
    stop: CancellationToken,
) {
    loop {
        let missed = tokio::select! {
            () = stop.cancelled() => return,
            record = records.recv() => record.map(|record| events.tell_of_change(&record)).err(),
            notice = notices.recv() => notice.map(|notice| events.tell_of_notice(&notice)).err(),
        };
        match missed {
            None => {}
            Some(RecvError::Lagged(_)) => events.tell_to_resync(),
            Some(RecvError::Closed) => return stop.cancelled().await,
        }
    }
}

/// One event as a frame of a stream of server-sent events.
fn frame(id: &str, event: &str, data: &str) -> Bytes {
    format!("id: {id}\nevent: {event}\ndata: {data}\n\n").into()
}

/// The notice of OFREP by which a service evaluates anew, as the frame of this id.
#[must_use]
pub fn notice(id: &str, since: Since) -> Bytes {
    let kind = "refetchEvaluation";
    let data = match since {
        Since::Change { revision, at_ms } => {
            json!({"type": kind, "etag": revision.to_string(), "lastModified": at_ms / 1_000})
        }
        Since::Now { revision } => json!({"type": kind, "etag": revision.to_string()}),
        Since::Unknown => json!({"type": kind}),
    };
    frame(id, "message", &data.to_string())
}

#[cfg(test)]
mod tests;
