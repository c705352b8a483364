//! `segment list`, `get`, `create`, `add`, `remove` and `delete`. May import `rules`.

use hyper::{Method, header};
use serde::Deserialize;
use serde_json::Value as Json;

use super::clauses;
use super::client::{Answer, Ask};
use super::failure::{Exit, Failure};
use super::files;
use super::grammar::{Force, Members, MembersArgs, NewSegment, Terms};
use super::lifecycle::deletion;
use super::session::{Session, fields, would};
use super::table::{Side, Table};
use super::views::read;
use crate::rules::clause::ClauseDocument;
use crate::rules::names;
use crate::rules::segment::SegmentName;

const LIST: &str = "/api/v1/segments";
/// So many members are read at once.
const LARGEST_PAGE: usize = 10_000;
/// So many members are shown to people; programs get all.
const SHOWN: usize = 100;

/// A segment as the daemon shows it; lists and answers to writes leave the members out.
#[derive(Debug, Deserialize)]
struct SegmentView {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    owner: String,
    #[serde(default)]
    by: String,
    #[serde(default)]
    members: Vec<String>,
    member_count: u64,
    #[serde(default)]
    when: Vec<ClauseDocument>,
    #[serde(default)]
    used_by: Vec<String>,
    #[serde(default)]
    revision: u64,
}

/// The path of a segment.
pub(super) fn path(name: &str) -> String {
    format!("{LIST}/{}", names::segment(name))
}

/// A segment with all its members, whatever the pages.
pub(super) async fn whole(session: &Session<'_>, name: &str) -> Result<Json, Failure> {
    let path = path(name);
    let mut whole = session.get(&format!("{path}?limit={LARGEST_PAGE}")).await?;
    while let Some(next) = whole["next"].as_str() {
        let next = names::segment(next);
        let query = format!("{path}?limit={LARGEST_PAGE}&cursor={next}");
        let mut page = session.get(&query).await?;
        let more = match page["members"].take() {
            Json::Array(more) if !more.is_empty() => more,
            _ => break,
        };
        if let Json::Array(members) = &mut whole["members"] {
            members.extend(more);
        }
        whole["next"] = page["next"].take();
    }
    if let Json::Object(fields) = &mut whole {
        fields.shift_remove("next");
    }
    Ok(whole)
}

/// `segment list`
pub(super) async fn list(session: &mut Session<'_>) -> Result<(), Failure> {
    let answer = session.list(LIST).await?;
    let segments: Vec<SegmentView> = read(&answer["items"])?;
    session.show(&answer, |console| {
        if segments.is_empty() {
            console.say("there is no segment; `sluicegate segment create` makes one");
            return;
        }
        let mut table = Table::new([
            ("SEGMENT", Side::Left),
            ("MEMBERS", Side::Right),
            ("BY", Side::Left),
            ("AND WHO", Side::Left),
            ("OWNER", Side::Left),
            ("WHAT", Side::Left),
        ]);
        for segment in &segments {
            table.row([
                segment.name.as_str().into(),
                segment.member_count.to_string().into(),
                segment.by.as_str().into(),
                clauses::shown(&segment.when).into(),
                segment.owner.as_str().into(),
                segment.description.as_str().into(),
            ]);
        }
        console.data(&table.render(console.colour));
    });
    Ok(())
}

/// `segment get`
pub(super) async fn get(session: &mut Session<'_>, name: &SegmentName) -> Result<(), Failure> {
    let answer = whole(session, name.as_str()).await?;
    let segment: SegmentView = read(&answer)?;
    session.show(&answer, |console| {
        let mut facts = Table::new([(segment.name.as_str(), Side::Left), ("", Side::Left)]);
        for (what, text) in [
            ("  what it is", segment.description.clone()),
            ("  owner", segment.owner.clone()),
            ("  members by", segment.by.clone()),
            ("  members", segment.member_count.to_string()),
            ("  and who has", clauses::shown(&segment.when)),
            ("  used by", segment.used_by.join(", ")),
            ("  revision", segment.revision.to_string()),
        ] {
            if !text.is_empty() {
                facts.row([what.into(), text.into()]);
            }
        }
        console.data(&facts.render(console.colour));
        let mut members = Table::new([("MEMBER", Side::Left)]);
        for member in segment.members.iter().take(SHOWN) {
            members.row([member.into()]);
        }
        if !members.is_empty() {
            console.data(&format!("\n{}", members.render(console.colour)));
        }
        if segment.members.len() > SHOWN {
            let more = segment.members.len() - SHOWN;
            console.say(&format!("and {more} more; --json shows all"));
        }
    });
    Ok(())
}

/// Who is meant, from arguments and file; a member named twice is one.
fn members(session: &mut Session<'_>, asked: &Members) -> Result<Vec<String>, Failure> {
    let mut all = asked.members.clone();
    if let Some(file) = &asked.file {
        let text = files::read(session.console, file)?;
        all.extend(files::items(&text));
    }
    let mut seen = std::collections::HashSet::new();
    all.retain(|member| seen.insert(member.clone()));
    Ok(all)
}

/// `segment create`
pub(super) async fn create(session: &mut Session<'_>, new: &NewSegment) -> Result<(), Failure> {
    let members = members(session, &new.members)?;
    if members.is_empty() && new.whom.when.is_empty() {
        let sentence = "nobody would belong to it: name members, --file FILE, or --when CLAUSE";
        return Err(Failure::new(Exit::Usage, sentence));
    }
    let reason = session.reason(&new.terms)?;
    let body = fields([
        ("name", Json::from(new.name.as_str())),
        ("description", Json::from(new.description.as_str())),
        ("owner", Json::from(new.owner.as_str())),
        ("by", Json::from(new.by.as_str())),
        ("members", Json::from(members)),
        ("when", new.whom.json()),
        ("reason", Json::from(reason)),
    ]);
    let ask = Ask::write(
        Method::PUT,
        &path(new.name.as_str()),
        body,
        new.terms.dry_run,
    )
    .with(header::IF_NONE_MATCH, "*");
    let answer = session.write(ask, &new.terms).await?.done()?;
    let segment: SegmentView = read(&answer)?;
    session.show(&answer, |console| {
        let exists = if new.terms.dry_run {
            "would exist"
        } else {
            "exists"
        };
        let members = counted(segment.member_count);
        console.data(&format!(
            "{}segment {} {exists}, with {members}",
            would(&new.terms),
            new.name
        ));
    });
    Ok(())
}

fn counted(count: u64) -> String {
    match count {
        1 => "1 member".to_owned(),
        _ => format!("{count} members"),
    }
}

/// `segment add` and `segment remove`
pub(super) async fn change(
    session: &mut Session<'_>,
    asked: &MembersArgs,
    what: &'static str,
) -> Result<(), Failure> {
    let members = members(session, &asked.members)?;
    if members.is_empty() {
        let sentence = "nobody is named; give members, or --file FILE with one a line";
        return Err(Failure::new(Exit::Usage, sentence));
    }
    let reason = session.reason(&asked.terms)?;
    let named = members.len() as u64;
    let body = fields([(what, Json::from(members)), ("reason", Json::from(reason))]);
    let path = format!("{}/members", path(asked.name.as_str()));
    let answer = session.post(&path, body, &asked.terms).await?;
    let segment: SegmentView = read(&answer)?;
    session.show(&answer, |console| {
        let (has, past) = match (asked.terms.dry_run, what) {
            (true, _) => ("would have", what),
            (false, "add") => ("has", "added"),
            (false, _) => ("has", "removed"),
        };
        let members = counted(segment.member_count);
        console.data(&format!(
            "{}{past} {}: segment {} {has} {members}",
            would(&asked.terms),
            counted(named),
            asked.name
        ));
    });
    Ok(())
}

/// `segment delete`
pub(super) async fn delete(
    session: &mut Session<'_>,
    name: &SegmentName,
    terms: &Terms,
) -> Result<(), Failure> {
    let path = path(name.as_str());
    let standing = Ask::get(format!("{path}?limit=0"));
    let standing: Answer = session.client.send(standing).await?;
    let etag = standing.etag.clone().unwrap_or_default();
    standing.done()?;
    let reason = session.reason(terms)?;
    let path = deletion(&path, &reason, Force::default(), terms);
    let ask = Ask::delete(path).with(header::IF_MATCH, &etag);
    let answer = session.write(ask, terms).await?.done()?;
    session.show(&answer, |console| {
        let is = if terms.dry_run { "would be" } else { "is" };
        console.data(&format!("{}segment {name} {is} deleted", would(terms)));
    });
    Ok(())
}
