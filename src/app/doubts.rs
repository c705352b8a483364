//! Keeps the jobs that may have been done, and puts those back from the park that are to be done again.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::LocalSet;

use crate::amqp::parked;
use crate::config::{Amqp, Queue};
use crate::memory::MemoryQueue;
use crate::metrics::PoolMetrics;
use crate::rules::doubt::{Doubt, Resolved};
use crate::rules::names::QueueName;
use crate::seams::{KeepsDoubts, PutsBack, PuttingBack};
use crate::store::Doubts;

/// Writes jobs in doubt to the store: those that come while it writes are written together, next.
#[derive(Debug)]
pub(super) struct Keeper {
    doubts: Doubts,
    waiting: Mutex<Vec<Doubt>>,
    writing: tokio::sync::Mutex<()>,
    numbers: BTreeMap<Arc<str>, Arc<PoolMetrics>>,
}

impl Keeper {
    /// Keeps them here; these are the pools' numbers.
    pub(super) fn new(doubts: Doubts, numbers: BTreeMap<Arc<str>, Arc<PoolMetrics>>) -> Self {
        let keeper = Self {
            doubts,
            waiting: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            numbers,
        };
        keeper.count();
        keeper
    }

    /// The numbers of a pool.
    pub(super) fn numbers(&self, pool: &str) -> Option<&Arc<PoolMetrics>> {
        self.numbers.get(pool)
    }

    /// Tells the metrics how many there are.
    pub(super) fn count(&self) {
        let all = self.doubts.all();
        for (pool, numbers) in &self.numbers {
            let of_it = all.iter().filter(|doubt| doubt.pool == *pool);
            numbers.in_doubt(of_it.count());
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Doubt>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self) {
        let _one_at_a_time = self.writing.lock().await;
        let all = std::mem::take(&mut *self.waiting());
        if all.is_empty() {
            return; // somebody wrote it along
        }
        let doubts = self.doubts.clone();
        let kept = tokio::task::spawn_blocking(move || {
            let kept = doubts.keep(&all);
            (kept, all)
        });
        match kept.await {
            Ok((Ok(()), _)) => {}
            Ok((Err(why), all)) => {
                for doubt in all {
                    tracing::error!(queue = %doubt.queue, id = %doubt.id, provider = %doubt.provider, %why, "a job that may have been done is not in the list; its message is in the park");
                }
            }
            Err(_) => tracing::error!("jobs that may have been done could not be kept"),
        }
        self.count();
    }
}

impl KeepsDoubts for Keeper {
    fn keep(&self, doubt: Doubt) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.waiting().push(doubt);
        Box::pin(self.write())
    }
}

/// Where the parks are.
#[derive(Debug)]
enum Parks {
    /// At the broker.
    Broker(Arc<Amqp>, Vec<Arc<Queue>>),
    /// In memory.
    Memory(Vec<(QueueName, MemoryQueue)>),
}

/// Puts jobs back from the park.
#[derive(Debug)]
pub(super) struct Replayer {
    keeper: Arc<Keeper>,
    parks: Mutex<Parks>,
}

impl Replayer {
    /// From parks at the broker.
    pub(super) fn at_the_broker(keeper: Arc<Keeper>, amqp: &Amqp, queues: &[Queue]) -> Self {
        let queues = queues.iter().cloned().map(Arc::new).collect();
        Self {
            keeper,
            parks: Mutex::new(Parks::Broker(Arc::new(amqp.clone()), queues)),
        }
    }

    /// From now on from these in memory.
    pub(super) fn in_memory(&self, queues: Vec<(QueueName, MemoryQueue)>) {
        *self.parks() = Parks::Memory(queues);
    }

    fn parks(&self) -> MutexGuard<'_, Parks> {
        self.parks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn of_one_queue(
        &self,
        name: &QueueName,
        doubts: Vec<Doubt>,
    ) -> Result<Vec<Arc<str>>, String> {
        let (amqp, queue) = match &*self.parks() {
            Parks::Memory(queues) => {
                let queue = queues.iter().find(|(known, _)| known == name);
                let put_back =
                    |doubt: &Doubt| queue.is_some_and(|(_, queue)| queue.put_back(&doubt.id));
                let ids = doubts.into_iter().filter(put_back).map(|doubt| doubt.id);
                return Ok(ids.collect());
            }
            Parks::Broker(amqp, queues) => {
                let queue = queues.iter().find(|queue| queue.name == *name);
                let gone = || format!("the queue {name} is not in the file any more");
                (Arc::clone(amqp), Arc::clone(queue.ok_or_else(gone)?))
            }
        };
        // Our ends at the broker stay on the thread where they were made.
        let searching = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = runtime.map_err(|why| why.to_string())?;
            let search = parked::put_back(&amqp, &queue, &doubts);
            LocalSet::new().block_on(&runtime, search)
        });
        let broken = |_| Err("the search broke off by a fault of ours; look at the log".to_owned());
        searching.await.unwrap_or_else(broken)
    }
}

impl PutsBack for Replayer {
    fn put_back(&self, doubts: Vec<Doubt>) -> PuttingBack<'_> {
        Box::pin(async move {
            let mut by_queue: BTreeMap<QueueName, Vec<Doubt>> = BTreeMap::new();
            for doubt in doubts {
                by_queue.entry(doubt.queue.clone()).or_default().push(doubt);
            }
            let mut all = Vec::new();
            for (queue, doubts) in by_queue {
                let ids = self.of_one_queue(&queue, doubts).await?;
                all.extend(ids.into_iter().map(|id| Resolved {
                    queue: queue.clone(),
                    id,
                }));
            }
            Ok(all)
        })
    }

    fn recount(&self) {
        self.keeper.count();
    }
}
