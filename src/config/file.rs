//! The way from bytes to a tree: what cannot be read at all is told here, with as much of the line as is safe to show.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::list::{FILE, URL_WAYS};
use super::list_flags::FLAGS_FILE;
use super::problems::{Notes, Problems};
use super::shape::Setting;
use super::tree::{self, Place, Table};
use super::walk;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1_048_576;
/// After so many complaints of the parser the rest is noise.
const MOST_BROKEN: usize = 20;

/// The text of a file of at most 1 MiB.
///
/// # Errors
/// When it is missing, a folder, too large, not permitted or not UTF-8.
pub(super) fn text(path: &Path) -> Result<String, Problems> {
    let name = path.display().to_string();
    let unreadable = |why: std::io::Error| {
        let help = match why.kind() {
            std::io::ErrorKind::NotFound => "mend the path given by --config, or write the file",
            std::io::ErrorKind::PermissionDenied => {
                "let the daemon's user read the file and enter its folder"
            }
            std::io::ErrorKind::IsADirectory => "name the file in it, such as sluicegate.toml",
            _ => "look whether the file is whole and its disk is well",
        };
        Problems::of_file(&name, format!("cannot be read: {why}"), help)
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        let help = "is it the right file? a configuration of a hundred queues has some 100 KiB";
        return Err(Problems::of_file(
            &name,
            "is larger than 1 MiB".into(),
            help,
        ));
    }
    String::from_utf8(bytes).map_err(|why| {
        let good = why.utf8_error().valid_up_to();
        let line = why.as_bytes()[..good]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        let what = format!("is not UTF-8: line {line} has a byte that cannot be read");
        Problems::of_file(&name, what, "save the file as UTF-8")
    })
}

/// Reads the text as a tree, whose settings are `settings`.
///
/// # Errors
/// When it is not TOML; then nothing else is told of it, since it would be guesswork.
pub(super) fn parse(
    name: &str,
    text: &str,
    settings: &'static [Setting],
) -> Result<Table, Problems> {
    if text.len() as u64 > LARGEST {
        let help = "is it the right file? a configuration of a hundred queues has some 100 KiB";
        return Err(Problems::of_file(name, "is larger than 1 MiB".into(), help));
    }
    let (tree, broken) = tree::parse(text);
    if broken.is_empty() {
        return Ok(tree);
    }
    let mut notes = Notes::default();
    for error in broken.into_iter().take(MOST_BROKEN) {
        notes.add(
            &error.place,
            format!("this is not TOML: {}", error.message),
            cure(&error.message),
        );
        hide_what_is_unclear(text, &error.place, &mut notes);
    }
    let mut only_for_secrets = Notes::default();
    walk::check(&tree, &Place::Whole, settings, "", &mut only_for_secrets);
    notes.hide_as(only_for_secrets);
    Err(notes.conclude(name, text))
}

fn cure(message: &str) -> &'static str {
    if message.contains("duplicate key") {
        "it stands further up already: leave one of the two"
    } else if message.contains("string") {
        "texts stand in quotes, and end on the line on which they begin"
    } else {
        "each line is `name = value`, `[section]` or `[[queue]]`; texts and durations stand in quotes"
    }
}

/// In a line that is broken nobody can say where a value begins, so of what might be a secret nothing is shown.
fn hide_what_is_unclear(text: &str, place: &Place, notes: &mut Notes) {
    let Place::Bytes(span) = place else { return };
    let at = text.floor_char_boundary(span.start.min(text.len()));
    let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let mut parts = line.match_indices('=').map(|(at, _)| at + 1);
    let clear = match (parts.next(), parts.next()) {
        (Some(first), second) => {
            if is_plain(line[..first - 1].trim()) {
                second.unwrap_or(line.len())
            } else {
                first
            }
        }
        (None, _) => {
            let harmless =
                |letter: char| letter.is_ascii_alphanumeric() || "_-.[] ".contains(letter);
            if line.trim_start().starts_with('[') && line.chars().all(harmless) {
                line.len()
            } else {
                let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
                let end = line.find(|letter| !word(letter)).unwrap_or(line.len());
                let followed_by_space = line[end..].starts_with([' ', '\t']);
                if followed_by_space { end } else { 0 }
            }
        }
    };
    notes.hide(&Place::Bytes(start + clear..start + line.len()));
}

/// Whether `name` is a setting whose value nobody minds to be seen.
fn is_plain(name: &str) -> bool {
    fn within(settings: &[Setting], name: &str) -> bool {
        settings.iter().any(|setting| {
            let below = setting.shape.settings();
            (setting.name == name && below.is_empty() && setting.here()) || within(below, name)
        })
    }
    name != URL_WAYS[0] && (within(FILE, name) || within(FLAGS_FILE, name))
}
