//! The file of flags with which a new store begins, and which `flag apply` applies: `[[flag]]` and `[[segment]]` tables, as the API
//! takes them.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::build::Section;
use super::file;
use super::list_flags::FLAGS_FILE;
use super::problems::{Notes, Problems};
use super::tree::{Place, Table};
use super::walk::{check, path_of};
use crate::rules::flag::{BadFlag, Flag, FlagDocument};
use crate::rules::segment::{BadSegment, Segment, SegmentDocument};

/// What a file of flags says, each checked by itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FlagsFile {
    /// The segments, which the flags may name.
    pub segments: Vec<SegmentDocument>,
    /// The flags.
    pub flags: Vec<FlagDocument>,
}

/// Reads a file of flags, each checked.
///
/// # Errors
/// When the file cannot be read, or anything in it is unknown, missing or bad: all of it.
pub fn read(path: &Path) -> Result<FlagsFile, Problems> {
    read_text(&path.display().to_string(), &file::text(path)?)
}

/// Reads the text of a file of flags; `name` is how errors call it.
///
/// # Errors
/// See [`read`].
pub fn read_text(name: &str, text: &str) -> Result<FlagsFile, Problems> {
    let tree = file::parse(name, text, FLAGS_FILE)?;
    let mut notes = Notes::default();
    check(&tree, &Place::Whole, FLAGS_FILE, "", &mut notes);
    let mut read = FlagsFile::default();
    if notes.is_empty() {
        read.segments = segments(&tree, &mut notes);
        read.flags = flags(&tree, &mut notes);
    }
    if notes.is_empty() {
        Ok(read)
    } else {
        Err(notes.conclude(name, text))
    }
}

fn flags(tree: &Table, notes: &mut Notes) -> Vec<FlagDocument> {
    let mut flags: Vec<FlagDocument> = Vec::new();
    for (index, (table, place)) in tree.tables("flag").into_iter().enumerate() {
        let path = path_of("flag", table, index);
        let section = Section::new(table, place, &[]);
        let Some(document) = document::<FlagDocument>(table, place, &path, notes) else {
            continue;
        };
        if flags.iter().any(|other| other.key == document.key) {
            let what = format!("there are two flags of the key `{}`", document.key);
            notes.add(section.place("key"), what, "leave one out");
        }
        if let Err(why) = Flag::try_from(document.clone()) {
            let culprit = match &why {
                BadFlag::Key(_) => "key",
                BadFlag::TooLong { field, .. } => field,
                BadFlag::WrongType { .. }
                | BadFlag::OutOfBounds { .. }
                | BadFlag::NotAChoice { .. } => "value",
                BadFlag::Clause { .. } | BadFlag::Shape { .. } => "rules",
            };
            notes.add_sentence(section.place(culprit), &path, &why.to_string());
        }
        flags.push(document);
    }
    flags
}

fn segments(tree: &Table, notes: &mut Notes) -> Vec<SegmentDocument> {
    let mut segments: Vec<SegmentDocument> = Vec::new();
    for (index, (table, place)) in tree.tables("segment").into_iter().enumerate() {
        let path = path_of("segment", table, index);
        let section = Section::new(table, place, &[]);
        let Some(document) = document::<SegmentDocument>(table, place, &path, notes) else {
            continue;
        };
        if segments.iter().any(|other| other.name == document.name) {
            let what = format!("there are two segments named `{}`", document.name);
            notes.add(section.place("name"), what, "leave one out");
        }
        if let Err(why) = Segment::try_from(document.clone()) {
            let culprit = match &why {
                BadSegment::Name(_) => "name",
                BadSegment::Clause { .. } | BadSegment::Nested(_) => "when",
                BadSegment::TooMuch { .. } => "members",
            };
            notes.add_sentence(section.place(culprit), &path, &why.to_string());
        }
        segments.push(document);
    }
    segments
}

/// A table as its document; what its list of settings lets pass and the document does not, such as a rule with an unknown field,
/// is noted.
fn document<T: DeserializeOwned>(
    table: &Table,
    place: &Place,
    path: &str,
    notes: &mut Notes,
) -> Option<T> {
    let read = serde_path_to_error::deserialize(table.to_json()?);
    read.map_err(|why| {
        let at = why.path().to_string();
        let what = format!("`{path}.{at}` cannot be read: {}", why.into_inner());
        notes.add(place, what, "write it as the API takes it");
    })
    .ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    const RATE: &str =
        "[[flag]]\nkey = 'orders.rate'\nkind = 'config'\ntype = 'rate'\nvalue = '50/s'\n";

    fn check(text: &str, line: usize, message: &str, help: &str) {
        let problems = read_text("flags.toml", text).expect_err(text);
        let problem = &problems.all()[0];
        assert_eq!(
            (problems.all().len(), problem.line),
            (1, Some(line)),
            "{problems}"
        );
        assert!(
            problem.message.contains(message),
            "awaited {message:?}: {problems}"
        );
        assert!(problem.help.contains(help), "awaited {help:?}: {problems}");
    }

    #[test]
    fn flags_are_read_as_the_api_takes_them() {
        let flags = read_text(
            "flags.toml",
            &format!("{RATE}min = 0\nmax = 100.5\nowner = 'team-orders'\n"),
        )
        .unwrap();
        let awaited = json!({"key": "orders.rate", "kind": "config", "type": "rate", "value": "50/s", "min": 0.0, "max": 100.5,
            "owner": "team-orders", "revision": 0});
        assert_eq!(serde_json::to_value(&flags.flags[0]).unwrap(), awaited);
        assert_eq!(flags.flags.len(), 1);
    }

    #[test]
    fn what_is_wrong_with_a_flag_is_told_with_its_line() {
        for (line, at, message, help) in [
            (
                "colour = 'red'",
                6,
                "no setting `flag.orders.rate.colour`",
                "there are key",
            ),
            ("chioces = []", 6, "no setting", "did you mean `choices`?"),
            ("revision = 7", 6, "is not read here", "set by the daemon"),
            (
                "rules = [{ name = 'a', vaule = 1 }]",
                1,
                "rules[0].vaule` cannot be read",
                "as the API takes it",
            ),
            ("max = 20", 5, "lies between -inf and 20", "another value"),
            ("max = inf", 6, "takes a number", "a number"),
            (
                "[[flag]]\nkey = 'orders.rate'\nkind = 'ops'\ntype = 'ratio'\nvalue = 0.5",
                7,
                "two flags of the key",
                "leave one out",
            ),
            (
                "[[flag]]\nkey = 'a b'\nkind = 'ops'\ntype = 'ratio'\nvalue = 0.5",
                7,
                "is not a flag key",
                "visible ASCII",
            ),
            (
                "[[flag]]\nkey = 'a'\nkind = 'opps'\ntype = 'ratio'\nvalue = 0.5",
                8,
                "not known",
                "did you mean \"ops\"?",
            ),
            (
                "[[flag]]\nkey = 'a'\nkind = 'ops'\ntype = 'ratio'",
                6,
                "`flag.a.value` is missing",
                "value = ",
            ),
            (
                "[[flag]]\nkey = 'a'\nkind = 'ops'\ntype = 'ratio'\nvalue = 5",
                10,
                "takes a ratio",
                "write 5 percent",
            ),
            (
                "[[flag]]\nkey = 'a'\nkind = 'ops'\ntype = 'object'\nvalue = { at = 2026-11-21 }",
                10,
                "cannot be kept",
                "dates as texts",
            ),
            ("[daemon]", 6, "no setting `daemon`", "flag"),
        ] {
            check(&format!("{RATE}{line}\n"), at, message, help);
        }
    }

    #[test]
    fn what_is_wrong_with_a_segment_is_told_with_its_line() {
        for (line, at, message, help) in [
            (
                "[[segment]]\nname = 'a/b'",
                7,
                "cannot name a segment",
                "without spaces and slashes",
            ),
            (
                "[[segment]]\nname = 'beta'\n[[segment]]\nname = 'beta'",
                9,
                "two segments named `beta`",
                "leave one out",
            ),
            (
                "[[segment]]\nname = 'beta'\nwhen = [{ segment = 'gamma' }]",
                8,
                "cannot name another",
                "write that one's clauses out",
            ),
        ] {
            check(&format!("{RATE}{line}\n"), at, message, help);
        }
    }

    #[test]
    fn segments_stand_beside_the_flags_that_name_them() {
        let segment = "[[segment]]\nname = 'beta'\nmembers = ['acme']\nwhen = [{ attribute = 'plan', op = 'in', values = ['pro'] }]\n";
        let rule = "rules = [{ name = 'ring', when = [{ segment = 'beta' }], value = '5/s' }]\n";
        let read = read_text("flags.toml", &format!("{RATE}{rule}{segment}")).unwrap();
        assert_eq!(read.segments[0].members, ["acme"]);
        assert_eq!(read.segments[0].by, "account");
        assert_eq!(
            read.flags[0].rules[0].when[0].segment.as_deref(),
            Some("beta")
        );
    }

    #[test]
    fn the_list_has_every_field_of_flags_and_segments() {
        fn check(number: usize, schema: &schemars::Schema) {
            let schema = serde_json::to_value(schema).unwrap();
            let fields = schema["properties"].as_object().unwrap().keys();
            let fields: BTreeSet<&str> = fields.map(String::as_str).collect();
            let listed = FLAGS_FILE[number].shape.settings().iter();
            let listed: BTreeSet<&str> = listed
                .filter(|field| field.here() || field.name == "revision")
                .map(|field| field.name)
                .collect();
            assert_eq!(listed, fields);
        }
        check(0, &schemars::schema_for!(FlagDocument));
        check(1, &schemars::schema_for!(SegmentDocument));
    }
}
