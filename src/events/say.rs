//! The data of events, as JSON.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::rules::names::FlagKey;
use crate::rules::notice::Notice;
use crate::rules::opening::Opening;
use crate::rules::record::ChangeRecord;

/// So many names stand in one event; of more, it says how many.
const MOST_NAMES: usize = 50;

pub(super) fn change(record: &ChangeRecord) -> Json {
    let flags: Vec<&FlagKey> = record.touched.iter().map(|touched| &touched.flag).collect();
    let segments = record
        .segments
        .iter()
        .map(|touched| touched.segment.as_str());
    let mut data = json!({
        "revision": record.revision,
        "at": rfc3339(record.at_ms),
        "edit": record.edit,
        "cause": record.cause,
        "by": record.by.name,
        "reason": record.reason,
        "flags": names(flags.iter().map(|key| key.as_str())),
        "segments": names(segments),
    });
    put_more(&mut data, flags.len());
    if let (Some(opening), Json::Object(data)) = (&record.opening, &mut data) {
        data.insert("opening".into(), json!(opening.id));
    }
    data
}

pub(super) fn opening(opening: &Opening, at_ms: i64) -> Json {
    let flags = opening.values.iter().map(|(key, _)| key.as_str());
    let mut data = json!({
        "opening": opening.id,
        "at": rfc3339(at_ms),
        "flags": names(flags),
        "owner": opening.owner,
        "reason": opening.reason,
        "ends_at": rfc3339(opening.ends_at_ms),
    });
    put_more(&mut data, opening.values.len());
    data
}

pub(super) fn notice(notice: &Notice) -> Json {
    let flags = notice.flags.iter().map(|touched| touched.flag.as_str());
    let opening = &notice.opening;
    let mut data = json!({
        "opening": opening.id,
        "at": notice.at,
        "flags": names(flags),
        "owner": opening.owner,
        "reason": opening.reason,
        "ends_at": opening.ends_at,
    });
    put_more(&mut data, notice.flags.len());
    data
}

fn names<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    all.take(MOST_NAMES).collect()
}

/// How many flags are not named.
fn put_more(data: &mut Json, flags: usize) {
    if let (Some(more @ 1..), Json::Object(data)) = (flags.checked_sub(MOST_NAMES), data) {
        data.insert("more_flags".into(), json!(more));
    }
}

pub(super) fn rfc3339(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(|_| String::new(), |at| at.to_string())
}
