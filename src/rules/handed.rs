//! Work that was handed over, remembered until somebody reports what came of it: so that a report counts once, and is known to be
//! on time or late.
//!
//! Bounded: the newest [`MOST_REMEMBERED`], each for [`REMEMBERED_FOR`]. A job that is handed over again is remembered anew.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::facts::Key;
use super::lots::KeyHash;

/// So many are remembered for a queue, the newest ones.
pub const MOST_REMEMBERED: usize = 100_000;
/// For so long.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(3_600);

/// What a worker may report of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reported {
    /// It was done.
    Done,
    /// It was refused for good.
    Failed,
    /// It was not done, and its worker will try it again.
    Retry,
    /// Its worker asks for less, and will try it again.
    Throttled,
    /// It may have been done.
    Unknown,
}

impl Reported {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::Done,
        Self::Failed,
        Self::Retry,
        Self::Throttled,
        Self::Unknown,
    ];

    /// Its word, as in a report and in the label `outcome`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Retry => "retry",
            Self::Throttled => "throttled",
            Self::Unknown => "unknown",
        }
    }

    /// Whether nothing more is to come of a job after it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What is remembered of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// When it was handed over, time since the clock's start.
    pub at: Duration,
    /// When it is useless, milliseconds since 1970.
    pub deadline_ms: Option<i64>,
    /// The key that limits count by.
    pub key: Option<Key>,
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// It counts.
    Counted(Work),
    /// It was told before, or after the last word on the job: it does not count again.
    Repeated,
    /// Nothing of this id was handed over, or it is too long ago.
    Unknown,
}

#[derive(Debug)]
struct Entry {
    work: Work,
    number: u64,
    /// The bits of what was reported.
    said: u8,
}

impl Entry {
    fn is_over(&self) -> bool {
        let last_words = Reported::Done.bit() | Reported::Failed.bit();
        self.said & last_words != 0
    }
}

/// The work of one queue that was handed over.
#[derive(Debug, Default)]
pub struct Handed {
    by_id: HashMap<KeyHash, Entry>,
    /// In the order in which they were handed over; the numbers tell those that are remembered anew.
    order: VecDeque<(KeyHash, u64)>,
    last_number: u64,
    open: usize,
    counted: u64,
}

impl Handed {
    /// How many are remembered of which the last word is not known.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open
    }

    /// How many reports counted.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.counted
    }

    /// A job is handed over; told before that is done, since its worker may be faster than the answer.
    pub fn remember(&mut self, id: KeyHash, work: Work) {
        let now = work.at;
        self.forget(id);
        self.last_number += 1;
        let number = self.last_number;
        let entry = Entry {
            work,
            number,
            said: 0,
        };
        self.by_id.insert(id, entry);
        self.open += 1;
        self.order.push_back((id, number));
        if self.order.len() > MOST_REMEMBERED {
            self.make_room();
        }
        self.sweep(now);
    }

    /// It was not handed over after all.
    pub fn forget(&mut self, id: KeyHash) {
        let Some(entry) = self.by_id.remove(&id) else {
            return;
        };
        self.open -= usize::from(!entry.is_over());
        if self.order.back().is_some_and(|last| last.1 == entry.number) {
            self.order.pop_back();
        }
    }

    /// Forgets what was handed over too long ago.
    pub fn sweep(&mut self, now: Duration) {
        while let Some((id, number)) = self.order.front() {
            let current = self.by_id.get(id).filter(|entry| entry.number == *number);
            let stays =
                current.is_some_and(|entry| now.saturating_sub(entry.work.at) <= REMEMBERED_FOR);
            if stays {
                return;
            }
            self.forget_the_oldest();
        }
    }

    /// Somebody reports this of a job.
    pub fn report(&mut self, id: KeyHash, reported: Reported, now: Duration) -> Told {
        self.sweep(now);
        let Some(entry) = self.by_id.get_mut(&id) else {
            return Told::Unknown;
        };
        if entry.is_over() || entry.said & reported.bit() != 0 {
            return Told::Repeated;
        }
        entry.said |= reported.bit();
        self.counted += 1;
        self.open -= usize::from(reported.is_final());
        Told::Counted(entry.work.clone())
    }

    /// Forgets what was forgotten already and still has its place in the order, if that is much; else the oldest.
    fn make_room(&mut self) {
        if self.by_id.len() < self.order.len() / 2 {
            let by_id = &self.by_id;
            let stands =
                |(id, number): &(KeyHash, u64)| by_id.get(id).is_some_and(|e| e.number == *number);
            self.order.retain(stands);
        } else {
            self.forget_the_oldest();
        }
    }

    fn forget_the_oldest(&mut self) {
        let Some((id, number)) = self.order.pop_front() else {
            return;
        };
        if self.by_id.get(&id).is_some_and(|e| e.number == number)
            && let Some(entry) = self.by_id.remove(&id)
        {
            self.open -= usize::from(!entry.is_over());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: KeyHash = KeyHash(17);

    fn work(at_s: u64) -> Work {
        Work {
            at: Duration::from_secs(at_s),
            deadline_ms: Some(1_000),
            key: Some((KeyHash::of(b"acme"), "acme".into())),
        }
    }

    fn said(handed: &mut Handed, reported: Reported, at_s: u64) -> &'static str {
        match handed.report(ID, reported, Duration::from_secs(at_s)) {
            Told::Counted(_) => "counted",
            Told::Repeated => "repeated",
            Told::Unknown => "unknown",
        }
    }

    fn check(what: &str, reports: &[Reported], expected: &[&str]) {
        let mut handed = Handed::default();
        handed.remember(ID, work(0));
        let told: Vec<&str> = reports
            .iter()
            .map(|one| said(&mut handed, *one, 1))
            .collect();
        assert_eq!(told, expected, "{what}");
        let over = reports.iter().any(|one| one.is_final());
        assert_eq!(handed.open(), usize::from(!over), "{what}");
    }

    #[test]
    fn each_report_counts_once() {
        use Reported::{Done, Failed, Retry};
        check("done", &[Done, Done], &["counted", "repeated"]);
        check("one last word", &[Done, Failed], &["counted", "repeated"]);
        check("news before it", &[Retry, Done], &["counted", "counted"]);
        check("the same news", &[Retry, Retry], &["counted", "repeated"]);
        check("news after it", &[Failed, Retry], &["counted", "repeated"]);
    }

    #[test]
    fn handed_over_again_it_is_another_job() {
        let mut handed = Handed::default();
        handed.remember(ID, work(0));
        assert_eq!(said(&mut handed, Reported::Failed, 1), "counted");
        handed.remember(ID, work(2));
        assert_eq!(said(&mut handed, Reported::Done, 3), "counted");
        assert_eq!(handed.by_id.len(), 1);
    }

    #[test]
    fn what_was_not_handed_over_or_is_long_ago_is_unknown() {
        let mut handed = Handed::default();
        assert_eq!(said(&mut handed, Reported::Done, 0), "unknown");
        handed.remember(ID, work(0));
        handed.forget(ID);
        assert_eq!(said(&mut handed, Reported::Done, 1), "unknown");
        handed.remember(ID, work(2));
        assert_eq!(said(&mut handed, Reported::Retry, 3_602), "counted");
        assert_eq!(said(&mut handed, Reported::Done, 3_603), "unknown");
        assert_eq!((handed.open(), handed.order.len()), (0, 0));
    }

    #[test]
    fn the_newest_are_remembered_and_no_more() {
        let mut handed = Handed::default();
        for number in 0..MOST_REMEMBERED as u64 + 500 {
            handed.remember(KeyHash(number), work(0));
        }
        // One that comes and goes takes no room.
        for _ in 0..1_000 {
            handed.remember(KeyHash(1 << 40), work(0));
            handed.forget(KeyHash(1 << 40));
        }
        assert_eq!(handed.open(), MOST_REMEMBERED - 1);
        assert_eq!(handed.order.len(), MOST_REMEMBERED - 1);
        assert!(!handed.by_id.contains_key(&KeyHash(500)));
        assert!(handed.by_id.contains_key(&KeyHash(501)));
    }

    #[test]
    fn the_list_is_in_the_order_of_its_numbers() {
        for (number, reported) in Reported::ALL.into_iter().enumerate() {
            assert_eq!(reported as usize, number, "{}", reported.word());
        }
    }
}
