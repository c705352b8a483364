//! The consumer of one queue: opened, flowing, ending. What it gives is polled by the inlet. May import `rules` and `seams`.

use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Consumer};

use super::acks::Acks;
use super::connection::{Link, Lost, last_tag, new_tag};
use super::headers::{fields, properties, short};
use crate::rules::message::Raw;
use crate::rules::watermark::Tally;
use crate::seams::Wanted;

type Opened = Result<(Rc<Channel>, Consumer), Lost>;

/// The consumer on a connection.
pub(super) enum Tap {
    /// There is none.
    Shut,
    /// There was trouble; the next try comes when the wait ends.
    Waiting(LocalBoxFuture<'static, ()>),
    /// There is none until the probe has seen the queue again.
    Doubtful,
    /// There was one: its channel closes, and whatever is out goes back.
    LettingGo {
        told: LocalBoxFuture<'static, Tally>,
        /// So many settlements have yet to be told of.
        owed: u32,
    },
    /// There will be one.
    Opening {
        prefetch: u16,
        opened: LocalBoxFuture<'static, Opened>,
    },
    /// There is one.
    Open {
        prefetch: u16,
        consumer: Consumer,
        /// Asked to end; what was on its way still comes.
        ending: Option<LocalBoxFuture<'static, lapin::Result<()>>>,
    },
}

/// What came of it.
pub(super) enum Flow {
    WaitOver,
    Opened(u16, Rc<Channel>, Consumer),
    Came(Box<lapin::message::Delivery>),
    /// The last delivery has come: we cancelled the consumer, or the broker did.
    Ended,
    /// The channel is closed; that is what became of its last settlements.
    LetGo(Tally),
    Broke(Lost),
}

impl Tap {
    /// Opens a consumer, on `channel` if there is one.
    pub(super) fn open(
        link: Rc<Link>,
        channel: Option<Rc<Channel>>,
        queue: String,
        prefetch: u16,
    ) -> Self {
        let opened = open(link, channel, queue, prefetch).boxed_local();
        Self::Opening { prefetch, opened }
    }

    /// Whether we have cancelled the consumer ourselves.
    pub(super) fn is_ending(&self) -> bool {
        let Self::Open { ending, .. } = self else {
            return false;
        };
        ending.is_some()
    }

    /// What an open consumer that was not asked to end does.
    pub(super) fn flowing(&self) -> Option<Wanted> {
        match *self {
            Self::Open {
                prefetch,
                ending: None,
                ..
            } => Some(Wanted::Consume { prefetch }),
            _ => None,
        }
    }

    /// The tag of the consumer, if there is one.
    pub(super) fn tag(&self) -> Option<ShortString> {
        match self {
            Self::Open { consumer, .. } => Some(consumer.tag()),
            _ => None,
        }
    }

    /// Asks the consumer to end.
    pub(super) fn end(&mut self, channel: Rc<Channel>) {
        if let Self::Open {
            consumer, ending, ..
        } = self
        {
            // Fused, because it is polled for as long as deliveries still come.
            *ending = Some(cancel(channel, consumer.tag()).fuse().boxed_local());
        }
    }

    /// Lets go of all that is out: what was settled is surely sent, then the channel closes. The consumer lasts until then, or a
    /// standby would have what follows before what is out is back.
    pub(super) fn let_go(&mut self, acks: Acks, queue: String) {
        let owed = acks.owed();
        let consumer = std::mem::replace(self, Self::Shut);
        let told = async move {
            let told = acks.last_words(None, &queue).await;
            drop(consumer);
            told
        };
        let told = told.boxed_local();
        *self = Self::LettingGo { told, owed };
    }

    /// What comes next.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Flow> {
        match self {
            Self::Shut | Self::Doubtful => Poll::Pending,
            Self::LettingGo { told, .. } => told.as_mut().poll(context).map(Flow::LetGo),
            Self::Waiting(wait) => wait.as_mut().poll(context).map(|()| Flow::WaitOver),
            Self::Opening { prefetch, opened } => {
                let prefetch = *prefetch;
                opened.as_mut().poll(context).map(|opened| match opened {
                    Ok((channel, consumer)) => Flow::Opened(prefetch, channel, consumer),
                    Err(lost) => Flow::Broke(lost),
                })
            }
            Self::Open {
                consumer, ending, ..
            } => {
                // The answer to a cancel says nothing that the end of the stream does not say after the last delivery.
                if let Some(ending) = ending {
                    let _ = ending.as_mut().poll(context);
                }
                consumer.poll_next_unpin(context).map(|came| match came {
                    Some(Ok(delivery)) => Flow::Came(Box::new(delivery)),
                    Some(Err(error)) => Flow::Broke(error.into()),
                    None => Flow::Ended,
                })
            }
        }
    }
}

/// A consumer, on a channel of its own unless one is there; the prefetch is set before, and is never 0.
async fn open(
    link: Rc<Link>,
    channel: Option<Rc<Channel>>,
    queue: String,
    prefetch: u16,
) -> Opened {
    let channel = match channel {
        Some(channel) if channel.status().connected() => channel,
        _ => Rc::new(link.channel().await?),
    };
    let name =
        short("the name of the queue", &queue).map_err(|why| Lost::Broken(why.to_string()))?;
    channel
        .basic_qos(prefetch, BasicQosOptions::default())
        .await?;
    let options = BasicConsumeOptions::default();
    let tag = short("a consumer's tag", new_tag()).map_err(|why| Lost::Broken(why.to_string()))?;
    let consumer = channel
        .basic_consume(name, tag, options, FieldTable::default())
        .await?;
    Ok((channel, consumer))
}

/// A delivery in our words.
pub(super) fn raw(delivery: lapin::message::Delivery) -> Raw {
    let headers = delivery.properties.headers().as_ref();
    Raw {
        exchange: delivery.exchange.into(),
        routing_key: delivery.routing_key.into(),
        redelivered: delivery.redelivered,
        properties: properties(&delivery.properties),
        headers: headers.map(fields).unwrap_or_default(),
        body: delivery.data.into(),
    }
}

/// Cancels a consumer.
pub(super) async fn cancel(channel: Rc<Channel>, tag: ShortString) -> lapin::Result<()> {
    channel
        .basic_cancel(tag, BasicCancelOptions::default())
        .await
}

/// Waits until the broker has passed on every settlement of this channel.
///
/// It tells a quorum queue of settlements bit by bit, as fast as the disk takes them, and forgets what is left when their channel
/// closes. A consumer that comes and goes is something that the queue answers in its turn, after what it was told before. It comes
/// after ours in everything, so that what it is given is the last of what is out, and goes back as the last: by its priority, and by
/// its tag, in whose order a quorum queue takes back what the consumers of a lost channel had.
pub(super) async fn passed_on(channel: &Rc<Channel>, queue: &str) -> Result<(), Lost> {
    let name =
        short("the name of the queue", queue).map_err(|why| Lost::Broken(why.to_string()))?;
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let tag = short("a consumer's tag", last_tag()).map_err(|why| Lost::Broken(why.to_string()))?;
    let mut last = FieldTable::default();
    last.insert("x-priority".into(), AMQPValue::LongInt(-1));
    let consumer = channel
        .basic_consume(name, tag, BasicConsumeOptions::default(), last)
        .await?;
    Ok(cancel(Rc::clone(channel), consumer.tag()).await?)
}
