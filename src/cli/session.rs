//! One command against one daemon: reading pages, and the manners of a write (a reason, a confirmed size, what stands when
//! somebody was faster). May import `clock` and `rules`.

use hyper::Method;
use serde_json::{Map, Value as Json, json};

use super::client::{Answer, Ask, Client};
use super::console::Console;
use super::failure::{Exit, Failure};
use super::grammar::{Length, Terms};
use super::views::{FlagView, read};
use super::words;
use crate::rules::names::segment;
use crate::rules::opening::DEFAULT_LENGTH;
use crate::rules::units::Span;

/// The most pages of one list: a daemon that hands out cursors for ever is broken.
const MOST_PAGES: usize = 1_000;

/// What a command needs.
pub(super) struct Session<'a> {
    pub(super) client: &'a Client,
    pub(super) console: &'a mut Console,
    pub(super) json: bool,
    pub(super) now_ms: i64,
}

impl Session<'_> {
    /// Reads one document.
    pub(super) async fn get(&self, path: &str) -> Result<Json, Failure> {
        self.client.send(Ask::get(path)).await?.done()
    }

    /// Reads a list to its last page, in the shape of one page.
    pub(super) async fn list(&self, path: &str) -> Result<Json, Failure> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        for _ in 0..MOST_PAGES {
            let mut page = self.get(&format!("{path}{cursor}")).await?;
            if let Json::Array(more) = page["items"].take() {
                items.extend(more);
            }
            match page["next"].as_str() {
                Some(next) => cursor = format!("?cursor={}", segment(next)),
                None => return Ok(json!({ "items": items })),
            }
        }
        let sentence = format!("the daemon's list at {path} does not end; is it of this version?");
        Err(Failure::new(Exit::Failed, sentence))
    }

    /// Reads a flag, and the tag that a change of it must name.
    pub(super) async fn flag(&self, key: &str) -> Result<(FlagView, String), Failure> {
        let answer = self.client.send(Ask::get(flag_path(key))).await?;
        let etag = answer.etag.clone();
        let flag: FlagView = read(&answer.done()?)?;
        let etag = etag.unwrap_or_else(|| format!("\"{}\"", flag.revision));
        Ok((flag, etag))
    }

    /// Prints the daemon's own answer for programs, or what `people` makes of it.
    pub(super) fn show(&mut self, answer: &Json, people: impl FnOnce(&mut Console)) {
        if self.json {
            self.console.data(&format!("{answer:#}"));
        } else {
            people(self.console);
        }
    }

    /// The reason of a change: given, or asked for.
    pub(super) fn reason(&mut self, terms: &Terms) -> Result<String, Failure> {
        let given = match &terms.reason {
            Some(reason) => Some(reason.clone()),
            None => self.console.ask("why? (kept with the change) "),
        };
        given
            .map(|reason| reason.trim().to_owned())
            .filter(|reason| !reason.is_empty())
            .ok_or_else(no_reason)
    }

    /// The end of an opening as the API takes it: given, asked for, or the default, aloud.
    pub(super) fn end(&mut self, length: &Length) -> Result<(&'static str, Json), Failure> {
        if let Some(until) = length.until {
            return Ok(("until", Json::from(until.to_string())));
        }
        if let Some(span) = length.lasting {
            return Ok(("for", Json::from(span.to_string())));
        }
        let question = format!("for how long? [{DEFAULT_LENGTH}] ");
        let span = match self.console.ask(&question) {
            Some(answer) if !answer.is_empty() => answer.parse::<Span>().map_err(|why| {
                let sentence = format!("{why}; or give it with --for");
                Failure::new(Exit::Usage, sentence)
            })?,
            _ => DEFAULT_LENGTH,
        };
        Ok(("for", Json::from(span.to_string())))
    }

    /// Writes; a big move is confirmed by whoever makes it. Gives what the daemon answers.
    pub(super) async fn write(&mut self, ask: Ask, terms: &Terms) -> Result<Answer, Failure> {
        let answer = self.client.send(ask.clone()).await?;
        let Some(size) = answer.size_to_confirm() else {
            return Ok(answer);
        };
        self.confirm(size, &answer.sentence(), terms)?;
        let mut again = ask;
        if let Some(body) = again.body.as_mut() {
            body.insert("confirm".to_owned(), Json::from(size));
        }
        self.client.send(again).await
    }

    fn confirm(&mut self, size: u64, sentence: &str, terms: &Terms) -> Result<(), Failure> {
        let refused = |sentence: String| Err(Failure::new(Exit::Refused, sentence));
        if terms.yes {
            return Ok(());
        }
        if terms.dry_run {
            let note = format!("a big move ({size} percent): without --dry-run it needs --yes");
            self.console.say(&note);
            return Ok(());
        }
        if !self.console.attended() {
            return refused(format!("{sentence}; nothing was changed without --yes"));
        }
        let question = format!(
            "this moves {size} percent of the queue's messages at once; type {size} if that is meant: "
        );
        match self.console.ask(&question) {
            Some(typed) if typed.trim_end_matches('%') == size.to_string() => Ok(()),
            _ => refused(
                "not confirmed, nothing was changed; --yes confirms without a question".to_owned(),
            ),
        }
    }

    /// Changes a flag's own value, unless it is no longer what was seen.
    pub(super) async fn set(
        &mut self,
        flag: &FlagView,
        etag: &str,
        value: &Json,
        reason: &str,
        terms: &Terms,
    ) -> Result<Json, Failure> {
        let mut body = fields([("value", value.clone()), ("reason", Json::from(reason))]);
        let mut method = Method::PATCH;
        if value.is_object() {
            // A patch would merge the object into what stands; to set is to replace.
            body.extend(flag.document());
            method = Method::PUT;
        }
        let ask = Ask::write(method, &flag_path(&flag.key), body, terms.dry_run)
            .with(hyper::header::IF_MATCH, etag);
        let answer = self.write(ask, terms).await?;
        match answer.stands_now() {
            Some(now) => Err(outrun(flag, &read(now)?)),
            None => answer.done(),
        }
    }

    /// Ends an opening.
    pub(super) async fn close(
        &mut self,
        id: &str,
        reason: &str,
        terms: &Terms,
    ) -> Result<Json, Failure> {
        let path = format!("/api/v1/openings/{}/close", segment(id));
        let body = fields([("reason", Json::from(reason))]);
        let ask = Ask::write(Method::POST, &path, body, terms.dry_run);
        self.write(ask, terms).await?.done()
    }

    /// Lays values over flags until the end that `length` says.
    pub(super) async fn open(
        &mut self,
        values: &[(String, Json)],
        length: &Length,
        terms: &Terms,
    ) -> Result<Json, Failure> {
        let reason = self.reason(terms)?;
        let end = self.end(length)?;
        let body = fields([
            (
                "values",
                values.iter().cloned().collect::<Map<_, _>>().into(),
            ),
            ("reason", Json::from(reason)),
            end,
        ]);
        let ask = Ask::write(Method::POST, "/api/v1/openings", body, terms.dry_run);
        self.write(ask, terms).await?.done()
    }
}

/// No change without its reason.
pub(super) fn no_reason() -> Failure {
    let sentence = "a change needs its reason: say why with --reason \"INC-481\"";
    Failure::new(Exit::Usage, sentence)
}

/// Somebody was faster: what was seen, and what stands.
fn outrun(seen: &FlagView, now: &FlagView) -> Failure {
    let sentence = format!(
        "somebody changed {} at the same moment: you saw {} (revision {}), now it is {} (revision {}); look, and repeat it if you still mean it",
        seen.key,
        words::shown(&seen.value, &seen.value_type),
        seen.revision,
        words::shown(&now.value, &now.value_type),
        now.revision
    );
    Failure::new(Exit::Conflict, sentence)
}

/// The path of a flag.
pub(super) fn flag_path(key: &str) -> String {
    format!("/api/v1/flags/{}", segment(key))
}

/// A JSON object of these fields.
pub(super) fn fields<const N: usize>(fields: [(&str, Json); N]) -> Map<String, Json> {
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// How a sentence about a write begins when nothing was changed.
pub(super) fn would(terms: &Terms) -> &'static str {
    if terms.dry_run {
        "dry run, nothing was changed: "
    } else {
        ""
    }
}
