//! A Rust closure as target, for workers that embed the library and for the demo. May import `seams`.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;

use crate::rules::names::QueueName;
use crate::seams::{Answer, Job, Outcome, Target};

/// A target that calls `F` for each job, on the thread of the queue.
///
/// A panic is an [`Outcome::Retry`], so that the queue's `attempts` bound it. A job that takes longer than its timeout is
/// dropped where it waits and is [`Outcome::Unknown`]: what it did until then cannot be known here.
#[derive(Debug)]
pub struct Handler<F> {
    handle: F,
}

impl<F, Work> Handler<F>
where
    F: Fn(Job) -> Work,
    Work: Future<Output = Outcome> + 'static,
{
    /// A target that calls `handle` for each job.
    pub fn new(handle: F) -> Self {
        Self { handle }
    }
}

impl<F, Work> Target for Handler<F>
where
    F: Fn(Job) -> Work,
    Work: Future<Output = Outcome> + 'static,
{
    fn hand_over(&self, job: Job) -> Pin<Box<dyn Future<Output = Answer>>> {
        let (queue, timeout) = (job.queue.clone(), job.timeout);
        // The closure itself runs now; what it returns, when polled. Either may panic.
        let started = catch_unwind(AssertUnwindSafe(|| (self.handle)(job)));
        Box::pin(async move {
            let outcome = match started {
                Ok(work) => within(timeout, work).await,
                Err(panic) => Err(panic),
            };
            outcome.unwrap_or_else(|_| panicked(&queue)).into()
        })
    }
}

type Panic = Box<dyn Any + Send>;

async fn within(timeout: Duration, work: impl Future<Output = Outcome>) -> Result<Outcome, Panic> {
    let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
    // Most handlers that need no timer are done at the first poll: a timer costs more than all the rest.
    let first = poll_fn(|context| Poll::Ready(work.as_mut().poll(context)));
    if let Poll::Ready(outcome) = first.await {
        return outcome;
    }
    match tokio::time::timeout(timeout, work).await {
        Ok(outcome) => outcome,
        Err(_) => Ok(Outcome::Unknown(format!(
            "the handler was not done within {timeout:?}"
        ))),
    }
}

/// The panic hook has said where and why; here it is said for which queue.
fn panicked(queue: &QueueName) -> Outcome {
    tracing::error!(%queue, "a handler panicked; the job is tried again, as often as the queue's attempts allow");
    Outcome::Retry("the handler panicked".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::request::tests::job;

    async fn check<Work>(what: &str, handle: impl Fn(Job) -> Work, expected: Outcome)
    where
        Work: Future<Output = Outcome> + 'static,
    {
        let job = Job {
            timeout: Duration::from_secs(2),
            ..job("")
        };
        let answer = Handler::new(handle).hand_over(job).await;
        assert_eq!(answer, Answer::from(expected), "{what}");
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_a_handler_does_is_an_outcome() {
        let second = Duration::from_secs(1);
        let panicked = || Outcome::Retry("the handler panicked".to_owned());
        let late = Outcome::Unknown("the handler was not done within 2s".to_owned());
        check("at once", |_| async { Outcome::Done }, Outcome::Done).await;
        check(
            "in time",
            move |job| async move {
                tokio::time::sleep(second).await;
                Outcome::Failed(job.id.to_string())
            },
            Outcome::Failed("17".to_owned()),
        )
        .await;
        check(
            "panics when called",
            |job| {
                assert!(job.id.is_empty(), "a panic that is meant to be");
                async { Outcome::Done }
            },
            panicked(),
        )
        .await;
        check(
            "panics at the first poll",
            |job| async move {
                assert!(job.id.is_empty(), "a panic that is meant to be");
                Outcome::Done
            },
            panicked(),
        )
        .await;
        check(
            "panics later",
            move |job| async move {
                tokio::time::sleep(second).await;
                assert!(job.id.is_empty(), "a panic that is meant to be");
                Outcome::Done
            },
            panicked(),
        )
        .await;
        check("never ends", |_| std::future::pending(), late).await;
    }
}
