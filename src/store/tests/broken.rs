//! What a damaged, cut off or missing database leads to.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::whole::lived;
use super::{State, all, copied, open, set, try_open};
use crate::store::OpenError;

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
    let states = lived(dir.path());
    let size = fs::metadata(dir.path().join("store.redb")).unwrap().len();
    let ends = (0..30).map(|n| size * n / 30).chain([1, 63, 320, size - 1]);
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
    let states = lived(dir.path());
    let bytes = fs::read(dir.path().join("store.redb")).unwrap();
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    for n in 0..100 {
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
    let states = lived(dir.path());
    fs::remove_file(dir.path().join("store.redb")).unwrap();
    let opened = try_open(dir.path()).unwrap();
    assert!(
        opened.notes[0].contains("started from the snapshot of revision 7"),
        "{:?}",
        opened.notes
    );
    assert_eq!(Some(&all(&opened.store.snapshot())), states.last());
    drop(opened);
    open(dir.path());
}
