//! The worker of one queue: take, decide, admit, hand over, settle, observe.
//!
//! One loop on one thread owns everything it touches: what is in hand, at work and on the move. Each delivery it takes ends in
//! exactly one settlement. Whether RabbitMQ or the queue in memory stands behind the seams, it does not know. May import
//! `rules`, `config`, `clock`, `metrics`, `seams`, `throttle` and `vitals`.

mod hand;
mod moving;
mod settle;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Now};
use crate::config::Queue;
use crate::metrics::{Ledger, Metrics, QueueMetrics};
use crate::rules::envelope;
use crate::rules::gate::{Gate, decide};
use crate::rules::hold::{LONGEST_WAIT, Prefetch, may_wait};
use crate::rules::names::FlagKey;
use crate::rules::snapshot::Snapshot;
use crate::rules::valve::Valve;
use crate::rules::verdict::{Verdict, Why};
use crate::seams::{
    Answer, Arrival, Delivery, Inlet, Job, LinkState, Outlet, Settle, Target, Wanted,
};
use crate::throttle::{Hold, Permit, Throttle};
use crate::vitals::QueueVitals;
use hand::{Hand, Held};
use moving::Moving;

/// How often the house is kept: long waits, backlog, idle keys.
const TICK: Duration = Duration::from_secs(1);
/// The longest time for which a target that asks for less is left alone.
const LONGEST_PAUSE_FOR_TARGET: Duration = Duration::from_secs(10);

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
    /// The queue's live health.
    pub vitals: Arc<QueueVitals>,
    /// The daemon's numbers.
    pub metrics: Arc<Metrics>,
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
}

/// The worker of one queue.
pub struct Worker<I, O> {
    given: Given<I, O>,
    numbers: Arc<QueueMetrics>,
    gate: Arc<Gate>,
    passed: Arc<[(String, String)]>,
    throttle: Throttle,
    hand: Hand,
    at_work: HashMap<u64, AtWork>,
    answers: FuturesUnordered<LocalBoxFuture<'static, (u64, Answer)>>,
    moving: Moving,
    prefetch: Prefetch,
    ledger: Ledger,
    link: LinkState,
    next_id: u64,
    /// Until when nothing is dispatched: the queue's rate, or a target that asked for less.
    not_before: Duration,
    decided: u64,
}

impl<I: Inlet, O: Outlet> Worker<I, O> {
    /// A worker that has not begun. What an earlier one of the same queue had in hand when it died counts as unsettled.
    #[must_use]
    pub fn new(given: Given<I, O>) -> Option<Self> {
        let queue = given.settings.name.as_str();
        let numbers = Arc::clone(given.metrics.queue(queue)?);
        let gate = Arc::clone(given.flags.borrow().gate(queue)?);
        let prefetch = Prefetch::new(given.settings.prefetch);
        let mut ledger = numbers.ledger();
        ledger.settled[Why::Unsettled as usize] += std::mem::take(&mut ledger.in_hand);
        Some(Self {
            given,
            numbers,
            gate,
            passed: Arc::new([]),
            throttle: Throttle::default(),
            hand: Hand::default(),
            at_work: HashMap::new(),
            answers: FuturesUnordered::new(),
            moving: Moving::default(),
            prefetch,
            ledger,
            link: LinkState::Connecting("starting".to_owned()),
            next_id: 0,
            not_before: Duration::ZERO,
            decided: 0,
        })
    }

    /// Works until `stop`, then finishes what is at work, `within` this time, and closes.
    pub async fn run(mut self, stop: CancellationToken, within: Duration) -> Finished {
        self.obey();
        let mut next_tick = self.now().mono + TICK;
        let mut alarm = Box::pin(sleep_until(self.given.clock.instant(next_tick)));
        loop {
            self.dispatch();
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
                arrival = self.given.inlet.next() => self.arrived(arrival),
                () = &mut alarm => {}
            }
            if self.now().mono >= next_tick {
                self.keep_house();
                next_tick = self.now().mono + TICK;
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
        self.passed = passed_flags(&self.given.settings.pass, &snapshot);
        self.throttle.obey(gate, now);
        self.hand.release_all(now);
        self.not_before = now;
        if gate.is_shut() {
            self.given.inlet.want(Wanted::Idle);
            for held in self.hand.take_out(|_| true) {
                self.give_back(held);
            }
        } else {
            self.consume();
        }
        self.given.vitals.link(self.link.clone(), gate.is_shut());
    }

    fn consume(&mut self) {
        let prefetch = self.prefetch.get();
        self.given.inlet.want(Wanted::Consume { prefetch });
    }

    fn arrived(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Message(delivery) => self.take(*delivery),
            Arrival::Settled(tally) => {
                for (total, more) in self.ledger.settled.iter_mut().zip(tally.0) {
                    *total += u64::from(more);
                }
            }
            Arrival::Link(link) => self.link_changed(link),
            Arrival::Depth { ready } => {
                let oldest_ms = self
                    .hand
                    .oldest_published_ms()
                    .map(|at| (self.now().ms - at).max(0));
                self.given.vitals.backlog(Some(ready), oldest_ms);
                let oldest = Duration::from_millis(oldest_ms.unwrap_or(0).unsigned_abs());
                self.numbers.backlog(ready, oldest);
            }
        }
    }

    /// Takes a message in hand: read it, and shed it at once if a valve says so.
    fn take(&mut self, delivery: Delivery) {
        self.ledger.received += 1;
        let now = self.now();
        let (raw, tried) = envelope::open(delivery.raw);
        let read = self.given.settings.reading.read(&raw);
        let (facts, malformed) = match read {
            Ok(facts) => (facts, None),
            Err(why) => (crate::rules::message::Facts::of_unreadable(&raw), Some(why)),
        };
        let held = Held {
            raw: Arc::new(raw),
            facts,
            receipt: delivery.receipt,
            tried,
            taken: now.mono,
            waits_since: None,
            number: 0,
        };
        self.numbers.picked_up(held.facts.age_ms(now.ms));
        self.given.vitals.received(
            now.mono,
            held.facts.key.as_ref().map(|(_, key)| key.as_str()),
        );
        if held.facts.id_from_body {
            self.numbers.id_from_body();
        }
        if let Some(why) = malformed {
            return self.shed(held, Why::Malformed, None, &why.to_string());
        }
        if self.gate.is_shut() {
            return self.give_back(held);
        }
        match self.decide(&held, now) {
            Verdict::Run => self.hand.take(held),
            Verdict::Shed { why, opening } => self.shed(held, why, opening, ""),
        }
    }

    fn decide(&mut self, held: &Held, now: Now) -> Verdict {
        self.decided += 1;
        decide(&self.gate, &held.facts, now.ms)
    }

    /// How many messages may be at the target at once.
    fn slots(&self) -> u32 {
        let most = self.given.settings.slots;
        self.gate.concurrency.map_or(most, |limit| limit.min(most))
    }

    /// Fills the free slots with the next messages in hand.
    fn dispatch(&mut self) {
        let slots = self.slots() as usize;
        while self.at_work.len() < slots && !self.gate.is_shut() {
            let now = self.now();
            if now.mono < self.not_before {
                return;
            }
            let Some((held, was_head)) = self.hand.next(now.mono) else {
                return;
            };
            self.admit(held, was_head, now);
        }
    }

    /// A slot is free for this message: asks the gate once more, then for a permit.
    fn admit(&mut self, held: Held, was_head: bool, now: Now) {
        if !self.given.inlet.usable(&held.receipt) {
            return self.give_back(held);
        }
        if let Verdict::Shed { why, opening } = self.decide(&held, now) {
            let key = held.facts.key.as_ref().map(|(hash, _)| *hash);
            self.shed(held, why, opening, "");
            key.into_iter()
                .for_each(|key| self.hand.release(key, now.mono));
            return;
        }
        let key = held.facts.key.as_ref().map(|(hash, _)| *hash);
        if let Some(key) = key
            && !was_head
            && self.hand.line_length(key) > 0
        {
            return self.line_up(held, was_head, Why::Rate, None, now);
        }
        match self.throttle.admit(key, now.mono) {
            Ok(permit) => {
                key.into_iter()
                    .for_each(|key| self.hand.release(key, now.mono));
                self.hand_over(held, permit, now);
            }
            Err(Hold::Queue(until)) => {
                self.not_before = until;
                self.hand.put_back(held);
            }
            Err(Hold::Key(why, until)) => self.line_up(held, was_head, why, until, now),
        }
    }

    /// Lets a message wait for its key: here if it will not be long, else in a delay queue.
    fn line_up(&mut self, held: Held, was_head: bool, why: Why, until: Option<Duration>, now: Now) {
        let before_it = held
            .facts
            .key
            .as_ref()
            .map_or(0, |(key, _)| self.hand.line_length(*key));
        let turns = u32::try_from(before_it).unwrap_or(u32::MAX);
        let own = until.map(|until| until.saturating_sub(now.mono));
        let expected = match self.throttle.key_interval() {
            Some(interval) => Some(own.unwrap_or_default() + interval.saturating_mul(turns)),
            None => own,
        };
        if was_head || may_wait(expected, self.hand.waiting(), self.prefetch.get()) {
            self.hand.wait(held, was_head, why, until, now.mono);
        } else {
            self.defer(held, why, expected.unwrap_or(LONGEST_WAIT), now);
        }
    }

    fn hand_over(&mut self, held: Held, permit: Permit, now: Now) {
        if let Some(since) = held.waits_since {
            self.numbers.waited(now.mono.saturating_sub(since));
        }
        let job = Job {
            queue: self.given.settings.name.clone(),
            id: held.facts.id.clone(),
            raw: Arc::clone(&held.raw),
            attempt: held.tried + 1,
            published_ms: held.facts.published_ms,
            deadline_ms: self.deadline_ms(&held),
            mode: self.gate.mode(&held.facts),
            account: held.facts.key.as_ref().map(|(_, key)| key.clone()),
            flags: Arc::clone(&self.passed),
            timeout: self.gate.timeout(&held.facts),
        };
        self.next_id += 1;
        let id = self.next_id;
        let answer = self.given.target.hand_over(job);
        self.answers
            .push(Box::pin(async move { (id, answer.await) }));
        let gate = Arc::clone(&self.gate);
        self.at_work.insert(
            id,
            AtWork {
                held,
                gate,
                permit,
                started: now.mono,
            },
        );
    }

    /// When a job is useless: what the message says, else what the file says of all.
    fn deadline_ms(&self, held: &Held) -> Option<i64> {
        let after = self
            .given
            .settings
            .deadline_after
            .map(|after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
        held.facts
            .deadline_ms
            .or_else(|| Some(held.facts.published_ms?.saturating_add(after?)))
    }

    fn link_changed(&mut self, link: LinkState) {
        if link != self.link {
            tracing::info!(queue = %self.given.settings.name, state = link.word(), detail = link.detail(), "the link changed");
        }
        self.numbers.link(link.connected());
        self.given.vitals.link(link.clone(), self.gate.is_shut());
        self.link = link;
        let inlet = &self.given.inlet;
        let lost = self.hand.take_out(|held| !inlet.usable(&held.receipt));
        lost.into_iter().for_each(|held| self.give_back(held));
    }

    /// Gives a message back undispatched. On a channel that is gone this settles nothing, and is counted so.
    fn give_back(&mut self, held: Held) {
        self.given
            .inlet
            .settle(held.receipt, Settle::GiveBack, Why::GivenBack);
    }

    /// Once a second: nobody waits too long in hand, and what is known is told.
    fn keep_house(&mut self) {
        let now = self.now();
        for (held, why) in self.hand.waited_longer(LONGEST_WAIT, now.mono) {
            self.defer(held, why, LONGEST_WAIT, now);
        }
        if let Some(taken_before) = now.mono.checked_sub(self.given.settings.hold) {
            for held in self.hand.held_since_before(taken_before) {
                self.defer(held, Why::Rate, LONGEST_WAIT, now);
            }
        }
        if self.prefetch.second() && !self.gate.is_shut() {
            self.consume();
        }
        self.throttle.sweep(now.mono);
        let busy = u32::try_from(self.at_work.len()).unwrap_or(u32::MAX);
        self.given.vitals.slots(busy, self.slots());
        let oldest_ms = self
            .hand
            .oldest_published_ms()
            .map(|at| (now.ms - at).max(0));
        self.given.vitals.backlog(None, oldest_ms);
        let decided = std::mem::take(&mut self.decided);
        for valve in Valve::ALL {
            let key = FlagKey::of_valve(&self.given.settings.name, valve);
            self.given.metrics.evaluated(key.as_str(), decided);
        }
    }

    fn next_wake(&self, next_tick: Duration) -> Duration {
        let throttled = (self.hand.len() > 0)
            .then_some(self.not_before)
            .filter(|until| *until > self.now().mono);
        [throttled, self.hand.next_due()]
            .into_iter()
            .flatten()
            .fold(next_tick, Duration::min)
    }

    /// Writes the queue's account: what is in hand is counted by the lists that hold it.
    fn write_ledger(&mut self) {
        let in_hand =
            self.hand.len() + self.at_work.len() + self.moving.len() + self.given.inlet.settling();
        self.ledger.in_hand = in_hand as u64;
        self.numbers.write_ledger(self.ledger);
    }

    /// Takes nothing more, finishes what is at work and on the move, sends every settlement, closes.
    async fn finish(mut self, within: Duration) -> Finished {
        self.given.inlet.want(Wanted::Idle);
        let deadline: Instant = self.given.clock.instant(self.now().mono + within);
        for held in self.hand.take_out(|_| true) {
            self.give_back(held);
        }
        while !(self.at_work.is_empty() && self.moving.len() == 0) {
            self.write_ledger();
            tokio::select! {
                biased;
                () = sleep_until(deadline) => break,
                Some((id, answer)) = self.answers.next() => self.came_back(id, &answer),
                Some(step) = self.moving.next() => self.moved(step),
                arrival = self.given.inlet.next() => match arrival {
                    Arrival::Message(delivery) => self.return_unread(*delivery),
                    other => self.arrived(other),
                },
            }
        }
        let stragglers: Vec<String> = self
            .at_work
            .values()
            .map(|work| work.held.facts.id.clone())
            .collect();
        let left = self
            .at_work
            .drain()
            .map(|(_, work)| work.held.receipt)
            .chain(self.moving.abandon());
        for receipt in left.collect::<Vec<_>>() {
            let _ = receipt.spend();
            self.ledger.settled[Why::Unsettled as usize] += 1;
        }
        let told = self.given.inlet.close().await;
        self.arrived(Arrival::Settled(told));
        self.given.outlet.close().await;
        self.write_ledger();
        Finished { stragglers }
    }

    fn return_unread(&mut self, delivery: Delivery) {
        self.ledger.received += 1;
        self.given
            .inlet
            .settle(delivery.receipt, Settle::GiveBack, Why::GivenBack);
    }
}

/// The values of the flags that a queue passes on to its worker, as text.
fn passed_flags(keys: &[FlagKey], snapshot: &Snapshot) -> Arc<[(String, String)]> {
    let said = |key: &FlagKey| {
        let value = snapshot.value(key.as_str())?.0.to_json();
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        Some((key.to_string(), text))
    };
    keys.iter().filter_map(said).collect()
}
