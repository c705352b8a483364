//! The contenders in Rust, by name: what this process does when it was started `as` one of them.

use std::io::Write;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tokio::runtime::Builder;

use crate::arguments::{Arguments, ourselves, role};
use crate::consume::{self, Order};
use crate::post::{self, Posted};
use crate::republish::{self, Republished};
use crate::{work, worker};

/// Says when the first message was there and when the last was done with.
#[derive(Debug)]
pub struct Marks {
    count: u64,
    seen: u64,
    first: Option<Instant>,
}

impl Marks {
    /// For so many messages.
    #[must_use]
    pub fn of(count: u64) -> Self {
        Self {
            count,
            seen: 0,
            first: None,
        }
    }

    /// A message is there.
    pub fn begun(&mut self) {
        if self.first.is_none() {
            self.first = Some(Instant::now());
            say("first");
        }
    }

    /// A message is done with.
    pub fn one(&mut self) {
        self.seen += 1;
        if self.seen == self.count {
            let took = self.first.map_or(0, |first| first.elapsed().as_nanos());
            say(&format!("last {took}"));
        }
    }

    /// How many are missing.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.count.saturating_sub(self.seen)
    }

    /// Whether all are done with.
    #[must_use]
    pub fn done(&self) -> bool {
        self.left() == 0
    }
}

/// Tells the benchmark a line.
pub fn say(line: &str) {
    let mut out = std::io::stdout();
    // An error means that the benchmark is gone, and it ends us.
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// The command that plays a role of this module on an order.
#[must_use]
pub fn command(role: &str, order: &Order) -> Command {
    let mut command = ourselves(role);
    command.args([&order.url, &order.queue]);
    command.args([order.count.to_string(), order.prefetch.to_string()]);
    command
}

/// The runtime that everybody gets who writes `#[tokio::main]`: the role ends so when it has that one.
const AS_IN_README: &str = "-as-in-readme";

/// The whole of a benchmark: plays the role that this process was started for; without one, measures.
///
/// # Errors
/// When the role is not known, or one of the two fails.
pub fn play_or(measure: impl FnOnce(Arguments) -> Result<()>) -> Result<()> {
    match role() {
        Some((role, arguments)) => play(&role, &arguments),
        None => measure(Arguments::read()),
    }
}

/// Plays a role to its end; on a runtime of one thread, which is the fastest for one connection, unless its name says otherwise.
///
/// # Errors
/// When the role is not known, or fails.
pub fn play(role: &str, arguments: &[String]) -> Result<()> {
    let mut runtime = match role.strip_suffix(AS_IN_README) {
        Some(_) => Builder::new_multi_thread(),
        None => Builder::new_current_thread(),
    };
    let role = role.trim_end_matches(AS_IN_README);
    runtime.enable_all().build()?.block_on(async {
        match role {
            "lapin-multiple" => consume::multiple(&order(arguments)?).await,
            "lapin-await" => consume::await_each(&order(arguments)?).await,
            "lapin-republish" => republish::republish(&republished(arguments)?).await,
            "lapin-publish" => republish::publish(&republished(arguments)?).await,
            "lapin-post" => post::post_each(&posted(arguments)?).await,
            "lapin-work" => work::work(&order(arguments)?, arguments.get(4..).unwrap_or(&[])).await,
            "sink" => consume::sink(&order(arguments)?).await,
            "worker" => worker::serve(arguments).await,
            _ => bail!("there is no contender {role:?}"),
        }
    })
}

fn order(arguments: &[String]) -> Result<Order> {
    let at = |index: usize| arguments.get(index).context("an argument is missing");
    Ok(Order {
        url: at(0)?.clone(),
        queue: at(1)?.clone(),
        count: at(2)?.parse()?,
        prefetch: at(3)?.parse()?,
    })
}

fn republished(arguments: &[String]) -> Result<Republished> {
    let stream = arguments.get(5).is_some_and(|kind| kind == "stream");
    Ok(Republished {
        order: order(arguments)?,
        to: arguments.get(4).context("where to is missing")?.clone(),
        stream,
    })
}

fn posted(arguments: &[String]) -> Result<Posted> {
    let slots = arguments.get(5).context("the slots are missing")?;
    Ok(Posted {
        order: order(arguments)?,
        to: arguments.get(4).context("the address is missing")?.clone(),
        slots: slots.parse()?,
    })
}
