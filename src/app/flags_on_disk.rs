//! Opens the store of flags at the start, and looks after it while the daemon runs.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Settings;
use crate::config::flags::{self, FlagsFile};
use crate::metrics::Metrics;
use crate::rules::snapshot::GatedQueue;
use crate::store::{OpenError, Seed, Store};

/// How long a store that another daemon holds is waited for.
const STORE_FREE_WITHIN: Duration = Duration::from_secs(2);
/// How often it is looked whether a snapshot is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the newest change is named in the log at most.
const NAME_HEAD_EVERY: Duration = Duration::from_secs(60);

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
/// one: whoever cuts off the end of the store's own log is found out by that. At the stop the last change is kept.
pub(super) async fn look_after(store: Arc<Store>, clock: Clock, stop: CancellationToken) {
    let mut told = (Duration::ZERO, u64::MAX);
    loop {
        let stopping = tokio::select! {
            () = stop.cancelled() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        let now = clock.now();
        let kept = Arc::clone(&store);
        let keep = move || kept.keep((!stopping).then_some(now.ms));
        if let Err(why) = tokio::task::spawn_blocking(keep).await {
            tracing::error!(%why, "the snapshot beside the store could not be written");
        }
        if stopping || told.1 == u64::MAX || now.mono >= told.0 + NAME_HEAD_EVERY {
            told = (now.mono, name_head(&store, told.1));
        }
        if stopping {
            return;
        }
    }
}

/// Names the newest change in the log, unless it is the one that was named last; gives its revision.
fn name_head(store: &Store, named: u64) -> u64 {
    let (revision, head) = store.head();
    if revision != named {
        tracing::info!(revision, head, "the newest change on record");
    }
    revision
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
        })
        .collect()
}
