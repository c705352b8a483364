//! What is noted of a message that was taken: its age, its key, and what it lacks.

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
        let key = facts.key.as_ref().map(|(_, key)| key.as_str());
        self.given.vitals.received(now.mono, key);
        if facts.id_from_body {
            self.numbers.id_from_body();
        }
        if facts.not_before_unread {
            self.numbers.not_before_unread();
        }
    }
}
