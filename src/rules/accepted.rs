//! Jobs that a provider took, remembered by the name that it gave them: so that what it tells later (a bounce, a complaint) is known to
//! be of which job, and counts once.
//!
//! Bounded: the newest [`MOST_REMEMBERED`], each for [`REMEMBERED_FOR`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::lots::{ByKey, KeyHash};
use super::names::QueueName;

/// So many are remembered of a provider, the newest ones.
pub const MOST_REMEMBERED: usize = 100_000;
/// For so long: mails bounce for up to five days.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(7 * 86_400);

/// What is told of a job after its provider took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Later {
    /// It arrived.
    Delivered,
    /// It came back.
    Bounced,
    /// Whoever got it complained.
    Complained,
}

impl Later {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Delivered, Self::Bounced, Self::Complained];

    /// Its word, as in a report and in the label `outcome`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Bounced => "bounced",
            Self::Complained => "complained",
        }
    }
}

/// Which job it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its queue.
    pub queue: QueueName,
    /// Its id.
    pub id: Arc<str>,
}

/// How something that is told later is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It counts; of this job.
    Counted(Taken),
    /// It was told before, of this job.
    Repeated(Taken),
    /// Nothing of this name is remembered.
    Unknown,
}

#[derive(Debug)]
struct Entry {
    taken: Taken,
    at: Duration,
    number: u64,
    /// What was told, by word and recipient.
    told: Vec<(Later, KeyHash)>,
}

/// The most that is remembered of what was told of one job: its recipients, and each word.
const MOST_TOLD: usize = 3_000;

/// The jobs that one provider took.
#[derive(Debug, Default)]
pub struct Accepted {
    by_name: ByKey<Entry>,
    order: VecDeque<(KeyHash, u64)>,
    last_number: u64,
}

impl Accepted {
    /// The provider took a job, and calls it so.
    pub fn took(&mut self, name: &str, taken: Taken, now: Duration) {
        self.last_number += 1;
        let key = key(name);
        let entry = Entry {
            taken,
            at: now,
            number: self.last_number,
            told: Vec::new(),
        };
        self.by_name.insert(key, entry);
        self.order.push_back((key, self.last_number));
        self.forget_the_old(now);
    }

    /// This is told of a job by the provider's name for it, of one recipient or of all (empty).
    pub fn hears(&mut self, name: &str, later: Later, recipient: &str, now: Duration) -> Heard {
        self.forget_the_old(now);
        let Some(entry) = self.by_name.get_mut(&key(name)) else {
            return Heard::Unknown;
        };
        let whom = KeyHash::of(recipient.to_ascii_lowercase().as_bytes());
        let told = (later, whom);
        let taken = entry.taken.clone();
        if entry.told.contains(&told) || entry.told.len() >= MOST_TOLD {
            return Heard::Repeated(taken);
        }
        entry.told.push(told);
        Heard::Counted(taken)
    }

    fn forget_the_old(&mut self, now: Duration) {
        while let Some((key, number)) = self.order.front() {
            let entry = self
                .by_name
                .get(key)
                .filter(|entry| entry.number == *number);
            let stays = entry.is_some_and(|entry| now.saturating_sub(entry.at) <= REMEMBERED_FOR);
            if stays && self.order.len() <= MOST_REMEMBERED {
                return;
            }
            if entry.is_some() {
                self.by_name.remove(key);
            }
            self.order.pop_front();
        }
    }
}

/// Providers write their names with and without `<` and `>`.
fn key(name: &str) -> KeyHash {
    let bare = name.trim().trim_start_matches('<').trim_end_matches('>');
    KeyHash::of(bare.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(id: &str) -> Taken {
        Taken {
            queue: "mail".parse().unwrap(),
            id: id.into(),
        }
    }

    #[test]
    fn what_is_told_later_is_known_and_counts_once_for_each_recipient() {
        let mut accepted = Accepted::default();
        let at = Duration::from_secs;
        accepted.took("<a1@mailgun>", taken("17"), at(1));
        let mut check = |name: &str, later, whom: &str, seconds, expected: Heard| {
            let heard = accepted.hears(name, later, whom, at(seconds));
            assert_eq!(heard, expected, "{name} {later:?} {whom}");
        };
        use Later::{Bounced, Complained, Delivered};
        check("a2@mailgun", Bounced, "", 2, Heard::Unknown);
        check("a1@mailgun", Delivered, "", 2, Heard::Counted(taken("17")));
        check(
            "a1@mailgun",
            Bounced,
            "c@d.e",
            2,
            Heard::Counted(taken("17")),
        );
        check(
            "<a1@mailgun>",
            Bounced,
            "C@d.e",
            2,
            Heard::Repeated(taken("17")),
        );
        check(
            "a1@mailgun",
            Bounced,
            "x@d.e",
            3,
            Heard::Counted(taken("17")),
        );
        check(
            "a1@mailgun",
            Complained,
            "c@d.e",
            3,
            Heard::Counted(taken("17")),
        );
        check(
            "a1@mailgun",
            Complained,
            "x@d.e",
            8 * 86_400,
            Heard::Unknown,
        );
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut accepted = Accepted::default();
        for number in 0..=MOST_REMEMBERED {
            accepted.took(&number.to_string(), taken("x"), Duration::ZERO);
        }
        let mut heard = |name: &str| accepted.hears(name, Later::Bounced, "", Duration::ZERO);
        assert_eq!(heard("0"), Heard::Unknown);
        assert_eq!(heard("1"), Heard::Counted(taken("x")));
        assert_eq!(
            (accepted.by_name.len(), accepted.order.len()),
            (MOST_REMEMBERED, MOST_REMEMBERED)
        );
    }
}
