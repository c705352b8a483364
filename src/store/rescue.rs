//! What can be done with a store while the daemon is down: look at the snapshots beside it, go back to one of them, take all out as
//! JSON, and walk the log.
//!
//! Each function is plain and waits for the disk. All but [`snapshots`] need the store for themselves: while a daemon has it open
//! they give [`RescueError::Open`] with [`OpenError::Busy`], and what they do is asked of that daemon instead
//! ([`Store::verify`](super::Store::verify) for one).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde::Serialize;
use serde_json::Value as Json;
use thiserror::Error;

use super::journal::{Journal, plain_file};
use super::kept::{Kept, KeptFile, read_text};
use super::open::{DATABASE, How, OpenError, SNAPSHOTS, Seed, lock, refusal};
use super::restore::{Differs, back_to};
use super::state::{Fault, SCHEMA, State};
use super::verify::{Chain, Noted, walk};
use crate::rules::change::{Actor, Cause};
use crate::rules::names::FlagKey;
use crate::rules::opening::OpeningId;
use crate::rules::record::{ChangeRecord, EditKind};
use crate::rules::segment::SegmentName;
use crate::rules::snapshot::Snapshot;

/// Why a store could not be rescued; then nothing was changed.
#[derive(Debug, Error)]
pub enum RescueError {
    /// There is none.
    #[error("no store lies in {}; name the data_dir of the daemon's file", .0.display())]
    NoStore(PathBuf),
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No such snapshot, or not a good one.
    #[error(
        "there is no good snapshot of revision {revision} ({why}); there are {}",
        list(good)
    )]
    NoSnapshot {
        /// the revision
        revision: u64,
        /// what was found
        why: String,
        /// the revisions of the good ones, newest first
        good: Vec<u64>,
    },
    /// Nobody said why.
    #[error("a reason is missing; say why, such as --reason \"INC-481\"")]
    NoReason,
}

fn list(revisions: &[u64]) -> String {
    match revisions {
        [] => "none".to_owned(),
        all => all
            .iter()
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// A snapshot that lies beside the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptSnapshot {
    /// What stood at this revision.
    pub revision: u64,
    /// When it was written, milliseconds since 1970; `None`: the system does not say.
    pub written_at_ms: Option<i64>,
    /// Its size.
    pub bytes: u64,
    /// How many flags it holds; valves that nobody ever touched do not count.
    pub flags: usize,
    /// How many segments.
    pub segments: usize,
    /// How many openings.
    pub openings: usize,
    /// Why it cannot be used; `None`: it is good.
    pub damaged: Option<String>,
}

/// What going back did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The revision of the change that it is.
    pub revision: u64,
    /// The revision of the snapshot.
    pub from: u64,
    /// The flags that are other than they were, or have other openings over them.
    pub flags: Vec<FlagKey>,
    /// The segments that are other than they were.
    pub segments: Vec<SegmentName>,
    /// The openings that no longer are.
    pub closed: Vec<OpeningId>,
    /// The openings that are again, those whose time is over left out.
    pub reopened: Vec<OpeningId>,
    /// What else the operator must read.
    pub notes: Vec<String>,
}

/// A store as JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Export {
    /// The version of the store's format.
    pub schema: u32,
    /// What stands: `revision`, `head` (the hash of the newest change), `flags`, `segments` and `openings` as documents, and
    /// `tombstones`: keys of deleted flags by the revision that deleted them.
    #[serde(flatten)]
    pub state: Json,
    /// What the operator must read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The snapshots beside the store, newest first; at most five are kept. Also while a daemon has it open.
///
/// # Errors
/// When there is no store, or it cannot be read.
pub fn snapshots(data_dir: &Path) -> Result<Vec<KeptSnapshot>, RescueError> {
    Ok(kept(data_dir)?.into_iter().map(told).collect())
}

fn kept(data_dir: &Path) -> Result<Vec<KeptFile>, RescueError> {
    let dir = data_dir.join(SNAPSHOTS);
    if !dir.is_dir() && !data_dir.join(DATABASE).is_file() {
        return Err(RescueError::NoStore(data_dir.to_owned()));
    }
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let all = Kept::at(dir).all();
    Ok(all.map_err(|why| refusal(data_dir, why))?)
}

fn told(file: KeptFile) -> KeptSnapshot {
    let facts = fs::metadata(&file.path).ok();
    let written = facts.as_ref().and_then(|facts| facts.modified().ok());
    let written = written.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let state = file.state.as_ref().ok();
    KeptSnapshot {
        revision: file.revision,
        written_at_ms: written.and_then(|since| i64::try_from(since.as_millis()).ok()),
        bytes: facts.map_or(0, |facts| facts.len()),
        flags: state.map_or(0, |state| state.flags.len()),
        segments: state.map_or(0, |state| state.segments.len()),
        openings: state.map_or(0, |state| state.openings.len()),
        damaged: file.state.err().map(|why| why.to_string()),
    }
}

/// Walks the whole log of a store that no daemon has open, also one whose flags are damaged.
///
/// # Errors
/// When there is none, or it cannot be read at all. A log that is not what was written is no error: see [`Chain::broken`].
pub fn verify(data_dir: &Path, noted: Option<&Noted>) -> Result<Chain, RescueError> {
    let path = data_dir.join(DATABASE);
    if !path.is_file() {
        return Err(RescueError::NoStore(data_dir.to_owned()));
    }
    let _lock = lock(data_dir)?;
    let read = Journal::raw_at(&path, &plain_file()).map_err(|why| refusal(data_dir, why))?;
    Ok(walk(read, noted).map_err(|why| refusal(data_dir, why))?)
}

/// A store as JSON. Of a damaged one, and of one that a later version wrote, the newest good snapshot beside it.
///
/// # Errors
/// When there is none, it cannot be read, or nothing of it is whole.
pub fn export(data_dir: &Path) -> Result<Export, RescueError> {
    let beside = kept(data_dir)?;
    let _lock = lock(data_dir)?;
    let path = data_dir.join(DATABASE);
    let read = if path.is_file() {
        Journal::state_at(&path, &plain_file())
    } else {
        Err(Fault::Damaged("it is missing".to_owned()))
    };
    let why = match read {
        Ok(state) => {
            let state = serde_json::to_value(state);
            let state = state.map_err(|why| refusal(data_dir, Fault::Unusable(why.to_string())))?;
            return Ok(Export {
                schema: SCHEMA,
                state,
                notes: Vec::new(),
            });
        }
        Err(why @ Fault::Unusable(_)) => return Err(refusal(data_dir, why).into()),
        Err(why) => why,
    };
    let newest = beside.iter().find_map(|file| {
        let (schema, text) = read_text(&file.path).ok()?;
        Some((file.revision, schema, serde_json::from_str(&text).ok()?))
    });
    let Some((revision, schema, state)) = newest else {
        return Err(refusal(data_dir, why).into());
    };
    let note = format!(
        "the store itself could not be used ({why}); this is the newest snapshot beside it, of revision {revision}"
    );
    Ok(Export {
        schema,
        state,
        notes: vec![note],
    })
}

/// Goes back to what stood at the revision of a kept snapshot: flags, segments, and the openings that still have time. That is a
/// change of its own in the log. Flags made since are deleted, but for valves, which go back to neutral; what did not change keeps
/// its revision. `now_ms`: milliseconds since 1970.
///
/// # Errors
/// See [`RescueError`]; then nothing was changed.
pub fn restore(
    data_dir: &Path,
    revision: u64,
    by: &Actor,
    reason: &str,
    now_ms: i64,
) -> Result<Restored, RescueError> {
    if reason.trim().is_empty() {
        return Err(RescueError::NoReason);
    }
    let state = good_one(data_dir, revision)?;
    let how = How {
        data_dir,
        queues: Vec::new(),
        seed: Seed::default(),
        now_ms,
        opener: plain_file,
    };
    let (mut history, live, notes) = how.open_history()?;
    let broken = |why: Fault| RescueError::from(refusal(data_dir, why));
    let back = back_to(&live, state, now_ms).map_err(broken)?;
    let next = Arc::new(Snapshot::of(Vec::new(), back));
    let differs = Differs::between(&live, &next);
    let record = ChangeRecord {
        revision: next.revision(),
        at_ms: now_ms,
        by: by.clone(),
        cause: Cause::Operator,
        reason: reason.to_owned(),
        edit: EditKind::Rescue,
        opening: None,
        touched: differs.touched(&live, &next),
        segments: differs.touched_segments(&live, &next),
        resolved: None,
        prev: history.hash().to_owned(),
    };
    history.append(&next, &record).map_err(broken)?;
    history.keep_now(&next);
    Ok(Restored {
        revision: next.revision(),
        from: revision,
        flags: differs.flags.into_iter().collect(),
        segments: differs.segments.into_iter().collect(),
        closed: differs.closed,
        reopened: differs.reopened,
        notes,
    })
}

fn good_one(data_dir: &Path, revision: u64) -> Result<State, RescueError> {
    let mut files = kept(data_dir)?;
    let good = files.iter().filter(|file| file.state.is_ok());
    let good = good.map(|file| file.revision).collect();
    let place = files.iter().position(|file| file.revision == revision);
    let missing = |why: String| RescueError::NoSnapshot {
        revision,
        why,
        good,
    };
    match place {
        None => Err(missing("none has this number".to_owned())),
        Some(place) => files
            .swap_remove(place)
            .state
            .map_err(|why| missing(why.to_string())),
    }
}
