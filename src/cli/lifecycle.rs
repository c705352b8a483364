//! `flag undo` and `flag delete`. May import `rules`.

use hyper::header;
use serde_json::Value as Json;

use super::client::{Answer, Ask};
use super::failure::Failure;
use super::grammar::{Keep, Terms};
use super::session::{Session, fields, flag_path, kept, outrun, would};
use super::views::FlagView;
use super::words::shown;
use crate::rules::names::{FlagKey, segment};

/// `flag undo`
pub(super) async fn undo(
    session: &mut Session<'_>,
    key: &FlagKey,
    revision: Option<u64>,
    keep: Keep,
    terms: &Terms,
) -> Result<(), Failure> {
    let reason = session.reason(terms)?;
    let mut body = fields([("reason", Json::from(reason))]);
    if let Some(revision) = revision {
        body.insert("revision".to_owned(), Json::from(revision));
    }
    kept(&mut body, keep);
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
    terms: &Terms,
) -> Result<(), Failure> {
    let (flag, etag) = session.flag(key.as_str()).await?;
    let reason = session.reason(terms)?;
    let answer = remove(session, &flag_path(key.as_str()), &etag, &reason, terms).await?;
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

/// Deletes what stands at a path, if it is still what was seen.
pub(super) async fn remove(
    session: &mut Session<'_>,
    path: &str,
    etag: &str,
    reason: &str,
    terms: &Terms,
) -> Result<Answer, Failure> {
    let dry = if terms.dry_run { "&dry_run=true" } else { "" };
    let path = format!("{path}?reason={}{dry}", segment(reason));
    let ask = Ask::delete(path).with(header::IF_MATCH, etag);
    session.write(ask, terms).await
}
