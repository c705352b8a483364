//! The hand: messages that were taken and not yet dispatched. The next is the one with the highest priority, then the oldest;
//! a key that must wait forms a line of its own and steps out of everybody's way. In a queue that keeps its order the next is the
//! one that was taken first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::not_yet::Early;
use super::relief::Mark;
use crate::rules::facts::Facts;
use crate::rules::lane::Lane;
use crate::rules::lots::{ByKey, KeyHash};
use crate::rules::message::Raw;
use crate::rules::order::Order;
use crate::rules::verdict::Why;
use crate::seams::Receipt;

/// A message in hand.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) raw: Arc<Raw>,
    pub(super) facts: Facts,
    pub(super) receipt: Receipt,
    /// The lane that it came from; `None`: the queue itself.
    pub(super) lane: Option<Lane>,
    /// Its number among those of its key in the shared lane; `None`: it comes from elsewhere, and does not go there.
    pub(super) guest: Option<u64>,
    /// How often it was tried before.
    pub(super) tried: u32,
    /// When it was taken, and since when it waits for its key; time since the clock's start.
    pub(super) taken: Duration,
    pub(super) waits_since: Option<Duration>,
    /// When a limit first said no to it.
    pub(super) refused_at: Option<Duration>,
    /// The order that its queue keeps.
    pub(super) order: Order,
    /// In a queue that keeps its order: until when it rests at the head of its line before it is tried again.
    pub(super) rests_until: Option<Duration>,
    /// The how-manyth it was that was taken from the queue: no two have the same.
    pub(super) number: u64,
    /// What relief knows of it.
    pub(super) mark: Mark,
}

impl Held {
    pub(super) fn key(&self) -> Option<KeyHash> {
        self.facts.key.as_ref().map(|(hash, _)| *hash)
    }

    /// The line in which it waits, if it must.
    pub(super) fn line(&self) -> Option<KeyHash> {
        self.order.line(self.key())
    }

    fn rank(&self) -> Rank {
        if self.order.is_kept() {
            // What comes from a lane came to the queue before what comes from there now, also when it comes from the lane again.
            return (Reverse(0), i64::from(self.lane.is_none()), self.number);
        }
        (
            Reverse(self.facts.priority),
            self.facts.counts_from_ms().unwrap_or(i64::MAX),
            self.number,
        )
    }
}

type Rank = (Reverse<u8>, i64, u64);

#[derive(Debug, Default)]
struct Line {
    held: VecDeque<Held>,
    why: Option<Why>,
    /// When its first may be asked again; `None`: when a slot of its key comes back.
    until: Option<Duration>,
}

#[derive(Debug, Default)]
pub(super) struct Hand {
    ready: BTreeMap<Rank, Held>,
    lines: ByKey<Line>,
    due: BTreeSet<(Duration, KeyHash)>,
    /// Those whose time has not come.
    early: Early,
    waiting: usize,
    /// Those of the waiting that came from a lane.
    waiting_from_lanes: usize,
}

impl Hand {
    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.waiting + self.early.len()
    }

    /// How many wait for nothing but a slot.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Whether nobody could be dispatched at `now`: all wait for their key, and for longer.
    pub(super) fn is_idle(&self, now: Duration) -> bool {
        self.ready.is_empty() && self.next_due().is_none_or(|due| due > now)
    }

    /// How many from the queue itself wait for their key, and how many for their time.
    pub(super) fn waiting(&self) -> usize {
        self.waiting - self.waiting_from_lanes + self.early.len()
    }

    /// All that is in hand.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        let waiting = self.lines.values().flat_map(|line| &line.held);
        self.ready.values().chain(waiting).chain(self.early.iter())
    }

    /// Keeps a message until its time comes.
    pub(super) fn wait_until(&mut self, due: Duration, held: Held) {
        self.early.keep(due, held);
    }

    /// What the head of the line of `key` waits for; `None`: nobody of this key waits.
    pub(super) fn line_waits_for(&self, key: KeyHash) -> Option<Why> {
        self.lines
            .get(&key)
            .map(|line| line.why.unwrap_or(Why::Rate))
    }

    /// How many wait in the line of `key`.
    pub(super) fn line_length(&self, key: KeyHash) -> usize {
        self.lines.get(&key).map_or(0, |line| line.held.len())
    }

    /// The next message that may be asked for a permit, and whether it stood at the head of a line.
    pub(super) fn next(&mut self, now: Duration) -> Option<(Held, bool)> {
        while let Some(held) = self.early.pop_due(now) {
            self.put(held);
        }
        let due = self.due.first().copied();
        if let Some((until, key)) = due.filter(|(until, _)| *until <= now)
            && self.comes_before_the_ready(key)
        {
            self.due.remove(&(until, key));
            return self.step_out(key).map(|held| (held, true));
        }
        self.ready.pop_first().map(|(_, held)| (held, false))
    }

    /// Whether the head of the line of `key` comes before whatever is ready, by priority and age.
    fn comes_before_the_ready(&self, key: KeyHash) -> bool {
        let head = self.lines.get(&key).and_then(|line| line.held.front());
        let ready = self.ready.first_key_value().map(|(rank, _)| *rank);
        head.is_some_and(|head| ready.is_none_or(|ready| head.rank() < ready))
    }

    /// Takes a message in its place: one that has come, or one that was not dispatched after all though nothing is wrong with it.
    pub(super) fn put(&mut self, held: Held) {
        self.ready.insert(held.rank(), held);
    }

    /// Lines a message up for its key: at the head if it stood there before, else behind the others. In a queue that keeps its order
    /// it has its place.
    pub(super) fn wait(
        &mut self,
        mut held: Held,
        at_head: bool,
        why: Why,
        until: Option<Duration>,
        now: Duration,
    ) {
        let Some(key) = held.line() else {
            return self.put(held);
        };
        held.waits_since.get_or_insert(now);
        self.count(&held, true);
        let line = self.lines.entry(key).or_default();
        let place = if held.order.is_kept() {
            let rank = held.rank();
            line.held.partition_point(|other| other.rank() < rank)
        } else if at_head {
            0
        } else {
            line.held.len()
        };
        if place > 0 {
            line.held.insert(place, held);
        } else {
            // What comes before a head that waits waits for nothing of its own yet: it is asked for itself.
            let overtakes = !at_head && !line.held.is_empty();
            let until = until.or(overtakes.then_some(now));
            line.held.push_front(held);
            line.why = Some(why);
            self.ask_again(key, until);
        }
    }

    /// The head of the line of `key` may be asked again at once: a slot of its came back, or its head has just gone.
    pub(super) fn release(&mut self, key: Option<KeyHash>, now: Duration) {
        if let Some(key) = key.filter(|key| self.lines.contains_key(key)) {
            self.ask_again(key, Some(now));
        }
    }

    /// Every line may be asked again: the limits have changed.
    pub(super) fn release_all(&mut self, now: Duration) {
        let keys: Vec<KeyHash> = self.lines.keys().copied().collect();
        keys.into_iter()
            .for_each(|key| self.ask_again(key, Some(now)));
    }

    /// When the next line is to be asked again, or the time of a message comes.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let line = self.due.first().map(|(until, _)| *until);
        line.into_iter().chain(self.early.next_due()).min()
    }

    /// The keys whose messages have waited in line longer than `longest`, and for what; those from a lane of its own may.
    pub(super) fn overdue(&self, longest: Duration, now: Duration) -> Vec<(KeyHash, Why)> {
        let over = |held: &Held| {
            let since = held.waits_since.unwrap_or(now);
            !matches!(held.lane, Some(Lane::Own(_))) && now.saturating_sub(since) > longest
        };
        let lines = self.lines.iter();
        lines
            .filter(|(_, line)| line.held.iter().any(over))
            .map(|(key, line)| (*key, line.why.unwrap_or(Why::Rate)))
            .collect()
    }

    /// Takes those out of the line of `key` for which `wanted` holds, in order; the others keep theirs.
    pub(super) fn take_line(
        &mut self,
        key: KeyHash,
        wanted: impl Fn(&Held) -> bool,
        now: Duration,
    ) -> Vec<Held> {
        let Some(line) = self.lines.get_mut(&key) else {
            return Vec::new();
        };
        let (go, stay): (VecDeque<Held>, VecDeque<Held>) = std::mem::take(&mut line.held)
            .into_iter()
            .partition(|held| wanted(held));
        let is_over = stay.is_empty();
        line.held = stay;
        go.iter().for_each(|held| self.count(held, false));
        if is_over {
            self.lines.remove(&key);
            self.due.retain(|(_, other)| *other != key);
        } else if !go.is_empty() {
            self.ask_again(key, Some(now));
        }
        go.into()
    }

    /// Takes out those of `key` that do not stand in line and for which `wanted` holds, in order.
    pub(super) fn take_ready(&mut self, key: KeyHash, wanted: impl Fn(&Held) -> bool) -> Vec<Held> {
        let is_of_key = |held: &Held| held.key() == Some(key) && wanted(held);
        let taken = self.ready.extract_if(.., |_, held| is_of_key(held));
        taken.map(|(_, held)| held).collect()
    }

    /// Takes out those of `key` for which `wanted` holds: first those in line, then those that do not stand in line yet.
    pub(super) fn take_key(
        &mut self,
        key: KeyHash,
        wanted: impl Fn(&Held) -> bool,
        now: Duration,
    ) -> Vec<Held> {
        let mut all = self.take_line(key, &wanted, now);
        all.extend(self.take_ready(key, wanted));
        all
    }

    /// The lanes of which a message was taken before `taken` and is still here.
    pub(super) fn lanes_held_since_before(&self, taken: Duration) -> BTreeSet<Lane> {
        self.iter()
            .filter(|held| held.taken < taken)
            .filter_map(|held| held.lane)
            .collect()
    }

    /// Takes out the ready messages that were taken from the queue before `taken`.
    pub(super) fn held_since_before(&mut self, taken: Duration) -> Vec<Held> {
        self.ready
            .extract_if(.., |_, held| held.taken < taken && held.lane.is_none())
            .map(|(_, held)| held)
            .collect()
    }

    /// Takes out everything for which `wanted` holds, in the order in which it was taken.
    pub(super) fn take_out(&mut self, wanted: impl Fn(&Held) -> bool) -> Vec<Held> {
        let mut out: Vec<Held> = self
            .ready
            .extract_if(.., |_, held| wanted(held))
            .map(|(_, held)| held)
            .collect();
        for line in self.lines.values_mut() {
            let (go, stay) = std::mem::take(&mut line.held)
                .into_iter()
                .partition(|held| wanted(held));
            line.held = stay;
            let go: VecDeque<Held> = go;
            out.extend(go);
        }
        out.extend(self.early.take_out(wanted));
        self.lines.retain(|_, line| !line.held.is_empty());
        self.due.retain(|(_, key)| self.lines.contains_key(key));
        let lines = self.lines.values().flat_map(|line| &line.held);
        self.waiting = lines.clone().count();
        self.waiting_from_lanes = lines.filter(|held| held.lane.is_some()).count();
        out.sort_by_key(|held| held.number);
        out
    }

    /// Since when the age of the oldest of those in hand counts.
    pub(super) fn oldest_ms(&self) -> Option<i64> {
        let waiting = self.lines.values().flat_map(|line| &line.held);
        self.ready
            .values()
            .chain(waiting)
            .filter_map(|held| held.facts.counts_from_ms())
            .min()
    }

    fn step_out(&mut self, key: KeyHash) -> Option<Held> {
        let line = self.lines.get_mut(&key)?;
        let held = line.held.pop_front()?;
        if line.held.is_empty() {
            self.lines.remove(&key);
            self.due.retain(|(_, other)| *other != key);
        }
        self.count(&held, false);
        Some(held)
    }

    /// Counts a message that begins or ends to wait.
    fn count(&mut self, held: &Held, begins: bool) {
        let from_lane = usize::from(held.lane.is_some());
        if begins {
            self.waiting += 1;
            self.waiting_from_lanes += from_lane;
        } else {
            self.waiting -= 1;
            self.waiting_from_lanes -= from_lane;
        }
    }

    fn ask_again(&mut self, key: KeyHash, until: Option<Duration>) {
        let Some(line) = self.lines.get_mut(&key) else {
            return;
        };
        if let Some(before) = line.until.take() {
            self.due.remove(&(before, key));
        }
        line.until = until;
        if let Some(until) = until {
            self.due.insert((until, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(key: u64, priority: u8, published_ms: i64) -> Held {
        let facts = Facts {
            key: Some((KeyHash(key), key.to_string().into())),
            priority,
            published_ms: Some(published_ms),
            ..Facts::bare(KeyHash(published_ms.unsigned_abs()))
        };
        Held {
            raw: Arc::default(),
            facts,
            receipt: Receipt::new(1, 1),
            lane: None,
            guest: None,
            tried: 0,
            taken: Duration::ZERO,
            waits_since: None,
            refused_at: None,
            order: Order::None,
            rests_until: None,
            number: published_ms.unsigned_abs(),
            mark: Mark::default(),
        }
    }

    fn order(hand: &mut Hand, now: Duration) -> Vec<i64> {
        std::iter::from_fn(|| hand.next(now))
            .filter_map(|(held, _)| held.facts.published_ms)
            .collect()
    }

    fn published(all: &[Held]) -> Vec<i64> {
        all.iter()
            .filter_map(|held| held.facts.published_ms)
            .collect()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn by_priority_then_age() {
        let mut hand = Hand::default();
        for one in [held(1, 0, 3), held(1, 0, 1), held(2, 9, 5), held(2, 9, 4)] {
            hand.put(one);
        }
        assert_eq!(order(&mut hand, SECOND), [4, 5, 1, 3]);
        assert_eq!(hand.len(), 0);
    }

    #[test]
    fn a_line_waits_in_order_and_lets_others_pass() {
        let mut hand = Hand::default();
        hand.wait(held(1, 0, 1), false, Why::Rate, Some(SECOND * 2), SECOND);
        hand.wait(held(1, 0, 2), false, Why::Rate, Some(SECOND * 9), SECOND);
        hand.put(held(2, 0, 3));
        assert_eq!(order(&mut hand, SECOND), [3]);
        let (first, at_head) = hand.next(SECOND * 2).unwrap();
        assert_eq!((first.facts.published_ms, at_head), (Some(1), true));
        assert!(
            hand.next(SECOND * 3).is_none(),
            "the rest waits until it is released"
        );
        hand.release(Some(KeyHash(1)), SECOND * 3);
        assert_eq!(order(&mut hand, SECOND * 3), [2]);
    }

    #[test]
    fn who_waits_too_long_is_taken_out() {
        let mut hand = Hand::default();
        hand.wait(held(1, 0, 1), false, Why::Concurrency, None, SECOND);
        hand.wait(held(1, 0, 2), false, Why::Concurrency, None, SECOND * 4);
        hand.put(held(1, 0, 3));
        let overdue = hand.overdue(SECOND * 3, SECOND * 5);
        assert_eq!(overdue, [(KeyHash(1), Why::Concurrency)]);
        let mut out = hand.take_line(KeyHash(1), |_| true, SECOND * 5);
        out.extend(hand.take_ready(KeyHash(1), |_| true));
        assert_eq!(published(&out), [1, 2, 3]);
        assert_eq!((hand.len(), hand.next_due()), (0, None));
    }

    #[test]
    fn those_of_a_lane_of_its_own_may_wait_and_keep_their_place() {
        let mut hand = Hand::default();
        for number in 1..=4 {
            let lane = (number % 2 == 0).then_some(Lane::Own(KeyHash(1)));
            let one = Held {
                lane,
                ..held(1, 0, number)
            };
            hand.wait(one, false, Why::Rate, Some(SECOND * 9), SECOND);
        }
        let out = hand.take_line(KeyHash(1), |held| held.lane.is_none(), SECOND * 5);
        assert_eq!(published(&out), [1, 3]);
        assert_eq!(
            (hand.overdue(SECOND, SECOND * 9).len(), hand.waiting()),
            (0, 0)
        );
        assert_eq!(
            (hand.len(), hand.lanes_held_since_before(SECOND).len()),
            (2, 1)
        );
        assert_eq!(order(&mut hand, SECOND * 5), [2]);
    }

    #[test]
    fn everything_can_be_taken_out() {
        let mut hand = Hand::default();
        hand.wait(held(1, 0, 1), false, Why::Rate, Some(SECOND), SECOND);
        hand.put(held(2, 0, 2));
        hand.wait_until(SECOND, held(3, 0, 3));
        assert_eq!(hand.oldest_ms(), Some(1));
        assert_eq!(hand.take_out(|_| true).len(), 3);
        assert_eq!((hand.len(), hand.next_due()), (0, None));
    }
}
