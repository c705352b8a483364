//! Introduces the rooms to each other and decides nothing. A stand-in until the rooms are there.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::DemoOptions;

/// Runs the daemon.
///
/// # Errors
/// When it cannot be started.
pub fn run(_config: &Path) -> anyhow::Result<ExitCode> {
    anyhow::bail!("the daemon is not built yet")
}

/// Runs the demo.
///
/// # Errors
/// When it cannot be started.
pub fn demo(_options: DemoOptions) -> anyhow::Result<ExitCode> {
    anyhow::bail!("the demo is not built yet")
}

/// Checks the configuration.
///
/// # Errors
/// When the findings cannot be written.
pub fn check(_config: &Path, _connect: bool, _json: bool) -> anyhow::Result<ExitCode> {
    anyhow::bail!("the check is not built yet")
}

/// Prints the JSON Schema of the configuration.
///
/// # Errors
/// When it cannot be written.
pub fn schema() -> anyhow::Result<ExitCode> {
    anyhow::bail!("the schema is not built yet")
}
