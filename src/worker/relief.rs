//! Relief of one queue: it measures the load, tells the automatic valve and the fair share what happens, and asks them what to shed.
//!
//! All is measured whether `skip_mode` says manual or auto, so that there is something to look at before anything is opened. What
//! may be shed is asked on arrival and once more when a slot is free, after all other valves have let the message pass.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::Worker;
use super::hand::Held;
use crate::clock::Now;
use crate::config::{BadActor, Queue, ReliefSettings, TargetSettings};
use crate::metrics::ReliefFigures;
use crate::rules::facts::{Facts, Key};
use crate::rules::gate::Gate;
use crate::rules::lots::KeyHash;
use crate::rules::relief::asking::{Asking, SkipMode, fair_lot};
use crate::rules::relief::classes::Class;
use crate::rules::relief::decision::{Decision, FAIR_SHARE};
use crate::rules::relief::failing::{Failing, Turn};
use crate::rules::relief::fair::{FairShare, Share, Told};
use crate::rules::relief::fresh::Limit;
use crate::rules::relief::load::{Load, Measures};
use crate::rules::relief::valve::{AutoValve, Bounds, Candidate};
use crate::rules::units::Ratio;
use crate::rules::verdict::{By, Verdict, Why};
use crate::seams::{Inlet, Outcome, Outlet};
use crate::vitals::{BadActorReport, ReliefNow, ReliefReport};

/// The deadline by which the load of keys fades when the first of them has none.
const USUAL_DEADLINE: Duration = Duration::from_secs(30);

/// What relief knows of a message in hand.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mark {
    /// It was counted as offered.
    counted: bool,
    /// In observe: it would have been shed, which is counted once.
    spared: bool,
    /// From its publishing until it is useless.
    budget: Option<Duration>,
    job_type: Option<KeyHash>,
}

impl Mark {
    /// Of a message that may have come before: it is offered no second time.
    pub(super) fn of(came_before: bool) -> Self {
        Self {
            counted: came_before,
            ..Self::default()
        }
    }

    /// When it is useless, in milliseconds since 1970.
    pub(super) fn deadline_ms(&self, facts: &Facts) -> Option<i64> {
        let budget_ms = i64::try_from(self.budget?.as_millis()).unwrap_or(i64::MAX);
        Some(facts.counts_from_ms()?.saturating_add(budget_ms))
    }
}

/// A message that is asked about.
struct Asked<'a> {
    gate: &'a Gate,
    facts: &'a Facts,
    mark: &'a mut Mark,
    /// Whether the other valves let it pass.
    runs: bool,
    /// Messages in hand that go before it.
    ahead: usize,
    slots: u32,
    now: Now,
}

/// Why a message is shed: one word, and the numbers.
struct Sheds {
    grounds: &'static str,
    numbers: String,
}

/// What came in the last second: how much of it had an age, and a time by which it is useless.
#[derive(Debug, Clone, Copy, Default)]
struct Lately {
    came: u32,
    aged: u32,
    dated: u32,
}

/// What is measured and decided for one queue.
pub(super) struct Relief {
    settings: ReliefSettings,
    /// What may be shed, by these settings and the limits of the file.
    bounds: Bounds,
    measures: Measures,
    valve: AutoValve,
    /// From the first message with a key on.
    fair: Option<Box<FairShare>>,
    failing: Failing,
    /// Keys whose jobs fail, unlike those of others, and since when.
    fail: Vec<(Key, Duration)>,
    asking: Asking,
    /// The mean service time in seconds, once it is known.
    mean_s: Option<f64>,
    /// Whether workers elsewhere do the work, so that nobody here sees how long it takes.
    works_elsewhere: bool,
    lately: Lately,
    idle_because: &'static str,
    shed: u64,
    would_shed: u64,
}

impl Relief {
    pub(super) fn of(queue: &Queue) -> Self {
        Self {
            settings: queue.relief.clone(),
            bounds: queue.relief.bounds,
            measures: Measures::default(),
            valve: AutoValve::new(queue.relief.bounds),
            fair: None,
            failing: Failing::default(),
            fail: Vec::new(),
            asking: Asking {
                deadline_after: queue.deadline_after,
                need: Duration::ZERO,
            },
            mean_s: None,
            works_elsewhere: matches!(queue.target, TargetSettings::Queue(_)),
            lately: Lately::default(),
            idle_because: "",
            shed: 0,
            would_shed: 0,
        }
    }

    /// The file lets no valve skip more than this share of the queue.
    pub(super) fn limit(&mut self, largest: Ratio) {
        let smaller = |a: Ratio, b: Ratio| if a < b { a } else { b };
        let own = self.settings.bounds;
        self.bounds = Bounds {
            floor: smaller(own.floor, largest),
            ceiling: smaller(own.ceiling, largest),
            ..own
        };
        self.valve.bound(self.bounds);
    }

    /// Whether this message is to be shed.
    fn ask(&mut self, asked: Asked<'_>) -> Option<Sheds> {
        let (gate, facts, now) = (asked.gate, asked.facts, asked.now);
        let mut candidate = self.asking.candidate(gate, facts, now.ms);
        (asked.mark.budget, asked.mark.job_type) = (candidate.deadline, candidate.job_type);
        let first = !std::mem::replace(&mut asked.mark.counted, true);
        if first {
            self.came(&candidate, facts, now.mono);
        }
        if !asked.runs || asked.mark.spared {
            return None;
        }
        candidate.ahead = self.wait(asked.ahead, asked.slots);
        let share = self.share_of(facts, gate.skip_mode);
        candidate.over_share = share.is_over;
        let mut sheds = first
            .then(|| self.over_share(facts, &candidate, share))
            .flatten();
        if sheds.is_none() {
            sheds = self.ask_valve(&candidate, first, gate.skip_mode, &asked);
        }
        match (gate.skip_mode, &sheds) {
            (SkipMode::Auto, Some(_)) => self.shed += 1,
            (_, Some(_)) => {
                asked.mark.spared = true;
                self.would_shed += 1;
            }
            _ => {}
        }
        sheds
    }

    /// A message came, whatever becomes of it.
    fn came(&mut self, candidate: &Candidate, facts: &Facts, now: Duration) {
        self.lately.came += 1;
        self.lately.aged += u32::from(candidate.age.is_some());
        self.lately.dated += u32::from(candidate.deadline.is_some());
        self.measures.offered(now, candidate.age);
        // While it is unknown how long jobs take, it is unknown who brings how much work.
        if let (Some((account, name)), Some(mean_s)) = (&facts.key, self.mean_s) {
            let deadline = candidate.deadline.unwrap_or(USUAL_DEADLINE);
            self.fair
                .get_or_insert_with(|| Box::new(FairShare::for_deadline(deadline)))
                .offered(now, candidate.age, (*account, name), mean_s);
        }
    }

    fn ask_valve(
        &mut self,
        candidate: &Candidate,
        first: bool,
        mode: SkipMode,
        asked: &Asked<'_>,
    ) -> Option<Sheds> {
        let now = asked.now.mono;
        if first {
            self.valve.arrived(now, candidate);
        }
        self.valve.tick(now, &self.measures.service, asked.slots);
        if mode == SkipMode::Manual {
            return None;
        }
        let decision = self.valve.decide(now, candidate);
        let Decision::Shed(grounds, _) = decision else {
            return None;
        };
        self.valve.shed();
        Some(Sheds {
            grounds: grounds.word(),
            numbers: decision.to_string(),
        })
    }

    /// How the account of a message stands to its fair share, where that counts for anything.
    fn share_of(&self, facts: &Facts, mode: SkipMode) -> Share {
        let counts = self.settings.bad_actor == BadActor::Limit && mode != SkipMode::Manual;
        match (&self.fair, &facts.key) {
            (Some(fair), Some((account, _))) if counts => fair.share_of(*account),
            _ => Share::WITHIN,
        }
    }

    /// Whether a message is beyond its account's fair share. A ceiling holds here, too.
    fn over_share(&self, facts: &Facts, candidate: &Candidate, share: Share) -> Option<Sheds> {
        let sheddable =
            !candidate.protected && candidate.age.is_some() && candidate.deadline.is_some();
        let least = 1.0 - self.bounds.ceiling.get();
        let passing = share.passing.max(least);
        if !sheddable || fair_lot(facts.lot) < passing {
            return None;
        }
        let (fair, (account, _)) = (self.fair.as_ref()?, facts.key.as_ref()?);
        let mut numbers = String::new();
        let _ = write!(
            numbers,
            "over its fair share: its key brings work for {:.2} slots, each may {:.2}; {:.0}% of its messages pass",
            fair.sketch.work_of(*account, 0.0),
            fair.level().unwrap_or_default(),
            passing * 100.0
        );
        Some(Sheds {
            grounds: FAIR_SHARE,
            numbers,
        })
    }

    /// How long a message waits for its slot behind so many others.
    fn wait(&self, ahead: usize, slots: u32) -> Duration {
        let turns = ahead as f64 / f64::from(slots.max(1));
        Duration::from_secs_f64(turns * self.mean_s.unwrap_or_default())
    }

    /// A message went to the target.
    pub(super) fn began(&mut self, mark: &Mark, now: Duration) {
        if !mark.spared {
            self.valve.began(now);
        }
    }

    /// A job came back from the target, and held a slot for so long.
    pub(super) fn came_back(
        &mut self,
        held: &Held,
        outcome: &Outcome,
        took: Duration,
        now: Duration,
    ) -> Option<(Key, Turn)> {
        self.measures.served(held.mark.job_type, took);
        let all = &self.measures.service.all;
        self.mean_s = all.mean_s();
        self.asking.need = Duration::from_secs_f64(all.quantile_s(0.5).unwrap_or_default());
        let key = held.facts.key.as_ref()?;
        if let (Some(fair), Some(mean_s)) = (&mut self.fair, self.mean_s) {
            fair.served(key.0, took, mean_s);
        }
        let failed = match outcome {
            Outcome::Done => false,
            Outcome::Throttled(_) => return None,
            _ => true,
        };
        let turn = self.failing.outcome(now, key.0, failed, None)?;
        match turn {
            Turn::Isolated(_) => self.fail.push((key.clone(), now)),
            Turn::Back => self.fail.retain(|((account, _), _)| *account != key.0),
        }
        Some((key.clone(), turn))
    }

    /// A job that had a deadline was done.
    pub(super) fn finished(&mut self, on_time: bool) {
        self.valve.finished(on_time);
    }

    /// Nothing waits any more, at the broker or in hand.
    pub(super) fn caught_up(&mut self, now: Duration) {
        self.measures.caught_up(now);
        self.valve.caught_up(now);
        if let Some(fair) = &mut self.fair {
            fair.caught_up(now);
        }
    }

    /// Once a second, also when nothing comes: limits are found anew. Gives who is reported or not any more.
    fn tick(&mut self, mode: SkipMode, slots: u32, now: Duration) -> Vec<Told> {
        self.valve.tick(now, &self.measures.service, slots);
        let lately = std::mem::take(&mut self.lately);
        if lately.came > 0 {
            self.idle_because = match lately {
                Lately { dated: 0, .. } => {
                    "its messages have no deadline; set deadline_after or deadline for the queue, or open max_age"
                }
                Lately { aged: 0, .. } => {
                    "the age of its messages is not known; say by `age` where their time of publishing is"
                }
                _ => "",
            };
        }
        if mode == SkipMode::Manual {
            self.idle_because = "";
        }
        match (&mut self.fair, self.mean_s) {
            (Some(fair), Some(mean_s)) => fair.tick(now, slots, mean_s),
            _ => Vec::new(),
        }
    }

    fn limit_now(&self) -> Option<Limit> {
        (0..=9).find_map(|priority| self.valve.limit(Class::Priority(priority)))
    }

    fn report(&self, mode: SkipMode, load: &Load, now: Duration) -> ReliefReport {
        let limit = self.limit_now();
        let fair_workers = self.fair.as_ref().and_then(|fair| fair.level());
        ReliefReport {
            mode: mode.word().to_owned(),
            idle_because: self.idle_because.to_owned(),
            offered_per_second: load.offered,
            capacity_per_second: load.capacity(),
            workers_wanted: load.workers_wanted(),
            deadline_seconds: limit.map(|limit| limit.deadline_s),
            limit_seconds: limit.map(|limit| limit.age_s),
            need_seconds: limit.map(|limit| limit.need_s),
            gamma: limit.map(|limit| limit.gamma),
            expected_ratio: self.valve.expected_share(),
            shed_ratio: self.valve.shed_share(),
            shed: self.shed,
            would_shed: self.would_shed,
            fair_workers,
            bad_actors: self.bad_actors(now),
        }
    }

    fn bad_actors(&self, now: Duration) -> Vec<BadActorReport> {
        let answer = self.settings.bad_actor.word();
        let by_load = self.fair.iter().flat_map(|fair| fair.bad_actors());
        let by_load = by_load.map(|actor| BadActorReport {
            key: actor.name.as_ref().map(ToString::to_string),
            because: "load",
            workers: Some(actor.work),
            fair_workers: actor.fair.is_finite().then_some(actor.fair),
            ratio: Some(actor.share),
            for_seconds: now.saturating_sub(actor.since).as_secs_f64(),
            answer,
        });
        let by_failures = self.fail.iter().map(|((_, name), since)| BadActorReport {
            key: Some(name.to_string()),
            because: "failures",
            workers: None,
            fair_workers: None,
            ratio: None,
            for_seconds: now.saturating_sub(*since).as_secs_f64(),
            answer: BadActor::Observe.word(),
        });
        by_load.chain(by_failures).collect()
    }
}

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
