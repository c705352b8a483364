//! What `sluicegate check` finds, whoever found it.

use serde::Serialize;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// All is well.
    Fine,
    /// It cannot be told from here.
    Unknown,
    /// It will run, and something will not work as one may think.
    Warning,
    /// It will not run.
    Problem,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// What it is about: a queue as the file names it, or `broker`.
    pub about: String,
    /// What was found, with the cure.
    pub text: String,
}

/// All that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order of the file.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether the daemon can do its work.
    #[must_use]
    pub fn passed(&self) -> bool {
        let worst = self.findings.iter().map(|finding| finding.weight).max();
        worst < Some(Weight::Problem)
    }
}
