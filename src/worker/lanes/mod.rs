//! The lanes of a queue, as its worker knows them: what is believed to lie in each, what waits to be published to it, and which
//! keys share one. What to do about them is beside: [`fill`] puts messages in, [`drain`] takes them out, [`tell`] reports.

mod drain;
mod fill;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;

use super::hand::Held;
use super::moving::Move;
use crate::rules::lane::{Belief, Lane, Round};
use crate::rules::lots::KeyHash;
use crate::seams::{Place, Wanted};

/// So many keys of the shared lane are told apart; the order of those above is not kept there.
const MOST_GUESTS: usize = 10_000;

/// What a lane is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is being written down and declared; what is for it waits in hand.
    Opening,
    /// It is there.
    Open,
    /// Something could not be placed in it: the rest waits, and all is tried again in order.
    Failing {
        /// not before this time
        retry_at: Duration,
    },
    /// The broker was asked to remove it.
    Leaving,
    /// It was removed, and its entry in the book is being struck out.
    Forgetting,
}

/// One lane.
#[derive(Debug)]
struct LaneState {
    /// Its key; empty for the shared one.
    key: Arc<str>,
    /// Not so when its record was damaged; then the first message that is taken from it tells.
    key_is_known: bool,
    since_ms: i64,
    stage: Stage,
    belief: Belief,
    /// Messages that wait to be published to it, by their turn.
    line: BTreeMap<u64, Move>,
    last_turn: u64,
    /// Publishes to it that are not confirmed yet.
    flying: usize,
    failures: u32,
    /// Why it cannot be read, if so.
    unread: Option<Arc<str>>,
    /// What was last said to the inlet; `None`: nothing yet.
    wanted: Option<Wanted>,
    /// When something last came from it or went to it.
    busy_at: Duration,
    /// Nothing is taken from it before this time.
    rests_until: Duration,
}

impl LaneState {
    fn new(key: Arc<str>, since_ms: i64, stage: Stage, now: Duration) -> Self {
        Self {
            key,
            key_is_known: true,
            since_ms,
            stage,
            belief: Belief::default(),
            line: BTreeMap::new(),
            last_turn: 0,
            flying: 0,
            failures: 0,
            unread: None,
            wanted: None,
            busy_at: now,
            rests_until: Duration::ZERO,
        }
    }

    /// How many are on their way to it.
    fn under_way(&self) -> usize {
        self.line.len() + self.flying
    }

    /// Whether earlier messages may be in it, so that later ones of its key must follow.
    fn holds(&self) -> bool {
        self.under_way() > 0 || !self.belief.is_empty()
    }

    fn line_up(&mut self, mut one: Move) {
        self.last_turn += 1;
        one.turn = self.last_turn;
        self.line.insert(one.turn, one);
    }
}

/// A key whose messages lie in the shared lane.
#[derive(Debug)]
struct Guest {
    key: Arc<str>,
    since_ms: i64,
    round: Round,
}

/// What came of something that was done for a lane.
#[derive(Debug)]
pub(super) enum Errand {
    /// It is written down and there, or why not.
    Opened(Lane, Result<(), String>),
    /// Its entry was struck out, or why not.
    Forgotten(Lane, Result<(), String>),
}

/// The lanes of a queue.
#[derive(Default)]
pub(super) struct Lanes {
    all: BTreeMap<Lane, LaneState>,
    guests: HashMap<KeyHash, Guest>,
    /// From the shared lane, and to be put at its tail again with the next second.
    turning: Vec<Held>,
    errands: FuturesUnordered<LocalBoxFuture<'static, Errand>>,
}

impl Lanes {
    /// How many messages are in hand here: waiting to be published to a lane.
    pub(super) fn len(&self) -> usize {
        let lined_up: usize = self.all.values().map(|state| state.line.len()).sum();
        lined_up + self.turning.len()
    }

    /// How many lanes have something that could not be placed.
    pub(super) fn failing(&self) -> usize {
        self.all.values().filter(|state| state.failures > 0).count()
    }

    /// What came of the next errand; `None` when none is under way.
    pub(super) async fn next_errand(&mut self) -> Option<Errand> {
        self.errands.next().await
    }

    /// How many lanes of single keys there are.
    fn own(&self) -> usize {
        self.all.len() - usize::from(self.all.contains_key(&Lane::Shared))
    }

    /// The lane in which earlier messages of `key` may be.
    pub(super) fn holding(&self, key: KeyHash) -> Option<Lane> {
        let guest = self.guests.get(&key);
        if guest.is_some_and(|guest| guest.round.waiting() > 0) {
            return Some(Lane::Shared);
        }
        let own = Lane::Own(key);
        self.all
            .get(&own)
            .filter(|state| state.holds())
            .map(|_| own)
    }

    /// Whether what is put in a lane can be taken out again, as far as is known.
    fn is_read(&self, lane: Lane) -> bool {
        let state = self.all.get(&lane);
        state.is_none_or(|state| state.unread.is_none())
    }

    /// The key of `held` in the shared lane; `None`: it has none, or too many are known already.
    fn guest_of(&mut self, held: &Held, now_ms: i64) -> Option<&mut Guest> {
        let (hash, key) = held.facts.key.as_ref()?;
        if self.guests.len() >= MOST_GUESTS && !self.guests.contains_key(hash) {
            return None;
        }
        let guest = self.guests.entry(*hash).or_insert_with(|| Guest {
            key: Arc::clone(key),
            since_ms: now_ms,
            round: Round::default(),
        });
        Some(guest)
    }

    fn round_of(&mut self, held: &Held) -> Option<(&mut Round, u64)> {
        let guest = self.guests.get_mut(&held.key()?)?;
        Some((&mut guest.round, held.guest?))
    }

    /// A message was taken.
    pub(super) fn took(&mut self, held: &mut Held, now: Duration) {
        let Some(lane) = held.lane else { return };
        if let Some(state) = self.all.get_mut(&lane) {
            state.belief.one_less();
            state.busy_at = now;
            if let Some((_, key)) = held.facts.key.as_ref().filter(|_| !state.key_is_known) {
                (state.key, state.key_is_known) = (Arc::clone(key), true);
            }
        }
        if lane == Lane::Shared
            && let Some(guest) = held.key().and_then(|key| self.guests.get_mut(&key))
        {
            held.guest = Some(guest.round.taken());
        }
    }

    /// Whether no earlier message of its key is left in the shared lane.
    fn is_first(&mut self, held: &Held) -> bool {
        self.round_of(held)
            .is_none_or(|(round, number)| round.may_run(number))
    }

    /// A message goes back to where it was taken from.
    pub(super) fn returned(&mut self, held: &Held) {
        let Some(lane) = held.lane else { return };
        if let Some(state) = self.all.get_mut(&lane) {
            state.belief.one_more();
        }
        if let Some((round, number)) = self.round_of(held).filter(|_| lane == Lane::Shared) {
            round.returns(number);
        }
    }

    /// A message that was on its way to the tail of the shared lane, or waited for that, does not go there.
    fn does_not_join(&mut self, held: &Held) {
        if let Some((round, number)) = self.round_of(held) {
            round.forget(number);
        }
    }

    /// The link was lost: what was out of a lane may lie in it again.
    pub(super) fn link_lost(&mut self) {
        self.all.values_mut().for_each(|state| state.belief.lost());
    }

    /// Takes out everything that waits to be published to a lane.
    pub(super) fn take_out(&mut self) -> Vec<Held> {
        let mut out = Vec::new();
        for lane in self.all.keys().copied().collect::<Vec<_>>() {
            out.extend(self.take_line(lane));
        }
        let turning = std::mem::take(&mut self.turning);
        turning.iter().for_each(|held| self.does_not_join(held));
        out.extend(turning);
        out
    }

    /// Takes out everything of which `lost` holds that waits to be published to a lane.
    fn take_lost(&mut self, lost: impl Fn(&Held) -> bool) -> Vec<Held> {
        let mut out = Vec::new();
        for state in self.all.values_mut() {
            let of_this = state.line.extract_if(.., |_, one| lost(&one.held));
            out.extend(of_this.map(|(_, one)| one.held));
        }
        out.extend(self.turning.extract_if(.., |held| lost(held)));
        out.iter().for_each(|held| self.does_not_join(held));
        out
    }

    /// Takes out everything that waits to be published to this lane, in its order.
    fn take_line(&mut self, lane: Lane) -> Vec<Held> {
        let Some(state) = self.all.get_mut(&lane) else {
            return Vec::new();
        };
        let line = std::mem::take(&mut state.line);
        let line: Vec<Held> = line.into_values().map(|one| one.held).collect();
        if lane == Lane::Shared {
            line.iter().for_each(|held| self.does_not_join(held));
        }
        line
    }
}

/// The lane to which a message is on its way.
pub(super) fn lane_of(one: &Move) -> Option<Lane> {
    match one.place {
        Place::Lane(lane) => Some(lane),
        _ => None,
    }
}
