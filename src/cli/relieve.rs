//! `relieve`. May import `rules`.

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::console::{Console, harmless};
use super::failure::Failure;
use super::grammar::{RelieveArgs, Terms};
use super::session::{Session, fields, would};
use super::table::{Side, Table};
use super::views::read;
use super::words::{about, end_of, per_second, shown, typed};
use crate::rules::names::segment;
use crate::rules::preview::thousands;

/// A queue that is relieved, or would be, as the daemon tells of it.
#[derive(Debug, Deserialize)]
struct Relieved {
    id: String,
    ends_at: String,
    until: Option<String>,
    values: Map<String, Json>,
    deadline: String,
    #[serde(default)]
    notes: Vec<String>,
    forecast: Forecast,
    #[serde(default)]
    preview: Vec<Preview>,
}

#[derive(Debug, Deserialize)]
struct Forecast {
    waiting: Option<u64>,
    shed_at_once: Option<u64>,
    offered_per_second: f64,
    capacity_per_second: Option<f64>,
    on_time_per_second_now: Option<f64>,
    on_time_per_second_then: Option<f64>,
    shed_ratio_then: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Preview {
    flag: String,
    summary: String,
}

/// `relieve`
pub(super) async fn relieve(session: &mut Session<'_>, asked: &RelieveArgs) -> Result<(), Failure> {
    let (name, terms) = (&asked.name, &asked.terms);
    let path = format!("/api/v1/queues/{}/relieve", segment(name.as_str()));
    if terms.reason.is_none() && !session.json {
        // Who has not said why yet sees first what it would do.
        let trying = Terms {
            dry_run: true,
            ..terms.clone()
        };
        let answer = session.post(&path, body(asked, "what if"), &trying).await?;
        tell(session, &answer, asked, &trying)?;
        if terms.dry_run {
            return Ok(());
        }
    }
    let reason = session.reason(terms)?;
    let answer = session.post(&path, body(asked, &reason), terms).await?;
    tell(session, &answer, asked, terms)
}

fn body(asked: &RelieveArgs, reason: &str) -> Map<String, Json> {
    let mut body = fields([("reason", Json::from(reason))]);
    let said = [
        ("deadline", asked.deadline.map(|span| span.to_string())),
        ("for", asked.lasting.map(|span| span.to_string())),
        ("until", asked.until.map(|until| until.to_string())),
    ];
    for (name, text) in said {
        body.extend(text.map(|text| (name.to_owned(), Json::from(text))));
    }
    let restore = asked.restore.map(serde_json::to_value).and_then(Result::ok);
    body.extend(restore.map(|how| ("restore".to_owned(), how)));
    let share = asked.skip.as_deref().map(|share| typed(share, "ratio"));
    body.extend(share.map(|share| ("ratio".to_owned(), share)));
    body
}

fn tell(
    session: &mut Session<'_>,
    answer: &Json,
    asked: &RelieveArgs,
    terms: &Terms,
) -> Result<(), Failure> {
    let relieved: Relieved = read(answer)?;
    let now_ms = session.now_ms;
    session.show(answer, |console| {
        let is = if terms.dry_run { "would be" } else { "is" };
        let end = end_of(&relieved.ends_at, relieved.until.as_deref(), now_ms);
        let (dry, id, name) = (would(terms), &relieved.id, &asked.name);
        console.data(&harmless(&format!(
            "{dry}{name} {is} relieved by {id} until {end}"
        )));
        console.data(&values_of(&relieved).render(console.colour));
        for line in forecast_of(&relieved) {
            console.data(&harmless(&line));
        }
        for note in &relieved.notes {
            console.say(&harmless(&format!("note: {note}")));
        }
        if !terms.dry_run {
            next(console, name.as_str(), id);
        }
    });
    Ok(())
}

fn values_of(relieved: &Relieved) -> Table {
    let mut table = Table::new([("FLAG", Side::Left), ("VALUE", Side::Right)]);
    for (key, value) in &relieved.values {
        let value_type = if key.ends_with(".skip") { "ratio" } else { "" };
        table.row([key.as_str().into(), shown(value, value_type).into()]);
    }
    table
}

/// What comes of it, line by line.
fn forecast_of(relieved: &Relieved) -> Vec<String> {
    let told = &relieved.forecast;
    let unknown = || "unknown".to_owned();
    let rate =
        |figure: Option<f64>| figure.map_or_else(unknown, |rate| format!("{}/s", per_second(rate)));
    let count = |count: u64| thousands(usize::try_from(count).unwrap_or(usize::MAX));
    let at_once = match (told.shed_at_once, told.waiting) {
        (Some(shed), Some(waiting)) => format!(
            "about {} of the {} that wait are too old for {} and go",
            count(shed),
            count(waiting),
            relieved.deadline
        ),
        _ => "unknown: it is not told how many wait, or how old they are".to_owned(),
    };
    let mut lines = vec![
        format!("at once   {at_once}"),
        format!(
            "on time   {} now, up to {} then (offered {}, workers can do {})",
            rate(told.on_time_per_second_now),
            rate(told.on_time_per_second_then),
            rate(Some(told.offered_per_second)),
            rate(told.capacity_per_second)
        ),
    ];
    if let Some(share) = told.shed_ratio_then {
        lines.push(format!(
            "shed      about {} from then on, while so much comes",
            about(share)
        ));
    }
    let previews = relieved.preview.iter();
    lines.extend(previews.map(|one| format!("accounts  {}: {}", one.flag, one.summary)));
    lines
}

/// What to look at when it is done.
fn next(console: &mut Console, name: &str, id: &str) {
    console.say(&format!(
        "look at ON TIME and SHED/S: sluicegate queue list {name}"
    ));
    console.say(&format!(
        "it lets go by itself; to end it sooner: sluicegate flag close {id} --reason \"...\""
    ));
}
