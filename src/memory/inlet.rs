//! The end of a queue in memory from which a worker takes.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::MemoryQueue;
use crate::rules::lane::Lane;
use crate::rules::message::Raw;
use crate::rules::verdict::Why;
use crate::rules::watermark::Tally;
use crate::seams::{Arrival, Delivery, Inlet, LinkState, Receipt, Settle, Wanted};

/// How often the depth is told.
const DEPTH_EVERY: Duration = Duration::from_secs(1);

/// Takes messages from a queue in memory.
#[derive(Debug)]
pub struct MemoryInlet {
    queue: MemoryQueue,
    epoch: u32,
    prefetch: Option<usize>,
    /// Messages that are out with the worker, by tag, with their place in the queue.
    out: BTreeMap<u64, (u64, Raw)>,
    next_tag: u64,
    told: Tally,
    said: Option<LinkState>,
    next_depth: Instant,
}

impl MemoryInlet {
    pub(super) fn new(queue: MemoryQueue) -> Self {
        let epoch = queue.lock().epoch;
        let clock = queue.shared.clock;
        let next_depth = clock.instant(clock.now().mono);
        Self {
            queue,
            epoch,
            prefetch: None,
            out: BTreeMap::new(),
            next_tag: 0,
            told: Tally::default(),
            said: None,
            next_depth,
        }
    }

    /// What there is to tell right now.
    fn poll(&mut self) -> Option<Arrival> {
        if self.told.total() > 0 {
            return Some(Arrival::Settled(std::mem::take(&mut self.told)));
        }
        if let Some(link) = self.link_changed() {
            return Some(Arrival::Link(link));
        }
        let clock = self.queue.shared.clock;
        let now = clock.instant(clock.now().mono);
        let queue = self.queue.clone();
        let mut state = queue.lock();
        while let Some(entry) = state
            .delayed
            .first_entry()
            .filter(|entry| entry.key().0 <= now)
        {
            let raw = entry.remove();
            state.append(raw);
        }
        if now >= self.next_depth {
            self.next_depth = now + DEPTH_EVERY;
            return Some(Arrival::Depth {
                ready: state.ready.len() as u64,
            });
        }
        if self.out.len() >= self.prefetch? {
            return None;
        }
        let (place, raw) = state.ready.pop_first()?;
        self.next_tag += 1;
        self.out.insert(self.next_tag, (place, raw.clone()));
        let receipt = Receipt::new(self.epoch, self.next_tag);
        Some(Arrival::Message(Box::new(Delivery {
            raw,
            receipt,
            lane: None,
        })))
    }

    fn link_changed(&mut self) -> Option<LinkState> {
        let epoch = self.queue.lock().epoch;
        if epoch != self.epoch {
            self.epoch = epoch;
            self.return_all();
            self.said = None;
            return Some(LinkState::Connecting("the link broke".to_owned()));
        }
        let link = if self.prefetch.is_some() {
            LinkState::Consuming
        } else {
            LinkState::Idle
        };
        if self.said.as_ref() == Some(&link) {
            return None;
        }
        self.said = Some(link.clone());
        Some(link)
    }

    /// What is out comes back to its place in the queue.
    fn return_all(&mut self) {
        for (place, raw) in std::mem::take(&mut self.out).into_values() {
            self.put_back(place, raw);
        }
    }

    fn put_back(&self, place: u64, raw: Raw) {
        let redelivered = Raw {
            redelivered: true,
            ..raw
        };
        self.queue.lock().ready.insert(place, redelivered);
    }

    fn wake_at(&self) -> Instant {
        let delayed = self.queue.lock().delayed.keys().next().map(|(due, _)| *due);
        delayed.map_or(self.next_depth, |due| due.min(self.next_depth))
    }
}

impl Inlet for MemoryInlet {
    async fn next(&mut self) -> Arrival {
        loop {
            if let Some(arrival) = self.poll() {
                return arrival;
            }
            let queue = self.queue.clone();
            tokio::select! {
                () = queue.shared.changed.notified() => {}
                () = sleep_until(self.wake_at()) => {}
            }
        }
    }

    fn want(&mut self, wanted: Wanted) {
        self.prefetch = match wanted {
            Wanted::Consume { prefetch } => Some(usize::from(prefetch.max(1))),
            Wanted::Idle => None,
        };
        self.queue.shared.changed.notify_one();
    }

    fn want_lane(&mut self, _lane: Lane, _wanted: Wanted) {}

    fn remove_lane(&mut self, _lane: Lane) {}

    fn usable(&self, receipt: &Receipt) -> bool {
        receipt.epoch() == self.queue.lock().epoch
    }

    fn settle(&mut self, receipt: Receipt, how: Settle, why: Why) {
        let current = self.usable(&receipt) && receipt.epoch() == self.epoch;
        let (_, tag) = receipt.spend();
        let raw = if current { self.out.remove(&tag) } else { None };
        match (raw, how) {
            (Some((place, raw)), Settle::GiveBack) => {
                self.put_back(place, raw);
                self.told.add(why);
            }
            (Some(_), Settle::Ack) => self.told.add(why),
            (None, _) => self.told.add(Why::Unsettled),
        }
    }

    fn settling(&self) -> usize {
        self.told.total() as usize
    }

    async fn close(&mut self) -> Tally {
        self.prefetch = None;
        self.return_all();
        std::mem::take(&mut self.told)
    }
}

impl Drop for MemoryInlet {
    fn drop(&mut self) {
        self.return_all();
    }
}
