//! The back-pressure of the target: what it does not take stays in hand, untried and undelayed, and is asked again by the gate
//! when the target has room. Who was handed over is remembered until somebody reports what came of it.

use std::time::Duration;

use super::Worker;
use super::hand::Held;
use crate::clock::Now;
use crate::config::TargetSettings;
use crate::rules::facts::Facts;
use crate::rules::handed::Work;
use crate::rules::pressure::{Pressure, Room, Round};
use crate::rules::settlement::Outcome;
use crate::rules::verdict::Why;
use crate::seams::{Inlet, Outlet};
use crate::throttle::Permit;

/// What is known of the target's back-pressure.
#[derive(Debug, Default)]
pub(super) struct TargetPressure {
    pub(super) rule: Pressure,
    /// Whether it was full since the vital signs were last told.
    pub(super) was_full: bool,
    /// Why it takes nothing, when somebody should mend that.
    pub(super) held: Option<String>,
}

impl TargetPressure {
    /// A message goes to the target.
    pub(super) fn sent(&mut self) -> Round {
        self.rule.sent()
    }
}

impl<I: Inlet, O: Outlet> Worker<I, O> {
    /// Whether the target takes another message now.
    pub(super) fn target_has_room(&mut self, now: Duration) -> bool {
        if self.publishing_is_blocked() {
            self.pressure.rule.rest(now);
            return false;
        }
        self.pressure.rule.room(now, self.at_work.len()) == Room::Now
    }

    /// Until when the target rests; zero when it does not.
    pub(super) fn target_rests(&self) -> Duration {
        match self.pressure.rule.room(Duration::ZERO, 0) {
            Room::At(until) => until,
            Room::Now | Room::AfterAnAnswer => Duration::ZERO,
        }
    }

    /// Whether nothing can be dispatched before one of those at the target comes back.
    pub(super) fn waits_for_an_answer(&self) -> bool {
        let now = self.now().mono;
        self.pressure.rule.room(now, self.at_work.len()) == Room::AfterAnAnswer
    }

    /// What an answer says of the target's room.
    pub(super) fn target_answered(&mut self, round: Round, outcome: &Outcome, now: Duration) {
        let rule = &mut self.pressure.rule;
        match outcome {
            Outcome::Full => {
                rule.refused(round, now);
                self.pressure.was_full = true;
                self.numbers.target_full();
            }
            Outcome::Held(why) => {
                rule.refused(round, now);
                self.target_holds(why);
            }
            Outcome::Done | Outcome::HandedOver => {
                rule.taken(round);
                if self.pressure.held.take().is_some() {
                    tracing::info!(queue = %self.given.settings.name, "the target takes messages again");
                }
            }
            _ => rule.said_nothing(round, now),
        }
    }

    /// Why messages wait that were held too long.
    pub(super) fn waits_because(&self) -> Why {
        let pool = matches!(self.given.settings.target, TargetSettings::Pool(_));
        match self.gate.rate {
            _ if pool && self.pressure.held.is_some() => Why::NoProvider,
            Some(_) => Why::Rate,
            None => Why::Concurrency,
        }
    }

    fn target_holds(&mut self, why: &str) {
        if self.pressure.held.is_none() {
            tracing::warn!(queue = %self.given.settings.name, why, "messages are held, because the target cannot take them");
            self.pressure.held = Some(why.to_owned());
        }
    }

    /// The target did not take this message: it is in hand again as if it had never gone.
    pub(super) fn not_taken(&mut self, held: Held, permit: Permit, now: Now) {
        self.throttle.not_taken(permit);
        if self.admits() {
            self.given.vitals.not_handed_over(held.facts.lot);
        }
        let key = held.line();
        self.ordered.came_back(&held);
        // Where order is kept all goes back at once, when nothing is at work any more.
        let stays = held.order.is_kept() || (!self.stopping && !self.gate.is_shut());
        if !stays || !self.given.inlet.usable(&held.receipt) {
            self.give_back(held);
        } else if key.is_some_and(|key| self.hand.line_waits_for(key).is_some()) {
            // Those of its key that came later wait: it goes first.
            self.hand
                .wait(held, true, Why::Concurrency, Some(now.mono), now.mono);
        } else {
            self.hand.put(held);
        }
        self.hand.release(key, now.mono);
    }

    /// A job goes to workers who may report later what came of it. Told before it goes, since they may be faster than the answer.
    pub(super) fn remember_handed(&self, facts: &Facts, deadline_ms: Option<i64>, now: Duration) {
        if self.admits() {
            let work = Work {
                at: now,
                deadline_ms,
                key: facts.key.clone(),
            };
            self.given.vitals.handing_over(facts.lot, work);
        }
    }

    pub(super) fn publishing_is_blocked(&self) -> bool {
        self.admits() && self.given.outlet.blocked()
    }

    /// Whether the target is an admitted queue.
    fn admits(&self) -> bool {
        matches!(self.given.settings.target, TargetSettings::Queue(_))
    }
}
