//! Opens the store of flags at the start.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::Settings;
use crate::config::flags::{self, FlagsFile};
use crate::metrics::Metrics;
use crate::rules::snapshot::GatedQueue;
use crate::store::{OpenError, Seed, Store};

/// How long a store that another daemon holds is waited for.
const STORE_FREE_WITHIN: Duration = Duration::from_secs(2);

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
