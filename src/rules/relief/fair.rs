//! Who brings too much: the fair share of the workers' time under overload, and who takes more than three times that.
//!
//! When all together bring more work than there are workers, a water level is found: what each may bring so that all have it who
//! ask for less, and the workers are just busy. It is never below what a small account could bring by chance, so that equal
//! accounts are not played off against each other by the luck of a moment. To be asked before the age valve, which then counts
//! only what passes.

use std::sync::Arc;
use std::time::Duration;

use super::load::published_s;
use super::sketch::{Brings, LoadSketch};
use crate::rules::lots::KeyHash;

/// The share of the workers' time that is given away.
const FULL: f64 = 0.97;
/// So much more than its fair share an account may bring to the age valve, which cuts it to measure: it sees what the workers do.
const TO_MEASURE: f64 = 1.15;
/// So many jobs in one `tau` may be chance.
const CHANCE: f64 = 5.0;
/// Who brings more than so many fair shares for [`LASTING`] is reported.
const TOO_MUCH: f64 = 3.0;
/// In `tau`: how long it must last, before a report and before its end.
const LASTING: f64 = 2.0;
/// Accounts that are watched at once.
const WATCHED: usize = 64;
/// The shortest `tau`, in seconds; else the deadline.
const SHORTEST_TAU_S: f64 = 5.0;
/// Between two ticks, in parts of `tau`.
const TICK: f64 = 1.0 / 50.0;

/// An account that brings too much: who, how much and since when.
#[derive(Debug, Clone, PartialEq)]
pub struct BadActor {
    /// Its hash.
    pub account: KeyHash,
    /// Its name, as soon as another message of it came.
    pub name: Option<Arc<str>>,
    /// Workers that what it brings would keep busy.
    pub work: f64,
    /// Its fair share of the workers.
    pub fair: f64,
    /// The share of all offered work that is its, from 0 to 1.
    pub share: f64,
    /// Since when it brings more than three fair shares, time since the clock's start.
    pub since: Duration,
}

/// How an account stands to its fair share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Whether it brings more: its messages are served with what all others leave.
    pub is_over: bool,
    /// The share of its messages that may pass at all, from 0 to 1: those whose lot, from 0 to 1, is below.
    pub passing: f64,
}

impl Share {
    /// It has what it asks for.
    pub const WITHIN: Self = Self {
        is_over: false,
        passing: 1.0,
    };
}

/// What changed in a tick.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// An account brings too much.
    Reported(BadActor),
    /// It does not any more.
    Released(KeyHash),
}

#[derive(Debug, Clone)]
struct Watched {
    actor: BadActor,
    /// Since when it is below its fair share.
    below: Option<Duration>,
    reported: bool,
}

/// The fair share of a queue's workers.
#[derive(Debug, Clone)]
pub struct FairShare {
    /// Who brings how much.
    pub sketch: LoadSketch,
    /// The water level: workers that one account may keep busy; infinite without overload.
    level: f64,
    big: f64,
    watched: Vec<Watched>,
    nameless: usize,
    next_tick: Duration,
}

impl FairShare {
    /// For jobs with this deadline.
    #[must_use]
    pub fn for_deadline(deadline: Duration) -> Self {
        let tau_s = deadline.as_secs_f64().max(SHORTEST_TAU_S);
        Self {
            sketch: LoadSketch::new(Duration::from_secs_f64(tau_s)),
            level: f64::INFINITY,
            big: f64::INFINITY,
            watched: Vec::new(),
            nameless: 0,
            next_tick: Duration::ZERO,
        }
    }

    /// A message of an account came, published so long before; once for each. `usual_s`: the queue's mean service time.
    pub fn offered(
        &mut self,
        now: Duration,
        age: Option<Duration>,
        (account, name): (KeyHash, &Arc<str>),
        usual_s: f64,
    ) {
        self.sketch.offer(published_s(now, age), account, usual_s);
        if self.nameless > 0 {
            self.name(account, name);
        }
    }

    /// Nothing waits any more, at the broker or in hand.
    pub fn caught_up(&mut self, now: Duration) {
        self.sketch.caught_up(now.as_secs_f64());
    }

    /// A job of an account was done, and took so long.
    pub fn served(&mut self, account: KeyHash, took: Duration, usual_s: f64) {
        self.sketch.served(account, took, usual_s);
    }

    /// How an account stands to its fair share.
    #[must_use]
    pub fn share_of(&self, account: KeyHash) -> Share {
        if self.level.is_infinite() {
            return Share::WITHIN;
        }
        let work = self.sketch.work_of(account, self.big);
        Share {
            is_over: work > self.level,
            passing: (TO_MEASURE * self.level / work.max(f64::MIN_POSITIVE)).min(1.0),
        }
    }

    /// The water level: workers that one account may keep busy; `None` without overload.
    #[must_use]
    pub fn level(&self) -> Option<f64> {
        self.level.is_finite().then_some(self.level)
    }

    /// The accounts that bring too much now.
    pub fn bad_actors(&self) -> impl Iterator<Item = &BadActor> {
        let reported = self.watched.iter().filter(|watched| watched.reported);
        reported.map(|watched| &watched.actor)
    }

    /// Finds the water level anew when it is time for that, for so many slots and this mean service time, and says who is to be
    /// reported or released. Cheap until then.
    pub fn tick(&mut self, now: Duration, slots: u32, usual_s: f64) -> Vec<Told> {
        if now < self.next_tick {
            return Vec::new();
        }
        let tau_s = self.sketch.tau_s();
        self.next_tick = now + Duration::from_secs_f64(tau_s * TICK);
        self.big = CHANCE * usual_s / tau_s;
        let all_work = self.sketch.all_work();
        let room = FULL * f64::from(slots);
        let mut brings: Vec<Brings> = self.sketch.all(self.big).collect();
        self.level = if all_work <= room {
            f64::INFINITY
        } else {
            let least = self.sketch.unseen_work().max(self.big);
            water_level(&mut brings, all_work, room).max(least)
        };
        self.watch(now, &brings, all_work);
        self.tell(now)
    }

    /// Looks at those that bring more than three fair shares, and at those that did.
    fn watch(&mut self, now: Duration, brings: &[Brings], all_work: f64) {
        let level = self.level;
        for watched in &mut self.watched {
            let work = self.sketch.work_of(watched.actor.account, self.big);
            watched.actor.work = work;
            watched.actor.fair = level;
            watched.actor.share = (work / all_work.max(1e-9)).min(1.0);
            let below = work < level;
            watched.below = below.then(|| watched.below.unwrap_or(now));
        }
        // Who is not reported yet must be above without a break.
        self.watched
            .retain(|one| one.reported || one.actor.work > TOO_MUCH * level);
        let too_much = brings.iter().filter(|one| one.work > TOO_MUCH * level);
        for one in too_much {
            let known = |watched: &Watched| watched.actor.account == one.account;
            if self.watched.len() < WATCHED && !self.watched.iter().any(known) {
                let actor = BadActor {
                    account: one.account,
                    name: None,
                    work: one.work,
                    fair: level,
                    share: (one.work / all_work.max(1e-9)).min(1.0),
                    since: now,
                };
                self.watched.push(Watched {
                    actor,
                    below: None,
                    reported: false,
                });
            }
        }
        let nameless = |watched: &&Watched| watched.actor.name.is_none();
        self.nameless = self.watched.iter().filter(nameless).count();
    }

    fn tell(&mut self, now: Duration) -> Vec<Told> {
        let lasting = Duration::from_secs_f64(LASTING * self.sketch.tau_s());
        let lasted = |since: Duration| now.saturating_sub(since) > lasting;
        let mut told = Vec::new();
        for watched in &mut self.watched {
            if !watched.reported && lasted(watched.actor.since) {
                watched.reported = true;
                told.push(Told::Reported(watched.actor.clone()));
            }
        }
        self.watched.retain(|watched| {
            let over = watched.reported && watched.below.is_some_and(lasted);
            if over {
                told.push(Told::Released(watched.actor.account));
            }
            !over
        });
        told
    }

    fn name(&mut self, account: KeyHash, name: &Arc<str>) {
        let wanted = |watched: &&mut Watched| {
            watched.actor.account == account && watched.actor.name.is_none()
        };
        if let Some(watched) = self.watched.iter_mut().find(wanted) {
            watched.actor.name = Some(Arc::clone(name));
            self.nameless -= 1;
        }
    }
}

/// What each may bring so that all together bring `room`: those who ask for less have it.
fn water_level(brings: &mut [Brings], all_work: f64, room: f64) -> f64 {
    brings.sort_unstable_by(|a, b| b.work.total_cmp(&a.work));
    // The rest, and those below the level, bring what they bring; those above share what is left.
    let tracked: f64 = brings.iter().map(|one| one.work).sum();
    let mut below = tracked.max(all_work);
    for (above, one) in (1..).zip(brings.iter()) {
        below -= one.work;
        let level = (room - below) / f64::from(above);
        let next = brings.get(above as usize).map_or(0.0, |one| one.work);
        if level >= next {
            return level;
        }
    }
    0.0
}
