//! A consumer on bare lapin that works ten jobs at once: with no rule, or with CoDel as Facebook has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicRejectOptions};
use tokio::sync::Semaphore;

use crate::consume::{Order, consumer};
use crate::load::{channel, published};
use crate::timed::{Count, DEADLINE_MS, JOB, SLOTS, Window};
use crate::worker::since_1970;

/// A message may wait for so long while the queue was empty lately.
const LONG: Duration = Duration::from_millis(DEADLINE_MS);
/// And for so long when it was not.
const SHORT: Duration = Duration::from_millis(DEADLINE_MS / 20);

/// Lets messages wait for long only while the queue was empty in the last deadline.
struct Codel {
    empty_at: Instant,
}

impl Codel {
    fn passes(&self, delivery: &Delivery) -> bool {
        let standing = self.empty_at.elapsed() > LONG;
        let longest = if standing { SHORT } else { LONG };
        let at = published(&delivery.data).unwrap_or_default();
        Duration::from_nanos(since_1970().saturating_sub(at)) <= longest
    }
}

/// Works on what an order names; after it stand the rule, `none` or `codel`, and the window in which is counted.
///
/// # Errors
/// When the broker is gone.
pub async fn work(order: &Order, arguments: &[String]) -> Result<()> {
    let (rule, window) = arguments.split_first().context("the rule is missing")?;
    let count = Count::of(Window::read(window)?);
    let mut codel = (rule == "codel").then(|| Codel {
        empty_at: Instant::now(),
    });
    let (_connection, channel) = channel(&order.url).await?;
    let mut consumer = consumer(&channel, &order.queue, order.prefetch).await?;
    let slots = Arc::new(Semaphore::new(usize::from(SLOTS)));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await?;
        let next = consumer.next().now_or_never();
        if let (None, Some(codel)) = (&next, &mut codel) {
            codel.empty_at = Instant::now();
        }
        let next = match next {
            Some(next) => next,
            None => consumer.next().await,
        };
        let delivery = next.context("the queue was cancelled")??;
        if codel.as_ref().is_some_and(|codel| !codel.passes(&delivery)) {
            let drop = BasicRejectOptions { requeue: false };
            let _ = delivery.reject(drop).now_or_never();
            continue;
        }
        let count = Arc::clone(&count);
        tokio::spawn(async move {
            tokio::time::sleep(JOB).await;
            count.done(&delivery.data);
            let _ = delivery.ack(BasicAckOptions::default()).await;
            drop(slot);
        });
    }
}
