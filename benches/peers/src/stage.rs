//! The stage: a RabbitMQ node of our own on all cores, and one run of one contender on it.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::broker::Broker;
use crate::keeper::directory;
use crate::load::{Load, fill};
use crate::processes::{Process, cores, cpu_of_group, cpu_of_machine};

/// How long a contender may take to get its first message.
const START: Duration = Duration::from_secs(60);
/// How long it may take for all.
const LONGEST: Duration = Duration::from_secs(600);

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
        std::thread::sleep(Duration::from_millis(300));
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
        process.stop();
        let left = self.left(&load.queue);
        self.clear();
        ensure!(left == 0, "{left} of {} were not settled", load.count);
        let seconds = took.parse::<f64>().context("`last` tells no time")? / 1e9;
        Ok(run(load.count - 1, seconds, before, after))
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
