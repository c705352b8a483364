//! A set of texts that is asked for each message: exact, small, and cheap to change by one.
//!
//! Texts lie in shards of about a hundred, each sorted by hash; a change copies one shard. About 12 bytes for each text beside
//! the text itself.

use std::sync::Arc;

use super::context::Attribute;
use super::lots::KeyHash;

/// So many texts lie in a shard before there are twice as many shards.
const SHARD: usize = 128;
/// The most shards that somebody may ask for.
const MOST_SHARDS: usize = 1 << 16;

/// An immutable set of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// A power of two, chosen by the highest bits of a hash.
    shards: Box<[Arc<Shard>]>,
    count: usize,
}

/// Texts with the same highest bits, sorted by hash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Shard {
    hashes: Box<[u64]>,
    /// Where each text ends in `texts`.
    ends: Box<[u32]>,
    texts: Box<str>,
}

impl Default for Members {
    fn default() -> Self {
        Self::of([])
    }
}

impl Members {
    /// The set of these texts; one that is said twice is in it once.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self::in_shards(1, texts)
    }

    /// The set of these texts in `shards` shards, or in more if these would be too full: as it was laid out when it was kept, so
    /// that what changes later is compared shard by shard. `shards` is rounded up to a power of two, and 65,536 is the most.
    #[must_use]
    pub fn in_shards<'a>(shards: usize, texts: impl IntoIterator<Item = &'a str>) -> Self {
        let hashed = |text: &'a str| (KeyHash::of(text.as_bytes()).0, text);
        let mut all: Vec<(u64, &str)> = texts.into_iter().map(hashed).collect();
        all.sort_unstable();
        all.dedup();
        let count = all.len();
        let shards = shards.clamp(count.div_ceil(SHARD).max(1), MOST_SHARDS.max(count));
        let shards = shards.next_power_of_two();
        let mut rest = all.as_slice();
        let shards = (0..shards).map(|number| {
            let here = rest.partition_point(|(hash, _)| shard_of(*hash, shards) <= number);
            let (shard, after) = rest.split_at(here);
            rest = after;
            Arc::new(Shard::of(shard))
        });
        Self {
            shards: shards.collect(),
            count,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// In how many shards they lie.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// The texts of one shard, numbered from 0.
    pub fn shard(&self, number: usize) -> impl Iterator<Item = &str> {
        let shard = self.shards.get(number).into_iter();
        shard.flat_map(|shard| shard.iter().map(|(_, text)| text))
    }

    /// Whether both sets have the shard of this number in common, so that it is the same in both.
    #[must_use]
    pub fn shares_shard(&self, other: &Self, number: usize) -> bool {
        match (self.shards.get(number), other.shards.get(number)) {
            (Some(one), Some(another)) => {
                self.shards.len() == other.shards.len() && Arc::ptr_eq(one, another)
            }
            _ => false,
        }
    }

    /// Whether the text of this attribute is one of them.
    #[must_use]
    pub fn contains(&self, attribute: &Attribute) -> bool {
        self.has(attribute.hash().0, attribute.text())
    }

    /// All texts, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.shards
            .iter()
            .flat_map(|shard| shard.iter().map(|(_, text)| text))
    }

    /// Those that the other set lacks, in order; shards that both share are not looked at.
    #[must_use]
    pub fn without(&self, other: &Self) -> Vec<String> {
        let mut rest = Vec::new();
        for (number, shard) in self.shards.iter().enumerate() {
            if self.shares_shard(other, number) {
                continue;
            }
            let missing = shard.iter().filter(|(hash, text)| !other.has(*hash, text));
            rest.extend(missing.map(|(_, text)| text.to_owned()));
        }
        rest.sort_unstable();
        rest
    }

    /// The set with `add` and without `remove`; a text named in both is in it.
    #[must_use]
    pub fn with(&self, add: &[String], remove: &[String]) -> Self {
        let mut next = self.clone();
        for (texts, present) in [(remove, false), (add, true)] {
            for text in texts {
                next.put(text, present);
            }
        }
        if next.count.div_ceil(SHARD).next_power_of_two() > next.shards.len() {
            return Self::of(next.iter());
        }
        next
    }

    fn put(&mut self, text: &str, present: bool) {
        let hash = KeyHash::of(text.as_bytes()).0;
        if self.has(hash, text) == present {
            return;
        }
        let number = shard_of(hash, self.shards.len());
        let Some(shard) = self.shards.get_mut(number) else {
            return;
        };
        let mut entries: Vec<(u64, &str)> = shard.iter().collect();
        if present {
            let place = entries.partition_point(|entry| *entry < (hash, text));
            entries.insert(place, (hash, text));
            self.count += 1;
        } else {
            entries.retain(|entry| *entry != (hash, text));
            self.count -= 1;
        }
        *shard = Arc::new(Shard::of(&entries));
    }

    fn has(&self, hash: u64, text: &str) -> bool {
        self.shards
            .get(shard_of(hash, self.shards.len()))
            .is_some_and(|shard| shard.has(hash, text))
    }
}

/// The shard in which a hash lies; `shards` is a power of two.
fn shard_of(hash: u64, shards: usize) -> usize {
    ((u128::from(hash) * shards as u128) >> 64) as usize
}

impl Shard {
    fn of(entries: &[(u64, &str)]) -> Self {
        let mut end = 0;
        let ends = entries.iter().map(|(_, text)| {
            end += text.len();
            u32::try_from(end).unwrap_or(u32::MAX)
        });
        Self {
            ends: ends.collect(),
            hashes: entries.iter().map(|(hash, _)| *hash).collect(),
            texts: entries
                .iter()
                .map(|(_, text)| *text)
                .collect::<String>()
                .into(),
        }
    }

    fn text(&self, number: usize) -> Option<&str> {
        let begin = number
            .checked_sub(1)
            .map_or(Some(&0), |before| self.ends.get(before));
        self.texts
            .get(*begin? as usize..*self.ends.get(number)? as usize)
    }

    fn has(&self, hash: u64, text: &str) -> bool {
        let first = self.hashes.partition_point(|known| *known < hash);
        let same = self
            .hashes
            .iter()
            .skip(first)
            .take_while(|known| **known == hash);
        same.zip(first..)
            .any(|(_, number)| self.text(number) == Some(text))
    }

    fn iter(&self) -> impl Iterator<Item = (u64, &str)> {
        let texts = (0..).map_while(|number| self.text(number));
        self.hashes.iter().copied().zip(texts)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn said(members: &Members) -> BTreeSet<String> {
        members.iter().map(str::to_owned).collect()
    }

    #[test]
    fn a_hundred_thousand_accounts_take_less_than_forty_bytes_each() {
        let names: Vec<String> = (0..100_000).map(|n| format!("account-{n:06}")).collect();
        let members = Members::of(names.iter().map(String::as_str));
        assert_eq!(members.len(), 100_000);
        let bytes: usize = members
            .shards
            .iter()
            .map(|shard| 72 + shard.hashes.len() * 12 + shard.texts.len())
            .sum();
        assert!(bytes < 40 * 100_000, "{bytes}");
        assert!(
            names
                .iter()
                .all(|name| members.contains(&Attribute::of(name)))
        );
        assert!(!members.contains(&Attribute::of("account-100000")));
    }

    #[test]
    fn a_set_laid_out_as_it_was_differs_in_one_shard_after_a_change_of_one() {
        let names: Vec<String> = (0..1_000).map(|n| format!("account-{n}")).collect();
        let members = Members::of(names.iter().map(String::as_str));
        let fewer = members.with(&[], &names[..900]);
        assert_eq!(fewer.shards(), members.shards());
        let again = Members::in_shards(fewer.shards(), fewer.iter());
        assert_eq!(again, fewer);
        let more = again.with(&["one-more".to_owned()], &[]);
        let changed = (0..more.shards()).filter(|shard| !more.shares_shard(&again, *shard));
        assert_eq!(changed.count(), 1);
        let texts: BTreeSet<String> = (0..more.shards())
            .flat_map(|shard| more.shard(shard).map(str::to_owned))
            .collect();
        assert_eq!(texts, said(&more));
        assert_eq!(Members::in_shards(usize::MAX, ["a"]).shards(), MOST_SHARDS);
        assert!(!more.shares_shard(&Members::of([]), 0));
    }

    proptest! {
        #[test]
        fn it_does_what_a_set_does(
            start in prop::collection::vec("[a-e]{0,3}", 0..400),
            add in prop::collection::vec("[a-e]{0,3}", 0..300),
            remove in prop::collection::vec("[a-e]{0,3}", 0..300),
        ) {
            let mut model: BTreeSet<String> = start.iter().cloned().collect();
            let members = Members::of(start.iter().map(String::as_str));
            prop_assert_eq!(said(&members), model.clone());
            let before = members;
            let members = before.with(&add, &remove);
            model.retain(|text| !remove.contains(text));
            model.extend(add);
            let came: BTreeSet<String> = members.without(&before).into_iter().collect();
            let left: BTreeSet<String> = before.without(&members).into_iter().collect();
            prop_assert_eq!(&came, &model.difference(&said(&before)).cloned().collect());
            prop_assert_eq!(&left, &said(&before).difference(&model).cloned().collect());
            prop_assert_eq!(members.len(), model.len());
            for text in &model {
                prop_assert!(members.contains(&Attribute::of(text)));
            }
            prop_assert_eq!(said(&members), model);
        }
    }
}
