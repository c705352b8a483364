//! Logs: for people on a terminal, JSON lines elsewhere; the filter can be changed while running.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// Changes the log filter while running.
#[derive(Debug, Clone)]
pub(super) struct LogFilter(reload::Handle<EnvFilter, Registry>);

impl LogFilter {
    pub(super) fn change(&self, filter: &str) -> anyhow::Result<()> {
        self.0
            .reload(parse(filter)?)
            .context("the log filter could not be changed")
    }
}

/// Starts logging to standard error. A panic is logged by its place, never by its message: that could hold what nobody shall see.
pub(super) fn start(filter: &str) -> anyhow::Result<LogFilter> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let people = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if people {
        lines.with_target(false).boxed()
    } else {
        lines.json().flatten_event(true).boxed()
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .context("logging was started twice")?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "a task panicked");
    }));
    Ok(LogFilter(handle))
}

/// The filter as written; the AMQP client is kept quiet whatever it says.
fn parse(filter: &str) -> anyhow::Result<EnvFilter> {
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!("{filter:?} is not a log filter; write \"info\" or \"sluicegate=debug,info\"")
    })?;
    Ok(filter.add_directive(crate::amqp::CLIENT_LOGS.parse()?))
}
