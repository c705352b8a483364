//! Ends openings when their time is over, and reminds before. Turns knobs through the store like anyone.
//!
//! Wall clocks jump. An opening ends at the earlier of two: its end on the wall clock, and the time that was left when we first
//! saw it, on the clock that never jumps. May import `store`, `clock` and `rules`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Now};
use crate::rules::change::{Actor, Cause, Change, Edit, Refused};
use crate::rules::opening::{Opening, OpeningId};
use crate::rules::snapshot::Snapshot;
use crate::store::{Store, Turned};

/// So long before the end we remind.
const REMIND_BEFORE: Duration = Duration::from_secs(5 * 60);
/// While something is open we look this often whether the wall clock has jumped.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// With nothing to do we sleep until a change wakes us, or this long.
const IDLE: Duration = Duration::from_secs(3_600);
/// The longest wait between two tries to write what is owed.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Ends openings until told to stop.
pub async fn run(store: Arc<Store>, clock: Clock, stop: CancellationToken) {
    let mut changes = store.subscribe();
    let mut guard = Guard::new(store);
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

/// Ends what came to its end while the daemon was down; called before the first delivery is taken.
pub fn end_what_is_over(store: &Arc<Store>, clock: &Clock) {
    Guard::new(Arc::clone(store)).tick(clock.now());
}

struct Guard {
    store: Arc<Store>,
    watch: Watch,
    /// How often in a row what is owed could not be written, and when to try again.
    failed: u32,
    retry_at: Duration,
}

impl Guard {
    fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            watch: Watch::default(),
            failed: 0,
            retry_at: Duration::ZERO,
        }
    }

    /// Does what is due; gives the time (since the clock's start) of the next look.
    fn tick(&mut self, now: Now) -> Duration {
        let snapshot = self.store.snapshot();
        for opening in self.watch.soon_over(&snapshot, now) {
            remind(opening, now);
        }
        for opening in self.watch.over(&snapshot, now) {
            self.end(opening, now);
        }
        let next = self.watch.next_look(now);
        if self.store.owes() {
            next.min(self.write_owed(now))
        } else {
            self.failed = 0;
            next
        }
    }

    fn end(&self, opening: &Opening, now: Now) {
        let (edit, by) = (Edit::Close(opening.id), Actor::new("guard", "guard"));
        let change = Change {
            cause: Cause::Expiry,
            ..Change::new(edit, by, "its time was over", now.ms)
        };
        let (id, owner, why) = (opening.id, &opening.owner, &opening.reason);
        match self.store.turn_even_unwritten(&change) {
            Ok(Turned::Written) => {
                tracing::info!(%id, owner, opened_because = why, "an opening ended: its time was over");
            }
            Ok(Turned::Owed(_)) | Err(Refused::NoOpening(_)) => {} // the store said so; somebody closed it just now
            Err(refused) => {
                tracing::error!(%id, owner, %refused, "an opening could not be ended; it is tried again");
            }
        }
    }

    /// Tries to write what is owed when it is time to; gives the time of the next try.
    fn write_owed(&mut self, now: Now) -> Duration {
        if now.mono < self.retry_at {
            return self.retry_at;
        }
        match self.store.write_owed() {
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

fn remind(opening: &Opening, now: Now) {
    let flags: Vec<&str> = opening.values.iter().map(|(key, _)| key.as_str()).collect();
    tracing::warn!(
        id = %opening.id, owner = opening.owner, opened_because = opening.reason, flags = flags.join(", "),
        ends_in_s = (opening.ends_at_ms - now.ms) / 1_000,
        "an opening ends soon; open it again if it is still needed"
    );
}

/// The ends that we wait for.
#[derive(Debug, Default)]
struct Watch {
    ends: BTreeMap<OpeningId, End>,
}

#[derive(Debug, Clone, Copy)]
struct End {
    wall_ms: i64,
    mono: Duration,
    reminded: bool,
}

impl End {
    fn of(opening: &Opening, now: Now) -> Self {
        let length = opening.ends_at_ms.saturating_sub(opening.opened_at_ms);
        let left = opening.ends_at_ms.saturating_sub(now.ms).min(length); // a clock that was set back gives nobody more time
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        Self {
            wall_ms: opening.ends_at_ms,
            mono: now.mono.saturating_add(left),
            reminded: Duration::from_millis(u64::try_from(length).unwrap_or(0)) <= REMIND_BEFORE,
        }
    }

    fn is_over(self, now: Now) -> bool {
        now.ms >= self.wall_ms || now.mono >= self.mono
    }

    fn is_soon_over(self, now: Now) -> bool {
        now.mono.saturating_add(REMIND_BEFORE) >= self.mono
    }
}

impl Watch {
    /// The openings whose time is over.
    fn over<'a>(&mut self, snapshot: &'a Snapshot, now: Now) -> Vec<&'a Opening> {
        self.follow(snapshot, now);
        let over = |opening: &&Opening| {
            let end = self.ends.get(&opening.id);
            end.is_some_and(|end| end.is_over(now))
        };
        snapshot.openings().map(Arc::as_ref).filter(over).collect()
    }

    /// The openings that end soon; each once.
    fn soon_over<'a>(&mut self, snapshot: &'a Snapshot, now: Now) -> Vec<&'a Opening> {
        self.follow(snapshot, now);
        let mut soon = Vec::new();
        for (id, end) in &mut self.ends {
            if !end.reminded && !end.is_over(now) && end.is_soon_over(now) {
                end.reminded = true;
                soon.extend(snapshot.opening(*id).map(Arc::as_ref));
            }
        }
        soon
    }

    /// When to look again.
    fn next_look(&self, now: Now) -> Duration {
        let ends = self.ends.values().map(|end| end.mono);
        let first = ends.filter(|end| *end > now.mono).min();
        let latest = if self.ends.is_empty() {
            IDLE
        } else {
            LOOK_EVERY
        };
        let latest = now.mono + latest;
        first.map_or(latest, |first| first.min(latest))
    }

    fn follow(&mut self, snapshot: &Snapshot, now: Now) {
        self.ends.retain(|id, _| snapshot.opening(*id).is_some());
        for opening in snapshot.openings() {
            let end = self.ends.entry(opening.id);
            let end = end.or_insert_with(|| End::of(opening, now));
            if end.wall_ms != opening.ends_at_ms {
                *end = End::of(opening, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use serde_json::json;

    use super::*;
    use crate::metrics::Metrics;
    use crate::rules::opening::Restore;
    use crate::rules::record::ChangeRecord;
    use crate::rules::snapshot::{GatedQueue, Stored};

    const START_MS: i64 = 1_800_000_000_000;
    const MINUTE: Duration = Duration::from_secs(60);

    fn store() -> Arc<Store> {
        let queue = GatedQueue::named("orders".parse().unwrap());
        let metrics = Arc::new(Metrics::new(&[]).unwrap());
        Arc::new(Store::in_memory(
            Snapshot::of(vec![queue], Stored::default()),
            metrics,
        ))
    }

    fn open(store: &Store, minutes: i64, now: Now) -> OpeningId {
        let edit = Edit::Open {
            values: vec![("queue.orders.skip".parse().unwrap(), json!(0.2))],
            when: vec![],
            ends_at_ms: now.ms + minutes * 60_000,
            restore: Restore::Snap,
        };
        let change = Change::new(edit, Actor::new("ana", "cli"), "INC-481", now.ms);
        OpeningId(store.turn(&change).unwrap().revision())
    }

    fn is_open(store: &Store, id: OpeningId) -> bool {
        store.snapshot().opening(id).is_some()
    }

    fn newest(store: &Store) -> ChangeRecord {
        store.changes(None, 1).unwrap().remove(0)
    }

    #[tokio::test(start_paused = true)]
    async fn an_opening_ends_at_its_time_and_the_record_says_why() {
        let (store, clock) = (store(), Clock::made_up(START_MS));
        let stop = CancellationToken::new();
        let guard = run(Arc::clone(&store), clock, stop.clone());
        let story = async {
            tokio::time::sleep(MINUTE).await; // it is asleep when the first one comes
            let long = open(&store, 30, clock.now());
            let short = open(&store, 10, clock.now());
            tokio::time::sleep(10 * MINUTE - Duration::from_millis(5)).await;
            assert!(is_open(&store, short));
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(!is_open(&store, short) && is_open(&store, long));
            let record = newest(&store);
            assert_eq!(
                (record.cause, record.by.via.as_str()),
                (Cause::Expiry, "guard")
            );
            assert_eq!(
                (record.reason.as_str(), record.at_ms),
                ("its time was over", START_MS + 11 * 60_000)
            );
            tokio::time::sleep(20 * MINUTE).await;
            assert!(!is_open(&store, long));
            stop.cancel();
        };
        tokio::join!(guard, story);
    }

    #[tokio::test(start_paused = true)]
    async fn what_ended_while_the_daemon_was_down_is_closed_before_it_works() {
        let (store, clock) = (store(), Clock::made_up(START_MS));
        let (over, open) = (open(&store, 1, clock.now()), open(&store, 10, clock.now()));
        let later = Clock::made_up(START_MS + 120_000);
        end_what_is_over(&store, &later);
        assert!(!is_open(&store, over) && is_open(&store, open));
    }

    /// An opening of 30 minutes that was first seen at its start: is it over when the clocks say so?
    fn check(what: &str, mono_min: u64, wall_min: i64, expected: bool) {
        let store = store();
        let at = |mono_min: u64, wall_min: i64| Now {
            ms: START_MS + wall_min * 60_000,
            mono: MINUTE * u32::try_from(mono_min).unwrap(),
        };
        let mut guard = Guard::new(Arc::clone(&store));
        let id = open(&store, 30, at(0, 0));
        guard.tick(at(0, 0));
        guard.tick(at(mono_min, wall_min));
        assert_eq!(!is_open(&store, id), expected, "{what}");
    }

    #[test]
    fn the_earlier_of_two_clocks_ends_it() {
        check("both run on", 29, 29, false);
        check("both are there", 30, 30, true);
        check("the wall clock jumped ahead", 5, 65, true);
        check("the wall clock was set back", 30, -30, true);
        check("the wall clock was set back, time is left", 29, -31, false);
        check("the machine was asleep", 1, 31, true);
    }

    #[test]
    fn a_clock_that_was_set_back_while_we_were_down_gives_no_more_time_than_was_asked_for() {
        let store = store();
        let mut guard = Guard::new(Arc::clone(&store));
        let before = Now {
            ms: START_MS,
            mono: Duration::ZERO,
        };
        let id = open(&store, 30, before);
        guard.tick(Now {
            ms: START_MS - 3_600_000,
            ..before
        });
        guard.tick(Now {
            ms: START_MS - 1_800_000,
            mono: 30 * MINUTE,
        });
        assert!(!is_open(&store, id));
    }

    #[tokio::test(start_paused = true)]
    async fn an_opening_ends_on_a_full_disk_and_is_written_when_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let (store, full) = crate::store::on_a_disk_that_fills(dir.path());
        let (store, clock) = (Arc::new(store), Clock::made_up(START_MS));
        let stop = CancellationToken::new();
        let guard = run(Arc::clone(&store), clock, stop.clone());
        let story = async {
            let id = open(&store, 10, clock.now());
            full.store(true, Ordering::SeqCst);
            tokio::time::sleep(15 * MINUTE).await;
            assert!(!is_open(&store, id) && store.owes());
            full.store(false, Ordering::SeqCst);
            tokio::time::sleep(LONGEST_RETRY + LOOK_EVERY).await;
            assert!(!store.owes());
            stop.cancel();
        };
        tokio::join!(guard, story);
    }

    #[test]
    fn it_reminds_once_five_minutes_before_the_end_of_a_long_one() {
        let store = store();
        let mut watch = Watch::default();
        let at = |minutes: u32| Now {
            ms: START_MS + i64::from(minutes) * 60_000,
            mono: minutes * MINUTE,
        };
        let (long, _short) = (open(&store, 30, at(0)), open(&store, 4, at(0)));
        let snapshot = store.snapshot();
        let reminded = (0..=30).flat_map(|minute| {
            let soon = watch.soon_over(&snapshot, at(minute)).into_iter();
            soon.map(move |opening| (minute, opening.id))
        });
        assert_eq!(reminded.collect::<Vec<_>>(), [(25, long)]);
    }
}
