//! What is told of the lanes: for each key how many wait, since when, how fast they go and when a new one would run.

use std::collections::HashMap;

use super::super::Worker;
use crate::clock::Now;
use crate::rules::lane::Lane;
use crate::rules::names::lane_queue;
use crate::seams::{Inlet, Outlet};
use crate::vitals::LaneLine;

/// So many keys of the shared lane are told of.
const MOST_TOLD: usize = 1_000;

impl<I: Inlet, O: Outlet> Worker<I, O> {
    /// How many deliveries of each lane are out: in hand, at work, on the move.
    pub(super) fn out_by_lane(&self) -> HashMap<Lane, usize> {
        let at_work = self.at_work.values().map(|work| &work.held);
        let lined_up = self
            .lanes
            .all
            .values()
            .flat_map(|state| state.line.values());
        let lined_up = lined_up.map(|one| &one.held).chain(&self.lanes.turning);
        let all = self
            .hand
            .iter()
            .chain(self.ordered.iter())
            .chain(at_work)
            .chain(self.moving.iter());
        let mut out = HashMap::new();
        for lane in all.chain(lined_up).filter_map(|held| held.lane) {
            *out.entry(lane).or_default() += 1;
        }
        out
    }

    /// Tells pages and numbers how the lanes stand.
    pub(super) fn tell_of_lanes(&self, out: &HashMap<Lane, usize>, now: Now) {
        let mut messages = 0;
        let mut lines = Vec::new();
        for (lane, state) in &self.lanes.all {
            let waiting = state.belief.messages().map(|ready| {
                let out = out.get(lane).copied().unwrap_or(0);
                ready + (out + state.under_way()) as u64
            });
            messages += waiting.unwrap_or(0);
            if let Lane::Own(key) = lane {
                let pace = self.pace(*key, now.mono);
                lines.push(LaneLine {
                    key: state.key.clone(),
                    shared: false,
                    waiting,
                    since_ms: state.since_ms,
                    pace,
                    eta: waiting
                        .filter(|_| state.unread.is_none())
                        .and_then(|waiting| self.eta(pace, waiting)),
                    unread: state.unread.clone(),
                });
            }
        }
        let shared = self.lanes.all.get(&Lane::Shared);
        let unread = shared.and_then(|state| state.unread.clone());
        for (key, guest) in self.lanes.guests.iter().take(MOST_TOLD) {
            let pace = self.pace(*key, now.mono);
            let waiting = guest.round.waiting() + self.hand.line_length(*key) as u64;
            lines.push(LaneLine {
                key: guest.key.clone(),
                shared: true,
                waiting: Some(waiting),
                since_ms: guest.since_ms,
                pace,
                eta: self.eta(pace, waiting).filter(|_| unread.is_none()),
                unread: unread.clone(),
            });
        }
        lines.sort_by(|one, other| one.key.cmp(&other.key));
        self.numbers.lanes(self.lanes.all.len(), messages);
        self.given.vitals.lanes(lines);
    }

    /// What is to be known of lanes that cannot be read: how many, and one of them as an example.
    pub(in super::super) fn unread_lanes_trouble(&self) -> Option<String> {
        let of = |(lane, state): (&Lane, &super::LaneState)| Some((*lane, state.unread.clone()?));
        let unread: Vec<_> = self.lanes.all.iter().filter_map(of).collect();
        let (lane, why) = unread.first()?;
        let name = lane_queue(&self.given.settings.broker_name, *lane);
        Some(format!(
            "{} lanes cannot be read, what lies in them stays there ({name}: {why}); see `sluicegate queue lanes {}`",
            unread.len(),
            self.given.settings.name
        ))
    }

    /// What is to be known of lanes that are left from a time when they could be made.
    pub(in super::super) fn left_lanes_trouble(&self) -> Option<String> {
        let left = self.lanes.all.values().filter(|state| state.holds());
        let left = left.count();
        (left > 0 && !self.given.settings.declare).then(|| {
            format!("{left} lanes of a time before `declare = false` are being emptied; the user must be permitted to read them (`sluicegate topology`)")
        })
    }

    fn eta(&self, pace: crate::rules::lane::Pace, waiting: u64) -> Option<std::time::Duration> {
        (!self.gate.is_shut())
            .then(|| pace.eta(waiting, self.service))
            .flatten()
    }
}
