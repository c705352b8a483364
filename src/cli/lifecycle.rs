//! `flag undo` and `flag delete`. May import `rules`.

use hyper::header;
use serde_json::Value as Json;

use super::client::Ask;
use super::failure::Failure;
use super::grammar::{Force, Terms};
use super::session::{Session, fields, flag_path, forced, outrun, would};
use super::views::FlagView;
use super::words::shown;
use crate::rules::names::{FlagKey, segment};

/// `flag undo`
pub(super) async fn undo(
    session: &mut Session<'_>,
    key: &FlagKey,
    revision: Option<u64>,
    force: Force,
    terms: &Terms,
) -> Result<(), Failure> {
    let reason = session.reason(terms)?;
    let mut body = fields([("reason", Json::from(reason))]);
    if let Some(revision) = revision {
        body.insert("revision".to_owned(), Json::from(revision));
    }
    forced(&mut body, force);
    let path = format!("{}/undo", flag_path(key.as_str()));
    let answer = session.post(&path, body, terms).await?;
    session.show(&answer, |console| {
        let is = if terms.dry_run { "would be" } else { "is" };
        let stands = match answer["type"].as_str() {
            Some(value_type) => format!("as it was, at {}", shown(&answer["value"], value_type)),
            None => "gone again: it did not exist before".to_owned(),
        };
        console.data(&format!("{}{key} {is} {stands}", would(terms)));
    });
    Ok(())
}

/// `flag delete`
pub(super) async fn delete(
    session: &mut Session<'_>,
    key: &FlagKey,
    force: Force,
    terms: &Terms,
) -> Result<(), Failure> {
    let (flag, etag) = session.flag(key.as_str()).await?;
    let reason = session.reason(terms)?;
    let path = deletion(&flag_path(key.as_str()), &reason, force, terms);
    let ask = Ask::delete(path).with(header::IF_MATCH, &etag);
    let answer = session.write(ask, terms).await?;
    if let Some(now) = answer.stands_now() {
        return Err(outrun(&flag, &FlagView::of(now.clone())?));
    }
    let answer = answer.done()?;
    session.show(&answer, |console| {
        let is = if terms.dry_run { "would be" } else { "is" };
        console.data(&format!("{}{key} {is} deleted", would(terms)));
        if !terms.dry_run {
            console.say(&format!(
                "to bring it back: sluicegate flag undo {key} --reason \"...\""
            ));
        }
    });
    Ok(())
}

/// The request that deletes what stands at a path.
pub(super) fn deletion(path: &str, reason: &str, force: Force, terms: &Terms) -> String {
    let mut path = format!("{path}?reason={}", segment(reason));
    for (name, said) in [("dry_run", terms.dry_run), ("force", force.force)] {
        if said {
            path += &format!("&{name}=true");
        }
    }
    path
}
