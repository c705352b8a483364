//! The last good snapshots, each a file of its own: what we start from when the database is damaged.
//!
//! A file holds two lines: `{"schema": 1, "xxh3": "…"}`, and the state as JSON. It is written beside its name and renamed, so that
//! it is there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::state::{Fault, SCHEMA, State, readable, seal};

/// How many are kept.
const KEPT: usize = 5;

/// The directory of the files.
#[derive(Debug)]
pub(super) struct Kept {
    dir: PathBuf,
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

impl Kept {
    pub(super) fn in_dir(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// Keeps a state as the newest, and forgets those beyond the last five.
    pub(super) fn keep(&self, state: &State) -> io::Result<()> {
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
    readable(seal.schema)?;
    serde_json::from_str(state).map_err(|why| damaged(&why.to_string()))
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
        }
    }

    fn kept() -> (tempfile::TempDir, Kept) {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::in_dir(dir.path().join("snapshots")).unwrap();
        (dir, kept)
    }

    #[test]
    fn the_last_five_are_kept_and_the_newest_is_found() {
        let (_dir, kept) = kept();
        assert_eq!(kept.newest().unwrap(), (None, vec![]));
        for revision in 7..=12 {
            kept.keep(&state(revision)).unwrap();
        }
        let revisions: Vec<u64> = kept.files().unwrap().into_iter().map(|(n, _)| n).collect();
        assert_eq!(revisions, [12, 11, 10, 9, 8]);
        assert_eq!(kept.newest().unwrap(), (Some(state(12)), vec![]));
    }

    #[test]
    fn a_damaged_file_gives_way_to_the_one_before_and_is_told_of() {
        let (_dir, kept) = kept();
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
        assert!(matches!(kept.newest(), Err(Fault::Newer(2))));
    }
}
