//! Jobs that may have been done: kept by name until somebody says what came of each, and how they say it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::lots::KeyHash;
use super::names::QueueName;

/// The most that one change resolves.
pub const MOST_RESOLVED: usize = 1_000;

/// A job that a provider may have done. Its message lies in the park of its queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// The queue that it came from.
    pub queue: QueueName,
    /// Its id.
    pub id: Arc<str>,
    /// The pool that it was given to.
    pub pool: Arc<str>,
    /// The provider that may have done it.
    pub provider: Arc<str>,
    /// The Message-ID that we gave the mail, by which the provider's log has it; `None`: it is no mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Arc<str>>,
    /// The key that limits count by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Arc<str>>,
    /// Why nobody knows, in a sentence without addresses.
    pub cause: String,
    /// Which attempt it was.
    pub attempt: u32,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
}

impl Doubt {
    /// The hash of its id: a job of a queue is in doubt once.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(self.id.as_bytes())
    }
}

/// What somebody says came of a job in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was done.
    Done,
    /// It was not done, and is to be: its message goes back from the park to its queue.
    Again,
    /// It was not done, and is not to be.
    Failed,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Done, Self::Again, Self::Failed];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Again => "again",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that resolves nothing.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is none of done, again and failed")]
pub struct NoVerdict(String);

impl FromStr for Verdict {
    type Err = NoVerdict;
    fn from_str(text: &str) -> Result<Self, NoVerdict> {
        let mut all = Self::ALL.into_iter();
        all.find(|verdict| verdict.word() == text)
            .ok_or_else(|| NoVerdict(text.chars().take(40).collect()))
    }
}

/// What was said of jobs in doubt, as it is kept among the changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// What came of them.
    #[serde(rename = "as")]
    pub verdict: Verdict,
    /// Which: queue and id each, at most [`MOST_RESOLVED`].
    pub jobs: Vec<Resolved>,
}

/// A job that was resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// Its queue.
    pub queue: QueueName,
    /// Its id.
    pub id: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for verdict in Verdict::ALL {
            assert_eq!(verdict.word().parse(), Ok(verdict));
        }
        let wrong = "sent".parse::<Verdict>().unwrap_err();
        assert!(wrong.to_string().contains("done, again and failed"));
    }
}
