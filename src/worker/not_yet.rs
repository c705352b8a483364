//! Messages whose time has not come: the last seconds are spent in hand, more in the delay queues, in hops. It costs no attempt.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Worker;
use super::hand::Held;
use crate::clock::Now;
use crate::rules::hold::{LONGEST_WAIT, may_wait};
use crate::rules::verdict::Why;
use crate::seams::{Inlet, Outlet};

/// How often a message that waits in its line for its time is asked about it at least.
const ASKED_EVERY: Duration = Duration::from_secs(30);

impl<I: Inlet, O: Outlet> Worker<I, O> {
    /// This message is not to be done for so long. No hop overshoots its time, so it is late only when too many share it. Where order
    /// is kept it waits where it stands, and what follows in its line with it.
    pub(super) fn not_yet(&mut self, held: Held, was_head: bool, wait: Duration, now: Now) {
        if held.order.is_kept() {
            // The wall's clock may jump: it is asked now and then.
            let until = Some(now.mono + wait.min(ASKED_EVERY));
            return self.hand.wait(held, was_head, Why::NotYet, until, now.mono);
        }
        let line = held.line();
        if wait <= LONGEST_WAIT {
            self.occupied(self.hand.waiting() + 1);
        }
        if may_wait(wait, self.hand.waiting(), self.prefetch.get()) {
            self.hand.wait_until(now.mono + wait, held);
        } else {
            self.defer(held, Why::NotYet, wait, now);
        }
        self.hand.release(line, now.mono);
    }
}

/// Messages in hand before their time, by the time since the clock's start at which they are due.
#[derive(Debug, Default)]
pub(super) struct Early {
    held: BTreeMap<(Duration, u64), Held>,
    kept: u64,
}

impl Early {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.held.values()
    }

    pub(super) fn keep(&mut self, due: Duration, held: Held) {
        self.kept += 1;
        self.held.insert((due, self.kept), held);
    }

    /// One whose time has come by this clock; the wall's clock, which may have jumped, is asked again before it is dispatched.
    pub(super) fn pop_due(&mut self, now: Duration) -> Option<Held> {
        let first = self.held.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.held.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes out everything for which `wanted` holds.
    pub(super) fn take_out(&mut self, wanted: impl Fn(&Held) -> bool) -> Vec<Held> {
        let out = self.held.extract_if(.., |_, held| wanted(held));
        out.map(|(_, held)| held).collect()
    }
}
