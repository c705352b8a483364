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
