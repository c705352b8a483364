//! Sluicegate as a contender: its files with all valves open, the program itself, and the program that has a handler built in.
//!
//! Every valve stands at a value that is asked for each message and lets it pass, so that all of the gate is at work.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use peers::arguments::ourselves;
use peers::roles::Marks;
use peers::{directory, free_port};
use sluicegate::seams::{Job, Outcome};
use sluicegate::targets::Handlers;
use sluicegate::{app, config};
use tokio_util::sync::CancellationToken;

/// The role of this program as the daemon with a handler.
pub(crate) const EMBEDDED: &str = "daemon";

/// Each valve, its type and a value that lets all pass. Half of the lots are drawn for `skip`, and `protect` exempts them.
const OPEN: &[Valve<'static>] = &[
    ("max_age", "duration", "\"24h\""),
    ("degrade", "string", "\"light\""),
    ("protect", "boolean", "true"),
    ("skip", "ratio", "0.5"),
    ("rate", "rate", "\"1000000/s burst 1000000\""),
    ("rate_each", "rate", "\"1000000/s burst 1000000\""),
    ("concurrency", "integer", "1000"),
    ("concurrency_each", "integer", "1000"),
    ("timeout", "duration", "\"20s\""),
];

/// A valve: name, type, and value as in a file of flags.
pub(crate) type Valve<'a> = (&'a str, &'a str, &'a str);

/// What the daemon of a run is told.
pub(crate) struct Daemon<'a> {
    /// The broker.
    pub(crate) url: &'a str,
    /// Its one queue.
    pub(crate) queue: &'a str,
    /// `{ handler = "nothing" }`, or where the worker is, as in the file.
    pub(crate) target: &'a str,
    /// Messages at the target at once.
    pub(crate) slots: u32,
    /// Further settings of the queue, a line each.
    pub(crate) settings: &'a str,
    /// Valves that stand elsewhere.
    pub(crate) valves: &'a [Valve<'a>],
}

/// The files of a daemon, and where it answers.
pub(crate) struct Files {
    /// The file that it is started with.
    pub(crate) config: PathBuf,
    /// The port of its API.
    pub(crate) port: u16,
}

impl Daemon<'_> {
    /// Writes the files.
    pub(crate) fn write(&self) -> Result<Files> {
        let (home, port) = (directory("daemon"), free_port());
        let Self {
            url,
            queue,
            target,
            slots,
            settings,
            ..
        } = self;
        let text = format!(
            "[daemon]\nlisten = \"127.0.0.1:{port}\"\ndata_dir = \"data\"\nflags_file = \"flags.toml\"\nlog = \"warn\"\n\
             [amqp]\nurl = \"{url}\"\n\
             [[queue]]\nname = \"{queue}\"\ntarget = {target}\nslots = {slots}\nkey = \"account\"\nmodes = [\"light\"]\n{settings}\n\
             attributes = {{ account = \"header:x-account\" }}\n"
        );
        std::fs::write(home.join("sluicegate.toml"), text)?;
        let elsewhere = |name: &str| self.valves.iter().find(|(valve, ..)| *valve == name);
        let flags = OPEN
            .iter()
            .map(|open| elsewhere(open.0).unwrap_or(open))
            .map(|(name, kind, value)| {
                format!("[[flag]]\nkey = \"queue.{queue}.{name}\"\nkind = \"ops\"\ntype = \"{kind}\"\nvalue = {value}\n")
            });
        std::fs::write(home.join("flags.toml"), flags.collect::<String>())?;
        let config = home.join("sluicegate.toml");
        Ok(Files { config, port })
    }
}

impl Files {
    /// This program with the daemon in it and a handler that does nothing, for so many messages.
    pub(crate) fn embedded(&self, count: u64) -> Command {
        let mut command = ourselves(EMBEDDED);
        command.arg(&self.config).arg(count.to_string());
        command
    }
}

impl Files {
    /// The program itself.
    pub(crate) fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
        command.args(["run", "--config"]).arg(&self.config);
        command
    }

    /// How many messages were settled for a reason, such as `skipped`.
    pub(crate) fn settled(&self, why: &str) -> u64 {
        let page = peers::api::get(self.port, "/metrics").unwrap_or_default();
        let wanted = format!("reason=\"{why}\"");
        let line = page.lines().find(|line| {
            line.starts_with("sluicegate_messages_settled_total") && line.contains(&wanted)
        });
        let number = line.and_then(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        number.map_or(0, |number| number as u64)
    }
}

/// Plays [`EMBEDDED`]: until it is told to stop, which is a signal and no business of a benchmark.
pub(crate) fn play(arguments: &[String]) -> Result<()> {
    let file = arguments.first().context("the file is missing")?;
    let count = arguments.get(1).context("the count is missing")?.parse()?;
    let settings = config::read(Path::new(file), &BTreeMap::new())?;
    let marks = Arc::new(Mutex::new(Marks::of(count)));
    let nothing = move |_: Job| {
        let mut marks = marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.begun();
        marks.one();
        std::future::ready(Outcome::Done)
    };
    let handlers = Handlers::default().with("nothing", nothing);
    let stop = CancellationToken::new();
    std::thread::spawn({
        let stop = stop.clone();
        move || stop_when_told(&stop)
    });
    app::run_with(settings, handlers, stop)?;
    Ok(())
}

fn stop_when_told(stop: &CancellationToken) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    if let Ok(runtime) = runtime {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            if let Ok(mut told) = signal(SignalKind::terminate()) {
                told.recv().await;
            }
        });
    }
    stop.cancel();
}
