//! All that can stand survives: segments with their members, tombstones, openings for some, also from an earlier version.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::StorageBackend;
use serde_json::json;

use super::{NOW_MS, State, all, change, copied, metrics, open, queues, set, try_open, worked};
use crate::rules::change::{Change, Edit, Refused};
use crate::rules::context::Attribute;
use crate::rules::facts::Reading;
use crate::rules::flag::FlagDocument;
use crate::rules::gate::decide;
use crate::rules::message::{Properties, Raw};
use crate::rules::opening::{OpeningId, Restore};
use crate::rules::segment::MOST_MEMBERS;
use crate::rules::verdict::Verdict;
use crate::store::open::How;
use crate::store::{Store, journal, tables};

pub(super) fn create(key: &str) -> Change {
    let document = json!({"key": key, "kind": "config", "type": "integer", "value": 3});
    change(Edit::Create(Box::new(
        serde_json::from_value(document).unwrap(),
    )))
}

pub(super) fn put(name: &str, members: &[String]) -> Change {
    let document = json!({"name": name, "members": members});
    change(Edit::PutSegment(Box::new(
        serde_json::from_value(document).unwrap(),
    )))
}

pub(super) fn come(name: &str, members: &[&str]) -> Change {
    change(Edit::Members {
        segment: name.parse().unwrap(),
        add: members.iter().map(|it| (*it).to_owned()).collect(),
        remove: vec![],
    })
}

pub(super) fn accounts(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("account-{n:06}")).collect()
}

fn lay_for_some() -> Change {
    let when =
        json!([{"attribute": "id", "op": "starts_with", "values": ["bulk."]}, {"segment": "beta"}]);
    change(Edit::Open {
        values: vec![("f.a".parse().unwrap(), json!(9))],
        when: serde_json::from_value(when).unwrap(),
        ends_at_ms: NOW_MS + 60_000,
        restore: Restore::Ramp(crate::rules::units::Span::from_secs(60)),
        until: None,
    })
}

/// A store with seven changes that leave something in every table, and the states that it went through.
pub(super) fn lived(dir: &Path) -> Vec<State> {
    let store = open(dir);
    let mut states = vec![all(&store.snapshot())];
    for change in [
        create("f.a"),
        put("beta", &accounts(300)),
        come("beta", &["one-more"]),
        lay_for_some(),
        change(Edit::Ramp(OpeningId(4), 0.5)),
        create("f.b"),
        change(Edit::Delete("f.b".parse().unwrap())),
    ] {
        states.push(all(&store.turn(&change).unwrap()));
    }
    states
}

#[test]
fn segments_tombstones_and_openings_for_some_stand_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let states = lived(dir.path());
    let store = open(dir.path());
    let snapshot = store.snapshot();
    assert_eq!(Some(&all(&snapshot)), states.last());
    let beta = snapshot.segments().get("beta").unwrap();
    assert_eq!((beta.members.len(), beta.revision()), (301, 3));
    assert!(beta.members.contains(&Attribute::of("one-more")));
    let opening = snapshot.opening(OpeningId(4)).unwrap();
    assert_eq!((opening.when.len(), opening.strength), (2, 0.5));
    let context = |account: &str| {
        let given = [("id", "bulk.7"), ("account", account)];
        snapshot.context(given.map(|(name, text)| (name, Attribute::of(text))))
    };
    let says = |account: &str| {
        let handle = snapshot.handle("f.a").unwrap();
        let chosen = snapshot.ask(handle, context(account).as_slice()).unwrap();
        chosen.value.to_json()
    };
    assert_eq!((says("one-more"), says("other")), (json!(6), json!(3)));
    let refused = store.turn(&create("f.b")).unwrap_err();
    assert!(
        matches!(refused, Refused::Tombstone { revision: 7, .. }),
        "{refused}"
    );
    for edit in [
        change(Edit::Close(OpeningId(4))),
        change(Edit::DeleteSegment("beta".parse().unwrap())),
    ] {
        store.turn(&edit).unwrap();
    }
    let after = open(copied(dir.path()).path());
    assert_eq!(all(&after.snapshot()), all(&store.snapshot()));
    assert!(after.snapshot().segments().is_empty());
}

#[test]
fn a_member_who_comes_or_leaves_is_obeyed_at_once_by_gates_and_services_alike() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let segment = json!({"name": "beta", "by": "id", "members": ["m-1"]});
    let segment = Box::new(serde_json::from_value(segment).unwrap());
    store.turn(&change(Edit::PutSegment(segment))).unwrap();
    let snapshot = store.snapshot();
    let valve = snapshot.flag("queue.orders.degrade").unwrap().document();
    let rules = json!([{"name": "beta", "when": [{"segment": "beta"}], "value": "reject"}]);
    let document = FlagDocument {
        rules: serde_json::from_value(rules).unwrap(),
        ..valve.clone()
    };
    let valve = change(Edit::Replace(Box::new(document)));
    store.turn(&valve).unwrap();
    let check = |id: &str, sheds: bool| {
        let snapshot = store.snapshot();
        let gate = snapshot.gate("orders").unwrap();
        let raw = Raw {
            properties: Properties {
                message_id: Some(id.to_owned()),
                ..Properties::default()
            },
            ..Raw::default()
        };
        let facts = Reading::default().read(&raw, &gate.asks).unwrap();
        let shed = matches!(decide(gate, &facts, NOW_MS), Verdict::Shed { .. });
        let context = snapshot.context([("id", Attribute::of(id))]);
        let handle = snapshot.handle("queue.orders.degrade").unwrap();
        let said = snapshot.ask(handle, context.as_slice()).unwrap();
        let rejected = said.value.to_json() == json!("reject");
        assert_eq!((shed, rejected), (sheds, sheds), "{id}");
    };
    check("m-1", true);
    check("m-2", false);
    let before = store.snapshot();
    let swap = Edit::Members {
        segment: "beta".parse().unwrap(),
        add: vec!["m-2".to_owned()],
        remove: vec!["m-1".to_owned()],
    };
    let after = store.turn(&change(swap)).unwrap();
    check("m-1", false);
    check("m-2", true);
    assert!(after.shares_flags(&before));
    let gates = [before, after].map(|it| Arc::clone(it.gate("orders").unwrap()));
    assert!(Arc::ptr_eq(&gates[0].asks, &gates[1].asks));
    assert_eq!(gates.map(|gate| gate.revision), [2, 3]);
}

/// A disk that counts what is written.
#[derive(Debug)]
struct Counting(redb::backends::FileBackend, Arc<AtomicU64>);

impl StorageBackend for Counting {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.1.fetch_add(data.len() as u64, Ordering::SeqCst);
        self.0.write(offset, data)
    }
    fn close(&self) -> Result<(), std::io::Error> {
        self.0.close()
    }
}

fn on_a_disk_that_counts(dir: &Path) -> (Store, Arc<AtomicU64>) {
    let written = Arc::new(AtomicU64::new(0));
    let opener = || -> journal::Opener {
        let written = Arc::clone(&written);
        Box::new(move |path| {
            let mut how = fs::OpenOptions::new();
            let how = how.read(true).write(true).create(true).truncate(false);
            let file = redb::backends::FileBackend::new(how.open(path)?)?;
            redb::Builder::new().create_with_backend(Counting(file, Arc::clone(&written)))
        })
    };
    let how = How {
        data_dir: dir,
        queues: queues(&["orders"]),
        seed: Default::default(),
        now_ms: NOW_MS,
        opener,
    };
    (how.open(metrics()).unwrap().store, written)
}

#[test]
fn a_change_of_one_account_of_a_hundred_thousand_writes_little_and_stands() {
    let dir = tempfile::tempdir().unwrap();
    let (store, written) = on_a_disk_that_counts(dir.path());
    store
        .turn(&put("beta", &accounts(MOST_MEMBERS - 9)))
        .unwrap();
    let whole = written.swap(0, Ordering::SeqCst);
    for n in 0..9 {
        store.turn(&come("beta", &[&format!("new-{n}")])).unwrap();
    }
    let each = written.load(Ordering::SeqCst) / 9;
    assert!(each < whole / 20, "{each} bytes of {whole}");
    let after = open(copied(dir.path()).path());
    let (now, then) = (store.snapshot(), after.snapshot());
    assert_eq!(all(&then), all(&now));
    let beta = then.segments().get("beta").unwrap();
    assert_eq!(beta.members.len(), MOST_MEMBERS);
    drop(store);
    open(dir.path());
    assert!(dir.path().join("snapshots/10.json").is_file());
}

#[test]
fn a_store_of_the_version_before_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let states = worked(dir.path());
    fs::remove_dir_all(dir.path().join("snapshots")).unwrap();
    tables::as_of_schema_1(&dir.path().join("store.redb"));
    let store = open(dir.path());
    assert_eq!(Some(&all(&store.snapshot())), states.last());
    let of_skip = store.history("queue.orders.skip", None, 9).unwrap();
    let revisions: Vec<u64> = of_skip.iter().map(|record| record.revision).collect();
    assert_eq!(revisions, [4, 1]);
    let chain = store.verify(None).unwrap();
    assert_eq!(
        (chain.begins_after, chain.whole, chain.broken),
        (0, 4, None)
    );
    store.turn(&put("beta", &accounts(3))).unwrap();
    assert_eq!(
        all(&open(copied(dir.path()).path()).snapshot()),
        all(&store.snapshot())
    );
}

#[test]
fn a_snapshot_of_the_version_before_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let state = r#"{"revision":2,"head":"ab","flags":[{"key":"queue.orders.skip","kind":"ops","type":"ratio","value":0.1,"min":0.0,"max":1.0,"description":"Share of messages dropped under overload","revision":1}],"openings":[{"id":"o2","values":[["queue.orders.max_age","30s"]],"owner":"ana","reason":"INC-481","opened_at_ms":1800000000000,"ends_at_ms":1800000060000,"restore":"snap"}]}"#;
    let sum = crate::store::state::seal("snapshot", &1u32.to_le_bytes(), state.as_bytes());
    let snapshots = dir.path().join("snapshots");
    fs::create_dir(&snapshots).unwrap();
    let file = format!("{{\"schema\":1,\"xxh3\":\"{sum:016x}\"}}\n{state}\n");
    fs::write(snapshots.join("2.json"), file).unwrap();
    let opened = try_open(dir.path()).unwrap();
    assert!(opened.notes[0].contains("revision 2"), "{:?}", opened.notes);
    let says = |flag| opened.store.snapshot().value(flag).unwrap().0.to_json();
    assert_eq!(says("queue.orders.skip"), json!(0.1));
    assert_eq!(says("queue.orders.max_age"), json!("30s"));
    opened
        .store
        .turn(&set("queue.orders.skip", json!(0.2)))
        .unwrap();
    let chain = opened.store.verify(None).unwrap();
    assert_eq!(
        (chain.begins_after, chain.whole, chain.broken),
        (2, 1, None)
    );
}
