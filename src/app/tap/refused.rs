//! Why there is nothing to see, as a sentence and an exit code of the command line.

use std::process::ExitCode;

use serde_json::json;

use crate::amqp::beside::NotBeside;
use crate::management::Trouble;
use crate::rules::binding::CannotTap;

/// The sentence says the cure; the codes are those that `--help` lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    exit: u8,
    sentence: String,
}

impl Refused {
    pub(super) fn new(exit: u8, sentence: String) -> Self {
        Self { exit, sentence }
    }

    pub(super) fn tell(&self, as_json: bool) -> ExitCode {
        if as_json {
            let error = json!({"error": {"exit": self.exit, "detail": self.sentence}});
            eprintln!("{error}");
        } else {
            eprintln!("error: {}", self.sentence);
        }
        ExitCode::from(self.exit)
    }
}

impl From<CannotTap> for Refused {
    fn from(why: CannotTap) -> Self {
        Self::new(6, why.to_string())
    }
}

impl From<NotBeside> for Refused {
    fn from(why: NotBeside) -> Self {
        let exit = match why {
            NotBeside::Missing(_) => 3,
            NotBeside::Denied { .. } => 4,
            NotBeside::Unreachable(_) => 7,
            NotBeside::Broken(_) => 1,
        };
        Self::new(exit, why.to_string())
    }
}

impl From<Trouble> for Refused {
    fn from(why: Trouble) -> Self {
        let exit = match why {
            Trouble::Unreachable(_) => 7,
            Trouble::Denied(_) => 4,
            Trouble::Unreadable(_) | Trouble::Authorities(_) => 1,
        };
        let sentence = format!(
            "{why}; or name what to tap by `--exchange`, `--key` and `--kind`, and leave [management] out"
        );
        Self::new(exit, sentence)
    }
}
