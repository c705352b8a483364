//! One command against one daemon: reading pages, and the manners of a write (a reason, a confirmed size, what stands when
//! somebody was faster). May import `clock` and `rules`.

use hyper::Method;
use serde_json::{Map, Value as Json, json};

use super::client::{Answer, Ask, Client};
use super::console::{Console, harmless};
use super::failure::{Exit, Failure};
use super::grammar::{Force, Keep, Length, Terms};
use super::views::FlagView;
use super::words;
use crate::rules::names::segment;
use crate::rules::opening::DEFAULT_LENGTH;
use crate::rules::units::Span;

/// The most pages of one list: a daemon that hands out cursors for ever is broken.
const MOST_PAGES: usize = 10_000;
/// How many entries the daemon gives at once unless asked for fewer.
const LARGEST_PAGE: u64 = 100;

/// What a command needs.
pub(super) struct Session<'a> {
    pub(super) client: &'a Client,
    pub(super) console: &'a mut Console,
    pub(super) json: bool,
    /// The editor of whoever types, as a line for the shell.
    pub(super) editor: &'a str,
    pub(super) now_ms: i64,
}

impl Session<'_> {
    /// Reads one document.
    pub(super) async fn get(&self, path: &str) -> Result<Json, Failure> {
        self.client.send(Ask::get(path)).await?.done()
    }

    /// Reads a list to its last page, in the shape of one page.
    pub(super) async fn list(&self, path: &str) -> Result<Json, Failure> {
        self.some(path, u64::MAX).await
    }

    /// Reads the first entries of a list, at most `most`, in the shape of one page.
    pub(super) async fn some(&self, path: &str, most: u64) -> Result<Json, Failure> {
        let first = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        let mut query = match most {
            0..LARGEST_PAGE => format!("{first}limit={most}"),
            _ => String::new(),
        };
        for _ in 0..MOST_PAGES {
            let mut page = self.get(&format!("{path}{query}")).await?;
            if let Json::Array(more) = page["items"].take() {
                items.extend(more);
            }
            if items.len() as u64 >= most {
                items.truncate(usize::try_from(most).unwrap_or(usize::MAX));
                return Ok(json!({ "items": items }));
            }
            match page["next"].as_str() {
                Some(next) => query = format!("{first}cursor={}", segment(next)),
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
        let flag = FlagView::of(answer.done()?)?;
        let etag = etag.unwrap_or_else(|| format!("\"{}\"", flag.revision));
        Ok((flag, etag))
    }

    /// Prints the daemon's own answer for programs, or what `people` makes of it.
    pub(super) fn show(&mut self, answer: &Json, people: impl FnOnce(&mut Console)) {
        if self.json {
            self.console.data(&format!("{answer:#}"));
        } else {
            people(self.console);
            for warning in answer["warnings"].as_array().into_iter().flatten() {
                let warning = harmless(warning.as_str().unwrap_or_default());
                self.console.say(&format!("warning: {warning}"));
            }
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
        // `this moves 70 percent of KEY at once`, without how a program confirms it.
        let what = harmless(sentence.split(';').next().unwrap_or(sentence));
        if terms.dry_run {
            let note = format!("a big move: {what}; without --dry-run it needs --yes");
            self.console.say(&note);
            return Ok(());
        }
        if !self.console.attended() {
            return refused(format!("{what}; nothing was changed without --yes"));
        }
        let question = format!("{what}; type {size} if that is meant: ");
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
        seen: &Seen<'_>,
        value: &Json,
        reason: &str,
        terms: &Terms,
    ) -> Result<Json, Failure> {
        let change = fields([("value", value.clone()), ("reason", Json::from(reason))]);
        if !value.is_object() {
            return self.patch(seen, change, terms).await;
        }
        // A patch would merge the object into what stands; to set is to replace.
        let mut body = seen.flag.document();
        body.extend(change);
        let answer = self.change(Method::PUT, seen, body, terms).await?;
        done_or_outrun(seen.flag, answer)
    }

    /// Changes parts of a flag, unless it is no longer what was seen.
    pub(super) async fn patch(
        &mut self,
        seen: &Seen<'_>,
        change: Map<String, Json>,
        terms: &Terms,
    ) -> Result<Json, Failure> {
        let answer = self.change(Method::PATCH, seen, change, terms).await?;
        done_or_outrun(seen.flag, answer)
    }

    /// Asks for a change of a flag, if it is still what was seen.
    pub(super) async fn change(
        &mut self,
        method: Method,
        seen: &Seen<'_>,
        mut body: Map<String, Json>,
        terms: &Terms,
    ) -> Result<Answer, Failure> {
        kept(&mut body, seen.keep);
        let ask = Ask::write(method, &flag_path(&seen.flag.key), body, terms.dry_run)
            .with(hyper::header::IF_MATCH, seen.etag);
        self.write(ask, terms).await
    }

    /// Does what is asked of the daemon by POST.
    pub(super) async fn post(
        &mut self,
        path: &str,
        body: Map<String, Json>,
        terms: &Terms,
    ) -> Result<Json, Failure> {
        let ask = Ask::write(Method::POST, path, body, terms.dry_run);
        self.write(ask, terms).await?.done()
    }

    /// Ends an opening.
    pub(super) async fn close(
        &mut self,
        id: &str,
        reason: &str,
        terms: &Terms,
    ) -> Result<Json, Failure> {
        let path = format!("/api/v1/openings/{}/close", segment(id));
        self.post(&path, fields([("reason", Json::from(reason))]), terms)
            .await
    }

    /// Lays values over flags until the end that `length` says; `more` says for whom and how it ends.
    pub(super) async fn open(
        &mut self,
        values: &[(String, Json)],
        length: &Length,
        more: Map<String, Json>,
        terms: &Terms,
    ) -> Result<Json, Failure> {
        let reason = self.reason(terms)?;
        let end = self.end(length)?;
        let mut body = fields([
            (
                "values",
                values.iter().cloned().collect::<Map<_, _>>().into(),
            ),
            ("reason", Json::from(reason)),
            end,
        ]);
        body.extend(more);
        self.post("/api/v1/openings", body, terms).await
    }
}

/// A flag as it was seen before it is changed, and whether a valve may stay turned.
pub(super) struct Seen<'a> {
    pub(super) flag: &'a FlagView,
    pub(super) etag: &'a str,
    pub(super) keep: Keep,
}

/// Says that a valve may stay turned, when it may.
pub(super) fn kept(body: &mut Map<String, Json>, keep: Keep) {
    if keep.keep {
        body.insert("keep".to_owned(), Json::from(true));
    }
}

/// Says that a flag goes though it is still in use, when it may.
pub(super) fn forced(body: &mut Map<String, Json>, force: Force) {
    if force.force {
        body.insert("force".to_owned(), Json::from(true));
    }
}

fn done_or_outrun(seen: &FlagView, answer: Answer) -> Result<Json, Failure> {
    match answer.stands_now() {
        Some(now) => Err(outrun(seen, &FlagView::of(now.clone())?)),
        None => answer.done(),
    }
}

/// No change without its reason.
pub(super) fn no_reason() -> Failure {
    let sentence = "a change needs its reason: say why with --reason \"INC-481\"";
    Failure::new(Exit::Usage, sentence)
}

/// Somebody was faster: what was seen, and what stands.
pub(super) fn outrun(seen: &FlagView, now: &FlagView) -> Failure {
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
