//! The queues that are ours: where a message goes that leaves our hands, declared when it is first needed.
//!
//! Their names and arguments stand in `topology`. With `declare = false` nothing is declared; what is missing then is said at the
//! start of each connection. May import `config`, `rules`, `seams` and `topology`.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use tokio::sync::Mutex;

use super::admitted::{self, Existing};
use super::connection::{Link, Lost};
use super::headers::short;
use super::probe::depth;
use crate::config::Queue;
use crate::seams::{NotPlaced, Place};
use crate::topology::CURE;
use crate::topology::places::{self, Argument};

/// Declares what is ours on one connection, each thing once.
pub(super) struct Declarer {
    link: Rc<Link>,
    queue: Rc<Queue>,
    /// One declaration at a time, on a channel that a refusal closes without harm to any other.
    channel: Mutex<Option<Channel>>,
    known: RefCell<HashSet<String>>,
    doubts: Doubts,
}

/// What is doubtful about a place though it is used; told to people by the outlet.
pub(super) type Doubts = Rc<RefCell<Option<String>>>;

impl Declarer {
    /// Knows nothing yet.
    pub(super) fn new(link: Rc<Link>, queue: Rc<Queue>, doubts: Doubts) -> Self {
        Self {
            link,
            queue,
            channel: Mutex::default(),
            known: RefCell::default(),
            doubts,
        }
    }

    /// The queue for a message of that time.
    pub(super) fn name(&self, place: Place, at_ms: i64) -> String {
        places::name(&self.queue, place, at_ms)
    }

    /// Declares the queue of a place, also when that was done before: somebody may have removed it since. The stream of a day is
    /// declared when the day's first message comes.
    pub(super) async fn prepare(&self, place: Place) -> Result<(), NotPlaced> {
        if !self.queue.declare || matches!(place, Place::Park | Place::Dead) {
            return Ok(());
        }
        let name = self.name(place, 0);
        self.forget(&name);
        self.declare(place, &name).await?;
        self.known.borrow_mut().insert(name);
        Ok(())
    }

    /// Whether the queue of a place is ours to declare and was not declared yet. A lane is declared by [`Declarer::prepare`] alone.
    pub(super) fn wants(&self, place: Place, name: &str) -> bool {
        let ours = places::ours(&self.queue, place) && !matches!(place, Place::Lane(_));
        ours && self.queue.declare && !self.known.borrow().contains(name)
    }

    /// Declares the queue of a place if it wants to be.
    pub(super) async fn ready(&self, place: Place, name: &str) -> Result<(), NotPlaced> {
        if self.wants(place, name) {
            self.declare(place, name).await?;
            self.known.borrow_mut().insert(name.to_owned());
        }
        Ok(())
    }

    /// Declares the admitted queue before anything is admitted, so that workers who come first can read it.
    pub(super) async fn begin(&self) {
        let name = self.queue.admitted();
        if name.is_empty() {
            return;
        }
        if let Err(why) = self.ready(Place::Admitted, name).await {
            tracing::warn!(queue = name, %why, "the admitted queue is not ready");
        }
    }

    /// A message to it was returned: it is gone, and declared anew when it is needed again. Says what came of the message.
    pub(super) fn forget(&self, name: &str) -> NotPlaced {
        self.known.borrow_mut().remove(name);
        let missing = format!("the queue {name} does not exist");
        NotPlaced::Refused(if self.queue.declare {
            missing
        } else {
            format!("{missing}; {CURE}")
        })
    }

    /// Says which of the queues that somebody else was to make are missing; what belongs there is held until they are there.
    pub(super) async fn look_around(&self) {
        if self.queue.declare {
            return;
        }
        for place in places::places(&self.queue) {
            let name = self.name(place, 0);
            let there = async {
                let channel = self.link.channel().await?;
                let found = depth(&channel, &name).await;
                if channel.status().connected() {
                    // An error means that it is closed already.
                    let _ = channel.close(200, "goodbye".into()).await;
                }
                found
            };
            if let Err(Lost::Missing(_)) = there.await {
                tracing::warn!(
                    queue = name,
                    cure = CURE,
                    "a queue that `declare = false` leaves to you is missing; what belongs there is held"
                );
            }
        }
    }

    async fn declare(&self, place: Place, name: &str) -> Result<(), NotPlaced> {
        let mut at = self.channel.lock().await;
        if self.known.borrow().contains(name) {
            return Ok(()); // another message waited for the same
        }
        let unsure = |lost: Lost| NotPlaced::NotSent(lost.to_string());
        let channel = match at.take().filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => self.link.channel().await.map_err(unsure)?,
        };
        let arguments = arguments(&self.queue, place);
        match declare(&channel, name, arguments).await {
            Ok(()) => {
                tracing::info!(queue = name, "declared");
                *at = Some(channel);
                if place == Place::Admitted {
                    self.doubts.take();
                }
                Ok(())
            }
            Err(lost) if place == Place::Admitted => self.admit_as_it_is(name, &lost).await,
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

impl Declarer {
    /// The admitted queue exists with other arguments: it is used unless it would lose messages, and people are told.
    async fn admit_as_it_is(&self, name: &str, why: &Lost) -> Result<(), NotPlaced> {
        let Lost::Broken(said) = why else {
            return Err(refused(name, why));
        };
        match admitted::existing(name, said) {
            Existing::Doubtful(doubt) => {
                self.use_as_it_is(name, why).await?;
                if self.doubts.replace(Some(doubt.clone())).as_ref() != Some(&doubt) {
                    tracing::error!(queue = name, "{doubt}");
                }
                Ok(())
            }
            Existing::Harmful(harm) => Err(NotPlaced::Refused(harm)),
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

/// The arguments with which a place is declared, as the client wants them.
pub(super) fn arguments(queue: &Queue, place: Place) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in places::arguments(queue, place) {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Argument::Number(number) => AMQPValue::LongLongInt(number),
        };
        table.insert(name.into(), value);
    }
    table
}
