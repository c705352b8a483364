//! A report as its worker writes it, in JSON: one object, or a list of them. Imports `rules`.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::rules::accepted::Later;
use crate::rules::handed::Reported;
use crate::rules::json::strict;

/// So many reports may come at once.
pub const MOST_REPORTS: usize = 1_000;

/// What came of a job that was handed over.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OutcomeReport)]
pub struct Report {
    /// The queue that it came from, as the header `x-sluicegate-queue` told.
    #[serde(default)]
    #[schema(example = "orders")]
    pub queue: String,
    /// Its id, as the header `x-sluicegate-id` told.
    #[serde(default)]
    #[schema(example = "17")]
    pub id: String,
    /// Instead of `queue` and `id`, of a job that a provider took: which provider,
    #[serde(default)]
    #[schema(example = "mailgun")]
    pub provider: Option<String>,
    /// and what it calls the job (`provider_message_id` of its result), or the Message-ID of the mail.
    #[serde(default)]
    pub message_id: Option<String>,
    /// With these, which recipient it is about; without it, all.
    #[serde(default)]
    pub recipient: Option<String>,
    /// What came of it.
    pub outcome: Word,
    /// When: RFC 3339, or milliseconds since 1970; without it, now.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "2026-11-21T12:00:00Z")]
    pub at: Option<At>,
    /// How long the work took, in milliseconds; without it, the time since it was handed over, with the wait for a worker.
    #[serde(default)]
    pub took_ms: Option<u64>,
    /// Whether it was in time; without it, that follows from its deadline.
    #[serde(default)]
    pub on_time: Option<bool>,
    /// The version of the worker, for people.
    #[serde(default)]
    pub worker_version: Option<String>,
}

/// What came of a job: `done` and `failed` are last words, after the others more may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ReportedOutcome)]
pub enum Word {
    /// It was done.
    Done,
    /// It was refused for good.
    Failed,
    /// It was not done, and will be tried again by its worker.
    Retry,
    /// Somebody behind the worker asks for less; it will be tried again.
    Throttled,
    /// It may have been done.
    Unknown,
    /// Of a job that a provider took: it arrived.
    Delivered,
    /// Of a job that a provider took: it came back.
    Bounced,
    /// Of a job that a provider took: whoever got it complained.
    Complained,
}

/// Of which job a report is, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said<'a> {
    /// A job of this queue that was handed over.
    Handed(&'a str, Reported),
    /// A job that this provider took, by its name for it.
    Taken(&'a str, &'a str, Later),
}

impl Report {
    /// What it says.
    #[must_use]
    pub fn said(&self) -> Option<Said<'_>> {
        let handed = |reported| Some(Said::Handed(&self.queue, reported));
        let taken = |later| {
            Some(Said::Taken(
                self.provider.as_deref()?,
                self.message_id.as_deref()?,
                later,
            ))
        };
        let is_taken = self.provider.is_some() && self.message_id.is_some();
        let is_handed = !self.queue.is_empty() && !self.id.is_empty() && self.provider.is_none();
        match self.outcome {
            Word::Delivered if is_taken => taken(Later::Delivered),
            Word::Bounced if is_taken => taken(Later::Bounced),
            Word::Complained if is_taken => taken(Later::Complained),
            Word::Done if is_handed => handed(Reported::Done),
            Word::Failed if is_handed => handed(Reported::Failed),
            Word::Retry if is_handed => handed(Reported::Retry),
            Word::Throttled if is_handed => handed(Reported::Throttled),
            Word::Unknown if is_handed => handed(Reported::Unknown),
            _ => None,
        }
    }
}

/// A time: RFC 3339, or milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "serde_json::Value")]
pub struct At(i64);

impl TryFrom<serde_json::Value> for At {
    type Error = String;
    fn try_from(json: serde_json::Value) -> Result<Self, String> {
        let read = match &json {
            serde_json::Value::String(text) => {
                let at = text.parse::<jiff::Timestamp>();
                at.ok().map(jiff::Timestamp::as_millisecond)
            }
            other => other.as_i64(),
        };
        read.map(Self)
            .ok_or_else(|| format!("{json} is no time; write RFC 3339 or milliseconds since 1970"))
    }
}

impl Report {
    /// When it ended, milliseconds since 1970, if it says so.
    #[must_use]
    pub fn at_ms(&self) -> Option<i64> {
        self.at.map(|At(ms)| ms)
    }
}

/// How a report was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ReportTaken)]
pub enum Counted {
    /// It counts.
    Counted,
    /// It was told before.
    Repeated,
    /// No job of this id is remembered: it was not handed over, or too long ago.
    Unknown,
}

/// Why reports cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// It is no JSON.
    #[error("{0}; mend the JSON there and send it again")]
    NotJson(String),
    /// A report does not fit.
    #[error(
        "{detail}; a report is {{\"queue\": \"orders\", \"id\": \"17\", \"outcome\": \"done\"}}"
    )]
    NotAReport {
        /// the place, as a JSON pointer
        pointer: String,
        /// what is wrong there
        detail: String,
    },
    /// There are too many.
    #[error("there are {0} reports; send at most {MOST_REPORTS} at once")]
    TooMany(usize),
}

/// What a report must name.
const WHOSE: &str = "missing field: `queue` and `id` with done, failed, retry, throttled or unknown; or `provider` and `message_id` with delivered, bounced or complained";

/// Reads one report, or a list of them.
///
/// # Errors
/// When one of them cannot be read: then none of them counts.
pub fn read(bytes: &[u8]) -> Result<Vec<Report>, Unreadable> {
    let json = strict(bytes).map_err(|why| Unreadable::NotJson(why.to_string()))?;
    let (items, in_a_list) = match json {
        serde_json::Value::Array(items) => (items, true),
        one => (vec![one], false),
    };
    if items.len() > MOST_REPORTS {
        return Err(Unreadable::TooMany(items.len()));
    }
    let one = |(index, json): (usize, serde_json::Value)| {
        let pointer = if in_a_list {
            format!("/{index}")
        } else {
            String::new()
        };
        if !json.is_object() {
            // serde would take a list for a struct
            let detail = "this is not a JSON object".to_owned();
            return Err(Unreadable::NotAReport { pointer, detail });
        }
        let wrong = |detail: String| Unreadable::NotAReport {
            pointer: pointer.clone(),
            detail,
        };
        let report: Report = serde_json::from_value(json).map_err(|why| wrong(why.to_string()))?;
        match report.said() {
            Some(_) => Ok(report),
            None => Err(wrong(WHOSE.to_owned())),
        }
    };
    items.into_iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(what: &str, text: &str, expected: &str) {
        let said = match read(text.as_bytes()) {
            Ok(reports) => format!("{} read", reports.len()),
            Err(Unreadable::NotAReport { pointer, detail }) => format!("at {pointer:?}: {detail}"),
            Err(why) => why.to_string(),
        };
        assert!(said.contains(expected), "{what}: {said}");
    }

    #[test]
    fn one_or_many_and_nothing_else() {
        let one = r#"{"queue":"orders","id":"17","outcome":"done"}"#;
        let many = |count: usize| format!("[{}]", vec![one; count].join(","));
        let with = |more: &str| one.replace('}', &format!(",{more}}}"));
        check("one", one, "1 read");
        check("none", "[]", "0 read");
        check("a list", &many(3), "3 read");
        check("as many as may come", &many(1_000), "1000 read");
        check("one more", &many(1_001), "at most 1000");
        check(
            "a time",
            &with(r#""at":"2026-11-21T12:00:00+01:00""#),
            "1 read",
        );
        check("no time", &with(r#""at":"noon""#), "is no time");
        check("an unknown field", &with(r#""took":3"#), "unknown field");
        check("a negative time", &with(r#""took_ms":-3"#), "at \"\"");
        check("a key twice", &with(r#""id":"18""#), "mend the JSON");
        check(
            "an outcome of ours",
            &one.replace("done", "handed_over"),
            "unknown variant",
        );
        check(
            "the second is bad",
            &format!("[{one},{{}}]"),
            "at \"/1\": missing field",
        );
        check(
            "a list in a list",
            &format!("[[{one}]]"),
            "at \"/0\": this is not a JSON object",
        );
        check("no JSON", "done", "mend the JSON");
        check("nothing", "", "mend the JSON");
    }
}
