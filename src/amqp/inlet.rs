//! The queue to take from, with its lanes: one connection that consumes and settles and never publishes, so that an alarm cannot
//! stop it.
//!
//! Everything that is under way (connecting, opening a consumer, cancelling it, probing, writing) is a future kept in the struct;
//! [`AmqpInlet::next`] polls them and may be dropped at any time. Each queue is a [`Source`]; this file keeps up the connection
//! that they share, gives each of them its turn, and watches over the worker's own. May import `seams` and `rules`.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join};

use super::acks::{merge, unsettled};
use super::connection::{Connector, Link, Lost, Tries};
use super::hunger::{Cure, Hunger};
use super::lanes::{self, Lanes};
use super::notes::Notes;
use super::probe::{Answer, Probe, Seen};
use super::source::{self, Source, Step};
use crate::rules::lane::Lane;
use crate::rules::verdict::Why;
use crate::rules::watermark::Tally;
use crate::seams::{Arrival, Inlet, LinkState, Receipt, Settle, Wanted};

/// So many deliveries are taken one after the other without asking for anything else.
const CROWD: usize = 16;
/// Events of the queue in a row after which each of its lanes gets its turn. To ask 64 lanes for each of them would cost too much.
const QUEUES_TURN: u32 = 4;

/// The connection.
enum Stage {
    Waiting(LocalBoxFuture<'static, ()>),
    Connecting(LocalBoxFuture<'static, Result<Link, Lost>>),
    Up { link: Rc<Link>, probe: Box<Probe> },
    Closed,
}

/// Whose turn it is to give something.
#[derive(Clone, Copy)]
enum Turn {
    /// The queue's, for so many events.
    Queue(u32),
    /// That of the lanes after this one.
    Lanes(Option<Lane>),
}

/// What happened.
enum Event {
    Connected(Result<Link, Lost>),
    WaitOver,
    Queue(source::Event),
    Lanes(lanes::Event),
    Probed(Answer),
}

/// RabbitMQ as an [`Inlet`].
pub struct AmqpInlet {
    connector: Connector,
    stage: Stage,
    queue: Source,
    lanes: Lanes,
    turn: Turn,
    notes: Notes,
    settling: usize,
    state: LinkState,
    trouble: Option<Lost>,
    missing: bool,
    tries: Tries,
    hunger: Hunger,
}

impl AmqpInlet {
    /// An inlet that connects when it is first polled, and takes nothing until that is wanted. `in_order`: of a queue that keeps
    /// its order, which may have a single active consumer.
    pub(super) fn new(connector: Connector, queue: String, in_order: bool) -> Self {
        Self {
            connector,
            stage: Stage::Waiting(std::future::ready(()).boxed_local()),
            lanes: Lanes::new(queue.clone(), in_order),
            queue: Source::new(queue, None).in_order(in_order),
            turn: Turn::Queue(QUEUES_TURN),
            notes: Notes::default(),
            settling: 0,
            state: LinkState::Connecting("starting".to_owned()),
            trouble: None,
            missing: false,
            tries: Tries::default(),
            hunger: Hunger::new(in_order),
        }
    }

    /// Starts what is wanted and not under way.
    fn steer(&mut self) {
        if let Stage::Up { link, .. } = &self.stage {
            self.queue.steer(link);
        }
        self.lanes.steer(&mut self.notes);
    }

    /// Polls all that is under way. The queue and its lanes come last: they may always have something, the others seldom do.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        let event = match &mut self.stage {
            Stage::Waiting(wait) => wait.as_mut().poll(context).map(|()| Event::WaitOver),
            Stage::Connecting(link) => link.as_mut().poll(context).map(Event::Connected),
            Stage::Closed => Poll::Pending,
            Stage::Up { probe, .. } => probe.poll_answer(context).map(Event::Probed),
        };
        if event.is_ready() {
            return event;
        }
        if let Poll::Ready(event) = self.lanes.poll_depths(context) {
            return Poll::Ready(Event::Lanes(event));
        }
        // In three turns everybody was asked at least once, wherever the round begins.
        for _ in 0..3 {
            match self.turn {
                Turn::Queue(0) => self.turn = Turn::Lanes(None),
                Turn::Queue(left) => match self.queue.poll(context) {
                    Poll::Ready(event) => {
                        self.turn = Turn::Queue(left - 1);
                        return Poll::Ready(Event::Queue(event));
                    }
                    Poll::Pending => self.turn = Turn::Lanes(None),
                },
                Turn::Lanes(after) => match self.lanes.poll_after(after, context) {
                    Poll::Ready((lane, event)) => {
                        self.turn = Turn::Lanes(Some(lane));
                        return Poll::Ready(Event::Lanes(event));
                    }
                    Poll::Pending => self.turn = Turn::Queue(QUEUES_TURN),
                },
            }
        }
        Poll::Pending
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
            Event::Probed(answer) => self.probed(answer),
            Event::Lanes(event) => {
                if let Err(lost) = self.lanes.take_in(event, &mut self.notes) {
                    self.link_lost(lost);
                }
            }
            Event::Queue(event) => match self.queue.take_in(event, &mut self.notes) {
                Step::Nothing => {}
                Step::Rested => {
                    if self.queue.wanted() == Wanted::Idle {
                        self.trouble = None;
                    }
                }
                Step::Opened => {
                    (self.trouble, self.missing) = (None, false);
                    self.hunger.opened();
                }
                Step::Cancelled => self.cancelled(),
                Step::Broke(lost) => self.queue_lost(lost),
            },
        }
    }

    fn connected(&mut self, link: Rc<Link>) {
        tracing::info!(queue = self.queue.name(), "connected to the broker");
        let probe = Box::new(Probe::new(Rc::clone(&link), self.queue.name()));
        self.lanes.connected(Rc::clone(&link));
        self.stage = Stage::Up { link, probe };
        (self.trouble, self.missing) = (None, false);
        self.hunger.connected();
    }

    fn link_lost(&mut self, lost: Lost) {
        if let Stage::Up { link, .. } = &self.stage {
            link.cut();
        }
        self.queue.shut(&mut self.notes);
        self.lanes.lost(&mut self.notes);
        // An outage of hours is a line every few minutes.
        if self.tries.count().is_multiple_of(60) {
            let (queue, tries) = (self.queue.name(), self.tries.count());
            tracing::warn!(queue, tries, reason = %lost, "no connection to the broker");
        }
        let wait = self.tries.next_wait(&lost);
        self.stage = Stage::Waiting(tokio::time::sleep(wait).boxed_local());
        self.trouble = Some(lost);
    }

    /// The queue's channel is gone, or the whole connection: only what is broken is made anew.
    fn queue_lost(&mut self, lost: Lost) {
        if !self.link_up() {
            return self.link_lost(lost);
        }
        if matches!(lost, Lost::Missing(_)) {
            self.queue.end_epoch(&mut self.notes);
            return self.queue_missing();
        }
        self.queue.rest(&lost, &mut self.notes);
        self.trouble = Some(lost);
    }

    fn link_up(&self) -> bool {
        matches!(&self.stage, Stage::Up { link, .. } if link.up())
    }

    fn queue_missing(&mut self) {
        if !self.missing {
            tracing::warn!(
                queue = self.queue.name(),
                "the queue does not exist; it is not declared by us"
            );
        }
        self.missing = true;
        self.queue.doubt();
    }

    fn cancelled(&mut self) {
        self.trouble = Some(Lost::Broken("the broker cancelled the consumer".to_owned()));
        if let Stage::Up { probe, .. } = &mut self.stage {
            probe.hurry();
        }
    }

    fn probed(&mut self, answer: Answer) {
        match answer {
            Answer::There(seen) => {
                if self.missing || self.queue.doubtful() {
                    (self.missing, self.trouble) = (false, None);
                    self.queue.seen();
                }
                let ready = seen.ready;
                self.notes.news.push_back(Arrival::Depth { ready });
                self.watch(seen);
            }
            // The broker tells the consumer itself, and the client of a consume that is under way.
            Answer::Missing if self.queue.open() || self.queue.opening() => {}
            Answer::Missing => self.queue_missing(),
            Answer::Mute => self.link_lost(Lost::Broken("the broker does not answer".to_owned())),
            Answer::Trouble(lost) => {
                if !self.link_up() {
                    self.link_lost(lost);
                }
            }
        }
    }

    /// The broker has answered: does the consumer get what is there?
    fn watch(&mut self, seen: Seen) {
        let consuming = self.queue.flowing();
        let waits = consuming && self.queue.out() == Some(0);
        let fed = self.queue.take_fed();
        match self.hunger.watch(seen, waits, fed) {
            Cure::Nothing => {}
            Cure::Renew => self.queue.renew(),
            Cure::Reconnect => {
                let why = "messages are ready and none was delivered for a minute";
                return self.link_lost(Lost::Broken(why.to_owned()));
            }
        }
        // An answer while things go well proves the connection: the next trouble is a new one.
        if consuming || self.queue.wanted() == Wanted::Idle {
            self.tries.over();
            self.queue.well();
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
        match self.queue.wanted() {
            // Until it has ended, also when nobody wants it any more: what is on its way still comes.
            Wanted::Consume { .. } if self.hunger.standby() && !self.queue.was_fed() => {
                LinkState::Standby
            }
            _ if self.queue.open() => LinkState::Consuming,
            Wanted::Idle => LinkState::Idle,
            // While the prefetch is changed the consumer is away for a moment, which is nobody's business.
            Wanted::Consume { .. } if self.queue.has_channel() => LinkState::Consuming,
            Wanted::Consume { .. } => LinkState::Connecting("opening a consumer".to_owned()),
        }
    }

    /// Deliveries come in crowds: behind one that came, some more are taken before anybody else is asked.
    async fn take_more(&mut self) {
        while (1..CROWD).contains(&self.notes.news.len()) {
            let more = poll_fn(|context| Poll::Ready(self.queue.poll_consumer(context)));
            let Some(event) = more.await else { return };
            self.take_in(Event::Queue(event));
        }
    }

    /// What the worker is to hear next, if anything.
    fn tell(&mut self) -> Option<Arrival> {
        let state = self.state_now();
        if state != self.state {
            self.state = state.clone();
            return Some(Arrival::Link(state));
        }
        if self.notes.tally.total() > 0 {
            let tally = std::mem::take(&mut self.notes.tally);
            self.settling = self.settling.saturating_sub(tally.total() as usize);
            return Some(Arrival::Settled(tally));
        }
        self.notes.news.pop_front()
    }
}

impl Inlet for AmqpInlet {
    async fn next(&mut self) -> Arrival {
        loop {
            self.steer();
            if let Some(arrival) = self.tell() {
                return arrival;
            }
            let event = poll_fn(|context| self.poll_event(context)).await;
            self.take_in(event);
            self.take_more().await;
        }
    }

    fn want(&mut self, wanted: Wanted) {
        self.queue.want(wanted);
    }

    fn want_lane(&mut self, lane: Lane, wanted: Wanted) {
        self.lanes.want(lane, wanted, &mut self.notes);
    }

    fn remove_lane(&mut self, lane: Lane) {
        self.lanes.remove(lane);
    }

    fn usable(&self, receipt: &Receipt) -> bool {
        let epoch = receipt.epoch();
        if self.queue.gave(epoch) {
            return self.queue.usable();
        }
        self.lanes.of_epoch(epoch).is_some_and(Source::usable)
    }

    fn settle(&mut self, receipt: Receipt, how: Settle, why: Why) {
        let (epoch, tag) = receipt.spend();
        self.settling += 1;
        let source = if self.queue.gave(epoch) {
            Some(&mut self.queue)
        } else {
            self.lanes.of_epoch_mut(epoch)
        };
        if !source.is_some_and(|source| source.settle(tag, how, why)) {
            merge(&mut self.notes.tally, unsettled(1));
        }
    }

    fn settling(&self) -> usize {
        self.settling
    }

    async fn close(&mut self) -> Tally {
        let (queue, lanes) = join(self.queue.last_words(), self.lanes.last_words()).await;
        merge(&mut self.notes.tally, queue);
        merge(&mut self.notes.tally, lanes);
        if let Stage::Up { link, .. } = std::mem::replace(&mut self.stage, Stage::Closed) {
            link.close().await;
        }
        self.settling = 0;
        std::mem::take(&mut self.notes.tally)
    }
}
