//! Whether the changes that were written down are all there and unaltered: each line names the hash of the one before it. May
//! import `rules`.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::rules::record::{FIRST, hash};

/// No line of a change is longer.
const LONGEST_LINE: usize = 64 << 20;

/// What every record names.
#[derive(Deserialize)]
struct Link {
    revision: u64,
    prev: String,
}

/// Where the chain is broken; each sentence says what that means.
#[derive(Debug, Error, PartialEq)]
pub(super) enum Broken {
    #[error("line {line} is no change ({why}): the list was altered or cut off there")]
    Unreadable { line: u64, why: String },
    #[error(
        "the change of revision {revision} does not follow the one before it: one of the two was altered, or something between them was left out or put in"
    )]
    Chain { revision: u64 },
    #[error(
        "the first change, revision {0}, names one before it: the beginning is missing (a log that begins after a snapshot a damaged store was started from is verified by --data-dir)"
    )]
    Beginning(u64),
    #[error("a line is longer than any change can be; is this what `changes --jsonl` printed?")]
    TooLong,
}

/// What was found fine.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Verified {
    /// How many changes.
    changes: u64,
    /// The newest revision.
    revision: u64,
    /// The hash of the newest record: whoever keeps it elsewhere can tell a whole new chain from this one.
    hash: String,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            changes,
            revision,
            hash,
        } = self;
        write!(
            f,
            "the chain holds: {changes} changes, to revision {revision}\nlast hash {hash}"
        )
    }
}

/// A chain that is followed line by line.
#[derive(Debug)]
pub(super) struct Chain {
    rest: Vec<u8>,
    changes: u64,
    revision: u64,
    hash: String,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            rest: Vec::new(),
            changes: 0,
            revision: 0,
            hash: FIRST.to_owned(),
        }
    }
}

impl Chain {
    /// Takes the next piece of the list, wherever it ends.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<(), Broken> {
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(line);
            if self.rest.len() > LONGEST_LINE {
                return Err(Broken::TooLong);
            }
            if line.ends_with(b"\n") {
                let whole = std::mem::take(&mut self.rest);
                self.line(&whole[..whole.len() - 1])?;
            }
        }
        Ok(())
    }

    /// The list has ended.
    pub(super) fn end(mut self) -> Result<Verified, Broken> {
        let whole = std::mem::take(&mut self.rest);
        self.line(&whole)?;
        Ok(Verified {
            changes: self.changes,
            revision: self.revision,
            hash: self.hash,
        })
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Broken> {
        if line.is_empty() {
            return Ok(());
        }
        let link: Link = serde_json::from_slice(line).map_err(|why| Broken::Unreadable {
            line: self.changes + 1,
            why: why.to_string(),
        })?;
        if link.prev != self.hash {
            return Err(match self.changes {
                0 => Broken::Beginning(link.revision),
                _ => Broken::Chain {
                    revision: link.revision,
                },
            });
        }
        self.hash = hash(line);
        self.changes += 1;
        self.revision = link.revision;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(count: u64) -> Vec<String> {
        let mut prev = FIRST.to_owned();
        let lines = (1..=count).map(|revision| {
            let line = format!(r#"{{"revision":{revision},"reason":"x","prev":"{prev}"}}"#);
            prev = hash(line.as_bytes());
            line
        });
        lines.collect()
    }

    fn verify(lines: &[String], size: usize) -> Result<Verified, Broken> {
        let mut chain = Chain::default();
        let text = lines.join("\n");
        for piece in text.as_bytes().chunks(size) {
            chain.take(piece)?;
        }
        chain.end()
    }

    #[test]
    fn a_whole_chain_holds_whatever_the_pieces() {
        let lines = chain(5);
        for size in [1, 7, 10_000] {
            let verified = verify(&lines, size).unwrap();
            assert_eq!((verified.changes, verified.revision), (5, 5));
            assert_eq!(verified.hash, hash(lines[4].as_bytes()));
        }
        let none = verify(&[], 1).unwrap();
        assert_eq!((none.changes, none.hash.as_str()), (0, FIRST));
    }

    #[test]
    fn whatever_was_done_to_it_is_found() {
        let broken = |edit: &dyn Fn(&mut Vec<String>)| {
            let mut lines = chain(5);
            edit(&mut lines);
            verify(&lines, 64).unwrap_err()
        };
        assert_eq!(
            broken(&|l| l[2] = l[2].replace('x', "y")),
            Broken::Chain { revision: 4 }
        );
        assert_eq!(
            broken(&|l| drop(l.remove(2))),
            Broken::Chain { revision: 4 }
        );
        assert_eq!(broken(&|l| l.swap(1, 2)), Broken::Chain { revision: 3 });
        assert_eq!(broken(&|l| drop(l.remove(0))), Broken::Beginning(2));
        assert_eq!(
            broken(&|l| l.insert(3, l[2].clone())),
            Broken::Chain { revision: 3 }
        );
        assert!(matches!(
            broken(&|l| l[4].truncate(9)),
            Broken::Unreadable { line: 5, .. }
        ));
    }
}
