//! Carries what happened to the board, and from the board to each webhook.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Board;
use super::line::Line;
use super::webhook::Webhook;
use crate::clock::Clock;
use crate::config::Notify;
use crate::metrics::{Metrics, Sent};
use crate::rules::notice::Notice;
use crate::rules::record::ChangeRecord;
use crate::store::Store;

/// How long a stop waits for webhooks.
const FINISH_WITHIN: Duration = Duration::from_secs(3);

/// Tells the webhooks of the file. It hears from the moment on when it is made, and tells when it runs.
#[derive(Debug)]
pub struct Teller {
    changes: broadcast::Receiver<Arc<ChangeRecord>>,
    notices: broadcast::Receiver<Arc<Notice>>,
    board: Board,
    webhooks: watch::Receiver<Vec<Notify>>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

type Lines = Vec<Arc<Line<Webhook>>>;

impl Teller {
    /// Tells of the changes of `store` and of what is put on `board`; `webhooks` may change at any time.
    #[must_use]
    pub fn new(
        store: &Store,
        board: &Board,
        webhooks: watch::Receiver<Vec<Notify>>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            changes: store.listen(),
            notices: board.read(),
            board: board.clone(),
            webhooks,
            clock,
            metrics,
        }
    }

    /// Tells until told to stop, and then what waits, as far as that takes a moment.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut lines = Lines::new();
        while !stop.is_cancelled() {
            lines = self.follow(lines);
            let mut deliveries: FuturesUnordered<_> =
                lines.iter().map(|line| line.deliver()).collect();
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = changed(&mut self.webhooks) => break,
                    record = next(&mut self.changes) => self.heard(record),
                    notice = next(&mut self.notices) => self.told(notice, &lines),
                    Some(()) = deliveries.next() => {}
                }
            }
        }
        while let Ok(record) = self.changes.try_recv() {
            self.heard(Ok(record));
        }
        while let Ok(notice) = self.notices.try_recv() {
            self.told(Ok(notice), &lines);
        }
        let all = join_all(lines.iter().map(|line| line.finish()));
        // Whether it was done in time shows in what is left.
        let _ = timeout(FINISH_WITHIN, all).await;
        lines.iter().for_each(|line| line.abandon(Sent::Unsent));
    }

    /// The lines to the webhooks that the file names now; those that stay keep what waits.
    fn follow(&mut self, mut old: Lines) -> Lines {
        let wanted = self.webhooks.borrow_and_update().clone();
        let mut lines = Lines::new();
        for settings in wanted {
            let known = old.iter().position(|line| line.settings == settings);
            if let Some(known) = known {
                lines.push(old.swap_remove(known));
                continue;
            }
            match Webhook::new(&settings) {
                Ok(webhook) => {
                    let metrics = Arc::clone(&self.metrics);
                    lines.push(Arc::new(Line::new(settings, webhook, self.clock, metrics)));
                }
                Err(why) => {
                    tracing::error!(webhook = %settings.host, why, "a webhook cannot be told; mend its [[notify]] and reload");
                }
            }
        }
        old.iter().for_each(|line| line.abandon(Sent::Dropped));
        lines
    }

    fn heard(&self, record: Result<Arc<ChangeRecord>, u64>) {
        match record {
            Ok(record) => {
                if let Some(notice) = Notice::of(&record) {
                    self.board.put(notice);
                }
            }
            Err(missed) => self.missed(missed),
        }
    }

    fn told(&self, notice: Result<Arc<Notice>, u64>, lines: &Lines) {
        match notice {
            Ok(notice) => lines.iter().for_each(|line| line.take(&notice)),
            Err(missed) => self.missed(missed),
        }
    }

    fn missed(&self, count: u64) {
        tracing::error!(count, "more happened at once than could be told");
        self.metrics.openings().notices(Sent::Dropped, count);
    }
}

/// The next that comes, or how many were missed.
async fn next<T: Clone>(from: &mut broadcast::Receiver<T>) -> Result<T, u64> {
    match from.recv().await {
        Ok(it) => Ok(it),
        Err(RecvError::Lagged(missed)) => Err(missed),
        Err(RecvError::Closed) => std::future::pending().await,
    }
}

/// Waits until the file names other webhooks; for ever, when nobody can tell.
async fn changed(webhooks: &mut watch::Receiver<Vec<Notify>>) {
    if webhooks.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
