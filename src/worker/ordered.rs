//! Queues that keep their order: who may go, who waits where it stands, and what becomes of those behind one that failed.
//!
//! The rules are in [`crate::rules::order`]. Messages go in the order in which they were taken, at most one of a line at once; the
//! hand's lines keep the rest, and the end of a long one waits in its key's lane, never in a delay queue. Nothing is given back before
//! all that is at work has ended: then all of it goes back at once, in its order.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::Worker;
use super::blocking::Blocks;
use super::hand::Held;
use crate::clock::Now;
use crate::rules::envelope::Stamp;
use crate::rules::lane::Lane;
use crate::rules::lots::KeyHash;
use crate::rules::order::{Order, Turn, after_run_in_order};
use crate::rules::verdict::{By, Verdict, Why};
use crate::seams::{Answer, Inlet, Outlet, Receipt, Settle, Wanted};

/// The most lines of which it is remembered how often their head was tried.
const MOST_REMEMBERED: usize = 10_000;
/// A line is long when it takes up one part in so many of the prefetch.
const LINES_IN_HAND: usize = 8;

/// What is known of the lines beside what the hand holds.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    /// The lines of which a message is at the target, or has failed and is not yet written down as the cause of a block.
    busy: HashSet<KeyHash>,
    pub(super) blocks: Blocks,
    /// Which message was tried at the head of a line: it may come again after a loss of the link, or from a lane.
    tried: HashMap<KeyHash, Tried>,
    /// Deliveries that came after the stop.
    pub(super) unread: Vec<Receipt>,
    /// Whether all that was in hand was given back, because nothing is to be done for now.
    pub(super) has_let_go: bool,
}

/// A message that is to be tried again.
#[derive(Debug, Clone, Copy)]
struct Tried {
    lot: KeyHash,
    times: u32,
    rests_until: Option<Duration>,
}

impl Ordered {
    /// Those that failed and are not written down.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.blocks.held()
    }

    /// How many deliveries are held here.
    pub(super) fn len(&self) -> usize {
        self.blocks.len() + self.unread.len()
    }

    /// A message goes to the target.
    pub(super) fn at_work(&mut self, held: &Held) {
        if held.order.is_kept() {
            self.busy.extend(held.line());
        }
    }

    /// A message came back from the target.
    pub(super) fn came_back(&mut self, held: &Held) {
        self.free(held.line());
    }

    /// Nothing more of a line goes on until it is freed.
    pub(super) fn stop(&mut self, line: KeyHash) {
        self.busy.insert(line);
    }

    pub(super) fn free(&mut self, line: Option<KeyHash>) {
        if let Some(line) = line {
            self.busy.remove(&line);
        }
    }

    fn remember(&mut self, held: &Held) {
        if self.tried.len() >= MOST_REMEMBERED {
            self.tried.clear();
        }
        if let Some(line) = held.line() {
            let tried = Tried {
                lot: held.facts.lot,
                times: held.tried,
                rests_until: held.rests_until,
            };
            self.tried.insert(line, tried);
        }
    }

    pub(super) fn forget(&mut self, held: &Held) {
        if let Some(line) = held.line() {
            self.tried.remove(&line);
        }
    }

    /// Tells a message what is known of it: how often it was tried, and until when it rests.
    fn recall(&self, held: &mut Held) {
        let known = held.line().and_then(|line| self.tried.get(&line));
        if let Some(tried) = known.filter(|tried| tried.lot == held.facts.lot) {
            held.tried = held.tried.max(tried.times);
            held.rests_until = tried.rests_until;
        }
    }
}

impl<I: Inlet, O: Outlet> Worker<I, O> {
    /// Whether this queue keeps an order.
    pub(super) fn keeps_order(&self) -> bool {
        self.given.settings.order.is_kept()
    }

    /// Takes a message of an ordered queue in hand. While nothing is to be done it is kept as it is.
    pub(super) fn take_in_order(&mut self, mut held: Held, now: Now) {
        if !self.given.inlet.usable(&held.receipt) {
            return self.give_back(held);
        }
        self.ordered.recall(&mut held);
        if self.gate.is_shut() || self.takes_nothing_until.is_some() {
            // What was on its way when all was let go follows it.
            return if self.ordered.has_let_go {
                self.give_back(held);
            } else {
                self.hand.put(held);
            };
        }
        if let Some(cause) = self.blocked_by(&held) {
            return self.shed(held, Why::Blocked, By::default(), &cause);
        }
        match self.decide(&mut held, self.hand.ready(), now) {
            Verdict::Run | Verdict::NotYet(_) => match self.lane_ahead(&held) {
                Some(lane) => self.divert(held, lane, self.why_keys_wait(), now),
                None => self.hand.put(held),
            },
            Verdict::Shed { why, by } => self.shed(held, why, by, ""),
        }
    }

    /// Whether it is a message's turn in its line; else it is shed or waits.
    pub(super) fn its_turn(&mut self, held: Held, was_head: bool, now: Now) -> Option<Held> {
        let line = held.line();
        if let Some(cause) = self.blocked_by(&held) {
            self.shed(held, Why::Blocked, By::default(), &cause);
            self.hand.release(line, now.mono);
            return None;
        }
        if line.is_some_and(|line| self.ordered.busy.contains(&line)) {
            self.line_up_in_order(held, was_head, Why::Concurrency, None, now);
            return None;
        }
        if let Some(until) = held.rests_until.filter(|until| *until > now.mono) {
            let hand = &mut self.hand;
            hand.wait(held, true, Why::Retry, Some(until), now.mono);
            return None;
        }
        Some(held)
    }

    /// The lane that may hold earlier messages of the key of one from the queue: it follows them. But not past those from the queue
    /// that are still here, since what comes from a lane goes first.
    fn lane_ahead(&self, held: &Held) -> Option<Lane> {
        let by_key = held.order == Order::Key && held.lane.is_none();
        let lane = self.lanes.holding(held.key().filter(|_| by_key)?)?;
        let at_work = self.at_work.values().map(|work| &work.held);
        let before_it = |other: &Held| other.lane.is_none() && other.line() == held.line();
        let passes = self.hand.iter().chain(at_work).any(before_it);
        (!passes).then_some(lane)
    }

    /// Lets a message wait in its line.
    pub(super) fn line_up_in_order(
        &mut self,
        held: Held,
        was_head: bool,
        why: Why,
        until: Option<Duration>,
        now: Now,
    ) {
        let line = held.line();
        self.hand.wait(held, was_head, why, until, now.mono);
        self.make_room(line, now);
    }

    /// A long line leaves a crowded hand: it waits in its key's lane, where it keeps its order and leaves room here for others. It
    /// goes whole, and only while nothing of it is at work: whatever comes to the queue again, then comes after what is in the lane.
    fn make_room(&mut self, line: Option<KeyHash>, now: Now) {
        let prefetch = usize::from(self.prefetch.get());
        let is_long = |line: &KeyHash| {
            let long = self.hand.line_length(*line) * LINES_IN_HAND >= prefetch;
            long && !self.ordered.busy.contains(line)
        };
        let crowded = self.hand.waiting() * 2 >= prefetch;
        let by_key = crowded && self.given.settings.order == Order::Key;
        let Some(key) = line.filter(|line| by_key && is_long(line)) else {
            return;
        };
        let Some(lane) = self.own_lane_to_be(key) else {
            return;
        };
        let from_queue = |held: &Held| held.lane.is_none();
        for held in self.hand.take_key(key, from_queue, now.mono) {
            self.divert(held, lane, self.why_keys_wait(), now);
        }
    }

    /// The lane of a key's own; `None`: it has none and gets none. The shared one does not keep a line together.
    fn own_lane_to_be(&self, key: KeyHash) -> Option<Lane> {
        let lane = self.lane_to_be(key);
        lane.filter(|lane| *lane != Lane::Shared)
    }

    /// What blocks the line of a message, if anything does. Not before the one that failed has left our hands.
    fn blocked_by(&self, held: &Held) -> Option<String> {
        let line = held.line()?;
        let leaves_first = self.ordered.blocks.hold_up(line);
        self.given.blocked.cause(line).filter(|_| !leaves_first)
    }

    /// A message of an ordered queue came back from the target.
    pub(super) fn settle_in_order(
        &mut self,
        mut held: Held,
        answer: &Answer,
        revision: u64,
        now: Now,
    ) {
        // It will be delivered again, before all that follows: then its outcome counts.
        if !self.given.inlet.usable(&held.receipt) {
            return self.give_back(held);
        }
        let settings = &self.given.settings;
        let turn = after_run_in_order(
            &answer.outcome,
            held.tried + 1,
            settings.attempts,
            settings.on_unknown,
        );
        let Some((turn, why)) = turn else {
            return self.hand.put(held);
        };
        match turn {
            Turn::Over => {
                let line = held.line();
                self.ordered.forget(&held);
                self.given.inlet.settle(held.receipt, Settle::Ack, why);
                self.make_room(line, now);
            }
            Turn::Again(wait, tried) => {
                held.tried = tried;
                held.rests_until = Some(now.mono + wait);
                self.ordered.remember(&held);
                let until = held.rests_until;
                self.line_up_in_order(held, true, why, until, now);
            }
            Turn::Blocked(place, tried) => {
                let stamp = Stamp {
                    revision,
                    ..self.stamp(why, answer.outcome.cause(), tried, now)
                };
                self.block(held, place, stamp, now);
            }
        }
    }

    /// An ordered queue of which nothing is to be done lets go once all that was at work has ended: else what is in hand would be
    /// back before what is at work, and somebody else could take it first.
    pub(super) fn let_go_when_free(&mut self) {
        let idle = self.gate.is_shut() || self.takes_nothing_until.is_some();
        if !idle || self.ordered.has_let_go || !self.keeps_order() {
            return;
        }
        if self.at_work.is_empty() && self.moving.len() == 0 && !self.ordered.blocks.are_written() {
            self.ordered.has_let_go = true;
            self.let_go();
        }
    }

    /// Takes nothing more and gives back what is in hand, in its order.
    pub(super) fn let_go(&mut self) {
        self.given.inlet.want(Wanted::Idle);
        for held in self.ordered.blocks.take() {
            self.ordered.free(held.line());
            self.give_back(held);
        }
        self.give_all_back();
        for receipt in std::mem::take(&mut self.ordered.unread) {
            self.given
                .inlet
                .settle(receipt, Settle::GiveBack, Why::GivenBack);
        }
    }
}
