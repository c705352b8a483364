//! The watermark: which deliveries of a channel are finished, and how few acknowledgements say so.
//!
//! Delivery tags are consecutive on a channel and messages finish out of order. Up to the first unfinished one a single
//! `multiple` acknowledgement does; what is finished behind it is acknowledged singly, when it has waited long enough.

use std::collections::VecDeque;

use super::verdict::Why;

/// How many deliveries ended in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally(pub [u32; Why::COUNT]);

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, why: Why) {
        self.0[why as usize] += 1;
    }

    /// How many in all.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }
}

/// One acknowledgement to send, and what it says of how many deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The delivery tag.
    pub tag: u64,
    /// Whether it speaks for all before it, too.
    pub multiple: bool,
    /// What it settles.
    pub tally: Tally,
}

/// The deliveries of one channel that are not yet acknowledged.
#[derive(Debug, Default)]
pub struct Watermark {
    /// The tag of the first entry of `window`.
    first: u64,
    window: VecDeque<Entry>,
    finished: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Open,
    Finished(Why),
    /// Acknowledged or given back singly, ahead of the watermark.
    Gone,
}

impl Watermark {
    /// A delivery came; tags rise by one.
    pub fn delivered(&mut self, tag: u64) {
        if self.window.is_empty() {
            self.first = tag;
        }
        // A gap would be the broker's fault; nobody waits for a delivery that never came.
        while self.first + (self.window.len() as u64) < tag {
            self.window.push_back(Entry::Gone);
        }
        self.window.push_back(Entry::Open);
    }

    /// A delivery is finished: it is to be acknowledged. `false`: it is not one of the open ones.
    pub fn finish(&mut self, tag: u64, why: Why) -> bool {
        let fine = self.mark(tag, Entry::Finished(why));
        self.finished += usize::from(fine);
        fine
    }

    /// A delivery leaves by another way than an acknowledgement (it is given back). `false`: it is not one of the open ones.
    pub fn remove(&mut self, tag: u64) -> bool {
        self.mark(tag, Entry::Gone)
    }

    /// Whether a delivery is one of the open ones.
    #[must_use]
    pub fn is_open(&self, tag: u64) -> bool {
        let offset = tag.checked_sub(self.first);
        let offset = offset.and_then(|offset| usize::try_from(offset).ok());
        offset.and_then(|offset| self.window.get(offset)) == Some(&Entry::Open)
    }

    /// How many from this tag on were neither acknowledged nor given back.
    #[must_use]
    pub fn out_from(&self, tag: u64) -> usize {
        let before = tag.saturating_sub(self.first);
        let before = usize::try_from(before).unwrap_or(usize::MAX);
        let window = self.window.iter().skip(before);
        window.filter(|entry| **entry != Entry::Gone).count()
    }

    /// How many are finished and not yet acknowledged.
    #[must_use]
    pub fn finished(&self) -> usize {
        self.finished
    }

    /// The one acknowledgement that covers all up to the first unfinished delivery.
    pub fn advance(&mut self) -> Option<Ack> {
        let mut tally = Tally::default();
        let mut last = None;
        while let Some(Entry::Finished(_) | Entry::Gone) = self.window.front() {
            if let Some(Entry::Finished(why)) = self.window.pop_front() {
                tally.add(why);
                self.finished -= 1;
                last = Some(self.first);
            }
            self.first += 1;
        }
        last.map(|tag| Ack {
            tag,
            multiple: true,
            tally,
        })
    }

    /// The single acknowledgements of what is finished behind an unfinished delivery.
    pub fn stragglers(&mut self) -> Vec<Ack> {
        let mut acks = Vec::with_capacity(self.finished);
        for (offset, entry) in self.window.iter_mut().enumerate() {
            if let Entry::Finished(why) = *entry {
                let mut tally = Tally::default();
                tally.add(why);
                acks.push(Ack {
                    tag: self.first + offset as u64,
                    multiple: false,
                    tally,
                });
                *entry = Entry::Gone;
            }
        }
        self.finished = 0;
        acks
    }

    fn mark(&mut self, tag: u64, to: Entry) -> bool {
        let found = tag
            .checked_sub(self.first)
            .and_then(|offset| usize::try_from(offset).ok())
            .and_then(|offset| self.window.get_mut(offset));
        match found {
            Some(entry) if *entry == Entry::Open => {
                *entry = to;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn covered(acks: &[Ack], delivered: u64, given_back: &BTreeSet<u64>) -> BTreeSet<u64> {
        let mut gone = given_back.clone();
        for ack in acks {
            let range = if ack.multiple {
                1..=ack.tag
            } else {
                ack.tag..=ack.tag
            };
            gone.extend(range.filter(|tag| *tag <= delivered));
        }
        gone
    }

    #[test]
    fn one_ack_speaks_for_all_up_to_the_first_unfinished() {
        let mut marks = Watermark::default();
        (1..=5).for_each(|tag| marks.delivered(tag));
        for tag in [2, 1, 5] {
            assert!(marks.finish(tag, Why::Done));
        }
        let ack = marks.advance().unwrap();
        assert_eq!((ack.tag, ack.multiple, ack.tally.total()), (2, true, 2));
        assert_eq!(marks.advance(), None);
        let single = marks.stragglers();
        assert_eq!(
            (single[0].tag, single[0].multiple, single.len()),
            (5, false, 1)
        );
        assert!(!marks.finish(5, Why::Done), "nothing is settled twice");
    }

    proptest! {
        /// Whatever finishes in whatever order: an acknowledgement never covers an unfinished delivery, and each finished one is
        /// told exactly once.
        #[test]
        fn acks_cover_what_is_finished_and_nothing_else(steps in proptest::collection::vec((0u8..4, any::<u64>()), 1..200)) {
            let mut marks = Watermark::default();
            let (mut delivered, mut acks, mut told) = (0u64, Vec::new(), 0u32);
            let (mut finished, mut given_back) = (BTreeSet::new(), BTreeSet::new());
            for (step, draw) in steps {
                match step {
                    0 => { delivered += 1; marks.delivered(delivered); }
                    1 if delivered > 0 => {
                        let tag = draw % delivered + 1;
                        if marks.finish(tag, Why::Done) { prop_assert!(finished.insert(tag)); }
                    }
                    2 if delivered > 0 => {
                        let tag = draw % delivered + 1;
                        if marks.remove(tag) { prop_assert!(given_back.insert(tag)); }
                    }
                    _ => acks.extend(marks.advance()),
                }
                if step == 3 && draw % 2 == 0 { acks.extend(marks.stragglers()); }
            }
            acks.extend(marks.advance());
            acks.extend(marks.stragglers());
            told += acks.iter().map(|ack| ack.tally.total()).sum::<u32>();
            let settled: BTreeSet<u64> = finished.union(&given_back).copied().collect();
            prop_assert_eq!(covered(&acks, delivered, &given_back), settled);
            prop_assert_eq!(told as usize, finished.len());
            prop_assert_eq!(marks.finished(), 0);
        }
    }
}
