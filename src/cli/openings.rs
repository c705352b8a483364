//! `flag open`, `flag extend` and `flag close`. May import `rules`.

use serde_json::{Map, Value as Json, json};

use super::clauses;
use super::console::harmless;
use super::failure::{Exit, Failure};
use super::grammar::{Length, OpenArgs, Terms};
use super::session::{Session, fields, would};
use super::table::{Side, Table};
use super::views::{FlagView, read};
use super::words::{end_of, moment, shown, typed, until};
use crate::rules::clause::ClauseDocument;
use crate::rules::names::{FlagKey, segment};
use crate::rules::opening::{OpeningId, Restore};

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
pub(super) async fn open(session: &mut Session<'_>, asked: &OpenArgs) -> Result<(), Failure> {
    let mut flags = Vec::new();
    let mut values = Vec::new();
    for (key, value) in pairs(&asked.pairs)? {
        // Asked first for its type and for what stands now; a key that does not exist is found before anything is asked.
        let (flag, _) = session.flag(key.as_str()).await?;
        values.push((key.to_string(), typed(value, &flag.value_type)));
        flags.push(flag);
    }
    let answer = session.open(&values, &asked.length, more(asked), &asked.terms);
    let answer = answer.await?;
    tell(session, &answer, &flags, &values, &asked.terms);
    Ok(())
}

/// For whom it is and how it ends, where that is not as usual.
fn more(asked: &OpenArgs) -> Map<String, Json> {
    let mut more = Map::new();
    if !asked.whom.when.is_empty() {
        more.insert("when".to_owned(), asked.whom.json());
    }
    if asked.restore != Restore::Snap {
        let how = serde_json::to_value(asked.restore);
        more.insert("restore".to_owned(), how.unwrap_or_default());
    }
    more
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
    let whom = read::<Vec<ClauseDocument>>(&answer["when"]).unwrap_or_default();
    let whom = match whom.is_empty() {
        true => String::new(),
        false => format!(" for {}", clauses::shown(&whom)),
    };
    session.show(answer, |console| {
        let is = if terms.dry_run { "would be" } else { "is" };
        let end = end_of(ends_at, answer["until"].as_str(), now_ms);
        let opened = format!("{}{id} {is} open{whom} until {end}", would(terms));
        console.data(&harmless(&opened));
        console.data(&table.render(console.colour));
        for told in answer["preview"].as_array().into_iter().flatten() {
            let text = |field: &str| told[field].as_str().unwrap_or_default();
            let effect = format!("{}: {}", text("flag"), text("summary"));
            console.data(&harmless(&effect));
        }
        if !terms.dry_run {
            console.say(&format!(
                "to end it sooner: sluicegate flag close {id} --reason \"...\""
            ));
        }
    });
}

/// `flag extend`
pub(super) async fn extend(
    session: &mut Session<'_>,
    id: OpeningId,
    length: &Length,
    terms: &Terms,
) -> Result<(), Failure> {
    let reason = session.reason(terms)?;
    let body = fields([("reason", Json::from(reason)), session.end(length)?]);
    let path = format!("/api/v1/openings/{}/extend", segment(&id.to_string()));
    let answer = session.post(&path, body, terms).await?;
    let ends_at = answer["ends_at"].as_str().unwrap_or("its time");
    let end = format!("{} ({})", moment(ends_at), until(ends_at, session.now_ms));
    session.show(&answer, |console| {
        let ends = if terms.dry_run { "would end" } else { "ends" };
        console.data(&harmless(&format!("{}{id} {ends} {end}", would(terms))));
    });
    Ok(())
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
        closed.push(answer.map_err(|failure| {
            let sentence = match &ids[..number] {
                [] => return failure,
                done if terms.dry_run => format!("{failure} (after {})", done.join(", ")),
                done => format!("{failure}; closed before that: {}", done.join(", ")),
            };
            failure.saying(sentence)
        })?);
    }
    Ok(closed)
}
