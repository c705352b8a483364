//! A small queue of our own beside somebody's, bound as that one is: it gets copies, and the other queue loses nothing.
//!
//! It belongs to one connection and to nobody else (*exclusive*): whatever ends that connection ends it, also `kill -9`. It never
//! grows, never refuses a publisher (*drop-head*), and what falls out of it goes nowhere, whatever policy there is for dead
//! letters. May import `config` and `rules`.

use std::future::poll_fn;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use thiserror::Error;
use tokio::time::timeout;

use super::check::ask;
use super::connection::{Connector, Link, Lost, draw, new_tag};
use super::headers::{short, table};
use super::probe::{Seen, look};
use super::tap::raw;
use crate::config::{Amqp, Queue};
use crate::rules::binding::Binding;
use crate::rules::message::Raw;

/// Messages that wait in it at most; above that the oldest fall out.
pub const MOST: u64 = 10_000;
/// Bytes that wait in it at most.
pub const MOST_BYTES: u64 = 64 << 20;
/// It ends by itself when nobody reads it for so long, milliseconds.
const EXPIRES_MS: i64 = 60_000;
/// Messages that are under way to us at most.
pub const PREFETCH: u16 = 200;
/// As many are acknowledged at once.
const AT_ONCE: u64 = 100;
/// The longest part of the other queue's name in its own, in bytes.
const LONGEST_NAME: usize = 200;
/// How long its removal may take before the connection is closed, which removes it as well.
const REMOVAL: Duration = Duration::from_secs(5);

/// Why there is no queue beside another, or not any more; one for each exit code.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotBeside {
    /// The broker is not reached.
    #[error("no connection to the broker: {0}")]
    Unreachable(String),
    /// A permission is missing.
    #[error(
        "{said}; to tap, the user needs configure and write on `sluicegate\\.tap\\..*`, read on that and on the exchange, and write on `amq\\.default`"
    )]
    Denied {
        /// what the broker said
        said: String,
    },
    /// The queue or an exchange is not there.
    #[error("{0}")]
    Missing(String),
    /// Anything else.
    #[error("{0}")]
    Broken(String),
}

impl From<Lost> for NotBeside {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Denied(said) => Self::Denied {
                said: format!("the broker refuses us: {said}"),
            },
            Lost::Missing(said) => Self::Missing(said),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<lapin::Error> for NotBeside {
    fn from(error: lapin::Error) -> Self {
        Lost::from(error).into()
    }
}

/// How full queues are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Messages ready.
    pub ready: u64,
    /// Consumers.
    pub consumers: u32,
}

impl From<Seen> for Fill {
    fn from(seen: Seen) -> Self {
        Self {
            ready: seen.ready,
            consumers: seen.consumers,
        }
    }
}

/// A queue of ours beside another.
pub struct Beside {
    link: Link,
    channel: Channel,
    consumer: Consumer,
    name: String,
    theirs: String,
    /// The last message that came, and how many are not acknowledged.
    owed: (u64, u64),
}

impl Beside {
    /// Makes it, and binds it. When that fails nothing is left behind.
    ///
    /// # Errors
    /// See [`NotBeside`].
    pub async fn open(
        settings: &Amqp,
        queue: &Queue,
        bindings: &[Binding],
    ) -> Result<Self, NotBeside> {
        let connector = Connector::new(settings, Some(queue), "tap");
        let link = match connector.connect().await {
            Ok(link) => link,
            Err(lost @ Lost::Denied(_)) => {
                let said = format!("no connection to the broker: {lost}");
                return Err(NotBeside::Denied { said });
            }
            Err(lost) => return Err(NotBeside::Unreachable(lost.to_string())),
        };
        let theirs = queue.broker_name.clone();
        let made = async {
            ask(&link, async |channel| look(channel, &theirs).await).await?;
            let channel = link.channel().await?;
            let name = own_name(&theirs);
            let consumer = make(&channel, &name, bindings).await?;
            Ok((channel, name, consumer))
        };
        match made.await {
            Ok((channel, name, consumer)) => Ok(Self {
                link,
                channel,
                consumer,
                name,
                theirs,
                owed: (0, 0),
            }),
            Err(why) => {
                link.close().await;
                Err(why)
            }
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next copy. Cancel safe.
    ///
    /// # Errors
    /// When the connection was lost, or somebody deleted the queue; it is gone then.
    pub async fn next(&mut self) -> Result<Raw, NotBeside> {
        let came = poll_fn(|context| self.consumer.poll_next_unpin(context)).await;
        let Some(delivery) = came.transpose()? else {
            let why =
                "the broker ended our consumer: somebody deleted our queue, or the broker stops";
            return Err(NotBeside::Broken(why.to_owned()));
        };
        self.owed = (delivery.delivery_tag, self.owed.1 + 1);
        Ok(raw(delivery))
    }

    /// Acknowledges what came: now and then, or all when `all` says so.
    ///
    /// # Errors
    /// When the connection was lost.
    pub async fn acknowledge(&mut self, all: bool) -> Result<(), NotBeside> {
        let (last, owed) = self.owed;
        if owed >= AT_ONCE || (all && owed > 0) {
            let options = BasicAckOptions { multiple: true };
            self.channel.basic_ack(last, options).await?;
            self.owed.1 = 0;
        }
        Ok(())
    }

    /// How full our own queue is.
    ///
    /// # Errors
    /// When the broker does not say.
    pub async fn own_fill(&self) -> Result<Fill, NotBeside> {
        self.fill(&self.name).await
    }

    /// How full the other queue is; [`NotBeside::Missing`] when it is gone.
    ///
    /// # Errors
    /// When the broker does not say.
    pub async fn their_fill(&self) -> Result<Fill, NotBeside> {
        self.fill(&self.theirs).await
    }

    async fn fill(&self, name: &str) -> Result<Fill, NotBeside> {
        let seen = ask(&self.link, async |channel| look(channel, name).await).await;
        Ok(seen?.into())
    }

    /// Removes it, with its bindings.
    pub async fn remove(self) {
        let Ok(name) = short("the name of a queue", self.name) else {
            return self.link.close().await;
        };
        let deleted = self
            .channel
            .queue_delete(name, QueueDeleteOptions::default());
        // The end of the connection removes it as well.
        let _ = timeout(REMOVAL, deleted).await;
        self.link.close().await;
    }
}

/// `sluicegate.tap.<queue>.<eight digits at random>`
fn own_name(theirs: &str) -> String {
    let part = &theirs[..theirs.floor_char_boundary(LONGEST_NAME)];
    let number = (draw() * f64::from(u32::MAX)) as u32;
    format!("sluicegate.tap.{part}.{number:08x}")
}

/// Declares and consumes it, then binds it, so that nothing waits in it before somebody reads.
async fn make(channel: &Channel, name: &str, bindings: &[Binding]) -> Result<Consumer, NotBeside> {
    let shortened = |what: &str, text: &str| {
        short(what, text).map_err(|why| NotBeside::Broken(why.to_string()))
    };
    let own = shortened("the name of a queue", name)?;
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(own.clone(), options, arguments(name));
    declared.await?;
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await?;
    let tag = shortened("a consumer's tag", &new_tag())?;
    let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
    let consumer = channel
        .basic_consume(own.clone(), tag, options, none)
        .await?;
    for binding in bindings {
        let exchange = shortened("the name of an exchange", &binding.exchange)?;
        let key = shortened("a routing key", &binding.key)?;
        let arguments = table(binding.arguments.clone());
        let arguments = arguments.map_err(|why| NotBeside::Broken(why.to_string()))?;
        let options = QueueBindOptions::default();
        channel
            .queue_bind(own.clone(), exchange, key, options, arguments)
            .await?;
    }
    Ok(consumer)
}

fn arguments(name: &str) -> FieldTable {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let number = |number: u64| AMQPValue::LongLongInt(i64::try_from(number).unwrap_or(i64::MAX));
    let mut table = FieldTable::default();
    let entries = [
        ("x-queue-type", text("classic")),
        ("x-max-length", number(MOST)),
        ("x-max-length-bytes", number(MOST_BYTES)),
        ("x-overflow", text("drop-head")),
        ("x-expires", AMQPValue::LongLongInt(EXPIRES_MS)),
        // A policy for dead letters that fits every queue would send what we drop to somebody: an argument goes before it.
        ("x-dead-letter-exchange", text("")),
        (
            "x-dead-letter-routing-key",
            text(&format!("{name}.nowhere")),
        ),
    ];
    for (key, value) in entries {
        table.insert(key.into(), value);
    }
    table
}
