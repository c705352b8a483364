//! The database (redb): all that stands, and every change as it was made.
//!
//! A change is one transaction, on disk when [`Journal::append`] returns. Each record carries a seal, and the head carries the sum
//! of the seals of all that stands, so that a missing or an old record is noticed as well as flipped bits. All reading and
//! writing is done under `catch_unwind`, because damage can make the database panic. After a failed write the database refuses
//! more: it is closed, opened again for the next write, and brought to what is in force.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase};

use super::books::{self, Books, Record};
use super::history::RawPage;
use super::lines::{self, Base, Line, Wanted};
use super::state::{Fault, State};
use super::tables::{self, Head};
use crate::rules::record::{self, ChangeRecord};
use crate::rules::snapshot::Snapshot;

/// The flags of the largest store fit in this.
const CACHE_BYTES: usize = 8 << 20;

/// How the file is opened; tests put a disk in between that fills up.
pub(super) type Opener = Box<dyn Fn(&Path) -> Result<Database, DatabaseError> + Send>;

/// A file as it is.
pub(super) fn plain_file() -> Opener {
    Box::new(|path| {
        redb::Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create(path)
    })
}

/// The database of a store.
pub(super) struct Journal {
    path: PathBuf,
    opener: Opener,
    /// `None` after a failed write, until the next try.
    database: Option<Database>,
    /// What is on disk for sure; `None`: not known, so the next write writes all.
    on_disk: Option<Arc<Snapshot>>,
    /// The sum of the seals of `on_disk`.
    seals: u64,
    /// The newest revision that is on disk for sure.
    revision: u64,
    /// The hash of the newest record, on disk or owed.
    hash: String,
    /// Where the log on disk begins.
    base: Base,
    /// Records of changes that are in force and could not be written yet.
    owed: Vec<Line>,
    /// What is kept beside the flags, as it is on disk.
    books: Books,
}

impl Journal {
    /// Makes the database anew, with this snapshot, the records that led to it and the hash of the newest of them: it is there
    /// whole, or not at all.
    pub(super) fn create(
        path: &Path,
        opener: Opener,
        snapshot: &Arc<Snapshot>,
        lines: &[Line],
        hash: &str,
        books: &Books,
    ) -> Result<Self, Fault> {
        guarded(|| build(path, &opener, snapshot, lines, hash, books))?;
        let (mut journal, _) = Self::open(path, opener)?;
        journal.stands_at(snapshot);
        Ok(journal)
    }

    /// Opens the database and reads the state.
    pub(super) fn open(path: &Path, opener: Opener) -> Result<(Self, State), Fault> {
        guarded(|| {
            let database = opener(path)?;
            let txn = database.begin_read()?;
            let (state, mut head) = tables::read(&txn)?;
            let books = tables::read_books(&txn)?;
            drop(txn);
            if head.is_old() {
                let txn = database.begin_write()?;
                head = tables::take_over(&txn, &head)?;
                txn.commit()?;
            }
            let journal = Self {
                path: path.to_owned(),
                opener,
                database: Some(database),
                on_disk: None,
                seals: head.seals,
                revision: head.revision,
                hash: head.hash,
                base: head.base,
                owed: Vec::new(),
                books,
            };
            Ok((journal, state))
        })
    }

    /// What stands in a database that is not open; nothing is taken over.
    pub(super) fn state_at(path: &Path, opener: &Opener) -> Result<State, Fault> {
        guarded(|| Ok(tables::read(&opener(path)?.begin_read()?)?.0))
    }

    /// Says that this snapshot was made of what was read, so that only what differs from it is written from now on.
    pub(super) fn stands_at(&mut self, snapshot: &Arc<Snapshot>) {
        self.on_disk = Some(Arc::clone(snapshot));
    }

    /// The hash of the newest record.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    /// Writes a change, and what is owed; on an error this change is not owed.
    pub(super) fn append(
        &mut self,
        next: &Arc<Snapshot>,
        record: &ChangeRecord,
    ) -> Result<(), Fault> {
        let hash = self.hash.clone();
        self.owe(record)?;
        self.write_owed(next).inspect_err(|_| {
            self.owed.pop();
            self.hash = hash;
        })
    }

    /// Remembers to write a change that is in force already.
    pub(super) fn owe(&mut self, record: &ChangeRecord) -> Result<(), Fault> {
        let line = Line::of(record)?;
        self.hash = record::hash(&line.bytes);
        self.owed.push(line);
        Ok(())
    }

    /// Whether changes are in force that are not on disk.
    pub(super) fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Writes what is owed; `live` is what is in force with all of it.
    pub(super) fn write_owed(&mut self, live: &Arc<Snapshot>) -> Result<(), Fault> {
        let written = match guarded(|| self.write(live)) {
            Err(Fault::Damaged(why)) => guarded(|| self.start_over(live, &why)),
            written => written,
        };
        self.on_disk = written.is_ok().then(|| Arc::clone(live));
        let head = written?;
        (self.seals, self.base) = (head.seals, head.base);
        self.revision = live.revision();
        self.owed.clear();
        Ok(())
    }

    /// What is kept beside the flags.
    pub(super) fn books(&self) -> &Books {
        &self.books
    }

    /// Writes records of books, or takes them away; on disk when this returns. On an error all stay as they were.
    pub(super) fn write_books(&mut self, records: Vec<Record>) -> Result<(), Fault> {
        let written = guarded(|| {
            let database = self.opened()?;
            let txn = database.begin_write()?;
            for (slot, content) in &records {
                tables::write_book(&txn, slot, content.as_deref())?;
            }
            txn.commit()?;
            self.database = Some(database);
            Ok(())
        });
        match (written, self.on_disk.clone()) {
            (Err(Fault::Damaged(why)), Some(live)) => {
                let before = self.books.clone();
                books::put(&mut self.books, records);
                let head = guarded(|| self.start_over(&live, &why));
                if head.is_err() {
                    self.books = before;
                }
                let head = head?;
                (self.seals, self.base) = (head.seals, head.base);
            }
            (written, _) => {
                written?;
                books::put(&mut self.books, records);
            }
        }
        Ok(())
    }

    /// What can still be read of the books of a database that was put aside.
    pub(super) fn salvage(path: &Path, opener: &Opener) -> Result<Books, Fault> {
        guarded(|| tables::read_books(&opener(path)?.begin_read()?))
    }

    /// What can still be read of its log: the records that lead to this revision and hash.
    pub(super) fn salvage_lines(
        path: &Path,
        opener: &Opener,
        (revision, hash): (u64, &str),
    ) -> Result<Vec<Line>, Fault> {
        guarded(|| lines::leading_to(&opener(path)?.begin_read()?, revision, hash))
    }

    /// The change records that are wanted, those that are owed among them.
    pub(super) fn records(&mut self, wanted: &Wanted<'_>) -> Result<Vec<ChangeRecord>, Fault> {
        let owed = self.owed.iter().map(Line::parsed);
        let mut owed = owed.collect::<Result<Vec<_>, _>>()?;
        owed.retain(|record| wanted.takes(record));
        let on_disk = Wanted {
            below: wanted.below.min(self.revision.saturating_add(1)), // a refused change may lie above it
            ..*wanted
        };
        let mut written = self.reading(|txn| lines::read(txn, &on_disk))?;
        let mut records = if wanted.newest_first {
            owed.reverse();
            owed.append(&mut written);
            owed
        } else {
            written.append(&mut owed);
            written
        };
        records.truncate(wanted.limit);
        Ok(records)
    }

    /// Records as they lie on disk, oldest first, from a revision on; and the head that they lead to.
    pub(super) fn raw(&mut self, from: u64, limit: usize) -> Result<RawPage, Fault> {
        self.reading(|txn| raw(txn, from, limit))
    }

    /// The same of a database that is not open, also one whose flags are damaged.
    pub(super) fn raw_at(
        path: &Path,
        opener: &Opener,
    ) -> Result<impl FnMut(u64, usize) -> Result<RawPage, Fault> + use<>, Fault> {
        let database = guarded(|| Ok(opener(path)?))?;
        Ok(move |from, limit| guarded(|| raw(&database.begin_read()?, from, limit)))
    }

    fn reading<T>(
        &mut self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        guarded(|| {
            let database = self.opened()?;
            let found = read(&database.begin_read()?);
            self.database = Some(database);
            found
        })
    }

    /// Takes the database out, opened again if need be. Whoever took it puts it back when nothing went wrong.
    fn opened(&mut self) -> Result<Database, Fault> {
        match self.database.take() {
            Some(database) => Ok(database),
            None => Ok((self.opener)(&self.path)?),
        }
    }

    fn write(&mut self, live: &Snapshot) -> Result<Head, Fault> {
        let database = self.opened()?;
        let txn = database.begin_write()?;
        let seals = match self.on_disk.as_deref() {
            Some(snapshot) => self.seals ^ tables::write_changed(&txn, snapshot, live)?,
            None => tables::write_whole(&txn, self.revision, live)?,
        };
        lines::write(&txn, &self.owed)?;
        let head = Head::new(live.revision(), &self.hash, seals, self.base.clone());
        tables::write_head(&txn, &head)?;
        txn.commit()?;
        self.database = Some(database);
        Ok(head)
    }

    /// The database was damaged while we ran: what is in force is in memory, so a new one is made of that.
    fn start_over(&mut self, live: &Snapshot, why: &str) -> Result<Head, Fault> {
        tracing::error!(
            path = %self.path.display(), why,
            "the store was found damaged; it is put aside and a new one is made of what is in force, with the changes on record that can still be read"
        );
        let aside = self
            .path
            .with_extension(format!("redb.damaged-{}", live.revision()));
        fs::rename(&self.path, &aside).map_err(|why| unusable(&self.path, &why))?;
        let before = Line::base(&self.owed, (self.revision, &self.hash));
        let leading = (before.revision, before.hash.as_str());
        let lines = Self::salvage_lines(&aside, &self.opener, leading);
        let mut lines = lines.unwrap_or_default();
        lines.extend_from_slice(&self.owed);
        build(
            &self.path,
            &self.opener,
            live,
            &lines,
            &self.hash,
            &self.books,
        )?;
        let database = self.opened()?;
        let (_, head) = tables::read(&database.begin_read()?)?;
        self.database = Some(database);
        Ok(head)
    }
}

fn raw(txn: &ReadTransaction, from: u64, limit: usize) -> Result<RawPage, Fault> {
    let head = tables::read_head(txn)?;
    Ok(RawPage {
        lines: lines::raw(txn, from, limit)?,
        base: head.base,
        head: (head.revision, head.hash),
    })
}

/// Writes a whole database beside its name, and renames it when it is complete.
fn build(
    path: &Path,
    opener: &Opener,
    snapshot: &Snapshot,
    lines: &[Line],
    hash: &str,
    books: &Books,
) -> Result<(), Fault> {
    let beside = path.with_extension("redb.new");
    match fs::remove_file(&beside) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(unusable(&beside, &why)),
        _ => {}
    }
    let database = opener(&beside)?;
    let txn = database.begin_write()?;
    let seals = tables::write_whole(&txn, 0, snapshot)?;
    lines::write(&txn, lines)?;
    tables::write_books(&txn, books)?;
    let base = Line::base(lines, (snapshot.revision(), hash));
    let head = Head::new(snapshot.revision(), hash, seals, base);
    tables::write_head(&txn, &head)?;
    txn.commit()?;
    drop(database);
    fs::rename(&beside, path).map_err(|why| unusable(path, &why))?;
    let dir = path.parent().unwrap_or(path);
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|why| unusable(dir, &why))
}

fn unusable(path: &Path, why: &io::Error) -> Fault {
    Fault::Unusable(format!("{}: {why}", path.display()))
}

/// Damage can make the database panic: then it is damaged, and we live on.
fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Fault::Damaged(
            "the database gave up while it was read or written".to_owned(),
        ))
    })
}
