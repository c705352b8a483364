//! The settlements of one channel: gathered under a watermark, sent as few frames, and never awaited one by one.
//!
//! To await an acknowledgement costs a round trip to lapin's thread and a ceiling of 13,000 a second; queued and sent as
//! `multiple` it is four times that. So a frame goes out when a batch is full or a few milliseconds old, what stays behind a
//! delivery that takes long is acknowledged singly, and what came of each frame is collected later. May import `rules` and
//! `seams`.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, Stream, StreamExt};
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::types::ShortString;
use tokio::time::{Sleep, timeout};

use super::tap::{cancel, passed_on};
use crate::rules::verdict::Why;
use crate::rules::watermark::{Ack, Tally, Watermark};
use crate::seams::Settle;

/// How long a finished delivery waits for company.
const FLUSH_AFTER: Duration = Duration::from_millis(3);
/// A batch that is sent at once, when the prefetch is large enough for it.
const BATCH: usize = 64;

/// How long the last settlements may take at a stop.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The settlements of one channel.
pub(super) struct Acks {
    channel: Rc<Channel>,
    epoch: u32,
    batch: usize,
    marks: Watermark,
    open: usize,
    /// The tag of the newest delivery, and that of the first one of the consumer of now.
    newest: u64,
    first: u64,
    /// Whether acknowledgements wait, so that the broker sends no more than the prefetch.
    held: bool,
    flush: Option<Pin<Box<Sleep>>>,
    writes: FuturesUnordered<LocalBoxFuture<'static, Tally>>,
    writing: u32,
    /// Whether what is given back goes back when the channel closes, all at once and in its order.
    in_order: bool,
    gave_back: bool,
}

impl Acks {
    /// Nothing delivered yet on `channel`, which is the one numbered `epoch`.
    pub(super) fn new(channel: Rc<Channel>, epoch: u32, prefetch: u16) -> Self {
        let mut acks = Self {
            channel,
            epoch,
            batch: BATCH,
            marks: Watermark::default(),
            open: 0,
            newest: 0,
            first: 1,
            held: false,
            flush: None,
            writes: FuturesUnordered::new(),
            writing: 0,
            in_order: false,
            gave_back: false,
        };
        acks.prefetch(prefetch);
        acks
    }

    /// What is given back goes back when the channel closes: one by one it could come again between others, and behind those that
    /// were on their way. So what is given back is never covered by an acknowledgement, and the channel must be closed after it.
    pub(super) fn in_order(mut self, in_order: bool) -> Self {
        self.in_order = in_order;
        self
    }

    /// There is a new consumer. A batch is at most half the prefetch, or the broker would have nothing left to send.
    pub(super) fn prefetch(&mut self, prefetch: u16) {
        self.first = self.newest + 1;
        self.batch = usize::from(prefetch / 2).clamp(1, BATCH);
    }

    /// Whether acknowledgements wait for now.
    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
        if !held && self.marks.finished() > 0 {
            self.flush = Some(Box::pin(tokio::time::sleep(FLUSH_AFTER)));
        }
    }

    /// Whether the consumer of now has all that its prefetch allows, so that nothing is on its way.
    pub(super) fn is_full(&self, prefetch: u16) -> bool {
        self.marks.out_from(self.first) >= usize::from(prefetch)
    }

    /// The channel.
    pub(super) fn channel(&self) -> &Rc<Channel> {
        &self.channel
    }

    /// The number of the channel.
    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether settling on it can still succeed.
    pub(super) fn usable(&self) -> bool {
        self.channel.status().connected()
    }

    /// How many deliveries are out and were not settled.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// A delivery came.
    pub(super) fn delivered(&mut self, tag: u64) {
        self.marks.delivered(tag);
        self.newest = tag;
        self.open += 1;
    }

    /// Settles a delivery as `why`; what came of it is told by the stream. `false`: there is no such delivery.
    pub(super) fn settle(&mut self, tag: u64, how: Settle, why: Why) -> bool {
        let known = match how {
            Settle::Ack => self.marks.finish(tag, why),
            Settle::GiveBack if self.in_order => self.marks.is_open(tag),
            Settle::GiveBack => self.marks.remove(tag),
        };
        if !known {
            return false;
        }
        self.open -= 1;
        match how {
            Settle::GiveBack => self.give_back(tag, why),
            Settle::Ack if self.marks.finished() >= self.batch && !self.held => self.send_covered(),
            Settle::Ack => {}
        }
        if self.marks.finished() > 0 && self.flush.is_none() {
            self.flush = Some(Box::pin(tokio::time::sleep(FLUSH_AFTER)));
        }
        true
    }

    /// Sends all that is finished, whatever stands before it.
    fn send_all(&mut self) {
        self.send_covered();
        for ack in self.marks.stragglers() {
            self.send(ack);
        }
        self.flush = None;
    }

    /// Whether nothing is left to be sent or told.
    pub(super) fn quiet(&self) -> bool {
        self.writes.is_empty() && self.marks.finished() == 0
    }

    /// Whether something was given back that goes back when the channel closes.
    pub(super) fn gave_back(&self) -> bool {
        self.gave_back
    }

    /// How many settlements were asked for and not told of.
    pub(super) fn owed(&self) -> u32 {
        let finished = u32::try_from(self.marks.finished()).unwrap_or(u32::MAX);
        self.writing + finished
    }

    /// Cancels the consumer, has everything written that was asked for, and closes the channel; within a deadline.
    pub(super) async fn last_words(mut self, consumer: Option<ShortString>, queue: &str) -> Tally {
        self.send_all();
        let channel = Rc::clone(&self.channel);
        let mut told = Tally::default();
        let written = async {
            if let Some(tag) = consumer {
                // An error means that there is nothing left to cancel.
                let _ = cancel(Rc::clone(&channel), tag).await;
            }
            while !self.quiet() {
                if let Some(tally) = self.next().await {
                    merge(&mut told, tally);
                }
            }
            // An error means that the channel is gone, and the broker redelivers.
            let _ = passed_on(&channel, queue).await;
        };
        if timeout(LAST_WORDS, written).await.is_err() {
            tracing::warn!(queue, "the last settlements were not surely sent");
        }
        merge(&mut told, self.end());
        // What lies in the client's buffer goes back to the queue when the channel closes.
        let _ = timeout(LAST_WORDS, channel.close(200, "goodbye".into())).await;
        told
    }

    /// The channel is gone: what was written is told as it is, the rest as unsettled.
    pub(super) fn end(mut self) -> Tally {
        let mut told = Tally::default();
        while let Some(Some(tally)) = self.writes.next().now_or_never() {
            self.writing -= tally.total();
            merge(&mut told, tally);
        }
        told.0[Why::Unsettled as usize] += self.owed();
        told
    }

    fn send_covered(&mut self) {
        if let Some(ack) = self.marks.advance() {
            self.send(ack);
        }
    }

    fn send(&mut self, ack: Ack) {
        let channel = Rc::clone(&self.channel);
        let multiple = ack.multiple;
        self.start(ack.tally, async move {
            channel
                .basic_ack(ack.tag, BasicAckOptions { multiple })
                .await
        });
    }

    fn give_back(&mut self, tag: u64, why: Why) {
        let mut tally = Tally::default();
        tally.add(why);
        if self.in_order {
            self.gave_back = true;
            return self.start(tally, std::future::ready(Ok(())));
        }
        let channel = Rc::clone(&self.channel);
        let options = BasicNackOptions {
            multiple: false,
            requeue: true,
        };
        self.start(tally, async move { channel.basic_nack(tag, options).await });
    }

    /// The first poll hands the frame to lapin; that it was written is heard later.
    fn start(&mut self, tally: Tally, write: impl Future<Output = lapin::Result<()>> + 'static) {
        let mut write = async move {
            match write.await {
                Ok(()) => tally,
                Err(_) => unsettled(tally.total()),
            }
        }
        .boxed_local();
        let done = (&mut write).now_or_never();
        self.writing += tally.total();
        self.writes.push(match done {
            Some(tally) => std::future::ready(tally).boxed_local(),
            None => write,
        });
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) {
        let Some(flush) = self.flush.as_mut().filter(|_| !self.held) else {
            return;
        };
        if flush.as_mut().poll(context).is_pending() {
            return;
        }
        self.flush = None;
        let before = self.marks.finished();
        self.send_covered();
        let left = self.marks.finished();
        if left > 0 && left == before {
            // The head did not move since the clock was set: what is behind it goes singly.
            self.send_all();
        } else if left > 0 {
            let mut again = Box::pin(tokio::time::sleep(FLUSH_AFTER));
            if again.as_mut().poll(context).is_pending() {
                self.flush = Some(again);
            }
        }
    }
}

impl Stream for Acks {
    type Item = Tally;

    /// What came of settlements, and the sending of what is due. Pending while there is nothing to tell; never ends.
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Tally>> {
        self.poll_flush(context);
        let mut told = Tally::default();
        while !self.writes.is_empty() {
            match self.writes.poll_next_unpin(context) {
                Poll::Ready(Some(tally)) => merge(&mut told, tally),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        if told.total() == 0 {
            return Poll::Pending;
        }
        self.writing -= told.total();
        Poll::Ready(Some(told))
    }
}

/// So many that the broker will redeliver.
pub(super) fn unsettled(count: u32) -> Tally {
    let mut tally = Tally::default();
    tally.0[Why::Unsettled as usize] = count;
    tally
}

/// Adds one tally to another.
pub(super) fn merge(into: &mut Tally, other: Tally) {
    for (sum, count) in into.0.iter_mut().zip(other.0) {
        *sum += count;
    }
}
