//! Messages on the move: published to another place and not yet confirmed there. What could not be placed is tried again, with
//! backoff, for as long as it may be held.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;

use super::hand::Held;
use super::lanes::lane_of;
use crate::rules::verdict::Why;
use crate::seams::{NotPlaced, Outgoing, Outlet, Place};

/// The longest wait before what could not be placed is tried again.
pub(super) const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// One message on the move.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) held: Held,
    pub(super) place: Place,
    pub(super) why: Why,
    pub(super) outgoing: Outgoing,
    /// Since when, and how often it was tried in vain.
    pub(super) since: Duration,
    pub(super) failures: u32,
    /// Its place among those for its lane; 0 elsewhere.
    pub(super) turn: u64,
}

impl Move {
    /// Whether it has left the way to the target without having been there: it was shed, or is on its way to a lane.
    fn goes_aside(&self) -> bool {
        self.why.verdict() == "shed" || lane_of(self).is_some()
    }
}

/// What happened to a message on the move.
#[derive(Debug)]
pub(super) enum Step {
    /// The broker has it, or not.
    Published(u64, Result<(), NotPlaced>),
    /// It is time to try again.
    TryAgain(u64),
}

#[derive(Default)]
pub(super) struct Moving {
    moves: HashMap<u64, Move>,
    steps: FuturesUnordered<LocalBoxFuture<'static, Step>>,
    next_id: u64,
    /// How many of them were shed or go to a lane.
    aside: usize,
}

impl Moving {
    pub(super) fn len(&self) -> usize {
        self.moves.len()
    }

    /// The messages on the move.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.moves.values().map(|one| &one.held)
    }

    /// How many of them were shed or go to a lane.
    pub(super) fn gone_aside(&self) -> usize {
        self.aside
    }

    /// How many of them were tried in vain.
    pub(super) fn failing(&self) -> usize {
        self.moves.values().filter(|one| one.failures > 0).count()
    }

    /// What happened next; `None` when nothing is on the move.
    pub(super) async fn next(&mut self) -> Option<Step> {
        self.steps.next().await
    }

    pub(super) fn publish(&mut self, outlet: &impl Outlet, one: Move) {
        let confirmed = outlet.publish(one.place, one.outgoing.clone());
        let id = self.keep(one);
        self.steps.push(Box::pin(
            async move { Step::Published(id, confirmed.await) },
        ));
    }

    /// Leaves a message on the move, to be tried again after `wait`.
    pub(super) fn try_again_after(&mut self, one: Move, wait: Duration) {
        let id = self.keep(one);
        self.steps.push(Box::pin(async move {
            tokio::time::sleep(wait).await;
            Step::TryAgain(id)
        }));
    }

    pub(super) fn take(&mut self, id: u64) -> Option<Move> {
        let one = self.moves.remove(&id)?;
        self.aside -= usize::from(one.goes_aside());
        Some(one)
    }

    /// Gives up on all of them.
    pub(super) fn abandon(&mut self) -> Vec<Held> {
        self.aside = 0;
        self.moves.drain().map(|(_, one)| one.held).collect()
    }

    fn keep(&mut self, one: Move) -> u64 {
        self.next_id += 1;
        self.aside += usize::from(one.goes_aside());
        self.moves.insert(self.next_id, one);
        self.next_id
    }
}
