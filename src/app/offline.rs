//! `sluicegate store` and `changes verify --data-dir`: into the store of a daemon that does not run.

use std::process::ExitCode;

use anyhow::bail;

use crate::cli::Offline;

/// Carries it out; what was asked for goes to standard output.
///
/// # Errors
/// When the store cannot be read, or its daemon runs.
pub fn offline(asked: &Offline) -> anyhow::Result<ExitCode> {
    bail!("{asked:?} cannot be done yet")
}
