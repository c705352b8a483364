//! Lots: whether a key falls in a share. Sticky, monotone (raising a share keeps who is in), independent between flags.
//!
//! `x = splitmix64_finalise(xxh3_64(key) ^ xxh3_64(seed))`, `bucket = (x × 100000) >> 64`, in when
//! `bucket < round(share × 100000)`.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

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
