//! Keeping house, once a second: nobody waits too long in hand, and what is known is told.

use std::time::Duration;

use super::Worker;
use crate::rules::hold::LONGEST_WAIT;
use crate::rules::names::FlagKey;
use crate::rules::valve::Valve;
use crate::seams::{Inlet, Outlet};

impl<I: Inlet, O: Outlet> Worker<I, O> {
    /// Once a second: nobody waits too long in hand, and what is known is told. Gives when it is to be done next.
    pub(super) fn keep_house(&mut self) -> Duration {
        let now = self.now();
        let next = self.given.vitals.pulse.beat(now.mono);
        if self.keeps_order() {
            self.write_blocks();
        } else if let Some(taken_before) = now.mono.checked_sub(self.given.settings.hold) {
            for held in self.hand.held_since_before(taken_before) {
                let why = self.waits_because();
                self.defer(held, why, LONGEST_WAIT, now);
            }
        }
        if self
            .takes_nothing_until
            .is_some_and(|until| until <= now.mono)
            && !self.given.outlet.blocked()
        {
            self.takes_nothing_until = None;
            self.consume();
        }
        if self.prefetch.second() {
            self.consume();
        }
        self.keep_lanes(now);
        self.throttle.sweep(now.mono);
        self.tell_trouble(now);
        self.tell_relief(now);
        let busy = u32::try_from(self.at_work.len()).unwrap_or(u32::MAX);
        self.given.vitals.slots(now.mono, busy, self.slots());
        self.given.vitals.backlog(None, self.oldest_age_ms());
        self.tell_evaluations(now.ms);
        self.recent.second(&self.given.vitals.recent);
        next
    }

    fn tell_evaluations(&mut self, now_ms: i64) {
        let decided = std::mem::take(&mut self.decided);
        if decided == 0 {
            return; // to look each series up is most of what an idle second takes
        }
        let settings = &self.given.settings;
        let valves = Valve::ALL.map(|valve| FlagKey::of_valve(&settings.name, valve));
        for key in valves.iter().chain(&settings.pass) {
            let tally = self.given.metrics.tally(key.as_str());
            tally.asked(decided, now_ms);
        }
    }
}
