//! The pools of the house: what their queues share, and the task that looks after them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::doubts::Keeper;
use crate::api::PoolDoor;
use crate::clock::{Clock, Now};
use crate::config::pool::Pool;
use crate::config::provider::Provider;
use crate::config::{Settings, TargetSettings};
use crate::events::{Events, ProviderTold};
use crate::metrics::Metrics;
use crate::rules::breaker::Standing;
use crate::rules::names::FlagKey;
use crate::rules::route::Force;
use crate::rules::snapshot::{Snapshot, Stored};
use crate::rules::value::Value;
use crate::seams::KeepsDoubts;
use crate::store::Store;
use crate::targets::pool::{SharedPool, tell};
use crate::vitals::providers::{Limits, PoolVitals, ProviderVitals};

/// So often what is overdue is counted, and how providers stand is told.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The pools that the file names, with providers that all pass; and who keeps their jobs in doubt.
pub(super) fn open(
    settings: &Settings,
    store: &Store,
    metrics: &Metrics,
) -> anyhow::Result<(Vec<SharedPool>, Arc<Keeper>)> {
    let vitals: BTreeMap<&str, Arc<ProviderVitals>> = settings
        .providers
        .iter()
        .map(|provider| (provider.name.as_ref(), Arc::new(vitals_of(provider))))
        .collect();
    let numbers = settings.pools.iter().map(|pool| {
        let members: Vec<&str> = pool.members.iter().map(|member| &*member.name).collect();
        let numbers = Arc::new(metrics.pool(&pool.name, &members));
        (Arc::clone(&pool.name), numbers)
    });
    let keeper = Arc::new(Keeper::new(store.doubts(), numbers.collect()));
    let shared = |pool: &Pool| {
        let (providers, health) = members(pool, settings, &vitals)?;
        let numbers = keeper
            .numbers(&pool.name)
            .context("a pool has no numbers")?;
        let (slots, share) = (slots_of(pool, settings), pool.largest_share);
        anyhow::Ok(SharedPool {
            settings: Arc::new(pool.clone()),
            vitals: Arc::new(PoolVitals::new(&pool.name, health, slots, share)),
            metrics: Arc::clone(numbers),
            providers: providers.into(),
            flags: store.subscribe(),
            doubts: Arc::clone(&keeper) as Arc<dyn KeepsDoubts>,
        })
    };
    let pools: anyhow::Result<Vec<SharedPool>> = settings.pools.iter().map(shared).collect();
    Ok((pools?, keeper))
}

/// The pools that the file names without a daemon around them, so that a pool can be measured by itself.
///
/// # Errors
/// When a pool names a provider that is not there, which no checked file does.
pub fn alone(settings: &Settings) -> anyhow::Result<Vec<SharedPool>> {
    let metrics = Arc::new(Metrics::new(&[])?);
    let nothing = Snapshot::of(Vec::new(), Stored::default());
    let store = Store::in_memory(nothing, Arc::clone(&metrics));
    Ok(open(settings, &store, &metrics)?.0)
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

/// What the file says of a pool's providers, and how they stand.
type Members = (Vec<Provider>, Vec<Arc<ProviderVitals>>);

fn members(
    pool: &Pool,
    settings: &Settings,
    vitals: &BTreeMap<&str, Arc<ProviderVitals>>,
) -> anyhow::Result<Members> {
    let member = |name: &str| {
        let mut all = settings.providers.iter();
        let provider = all.find(|known| known.name.as_ref() == name);
        let (provider, vitals) = provider
            .zip(vitals.get(name))
            .context("a pool names a provider that is not there")?;
        anyhow::Ok((provider.clone(), Arc::clone(vitals)))
    };
    let all = pool.members.iter().map(|one| member(&one.name));
    let all: anyhow::Result<Vec<_>> = all.collect();
    Ok(all?.into_iter().unzip())
}

/// The slots of all queues of a pool together.
fn slots_of(pool: &Pool, settings: &Settings) -> u32 {
    let uses = |target: &TargetSettings| matches!(target, TargetSettings::Pool(name) if *name == pool.name);
    let queues = settings.queues.iter();
    queues
        .filter(|queue| uses(&queue.target))
        .map(|queue| queue.slots)
        .sum()
}

/// The pools as the doors see them.
pub(super) fn doors(pools: &[SharedPool]) -> Vec<PoolDoor> {
    let door = |pool: &SharedPool| PoolDoor {
        settings: Arc::clone(&pool.settings),
        vitals: Arc::clone(&pool.vitals),
        metrics: Arc::clone(&pool.metrics),
    };
    pools.iter().map(door).collect()
}

/// Counts what is overdue, and tells how providers stand, until `stop`.
pub(super) async fn look_after(
    pools: Vec<SharedPool>,
    (store, events): (Arc<Store>, Arc<Events>),
    clock: Clock,
    stop: CancellationToken,
) {
    let mut told = BTreeMap::new();
    loop {
        let now = clock.now();
        let flags = store.subscribe().borrow().clone();
        for pool in &pools {
            pool.vitals
                .providers
                .iter()
                .for_each(|provider| tell_of(provider, &events, &mut told, now));
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

/// Tells of a provider whose state or share is another than it was told last; at first it passes.
fn tell_of(
    provider: &ProviderVitals,
    events: &Events,
    told: &mut BTreeMap<Arc<str>, (&'static str, f64)>,
    now: Now,
) {
    let report = provider.report(now.mono, now.ms);
    let stands = (report.breaker.standing.word(), report.breaker.share);
    let before = told.insert(Arc::clone(&provider.name), stands);
    if before.unwrap_or((Standing::Passing.word(), 1.0)) == stands {
        return;
    }
    let trip = report.breaker.trip.as_ref();
    events.tell_of_provider(
        &provider.name,
        ProviderTold {
            at_ms: now.ms,
            state: stands.0,
            share: stands.1,
            failed: trip.map_or(0, |trip| trip.failed),
            calls: trip.map_or(0, |trip| trip.calls),
            cause: &report.last_cause,
        },
    );
}

/// What an operator forces on a provider.
fn forced(flags: &Snapshot, provider: &str) -> Force {
    match flags.value(FlagKey::of_force(provider).as_str()) {
        Some((Value::Text(word), _)) => Force::of(&word),
        _ => Force::None,
    }
}
