//! Introduces the rooms to each other, and decides nothing.
//!
//! Each queue's worker runs on a thread and runtime of its own; API, store and scrape on another: a choked door never slows
//! messages, nor the reverse. May import every room but `cli`'s commands.

mod bad_actors;
mod check;
pub mod demo;
mod doubts;
mod ending;
mod entrances;
mod flags_on_disk;
mod house;
mod logging;
mod offline;
pub mod pools;
mod queue_thread;
mod reload;
mod reports;
mod sight;
mod story;
mod surroundings;
mod systemd;
mod tap;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::SchemaOf;
use crate::config::{self, Settings};
use crate::targets::{self, Handlers};
pub use check::check;
pub use demo::demo;
pub use ending::Ended;
use house::House;
pub use offline::offline;
pub use tap::tap;

/// `sluicegate run`: the daemon, until SIGTERM or SIGINT; exit 0 when everything in hand was finished.
///
/// # Errors
/// When it cannot start: the file, the data directory or the address says why.
pub fn run(config: &Path) -> anyhow::Result<ExitCode> {
    let settings = config::read(config, &config::environment())?;
    let log = logging::start(&settings.daemon.log)?;
    let runtime = control_runtime()?;
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut house = House::on_the_broker(settings, Handlers::default()).await?;
        let reload = reload::Reload { file: config.to_owned(), settings: house.settings().clone(), log, doors: Arc::clone(house.doors()), tls: house.tls(), webhooks: house.webhooks() };
        house.also("reload", |stop| reload.run(stop));
        if systemd::listens() {
            // After the reload: once systemd knows that we are ready, it may send SIGHUP.
            let teller = systemd::Teller { doors: Arc::clone(house.doors()), stop_within: house.settings().daemon.stop_within };
            house.also("systemd", |stop| teller.run(stop));
        }
        let ended = tokio::select! {
            ended = house.run(stop.clone()) => ended,
            () = twice_asked_to_stop(stop) => bail!("stopped at once, as asked twice; unfinished messages will be redelivered"),
        };
        Ok(ended)
    })?;
    Ok(report(&ended))
}

/// The daemon inside another program: the same queues, valves and doors, with Rust handlers as targets.
///
/// # Errors
/// When it cannot start.
pub fn run_with(
    settings: Settings,
    handlers: Handlers,
    stop: CancellationToken,
) -> anyhow::Result<Ended> {
    let runtime = control_runtime()?;
    runtime.block_on(async {
        Ok(House::on_the_broker(settings, handlers)
            .await?
            .run(stop)
            .await)
    })
}

/// `sluicegate schema`: the JSON Schema of the file, of a mail job or of a result.
///
/// # Errors
/// When it cannot be written.
pub fn schema(of: SchemaOf) -> anyhow::Result<ExitCode> {
    use std::io::Write;
    let schema = match of {
        SchemaOf::Config => config::schema(),
        SchemaOf::Mail => targets::mail::schema(),
        SchemaOf::Result => targets::results::schema(),
    };
    let text = serde_json::to_string_pretty(&schema)?;
    writeln!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

/// The runtime of everything but messages.
fn control_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")
}

/// The first signal asks for a graceful stop; this ends with the second.
async fn twice_asked_to_stop(stop: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    for _ in 0..2 {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    }
}

fn report(ended: &Ended) -> ExitCode {
    for (queue, id) in &ended.stragglers {
        tracing::warn!(%queue, id, "still at work at the deadline; the broker will redeliver it");
    }
    for task in &ended.tasks {
        tracing::error!(task, "did not end as it should");
    }
    if !ended.cleanly() {
        return ExitCode::FAILURE;
    }
    tracing::info!("stopped: everything in hand was settled");
    ExitCode::SUCCESS
}
