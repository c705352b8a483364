//! The messages of one queue in memory, in their order. What is taken and comes back goes to the place that it had.
//! May import `rules`.

use std::collections::{BTreeMap, VecDeque};

use crate::rules::message::Raw;

/// A message with its number in the queue.
#[derive(Debug, Clone)]
pub(super) struct Numbered {
    number: u64,
    pub(super) raw: Raw,
}

/// Messages that are ready.
#[derive(Debug, Default)]
pub(super) struct Ready {
    line: VecDeque<Numbered>,
    put_in_all: u64,
}

impl Ready {
    /// Puts a message at the end.
    pub(super) fn put(&mut self, raw: Raw) {
        self.put_in_all += 1;
        let number = self.put_in_all;
        self.line.push_back(Numbered { number, raw });
    }

    /// Puts back what was taken, where it was.
    pub(super) fn put_back(&mut self, mut back: Numbered) {
        back.raw.redelivered = true;
        let at = self.line.partition_point(|it| it.number < back.number);
        self.line.insert(at, back);
    }

    pub(super) fn len(&self) -> usize {
        self.line.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Raw> {
        self.line.iter().map(|it| &it.raw)
    }
}

/// What a worker takes from one queue.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// At most so many are out; `None`: nothing is taken.
    pub(super) prefetch: Option<usize>,
    /// Those that are out, by tag.
    out: BTreeMap<u64, Numbered>,
}

impl Taken {
    /// Whether one more may be taken.
    pub(super) fn has_room(&self) -> bool {
        self.prefetch.is_some_and(|most| self.out.len() < most)
    }

    /// Whether none is out.
    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Takes the first message as delivery `tag`, if there is one and one is wanted.
    pub(super) fn take(&mut self, from: &mut Ready, tag: u64) -> Option<Raw> {
        let first = self.has_room().then(|| from.line.pop_front())??;
        let raw = first.raw.clone();
        self.out.insert(tag, first);
        Some(raw)
    }

    /// Ends a delivery.
    pub(super) fn end(&mut self, tag: u64) -> Option<Numbered> {
        self.out.remove(&tag)
    }

    /// Puts all back that is out.
    pub(super) fn return_all(&mut self, to: &mut Ready) {
        for (_, back) in std::mem::take(&mut self.out) {
            to.put_back(back);
        }
    }
}
