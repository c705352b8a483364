//! What keeps the queue from its work though it is being served, in words for people; and how old the oldest is.

use super::Worker;
use crate::clock::Now;
use crate::seams::{Inlet, Outlet};

impl<I: Inlet, O: Outlet> Worker<I, O> {
    /// Tells what keeps this queue from its work though it is being served.
    pub(super) fn tell_trouble(&mut self, now: Now) {
        if self.misplaced.is_some() && self.moving.failing() + self.lanes.failing() == 0 {
            self.misplaced = None;
            tracing::info!(queue = %self.given.settings.name, "messages can be placed again");
        }
        let target = (self.target_rests_until > now.mono)
            .then(|| format!("the target is left alone for a moment: {}", self.refusal));
        let place = self
            .misplaced
            .as_ref()
            .map(|why| format!("messages cannot be placed: {why}"));
        let trouble: Vec<String> = self
            .blocked_keys_trouble()
            .into_iter()
            .chain(self.unread_lanes_trouble())
            .chain(self.left_lanes_trouble())
            .chain(place)
            .chain(target)
            .chain(self.target_trouble())
            .chain(self.relief_trouble())
            .collect();
        self.given.vitals.trouble(trouble.join("; "));
        self.tell_waiting();
    }

    /// What keeps the target from taking messages, and what is doubtful about it, for people.
    fn target_trouble(&self) -> Vec<String> {
        let held = match &self.pressure.held {
            _ if self.publishing_is_blocked() => Some(
                "nothing can be admitted: there is no connection to publish on, or the broker blocks it by an alarm"
                    .to_owned(),
            ),
            Some(why) => Some(format!("nothing is admitted: {why}")),
            None => None,
        };
        held.into_iter().chain(self.given.outlet.doubts()).collect()
    }

    /// A full admitted queue is no trouble: it is what it is for. But it is shown.
    fn tell_waiting(&mut self) {
        let was_full = std::mem::take(&mut self.pressure.was_full);
        let waiting = if was_full || (!self.pressure.rule.is_open() && self.hand.len() > 0) {
            match self.given.settings.admitted() {
                "" => "waiting for room at the target".to_owned(),
                queue => format!("waiting for room in {queue}"),
            }
        } else {
            String::new()
        };
        self.given.vitals.waiting(waiting);
    }

    /// The age of the oldest in hand.
    pub(super) fn oldest_age_ms(&self) -> Option<i64> {
        let oldest_ms = self.hand.oldest_ms()?;
        Some(self.now().ms.saturating_sub(oldest_ms).max(0))
    }
}
