//! Settling: what came back from the target, what is shed, what must wait elsewhere. Nothing is acknowledged before its effect
//! or its onward publish is confirmed.

use std::time::Duration;

use super::hand::Held;
use super::lanes::lane_of;
use super::moving::{LONGEST_RETRY, Move, Step};
use super::{AtWork, Worker};
use crate::clock::Now;
use crate::rules::backoff::{delay_for, full_jitter};
use crate::rules::envelope::{ID, Sealed, Stamp, seal, seal_without_original};
use crate::rules::message::Field;
use crate::rules::settlement::{Next, Outcome, Place, after_run, after_shed};
use crate::rules::verdict::{By, Why};
use crate::seams::{Answer, Inlet, NotPlaced, Outgoing, Outlet, Settle, Wanted};

/// How long nothing is taken after messages had to go back because their place did not take them.
const REST_AFTER_GIVING_UP: Duration = Duration::from_secs(30);

impl<I: Inlet, O: Outlet> Worker<I, O> {
    /// The target answered.
    pub(super) fn came_back(&mut self, id: u64, answer: &Answer) {
        if let Some(work) = self.at_work.remove(&id) {
            self.worked(work, answer);
        }
    }

    /// This is what came of a message at the target.
    pub(super) fn worked(&mut self, work: AtWork, answer: &Answer) {
        let AtWork {
            held,
            gate,
            permit,
            started,
            round,
        } = work;
        let now = self.now();
        self.target_answered(round, &answer.outcome, now.mono);
        if answer.outcome.was_not_taken() {
            return self.not_taken(held, permit, now);
        }
        let took = now.mono.saturating_sub(started);
        self.throttle.came_back(permit);
        self.ordered.came_back(&held);
        self.hand.release(held.line(), now.mono);
        self.observe(&held, answer, took, now);
        if held.order.is_kept() {
            return self.settle_in_order(held, answer, gate.revision, now);
        }
        let settings = &self.given.settings;
        let next = after_run(
            &answer.outcome,
            held.tried + 1,
            settings.attempts,
            settings.on_unknown,
        );
        let Some((next, why)) = next else {
            return self.hand.put(held);
        };
        match next {
            Next::Ack => self.given.inlet.settle(held.receipt, Settle::Ack, why),
            Next::Move(place, tried) => {
                let stamp = Stamp {
                    revision: gate.revision,
                    ..self.stamp(why, answer.outcome.cause(), tried, now)
                };
                self.send_off(held, place, stamp, now);
            }
        }
    }

    fn observe(&mut self, held: &Held, answer: &Answer, took: Duration, now: Now) {
        self.numbers.processed(answer.outcome.word(), took);
        let key = held.facts.key.as_ref();
        match &answer.outcome {
            Outcome::Done => {
                // What has no deadline but that which `max_age` makes has that one.
                let deadline = self.deadline_ms(held);
                let deadline = deadline.or_else(|| held.mark.deadline_ms(&held.facts));
                let on_time = deadline.map(|deadline| now.ms <= deadline);
                self.numbers.completed(on_time);
                self.service = (self.service * 7 + took) / 8;
                self.given.vitals.done(now.mono, key, took, on_time);
            }
            Outcome::HandedOver | Outcome::Full | Outcome::Held(_) | Outcome::NoProvider(_) => {}
            Outcome::Throttled(_) => self.given.vitals.in_vain(now.mono, key, took),
            Outcome::Retry(cause) | Outcome::Failed(cause) | Outcome::Unknown(cause) => {
                self.given.vitals.in_vain(now.mono, key, took);
                tracing::debug!(queue = %self.given.settings.name, id = %held.facts.id, outcome = answer.outcome.word(), cause, "a job did not succeed");
            }
        }
        match &answer.outcome {
            Outcome::HandedOver | Outcome::Full | Outcome::Held(_) => {}
            outcome => self.measure(held, outcome, took, now),
        }
        let slots = self.slots();
        if let Some(rest) = self.patience.answered(&answer.outcome, slots) {
            self.leave_alone(answer, now.mono, rest);
        }
    }

    /// The target has said no many times in a row: it gets a rest.
    fn leave_alone(&mut self, answer: &Answer, now: Duration, rest: Duration) {
        self.refusal = match answer.outcome.cause() {
            "" => "it asks for less".to_owned(),
            cause => cause.to_owned(),
        };
        if self.target_rests_until < now {
            tracing::warn!(queue = %self.given.settings.name, cause = self.refusal, rest_ms = rest.as_millis(), "the target says no again and again, and is left alone for a moment");
        }
        self.target_rests_until = self.target_rests_until.max(now + rest);
    }

    /// A valve says that this message shall not be done, or it cannot be read.
    pub(super) fn shed(&mut self, held: Held, why: Why, by: By, cause: &str) {
        let now = self.now();
        self.given.vitals.shed(now.mono);
        match after_shed(self.given.settings.disposition(why), held.tried) {
            Next::Ack => {
                self.dropped += 1;
                self.given.inlet.settle(held.receipt, Settle::Ack, why);
            }
            Next::Move(place, tried) => {
                let numbers = by.numbers.clone();
                let cause = numbers.as_deref().unwrap_or(cause);
                let stamp = Stamp {
                    by,
                    ..self.stamp(why, cause, tried, now)
                };
                self.send_off(held, place, stamp, now);
            }
        }
    }

    /// This message must wait longer than it may wait here.
    pub(super) fn defer(&mut self, held: Held, why: Why, wait: Duration, now: Now) {
        let stamp = self.stamp(why, "", held.tried, now);
        self.send_off(held, Place::Delay(delay_for(wait)), stamp, now);
    }

    /// What is written on the outside of a message that goes elsewhere now, under the valves of now.
    pub(super) fn stamp(&self, why: Why, cause: &str, attempt: u32, now: Now) -> Stamp {
        Stamp {
            why,
            cause: cause.to_owned(),
            revision: self.gate.revision,
            by: By::default(),
            at_ms: now.ms,
            attempt,
        }
    }

    /// Puts a message in its envelope and on its way.
    pub(super) fn send_off(&mut self, held: Held, place: Place, stamp: Stamp, now: Now) {
        if !self.given.inlet.usable(&held.receipt) {
            return self.give_back(held);
        }
        let one = self.envelope(held, place, stamp, now);
        self.moving.publish(&self.given.outlet, one);
        self.make_room_for_what_goes_aside();
    }

    /// What is on its way elsewhere is out until its confirm, and needs no slot: more may be taken meanwhile.
    pub(super) fn make_room_for_what_goes_aside(&mut self) {
        if !self.given.outlet.blocked() {
            self.occupied(self.moving.gone_aside() + self.lanes.len());
        }
    }

    /// Gives back all that is in hand.
    pub(super) fn give_all_back(&mut self) {
        let mut all = self.hand.take_out(|_| true);
        all.extend(self.lanes.take_out());
        all.into_iter().for_each(|held| self.give_back(held));
    }

    /// So many messages are out that need no slot now: the prefetch may have to grow.
    pub(super) fn occupied(&mut self, out: usize) {
        if self.prefetch.occupied(out) {
            self.consume();
        }
    }

    /// Puts a message in its envelope. One that does not fit in becomes a dead letter.
    pub(super) fn envelope(&self, held: Held, place: Place, stamp: Stamp, now: Now) -> Move {
        let (place, why, sealed) = match seal(&held.raw, &stamp) {
            Ok(sealed) => (place, stamp.why, sealed),
            Err(_) => {
                let stamp = Stamp {
                    cause: format!(
                        "its headers are too large to be kept ({})",
                        stamp.why.word()
                    ),
                    why: Why::Malformed,
                    ..stamp
                };
                (
                    Place::Dead,
                    Why::Malformed,
                    seal_without_original(&held.raw, &stamp),
                )
            }
        };
        let Sealed {
            properties,
            headers,
        } = sealed;
        let mut headers = headers;
        if (place, why) == (Place::Park, Why::Unknown) {
            let id = held.facts.id.as_bytes().to_vec();
            headers.push((ID.to_owned(), Field::LongString(id)));
        }
        let outgoing = Outgoing {
            properties,
            headers,
            body: held.raw.body.clone(),
            at_ms: now.ms,
        };
        Move {
            held,
            place,
            why,
            outgoing,
            since: now.mono,
            failures: 0,
            turn: 0,
        }
    }

    /// Something happened to a message on the move.
    pub(super) fn moved(&mut self, step: Step) {
        match step {
            Step::Published(id, result) => {
                let Some(one) = self.moving.take(id) else {
                    return;
                };
                if let Some(lane) = lane_of(&one) {
                    return self.flown(lane, one, result);
                }
                match result {
                    Ok(()) => self
                        .given
                        .inlet
                        .settle(one.held.receipt, Settle::Ack, one.why),
                    Err(why) => self.not_placed(one, &why),
                }
            }
            Step::TryAgain(id) => {
                let Some(one) = self.moving.take(id) else {
                    return;
                };
                if self.given.inlet.usable(&one.held.receipt) {
                    self.moving.publish(&self.given.outlet, one);
                } else {
                    self.give_back(one.held);
                }
            }
        }
    }

    /// Messages had to go back because their place did not take them: nothing is taken for a while.
    pub(super) fn take_nothing(&mut self, now: Duration) {
        self.takes_nothing_until = Some(now + REST_AFTER_GIVING_UP);
        self.given.inlet.want(Wanted::Idle);
        self.steer_lanes();
    }

    /// A message could not be placed: it is held and tried again. Held for too long, one that was not tried at the target goes
    /// back to the queue, and nothing is taken for a while; one that was stays, else it would be done again and again. Where order
    /// is kept all stay: they would come back behind others.
    fn not_placed(&mut self, mut one: Move, why: &NotPlaced) {
        self.numbers.publish_failed();
        let now = self.now();
        if self.misplaced.replace(why.to_string()).is_none() {
            tracing::warn!(queue = %self.given.settings.name, place = ?one.place, reason = one.why.word(), %why, "messages cannot be placed; they are held and tried again");
        }
        if !self.given.inlet.usable(&one.held.receipt) {
            return self.give_back(one.held);
        }
        let held_too_long = now.mono.saturating_sub(one.since) > self.given.settings.hold;
        if held_too_long && one.why.verdict() != "run" && !one.held.order.is_kept() {
            self.take_nothing(now.mono);
            return self.give_back(one.held);
        }
        // The message's own lot is drawn, so that a run can be repeated.
        let draw = one.held.facts.lot.draw(one.failures);
        let wait = full_jitter(one.failures, LONGEST_RETRY, draw).max(Duration::from_millis(50));
        one.failures += 1;
        self.moving.try_again_after(one, wait);
    }
}
