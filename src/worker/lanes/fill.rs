//! Into the lanes: a key that must wait for long gets one, and while it holds earlier messages of the key, later ones follow. All
//! that is for a lane is published in order, many at once; after a failure the rest waits until all is tried again, in order.

use std::sync::Arc;
use std::time::Duration;

use super::super::Worker;
use super::super::hand::Held;
use super::super::moving::{LONGEST_RETRY, Move};
use super::{Errand, LaneState, Stage};
use crate::clock::Now;
use crate::rules::backoff::full_jitter;
use crate::rules::hold::LONGEST_WAIT;
use crate::rules::lane::{Belief, Lane, lane_for};
use crate::rules::lots::KeyHash;
use crate::rules::verdict::Why;
use crate::seams::{Inlet, NotPlaced, Outlet, Place, Settle};
use crate::store::LaneEntry;

impl<I: Inlet, O: Outlet> Worker<I, O> {
    /// A message came that may run. While a limit of single keys stands, it follows earlier ones of its key into their lane; then
    /// it is not given back here.
    pub(in super::super) fn join_lane(&mut self, held: Held, now: Now) -> Option<Held> {
        let limited = !self.lanes.all.is_empty() && self.throttle.limits_keys();
        let Some(key) = held.key().filter(|_| limited) else {
            return Some(held);
        };
        let lane = match held.lane {
            Some(Lane::Own(_)) => None,
            Some(Lane::Shared) if self.has_own_lane(key) => Some(Lane::Own(key)),
            Some(Lane::Shared) if !self.lanes.is_first(&held) => {
                self.keep_for_the_tail(held, now.ms);
                return None;
            }
            Some(Lane::Shared) => None,
            None => self.lanes.holding(key).filter(|lane| self.may_fill(*lane)),
        };
        let Some(lane) = lane else { return Some(held) };
        self.divert(held, lane, self.why_keys_wait(), now);
        None
    }

    pub(in super::super) fn why_keys_wait(&self) -> Why {
        self.gate.rate_each.map_or(Why::Concurrency, |_| Why::Rate)
    }

    /// This message from the queue must wait for its key longer than it may here, and with it all of its key that are in hand.
    pub(in super::super) fn step_aside(&mut self, held: Held, why: Why, wait: Duration, now: Now) {
        let Some(key) = held.key() else {
            return self.defer(held, why, wait, now);
        };
        let Some(lane) = self.lane_to_be(key) else {
            return self.defer(held, why, wait, now);
        };
        let from_queue = |held: &Held| held.lane.is_none();
        let mut all = self.hand.take_line(key, from_queue, now.mono);
        all.push(held);
        all.extend(self.hand.take_ready(key, from_queue));
        for held in all {
            self.divert(held, lane, why, now);
        }
    }

    /// Messages from the queue have waited for this key longer than they may: all of its that are in hand step aside.
    pub(in super::super) fn all_step_aside(&mut self, key: KeyHash, why: Why, now: Now) {
        let from_queue = |held: &Held| held.lane.is_none();
        let all = self.hand.take_key(key, from_queue, now.mono);
        let lane = self.lane_to_be(key);
        for held in all {
            match lane {
                Some(lane) => self.divert(held, lane, why, now),
                None => self.defer(held, why, LONGEST_WAIT, now),
            }
        }
    }

    fn has_own_lane(&self, key: KeyHash) -> bool {
        let own = Lane::Own(key);
        self.lanes.all.contains_key(&own) && self.lanes.is_read(own)
    }

    /// Whether more may be put in a lane. Not in one that cannot be read, unless all else would break the order that is promised.
    fn may_fill(&self, lane: Lane) -> bool {
        self.keeps_order() || self.lanes.is_read(lane)
    }

    /// The lane for a message of `key`; `None`: there is none that can be read, and none may be opened.
    pub(in super::super) fn lane_to_be(&self, key: KeyHash) -> Option<Lane> {
        let own = Lane::Own(key);
        let is_there = || self.lanes.all.contains_key(&own).then_some(own);
        let opened = || {
            let lane = lane_for(key, self.lanes.own());
            let may = self.given.settings.declare || self.lanes.all.contains_key(&lane);
            may.then_some(lane)
        };
        let lane = self.lanes.holding(key).or_else(is_there).or_else(opened);
        lane.filter(|lane| self.may_fill(*lane))
    }

    /// Lines a message up for a lane, which is opened if need be, and publishes it as soon as may be.
    pub(in super::super) fn divert(&mut self, held: Held, lane: Lane, why: Why, now: Now) {
        if !self.given.inlet.usable(&held.receipt) {
            return self.give_back(held);
        }
        let mut held = held;
        if lane == Lane::Shared {
            held.guest = self.lanes.guest_of(&held, now.ms).map(|guest| {
                let number = held.guest.unwrap_or_else(|| guest.round.joins());
                guest.round.to_the_tail(number);
                number
            });
        } else {
            held.guest = None;
        }
        let stamp = self.stamp(why, "", held.tried, now);
        let key = held.facts.key.as_ref().map(|(_, key)| Arc::clone(key));
        let one = self.envelope(held, Place::Lane(lane), stamp, now);
        if super::lane_of(&one).is_none() {
            self.lanes.does_not_join(&one.held);
            return self.moving.publish(&self.given.outlet, one);
        }
        self.ensure_lane(lane, key, now);
        if let Some(state) = self.lanes.all.get_mut(&lane) {
            state.busy_at = now.mono;
            state.line_up(one);
        }
        self.send(lane);
        self.make_room_for_what_goes_aside();
    }

    fn ensure_lane(&mut self, lane: Lane, key: Option<Arc<str>>, now: Now) {
        if self.lanes.all.contains_key(&lane) {
            return;
        }
        let key = key.filter(|_| lane != Lane::Shared).unwrap_or_default();
        let mut state = LaneState::new(key, now.ms, Stage::Opening, now.mono);
        state.belief = Belief::new_lane();
        self.lanes.all.insert(lane, state);
        self.open_lane(lane);
    }

    /// Writes a lane down, then has it declared.
    pub(super) fn open_lane(&mut self, lane: Lane) {
        let Some(state) = self.lanes.all.get_mut(&lane) else {
            return;
        };
        state.stage = Stage::Opening;
        let entry = LaneEntry {
            lane,
            key: state.key.to_string(),
            since_ms: state.since_ms,
        };
        let (book, outlet) = (self.given.lanes.clone(), self.given.outlet.clone());
        self.lanes.errands.push(Box::pin(async move {
            let kept = tokio::task::spawn_blocking(move || book.keep(&entry)).await;
            let opened = match kept {
                Ok(Ok(())) => {
                    let there = outlet.prepare(Place::Lane(lane)).await;
                    there.map_err(|why| why.to_string())
                }
                Ok(Err(why)) => Err(why.to_string()),
                Err(why) => Err(why.to_string()),
            };
            Errand::Opened(lane, opened)
        }));
    }

    /// An errand for a lane has been done.
    pub(in super::super) fn errand_done(&mut self, errand: Errand) {
        let now = self.now();
        match errand {
            Errand::Opened(lane, Ok(())) => {
                if let Some(state) = self.lanes.all.get_mut(&lane) {
                    state.stage = Stage::Open;
                    if state.under_way() == 0 {
                        state.failures = 0;
                    }
                    tracing::info!(queue = %self.given.settings.name, lane = ?lane, "a lane is open");
                }
                self.steer(lane, now.mono);
                self.send(lane);
            }
            Errand::Opened(lane, Err(why)) => self.lane_fails(lane, &why, now.mono),
            Errand::Forgotten(lane, told) => self.forgotten(lane, told),
        }
    }

    /// Publishes what waits for a lane, in order, without waiting for one before the next.
    pub(super) fn send(&mut self, lane: Lane) {
        let Some(state) = self.lanes.all.get_mut(&lane) else {
            return;
        };
        if state.stage != Stage::Open {
            return;
        }
        let mut lost = Vec::new();
        // Where order is promised, the next one waits until the broker has this one: it might refuse this and take the next.
        let most = if self.given.settings.order.is_kept() {
            1
        } else {
            usize::MAX
        };
        while state.flying < most
            && let Some((_, one)) = state.line.pop_first()
        {
            if self.given.inlet.usable(&one.held.receipt) {
                state.flying += 1;
                self.moving.publish(&self.given.outlet, one);
            } else {
                lost.push(one.held);
            }
        }
        for held in lost {
            self.lanes.does_not_join(&held);
            self.give_back(held);
        }
    }

    /// What waits to be published to a lane and cannot be settled any more comes again. It says nothing of the lane.
    pub(in super::super) fn drop_lost_lines(&mut self) {
        let inlet = &self.given.inlet;
        let lost = self.lanes.take_lost(|held| !inlet.usable(&held.receipt));
        lost.into_iter().for_each(|held| self.give_back(held));
    }

    /// A publish to a lane came to its end.
    pub(in super::super) fn flown(&mut self, lane: Lane, one: Move, result: Result<(), NotPlaced>) {
        let now = self.now().mono;
        if let Some(state) = self.lanes.all.get_mut(&lane) {
            state.flying = state.flying.saturating_sub(1);
            state.busy_at = now;
        }
        let Err(why) = result else {
            if let Some(state) = self.lanes.all.get_mut(&lane) {
                state.belief.one_more();
                if state.stage == Stage::Open {
                    state.failures = 0;
                }
            }
            self.given
                .inlet
                .settle(one.held.receipt, Settle::Ack, one.why);
            return self.send(lane);
        };
        self.numbers.publish_failed();
        let lost = !self.given.inlet.usable(&one.held.receipt);
        // Where order is kept it goes back with all the rest, when nothing is at work any more.
        let goes_back = (self.stopping || self.gate.is_shut()) && !self.keeps_order();
        if lost || goes_back {
            self.lanes.does_not_join(&one.held);
            return self.give_back(one.held);
        }
        self.lane_fails(lane, &why.to_string(), now);
        if let Some(state) = self.lanes.all.get_mut(&lane) {
            // It may have been placed all the same.
            state.belief.lost();
            state.line.insert(one.turn, one);
        }
    }

    /// A lane could not be opened, or something could not be placed in it: all of it is tried again after a while.
    fn lane_fails(&mut self, lane: Lane, why: &str, now: Duration) {
        let Some(state) = self.lanes.all.get_mut(&lane) else {
            return;
        };
        if matches!(state.stage, Stage::Opening | Stage::Open) {
            let draw = KeyHash::of(state.key.as_bytes()).draw(state.failures);
            let wait = full_jitter(state.failures, LONGEST_RETRY, draw);
            state.failures += 1;
            state.stage = Stage::Failing {
                retry_at: now + wait,
            };
        }
        if self.misplaced.replace(why.to_owned()).is_none() {
            tracing::warn!(queue = %self.given.settings.name, ?lane, %why, "messages cannot be put in a lane; they are held and tried again");
        }
    }
}
