//! The file of flags with which a new store begins: `[[flag]]` tables, as the API takes them.

use std::path::Path;

use super::build::Section;
use super::file;
use super::list::FLAGS_FILE;
use super::problems::{Notes, Problems};
use super::tree::{Place, Table};
use super::walk::{check, path_of};
use crate::rules::flag::{BadFlag, Flag, FlagDocument};

/// Reads a file of flags, each checked.
///
/// # Errors
/// When the file cannot be read, or anything in it is unknown, missing or bad: all of it.
pub fn read(path: &Path) -> Result<Vec<FlagDocument>, Problems> {
    read_text(&path.display().to_string(), &file::text(path)?)
}

/// Reads the text of a file of flags; `name` is how errors call it.
///
/// # Errors
/// See [`read`].
pub fn read_text(name: &str, text: &str) -> Result<Vec<FlagDocument>, Problems> {
    let tree = file::parse(name, text, FLAGS_FILE)?;
    let mut notes = Notes::default();
    check(&tree, &Place::Whole, FLAGS_FILE, "", &mut notes);
    let flags = if notes.is_empty() {
        documents(&tree, &mut notes)
    } else {
        Vec::new()
    };
    if notes.is_empty() {
        Ok(flags)
    } else {
        Err(notes.conclude(name, text))
    }
}

fn documents(tree: &Table, notes: &mut Notes) -> Vec<FlagDocument> {
    let mut flags: Vec<FlagDocument> = Vec::new();
    for (index, (table, place)) in tree.tables("flag").into_iter().enumerate() {
        let path = path_of("flag", table, index);
        let section = Section::new(table, place, &[]);
        let Some(document) = document(table) else {
            notes.add(
                place,
                format!("`{path}` cannot be read"),
                "write it as the API takes it",
            );
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

fn document(table: &Table) -> Option<FlagDocument> {
    serde_json::from_value(table.to_json()?).ok()
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
        assert_eq!(serde_json::to_value(&flags[0]).unwrap(), awaited);
        assert_eq!(flags.len(), 1);
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
            ("rules = []", 6, "is not read here", "later version"),
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
    fn the_list_has_every_field_of_a_flag() {
        let schema = serde_json::to_value(schemars::schema_for!(FlagDocument)).unwrap();
        let fields: BTreeSet<&str> = schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let listed = FLAGS_FILE[0].shape.settings().iter();
        let listed: BTreeSet<&str> = listed
            .filter(|field| field.here() || field.name == "revision")
            .map(|field| field.name)
            .collect();
        assert_eq!(listed, fields);
    }
}
