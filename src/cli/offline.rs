//! What is asked of the store of a daemon that does not run; `app` carries it out. Imports no room.

use std::path::PathBuf;

use super::grammar::{ChangesArgs, ChangesVerb, DataDir, Notation, StoreVerb};

/// A command about a store on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offline {
    /// The daemon's data directory.
    pub data_dir: PathBuf,
    /// Whether the answer is wanted as JSON.
    pub json: bool,
    /// What is asked.
    pub task: OfflineTask,
}

/// What is asked of a store on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfflineTask {
    /// Which good snapshots are there?
    Snapshots,
    /// Go back to one.
    Restore {
        /// its revision
        revision: u64,
        /// why
        reason: Option<String>,
        /// whether nothing is to be changed
        dry_run: bool,
    },
    /// All flags and segments, as a file for `flag apply`.
    Export {
        /// as TOML, else as JSON
        toml: bool,
    },
    /// Is every change there and unaltered?
    Verify,
}

impl Offline {
    /// What `store` asks.
    pub(super) fn of(verb: StoreVerb, json: bool) -> Self {
        let (DataDir { data_dir }, task) = match verb {
            StoreVerb::Snapshots { place } => (place, OfflineTask::Snapshots),
            StoreVerb::Restore {
                revision,
                place,
                terms,
            } => {
                let task = OfflineTask::Restore {
                    revision,
                    reason: terms.reason,
                    dry_run: terms.dry_run,
                };
                (place, task)
            }
            StoreVerb::Export { place, format } => {
                let toml = format == Notation::Toml && !json;
                (place, OfflineTask::Export { toml })
            }
        };
        Self {
            data_dir,
            json,
            task,
        }
    }

    /// What `changes verify --data-dir` asks.
    pub(super) fn verifying(asked: &ChangesArgs, json: bool) -> Option<Self> {
        let Some(ChangesVerb::Verify(place)) = &asked.verb else {
            return None;
        };
        Some(Self {
            data_dir: place.data_dir.clone()?,
            json,
            task: OfflineTask::Verify,
        })
    }
}
