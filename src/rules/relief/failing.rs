//! Whose jobs fail, unlike those of others: a test for each account that may be looked at after every job.
//!
//! A bet against the account's innocence: its fortune is multiplied after each job by how much likelier the outcome is if 5, 20, 50
//! or 90 % of its jobs fail than if only as many fail as those of the rest (an e-process: the mean of four likelihood ratios).
//! If it is innocent, the fortune exceeds `N / alpha` with a chance of `alpha / N`, however often one looks (Ville, 1939). An
//! account has a state only from its first failure on, which is not counted; a start at such a time keeps the bound.
//!
//! What fails for everybody is nobody's fault: the rate of the rest is taken over the last minutes and over the last outcomes,
//! and the account's own are left out of it.

use std::time::Duration;

use crate::rules::lots::{ByKey, KeyHash};

/// The shares of failures that are bet on.
const ALTERNATIVES: [f32; 4] = [0.05, 0.20, 0.50, 0.90];
/// The rest is taken to fail at least so often.
const LEAST_RATE: f32 = 0.01;
/// An account with a rate of its own that is known is allowed so many times that.
const OWN_RATE_TIMES: f32 = 3.0;
/// The fortune at which an account is isolated: ln(1 M accounts / 1 % a day).
const LN_ENOUGH: f32 = 18.42;
/// A state is kept so long after the last failure.
const KEPT: Duration = Duration::from_secs(3_600);
/// States at most (48 bytes each); when there are more, those with the least evidence go.
const STATES: usize = 16_384;
/// Accounts that are isolated at once.
const ISOLATED: usize = 1_024;
/// Half of the time over which the rate of the rest is taken.
const EPOCH: Duration = Duration::from_secs(600);
/// What is thought of the rest before anything is known weighs as much as so many outcomes.
const BELIEVED: f32 = 200.0;
/// The last outcomes, for what fails for everybody all at once, and the share of failures in them that says so.
const LATEST: usize = 128;
const COMMON: f32 = 0.05;
/// Jobs in a row that must be done well before an account is back.
const WELL: u32 = 10;
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// What became of an account.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Turn {
    /// Its jobs fail, unlike those of others.
    Isolated(Evidence),
    /// Ten of its jobs in a row were done well.
    Back,
}

/// Why an account is isolated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Its outcomes since its first failure, that one not counted.
    pub jobs: u32,
    /// Failures among them.
    pub failures: u32,
    /// The share of failures that was held against it: that of the rest.
    pub rest_rate: f32,
    /// The logarithm of the fortune.
    pub ln_fortune: f32,
}

/// Counts in this epoch and the one before.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    jobs: [u32; 2],
    failures: [u32; 2],
}

#[derive(Debug, Clone, Copy)]
struct State {
    ln: [f32; 4],
    jobs: u32,
    failures: u32,
    own: Counts,
    epoch: u32,
    last_failure_s: u32,
}

#[derive(Debug, Clone, Copy)]
struct Isolated {
    well: u32,
    rest: Duration,
    next: Duration,
}

/// The test for all accounts of a queue.
#[derive(Debug, Clone)]
pub struct Failing {
    states: ByKey<State>,
    isolated: ByKey<Isolated>,
    all: Counts,
    epoch: u32,
    latest: Box<[(u32, bool); LATEST]>,
    seen: usize,
}

impl Default for Failing {
    fn default() -> Self {
        Self {
            states: ByKey::default(),
            isolated: ByKey::default(),
            all: Counts::default(),
            epoch: 0,
            latest: Box::new([(0, false); LATEST]),
            seen: 0,
        }
    }
}

impl Failing {
    /// A job of an account was done or failed. `own_rate`: the share of its jobs that usually fail, if that is known.
    pub fn outcome(
        &mut self,
        now: Duration,
        account: KeyHash,
        failed: bool,
        own_rate: Option<f32>,
    ) -> Option<Turn> {
        let epoch = u32::try_from(now.as_secs() / EPOCH.as_secs()).unwrap_or(u32::MAX);
        self.all.turn_to(epoch.saturating_sub(self.epoch));
        self.epoch = epoch;
        let turn = if self.isolated.is_empty() && self.states.is_empty() {
            None
        } else if self.isolated.contains_key(&account) {
            self.half_open(now, account, failed)
        } else if self.states.contains_key(&account) {
            self.bet(now, account, failed, own_rate)
        } else {
            None
        };
        if failed && turn.is_none() && !self.isolated.contains_key(&account) {
            self.failed(now, account);
        }
        self.all.count(failed);
        self.latest[self.seen % LATEST] = (account.0 as u32, failed);
        self.seen += 1;
        turn
    }

    /// Whether a message of this account may go on. Of an isolated one, one may after each rest; say so by
    /// [`Failing::probing`] when it does.
    #[must_use]
    pub fn may_pass(&self, now: Duration, account: KeyHash) -> bool {
        let isolated = self.isolated.get(&account);
        isolated.is_none_or(|isolated| isolated.next <= now)
    }

    /// A message of an isolated account goes on: the next one not before another rest.
    pub fn probing(&mut self, now: Duration, account: KeyHash) {
        if let Some(isolated) = self.isolated.get_mut(&account) {
            isolated.next = now + isolated.rest;
        }
    }

    /// The accounts that are isolated now.
    pub fn isolated(&self) -> impl Iterator<Item = KeyHash> {
        self.isolated.keys().copied()
    }

    /// A person lets an account back.
    pub fn pardon(&mut self, account: KeyHash) {
        self.isolated.remove(&account);
        self.states.remove(&account);
    }

    fn half_open(&mut self, now: Duration, account: KeyHash, failed: bool) -> Option<Turn> {
        let isolated = self.isolated.get_mut(&account)?;
        if failed {
            isolated.well = 0;
            isolated.rest = (isolated.rest * 2).min(LONGEST_REST);
            isolated.next = now + isolated.rest;
            return None;
        }
        isolated.well += 1;
        isolated.next = now;
        if isolated.well < WELL {
            return None;
        }
        self.isolated.remove(&account);
        Some(Turn::Back)
    }

    fn bet(
        &mut self,
        now: Duration,
        account: KeyHash,
        failed: bool,
        own_rate: Option<f32>,
    ) -> Option<Turn> {
        let mut state = *self.states.get(&account)?;
        if now.as_secs().saturating_sub(state.last_failure_s.into()) > KEPT.as_secs() {
            self.states.remove(&account);
            return None;
        }
        state.own.turn_to(self.epoch.saturating_sub(state.epoch));
        state.epoch = self.epoch;
        let rest_rate = self.rest_rate(account, &state.own);
        let own = own_rate.map_or(0.0, |rate| OWN_RATE_TIMES * rate);
        let innocent = rest_rate.max(own).clamp(LEAST_RATE, 0.99);
        for (ln, alternative) in state.ln.iter_mut().zip(ALTERNATIVES) {
            // No bet on what is no worse than the rest.
            let q = alternative.max(innocent);
            *ln += if failed {
                (q / innocent).ln()
            } else {
                ((1.0 - q) / (1.0 - innocent)).ln()
            };
        }
        state.jobs += 1;
        state.failures += u32::from(failed);
        state.own.count(failed);
        self.states.insert(account, state);
        let ln_fortune = mean_of_exponentials(state.ln);
        if ln_fortune < LN_ENOUGH || self.isolated.len() >= ISOLATED {
            return None;
        }
        self.states.remove(&account);
        let isolated = Isolated {
            well: 0,
            rest: FIRST_REST,
            next: now + FIRST_REST,
        };
        self.isolated.insert(account, isolated);
        Some(Turn::Isolated(Evidence {
            jobs: state.jobs,
            failures: state.failures,
            rest_rate,
            ln_fortune,
        }))
    }

    /// An account failed: from now on it has a state.
    fn failed(&mut self, now: Duration, account: KeyHash) {
        let now_s = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        if let Some(state) = self.states.get_mut(&account) {
            state.last_failure_s = now_s;
            return;
        }
        if self.states.len() >= STATES {
            self.purge(now_s);
        }
        let state = State {
            ln: [0.0; 4],
            jobs: 0,
            failures: 0,
            own: Counts::default(),
            epoch: self.epoch,
            last_failure_s: now_s,
        };
        self.states.insert(account, state);
    }

    /// Those go whose last failure is long ago, and half of the others: those with the least evidence.
    fn purge(&mut self, now_s: u32) {
        let kept_s = u32::try_from(KEPT.as_secs()).unwrap_or(u32::MAX);
        self.states
            .retain(|_, state| now_s.saturating_sub(state.last_failure_s) <= kept_s);
        if self.states.len() < STATES / 2 {
            return;
        }
        let states = self.states.values();
        let mut fortunes: Vec<f32> = states.map(|one| mean_of_exponentials(one.ln)).collect();
        let middle = fortunes.len() / 2;
        let (_, median, _) = fortunes.select_nth_unstable_by(middle, f32::total_cmp);
        let median = *median;
        let mut left = STATES / 2;
        self.states.retain(|_, state| {
            let keep = left > 0 && mean_of_exponentials(state.ln) >= median;
            left -= usize::from(keep);
            keep
        });
    }

    /// The share of failures among the others.
    fn rest_rate(&self, account: KeyHash, own: &Counts) -> f32 {
        let sum = |counts: [u32; 2]| counts[0].saturating_add(counts[1]);
        let jobs = sum(self.all.jobs).saturating_sub(sum(own.jobs));
        let failures = sum(self.all.failures).saturating_sub(sum(own.failures));
        // Before much is known of the rest, the least rate is thought of it.
        let usual = (failures as f32 + LEAST_RATE * BELIEVED) / (jobs as f32 + BELIEVED);
        let latest = &self.latest[..self.seen.min(LATEST)];
        let others = latest.iter().filter(|(one, _)| *one != account.0 as u32);
        let (jobs, failures) = others.fold((0_u32, 0_u32), |(jobs, failures), (_, failed)| {
            (jobs + 1, failures + u32::from(*failed))
        });
        let lately = failures as f32 / jobs.max(1) as f32;
        let is_common = jobs as usize >= LATEST / 4 && lately >= COMMON;
        if is_common { usual.max(lately) } else { usual }
    }
}

impl Counts {
    fn count(&mut self, failed: bool) {
        self.jobs[0] = self.jobs[0].saturating_add(1);
        self.failures[0] = self.failures[0].saturating_add(u32::from(failed));
    }

    /// So many epochs have passed.
    fn turn_to(&mut self, passed: u32) {
        match passed {
            0 => {}
            1 => {
                self.jobs = [0, self.jobs[0]];
                self.failures = [0, self.failures[0]];
            }
            _ => *self = Self::default(),
        }
    }
}

/// The logarithm of the mean of these numbers' exponentials.
fn mean_of_exponentials(ln: [f32; 4]) -> f32 {
    let most = ln.iter().copied().fold(f32::MIN, f32::max);
    let sum: f32 = ln.iter().map(|one| (one - most).exp()).sum();
    most + (sum / 4.0).ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BAD: KeyHash = KeyHash(7);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Others of whom one in a hundred fails.
    fn others(failing: &mut Failing, now: Duration, jobs: u64) {
        for job in 0..jobs {
            failing.outcome(now, KeyHash(1_000 + job % 5_000), job % 101 == 0, None);
        }
    }

    /// After how many of its jobs, of which all fail, it is isolated.
    fn isolated_after(failing: &mut Failing, own_rate: Option<f32>) -> Option<u32> {
        (1..=40).find(|_| failing.outcome(at(2), BAD, true, own_rate).is_some())
    }

    fn known() -> Failing {
        let mut failing = Failing::default();
        others(&mut failing, at(1), 20_000);
        failing
    }

    #[test]
    fn whose_jobs_all_fail_is_isolated_by_the_sixth() {
        assert_eq!(isolated_after(&mut known(), None), Some(6));
        assert_eq!(isolated_after(&mut known(), Some(0.01)), Some(7));
        assert_eq!(
            isolated_after(&mut known(), Some(0.3)),
            None,
            "that is usual for it"
        );
        let mut failing = Failing::default();
        assert_eq!(
            isolated_after(&mut failing, None),
            Some(6),
            "with nobody to compare"
        );
    }

    #[test]
    fn what_fails_for_everybody_is_nobodys_fault() {
        let mut failing = known();
        for job in 0..100_000_u64 {
            // Half of all jobs of a thousand accounts fail, from one moment to the next.
            let failed = KeyHash::of(&job.to_le_bytes()).0.is_multiple_of(2);
            let turn = failing.outcome(at(2), KeyHash(job % 1_000), failed, None);
            assert_eq!(turn, None, "{job}");
        }
    }

    #[test]
    fn an_isolated_account_comes_back_by_ten_good_jobs_in_a_row() {
        let mut failing = known();
        isolated_after(&mut failing, None);
        assert_eq!(failing.isolated().collect::<Vec<_>>(), [BAD]);
        assert!(!failing.may_pass(at(2), BAD) && failing.may_pass(at(2), KeyHash(8)));
        // One probe after each rest: 1, 2, 4 … 60 s.
        let mut now = at(3);
        for rest in [2, 4, 8, 16, 32, 60, 60] {
            assert!(failing.may_pass(now, BAD), "{rest}");
            failing.probing(now, BAD);
            assert!(!failing.may_pass(now, BAD), "{rest}");
            assert_eq!(failing.outcome(now, BAD, true, None), None);
            assert!(!failing.may_pass(now + at(rest - 1), BAD), "{rest}");
            now += at(rest);
        }
        for good in 1..=10 {
            assert!(failing.may_pass(now, BAD), "{good}");
            let turn = failing.outcome(now, BAD, false, None);
            assert_eq!(turn, (good == 10).then_some(Turn::Back), "{good}");
        }
        assert_eq!(failing.isolated().count(), 0);
        isolated_after(&mut failing, None);
        failing.pardon(BAD);
        assert!(failing.may_pass(at(2), BAD));
    }

    #[test]
    fn evidence_that_is_old_counts_no_more() {
        let mut failing = known();
        for _ in 0..5 {
            assert_eq!(failing.outcome(at(2), BAD, true, None), None);
        }
        assert_eq!(failing.outcome(at(3_700), BAD, true, None), None);
        assert_eq!(
            failing.outcome(at(3_700), BAD, true, None),
            None,
            "it begins anew"
        );
    }

    #[test]
    fn states_stay_few() {
        let mut failing = Failing::default();
        for account in 0..200_000 {
            failing.outcome(at(1), KeyHash(account), true, None);
        }
        assert!(failing.states.len() <= STATES);
        assert!(size_of::<State>() <= 56, "{}", size_of::<State>());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn healthy_accounts_are_left_alone(seed in any::<u64>(), accounts in 2_u64..2_000, one_in in 20_u64..1_000) {
            let mut failing = Failing::default();
            let mut x = seed;
            for job in 0..50_000_u64 {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let failed = (x >> 33) % one_in == 0;
                let turn = failing.outcome(Duration::from_millis(job), KeyHash((x >> 20) % accounts), failed, None);
                prop_assert_eq!(turn, None);
            }
        }
    }
}
