//! Sluicegate as a contender: its files with all valves open, and the commands that start it. Nothing of it is imported: what it
//! is, these files say.
//!
//! Every valve stands at a value that is asked for each message and lets it pass, so that all of the gate is at work.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::arguments::ourselves;
use crate::{api, directory, free_port};

/// The role of this program as the daemon with a handler.
pub const EMBEDDED: &str = "daemon";

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
pub type Valve<'a> = (&'a str, &'a str, &'a str);

/// What the daemon of a run is told.
pub struct Daemon<'a> {
    /// The broker.
    pub url: &'a str,
    /// Its one queue.
    pub queue: &'a str,
    /// `{ handler = "nothing" }`, or where the worker is, as in the file.
    pub target: &'a str,
    /// Messages at the target at once.
    pub slots: u32,
    /// Further settings of the queue, a line each.
    pub settings: &'a str,
    /// Valves that stand elsewhere.
    pub valves: &'a [Valve<'a>],
}

/// The files of a daemon, and where it answers.
pub struct Files {
    /// The file that it is started with.
    pub config: PathBuf,
    /// The port of its API.
    pub port: u16,
}

impl Daemon<'_> {
    /// Writes the files.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self) -> Result<Files> {
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
        let stands = |name: &str| self.valves.iter().any(|(valve, ..)| *valve == name);
        let open = OPEN.iter().filter(|(name, ..)| !stands(name));
        let flags = open
            .chain(self.valves)
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
    #[must_use]
    pub fn embedded(&self, count: u64) -> Command {
        let mut command = ourselves(EMBEDDED);
        command.arg(&self.config).arg(count.to_string());
        command
    }
}

impl Files {
    /// The program itself, which lies at this path.
    #[must_use]
    pub fn program(&self, path: &str) -> Command {
        let mut command = Command::new(path);
        command.args(["run", "--config"]).arg(&self.config);
        command
    }

    /// How many messages were settled for a reason, such as `skipped`.
    #[must_use]
    pub fn settled(&self, why: &str) -> u64 {
        let page = api::get(self.port, "/metrics").unwrap_or_default();
        let wanted = format!("reason=\"{why}\"");
        let line = page.lines().find(|line| {
            line.starts_with("sluicegate_messages_settled_total") && line.contains(&wanted)
        });
        let number = line.and_then(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        number.map_or(0, |number| number as u64)
    }
}
