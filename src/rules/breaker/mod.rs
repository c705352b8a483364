//! A breaker: may a provider be called, or does it rest?
//!
//! A fixed share of a fixed window sees a dead provider late and a half dead one hardly at all; so many failures in a row see
//! nothing but a dead one. Instead each call is evidence for one of two stories: *it is well* (`usual` of its calls fail) or *it is
//! ill* (`ill` of them do). The evidence is summed and never falls below nothing (CUSUM, E. S. Page 1954); at [`ENOUGH`] the provider
//! rests. Six calls do when all fail; at one failure in a hundred it is reached by chance less than once in a million calls.
//!
//! After a rest real jobs are probes, one, then twenty a second, until there is as much evidence that it is well. Then its share
//! grows in steps, each as long as a call may take, so that what hangs is seen before more is entrusted to it. A call that has
//! been out for five times the usual time counts as failing at once: a provider that hangs is known before its deadlines.
//!
//! Who was called in an earlier round proves nothing: each [`Call`] remembers the round in which it began.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lots::KeyHash;
use words::{NOTHING, Out};
pub use words::{Odds, Said, Standing, Trip, Turn, View};

mod words;

/// Evidence for one story against the other, in natural units: e^10.25 is about twenty-eight thousand to one.
pub const ENOUGH: f64 = 10.25;
/// The rests before a probe, one after the other; the last one is repeated.
const RESTS: [Duration; 4] = [secs(1), secs(2), secs(4), secs(5)];
/// Who was ill for so long is asked less often.
const LONG_ILL: Duration = secs(300);
/// How often then.
const LONG_REST: Duration = secs(60);
/// Rests are this share longer at most, drawn, so that daemons do not probe in step.
const JITTER: f64 = 0.2;
/// Between two probes once one was good.
const BETWEEN_PROBES: Duration = Duration::from_millis(50);
/// So many probes are out at once at most.
const MOST_PROBES: usize = 10;
/// What a provider that passes again is given at first, and then, of what is meant for it.
const SHARES: [f64; 3] = [0.10, 0.25, 0.50];
/// A step of the ramp is at least so long.
const SHORTEST_STEP: Duration = Duration::from_millis(2_500);
/// A call is overdue after so many times the usual time,
const OVERDUE: u32 = 5;
/// but never before this.
const SOONEST_OVERDUE: Duration = secs(1);
/// So many good calls tell what time is usual.
const USUAL_NEEDS: u32 = 10;

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// One call that has begun. It is answered, or forgotten, once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a call that is neither answered nor forgotten counts as being out for ever"]
pub struct Call {
    number: u64,
    round: u32,
    started: Duration,
}

/// How a provider stands.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// It is called; `ramp`: the step of the way back, and since when.
    Passing { ramp: Option<(usize, Duration)> },
    /// It is left alone until then; with the evidence against it.
    Resting { until: Duration, trip: Trip },
    /// Some jobs are probes.
    Probing {
        evidence: f64,
        not_before: Duration,
        out: usize,
        trip: Trip,
    },
}

/// The breaker of one provider.
#[derive(Debug)]
pub struct Breaker {
    odds: Odds,
    seed: KeyHash,
    /// How long a call may take: a step of the ramp is no shorter.
    deadline: Duration,
    state: State,
    sum: f64,
    gathering: Trip,
    round: u32,
    /// Rests since it last passed in full, and when the first of them began.
    rests: u32,
    ill_since: Duration,
    last_trip: Option<Trip>,
    next: u64,
    out: BTreeMap<u64, Out>,
    /// Calls below this number were looked at for being overdue; so many of them were and are still out.
    looked: u64,
    overdue: usize,
    usual: Duration,
    usual_of: u32,
}

impl Breaker {
    /// The breaker of a provider that passes. `seed` draws the jitter of its rests; `deadline` is how long a call may take.
    #[must_use]
    pub fn new(odds: Odds, deadline: Duration, seed: KeyHash) -> Self {
        Self {
            odds,
            seed,
            deadline,
            state: State::Passing { ramp: None },
            sum: 0.0,
            gathering: NOTHING,
            round: 0,
            rests: 0,
            ill_since: Duration::ZERO,
            last_trip: None,
            next: 0,
            out: BTreeMap::new(),
            looked: 0,
            overdue: 0,
            usual: Duration::ZERO,
            usual_of: 0,
        }
    }

    /// Whether a call may begin now. `lot`, from 0 to 1, is the job's own: on the way back a provider is given the jobs whose lots
    /// fall in its share.
    #[must_use]
    pub fn may(&self, now: Duration, lot: f64) -> bool {
        match self.state {
            State::Passing { .. } => lot < self.share(now),
            State::Resting { until, .. } => until <= now,
            State::Probing {
                evidence,
                not_before,
                out,
                ..
            } => evidence < ENOUGH && not_before <= now && out < most_probes(evidence),
        }
    }

    /// A call begins; also one that is forced while [`Breaker::may`] says no.
    pub fn begin(&mut self, now: Duration) -> Call {
        self.climb(now);
        match &mut self.state {
            State::Passing { .. } => {}
            State::Resting { trip, .. } => {
                let trip = *trip;
                self.state = State::Probing {
                    evidence: 0.0,
                    not_before: now,
                    out: 1,
                    trip,
                };
            }
            State::Probing {
                not_before, out, ..
            } => {
                *out += 1;
                *not_before = now + BETWEEN_PROBES;
            }
        }
        let (number, round) = (self.next, self.round);
        self.next += 1;
        let out = Out {
            started: now,
            round,
            counted: false,
        };
        self.out.insert(number, out);
        Call {
            number,
            round,
            started: now,
        }
    }

    /// A call is over, and this is what it said.
    pub fn answered(&mut self, call: Call, said: Said, now: Duration) -> Option<Turn> {
        let counted = self.out.remove(&call.number).is_none_or(|out| out.counted);
        if counted {
            self.overdue = self.overdue.saturating_sub(1);
        }
        if said == Said::Good {
            self.learn(now.saturating_sub(call.started));
        }
        if call.round != self.round {
            return None;
        }
        if counted {
            return None; // it was overdue, and counted then
        }
        self.probe_is_over();
        self.weigh(said, false, now)
    }

    /// Counts the calls that are overdue by now; asked every second or so, and before a choice.
    pub fn look(&mut self, now: Duration) -> Option<Turn> {
        self.climb(now);
        let overdue_after = self.overdue_after();
        let mut turn = None;
        while let Some((&number, out)) = self.out.range_mut(self.looked..).next() {
            if now.saturating_sub(out.started) < overdue_after {
                break;
            }
            out.counted = true;
            self.overdue += 1;
            let counts = out.round == self.round;
            self.looked = number + 1;
            if counts {
                self.probe_is_over();
                turn = self.weigh(Said::Bad, true, now).or(turn);
            }
        }
        turn
    }

    /// Lets it rest for at least this long whatever the evidence: its credentials are refused.
    pub fn rest_for(&mut self, at_least: Duration, now: Duration) -> Option<Turn> {
        let was_resting = matches!(self.state, State::Resting { .. });
        let turn = self.rest(now);
        if let State::Resting { until, .. } = &mut self.state {
            *until = (*until).max(now + at_least);
        }
        (!was_resting).then_some(turn)
    }

    /// Ends a rest now, so that the next job is a probe: what kept it from work was mended.
    pub fn ask_now(&mut self, now: Duration) {
        if let State::Resting { until, .. } = &mut self.state {
            *until = (*until).min(now);
        }
    }

    /// A reading.
    #[must_use]
    pub fn view(&self, now: Duration) -> View {
        let (standing, until) = match self.state {
            State::Passing { .. } => (Standing::Passing, None),
            State::Resting { until, .. } => (Standing::Resting, Some(until)),
            State::Probing { .. } => (Standing::Probing, None),
        };
        View {
            standing,
            share: self.share(now),
            until,
            trip: self.last_trip,
            out: self.out.len(),
            usual: (self.usual_of >= USUAL_NEEDS).then_some(self.usual),
        }
    }

    /// How many calls are out.
    #[must_use]
    pub fn out(&self) -> usize {
        self.out.len()
    }

    /// How many of those are overdue.
    #[must_use]
    pub fn overdue(&self) -> usize {
        self.overdue
    }

    /// The share that it is given of what is meant for it: 1 when it passes in full.
    fn share(&self, now: Duration) -> f64 {
        match self.state {
            State::Passing { ramp: None } => 1.0,
            State::Passing {
                ramp: Some((step, since)),
            } => {
                let steps = now.saturating_sub(since).as_secs_f64() / self.step().as_secs_f64();
                SHARES.get(step + steps as usize).copied().unwrap_or(1.0)
            }
            State::Resting { .. } | State::Probing { .. } => 0.0,
        }
    }

    fn step(&self) -> Duration {
        self.deadline.max(SHORTEST_STEP)
    }

    /// Forgets the ramp when its last step is over.
    fn climb(&mut self, now: Duration) {
        if matches!(self.state, State::Passing { ramp: Some(_) }) && self.share(now) >= 1.0 {
            self.state = State::Passing { ramp: None };
            self.rests = 0;
            self.last_trip = None;
        }
    }

    fn overdue_after(&self) -> Duration {
        if self.usual_of < USUAL_NEEDS {
            return self.deadline.max(SOONEST_OVERDUE);
        }
        let late = (self.usual * OVERDUE).max(SOONEST_OVERDUE);
        late.min(self.deadline.max(SOONEST_OVERDUE))
    }

    fn learn(&mut self, took: Duration) {
        self.usual_of = self.usual_of.saturating_add(1);
        let weight = self.usual_of.min(32);
        self.usual = (self.usual * (weight - 1) + took) / weight;
    }

    fn probe_is_over(&mut self) {
        if let State::Probing { out, .. } = &mut self.state {
            *out = out.saturating_sub(1);
        }
    }

    /// Adds what a call of this round said to the evidence.
    fn weigh(&mut self, said: Said, overdue: bool, now: Duration) -> Option<Turn> {
        let step = match said {
            Said::Good => -self.odds.success,
            Said::Bad => self.odds.failure,
            Said::Nothing => 0.0,
        };
        match &mut self.state {
            State::Resting { .. } => None,
            State::Passing { .. } if said == Said::Nothing => None,
            State::Passing { .. } => {
                self.sum = (self.sum + step).max(0.0);
                if self.sum == 0.0 {
                    self.gathering = NOTHING;
                    return None;
                }
                self.gathering.calls += 1;
                self.gathering.failed += u32::from(said == Said::Bad);
                self.gathering.overdue += u32::from(overdue);
                (self.sum >= ENOUGH).then(|| self.rest(now))
            }
            State::Probing { evidence, out, .. } => {
                // A failure early on says that the rest was too short.
                if said == Said::Bad && *evidence < ENOUGH / 2.0 {
                    self.rest(now);
                    return None;
                }
                *evidence -= step;
                // The last ones are waited for: what hangs is silent at first, and looks like nothing.
                if *evidence < ENOUGH || *out > 0 {
                    return None;
                }
                self.begin_round();
                self.state = State::Passing {
                    ramp: Some((0, now)),
                };
                Some(Turn::Passes)
            }
        }
    }

    fn rest(&mut self, now: Duration) -> Turn {
        let trip = match self.state {
            State::Passing { .. } => Trip {
                at: now,
                ..self.gathering
            },
            State::Resting { trip, .. } | State::Probing { trip, .. } => trip,
        };
        if self.rests == 0 {
            self.ill_since = now;
        }
        let long_ill = now.saturating_sub(self.ill_since) >= LONG_ILL;
        let turn = usize::try_from(self.rests).unwrap_or(usize::MAX);
        let rest = match RESTS.get(turn) {
            _ if long_ill => LONG_REST,
            Some(rest) => *rest,
            None => RESTS[RESTS.len() - 1],
        };
        let jitter =
            1.0 + JITTER * KeyHash(self.seed.0 ^ u64::from(self.round)).draw(self.rests % 64);
        self.rests = self.rests.saturating_add(1);
        self.begin_round();
        self.state = State::Resting {
            until: now + rest.mul_f64(jitter),
            trip,
        };
        self.last_trip = Some(trip);
        Turn::Rests(trip)
    }

    fn begin_round(&mut self) {
        self.round = self.round.wrapping_add(1);
        self.sum = 0.0;
        self.gathering = NOTHING;
    }
}

/// One probe asks; those that follow a good one may overlap.
fn most_probes(evidence: f64) -> usize {
    if evidence > 0.0 { MOST_PROBES } else { 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn breaker() -> Breaker {
        Breaker::new(Odds::default(), secs(3), KeyHash(7))
    }

    /// Calls one after the other, each begun and answered in the same millisecond: `.` good, `x` bad, `o` says nothing; `<n>` waits.
    fn play(breaker: &mut Breaker, steps: &str, mut now: Duration) -> Duration {
        for step in steps.split_inclusive(['.', 'x', 'o', 's']) {
            let (wait, what) = step.split_at(step.len() - 1);
            now += wait.parse().map_or(Duration::ZERO, at);
            let said = match what {
                "." => Said::Good,
                "x" => Said::Bad,
                "o" => Said::Nothing,
                _ => {
                    breaker.look(now);
                    continue;
                }
            };
            let call = breaker.begin(now);
            breaker.answered(call, said, now);
        }
        now
    }

    fn check(what: &str, steps: &str, expected: &str) {
        let mut breaker = breaker();
        let now = play(&mut breaker, steps, Duration::ZERO);
        let view = breaker.view(now);
        let said = match view.standing {
            Standing::Passing if view.share < 1.0 => format!("passing {}%", view.share * 100.0),
            other => other.word().to_owned(),
        };
        assert_eq!(said, expected, "{what}: {steps}");
    }

    #[test]
    fn when_it_rests_and_passes() {
        check("at first", "", "passing");
        check("five failures may be chance", "xxxxx", "passing");
        check("six are not", "xxxxxx", "resting");
        check(
            "good ones between count for it",
            "xxx..................xxxxx",
            "passing",
        );
        check("half of them failing", "x.x.x.x.x.x.x", "resting");
        check(
            "bad recipients say nothing",
            "oooooooooooooooooooooooooooooo",
            "passing",
        );
        check("a probe after the rest", "xxxxxx1200.", "probing");
        check("a bad probe: rest again", "xxxxxx1200x", "resting");
        check(
            "one that says nothing leaves the question",
            "xxxxxx1200o",
            "probing",
        );
        let good = "100.".repeat(32);
        check(
            "as much evidence as rested it",
            &format!("xxxxxx1200.{good}"),
            "passing 10%",
        );
        check(
            "too little",
            &format!("xxxxxx1200.{}", "100.".repeat(20)),
            "probing",
        );
        check(
            "a late failure costs what it says",
            &format!("xxxxxx1200.{}x", "100.".repeat(20)),
            "probing",
        );
        check(
            "the ramp",
            &format!("xxxxxx1200.{good}3001s"),
            "passing 25%",
        );
        check("goes on", &format!("xxxxxx1200.{good}6001s"), "passing 50%");
        check("to its end", &format!("xxxxxx1200.{good}9001s"), "passing");
        check(
            "and may fail",
            &format!("xxxxxx1200.{good}xxxxxx"),
            "resting",
        );
    }

    #[test]
    fn a_rest_tells_its_numbers() {
        let mut breaker = breaker();
        let now = play(&mut breaker, "....x.xxx.xx", at(5));
        let trip = breaker.view(now).trip.unwrap();
        assert_eq!(
            (trip.failed, trip.calls, trip.overdue, trip.at),
            (6, 8, 0, at(5))
        );
    }

    #[test]
    fn while_it_rests_only_a_probe_may_go_and_then_twenty_a_second() {
        let mut breaker = breaker();
        play(&mut breaker, "xxxxxx", at(0));
        assert!(!breaker.may(at(999), 0.0));
        let until = breaker.view(at(0)).until.unwrap();
        assert!(until >= secs(1) && until <= at(1_200), "{until:?}");
        assert!(breaker.may(until, 0.99));
        let probe = breaker.begin(until);
        assert!(!breaker.may(until + secs(1), 0.0), "one probe is out");
        breaker.answered(probe, Said::Good, until + at(10));
        assert!(breaker.may(until + at(10), 0.0));
        let _second = breaker.begin(until + at(10));
        assert!(!breaker.may(until + at(59), 0.0));
        assert!(breaker.may(until + at(60), 0.0));
    }

    #[test]
    fn rests_grow_and_after_five_minutes_one_a_minute() {
        let (mut breaker, mut now, mut rests) = (breaker(), at(0), vec![]);
        play(&mut breaker, "xxxxxx", now);
        while now < secs(400) {
            let until = breaker.view(now).until.unwrap();
            rests.push((until - now).as_secs_f64());
            now = play(&mut breaker, "x", until);
        }
        let expected = [1.0, 2.0, 4.0, 5.0, 5.0];
        for (rest, expected) in rests.iter().zip(expected) {
            assert!(*rest >= expected && *rest <= expected * 1.2, "{rests:?}");
        }
        let last = rests.last().unwrap();
        assert!((60.0..=72.0).contains(last), "{rests:?}");
    }

    #[test]
    fn what_hangs_is_seen_before_its_deadline() {
        let mut breaker = Breaker::new(Odds::default(), secs(30), KeyHash(7));
        let mut now = at(0);
        for _ in 0..20 {
            let call = breaker.begin(now);
            now += at(400);
            breaker.answered(call, Said::Good, now);
        }
        let hanging: Vec<Call> = (0..6).map(|_| breaker.begin(now)).collect();
        assert_eq!(breaker.look(now + at(1_999)), None);
        let turn = breaker.look(now + at(2_001));
        let Some(Turn::Rests(trip)) = turn else {
            panic!("it should rest: {turn:?}");
        };
        assert_eq!((trip.failed, trip.overdue), (6, 6));
        for call in hanging {
            assert_eq!(breaker.answered(call, Said::Bad, now + secs(30)), None);
        }
        assert_eq!(breaker.out(), 0);
    }

    #[test]
    fn refused_credentials_rest_it_until_they_are_mended() {
        let mut breaker = breaker();
        assert!(breaker.rest_for(secs(60), at(0)).is_some());
        assert_eq!(breaker.rest_for(secs(60), at(0)), None, "told once");
        assert!(!breaker.may(secs(59), 0.0));
        breaker.ask_now(secs(3));
        assert!(breaker.may(secs(3), 0.0));
    }

    proptest! {
        /// Whatever calls say and whenever: it is never stuck (waiting long enough lets a call begin), nobody's answer of an earlier
        /// round turns it, and what is out is exactly what was begun and not answered.
        #[test]
        fn never_stuck(steps in proptest::collection::vec((0u8..5, any::<prop::sample::Index>(), 0u64..3_000), 1..300)) {
            let (mut breaker, mut now) = (breaker(), at(0));
            let mut out: Vec<Call> = vec![];
            for (step, which, later) in steps {
                now += at(later);
                breaker.look(now);
                if step < 2 || out.is_empty() {
                    if breaker.may(now, 0.05) {
                        out.push(breaker.begin(now));
                    } else if out.is_empty() {
                        prop_assert!(breaker.may(now + secs(100), 0.05), "stuck: {breaker:?}");
                    }
                } else {
                    let call = out.remove(which.index(out.len()));
                    let stale = call.round != breaker.round;
                    let before = breaker.view(now).standing;
                    let said = [Said::Good, Said::Bad, Said::Nothing][usize::from(step - 2)];
                    breaker.answered(call, said, now);
                    prop_assert!(!stale || breaker.view(now).standing == before);
                }
                prop_assert_eq!(breaker.out(), out.len());
            }
        }

        /// More failures never make it rest later.
        #[test]
        fn a_failure_more_never_helps(calls in proptest::collection::vec(any::<bool>(), 1..60), worse in any::<prop::sample::Index>()) {
            let rests_after = |calls: &[bool]| {
                let mut breaker = breaker();
                calls.iter().position(|good| {
                    let call = breaker.begin(at(0));
                    let said = if *good { Said::Good } else { Said::Bad };
                    breaker.answered(call, said, at(0)).is_some()
                }).unwrap_or(usize::MAX)
            };
            let mut ill = calls.clone();
            ill[worse.index(calls.len())] = false;
            prop_assert!(rests_after(&ill) <= rests_after(&calls));
        }
    }
}
