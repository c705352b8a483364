//! The running daemon: its store, its queues, its doors; and the order in which they start and stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::bad_actors;
use super::doubts::Replayer;
use super::ending::{Ended, Running, workers_ended};
use super::entrances::Entrances;
use super::flags_on_disk::{gated, look_after, open_store};
use super::pools;
use super::queue_thread::{QueueThread, RunWorker};
use super::reports;
use super::sight::Eyes;
use super::surroundings;
use crate::api::{
    Access, Doors, LastEvaluated, Listeners, Pace, QueueDoor, Remembered, Services, Tls,
};
use crate::clock::Clock;
use crate::config::{Notify, Queue, Settings};
use crate::events;
use crate::memory::MemoryQueue;
use crate::metrics::Metrics;
use crate::notices::{Board, Teller};
use crate::rules::names::QueueName;
use crate::rules::snapshot::{Snapshot, Stored};
use crate::seams::{Inlet, Outlet, PutsBack};
use crate::store::{Blocked, Store};
use crate::supervise::Tasks;
use crate::targets::pool::SharedPool;
use crate::targets::{self, Handlers};
use crate::worker::{Given, Worker};
use crate::{amqp, guard};

/// How long the doors may take to close once all is settled.
const DOORS_CLOSE_WITHIN: Duration = Duration::from_secs(6);

pub(super) struct House {
    settings: Settings,
    clock: Clock,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    board: Board,
    teller: Teller,
    webhooks: watch::Sender<Vec<Notify>>,
    doors: Arc<Doors>,
    running: Vec<Running>,
    /// Told to the workers first, so that the doors answer until all is settled.
    stop_workers: CancellationToken,
    tasks: Tasks,
    stop_tasks: CancellationToken,
    entrances: Entrances,
    pools: Vec<SharedPool>,
    replayer: Arc<Replayer>,
}

impl House {
    /// The daemon on a real broker, with flags on disk.
    pub(super) async fn on_the_broker(
        settings: Settings,
        handlers: Handlers,
    ) -> anyhow::Result<Self> {
        let clock = Clock::system();
        let metrics = metrics_of(&settings)?;
        let store = open_store(&settings, clock, &metrics).await?;
        let mut house = Self::furnish(settings, clock, Arc::new(store), metrics).await?;
        guard::end_what_is_over(&house.guarded());
        for queue in house.settings.queues.clone() {
            let (queue, broker, handlers) = (
                Arc::new(queue),
                house.settings.amqp.clone(),
                handlers.clone(),
            );
            let opened = {
                let queue = Arc::clone(&queue);
                move || {
                    let (inlet, outlet) = amqp::open(&broker, &queue);
                    (inlet, outlet, amqp::open_outcomes(&broker, &queue))
                }
            };
            house.start(&queue, handlers, opened)?;
        }
        surroundings::watch(&house.settings, &house.doors, clock, &mut house.tasks);
        Ok(house)
    }

    /// The daemon on queues in memory, with flags that are forgotten.
    pub(super) async fn in_memory(
        settings: Settings,
        handlers: Handlers,
        clock: Clock,
    ) -> anyhow::Result<(Self, Vec<MemoryQueue>)> {
        let metrics = metrics_of(&settings)?;
        let start =
            Snapshot::of(gated(&settings), Stored::default()).under(settings.limits.policy.clone());
        let store = Store::in_memory(start, Arc::clone(&metrics));
        let mut house = Self::furnish(settings, clock, Arc::new(store), metrics).await?;
        let (mut queues, mut names) = (Vec::new(), Vec::new());
        for queue in house.settings.queues.clone() {
            let memory = MemoryQueue::new(clock);
            queues.push(memory.clone());
            names.push((queue.name.clone(), memory.clone()));
            let opened = move || {
                let (inlet, outlet) = memory.open();
                (inlet, outlet, None)
            };
            house.start(&Arc::new(queue), handlers.clone(), opened)?;
        }
        house.replayer.in_memory(names);
        Ok((house, queues))
    }

    async fn furnish(
        settings: Settings,
        clock: Clock,
        store: Arc<Store>,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let entrances = Entrances::take(&settings).await?;
        let (pools, keeper) = pools::open(&settings, &store, &metrics)?;
        let replayer = Replayer::at_the_broker(keeper, &settings.amqp, &settings.queues);
        let replayer = Arc::new(replayer);
        let stop_workers = CancellationToken::new();
        let stop_tasks = CancellationToken::new();
        let queues = settings
            .queues
            .iter()
            .filter_map(|queue| {
                let metrics = Arc::clone(metrics.queue(queue.name.as_str())?);
                let book = store.blocked(&queue.name);
                Some(QueueDoor {
                    blocked: Arc::new(Blocked::open(book, queue.order, Arc::clone(&metrics))),
                    settings: Arc::new(queue.clone()),
                    vitals: Arc::default(),
                    metrics,
                })
            })
            .collect();
        let doors = Doors {
            store: Arc::clone(&store),
            metrics: Arc::clone(&metrics),
            clock,
            queues,
            pools: pools::doors(&pools),
            replayer: Arc::clone(&replayer) as Arc<dyn PutsBack>,
            access: Access::new(&settings),
            stopping: stop_workers.clone(),
            remembered: Remembered::default(),
            events: Arc::default(),
            listeners: Listeners::default(),
            services: Services::new(settings.limits.evaluations_per_second),
            pace: Pace::each_minute(settings.limits.changes_per_minute),
            evaluated: counted_by(&metrics),
        };
        let tasks = Tasks::stopping_with(stop_tasks.clone());
        let (board, webhooks) = (
            Board::default(),
            watch::Sender::new(settings.notify.clone()),
        );
        let numbers = Arc::clone(&metrics);
        let teller = Teller::new(&store, &board, webhooks.subscribe(), clock, numbers);
        Ok(Self {
            settings,
            clock,
            store,
            metrics,
            board,
            teller,
            webhooks,
            doors: Arc::new(doors),
            running: Vec::new(),
            stop_workers,
            tasks,
            stop_tasks,
            entrances,
            pools,
            replayer,
        })
    }

    /// Starts the thread of one queue; `open` makes both its ends there, and the queue of reports if it has one; again after a panic.
    fn start<I, O>(
        &mut self,
        queue: &Arc<Queue>,
        handlers: Handlers,
        open: impl Fn() -> (I, O, Option<I>) + Send + 'static,
    ) -> anyhow::Result<()>
    where
        I: Inlet + 'static,
        O: Outlet,
    {
        let mut doors = self.doors.queues.iter();
        let door = doors.find(|door| door.settings.name == queue.name);
        let door = door.context("this queue has no numbers")?;
        let (vitals, blocked) = (Arc::clone(&door.vitals), Arc::clone(&door.blocked));
        let thread = QueueThread {
            name: queue.name.clone(),
            clock: self.clock,
            vitals: Arc::clone(&vitals),
            numbers: Arc::clone(&door.metrics),
            stop: self.stop_workers.clone(),
        };
        let pools = self.pools.clone();
        let (store, metrics, clock) = (
            Arc::clone(&self.store),
            Arc::clone(&self.metrics),
            self.clock,
        );
        let (settings, doors, stop, within) = (
            Arc::clone(queue),
            Arc::clone(&self.doors),
            self.stop_workers.clone(),
            self.settings.daemon.stop_within,
        );
        let run: RunWorker = Box::new(move || {
            let (inlet, outlet, reports) = open();
            let target = targets::build(
                &settings.target,
                (&handlers, &pools),
                clock,
                &outlet,
                (settings.on_unknown, settings.attempts),
            );
            let settings = Arc::clone(&settings);
            let (vitals, metrics) = (Arc::clone(&vitals), Arc::clone(&metrics));
            let (blocked, doors) = (Arc::clone(&blocked), Arc::clone(&doors));
            let (flags, stop) = (store.subscribe(), stop.clone());
            let lanes = store.lanes(&settings.name);
            Box::pin(async move {
                let given = Given {
                    settings,
                    inlet,
                    outlet,
                    target: target?,
                    flags,
                    clock,
                    blocked,
                    vitals,
                    metrics,
                    lanes,
                };
                let name = given.settings.name.clone();
                let worker = Worker::new(given)
                    .context("this queue has no gate; its flags were not made")?;
                let listening = reports::listen(reports, name, doors, clock, stop.clone());
                let (finished, ()) = tokio::join!(worker.run(stop, within), listening);
                Ok(finished)
            })
        });
        self.running.push(Running {
            name: queue.name.clone(),
            ended: thread.start(run)?,
        });
        Ok(())
    }

    fn guarded(&self) -> guard::Given {
        guard::Given {
            store: Arc::clone(&self.store),
            board: self.board.clone(),
            metrics: Arc::clone(&self.metrics),
            clock: self.clock,
            sight: Arc::new(Eyes(Arc::clone(&self.doors))),
        }
    }

    pub(super) fn also<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(name, task);
    }

    pub(super) fn doors(&self) -> &Arc<Doors> {
        &self.doors
    }

    /// Where the webhooks are told, so that a reload can name others.
    pub(super) fn webhooks(&self) -> watch::Sender<Vec<Notify>> {
        self.webhooks.clone()
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn address(&self) -> anyhow::Result<std::net::SocketAddr> {
        self.entrances.address()
    }

    /// The certificate of the doors.
    pub(super) fn tls(&self) -> Option<Tls> {
        self.entrances.tls().cloned()
    }

    /// Serves until `stop`, or until something ends unasked; then the workers finish, and last of all the doors close.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Ended {
        let (store, clock) = (Arc::clone(&self.store), self.clock);
        let heard = (store.listen(), self.board.read());
        let events = Arc::clone(&self.doors.events);
        self.tasks
            .spawn("events", |stop| events::run(heard, events, stop));
        self.tasks
            .spawn("store", |stop| look_after(store, clock, stop));
        if !self.pools.is_empty() {
            let told = (Arc::clone(&self.store), Arc::clone(&self.doors.events));
            let pools = self.pools.clone();
            self.tasks.spawn("pools", move |stop| {
                pools::look_after(pools, told, clock, stop)
            });
        }
        let guarded = self.guarded();
        self.tasks.spawn("guard", |stop| guard::run(guarded, stop));
        bad_actors::watch(&self.doors, self.clock, &mut self.tasks);
        let teller = self.teller;
        self.tasks.spawn("notices", |stop| teller.run(stop));
        self.entrances.serve(&self.doors, &mut self.tasks);
        tracing::info!(listen = %self.settings.daemon.listen, queues = self.running.len(), "serving");
        let workers = workers_ended(self.running, stop.clone(), self.stop_workers);
        let tasks = async {
            let ended = self.tasks.run(DOORS_CLOSE_WITHIN).await;
            stop.cancel();
            ended
        };
        let stop_tasks = self.stop_tasks;
        let workers = async {
            let ended = workers.await;
            stop_tasks.cancel();
            ended
        };
        let (mut ended, tasks) = tokio::join!(workers, tasks);
        ended.tasks.extend(tasks.unasked);
        ended.tasks.extend(tasks.stragglers);
        ended
    }
}

/// Who knows when a flag was last evaluated.
fn counted_by(metrics: &Arc<Metrics>) -> LastEvaluated {
    let metrics = Arc::clone(metrics);
    LastEvaluated::by(move |key| metrics.last_evaluated(key))
}

fn metrics_of(settings: &Settings) -> anyhow::Result<Arc<Metrics>> {
    let names: Vec<QueueName> = settings
        .queues
        .iter()
        .map(|queue| queue.name.clone())
        .collect();
    Ok(Arc::new(Metrics::new(&names)?))
}
