//! `flag apply` and `flag export`: flags and segments as a file. May import `rules`.

use std::path::Path;

use serde_json::Value as Json;

use super::console::harmless;
use super::difference::difference;
use super::documents;
use super::failure::{Exit, Failure};
use super::files;
use super::grammar::{Keep, Notation, Terms};
use super::segments;
use super::session::{Session, fields, kept, would};

/// `flag apply`
pub(super) async fn apply(
    session: &mut Session<'_>,
    file: &Path,
    keep: Keep,
    terms: &Terms,
) -> Result<(), Failure> {
    let text = files::read(session.console, file)?;
    let (flags, segments) = documents::read_file(&text)?;
    let reason = session.reason(terms)?;
    let mut body = fields([
        ("flags", flags),
        ("segments", segments),
        ("reason", Json::from(reason)),
    ]);
    kept(&mut body, keep);
    let answer = session.post("/api/v1/flags/apply", body, terms).await?;
    let page = plan(&answer);
    session.show(&answer, |console| {
        console.data(&format!("{}{page}", would(terms)));
    });
    Ok(())
}

/// The plan for people: what comes, what changes and how.
fn plan(answer: &Json) -> String {
    let items = answer["plan"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut counts = [("create", 0), ("change", 0), ("keep", 0)];
    let mut text = String::new();
    for item in items {
        let (before, after) = (document(item, "before"), document(item, "after"));
        let word = match (before.is_empty(), before == after) {
            (_, true) => "keep",
            (true, false) => "create",
            (false, false) => "change",
        };
        for (name, count) in &mut counts {
            *count += usize::from(*name == word);
        }
        if word == "keep" {
            continue;
        }
        let (kind, name) = match item["segment"].as_str() {
            Some(name) => ("segment ", name),
            None => ("", item["flag"].as_str().unwrap_or_default()),
        };
        text += &format!("\n{word} {kind}{name}\n");
        for line in difference(&before, &after).lines() {
            text += &format!("  {}\n", harmless(line));
        }
    }
    let [(_, create), (_, change), (_, keep)] = counts;
    format!("{create} to create, {change} to change, {keep} as they are\n{text}")
}

/// One side of an item of the plan; empty where it did not exist.
fn document(item: &Json, side: &str) -> String {
    let view = &item[side];
    if view.is_null() {
        return String::new();
    }
    let document = match item["segment"].is_null() {
        true => documents::of_flag(view),
        false => documents::of_segment(view),
    };
    documents::text(&document, Notation::Toml)
        .or_else(|_| documents::text(&document, Notation::Json))
        .unwrap_or_default()
}

/// `flag export`
pub(super) async fn export(
    session: &mut Session<'_>,
    part: Option<&str>,
    format: Notation,
) -> Result<(), Failure> {
    let flags = session.list("/api/v1/flags").await?;
    let flags = flags["items"].as_array().cloned().unwrap_or_default();
    let wanted = |flag: &&Json| {
        let key = flag["key"].as_str().unwrap_or_default();
        // A valve that nobody turned comes with its queue.
        let turned = !key.starts_with("queue.") || flag["revision"].as_u64() != Some(0);
        turned && key.contains(part.unwrap_or_default())
    };
    let flags = flags
        .iter()
        .filter(wanted)
        .map(documents::of_flag)
        .map(Json::Object);
    let flags: Vec<Json> = flags.collect();
    let segments = match part {
        Some(_) => Vec::new(),
        None => every_segment(session).await?,
    };
    if flags.is_empty() && segments.is_empty() {
        let sentence = "there is nothing to export: no flag is like that, or none was made";
        return Err(Failure::new(Exit::NotFound, sentence));
    }
    let format = if session.json { Notation::Json } else { format };
    let text = documents::file(flags, segments, format)?;
    session.console.data(&text);
    Ok(())
}

/// All segments with their members: a list may leave these out.
async fn every_segment(session: &mut Session<'_>) -> Result<Vec<Json>, Failure> {
    let list = session.list("/api/v1/segments").await?;
    let mut all = Vec::new();
    for segment in list["items"].as_array().into_iter().flatten() {
        let name = segment["name"].as_str().unwrap_or_default();
        let whole = segments::whole(session, name).await?;
        all.push(Json::Object(documents::of_segment(&whole)));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_plan_shows_what_comes_and_what_changes() {
        let flag = |value: Json| json!({"key": "a", "kind": "ops", "type": "ratio", "value": value, "revision": 3});
        let answer = json!({"plan": [
            {"flag": "a", "before": flag(json!(0.1)), "after": flag(json!(0.2))},
            {"flag": "b", "before": flag(json!(0.1)), "after": flag(json!(0.1))},
            {"segment": "s", "before": null, "after": {"name": "s", "by": "account", "members": ["x"]}},
        ]});
        let wanted = "\
1 to create, 1 to change, 1 as they are

change a
    kind = \"ops\"
    type = \"ratio\"
  - value = 0.1
  + value = 0.2

create segment s
  + name = \"s\"
  + by = \"account\"
  + members = [\"x\"]
";
        assert_eq!(plan(&answer), wanted);
    }
}
