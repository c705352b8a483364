//! The queue to take from: one connection that consumes and settles and never publishes, so that an alarm cannot stop it.
//!
//! Everything that is under way (connecting, opening a consumer, cancelling it, probing, writing) is a future kept in the struct;
//! [`AmqpInlet::next`] polls them and may be dropped at any time. What is wanted and what is meet in [`AmqpInlet::steer`]; what
//! happens is taken in by [`AmqpInlet::take_in`]. May import `seams` and `rules`.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt};
use lapin::{Channel, Consumer};

use super::acks::{Acks, merge, unsettled};
use super::connection::{Connector, Link, Lost, Tries};
use super::probe::{Answer, Probe};
use super::tap::{Flow, Tap, raw};
use crate::rules::lane::Lane;
use crate::rules::verdict::Why;
use crate::rules::watermark::Tally;
use crate::seams::{Arrival, Delivery, Inlet, LaneNews, LinkState, Receipt, Settle, Wanted};

/// Rounds of the probe, five seconds each, after which a consumer that gets nothing although messages are ready counts as dead.
const WEDGED_AFTER: u32 = 12;
/// Deliveries in a row after which the other tasks of this thread (lapin's among them) get their turn.
const TURN: u32 = 64;

/// The connection.
enum Stage {
    Waiting(LocalBoxFuture<'static, ()>),
    Connecting(LocalBoxFuture<'static, Result<Link, Lost>>),
    Up { link: Rc<Link>, probe: Box<Probe> },
    Closed,
}

/// What happened.
enum Event {
    Connected(Result<Link, Lost>),
    WaitOver,
    Tap(Flow),
    Told(Tally),
    Probed(Answer),
}

/// RabbitMQ as an [`Inlet`].
pub struct AmqpInlet {
    connector: Connector,
    queue: String,
    wanted: Wanted,
    stage: Stage,
    tap: Tap,
    acks: Option<Acks>,
    epoch: u32,
    /// What was told since the worker last heard of it.
    tally: Tally,
    news: VecDeque<Arrival>,
    settling: usize,
    state: LinkState,
    trouble: Option<Lost>,
    missing: bool,
    link_tries: Tries,
    tap_tries: Tries,
    in_a_row: u32,
    fed: bool,
    hungry_rounds: u32,
}

impl AmqpInlet {
    /// An inlet that connects when it is first polled, and takes nothing until that is wanted.
    pub(super) fn new(connector: Connector, queue: String) -> Self {
        Self {
            connector,
            queue,
            wanted: Wanted::Idle,
            stage: Stage::Waiting(std::future::ready(()).boxed_local()),
            tap: Tap::Shut,
            acks: None,
            epoch: 0,
            tally: Tally::default(),
            news: VecDeque::new(),
            settling: 0,
            state: LinkState::Connecting("starting".to_owned()),
            trouble: None,
            missing: false,
            link_tries: Tries::default(),
            tap_tries: Tries::default(),
            in_a_row: 0,
            fed: false,
            hungry_rounds: 0,
        }
    }

    /// Starts what is wanted and not under way.
    fn steer(&mut self) {
        let Stage::Up { link, .. } = &self.stage else {
            return;
        };
        match (&mut self.tap, self.wanted) {
            (Tap::Shut, Wanted::Consume { prefetch }) => {
                let channel = self.acks.as_ref().map(|acks| Rc::clone(acks.channel()));
                self.tap = Tap::open(Rc::clone(link), channel, self.queue.clone(), prefetch);
            }
            (tap, wanted) if tap.flowing().is_some_and(|has| wanted != has) => {
                if let Some(acks) = &self.acks {
                    tap.end(Rc::clone(acks.channel()));
                }
            }
            _ => {}
        }
    }

    /// Polls all that is under way. The consumer comes last: it may always have something, the others seldom do.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        if let Some(acks) = &mut self.acks
            && let Poll::Ready(Some(tally)) = acks.poll_next_unpin(context)
        {
            return Poll::Ready(Event::Told(tally));
        }
        match &mut self.stage {
            Stage::Waiting(wait) => wait.as_mut().poll(context).map(|()| Event::WaitOver),
            Stage::Connecting(link) => link.as_mut().poll(context).map(Event::Connected),
            Stage::Closed => Poll::Pending,
            Stage::Up { probe, .. } => match probe.poll_answer(context) {
                Poll::Ready(answer) => Poll::Ready(Event::Probed(answer)),
                Poll::Pending => self.tap.poll(context).map(Event::Tap),
            },
        }
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::WaitOver => {
                let connector = self.connector.clone();
                let link = async move { connector.connect().await };
                self.stage = Stage::Connecting(link.boxed_local());
            }
            Event::Connected(Ok(link)) => self.connected(Rc::new(link)),
            Event::Connected(Err(lost)) => self.link_lost(lost),
            Event::Tap(Flow::WaitOver) => {
                self.tap = Tap::Shut;
                if self.wanted == Wanted::Idle {
                    self.trouble = None;
                }
            }
            Event::Tap(Flow::Opened(prefetch, channel, consumer)) => {
                self.opened(prefetch, channel, consumer);
            }
            Event::Tap(Flow::Broke(lost)) => self.tap_lost(lost),
            Event::Tap(Flow::Came(delivery)) => self.came(*delivery),
            Event::Tap(Flow::Ended) => self.tap_ended(),
            Event::Told(tally) => merge(&mut self.tally, tally),
            Event::Probed(answer) => self.probed(answer),
        }
    }

    fn connected(&mut self, link: Rc<Link>) {
        tracing::info!(queue = self.queue, "connected to the broker");
        let probe = Box::new(Probe::new(Rc::clone(&link), &self.queue));
        self.stage = Stage::Up { link, probe };
        self.tap = Tap::Shut;
        (self.trouble, self.missing, self.hungry_rounds) = (None, false, 0);
    }

    fn link_lost(&mut self, lost: Lost) {
        if let Stage::Up { link, .. } = &self.stage {
            link.cut();
        }
        self.end_epoch();
        // An outage of hours is a line every few minutes.
        if self.link_tries.count().is_multiple_of(60) {
            let tries = self.link_tries.count();
            tracing::warn!(queue = self.queue, tries, reason = %lost, "no connection to the broker");
        }
        let wait = self.link_tries.next_wait(&lost);
        self.tap = Tap::Shut;
        self.stage = Stage::Waiting(tokio::time::sleep(wait).boxed_local());
        self.trouble = Some(lost);
    }

    /// The channel is gone, or the whole connection: only what is broken is made anew.
    fn tap_lost(&mut self, lost: Lost) {
        let up = matches!(&self.stage, Stage::Up { link, .. } if link.up());
        if !up {
            return self.link_lost(lost);
        }
        self.end_epoch();
        if matches!(lost, Lost::Missing(_)) {
            return self.queue_missing();
        }
        tracing::warn!(queue = self.queue, reason = %lost, "the consumer's channel is gone");
        let wait = self.tap_tries.next_wait(&lost);
        self.tap = Tap::Waiting(tokio::time::sleep(wait).boxed_local());
        self.trouble = Some(lost);
    }

    fn queue_missing(&mut self) {
        if !self.missing {
            tracing::warn!(
                queue = self.queue,
                "the queue does not exist; it is not declared by us"
            );
        }
        self.missing = true;
        self.tap = Tap::Doubtful;
    }

    fn opened(&mut self, prefetch: u16, channel: Rc<Channel>, consumer: Consumer) {
        match &mut self.acks {
            Some(acks) if Rc::ptr_eq(acks.channel(), &channel) => acks.prefetch(prefetch),
            _ => {
                self.end_epoch();
                self.epoch = self.epoch.wrapping_add(1);
                self.acks = Some(Acks::new(channel, self.epoch, prefetch));
            }
        }
        self.tap = Tap::Open {
            prefetch,
            consumer,
            ending: None,
        };
        (self.trouble, self.missing, self.hungry_rounds) = (None, false, 0);
    }

    /// The consumer has given its last delivery: because we cancelled it, or because the broker did.
    fn tap_ended(&mut self) {
        if self.tap.is_ending() {
            self.tap = Tap::Shut;
            return;
        }
        let alive = self.acks.as_ref().is_some_and(Acks::usable);
        if !alive {
            return self.tap_lost(Lost::Broken("the channel was closed".to_owned()));
        }
        // The queue was deleted or has moved. A try to consume would cost the channel, and with it what is in hand: ask first.
        tracing::warn!(queue = self.queue, "the broker cancelled the consumer");
        self.tap = Tap::Doubtful;
        self.trouble = Some(Lost::Broken("the broker cancelled the consumer".to_owned()));
        if let Stage::Up { probe, .. } = &mut self.stage {
            probe.hurry();
        }
    }

    fn came(&mut self, delivery: lapin::message::Delivery) {
        let Some(acks) = &mut self.acks else { return };
        acks.delivered(delivery.delivery_tag);
        self.fed = true;
        self.in_a_row += 1;
        let receipt = Receipt::new(acks.epoch(), delivery.delivery_tag);
        let raw = raw(delivery);
        let message = Arrival::Message(Box::new(Delivery {
            raw,
            receipt,
            lane: None,
        }));
        self.news.push_back(message);
    }

    fn probed(&mut self, answer: Answer) {
        match answer {
            Answer::Ready(ready) => {
                if self.missing || matches!(self.tap, Tap::Doubtful) {
                    (self.missing, self.trouble) = (false, None);
                    self.tap = Tap::Shut;
                }
                self.news.push_back(Arrival::Depth { ready });
                self.watch(ready);
            }
            // The broker tells the consumer itself, and the client of a consume that is under way.
            Answer::Missing if matches!(self.tap, Tap::Open { .. } | Tap::Opening { .. }) => {}
            Answer::Missing => self.queue_missing(),
            Answer::Mute => self.link_lost(Lost::Broken("the broker does not answer".to_owned())),
            Answer::Trouble(lost) => {
                if !matches!(&self.stage, Stage::Up { link, .. } if link.up()) {
                    self.link_lost(lost);
                }
            }
        }
    }

    /// A consumer that looks healthy, has nothing in hand and gets nothing although messages are ready, is none.
    fn watch(&mut self, ready: u64) {
        let consuming = self.tap.flowing().is_some();
        let idle = self.acks.as_ref().is_some_and(|acks| acks.open() == 0);
        let fed = std::mem::take(&mut self.fed);
        if consuming && idle && !fed && ready > 0 {
            self.hungry_rounds += 1;
        } else {
            self.hungry_rounds = 0;
        }
        if self.hungry_rounds >= WEDGED_AFTER {
            let why = "messages are ready and none was delivered for a minute";
            return self.link_lost(Lost::Broken(why.to_owned()));
        }
        // An answer while things go well proves the connection: the next trouble is a new one.
        if consuming || self.wanted == Wanted::Idle {
            self.link_tries.over();
            self.tap_tries.over();
        }
    }

    /// Receipts of this channel are settled in vain from now on.
    fn end_epoch(&mut self) {
        if let Some(acks) = self.acks.take() {
            merge(&mut self.tally, acks.end());
        }
    }

    fn state_now(&self) -> LinkState {
        let up = matches!(self.stage, Stage::Up { .. });
        if up && self.missing {
            return LinkState::QueueMissing;
        }
        if let Some(lost) = &self.trouble {
            return lost.state();
        }
        if !up {
            return LinkState::Connecting("starting".to_owned());
        }
        match (&self.tap, self.wanted) {
            // Until it has ended, also when nobody wants it any more: what is on its way still comes.
            (Tap::Open { .. }, _) => LinkState::Consuming,
            (_, Wanted::Idle) => LinkState::Idle,
            // While the prefetch is changed the consumer is away for a moment, which is nobody's business.
            _ if self.acks.is_some() => LinkState::Consuming,
            _ => LinkState::Connecting("opening a consumer".to_owned()),
        }
    }

    /// What the worker is to hear next, if anything.
    fn tell(&mut self) -> Option<Arrival> {
        let state = self.state_now();
        if state != self.state {
            self.state = state.clone();
            return Some(Arrival::Link(state));
        }
        if self.tally.total() > 0 {
            let tally = std::mem::take(&mut self.tally);
            self.settling = self.settling.saturating_sub(tally.total() as usize);
            return Some(Arrival::Settled(tally));
        }
        self.news.pop_front()
    }
}

impl Inlet for AmqpInlet {
    async fn next(&mut self) -> Arrival {
        loop {
            self.steer();
            if let Some(arrival) = self.tell() {
                return arrival;
            }
            if self.in_a_row >= TURN {
                self.in_a_row = 0;
                tokio::task::yield_now().await;
            }
            let event = poll_fn(|context| self.poll_event(context)).await;
            self.take_in(event);
        }
    }

    fn want(&mut self, wanted: Wanted) {
        self.wanted = match wanted {
            // 0 would mean without bound.
            Wanted::Consume { prefetch: 0 } => Wanted::Consume { prefetch: 1 },
            wanted => wanted,
        };
    }

    fn want_lane(&mut self, lane: Lane, _wanted: Wanted) {
        self.news.push_back(Arrival::Lane(lane, LaneNews::Gone));
    }

    fn remove_lane(&mut self, lane: Lane) {
        self.news.push_back(Arrival::Lane(lane, LaneNews::Gone));
    }

    fn usable(&self, receipt: &Receipt) -> bool {
        let acks = self.acks.as_ref();
        acks.is_some_and(|acks| acks.epoch() == receipt.epoch() && acks.usable())
    }

    fn settle(&mut self, receipt: Receipt, how: Settle, why: Why) {
        let (epoch, tag) = receipt.spend();
        self.settling += 1;
        let taken = match &mut self.acks {
            Some(acks) if acks.epoch() == epoch => acks.settle(tag, how, why),
            _ => false,
        };
        if !taken {
            merge(&mut self.tally, unsettled(1));
        }
    }

    fn settling(&self) -> usize {
        self.settling
    }

    async fn close(&mut self) -> Tally {
        let tap = std::mem::replace(&mut self.tap, Tap::Shut);
        if let Some(acks) = self.acks.take() {
            let told = acks.last_words(tap.tag(), &self.queue).await;
            merge(&mut self.tally, told);
        }
        if let Stage::Up { link, .. } = std::mem::replace(&mut self.stage, Stage::Closed) {
            link.close().await;
        }
        self.settling = 0;
        std::mem::take(&mut self.tally)
    }
}
