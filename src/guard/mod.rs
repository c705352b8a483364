//! Ends openings when their time is over, or when the queue is well that they are for, step by step where they ask for it, and
//! reminds before. One whose end would hurt is extended, once. Turns knobs through the store like anyone.
//!
//! Wall clocks jump. How far an opening is follows from whichever of two clocks is further: its end on the wall clock, and the time
//! that was left when we first saw it, on the clock that never jumps. Nothing is kept beside the openings themselves, so that a
//! restart needs no more than they say. May import `store`, `notices`, `clock`, `metrics` and `rules`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Now};
use crate::metrics::Metrics;
use crate::notices::Board;
use crate::rules::change::{Actor, Cause, Change, Edit, Refused};
use crate::rules::notice::{Kind, Notice};
use crate::rules::opening::{Opening, Restore};
use crate::rules::record::Touched;
use crate::rules::snapshot::Snapshot;
use crate::store::{Store, Turned};
pub use actors::{TooMuch, degrade};
use health::Health;
pub use health::{Blind, Seen, Sight};
use watch::{Due, LOOK_EVERY, Watch};

mod actors;
mod health;
mod watch;

/// With nothing to do we sleep until a change wakes us, or this long.
const IDLE: Duration = Duration::from_secs(3_600);
/// The longest wait between two tries to write what is owed.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// What the guard works on, and whom it tells.
#[derive(Debug, Clone)]
pub struct Given {
    /// The flags.
    pub store: Arc<Store>,
    /// The board for its notices.
    pub board: Board,
    /// The numbers.
    pub metrics: Arc<Metrics>,
    /// The clock.
    pub clock: Clock,
    /// Who sees how queues do.
    pub sight: Arc<dyn Sight>,
}

/// Ends openings until told to stop.
pub async fn run(given: Given, stop: CancellationToken) {
    let (mut changes, clock) = (given.store.subscribe(), given.clock);
    let mut guard = Guard::new(given);
    loop {
        changes.mark_unchanged();
        let now = clock.now();
        // Closing waits for the disk, so it is done where waiting hurts nobody.
        let ticked = tokio::task::spawn_blocking(move || {
            let next = guard.tick(now);
            (guard, next)
        });
        let next = match ticked.await {
            Ok((back, next)) => {
                guard = back;
                next
            }
            Err(why) => {
                tracing::error!(%why, "the guard failed, so openings no longer end");
                return; // whoever runs us stops the daemon: better none than one that never closes
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            _ = changes.changed() => {}
            () = sleep_until(clock.instant(next)) => {}
        }
    }
}

/// Ends what came to its end while the daemon was down, and takes the steps that came due; called before the first delivery.
pub fn end_what_is_over(given: &Given) {
    Guard::new(given.clone()).tick(given.clock.now());
}

struct Guard {
    given: Given,
    watch: Watch,
    health: Health,
    /// How often in a row what is owed could not be written, and when to try again.
    failed: u32,
    retry_at: Duration,
}

impl Guard {
    fn new(given: Given) -> Self {
        Self {
            given,
            watch: Watch::default(),
            health: Health::default(),
            failed: 0,
            retry_at: Duration::ZERO,
        }
    }

    /// Does what is due; gives the time (since the clock's start) of the next look.
    fn tick(&mut self, now: Now) -> Duration {
        self.end_what_is_well(now);
        let snapshot = self.given.store.snapshot();
        let (due, next) = self.watch.due(&snapshot, now);
        let mut overdue = 0;
        for due in due {
            match due {
                Due::Reminder(opening) => self.remind(&opening, now),
                Due::Step(opening, strength) => self.step(&opening, strength, now),
                Due::End(opening) => overdue += usize::from(!self.end(&opening, now)),
            }
        }
        self.given.metrics.openings().overdue(overdue);
        let next = next.unwrap_or(now.mono + IDLE);
        if self.given.store.owes() {
            next.min(self.write_owed(now))
        } else {
            self.failed = 0;
            next
        }
    }

    fn remind(&self, opening: &Opening, now: Now) {
        let flags: Vec<&str> = opening.values.iter().map(|(key, _)| key.as_str()).collect();
        tracing::warn!(
            id = %opening.id, owner = opening.owner, opened_because = opening.reason, flags = flags.join(", "),
            ends_in_s = (opening.ends_at_ms - now.ms) / 1_000,
            "an opening ends soon; extend it if it is still needed"
        );
        self.given.metrics.openings().reminded();
        self.tell(Kind::Reminder, opening, now);
    }

    /// Ends the openings whose queues are well, or has them begin their way back.
    fn end_what_is_well(&mut self, now: Now) {
        let snapshot = self.given.store.snapshot();
        self.health.retain(&snapshot);
        for opening in snapshot.openings() {
            let sight = Arc::clone(&self.given.sight);
            if let Some(why) = self.health.ends(&*sight, &snapshot, opening, now) {
                self.is_well(opening, &why, now);
            }
        }
    }

    fn is_well(&mut self, opening: &Opening, why: &str, now: Now) {
        let (id, owner) = (opening.id, &opening.owner);
        let goes_back = opening.restore != Restore::Snap;
        let edit = match goes_back {
            true => Edit::Ramp(id, 1.0),
            false => Edit::Close(id),
        };
        match self.turn(edit, Cause::Health, why, now) {
            Ok(_) if goes_back => {
                tracing::info!(%id, owner, opened_because = opening.reason, why, "an opening goes back in steps: its queue is well");
                self.health.goes_back(id);
                self.tell(Kind::Ramping, opening, now);
            }
            Ok(_) => {
                tracing::info!(%id, owner, opened_because = opening.reason, why, "an opening ended: its queue is well");
            }
            Err(Refused::NoOpening(_)) => {} // somebody closed it just now
            Err(refused) => {
                tracing::error!(%id, %refused, "an opening could not be ended though its queue is well; it is tried again");
            }
        }
    }

    /// Whether an opening whose time is over lasts longer, because its end would hurt now.
    fn is_extended(&self, opening: &Opening, now: Now) -> bool {
        let snapshot = self.given.store.snapshot();
        let found = health::extension(&*self.given.sight, &snapshot, opening, now.mono);
        let Some((by, why)) = found else {
            return false;
        };
        let (id, ends_at_ms) = (opening.id, now.ms.saturating_add(by.as_millis()));
        match self.turn(Edit::Extend(id, ends_at_ms), Cause::Health, &why, now) {
            Ok(_) => {
                tracing::warn!(
                    %id, owner = opening.owner, opened_because = opening.reason, by = %by, why,
                    "an opening was extended by itself: its end would hurt now; it will not be extended so again"
                );
                self.given.metrics.openings().extended();
                true
            }
            Err(Refused::NoOpening(_)) => true, // somebody closed it just now
            Err(refused) => {
                tracing::error!(%id, %refused, "an opening whose end would hurt could not be extended, and ends");
                false
            }
        }
    }

    fn step(&self, opening: &Opening, strength: f64, now: Now) {
        let edit = Edit::Ramp(opening.id, strength);
        let begins = opening.strength >= 1.0 && !opening.beneath;
        if begins && self.is_extended(opening, now) {
            return;
        }
        if begins && self.health.is_to_be_told(opening.id) {
            tracing::info!(
                id = %opening.id, owner = opening.owner, opened_because = opening.reason, over_s = opening.way_back().as_secs(),
                "an opening goes back in steps: its time is over"
            );
            self.tell(Kind::Ramping, opening, now);
        }
        match self.turn(edit, Cause::Expiry, "it goes back in steps", now) {
            Ok(_) | Err(Refused::NoOpening(_)) => {} // somebody closed it just now
            Err(refused) => {
                tracing::error!(id = %opening.id, %refused, "an opening could not go back a step; it is tried again");
            }
        }
    }

    /// Whether it is closed or extended now.
    fn end(&mut self, opening: &Opening, now: Now) -> bool {
        let (id, owner, why) = (opening.id, &opening.owner, &opening.reason);
        if opening.strength >= 1.0 && self.is_extended(opening, now) {
            return true;
        }
        match self.turn(Edit::Close(id), Cause::Expiry, "its time was over", now) {
            Ok(Turned::Written) => {
                tracing::info!(%id, owner, opened_because = why, "an opening ended: its time was over");
            }
            Ok(Turned::Owed(_)) | Err(Refused::NoOpening(_)) => {} // the store said so; somebody closed it just now
            Err(refused) => {
                if self.watch.is_news(id) {
                    tracing::error!(%id, owner, %refused, "an opening could not be ended; it is tried again each second");
                    self.tell(Kind::Overdue, opening, now);
                }
                return false;
            }
        }
        true
    }

    fn turn(&self, edit: Edit, cause: Cause, why: &str, now: Now) -> Result<Turned, Refused> {
        self.given.store.turn_even_unwritten(&Change {
            cause,
            ..Change::new(edit, Actor::new("guard", "guard"), why, now.ms)
        })
    }

    /// Tells what the flags under an opening say now, and will say without it.
    fn tell(&self, kind: Kind, opening: &Opening, now: Now) {
        let snapshot = self.given.store.snapshot();
        let (edit, guard) = (Edit::Close(opening.id), Actor::new("guard", "guard"));
        let without = snapshot.with(&Change::new(edit, guard, "what if", now.ms));
        let without = without.as_ref().unwrap_or(&snapshot);
        let flags = opening.values.iter().map(|(flag, _)| {
            let says = |of: &Snapshot| {
                let said = of.value(flag.as_str());
                said.map(|(value, _)| value.to_json()).unwrap_or_default()
            };
            Touched {
                flag: flag.clone(),
                before: says(&snapshot),
                after: says(without),
            }
        });
        let flags = flags.collect();
        let board = &self.given.board;
        board.put(Notice::by_itself(
            kind,
            opening,
            flags,
            now.ms,
            snapshot.revision(),
        ));
    }

    /// Tries to write what is owed when it is time to; gives the time of the next try.
    fn write_owed(&mut self, now: Now) -> Duration {
        if now.mono < self.retry_at {
            return self.retry_at;
        }
        match self.given.store.write_owed() {
            Ok(()) => {
                self.failed = 0;
                return now.mono + IDLE;
            }
            Err(why) => {
                tracing::error!(%why, tries = self.failed + 1, "changes are in force in memory alone");
            }
        }
        let wait = LOOK_EVERY.saturating_mul(1 << self.failed.min(6));
        self.failed = self.failed.saturating_add(1);
        self.retry_at = now.mono + wait.min(LONGEST_RETRY);
        self.retry_at
    }
}

#[cfg(test)]
mod tests;
