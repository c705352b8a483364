//! Dispatching: a message that has just come may go at once; else the free slots are filled with the next messages in hand, each
//! asked once more whether it may run. Then it is asked for a permit; who gets none waits, here or elsewhere.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::hand::Held;
use super::{AtWork, Worker};
use crate::clock::Now;
use crate::rules::hold::{LONGEST_WAIT, may_wait};
use crate::rules::lane::{LONGEST_TURN, Lane};
use crate::rules::verdict::{Verdict, Why};
use crate::seams::{Inlet, Job, Outlet, Passed};
use crate::throttle::{Hold, Permit};

impl<I: Inlet, O: Outlet> Worker<I, O> {
    /// How many messages may be at the target at once.
    pub(super) fn slots(&self) -> u32 {
        let most = self.given.settings.slots;
        self.gate.concurrency.map_or(most, |limit| limit.min(most))
    }

    /// Fills the free slots with the next messages in hand. A handler that waits for nothing fills none, so a valve that is turned
    /// meanwhile holds here, too.
    pub(super) fn dispatch(&mut self) {
        let slots = self.slots() as usize;
        while self.at_work.len() < slots && !self.gate.is_shut() && self.hand.len() > 0 {
            if self.given.flags.has_changed().unwrap_or(false) {
                return;
            }
            let now = self.now();
            if now.mono < self.not_before() || !self.target_has_room(now.mono) {
                return;
            }
            let Some((held, was_head)) = self.hand.next(now.mono) else {
                return;
            };
            self.admit(held, was_head, now);
        }
    }

    /// A slot is free for this message: asks the gate once more, then for a permit.
    fn admit(&mut self, mut held: Held, was_head: bool, now: Now) {
        let line = held.line();
        if !self.given.inlet.usable(&held.receipt) {
            self.lane_was_lost(held.lane);
            self.give_back(held);
            return self.hand.release(line, now.mono);
        }
        if held.order.is_kept() {
            match self.its_turn(held, was_head, now) {
                Some(first) => held = first,
                None => return,
            }
        }
        match self.decide(&mut held, 0, now) {
            Verdict::Run => {}
            Verdict::Shed { why, by } => {
                self.shed(held, why, by, "");
                return self.hand.release(line, now.mono);
            }
            Verdict::NotYet(wait) => return self.not_yet(held, was_head, wait, now),
        }
        self.ask_for_a_permit(held, was_head, now);
    }

    /// Whether a message that has just come may go before anything in hand: a slot is free, and nothing waits for one.
    pub(super) fn may_go_at_once(&mut self, now: Now) -> bool {
        self.at_work.len() < self.slots() as usize
            && self.not_before() <= now.mono
            && self.hand.is_idle(now.mono)
            && self.target_has_room(now.mono)
    }

    /// A slot is free, and the gate has just said that this message may run.
    pub(super) fn ask_for_a_permit(&mut self, mut held: Held, was_head: bool, now: Now) {
        let (key, line) = (held.key(), held.line());
        let line_waits_for = line.and_then(|line| self.hand.line_waits_for(line));
        if let Some(why) = line_waits_for.filter(|_| !was_head) {
            return self.line_up(held, was_head, why, None, now);
        }
        match self.throttle.admit(key, now.mono) {
            Ok(permit) => {
                self.hand.release(line, now.mono);
                let lane = held.lane;
                self.hand_over(held, permit, now);
                if let Some(lane) = lane {
                    self.steer(lane, now.mono);
                }
            }
            Err(Hold::Queue(until)) => {
                self.rate_until = until;
                held.refused_at.get_or_insert(now.mono);
                if was_head {
                    self.hand.wait(held, true, Why::Rate, Some(until), now.mono);
                } else {
                    self.hand.put(held);
                }
            }
            Err(Hold::Key(why, until)) => self.line_up(held, was_head, why, until, now),
        }
    }

    /// Lets a message wait for its key: here if it will not be long, else in its lane. What comes from a lane waits here.
    fn line_up(
        &mut self,
        mut held: Held,
        was_head: bool,
        why: Why,
        until: Option<Duration>,
        now: Now,
    ) {
        held.refused_at.get_or_insert(now.mono);
        if held.order.is_kept() {
            return self.line_up_in_order(held, was_head, why, until, now);
        }
        let before_it = held.key().map_or(0, |key| self.hand.line_length(key));
        let turns = u32::try_from(before_it).unwrap_or(u32::MAX);
        let expected = match until {
            None if why == Why::Concurrency => self.wait_for_a_slot(turns),
            _ => {
                let own = until.map_or(Duration::ZERO, |until| until.saturating_sub(now.mono));
                own + self
                    .throttle
                    .key_interval()
                    .unwrap_or_default()
                    .saturating_mul(turns)
            }
        };
        match held.lane {
            Some(Lane::Shared) if expected > LONGEST_TURN => return self.turn(held, was_head, now),
            Some(_) => return self.hand.wait(held, was_head, why, until, now.mono),
            None => {}
        }
        // Many short waits need a larger prefetch, not a way round.
        if expected <= LONGEST_WAIT {
            self.occupied(self.hand.waiting() + 1);
        }
        if was_head || may_wait(expected, self.hand.waiting(), self.prefetch.get()) {
            self.hand.wait(held, was_head, why, until, now.mono);
        } else {
            self.step_aside(held, why, expected, now);
        }
    }

    /// How long it will be until a slot of a key has been free so many turns and once more.
    fn wait_for_a_slot(&self, turns: u32) -> Duration {
        let at_once = self.gate.concurrency_each.unwrap_or(1).max(1);
        self.service.saturating_mul(turns.saturating_add(1)) / at_once
    }

    /// What the worker is told of flags with this message.
    fn passed(&self, held: &Held) -> Passed {
        if self.gate.passes_nothing() {
            return Passed::default();
        }
        let passed = self.gate.passed(&held.facts);
        passed
            .map(|(key, said)| (Arc::clone(key), Arc::clone(said)))
            .collect()
    }

    fn hand_over(&mut self, mut held: Held, permit: Permit, now: Now) {
        if let Some(since) = held.refused_at.take() {
            self.numbers.waited(now.mono.saturating_sub(since));
        }
        let job = Job {
            queue: self.given.settings.name.clone(),
            id: Arc::clone(&held.facts.id),
            raw: Arc::clone(&held.raw),
            attempt: held.tried + 1,
            published_ms: held.facts.published_ms,
            deadline_ms: self.deadline_ms(&held),
            mode: self.gate.mode(&held.facts),
            account: held.facts.key.as_ref().map(|(_, key)| Arc::clone(key)),
            flags: self.passed(&held),
            timeout: self.gate.timeout(&held.facts),
            way: self.gate.way(&held.facts),
        };
        self.ordered.at_work(&held);
        self.relief.began(&held.mark, now.mono);
        self.remember_handed(&held.facts, job.deadline_ms, now.mono);
        let work = AtWork {
            held,
            gate: Arc::clone(&self.gate),
            permit,
            started: now.mono,
            round: self.pressure.sent(),
        };
        let mut answer = self.given.target.hand_over(job);
        // A handler that waits for nothing has done it already: it needs no slot.
        if let Some(answer) = answer.as_mut().now_or_never() {
            return self.worked(work, &answer);
        }
        self.next_id += 1;
        let id = self.next_id;
        self.answers
            .push(Box::pin(async move { (id, answer.await) }));
        self.at_work.insert(id, work);
    }

    /// Before this nothing may be dispatched.
    pub(super) fn not_before(&self) -> Duration {
        self.rate_until
            .max(self.target_rests_until)
            .max(self.target_rests())
    }

    /// When there may be something to do though nothing happens. With all slots busy it is an answer that wakes us.
    pub(super) fn next_wake(&self, next_tick: Duration) -> Duration {
        if self.at_work.len() >= self.slots() as usize
            || self.hand.len() == 0
            || self.gate.is_shut()
            || self.waits_for_an_answer()
        {
            return next_tick;
        }
        let not_before = self.not_before();
        let held_up = (not_before > self.now().mono).then_some(not_before);
        let line = self.hand.next_due().map(|due| due.max(not_before));
        [held_up, line]
            .into_iter()
            .flatten()
            .fold(next_tick, Duration::min)
    }

    /// When a job is useless: what the message says, else what the file says of all.
    pub(super) fn deadline_ms(&self, held: &Held) -> Option<i64> {
        let after = self
            .given
            .settings
            .deadline_after
            .map(|after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
        held.facts
            .deadline_ms
            .or_else(|| Some(held.facts.counts_from_ms()?.saturating_add(after?)))
    }
}
