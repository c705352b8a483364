//! What the tests know for sure: a producer that counts only what the broker confirmed, and a look into every queue and stream.
//!
//! Plain functions: the runtime that lapin needs is inside.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::runtime::Runtime;

use crate::keeper::eventually;

/// The two kinds of queue that every test of a fault is run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Classic,
    Quorum,
}

impl Kind {
    /// Its word, as in `x-queue-type`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }
}

/// A message as a test makes it and finds it again.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Message {
    /// The message id; the tests tell messages apart by it.
    pub(crate) id: String,
    pub(crate) properties: BasicProperties,
    pub(crate) headers: BTreeMap<String, AMQPValue>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// A persistent message with this id, published now, of nobody in particular.
    pub(crate) fn new(id: impl Into<String>) -> Self {
        let id = id.into();
        let now = now_ms();
        let properties = BasicProperties::default()
            .with_message_id(id.as_str().into())
            .with_delivery_mode(2);
        let message = Self {
            body: format!("{{\"id\":\"{id}\"}}").into_bytes(),
            id,
            properties,
            headers: BTreeMap::new(),
        };
        message.header("timestamp_in_ms", AMQPValue::LongLongInt(now))
    }

    /// With a header.
    pub(crate) fn header(mut self, name: &str, value: AMQPValue) -> Self {
        self.headers.insert(name.to_owned(), value);
        self
    }

    /// With a header that is text.
    pub(crate) fn text(self, name: &str, value: &str) -> Self {
        self.header(name, AMQPValue::LongString(value.into()))
    }

    /// Published this long ago.
    pub(crate) fn aged(self, age: Duration) -> Self {
        let at = now_ms() - i64::try_from(age.as_millis()).unwrap();
        self.header("timestamp_in_ms", AMQPValue::LongLongInt(at))
    }

    /// With this body.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With other properties.
    pub(crate) fn with(mut self, change: impl FnOnce(BasicProperties) -> BasicProperties) -> Self {
        self.properties = change(self.properties);
        self
    }

    /// A header as text, for what the daemon writes of its own: `x-sluicegate-reason`.
    pub(crate) fn said(&self, header: &str) -> Option<String> {
        match self.headers.get(header)? {
            AMQPValue::LongString(text) => Some(text.to_string()),
            AMQPValue::ShortString(text) => Some(text.to_string()),
            other => Some(format!("{other:?}")),
        }
    }

    fn table(&self) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in &self.headers {
            table.insert(name.as_str().into(), value.clone());
        }
        table
    }

    fn found(properties: BasicProperties, body: Vec<u8>) -> Self {
        let headers = properties.headers().clone().unwrap_or_default();
        let headers = headers
            .inner()
            .iter()
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect();
        let id = properties.message_id().as_ref();
        Self {
            id: id.map(ToString::to_string).unwrap_or_default(),
            properties,
            headers,
            body,
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A connection of the test's own to one vhost; made again whenever it was lost.
pub(crate) struct Ledger {
    runtime: Runtime,
    url: String,
    connection: Mutex<Option<Connection>>,
}

impl Ledger {
    /// A ledger of the vhost at `url`.
    pub(crate) fn at(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self {
            runtime,
            url: url.to_owned(),
            connection: Mutex::new(None),
        }
    }

    fn channel(&self) -> Channel {
        eventually(
            "the test reaches the broker",
            Duration::from_secs(20),
            || {
                self.runtime
                    .block_on(self.try_channel())
                    .map_err(|error| error.to_string())
            },
        )
    }

    #[expect(
        clippy::await_holding_lock,
        reason = "one test, one caller; the lock is there for the shared reference"
    )]
    async fn try_channel(&self) -> Result<Channel, lapin::Error> {
        let mut slot = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = slot.as_ref().filter(|held| held.status().connected())
            && let Ok(channel) = connection.create_channel().await
        {
            return Ok(channel);
        }
        let named = ConnectionProperties::default().with_connection_name("the test".into());
        let connection = Connection::connect(&self.url, named).await?;
        let channel = connection.create_channel().await?;
        *slot = Some(connection);
        Ok(channel)
    }

    /// Declares a durable queue of a kind, with arguments such as `("x-max-length", 3)` or `("x-overflow", "reject-publish")`.
    pub(crate) fn declare(&self, queue: &str, kind: Kind, arguments: &[(&str, AMQPValue)]) {
        let mut table = FieldTable::default();
        table.insert("x-queue-type".into(), long(kind.word()));
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        let channel = self.channel();
        let declared = channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), table);
        self.runtime.block_on(declared).unwrap();
    }

    /// Deletes a queue with all that is in it.
    pub(crate) fn delete(&self, queue: &str) {
        let deleted = self.channel();
        let deleted = deleted.queue_delete(queue.into(), QueueDeleteOptions::default());
        self.runtime.block_on(deleted).unwrap();
    }

    /// Publishes to a queue through the default exchange. Gives the ids that the broker confirmed; the others may or may not
    /// have arrived, as when the broker dies meanwhile.
    pub(crate) fn try_publish(&self, queue: &str, messages: &[Message]) -> Vec<String> {
        self.try_publish_to("", queue, messages)
    }

    /// The same through an exchange: what no queue is bound to take is not among those that are confirmed.
    pub(crate) fn try_publish_to(
        &self,
        exchange: &str,
        key: &str,
        messages: &[Message],
    ) -> Vec<String> {
        let Ok(channel) = self.runtime.block_on(self.try_channel()) else {
            return Vec::new();
        };
        let publish = async {
            let mut under_way = Vec::new();
            let select = channel.confirm_select(ConfirmSelectOptions::default());
            if select.await.is_err() {
                return Vec::new();
            }
            for message in messages {
                let options = BasicPublishOptions {
                    mandatory: true,
                    ..BasicPublishOptions::default()
                };
                let properties = message.properties.clone().with_headers(message.table());
                let sent = channel.basic_publish(
                    exchange.into(),
                    key.into(),
                    options,
                    &message.body,
                    properties,
                );
                match sent.await {
                    Ok(confirm) => under_way.push((message.id.clone(), confirm)),
                    Err(_) => break,
                }
            }
            let mut confirmed = Vec::new();
            for (id, confirm) in under_way {
                if let Ok(Confirmation::Ack(None)) = confirm.await {
                    confirmed.push(id);
                }
            }
            confirmed
        };
        self.runtime.block_on(publish)
    }

    /// Publishes messages, all of which must be confirmed.
    pub(crate) fn publish(&self, queue: &str, messages: &[Message]) -> Vec<String> {
        drop(self.channel());
        let confirmed = self.try_publish(queue, messages);
        assert_eq!(confirmed.len(), messages.len(), "not all were confirmed");
        confirmed
    }

    /// Publishes messages through an exchange, all of which must be confirmed and go to some queue.
    pub(crate) fn publish_to(&self, exchange: &str, key: &str, messages: &[Message]) {
        drop(self.channel());
        let confirmed = self.try_publish_to(exchange, key, messages);
        assert_eq!(confirmed.len(), messages.len(), "not all were confirmed");
    }

    /// How many messages are ready in a queue; `None`: there is no such queue.
    pub(crate) fn ready(&self, queue: &str) -> Option<u32> {
        let channel = self.channel();
        let look = channel.queue_declare(
            queue.into(),
            QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            },
            FieldTable::default(),
        );
        let found = self.runtime.block_on(look).ok()?;
        Some(found.message_count())
    }

    /// Takes all that is ready out of a queue.
    pub(crate) fn drain(&self, queue: &str) -> Vec<Message> {
        let channel = self.channel();
        let drain = async {
            let mut taken = Vec::new();
            let options = BasicGetOptions { no_ack: false };
            while let Some(got) = channel.basic_get(queue.into(), options).await? {
                got.delivery.ack(BasicAckOptions::default()).await?;
                taken.push(Message::found(got.delivery.properties, got.delivery.data));
            }
            Ok::<_, lapin::Error>(taken)
        };
        self.runtime.block_on(drain).unwrap()
    }

    /// Consumes a queue as somebody else would, and acknowledges nothing, as long as the caller keeps what it gets.
    pub(crate) fn consume_and_hold(&self, queue: &str) -> (Channel, lapin::Consumer) {
        self.consume_with(queue, BasicConsumeOptions::default())
    }

    /// The same, and nobody else may consume it meanwhile.
    pub(crate) fn consume_alone(&self, queue: &str) -> (Channel, lapin::Consumer) {
        let alone = BasicConsumeOptions {
            exclusive: true,
            ..BasicConsumeOptions::default()
        };
        self.consume_with(queue, alone)
    }

    fn consume_with(
        &self,
        queue: &str,
        options: BasicConsumeOptions,
    ) -> (Channel, lapin::Consumer) {
        let (channel, none) = (self.channel(), FieldTable::default());
        let consume = channel.basic_consume(queue.into(), "somebody".into(), options, none);
        let consumer = self.runtime.block_on(consume).unwrap();
        (channel, consumer)
    }

    /// Reads a stream from its first message to where it ends now: when nothing came for a while.
    pub(crate) fn read_stream(&self, stream: &str) -> Vec<Message> {
        let channel = self.channel();
        let read = async {
            let qos = channel.basic_qos(500, BasicQosOptions::default());
            qos.await?;
            let mut from_the_start = FieldTable::default();
            from_the_start.insert("x-stream-offset".into(), long("first"));
            let options = BasicConsumeOptions::default();
            let consume =
                channel.basic_consume(stream.into(), "the test".into(), options, from_the_start);
            let mut consumer = consume.await?;
            let mut read = Vec::new();
            // A busy broker takes its time to begin.
            let mut quiet = Duration::from_secs(5);
            while let Ok(Some(next)) = tokio::time::timeout(quiet, consumer.next()).await {
                quiet = Duration::from_secs(1);
                let delivery = next?;
                delivery.ack(BasicAckOptions::default()).await?;
                read.push(Message::found(delivery.properties, delivery.data));
            }
            Ok::<_, lapin::Error>(read)
        };
        self.runtime.block_on(read).unwrap()
    }
}

/// A header or argument that is text.
pub(crate) fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;

    fn what_was_published_is_found_again(kind: Kind) {
        let broker = Broker::shared();
        let vhost = broker.vhost(&format!("ledger-{}", kind.word()));
        let ledger = Ledger::at(&broker.url(&vhost));
        assert_eq!(ledger.ready("orders"), None);
        ledger.declare("orders", kind, &[]);
        let sent = [
            Message::new("a").text("x-account", "acme"),
            Message::new("b"),
        ];
        assert_eq!(ledger.publish("orders", &sent), ["a", "b"]);
        eventually("both are ready", Duration::from_secs(5), || {
            match ledger.ready("orders") {
                Some(2) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        let found = ledger.drain("orders");
        assert_eq!(found[0].said("x-account").as_deref(), Some("acme"));
        assert_eq!(found[1].body, b"{\"id\":\"b\"}");
        assert_eq!(ledger.try_publish("nowhere", &sent), Vec::<String>::new());
        assert_eq!(broker.queues(&vhost), ["orders"]);
        ledger.delete("orders");
        assert_eq!(ledger.ready("orders"), None);
    }

    #[test]
    fn what_was_published_is_found_again_in_classic_queues() {
        what_was_published_is_found_again(Kind::Classic);
    }

    #[test]
    fn what_was_published_is_found_again_in_quorum_queues() {
        what_was_published_is_found_again(Kind::Quorum);
    }
}
