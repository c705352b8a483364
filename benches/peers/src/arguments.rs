//! How a benchmark is called: `cargo bench --bench drain -- --quick`.

use std::process::Command;

/// The word that starts the benchmark's own program again as a contender.
const AS: &str = "as";

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Arguments {
    /// Only enough to show that it runs.
    pub quick: bool,
    /// Rounds in which all contenders take their turn.
    pub rounds: usize,
}

impl Arguments {
    /// What the command line says: `--quick`, `--rounds N` (5 unless said). Without Cargo's own `--bench` somebody runs all
    /// targets as tests, and quick is enough.
    #[must_use]
    pub fn read() -> Self {
        let given: Vec<String> = std::env::args().skip(1).collect();
        let says = |word: &str| given.iter().any(|argument| argument == word);
        let quick = says("--quick") || !says("--bench");
        let after = given.iter().skip_while(|word| *word != "--rounds").nth(1);
        let rounds = after.and_then(|count| count.parse().ok()).unwrap_or(5);
        Self {
            quick,
            rounds: if quick { 1 } else { rounds },
        }
    }

    /// `full` of something, or `quick` of it.
    #[must_use]
    pub fn of<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// The role that this process was started for, and its arguments; none: it is the benchmark.
#[must_use]
pub fn role() -> Option<(String, Vec<String>)> {
    let mut given = std::env::args().skip(1);
    (given.next().as_deref() == Some(AS)).then_some(())?;
    Some((given.next()?, given.collect()))
}

/// This program again, in `role`.
///
/// # Panics
/// When the system does not say which program this is.
#[must_use]
pub fn ourselves(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args([AS, role]);
    command
}
