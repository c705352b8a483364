//! When flags were last evaluated, kept across a restart: a flag that is in use is not deleted then either.
//!
//! One record among the books, so no change on record and no part of a snapshot; whoever kills the daemon loses the last minute of
//! it. May import `metrics`.

use std::collections::BTreeMap;

use super::Store;
use super::books::{BookError, Books, Slot, unwritten};
use super::tables::{decoded, encoded};
use crate::metrics::Metrics;
use crate::rules::snapshot::Snapshot;

/// Of no queue: its name is never empty.
const KIND: &str = "evaluated";
/// A time that grew by less is not written anew, milliseconds: what is asked for is whether a flag was evaluated within an hour.
const WORTH_WRITING_MS: i64 = 60_000;

/// By flag, milliseconds since 1970.
type Times = BTreeMap<String, i64>;

impl Store {
    /// Writes down when flags were last evaluated, if that is known of others or later by a minute than what is written; with `all`
    /// also of less, as at a clean stop. Waits for the disk.
    ///
    /// # Errors
    /// [`BookError::Unwritten`]; what was written before stands.
    pub fn keep_evaluated(&self, all: bool) -> Result<(), BookError> {
        let mut now = self.metrics.all_last_evaluated();
        let live = self.snapshot();
        now.retain(|flag, _| live.flag(flag).is_some());
        let mut history = self.one_at_a_time();
        let written = read(history.books());
        let worth = if all { 1 } else { WORTH_WRITING_MS };
        let grew = |(flag, at_ms): (&String, &i64)| {
            let before = written.get(flag);
            before.is_none_or(|before| at_ms.saturating_sub(*before) >= worth)
        };
        if !now.iter().any(grew) {
            return Ok(());
        }
        let content = encoded(&now).map_err(unwritten)?;
        history.write_book(slot(), Some(content)).map_err(unwritten)
    }
}

/// Tells the metrics what was written. A time that lies in the future was written by a clock that went wrong.
pub(super) fn remember(books: &Books, snapshot: &Snapshot, metrics: &Metrics, now_ms: i64) {
    for (flag, at_ms) in read(books) {
        if snapshot.flag(&flag).is_some() {
            metrics.was_evaluated(&flag, at_ms.min(now_ms));
        }
    }
}

/// Whether a record is the one of this room: nothing is lost with it that could be looked for.
pub(super) fn is_here(slot: &Slot) -> bool {
    slot.queue.is_empty() && slot.kind == KIND
}

/// What is written; a record that is damaged says nothing, and is mended when it is written again.
fn read(books: &Books) -> Times {
    let written = books.get(&slot()).and_then(|written| written.as_ref().ok());
    written
        .and_then(|content| decoded(content).ok())
        .unwrap_or_default()
}

fn slot() -> Slot {
    Slot {
        queue: String::new(),
        kind: KIND.to_owned(),
        hash: 0,
    }
}
