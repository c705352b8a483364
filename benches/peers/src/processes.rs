//! Processes on the stage: what they say, and how much processor time they and everybody else used.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::keeper::{Kept, directory, tail};

/// The kernel counts processor time in hundredths of a second.
const TICKS: f64 = 100.0;

/// A running contender, in a process group of its own. Dropping it ends it.
pub struct Process {
    kept: Kept,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Process {
    /// Starts it. What it writes to standard error is shown when it fails.
    ///
    /// # Errors
    /// When there is no pipe or file for what it says.
    pub fn start(mut command: Command) -> Result<Self> {
        let home = directory("contender");
        let log = home.join("log");
        let (reader, writer) = std::io::pipe()?;
        command.stdout(writer).stderr(File::create(&log)?);
        let kept = Kept::start(&mut command);
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines() {
                let Ok(line) = line else { return };
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { kept, lines, log })
    }

    /// Waits for the line that begins with `word`, and gives what follows it.
    ///
    /// # Errors
    /// When it ends before, or does not say it in time.
    pub fn says(&mut self, word: &str, within: Duration) -> Result<String> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(word) {
                        return Ok(rest.trim().to_owned());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("it did not say {word:?} within {within:?}\n{}", self.log())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("it ended without saying {word:?}\n{}", self.log())
                }
            }
        }
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When it has ended: what it complained of.
    pub fn must_run(&mut self) -> Result<()> {
        ensure!(self.kept.running(), "it has ended\n{}", self.log());
        Ok(())
    }

    /// Processor time of its whole group so far, in seconds.
    #[must_use]
    pub fn cpu(&self) -> f64 {
        cpu_of_group(self.kept.id())
    }

    /// Nanoseconds of processor time of each of its threads so far: where little is used, [`Process::cpu`] is too coarse.
    #[must_use]
    pub fn cpu_by_thread(&self) -> BTreeMap<OsString, u64> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.kept.id()));
        let threads = threads.into_iter().flatten().flatten();
        let each = threads.filter_map(|thread| {
            let used = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            Some((thread.file_name(), used.split(' ').next()?.parse().ok()?))
        });
        each.collect()
    }

    /// Resident memory of its whole group, in MiB.
    #[must_use]
    pub fn resident(&self) -> f64 {
        let pages: u64 = group(self.kept.id()).map(|process| process.resident).sum();
        pages as f64 * 4096.0 / 1_048_576.0
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.kept.id()
    }

    /// Asks it to stop, and waits.
    pub fn stop(mut self) {
        if self.kept.running() {
            self.kept.signal("TERM");
            let deadline = Instant::now() + Duration::from_secs(20);
            while self.kept.running() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    fn log(&self) -> String {
        tail(&self.log, 30)
    }
}

/// Processor time of a process group so far, in seconds.
#[must_use]
pub fn cpu_of_group(id: u32) -> f64 {
    group(id).map(|process| process.ticks).sum::<u64>() as f64 / TICKS
}

/// Processor time that the whole machine used so far, in seconds.
///
/// # Errors
/// When the system does not tell.
pub fn cpu_of_machine() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let numbers = line.split_whitespace().skip(1).map(str::parse::<u64>);
    let numbers: Vec<u64> = numbers.collect::<Result<_, _>>()?;
    // user nice system idle iowait irq softirq steal
    let busy = |(at, ticks): (usize, &u64)| (![3, 4].contains(&at)).then_some(*ticks);
    let used: u64 = numbers.iter().take(8).enumerate().filter_map(busy).sum();
    Ok(used as f64 / TICKS)
}

/// How many cores there are.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

struct Usage {
    ticks: u64,
    resident: u64,
}

fn group(id: u32) -> impl Iterator<Item = Usage> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(move |entry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name in parentheses may hold anything; state is the first field after it.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        (number(2)? == u64::from(id)).then_some(())?;
        Some(Usage {
            ticks: number(11)? + number(12)?,
            resident: number(21)?,
        })
    })
}
