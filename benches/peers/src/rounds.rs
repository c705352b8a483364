//! Rounds: contenders take their turn in each, so that what the machine does meanwhile hits all alike.

use anyhow::{Context, Result};

use crate::stage::{Run, Stage};

/// A contender: its name, and how one run of it is made.
pub struct Contender<'a> {
    /// How the table calls it.
    pub name: &'static str,
    run: Box<dyn FnMut() -> Result<Run> + 'a>,
    runs: Vec<Run>,
    trouble: Option<String>,
}

impl<'a> Contender<'a> {
    /// A contender.
    pub fn new(name: &'static str, run: impl FnMut() -> Result<Run> + 'a) -> Self {
        Self {
            name,
            run: Box::new(run),
            runs: Vec::new(),
            trouble: None,
        }
    }

    /// What it made of its rounds, or why there is nothing.
    ///
    /// # Errors
    /// When it never got through.
    pub fn made(&self) -> Result<&[Run]> {
        let trouble = || self.trouble.clone().unwrap_or_default();
        (!self.runs.is_empty())
            .then_some(self.runs.as_slice())
            .with_context(trouble)
    }
}

/// Lets all take their turn in each round, and tells as it goes. A contender that failed is not asked again, and what it left on
/// the stage is cleared away.
pub fn play(stage: &Stage, contenders: &mut [Contender<'_>], rounds: usize) {
    for round in 1..=rounds {
        for contender in contenders.iter_mut().filter(|one| one.trouble.is_none()) {
            match (contender.run)() {
                Ok(run) => {
                    println!(
                        "round {round}  {:<28} {:>9.0}/s   client {:>6.2} s/100k   broker {:>6.2} s/100k   others used {:>3.0} % of the machine",
                        contender.name,
                        run.rate(),
                        run.per_100k(run.client),
                        run.per_100k(run.broker),
                        run.foreign * 100.0
                    );
                    contender.runs.push(run);
                }
                Err(error) => {
                    println!(
                        "round {round}  {:<28} not measured: {error:#}",
                        contender.name
                    );
                    contender.trouble = Some(format!("{error:#}"));
                    stage.clear();
                }
            }
        }
    }
}

/// The middle one, and the smallest and largest.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    /// Of these numbers; zeros when there are none.
    #[must_use]
    pub fn of(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        let at = |index: usize| numbers.get(index).copied().unwrap_or_default();
        let half = numbers.len() / 2;
        Self {
            median: if numbers.len() % 2 == 1 {
                at(half)
            } else {
                f64::midpoint(at(half.saturating_sub(1)), at(half))
            },
            least: at(0),
            most: at(numbers.len().saturating_sub(1)),
        }
    }

    /// Of a figure of each run.
    #[must_use]
    pub fn over(runs: &[Run], figure: impl Fn(&Run) -> f64) -> Self {
        Self::of(runs.iter().map(figure).collect())
    }

    /// Of the ratio of a figure of two contenders, round by round.
    #[must_use]
    pub fn ratio(ours: &[Run], theirs: &[Run], figure: impl Fn(&Run) -> f64) -> Self {
        let pairs = ours.iter().zip(theirs);
        Self::of(
            pairs
                .map(|(a, b)| figure(a) / figure(b).max(1e-9))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(numbers: &[f64], median: f64, least: f64, most: f64) {
        let expected = Spread {
            median,
            least,
            most,
        };
        assert_eq!(Spread::of(numbers.to_vec()), expected, "{numbers:?}");
    }

    #[test]
    fn the_median_is_the_middle_one() {
        check(&[], 0.0, 0.0, 0.0);
        check(&[3.0], 3.0, 3.0, 3.0);
        check(&[3.0, 1.0], 2.0, 1.0, 3.0);
        check(&[9.0, 1.0, 2.0], 2.0, 1.0, 9.0);
    }
}
