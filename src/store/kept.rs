//! The last good snapshots, each a file of its own: what we start from when the database is damaged.
//!
//! A file holds two lines: `{"schema": 2, "xxh3": "…"}`, and the state as JSON. It is written beside its name and renamed, so that
//! it is there whole or not at all. A store with many accounts is megabytes, so a change waits for its file at most once in
//! [`EVERY_MS`]; the changes between are in the database at once, and in a file soon after.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::state::{Fault, SCHEMA, State, readable, seal};

/// How many are kept.
const KEPT: usize = 5;
/// How often one is written at most, in milliseconds.
pub(super) const EVERY_MS: i64 = 5_000;

/// The directory of the files.
#[derive(Debug)]
pub(super) struct Kept {
    dir: PathBuf,
    /// When a change was kept last, milliseconds since 1970.
    last_ms: Option<i64>,
    /// Whether something changed since.
    owes: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Seal {
    schema: u32,
    xxh3: String,
}

impl Seal {
    fn of(schema: u32, state: &str) -> Self {
        let sum = seal("snapshot", &schema.to_le_bytes(), state.as_bytes());
        Self {
            schema,
            xxh3: format!("{sum:016x}"),
        }
    }
}

/// One of the files.
#[derive(Debug)]
pub(super) struct KeptFile {
    pub(super) revision: u64,
    pub(super) path: PathBuf,
    pub(super) state: Result<State, Fault>,
}

impl Kept {
    /// The directory as it is; it need not be there.
    pub(super) fn at(dir: PathBuf) -> Self {
        Self {
            dir,
            last_ms: None,
            owes: false,
        }
    }

    pub(super) fn in_dir(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        Ok(Self::at(dir))
    }

    /// Says that something changed at this time; whether it is time to keep it.
    pub(super) fn changed(&mut self, now_ms: i64) -> bool {
        self.owes = true;
        self.is_due(now_ms)
    }

    /// Whether something is to be kept, and the last time lies far enough behind; also when the clock was set back.
    pub(super) fn is_due(&mut self, now_ms: i64) -> bool {
        let waits = |last: i64| (last..last.saturating_add(EVERY_MS)).contains(&now_ms);
        let due = self.owes && !self.last_ms.is_some_and(waits);
        if due {
            self.last_ms = Some(now_ms);
        }
        due
    }

    /// Whether something is to be kept, sooner or later.
    pub(super) fn owes(&self) -> bool {
        self.owes
    }

    /// Keeps a state as the newest, and forgets those beyond the last five.
    pub(super) fn keep(&mut self, state: &State) -> io::Result<()> {
        let text = serde_json::to_string(state)?;
        let seal = serde_json::to_string(&Seal::of(SCHEMA, &text))?;
        let path = self.dir.join(format!("{}.json", state.revision));
        let beside = path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(format!("{seal}\n{text}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        for (_, old) in self.files()?.into_iter().skip(KEPT) {
            fs::remove_file(old)?;
        }
        self.owes = false;
        Ok(())
    }

    /// The newest state that is whole. Files that are not are renamed to `….damaged`, so that they take no good one's place; a
    /// sentence tells of each.
    pub(super) fn newest(&self) -> Result<(Option<State>, Vec<String>), Fault> {
        let mut notes = Vec::new();
        let files = self.files().map_err(|why| unusable(&self.dir, &why))?;
        for (_, path) in files {
            match read(&path) {
                Ok(state) => return Ok((Some(state), notes)),
                Err(Fault::Damaged(why)) => {
                    let aside = path.with_extension("json.damaged");
                    fs::rename(&path, &aside).map_err(|why| unusable(&path, &why))?;
                    notes.push(format!(
                        "the snapshot {} is damaged ({why}); it was put aside",
                        path.display()
                    ));
                }
                Err(other) => return Err(other),
            }
        }
        Ok((None, notes))
    }

    /// All files, newest first, each with what it holds or why it cannot be used.
    pub(super) fn all(&self) -> Result<Vec<KeptFile>, Fault> {
        let files = self.files().map_err(|why| unusable(&self.dir, &why))?;
        let all = files.into_iter().map(|(revision, path)| KeptFile {
            revision,
            state: read(&path),
            path,
        });
        Ok(all.collect())
    }

    /// The files, newest first.
    fn files(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let revision = name.and_then(|name| name.strip_suffix(".json")?.parse::<u64>().ok());
            files.extend(revision.map(|revision| (revision, path)));
        }
        files.sort_by(|(a, _), (b, _)| b.cmp(a));
        Ok(files)
    }
}

fn read(path: &Path) -> Result<State, Fault> {
    let (schema, state) = read_text(path)?;
    readable(schema)?;
    serde_json::from_str(&state).map_err(|why| Fault::Damaged(why.to_string()))
}

/// The schema and the state of a file whose seal is good, of whatever version.
pub(super) fn read_text(path: &Path) -> Result<(u32, String), Fault> {
    let damaged = |why: &str| Fault::Damaged(why.to_owned());
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(why) if why.kind() == io::ErrorKind::InvalidData => return Err(damaged("no text")),
        Err(why) => return Err(unusable(path, &why)),
    };
    let (first, rest) = text.split_once('\n').ok_or_else(|| damaged("cut off"))?;
    let state = rest.strip_suffix('\n').ok_or_else(|| damaged("cut off"))?;
    let seal: Seal = serde_json::from_str(first).map_err(|why| damaged(&why.to_string()))?;
    if seal.xxh3 != Seal::of(seal.schema, state).xxh3 {
        return Err(damaged("not what was written"));
    }
    Ok((seal.schema, state.to_owned()))
}

fn unusable(path: &Path, why: &io::Error) -> Fault {
    Fault::Unusable(format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(revision: u64) -> State {
        State {
            revision,
            head: format!("head of {revision}"),
            flags: vec![],
            openings: vec![],
            segments: vec![],
            tombstones: [("gone".parse().unwrap(), revision)].into(),
        }
    }

    fn kept() -> (tempfile::TempDir, Kept) {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::in_dir(dir.path().join("snapshots")).unwrap();
        (dir, kept)
    }

    #[test]
    fn the_last_five_are_kept_and_the_newest_is_found() {
        let (_dir, mut kept) = kept();
        assert_eq!(kept.newest().unwrap(), (None, vec![]));
        for revision in 7..=12 {
            kept.keep(&state(revision)).unwrap();
        }
        let revisions: Vec<u64> = kept.files().unwrap().into_iter().map(|(n, _)| n).collect();
        assert_eq!(revisions, [12, 11, 10, 9, 8]);
        assert_eq!(kept.newest().unwrap(), (Some(state(12)), vec![]));
    }

    #[test]
    fn the_first_change_is_kept_at_once_and_later_ones_at_most_every_few_seconds() {
        let (_dir, mut kept) = kept();
        assert!(!kept.is_due(0) && !kept.owes());
        assert!(kept.changed(10));
        kept.keep(&state(1)).unwrap();
        assert!(!kept.is_due(10 + EVERY_MS), "nothing changed");
        assert!(!kept.changed(20) && !kept.changed(30) && kept.owes());
        assert!(!kept.is_due(9 + EVERY_MS));
        assert!(kept.is_due(10 + EVERY_MS));
        kept.keep(&state(2)).unwrap();
        assert!(!kept.owes());
        assert!(kept.changed(5), "the clock was set back");
    }

    #[test]
    fn a_damaged_file_gives_way_to_the_one_before_and_is_told_of() {
        let (_dir, mut kept) = kept();
        kept.keep(&state(1)).unwrap();
        kept.keep(&state(2)).unwrap();
        let newest = kept.dir.join("2.json");
        let good = fs::read(&newest).unwrap();
        for bit in 0..good.len() * 8 {
            let mut flipped = good.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&newest, &flipped).unwrap();
            let (found, notes) = kept.newest().unwrap();
            assert_eq!((found, notes.len()), (Some(state(1)), 1), "bit {bit}");
        }
        for length in 0..good.len() {
            fs::write(&newest, &good[..length]).unwrap();
            assert_eq!(kept.newest().unwrap().0, Some(state(1)), "{length} bytes");
        }
    }

    #[test]
    fn a_file_of_a_later_version_is_refused() {
        let (_dir, kept) = kept();
        let text = r#"{"all": "new"}"#;
        let seal = serde_json::to_string(&Seal::of(SCHEMA + 1, text)).unwrap();
        fs::write(kept.dir.join("3.json"), format!("{seal}\n{text}\n")).unwrap();
        assert!(matches!(kept.newest(), Err(Fault::Newer(3))));
    }
}
