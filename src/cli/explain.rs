//! `flag explain`, `explain` and `flag preview`: why a flag says what it says, what a queue would do with a message, and what a
//! value would do to recent ones. May import `rules`.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::clauses::Shown;
use super::console::{Console, harmless};
use super::failure::Failure;
use super::grammar::{ExplainArgs, PreviewArgs, Terms};
use super::session::{Session, fields, flag_path};
use super::table::{Side, Table};
use super::views::read;
use super::words::{share, shown, typed};
use crate::rules::clause::ClauseDocument;
use crate::rules::names::{FlagKey, QueueName, segment};

/// Why a flag says what it says, as the daemon tells of it.
#[derive(Debug, Deserialize)]
struct Explanation {
    flag: String,
    revision: u64,
    #[serde(default)]
    value: Json,
    reason: String,
    #[serde(default)]
    steps: Vec<Step>,
    #[serde(default)]
    not_asked: Vec<String>,
    /// What was told and no flag asks for.
    #[serde(default)]
    unused: Vec<String>,
}

/// An opening or a rule that was asked.
#[derive(Debug, Deserialize)]
struct Step {
    opening: Option<String>,
    rule: Option<String>,
    holds: bool,
    #[serde(default)]
    clauses: Vec<Asked>,
    split: Option<Drawn>,
    decides: bool,
}

#[derive(Debug, Deserialize)]
struct Asked {
    clause: ClauseDocument,
    #[serde(default)]
    values_left_out: u64,
    found: Option<String>,
    holds: bool,
    through: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Drawn {
    by: String,
    key: Option<String>,
    bucket: Option<u64>,
    of: u64,
    #[serde(default)]
    shares: Vec<Share>,
}

#[derive(Debug, Deserialize)]
struct Share {
    #[serde(default)]
    value: Json,
    share: f64,
    below: u64,
    drawn: bool,
}

/// What a queue would do with a message.
#[derive(Debug, Deserialize)]
struct Verdict {
    queue: String,
    revision: u64,
    verdict: String,
    reason: Option<String>,
    opening: Option<String>,
    rule: Option<String>,
    #[serde(default)]
    links: Vec<Link>,
    #[serde(default)]
    whole_queue: Map<String, Json>,
    known: Option<Known>,
}

/// How the message is known.
#[derive(Debug, Deserialize)]
struct Known {
    #[serde(default)]
    unused: Vec<String>,
    #[serde(default)]
    unknown: Vec<String>,
    note: Option<String>,
}

/// One thing that was asked of it.
#[derive(Debug, Deserialize)]
struct Link {
    asks: String,
    found: String,
    decides: bool,
    says: Option<Explanation>,
}

/// `flag explain`
pub(super) async fn flag(
    session: &mut Session<'_>,
    key: &FlagKey,
    about: &ExplainArgs,
) -> Result<(), Failure> {
    // Asked first, so that a key that is not there is told as everywhere.
    let (flag, _) = session.flag(key.as_str()).await?;
    let path = path("flag", key.as_str(), about);
    let answer = session.get(&path).await?;
    let explained: Explanation = read(&answer)?;
    let page = page_of(&explained, &flag.value_type, about);
    session.show(&answer, |console| {
        console.data(&page);
        unused(console, &explained.unused);
    });
    Ok(())
}

/// `explain`
pub(super) async fn queue(
    session: &mut Session<'_>,
    queue: &QueueName,
    about: &ExplainArgs,
) -> Result<(), Failure> {
    let answer = session.get(&path("queue", queue.as_str(), about)).await?;
    let verdict: Verdict = read(&answer)?;
    let page = page_of_queue(&verdict);
    session.show(&answer, |console| {
        console.data(&page);
        let Some(known) = &verdict.known else { return };
        unused(console, &known.unused);
        if !known.unknown.is_empty() {
            let names = harmless(&known.unknown.join(", "));
            console.say(&format!("not known of it, so taken for missing: {names}"));
        }
        if let Some(note) = &known.note {
            console.say(&harmless(note));
        }
    });
    Ok(())
}

fn unused(console: &mut Console, names: &[String]) {
    if !names.is_empty() {
        let names = harmless(&names.join(", "));
        console.say(&format!("nothing here asks for {names}: perhaps misspelt"));
    }
}

/// The question as the API takes it: each attribute is a parameter of its own.
fn path(what: &str, name: &str, about: &ExplainArgs) -> String {
    let mut path = format!("/api/v1/explain?{what}={}", segment(name));
    for (attribute, value) in &about.context {
        path += &format!("&{}={}", segment(attribute), segment(value));
    }
    path
}

fn page_of(explained: &Explanation, value_type: &str, about: &ExplainArgs) -> String {
    let known: Vec<String> = about
        .context
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let whom = match known.is_empty() {
        true => "somebody of whom nothing is known".to_owned(),
        false => known.join(" "),
    };
    let value = shown(&explained.value, value_type);
    let mut page = harmless(&format!(
        "{} says {value} to {whom}: {} (revision {})",
        explained.flag, explained.reason, explained.revision
    ));
    page.push('\n');
    steps(&mut page, explained, value_type, "  ");
    page
}

/// Rule by rule, clause by clause.
fn steps(page: &mut String, explained: &Explanation, value_type: &str, room: &str) {
    for step in &explained.steps {
        let name = match (&step.opening, &step.rule) {
            (Some(id), _) => format!("opening {id}"),
            (None, rule) => format!("rule {}", rule.as_deref().unwrap_or("?")),
        };
        let ended = match (step.holds, step.decides) {
            (_, true) => "decides",
            (true, false) => "holds, but the lot fell in none of its shares",
            (false, false) => "does not hold",
        };
        let _ = writeln!(page, "{room}{}", harmless(&format!("{name}: {ended}")));
        for asked in &step.clauses {
            let _ = writeln!(page, "{room}  {}", harmless(&asked.line()));
        }
        if let Some(drawn) = &step.split {
            let _ = writeln!(page, "{room}  {}", harmless(&drawn.line(value_type)));
        }
    }
    if !explained.not_asked.is_empty() {
        let names = harmless(&explained.not_asked.join(", "));
        let _ = writeln!(page, "{room}not asked any more: {names}");
    }
}

impl Asked {
    fn line(&self) -> String {
        let found = self.found.as_deref().map_or("nothing", |found| found);
        let through = match self.through.as_deref() {
            Some("member") => ", a member",
            Some(_) => ", by the segment's clauses",
            None => "",
        };
        let holds = if self.holds { "yes" } else { "no " };
        let more = match self.values_left_out {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!(
            "{holds} {}{more}   found {found}{through}",
            Shown(&self.clause)
        )
    }
}

impl Drawn {
    fn line(&self, value_type: &str) -> String {
        let (Some(key), Some(bucket)) = (&self.key, self.bucket) else {
            return format!("no lot: {} is not known", self.by);
        };
        let mut line = format!("{}={key} drew {bucket} of {}", self.by, self.of);
        for part in &self.shares {
            let mark = if part.drawn { ", in" } else { ", not in" };
            let value = shown(&part.value, value_type);
            line += &format!(
                "{mark} the {} below {} for {value}",
                share(part.share),
                part.below
            );
        }
        line
    }
}

fn page_of_queue(told: &Verdict) -> String {
    let by = match (&told.opening, &told.rule) {
        (Some(id), _) => format!(", by the opening {id}"),
        (None, Some(rule)) => format!(", by the rule {rule}"),
        (None, None) => String::new(),
    };
    let reason = told
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(" ({reason})"));
    let ends = format!(
        "{}: {}{reason}{by} (revision {})",
        told.queue, told.verdict, told.revision
    );
    let mut page = format!("{}\n", harmless(&ends));
    for link in &told.links {
        let decides = if link.decides { " -> decides" } else { "" };
        let line = format!("{}: {}{decides}", link.asks, link.found);
        let _ = writeln!(page, "  {}", harmless(&line));
        if let Some(says) = link.says.as_ref().filter(|says| !says.steps.is_empty()) {
            steps(&mut page, says, "", "    ");
        }
    }
    if !told.whole_queue.is_empty() {
        let all = told.whole_queue.iter();
        let all: Vec<String> = all
            .map(|(valve, value)| format!("{valve} {}", shown(value, "")))
            .collect();
        let _ = writeln!(page, "  for the whole queue: {}", harmless(&all.join(", ")));
    }
    page
}

/// `flag preview`
pub(super) async fn preview(session: &mut Session<'_>, asked: &PreviewArgs) -> Result<(), Failure> {
    let (flag, _) = session.flag(asked.key.as_str()).await?;
    let value = typed(&asked.value, &flag.value_type);
    let body = match asked.whom.when.is_empty() {
        true => fields([("value", value)]),
        false => fields([("open", json!({"value": value, "when": asked.whom.json()}))]),
    };
    let path = format!("{}/preview", flag_path(&flag.key));
    let answer = session.post(&path, body, &Terms::default()).await?;
    let told: Preview = read(&answer)?;
    session.show(&answer, |console| {
        console.data(&harmless(&told.summary));
        let most = told
            .effect
            .map(|effect| effect.most_touched)
            .unwrap_or_default();
        if !most.is_empty() {
            let mut table = Table::new([("MOST TOUCHED", Side::Left), ("MESSAGES", Side::Right)]);
            for touched in &most {
                table.row([
                    touched.key.as_str().into(),
                    touched.messages.to_string().into(),
                ]);
            }
            console.data(&table.render(console.colour));
        }
        if let Some(size) = told.confirm {
            console.say(&format!(
                "a big move: it will have to be confirmed ({size}), or --yes"
            ));
        }
    });
    Ok(())
}

/// What a change would do.
#[derive(Debug, Deserialize)]
struct Preview {
    summary: String,
    effect: Option<Effect>,
    confirm: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Effect {
    #[serde(default)]
    most_touched: Vec<MostTouched>,
}

/// Somebody with many messages that would get another verdict.
#[derive(Debug, Deserialize)]
struct MostTouched {
    key: String,
    messages: u64,
}
