//! Presets: where the publishers of a kind put what the valves ask for. Only defaults: what the file says itself holds.
//!
//! Celery (message protocol 2, its default) writes `id`, `task`, `retries`, `root_id`, `eta` and `expires` as headers, the times
//! as ISO 8601 text, and null where it has nothing to say. A message of protocol 1 carries none of these headers, and is handled
//! as any message.

use super::Attributes;
use super::build::Section;
use super::problems::Notes;
use crate::rules::facts::{Reading, Source};

/// Where Celery names the task: what tells its messages from others.
const TASK: &str = "header:task";

/// The attributes of Celery's messages.
const CELERY: [(&str, &str); 3] = [
    ("type", TASK),
    ("retries", "header:retries"),
    ("root_id", "header:root_id"),
];

/// What a preset gives for what the file does not say.
#[derive(Default)]
pub(super) struct Preset {
    pub(super) id: Option<Source>,
    pub(super) deadline: Option<Source>,
    pub(super) not_before: Option<Source>,
    pub(super) attributes: Attributes,
}

/// The preset that a queue names; one that gives nothing when it names none.
pub(super) fn of(section: Section<'_>) -> Preset {
    match section.get::<String>("preset").as_deref() {
        Some("celery") => Preset {
            id: source("header:id"),
            deadline: source("header:expires"),
            // Where order is kept nobody may step aside to wait, so that Celery's workers wait for it themselves.
            not_before: source("header:eta").filter(|_| !keeps_order(section)),
            attributes: CELERY
                .iter()
                .filter_map(|(name, place)| Some(((*name).to_owned(), source(place)?)))
                .collect(),
        },
        _ => Preset::default(),
    }
}

/// Whether this is how the messages of Celery are read.
#[must_use]
pub fn reads_celery(reading: &Reading) -> bool {
    let place = reading.attributes.get("type");
    place.is_some_and(|place| Some(place) == source(TASK).as_ref())
}

/// Where the time not to begin before is, from the file or the preset. A message whose time has not come steps aside, so it
/// cannot be together with an order.
pub(super) fn not_before(
    section: Section<'_>,
    preset: Option<Source>,
    path: &str,
    notes: &mut Notes,
) -> Option<Source> {
    let written: Option<Source> = section.get("not_before");
    if written.is_some() && keeps_order(section) {
        let what =
            format!("`{path}.not_before` lets messages wait aside, and `order` forbids that");
        let help = "leave one of the two out";
        notes.add(section.place("not_before"), what, help);
    }
    written.or(preset)
}

fn keeps_order(section: Section<'_>) -> bool {
    let order: Option<String> = section.get("order");
    order.is_some_and(|order| order != "none")
}

fn source(place: &str) -> Option<Source> {
    place.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SMALL, settings};
    use super::*;

    fn reading(lines: &str) -> Reading {
        settings(&format!("{SMALL}{lines}"))
            .queues
            .remove(0)
            .reading
    }

    fn place(text: &str) -> Option<Source> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn celery_puts_everything_in_headers() {
        let read = reading("preset = 'celery'\nkey = 'type'\n");
        assert_eq!(
            (read.id.clone(), read.age.clone()),
            (place("header:id"), None)
        );
        assert_eq!(read.deadline, place("header:expires"));
        assert_eq!(read.not_before, place("header:eta"));
        let names: Vec<&str> = read.attributes.keys().map(AsRef::as_ref).collect();
        assert_eq!(names, ["retries", "root_id", "type"]);
        assert!(reads_celery(&read) && !reads_celery(&reading("")));
    }

    #[test]
    fn what_the_file_says_holds() {
        let read = reading(
            "preset = 'celery'\nid = 'property:message_id'\nnot_before = 'header:due'\nage = 'header:at'\n\
             attributes = { account = 'header:x-account', retries = 'header:tries' }\n",
        );
        assert_eq!(read.id, place("property:message_id"));
        assert_eq!(read.not_before, place("header:due"));
        assert_eq!(read.age, place("header:at"));
        assert_eq!(read.deadline, place("header:expires"));
        assert_eq!(
            read.attributes.get("retries").cloned(),
            place("header:tries")
        );
        assert_eq!(read.attributes.len(), 4);
    }
}
