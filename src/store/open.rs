//! Opening a store: whose it is, what stands in it, and what to do when it is damaged. It never starts at neutral silently.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::books::{Books, named};
use super::history::{Disk, History};
use super::journal::{Journal, Opener, plain_file};
use super::kept::Kept;
use super::lines::Line;
use super::state::{Fault, SCHEMA, State};
use super::{Store, evaluated};
use crate::metrics::Metrics;
use crate::rules::change::{Actor, Cause, Change, Edit, Refused};
use crate::rules::flag::FlagDocument;
use crate::rules::policy::Policy;
use crate::rules::record::{self, ChangeRecord};
use crate::rules::segment::SegmentDocument;
use crate::rules::snapshot::{GatedQueue, Snapshot, Stored};

pub(super) const DATABASE: &str = "store.redb";
pub(super) const SNAPSHOTS: &str = "snapshots";

/// A store that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// Sentences that the operator must read: each was logged as an error already. Empty: all is well.
    pub notes: Vec<String>,
}

/// What a store begins with.
#[derive(Debug, Clone, Default)]
pub struct Seed {
    /// The limits that hold for every change, from the first on.
    pub policy: Policy,
    /// The segments of a new store.
    pub segments: Vec<SegmentDocument>,
    /// The flags of a new store; of valves all that people may give them.
    pub flags: Vec<FlagDocument>,
}

/// Why a store cannot be opened; nothing runs without its flags.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The directory cannot be made or written.
    #[error("the data_dir {} cannot be used ({why}); give the daemon a directory that it may write", path.display())]
    Directory {
        /// the directory
        path: PathBuf,
        /// what the system said
        why: String,
    },
    /// Another daemon has it.
    #[error("another sluicegate uses the data_dir {}; stop that one, or give this one a directory of its own", .0.display())]
    Busy(PathBuf),
    /// A later version wrote it.
    #[error(
        "the store in {} was written by a later version (schema {found}, this one knows {SCHEMA}); run that version, or take its flags along: `sluicegate store export` writes them as JSON, and this one starts anew in an empty data_dir",
        path.display()
    )]
    Newer {
        /// the directory
        path: PathBuf,
        /// its schema
        found: u32,
    },
    /// It is damaged, and so is every snapshot beside it.
    #[error(
        "the store in {} is damaged ({why}) and no good snapshot lies beside it; put a backup there, or move the directory away to start with every valve at neutral",
        path.display()
    )]
    Damaged {
        /// the directory
        path: PathBuf,
        /// what was found
        why: String,
    },
    /// The file of flags holds one that cannot be, or a segment.
    #[error("`{key}` of the file of flags cannot be made: {why}")]
    Seed {
        /// the flag or segment
        key: String,
        /// the reason
        why: Box<Refused>,
    },
}

impl Store {
    /// Opens the store in `data_dir`, which is made if need be, with the valves of these queues. The flags and segments of `seed`
    /// are made only when the store is new (valves take what people may give them). `now_ms`: milliseconds since 1970.
    ///
    /// A damaged database is put aside, and the newest good snapshot beside it is taken; [`Opened::notes`] says so.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        data_dir: &Path,
        queues: Vec<GatedQueue>,
        seed: Seed,
        now_ms: i64,
        metrics: Arc<Metrics>,
    ) -> Result<Opened, OpenError> {
        let how = How {
            data_dir,
            queues,
            seed,
            now_ms,
            opener: plain_file,
        };
        how.open(metrics)
    }
}

/// All that is given to open a store.
pub(super) struct How<'a, O: Fn() -> Opener> {
    pub(super) data_dir: &'a Path,
    pub(super) queues: Vec<GatedQueue>,
    pub(super) seed: Seed,
    pub(super) now_ms: i64,
    pub(super) opener: O,
}

/// What was found or made.
struct Found {
    journal: Journal,
    snapshot: Arc<Snapshot>,
    notes: Vec<String>,
}

impl<O: Fn() -> Opener> How<'_, O> {
    pub(super) fn open(&self, metrics: Arc<Metrics>) -> Result<Opened, OpenError> {
        let (history, snapshot, notes) = self.open_history()?;
        evaluated::remember(history.books(), &snapshot, &metrics, self.now_ms);
        Ok(Opened {
            store: Store::with(snapshot, history, metrics),
            notes,
        })
    }

    /// What lies there, and what stands; sentences that must be read were logged.
    pub(super) fn open_history(&self) -> Result<(History, Arc<Snapshot>, Vec<String>), OpenError> {
        let lock = lock(self.data_dir)?;
        let kept =
            Kept::in_dir(self.data_dir.join(SNAPSHOTS)).map_err(|why| self.directory(&why))?;
        let (newest, mut notes) = kept.newest().map_err(|why| self.refusal(why))?;
        let found = self.find(newest)?;
        notes.extend(found.notes);
        for note in &notes {
            tracing::error!("{note}");
        }
        let disk = Disk {
            journal: found.journal,
            kept,
            _lock: lock,
        };
        let mut history = History::OnDisk(Box::new(disk));
        history.keep_now(&found.snapshot);
        Ok((history, found.snapshot, notes))
    }

    /// The database and the newest good snapshot beside it are two witnesses; the newer one is believed.
    fn find(&self, newest: Option<State>) -> Result<Found, OpenError> {
        let path = self.database();
        if !path.exists() {
            return match newest {
                None => self.make_new(),
                Some(state) => self.recover(state, "it is missing"),
            };
        }
        match (Journal::open(&path, (self.opener)()), newest) {
            (Ok((older, state)), Some(newest)) if newest.revision > state.revision => {
                drop(older); // it is opened once more, for the books in it
                let why = format!("it stands at the older revision {}", state.revision);
                self.recover(newest, &why)
            }
            (Ok((journal, state)), _) => self.take(journal, state),
            (Err(Fault::Damaged(why)), Some(newest)) => self.recover(newest, &why),
            (Err(why), _) => Err(self.refusal(why)),
        }
    }

    fn take(&self, mut journal: Journal, state: State) -> Result<Found, OpenError> {
        let (snapshot, notes) = self.snapshot_of(state)?;
        journal.stands_at(&snapshot);
        Ok(Found {
            journal,
            snapshot,
            notes,
        })
    }

    fn recover(&self, state: State, why: &str) -> Result<Found, OpenError> {
        let path = self.database();
        let aside = path.with_extension(format!("redb.damaged-{}", self.now_ms));
        if path.exists() {
            fs::rename(&path, &aside).map_err(|why| self.directory(&why))?;
        }
        let (books, lost) = self.salvage(&aside);
        let lines = self.salvage_lines(&aside, state.revision, &state.head);
        let mut note = format!(
            "the store {} could not be used ({why}): started from the snapshot of revision {}; look whether the flags are what you want; the old store, if any, is kept as {}",
            path.display(),
            state.revision,
            aside.display()
        );
        let before = Line::base(&lines, (state.revision, &state.head)).revision;
        if before > 0 {
            note.push_str(&format!(
                ", and the log of changes up to revision {before} is in older stores alone"
            ));
        }
        let mut notes = vec![note];
        notes.extend(lost);
        let head = state.head.clone();
        let (snapshot, more) = self.snapshot_of(state)?;
        notes.extend(more);
        let journal = Journal::create(&path, (self.opener)(), &snapshot, &lines, &head, &books)
            .map_err(|why| self.refusal(why))?;
        Ok(Found {
            journal,
            snapshot,
            notes,
        })
    }

    /// The books of a database that was put aside, with a sentence for what they no longer tell.
    fn salvage(&self, aside: &Path) -> (Books, Vec<String>) {
        if !aside.exists() {
            return (Books::new(), Vec::new());
        }
        match Journal::salvage(aside, &(self.opener)()) {
            Ok(books) => {
                let damaged = books
                    .iter()
                    .filter(|(slot, written)| written.is_err() && !evaluated::is_here(slot));
                let lost = damaged.map(|(slot, _)| {
                    format!(
                        "the store no longer knows {}; look for it at the broker",
                        named(slot)
                    )
                });
                let lost = lost.collect();
                (books, lost)
            }
            Err(why) => {
                let lost = format!(
                    "lanes and blocked keys could not be read from the old store ({why}): look at the broker for queues called `sluicegate.lane.…` and move what lies in them back to their queues"
                );
                (Books::new(), vec![lost])
            }
        }
    }

    /// The log of a database that was put aside, as far as it leads to what we start from.
    fn salvage_lines(&self, aside: &Path, revision: u64, head: &str) -> Vec<Line> {
        if !aside.exists() {
            return Vec::new();
        }
        let lines = Journal::salvage_lines(aside, &(self.opener)(), (revision, head));
        lines.unwrap_or_default()
    }

    fn make_new(&self) -> Result<Found, OpenError> {
        let start = Snapshot::of(self.queues.clone(), Stored::default());
        let mut snapshot = start.under(self.seed.policy.clone());
        let (mut lines, mut hash) = (Vec::new(), record::FIRST.to_owned());
        let segments = self.seed.segments.iter();
        let segments = segments.map(|segment| {
            let edit = Edit::PutSegment(Box::new(segment.clone()));
            (segment.name.as_str(), edit)
        });
        let flags = self.seed.flags.iter();
        let flags = flags.map(|flag| (flag.key.as_str(), of_the_file(flag, &snapshot)));
        for (key, edit) in segments.chain(flags).collect::<Vec<_>>() {
            let change = self.seeding(edit);
            let (change, next) = sized(&snapshot, change).map_err(|why| OpenError::Seed {
                key: key.to_owned(),
                why: Box::new(why),
            })?;
            let record = ChangeRecord::of(&change, &snapshot, &next, &hash);
            let line = Line::of(&record).map_err(|why| self.refusal(why))?;
            hash = record::hash(&line.bytes);
            lines.push(line);
            snapshot = next;
        }
        let snapshot = Arc::new(snapshot);
        let journal = Journal::create(
            &self.database(),
            (self.opener)(),
            &snapshot,
            &lines,
            &hash,
            &Books::new(),
        )
        .map_err(|why| self.refusal(why))?;
        Ok(Found {
            journal,
            snapshot,
            notes: Vec::new(),
        })
    }

    fn seeding(&self, edit: Edit) -> Change {
        let reason = "from the file of flags, when the store was new";
        Change {
            cause: Cause::File,
            keep: true,
            ..Change::new(edit, Actor::new("flags", "file"), reason, self.now_ms)
        }
    }

    fn snapshot_of(&self, state: State) -> Result<(Arc<Snapshot>, Vec<String>), OpenError> {
        let (snapshot, notes) = state
            .into_snapshot(self.queues.clone())
            .map_err(|why| self.refusal(why))?;
        Ok((Arc::new(snapshot.under(self.seed.policy.clone())), notes))
    }

    fn database(&self) -> PathBuf {
        self.data_dir.join(DATABASE)
    }

    fn directory(&self, why: &io::Error) -> OpenError {
        directory(self.data_dir, why)
    }

    fn refusal(&self, fault: Fault) -> OpenError {
        refusal(self.data_dir, fault)
    }
}

/// Makes the directory ours, as long as the file is held.
pub(super) fn lock(data_dir: &Path) -> Result<File, OpenError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(|why| directory(data_dir, &why))?;
    let lock = File::create(data_dir.join("lock")).map_err(|why| directory(data_dir, &why))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::Busy(data_dir.to_owned())),
        Err(TryLockError::Error(why)) => Err(directory(data_dir, &why)),
    }
}

fn directory(data_dir: &Path, why: &io::Error) -> OpenError {
    OpenError::Directory {
        path: data_dir.to_owned(),
        why: why.to_string(),
    }
}

pub(super) fn refusal(data_dir: &Path, fault: Fault) -> OpenError {
    let path = data_dir.to_owned();
    match fault {
        Fault::Newer(found) => OpenError::Newer { path, found },
        Fault::Damaged(why) => OpenError::Damaged { path, why },
        Fault::Unusable(why) => OpenError::Directory { path, why },
    }
}

/// A flag of the file as an edit: new, or a valve that is there already.
fn of_the_file(document: &FlagDocument, start: &Snapshot) -> Edit {
    match start.flag(&document.key) {
        Some(valve) => Edit::Replace(Box::new(valve.framing(document))),
        None => Edit::Create(Box::new(document.clone())),
    }
}

/// Makes a change whose size was confirmed by writing it into the file.
fn sized(snapshot: &Snapshot, mut change: Change) -> Result<(Change, Snapshot), Refused> {
    let next = match snapshot.with(&change) {
        Err(Refused::ConfirmSize { size, .. }) => {
            change.confirm = Some(size);
            snapshot.with(&change)?
        }
        next => next?,
    };
    Ok((change, next))
}
