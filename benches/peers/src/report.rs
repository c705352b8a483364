//! What is told at the end: a table of the contenders, and each goal beside its figure. No figure makes a benchmark fail.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;

use crate::arguments::Arguments;
use crate::rounds::{Contender, Spread};
use crate::stage::Run;

/// What a figure shall be.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// So much or more.
    AtLeast(f64),
    /// So much or less.
    AtMost(f64),
}

impl Goal {
    fn met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Self::AtLeast(least) => format!("≥ {}{unit}", short(least)),
            Self::AtMost(most) => format!("≤ {}{unit}", short(most)),
        }
    }
}

/// The goals of one benchmark, as they are measured.
pub struct Report {
    name: &'static str,
    arguments: Arguments,
    rows: Vec<String>,
}

impl Report {
    /// An empty one for the benchmark of this name.
    #[must_use]
    pub fn new(name: &'static str, arguments: Arguments) -> Self {
        Self {
            name,
            arguments,
            rows: Vec::new(),
        }
    }

    /// A figure and its goal: what it is, which alternative of the same run it is held against.
    pub fn goal(&mut self, what: &str, against: &str, goal: Goal, unit: &str, figure: Spread) {
        let verdict = if goal.met(figure.median) {
            "met"
        } else {
            "**missed**"
        };
        self.rows.push(format!(
            "| {what} | {against} | {} | {}{unit} ({}–{}) | {verdict} |",
            goal.text(unit),
            short(figure.median),
            short(figure.least),
            short(figure.most)
        ));
    }

    /// A figure for its own sake, without a goal.
    pub fn note(&mut self, what: &str, against: &str, unit: &str, figure: Spread) {
        self.rows.push(format!(
            "| {what} | {against} | | {}{unit} ({}–{}) | |",
            short(figure.median),
            short(figure.least),
            short(figure.most)
        ));
    }

    /// A goal for which there is no figure, and why.
    pub fn unmeasured(&mut self, what: &str, against: &str, goal: Goal, unit: &str, why: &str) {
        let why = why.lines().next().unwrap_or_default();
        let goal = goal.text(unit);
        self.rows.push(format!(
            "| {what} | {against} | {goal} | not measured: {why} | |"
        ));
    }

    /// The ratio of a figure of two contenders against its goal, round by round.
    pub fn ratio(
        &mut self,
        what: &str,
        (ours, theirs): (&Contender<'_>, &Contender<'_>),
        goal: Goal,
        figure: impl Fn(&Run) -> f64,
    ) {
        match (ours.made(), theirs.made()) {
            (Ok(a), Ok(b)) => self.goal(what, theirs.name, goal, "", Spread::ratio(a, b, figure)),
            (Err(why), _) | (_, Err(why)) => {
                self.unmeasured(what, theirs.name, goal, "", &why.to_string());
            }
        }
    }

    /// As [`Report::ratio`], for a figure that has no goal.
    pub fn ratio_without_goal(
        &mut self,
        what: &str,
        (ours, theirs): (&Contender<'_>, &Contender<'_>),
        figure: impl Fn(&Run) -> f64,
    ) {
        if let (Ok(a), Ok(b)) = (ours.made(), theirs.made()) {
            self.note(what, theirs.name, "", Spread::ratio(a, b, figure));
        }
    }

    /// Prints the goals, and keeps them for `benches/table`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn conclude(self) -> Result<()> {
        println!(
            "\n| what | against | goal | measured: median (least–most) | |\n| --- | --- | --- | --- | --- |"
        );
        let rows = self.rows.join("\n");
        println!("{rows}\n");
        if self.arguments.quick {
            println!("quick: these figures only show that it runs");
            return Ok(());
        }
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/goals");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("{}.md", self.name)), rows + "\n")?;
        Ok(())
    }
}

/// Prints what each contender made of its rounds.
pub fn table(title: &str, contenders: &[Contender<'_>]) {
    println!("\n{title}\n");
    println!(
        "| contender | messages/s | client s/100k | broker s/100k | others used |\n| --- | --- | --- | --- | --- |"
    );
    for contender in contenders {
        println!("{}", line(contender));
    }
}

fn line(contender: &Contender<'_>) -> String {
    let mut line = format!("| {} |", contender.name);
    match contender.made() {
        Ok(runs) => {
            let rate = Spread::over(runs, Run::rate);
            let client = Spread::over(runs, |run| run.per_100k(run.client));
            let broker = Spread::over(runs, |run| run.per_100k(run.broker));
            let foreign = Spread::over(runs, |run| run.foreign * 100.0);
            let _ = write!(
                line,
                " {:.0} ({:.0}–{:.0}) | {:.2} ({:.2}–{:.2}) | {:.2} | {:.0} % |",
                rate.median,
                rate.least,
                rate.most,
                client.median,
                client.least,
                client.most,
                broker.median,
                foreign.median
            );
        }
        Err(_) => line.push_str(" not measured | | | |"),
    }
    line
}

/// A number with three figures or so.
fn short(number: f64) -> String {
    match number.abs() {
        large if large >= 1_000.0 => format!("{number:.0}"),
        middle if middle >= 100.0 => format!("{number:.0}"),
        small if small >= 10.0 => format!("{number:.1}"),
        _ => {
            let text = format!("{number:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}
