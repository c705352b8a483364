//! The blocked keys of one queue as they stand: what the worker asks for each message, and what an operator lists and releases.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::books::{BlockBook, BlockedEntry, BookError, MOST_BLOCKED};
use crate::metrics::QueueMetrics;
use crate::rules::lots::KeyHash;
use crate::rules::order::{EVERYTHING, Order};

/// The keys of a queue of which nothing is done until they are released.
#[derive(Debug)]
pub struct Blocked {
    book: BlockBook,
    live: Mutex<BTreeMap<KeyHash, BlockedEntry>>,
    writing: Mutex<()>,
    /// How many they are; asked for each message, so without the lock.
    count: AtomicU64,
    metrics: Arc<QueueMetrics>,
}

impl Blocked {
    /// What the book says. A book that cannot be read blocks the whole queue, where order is kept: nobody knows which keys.
    #[must_use]
    pub fn open(book: BlockBook, order: Order, metrics: Arc<QueueMetrics>) -> Self {
        let entries = match (book.all(), order) {
            (Ok(entries), Order::Key | Order::Strict) => entries,
            (Ok(entries), Order::None) => {
                if !entries.is_empty() {
                    let count = entries.len();
                    tracing::warn!(
                        ?book,
                        count,
                        "keys are blocked of a queue that no longer keeps an order; its messages are not held up by that"
                    );
                }
                Vec::new()
            }
            (Err(why), _) => {
                tracing::error!(?book, %why, "it cannot be read which keys are blocked");
                vec![BlockedEntry {
                    hash: KeyHash::of(EVERYTHING.as_bytes()),
                    key: EVERYTHING.to_owned(),
                    cause: why.to_string(),
                    since_ms: 0,
                }]
            }
        };
        let blocked = Self {
            book,
            live: Mutex::new(
                entries
                    .into_iter()
                    .map(|entry| (entry.hash, entry))
                    .collect(),
            ),
            writing: Mutex::default(),
            count: AtomicU64::new(0),
            metrics,
        };
        blocked.counted(&blocked.live());
        blocked
    }

    /// Why a line is blocked: by itself, or with the whole queue; `None`: it is not.
    #[must_use]
    pub fn cause(&self, line: KeyHash) -> Option<String> {
        if self.count() == 0 {
            return None;
        }
        let live = self.live();
        let everything = KeyHash::of(EVERYTHING.as_bytes());
        let all_in_one = || (line == everything).then(|| live.values().next()).flatten();
        let entry = live.get(&line).or_else(|| live.get(&everything));
        let entry = entry.or_else(all_in_one);
        entry.map(|entry| entry.cause.clone())
    }

    /// How many keys are blocked.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether no more keys can be blocked.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count() >= MOST_BLOCKED as u64
    }

    /// The keys that are blocked longest, at most `most`.
    #[must_use]
    pub fn oldest(&self, most: usize) -> Vec<BlockedEntry> {
        let mut all: Vec<BlockedEntry> = self.live().values().cloned().collect();
        all.sort_by(|a, b| (a.since_ms, &a.key).cmp(&(b.since_ms, &b.key)));
        all.truncate(most);
        all
    }

    /// Blocks a key; it is on disk when this returns. Waits for the disk.
    ///
    /// # Errors
    /// When it cannot be written; then the key is not blocked.
    pub fn keep(&self, entry: BlockedEntry) -> Result<(), BookError> {
        let _one_at_a_time = self.writing();
        self.book.keep(&entry)?;
        let mut live = self.live();
        live.insert(entry.hash, entry);
        self.counted(&live);
        Ok(())
    }

    /// The blocked key of this name, or all of them.
    #[must_use]
    pub fn named(&self, key: Option<&str>) -> Vec<BlockedEntry> {
        let live = self.live();
        let wanted = live
            .values()
            .filter(|entry| key.is_none_or(|key| entry.key == key));
        wanted.cloned().collect()
    }

    /// Releases keys: what comes of them from now on is done. Gives how many were blocked. Waits for the disk.
    ///
    /// # Errors
    /// When it cannot be written; then this key and those after it are still blocked.
    pub fn release(&self, entries: &[BlockedEntry]) -> Result<usize, BookError> {
        let mut released = 0;
        for entry in entries {
            let _one_at_a_time = self.writing();
            self.book.forget(entry.hash)?;
            let mut live = self.live();
            released += usize::from(live.remove(&entry.hash).is_some());
            self.counted(&live);
        }
        Ok(released)
    }

    fn counted(&self, live: &BTreeMap<KeyHash, BlockedEntry>) {
        self.count.store(live.len() as u64, Ordering::Relaxed);
        self.metrics.blocked_keys(live.len() as u64);
    }

    /// Held while the disk is written, so that disk and memory change in the same order; who reads does not wait for it.
    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A disk that does not answer, until this is dropped.
    #[cfg(test)]
    pub(crate) fn hang(&self) -> MutexGuard<'_, ()> {
        self.writing()
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<KeyHash, BlockedEntry>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::rules::names::QueueName;
    use crate::rules::snapshot::{Snapshot, Stored};
    use crate::store::Store;

    fn entry(key: &str, since_ms: i64) -> BlockedEntry {
        BlockedEntry {
            hash: KeyHash::of(key.as_bytes()),
            key: key.to_owned(),
            cause: format!("{key} failed"),
            since_ms,
        }
    }

    fn open(store: &Store, metrics: &Metrics, order: Order) -> Blocked {
        let name: QueueName = "orders".parse().unwrap();
        let numbers = Arc::clone(metrics.queue("orders").unwrap());
        Blocked::open(store.blocked(&name), order, numbers)
    }

    #[test]
    fn keys_are_blocked_remembered_and_released() {
        let metrics = Arc::new(Metrics::new(&["orders".parse().unwrap()]).unwrap());
        let store = Store::in_memory(
            Snapshot::of(vec![], Stored::default()),
            Arc::clone(&metrics),
        );
        let blocked = open(&store, &metrics, Order::Key);
        let line = |key: &str| KeyHash::of(key.as_bytes());
        blocked.keep(entry("bulk", 2)).unwrap();
        blocked.keep(entry("acme", 1)).unwrap();
        assert_eq!(blocked.cause(line("acme")).as_deref(), Some("acme failed"));
        assert_eq!(blocked.cause(line("other")), None);
        let again = open(&store, &metrics, Order::Key);
        assert_eq!(again.oldest(9), [entry("acme", 1), entry("bulk", 2)]);
        assert_eq!(again.oldest(1), [entry("acme", 1)]);
        let page = metrics.encode().unwrap();
        assert!(
            page.contains("sluicegate_blocked_keys{queue=\"orders\"} 2"),
            "{page}"
        );
        assert_eq!(again.release(&again.named(Some("acme"))), Ok(1));
        assert_eq!((again.count(), again.cause(line("acme"))), (1, None));
        assert_eq!(again.named(Some("acme")), []);
        assert_eq!(again.release(&again.named(None)), Ok(1));
        assert_eq!(open(&store, &metrics, Order::Key).count(), 0);
    }

    #[test]
    fn a_change_of_the_order_forgets_no_block() {
        let metrics = Arc::new(Metrics::new(&["orders".parse().unwrap()]).unwrap());
        let store = Store::in_memory(
            Snapshot::of(vec![], Stored::default()),
            Arc::clone(&metrics),
        );
        let line = |order: Order, key: &str| order.line(Some(KeyHash::of(key.as_bytes()))).unwrap();
        let by_key = open(&store, &metrics, Order::Key);
        by_key.keep(entry("acme", 1)).unwrap();
        let strict = open(&store, &metrics, Order::Strict);
        assert!(strict.cause(line(Order::Strict, "bulk")).is_some());
        strict.release(&strict.named(None)).unwrap();
        strict.keep(entry(EVERYTHING, 1)).unwrap();
        let by_key = open(&store, &metrics, Order::Key);
        assert!(by_key.cause(line(Order::Key, "bulk")).is_some());
        assert_eq!(open(&store, &metrics, Order::None).count(), 0);
    }
}
