//! One message to be published: as AMQP writes it, and what the broker says of it. May import `rules` and `seams`.

use std::sync::Arc;

use bytes::Bytes;
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};

use super::connection::Lost;
use super::flights::{Heard, Said};
use super::headers::{TooLong, basic_properties, short, table};
use crate::rules::message::Field;
use crate::seams::{NotPlaced, Outgoing, Place};

/// Written into each message, so that a returned one tells which it is.
const NUMBER_HEADER: &str = "x-sluicegate-publish";
/// Persistent, as AMQP numbers it.
const PERSISTENT: u8 = 2;

/// A message with its address.
pub(super) struct Letter {
    to: ShortString,
    properties: BasicProperties,
    body: Bytes,
}

impl Letter {
    /// The message with this number, for the queue `to`; `user`: who we are at the broker.
    pub(super) fn new(
        message: Outgoing,
        number: i64,
        (place, to): (Place, &str),
        user: &str,
    ) -> Result<Self, TooLong> {
        let (mut properties, mut headers) = (message.properties, message.headers);
        headers.push((NUMBER_HEADER.to_owned(), Field::LongLongInt(number)));
        if place != Place::Admitted {
            properties.delivery_mode = Some(PERSISTENT);
        }
        // The broker would close the channel over another's.
        properties.user_id = properties.user_id.filter(|theirs| theirs == user);
        Ok(Self {
            to: short("the name of a queue", to)?,
            properties: basic_properties(properties, table(headers)?)?,
            body: message.body,
        })
    }

    /// Publishes it. The first poll hands it over to lapin whole.
    pub(super) async fn publish(self, channel: Arc<Channel>) -> Heard {
        let unsure = |error: lapin::Error| NotPlaced::Unsure(Lost::from(error).to_string());
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let sent = channel.basic_publish("".into(), self.to, options, &self.body, self.properties);
        let confirmed = sent.await.map_err(unsure)?;
        Ok(match confirmed.await.map_err(unsure)? {
            Confirmation::Ack(None) => Said::Taken,
            Confirmation::Ack(Some(message)) => Said::CameBack(number_of(&message)),
            Confirmation::Nack(message) => Said::Full(message.as_ref().and_then(number_of)),
            Confirmation::NotRequested => Said::Full(None),
        })
    }
}

fn number_of(message: &BasicReturnMessage) -> Option<i64> {
    let headers = message.delivery.properties.headers().as_ref()?;
    match headers.inner().get(NUMBER_HEADER)? {
        AMQPValue::LongLongInt(number) => Some(*number),
        _ => None,
    }
}
