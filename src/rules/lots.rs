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
    #[inline]
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

/// What is kept for each text.
pub type ByText<T, V> = HashMap<T, V, BuildHasherDefault<AtOnce>>;

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

/// A hasher of one text, which is hashed at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct AtOnce(u64);

impl Hasher for AtOnce {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, text: &[u8]) {
        self.0 = self.0.rotate_left(1) ^ xxhash_rust::xxh3::xxh3_64(text);
    }

    /// The end of a text, which says nothing of it.
    fn write_u8(&mut self, _: u8) {}
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
    #[inline]
    #[must_use]
    pub fn draw(&self, key: &Attribute) -> u64 {
        match self {
            Self::Sluicegate(seed) => u64::from(key.hash().bucket(*seed)),
            others => others.draw_as_theirs(key),
        }
    }

    fn draw_as_theirs(&self, key: &Attribute) -> u64 {
        match self {
            Self::Sluicegate(_) => self.draw(key),
            Self::Flagd(flag) => {
                let hash = murmur3(flag.bytes().chain(key.text().bytes()));
                (u64::from(hash) * u64::from(STEPS)) >> 32
            }
            Self::Unleash(group) => {
                let text = group.bytes().chain([b':']).chain(key.text().bytes());
                u64::from(murmur3(text) % 100)
            }
            Self::Rollout(suffix) => u64::from(crc32(key.text().bytes().chain(suffix.bytes()))),
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
fn murmur3(bytes: impl Iterator<Item = u8>) -> u32 {
    let scrambled = |word: u32| {
        word.wrapping_mul(0xcc9e_2d51)
            .rotate_left(15)
            .wrapping_mul(0x1b87_3593)
    };
    let (mut hash, mut word, mut length) = (0_u32, 0, 0_u32);
    for byte in bytes {
        word |= u32::from(byte) << (8 * (length % 4));
        length = length.wrapping_add(1);
        if length.is_multiple_of(4) {
            hash = (hash ^ scrambled(word)).rotate_left(13);
            hash = hash.wrapping_mul(5).wrapping_add(0xe654_6b64);
            word = 0;
        }
    }
    hash ^= scrambled(word) ^ length;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

/// CRC-32 as in zlib: reflected, polynomial 0xedb88320.
fn crc32(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(u32::MAX, |crc, byte| {
        let low = (crc ^ u32::from(byte)) & 0xff;
        (crc >> 8) ^ CRC_OF_BYTE.get(low as usize).copied().unwrap_or_default()
    })
}

const CRC_OF_BYTE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1));
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

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

    /// The golden file: computed apart from this program, and never made anew from it.
    #[derive(Deserialize)]
    struct Vectors {
        draws: Vec<Draw>,
        counts: Vec<Count>,
        hashes: Hashes,
    }

    #[derive(Deserialize)]
    struct Draw {
        bucketing: Bucketing,
        flag: String,
        seed: Option<String>,
        key: String,
        draw: u64,
        in_at: Option<f64>,
        out_at: Option<f64>,
    }

    #[derive(Deserialize)]
    struct Count {
        bucketing: Bucketing,
        flag: String,
        share: f64,
        ids_to: u32,
        first: Vec<u32>,
        count: usize,
    }

    #[derive(Deserialize)]
    struct Hashes {
        murmur3: Vec<(String, u32)>,
        crc32: Vec<(String, u32)>,
        xxh3: Vec<(String, String)>,
    }

    fn vectors() -> Vectors {
        serde_json::from_str(include_str!("../../tests/vectors/lots.json")).unwrap()
    }

    #[test]
    fn every_key_draws_what_the_golden_file_says() {
        for vector in vectors().draws {
            let Draw { flag, key, .. } = &vector;
            let lots = Lots::of(vector.bucketing, flag, vector.seed.as_deref());
            let draw = lots.draw(&Attribute::of(key));
            let what = format!("{:?} {flag} {:?} {key}", vector.bucketing, vector.seed);
            assert_eq!(draw, vector.draw, "{what}");
            let inside = |share: f64| draw < lots.limit(ratio(share));
            assert!(vector.in_at.is_none_or(inside), "{what} is in");
            assert!(
                vector.out_at.is_none_or(|share| !inside(share)),
                "{what} is not in"
            );
        }
    }

    #[test]
    fn who_migrates_keeps_the_same_keys_in() {
        for vector in vectors().counts {
            let lots = Lots::of(vector.bucketing, &vector.flag, None);
            let limit = lots.limit(ratio(vector.share));
            let inside = |id: &u32| lots.draw(&Attribute::of(&id.to_string())) < limit;
            let ids: Vec<u32> = (1..=vector.ids_to).filter(inside).collect();
            let what = vector.bucketing;
            assert_eq!(
                ids.iter().take(9).copied().collect::<Vec<_>>(),
                vector.first,
                "{what:?}"
            );
            assert_eq!(ids.len(), vector.count, "{what:?}");
        }
    }

    #[test]
    fn the_hashes_are_those_of_the_golden_file() {
        let hashes = vectors().hashes;
        for (text, hash) in hashes.murmur3 {
            assert_eq!(murmur3(text.bytes()), hash, "{text}");
        }
        for (text, hash) in hashes.crc32 {
            assert_eq!(crc32(text.bytes()), hash, "{text}");
        }
        for (text, hash) in hashes.xxh3 {
            assert_eq!(
                format!("{:016x}", KeyHash::of(text.as_bytes()).0),
                hash,
                "{text}"
            );
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
