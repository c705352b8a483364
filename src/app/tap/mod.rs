//! `sluicegate tap`: a look at what comes to a queue, by a small queue of our own beside it. Takes nothing from anybody, needs no
//! daemon, and leaves the broker as it found it. What is seen goes to standard output, all else to standard error.

mod page;
mod refused;
mod report;
mod seen;
mod ways;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use crate::amqp::beside::{Beside, NotBeside};
use crate::cli::TapOptions;
use crate::clock::Clock;
use crate::config::{self, Queue, Settings};
use crate::management::{self, Client};
use crate::rules::binding::{Binding, Bound};
use refused::Refused;
use seen::Seen;

/// Between two looks at how full our own queue is; sooner when much came.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two questions whether the queue and its bindings are still there.
const STILL_THERE_EVERY: Duration = Duration::from_secs(10);

/// Looks, until the time is over or somebody asks it to stop.
///
/// # Errors
/// When the process cannot be set up, or what is seen cannot be written.
pub fn tap(options: &TapOptions, as_json: bool) -> anyhow::Result<ExitCode> {
    let settings = match config::read(&options.config, &config::environment()) {
        Ok(settings) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            let sentence = format!("{} cannot be used; mend it first", options.config.display());
            return Ok(Refused::new(1, sentence).tell(as_json));
        }
    };
    let runtime = super::control_runtime()?;
    let local = tokio::task::LocalSet::new();
    let ended = local.block_on(&runtime, look(options, &settings, as_json))?;
    Ok(ended.map_or_else(|refused| refused.tell(as_json), |()| ExitCode::SUCCESS))
}

/// Errors of writing are the outer ones: nobody reads what is seen.
async fn look(
    options: &TapOptions,
    settings: &Settings,
    as_json: bool,
) -> anyhow::Result<Result<(), Refused>> {
    let mut stop = Stop::listening()?;
    let clock = Clock::system();
    let queue = match ways::queue(settings, &options.queue) {
        Ok(queue) => queue,
        Err(refused) => return Ok(Err(refused)),
    };
    let opened = async {
        let client = settings.management.as_ref().map(Client::new).transpose()?;
        let bound = ways::ways(options, settings, queue, client.as_ref()).await?;
        let bindings: Vec<Binding> = bound.iter().map(|one| one.binding.clone()).collect();
        let beside = Beside::open(&settings.amqp, queue, &bindings).await?;
        Ok::<_, Refused>((client, bound, beside))
    };
    let (client, bound, beside) = tokio::select! {
        opened = opened => match opened {
            Ok(opened) => opened,
            Err(refused) => return Ok(Err(refused)),
        },
        () = stop.asked() => return Ok(Ok(())),
    };
    eprintln!("{}", page::begins(options, &bound, beside.name()));
    let seen = Seen::new(clock, queue, options);
    let mut tap = Tap {
        options,
        settings,
        queue,
        client,
        bound,
        beside,
        seen,
        as_json,
        terminal: std::io::stdout().is_terminal(),
    };
    let ended = tap.run(&mut stop).await;
    // Whether all was seen to the end; where the connection is lost that has been said.
    let _ = tap.look().await;
    tap.published().await;
    let Tap {
        beside, mut seen, ..
    } = tap;
    beside.remove().await;
    let ended = ended?;
    let report = seen.report(true);
    let words = if as_json {
        serde_json::to_string(&report)?
    } else {
        page::whole(&report, queue.name.as_str())
    };
    writeln!(std::io::stdout(), "{words}")?;
    Ok(ended)
}

/// The signals that end it.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listening() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Cancel safe.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

struct Tap<'o> {
    options: &'o TapOptions,
    settings: &'o Settings,
    queue: &'o Queue,
    client: Option<Client>,
    bound: Vec<Bound>,
    beside: Beside,
    seen: Seen,
    as_json: bool,
    terminal: bool,
}

impl Tap<'_> {
    async fn run(&mut self, stop: &mut Stop) -> anyhow::Result<Result<(), Refused>> {
        let end = self.seen.since() + self.options.lasting.get();
        let mut looks = ticks(self.seen.since(), LOOK_EVERY);
        let mut lines = ticks(self.seen.since(), self.options.every.get());
        let mut still_there = ticks(self.seen.since(), STILL_THERE_EVERY);
        if let Err(refused) = self.still_there().await {
            return Ok(Err(refused));
        }
        loop {
            let turn = tokio::select! {
                biased;
                () = stop.asked() => return Ok(Ok(())),
                () = sleep_until(end) => return Ok(Ok(())),
                _ = lines.tick() => {
                    self.line()?;
                    continue;
                }
                _ = still_there.tick() => self.still_there().await,
                _ = looks.tick() => self.look().await,
                came = self.beside.next() => self.came(came).await,
            };
            if let Err(refused) = turn {
                return Ok(Err(refused));
            }
        }
    }

    async fn came(
        &mut self,
        came: Result<crate::rules::message::Raw, NotBeside>,
    ) -> Result<(), Refused> {
        self.seen.came(&came?);
        self.beside.acknowledge(false).await?;
        if self.seen.wants_a_look() {
            return self.look().await;
        }
        Ok(())
    }

    /// How full our own queue is: whether anything may have fallen out of it.
    async fn look(&mut self) -> Result<(), Refused> {
        self.beside.acknowledge(true).await?;
        let fill = self.beside.own_fill().await?;
        self.seen.looked(fill.ready);
        Ok(())
    }

    /// Without the queue, or one of its bindings, messages that nobody else is bound to take would end with us, and not go back to
    /// their publisher or to an alternate exchange as they should.
    async fn still_there(&mut self) -> Result<(), Refused> {
        let theirs = self.beside.their_fill().await.map_err(|why| match why {
            NotBeside::Missing(said) => Refused::new(
                3,
                format!("the queue is gone while it was looked at: {said}"),
            ),
            other => other.into(),
        })?;
        self.seen.theirs(theirs);
        self.published().await;
        let Some(client) = self
            .client
            .as_ref()
            .filter(|_| !self.options.names_a_binding())
        else {
            return Ok(());
        };
        let vhost = self.settings.vhost_of(self.queue);
        // While the API does not answer nothing is known, and the look goes on.
        let Ok(Some(now)) = management::bound(client, vhost, &self.queue.broker_name).await else {
            return Ok(());
        };
        match self.bound.iter().find(|one| !now.contains(one)) {
            None => Ok(()),
            Some(gone) => Err(Refused::new(
                6,
                format!(
                    "{} is not bound to {} by {:?} any more: the tap ends, so that what nobody else takes goes back to its publisher",
                    self.queue.name, gone.binding.exchange, gone.binding.key
                ),
            )),
        }
    }

    /// What the broker says was published to our queue: more than came is what fell out of it. Asked where anything may have.
    async fn published(&mut self) {
        if self.seen.surely_complete() {
            return;
        }
        let Some(client) = &self.client else { return };
        let vhost = self.settings.vhost_of(self.queue);
        if let Ok(Some(count)) = management::published(client, vhost, self.beside.name()).await {
            self.seen.published(count);
        }
    }

    fn line(&mut self) -> anyhow::Result<()> {
        let report = self.seen.report(false);
        let mut out = std::io::stdout();
        if self.as_json {
            writeln!(out, "{}", serde_json::to_string(&report)?)?;
            return Ok(());
        }
        if page::wants_a_head(self.seen.lines(), self.terminal) {
            writeln!(out, "{}", page::head())?;
        }
        writeln!(out, "{}", page::line(&report))?;
        Ok(())
    }
}

fn ticks(from: Instant, every: Duration) -> tokio::time::Interval {
    let mut ticks = interval_at(from + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
