//! Documents of flags and segments as text, TOML or JSON, and back. May import `rules`.

use serde_json::{Map, Value as Json};

use super::failure::{Exit, Failure};
use super::grammar::Notation;

/// What people write of a flag, in the order in which it is shown; all else the daemon adds.
const FLAG: [&str; 17] = [
    "key",
    "kind",
    "type",
    "value",
    "enabled",
    "min",
    "max",
    "choices",
    "description",
    "owner",
    "runbook",
    "by",
    "seed",
    "bucketing",
    "managed",
    "rules",
    "revision",
];
/// What people write of a segment.
const SEGMENT: [&str; 7] = [
    "name",
    "description",
    "owner",
    "by",
    "members",
    "when",
    "revision",
];

/// The document in what the daemon shows of a flag, without the revision.
pub(super) fn of_flag(view: &Json) -> Map<String, Json> {
    part(view, &FLAG)
}

/// The document in what the daemon shows of a segment, without the revision.
pub(super) fn of_segment(view: &Json) -> Map<String, Json> {
    part(view, &SEGMENT)
}

/// What says something: empty texts and lists are what a document has anyway.
fn part(view: &Json, fields: &[&str]) -> Map<String, Json> {
    let says_nothing = |value: &Json| match value {
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        _ => false,
    };
    let usual = |name: &str, value: &Json| match name {
        "enabled" => *value == true,
        "bucketing" => *value == "sluicegate",
        "min" | "max" | "by" | "seed" | "managed" => value.is_null(),
        "value" | "revision" => false,
        _ => says_nothing(value),
    };
    let wanted = fields.iter().filter(|name| **name != "revision");
    wanted
        .filter_map(|name| Some((*name, view.get(*name)?)))
        .filter(|(name, value)| !usual(name, value))
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

/// What was read of a flag, without what only the daemon says: `shown` is how it shows the flag.
pub(super) fn without_the_daemons(mut read: Map<String, Json>, shown: &Json) -> Map<String, Json> {
    let daemons = |name: &String| shown.get(name).is_some() && !FLAG.contains(&name.as_str());
    read.retain(|name, _| !daemons(name));
    read
}

/// A document as text that [`read`] reads.
pub(super) fn text(document: &Map<String, Json>, notation: Notation) -> Result<String, Failure> {
    match notation {
        Notation::Json => Ok(format!("{:#}\n", Json::Object(document.clone()))),
        Notation::Toml => {
            toml::to_string(&table(document)?).map_err(|why| unwritable(&why.to_string()))
        }
    }
}

/// Flags and segments as one file for `flag apply`.
pub(super) fn file(
    flags: Vec<Json>,
    segments: Vec<Json>,
    notation: Notation,
) -> Result<String, Failure> {
    let (segment, flag) = match notation {
        Notation::Toml => ("segment", "flag"),
        Notation::Json => ("segments", "flags"),
    };
    let mut document = Map::new();
    for (name, items) in [(segment, segments), (flag, flags)] {
        if !items.is_empty() || notation == Notation::Json {
            document.insert(name.to_owned(), Json::Array(items));
        }
    }
    text(&document, notation)
}

/// Flags and segments of a store as a TOML file for `flag apply`.
///
/// # Errors
/// When something of it cannot be written as TOML.
pub fn flags_file(flags: &[Json], segments: &[Json]) -> anyhow::Result<String> {
    let flags = flags.iter().map(of_flag).map(Json::Object);
    let segments = segments.iter().map(of_segment).map(Json::Object);
    Ok(file(flags.collect(), segments.collect(), Notation::Toml)?)
}

/// What `store export` says beside flags and segments.
const OF_A_STORE: [&str; 6] = [
    "schema",
    "revision",
    "head",
    "openings",
    "tombstones",
    "notes",
];

/// The flags and segments of a file for `flag apply`.
pub(super) fn read_file(text: &str) -> Result<(Json, Json), Failure> {
    let mut document = read(text)?;
    let mut take = |one: &str, many: &str| {
        let found = document.shift_remove(one);
        let found = found.or_else(|| document.shift_remove(many));
        let mut found = found.unwrap_or_else(|| Json::Array(Vec::new()));
        for item in found.as_array_mut().into_iter().flatten() {
            // It says what stood where it was exported, not what stands here.
            if let Json::Object(fields) = item {
                fields.shift_remove("revision");
            }
        }
        found
    };
    let (flags, segments) = (take("flag", "flags"), take("segment", "segments"));
    let other = |name: &&String| !OF_A_STORE.contains(&name.as_str());
    if let Some(other) = document.keys().find(other) {
        let sentence =
            format!("the file has no place for `{other}`; it takes [[flag]] and [[segment]]");
        return Err(Failure::new(Exit::Usage, sentence));
    }
    Ok((flags, segments))
}

/// Reads a document: JSON when it begins with `{`, else TOML.
pub(super) fn read(text: &str) -> Result<Map<String, Json>, Failure> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|why| unreadable(&why.to_string()));
    }
    let table: toml::Table = toml::from_str(text).map_err(|why| unreadable(&why.to_string()))?;
    object(table)
}

fn unreadable(why: &str) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("the document cannot be read: {}", why.trim_end()),
    )
}

fn unwritable(why: &str) -> Failure {
    let sentence = format!("this cannot be written as TOML ({why}); use --format json");
    Failure::new(Exit::Failed, sentence)
}

fn table(document: &Map<String, Json>) -> Result<toml::Table, Failure> {
    let fields = document.iter();
    fields
        .map(|(name, value)| Ok((name.clone(), to_toml(value)?)))
        .collect()
}

fn to_toml(value: &Json) -> Result<toml::Value, Failure> {
    Ok(match value {
        // TOML has no null; the daemon reads "none" as the same.
        Json::Null => toml::Value::from("none"),
        Json::Bool(value) => toml::Value::from(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => toml::Value::from(whole),
            (None, Some(number)) => toml::Value::from(number),
            (None, None) => return Err(unwritable("a number is too large")),
        },
        Json::String(text) => toml::Value::from(text.as_str()),
        Json::Array(items) => items
            .iter()
            .map(to_toml)
            .collect::<Result<Vec<_>, _>>()?
            .into(),
        Json::Object(fields) => table(fields)?.into(),
    })
}

fn object(table: toml::Table) -> Result<Map<String, Json>, Failure> {
    let fields = table.into_iter();
    fields
        .map(|(name, value)| Ok((name, to_json(value)?)))
        .collect()
}

fn to_json(value: toml::Value) -> Result<Json, Failure> {
    Ok(match value {
        toml::Value::String(text) => Json::from(text),
        toml::Value::Integer(number) => Json::from(number),
        toml::Value::Float(number) => Json::from(number),
        toml::Value::Boolean(value) => Json::from(value),
        toml::Value::Datetime(date) => {
            return Err(unreadable(&format!(
                "{date} is a date; write dates as texts, in quotes"
            )));
        }
        toml::Value::Array(items) => items.into_iter().map(to_json).collect::<Result<_, _>>()?,
        toml::Value::Table(fields) => Json::Object(object(fields)?),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::flag::FlagDocument;
    use crate::rules::segment::SegmentDocument;

    fn view() -> Json {
        json!({
            "key": "shop.form", "kind": "release", "type": "string", "value": "old", "choices": ["old", "new"],
            "description": "", "owner": "shop", "runbook": "", "enabled": true, "revision": 7, "now": "old", "openings": [],
            "rules": [{"name": "beta", "when": [{"segment": "beta"}, {"attribute": "plan", "op": "in", "values": ["a", "b"]}],
                       "split": [{"value": "new", "share": 0.05}]}],
        })
    }

    #[test]
    fn a_document_is_the_same_after_either_notation() {
        let document = of_flag(&view());
        for notation in [Notation::Toml, Notation::Json] {
            let text = text(&document, notation).unwrap();
            assert_eq!(read(&text).unwrap(), document, "{text}");
            let parsed: FlagDocument =
                serde_json::from_value(Json::Object(read(&text).unwrap())).unwrap();
            assert_eq!(parsed.rules.len(), 1);
        }
        let names: Vec<&str> = document.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["key", "kind", "type", "value", "choices", "owner", "rules"]
        );
    }

    #[test]
    fn a_file_of_flags_is_read_as_it_was_written() {
        let flags = vec![Json::Object(of_flag(&view()))];
        let segments = vec![json!({"name": "beta", "by": "account", "members": ["acme"]})];
        for notation in [Notation::Toml, Notation::Json] {
            let text = file(flags.clone(), segments.clone(), notation).unwrap();
            let read = read_file(&text).unwrap();
            assert_eq!(
                read,
                (Json::from(flags.clone()), Json::from(segments.clone())),
                "{text}"
            );
        }
        let none = file(Vec::new(), Vec::new(), Notation::Toml).unwrap();
        assert_eq!(read_file(&none).unwrap(), (json!([]), json!([])));
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        for (text, cure) in [
            ("key = ", "line 1"),
            ("{\"key\": }", "line 1"),
            ("value = 2026-11-21", "dates as texts"),
            ("key value", "line 1"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.sentence.contains(cure), "{text}: {why}");
        }
        let why = read_file("[daemon]").unwrap_err();
        assert!(why.sentence.contains("no place for `daemon`"), "{why}");
        let none = to_toml(&json!({"a": null})).unwrap();
        assert_eq!(none["a"].as_str(), Some("none"));
    }

    #[test]
    fn the_lists_have_every_field() {
        fn fields<T: schemars::JsonSchema>() -> Vec<String> {
            let schema = serde_json::to_value(schemars::schema_for!(T)).unwrap();
            let mut names: Vec<String> = schema["properties"]
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect();
            names.sort_unstable();
            names
        }
        let sorted = |list: &[&str]| {
            let mut list: Vec<String> = list.iter().map(|name| (*name).to_owned()).collect();
            list.sort_unstable();
            list
        };
        assert_eq!(sorted(&FLAG), fields::<FlagDocument>());
        assert_eq!(sorted(&SEGMENT), fields::<SegmentDocument>());
    }
}
