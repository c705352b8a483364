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
        .find(|setting| {
            let listed = matches!(setting.shape, Shape::Sections(..)) && setting.name != "queue";
            setting.here() && !listed && setting.name.eq_ignore_ascii_case(section)
        })
        .ok_or_else(|| Missed::NoSetting(rest.to_owned(), names_in(FILE)))?;
    let (table, path) = if setting.name == "queue" {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{SMALL, with};
    use super::super::{Settings, TargetSettings};

    const TWO: &str = "[[queue]]\nname = 'orders.eu'\nvhost = 'billing'\ntarget.handler = 'x'\n";

    fn changed(variables: &[(&str, &str)]) -> Settings {
        with(&format!("{SMALL}{TWO}"), variables).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn refused(variable: &str, value: &str, message: &str, help: &str) {
        let text = format!("{SMALL}{TWO}");
        let problems = with(&text, &[(variable, value)])
            .map(drop)
            .expect_err(variable);
        let problem = &problems.all()[0];
        assert_eq!(
            (problem.place.as_str(), problem.line),
            (variable, None),
            "{problems}"
        );
        assert!(
            problem.message.contains(message),
            "awaited {message:?}: {problems}"
        );
        assert!(problem.help.contains(help), "awaited {help:?}: {problems}");
    }

    #[test]
    fn every_kind_of_setting_can_be_overridden() {
        let settings = changed(&[
            ("SLUICEGATE__DAEMON__HOSTS", "['gate.example.org']"),
            ("SLUICEGATE__DAEMON__LOG", "debug"),
            ("SLUICEGATE__METRICS__LISTEN", "0.0.0.0:9100"),
            ("SLUICEGATE__AMQP__DECLARE", "false"),
            ("SLUICEGATE__QUEUE__ORDERS__SLOTS", "9"),
            ("SLUICEGATE__QUEUE__ORDERS__DEADLINE_AFTER", "3s"),
            (
                "SLUICEGATE__QUEUE__ORDERS__ATTRIBUTES__ACCOUNT",
                "header:x-account",
            ),
            ("SLUICEGATE__QUEUE__ORDERS__KEY", "account"),
            ("SLUICEGATE__QUEUE__ORDERS__TARGET__HANDLER", "mine"),
            ("SLUICEGATE__QUEUE__BILLING_ORDERS_EU__PARK__MAX_AGE", "3d"),
            ("SLUICEGATE_URL", "is of the command line"),
        ]);
        let (first, second) = (&settings.queues[0], &settings.queues[1]);
        assert_eq!(settings.daemon.hosts, ["gate.example.org"]);
        assert_eq!(
            (settings.daemon.log.as_str(), settings.amqp.declare),
            ("debug", false)
        );
        assert_eq!(settings.metrics_listen.map(|own| own.port()), Some(9100));
        assert_eq!((first.slots, first.prefetch), (9, 18));
        assert_eq!(first.deadline_after, Some(Duration::from_secs(3)));
        assert_eq!(first.target, TargetSettings::Handler("mine".to_owned()));
        assert!(first.reading.key.is_some() && first.reading.attributes.contains_key("account"));
        assert_eq!(
            (first.park.max_age.as_secs(), second.park.max_age.as_secs()),
            (7 * 86_400, 3 * 86_400)
        );
    }

    #[test]
    fn a_url_of_the_environment_takes_the_place_of_the_one_in_the_file() {
        let url = "amqps://u:canary@broker.example";
        let settings = changed(&[("SLUICEGATE__AMQP__URL", url)]);
        assert_eq!(settings.amqp.url.expose(), url);
        let settings = changed(&[("SLUICEGATE__AMQP__URL_ENV", "BROKER"), ("BROKER", url)]);
        assert_eq!(settings.amqp.url.expose(), url);
        let both = [
            ("SLUICEGATE__AMQP__URL", url),
            ("SLUICEGATE__AMQP__URL_ENV", "BROKER"),
        ];
        let shown = with(SMALL, &both).expect_err("two ways").to_string();
        assert!(
            shown.contains("SLUICEGATE__AMQP__URL_ENV: `amqp.url` and `amqp.url_env` both"),
            "{shown}"
        );
    }

    /// A variable, its value, what is wrong with it, and the cure.
    const BAD: &[(&str, &str, &str, &str)] = &[
        (
            "SLUICEGATE__AMQP__ULR",
            "x",
            "no setting goes by this name",
            "did you mean SLUICEGATE__AMQP__URL?",
        ),
        (
            "SLUICEGATE__AMPQ__URL",
            "x",
            "no setting goes by this name",
            "DAEMON, METRICS, AMQP, QUEUE",
        ),
        ("SLUICEGATE__PROVIDER__NAME", "x", "no setting", "DAEMON"),
        ("SLUICEGATE__", "x", "no setting", "DAEMON"),
        ("SLUICEGATE__DAEMON", "x", "no setting", "LISTEN"),
        (
            "SLUICEGATE__DAEMON__LOG__X",
            "x",
            "no setting",
            "leave out what comes after",
        ),
        (
            "SLUICEGATE__QUEUE__ORDER__SLOTS",
            "9",
            "no queue of the file",
            "BILLING_ORDERS_EU, ORDERS",
        ),
        (
            "SLUICEGATE__QUEUE__ORDERS",
            "9",
            "no queue of the file",
            "ORDERS",
        ),
        (
            "SLUICEGATE__QUEUE__ORDERS__SLOT",
            "9",
            "no setting",
            "did you mean SLUICEGATE__QUEUE__ORDERS__SLOTS?",
        ),
        (
            "SLUICEGATE__QUEUE__ORDERS__SLOTS",
            "nine",
            "takes a whole number from 1 to 10000, got a text",
            "from 1",
        ),
        (
            "SLUICEGATE__QUEUE__ORDERS__SLOTS",
            "0",
            "0 is out of bounds",
            "from 1",
        ),
        (
            "SLUICEGATE__QUEUE__ORDERS__PREFETCH",
            "1",
            "8 slots are never full",
            "8 or more",
        ),
        (
            "SLUICEGATE__QUEUE__ORDERS__HOLD",
            "1",
            "is not a duration",
            "30s",
        ),
        (
            "SLUICEGATE__QUEUE__ORDERS__TARGET__HTTP",
            "https://x",
            "plain http",
            "http://",
        ),
        (
            "SLUICEGATE__DAEMON__LISTEN",
            "0.0.0.0:1",
            "not on loopback",
            "sluicegate token new",
        ),
        (
            "SLUICEGATE__DAEMON__LOG",
            "inf\u{fffd}",
            "not UTF-8",
            "UTF-8",
        ),
        (
            "SLUICEGATE__AMQP__URL",
            "http://u:canary@h",
            "neither amqp:// nor",
            "begin it",
        ),
        (
            "SLUICEGATE__AMQP__URL_ENV",
            "NOT_SET",
            "NOT_SET is not set",
            "set it",
        ),
    ];

    #[test]
    fn a_bad_override_names_its_variable_and_not_its_value() {
        for (variable, value, message, help) in BAD {
            refused(variable, value, message, help);
        }
        let twins = "[[queue]]\nname = 'a.b'\ntarget.handler = 'x'\n[[queue]]\nname = 'a-b'\ntarget.handler = 'x'\n";
        let text = format!("{SMALL}{twins}");
        let shown = with(&text, &[("SLUICEGATE__QUEUE__A_B__SLOTS", "9")])
            .expect_err("twins")
            .to_string();
        assert!(
            shown.contains("two queues of the file are called A_B"),
            "{shown}"
        );
    }
}
