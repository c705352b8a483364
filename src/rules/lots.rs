//! Lots: whether a key falls in a share. Sticky, monotone (raising a share keeps who is in), independent between flags.
//!
//! Ours: `x = splitmix64_finalise(xxh3_64(key) ^ xxh3_64(seed))`, `bucket = (x × 100000) >> 64`, in when
//! `bucket < round(share × 100000)`. Beside it stand the formulas of three others, for those who migrate and want the same keys in.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::context::Attribute;
use super::units::Ratio;

/// Shares move in steps of one of these.
pub const STEPS: u32 = 100_000;

/// The hash of a key, made once for each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// The hash of `key`.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64(key))
    }

    /// The bucket, below [`STEPS`], into which the key falls for a flag with this seed.
    #[must_use]
    pub fn bucket(self, seed: Seed) -> u32 {
        let x = splitmix64_finalise(self.0 ^ seed.0);
        ((u128::from(x) * u128::from(STEPS)) >> 64) as u32
    }

    /// A number from 0 to 1, another one for each turn.
    #[must_use]
    pub fn draw(self, turn: u32) -> f64 {
        f64::from(Self(self.0.rotate_left(turn)).bucket(Seed(0))) / f64::from(STEPS)
    }

    /// Whether the key falls in `share` for a flag with this seed.
    #[must_use]
    pub fn falls_in(self, share: Ratio, seed: Seed) -> bool {
        let limit = (share.get() * f64::from(STEPS)).round() as u32;
        self.bucket(seed) < limit
    }
}

/// What is kept for each key.
pub type ByKey<V> = HashMap<KeyHash, V, BuildHasherDefault<AsItIs>>;

/// A hasher that takes a hash as it is: keys are hashed once, when their message is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// The hash of a flag's seed: its own key, unless it names another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// The seed written as `text`.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
    }
}

/// Whose formula draws the lots of a flag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bucketing {
    /// Ours.
    #[default]
    Sluicegate,
    /// flagd's `fractional`: the seed and the key, one after the other.
    Flagd,
    /// Unleash's gradual rollout, in whole percent: the seed is its group.
    Unleash,
    /// The Rollout gem's: the key alone, or with the seed behind it when one is given (`randomize_percentage`).
    Rollout,
}

impl Bucketing {
    /// Whether this is the usual one.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        *self == Self::Sluicegate
    }
}

/// How a flag draws the lot of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Lots {
    /// See [`Bucketing::Sluicegate`].
    Sluicegate(Seed),
    /// See [`Bucketing::Flagd`].
    Flagd(Arc<str>),
    /// See [`Bucketing::Unleash`].
    Unleash(Arc<str>),
    /// See [`Bucketing::Rollout`].
    Rollout(Arc<str>),
}

/// A percent of the Rollout gem: `RAND_BASE`, in double precision as it computes it.
const ROLLOUT_PERCENT: f64 = 4_294_967_295.0 / 100.0;

impl Lots {
    /// The lots of a flag with this key, and the seed if it names one.
    #[must_use]
    pub fn of(bucketing: Bucketing, flag: &str, seed: Option<&str>) -> Self {
        let or_key = seed.unwrap_or(flag);
        match bucketing {
            Bucketing::Sluicegate => Self::Sluicegate(Seed::of(or_key)),
            Bucketing::Flagd => Self::Flagd(or_key.into()),
            Bucketing::Unleash => Self::Unleash(or_key.into()),
            Bucketing::Rollout => Self::Rollout(seed.unwrap_or_default().into()),
        }
    }

    /// The draw of a key: it is in a share when this is below the share's [`Lots::limit`].
    #[must_use]
    pub fn draw(&self, key: &Attribute) -> u64 {
        match self {
            Self::Sluicegate(seed) => u64::from(key.hash().bucket(*seed)),
            Self::Flagd(flag) => {
                let hash = murmur3(&[flag.as_bytes(), key.text().as_bytes()].concat());
                (u64::from(hash) * u64::from(STEPS)) >> 32
            }
            Self::Unleash(group) => {
                u64::from(murmur3(format!("{group}:{}", key.text()).as_bytes()) % 100)
            }
            Self::Rollout(suffix) => {
                u64::from(crc32(&[key.text().as_bytes(), suffix.as_bytes()].concat()))
            }
        }
    }

    /// Draws below this are in a share.
    #[must_use]
    pub fn limit(&self, share: Ratio) -> u64 {
        let steps = |most: u32| (share.get() * f64::from(most)).round() as u64;
        match self {
            Self::Sluicegate(_) | Self::Flagd(_) => steps(STEPS),
            Self::Unleash(_) => steps(100),
            // In when the draw is below the product, as a double: so below the next whole number.
            Self::Rollout(_) => (ROLLOUT_PERCENT * percent(share)).ceil() as u64,
        }
    }

    /// How many draws there are.
    #[must_use]
    pub fn most(&self) -> u64 {
        match self {
            Self::Sluicegate(_) | Self::Flagd(_) => u64::from(STEPS),
            Self::Unleash(_) => 100,
            Self::Rollout(_) => 1 << 32,
        }
    }
}

/// A share in percent; what was written in whole hundredths of a percent is that number again.
fn percent(share: Ratio) -> f64 {
    (share.get() * 1e7).round() / 1e5
}

/// MurmurHash3, x86, 32 bits, seed 0 (Austin Appleby's, in the public domain).
fn murmur3(bytes: &[u8]) -> u32 {
    let scrambled = |word: u32| {
        word.wrapping_mul(0xcc9e_2d51)
            .rotate_left(15)
            .wrapping_mul(0x1b87_3593)
    };
    let (words, rest) = bytes.as_chunks::<4>();
    let mut hash = words.iter().fold(0_u32, |hash, word| {
        (hash ^ scrambled(u32::from_le_bytes(*word)))
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64)
    });
    let tail = rest
        .iter()
        .rev()
        .fold(0, |tail, byte| (tail << 8) | u32::from(*byte));
    hash ^= scrambled(tail);
    hash ^= bytes.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

/// CRC-32 as in zlib: reflected, polynomial 0xedb88320.
fn crc32(bytes: &[u8]) -> u32 {
    let by_bit = |crc: u32| (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1));
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| by_bit(crc))
    })
}

const fn splitmix64_finalise(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ratio(share: f64) -> Ratio {
        Ratio::try_from(share).unwrap()
    }

    #[test]
    fn a_share_takes_that_share_of_keys() {
        let seed = Seed::of("queue.orders.skip");
        for share in [0.0, 0.01, 0.25, 0.7, 1.0] {
            let taken = (0..100_000)
                .filter(|n: &u32| KeyHash::of(&n.to_le_bytes()).falls_in(ratio(share), seed))
                .count();
            assert!(
                (taken as f64 / 100_000.0 - share).abs() < 0.004,
                "{share}: {taken}"
            );
        }
    }

    #[test]
    fn two_flags_draw_independently() {
        let (a, b) = (Seed::of("a"), Seed::of("b"));
        let half = ratio(0.5);
        let both = (0..100_000)
            .map(|n: u32| KeyHash::of(&n.to_le_bytes()))
            .filter(|key| key.falls_in(half, a) && key.falls_in(half, b))
            .count();
        assert!((24_300..25_700).contains(&both), "{both}");
    }

    fn key(text: &str) -> Attribute {
        Attribute::of(text)
    }

    #[test]
    fn murmur3_and_crc32_are_those_of_the_vectors() {
        for (text, hash) in [
            ("", 0),
            ("ejOoVL", 0),
            ("bY9fO-", 1),
            ("SI7p-", 0x7fff_ffff),
            ("6LvT0", 0x8000_0000),
            ("ceQdGm", u32::MAX),
        ] {
            assert_eq!(murmur3(text.as_bytes()), hash, "{text}");
        }
        for (text, crc) in [
            ("1", 2_212_294_583),
            ("2", 450_215_437),
            ("42", 841_265_288),
            ("599757210", u32::MAX),
            ("2559975184", u32::MAX),
        ] {
            assert_eq!(crc32(text.as_bytes()), crc, "{text}");
        }
    }

    #[test]
    fn who_migrates_keeps_the_same_keys_in() {
        let inside =
            |lots: &Lots, text: &str, share: f64| lots.draw(&key(text)) < lots.limit(ratio(share));
        let rollout = Lots::of(Bucketing::Rollout, "chat", None);
        let first: Vec<u32> = (1..57)
            .filter(|n: &u32| inside(&rollout, &n.to_string(), 0.2))
            .collect();
        assert_eq!(first, [2, 6, 23, 27, 33, 37, 42, 52, 56]);
        let count = (1..=100_000)
            .filter(|n: &u32| inside(&rollout, &n.to_string(), 0.2))
            .count();
        assert_eq!(count, 20_021);
        assert!(inside(&rollout, "1", 0.515_1) && !inside(&rollout, "1", 0.515));
        for last in ["599757210", "2559975184"] {
            assert!(
                inside(&rollout, last, 1.0) && !inside(&rollout, last, 0.99999),
                "{last}"
            );
        }
        for (group, id, percent) in [
            ("Feature.flexibleRollout.10", "174", 10.0),
            ("Feature.flexibleRollout.10", "499", 32.0),
            ("Feature.flexibleRollout.userId.55", "25", 55.0),
            ("Feature.flexibleRollout.sessionId.42", "147", 42.0),
        ] {
            let unleash = Lots::of(Bucketing::Unleash, "chat", Some(group));
            assert!(inside(&unleash, id, percent / 100.0), "{group} {id}");
            assert!(
                !inside(&unleash, id, (percent - 1.0) / 100.0),
                "{group} {id}"
            );
        }
        let flagd = Lots::of(Bucketing::Flagd, "", Some(""));
        for (id, bucket) in [("jon@company.com", 36), ("user1", 76)] {
            assert!(
                inside(&flagd, id, (f64::from(bucket) + 1.0) / 100.0),
                "{id}"
            );
            assert!(!inside(&flagd, id, f64::from(bucket) / 100.0), "{id}");
        }
    }

    proptest! {
        #[test]
        fn raising_a_share_keeps_who_is_in(key in any::<u64>(), low in 0.0..=1.0, high in 0.0..=1.0) {
            let seed = Seed::of("queue.orders.skip");
            let (low, high) = if low <= high { (low, high) } else { (high, low) };
            let key = KeyHash(key);
            prop_assert!(!key.falls_in(ratio(low), seed) || key.falls_in(ratio(high), seed));
            prop_assert!(key.falls_in(ratio(1.0), seed) && !key.falls_in(ratio(0.0), seed));
        }
    }
}
