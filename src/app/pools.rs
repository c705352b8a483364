//! The pools of the house: what their queues share, and the task that looks after them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::api::PoolDoor;
use crate::clock::Clock;
use crate::config::pool::Pool;
use crate::config::provider::Provider;
use crate::config::{Settings, TargetSettings};
use crate::metrics::Metrics;
use crate::rules::breaker::Standing;
use crate::rules::names::FlagKey;
use crate::rules::route::Force;
use crate::rules::snapshot::Snapshot;
use crate::rules::value::Value;
use crate::store::Store;
use crate::targets::pool::{SharedPool, tell};
use crate::vitals::providers::{Limits, PoolVitals, ProviderVitals};

/// So often what is overdue is counted, and how providers stand is told.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The pools that the file names, with providers that all pass.
///
/// # Errors
/// When a pool names a provider that is not there, which no checked file does.
pub fn open(settings: &Settings, metrics: &Metrics) -> anyhow::Result<Vec<SharedPool>> {
    let vitals: BTreeMap<&str, Arc<ProviderVitals>> = settings
        .providers
        .iter()
        .map(|provider| (provider.name.as_ref(), Arc::new(vitals_of(provider))))
        .collect();
    settings
        .pools
        .iter()
        .map(|pool| shared(pool, settings, &vitals, metrics))
        .collect()
}

fn vitals_of(provider: &Provider) -> ProviderVitals {
    let limits = Limits {
        slots: provider.slots,
        rate: provider.rate,
        per_day: provider.per_day,
        deadline: provider.deadline,
        usual_failures: provider.usual_failures,
    };
    ProviderVitals::new(&provider.name, provider.kind.word(), limits)
}

fn shared(
    pool: &Pool,
    settings: &Settings,
    vitals: &BTreeMap<&str, Arc<ProviderVitals>>,
    metrics: &Metrics,
) -> anyhow::Result<SharedPool> {
    let find = |name: &str| {
        settings
            .providers
            .iter()
            .find(|known| known.name.as_ref() == name)
    };
    let mut providers = Vec::new();
    let mut health = Vec::new();
    for member in &pool.members {
        let name = member.name.as_ref();
        let (provider, vitals) = find(name)
            .zip(vitals.get(name))
            .context("a pool names a provider that is not there")?;
        providers.push(provider.clone());
        health.push(Arc::clone(vitals));
    }
    let uses = |target: &TargetSettings| matches!(target, TargetSettings::Pool(name) if *name == pool.name);
    let slots = settings
        .queues
        .iter()
        .filter(|queue| uses(&queue.target))
        .map(|queue| queue.slots)
        .sum();
    let names: Vec<&str> = pool
        .members
        .iter()
        .map(|member| member.name.as_ref())
        .collect();
    Ok(SharedPool {
        settings: Arc::new(pool.clone()),
        vitals: Arc::new(PoolVitals::new(
            &pool.name,
            health,
            slots,
            pool.largest_share,
        )),
        metrics: Arc::new(metrics.pool(&pool.name, &names)),
        providers: providers.into(),
    })
}

/// The pools as the doors see them.
pub(super) fn doors(pools: &[SharedPool]) -> Vec<PoolDoor> {
    let door = |pool: &SharedPool| PoolDoor {
        settings: Arc::clone(&pool.settings),
        vitals: Arc::clone(&pool.vitals),
    };
    pools.iter().map(door).collect()
}

/// Counts what is overdue, and tells how providers stand, until `stop`.
pub(super) async fn look_after(
    pools: Vec<SharedPool>,
    store: Arc<Store>,
    clock: Clock,
    stop: CancellationToken,
) {
    loop {
        let now = clock.now();
        let flags = store.subscribe().borrow().clone();
        for pool in &pools {
            for (at, provider) in pool.vitals.providers.iter().enumerate() {
                tell(provider, provider.look(now.mono));
                let force = forced(&flags, &provider.name);
                let standing = match force {
                    Force::Rest => Standing::Resting,
                    Force::Pass => Standing::Passing,
                    Force::None => provider.report(now.mono, now.ms).breaker.standing,
                };
                pool.metrics.stands(at, standing);
                if at == 0 {
                    pool.metrics
                        .on_backup(pool.vitals.on_backup(force, now.mono, now.ms));
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// What an operator forces on a provider.
fn forced(flags: &Snapshot, provider: &str) -> Force {
    match flags.value(FlagKey::of_force(provider).as_str()) {
        Some((Value::Text(word), _)) => Force::of(&word),
        _ => Force::None,
    }
}
