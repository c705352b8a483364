//! Overrides by environment, by one rule: `SLUICEGATE__` and the setting's path in capitals, its parts joined by two
//! underscores: `SLUICEGATE__AMQP__URL`, `SLUICEGATE__QUEUE__ORDERS__SLOTS`.
//!
//! A queue is called as flags call it, in capitals, with `_` for whatever is no letter or digit: `billing/orders.eu` is
//! `BILLING_ORDERS_EU`. Texts are written without quotes, the rest as in the file.

use std::collections::BTreeMap;

use super::list::{FILE, URL_WAYS};
use super::near::nearest;
use super::problems::Notes;
use super::shape::{Setting, Shape};
use super::tree::{Place, Table, Value, Written};

/// The variables of the environment, by name.
pub type Environment = BTreeMap<String, String>;

const PREFIX: &str = "SLUICEGATE__";

/// The environment of this process. What is not UTF-8 holds U+FFFD where it cannot be read.
#[must_use]
pub fn environment() -> Environment {
    std::env::vars_os()
        .map(|(name, value)| {
            let text = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
            (text(&name), text(&value))
        })
        .collect()
}

/// Lays the variables over what the file says.
pub(super) fn apply(tree: &mut Table, environment: &Environment, notes: &mut Notes) {
    let queues = queues_in(tree);
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let place = Place::Variable(name.as_str().into());
        if value.contains('\u{fffd}') {
            notes.add(
                &place,
                "the variable is not UTF-8",
                "set it to a text in UTF-8",
            );
            continue;
        }
        if let Err(missed) = override_one(tree, &queues, rest, value, &place) {
            let (message, help) = missed.tell(name);
            notes.add(&place, message, help);
        }
    }
}

/// The queues of the file: their names in capitals, and their numbers.
fn queues_in(tree: &Table) -> Vec<(String, usize)> {
    let named = tree.tables("queue").into_iter().enumerate();
    let mut queues: Vec<(String, usize)> = named
        .filter_map(|(index, (queue, _))| {
            let name = queue.text("name")?;
            let whole = match queue.text("vhost") {
                Some(vhost) => format!("{vhost}/{name}"),
                None => name.to_owned(),
            };
            Some((capitals(&whole), index))
        })
        .collect();
    // The longest first: `ORDERS__EU__SLOTS` means the queue `orders..eu` when there is one.
    queues.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    queues
}

fn capitals(name: &str) -> String {
    let letter = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    name.chars().map(letter).collect()
}

/// Why a variable overrides nothing.
enum Missed {
    /// No setting goes by this part of the name; in its place there are these.
    NoSetting(String, Vec<&'static str>),
    /// No queue of the file goes by this name; these do.
    NoQueue(Vec<String>),
    /// Two queues go by this name.
    TwoQueues(String),
    /// The file holds something else where the section should be.
    NoTable,
}

impl Missed {
    fn tell(self, variable: &str) -> (String, String) {
        match self {
            Self::NoSetting(typed, names) => {
                let capitals: Vec<String> = names.iter().map(|name| name.to_uppercase()).collect();
                let help = match nearest(&typed, names.iter().copied()) {
                    Some(meant) => {
                        let before = variable.len().saturating_sub(typed.len());
                        let before = variable.get(..before).unwrap_or(PREFIX);
                        format!("did you mean {before}{}?", meant.to_uppercase())
                    }
                    None if names.is_empty() => {
                        "the setting has no parts; leave out what comes after it".into()
                    }
                    None => format!(
                        "in place of its last part there are {}",
                        capitals.join(", ")
                    ),
                };
                ("no setting goes by this name".into(), help)
            }
            Self::NoQueue(names) if names.is_empty() => (
                "the file has no queue that could be meant".into(),
                "add the queue to the file; variables change queues, they do not make them".into(),
            ),
            Self::NoQueue(names) => (
                "no queue of the file goes by this name".into(),
                format!("there are {}", names.join(", ")),
            ),
            Self::TwoQueues(name) => (
                format!("two queues of the file are called {name} in capitals"),
                "change the setting in the file, or give the queues other names".into(),
            ),
            Self::NoTable => (
                "the file holds no table where this belongs".into(),
                "mend the file first".into(),
            ),
        }
    }
}

fn override_one(
    tree: &mut Table,
    queues: &[(String, usize)],
    rest: &str,
    value: &str,
    place: &Place,
) -> Result<(), Missed> {
    let (section, below) = rest.split_once("__").unwrap_or((rest, ""));
    let setting = FILE
        .iter()
        .find(|setting| setting.here() && setting.name.eq_ignore_ascii_case(section))
        .ok_or_else(|| Missed::NoSetting(rest.to_owned(), names_in(FILE)))?;
    let (table, path) = if matches!(setting.shape, Shape::Sections(..)) {
        let (index, path) = queue_of(queues, below)?;
        (tree.nth_mut(setting.name, index), path)
    } else {
        (tree.table_mut(setting.name, place), below)
    };
    let table = table.ok_or(Missed::NoTable)?;
    put(table, setting, path, value, place)
}

/// The number of the queue that the variable names, and the path within it.
fn queue_of<'a>(queues: &[(String, usize)], rest: &'a str) -> Result<(usize, &'a str), Missed> {
    let upper = rest.to_ascii_uppercase();
    let meant = queues.iter().find(|(name, _)| {
        upper
            .strip_prefix(name.as_str())
            .is_some_and(|rest| rest.starts_with("__"))
    });
    let Some((name, index)) = meant else {
        return Err(Missed::NoQueue(
            queues.iter().map(|(name, _)| name.clone()).collect(),
        ));
    };
    if queues.iter().filter(|(other, _)| other == name).count() > 1 {
        return Err(Missed::TwoQueues(name.clone()));
    }
    Ok((*index, rest.get(name.len() + 2..).unwrap_or_default()))
}

/// Writes the value into `table`, which is what `section` describes.
fn put(
    table: &mut Table,
    section: &Setting,
    path: &str,
    value: &str,
    place: &Place,
) -> Result<(), Missed> {
    let (first, deeper) = match path.split_once("__") {
        Some((first, deeper)) => (first.to_ascii_lowercase(), Some(deeper)),
        None => (path.to_ascii_lowercase(), None),
    };
    let settings = section.shape.settings();
    let named = |setting: &&Setting| setting.here() && setting.name == first;
    let setting = settings
        .iter()
        .find(named)
        .ok_or_else(|| Missed::NoSetting(path.to_owned(), names_in(settings)))?;
    match (deeper, &setting.shape) {
        (None, shape) => {
            if URL_WAYS.contains(&setting.name) {
                URL_WAYS.iter().for_each(|way| remove_of_file(table, way));
            }
            let Place::Variable(variable) = place else {
                return Ok(());
            };
            let value = shape.read(value, variable);
            let place = place.clone();
            table.put(setting.name, Written { value, place });
            Ok(())
        }
        (Some(name), Shape::Free(_)) if !name.is_empty() => {
            let inner = table
                .table_mut(setting.name, place)
                .ok_or(Missed::NoTable)?;
            let value = Value::Text(value.to_owned());
            let place = place.clone();
            inner.put(&name.to_ascii_lowercase(), Written { value, place });
            Ok(())
        }
        (Some(deeper), Shape::Section(_) | Shape::Choice(_)) => {
            if matches!(setting.shape, Shape::Choice(_)) {
                remove_of_file(table, setting.name);
            }
            let inner = table
                .table_mut(setting.name, place)
                .ok_or(Missed::NoTable)?;
            put(inner, setting, deeper, value, place)
        }
        (Some(deeper), _) => Err(Missed::NoSetting(deeper.to_owned(), Vec::new())),
    }
}

/// A variable takes the place of whatever the file says in another way; two variables may still contradict each other.
fn remove_of_file(table: &mut Table, name: &str) {
    if table
        .get(name)
        .is_some_and(|written| matches!(written.place, Place::Bytes(_)))
    {
        table.remove(name);
    }
}

fn names_in(settings: &[Setting]) -> Vec<&'static str> {
    let here = settings.iter().filter(|setting| setting.here());
    here.map(|setting| setting.name).collect()
}
