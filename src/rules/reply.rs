//! What the answer of a provider means: whose fault it is, and so what happens to the job and to the provider.

use std::time::Duration;

use serde_json::Value as Json;

use super::breaker::Said;

/// What a provider told us, or did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It took the job; under this name of its own, if it gave one.
    Done(Option<String>),
    /// The job can be done by nobody: a bad recipient, a bad mail. Says nothing of the provider.
    Recipient(String),
    /// It does not send for this From: the next provider may. Says nothing of its health.
    Sender(String),
    /// It asks for less; after this long, if it said so.
    Throttled(Option<Duration>),
    /// Not now, for a reason that lies in the job and passes: greylisting. Says nothing of the provider.
    Later(String),
    /// It failed, and surely did not do it.
    Provider(String),
    /// It does not accept us: the key, the account, our settings.
    Ours(String),
    /// It may have done it.
    Unknown(String),
}

impl Reply {
    /// The words of all replies, as in the label `outcome`.
    pub const WORDS: [&'static str; 8] = [
        "done",
        "recipient",
        "sender",
        "throttled",
        "later",
        "provider",
        "ours",
        "unknown",
    ];

    /// Its word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        Self::WORDS[self.number()]
    }

    /// Its place among [`Reply::WORDS`].
    #[must_use]
    pub const fn number(&self) -> usize {
        match self {
            Self::Done(_) => 0,
            Self::Recipient(_) => 1,
            Self::Sender(_) => 2,
            Self::Throttled(_) => 3,
            Self::Later(_) => 4,
            Self::Provider(_) => 5,
            Self::Ours(_) => 6,
            Self::Unknown(_) => 7,
        }
    }

    /// What went wrong, in a sentence without addresses; empty when nothing did.
    #[must_use]
    pub fn cause(&self) -> &str {
        match self {
            Self::Recipient(cause)
            | Self::Sender(cause)
            | Self::Later(cause)
            | Self::Provider(cause)
            | Self::Ours(cause)
            | Self::Unknown(cause) => cause,
            Self::Done(_) | Self::Throttled(_) => "",
        }
    }

    /// What it says of the provider's health.
    #[must_use]
    pub const fn said(&self) -> Said {
        match self {
            Self::Done(_) => Said::Good,
            Self::Provider(_) | Self::Unknown(_) => Said::Bad,
            Self::Recipient(_)
            | Self::Sender(_)
            | Self::Throttled(_)
            | Self::Later(_)
            | Self::Ours(_) => Said::Nothing,
        }
    }

    /// The reply of this word, with this cause.
    #[must_use]
    pub fn of(word: &str, cause: String, wait: Option<Duration>) -> Option<Self> {
        Some(match word {
            "done" => Self::Done(None),
            "recipient" => Self::Recipient(cause),
            "sender" => Self::Sender(cause),
            "throttled" => Self::Throttled(wait),
            "later" => Self::Later(cause),
            "provider" => Self::Provider(cause),
            "ours" => Self::Ours(cause),
            "unknown" => Self::Unknown(cause),
            _ => return None,
        })
    }
}

/// What an answer means to somebody who knows the provider better: one line of a table in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The first and the last status that it is about.
    status: (u16, u16),
    at: Option<String>,
    is: Option<String>,
    means: String,
}

impl Rule {
    /// A line of the table; none when the status is none, such as `422` or `5xx`, or nothing has that meaning.
    #[must_use]
    pub fn new(status: &str, at: Option<String>, is: Option<String>, means: &str) -> Option<Self> {
        let status = statuses(status)?;
        Reply::of(means, String::new(), None)?;
        Some(Self {
            status,
            at,
            is,
            means: means.to_owned(),
        })
    }

    /// Whether it is about this answer.
    #[must_use]
    pub fn fits(&self, status: u16, body: Option<&Json>) -> bool {
        let (from, to) = self.status;
        let found = || {
            let found = body?.pointer(self.at.as_deref()?)?;
            (!found.is_null()).then(|| text_of(found))
        };
        (from..=to).contains(&status)
            && match (&self.at, &self.is) {
                (None, _) => true,
                (Some(_), None) => found().is_some(),
                (Some(_), Some(is)) => found().as_deref() == Some(is),
            }
    }

    /// The word of the reply that the answer is.
    #[must_use]
    pub fn means(&self) -> &str {
        &self.means
    }
}

fn text_of(value: &Json) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// The statuses that a text names: `422`, `5xx`.
#[must_use]
pub fn statuses(text: &str) -> Option<(u16, u16)> {
    let class = text
        .strip_suffix("xx")
        .and_then(|class| class.parse::<u16>().ok());
    let (from, to) = match class {
        Some(class) => (
            class.checked_mul(100)?,
            class.checked_mul(100)?.checked_add(99)?,
        ),
        None => {
            let status = text.parse().ok().filter(|_| text.len() == 3)?;
            (status, status)
        }
    };
    (100..=599).contains(&from).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_word_has_its_place() {
        for (number, word) in Reply::WORDS.into_iter().enumerate() {
            let reply = Reply::of(word, "why".to_owned(), None).unwrap();
            assert_eq!((reply.number(), reply.word()), (number, word));
        }
        assert_eq!(Reply::of("fine", String::new(), None), None);
    }

    #[test]
    fn statuses_are_one_or_a_hundred() {
        for (text, expected) in [
            ("422", Some((422, 422))),
            ("5xx", Some((500, 599))),
            ("2xx", Some((200, 299))),
            ("0xx", None),
            ("6xx", None),
            ("99xx", None),
            ("42", None),
            ("", None),
        ] {
            assert_eq!(statuses(text), expected, "{text}");
        }
    }

    #[test]
    fn a_line_of_the_table_fits_by_status_and_body() {
        let check = |at: Option<&str>, is: Option<&str>, body: Option<Json>, expected: bool| {
            let rule = Rule::new(
                "2xx",
                at.map(str::to_owned),
                is.map(str::to_owned),
                "provider",
            );
            let rule = rule.unwrap();
            assert_eq!(
                rule.fits(200, body.as_ref()),
                expected,
                "{at:?} {is:?} {body:?}"
            );
            assert!(!rule.fits(404, body.as_ref()));
        };
        check(None, None, None, true);
        check(Some("/error"), None, Some(json!({"error": "no"})), true);
        check(Some("/error"), None, Some(json!({"error": null})), false);
        check(Some("/error"), None, None, false);
        check(Some("/code"), Some("406"), Some(json!({"code": 406})), true);
        check(
            Some("/code"),
            Some("406"),
            Some(json!({"code": "407"})),
            false,
        );
    }
}
