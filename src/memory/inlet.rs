//! The end of a queue in memory from which a worker takes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::ready::Taken;
use super::{MemoryQueue, State};
use crate::rules::lane::Lane;
use crate::rules::verdict::Why;
use crate::rules::watermark::Tally;
use crate::seams::{Arrival, Delivery, Inlet, LaneNews, LinkState, Receipt, Settle, Wanted};

/// How often the depth is told.
const DEPTH_EVERY: Duration = Duration::from_secs(1);

/// Takes messages from a queue in memory.
#[derive(Debug)]
pub struct MemoryInlet {
    queue: MemoryQueue,
    epoch: u32,
    taken: Taken,
    lanes: BTreeMap<Lane, LaneTaken>,
    /// Who gave the last message; `None`: the queue. The others have their turn before.
    last: Option<Lane>,
    next_tag: u64,
    told: Tally,
    news: VecDeque<Arrival>,
    said: Option<LinkState>,
    next_depth: Instant,
}

#[derive(Debug, Default)]
struct LaneTaken {
    taken: Taken,
    /// Its depth is to be told before anything else.
    new: bool,
    removing: bool,
    /// Whether it was said not to be read.
    unread: bool,
}

impl LaneTaken {
    /// Whether it is to be told that it cannot be read, which is found out when it is consumed.
    fn cannot_be_read(&mut self, forbidden: bool) -> bool {
        forbidden && self.taken.prefetch.is_some() && !std::mem::replace(&mut self.unread, true)
    }

    /// Whether it is to be told that it can be read again.
    fn can_be_read(&mut self, forbidden: bool) -> bool {
        !forbidden && std::mem::take(&mut self.unread)
    }
}

impl MemoryInlet {
    pub(super) fn new(queue: MemoryQueue) -> Self {
        let epoch = queue.lock().epoch;
        let clock = queue.shared.clock;
        let next_depth = clock.instant(clock.now().mono);
        Self {
            queue,
            epoch,
            taken: Taken::default(),
            lanes: BTreeMap::new(),
            last: None,
            next_tag: 0,
            told: Tally::default(),
            news: VecDeque::new(),
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
            state.ready.put(raw);
        }
        self.look_at_lanes(&mut state);
        if now >= self.next_depth {
            self.next_depth = now + DEPTH_EVERY;
            self.news.push_back(Arrival::Depth {
                ready: state.ready.len() as u64,
            });
            for lane in self.lanes.values_mut() {
                lane.new = true;
            }
            self.look_at_lanes(&mut state);
        }
        let news = self.news.pop_front();
        news.or_else(|| self.take(&mut state))
    }

    /// Removes what is to be removed, and tells the depth where it is due.
    fn look_at_lanes(&mut self, state: &mut State) {
        let news = &mut self.news;
        self.lanes.retain(|lane, taken| {
            let depth = state.lanes.get(lane).map(|lane| lane.len() as u64);
            let said = match depth {
                None => LaneNews::Gone,
                Some(ready) if taken.removing && taken.taken.is_empty() => {
                    taken.removing = false;
                    if ready == 0 {
                        state.lanes.remove(lane);
                        LaneNews::Gone
                    } else {
                        LaneNews::Stays
                    }
                }
                Some(_) if taken.cannot_be_read(state.unread.contains(lane)) => {
                    LaneNews::Unread("reading it is not permitted".to_owned())
                }
                Some(_) if taken.can_be_read(state.unread.contains(lane)) => LaneNews::Read,
                Some(ready) if std::mem::take(&mut taken.new) => LaneNews::Depth { ready },
                Some(_) => return true,
            };
            let stays = said != LaneNews::Gone;
            news.push_back(Arrival::Lane(*lane, said));
            stays
        });
    }

    /// Takes the next message: the queue and its lanes have it in turn.
    fn take(&mut self, state: &mut State) -> Option<Arrival> {
        let tag = self.next_tag + 1;
        let after_the_last = self.last.map_or(Unbounded, Excluded);
        let later = self.lanes.range((after_the_last, Unbounded));
        let later = later.map(|(lane, _)| Some(*lane));
        let all = self.lanes.keys().map(|lane| Some(*lane));
        let turns: Vec<Option<Lane>> = later.chain([None]).chain(all).collect();
        let (lane, raw) = turns.into_iter().find_map(|turn| {
            let raw = match turn {
                None => self.taken.take(&mut state.ready, tag),
                Some(lane) => {
                    let lane_taken = self.lanes.get_mut(&lane).filter(|it| !it.unread)?;
                    let taken = &mut lane_taken.taken;
                    taken.take(state.lanes.get_mut(&lane)?, tag)
                }
            };
            raw.map(|raw| (turn, raw))
        })?;
        self.next_tag = tag;
        self.last = lane;
        let receipt = Receipt::new(self.epoch, tag);
        Some(Arrival::Message(Box::new(Delivery { raw, receipt, lane })))
    }

    fn link_changed(&mut self) -> Option<LinkState> {
        let epoch = self.queue.lock().epoch;
        if epoch != self.epoch {
            self.epoch = epoch;
            self.return_all();
            self.said = None;
            for (lane, taken) in &mut self.lanes {
                taken.new = true;
                if std::mem::take(&mut taken.removing) {
                    let stays = Arrival::Lane(*lane, LaneNews::Stays);
                    self.news.push_back(stays);
                }
            }
            return Some(LinkState::Connecting("the link broke".to_owned()));
        }
        let link = if self.taken.prefetch.is_some() {
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

    /// What is out comes back to where it was.
    fn return_all(&mut self) {
        let mut state = self.queue.lock();
        self.taken.return_all(&mut state.ready);
        for (lane, taken) in &mut self.lanes {
            if let Some(ready) = state.lanes.get_mut(lane) {
                taken.taken.return_all(ready);
            }
        }
    }

    /// Ends a delivery; a message that is given back goes to where it was. `false`: it is not out.
    fn end(&mut self, tag: u64, how: Settle) -> bool {
        let mut state = self.queue.lock();
        let of_lane = |(lane, taken): (&Lane, &mut LaneTaken)| Some((*lane, taken.taken.end(tag)?));
        let (ready, ended) = match self.taken.end(tag) {
            Some(ended) => (Some(&mut state.ready), ended),
            None => match self.lanes.iter_mut().find_map(of_lane) {
                Some((lane, ended)) => (state.lanes.get_mut(&lane), ended),
                None => return false,
            },
        };
        if let (Some(ready), Settle::GiveBack) = (ready, how) {
            ready.put_back(ended);
        }
        true
    }

    fn wake_at(&self) -> Instant {
        let delayed = self.queue.lock().delayed.keys().next().map(|(due, _)| *due);
        delayed.map_or(self.next_depth, |due| due.min(self.next_depth))
    }
}

/// The prefetch that is wanted, never 0.
fn prefetch(wanted: Wanted) -> Option<usize> {
    match wanted {
        Wanted::Consume { prefetch } => Some(usize::from(prefetch.max(1))),
        Wanted::Idle => None,
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
        self.taken.prefetch = prefetch(wanted);
        self.queue.shared.changed.notify_one();
    }

    fn want_lane(&mut self, lane: Lane, wanted: Wanted) {
        let new = !self.lanes.contains_key(&lane);
        let taken = self.lanes.entry(lane).or_default();
        let opens = taken.taken.prefetch.is_none() && wanted != Wanted::Idle;
        taken.new |= new || opens;
        taken.taken.prefetch = prefetch(wanted);
        if wanted != Wanted::Idle && std::mem::take(&mut taken.removing) {
            let stays = Arrival::Lane(lane, LaneNews::Stays);
            self.news.push_back(stays);
        }
        self.queue.shared.changed.notify_one();
    }

    fn remove_lane(&mut self, lane: Lane) {
        let taken = self.lanes.entry(lane).or_default();
        taken.taken.prefetch = None;
        taken.removing = true;
        self.queue.shared.changed.notify_one();
    }

    fn usable(&self, receipt: &Receipt) -> bool {
        receipt.epoch() == self.queue.lock().epoch
    }

    fn settle(&mut self, receipt: Receipt, how: Settle, why: Why) {
        let current = self.usable(&receipt) && receipt.epoch() == self.epoch;
        let (_, tag) = receipt.spend();
        if current && self.end(tag, how) {
            self.told.add(why);
        } else {
            self.told.add(Why::Unsettled);
        }
    }

    fn settling(&self) -> usize {
        self.told.total() as usize
    }

    async fn close(&mut self) -> Tally {
        self.taken.prefetch = None;
        for lane in self.lanes.values_mut() {
            lane.taken.prefetch = None;
        }
        self.return_all();
        std::mem::take(&mut self.told)
    }
}

impl Drop for MemoryInlet {
    fn drop(&mut self) {
        self.return_all();
    }
}
