//! The lines that are blocked because a message of theirs failed for good: written down first, away from the thread that serves
//! messages, and held until that is done. May import `rules`, `seams` and `store`.

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::Worker;
use super::hand::Held;
use crate::clock::Now;
use crate::rules::envelope::Stamp;
use crate::rules::lots::KeyHash;
use crate::rules::settlement::Place;
use crate::rules::verdict::{By, Why};
use crate::seams::{Inlet, Outlet};
use crate::store::{Blocked, BlockedEntry, BookError};

/// The longest part of a cause that is kept with a blocked key, in characters.
const LONGEST_CAUSE: usize = 500;

/// A message that failed for good, and is held until the block of its line is written down.
#[derive(Debug)]
struct Failed {
    held: Held,
    place: Place,
    stamp: Stamp,
    entry: BlockedEntry,
}

/// The lines that are blocked now, and why those after them are not.
#[derive(Debug)]
pub(super) struct Written {
    lines: Vec<KeyHash>,
    refused: Option<BookError>,
}

/// The blocks that are not written down yet.
#[derive(Default)]
pub(super) struct Blocks {
    failed: Vec<Failed>,
    writing: Option<LocalBoxFuture<'static, Written>>,
    /// Why the last one could not be written.
    refused: Option<BookError>,
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Blocks").field(&self.failed).finish()
    }
}

impl Blocks {
    /// Those that are held.
    pub(super) fn held(&self) -> impl Iterator<Item = &Held> {
        self.failed.iter().map(|failed| &failed.held)
    }

    pub(super) fn len(&self) -> usize {
        self.failed.len()
    }

    /// Whether one that failed stands before all others of this line.
    pub(super) fn hold_up(&self, line: KeyHash) -> bool {
        self.failed.iter().any(|failed| failed.entry.hash == line)
    }

    /// Whether some are being written.
    pub(super) fn are_written(&self) -> bool {
        self.writing.is_some()
    }

    /// What was written; `None` when nothing is being written. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Written> {
        let written = self.writing.as_mut()?.await;
        self.writing = None;
        Some(written)
    }

    /// Gives up on all of them.
    pub(super) fn take(&mut self) -> Vec<Held> {
        let failed = std::mem::take(&mut self.failed);
        failed.into_iter().map(|failed| failed.held).collect()
    }
}

impl<I: Inlet, O: Outlet> Worker<I, O> {
    /// A message failed for good: its line is blocked, which is on disk before the message leaves our hands. Until then it is held
    /// and nothing of its line goes on.
    pub(super) fn block(&mut self, held: Held, place: Place, stamp: Stamp, now: Now) {
        let Some(line) = held.line() else {
            return;
        };
        let entry = entry_of(line, &held, &stamp, now);
        self.ordered.stop(line);
        self.ordered.blocks.failed.push(Failed {
            held,
            place,
            stamp,
            entry,
        });
        // After a refusal the next try comes with the next second.
        if self.ordered.blocks.refused.is_none() {
            self.write_blocks();
        }
    }

    /// Has the blocks written down that are not, one after the other, unless that is under way or known to be in vain.
    pub(super) fn write_blocks(&mut self) {
        let blocks = &mut self.ordered.blocks;
        let in_vain =
            matches!(blocks.refused, Some(BookError::Full(_))) && self.given.blocked.is_full();
        if blocks.failed.is_empty() || blocks.writing.is_some() || in_vain {
            return;
        }
        let entries = blocks.failed.iter().map(|failed| failed.entry.clone());
        let entries: Vec<BlockedEntry> = entries.collect();
        let blocked = Arc::clone(&self.given.blocked);
        blocks.writing = Some(Box::pin(async move {
            let written = tokio::task::spawn_blocking(move || write(&blocked, entries)).await;
            written.unwrap_or_else(|why| Written {
                lines: Vec::new(),
                refused: Some(BookError::Unwritten(why.to_string())),
            })
        }));
    }

    /// Blocks were written down, or not.
    pub(super) fn blocks_written(&mut self, written: Written) {
        let now = self.now();
        for line in written.lines {
            let is_its = |failed: &mut Failed| failed.entry.hash == line;
            let failed = self.ordered.blocks.failed.extract_if(.., is_its).next();
            // One whose link was lost meanwhile comes again, and is parked like all that follow.
            if let Some(failed) = failed {
                self.is_blocked(failed, now);
            }
        }
        if let Some(why) = &written.refused {
            if self.ordered.blocks.refused.as_ref() != Some(why) {
                tracing::error!(queue = %self.given.settings.name, %why, "a key could not be blocked after a failure; the failed message is held with all that follows it, until its key can be blocked");
            }
            self.ordered.blocks.refused = written.refused;
        } else {
            if self.ordered.blocks.refused.take().is_some() {
                tracing::info!(queue = %self.given.settings.name, "keys can be blocked again");
            }
            self.write_blocks();
        }
    }

    fn is_blocked(&mut self, failed: Failed, now: Now) {
        let Failed {
            held,
            place,
            stamp,
            entry,
        } = failed;
        tracing::error!(
            queue = %self.given.settings.name, key = ?entry.key, cause = ?entry.cause,
            "a message of an ordered queue failed for good: its key is blocked, and what follows of it is parked until `sluicegate queue release`"
        );
        self.ordered.free(Some(entry.hash));
        self.ordered.forget(&held);
        self.send_off(held, place, stamp, now);
        for held in self.hand.take_out(|held| held.line() == Some(entry.hash)) {
            self.shed(held, Why::Blocked, By::default(), &entry.cause);
        }
    }

    /// The link was lost: what could not be written down comes again.
    pub(super) fn drop_lost_blocks(&mut self) {
        let inlet = &self.given.inlet;
        let lost = |failed: &mut Failed| !inlet.usable(&failed.held.receipt);
        let lost: Vec<Failed> = self.ordered.blocks.failed.extract_if(.., lost).collect();
        let now = self.now().mono;
        for failed in lost {
            let line = failed.held.line();
            self.ordered.free(line);
            self.give_back(failed.held);
            self.hand.release(line, now);
        }
    }

    /// What is to be known of blocked keys.
    pub(super) fn blocked_keys_trouble(&self) -> Option<String> {
        let held = self.ordered.blocks.len();
        if let Some(why) = self.ordered.blocks.refused.as_ref().filter(|_| held > 0) {
            return Some(format!(
                "{held} failed messages are held because their keys cannot be blocked: {why}"
            ));
        }
        let count = self.given.blocked.count();
        (count > 0 && self.keeps_order()).then(|| {
            format!(
                "{count} blocked keys, what comes of them is parked; release them with `sluicegate queue release {}`",
                self.given.settings.name
            )
        })
    }
}

/// Blocks keys until one is refused.
fn write(blocked: &Blocked, entries: Vec<BlockedEntry>) -> Written {
    let mut lines = Vec::new();
    for entry in entries {
        let line = entry.hash;
        if let Err(why) = blocked.keep(entry) {
            let refused = Some(why);
            return Written { lines, refused };
        }
        lines.push(line);
    }
    Written {
        lines,
        refused: None,
    }
}

fn entry_of(line: KeyHash, held: &Held, stamp: &Stamp, now: Now) -> BlockedEntry {
    let key = held.facts.key.as_ref().map(|(_, key)| &**key);
    let cause = match stamp.cause.as_str() {
        "" => stamp.why.word(),
        cause => cause,
    };
    let cause = format!("message {} failed: {cause}", held.facts.id);
    BlockedEntry {
        hash: line,
        key: held.order.line_name(key).to_owned(),
        cause: cause.chars().take(LONGEST_CAUSE).collect(),
        since_ms: now.ms,
    }
}
