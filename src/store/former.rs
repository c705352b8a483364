//! What a flag was before a change: what `undo` goes back to.

use thiserror::Error;

use super::lines::{Subject, Wanted};
use super::{Store, Unreadable};
use crate::rules::flag::FlagDocument;
use crate::rules::names::FlagKey;
use crate::rules::record::{ChangeRecord, Touched};

/// So many records are looked at, at once.
const AT_ONCE: usize = 50;

/// Why there is nothing to go back to.
#[derive(Debug, Error)]
pub enum NoFormer {
    /// That change was about others.
    #[error(
        "change {revision} did not touch `{key}`; `sluicegate flag history {key}` shows those that did"
    )]
    Untouched {
        /// the flag
        key: FlagKey,
        /// the change
        revision: u64,
    },
    /// That change left the definition as it was.
    #[error(
        "change {revision} laid an opening over `{key}`, or moved or ended one; its definition stayed the same: to go back, close the opening"
    )]
    OfAnOpening {
        /// the flag
        key: FlagKey,
        /// the change
        revision: u64,
    },
    /// What it was cannot be told any more.
    #[error(
        "what `{key}` was before change {revision} is no longer on record; write its definition out"
    )]
    Lost {
        /// the flag
        key: FlagKey,
        /// the change
        revision: u64,
    },
    /// The disk.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

impl Store {
    /// The exact definition that a flag had before the change at `revision`, for [`Edit::Undo`]; `None`: it did not exist.
    ///
    /// # Errors
    /// See [`NoFormer`].
    ///
    /// [`Edit::Undo`]: crate::rules::change::Edit::Undo
    pub fn former(
        &self,
        key: &FlagKey,
        revision: u64,
    ) -> Result<Option<Box<FlagDocument>>, NoFormer> {
        let untouched = || NoFormer::Untouched {
            key: key.clone(),
            revision,
        };
        let lost = || NoFormer::Lost {
            key: key.clone(),
            revision,
        };
        let record = self.about(key, revision, revision.saturating_add(1), true)?;
        let record = record.into_iter().next().ok_or_else(untouched)?;
        let touched = touched(&record, key).ok_or_else(untouched)?;
        if record.edit.keeps_documents() {
            return document(touched.before.clone()).ok_or_else(lost);
        }
        if !record.edit.sets_value() {
            return Err(NoFormer::OfAnOpening {
                key: key.clone(),
                revision,
            });
        }
        // A `set` keeps values alone: all else is as it stood until the next change of the whole definition, or stands now.
        let mut definition = self.defined_after(key, revision)?.ok_or_else(lost)?;
        definition.value.clone_from(&touched.before);
        definition.revision = self.defined_before(key, revision)?;
        Ok(Some(definition))
    }

    /// A definition that differs from the one right after a change at most in value and revision.
    fn defined_after(
        &self,
        key: &FlagKey,
        revision: u64,
    ) -> Result<Option<Box<FlagDocument>>, Unreadable> {
        let stands = self.snapshot(); // before the log is read, so that a change made meanwhile is found there
        let mut from = revision.saturating_add(1);
        loop {
            let page = self.about(key, from, u64::MAX, false)?;
            let next = page.iter().find(|record| record.edit.keeps_documents());
            if let Some(touched) = next.and_then(|record| touched(record, key)) {
                return Ok(document(touched.before.clone()).flatten());
            }
            match page.last() {
                Some(last) if page.len() == AT_ONCE => from = last.revision.saturating_add(1),
                _ => break,
            }
        }
        let stands = stands.flag(key.as_str());
        Ok(stands.map(|flag| Box::new(flag.document())))
    }

    /// The revision of the last change of the definition before this one; 0: there is none on record.
    fn defined_before(&self, key: &FlagKey, revision: u64) -> Result<u64, Unreadable> {
        let mut below = revision;
        loop {
            let page = self.about(key, 0, below, true)?;
            let defines =
                |record: &&ChangeRecord| record.edit.sets_value() || record.edit.keeps_documents();
            if let Some(record) = page.iter().find(defines) {
                return Ok(record.revision);
            }
            match page.last() {
                Some(last) if page.len() == AT_ONCE => below = last.revision,
                _ => return Ok(0),
            }
        }
    }

    fn about(
        &self,
        key: &FlagKey,
        from: u64,
        below: u64,
        newest_first: bool,
    ) -> Result<Vec<ChangeRecord>, Unreadable> {
        self.read(&Wanted {
            about: Some(Subject::Flag(key.as_str())),
            from,
            below,
            newest_first,
            limit: AT_ONCE,
        })
    }
}

fn touched<'a>(record: &'a ChangeRecord, key: &FlagKey) -> Option<&'a Touched> {
    record.touched.iter().find(|touched| touched.flag == *key)
}

/// A definition as it is on record: `Some(None)` when there was none.
fn document(json: serde_json::Value) -> Option<Option<Box<FlagDocument>>> {
    serde_json::from_value(json).ok()
}
