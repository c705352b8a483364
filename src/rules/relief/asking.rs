//! What the automatic valve is asked of a message: how old it is, how long it is of use, where it stands. The worker and whoever
//! explains a message ask alike.

use std::sync::LazyLock;
use std::time::Duration;

use super::valve::Candidate;
use crate::rules::facts::Facts;
use crate::rules::gate::Gate;
use crate::rules::lots::{KeyHash, STEPS, Seed};
use crate::rules::value::Value;

/// Who turns `skip`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SkipMode {
    /// People alone.
    #[default]
    Manual,
    /// People; what the automatic valve would shed is counted.
    Observe,
    /// People, and the automatic valve.
    Auto,
}

impl SkipMode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Manual, Self::Observe, Self::Auto];

    /// Its word, as the valve `skip_mode` has it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Observe => "observe",
            Self::Auto => "auto",
        }
    }

    /// What a value of that valve says; anything else than one of the words says manual.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        let said = |mode: &Self| matches!(value, Value::Text(word) if word.as_ref() == mode.word());
        Self::ALL.into_iter().find(said).unwrap_or_default()
    }
}

/// What is known of the queue when a message is asked about.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Asking {
    /// So long after its publishing a job is useless that says nothing else.
    pub deadline_after: Option<Duration>,
    /// The median service time; zero while it is unknown.
    pub need: Duration,
}

impl Asking {
    /// From its publishing until it is useless: what the message says, else what the file says of all; and where `max_age` is
    /// open, no longer than a job that may just start then takes. `None`: it is of use for ever.
    #[must_use]
    pub fn budget(&self, gate: &Gate, facts: &Facts) -> Option<Duration> {
        let own = facts.deadline_ms.zip(facts.counts_from_ms());
        let own = own.map(|(deadline, from)| {
            let left_ms = u64::try_from(deadline.saturating_sub(from)).unwrap_or(0);
            Duration::from_millis(left_ms)
        });
        let by_valve = gate.max_age(facts).map(|limit| limit + self.need);
        own.or(self.deadline_after)
            .into_iter()
            .chain(by_valve)
            .min()
    }

    /// A message, as the automatic valve is asked about it when it has its slot. Whether its account brings more than its fair
    /// share, and what is in hand before it, the worker knows.
    #[must_use]
    pub fn candidate(&self, gate: &Gate, facts: &Facts, now_ms: i64) -> Candidate {
        let age = facts.age_ms(now_ms);
        Candidate {
            age: age.map(|ms| Duration::from_millis(ms.unsigned_abs())),
            ahead: Duration::ZERO,
            deadline: self.budget(gate, facts),
            protected: gate.protects(facts),
            priority: facts.priority,
            over_share: false,
            job_type: gate.job_type(facts),
            lot: lot(facts.lot),
        }
    }
}

/// What a message draws for the automatic valve, from 0 to 1: not what it draws for `skip`.
fn lot(id: KeyHash) -> f64 {
    static SEED: LazyLock<Seed> = LazyLock::new(|| Seed::of("relief"));
    drawn(id, *SEED)
}

/// What a message draws for the fair share of its account, from 0 to 1: another lot again.
#[must_use]
pub fn fair_lot(id: KeyHash) -> f64 {
    static SEED: LazyLock<Seed> = LazyLock::new(|| Seed::of("relief.fair"));
    drawn(id, *SEED)
}

fn drawn(id: KeyHash, seed: Seed) -> f64 {
    f64::from(id.bucket(seed)) / f64::from(STEPS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::flag::Flag;
    use crate::rules::valve::Valve;

    fn gate(max_age: Option<&str>) -> Gate {
        let queue = "orders".parse().unwrap();
        Gate::of_values(&queue, |valve| {
            let neutral = Flag::neutral_valve(&queue, valve, &[]);
            let json = match (valve, max_age) {
                (Valve::MaxAge, Some(limit)) => json!(limit),
                _ => valve.neutral(),
            };
            neutral.read(&json).unwrap()
        })
    }

    #[test]
    fn a_message_is_of_use_as_long_as_it_says_or_the_file_or_max_age() {
        let asking = |after_s: Option<u64>| Asking {
            deadline_after: after_s.map(Duration::from_secs),
            need: Duration::from_secs(2),
        };
        let facts = |deadline_s: Option<i64>| Facts {
            published_ms: Some(100_000),
            deadline_ms: deadline_s.map(|after| 100_000 + after * 1_000),
            ..Facts::bare(KeyHash(7))
        };
        let check =
            |own: Option<i64>, file: Option<u64>, max_age: Option<&str>, is: Option<u64>| {
                let said = asking(file).budget(&gate(max_age), &facts(own));
                assert_eq!(
                    said,
                    is.map(Duration::from_secs),
                    "{own:?} {file:?} {max_age:?}"
                );
            };
        check(None, None, None, None);
        check(None, Some(30), None, Some(30));
        check(Some(10), Some(30), None, Some(10));
        check(Some(90), Some(30), None, Some(90));
        check(Some(-1), Some(30), None, Some(0));
        check(None, None, Some("28s"), Some(30));
        check(Some(10), None, Some("28s"), Some(10));
        check(None, Some(60), Some("28s"), Some(30));
    }

    #[test]
    fn the_modes_are_read_as_they_are_written() {
        for mode in SkipMode::ALL {
            assert_eq!(SkipMode::of(&Value::Text(mode.word().into())), mode);
        }
        assert_eq!(SkipMode::of(&Value::None), SkipMode::Manual);
    }

    #[test]
    fn lots_for_different_ends_have_nothing_to_do_with_each_other() {
        let below = |number: u64| (lot(KeyHash(number)) < 0.5, fair_lot(KeyHash(number)) < 0.5);
        let both = (0..10_000).filter(|n| below(*n) == (true, true)).count();
        assert!((2_300..2_700).contains(&both), "{both}");
    }
}
