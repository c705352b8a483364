//! `changes`, `changes verify` and `flag history`: who changed what, when and why. May import `rules`.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value as Json;

use super::failure::{Exit, Failure};
use super::files;
use super::grammar::ChangesArgs;
use super::session::{Session, flag_path};
use super::table::{Side, Table};
use super::verify::{Broken, Chain};
use super::views::read;
use super::words::{moment, shown};
use crate::rules::names::{FlagKey, segment};

const LIST: &str = "/api/v1/changes";
const EXPORT: &str = "/api/v1/changes?format=jsonl";
/// How many changes are listed when nothing is said.
const USUAL: u64 = 50;

/// A change as the daemon tells of it.
#[derive(Debug, Deserialize)]
struct ChangeView {
    revision: u64,
    at: String,
    by: Who,
    #[serde(default)]
    reason: String,
    edit: String,
    opening: Option<String>,
    #[serde(default)]
    touched: Vec<Touched>,
    #[serde(default)]
    segments: Vec<TouchedSegment>,
    #[serde(default)]
    resolved: Option<Resolved>,
}

#[derive(Debug, Deserialize)]
struct Resolved {
    r#as: String,
    jobs: Vec<Job>,
}

#[derive(Debug, Deserialize)]
struct Job {
    queue: String,
    id: String,
}

impl Resolved {
    /// `done: mail 17, and 3 more`
    fn what(&self) -> String {
        let first = self.jobs.first();
        let first = first.map_or_else(String::new, |job| format!("{} {}", job.queue, job.id));
        match self.jobs.len() {
            0 | 1 => format!("{}: {first}", self.r#as),
            many => format!("{}: {first}, and {} more", self.r#as, many - 1),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Who {
    name: String,
    via: String,
}

#[derive(Debug, Deserialize)]
struct Touched {
    flag: String,
    #[serde(default)]
    before: Json,
    #[serde(default)]
    after: Json,
}

#[derive(Debug, Deserialize)]
struct TouchedSegment {
    segment: String,
    #[serde(default)]
    before: Json,
    #[serde(default)]
    after: Json,
    #[serde(default)]
    added_count: u64,
    #[serde(default)]
    removed_count: u64,
}

/// `changes`
pub(super) async fn list(session: &mut Session<'_>, asked: &ChangesArgs) -> Result<(), Failure> {
    if asked.jsonl {
        return jsonl(session).await;
    }
    let path = match &asked.flag {
        Some(key) => format!("{LIST}?flag={}", segment(key.as_str())),
        None => LIST.to_owned(),
    };
    shown_from(session, &path, asked.limit.unwrap_or(USUAL)).await
}

/// `flag history`
pub(super) async fn history(
    session: &mut Session<'_>,
    key: &FlagKey,
    limit: u64,
) -> Result<(), Failure> {
    let path = format!("{}/history", flag_path(key.as_str()));
    shown_from(session, &path, limit).await
}

async fn shown_from(session: &mut Session<'_>, path: &str, most: u64) -> Result<(), Failure> {
    let answer = session.some(path, most).await?;
    let changes: Vec<ChangeView> = read(&answer["items"])?;
    session.show(&answer, |console| {
        if changes.is_empty() {
            console.say("nothing was changed yet");
        } else {
            console.data(&table_of(&changes).render(console.colour));
        }
        if changes.len() as u64 >= most {
            console.say(&format!("the newest {most}; --limit shows more"));
        }
    });
    Ok(())
}

fn table_of(changes: &[ChangeView]) -> Table {
    let mut table = Table::new([
        ("REVISION", Side::Right),
        ("WHEN", Side::Left),
        ("WHO", Side::Left),
        ("WHAT", Side::Left),
        ("WHY", Side::Left),
    ]);
    for change in changes {
        table.row([
            change.revision.to_string().into(),
            moment(&change.at).into(),
            format!("{} ({})", change.by.name, change.by.via).into(),
            change.what().into(),
            change.reason.as_str().into(),
        ]);
    }
    table
}

impl ChangeView {
    /// What was done: `open o42: queue.orders.skip 0 to 0.7`.
    fn what(&self) -> String {
        let flags = self.touched.iter().map(Touched::what);
        let segments = self.segments.iter().map(TouchedSegment::what);
        let resolved = self.resolved.iter().map(Resolved::what);
        let all: Vec<String> = flags.chain(segments).chain(resolved).collect();
        let edit = match self.edit.as_str() {
            "put_segment" => "write",
            "delete_segment" => "delete",
            other => other,
        };
        match &self.opening {
            Some(id) => format!("{edit} {id}: {}", all.join("; ")),
            None => format!("{edit} {}", all.join("; ")),
        }
    }
}

impl Touched {
    fn what(&self) -> String {
        let is_document = |side: &Json| side["key"] == self.flag.as_str();
        match (is_document(&self.before), is_document(&self.after)) {
            // An opening for some: everybody hears what they heard before.
            (false, false) if self.before == self.after => self.flag.clone(),
            (false, false) => {
                let (before, after) = (shown(&self.before, ""), shown(&self.after, ""));
                format!("{} {before} to {after}", self.flag)
            }
            (false, true) => format!("{} at {}", self.flag, shown(&self.after["value"], "")),
            (true, false) => format!("{} gone", self.flag),
            (true, true) => format!("{} {}", self.flag, differing(&self.before, &self.after)),
        }
    }
}

/// What differs between two documents: the value as it was and is, of all else the names.
fn differing(before: &Json, after: &Json) -> String {
    let names = [before, after].into_iter().filter_map(Json::as_object);
    let mut names: Vec<&String> = names.flat_map(serde_json::Map::keys).collect();
    names.sort_unstable();
    names.dedup();
    let differs = |name: &&&String| {
        name.as_str() != "revision" && before[name.as_str()] != after[name.as_str()]
    };
    let said = names
        .iter()
        .filter(differs)
        .map(|name| match name.as_str() {
            "value" => format!(
                "{} to {}",
                shown(&before["value"], ""),
                shown(&after["value"], "")
            ),
            other => other.to_owned(),
        });
    let said: Vec<String> = said.collect();
    said.join(", ")
}

impl TouchedSegment {
    fn what(&self) -> String {
        let name = &self.segment;
        match (self.before.is_null(), self.after.is_null()) {
            (_, true) => format!("segment {name} gone"),
            (true, false) => format!("segment {name}, {} members", self.added_count),
            (false, false) => format!(
                "segment {name} +{} -{}",
                self.added_count, self.removed_count
            ),
        }
    }
}

async fn jsonl(session: &mut Session<'_>) -> Result<(), Failure> {
    let Session {
        client, console, ..
    } = session;
    let print = |piece: &[u8]| match console.raw(piece) {
        true => Ok(()),
        // Whoever read it has seen enough; how that is told stands where the console ends.
        false => Err(Failure::new(Exit::Failed, "the output is closed")),
    };
    client.read(EXPORT, print).await
}

/// `changes verify`, of the daemon's changes or of an export.
pub(super) async fn verify(session: &mut Session<'_>, file: Option<&Path>) -> Result<(), Failure> {
    let mut chain = Chain::default();
    let broken = |why: Broken| Failure::new(Exit::Failed, why.to_string());
    match file {
        Some(file) => {
            let text = files::read(session.console, file)?;
            chain.take(text.as_bytes()).map_err(broken)?;
        }
        None => {
            let take = |piece: &[u8]| chain.take(piece).map_err(broken);
            session.client.read(EXPORT, take).await?;
        }
    }
    let verified = chain.end().map_err(broken)?;
    let answer = serde_json::to_value(&verified).unwrap_or_default();
    session.show(&answer, |console| console.data(&verified.to_string()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_told_in_a_line() {
        let flag = |value: Json, owner: &str| json!({"key": "a", "value": value, "owner": owner, "revision": 3});
        for (edit, more, wanted) in [
            (
                "set",
                json!({"touched": [{"flag": "a", "before": 0.1, "after": null}]}),
                "set a 0.1 to none",
            ),
            (
                "open",
                json!({"opening": "o7", "touched": [{"flag": "a", "before": 0, "after": 1}, {"flag": "b", "before": null, "after": "5s"}]}),
                "open o7: a 0 to 1; b none to 5s",
            ),
            (
                "create",
                json!({"touched": [{"flag": "a", "before": null, "after": flag(json!(1), "")}]}),
                "create a at 1",
            ),
            (
                "delete",
                json!({"touched": [{"flag": "a", "before": flag(json!(1), ""), "after": null}]}),
                "delete a gone",
            ),
            (
                "replace",
                json!({"touched": [{"flag": "a", "before": flag(json!(1), "x"), "after": flag(json!(2), "y")}]}),
                "replace a owner, 1 to 2",
            ),
            (
                "members",
                json!({"segments": [{"segment": "s", "before": {}, "after": {}, "added_count": 1, "removed_count": 0}]}),
                "members segment s +1 -0",
            ),
            (
                "put_segment",
                json!({"segments": [{"segment": "s", "before": null, "after": {}, "added_count": 1}]}),
                "write segment s, 1 members",
            ),
        ] {
            let mut change = json!({"revision": 7, "at": "2026-11-21T11:00:00Z", "by": {"name": "ana", "via": "cli"}, "edit": edit});
            for (name, value) in more.as_object().unwrap() {
                change[name] = value.clone();
            }
            let change: ChangeView = read(&change).unwrap();
            assert_eq!(change.what(), wanted);
        }
    }
}
