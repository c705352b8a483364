//! Tests of the store as a whole: what survives, what is refused, and what is said.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::*;
use crate::rules::change::{Actor, Cause, Edit};
use crate::rules::flag::FlagDocument;
use crate::rules::opening::{OpeningId, Restore};
use crate::rules::snapshot::{GatedQueue, Stored};
use state::{SCHEMA, State};

pub(crate) use full_disk::on_a_disk_that_fills;

mod books;
mod broken;
mod evaluated;
mod full_disk;
mod log;
mod rescue;
mod whole;

const NOW_MS: i64 = 1_800_000_000_000;

fn queues(names: &[&str]) -> Vec<GatedQueue> {
    let queue = |name: &&str| GatedQueue {
        modes: vec!["light".to_owned()],
        ..GatedQueue::named(name.parse().unwrap())
    };
    names.iter().map(queue).collect()
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new(&[]).unwrap())
}

fn try_open(dir: &Path) -> Result<Opened, OpenError> {
    Store::open(dir, queues(&["orders"]), Seed::default(), NOW_MS, metrics())
}

/// Opens what must be fine.
pub(in crate::store) fn open(dir: &Path) -> Store {
    let opened = try_open(dir).unwrap();
    assert_eq!(opened.notes, Vec::<String>::new());
    opened.store
}

fn change(edit: Edit) -> Change {
    Change {
        keep: true,
        ..Change::new(edit, Actor::new("ana", "cli"), "INC-481", NOW_MS)
    }
}

fn set(flag: &str, value: Json) -> Change {
    change(Edit::Set(flag.parse().unwrap(), value))
}

fn lay(flag: &str, value: Json) -> Change {
    change(Edit::Open {
        values: vec![(flag.parse().unwrap(), value)],
        when: vec![],
        ends_at_ms: NOW_MS + 60_000,
        restore: Restore::Snap,
        until: None,
    })
}

fn close(id: u64) -> Change {
    Change {
        cause: Cause::Expiry,
        ..change(Edit::Close(OpeningId(id)))
    }
}

/// All that must survive.
fn all(snapshot: &Snapshot) -> State {
    State::of(snapshot, "")
}

/// As after `kill -9`: the files as they are, while the store that wrote them is still open.
fn copied(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("snapshots")).unwrap();
    for from in [dir.to_owned(), dir.join("snapshots")] {
        for entry in fs::read_dir(&from).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let to = copy.path().join(path.strip_prefix(dir).unwrap());
                fs::copy(&path, to).unwrap();
            }
        }
    }
    copy
}

/// A store with four changes, and the states that it went through.
fn worked(dir: &Path) -> Vec<State> {
    let store = open(dir);
    let mut states = vec![all(&store.snapshot())];
    for change in [
        set("queue.orders.skip", json!(0.1)),
        lay("queue.orders.max_age", json!("30s")),
        set("queue.orders.rate", json!("50/s")),
        lay("queue.orders.skip", json!(0.2)),
    ] {
        states.push(all(&store.turn(&change).unwrap()));
    }
    states
}

#[test]
fn a_change_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.turn(&set("queue.orders.skip", json!(0.1))).unwrap();
    let live = store.turn(&lay("queue.orders.skip", json!(0.2))).unwrap();
    let after = open(copied(dir.path()).path());
    assert_eq!(all(&after.snapshot()), all(&live));
    assert_eq!(after.snapshot().gate("orders").unwrap().revision, 2);
}

#[test]
fn a_refused_change_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store
        .turn(&set("queue.orders.skip", json!(0.7)))
        .unwrap_err();
    assert_eq!(store.changes(None, 10).unwrap(), vec![]);
    assert_eq!(open(copied(dir.path()).path()).snapshot().revision(), 0);
}

#[test]
fn the_changes_are_chained_and_paged_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    worked(dir.path());
    let store = open(dir.path());
    store.turn(&close(4)).unwrap();
    let memory = Store::in_memory(
        Snapshot::of(queues(&["orders"]), Stored::default()),
        metrics(),
    );
    for record in store.changes(None, 10).unwrap().iter().rev() {
        let again = match record.edit {
            crate::rules::record::EditKind::Close => close(4),
            crate::rules::record::EditKind::Open => {
                let touched = &record.touched[0];
                lay(touched.flag.as_str(), touched.after.clone())
            }
            _ => set(
                record.touched[0].flag.as_str(),
                record.touched[0].after.clone(),
            ),
        };
        memory.turn(&again).unwrap();
    }
    for store in [store, memory] {
        let newest = store.changes(None, 2).unwrap();
        let older = store.changes(Some(newest[1].revision), 10).unwrap();
        let revisions: Vec<u64> = newest.iter().chain(&older).map(|it| it.revision).collect();
        assert_eq!(revisions, [5, 4, 3, 2, 1]);
        let mut prev = record::FIRST.to_owned();
        for record in newest.iter().chain(&older).rev() {
            assert_eq!(record.prev, prev, "record {}", record.revision);
            prev = record::hash(&record.written().unwrap());
        }
    }
}

#[test]
fn a_new_store_takes_its_flags_from_the_file_and_an_old_one_does_not() {
    let seed = || {
        Seed {
        segments: serde_json::from_value(json!([{"name": "beta", "members": ["acme"]}])).unwrap(),
        flags: serde_json::from_value(json!([
            {"key": "demo.rate", "kind": "config", "type": "rate", "value": "50/s", "owner": "ops"},
            {"key": "queue.orders.skip", "kind": "ops", "type": "ratio", "value": 0.7, "owner": "ops"},
            {"key": "shop.a.b", "kind": "release", "type": "boolean", "value": false, "owner": "ops",
             "rules": [{"name": "ring", "when": [{"segment": "beta"}], "value": true}]},
        ]))
        .unwrap(),
        ..Seed::default()
    }
    };
    let dir = tempfile::tempdir().unwrap();
    let opened = |seed| Store::open(dir.path(), queues(&["orders"]), seed, NOW_MS, metrics());
    let store = opened(seed()).unwrap().store;
    let says = |store: &Store, flag: &str| store.snapshot().value(flag).unwrap().0.to_json();
    assert_eq!(says(&store, "demo.rate"), json!("50/s"));
    assert_eq!(says(&store, "queue.orders.skip"), json!(0.7));
    assert!(store.snapshot().choice("shop.a.b").unwrap().is_by_rules());
    assert_eq!(store.changes(None, 10).unwrap()[0].by.via, "file");
    store.turn(&set("demo.rate", json!("9/s"))).unwrap();
    drop(store);
    assert_eq!(
        says(&opened(seed()).unwrap().store, "demo.rate"),
        json!("9/s")
    );

    let bad = serde_json::from_value(
        json!({"key": "queue.gone.skip", "kind": "ops", "type": "ratio", "value": 0.7}),
    );
    let other = tempfile::tempdir().unwrap();
    let refused = Store::open(
        other.path(),
        queues(&["orders"]),
        Seed {
            flags: vec![bad.unwrap()],
            ..Seed::default()
        },
        NOW_MS,
        metrics(),
    );
    let sentence = refused.unwrap_err().to_string();
    assert!(
        sentence.starts_with("`queue.gone.skip` of the file of flags cannot be made"),
        "{sentence}"
    );
    open(other.path()); // nothing was made
}

#[test]
fn flags_of_a_queue_that_left_stay_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path())
        .turn(&set("queue.orders.degrade", json!("light")))
        .unwrap();
    let says = |queues: Vec<GatedQueue>| {
        let opened = Store::open(dir.path(), queues, Seed::default(), NOW_MS, metrics()).unwrap();
        let said = opened
            .store
            .snapshot()
            .value("queue.orders.degrade")
            .unwrap()
            .0;
        (
            said.to_json(),
            opened.store.snapshot().gate("orders").is_some(),
            opened.notes,
        )
    };
    assert_eq!(says(queues(&["mail"])), (json!("light"), false, vec![]));
    assert_eq!(says(queues(&["orders"])), (json!("light"), true, vec![]));
    let mut without_mode = queues(&["orders"]);
    without_mode[0].modes.clear();
    let (said, _, notes) = says(without_mode);
    assert_eq!((said, notes.len()), (json!("none"), 1));
    assert!(
        notes[0].contains("which the configuration no longer allows"),
        "{notes:?}"
    );
    assert_eq!(says(queues(&["orders"])), (json!("light"), true, vec![]));
}

#[test]
fn a_directory_that_cannot_be_ours_is_refused_with_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b");
    let first = open(&deep);
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&deep).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
    let says = |dir: &Path| try_open(dir).map(|_| ()).unwrap_err().to_string();
    assert!(
        says(&deep).contains("another sluicegate uses the data_dir"),
        "{}",
        says(&deep)
    );
    drop(first);
    open(&deep);
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(
        says(&file).contains(file.to_str().unwrap()),
        "{}",
        says(&file)
    );
}

#[test]
fn a_store_of_a_later_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    worked(dir.path());
    tables::written_by(&dir.path().join("store.redb"), SCHEMA + 1);
    let sentence = try_open(dir.path()).unwrap_err().to_string();
    assert!(sentence.contains("sluicegate store export"), "{sentence}");
    assert!(
        sentence.contains("written by a later version (schema 3, this one knows 2)"),
        "{sentence}"
    );
}

#[test]
fn metrics_tell_what_flags_say_and_what_changed() {
    let metrics = metrics();
    let start = Snapshot::of(queues(&["orders"]), Stored::default());
    let store = Store::in_memory(start, Arc::clone(&metrics));
    let check = |series: &str| {
        let page = metrics.encode().unwrap();
        assert!(
            page.lines().any(|line| line == series),
            "{series} is missing in\n{page}"
        );
    };
    check("sluicegate_flag_value{flag=\"queue.orders.skip\"} 0");
    store.turn(&lay("queue.orders.skip", json!(0.2))).unwrap();
    check("sluicegate_flag_value{flag=\"queue.orders.skip\"} 0.2");
    check("sluicegate_opening_ends_timestamp_seconds{flag=\"queue.orders.skip\"} 1800000060");
    check("sluicegate_flag_changed_timestamp_seconds{flag=\"queue.orders.skip\"} 1800000000");
    store.turn(&set("queue.orders.skip", json!(0.1))).unwrap(); // covered: nothing changes for anybody
    check("sluicegate_flag_changes_total{cause=\"operator\",flag=\"queue.orders.skip\"} 1");
    store.turn(&close(1)).unwrap();
    check("sluicegate_flag_changes_total{cause=\"expiry\",flag=\"queue.orders.skip\"} 1");
    check("sluicegate_flag_value{flag=\"queue.orders.skip\"} 0.1");
    check("sluicegate_opening_ends_timestamp_seconds{flag=\"queue.orders.skip\"} 0");
    check("sluicegate_snapshot_revision 3");
    store.turn(&whole::create("f.a")).unwrap();
    check("sluicegate_flag_value{flag=\"f.a\"} 3");
    store
        .turn(&change(Edit::Delete("f.a".parse().unwrap())))
        .unwrap();
    let page = metrics.encode().unwrap();
    assert!(!page.contains("f.a"), "nothing is left of it: {page}");
    let key = "f.a".parse().unwrap();
    let former = store.former(&key, 5).unwrap();
    store.turn(&change(Edit::Undo(key, former))).unwrap();
    check("sluicegate_flag_value{flag=\"f.a\"} 3");
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let valve = |name: &str| format!("queue.orders.{name}").parse().unwrap();
    let ratio = (0u32..=1_000_000).prop_map(|n| json!(f64::from(n) / 1_000_000.0));
    let percent = (0u32..=1_000).prop_map(|n| json!(format!("{}%", f64::from(n) / 10.0)));
    let skip = prop_oneof![ratio, percent];
    let document = |n: u64, owner: String| {
        let document = json!({"key": format!("f.{n}"), "kind": "config", "type": "number", "value": 1.0 / n as f64, "owner": owner});
        Box::new(serde_json::from_value(document).unwrap())
    };
    prop_oneof![
        skip.clone()
            .prop_map(move |value| Edit::Set(valve("skip"), value)),
        (1u32..9).prop_map(move |n| Edit::Set(valve("max_age"), json!(format!("{n}s")))),
        (skip, 1i64..9).prop_map(move |(value, minutes)| Edit::Open {
            values: vec![(valve("skip"), value)],
            when: vec![],
            ends_at_ms: NOW_MS + minutes * 60_000,
            restore: Restore::Snap,
            until: None,
        }),
        (1u64..20).prop_map(|id| Edit::Close(OpeningId(id))),
        (1u64..4).prop_map(move |n| Edit::Create(document(n, String::new()))),
        (1u64..4).prop_map(|n| Edit::Delete(format!("f.{n}").parse().unwrap())),
        (1u64..3, 0usize..300)
            .prop_map(|(n, count)| { whole::put(&format!("s.{n}"), &whole::accounts(count)).edit }),
        (1u64..3, "[a-c]", "[a-c]").prop_map(|(n, came, left)| Edit::Members {
            segment: format!("s.{n}").parse().unwrap(),
            add: vec![came],
            remove: vec![left, "account-000007".to_owned()],
        }),
        (1u64..3).prop_map(|n| Edit::DeleteSegment(format!("s.{n}").parse().unwrap())),
        (1u64..4, "[a-z]{0,9}").prop_map(move |(n, owner)| Edit::Replace(document(n, owner))),
        "[a-z]{0,9}".prop_map(|owner| {
            let queue = "orders".parse().unwrap();
            let valve = crate::rules::flag::Flag::neutral_valve(
                &queue,
                crate::rules::valve::Valve::Rate,
                &[],
            );
            Edit::Replace(Box::new(FlagDocument {
                owner,
                value: json!("7/m burst 3"),
                ..valve.document()
            }))
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_was_accepted_stands_after_a_restart(edits in prop::collection::vec(any_edit(), 1..30)) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        for edit in edits {
            let confirmed = |size| Change { confirm: Some(size), ..change(edit.clone()) };
            if let Err(Refused::ConfirmSize { size, .. }) = store.turn(&change(edit.clone())) {
                store.turn(&confirmed(size)).unwrap();
            }
        }
        let after = open(copied(dir.path()).path());
        prop_assert_eq!(all(&after.snapshot()), all(&store.snapshot()));
        prop_assert_eq!(after.changes(None, 99).unwrap(), store.changes(None, 99).unwrap());
        prop_assert_eq!(after.verify(None).unwrap().broken, None);
    }
}
