//! Puts messages of jobs in doubt back from the park into their queue, each as it was parked: its envelope is opened when it is taken.
//! What lies in a stream stays there; a plain park gives the message away. May import `config`, `rules`, `seams` and `topology`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use tokio::time::timeout;

use super::connection::{Connector, Link, Lost, new_tag};
use super::flights::Said;
use super::headers::short;
use super::letter::Letter;
use super::probe::depth;
use super::tap::raw;
use crate::config::{Amqp, Queue};
use crate::rules::doubt::Doubt;
use crate::rules::envelope::{AT, ATTEMPT, ID};
use crate::rules::message::{Field, Raw};
use crate::seams::{Outgoing, Place};
use crate::topology::places;

/// How long the next message of the park is waited for; then its end is reached.
const NEXT: Duration = Duration::from_secs(3);
/// How long one question to the broker may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Messages of a stream that are out at once.
const AT_ONCE: u16 = 100;
/// A message may have been parked so long after its job was in doubt: over midnight it lies in the next day's stream.
const LATER: i64 = 600_000;
/// A stream is read from a little before.
const BEFORE: i64 = 5_000;

/// Puts the messages of these jobs, all of one queue, back into it. Gives the ids of those that were put back; the others were not
/// found.
///
/// # Errors
/// When the broker cannot be asked: a sentence. Some may have been put back before.
pub async fn put_back(
    settings: &Amqp,
    queue: &Queue,
    doubts: &[Doubt],
) -> Result<Vec<Arc<str>>, String> {
    let connector = Connector::new(settings, Some(queue), "replay");
    let link = connector.connect().await.map_err(|why| why.to_string())?;
    let mut search = Search {
        queue,
        user: connector.user(),
        missing: doubts.to_vec(),
        found: Vec::new(),
    };
    let searched = search.everywhere(&link).await;
    link.close().await;
    match searched {
        Ok(()) => Ok(search.found),
        Err(why) if search.found.is_empty() => Err(why.to_string()),
        Err(why) => {
            tracing::warn!(queue = %queue.name, %why, "the park could not be read to its end");
            Ok(search.found)
        }
    }
}

struct Search<'a> {
    queue: &'a Queue,
    user: String,
    missing: Vec<Doubt>,
    found: Vec<Arc<str>>,
}

impl Search<'_> {
    async fn everywhere(&mut self, link: &Link) -> Result<(), Lost> {
        let name = |at_ms| places::name(self.queue, Place::Park, at_ms);
        let times = self
            .missing
            .iter()
            .flat_map(|doubt| [doubt.at_ms, doubt.at_ms + LATER]);
        let names: BTreeSet<String> = times.map(name).collect();
        let out = within(link.channel()).await?;
        within(async { Ok(out.confirm_select(ConfirmSelectOptions::default()).await?) }).await?;
        let out = Arc::new(out);
        for name in names {
            let there = within(async { depth(&link.channel().await?, &name).await }).await;
            match there {
                Ok(_) => self.one(link, &name, &out).await?,
                Err(Lost::Missing(_)) => {}
                Err(lost) => return Err(lost),
            }
        }
        Ok(())
    }

    /// Reads one stream or queue from where the oldest may lie, to its end or until all are found.
    async fn one(&mut self, link: &Link, name: &str, out: &Arc<Channel>) -> Result<(), Lost> {
        let streams = self.queue.park.streams;
        let Some(oldest) = self.missing.iter().map(|doubt| doubt.at_ms).min() else {
            return Ok(());
        };
        let channel = within(link.channel()).await?;
        let mut consumer = within(self.consume(&channel, name, oldest)).await?;
        while !self.missing.is_empty() {
            let Ok(Some(delivery)) = timeout(NEXT, consumer.next()).await else {
                break;
            };
            let delivery = delivery?;
            let (acker, taken) = (delivery.acker.clone(), self.look(delivery, out).await?);
            // What is left unacknowledged of a plain park goes back to its place when the channel closes.
            if streams || taken {
                acker.ack(BasicAckOptions::default()).await?;
            }
        }
        drop(consumer);
        // An error means that it is closed already.
        let _ = within(async { Ok(channel.close(200, "goodbye".into()).await?) }).await;
        Ok(())
    }

    async fn consume(&self, channel: &Channel, name: &str, oldest: i64) -> Result<Consumer, Lost> {
        let mut arguments = FieldTable::default();
        if self.queue.park.streams {
            channel
                .basic_qos(AT_ONCE, BasicQosOptions::default())
                .await?;
            let from = u64::try_from((oldest - BEFORE) / 1_000).unwrap_or_default();
            arguments.insert("x-stream-offset".into(), AMQPValue::Timestamp(from));
        }
        let broken = |why: super::headers::TooLong| Lost::Broken(why.to_string());
        let (name, tag) = (
            short("the name of the park", name).map_err(broken)?,
            short("a consumer's tag", new_tag()).map_err(broken)?,
        );
        let options = BasicConsumeOptions::default();
        Ok(channel.basic_consume(name, tag, options, arguments).await?)
    }

    /// Puts a message back if it is one that is sought; whether it was.
    async fn look(&mut self, delivery: Delivery, out: &Arc<Channel>) -> Result<bool, Lost> {
        let raw = raw(delivery);
        let Some(at) = self.missing.iter().position(|doubt| is_of(&raw, doubt)) else {
            return Ok(false);
        };
        let number = i64::try_from(self.found.len()).unwrap_or_default();
        let to = (Place::Park, self.queue.broker_name.as_str());
        let letter = Letter::new(anew(raw), number, to, &self.user)
            .map_err(|why| Lost::Broken(why.to_string()))?;
        let said = within(async {
            let heard = letter.publish(Arc::clone(out)).await;
            heard.map_err(|why| Lost::Broken(why.to_string()))
        });
        match said.await? {
            Said::Taken => {
                self.found.push(self.missing.swap_remove(at).id);
                Ok(true)
            }
            Said::CameBack(_) => Err(Lost::Missing("the queue is not there".to_owned())),
            Said::Full(_) => Err(Lost::Broken("the queue is full".to_owned())),
        }
    }
}

/// Whether a parked message is that of a job in doubt: of its id, and not parked before it was in doubt.
fn is_of(raw: &Raw, doubt: &Doubt) -> bool {
    let id = raw.header(ID).and_then(Field::as_text);
    let at = raw.header(AT).and_then(Field::as_integer);
    id.as_deref() == Some(&*doubt.id) && at.is_some_and(|at| at >= doubt.at_ms)
}

/// The message as it is put back: its attempts begin anew.
fn anew(raw: Raw) -> Outgoing {
    let mut headers = raw.headers;
    headers.retain(|(name, _)| name != ATTEMPT && name != "x-stream-offset");
    headers.push((ATTEMPT.to_owned(), Field::LongLongInt(0)));
    Outgoing {
        properties: raw.properties,
        headers,
        body: raw.body,
        at_ms: 0,
    }
}

async fn within<T>(asked: impl Future<Output = Result<T, Lost>>) -> Result<T, Lost> {
    let mute = || Err(Lost::Broken("the broker does not answer".to_owned()));
    timeout(ANSWER, asked).await.unwrap_or_else(|_| mute())
}
