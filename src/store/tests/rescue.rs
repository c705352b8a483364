//! What can be done while the daemon is down.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::whole::{accounts, come, create, lived, put};
use super::{NOW_MS, State, all, change, lay, open, set, try_open};
use crate::rules::change::{Actor, Edit, Refused};
use crate::rules::opening::OpeningId;
use crate::rules::record::EditKind;
use crate::store::rescue::{self, RescueError};
use crate::store::state::SCHEMA;
use crate::store::{OpenError, tables};

fn restore(dir: &Path, revision: u64) -> Result<rescue::Restored, RescueError> {
    let ana = Actor::new("ana", "offline");
    rescue::restore(dir, revision, &ana, "INC-481", NOW_MS)
}

/// Opens the store for each of these, so that each leaves a snapshot beside it.
fn kept_each(dir: &Path, changes: &[crate::rules::change::Change]) -> Vec<State> {
    let kept = changes.iter().map(|change| {
        let store = open(dir);
        all(&store.turn(change).unwrap())
    });
    kept.collect()
}

#[test]
fn the_last_five_snapshots_are_listed_with_what_they_hold() {
    let dir = tempfile::tempdir().unwrap();
    let why = rescue::snapshots(dir.path()).unwrap_err();
    assert!(why.to_string().contains("no store lies in"), "{why}");
    let changes = [
        create("f.a"),
        put("beta", &accounts(3)),
        lay("f.a", json!(9)),
        come("beta", &["x"]),
        set("f.a", json!(1)),
        set("f.a", json!(2)),
    ];
    kept_each(dir.path(), &changes);
    fs::write(dir.path().join("snapshots/4.json"), "not what was written").unwrap();
    let store = open(dir.path()); // also while a daemon has it
    let found = rescue::snapshots(dir.path()).unwrap();
    drop(store);
    let says: Vec<_> = found
        .iter()
        .map(|it| {
            (
                it.revision,
                it.flags,
                it.segments,
                it.openings,
                it.damaged.is_some(),
            )
        })
        .collect();
    assert_eq!(
        says,
        [
            (6, 1, 1, 1, false),
            (5, 1, 1, 1, false),
            (4, 0, 0, 0, true),
            (3, 1, 1, 1, false),
            (2, 1, 1, 0, false),
        ]
    );
    assert!(
        found
            .iter()
            .all(|it| it.written_at_ms.is_some() && it.bytes > 0)
    );
    let why = restore(dir.path(), 4).unwrap_err().to_string();
    assert!(why.contains("there are 6, 5, 3, 2"), "{why}");
    let why = restore(dir.path(), 1).unwrap_err().to_string();
    assert!(why.contains("none has this number"), "{why}");
}

#[test]
fn going_back_is_a_change_of_its_own_and_the_chain_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let states = kept_each(
        dir.path(),
        &[
            create("f.a"),
            put("beta", &accounts(300)),
            lay("f.a", json!(9)),
            change(Edit::Close(OpeningId(3))),
            create("f.b"),
        ],
    );
    let store = open(dir.path());
    for change in [
        come("beta", &["x"]),
        set("f.a", json!(4)),
        set("queue.orders.skip", json!(0.1)),
        lay("queue.orders.skip", json!(0.2)),
    ] {
        store.turn(&change).unwrap();
    }
    let busy = restore(dir.path(), 3).unwrap_err();
    assert!(
        matches!(busy, RescueError::Open(OpenError::Busy(_))),
        "{busy}"
    );
    drop(store);

    let restored = restore(dir.path(), 3).unwrap();
    assert_eq!((restored.revision, restored.from), (10, 3));
    let flags: Vec<&str> = restored.flags.iter().map(|key| key.as_str()).collect();
    assert_eq!(flags, ["f.a", "f.b", "queue.orders.skip"]);
    assert_eq!(restored.closed, [OpeningId(9)]);
    assert_eq!(restored.reopened, [OpeningId(3)]);
    let store = open(dir.path());
    let snapshot = store.snapshot();
    let mut then = states[2].clone();
    let now = all(&snapshot);
    assert_eq!(then.openings, now.openings);
    assert_eq!(then.segments[0].members, now.segments[0].members);
    then.flags[0].revision = 10;
    assert_eq!(then.flags, now.flags);
    assert_eq!(snapshot.flag("queue.orders.skip").unwrap().revision(), 0);
    let refused = store.turn(&create("f.b")).unwrap_err();
    assert!(
        matches!(refused, Refused::Tombstone { revision: 10, .. }),
        "{refused}"
    );

    let record = &store.changes(None, 1).unwrap()[0];
    assert_eq!(
        (record.edit, record.by.via.as_str()),
        (EditKind::Rescue, "offline")
    );
    assert_eq!(record.segments[0].removed, ["x"]);
    let former = store.former(&"f.a".parse().unwrap(), 10).unwrap().unwrap();
    assert_eq!(former.value, json!(4));
    let chain = store.verify(None).unwrap();
    assert_eq!((chain.whole, chain.broken), (10, None));
    drop(store);
    assert_eq!(restore(dir.path(), 10).unwrap().flags, []);
    let why = rescue::restore(dir.path(), 10, &Actor::default(), " ", NOW_MS);
    assert!(matches!(why, Err(RescueError::NoReason)), "{why:?}");
}

#[test]
fn an_opening_whose_time_is_over_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    kept_each(
        dir.path(),
        &[
            lay("queue.orders.skip", json!(0.2)),
            change(Edit::Close(OpeningId(1))),
        ],
    );
    let ana = Actor::new("ana", "offline");
    let later = NOW_MS + 3_600_000;
    let restored = rescue::restore(dir.path(), 1, &ana, "INC-481", later).unwrap();
    assert_eq!((restored.flags, restored.reopened), (vec![], vec![]));
    assert_eq!(open(dir.path()).snapshot().openings().count(), 0);
}

#[test]
fn a_store_is_taken_out_as_json_also_a_damaged_one_and_one_of_a_later_version() {
    let dir = tempfile::tempdir().unwrap();
    let states = lived(dir.path());
    let check = |notes: usize| {
        let export = rescue::export(dir.path()).unwrap();
        assert_eq!(export.notes.len(), notes, "{:?}", export.notes);
        let json = serde_json::to_value(&export).unwrap();
        assert_eq!(json["schema"], json!(SCHEMA));
        assert_eq!(json["flags"][0]["key"], json!("f.a"));
        assert_eq!(
            json["segments"][0]["members"].as_array().unwrap().len(),
            301
        );
        assert_eq!(json["tombstones"], json!({"f.b": 7}));
        let mut state: State = serde_json::from_value(export.state).unwrap();
        state.head.clear();
        assert_eq!(Some(&state), states.last());
    };
    check(0);
    let path = dir.path().join("store.redb");
    let good = fs::read(&path).unwrap();
    fs::write(&path, b"not a database").unwrap();
    check(1);
    fs::write(&path, good).unwrap();
    tables::written_by(&path, SCHEMA + 1);
    assert!(matches!(try_open(dir.path()), Err(OpenError::Newer { .. })));
    check(1);
    let store_in_use = tempfile::tempdir().unwrap();
    let _store = open(store_in_use.path());
    let busy = rescue::export(store_in_use.path());
    assert!(
        matches!(busy, Err(RescueError::Open(OpenError::Busy(_)))),
        "{busy:?}"
    );
}
