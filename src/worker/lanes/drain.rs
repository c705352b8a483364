//! Out of the lanes: how much is taken from each, what the broker says of them, what goes round in the shared one, and what is
//! done for them once a second.

use std::time::Duration;

use super::super::Worker;
use super::super::hand::Held;
use super::{LaneState, Stage};
use crate::clock::Now;
use crate::rules::hold::LONGEST_WAIT;
use crate::rules::lane::{Belief, Lane, Pace, lane_for, may_be_removed, shared_prefetch};
use crate::rules::lots::KeyHash;
use crate::seams::{Inlet, LaneNews, Outlet, Wanted};
use crate::store::KeptLanes;

/// How long nothing is taken from a lane of which a message was held here for too long.
const REST: Duration = Duration::from_secs(30);
/// So many of a lane are out at once where order is kept: one is at work, and the last must not wait here for half an hour, after
/// which the broker takes all of them back.
const MOST_IN_ORDER: u16 = 16;

impl<I: Inlet, O: Outlet> Worker<I, O> {
    /// Takes up the lanes that the book knows, before anything is taken from the queue.
    pub(in super::super) async fn take_up_lanes(&mut self) {
        let book = self.given.lanes.clone();
        let read = tokio::task::spawn_blocking(move || book.all()).await;
        let queue = &self.given.settings.name;
        let KeptLanes { whole, damaged } = match read {
            Ok(kept) => kept,
            Err(why) => {
                return tracing::error!(%queue, %why, "which lanes there are cannot be read, so what lies in them stays there until the next start");
            }
        };
        let count = whole.len() + damaged.len();
        if count > 0 && !self.given.settings.declare {
            tracing::warn!(%queue, count, "there are lanes of a time before `declare = false`: they are read until they are empty, for which the user must be permitted to read them (`sluicegate topology` prints that), and then they may be removed");
        }
        let now = self.now();
        for entry in whole {
            let state = LaneState::new(entry.key.into(), entry.since_ms, Stage::Open, now.mono);
            self.lanes.all.insert(entry.lane, state);
        }
        for (lane, why) in damaged {
            tracing::error!(%queue, %why, "a record of a lane is damaged; what lies in a lane of that name is taken all the same, like what lies in the others. If the broker has lanes of this queue that `sluicegate queue lanes` does not list, move what lies in them back to the queue");
            let mut state = LaneState::new("".into(), now.ms, Stage::Open, now.mono);
            state.key_is_known = lane == Lane::Shared;
            self.lanes.all.insert(lane, state);
        }
    }

    /// How fast `key` may go now.
    pub(super) fn pace(&self, key: KeyHash, now: Duration) -> Pace {
        Pace {
            interval: self.throttle.key_interval(),
            at_once: self.gate.concurrency_each,
            next_in: self.throttle.key_due(key).saturating_sub(now),
        }
    }

    /// Says what is wanted of all lanes.
    pub(in super::super) fn steer_lanes(&mut self) {
        let now = self.now().mono;
        for lane in self.lanes.all.keys().copied().collect::<Vec<_>>() {
            self.steer(lane, now);
        }
    }

    /// Says what is wanted of a lane.
    pub(in super::super) fn steer(&mut self, lane: Lane, now: Duration) {
        let nothing = self.stopping || self.gate.is_shut() || self.takes_nothing_until.is_some();
        let most = if self.keeps_order() {
            MOST_IN_ORDER
        } else {
            u16::MAX
        };
        let prefetch = match lane {
            Lane::Own(key) => self.pace(key, now).prefetch().map(|few| few.min(most)),
            Lane::Shared => Some(shared_prefetch()),
        };
        let Some(state) = self.lanes.all.get_mut(&lane) else {
            return;
        };
        let is_there = match state.stage {
            Stage::Open => true,
            Stage::Opening | Stage::Failing { .. } => state.wanted.is_some(),
            Stage::Leaving | Stage::Forgetting => false,
        };
        if !is_there {
            return;
        }
        let wanted = prefetch
            .filter(|_| !nothing && state.rests_until <= now)
            .map_or(Wanted::Idle, |prefetch| Wanted::Consume { prefetch });
        if state.wanted.replace(wanted) != Some(wanted) {
            self.given.inlet.want_lane(lane, wanted);
        }
    }

    /// The broker says something of a lane.
    pub(in super::super) fn lane_news(&mut self, lane: Lane, news: &LaneNews) {
        let now = self.now().mono;
        let Some(state) = self.lanes.all.get_mut(&lane) else {
            return;
        };
        match news {
            LaneNews::Depth { ready } => {
                state.belief.told(*ready, state.under_way(), now);
                if lane == Lane::Shared && !state.holds() && self.lanes.turning.is_empty() {
                    self.lanes.guests.clear();
                }
            }
            LaneNews::Stays => {
                if state.stage == Stage::Leaving {
                    (state.stage, state.wanted) = (Stage::Open, None);
                    state.busy_at = now;
                    self.steer(lane, now);
                    self.send(lane);
                }
            }
            LaneNews::Gone => {
                state.unread = None;
                self.gone(lane, now);
            }
            LaneNews::Unread(why) => self.unread(lane, why),
            LaneNews::Read => {
                state.unread = None;
                tracing::info!(queue = %self.given.settings.name, ?lane, "a lane can be read again");
            }
        }
    }

    /// What lies in a lane stays there for now.
    fn unread(&mut self, lane: Lane, why: &str) {
        let Some(state) = self.lanes.all.get_mut(&lane) else {
            return;
        };
        if state.unread.replace(why.into()).is_none() {
            tracing::error!(queue = %self.given.settings.name, ?lane, key = ?state.key, why, "a lane cannot be read: what lies in it stays there until that is mended; `sluicegate topology` says what the user must be permitted");
        }
    }

    /// A lane is not there any more. What is on its way to it has it made again; else its entry is struck out.
    fn gone(&mut self, lane: Lane, now: Duration) {
        let Some(state) = self.lanes.all.get_mut(&lane) else {
            return;
        };
        // A publish under way, or one that failed, says so itself; a lane that is just being declared is there when it is.
        if matches!(state.stage, Stage::Opening | Stage::Forgetting) {
            return;
        }
        state.belief = Belief::new_lane();
        state.wanted = None;
        if state.under_way() > 0 {
            state.stage = Stage::Failing { retry_at: now };
            return;
        }
        state.stage = Stage::Forgetting;
        let book = self.given.lanes.clone();
        self.lanes.errands.push(Box::pin(async move {
            let forgotten = tokio::task::spawn_blocking(move || book.forget(lane)).await;
            let told = match forgotten {
                Ok(told) => told.map_err(|why| why.to_string()),
                Err(why) => Err(why.to_string()),
            };
            super::Errand::Forgotten(lane, told)
        }));
    }

    /// The entry of a lane was struck out. One that is needed again meanwhile is opened again.
    pub(super) fn forgotten(&mut self, lane: Lane, told: Result<(), String>) {
        if let Err(why) = told {
            tracing::warn!(queue = %self.given.settings.name, ?lane, why, "a lane that is gone could not be struck out; that is tried again at the next start");
        }
        let needed = |state: &LaneState| state.under_way() > 0;
        if self.lanes.all.get(&lane).is_some_and(needed) {
            return self.open_lane(lane);
        }
        self.lanes.all.remove(&lane);
        if lane == Lane::Shared && self.lanes.turning.is_empty() {
            self.lanes.guests.clear();
        }
        tracing::info!(queue = %self.given.settings.name, ?lane, "a lane is empty and was removed");
    }

    /// A message from the shared lane cannot run soon, and makes room. Its key gets a lane of its own if there is one.
    pub(in super::super) fn turn(&mut self, held: Held, was_head: bool, now: Now) {
        let Some(key) = held.key() else {
            return self.hand.put(held);
        };
        let from_shared = |held: &Held| held.lane == Some(Lane::Shared);
        let mut all = vec![held];
        if was_head {
            all.extend(self.hand.take_line(key, from_shared, now.mono));
        }
        all.extend(self.hand.take_ready(key, from_shared));
        let own = lane_for(key, self.lanes.own());
        let may = own != Lane::Shared && self.given.settings.declare;
        let has_own = may || self.lanes.all.contains_key(&Lane::Own(key));
        if has_own && self.lanes.is_read(Lane::Own(key)) {
            let why = self.why_keys_wait();
            return all
                .into_iter()
                .for_each(|held| self.divert(held, Lane::Own(key), why, now));
        }
        for held in all {
            self.keep_for_the_tail(held, now.ms);
        }
    }

    /// Keeps a message in hand until the second is over; then it is put at the tail of the shared lane.
    pub(super) fn keep_for_the_tail(&mut self, mut held: Held, now_ms: i64) {
        if let Some(guest) = self.lanes.guest_of(&held, now_ms) {
            let number = held.guest.unwrap_or_else(|| guest.round.joins());
            guest.round.turns(number);
            held.guest = Some(number);
        }
        self.lanes.turning.push(held);
    }

    /// Once a second: what turns is put at the tail, what failed is tried again, empty lanes are removed, and all is told.
    pub(in super::super) fn keep_lanes(&mut self, now: Now) {
        self.drop_lost_lines();
        // Where order is kept what waits does so in its place.
        if !self.keeps_order() {
            self.give_back_what_was_held_too_long(now.mono);
            self.move_on_what_waits_too_long(now);
        }
        for held in std::mem::take(&mut self.lanes.turning) {
            let why = self.why_keys_wait();
            self.divert(held, Lane::Shared, why, now);
        }
        let out = self.out_by_lane();
        for lane in self.lanes.all.keys().copied().collect::<Vec<_>>() {
            let out = out.get(&lane).copied().unwrap_or(0);
            self.keep_lane(lane, out, now.mono);
        }
        self.lanes
            .guests
            .retain(|_, guest| guest.round.waiting() > 0);
        self.steer_lanes();
        self.tell_of_lanes(&out, now);
    }

    fn move_on_what_waits_too_long(&mut self, now: Now) {
        let overdue = self.hand.overdue(LONGEST_WAIT, now.mono);
        for (key, why) in overdue {
            let from_shared = |held: &Held| held.lane == Some(Lane::Shared);
            let line = self.hand.take_line(key, from_shared, now.mono);
            line.into_iter()
                .for_each(|held| self.turn(held, false, now));
            self.all_step_aside(key, why, now);
        }
    }

    fn keep_lane(&mut self, lane: Lane, out: usize, now: Duration) {
        let hold = self.given.settings.hold;
        let keeps_order = self.keeps_order();
        let Some(state) = self.lanes.all.get_mut(&lane) else {
            return;
        };
        if out > 0 || !state.belief.is_empty() {
            state.busy_at = now;
        }
        let quiet = now.saturating_sub(state.busy_at);
        let oldest = state.line.first_key_value().map(|(_, one)| one.since);
        match state.stage {
            Stage::Open if may_be_removed(state.belief, out, state.under_way(), quiet) => {
                (state.stage, state.wanted) = (Stage::Leaving, None);
                self.given.inlet.remove_lane(lane);
            }
            Stage::Failing { retry_at } if retry_at <= now && state.flying == 0 => {
                self.open_lane(lane);
            }
            _ => {}
        }
        if oldest.is_some_and(|since| now.saturating_sub(since) > hold) && !keeps_order {
            for held in self.lanes.take_line(lane) {
                self.give_back(held);
            }
            self.take_nothing(now);
        }
    }

    /// What a lane gave is not held for ever: a broker would take it for lost. It goes back with all that was taken after it, and
    /// the lane rests.
    fn give_back_what_was_held_too_long(&mut self, now: Duration) {
        let Some(before) = now.checked_sub(self.given.settings.hold) else {
            return;
        };
        for lane in self.hand.lanes_held_since_before(before) {
            for held in self.hand.take_out(|held| held.lane == Some(lane)) {
                self.give_back(held);
            }
            if let Some(state) = self.lanes.all.get_mut(&lane) {
                state.rests_until = now + REST;
            }
        }
    }

    /// The channel of a lane is gone: what came on it is redelivered.
    pub(in super::super) fn lane_was_lost(&mut self, lane: Option<Lane>) {
        let inlet = &self.given.inlet;
        let lost = |held: &Held| held.lane == lane && !inlet.usable(&held.receipt);
        if lane.is_some() {
            let lost = self.hand.take_out(lost);
            lost.into_iter().for_each(|held| self.give_back(held));
        }
    }
}
