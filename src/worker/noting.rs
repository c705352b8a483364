//! What is noted: of a message that was taken its age, its key and what it lacks; of the queue its account.

use super::Worker;
use super::hand::Held;
use crate::clock::Now;
use crate::seams::{Inlet, Outlet};

impl<I: Inlet, O: Outlet> Worker<I, O> {
    /// A message was taken. One whose time has not come has no age yet.
    pub(super) fn note_arrival(&self, held: &Held, now: Now) {
        let facts = &held.facts;
        if facts.not_yet(now.ms).is_none() {
            self.numbers.picked_up(facts.age_ms(now.ms));
        }
        self.given.vitals.received(now.mono, facts.key.as_ref());
        if facts.id_from_body {
            self.numbers.id_from_body();
        }
        if facts.not_before_unread {
            self.numbers.not_before_unread();
        }
    }

    /// Keeps what the gate may ask of a message. What comes from a lane was kept when it came to the queue.
    pub(super) fn keep_for_previews(&mut self, held: &Held, now: Now) {
        if held.lane.is_none() {
            let recent = &self.given.vitals.recent;
            self.recent.offer(recent, &held.facts, &held.raw, now.ms);
        }
    }

    /// Writes the queue's account: what is in hand is counted by the lists that hold it.
    pub(super) fn write_ledger(&mut self) {
        let aside = self.moving.len() + self.lanes.len() + self.ordered.len();
        let in_hand = self.hand.len() + self.at_work.len() + aside + self.given.inlet.settling();
        self.ledger.in_hand = in_hand as u64;
        self.numbers.write_ledger(self.ledger);
    }
}
