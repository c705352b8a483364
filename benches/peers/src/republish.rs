//! The bare way from one queue into another, or into a stream: publish with confirms, a thousand in flight, and acknowledge many
//! by one frame once they are confirmed.

use std::future::poll_fn;
use std::task::Poll;

use anyhow::{Context, Result, ensure};
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};

use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};

use crate::consume::{Order, consumer};
use crate::load::{Load, channel};
use crate::roles::Marks;

/// Messages that were published and not confirmed yet.
const IN_FLIGHT: usize = 1_000;
/// Confirmed messages that are acknowledged at once.
const BATCH: u64 = 64;

/// What is handed on, and where to.
#[derive(Debug, Clone)]
pub struct Republished {
    /// From where.
    pub order: Order,
    /// The queue that it goes to.
    pub to: String,
    /// Whether that is a stream, which is made here.
    pub stream: bool,
}

/// Moves every message, confirmed before it is acknowledged.
///
/// # Errors
/// When the broker is gone, or refuses a message.
pub async fn republish(what: &Republished) -> Result<()> {
    let (connection, channel) = ready(what).await?;
    let order = &what.order;
    let mut consumer = consumer(&channel, &order.queue, order.prefetch).await?;
    let mut marks = Marks::of(order.count);
    let mut flying = FuturesOrdered::new();
    let mut waiting = 0;
    while !marks.done() {
        tokio::select! {
            biased;
            Some(confirmed) = flying.next() => {
                let tag = confirmed?;
                waiting += 1;
                if waiting >= BATCH || flying.is_empty() {
                    let all = BasicAckOptions { multiple: true };
                    let _ = channel.basic_ack(tag, all).now_or_never();
                    waiting = 0;
                }
                marks.one();
            }
            next = consumer.next(), if flying.len() < IN_FLIGHT => {
                let delivery = next.context("the queue was cancelled")??;
                marks.begun();
                let (channel, to, tag) = (channel.clone(), what.to.clone(), delivery.delivery_tag);
                flying.push_back(begun(async move {
                    put(&channel, &to, &delivery.data, delivery.properties).await?;
                    Ok(tag)
                }).await);
            }
        }
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Only publishes as many messages as the order says, with nothing to take them from.
///
/// # Errors
/// When the broker is gone, or refuses a message.
pub async fn publish(what: &Republished) -> Result<()> {
    let (connection, channel) = ready(what).await?;
    let load = Load::plain(&what.to, what.order.count);
    let body = load.body();
    let mut marks = Marks::of(load.count);
    let mut flying = FuturesOrdered::new();
    let mut number = 0;
    marks.begun();
    while !marks.done() {
        if number < load.count && flying.len() < IN_FLIGHT {
            let (channel, to, body) = (channel.clone(), &what.to, &body);
            let properties = load.properties(number);
            let placed = async move { put(&channel, to, body, properties).await };
            flying.push_back(begun(placed).await);
            number += 1;
            continue;
        }
        flying.next().await.context("nothing is in flight")??;
        marks.one();
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

async fn ready(what: &Republished) -> Result<(lapin::Connection, Channel)> {
    let (connection, channel) = channel(&what.order.url).await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    if what.stream {
        let mut arguments = FieldTable::default();
        let stream = AMQPValue::LongString("stream".into());
        arguments.insert("x-queue-type".into(), stream);
        let durable = QueueDeclareOptions::durable();
        channel
            .queue_declare(what.to.as_str().into(), durable, arguments)
            .await?;
    }
    Ok((connection, channel))
}

/// Publishes, and waits until the broker has confirmed.
async fn put(channel: &Channel, to: &str, body: &[u8], properties: BasicProperties) -> Result<()> {
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), to.into(), options, body, properties);
    let said = sent.await?.await?;
    ensure!(said.is_ack(), "a message was not confirmed: {said:?}");
    Ok(())
}

/// Work that has begun: asked once, which puts the frames of a publish in their place, and not waited for.
async fn begun<'a, T>(work: impl Future<Output = Result<T>> + 'a) -> LocalBoxFuture<'a, Result<T>>
where
    T: 'a,
{
    let mut work = work.boxed_local();
    match poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
        Poll::Ready(done) => std::future::ready(done).boxed_local(),
        Poll::Pending => work,
    }
}
