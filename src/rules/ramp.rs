//! How an opening comes to its end: it holds, it goes back in steps, it is over. All of it follows from one number, the time that
//! is left, so that whoever knows that number after a restart or a clock's jump knows where the opening stands.

use std::time::Duration;

use super::opening::{Opening, RAMP_STEPS, Restore};
use super::units::Span;

/// So long before the end of a long opening its owner is reminded.
const REMIND_BEFORE: Duration = Duration::from_secs(5 * 60);
/// Of a shorter one the reminder comes when this part of it is left.
const REMIND_AT_A: u32 = 5;
/// One that is shorter than this is seen through by whoever opened it.
const WORTH_REMINDING: Duration = Duration::from_secs(60);

/// Where an opening stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stage {
    /// It holds whole, for so long.
    Holds(Duration),
    /// It goes back.
    Ramps {
        /// how much of it holds: above 0, at most 1
        strength: f64,
        /// when the next step is due
        next: Duration,
    },
    /// Nothing of it holds any more.
    Over,
}

/// The steps of a ramp.
#[derive(Debug, Clone, Copy)]
struct Steps {
    count: u32,
    each: Duration,
}

impl Steps {
    fn of(over: Span) -> Self {
        let seconds = u32::try_from(over.get().as_secs()).unwrap_or(RAMP_STEPS);
        let count = seconds.clamp(1, RAMP_STEPS);
        Self {
            count,
            each: over.get() / count,
        }
    }

    /// How many are left when so much time is.
    fn left(self, left: Duration) -> u32 {
        let each = self.each.as_nanos().max(1);
        u32::try_from(left.as_nanos().div_ceil(each))
            .map_or(self.count, |steps| steps.min(self.count))
    }

    /// How many are left at this strength.
    fn at(self, strength: f64) -> u32 {
        let steps = f64::from(self.count) * strength.clamp(0.0, 1.0);
        (0..=self.count)
            .find(|count| f64::from(*count) >= steps - 0.5)
            .unwrap_or(self.count)
    }
}

impl Opening {
    /// How long it takes to go back once its time is over.
    #[must_use]
    pub fn way_back(&self) -> Duration {
        match self.restore {
            Restore::Snap => Duration::ZERO,
            Restore::Ramp(over) => over.get(),
        }
    }

    /// How long it was to hold, whole.
    #[must_use]
    pub fn length(&self) -> Duration {
        let length = self.ends_at_ms.saturating_sub(self.opened_at_ms);
        Duration::from_millis(u64::try_from(length).unwrap_or(0))
    }

    /// The time that is left until nothing of it holds, as the wall clock has it.
    #[must_use]
    pub fn left_at(&self, now_ms: i64) -> Duration {
        let left = self.over_at_ms().saturating_sub(now_ms);
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    /// The most time that can be left of it, whatever a clock says: what was asked for, and no more than its strength tells.
    #[must_use]
    pub fn most_left(&self) -> Duration {
        match self.restore {
            Restore::Ramp(over) if self.strength < 1.0 => {
                let steps = Steps::of(over);
                steps.each.saturating_mul(steps.at(self.strength))
            }
            _ => self.length().saturating_add(self.way_back()),
        }
    }

    /// Where it stands when so much time is left.
    #[must_use]
    pub fn stage(&self, left: Duration) -> Stage {
        if left.is_zero() {
            return Stage::Over;
        }
        let back = self.way_back();
        if left > back {
            return Stage::Holds(left.saturating_sub(back));
        }
        let Restore::Ramp(over) = self.restore else {
            return Stage::Over;
        };
        let steps = Steps::of(over);
        let count = steps.left(left);
        Stage::Ramps {
            strength: f64::from(count) / f64::from(steps.count),
            next: left.saturating_sub(steps.each.saturating_mul(count.saturating_sub(1))),
        }
    }

    /// How long before its end (before it begins to go back) its owner is reminded; `None`: it is too short for that.
    #[must_use]
    pub fn reminds_before(&self) -> Option<Duration> {
        let length = self.length();
        (length >= WORTH_REMINDING).then(|| (length / REMIND_AT_A).min(REMIND_BEFORE))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::opening::OpeningId;
    use super::*;

    fn opening(length_s: i64, restore: Restore) -> Opening {
        Opening {
            id: OpeningId(7),
            values: vec![],
            when: vec![],
            owner: "ana".into(),
            reason: "INC-481".into(),
            opened_at_ms: 1_000,
            ends_at_ms: 1_000 + length_s * 1_000,
            restore,
            strength: 1.0,
            beneath: false,
            until: None,
            extended: false,
        }
    }

    fn ramp(seconds: u64) -> Restore {
        Restore::Ramp(Span::from_secs(seconds))
    }

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_time_left_tells_where_an_opening_stands() {
        let at = |strength, next| Stage::Ramps { strength, next };
        for (restore, left, stage) in [
            (Restore::Snap, secs(1), Stage::Holds(secs(1))),
            (Restore::Snap, secs(0), Stage::Over),
            (ramp(600), secs(700), Stage::Holds(secs(100))),
            (ramp(600), secs(600), at(1.0, secs(30))),
            (ramp(600), secs(571), at(1.0, secs(1))),
            (ramp(600), secs(570), at(0.95, secs(30))),
            (ramp(600), secs(300), at(0.5, secs(30))),
            (ramp(600), secs(30), at(0.05, secs(30))),
            (
                ramp(600),
                Duration::from_millis(1),
                at(0.05, Duration::from_millis(1)),
            ),
            (ramp(600), secs(0), Stage::Over),
            (ramp(4), secs(3), at(0.75, secs(1))),
            (ramp(1), secs(1), at(1.0, secs(1))),
        ] {
            assert_eq!(
                opening(60, restore).stage(left),
                stage,
                "{restore:?}, {left:?} left"
            );
        }
    }

    #[test]
    fn a_reminder_comes_five_minutes_or_a_fifth_before_the_end() {
        for (length_s, before) in [
            (3_600, Some(300)),
            (1_500, Some(300)),
            (600, Some(120)),
            (60, Some(12)),
            (59, None),
            (0, None),
        ] {
            let found = opening(length_s, Restore::Snap).reminds_before();
            assert_eq!(found, before.map(secs), "{length_s} s");
        }
    }

    proptest! {
        #[test]
        fn a_ramp_only_goes_down_and_no_step_is_shorter_than_a_second(over in 1u64..200_000, left in 0u64..200_000_000) {
            let opening = opening(60, ramp(over));
            let left = Duration::from_millis(left).min(secs(over));
            if let Stage::Ramps { strength, next } = opening.stage(left) {
                prop_assert!(strength > 0.0 && strength <= 1.0 && next > Duration::ZERO && next <= left);
                let before = left + secs(1);
                if let Stage::Ramps { strength: earlier, next: wait } = opening.stage(before) {
                    prop_assert!(earlier >= strength);
                    prop_assert!((earlier - strength) * 0.999 <= 1.0 / f64::from(RAMP_STEPS.min(u32::try_from(over).unwrap())));
                    prop_assert!(earlier.to_bits() == strength.to_bits() || wait <= secs(1));
                }
            } else {
                prop_assert!(left.is_zero());
            }
        }

        #[test]
        fn what_was_written_down_of_a_ramp_gives_nobody_more_time(over in 1u64..200_000, left in 1u64..200_000_000) {
            let whole = opening(60, ramp(over));
            let left = Duration::from_millis(left).min(secs(over));
            if let Stage::Ramps { strength, .. } = whole.stage(left) && strength < 1.0 {
                let written = Opening { strength, ..whole };
                let most = written.most_left();
                prop_assert!(most >= left && most < left + secs(over));
                let again = written.stage(most);
                prop_assert!(matches!(again, Stage::Ramps { strength: again, .. } if again.to_bits() == strength.to_bits()), "{:?}", again);
            }
        }
    }
}
