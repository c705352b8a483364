//! A worker and the relief of its queue: what is asked of it on arrival and once more when a slot is free, after all other valves
//! have let the message pass; what it is told of jobs that come back; and what it tells everybody once a second.

use std::sync::Arc;
use std::time::Duration;

use super::Worker;
use super::hand::Held;
use super::relief::Asked;
use crate::clock::Now;
use crate::metrics::ReliefFigures;
use crate::rules::relief::asking::SkipMode;
use crate::rules::relief::failing::Turn;
use crate::rules::relief::fair::Told;
use crate::rules::verdict::{By, Verdict, Why};
use crate::seams::{Inlet, Outcome, Outlet};
use crate::vitals::ReliefNow;

impl<I: Inlet, O: Outlet> Worker<I, O> {
    /// What the automatic valve makes of what the others say of a message; `ahead`: messages in hand that go before it.
    pub(super) fn relieve(
        &mut self,
        held: &mut Held,
        said: Verdict,
        ahead: usize,
        now: Now,
    ) -> Verdict {
        if matches!(said, Verdict::NotYet(_)) {
            return said; // it is offered when its time has come
        }
        let asked = Asked {
            gate: &self.gate,
            facts: &held.facts,
            mark: &mut held.mark,
            runs: said == Verdict::Run,
            // What is urgent goes before what is in hand.
            ahead: if held.facts.priority > 0 { 0 } else { ahead },
            slots: self.slots(),
            now,
        };
        let Some(sheds) = self.relief.ask(asked) else {
            return said;
        };
        let only_observed = self.gate.skip_mode != SkipMode::Auto;
        self.numbers.relief.shed(sheds.grounds, only_observed);
        if only_observed {
            return said;
        }
        let by = By {
            numbers: Some(sheds.numbers.into()),
            ..self.gate.skip_mode_by.clone()
        };
        Verdict::shed(Why::Skipped, by)
    }

    /// A job held a slot for so long.
    pub(super) fn measure(&mut self, held: &Held, outcome: &Outcome, took: Duration, now: Now) {
        let deadline = held.mark.deadline_ms(&held.facts);
        if let (Outcome::Done, Some(deadline)) = (outcome, deadline) {
            self.relief.finished(now.ms <= deadline);
        }
        let queue = &self.given.settings.name;
        match self.relief.came_back(held, outcome, took, now.mono) {
            Some(((_, key), Turn::Isolated(evidence))) => {
                tracing::warn!(%queue, key = %key, jobs = evidence.jobs, failures = evidence.failures, "the jobs of a key fail, unlike those of others");
            }
            Some(((_, key), Turn::Back)) => {
                tracing::info!(%queue, key = %key, "the jobs of a key do not fail any more");
            }
            None => {}
        }
    }

    /// Once a second: what relief knows is told.
    pub(super) fn tell_relief(&mut self, now: Now) {
        let (mode, slots) = (self.gate.skip_mode, self.slots());
        for told in self.relief.tick(mode, slots, now.mono) {
            self.tell_of_key(&told);
        }
        let load = self.relief.measures.load(slots);
        let report = self.relief.report(mode, &load, now.mono);
        let mut figures = ReliefFigures {
            offered: load.offered,
            capacity: report.capacity_per_second,
            workers_wanted: report.workers_wanted,
            on_time: None,
            limit_s: report.limit_seconds,
            need_s: report.need_seconds,
            gamma: report.gamma,
            expected: report.expected_ratio,
            bad_actors: report.bad_actors.len(),
        };
        let valve = report.limit_seconds.map(|_| {
            let relief = &self.relief;
            Arc::new((relief.valve.clone(), relief.asking))
        });
        self.given.vitals.relief(ReliefNow {
            report,
            load: Some(load),
            valve,
        });
        let standing = self.given.vitals.standing(now.mono);
        figures.on_time = standing.and_then(|standing| standing.on_time);
        self.numbers.relief.stands(&figures);
    }

    fn tell_of_key(&self, told: &Told) {
        let queue = &self.given.settings.name;
        match told {
            Told::Reported(actor) => {
                let key = actor.name.as_deref().unwrap_or("(not known yet)");
                tracing::warn!(
                    %queue, key, slots = actor.work, fair_slots = actor.fair, share = actor.share,
                    answer = self.relief.settings.bad_actor.word(), "a key brings more than three times its fair share"
                );
            }
            Told::Released(_) => {
                tracing::info!(%queue, "a key that brought too much brings no more than its fair share");
            }
        }
    }

    /// Why automatic relief does nothing though it is on.
    pub(super) fn relief_trouble(&self) -> Option<String> {
        let (mode, why) = (self.gate.skip_mode, self.relief.idle_because);
        if mode == SkipMode::Manual {
            return None;
        }
        let mode = mode.word();
        if !why.is_empty() {
            return Some(format!("skip_mode says {mode} and sheds nothing: {why}"));
        }
        self.relief.works_elsewhere.then(|| {
            format!("skip_mode says {mode}, and how long jobs take behind the admitted queue is not known: only what is past its deadline is shed")
        })
    }
}
