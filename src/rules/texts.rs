//! A set of texts in one piece of memory, found by the hash that an attribute brings along. May use `context` and `lots`.
//!
//! The texts lie by hash in small groups. The head of a group says where it ends, and by a few bits what is not in it, so that
//! most of what is not there is known by one look.

use std::ops::Range;
use std::sync::Arc;

use super::context::{Attribute, LONGEST_ATTRIBUTE};
use super::lots::KeyHash;

/// So many bytes of the whole have a group.
const GROUP: usize = 16;
/// Of them so many are its head: the bits of its texts, then where it ends.
const HEAD: usize = 8;
/// Of the mark before a text, so many bits are its length; the other seven are of its hash.
const LENGTH: u32 = 9;
const _: () = assert!(LONGEST_ATTRIBUTE < 1 << LENGTH, "each length has its bits");

/// An immutable set of texts. Those longer than any attribute are never asked for, and left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts(
    /// The heads of all groups; then group by group each text, with its mark before it.
    Arc<[u8]>,
);

impl Texts {
    /// The set of these texts; one that is said twice is in it once.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self::of_hashed(hashed(texts))
    }

    /// The set of these texts with their hashes, in order and each said once.
    pub(super) fn of_hashed(mut entries: Vec<(u64, &str)>) -> Self {
        let bytes: usize = entries.iter().map(|(_, text)| 2 + text.len()).sum();
        let groups = (bytes / (GROUP - HEAD)).max(1);
        entries.sort_by_key(|(hash, _)| group_of(*hash, groups));
        let mut entries = entries.into_iter().peekable();
        let (mut heads, mut texts) = (Vec::new(), Vec::new());
        for group in 0..groups {
            let mut bits = 0;
            while let Some((hash, text)) =
                entries.next_if(|(hash, _)| group_of(*hash, groups) == group)
            {
                bits |= bit(hash);
                texts.extend_from_slice(&mark(hash, text).to_le_bytes());
                texts.extend_from_slice(text.as_bytes());
            }
            let end = (groups * HEAD + texts.len()) as u64;
            heads.extend_from_slice(&(bits | end).to_le_bytes());
        }
        heads.append(&mut texts);
        Self(heads.into())
    }

    /// Whether the text of this attribute is one of them.
    #[inline]
    #[must_use]
    pub fn contains(&self, attribute: &Attribute) -> bool {
        self.has(attribute.hash().0, attribute.text())
    }

    /// Whether this text, which has this hash, is one of them.
    #[inline]
    pub(super) fn has(&self, hash: u64, text: &str) -> bool {
        let group = group_of(hash, self.groups());
        self.head(group) & bit(hash) != 0 && self.group_has(group, hash, text)
    }

    fn group_has(&self, group: usize, hash: u64, text: &str) -> bool {
        let mark = mark(hash, text);
        let mut entries = self.entries(self.begin(group)..self.begin(group + 1));
        entries.any(|(marked, found)| marked == mark && found == text.as_bytes())
    }

    /// All texts, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let entries = self.entries(self.begin(0)..self.0.len());
        entries.filter_map(|(_, text)| std::str::from_utf8(text).ok())
    }

    /// Whether both are one and the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// As they were made: a group for each eight bytes, whose head takes eight more.
    #[inline]
    fn groups(&self) -> usize {
        (self.0.len() / GROUP).max(1)
    }

    /// In the upper half the bits of a group, in the lower where it ends.
    #[inline]
    fn head(&self, group: usize) -> u64 {
        let head = self.0.get(group * HEAD..).and_then(<[u8]>::first_chunk);
        head.map_or(0, |head| u64::from_le_bytes(*head))
    }

    fn begin(&self, group: usize) -> usize {
        match group.checked_sub(1) {
            Some(before) => self.head(before) as u32 as usize,
            None => self.groups() * HEAD,
        }
    }

    fn entries(&self, within: Range<usize>) -> Entries<'_> {
        Entries(self.0.get(within).unwrap_or_default())
    }
}

/// The texts with their hashes, in order, each once.
pub(super) fn hashed<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<(u64, &'a str)> {
    let texts = texts.into_iter();
    let texts = texts.filter(|text| text.len() <= LONGEST_ATTRIBUTE);
    let mut all: Vec<_> = texts
        .map(|text| (KeyHash::of(text.as_bytes()).0, text))
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

// Four parts of a hash choose four things: the highest bits the shard of [`super::members`], the next ones the mark and the bit,
// and the lower half the group.

#[inline]
fn group_of(hash: u64, groups: usize) -> usize {
    (((hash & u64::from(u32::MAX)) * groups as u64) >> 32) as usize
}

/// One of the upper 32 bits.
#[inline]
fn bit(hash: u64) -> u64 {
    1 << (32 + (hash >> 39) % 32)
}

fn mark(hash: u64, text: &str) -> u16 {
    ((hash >> 32) as u16) << LENGTH | text.len() as u16 & ((1 << LENGTH) - 1)
}

/// Texts, each with its mark before it.
struct Entries<'a>(&'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = (u16, &'a [u8]);
    fn next(&mut self) -> Option<Self::Item> {
        let (mark, rest) = self.0.split_first_chunk()?;
        let mark = u16::from_le_bytes(*mark);
        let (text, rest) = rest.split_at_checked(usize::from(mark & ((1 << LENGTH) - 1)))?;
        self.0 = rest;
        Some((mark, text))
    }
}

#[cfg(test)]
impl Texts {
    /// What it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + 16 + self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_no_attribute_can_be_is_left_out() {
        let (longest, longer) = ("x".repeat(LONGEST_ATTRIBUTE), "x".repeat(1 << LENGTH));
        let texts = Texts::of(["", "a", &longest, &longer]);
        assert_eq!(texts.iter().count(), 3);
        for (text, there) in [
            ("", true),
            ("a", true),
            (&*longest, true),
            (&*longer, false),
            ("b", false),
        ] {
            assert_eq!(
                texts.has(KeyHash::of(text.as_bytes()).0, text),
                there,
                "{text}"
            );
        }
        assert_eq!(Texts::of([]).iter().count(), 0);
    }

    proptest! {
        /// Also of texts that share a hash, which the hashes given here do.
        #[test]
        fn it_has_what_was_put_in_and_nothing_else(
            inside in prop::collection::btree_set((0..8_u64, "[a-d]{0,2}"), 0..60),
            asked in prop::collection::vec((0..8_u64, "[a-d]{0,2}"), 0..60),
        ) {
            let spread = |hash: &u64| hash << 29 | hash << 32;
            let entries: Vec<_> = inside.iter().map(|(hash, text)| (spread(hash), &**text)).collect();
            let texts = Texts::of_hashed(entries);
            for (hash, text) in inside.iter().chain(&asked) {
                let there = inside.contains(&(*hash, text.clone()));
                prop_assert_eq!(texts.has(spread(hash), text), there, "{} {}", hash, text);
            }
            let all: BTreeSet<_> = texts.iter().collect();
            prop_assert_eq!(all, inside.iter().map(|(_, text)| &**text).collect());
        }
    }
}
