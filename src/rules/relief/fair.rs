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
/// Who brings more than so many fair shares, and than so many times what others bring on average, for [`LASTING`] is reported.
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

impl Watched {
    fn new(one: &Brings, fair: f64, all_work: f64, since: Duration) -> Self {
        let actor = BadActor {
            account: one.account,
            name: None,
            work: one.work,
            fair,
            share: (one.work / all_work.max(1e-9)).min(1.0),
            since,
        };
        Self {
            actor,
            below: None,
            reported: false,
        }
    }
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
        let room = FULL * f64::from(slots);
        let mut brings: Vec<Brings> = self.sketch.all(self.big).collect();
        // Who is new and big is seen in its own counter before it is seen in the sum.
        let tracked: f64 = brings.iter().map(|one| one.work).sum();
        let all_work = self.sketch.all_work().max(tracked);
        self.level = if all_work <= room {
            f64::INFINITY
        } else {
            let least = self.sketch.unseen_work().max(self.big);
            water_level(&mut brings, all_work, room).max(least)
        };
        self.watch(now, &brings, all_work);
        self.tell(now)
    }

    /// Looks at those that bring too much, and at those that did.
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
        // Equal accounts are all above their fair share when there are few of them: no one of them is to blame.
        let others = brings.len().saturating_sub(1) as f64;
        let too_much = |work: f64| {
            let usual = (all_work - work).max(0.0) / others;
            others > 0.0 && work > TOO_MUCH * level.max(usual)
        };
        // Who is not reported yet must bring too much without a break.
        self.watched
            .retain(|one| one.reported || too_much(one.actor.work));
        for one in brings.iter().filter(|one| too_much(one.work)) {
            let known = |watched: &Watched| watched.actor.account == one.account;
            if self.watched.len() < WATCHED && !self.watched.iter().any(known) {
                self.watched.push(Watched::new(one, level, all_work, now));
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
    // Those without a counter, and those below the level, bring what they bring; those above share what is left.
    let mut below = all_work;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SLOTS: u32 = 8;

    /// What is told of a stream: for each job, who sends it; jobs of one second, so many per second.
    fn told(
        fair: &mut FairShare,
        seconds: std::ops::Range<u32>,
        rate: u32,
        mut who: impl FnMut(u32) -> u64,
    ) -> Vec<(u64, Told)> {
        let mut told = Vec::new();
        for number in seconds.start * rate..seconds.end * rate {
            let now = Duration::from_secs_f64(f64::from(number) / f64::from(rate));
            let account = KeyHash(who(number));
            let name: Arc<str> = format!("account-{}", account.0).into();
            fair.offered(now, None, (account, &name), 1.0);
            let news = fair.tick(now, SLOTS, 1.0);
            told.extend(news.into_iter().map(|one| (now.as_secs(), one)));
        }
        told
    }

    #[test]
    fn a_flood_is_reported_with_name_and_numbers_and_released_when_it_ends() {
        let mut fair = FairShare::for_deadline(Duration::from_secs(10));
        let good = |number: u32| u64::from(number % 100);
        let flood = |number: u32| {
            if number.is_multiple_of(10) {
                u64::from(number / 10 % 100)
            } else {
                777
            }
        };
        assert!(told(&mut fair, 0..100, 4, good).is_empty());
        let told_first = told(&mut fair, 100..200, 40, flood);
        let [(at, Told::Reported(actor))] = told_first.as_slice() else {
            panic!("{told_first:?}");
        };
        assert!((120..126).contains(at), "{at}");
        assert_eq!(actor.name.as_deref(), Some("account-777"));
        assert!((30.0..40.0).contains(&actor.work), "{actor:?}");
        assert!((3.0..5.0).contains(&actor.fair), "{actor:?}");
        assert!((0.85..0.95).contains(&actor.share), "{actor:?}");
        assert!((100..105).contains(&actor.since.as_secs()), "{actor:?}");
        assert!(fair.share_of(KeyHash(777)).is_over);
        assert!((0.08..0.2).contains(&fair.share_of(KeyHash(777)).passing));
        assert_eq!(fair.share_of(KeyHash(5)), Share::WITHIN);
        let after = told(&mut fair, 200..300, 4, good);
        assert!(
            matches!(after.as_slice(), [(_, Told::Released(KeyHash(777)))]),
            "{after:?}"
        );
        assert_eq!(fair.bad_actors().count(), 0);
    }

    #[test]
    fn a_backlog_that_rushes_through_blames_nobody() {
        let mut fair = FairShare::for_deadline(Duration::from_secs(10));
        let name: Arc<str> = "somebody".into();
        let now = Duration::from_secs(1_000);
        for number in 0..4_000_u32 {
            let age = Duration::from_secs_f64(f64::from(4_000 - number) / 6.0);
            let account = KeyHash(u64::from(number % 20));
            fair.offered(now, Some(age), (account, &name), 1.0);
        }
        fair.tick(now, SLOTS, 1.0);
        assert_eq!(
            fair.level(),
            None,
            "6 jobs of a second for 8 slots, however fast they come through"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn equal_accounts_are_never_reported(
            accounts in 1_u64..400, seed in any::<u64>(), load in 1_u32..12,
        ) {
            let mut fair = FairShare::for_deadline(Duration::from_secs(10));
            let who = |number: u32| {
                let drawn = KeyHash(u64::from(number) ^ seed).0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (drawn ^ (drawn >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) % accounts
            };
            // Ten minutes, from the load that the slots can just do to twelve times that.
            let told = told(&mut fair, 0..600, SLOTS * load, who);
            prop_assert!(told.is_empty(), "{told:?}");
        }

        #[test]
        fn who_brings_less_than_others_is_never_cut_before_them(sizes in prop::collection::vec(1_u64..50, 2..40)) {
            let mut fair = FairShare::for_deadline(Duration::from_secs(10));
            let all: Vec<u64> = sizes.iter().enumerate()
                .flat_map(|(account, size)| std::iter::repeat_n(account as u64, *size as usize))
                .collect();
            told(&mut fair, 0..60, 40, |number| all[number as usize * 7_919 % all.len()]);
            let passing = |account: usize| fair.share_of(KeyHash(account as u64)).passing;
            for (a, b) in (0..sizes.len()).zip(1..sizes.len()) {
                let (small, large) = if sizes[a] < sizes[b] { (a, b) } else { (b, a) };
                let work = |one: usize| fair.sketch.work_of(KeyHash(one as u64), 0.0);
                if work(small) < work(large) {
                    prop_assert!(passing(small) >= passing(large) - 0.05);
                }
            }
        }
    }
}
