//! Lanes: the queue of one throttled key.
//!
//! What a key cannot send now goes to a queue of its own, and is taken from there at the key's pace: in order, without hops, and
//! with an answer to "when will it be my turn?".

use super::lots::KeyHash;

/// A queue has so many lanes of single keys; the keys above that share one.
pub const MOST_LANES: usize = 64;

/// One lane of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// That of one key.
    Own(KeyHash),
    /// The one that the keys above [`MOST_LANES`] share.
    Shared,
}
