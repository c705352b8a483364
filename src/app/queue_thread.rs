//! One queue's thread: its own runtime, its own worker. A worker that panics is started again; what it had in hand, the broker
//! redelivers. Three panics within five minutes, and it stays down until somebody looks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::LocalBoxFuture;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::metrics::QueueMetrics;
use crate::rules::names::QueueName;
use crate::seams::LinkState;
use crate::vitals::QueueVitals;
use crate::worker::Finished;

/// How long after a panic a worker is started again.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// So many panics within [`MANY_WITHIN`] are too many.
const TOO_MANY: usize = 3;
const MANY_WITHIN: Duration = Duration::from_secs(300);

/// What a queue's thread is given.
pub(super) struct QueueThread {
    pub(super) name: QueueName,
    pub(super) clock: Clock,
    pub(super) vitals: Arc<QueueVitals>,
    pub(super) numbers: Arc<QueueMetrics>,
    pub(super) stop: CancellationToken,
}

/// Makes a worker and runs it until it is told to stop; called on the queue's thread, again after each panic.
pub(super) type RunWorker =
    Box<dyn Fn() -> LocalBoxFuture<'static, anyhow::Result<Finished>> + Send>;

impl QueueThread {
    /// Starts the thread; what comes back says how the worker ended.
    pub(super) fn start(
        self,
        run: RunWorker,
    ) -> anyhow::Result<oneshot::Receiver<anyhow::Result<Finished>>> {
        let (tell, ended) = oneshot::channel();
        thread::Builder::new()
            .name(format!("queue-{}", self.name).chars().take(15).collect())
            .spawn(move || {
                let vitals = Arc::clone(&self.vitals);
                let ended = self.run(&run);
                vitals.pulse.rest();
                let _ = tell.send(ended);
            })
            .context("no thread could be started for a queue")?;
        Ok(ended)
    }

    fn run(self, run: &RunWorker) -> anyhow::Result<Finished> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut panics: Vec<Duration> = Vec::new();
        loop {
            let worked = catch_unwind(AssertUnwindSafe(|| {
                LocalSet::new().block_on(&runtime, self.beating(async { run().await }))
            }));
            if let Ok(finished) = worked {
                return finished;
            }
            self.numbers.link(false);
            self.numbers.in_hand_is_lost();
            let now = self.clock.now().mono;
            panics.retain(|at| now.saturating_sub(*at) < MANY_WITHIN);
            panics.push(now);
            if panics.len() >= TOO_MANY {
                tracing::error!(queue = %self.name, "the worker panicked three times in five minutes and stays down; restart the daemon when the cause is mended");
                self.vitals.link(
                    LinkState::Denied("the worker of this queue panicked three times".to_owned()),
                    false,
                );
                runtime.block_on(self.beating(self.stop.cancelled()));
                return Ok(Finished::default());
            }
            tracing::error!(queue = %self.name, "the worker panicked and is started again");
            self.vitals.link(
                LinkState::Connecting("the worker of this queue panicked".to_owned()),
                false,
            );
            runtime.block_on(self.beating(async {
                tokio::time::timeout(RESTART_AFTER, self.stop.cancelled())
                    .await
                    .ok()
            }));
        }
    }

    /// Does `work` and beats the thread's pulse meanwhile. A worker that has always more to do beats it itself.
    async fn beating<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let next = self
                .clock
                .instant(self.vitals.pulse.beat(self.clock.mono()));
            if let Ok(done) = tokio::time::timeout_at(next, work.as_mut()).await {
                return done;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::metrics::{Ledger, Metrics};
    use crate::pulse::BEAT;

    fn thread() -> QueueThread {
        let name: QueueName = "orders".parse().unwrap();
        let metrics = Metrics::new(std::slice::from_ref(&name)).unwrap();
        let numbers = Arc::clone(metrics.queue("orders").unwrap());
        let (clock, stop) = (Clock::system(), CancellationToken::new());
        QueueThread {
            name,
            clock,
            vitals: Arc::default(),
            numbers,
            stop,
        }
    }

    /// A worker that takes a message and panics, so often; then it ends as it should.
    fn panics(times: usize, numbers: Arc<QueueMetrics>) -> RunWorker {
        let runs = AtomicUsize::new(0);
        Box::new(move || {
            let run = runs.fetch_add(1, Ordering::Relaxed);
            let numbers = Arc::clone(&numbers);
            Box::pin(async move {
                let before = numbers.ledger();
                numbers.write_ledger(Ledger {
                    received: before.received + 1,
                    in_hand: 1,
                    ..before
                });
                assert!(run >= times, "a panic on purpose");
                Ok(Finished {
                    stragglers: vec![run.to_string()],
                })
            })
        })
    }

    #[test]
    fn a_worker_that_panics_is_started_again_and_the_account_adds_up() {
        let thread = thread();
        let numbers = Arc::clone(&thread.numbers);
        let finished = thread.run(&panics(1, Arc::clone(&numbers))).unwrap();
        assert_eq!(finished.stragglers, ["1"]);
        let ledger = numbers.ledger();
        assert!(ledger.adds_up() && ledger.received == 2, "{ledger:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_thread_with_nothing_to_do_beats_and_one_that_is_kept_busy_does_not() {
        let thread = thread();
        let secs = Duration::from_secs;
        let still = || thread.vitals.pulse.still_for(thread.clock.now().mono);
        let waits = thread.beating(tokio::time::sleep(secs(60)));
        waits.await;
        assert!(still() <= BEAT, "{:?}", still());
        // Time passes, and the future does not let go of the thread.
        let busy = thread.beating(async {
            let mut tick = std::pin::pin!(tokio::time::advance(secs(60)));
            while futures_util::poll!(tick.as_mut()).is_pending() {}
            still()
        });
        assert_eq!(busy.await, secs(60));
    }

    #[test]
    fn three_panics_and_it_stays_down_and_says_so() {
        let thread = thread();
        let vitals = Arc::clone(&thread.vitals);
        thread.stop.cancel(); // so that neither the restarts nor the end are waited for
        let run = panics(3, Arc::clone(&thread.numbers));
        assert_eq!(thread.run(&run).unwrap(), Finished::default());
        assert!(vitals.ready().unwrap_err().contains("panicked three times"));
    }
}
