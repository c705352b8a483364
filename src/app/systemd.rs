//! What systemd is told, where it listens (`NOTIFY_SOCKET`): that we are ready, how we do, that the file is being read again, that
//! we stop; and that we are alive, only while that is true. Without a listener it costs nothing.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::api::Doors;
use crate::pulse::BEAT;

/// How often the line of `systemctl status` is drawn anew; it is sent when it changed.
const DRAWN_EVERY: Duration = Duration::from_secs(5);
/// A thread that has not turned for so long is not called stuck yet, however short the watchdog's time is.
const PATIENCE: Duration = BEAT.saturating_mul(3);
/// What a stop may take beside the messages at work: the doors close.
const DOORS_CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// Whether somebody listens.
pub(super) fn listens() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// The file is about to be read again. The time is the kernel's own, which systemd compares with its own reading.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) if listens() => tell(&[NotifyState::Reloading, now]),
        _ => {}
    }
}

/// The file was read again, well or not: what was in force or is now, serves.
pub(super) fn reloaded() {
    tell(&[NotifyState::Ready]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(states) {
        tracing::warn!(%why, "systemd could not be told how we do");
    }
}

/// Keeps systemd told; for a house whose doors listen and whose queues were started. That the broker is reached is not asked: an
/// outage must not fail the start, it is said in the status.
pub(super) struct Teller {
    pub(super) doors: Arc<Doors>,
    /// How long a graceful stop may take.
    pub(super) stop_within: Duration,
}

impl Teller {
    pub(super) async fn run(self, stop: CancellationToken) {
        let watchdog = sd_notify::watchdog_enabled();
        let mut said = self.line();
        tell(&[NotifyState::Ready, NotifyState::Status(&said)]);
        let mut redraw = interval(DRAWN_EVERY);
        let mut feed = interval(watchdog.map_or(DRAWN_EVERY, |within| within / 2));
        for each in [&mut redraw, &mut feed] {
            each.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut stopping = false;
        let mut dog = Watchdog::new(watchdog.unwrap_or_default());
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    if !stopping {
                        self.stops(&self.line()); // a stop may be over before we come to it
                    }
                    return;
                }
                () = self.doors.stopping.cancelled(), if !stopping => {
                    stopping = true;
                    said = self.line();
                    self.stops(&said);
                }
                _ = feed.tick(), if watchdog.is_some() => dog.feed(self.pulses()),
                _ = redraw.tick() => {
                    let line = self.line();
                    if line != said {
                        tell(&[NotifyState::Status(&line)]);
                        said = line;
                    }
                }
            }
        }
    }

    /// The stop takes as long as the file allows, whatever the unit says.
    fn stops(&self, line: &str) {
        let within = (self.stop_within + DOORS_CLOSE_WITHIN).as_micros();
        tell(&[
            NotifyState::Stopping,
            NotifyState::ExtendTimeoutUsec(u32::try_from(within).unwrap_or(u32::MAX)),
            NotifyState::Status(line),
        ]);
    }

    /// Each queue's name, and for how long its thread has not turned.
    fn pulses(&self) -> impl Iterator<Item = (&str, Duration)> {
        let now = self.doors.clock.now().mono;
        self.doors.queues.iter().map(move |door| {
            let still = door.vitals.pulse.still_for(now);
            (door.settings.name.as_str(), still)
        })
    }

    fn line(&self) -> String {
        if self.doors.stopping.is_cancelled() {
            let ledgers = self.doors.queues.iter().map(|door| door.metrics.ledger());
            let in_hand = ledgers.map(|ledger| ledger.in_hand).sum();
            return format!(
                "stopping: {} in hand are finished or given back",
                count(in_hand, "message")
            );
        }
        let now = self.doors.clock.now().mono;
        let queues = self.doors.queues.iter().map(|door| {
            let vitals = door.vitals.report(now);
            (
                door.settings.name.as_str(),
                vitals.state,
                vitals.state_detail,
            )
        });
        let openings = self.doors.store.subscribe().borrow().openings().count() as u64;
        status(&queues.collect::<Vec<_>>(), openings)
    }
}

/// One line: how many queues are served, what the first one lacks that is not, and how many openings there are.
fn status(queues: &[(&str, String, String)], openings: u64) -> String {
    let all = queues.len() as u64;
    let idle: Vec<_> = queues
        .iter()
        .filter(|(_, state, _)| state != "consuming")
        .collect();
    let served = match idle.len() as u64 {
        0 => format!("{} consuming", count(all, "queue")),
        idle => format!("{} of {} consuming", all - idle, count(all, "queue")),
    };
    let mut line = format!("{served}, {}", count(openings, "opening"));
    if let Some((name, state, detail)) = idle.first() {
        line += &format!("; {name} {state}");
        if !detail.is_empty() {
            line += &format!(": {detail}");
        }
        if idle.len() > 1 {
            line += &format!(" (and {} more)", idle.len() - 1);
        }
    }
    // A line break would begin another message to systemd.
    line.replace(char::is_control, " ")
}

fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Decides whether the watchdog is fed.
#[derive(Debug)]
struct Watchdog {
    bound: Duration,
    /// Whether it went hungry the last time, so that it is logged once.
    hungry: bool,
}

impl Watchdog {
    /// For a watchdog that bites when it was not fed `within` this time.
    fn new(within: Duration) -> Self {
        Self {
            bound: (within / 2).max(PATIENCE),
            hungry: false,
        }
    }

    /// Feeds it, unless some queue's thread is stuck: the control runtime turns, or we would not be here.
    fn feed<'q>(&mut self, pulses: impl Iterator<Item = (&'q str, Duration)>) {
        match self.stuck(pulses) {
            None => {
                self.hungry = false;
                tell(&[NotifyState::Watchdog]);
            }
            Some((queue, still)) if !self.hungry => {
                self.hungry = true;
                tracing::error!(
                    queue,
                    still_seconds = still.as_secs(),
                    "the thread of this queue does not turn, so the watchdog is not fed; if it stays so, systemd starts us again"
                );
            }
            Some(_) => {}
        }
    }

    /// The first thread that has not turned within the bound.
    fn stuck<'q>(
        &self,
        mut pulses: impl Iterator<Item = (&'q str, Duration)>,
    ) -> Option<(&'q str, Duration)> {
        pulses.find(|(_, still)| *still > self.bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_only_while_every_thread_turns() {
        let check = |watchdog_secs: u64, still: &[(&'static str, u64)], stuck: Option<&str>| {
            let dog = Watchdog::new(Duration::from_secs(watchdog_secs));
            let pulses = still
                .iter()
                .map(|(name, secs)| (*name, Duration::from_secs(*secs)));
            let found = dog.stuck(pulses).map(|(name, _)| name);
            assert_eq!(found, stuck, "{watchdog_secs} s, {still:?}");
        };
        check(30, &[], None);
        check(30, &[("orders", 1), ("mail", 15)], None);
        check(30, &[("orders", 1), ("mail", 16)], Some("mail"));
        check(30, &[("orders", 99), ("mail", 0)], Some("orders"));
        check(1, &[("orders", 3)], None); // a beat or two may be late
        check(1, &[("orders", 4)], Some("orders"));
    }

    #[test]
    fn the_status_is_one_line_that_says_what_lacks() {
        let check = |queues: &[(&str, &str, &str)], openings: u64, line: &str| {
            let queues: Vec<_> = queues
                .iter()
                .map(|(name, state, detail)| (*name, (*state).to_owned(), (*detail).to_owned()))
                .collect();
            assert_eq!(status(&queues, openings), line);
        };
        let (orders, mail) = (("orders", "consuming", ""), ("mail", "consuming", ""));
        check(&[orders, mail], 3, "2 queues consuming, 3 openings");
        check(&[orders], 1, "1 queue consuming, 1 opening");
        let refused = ("mail", "connecting", "connection\nrefused");
        check(
            &[orders, refused],
            0,
            "1 of 2 queues consuming, 0 openings; mail connecting: connection refused",
        );
        check(
            &[("orders", "queue_missing", ""), refused],
            0,
            "0 of 2 queues consuming, 0 openings; orders queue_missing (and 1 more)",
        );
    }
}
