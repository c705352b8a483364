//! `provider unknown` and `provider resolve`: jobs that a provider may have done. May import `rules`.

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::client::Ask;
use super::failure::Failure;
use super::grammar::{InDoubt, Terms};
use super::session::{Session, fields, would};
use super::table::{Side, Table};
use super::views::read;
use super::words::moment;
use crate::rules::doubt::Verdict;
use crate::rules::names::segment;

const LIST: &str = "/api/v1/providers/unknown";
const RESOLVE: &str = "/api/v1/providers/unknown/resolve";

/// A job in doubt, as the daemon tells of it.
#[derive(Debug, Deserialize)]
struct Doubt {
    queue: String,
    id: String,
    provider: String,
    message_id: Option<String>,
    cause: String,
    at: String,
}

#[derive(Debug, Deserialize)]
struct Resolved {
    resolved: u64,
    #[serde(default)]
    not_found: Vec<String>,
    left: u64,
}

/// `provider unknown`
pub(super) async fn list(session: &mut Session<'_>, which: &InDoubt) -> Result<(), Failure> {
    let filters = which.named().into_iter();
    let filters = filters.map(|(name, value)| format!("{name}={}", segment(value)));
    let path = match filters.collect::<Vec<_>>().join("&") {
        none if none.is_empty() => LIST.to_owned(),
        some => format!("{LIST}?{some}"),
    };
    let answer = session.list(&path).await?;
    let doubts: Vec<Doubt> = read(&answer["items"])?;
    session.show(&answer, |console| {
        if doubts.is_empty() {
            return console.say("no job is in doubt: of each it is known whether it was done");
        }
        console.data(&table_of(&doubts).render(console.colour));
        console.say("look for each in its provider's log, then: sluicegate provider resolve done|again|failed ID --queue QUEUE --reason \"...\"");
    });
    Ok(())
}

/// `provider resolve`
pub(super) async fn resolve(
    session: &mut Session<'_>,
    (verdict, ids, all): (Verdict, &[String], bool),
    which: &InDoubt,
    terms: &Terms,
) -> Result<(), Failure> {
    let reason = session.reason(terms)?;
    let chosen = if all {
        ("all", Json::from(true))
    } else {
        ("ids", json!(ids))
    };
    let mut body = fields([("as", Json::from(verdict.word())), chosen]);
    for (name, value) in which.named() {
        body.insert(name.to_owned(), Json::from(value));
    }
    body.insert("reason".to_owned(), Json::from(reason));
    let ask = Ask::write(Method::POST, RESOLVE, body, terms.dry_run);
    let answer = session.write(ask, terms).await?.done()?;
    let resolved: Resolved = read(&answer)?;
    let what = match verdict {
        Verdict::Done => "are known to be done",
        Verdict::Again => "went back to their queue",
        Verdict::Failed => "are known to have failed",
    };
    let sentence = format!(
        "{}resolved: {} {what}; {} are still in doubt",
        would(terms),
        resolved.resolved,
        resolved.left
    );
    session.show(&answer, |console| {
        console.data(&sentence);
        for id in &resolved.not_found {
            console.say(&format!(
                "{id}: its message is not in the park; it stays in the list"
            ));
        }
    });
    Ok(())
}

impl InDoubt {
    /// What is said of them, by name.
    fn named(&self) -> Vec<(&'static str, &str)> {
        let queue = self.queue.as_ref().map(|queue| ("queue", queue.as_str()));
        let pool = self.pool.as_deref().map(|pool| ("pool", pool));
        let provider = self
            .provider
            .as_deref()
            .map(|provider| ("provider", provider));
        [queue, pool, provider].into_iter().flatten().collect()
    }
}

fn table_of(doubts: &[Doubt]) -> Table {
    let mut table = Table::new([
        ("QUEUE", Side::Left),
        ("ID", Side::Left),
        ("PROVIDER", Side::Left),
        ("WHEN", Side::Left),
        ("MESSAGE-ID", Side::Left),
        ("WHY", Side::Left),
    ]);
    for doubt in doubts {
        table.row([
            doubt.queue.as_str().into(),
            doubt.id.as_str().into(),
            doubt.provider.as_str().into(),
            moment(&doubt.at).into(),
            doubt.message_id.as_deref().unwrap_or("-").into(),
            doubt.cause.as_str().into(),
        ]);
    }
    table
}
