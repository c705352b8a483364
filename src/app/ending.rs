//! How the daemon ends: when all workers have, and what was left.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::rules::names::QueueName;
use crate::worker::Finished;

/// How the daemon ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ended {
    /// Messages that were still at work at the deadline, by queue; the broker will redeliver them.
    pub stragglers: Vec<(QueueName, String)>,
    /// Tasks that ended unasked or had to be cut off.
    pub tasks: Vec<String>,
}

impl Ended {
    /// Whether everything in hand was finished and everything ended because it was asked to.
    #[must_use]
    pub fn cleanly(&self) -> bool {
        self.stragglers.is_empty() && self.tasks.is_empty()
    }
}

/// A queue whose thread has started.
pub(super) struct Running {
    pub(super) name: QueueName,
    pub(super) ended: oneshot::Receiver<anyhow::Result<Finished>>,
}

/// Waits until all workers have ended: because of `stop`, or because one of them ended unasked, which stops all.
pub(super) async fn workers_ended(
    running: Vec<Running>,
    stop: CancellationToken,
    stop_workers: CancellationToken,
) -> Ended {
    let mut all: FuturesUnordered<_> = running
        .into_iter()
        .map(async |Running { name, ended }| (name, ended.await))
        .collect();
    let mut ended = Ended::default();
    loop {
        tokio::select! {
            () = stop.cancelled(), if !stop_workers.is_cancelled() => {
                tracing::info!("stopping: no new messages, those at work are finished");
                stop_workers.cancel();
            }
            next = all.next(), if !all.is_empty() => {
                let Some((name, told)) = next else { continue };
                match told {
                    Ok(Ok(finished)) => ended.stragglers.extend(finished.stragglers.into_iter().map(|id| (name.clone(), id))),
                    Ok(Err(why)) => ended.tasks.push(format!("the worker of {name}: {why:#}")),
                    Err(_) => ended.tasks.push(format!("the thread of {name}")),
                }
                stop.cancel();
            }
            else => return ended,
        }
    }
}
