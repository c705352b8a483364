//! `flag open` and `flag close`. May import `rules`.

use serde_json::{Value as Json, json};

use super::failure::{Exit, Failure};
use super::grammar::{Length, Terms};
use super::session::{Session, would};
use super::table::{Side, Table};
use super::views::FlagView;
use super::words::{moment, shown, typed, until};
use crate::rules::names::FlagKey;
use crate::rules::opening::OpeningId;

/// Flags and values in turn, as pairs.
fn pairs(words: &[String]) -> Result<Vec<(FlagKey, &str)>, Failure> {
    let usage = |sentence: String| Failure::new(Exit::Usage, sentence);
    let mut pairs: Vec<(FlagKey, &str)> = Vec::new();
    for pair in words.chunks(2) {
        let [key, value] = pair else {
            return Err(usage(format!(
                "{} has no value; flags and values come in pairs, such as: queue.orders.skip 70% queue.orders.max_age 30s",
                pair.concat()
            )));
        };
        let key: FlagKey = key.parse().map_err(|why| usage(format!("{why}")))?;
        if pairs.iter().any(|(before, _)| *before == key) {
            return Err(usage(format!("{key} is named twice; give it one value")));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// `flag open`
pub(super) async fn open(
    session: &mut Session<'_>,
    words: &[String],
    length: &Length,
    terms: &Terms,
) -> Result<(), Failure> {
    let mut flags = Vec::new();
    let mut values = Vec::new();
    for (key, value) in pairs(words)? {
        // Asked first for its type and for what stands now; a key that does not exist is found before anything is asked.
        let (flag, _) = session.flag(key.as_str()).await?;
        values.push((key.to_string(), typed(value, &flag.value_type)));
        flags.push(flag);
    }
    let answer = session.open(&values, length, terms).await?;
    tell(session, &answer, &flags, &values, terms);
    Ok(())
}

/// Tells of an opening that was made.
pub(super) fn tell(
    session: &mut Session<'_>,
    answer: &Json,
    flags: &[FlagView],
    values: &[(String, Json)],
    terms: &Terms,
) {
    let id = answer["id"].as_str().unwrap_or("an opening");
    let ends_at = answer["ends_at"].as_str().unwrap_or("its time");
    let mut table = Table::new([
        ("FLAG", Side::Left),
        ("VALUE", Side::Right),
        ("WAS", Side::Right),
    ]);
    for (flag, (key, value)) in flags.iter().zip(values) {
        table.row([
            key.into(),
            shown(value, &flag.value_type).into(),
            shown(&flag.now, &flag.value_type).into(),
        ]);
    }
    let now_ms = session.now_ms;
    session.show(answer, |console| {
        let is = if terms.dry_run { "would be" } else { "is" };
        let end = format!("{} ({})", moment(ends_at), until(ends_at, now_ms));
        console.data(&format!("{}{id} {is} open until {end}", would(terms)));
        console.data(&table.render(console.colour));
        if !terms.dry_run {
            console.say(&format!(
                "to end it sooner: sluicegate flag close {id} --reason \"...\""
            ));
        }
    });
}

/// `flag close`
pub(super) async fn close(
    session: &mut Session<'_>,
    what: &FlagKey,
    terms: &Terms,
) -> Result<(), Failure> {
    let ids = match what.as_str().parse::<OpeningId>() {
        Ok(id) => vec![id.to_string()],
        Err(_) => ids_on(session, what.as_str()).await?,
    };
    let reason = session.reason(terms)?;
    let closed = close_all(session, &ids, &reason, terms).await?;
    let answer = json!({ "items": closed });
    session.show(&answer, |console| {
        let are = if terms.dry_run {
            "would be closed"
        } else {
            "closed"
        };
        console.data(&format!("{}{are}: {}", would(terms), ids.join(", ")));
    });
    Ok(())
}

async fn ids_on(session: &Session<'_>, key: &str) -> Result<Vec<String>, Failure> {
    let (flag, _) = session.flag(key).await?;
    if flag.openings.is_empty() {
        let sentence = format!(
            "no opening lies on {key}; its own value is {}, `sluicegate flag set` changes it",
            shown(&flag.value, &flag.value_type)
        );
        return Err(Failure::new(Exit::NotFound, sentence));
    }
    Ok(flag.openings.into_iter().map(|over| over.id).collect())
}

/// Ends openings one by one. When one cannot be ended, those before it are, and the failure says so.
pub(super) async fn close_all(
    session: &mut Session<'_>,
    ids: &[String],
    reason: &str,
    terms: &Terms,
) -> Result<Vec<Json>, Failure> {
    let mut closed = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        let answer = session.close(id, reason, terms).await;
        closed.push(answer.map_err(|failure| match &ids[..number] {
            [] => failure,
            done if terms.dry_run => Failure {
                sentence: format!("{failure} (after {})", done.join(", ")),
                ..failure
            },
            done => {
                let sentence = format!("{failure}; closed before that: {}", done.join(", "));
                Failure {
                    sentence,
                    ..failure
                }
            }
        })?);
    }
    Ok(closed)
}
