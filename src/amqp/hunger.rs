//! A consumer that looks healthy and gets nothing although messages are ready: is it dead, or does it stand by? Pure. May import no
//! room.

use super::probe::Seen;

/// Rounds of the probe, five seconds each, after which such a consumer counts as dead.
const DEAD_AFTER: u32 = 12;
/// Rounds after which it is said to stand by, where another one may be the single active consumer.
const STANDBY_AFTER: u32 = 2;

/// What a consumer has been given lately.
#[derive(Debug, Default)]
pub(super) struct Hunger {
    /// Whether the queue keeps its order, so that it may have a single active consumer, which the broker does not tell.
    in_order: bool,
    rounds: u32,
    standby: bool,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cure {
    Nothing,
    /// It may be dead all the same: it is opened anew, which does a standby no harm.
    Renew,
    /// The connection is made anew.
    Reconnect,
}

impl Hunger {
    /// Of a queue that keeps its order, or not.
    pub(super) fn new(in_order: bool) -> Self {
        Self {
            in_order,
            ..Self::default()
        }
    }

    /// There is a new consumer.
    pub(super) fn opened(&mut self) {
        self.rounds = 0;
    }

    /// There is a new connection.
    pub(super) fn connected(&mut self) {
        (self.rounds, self.standby) = (0, false);
    }

    /// Whether another consumer may be the single active one. It lasts until something is given.
    pub(super) fn standby(&self) -> bool {
        self.standby
    }

    /// The broker was asked once more. `waits`: there is a consumer with nothing in hand; `fed`: it was given something since.
    pub(super) fn watch(&mut self, seen: Seen, waits: bool, fed: bool) -> Cure {
        if waits && !fed && seen.ready > 0 {
            self.rounds += 1;
        } else {
            self.rounds = 0;
        }
        let stands_by = self.standby || self.rounds >= STANDBY_AFTER;
        self.standby = self.in_order && !fed && stands_by;
        if self.rounds < DEAD_AFTER {
            return Cure::Nothing;
        }
        self.rounds = 0;
        match (self.in_order, seen.consumers) {
            (false, _) => Cure::Reconnect,
            // A quorum queue does not count those that stand by, so that one may be we or another.
            (true, 0 | 1) => Cure::Renew,
            (true, _) => Cure::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is done about it in so many rounds in which nothing is given, and whether it stands by at last.
    fn starve(hunger: &mut Hunger, rounds: u32, ready: u64, consumers: u32) -> (Vec<Cure>, bool) {
        let seen = Seen { ready, consumers };
        let cures = (0..rounds).map(|_| hunger.watch(seen, true, false));
        let cures = cures.filter(|cure| *cure != Cure::Nothing).collect();
        (cures, hunger.standby())
    }

    #[test]
    fn without_order_a_minute_of_nothing_is_death() {
        let mut hunger = Hunger::new(false);
        assert_eq!(starve(&mut hunger, 11, 5, 2), (vec![], false));
        assert_eq!(starve(&mut hunger, 1, 5, 2), (vec![Cure::Reconnect], false));
        assert_eq!(starve(&mut hunger, 30, 0, 2), (vec![], false));
    }

    #[test]
    fn with_order_it_stands_by_until_it_is_given_something() {
        let mut hunger = Hunger::new(true);
        assert_eq!(starve(&mut hunger, 1, 5, 2), (vec![], false));
        assert_eq!(starve(&mut hunger, 30, 5, 2), (vec![], true));
        assert_eq!(starve(&mut hunger, 12, 5, 1), (vec![Cure::Renew], true));
        let seen = Seen {
            ready: 0,
            consumers: 1,
        };
        assert_eq!(hunger.watch(seen, true, false), Cure::Nothing);
        assert!(hunger.standby(), "an empty queue proves nothing");
        hunger.watch(seen, true, true);
        assert!(!hunger.standby());
    }
}
