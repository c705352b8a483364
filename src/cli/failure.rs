//! How a command ends: with a sentence for people and an exit code for programs. Imports no room.

use std::process::ExitCode;

use serde_json::{Value as Json, json};

/// The exit codes, as `--help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// It went wrong, here or there.
    Failed = 1,
    /// It was typed wrongly.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// One may not.
    Denied = 4,
    /// Somebody was faster, or it exists.
    Conflict = 5,
    /// A guard or a limit refuses it.
    Refused = 6,
    /// No daemon answers.
    Unreachable = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not do what was asked; the sentence says the cure.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{sentence}")]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) sentence: String,
    /// What the daemon said, when it was the daemon.
    problem: Option<Box<Json>>,
}

impl Failure {
    pub(super) fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self {
            exit,
            sentence: sentence.into(),
            problem: None,
        }
    }

    /// The same in another sentence.
    pub(super) fn saying(self, sentence: String) -> Self {
        Self { sentence, ..self }
    }

    /// The same, with what the daemon said.
    pub(super) fn with(self, problem: Json) -> Self {
        Self {
            problem: Some(Box::new(problem)),
            ..self
        }
    }

    /// The failure for programs: `{"error": {"exit", "detail", "problem"}}`, where `problem` is the daemon's own (RFC 9457).
    pub(super) fn json(&self) -> Json {
        let mut error = json!({"exit": self.exit as u8, "detail": self.sentence});
        if let Some(problem) = &self.problem {
            error["problem"] = problem.as_ref().clone();
        }
        json!({"error": error})
    }

    /// What an HTTP status and the last word of a problem's `type` mean to whoever typed the command.
    pub(super) fn of_problem(status: u16, word: &str, sentence: String) -> Self {
        let exit = match (status, word) {
            (_, "confirm-size" | "limit" | "still-evaluated") => Exit::Refused,
            (400 | 422, _) => Exit::Usage,
            (401 | 403 | 421, _) => Exit::Denied,
            (404, _) => Exit::NotFound,
            (409 | 412, _) => Exit::Conflict,
            (413 | 429, _) => Exit::Refused,
            _ => Exit::Failed,
        };
        Self::new(exit, sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_answer_has_its_exit_code() {
        for (status, word, code) in [
            (400, "bad-value", 2),
            (422, "bad-value", 2),
            (401, "", 4),
            (403, "origin", 4),
            (404, "no-flag", 3),
            (409, "exists", 5),
            (409, "confirm-size", 6),
            (409, "still-evaluated", 6),
            (412, "stale", 5),
            (422, "limit", 6),
            (429, "", 6),
            (428, "", 1),
            (500, "", 1),
            (503, "store", 1),
        ] {
            let failure = Failure::of_problem(status, word, String::new());
            assert_eq!(failure.exit as u8, code, "{status} {word}");
        }
    }
}
