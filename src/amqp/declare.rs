//! The queues that are ours: where a message goes that leaves our hands, declared when it is first needed.
//!
//! Delay queues are quorum queues that dead-letter at least once and refuse when full: through a classic one, messages were lost
//! when the source queue was full or gone. Park and dead letters are streams, one for each day. With `declare = false` nothing is
//! declared, and names are all that this file knows. May import `config`, `rules` and `seams`.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use tokio::sync::Mutex;

use super::connection::{Link, Lost};
use super::headers::short;
use super::probe::depth;
use crate::config::{ParkSettings, Queue};
use crate::rules::names::{Day, dead_stream, delay_queue, lane_queue, park_stream};
use crate::seams::{NotPlaced, Place};

/// Declares what is ours on one connection, each thing once.
pub(super) struct Declarer {
    link: Rc<Link>,
    queue: Rc<Queue>,
    allowed: bool,
    /// One declaration at a time, on a channel that a refusal closes without harm to any other.
    channel: Mutex<Option<Channel>>,
    known: RefCell<HashSet<String>>,
}

impl Declarer {
    /// Knows nothing yet.
    pub(super) fn new(link: Rc<Link>, queue: Rc<Queue>, allowed: bool) -> Self {
        Self {
            link,
            queue,
            allowed,
            channel: Mutex::default(),
            known: RefCell::default(),
        }
    }

    /// The queue for a message of that time.
    pub(super) fn name(&self, place: Place, at_ms: i64) -> String {
        name(&self.queue, place, at_ms)
    }

    /// Declares the queue of a place, also when that was done before: somebody may have removed it since. The stream of a day is
    /// declared when the day's first message comes.
    pub(super) async fn prepare(&self, place: Place) -> Result<(), NotPlaced> {
        if !self.allowed || matches!(place, Place::Park | Place::Dead) {
            return Ok(());
        }
        let name = self.name(place, 0);
        self.forget(&name);
        self.declare(place, &name).await?;
        self.known.borrow_mut().insert(name);
        Ok(())
    }

    /// Declares the queue of a place if it is ours to declare and was not declared yet. A lane is declared by
    /// [`Declarer::prepare`] alone: who waits for a declaration is overtaken by who comes after it.
    pub(super) async fn ready(&self, place: Place, name: &str) -> Result<(), NotPlaced> {
        let ours = match place {
            Place::Lane(_) => false,
            Place::Dead => self.queue.dead_letter_queue.is_none(),
            Place::Park | Place::Delay(_) | Place::Admitted => true,
        };
        if ours && self.allowed && !self.known.borrow().contains(name) {
            self.declare(place, name).await?;
            self.known.borrow_mut().insert(name.to_owned());
        }
        Ok(())
    }

    /// A message to it was returned: it is gone, and declared anew when it is needed again.
    pub(super) fn forget(&self, name: &str) {
        self.known.borrow_mut().remove(name);
    }

    async fn declare(&self, place: Place, name: &str) -> Result<(), NotPlaced> {
        let mut at = self.channel.lock().await;
        if self.known.borrow().contains(name) {
            return Ok(()); // another message waited for the same
        }
        let unsure = |lost: Lost| NotPlaced::Unsure(lost.to_string());
        let channel = match at.take().filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => self.link.channel().await.map_err(unsure)?,
        };
        let arguments = arguments(&self.queue, place);
        match declare(&channel, name, arguments).await {
            Ok(()) => {
                tracing::info!(queue = name, "declared");
                *at = Some(channel);
                Ok(())
            }
            Err(lost) if place != Place::Park && place != Place::Dead => Err(refused(name, &lost)),
            Err(lost) => self.use_as_it_is(name, &lost).await,
        }
    }

    /// A stream whose size or age was changed in the file stays as it is until its day is over; it holds messages all the same.
    async fn use_as_it_is(&self, name: &str, why: &Lost) -> Result<(), NotPlaced> {
        let there = async {
            let channel = self.link.channel().await?;
            depth(&channel, name).await
        };
        match (why, there.await) {
            (Lost::Broken(_), Ok(_)) => {
                tracing::warn!(queue = name, reason = %why, "it exists with other arguments and is used as it is");
                Ok(())
            }
            _ => Err(refused(name, why)),
        }
    }
}

fn refused(name: &str, why: &Lost) -> NotPlaced {
    NotPlaced::Refused(format!(
        "the queue {name} cannot be declared: {why}; permit it, remove what is in its way, or declare it yourself and set `declare = false`"
    ))
}

/// Declares a durable queue.
pub(super) async fn declare(
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
) -> Result<(), Lost> {
    let name = short("the name of a queue", name).map_err(|why| Lost::Broken(why.to_string()))?;
    channel
        .queue_declare(name, QueueDeclareOptions::durable(), arguments)
        .await?;
    Ok(())
}

/// The name of the queue for a message of that time.
fn name(queue: &Queue, place: Place, at_ms: i64) -> String {
    match (place, &queue.dead_letter_queue) {
        (Place::Delay(delay), _) => delay_queue(&queue.broker_name, delay),
        (Place::Lane(lane), _) => lane_queue(&queue.broker_name, lane),
        (Place::Admitted, _) => queue.admitted().to_owned(),
        (Place::Park, _) => park_stream(&queue.broker_name, Day::of(at_ms)),
        (Place::Dead, Some(theirs)) => theirs.clone(),
        (Place::Dead, None) => dead_stream(&queue.broker_name, Day::of(at_ms)),
    }
}

/// The arguments with which a place is declared; they never change, or the broker refuses the declaration.
pub(super) fn arguments(queue: &Queue, place: Place) -> FieldTable {
    match place {
        Place::Delay(delay) => table([
            ("x-queue-type", text("quorum")),
            ("x-message-ttl", number(delay.as_millis())),
            ("x-overflow", text("reject-publish")),
            ("x-dead-letter-strategy", text("at-least-once")),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(&queue.broker_name)),
        ]),
        Place::Lane(_) => FieldTable::default(),
        Place::Admitted => table([
            ("x-max-length", number(queue.slots.into())),
            ("x-overflow", text("reject-publish")),
        ]),
        Place::Park | Place::Dead if queue.park.streams => stream(&queue.park),
        Place::Park | Place::Dead => plain(&queue.park),
    }
}

/// A stream drops whole segments, the oldest first: the smaller they are, the better its bounds are kept.
fn stream(park: &ParkSettings) -> FieldTable {
    const SMALLEST: u64 = 1_000_000;
    const LARGEST: u64 = 100_000_000;
    table([
        ("x-queue-type", text("stream")),
        ("x-max-age", text(&format!("{}s", park.max_age.as_secs()))),
        ("x-max-length-bytes", bytes(park.max_bytes)),
        (
            "x-stream-max-segment-size-bytes",
            bytes((park.max_bytes / 20).clamp(SMALLEST, LARGEST)),
        ),
    ])
}

/// A plain queue that refuses when it is full, for brokers without streams.
fn plain(park: &ParkSettings) -> FieldTable {
    let max_age = i64::try_from(park.max_age.as_millis()).unwrap_or(i64::MAX);
    table([
        ("x-message-ttl", number(max_age)),
        ("x-max-length-bytes", bytes(park.max_bytes)),
        ("x-overflow", text("reject-publish")),
    ])
}

fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(name.into(), value);
    }
    table
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn number(number: i64) -> AMQPValue {
    AMQPValue::LongLongInt(number)
}

fn bytes(count: u64) -> AMQPValue {
    number(i64::try_from(count).unwrap_or(i64::MAX))
}
