//! No task without a name, a way to stop and a deadline. Imports no room.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How the tasks ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The task that ended unasked, if one did, and how.
    pub unasked: Option<String>,
    /// The tasks that had to be cut off at the deadline.
    pub stragglers: Vec<String>,
}

impl Ended {
    /// Whether all ended because they were asked to, in time.
    #[must_use]
    pub fn cleanly(&self) -> bool {
        self.unasked.is_none() && self.stragglers.is_empty()
    }
}

/// The tasks of one runtime.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<&'static str>,
    names: Vec<(tokio::task::Id, &'static str)>,
    stop: CancellationToken,
}

impl Tasks {
    /// Tasks that stop when `stop` says so.
    #[must_use]
    pub fn stopping_with(stop: CancellationToken) -> Self {
        Self {
            stop,
            ..Self::default()
        }
    }

    /// Starts a task; it is told to stop through the token.
    pub fn spawn<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let future = task(self.stop.child_token());
        let handle = self.set.spawn(async move {
            future.await;
            name
        });
        self.names.push((handle.id(), name));
    }

    /// Runs until stopped or until a task ends unasked, which stops all; those that are not done `within` are named and cut off.
    pub async fn run(mut self, within: Duration) -> Ended {
        // Biased: a task that is told to stop may end before we look, and did not end unasked.
        let unasked = tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            Some(ended) = self.set.join_next_with_id() => Some(self.describe(ended)),
        };
        self.stop.cancel();
        let all_done = async {
            while let Some(ended) = self.set.join_next_with_id().await {
                let ended = ended.map_or_else(|error| error.id(), |(id, _)| id);
                self.names.retain(|(id, _)| *id != ended);
            }
        };
        let in_time = tokio::time::timeout(within, all_done).await.is_ok();
        self.set.abort_all();
        let still_running = self.names.iter().map(|(_, name)| (*name).to_owned());
        Ended {
            unasked,
            stragglers: if in_time {
                Vec::new()
            } else {
                still_running.collect()
            },
        }
    }

    fn describe(
        &self,
        ended: Result<(tokio::task::Id, &'static str), tokio::task::JoinError>,
    ) -> String {
        match ended {
            Ok((_, name)) => format!("{name} ended by itself"),
            Err(error) => {
                let name = self
                    .names
                    .iter()
                    .find(|(id, _)| *id == error.id())
                    .map_or("a task", |(_, name)| name);
                format!("{name} panicked")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_those_that_do_not_end_are_named() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::stopping_with(stop.clone());
        tasks.spawn("deaf", |_| std::future::pending());
        tasks.spawn("obedient", |stop| async move { stop.cancelled().await });
        stop.cancel();
        let ended = tasks.run(Duration::from_secs(1)).await;
        assert_eq!(
            (ended.unasked, ended.stragglers),
            (None, vec!["deaf".to_owned()])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_ends_unasked_stops_all_and_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("brief", |_| async {});
        tasks.spawn("obedient", |stop| async move { stop.cancelled().await });
        let ended = tasks.run(Duration::from_secs(1)).await;
        assert_eq!(ended.unasked.as_deref(), Some("brief ended by itself"));
        assert!(ended.stragglers.is_empty() && !ended.cleanly());
    }
}
