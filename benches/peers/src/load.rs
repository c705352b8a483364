//! What lies in the queue before a contender begins: messages of 256 bytes, plain or as Celery writes them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

use crate::worker::since_1970;

/// How large a body is.
pub const BODY: usize = 256;
/// How many accounts there are.
pub const ACCOUNTS: u64 = 1_000;

/// How messages look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An id, a time, an account in a header and a JSON body.
    Plain,
    /// A task of Celery's protocol 2, with the body as its only argument.
    Celery,
}

/// Messages in a queue.
#[derive(Debug, Clone)]
pub struct Load {
    /// The queue; durable, made when it is not there.
    pub queue: String,
    /// How many messages.
    pub count: u64,
    /// How they look.
    pub shape: Shape,
    /// Whether they survive the broker.
    pub persistent: bool,
    /// Whether the queue is a quorum queue.
    pub quorum: bool,
}

impl Load {
    /// So many plain, transient messages in a classic queue.
    #[must_use]
    pub fn plain(queue: &str, count: u64) -> Self {
        Self {
            queue: queue.to_owned(),
            count,
            shape: Shape::Plain,
            persistent: false,
            quorum: false,
        }
    }

    /// The properties of message `number`.
    #[must_use]
    pub fn properties(&self, number: u64) -> BasicProperties {
        let properties = match self.shape {
            Shape::Plain => plain(number),
            Shape::Celery => celery(number),
        };
        properties.with_delivery_mode(if self.persistent { 2 } else { 1 })
    }

    /// The body of every message.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let filled = |text: &str, end: &str| {
            let filler = "x".repeat(BODY.saturating_sub(text.len() + end.len()));
            format!("{text}{filler}{end}").into_bytes()
        };
        match self.shape {
            Shape::Plain => filled("{\"account\":\"account-017\",\"what\":\"", "\"}"),
            Shape::Celery => {
                let argument = String::from_utf8_lossy(&filled("", "")).into_owned();
                let body = serde_json::json!([[argument], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]);
                body.to_string().into_bytes()
            }
        }
    }
}

fn plain(number: u64) -> BasicProperties {
    let mut headers = FieldTable::default();
    let account = format!("account-{:03}", number % ACCOUNTS);
    headers.insert("x-account".into(), AMQPValue::LongString(account.into()));
    BasicProperties::default()
        .with_message_id(format!("{number:016x}").into())
        .with_content_type("application/json".into())
        .with_timestamp(since_1970() / 1_000_000_000)
        .with_headers(headers)
}

fn celery(number: u64) -> BasicProperties {
    let id = format!("00000000-0000-4000-8000-{number:012x}");
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut headers = FieldTable::default();
    for (name, value) in [
        ("lang", text("py")),
        ("task", text("peers.nothing")),
        ("id", text(&id)),
        ("shadow", AMQPValue::Void),
        ("eta", AMQPValue::Void),
        ("expires", AMQPValue::Void),
        ("group", AMQPValue::Void),
        ("group_index", AMQPValue::Void),
        ("retries", AMQPValue::LongInt(0)),
        ("root_id", text(&id)),
        ("parent_id", AMQPValue::Void),
        ("argsrepr", text("('…',)")),
        ("kwargsrepr", text("{}")),
        ("origin", text("gen1@bench")),
        ("ignore_result", AMQPValue::Boolean(true)),
    ] {
        headers.insert(name.into(), value);
    }
    BasicProperties::default()
        .with_correlation_id(id.into())
        .with_reply_to("00000000-0000-4000-9000-000000000000".into())
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_priority(0)
        .with_headers(headers)
}

/// A connection with one channel.
///
/// # Errors
/// When there is none.
pub async fn channel(url: &str) -> Result<(Connection, Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .context("the broker cannot be reached")?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

/// Makes the queue and fills it; comes back when the broker counts them all.
///
/// # Errors
/// When the broker refuses.
pub async fn fill(url: &str, load: &Load) -> Result<()> {
    let (connection, channel) = channel(url).await?;
    declare(&channel, load).await?;
    let body = load.body();
    for number in 0..load.count {
        let options = BasicPublishOptions::default();
        let queue = load.queue.as_str().into();
        channel
            .basic_publish("".into(), queue, options, &body, load.properties(number))
            .await?;
    }
    for _ in 0..1_200 {
        if u64::from(ready(&channel, &load.queue).await?) == load.count {
            connection.close(200, "filled".into()).await?;
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(false, "the queue was not full within a minute");
    Ok(())
}

/// Makes the queue.
///
/// # Errors
/// When the broker refuses.
pub async fn declare(channel: &Channel, load: &Load) -> Result<()> {
    let mut arguments = FieldTable::default();
    if load.quorum {
        let quorum = AMQPValue::LongString("quorum".into());
        arguments.insert("x-queue-type".into(), quorum);
    }
    let durable = QueueDeclareOptions::durable();
    channel
        .queue_declare(load.queue.as_str().into(), durable, arguments)
        .await?;
    Ok(())
}

/// How many messages are ready in a queue.
///
/// # Errors
/// When there is no such queue.
pub async fn ready(channel: &Channel, queue: &str) -> Result<u32> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let seen = channel
        .queue_declare(queue.into(), passive, FieldTable::default())
        .await?;
    Ok(seen.message_count())
}

/// Publishes so many messages, so many a second, at an even pace; `message` makes each at its moment.
///
/// # Errors
/// When the broker refuses.
pub async fn steadily(
    url: &str,
    queue: &str,
    (count, rate): (u64, f64),
    mut message: impl FnMut(u64) -> (BasicProperties, Vec<u8>),
) -> Result<()> {
    let (connection, channel) = channel(url).await?;
    let start = Instant::now();
    for number in 0..count {
        let due = start + Duration::from_secs_f64(number as f64 / rate);
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            tokio::time::sleep(early).await;
        }
        let (properties, body) = message(number);
        let options = BasicPublishOptions::default();
        channel
            .basic_publish("".into(), queue.into(), options, &body, properties)
            .await?;
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// A body that begins with the time, and then with `said`, which ends in a comma when it is not empty.
#[must_use]
pub fn timed_body(said: &str) -> Vec<u8> {
    let head = format!("{{\"at\":{},{said}\"filler\":\"", since_1970());
    let filler = "x".repeat(BODY.saturating_sub(head.len() + 2));
    format!("{head}{filler}\"}}").into_bytes()
}

/// When a [`timed_body`] was published, nanoseconds since 1970.
#[must_use]
pub fn published(body: &[u8]) -> Option<u64> {
    let digits = body.strip_prefix(b"{\"at\":")?.iter();
    let digits: Vec<u8> = digits.copied().take_while(u8::is_ascii_digit).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}
