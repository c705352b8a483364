//! Asks the broker for the depth of the queue, on a channel of its own: that is the backlog, the sign that the queue is there, and
//! the watchdog of the connection. May import no room.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::time::timeout;

use super::connection::{Link, Lost, Tries};
use super::headers::short;

/// How often the broker is asked.
const EVERY: Duration = Duration::from_secs(5);
/// How long it may take to answer before the connection counts as dead.
const ANSWER: Duration = Duration::from_secs(5);

/// What the broker says of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// messages ready
    pub(super) ready: u64,
    /// consumers, ours among them
    pub(super) consumers: u32,
}

/// What the broker answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The queue is there.
    There(Seen),
    /// The queue is not there.
    Missing,
    /// It could not be asked; it is asked again.
    Trouble(Lost),
    /// It did not answer in time.
    Mute,
}

type Round = (Option<Channel>, Answer);

/// Asks again and again.
pub(super) struct Probe {
    link: Rc<Link>,
    queue: String,
    round: LocalBoxFuture<'static, Round>,
    troubles: Tries,
}

impl Probe {
    /// Asks at once, then every few seconds.
    pub(super) fn new(link: Rc<Link>, queue: &str) -> Self {
        Self {
            round: round(Rc::clone(&link), None, queue.to_owned(), Duration::ZERO).boxed_local(),
            link,
            queue: queue.to_owned(),
            troubles: Tries::default(),
        }
    }

    /// Asks now: something happened that the answer will explain.
    pub(super) fn hurry(&mut self) {
        self.go(None, Duration::ZERO);
    }

    /// The next answer. Cancel safe.
    pub(super) fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Answer> {
        let (channel, answer) = ready!(self.round.as_mut().poll(context));
        let wait = match &answer {
            Answer::There(_) | Answer::Mute => {
                self.troubles.over();
                EVERY
            }
            Answer::Missing => self.troubles.next_wait(&Lost::Missing(String::new())),
            Answer::Trouble(lost) => self.troubles.next_wait(lost),
        };
        self.go(channel, wait);
        Poll::Ready(answer)
    }

    fn go(&mut self, channel: Option<Channel>, wait: Duration) {
        self.round = round(Rc::clone(&self.link), channel, self.queue.clone(), wait).boxed_local();
    }
}

async fn round(link: Rc<Link>, channel: Option<Channel>, queue: String, wait: Duration) -> Round {
    tokio::time::sleep(wait).await;
    let asked = async {
        let channel = match channel {
            Some(channel) => channel,
            None => link.channel().await?,
        };
        let seen = look(&channel, &queue).await?;
        Ok((channel, seen))
    };
    match timeout(ANSWER, asked).await {
        Ok(Ok((channel, seen))) => (Some(channel), Answer::There(seen)),
        // A refused question closes its channel; the next one opens another.
        Ok(Err(Lost::Missing(_))) => (None, Answer::Missing),
        Ok(Err(lost)) => (None, Answer::Trouble(lost)),
        Err(_) => (None, Answer::Mute),
    }
}

/// How many messages are ready in a queue; it is never declared.
pub(super) async fn depth(channel: &Channel, queue: &str) -> Result<u64, Lost> {
    Ok(look(channel, queue).await?.ready)
}

/// What the broker says of a queue; it is never declared.
pub(super) async fn look(channel: &Channel, queue: &str) -> Result<Seen, Lost> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let name =
        short("the name of the queue", queue).map_err(|why| Lost::Broken(why.to_string()))?;
    let found = channel
        .queue_declare(name, passive, FieldTable::default())
        .await?;
    Ok(Seen {
        ready: found.message_count().into(),
        consumers: found.consumer_count(),
    })
}
