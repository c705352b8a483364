//! The worker of one queue: take, decide, admit, hand over, settle, observe.
//!
//! One loop on one thread owns everything it touches: what is in hand, at work and on the move. Each delivery it takes ends in
//! exactly one settlement. Whether RabbitMQ or the queue in memory stands behind the seams, it does not know. May import
//! `rules`, `config`, `clock`, `metrics`, `seams`, `store` (the book of lanes), `throttle` and `vitals`.

#[cfg(test)]
mod admitted_tests;
mod blocking;
mod dispatch;
mod finish;
mod hand;
mod house;
mod lanes;
mod moving;
mod not_yet;
mod noting;
mod ordered;
mod pressure;
mod relief;
mod settle;
#[cfg(test)]
mod tests;
mod trouble;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Now};
use crate::config::Queue;
use crate::metrics::{Ledger, Metrics, QueueMetrics};
use crate::rules::envelope;
use crate::rules::facts::Facts;
use crate::rules::gate::{Gate, decide};
use crate::rules::hold::Prefetch;
use crate::rules::patience::Patience;
use crate::rules::pressure::Round;
use crate::rules::snapshot::Snapshot;
use crate::rules::verdict::{By, Verdict, Why};
use crate::seams::{Answer, Arrival, Delivery, Inlet, LinkState, Outlet, Settle, Target, Wanted};
use crate::store::{Blocked, LaneBook};
use crate::throttle::{Permit, Throttle};
use crate::vitals::{Collector, QueueVitals};
use hand::{Hand, Held};
use lanes::Lanes;
use moving::Moving;
use ordered::Ordered;
use pressure::TargetPressure;
use relief::{Mark, Relief};

/// So many arrivals are taken in one after the other before answers, knobs, the account and the other tasks of this thread get
/// their turn.
const ROUND: usize = 64;

/// What a worker is given: all of it belongs to one queue.
pub struct Given<I, O> {
    /// The queue's settings.
    pub settings: Arc<Queue>,
    /// Where messages come from.
    pub inlet: I,
    /// Where they go otherwise than through the target.
    pub outlet: O,
    /// Who does the work.
    pub target: Rc<dyn Target>,
    /// The flags.
    pub flags: watch::Receiver<Arc<Snapshot>>,
    /// Time.
    pub clock: Clock,
    /// The keys of which nothing is done until they are released.
    pub blocked: Arc<Blocked>,
    /// The queue's live health.
    pub vitals: Arc<QueueVitals>,
    /// The daemon's numbers.
    pub metrics: Arc<Metrics>,
    /// Where it is written which lanes there are. New ones are opened where queues may be declared; else delay queues serve.
    pub lanes: LaneBook,
}

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finished {
    /// The ids of messages that were still at work at the deadline; the broker will redeliver them.
    pub stragglers: Vec<String>,
}

/// A message at the target.
struct AtWork {
    held: Held,
    gate: Arc<Gate>,
    permit: Permit,
    started: Duration,
    /// When in the target's back-pressure it was sent.
    round: Round,
}

/// The worker of one queue.
pub struct Worker<I, O> {
    given: Given<I, O>,
    numbers: Arc<QueueMetrics>,
    gate: Arc<Gate>,
    throttle: Throttle,
    hand: Hand,
    at_work: HashMap<u64, AtWork>,
    answers: FuturesUnordered<LocalBoxFuture<'static, (u64, Answer)>>,
    moving: Moving,
    ordered: Ordered,
    lanes: Lanes,
    prefetch: Prefetch,
    ledger: Ledger,
    link: LinkState,
    next_id: u64,
    /// Until when nothing is dispatched: because of the queue's rate, and because the target asked for less.
    rate_until: Duration,
    target_rests_until: Duration,
    patience: Patience,
    pressure: TargetPressure,
    /// What a job that is done takes, averaged over the last ones.
    service: Duration,
    /// Why the target is left alone, and why messages cannot be placed, in the words of the last answer.
    refusal: String,
    misplaced: Option<String>,
    /// Until when nothing is taken, because what was taken could not be put where it belongs.
    takes_nothing_until: Option<Duration>,
    stopping: bool,
    decided: u64,
    relief: Relief,
    recent: Collector,
    /// Arrivals since the other tasks of this thread had their turn.
    in_a_row: usize,
}

impl<I: Inlet, O: Outlet> Worker<I, O> {
    /// A worker that has not begun; it goes on with the queue's account where an earlier one left it. `None`: the queue has no
    /// gate or no numbers.
    #[must_use]
    pub fn new(given: Given<I, O>) -> Option<Self> {
        let queue = given.settings.name.as_str();
        let numbers = Arc::clone(given.metrics.queue(queue)?);
        let gate = Arc::clone(given.flags.borrow().gate(queue)?);
        let settings = &given.settings;
        let prefetch = Prefetch::new(settings.prefetch, settings.prefetch_may_grow());
        let ledger = numbers.ledger();
        let relief = Relief::of(settings);
        Some(Self {
            given,
            numbers,
            gate,
            throttle: Throttle::default(),
            hand: Hand::default(),
            at_work: HashMap::new(),
            answers: FuturesUnordered::new(),
            moving: Moving::default(),
            ordered: Ordered::default(),
            lanes: Lanes::default(),
            prefetch,
            ledger,
            link: LinkState::Connecting("starting".to_owned()),
            next_id: 0,
            rate_until: Duration::ZERO,
            target_rests_until: Duration::ZERO,
            patience: Patience::default(),
            pressure: TargetPressure::default(),
            service: Duration::ZERO,
            refusal: String::new(),
            misplaced: None,
            takes_nothing_until: None,
            stopping: false,
            decided: 0,
            relief,
            recent: Collector::default(),
            in_a_row: 0,
        })
    }

    /// Works until `stop`, then finishes what is at work, `within` this time, and closes.
    pub async fn run(mut self, stop: CancellationToken, within: Duration) -> Finished {
        self.take_up_lanes().await;
        self.obey();
        let mut next_tick = self.given.vitals.pulse.beat(self.now().mono);
        let mut alarm = Box::pin(sleep_until(self.given.clock.instant(next_tick)));
        loop {
            // A valve that was turned holds for the very next message.
            if self.given.flags.has_changed().unwrap_or(false) {
                self.obey();
            }
            // Here, because an arrival is waited for where the wait may be dropped.
            if self.in_a_row >= ROUND {
                self.in_a_row = 0;
                tokio::task::yield_now().await;
            }
            self.dispatch();
            self.let_go_when_free();
            self.write_ledger();
            let wake = self.given.clock.instant(self.next_wake(next_tick));
            if alarm.deadline() != wake {
                alarm.as_mut().reset(wake);
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Ok(()) = self.given.flags.changed() => self.obey(),
                Some((id, answer)) = self.answers.next() => self.came_back(id, &answer),
                Some(step) = self.moving.next() => self.moved(step),
                Some(errand) = self.lanes.next_errand() => self.errand_done(errand),
                Some(written) = self.ordered.blocks.next() => self.blocks_written(written),
                arrival = self.given.inlet.next() => self.take_in(arrival),
                () = &mut alarm => {}
            }
            if self.now().mono >= next_tick {
                next_tick = self.keep_house();
            }
        }
        self.finish(within).await
    }

    fn now(&self) -> Now {
        self.given.clock.now()
    }

    /// Takes over what the flags say now.
    fn obey(&mut self) {
        let snapshot = Arc::clone(&self.given.flags.borrow_and_update());
        let Some(gate) = snapshot.gate(self.given.settings.name.as_str()) else {
            return;
        };
        let now = self.now().mono;
        self.gate = Arc::clone(gate);
        let largest = snapshot.policy().largest_skip(gate.queue.as_str());
        self.relief.limit(largest);
        self.throttle.obey(gate, now);
        self.hand.release_all(now);
        self.rate_until = now;
        if gate.is_shut() && self.keeps_order() {
            // Nothing more is dispatched; what is in hand goes back when what is at work has ended.
        } else if gate.is_shut() {
            self.given.inlet.want(Wanted::Idle);
            self.give_all_back();
        } else {
            self.consume();
        }
        self.steer_lanes();
        self.given.vitals.link(self.link.clone(), gate.is_shut());
    }

    /// Takes messages, unless something speaks against it: the gate is shut, the end has come, or nothing could be placed.
    fn consume(&mut self) {
        if !self.stopping && !self.gate.is_shut() && self.takes_nothing_until.is_none() {
            let prefetch = self.prefetch.get();
            self.ordered.has_let_go = false;
            self.given.inlet.want(Wanted::Consume { prefetch });
        }
    }

    /// Takes in an arrival and those that are there behind it: a round of the loop is dear, and one does for many.
    fn take_in(&mut self, first: Arrival) {
        self.arrived(first);
        for _ in 1..ROUND {
            if self.given.flags.has_changed().unwrap_or(false) {
                return;
            }
            let Some(arrival) = self.given.inlet.next().now_or_never() else {
                return;
            };
            self.arrived(arrival);
        }
    }

    fn arrived(&mut self, arrival: Arrival) {
        self.in_a_row += 1;
        match arrival {
            Arrival::Message(delivery) => self.take(*delivery),
            Arrival::Settled(tally) => {
                for (total, more) in self.ledger.settled.iter_mut().zip(tally.0) {
                    *total += u64::from(more);
                }
            }
            Arrival::Link(link) => self.link_changed(link),
            Arrival::Lane(lane, news) => self.lane_news(lane, &news),
            Arrival::Depth { ready } => {
                let in_hand_ms = self.oldest_age_ms();
                let oldest_ms = self.given.vitals.backlog(Some(ready), in_hand_ms);
                let oldest = Duration::from_millis(oldest_ms.unwrap_or(0).unsigned_abs());
                self.numbers.backlog(ready, oldest);
                if ready == 0 && self.hand.len() == 0 {
                    let now = self.now().mono;
                    self.relief.caught_up(now);
                }
            }
        }
    }

    /// Takes a message in hand: read it, and shed it at once if a valve says so.
    fn take(&mut self, delivery: Delivery) {
        self.ledger.received += 1;
        let now = self.now();
        let came_before = delivery.lane.is_some() || envelope::came_before(&delivery.raw);
        let (raw, tried) = envelope::open(delivery.raw);
        let read = self.given.settings.reading.read(&raw, &self.gate.asks);
        let (facts, malformed) = match read {
            Ok(facts) => (facts, None),
            Err(why) => (Facts::of_unreadable(&raw), Some(why)),
        };
        let mut held = Held {
            raw: Arc::new(raw),
            facts: facts.with_possible_times(now.ms),
            receipt: delivery.receipt,
            lane: delivery.lane,
            guest: None,
            tried,
            taken: now.mono,
            waits_since: None,
            refused_at: None,
            order: self.given.settings.order,
            rests_until: None,
            number: self.ledger.received,
            mark: Mark::of(came_before),
        };
        self.lanes.took(&mut held, now.mono);
        self.note_arrival(&held, now);
        if let Some(why) = malformed {
            return self.shed(held, Why::Malformed, By::default(), &why.to_string());
        }
        self.keep_for_previews(&held, now);
        if held.order.is_kept() {
            return self.take_in_order(held, now);
        }
        if self.gate.is_shut() || self.takes_nothing_until.is_some() {
            return self.give_back(held);
        }
        match self.decide(&mut held, self.hand.ready(), now) {
            Verdict::Run => {
                let Some(held) = self.join_lane(held, now) else {
                    return;
                };
                // What came on a channel that is gone since comes again: it goes the long way, and back.
                if self.may_go_at_once(now) && self.given.inlet.usable(&held.receipt) {
                    self.ask_for_a_permit(held, false, now);
                } else {
                    self.hand.put(held);
                }
            }
            Verdict::Shed { why, by } => self.shed(held, why, by, ""),
            Verdict::NotYet(wait) => self.not_yet(held, false, wait, now),
        }
    }

    /// What is to become of a message; so many in hand go before it.
    fn decide(&mut self, held: &mut Held, ahead: usize, now: Now) -> Verdict {
        self.decided += 1;
        let reading = &self.given.settings.reading;
        reading.read_again(&mut held.facts, &held.raw, &self.gate.asks);
        let said = decide(&self.gate, &held.facts, now.ms);
        self.relieve(held, said, ahead, now)
    }

    fn link_changed(&mut self, link: LinkState) {
        if link != self.link {
            tracing::info!(queue = %self.given.settings.name, state = link.word(), detail = link.detail(), "the link changed");
        }
        self.numbers.link(link.connected());
        self.given.vitals.link(link.clone(), self.gate.is_shut());
        self.link = link;
        if !self.link.connected() {
            self.lanes.link_lost();
        }
        let inlet = &self.given.inlet;
        let lost = self.hand.take_out(|held| !inlet.usable(&held.receipt));
        lost.into_iter().for_each(|held| self.give_back(held));
        self.drop_lost_blocks();
        self.drop_lost_lines();
    }

    /// Gives a message back undispatched. On a channel that is gone this settles nothing, and is counted so.
    fn give_back(&mut self, held: Held) {
        self.lanes.returned(&held);
        self.given
            .inlet
            .settle(held.receipt, Settle::GiveBack, Why::GivenBack);
    }

    /// Gives back all that is in hand.
    fn give_all_back(&mut self) {
        let mut all = self.hand.take_out(|_| true);
        all.extend(self.lanes.take_out());
        all.into_iter().for_each(|held| self.give_back(held));
    }
}
