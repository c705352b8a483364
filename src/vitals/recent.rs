//! The messages that came lately, as far as valves ask of them: what previews and explanations look at.
//!
//! The worker collects them on its own thread and hands them over in batches, without ever waiting for a lock; when there are many,
//! one stands for several. A message that is not kept costs a countdown by one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use crate::rules::facts::Facts;
use crate::rules::lots::KeyHash;
use crate::rules::message::Raw;
use crate::rules::sample::Sample;

/// So many messages of a queue are kept.
const MOST: usize = 10_000;
/// So many bytes of them are kept.
const MOST_BYTES: usize = 8 << 20;
/// So many are kept of those that come in a second, when about as many came in the second before.
const IN_A_SECOND: u32 = 1_000;
/// So many are handed over at once.
const BATCH: usize = 64;
/// So many wait to be handed over at most; further ones are dropped.
const MOST_WAITING: usize = 16 * BATCH;

/// The last messages of a queue.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    /// Oldest first.
    batches: VecDeque<Arc<Batch>>,
    messages: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Batch {
    samples: Vec<Sample>,
    bytes: usize,
}

/// The last messages of a queue, as they stood when they were asked for.
#[derive(Debug, Default)]
pub struct Kept {
    batches: Vec<Arc<Batch>>,
    messages: usize,
}

impl Kept {
    /// At most [`MOST`] messages, oldest first.
    pub fn samples(&self) -> impl DoubleEndedIterator<Item = &Sample> {
        let all = self.batches.iter().flat_map(|batch| &batch.samples);
        let mut all = all.into_iter();
        for _ in MOST..self.messages {
            all.next();
        }
        all
    }

    /// How many messages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.min(MOST)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// The newest message with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Sample> {
        let mut newest_first = self.samples().rev();
        newest_first.find(|sample| *sample.facts().id == *id)
    }
}

impl Recent {
    /// What is kept now; the lock is held for some microseconds.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Kept {
            batches: ring.batches.iter().map(Arc::clone).collect(),
            messages: ring.messages,
        }
    }

    /// Takes a batch over, unless somebody reads just now.
    fn take(&self, batch: &mut Batch) {
        let mut ring = match self.0.try_lock() {
            Ok(ring) => ring,
            Err(TryLockError::Poisoned(ring)) => ring.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let mut batch = std::mem::take(batch);
        batch.samples.shrink_to_fit(); // of a quiet queue there are many batches of one
        ring.messages += batch.samples.len();
        ring.bytes += batch.bytes;
        ring.batches.push_back(Arc::new(batch));
        while let Some(oldest) = ring.batches.front() {
            let (messages, bytes) = (oldest.samples.len(), oldest.bytes);
            if ring.messages - messages < MOST && ring.bytes <= MOST_BYTES {
                break;
            }
            ring.messages -= messages;
            ring.bytes -= bytes;
            ring.batches.pop_front();
        }
    }
}

/// Collects what is kept, on the queue's own thread.
#[derive(Debug)]
pub struct Collector {
    batch: Batch,
    /// So many messages more pass by before one is kept.
    pass_by: u32,
    /// One message stands for so many.
    one_in: u32,
    /// How many were kept, so that the draws differ.
    kept: u64,
    /// For how many messages those kept in this second stand.
    this_second: u32,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            batch: Batch::default(),
            pass_by: 0,
            one_in: 1,
            kept: 0,
            this_second: 0,
        }
    }
}

impl Collector {
    /// A message came at `now_ms`, milliseconds since 1970.
    pub fn offer(&mut self, into: &Recent, facts: &Facts, raw: &Raw, now_ms: i64) {
        if let Some(left) = self.pass_by.checked_sub(1) {
            self.pass_by = left;
            return;
        }
        self.pass_by = self.draw();
        self.this_second = self.this_second.saturating_add(self.one_in);
        if self.batch.samples.len() >= MOST_WAITING {
            return;
        }
        let sample = Sample::of(facts, raw, now_ms, self.one_in);
        self.batch.bytes += sample.size();
        self.batch.samples.push(sample);
        if self.batch.samples.len().is_multiple_of(BATCH) {
            into.take(&mut self.batch);
        }
    }

    /// A second is over: what was collected is handed over, and how many stand for one follows from what came.
    pub fn second(&mut self, into: &Recent) {
        if !self.batch.samples.is_empty() {
            into.take(&mut self.batch);
        }
        self.one_in = self.this_second.div_ceil(IN_A_SECOND).max(1);
        self.this_second = 0;
        self.pass_by = self.pass_by.min(2 * (self.one_in - 1));
    }

    /// How many pass by until the next is kept: on average one less than it stands for. Drawn, so that accounts which take turns
    /// are all seen.
    fn draw(&mut self) -> u32 {
        self.kept += 1;
        if self.one_in == 1 {
            return 0;
        }
        let most = f64::from(2 * self.one_in - 1);
        (KeyHash(self.kept).draw(0) * most) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(number: u64) -> Facts {
        Facts::bare(KeyHash(number))
    }

    fn offer(collector: &mut Collector, recent: &Recent, numbers: std::ops::Range<u64>) {
        for number in numbers {
            collector.offer(recent, &facts(number), &Raw::default(), number as i64);
        }
    }

    fn numbers(kept: &Kept) -> Vec<i64> {
        kept.samples().map(|sample| sample.taken_ms).collect()
    }

    #[test]
    fn the_last_ones_are_kept_in_their_order() {
        let (recent, mut collector) = (Recent::default(), Collector::default());
        assert!(recent.kept().is_empty());
        for second in 0..30 {
            offer(&mut collector, &recent, second * 997..(second + 1) * 997);
            collector.second(&recent);
        }
        let kept = recent.kept();
        let last = 30 * 997;
        assert_eq!(kept.len(), MOST);
        assert_eq!(
            numbers(&kept),
            (last - MOST as i64..last).collect::<Vec<_>>()
        );
        assert!(kept.samples().all(|sample| sample.stands_for == 1));
        let newest = &facts(last as u64 - 1).id;
        assert_eq!(
            kept.find(newest).map(|found| found.taken_ms),
            Some(last - 1)
        );
        assert_eq!(kept.find("gone").map(|found| found.taken_ms), None);
    }

    #[test]
    fn of_many_one_stands_for_several() {
        let (recent, mut collector) = (Recent::default(), Collector::default());
        for second in 0..20 {
            offer(
                &mut collector,
                &recent,
                second * 16_000..(second + 1) * 16_000,
            );
            collector.second(&recent);
        }
        let kept = recent.kept();
        let last: Vec<&Sample> = kept.samples().rev().take(5_000).collect();
        assert!(
            last.iter()
                .all(|sample| (15..=17).contains(&sample.stands_for))
        );
        let span = last[0].taken_ms - last[4_999].taken_ms;
        let stands_for: i64 = last.iter().map(|sample| i64::from(sample.stands_for)).sum();
        let off = (stands_for - span).abs() as f64 / span as f64;
        assert!(off < 0.05, "{stands_for} for {span}");
        // Those who take turns are all seen: of each fourth one about a fourth.
        let fourth = last
            .iter()
            .filter(|sample| sample.taken_ms % 4 == 0)
            .count();
        assert!((1_100..1_400).contains(&fourth), "{fourth}");
    }

    #[test]
    fn a_quiet_queue_is_kept_whole_again_after_a_burst() {
        let (recent, mut collector) = (Recent::default(), Collector::default());
        offer(&mut collector, &recent, 0..50_000);
        collector.second(&recent);
        collector.second(&recent);
        offer(&mut collector, &recent, 50_000..50_010);
        collector.second(&recent);
        let kept = numbers(&recent.kept());
        assert!(
            kept.iter().filter(|number| **number >= 50_000).count() == 10,
            "{:?}",
            &kept[kept.len() - 10..]
        );
    }

    #[test]
    fn the_worker_never_waits_for_a_reader_and_loses_nothing_by_it() {
        let (recent, mut collector) = (Recent::default(), Collector::default());
        {
            let _reader = recent.0.lock().unwrap();
            offer(&mut collector, &recent, 0..200);
            collector.second(&recent);
        }
        assert_eq!(recent.kept().len(), 0);
        collector.second(&recent);
        assert_eq!(recent.kept().len(), 200);
    }

    #[test]
    fn it_takes_no_more_bytes_than_it_may() {
        let (recent, mut collector) = (Recent::default(), Collector::default());
        let id: Arc<str> = "x".repeat(4_000).into();
        for number in 0..5_000 {
            let facts = Facts {
                id: Arc::clone(&id),
                ..facts(number)
            };
            collector.offer(&recent, &facts, &Raw::default(), number as i64);
        }
        let (kept, ring) = (recent.kept(), recent.0.lock().unwrap());
        assert!(
            ring.bytes <= MOST_BYTES && kept.len() < 2_100 && kept.len() > 1_500,
            "{}",
            kept.len()
        );
        assert_eq!(kept.samples().next_back().unwrap().taken_ms, 4_991);
    }
}
