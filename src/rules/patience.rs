//! Patience with a target that says no: one refusal is that message's affair, many in a row are the target's, which is then left
//! alone for a while, so that an outage neither uses up everybody's attempts nor lets one message stop the rest.

use std::time::Duration;

use super::settlement::Outcome;

/// The longest time for which a target that asks for less is left alone.
const LONGEST_AS_ASKED: Duration = Duration::from_secs(10);
/// The longest time for which a target that fails is left alone.
const LONGEST_AFTER_FAILURES: Duration = Duration::from_secs(5);
/// So many refusals in a row are needed at least, however few the slots.
const FEWEST: u32 = 3;

/// Counts refusals in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Patience {
    refusals: u32,
}

impl Patience {
    /// A target with so many slots gave this answer. For how long it is left alone now, if at all: after a whole round of
    /// refusals as long as it asked for, at most 10 s; or 100 ms after failures, doubled with each further round, at most 5 s.
    pub fn answered(&mut self, outcome: &Outcome, slots: u32) -> Option<Duration> {
        let round = slots.max(FEWEST);
        let rest = match outcome {
            Outcome::Done | Outcome::HandedOver | Outcome::Failed(_) | Outcome::Unknown(_) => {
                self.refusals = 0;
                return None;
            }
            // The rests of a full target follow from `pressure`.
            Outcome::Full | Outcome::Held(_) | Outcome::NoProvider(_) => return None,
            Outcome::Throttled(after) => after
                .unwrap_or(Duration::from_secs(1))
                .min(LONGEST_AS_ASKED),
            Outcome::Retry(_) => {
                let doublings = ((self.refusals + 1) / round).saturating_sub(1).min(10);
                (Duration::from_millis(100) * (1 << doublings)).min(LONGEST_AFTER_FAILURES)
            }
        };
        self.refusals = self.refusals.saturating_add(1).min(1_000_000);
        (self.refusals >= round).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rests(answers: impl IntoIterator<Item = Outcome>, slots: u32) -> Vec<Option<u128>> {
        let mut patience = Patience::default();
        answers
            .into_iter()
            .map(|answer| {
                patience
                    .answered(&answer, slots)
                    .map(|rest| rest.as_millis())
            })
            .collect()
    }

    fn throttled(secs: u64) -> Outcome {
        Outcome::Throttled(Some(Duration::from_secs(secs)))
    }

    #[test]
    fn one_message_that_is_refused_among_others_stops_nobody() {
        let answers = (0..30).map(|n| {
            if n % 3 == 0 {
                throttled(10)
            } else {
                Outcome::Done
            }
        });
        assert!(rests(answers, 8).iter().all(Option::is_none));
    }

    #[test]
    fn a_round_of_refusals_is_a_rest_as_long_as_asked() {
        assert_eq!(
            rests((0..4).map(|_| throttled(4)), 4),
            [None, None, None, Some(4_000)]
        );
        assert_eq!(rests((0..4).map(|_| throttled(3_600)), 1)[3], Some(10_000));
        assert_eq!(
            rests((0..3).map(|_| Outcome::Throttled(None)), 1)[2],
            Some(1_000)
        );
    }

    #[test]
    fn failures_in_a_row_are_given_more_time_each_round() {
        let down = || Outcome::Retry("refused".into());
        let all = rests((0..40).map(|_| down()), 4);
        assert_eq!(
            [all[2], all[3], all[7], all[11], all[39]],
            [None, Some(100), Some(200), Some(400), Some(5_000)]
        );
        let mended = rests([down(), down(), down(), Outcome::Done, down()], 3);
        assert_eq!(mended, [None, None, Some(100), None, None]);
    }
}
