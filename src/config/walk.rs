//! Walks over what was written with the list of settings in hand, and notes everything that does not fit: unknown and
//! missing settings, wrong types, values out of bounds. What several settings say of each other is `build`'s to check.

use super::list::FILE;
use super::near::nearest;
use super::problems::Notes;
use super::shape::{Form, Setting, Shape, WORD, quoted};
use super::tree::{Entry, Place, Table, Value, Written};
use crate::rules::units::Span;

/// Notes what does not fit in the table at `path`, which begins at `place`; the path of the whole file is empty.
pub(super) fn check(
    table: &Table,
    place: &Place,
    settings: &'static [Setting],
    path: &str,
    notes: &mut Notes,
) {
    for entry in table.entries() {
        match settings.iter().find(|setting| setting.name == entry.name) {
            Some(setting) if setting.here() => {
                let path = below(path, setting.name);
                check_value(&entry.written, &setting.shape, &path, notes);
            }
            Some(later) => {
                hide_value(entry, notes);
                let what = below(path, later.name);
                notes.add(&entry.at, format!("`{what}` is not read here"), later.help);
            }
            None => unknown(entry, settings, path, notes),
        }
    }
    for setting in settings {
        if let Some(example) = setting.needed
            && table.get(setting.name).is_none()
        {
            let what = below(path, setting.name);
            let help = format!("add {}", ticked(example));
            notes.add(place, format!("`{what}` is missing"), help);
        }
    }
}

fn ticked(example: &str) -> String {
    if example.starts_with('[') {
        example.to_owned()
    } else {
        format!("`{example}`")
    }
}

/// The path of a setting, as people, variables and a reload name it: `queue.orders.slots`.
pub(super) fn below(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// The path of the queue (or flag) that the `index`th table of a list describes: by its name, else by its number.
pub(super) fn path_of(section: &str, table: &Table, index: usize) -> String {
    let name = table.text("name").or_else(|| table.text("key"));
    match (name, table.text("vhost")) {
        (Some(name), Some(vhost)) => format!("{section}.{}/{}", short(vhost), short(name)),
        (Some(name), None) => format!("{section}.{}", short(name)),
        (None, _) => format!("{section}.#{}", index + 1),
    }
}

/// A name of somebody's choice, safe to repeat.
fn short(name: &str) -> String {
    name.chars().take(60).flat_map(char::escape_debug).collect()
}

/// Hides the value of a setting that nobody knows; of a `[section]` the place is its heading, which is no secret.
fn hide_value(entry: &Entry, notes: &mut Notes) {
    let heading = match (&entry.at, &entry.written.place) {
        (Place::Bytes(name), Place::Bytes(value)) => value.contains(&name.start),
        _ => false,
    };
    if !heading {
        notes.hide(&entry.written.place);
    }
}

fn unknown(entry: &Entry, settings: &'static [Setting], path: &str, notes: &mut Notes) {
    hide_value(entry, notes);
    let what = below(path, &short(&entry.name));
    let names = || {
        settings
            .iter()
            .filter(|setting| setting.here())
            .map(|setting| setting.name)
    };
    let help = if let Some(meant) = nearest(&entry.name, names()) {
        format!("did you mean `{meant}`?")
    } else if let Some(home) = home_of(&entry.name) {
        format!("`{}` belongs in {home}", entry.name)
    } else {
        let names: Vec<&str> = names().collect();
        format!("there are {}", names.join(", "))
    };
    notes.add(&entry.at, format!("there is no setting `{what}`"), help);
}

/// The section in which there is a setting of this name.
fn home_of(name: &str) -> Option<String> {
    FILE.iter().find_map(|section| {
        let inside = |setting: &Setting| setting.name == name && setting.here();
        let found = section.shape.settings().iter().any(inside);
        found.then(|| match section.shape {
            Shape::Sections(..) => format!("[[{}]]", section.name),
            _ => format!("[{}]", section.name),
        })
    })
}

/// Whether a value is one that its setting takes.
pub(super) fn fits(written: &Written, setting: &Setting) -> bool {
    let mut notes = Notes::default();
    check_value(written, &setting.shape, "", &mut notes);
    notes.is_empty()
}

fn check_value(written: &Written, shape: &Shape, path: &str, notes: &mut Notes) {
    hide_secrets(written, shape, notes);
    match (shape, &written.value) {
        (Shape::Section(settings) | Shape::Choice(settings), Value::Table(table)) => {
            check(table, &written.place, settings, path, notes);
            if matches!(shape, Shape::Choice(_)) {
                check_choice(table, written, shape, path, notes);
            }
        }
        (Shape::Sections(settings, most), Value::List(list)) => {
            check_sections(list, written, settings, *most, path, notes);
        }
        (Shape::Free(form), Value::Table(table)) => {
            for entry in table.entries() {
                let path = below(path, &short(&entry.name));
                if let Err(why) = (WORD.check)(&entry.name) {
                    notes.add_sentence(&entry.at, &path, &why);
                }
                check_value(&entry.written, &Shape::Text(form), &path, notes);
            }
        }
        (Shape::Texts(form), Value::List(list)) => check_texts(list, form, path, notes),
        (Shape::Any, value) => {
            if value.to_json().is_none() {
                let help = "write dates as texts, and numbers that are finite and fit into 64 bits";
                notes.add(&written.place, format!("`{path}` cannot be kept"), help);
            }
        }
        _ => check_plain(written, shape, path, notes),
    }
}

/// Hides what may be a secret: the values of secret settings, tables that are none, and texts that look like a login.
fn hide_secrets(written: &Written, shape: &Shape, notes: &mut Notes) {
    let secret = matches!(shape, Shape::Text(form) if form.secret);
    let no_table = !shape.settings().is_empty() && written.value.text().is_some();
    if secret || no_table || login(&written.value) {
        notes.hide(&written.place);
    }
}

/// Whether a value looks like the user and password of a URL, wherever it stands.
fn login(value: &Value) -> bool {
    value
        .text()
        .is_some_and(|text| text.contains(':') && text.contains('@'))
}

fn check_choice(table: &Table, written: &Written, shape: &Shape, path: &str, notes: &mut Notes) {
    let known = |entry: &&Entry| shape.settings().iter().any(|one| one.name == entry.name);
    let known: Vec<&Entry> = table.entries().iter().filter(known).collect();
    if table.entries().is_empty() {
        let help = format!("write {}", shape.what());
        notes.add(&written.place, format!("`{path}` is empty"), help);
    } else if let [_, second, ..] = known.as_slice() {
        notes.add(
            &second.at,
            format!("`{path}` says two things at once"),
            format!("leave one; it takes {}", shape.what()),
        );
    }
}

fn check_sections(
    list: &[Written],
    written: &Written,
    settings: &'static [Setting],
    most: usize,
    path: &str,
    notes: &mut Notes,
) {
    if list.len() > most {
        let what = format!(
            "`{path}` has {} tables; at most {most} are read",
            list.len()
        );
        notes.add(&written.place, what, "serve the rest by another daemon");
        return;
    }
    for (index, item) in list.iter().enumerate() {
        match &item.value {
            Value::Table(table) => {
                let path = path_of(path, table, index);
                check(table, &item.place, settings, &path, notes);
            }
            _ => not_a_table(item, path, notes),
        }
    }
}

fn not_a_table(item: &Written, path: &str, notes: &mut Notes) {
    notes.hide(&item.place);
    let kind = item.value.kind();
    let help = format!("begin each with a line [[{path}]]");
    notes.add(
        &item.place,
        format!("`{path}` takes tables, got {kind}"),
        help,
    );
}

fn check_texts(list: &[Written], form: &'static Form, path: &str, notes: &mut Notes) {
    let mut seen = std::collections::BTreeSet::new();
    for item in list {
        check_value(item, &Shape::Text(form), path, notes);
        if let Some(text) = item.value.text()
            && !seen.insert(text)
        {
            let what = format!("`{path}` names \"{}\" twice", short(text));
            notes.add(&item.place, what, "leave one of them out");
        }
    }
}

fn check_plain(written: &Written, shape: &Shape, path: &str, notes: &mut Notes) {
    let wrong = match (shape, &written.value) {
        (Shape::Boolean, Value::Boolean(_)) | (Shape::Number, Value::Integer(Some(_))) => None,
        (Shape::Number, Value::Float(number)) if number.is_finite() => None,
        (Shape::Text(form), Value::Text(text)) => (form.check)(text).err(),
        (Shape::Duration(least, most), Value::Text(text)) => match text.parse::<Span>() {
            Ok(span) if (*least..=*most).contains(&span) => None,
            Ok(span) => Some(format!("{span} is out of bounds; write {}", shape.what())),
            Err(why) => Some(why.to_string()),
        },
        (Shape::Integer(least, most), Value::Integer(number)) => match number {
            Some(number) if (*least..=*most).contains(number) => None,
            Some(number) => Some(format!("{number} is out of bounds; write {}", shape.what())),
            None => Some(format!("the number is too large; write {}", shape.what())),
        },
        (Shape::OneOf(words, later), Value::Text(text)) => one_of(text, words, later),
        (_, value) => {
            let what = format!("`{path}` takes {}, got {}", shape.what(), value.kind());
            return notes.add(&written.place, what, format!("write {}", hint(shape, path)));
        }
    };
    let quiet = matches!(shape, Shape::Text(form) if form.quiet);
    match wrong {
        Some(_) if login(&written.value) && !quiet => {
            let what = format!("`{path}` holds what looks like a login");
            notes.add(&written.place, what, format!("write {}", shape.what()));
        }
        Some(sentence) => notes.add_sentence(&written.place, path, &sentence),
        None => {}
    }
}

fn one_of(text: &str, words: &[&str], later: &[&str]) -> Option<String> {
    if words.contains(&text) {
        return None;
    }
    let cure = match nearest(text, words.iter().copied()) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None => format!("write {}", quoted(words)),
    };
    Some(if later.contains(&text) {
        format!(
            "{text:?} comes with a later version; until then write {}",
            quoted(words)
        )
    } else {
        format!("\"{}\" is not known; {cure}", short(text))
    })
}

/// How a value of this shape looks in the file.
fn hint(shape: &Shape, path: &str) -> String {
    match shape {
        Shape::Duration(..) => {
            "it in quotes with its unit, such as \"30s\" or \"1m 30s\"".to_owned()
        }
        Shape::Integer(least, most) => format!("it without quotes, from {least} to {most}"),
        Shape::Boolean => "true or false, without quotes".to_owned(),
        Shape::Text(form) => format!("{} in quotes", form.what),
        Shape::Texts(_) => "it in brackets, such as [\"one\", \"two\"]".to_owned(),
        Shape::OneOf(words, _) => quoted(words),
        Shape::Free(_) => "one line for each, such as account = \"header:x-account\"".to_owned(),
        Shape::Section(_) => "a table, such as { name = value }".to_owned(),
        Shape::Sections(..) => format!("a line [[{path}]] before each of them"),
        _ => shape.what(),
    }
}
