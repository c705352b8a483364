//! Holding: a short wait is spent within the prefetch, a longer one elsewhere, so that a waiting key never blocks another.

use std::time::Duration;

/// The longest wait for a permit that is spent within the prefetch.
pub const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Whether one more message may wait here for its key's turn: it will not take long, and those who wait leave at least half of
/// the prefetch to the others. `expected`: `None` when nobody can say how long.
#[must_use]
pub fn may_wait(expected: Option<Duration>, waiting: usize, prefetch: u16) -> bool {
    expected.is_none_or(|wait| wait <= LONGEST_WAIT) && waiting < usize::from(prefetch / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_wait() {
        let secs = Duration::from_secs;
        for (what, expected, waiting, may) in [
            ("a short wait", Some(secs(1)), 0, true),
            ("a long one", Some(secs(6)), 0, false),
            ("nobody can say", None, 0, true),
            ("half the prefetch waits already", Some(secs(1)), 8, false),
        ] {
            assert_eq!(may_wait(expected, waiting, 16), may, "{what}");
        }
    }
}
