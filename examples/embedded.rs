//! A worker in Rust with the gate built in: the daemon's queues, valves and doors in your own program, and no HTTP between the gate
//! and your code. `sluicegate flag open queue.tasks.skip 50% …` works as ever.
//!
//! `cargo run --example embedded`, with `task_queuer` to bring jobs
#![expect(clippy::print_stdout, reason = "an example talks to people")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use sluicegate::app;
use sluicegate::config;
use sluicegate::seams::{Job, Outcome};
use sluicegate::targets::Handlers;
use tokio_util::sync::CancellationToken;

fn main() -> Result<()> {
    // The queue's target is `{ handler = "resize" }`: the name under which it is given here.
    let settings = config::read(Path::new("examples/embedded.toml"), &BTreeMap::new())?;
    let handlers = Handlers::default().with("resize", resize);
    let stop = CancellationToken::new();
    std::thread::spawn({
        let stop = stop.clone();
        move || stop_at_ctrl_c(&stop)
    });
    app::run_with(settings, handlers, stop)?;
    println!("everything in hand was finished");
    Ok(())
}

/// Does one job. What it returns decides what becomes of the message; a panic is tried again, as often as `attempts` allow.
async fn resize(job: Job) -> Outcome {
    if job.raw.body.is_empty() {
        return Outcome::Failed("there is no picture in it".to_owned()); // becomes a dead letter with this cause
    }
    let light = job.mode.is_some(); // the valve `degrade` asks for less
    let effort = Duration::from_millis(if light { 25 } else { 100 });
    tokio::time::sleep(effort).await; // the work; what keeps a processor busy belongs into `spawn_blocking`
    Outcome::Done
}

fn stop_at_ctrl_c(stop: &CancellationToken) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    if let Ok(runtime) = runtime {
        let _ = runtime.block_on(tokio::signal::ctrl_c());
    }
    stop.cancel();
}
