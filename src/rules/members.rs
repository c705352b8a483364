//! A set of texts that is asked for each message: exact, small, and cheap to change by one.
//!
//! Texts lie in shards of about a hundred; a change copies one shard.

use super::context::{Attribute, LONGEST_ATTRIBUTE};
use super::lots::KeyHash;
use super::texts::{Texts, hashed};

/// So many texts lie in a shard before there are twice as many shards.
const SHARD: usize = 128;
/// The most shards that somebody may ask for.
const MOST_SHARDS: usize = 1 << 16;

/// An immutable set of texts. Those longer than any attribute are never asked for, and left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// A power of two, chosen by the highest bits of a hash.
    shards: Box<[Texts]>,
    count: usize,
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
        let all = hashed(texts);
        let count = all.len();
        let shards = shards.clamp(count.div_ceil(SHARD).max(1), MOST_SHARDS.max(count));
        let shards = shards.next_power_of_two();
        let mut rest = all.as_slice();
        let shards = (0..shards).map(|number| {
            let here = rest.partition_point(|(hash, _)| shard_of(*hash, shards) <= number);
            let (shard, after) = rest.split_at(here);
            rest = after;
            Texts::of_hashed(shard.to_vec())
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
        shard.flat_map(Texts::iter)
    }

    /// Whether both sets have the shard of this number in common, so that it is the same in both.
    #[must_use]
    pub fn shares_shard(&self, other: &Self, number: usize) -> bool {
        match (self.shards.get(number), other.shards.get(number)) {
            (Some(one), Some(another)) => {
                self.shards.len() == other.shards.len() && one.is_same(another)
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
        self.shards.iter().flat_map(Texts::iter)
    }

    /// Those that the other set lacks, in order; shards that both share are not looked at.
    #[must_use]
    pub fn without(&self, other: &Self) -> Vec<String> {
        let mut rest = Vec::new();
        for (number, shard) in self.shards.iter().enumerate() {
            if self.shares_shard(other, number) {
                continue;
            }
            let missing = hashed(shard.iter()).into_iter();
            let missing = missing.filter(|(hash, text)| !other.has(*hash, text));
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
        if self.has(hash, text) == present || text.len() > LONGEST_ATTRIBUTE {
            return;
        }
        let number = shard_of(hash, self.shards.len());
        let Some(shard) = self.shards.get_mut(number) else {
            return;
        };
        let others = shard.iter().filter(|known| *known != text);
        *shard = Texts::of(others.chain(present.then_some(text)));
        self.count = if present {
            self.count + 1
        } else {
            self.count - 1
        };
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
        let bytes: usize = members.shards.iter().map(Texts::bytes).sum();
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
