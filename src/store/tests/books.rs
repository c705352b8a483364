//! What the worker must know again after a restart: lanes and blocked keys.

use std::fs;
use std::sync::atomic::Ordering;

use serde_json::json;

use super::full_disk::on_a_disk_that_fills;
use super::{NOW_MS, Snapshot, Store, copied, metrics, open, queues, set, try_open};
use crate::rules::lane::Lane;
use crate::rules::lots::KeyHash;
use crate::rules::names::QueueName;
use crate::rules::snapshot::Stored;
use crate::store::{BlockedEntry, BookError, KeptLanes, LaneEntry, MOST_BLOCKED};

fn orders() -> QueueName {
    "orders".parse().unwrap()
}

fn own(key: &str) -> LaneEntry {
    LaneEntry {
        lane: Lane::Own(KeyHash::of(key.as_bytes())),
        key: key.to_owned(),
        since_ms: NOW_MS,
    }
}

fn shared() -> LaneEntry {
    LaneEntry {
        lane: Lane::Shared,
        key: String::new(),
        since_ms: NOW_MS + 1,
    }
}

fn blocked(key: &str) -> BlockedEntry {
    BlockedEntry {
        hash: KeyHash::of(key.as_bytes()),
        key: key.to_owned(),
        cause: "the worker answered 500".to_owned(),
        since_ms: NOW_MS,
    }
}

fn lanes_of(store: &Store) -> Vec<LaneEntry> {
    let KeptLanes { whole, damaged } = store.lanes(&orders()).all();
    assert_eq!(damaged, []);
    let mut lanes = whole;
    lanes.sort_by_key(|entry| entry.key.clone());
    lanes
}

/// Keeps lanes and keys of `orders`, and some of queues whose names are near.
fn kept(store: &Store) {
    for entry in [own("a"), own("b"), own("ö/ü \n"), shared()] {
        store.lanes(&orders()).keep(&entry).unwrap();
    }
    store.blocked(&orders()).keep(&blocked("a")).unwrap();
    for near in ["order", "orders.eu", "billing/orders"] {
        let near = near.parse().unwrap();
        store.lanes(&near).keep(&own("elsewhere")).unwrap();
    }
    store.lanes(&orders()).forget(own("b").lane).unwrap();
    store.lanes(&orders()).forget(own("never").lane).unwrap();
}

fn check(store: &Store) {
    assert_eq!(lanes_of(store), [shared(), own("a"), own("ö/ü \n")]);
    assert_eq!(store.blocked(&orders()).all().unwrap(), [blocked("a")]);
    let near = "orders.eu".parse().unwrap();
    assert_eq!(store.lanes(&near).all().whole, [own("elsewhere")]);
    assert_eq!(store.blocked(&near).all().unwrap(), []);
}

#[test]
fn what_is_kept_survives_kill_9_and_is_no_change() {
    let memory = Store::in_memory(
        Snapshot::of(queues(&["orders"]), Stored::default()),
        metrics(),
    );
    kept(&memory);
    check(&memory);
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    kept(&store);
    check(&store);
    assert_eq!(store.snapshot().revision(), 0);
    assert_eq!(store.changes(None, 9).unwrap(), []);
    let after = copied(dir.path());
    let after = open(after.path());
    check(&after);
    let again = LaneEntry {
        since_ms: 5,
        ..own("a")
    };
    after.lanes(&orders()).keep(&again).unwrap();
    assert_eq!(lanes_of(&after)[1], again, "written over");
}

#[test]
fn a_store_of_a_version_without_books_opens_with_none() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let database = redb::Database::open(dir.path().join("store.redb")).unwrap();
    let txn = database.begin_write().unwrap();
    let table = redb::TableDefinition::<(&str, &str, u64), &[u8]>::new("books");
    txn.delete_table(table).unwrap();
    txn.commit().unwrap();
    drop(database);
    let store = open(dir.path());
    assert_eq!(lanes_of(&store), []);
    kept(&store);
    check(&store);
}

/// Flips one bit of the record that holds this text.
fn damage(dir: &std::path::Path, text: &str) {
    let database = dir.join("store.redb");
    let mut bytes = fs::read(&database).unwrap();
    let found: Vec<usize> = (0..bytes.len() - text.len())
        .filter(|at| bytes[*at..].starts_with(text.as_bytes()))
        .collect();
    assert!(!found.is_empty());
    found.iter().for_each(|at| bytes[*at] ^= 1);
    fs::write(&database, bytes).unwrap();
}

#[test]
fn a_damaged_record_is_named_and_mended_when_it_is_written_or_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (lane, sick) = (own("tenant-17"), blocked("tenant-18"));
    store.lanes(&orders()).keep(&lane).unwrap();
    store.lanes(&orders()).keep(&own("a")).unwrap();
    store.lanes(&orders()).keep(&shared()).unwrap();
    store.blocked(&orders()).keep(&sick).unwrap();
    drop(store);
    damage(dir.path(), "tenant-17");
    damage(dir.path(), "tenant-18");

    let store = open(dir.path());
    let KeptLanes { whole, damaged } = store.lanes(&orders()).all();
    assert_eq!(whole, [own("a"), shared()], "the rest is as it was");
    let [(of, why)] = &damaged[..] else {
        panic!("one is damaged: {damaged:?}")
    };
    assert_eq!(*of, lane.lane);
    let name = format!(
        "sluicegate.lane.orders.{:016x}",
        KeyHash::of(b"tenant-17").0
    );
    assert!(why.to_string().contains(&name), "{why}");
    let why = store.blocked(&orders()).all().unwrap_err();
    let name = format!("{:016x} of `orders`", sick.hash.0);
    assert!(why.to_string().contains(&name), "{why}");
    store.lanes(&orders()).keep(&lane).unwrap();
    store.blocked(&orders()).forget(sick.hash).unwrap();
    let after = copied(dir.path());
    let after = open(after.path());
    assert_eq!(lanes_of(&after), [shared(), own("a"), lane]);
    assert_eq!(after.blocked(&orders()).all().unwrap(), []);
}

#[test]
fn more_blocked_keys_than_allowed_are_refused_with_the_cure() {
    let store = Store::in_memory(
        Snapshot::of(queues(&["orders"]), Stored::default()),
        metrics(),
    );
    let book = store.blocked(&orders());
    for n in 0..MOST_BLOCKED {
        book.keep(&blocked(&n.to_string())).unwrap();
    }
    let why = book.keep(&blocked("one more")).unwrap_err();
    assert_eq!(why, BookError::Full(orders()));
    assert!(
        why.to_string().contains("sluicegate queue release"),
        "{why}"
    );
    book.keep(&blocked("7")).unwrap();
    book.forget(blocked("7").hash).unwrap();
    book.keep(&blocked("one more")).unwrap();
}

#[test]
fn a_full_disk_keeps_nothing_and_says_so_and_mends() {
    let dir = tempfile::tempdir().unwrap();
    let (store, full) = on_a_disk_that_fills(dir.path());
    store.turn(&set("queue.orders.skip", json!(0.1))).unwrap();
    store.lanes(&orders()).keep(&own("a")).unwrap();
    full.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let why = store.lanes(&orders()).keep(&own("b")).unwrap_err();
        assert!(matches!(why, BookError::Unwritten(_)), "{why}");
        store.lanes(&orders()).forget(own("a").lane).unwrap_err();
        assert_eq!(lanes_of(&store), [own("a")]);
    }
    full.store(false, Ordering::SeqCst);
    // What was said to be kept is kept, whatever the failed writes left behind.
    store.lanes(&orders()).keep(&own("a")).unwrap();
    store.lanes(&orders()).forget(own("b").lane).unwrap();
    store.turn(&set("queue.orders.skip", json!(0.2))).unwrap();
    let after = copied(dir.path());
    assert_eq!(lanes_of(&open(after.path())), [own("a")]);
}

#[test]
fn a_store_that_starts_from_a_snapshot_takes_over_the_books_it_can_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.turn(&set("queue.orders.skip", json!(0.1))).unwrap();
    kept(&store);
    let older = copied(dir.path());
    store.turn(&set("queue.orders.skip", json!(0.2))).unwrap();
    drop(store);
    // A database that stands at an older revision than the snapshot beside it is put aside.
    fs::copy(
        older.path().join("store.redb"),
        dir.path().join("store.redb"),
    )
    .unwrap();
    let opened = try_open(dir.path()).unwrap();
    assert_eq!(opened.notes.len(), 1, "{:?}", opened.notes);
    check(&opened.store);
    drop(opened);
    // One that cannot be read at all leaves a sentence.
    fs::write(dir.path().join("store.redb"), b"not a database at all").unwrap();
    let opened = try_open(dir.path()).unwrap();
    assert_eq!(lanes_of(&opened.store), []);
    let told = opened
        .notes
        .iter()
        .any(|note| note.contains("sluicegate.lane."));
    assert!(told, "{:?}", opened.notes);
}
