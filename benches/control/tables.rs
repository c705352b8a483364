//! What is told: goals, and the figures that others must reach, or the comparison would be with straw men.

use anyhow::{Result, ensure};
use peers::arguments::Arguments;
use peers::report::{Goal, Report};
use peers::rounds::Spread;

/// By so many points a figure of an alternative may fall short of what was found for it elsewhere.
const TOLERANCE: f64 = 5.0;

/// The report, and what is wrong with it.
pub(crate) struct Tables {
    pub(crate) arguments: Arguments,
    report: Report,
    missed: Vec<String>,
    straw: Vec<String>,
}

impl Tables {
    pub(crate) fn new(arguments: Arguments) -> Self {
        Self {
            arguments,
            report: Report::new("control", arguments),
            missed: Vec::new(),
            straw: Vec::new(),
        }
    }

    /// Seeds that are played.
    pub(crate) fn seeds(&self, full: u64) -> std::ops::RangeInclusive<u64> {
        1..=self.arguments.of(full, 1)
    }

    /// A figure in virtual time: the same on every machine, so that it must be met.
    pub(crate) fn goal(
        &mut self,
        what: &str,
        against: &str,
        goal: Goal,
        unit: &str,
        figures: Vec<f64>,
    ) {
        let figure = Spread::of(figures);
        let met = match goal {
            Goal::AtLeast(least) => figure.median >= least,
            Goal::AtMost(most) => figure.median <= most,
        };
        if !met {
            self.missed
                .push(format!("{what}: {:.1}{unit}", figure.median));
        }
        self.report.goal(what, against, goal, unit, figure);
    }

    /// A figure that depends on the machine.
    pub(crate) fn pace(
        &mut self,
        what: &str,
        against: &str,
        most: f64,
        unit: &str,
        figures: Vec<f64>,
    ) {
        let goal = Goal::AtMost(most);
        self.report
            .goal(what, against, goal, unit, Spread::of(figures));
    }

    /// A figure for its own sake.
    pub(crate) fn note(&mut self, what: &str, against: &str, unit: &str, figures: Vec<f64>) {
        self.report.note(what, against, unit, Spread::of(figures));
    }

    /// An alternative's figure in percent, beside the one that it must reach. A better one is welcome.
    pub(crate) fn reproduced(&mut self, what: &str, figure: f64, expected: f64) {
        if figure < expected - TOLERANCE {
            self.straw
                .push(format!("{what}: {figure:.0} %, expected {expected:.0} %"));
        }
    }

    /// Prints everything.
    ///
    /// # Errors
    /// When a goal in virtual time is missed, or an alternative does not reach what it should; not when it was quick.
    pub(crate) fn conclude(self) -> Result<()> {
        self.report.conclude()?;
        if self.arguments.quick {
            return Ok(());
        }
        for what in &self.straw {
            println!("an alternative is weaker than it should be: {what}");
        }
        ensure!(
            self.straw.is_empty(),
            "alternatives are weaker than they should be"
        );
        ensure!(self.missed.is_empty(), "missed: {}", self.missed.join("; "));
        Ok(())
    }
}
