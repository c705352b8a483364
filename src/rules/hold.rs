//! Holding: how many messages are out with us at once, and which of them may wait here. A short wait is spent within the
//! prefetch, a longer one elsewhere, so that a waiting key never blocks another.

use std::time::Duration;

/// The longest wait for a permit that is spent within the prefetch.
pub const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Whether one more message may wait here for its key's turn: it will not take long, and those who wait leave at least half of
/// the prefetch to the others.
#[must_use]
pub fn may_wait(expected: Duration, waiting: usize, prefetch: u16) -> bool {
    expected <= LONGEST_WAIT && waiting < usize::from(prefetch / 2)
}

/// The prefetch never grows beyond this.
pub const MOST_OUT: u16 = 1_000;
/// So many seconds in a row without need before it shrinks again: a live consumer is only changed by cancel and consume.
pub const CALM_SECONDS: u32 = 30;

/// The prefetch of a queue. Twice the slots feed a target; shedding a backlog needs more, because each message that goes to the
/// park is out until the broker has confirmed it there, and the next ones come no sooner than one way to the broker and back. One that was written in the file is a bound, and stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefetch {
    base: u16,
    most: u16,
    now: u16,
    calm: u32,
    most_occupied: usize,
}

impl Prefetch {
    /// The prefetch to begin with; never 0.
    #[must_use]
    pub fn new(base: u16, may_grow: bool) -> Self {
        let base = base.max(1);
        let most = if may_grow { base.max(MOST_OUT) } else { base };
        Self {
            base,
            most,
            now: base,
            calm: 0,
            most_occupied: 0,
        }
    }

    /// What it is now.
    #[must_use]
    pub fn get(self) -> u16 {
        self.now
    }

    /// So many messages are out that need no slot now: shed, and dropped at once or on their way; or waiting a moment for their key; asked at each. `true`: it has grown.
    pub fn occupied(&mut self, occupied: usize) -> bool {
        self.most_occupied = self.most_occupied.max(occupied);
        let grown = self.now.saturating_mul(4).min(self.most);
        let needed = occupied * 2 >= usize::from(self.now) && grown > self.now;
        if needed {
            (self.now, self.calm) = (grown, 0);
        }
        needed
    }

    /// A second has passed. `true`: it is what the file says again.
    pub fn second(&mut self) -> bool {
        let most = std::mem::take(&mut self.most_occupied);
        self.calm = if most * 2 < usize::from(self.base) {
            self.calm + 1
        } else {
            0
        };
        let shrinks = self.now > self.base && self.calm >= CALM_SECONDS;
        if shrinks {
            self.now = self.base;
        }
        shrinks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_wait() {
        let secs = Duration::from_secs;
        for (what, expected, waiting, may) in [
            ("a short wait", secs(1), 0, true),
            ("a long one", secs(6), 0, false),
            ("half the prefetch waits already", secs(1), 8, false),
        ] {
            assert_eq!(may_wait(expected, waiting, 16), may, "{what}");
        }
    }

    #[test]
    fn it_grows_while_much_is_shed_and_shrinks_after_a_calm() {
        let mut prefetch = Prefetch::new(16, true);
        assert!(!prefetch.occupied(7));
        for (moving, expected) in [(8, 64), (32, 256), (128, 1_000), (500, 1_000)] {
            prefetch.occupied(moving);
            assert_eq!(prefetch.get(), expected, "{moving} on the move");
        }
        assert!(
            (0..CALM_SECONDS).all(|_| !prefetch.second()),
            "the first second was not calm"
        );
        assert!(prefetch.second());
        assert_eq!(prefetch.get(), 16);
    }

    #[test]
    fn one_that_was_written_stays() {
        let mut prefetch = Prefetch::new(20, false);
        assert!(!prefetch.occupied(20));
        assert_eq!(prefetch.get(), 20);
    }
}
