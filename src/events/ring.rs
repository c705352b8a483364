//! The newest events, each with its number and its frames. Bounded in number and bytes.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::{EventKind, Since, frame, notice};
use crate::rules::names::FlagKey;

/// So many events are remembered,
const MOST: usize = 1_024;
/// and so many bytes of them.
const MOST_BYTES: usize = 1 << 20;
/// So many are given at once.
const AT_ONCE: usize = 100;

/// Something that happened, as it is sent.
#[derive(Debug, Clone)]
pub struct Event {
    /// What it tells.
    pub kind: EventKind,
    /// The flags that it is about.
    pub flags: Vec<FlagKey>,
    /// The event for people and their programs.
    pub frame: Bytes,
    /// The notice for services that hold what flags said: evaluate anew.
    pub refetch: Option<Bytes>,
}

impl Event {
    fn bytes(&self) -> usize {
        let keys: usize = self.flags.iter().map(|key| key.as_str().len() + 16).sum();
        self.frame.len() + self.refetch.as_ref().map_or(0, Bytes::len) + keys
    }
}

/// The newest events.
#[derive(Debug)]
pub(super) struct Ring {
    /// Tells the numbers of this run from those of another.
    run: u64,
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The number of the next event; the first is 1.
    next: u64,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            run: RandomState::new().hash_one("run"),
            events: VecDeque::new(),
            bytes: 0,
            next: 1,
        }
    }
}

impl Ring {
    /// Remembers an event, and gives its number.
    pub(super) fn push(
        &mut self,
        kind: EventKind,
        flags: Vec<FlagKey>,
        data: &Json,
        refetch: Option<Since>,
    ) -> u64 {
        let number = self.next;
        self.next += 1;
        let event = Arc::new(self.event(number, kind, flags, data, refetch));
        self.bytes += event.bytes();
        self.events.push_back(event);
        while self.events.len() > MOST || (self.bytes > MOST_BYTES && self.events.len() > 1) {
            let gone = self.events.pop_front();
            self.bytes -= gone.map_or(0, |gone| gone.bytes());
        }
        number
    }

    fn event(
        &self,
        number: u64,
        kind: EventKind,
        flags: Vec<FlagKey>,
        data: &Json,
        refetch: Option<Since>,
    ) -> Event {
        let id = self.id(number);
        Event {
            kind,
            flags,
            frame: frame(&id, kind.word(), &data.to_string()),
            refetch: refetch.map(|since| notice(&id, since)),
        }
    }

    /// The word that events were missed, up to and with the newest.
    pub(super) fn resync(&self) -> Arc<Event> {
        let newest = self.next - 1;
        Arc::new(self.event(
            newest,
            EventKind::Resync,
            Vec::new(),
            &json!({}),
            Some(Since::Unknown),
        ))
    }

    /// The id of an event.
    pub(super) fn id(&self, number: u64) -> String {
        format!("{:016x}-{number}", self.run)
    }

    /// The number behind the event with this id; `None`: it is not of this run, or what followed it is forgotten.
    pub(super) fn after(&self, id: &str) -> Option<u64> {
        let (run, number) = id.trim().split_once('-')?;
        let run = u64::from_str_radix(run, 16).ok()?;
        let next = number.parse::<u64>().ok()?.checked_add(1)?;
        let known = run == self.run && (self.oldest()..=self.next).contains(&next);
        known.then_some(next)
    }

    /// The number of the next event.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The number of the oldest event that is remembered.
    pub(super) fn oldest(&self) -> u64 {
        self.next - self.events.len() as u64
    }

    /// The events from this number on, if it is remembered; not all at once.
    pub(super) fn since(&self, number: u64) -> Vec<Arc<Event>> {
        let skip = usize::try_from(number - self.oldest()).unwrap_or(usize::MAX);
        let events = self.events.iter().skip(skip).take(AT_ONCE);
        events.cloned().collect()
    }
}
