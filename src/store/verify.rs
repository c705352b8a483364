//! Whether the log is what was written: each record names the hash of the one before it, none is missing, and the last one is the
//! one that the store stands at.
//!
//! Whoever alters, moves or takes out a record breaks the chain there. Whoever cuts off the end and mends the head is found out by
//! a head that was noted elsewhere, such as in the daemon's own log, which names it each minute: [`Noted`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::history::RawPage;
use super::lines::Base;
use super::state::Fault;
use super::{Store, Unreadable};
use crate::rules::record;

/// So many records are read at once, so that changes wait for none of this.
const AT_ONCE: usize = 1_000;

/// A head that was noted elsewhere: the revision of a change, and the hash of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The revision.
    pub revision: u64,
    /// SHA-256 in hex.
    pub hash: String,
}

/// What was found of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// The revision after which the log begins: 0, or that of the snapshot from which a damaged store was started.
    pub begins_after: u64,
    /// How many records are whole, one after the other from the first.
    pub whole: u64,
    /// The revision of the last of them.
    pub newest: u64,
    /// Its hash.
    pub head: String,
    /// Where it breaks; `None`: nowhere.
    pub broken: Option<Break>,
}

/// Where the log breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Break {
    /// The first revision whose record is not what it must be.
    pub revision: u64,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the chain breaks at revision {}: {}",
            self.revision, self.why
        )
    }
}

impl Store {
    /// Walks the whole log, oldest record first. Reads a thousand at once; changes go on between.
    ///
    /// # Errors
    /// When it cannot be read at all. A log that is not what was written is no error: see [`Chain::broken`].
    pub fn verify(&self, noted: Option<&Noted>) -> Result<Chain, Unreadable> {
        let read = |from, limit| self.one_at_a_time().raw(from, limit);
        walk(read, noted).map_err(|why| Unreadable(why.to_string()))
    }
}

/// The two parts of a record that hold the chain together.
#[derive(Deserialize)]
struct Link {
    revision: u64,
    prev: String,
}

/// Walks a log that `read` gives page by page.
pub(super) fn walk(
    mut read: impl FnMut(u64, usize) -> Result<RawPage, Fault>,
    noted: Option<&Noted>,
) -> Result<Chain, Fault> {
    let mut page = read(0, AT_ONCE)?;
    let mut walk = Walk::from(&page.base, noted);
    loop {
        for (revision, line) in &page.lines {
            if let Err(why) = walk.step(*revision, line) {
                return Ok(walk.broken(*revision, why));
            }
        }
        if page.lines.len() < AT_ONCE {
            return Ok(walk.end(&page.head));
        }
        page = read(walk.newest + 1, AT_ONCE)?;
    }
}

struct Walk<'a> {
    begins_after: u64,
    newest: u64,
    head: String,
    noted: Option<&'a Noted>,
}

impl<'a> Walk<'a> {
    fn from(base: &Base, noted: Option<&'a Noted>) -> Self {
        Self {
            begins_after: base.revision,
            newest: base.revision,
            head: base.hash.clone(),
            noted,
        }
    }

    fn step(&mut self, revision: u64, line: &Result<Vec<u8>, String>) -> Result<(), String> {
        let next = self.newest + 1;
        if revision != next {
            return Err(format!("after {} a record is missing", self.newest));
        }
        let bytes = line.as_ref().map_err(Clone::clone)?;
        let link: Link = serde_json::from_slice(bytes).map_err(|why| why.to_string())?;
        if link.revision != revision {
            return Err(format!("the record of {} lies there", link.revision));
        }
        if link.prev != self.head {
            return Err("it does not follow the record before it, so one of the two is not what was written".to_owned());
        }
        let hash = record::hash(bytes);
        let other = |noted: &&Noted| noted.revision == revision && noted.hash != hash;
        if let Some(noted) = self.noted.filter(other) {
            return Err(format!(
                "its hash is {hash}, and {} was noted elsewhere",
                noted.hash
            ));
        }
        (self.newest, self.head) = (revision, hash);
        Ok(())
    }

    fn end(self, head: &(u64, String)) -> Chain {
        let (newest, next) = (self.newest, self.newest + 1);
        if (newest, &self.head) != (head.0, &head.1) {
            let why = format!(
                "the log ends at {newest}, and the store stands at {}",
                head.0
            );
            return self.broken(next, why);
        }
        match self.noted.map(|noted| noted.revision) {
            Some(noted) if noted > newest => {
                let why = format!(
                    "the log ends at {newest}, and {noted} was noted elsewhere: its end was cut off"
                );
                self.broken(next, why)
            }
            Some(noted) if noted < self.begins_after => {
                let why = format!(
                    "the log begins after it, so what was noted of {noted} cannot be compared"
                );
                self.broken(noted, why)
            }
            _ => self.chain(None),
        }
    }

    fn broken(self, revision: u64, why: String) -> Chain {
        self.chain(Some(Break { revision, why }))
    }

    fn chain(self, broken: Option<Break>) -> Chain {
        Chain {
            begins_after: self.begins_after,
            whole: self.newest - self.begins_after,
            newest: self.newest,
            head: self.head,
            broken,
        }
    }
}
