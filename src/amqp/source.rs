//! One queue that messages are taken from, be it the worker's own or a lane: its consumer, and the settlements of the channel on
//! which it consumes. What is wanted and what is meet in [`Source::steer`]; what happens is taken in by [`Source::take_in`], which
//! says what others have to do about it. May import `rules` and `seams`.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::{Channel, Consumer};
use tokio::time::{Sleep, sleep};

use super::acks::{Acks, merge, unsettled};
use super::connection::{Link, Lost, Tries};
use super::notes::Notes;
use super::tap::{Flow, Tap, raw};
use crate::rules::lane::Lane;
use crate::rules::verdict::Why;
use crate::rules::watermark::Tally;
use crate::seams::{Arrival, Delivery, Receipt, Settle, Wanted};

/// How long it is waited for that nothing is on its way, before a consumer ends for one with another prefetch.
const FILLS_WITHIN: Duration = Duration::from_millis(500);

/// What happened at a source.
pub(super) enum Event {
    Told(Tally),
    Tap(Flow),
}

/// What others have to do about it.
pub(super) enum Step {
    Nothing,
    /// A wait after trouble is over.
    Rested,
    /// There is a new consumer.
    Opened,
    /// The broker cancelled the consumer; none is opened until the queue was seen.
    Cancelled,
    /// There is no consumer; on a channel that is gone, receipts are worth nothing any more.
    Broke(Lost),
}

/// One queue that messages are taken from.
pub(super) struct Source {
    name: String,
    lane: Option<Lane>,
    wanted: Wanted,
    tap: Tap,
    acks: Option<Acks>,
    tries: Tries,
    fed: bool,
    /// While the prefetch is about to change: until when the consumer may wait to be full.
    change: Option<Pin<Box<Sleep>>>,
    /// Whether what is out goes back all at once, in its order.
    in_order: bool,
}

impl Source {
    /// Nothing is wanted yet of the queue `name`.
    pub(super) fn new(name: String, lane: Option<Lane>) -> Self {
        Self {
            name,
            lane,
            wanted: Wanted::Idle,
            tap: Tap::Shut,
            acks: None,
            tries: Tries::default(),
            fed: false,
            change: None,
            in_order: false,
        }
    }

    /// The same, of a queue that keeps its order or not. What is given back to one that does goes back at once, when its channel
    /// closes; and the queue itself has its consumer until then, since somebody may stand by.
    pub(super) fn in_order(mut self, in_order: bool) -> Self {
        self.in_order = in_order;
        self
    }

    /// The name of the queue.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What is wanted.
    pub(super) fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// Closes the channel, so that what is out goes back. If a consumer is wanted, it is opened anew.
    pub(super) fn renew(&mut self) {
        if let Some(acks) = self.acks.take() {
            self.tap.let_go(acks, self.name.clone());
        }
    }

    /// Says what is wanted from now on.
    pub(super) fn want(&mut self, wanted: Wanted) {
        self.wanted = match wanted {
            // 0 would mean without bound.
            Wanted::Consume { prefetch: 0 } => Wanted::Consume { prefetch: 1 },
            wanted => wanted,
        };
    }

    /// Starts what is wanted and not under way.
    pub(super) fn steer(&mut self, link: &Rc<Link>) {
        let keeps_consumer = self.in_order && self.lane.is_none() && self.wanted == Wanted::Idle;
        if keeps_consumer || self.acks.as_ref().is_some_and(Acks::gave_back) {
            if self.flowing() || matches!(self.tap, Tap::Shut) {
                self.renew();
            }
            return;
        }
        if self.waits_to_be_full() {
            return;
        }
        match (&mut self.tap, self.wanted) {
            (Tap::Shut, Wanted::Consume { prefetch }) => {
                let channel = self.acks.as_ref().map(|acks| Rc::clone(acks.channel()));
                self.tap = Tap::open(Rc::clone(link), channel, self.name.clone(), prefetch);
            }
            (tap, wanted) if tap.flowing().is_some_and(|has| wanted != has) => {
                if let Some(acks) = &self.acks {
                    tap.end(Rc::clone(acks.channel()));
                }
            }
            _ => {}
        }
    }

    /// Whether the consumer is to have another prefetch and must not end yet. A quorum queue takes back what is on its way to a
    /// consumer that ends, and gives it again after what followed it. So the queue's own ends when it has all that it may have, while
    /// acknowledgements wait; a lane is no such queue.
    fn waits_to_be_full(&mut self) -> bool {
        let (Some(acks), Some(Wanted::Consume { prefetch })) = (&mut self.acks, self.tap.flowing())
        else {
            self.change = None;
            return false;
        };
        let changes = self.wanted != (Wanted::Consume { prefetch });
        if self.lane.is_some() || !changes || self.wanted == Wanted::Idle {
            if self.change.take().is_some() {
                acks.hold(false);
            }
            return false;
        }
        let change = &mut self.change;
        let until = change.get_or_insert_with(|| Box::pin(sleep(FILLS_WITHIN)));
        acks.hold(true);
        !until.is_elapsed() && !acks.is_full(prefetch)
    }

    /// What happens next. The consumer comes last: it may always have something.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        if let Some(acks) = &mut self.acks
            && let Poll::Ready(Some(tally)) = acks.poll_next_unpin(context)
        {
            return Poll::Ready(Event::Told(tally));
        }
        if let Some(change) = &mut self.change
            && !change.is_elapsed()
            && change.as_mut().poll(context).is_ready()
        {
            // Nothing to tell, but to be steered.
            return Poll::Ready(Event::Told(Tally::default()));
        }
        self.tap.poll(context).map(Event::Tap)
    }

    /// What its consumer has at once.
    pub(super) fn poll_consumer(&mut self, context: &mut Context<'_>) -> Option<Event> {
        match self.tap.poll(context) {
            Poll::Ready(flow) => Some(Event::Tap(flow)),
            Poll::Pending => None,
        }
    }

    /// Takes in what happened.
    pub(super) fn take_in(&mut self, event: Event, notes: &mut Notes) -> Step {
        match event {
            Event::Told(tally) => merge(&mut notes.tally, tally),
            Event::Tap(Flow::Came(delivery)) => self.came(*delivery, notes),
            Event::Tap(Flow::Opened(prefetch, channel, consumer)) => {
                self.opened(prefetch, channel, consumer, notes);
                return Step::Opened;
            }
            Event::Tap(Flow::Ended) => return self.ended(),
            Event::Tap(Flow::Broke(lost)) => return Step::Broke(lost),
            Event::Tap(Flow::LetGo(tally)) => {
                self.tap = Tap::Shut;
                merge(&mut notes.tally, tally);
            }
            Event::Tap(Flow::WaitOver) => {
                self.tap = Tap::Shut;
                return Step::Rested;
            }
        }
        Step::Nothing
    }

    fn came(&mut self, delivery: lapin::message::Delivery, notes: &mut Notes) {
        let Some(acks) = &mut self.acks else { return };
        acks.delivered(delivery.delivery_tag);
        self.fed = true;
        let receipt = Receipt::new(acks.epoch(), delivery.delivery_tag);
        let message = Arrival::Message(Box::new(Delivery {
            raw: raw(delivery),
            receipt,
            lane: self.lane,
        }));
        notes.news.push_back(message);
    }

    fn opened(
        &mut self,
        prefetch: u16,
        channel: Rc<Channel>,
        consumer: Consumer,
        notes: &mut Notes,
    ) {
        match &mut self.acks {
            Some(acks) if Rc::ptr_eq(acks.channel(), &channel) => acks.prefetch(prefetch),
            _ => {
                self.end_epoch(notes);
                let acks = Acks::new(channel, notes.new_epoch(), prefetch);
                self.acks = Some(acks.in_order(self.in_order));
            }
        }
        self.tap = Tap::Open {
            prefetch,
            consumer,
            ending: None,
        };
    }

    /// The consumer has given its last delivery: because we cancelled it, or because the broker did.
    fn ended(&mut self) -> Step {
        if self.tap.is_ending() {
            self.tap = Tap::Shut;
            if let Some(acks) = &mut self.acks {
                acks.hold(false);
            }
            return Step::Nothing;
        }
        if !self.acks.as_ref().is_some_and(Acks::usable) {
            return Step::Broke(Lost::Broken("the channel was closed".to_owned()));
        }
        // The queue was deleted or has moved. A try to consume would cost the channel, and with it what is in hand: ask first.
        tracing::warn!(queue = self.name, "the broker cancelled the consumer");
        self.tap = Tap::Doubtful;
        Step::Cancelled
    }

    /// Nothing of it is left: the connection is lost, or was never there.
    pub(super) fn shut(&mut self, notes: &mut Notes) {
        self.end_epoch(notes);
        if let Tap::LettingGo { owed, .. } = self.tap {
            merge(&mut notes.tally, unsettled(owed));
        }
        self.tap = Tap::Shut;
    }

    /// Its channel is gone; the next try comes after a wait.
    pub(super) fn rest(&mut self, lost: &Lost, notes: &mut Notes) {
        self.end_epoch(notes);
        tracing::warn!(queue = self.name, reason = %lost, "the consumer's channel is gone");
        let wait = self.tries.next_wait(lost);
        self.tap = Tap::Waiting(tokio::time::sleep(wait).boxed_local());
    }

    /// No consumer is opened until [`Source::seen`]; but what is let go of has to tell first what became of it.
    pub(super) fn doubt(&mut self) {
        if !matches!(self.tap, Tap::LettingGo { .. }) {
            self.tap = Tap::Doubtful;
        }
    }

    /// The queue is there.
    pub(super) fn seen(&mut self) {
        if self.doubtful() {
            self.tap = Tap::Shut;
        }
    }

    /// How often in a row its channel was gone.
    pub(super) fn tries(&self) -> u32 {
        self.tries.count()
    }

    /// It goes well: the next trouble is a new one.
    pub(super) fn well(&mut self) {
        self.tries.over();
    }

    /// Receipts of this channel are settled in vain from now on.
    pub(super) fn end_epoch(&mut self, notes: &mut Notes) {
        if let Some(acks) = self.acks.take() {
            merge(&mut notes.tally, acks.end());
        }
    }

    /// Whether there is no consumer until the queue was seen.
    pub(super) fn doubtful(&self) -> bool {
        matches!(self.tap, Tap::Doubtful)
    }

    /// Whether there is a consumer, perhaps one that was asked to end.
    pub(super) fn open(&self) -> bool {
        matches!(self.tap, Tap::Open { .. })
    }

    /// Whether there will be a consumer in a moment.
    pub(super) fn opening(&self) -> bool {
        matches!(self.tap, Tap::Opening { .. })
    }

    /// Whether there is a consumer that was not asked to end.
    pub(super) fn flowing(&self) -> bool {
        self.tap.flowing().is_some()
    }

    /// Whether there is a channel on which something may be settled.
    pub(super) fn has_channel(&self) -> bool {
        self.acks.is_some()
    }

    /// How many deliveries are out; `None`: there is no channel.
    pub(super) fn out(&self) -> Option<usize> {
        self.acks.as_ref().map(Acks::open)
    }

    /// Whether something came since [`Source::take_fed`] was last asked.
    pub(super) fn was_fed(&self) -> bool {
        self.fed
    }

    /// Whether something came since this was last asked.
    pub(super) fn take_fed(&mut self) -> bool {
        std::mem::take(&mut self.fed)
    }

    /// Whether nothing comes, nothing is out, and every settlement was written.
    pub(super) fn at_rest(&self) -> bool {
        let settled = |acks: &Acks| acks.open() == 0 && acks.quiet() && !acks.gave_back();
        let coming_back = matches!(self.tap, Tap::LettingGo { .. });
        !self.open() && !self.opening() && !coming_back && self.acks.as_ref().is_none_or(settled)
    }

    /// Gives its channel away; to be asked of a source that is at rest.
    pub(super) fn release(&mut self, notes: &mut Notes) -> Option<Rc<Channel>> {
        let channel = self.acks.as_ref().map(|acks| Rc::clone(acks.channel()));
        self.shut(notes);
        channel
    }

    /// Whether it is the source of a receipt.
    pub(super) fn gave(&self, epoch: u32) -> bool {
        self.acks.as_ref().is_some_and(|acks| acks.epoch() == epoch)
    }

    /// Whether what it gave can still be settled.
    pub(super) fn usable(&self) -> bool {
        self.acks.as_ref().is_some_and(Acks::usable)
    }

    /// Settles a delivery of its own. `false`: there is none with this tag.
    pub(super) fn settle(&mut self, tag: u64, how: Settle, why: Why) -> bool {
        self.acks
            .as_mut()
            .is_some_and(|acks| acks.settle(tag, how, why))
    }

    /// Ends the consumer and has everything written that was asked for, within a deadline; gives what became of it.
    pub(super) async fn last_words(&mut self) -> Tally {
        let tap = std::mem::replace(&mut self.tap, Tap::Shut);
        match (self.acks.take(), tap) {
            (Some(acks), tap) => {
                let consumer = tap.tag().filter(|_| !self.in_order);
                acks.last_words(consumer, &self.name).await
            }
            (None, Tap::LettingGo { told, .. }) => told.await,
            (None, _) => Tally::default(),
        }
    }
}
