//! Consumers on bare lapin that do nothing: one that awaits each acknowledgement, as its README does, and the best that we know.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};

use crate::load::channel;
use crate::roles::{Marks, say};

/// Messages that are acknowledged at once, and how long the first of them waits for company.
const BATCH: u64 = 100;
const COMPANY: Duration = Duration::from_millis(5);

/// What a consumer is told.
#[derive(Debug, Clone)]
pub struct Order {
    /// The broker.
    pub url: String,
    /// The queue.
    pub queue: String,
    /// How many messages there are.
    pub count: u64,
    /// How many may be out.
    pub prefetch: u16,
}

/// A consumer with this prefetch.
///
/// # Errors
/// When the broker refuses.
pub async fn consumer(channel: &Channel, queue: &str, prefetch: u16) -> Result<Consumer> {
    channel
        .basic_qos(prefetch, BasicQosOptions::default())
        .await?;
    let options = BasicConsumeOptions::default();
    let none = FieldTable::default();
    Ok(channel
        .basic_consume(queue.into(), "".into(), options, none)
        .await?)
}

/// Awaits the acknowledgement of each message before it takes the next.
///
/// # Errors
/// When the broker is gone before the last message.
pub async fn await_each(order: &Order) -> Result<()> {
    let (connection, channel) = channel(&order.url).await?;
    let mut consumer = consumer(&channel, &order.queue, order.prefetch).await?;
    let mut marks = Marks::of(order.count);
    while !marks.done() {
        let delivery = consumer.next().await.context("the queue was cancelled")??;
        marks.begun();
        delivery.ack(BasicAckOptions::default()).await?;
        marks.one();
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Acknowledges a hundred messages by one frame, never later than 5 ms, and awaits none.
///
/// # Errors
/// When the broker is gone before the last message.
pub async fn multiple(order: &Order) -> Result<()> {
    let (connection, channel) = channel(&order.url).await?;
    let mut consumer = consumer(&channel, &order.queue, order.prefetch).await?;
    let mut marks = Marks::of(order.count);
    let mut flush = tokio::time::interval(COMPANY);
    let (mut waiting, mut tag) = (0, 0);
    let batch = BATCH.min(u64::from(order.prefetch) / 2).max(1);
    while !marks.done() {
        let due = tokio::select! {
            biased;
            next = consumer.next() => {
                tag = next.context("the queue was cancelled")??.delivery_tag;
                marks.begun();
                waiting += 1;
                waiting >= batch || marks.left() == 1
            }
            _ = flush.tick() => {
                acknowledge(&channel, tag, &mut waiting);
                continue;
            }
        };
        if due {
            acknowledge(&channel, tag, &mut waiting);
        }
        marks.one();
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// All up to `tag`: asked once, so that it is queued, and not waited for.
fn acknowledge(channel: &Channel, tag: u64, waiting: &mut u64) {
    if *waiting > 0 {
        let all = BasicAckOptions { multiple: true };
        let _ = channel.basic_ack(tag, all).now_or_never();
        *waiting = 0;
    }
}

/// Takes what comes without acknowledging: where messages go that others hand on.
///
/// # Errors
/// When the broker is gone before the last message.
pub async fn sink(order: &Order) -> Result<()> {
    let (connection, channel) = channel(&order.url).await?;
    let unacknowledged = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let (queue, none) = (order.queue.as_str().into(), FieldTable::default());
    let mut consumer = channel
        .basic_consume(queue, "".into(), unacknowledged, none)
        .await?;
    say("ready");
    let mut marks = Marks::of(order.count);
    while !marks.done() {
        consumer.next().await.context("the queue was cancelled")??;
        marks.begun();
        marks.one();
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}
