//! Opens the store of flags at the start, and looks after it while the daemon runs.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::flags::{self, FlagsFile};
use crate::config::{Queue, Settings, TargetSettings};
use crate::metrics::Metrics;
use crate::rules::snapshot::{GatedPool, GatedQueue};
use crate::store::{OpenError, Seed, Store};

/// How long a store that another daemon holds is waited for.
const STORE_FREE_WITHIN: Duration = Duration::from_secs(2);
/// How often it is looked whether a snapshot is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the newest change is named in the log at most.
const NAME_HEAD_EVERY: Duration = Duration::from_secs(60);
/// How often it is written down when flags were last evaluated.
const KEEP_EVALUATED_EVERY: Duration = Duration::from_secs(60);

/// Opens the flags on disk. A daemon that was killed a moment ago may still hold its lock, so a busy store is asked again.
pub(super) async fn open_store(
    settings: &Settings,
    clock: Clock,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Store> {
    let file = match &settings.daemon.flags_file {
        Some(file) => flags::read(file)?,
        None => FlagsFile::default(),
    };
    let seed = Seed {
        policy: settings.limits.policy.clone(),
        segments: file.segments,
        flags: file.flags,
    };
    let open = || {
        let (queues, now_ms) = (gated(settings), clock.now().ms);
        Store::open(
            &settings.daemon.data_dir,
            queues,
            seed.clone(),
            now_ms,
            Arc::clone(metrics),
        )
    };
    let give_up = clock.now().mono + STORE_FREE_WITHIN;
    loop {
        match open() {
            Err(OpenError::Busy(_)) if clock.now().mono < give_up => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            opened => return Ok(opened?.store),
        }
    }
}

/// Writes the snapshot beside the store when one is due, and names the newest change in the log once a minute when there is a new
/// one: whoever cuts off the end of the store's own log is found out by that. Once a minute it is written down when flags were last
/// evaluated. At the stop the last of both is kept. Sleeps otherwise, as long as nothing changes.
pub(super) async fn look_after(store: Arc<Store>, clock: Clock, stop: CancellationToken) {
    let mut changes = store.subscribe();
    let mut naming = Naming::default();
    let mut minutes = tokio::time::interval(KEEP_EVALUATED_EVERY);
    minutes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        changes.mark_unchanged();
        let now = clock.now();
        let owes = keep(&store, Some(now.ms)).await;
        let unnamed = naming.name(&store, now.mono);
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(LOOK_EVERY), if owes || unnamed => {}
            _ = changes.changed(), if !owes && !unnamed => {}
            _ = minutes.tick() => keep_evaluated(&store, false).await,
        }
    }
    keep(&store, None).await;
    keep_evaluated(&store, true).await;
    naming.name(&store, Duration::MAX);
}

/// Keeps what is due, where waiting for the disk hurts nobody; whether something is left to be kept.
async fn keep(store: &Arc<Store>, now_ms: Option<i64>) -> bool {
    let store = Arc::clone(store);
    let kept = tokio::task::spawn_blocking(move || store.keep(now_ms)).await;
    kept.unwrap_or_else(|why| {
        tracing::error!(%why, "the snapshot beside the store could not be written");
        false
    })
}

/// Writes down when flags were last evaluated, where waiting for the disk hurts nobody.
async fn keep_evaluated(store: &Arc<Store>, all: bool) {
    let store = Arc::clone(store);
    let kept = tokio::task::spawn_blocking(move || store.keep_evaluated(all)).await;
    match kept.map_err(|why| why.to_string()) {
        Ok(Ok(())) => {}
        Ok(Err(why)) => {
            tracing::warn!(%why, "it could not be written when flags were last evaluated")
        }
        Err(why) => tracing::error!(
            why,
            "it could not be written when flags were last evaluated"
        ),
    }
}

/// When the newest change is named, and which was last.
#[derive(Default)]
struct Naming {
    named: Option<u64>,
    not_before: Duration,
}

impl Naming {
    /// Names the newest change unless it is the one that was named, or it is too soon; whether it is still to be named.
    fn name(&mut self, store: &Store, now: Duration) -> bool {
        let (revision, head) = store.head();
        if self.named == Some(revision) {
            return false;
        }
        let soon = now < self.not_before;
        if !soon {
            tracing::info!(revision, head, "the newest change on record");
            self.named = Some(revision);
            self.not_before = now.saturating_add(NAME_HEAD_EVERY);
        }
        soon
    }
}

/// The queues, as their flags are made for them.
pub(super) fn gated(settings: &Settings) -> Vec<GatedQueue> {
    settings
        .queues
        .iter()
        .map(|queue| GatedQueue {
            name: queue.name.clone(),
            modes: queue.modes.clone(),
            attributes: queue.reading.attributes.clone(),
            pass: queue.pass.clone(),
            pool: gated_pool(settings, queue),
        })
        .collect()
}

fn gated_pool(settings: &Settings, queue: &Queue) -> Option<GatedPool> {
    let TargetSettings::Pool(name) = &queue.target else {
        return None;
    };
    let pool = settings.pools.iter().find(|pool| pool.name == *name)?;
    Some(GatedPool {
        name: Arc::clone(name),
        providers: pool
            .members
            .iter()
            .map(|member| Arc::clone(&member.name))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::rules::change::{Actor, Change, Edit};

    fn opened() -> (TempDir, Arc<Store>) {
        let dir = tempfile::tempdir().unwrap();
        let queue = GatedQueue::named("orders".parse().unwrap());
        let metrics = Arc::new(Metrics::new(&[]).unwrap());
        let store = Store::open(dir.path(), vec![queue], Default::default(), 1_000, metrics);
        (dir, Arc::new(store.unwrap().store))
    }

    fn turn(store: &Store, clock: Clock, value: f64) {
        let edit = Edit::Set("queue.orders.skip".parse().unwrap(), json!(value));
        let change = Change::new(edit, Actor::new("ana", "cli"), "INC-481", clock.now().ms);
        let change = Change {
            keep: true,
            ..change
        };
        store.turn(&change).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_changed_lies_beside_the_store_within_seconds_and_at_the_stop() {
        let (dir, store) = opened();
        let there = |revision: u64| {
            dir.path()
                .join(format!("snapshots/{revision}.json"))
                .is_file()
        };
        let (clock, stop) = (Clock::made_up(1_000), CancellationToken::new());
        let looking = look_after(Arc::clone(&store), clock, stop.clone());
        let turning = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            turn(&store, clock, 0.1);
            assert!(there(1), "the first at once");
            turn(&store, clock, 0.2);
            assert!(!there(2));
            while !there(2) {
                assert!(clock.now().mono < Duration::from_secs(20), "soon after");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            assert!(clock.now().mono >= Duration::from_secs(6));
            turn(&store, clock, 0.15);
            turn(&store, clock, 0.25);
            stop.cancel();
        };
        tokio::join!(looking, turning);
        assert!(there(4));
    }
}
