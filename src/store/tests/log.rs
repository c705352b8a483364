//! The log: histories, former definitions, the chain, and how fast a long one opens.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::whole::{accounts, come, create, lived, put};
use super::{change, close, copied, lay, metrics, open, queues, set, try_open};
use crate::rules::change::{Actor, Cause, Edit};
use crate::rules::flag::FlagDocument;
use crate::rules::names::FlagKey;
use crate::rules::record::{self, ChangeRecord, EditKind, Touched};
use crate::rules::snapshot::{Snapshot, Stored};
use crate::store::{NoFormer, Noted, Store, lines, rescue};

fn revisions(records: &[ChangeRecord]) -> Vec<u64> {
    records.iter().map(|record| record.revision).collect()
}

/// The same in memory and on disk.
fn both(check: impl Fn(&Store)) {
    let start = Snapshot::of(queues(&["orders"]), Stored::default());
    check(&Store::in_memory(start, metrics()));
    let dir = tempfile::tempdir().unwrap();
    check(&open(dir.path()));
}

#[test]
fn the_history_of_a_flag_or_segment_is_paged_and_names_no_other() {
    both(|store| {
        for change in [
            create("f.a"),
            set("f.a", json!(4)),
            put("f.a", &accounts(2)),
            set("queue.orders.skip", json!(0.1)),
            come("f.a", &["x"]),
            lay("f.a", json!(5)),
            close(6),
            create("f"),
        ] {
            store.turn(&change).unwrap();
        }
        let all = store.history("f.a", None, 9).unwrap();
        assert_eq!(revisions(&all), [7, 6, 2, 1]);
        let page = store.history("f.a", None, 2).unwrap();
        let rest = store.history("f.a", Some(page[1].revision), 9).unwrap();
        assert_eq!((&page[..], &rest[..]), (&all[..2], &all[2..]));
        assert_eq!(store.history("f.", None, 9).unwrap(), []);
        let of_segment = store.segment_history("f.a", None, 9).unwrap();
        assert_eq!(revisions(&of_segment), [5, 3]);
    });
}

fn replace(key: &str, value: i64, owner: &str) -> Edit {
    let document =
        json!({"key": key, "kind": "config", "type": "integer", "value": value, "owner": owner});
    Edit::Replace(Box::new(serde_json::from_value(document).unwrap()))
}

#[test]
fn a_former_definition_is_exactly_what_stood_before_the_change() {
    both(|store| {
        let key: FlagKey = "f.a".parse().unwrap();
        let stood = |store: &Store, key: &FlagKey| -> Option<FlagDocument> {
            let snapshot = store.snapshot();
            snapshot.flag(key.as_str()).map(|flag| flag.document())
        };
        let mut before = Vec::new();
        let mut turn = |edit: Edit| {
            before.push(stood(store, &key));
            store.turn(&change(edit)).unwrap();
        };
        turn(create("f.a").edit);
        for value in 0..60 {
            turn(Edit::Set(key.clone(), json!(value)));
        }
        turn(replace("f.a", 70, "ops"));
        turn(Edit::Set(key.clone(), json!(71)));
        turn(Edit::Delete(key.clone()));
        let mut undone = None;
        for (revision, before) in (1..).zip(&before) {
            let former = store.former(&key, revision).unwrap();
            assert_eq!(former.as_deref(), before.as_ref(), "before {revision}");
            undone = former;
        }
        store
            .turn(&change(Edit::Undo(key.clone(), undone)))
            .unwrap();
        assert_eq!(stood(store, &key).unwrap().value, json!(71));
        let skip: FlagKey = "queue.orders.skip".parse().unwrap();
        let valve = stood(store, &skip).unwrap();
        store.turn(&set(skip.as_str(), json!(0.1))).unwrap();
        let last = store.snapshot().revision();
        assert_eq!(store.former(&skip, last).unwrap().as_deref(), Some(&valve));
        store.turn(&lay(skip.as_str(), json!(0.2))).unwrap();
        let laid = store.former(&skip, last + 1);
        assert!(
            matches!(laid, Err(NoFormer::OfAnOpening { .. })),
            "{laid:?}"
        );
        let other = store.former(&key, last);
        assert!(
            matches!(other, Err(NoFormer::Untouched { .. })),
            "{other:?}"
        );
    });
}

#[test]
fn a_chain_that_is_whole_verifies_while_it_grows_and_when_it_lies_still() {
    let dir = tempfile::tempdir().unwrap();
    lived(dir.path());
    let store = open(dir.path());
    let (revision, hash) = store.head();
    let noted = Noted { revision, hash };
    store.turn(&set("queue.orders.rate", json!("9/s"))).unwrap();
    let chain = store.verify(Some(&noted)).unwrap();
    assert_eq!((chain.whole, chain.newest, &chain.broken), (8, 8, &None));
    assert_eq!((chain.newest, chain.head.clone()), store.head());
    drop(store);
    assert_eq!(rescue::verify(dir.path(), Some(&noted)).unwrap(), chain);
}

/// What `verify` says of a log of seven changes after this was done to it.
fn check_broken(harm: impl FnOnce(&Path, &[ChangeRecord]), at: u64, whole: u64, why: &str) {
    let dir = tempfile::tempdir().unwrap();
    lived(dir.path());
    let store = open(dir.path());
    let (records, head) = (store.changes(None, 9).unwrap(), store.head());
    drop(store);
    harm(&dir.path().join("store.redb"), &records);
    let noted = Noted {
        revision: head.0,
        hash: head.1,
    };
    let chain = rescue::verify(dir.path(), Some(&noted)).unwrap();
    let broken = chain.broken.unwrap();
    assert_eq!((broken.revision, chain.whole), (at, whole), "{broken}");
    assert!(broken.to_string().contains(why), "{broken}");
}

#[test]
fn a_broken_chain_says_where_it_breaks() {
    let other = |records: &[ChangeRecord], revision: u64| {
        let found = records.iter().find(|it| it.revision == revision).unwrap();
        let mut other = found.clone();
        other.reason = "something else".to_owned();
        other.written().unwrap()
    };
    check_broken(
        |path, _| lines::tamper(path, 3, None),
        4,
        2,
        "a record is missing",
    );
    let alter = |revision| {
        move |path: &Path, records: &[ChangeRecord]| {
            lines::tamper(path, revision, Some(&other(records, revision)));
        }
    };
    check_broken(alter(3), 4, 3, "does not follow the record before it");
    check_broken(alter(7), 7, 6, "was noted elsewhere");
    let cut = |path: &Path, _: &[ChangeRecord]| lines::tamper(path, 7, None);
    check_broken(cut, 7, 6, "the log ends at 6, and the store stands at 7");
    let moved = |path: &Path, records: &[ChangeRecord]| {
        lines::tamper(path, 3, Some(&other(records, 2)));
    };
    check_broken(moved, 3, 2, "the record of 2 lies there");
}

#[test]
fn a_store_from_an_older_backup_is_found_out_by_a_head_that_was_noted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.turn(&create("f.a")).unwrap();
    let older = copied(dir.path());
    store.turn(&create("f.b")).unwrap();
    let (revision, hash) = store.head();
    let noted = Noted { revision, hash };
    let chain = rescue::verify(older.path(), Some(&noted)).unwrap();
    let broken = chain.broken.unwrap();
    assert_eq!(broken.revision, 2);
    assert!(broken.why.contains("its end was cut off"), "{broken}");
    assert_eq!(rescue::verify(older.path(), None).unwrap().broken, None);
}

#[test]
fn a_damaged_store_takes_its_log_along() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut newest = None;
    for n in 0..20 {
        newest = Some(
            store
                .turn(&set("queue.orders.skip", json!(f64::from(n) / 100.0)))
                .unwrap(),
        );
    }
    drop(store);
    // The flags are damaged, the log is not.
    let path = dir.path().join("store.redb");
    let database = redb::Database::open(&path).unwrap();
    let txn = database.begin_write().unwrap();
    let flags = redb::TableDefinition::<&str, &[u8]>::new("flags");
    txn.delete_table(flags).unwrap();
    txn.commit().unwrap();
    drop(database);
    let opened = try_open(dir.path()).unwrap();
    assert_eq!(opened.notes.len(), 1, "{:?}", opened.notes);
    let store = opened.store;
    assert_eq!(store.snapshot().revision(), newest.unwrap().revision());
    store.turn(&set("queue.orders.skip", json!(0.2))).unwrap();
    let chain = store.verify(None).unwrap();
    assert_eq!(
        (chain.begins_after, chain.whole, chain.broken),
        (0, 21, None)
    );
    assert_eq!(
        store.history("queue.orders.skip", None, 99).unwrap().len(),
        21
    );
}

/// A log of this length in a store of its own, with flags that it is about in turn.
fn long_log(dir: &Path, length: u64) {
    let store = open(dir);
    store.turn(&create("f.a")).unwrap();
    let (_, mut prev) = store.head();
    let live = store.snapshot();
    drop(store);
    let mut records = Vec::new();
    for revision in 2..=length {
        let key = format!("f.{}", revision % 1_000).parse().unwrap();
        let record = ChangeRecord {
            revision,
            at_ms: 1,
            by: Actor::new("ana", "cli"),
            cause: Cause::Operator,
            reason: "INC-481, a longer sentence about what went wrong".to_owned(),
            edit: EditKind::Set,
            opening: None,
            touched: vec![Touched {
                flag: key,
                before: json!(1),
                after: Json::Null,
            }],
            segments: vec![],
            resolved: None,
            prev,
        };
        prev = record::hash(&record.written().unwrap());
        records.push(record);
    }
    crate::store::tables::grown(&dir.join("store.redb"), &live, &records, &prev);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how long it takes is the question"
)]
fn a_store_with_a_hundred_thousand_changes_opens_fast_and_pages_fast() {
    let dir = tempfile::tempdir().unwrap();
    long_log(dir.path(), 100_000);
    let store = open(dir.path());
    store.turn(&create("f.b")).unwrap();
    let killed = copied(dir.path()); // as after kill -9: then the database looks through itself first
    drop(store);
    for dir in [killed, dir] {
        let began = Instant::now();
        let store = open(dir.path());
        let opened = began.elapsed();
        assert_eq!(store.snapshot().revision(), 100_001);
        let began = Instant::now();
        for page in 0..20 {
            assert_eq!(store.changes(Some(90_000 - page), 100).unwrap().len(), 100);
            let of_one = store.history("f.7", Some(90_000 - page), 50).unwrap();
            assert_eq!(of_one.len(), 50);
        }
        let paged = began.elapsed() / 40;
        println!("opened in {opened:?}, a page in {paged:?}");
        // The goals are a second and a millisecond, met by far with optimisation (0.13 s and less). The bounds are those of a busy
        // machine, where a build without it takes long to check the sums of 128 MB.
        let most = Duration::from_secs(if cfg!(debug_assertions) { 25 } else { 5 });
        assert!(opened < most, "opened in {opened:?}");
        assert!(paged < Duration::from_millis(100), "a page in {paged:?}");
    }
}
