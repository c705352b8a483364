//! The jobs that may have been done, until somebody says what came of each. They lie among the books.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::books::{BookError, DOUBT, Slot, named, unwritten};
use super::history::History;
use super::{Store, tables};
use crate::rules::doubt::{Doubt, Resolved};
use crate::rules::lots::KeyHash;

/// The most that are kept; what is in doubt beyond them lies in the park without a place in the list.
pub const MOST_DOUBTS: usize = 100_000;

/// The jobs in doubt of all queues. Cheap to clone. Each function blocks until the disk has answered.
#[derive(Clone)]
pub struct Doubts {
    history: Arc<Mutex<History>>,
}

impl Store {
    /// The jobs that may have been done.
    #[must_use]
    pub fn doubts(&self) -> Doubts {
        Doubts {
            history: Arc::clone(&self.history),
        }
    }
}

impl Doubts {
    /// Every one that is kept, by queue, the oldest first. One whose record is damaged is left out, and said.
    #[must_use]
    pub fn all(&self) -> Vec<Doubt> {
        let history = self.one_at_a_time();
        let records = history
            .books()
            .iter()
            .filter(|(slot, _)| slot.kind == DOUBT);
        let mut all: Vec<Doubt> = records
            .filter_map(|(slot, written)| {
                let content = written.as_ref().map_err(Clone::clone);
                let read = content
                    .and_then(|content| tables::decoded(content).map_err(|why| why.to_string()));
                read.inspect_err(|why| {
                    tracing::error!(
                        which = named(slot),
                        why,
                        "what is kept of it is damaged; its message is in the park"
                    );
                })
                .ok()
            })
            .collect();
        drop(history);
        all.sort_by(|a: &Doubt, b: &Doubt| {
            (&a.queue, a.at_ms, &a.id).cmp(&(&b.queue, b.at_ms, &b.id))
        });
        all
    }

    /// How many are kept.
    #[must_use]
    pub fn count(&self) -> usize {
        let history = self.one_at_a_time();
        history
            .books()
            .keys()
            .filter(|slot| slot.kind == DOUBT)
            .count()
    }

    /// Keeps jobs in doubt; they are on disk when this returns. One that is kept already is written over.
    ///
    /// # Errors
    /// When the disk refuses, or there are [`MOST_DOUBTS`]: then none of them is.
    pub fn keep(&self, doubts: &[Doubt]) -> Result<(), BookError> {
        let mut history = self.one_at_a_time();
        let kept = history.books().keys().filter(|slot| slot.kind == DOUBT);
        if kept.count() + doubts.len() > MOST_DOUBTS {
            let why = format!("{MOST_DOUBTS} jobs are in doubt, no more are listed; resolve them");
            return Err(BookError::Unwritten(why));
        }
        let record = |doubt: &Doubt| {
            let slot = slot(doubt.queue.as_str(), doubt.hash());
            Ok((slot, Some(tables::encoded(doubt)?)))
        };
        let records: Result<_, _> = doubts.iter().map(record).collect();
        let written = records.and_then(|records| history.write_books(records));
        written.map_err(unwritten)
    }

    /// Forgets jobs that were resolved, also ones that were never kept.
    ///
    /// # Errors
    /// When the disk refuses; then they may still be kept.
    pub fn forget(&self, jobs: &[Resolved]) -> Result<(), BookError> {
        let mut history = self.one_at_a_time();
        let record = |job: &Resolved| {
            let slot = slot(job.queue.as_str(), KeyHash::of(job.id.as_bytes()));
            (slot, None)
        };
        let records = jobs.iter().map(record).collect();
        history.write_books(records).map_err(unwritten)
    }

    fn one_at_a_time(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Doubts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Doubts")
    }
}

fn slot(queue: &str, id: KeyHash) -> Slot {
    Slot {
        queue: queue.to_owned(),
        kind: DOUBT.to_owned(),
        hash: id.0,
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::tests::open;

    fn doubt(id: &str, at_ms: i64) -> Doubt {
        Doubt {
            queue: "mail".parse().unwrap(),
            id: id.into(),
            pool: "mail".into(),
            provider: "mailgun".into(),
            message_id: None,
            account: None,
            cause: "no answer".to_owned(),
            attempt: 1,
            at_ms,
        }
    }

    #[test]
    fn what_is_in_doubt_survives_a_restart_until_it_is_resolved() {
        let dir = TempDir::new().unwrap();
        let store = open(dir.path());
        store
            .doubts()
            .keep(&[doubt("b", 2), doubt("a", 2), doubt("z", 1)])
            .unwrap();
        drop(store);
        let store = open(dir.path());
        let ids = |store: &Store| -> Vec<String> {
            store
                .doubts()
                .all()
                .iter()
                .map(|doubt| doubt.id.to_string())
                .collect()
        };
        assert_eq!(ids(&store), ["z", "a", "b"]);
        let resolved = Resolved {
            queue: "mail".parse().unwrap(),
            id: "a".into(),
        };
        store.doubts().forget(&[resolved]).unwrap();
        drop(store);
        let store = open(dir.path());
        assert_eq!(
            (ids(&store), store.doubts().count()),
            (vec!["z".to_owned(), "b".to_owned()], 2)
        );
    }
}
