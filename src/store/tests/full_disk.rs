//! A disk that fills, refuses and has room again.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;
use serde_json::json;

use super::{NOW_MS, all, close, copied, lay, metrics, open, queues, set};
use crate::rules::change::Refused;
use crate::store::open::How;
use crate::store::{Seed, Store, Turned, journal};

/// A disk that can be full.
#[derive(Debug)]
struct Disk {
    file: redb::backends::FileBackend,
    full: Arc<AtomicBool>,
}

impl Disk {
    fn room(&self) -> Result<(), std::io::Error> {
        if self.full.load(Ordering::SeqCst) {
            Err(std::io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.room()?;
        self.file.set_len(len)
    }
    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.room()?;
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.file.write(offset, data) // only syncing fails: then nobody knows what reached the disk
    }
    fn close(&self) -> Result<(), std::io::Error> {
        self.file.close()
    }
}

/// A store of the queue `orders` on a disk that is full as long as the flag says so.
pub(crate) fn on_a_disk_that_fills(dir: &Path) -> (Store, Arc<AtomicBool>) {
    let full = Arc::new(AtomicBool::new(false));
    let opener = || -> journal::Opener {
        let full = Arc::clone(&full);
        Box::new(move |path| {
            let file = fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            redb::Builder::new().create_with_backend(Disk {
                file: redb::backends::FileBackend::new(file)?,
                full: Arc::clone(&full),
            })
        })
    };
    let how = How {
        data_dir: dir,
        queues: queues(&["orders"]),
        seed: Seed::default(),
        now_ms: NOW_MS,
        opener,
    };
    let store = how.open(metrics()).unwrap().store;
    (store, full)
}

/// What the numbers say of the store.
fn writable(store: &Store) -> String {
    let page = store.metrics.encode().unwrap();
    let says = |line: &str| Some(line.strip_prefix("sluicegate_store_writable ")?.to_owned());
    page.lines().find_map(says).unwrap()
}

#[test]
fn a_full_disk_refuses_changes_and_forgets_none_and_mends() {
    let dir = tempfile::tempdir().unwrap();
    let (store, full) = on_a_disk_that_fills(dir.path());
    let before = store.turn(&set("queue.orders.skip", json!(0.1))).unwrap();
    full.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let refused = store
            .turn(&set("queue.orders.skip", json!(0.2)))
            .unwrap_err();
        assert!(matches!(refused, Refused::Store(_)), "{refused}");
        assert_eq!(all(&store.snapshot()), all(&before));
        assert_eq!(writable(&store), "0");
    }
    full.store(false, Ordering::SeqCst);
    assert_eq!(store.changes(None, 9).unwrap().len(), 1);
    let live = store.turn(&set("queue.orders.rate", json!("5/s"))).unwrap();
    assert_eq!(store.changes(None, 9).unwrap().len(), 2);
    assert_eq!(writable(&store), "1");
    let after = open(copied(dir.path()).path());
    assert_eq!(all(&after.snapshot()), all(&live));
    assert_eq!(
        after.changes(None, 9).unwrap(),
        store.changes(None, 9).unwrap()
    );
}

#[test]
fn what_cannot_wait_takes_effect_on_a_full_disk_and_is_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let (store, full) = on_a_disk_that_fills(dir.path());
    store.turn(&lay("queue.orders.skip", json!(0.2))).unwrap();
    full.store(true, Ordering::SeqCst);
    assert!(matches!(
        store.turn_even_unwritten(&close(1)),
        Ok(Turned::Owed(_))
    ));
    assert_eq!(store.snapshot().openings().count(), 0);
    store.write_owed().unwrap_err();
    assert_eq!(writable(&store), "0");
    store
        .turn(&set("queue.orders.skip", json!(0.1)))
        .unwrap_err();
    assert!(store.owes());
    full.store(false, Ordering::SeqCst);
    store.write_owed().unwrap();
    assert_eq!(writable(&store), "1");
    assert!(!store.owes());
    store.turn(&set("queue.orders.skip", json!(0.1))).unwrap();
    let after = open(copied(dir.path()).path());
    assert_eq!(all(&after.snapshot()), all(&store.snapshot()));
    let edits: Vec<u64> = after
        .changes(None, 9)
        .unwrap()
        .iter()
        .map(|it| it.revision)
        .collect();
    assert_eq!(edits, [3, 2, 1]);
}
