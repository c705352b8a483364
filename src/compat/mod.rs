//! Doors for those who come from elsewhere, and for those who go back: flags in the forms of other systems, read into ours and
//! written from ours. What has no equal is refused by name, never bent until it fits; what is taken over decides for the same keys
//! as before. May import `rules`.
//!
//! [`flagd`] reads and writes flagd's JSON, [`rollout`] the keys of the Rollout gem in a [`redis`].

pub mod flagd;
pub mod redis;
pub mod rollout;

use std::fmt;

use crate::rules::flag::FlagDocument;

/// What came of an import: the flags that have an equal, and those that were refused.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Imported {
    /// Our flags; each was checked.
    pub flags: Vec<FlagDocument>,
    /// What was left out.
    pub refused: Vec<NoEqual>,
}

/// Something that has no equal on the other side: whose it is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoEqual {
    /// The flag.
    pub flag: String,
    /// What has no equal, and what to do about it.
    pub what: String,
}

impl NoEqual {
    fn new(flag: &str, what: impl Into<String>) -> Self {
        Self {
            flag: flag.to_owned(),
            what: what.into(),
        }
    }
}

impl fmt::Display for NoEqual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.flag, self.what)
    }
}
