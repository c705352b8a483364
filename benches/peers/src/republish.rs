//! The bare way from one queue into another, or into a stream: publish with confirms, a thousand in flight, and acknowledge many
//! by one frame once they are confirmed.

use anyhow::{Context, Result, ensure};
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};

use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};

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
            Some((tag, confirmed)) = flying.next() => {
                confirm(confirmed)?;
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
                let tag = delivery.delivery_tag;
                let sent = put(&channel, &what.to, &delivery.data, delivery.properties).await?;
                flying.push_back(sent.map(move |confirmed| (tag, confirmed)));
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
            flying.push_back(put(&channel, &what.to, &body, load.properties(number)).await?);
            number += 1;
            continue;
        }
        confirm(flying.next().await.context("nothing is in flight")?)?;
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

async fn put(
    channel: &Channel,
    to: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<PublisherConfirm> {
    let options = BasicPublishOptions::default();
    Ok(channel
        .basic_publish("".into(), to.into(), options, body, properties)
        .await?)
}

fn confirm(said: lapin::Result<Confirmation>) -> Result<()> {
    let said = said?;
    ensure!(said.is_ack(), "a message was not confirmed: {said:?}");
    Ok(())
}
