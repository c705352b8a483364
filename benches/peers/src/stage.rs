//! The stage: a RabbitMQ node of our own on all cores, and one run of one contender on it.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::broker::Broker;
use crate::keeper::directory;
use crate::load::{Load, fill};
use crate::processes::{Process, cores, cpu_of_group, cpu_of_machine};

/// How long a contender may take to get its first message.
const START: Duration = Duration::from_secs(60);
/// How long it may take for all.
const LONGEST: Duration = Duration::from_secs(600);
/// How long after the last message the broker may take to know of it.
const LAST_SETTLEMENT: Duration = Duration::from_secs(15);
/// What the broker is given to come to rest.
const REST: Duration = Duration::from_millis(300);
/// How often it is asked how far it is.
const LOOK: Duration = Duration::from_millis(20);

/// The node.
pub struct Stage {
    broker: Broker,
    node: u32,
    vhost: String,
    runtime: tokio::runtime::Runtime,
}

/// What one run of one contender took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Run {
    /// Messages between the first and the last.
    pub messages: u64,
    /// Seconds between them.
    pub seconds: f64,
    /// Processor time of the contender between them, in seconds.
    pub client: f64,
    /// Processor time of the broker.
    pub broker: f64,
    /// The share of the machine that others used meanwhile, from 0 to 1.
    pub foreign: f64,
}

impl Run {
    /// Messages a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds.max(1e-9)
    }

    /// Processor seconds of contender and broker for 100,000 messages: what decides on a machine that has no more to give.
    #[must_use]
    pub fn all_per_100k(&self) -> f64 {
        self.per_100k(self.client + self.broker)
    }

    /// Processor seconds for 100,000 messages.
    #[must_use]
    pub fn per_100k(&self, seconds: f64) -> f64 {
        seconds * 100_000.0 / (self.messages as f64).max(1.0)
    }
}

/// Where all counters stood at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Counters {
    client: f64,
    broker: f64,
    machine: f64,
    own: f64,
}

impl Stage {
    /// Starts a node with these plugins.
    ///
    /// # Errors
    /// When it cannot be spoken to.
    pub fn start(plugins: &[&str]) -> Result<Self> {
        let home = directory("broker");
        let plugins = format!("[{}].", plugins.join(","));
        std::fs::write(home.join("plugins"), plugins)?;
        let broker = Broker::start_with(home, "", cores());
        let node = broker.eval("os:getpid().");
        let node = node.trim_matches('"').parse();
        let vhost = broker.vhost("bench");
        Ok(Self {
            node: node.context("the node says no process id")?,
            broker,
            vhost,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        })
    }

    /// The broker's address.
    #[must_use]
    pub fn url(&self) -> String {
        self.broker.url(&self.vhost)
    }

    /// Its vhost.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// Runs something that waits for the broker.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Evaluates Erlang at the node.
    #[must_use]
    pub fn eval(&self, expression: &str) -> String {
        self.broker.eval(expression)
    }

    /// Fills the queue, and lets the broker come to rest.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn fill(&self, load: &Load) -> Result<()> {
        self.wait(fill(&self.url(), load))?;
        // A large queue goes on sorting its memory for a moment.
        std::thread::sleep(if load.count < 10_000 { LOOK } else { REST });
        Ok(())
    }

    /// How many messages lie in a queue, those that are out included.
    #[must_use]
    pub fn left(&self, queue: &str) -> u64 {
        let all = self.broker.messages(&self.vhost).unwrap_or_default();
        all.iter()
            .find(|(name, _)| name == queue)
            .map_or(0, |(_, count)| *count)
    }

    /// Removes every queue, with what is in it.
    pub fn clear(&self) {
        let _ = self.eval(&format!(
            "[begin {{ok, Q}} = rabbit_amqqueue:lookup(N), rabbit_amqqueue:delete(Q, false, false, <<\"bench\">>) end || \
             N <- rabbit_amqqueue:list_names(<<\"{}\">>)].",
            self.vhost
        ));
    }

    /// Fills a queue, lets the contender empty it, and says what that took; ends with the queue empty or an error.
    ///
    /// # Errors
    /// When the contender fails, or leaves messages unsettled.
    pub fn drain(&self, load: &Load, contender: Command) -> Result<Run> {
        self.fill(load)?;
        let mut process = Process::start(contender)?;
        process.says("first", START)?;
        let before = self.counters(process.cpu())?;
        let took = process.says("last", LONGEST)?;
        let after = self.counters(process.cpu())?;
        self.settled(load)?;
        Ok(run(load.count - 1, nanoseconds(&took)?, before, after))
    }

    /// As [`Stage::drain`], with somebody else at the end of the way who gets the messages and says `first` and `last`: a worker
    /// or a sink, which says `ready` when it is. Without a contender the broker itself does the work.
    ///
    /// # Errors
    /// When one of them fails, or messages are left unsettled.
    pub fn drain_into(
        &self,
        load: &Load,
        contender: Option<Command>,
        end: Command,
        start: impl FnOnce() -> Result<()>,
    ) -> Result<Run> {
        self.fill(load)?;
        let mut end = Process::start(end)?;
        end.says("ready", START)?;
        let mut process = contender.map(Process::start).transpose()?;
        start()?;
        let deadline = Instant::now() + START;
        while let Err(error) = end.says("first", Duration::from_millis(500)) {
            if let Some(process) = &mut process {
                process.must_run()?;
            }
            if Instant::now() > deadline {
                return Err(error);
            }
        }
        let cpu = || process.as_ref().map_or(0.0, Process::cpu);
        let (others, before) = (end.cpu(), self.counters(cpu())?);
        let took = end.says("last", LONGEST)?;
        let (others, mut after) = (end.cpu() - others, self.counters(cpu())?);
        after.own += others; // the end of the way is the same for all, and no stranger
        self.settled(load)?;
        Ok(run(load.count - 1, nanoseconds(&took)?, before, after))
    }

    /// As [`Stage::drain`], for a contender that says nothing: `settled` is asked how far it is.
    ///
    /// # Errors
    /// When it fails, takes too long, or leaves messages unsettled.
    pub fn drain_watched(
        &self,
        load: &Load,
        contender: Command,
        settled: impl Fn() -> u64,
    ) -> Result<Run> {
        self.fill(load)?;
        let process = Process::start(contender)?;
        let deadline = Instant::now() + LONGEST;
        let mut begun = None;
        loop {
            let (at, count) = (Instant::now(), settled());
            ensure!(at < deadline, "{count} of {} after {LONGEST:?}", load.count);
            match begun {
                None if count > 0 => begun = Some((at, count, self.counters(process.cpu())?)),
                Some((since, first, before)) if count >= load.count => {
                    let after = self.counters(process.cpu())?;
                    self.settled(load)?;
                    return Ok(run(
                        count - first,
                        (at - since).as_secs_f64(),
                        before,
                        after,
                    ));
                }
                _ => {}
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Lets the contender publish what it says by itself, and removes it again.
    ///
    /// # Errors
    /// When it fails.
    pub fn publish(&self, load: &Load, contender: Command) -> Result<Run> {
        let mut process = Process::start(contender)?;
        process.says("first", START)?;
        let before = self.counters(process.cpu())?;
        let took = process.says("last", LONGEST)?;
        let after = self.counters(process.cpu())?;
        self.clear();
        Ok(run(load.count, nanoseconds(&took)?, before, after))
    }

    /// Waits until nothing is left in the queue, and removes it. Only then may the contender be ended.
    fn settled(&self, load: &Load) -> Result<()> {
        let deadline = Instant::now() + LAST_SETTLEMENT;
        let left = loop {
            let left = self.left(&load.queue);
            if left == 0 || Instant::now() > deadline {
                break left;
            }
            std::thread::sleep(LOOK);
        };
        self.clear();
        ensure!(left == 0, "{left} of {} were not settled", load.count);
        Ok(())
    }

    /// Where the counters stand; `client` is what the contender used so far.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn counters(&self, client: f64) -> Result<Counters> {
        Ok(Counters {
            client,
            broker: cpu_of_group(self.node),
            machine: cpu_of_machine()?,
            own: cpu_of_ourselves(),
        })
    }
}

/// The benchmark itself, which is no part of what is measured and no stranger either.
fn cpu_of_ourselves() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat
        .rsplit_once(") ")
        .map_or("", |(_, fields)| fields)
        .split(' ');
    let ticks = fields.skip(11).take(2).flat_map(str::parse::<f64>);
    ticks.sum::<f64>() / 100.0
}

fn nanoseconds(told: &str) -> Result<f64> {
    Ok(told.parse::<f64>().context("`last` tells no time")? / 1e9)
}

/// What happened between two moments.
#[must_use]
pub fn run(messages: u64, seconds: f64, before: Counters, after: Counters) -> Run {
    let (client, broker) = (after.client - before.client, after.broker - before.broker);
    let ours = client + broker + after.own - before.own;
    let foreign = (after.machine - before.machine - ours) / (seconds * cores() as f64).max(1e-9);
    Run {
        messages,
        seconds,
        client,
        broker,
        foreign: foreign.clamp(0.0, 1.0),
    }
}
