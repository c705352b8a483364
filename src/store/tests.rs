//! Tests of the store as a whole: what survives, what is refused, and what is said when something is broken.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use redb::StorageBackend;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::open::How;
use super::*;
use crate::rules::change::{Actor, Cause, Edit};
use crate::rules::flag::FlagDocument;
use crate::rules::opening::{OpeningId, Restore};
use crate::rules::snapshot::GatedQueue;
use state::{SCHEMA, State};

const NOW_MS: i64 = 1_800_000_000_000;

fn queues(names: &[&str]) -> Vec<GatedQueue> {
    let queue = |name: &&str| GatedQueue {
        name: name.parse().unwrap(),
        modes: vec!["light".to_owned()],
    };
    names.iter().map(queue).collect()
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new(&[]).unwrap())
}

fn try_open(dir: &Path) -> Result<Opened, OpenError> {
    Store::open(dir, queues(&["orders"]), vec![], NOW_MS, metrics())
}

/// Opens what must be fine.
fn open(dir: &Path) -> Store {
    let opened = try_open(dir).unwrap();
    assert_eq!(opened.notes, Vec::<String>::new());
    opened.store
}

fn change(edit: Edit) -> Change {
    Change {
        edit,
        by: Actor {
            name: "ana".into(),
            via: "cli".into(),
        },
        reason: "INC-481".into(),
        cause: Cause::Operator,
        seen: None,
        confirm: None,
        at_ms: NOW_MS,
    }
}

fn set(flag: &str, value: Json) -> Change {
    change(Edit::Set(flag.parse().unwrap(), value))
}

fn lay(flag: &str, value: Json) -> Change {
    change(Edit::Open {
        values: vec![(flag.parse().unwrap(), value)],
        ends_at_ms: NOW_MS + 60_000,
        restore: Restore::Snap,
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
        Snapshot::of(queues(&["orders"]), 0, vec![], vec![]),
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
    let seed = || -> Vec<FlagDocument> {
        serde_json::from_value(json!([
            {"key": "demo.rate", "kind": "config", "type": "rate", "value": "50/s", "owner": "ops"},
            {"key": "queue.orders.skip", "kind": "ops", "type": "ratio", "value": 0.7},
        ]))
        .unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    let opened = |seed| Store::open(dir.path(), queues(&["orders"]), seed, NOW_MS, metrics());
    let store = opened(seed()).unwrap().store;
    let says = |store: &Store, flag: &str| store.snapshot().value(flag).unwrap().0.to_json();
    assert_eq!(says(&store, "demo.rate"), json!("50/s"));
    assert_eq!(says(&store, "queue.orders.skip"), json!(0.7));
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
        vec![bad.unwrap()],
        NOW_MS,
        metrics(),
    );
    let sentence = refused.unwrap_err().to_string();
    assert!(
        sentence.starts_with("the flag `queue.gone.skip` of the file cannot be made"),
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
        let opened = Store::open(dir.path(), queues, vec![], NOW_MS, metrics()).unwrap();
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
    assert!(
        sentence.contains("written by a later version (schema 2, this one knows 1)"),
        "{sentence}"
    );
}

/// What a broken database may lead to: with snapshots beside it always the last state; without, the last or an earlier one, or
/// a refusal; never anything else.
fn check_broken(dir: &Path, states: &[State], what: &str) {
    let last = states.last().unwrap();
    let opened = try_open(dir).unwrap_or_else(|why| panic!("{what}: {why}"));
    assert_eq!(&all(&opened.store.snapshot()), last, "{what}");
    if !opened.notes.is_empty() {
        let aside = fs::read_dir(dir).unwrap().any(|entry| {
            let name = entry.unwrap().file_name();
            name.to_string_lossy().contains("damaged")
        });
        assert!(aside, "{what}: the broken one is kept");
        opened
            .store
            .turn(&set("queue.orders.skip", json!(0.05)))
            .unwrap();
    }
}

fn check_broken_alone(dir: &Path, states: &[State], what: &str) {
    fs::remove_dir_all(dir.join("snapshots")).unwrap();
    match try_open(dir) {
        Ok(opened) => {
            let state = all(&opened.store.snapshot());
            assert!(states.contains(&state), "{what}: {state:?}");
        }
        Err(OpenError::Damaged { .. }) => {}
        Err(other) => panic!("{what}: {other}"),
    }
}

fn broken(breaks: impl Fn(&mut Vec<u8>), dir: &Path, states: &[State], what: &str) {
    for check in [check_broken, check_broken_alone] {
        let copy = copied(dir);
        let database = copy.path().join("store.redb");
        let mut bytes = fs::read(&database).unwrap();
        breaks(&mut bytes);
        fs::write(&database, bytes).unwrap();
        check(copy.path(), states, what);
    }
}

#[test]
fn a_database_that_was_cut_off_anywhere_gives_way_to_the_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let states = worked(dir.path());
    let size = fs::metadata(dir.path().join("store.redb")).unwrap().len();
    let ends = (0..40).map(|n| size * n / 40).chain([1, 63, 320, size - 1]);
    for end in ends {
        let end = usize::try_from(end).unwrap();
        broken(
            |bytes| bytes.truncate(end),
            dir.path(),
            &states,
            &format!("cut at {end}"),
        );
    }
}

#[test]
fn flipped_bits_are_never_obeyed() {
    let dir = tempfile::tempdir().unwrap();
    let states = worked(dir.path());
    let bytes = fs::read(dir.path().join("store.redb")).unwrap();
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    for n in 0..150 {
        let at = used[(n * 7_919) % used.len()];
        let flip = |bytes: &mut Vec<u8>| bytes[at] ^= 1 << (n % 8);
        broken(
            flip,
            dir.path(),
            &states,
            &format!("bit {} of byte {at}", n % 8),
        );
    }
}

#[test]
fn without_its_database_a_store_starts_from_the_snapshot_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let states = worked(dir.path());
    fs::remove_file(dir.path().join("store.redb")).unwrap();
    let opened = try_open(dir.path()).unwrap();
    assert!(
        opened.notes[0].contains("started from the snapshot of revision 4"),
        "{:?}",
        opened.notes
    );
    assert_eq!(Some(&all(&opened.store.snapshot())), states.last());
    drop(opened);
    open(dir.path());
}

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
        seed: vec![],
        now_ms: NOW_MS,
        opener,
    };
    let store = how.open(metrics()).unwrap().store;
    (store, full)
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
    }
    full.store(false, Ordering::SeqCst);
    assert_eq!(store.changes(None, 9).unwrap().len(), 1);
    let live = store.turn(&set("queue.orders.rate", json!("5/s"))).unwrap();
    assert_eq!(store.changes(None, 9).unwrap().len(), 2);
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
    store
        .turn(&set("queue.orders.skip", json!(0.1)))
        .unwrap_err();
    assert!(store.owes());
    full.store(false, Ordering::SeqCst);
    store.write_owed().unwrap();
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

#[test]
fn metrics_tell_what_flags_say_and_what_changed() {
    let metrics = metrics();
    let start = Snapshot::of(queues(&["orders"]), 0, vec![], vec![]);
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
            ends_at_ms: NOW_MS + minutes * 60_000,
            restore: Restore::Snap,
        }),
        (1u64..20).prop_map(|id| Edit::Close(OpeningId(id))),
        (1u64..4).prop_map(move |n| Edit::Create(document(n, String::new()))),
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
                ..valve.document().clone()
            }))
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_was_accepted_stands_after_a_restart(edits in prop::collection::vec(any_edit(), 1..20)) {
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
    }
}

#[test]
fn zz_measure() {
    let names: Vec<String> = (0..83).map(|n| format!("queue-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let dir = tempfile::tempdir().unwrap();
    let disk = Store::open(dir.path(), queues(&names), vec![], NOW_MS, metrics())
        .unwrap()
        .store;
    let memory = Store::in_memory(Snapshot::of(queues(&names), 0, vec![], vec![]), metrics());
    for (what, store) in [("disk", disk), ("memory", memory)] {
        let from = std::time::Instant::now();
        for n in 0..40 {
            store
                .turn(&set(&format!("queue.queue-{n}.skip"), json!(0.1)))
                .unwrap();
        }
        println!("{what}: {:?} each", from.elapsed() / 40);
        for n in 0..40 {
            store
                .turn(&lay(&format!("queue.queue-{n}.skip"), json!(0.1)))
                .unwrap();
        }
        let from = std::time::Instant::now();
        for n in 0..40 {
            store
                .turn(&set(&format!("queue.queue-{n}.skip"), json!(0.11)))
                .unwrap();
        }
        println!("{what} with 40 openings: {:?} each", from.elapsed() / 40);
    }
    let mut top = crate::rules::top::Top::new(256, std::time::Duration::from_secs(60));
    let keys: Vec<String> = (0..2000).map(|n| format!("account-{n}")).collect();
    let from = std::time::Instant::now();
    for n in 0..1_000_000usize {
        let key = &keys[(n * 7919) % if n % 2 == 0 { 200 } else { 2000 }];
        top.offer(
            std::time::Duration::from_micros(n as u64),
            crate::rules::lots::KeyHash::of(key.as_bytes()),
            key,
            1.0,
        );
    }
    println!("offer {:?}", from.elapsed() / 1_000_000);
}
