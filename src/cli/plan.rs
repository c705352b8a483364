//! `flag apply` and `flag export`: flags and segments as a file. May import `rules`.

use serde::Deserialize;
use serde_json::Value as Json;

use super::console::harmless;
use super::difference::difference;
use super::documents;
use super::failure::{Exit, Failure};
use super::files;
use super::grammar::{ApplyArgs, Notation};
use super::segments;
use super::session::{Session, fields, forced, kept, would};
use super::views::read;
use super::words::shown;

/// What a file changed, or would.
#[derive(Debug, Deserialize)]
struct Applied {
    plan: Vec<Step>,
    same: u64,
    /// Flags managed by the file that are not in it and stay.
    #[serde(default)]
    left: Vec<String>,
}

/// One step of a plan.
#[derive(Debug, Deserialize)]
struct Step {
    act: String,
    flag: Option<String>,
    segment: Option<String>,
    #[serde(default)]
    differs: Vec<Differs>,
}

/// A field that differs.
#[derive(Debug, Deserialize)]
struct Differs {
    field: String,
    #[serde(default)]
    from: Json,
    #[serde(default)]
    to: Json,
}

/// `flag apply`
pub(super) async fn apply(session: &mut Session<'_>, asked: &ApplyArgs) -> Result<(), Failure> {
    let text = files::read(session.console, &asked.file)?;
    let (flags, segments) = documents::read_file(&text)?;
    let reason = session.reason(&asked.terms)?;
    let mut body = fields([
        ("flags", flags),
        ("segments", segments),
        ("reason", Json::from(reason)),
    ]);
    if asked.prune {
        body.insert("prune".to_owned(), Json::from(true));
    }
    kept(&mut body, asked.keep);
    forced(&mut body, asked.force);
    let answer = session
        .post("/api/v1/flags/apply", body, &asked.terms)
        .await?;
    let page = page_of(&read(&answer)?);
    session.show(&answer, |console| {
        console.data(&format!("{}{page}", would(&asked.terms)));
    });
    Ok(())
}

/// The plan for people: what comes, what changes and how.
fn page_of(applied: &Applied) -> String {
    let count = |act: &str| applied.plan.iter().filter(|step| step.act == act).count();
    let mut text = format!(
        "{} to create, {} to change, {} to delete, {} as they are\n",
        count("create"),
        count("change"),
        count("delete"),
        applied.same
    );
    for step in &applied.plan {
        let name = match (&step.flag, &step.segment) {
            (_, Some(name)) => format!("segment {name}"),
            (flag, None) => flag.clone().unwrap_or_default(),
        };
        text += &harmless(&format!("{} {name}", step.act));
        text.push('\n');
        for one in &step.differs {
            for line in one.lines() {
                text += &format!("    {}\n", harmless(&line));
            }
        }
    }
    if !applied.left.is_empty() {
        let left = harmless(&applied.left.join(", "));
        text += &format!("managed by the file and not in it: {left} (--prune deletes them)\n");
    }
    text
}

impl Differs {
    /// `value: 0.1 -> 0.2`, or line by line what is larger.
    fn lines(&self) -> Vec<String> {
        let large = |side: &Json| side.is_array() || side.is_object();
        if !large(&self.from) && !large(&self.to) {
            let (from, to) = (shown(&self.from, ""), shown(&self.to, ""));
            return vec![format!("{}: {from} -> {to}", self.field)];
        }
        let text = |side: &Json| match side {
            Json::Null => String::new(),
            side => format!("{side:#}"),
        };
        let mut lines = vec![format!("{}:", self.field)];
        let changes = difference(&text(&self.from), &text(&self.to));
        lines.extend(changes.lines().map(|line| format!("  {line}")));
        lines
    }
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
    fn the_plan_shows_what_comes_goes_and_changes() {
        let applied = json!({"same": 3, "left": ["old.one"], "plan": [
            {"act": "create", "segment": "beta", "differs": []},
            {"act": "change", "flag": "a", "differs": [
                {"field": "value", "from": 0.1, "to": null},
                {"field": "choices", "from": ["x", "y"], "to": ["x", "z"]}]},
            {"act": "delete", "flag": "b", "differs": []},
        ]});
        let wanted = "\
1 to create, 1 to change, 1 to delete, 3 as they are
create segment beta
change a
    value: 0.1 -> none
    choices:
        [
          \"x\",
      -   \"y\"
      +   \"z\"
        ]
delete b
managed by the file and not in it: old.one (--prune deletes them)
";
        assert_eq!(page_of(&read(&applied).unwrap()), wanted);
    }
}
