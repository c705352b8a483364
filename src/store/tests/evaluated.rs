//! When flags were last evaluated, over a restart.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::full_disk::on_a_disk_that_fills;
use super::whole::create;
use super::*;

/// As after `kill -9` at this time, by the metrics of the next start.
fn after_restart(dir: &Path, now_ms: i64) -> Arc<Metrics> {
    let (copy, metrics) = (copied(dir), metrics());
    let seed = Seed::default();
    let opened = Store::open(
        copy.path(),
        queues(&["orders"]),
        seed,
        now_ms,
        Arc::clone(&metrics),
    );
    assert!(opened.unwrap().notes.is_empty());
    metrics
}

#[test]
fn when_a_flag_was_last_evaluated_is_known_after_a_restart() {
    let (dir, numbers) = (tempfile::tempdir().unwrap(), metrics());
    let store = Store::open(
        dir.path(),
        queues(&["orders"]),
        Seed::default(),
        NOW_MS,
        Arc::clone(&numbers),
    );
    let store = store.unwrap().store;
    store.turn(&create("f.a")).unwrap();
    store.turn(&create("f.b")).unwrap();
    let revision = store.head();
    let keep = |flag: &str, at_ms: i64, all: bool| {
        numbers.tally(flag).asked(1, at_ms);
        store.keep_evaluated(all).unwrap();
        after_restart(dir.path(), NOW_MS + 300_000).last_evaluated(flag)
    };
    assert_eq!(keep("f.a", NOW_MS, false), Some(NOW_MS));
    assert_eq!(
        keep("f.a", NOW_MS + 59_999, false),
        Some(NOW_MS),
        "not worth it"
    );
    assert_eq!(
        keep("f.b", NOW_MS + 5, false),
        Some(NOW_MS + 5),
        "all are written"
    );
    assert_eq!(keep("f.a", NOW_MS + 60_000, false), Some(NOW_MS + 59_999));
    assert_eq!(
        keep("f.a", NOW_MS + 60_001, true),
        Some(NOW_MS + 60_001),
        "at the stop"
    );
    let future = keep("f.a", NOW_MS + 900_000, false);
    assert_eq!(future, Some(NOW_MS + 300_000), "a clock that was set back");
    assert_eq!(
        keep("f.nobody", NOW_MS, true),
        None,
        "there is no such flag"
    );
    assert_eq!(store.head(), revision, "it is no change");
    let page = after_restart(dir.path(), NOW_MS).encode().unwrap();
    assert!(
        page.contains("sluicegate_evaluations_total{flag=\"f.a\"} 0"),
        "{page}"
    );
    assert!(!page.contains("f.nobody"), "{page}");
    let chain = crate::store::rescue::verify(copied(dir.path()).path(), None).unwrap();
    assert!(chain.broken.is_none() && chain.whole == 2, "{chain:?}");
}

#[test]
fn what_is_not_written_or_damaged_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let (store, full) = on_a_disk_that_fills(dir.path());
    store.metrics.tally("queue.orders.skip").asked(1, NOW_MS);
    full.store(true, Ordering::SeqCst);
    store.keep_evaluated(true).unwrap_err();
    full.store(false, Ordering::SeqCst);
    store.keep_evaluated(true).unwrap();
    let last = |dir: &Path| after_restart(dir, NOW_MS).last_evaluated("queue.orders.skip");
    assert_eq!(last(dir.path()), Some(NOW_MS));
    drop(store);
    let path = dir.path().join("store.redb");
    let mut bytes = fs::read(&path).unwrap();
    let word = b"{\"queue.orders.skip\":";
    let places: Vec<usize> = (0..bytes.len() - word.len())
        .filter(|at| bytes[*at..].starts_with(word))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at + word.len()] ^= 1;
    }
    fs::write(&path, bytes).unwrap();
    assert_eq!(last(dir.path()), None, "it is not believed");
}
