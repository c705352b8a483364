//! What a queue's flags ask of each message, and where in the message it is found.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::{Attribute, Slot};
use super::facts::Source;
use super::message::PROPERTIES;

/// The attributes that a queue's flags ask for, by slot.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asks {
    places: Vec<Place>,
    names: Vec<Arc<str>>,
}

/// Where an attribute of a message is found.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// There, as the file says: a body that cannot be read is an error.
    Declared(Source),
    /// There, since a rule asks: a body that cannot be read has nothing.
    Asked(Source),
    /// It is the id.
    Id,
    /// It is the same for each message of the queue.
    Fixed(Attribute),
    /// No message of this queue has it.
    Nowhere,
}

impl Asks {
    /// The places of these names, in the order of their slots; `declared` are the attributes of the file.
    #[must_use]
    pub fn of(names: &[Arc<str>], declared: &BTreeMap<Arc<str>, Source>, queue: &str) -> Self {
        let place = |name: &Arc<str>| place(name, declared, queue);
        Self {
            places: names.iter().map(place).collect(),
            names: names.to_vec(),
        }
    }

    /// The attributes of the file alone, in their order.
    #[must_use]
    pub fn declared(declared: &BTreeMap<Arc<str>, Source>) -> Self {
        let places = declared.values().cloned().map(Place::Declared);
        Self {
            places: places.collect(),
            names: declared.keys().cloned().collect(),
        }
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// The names that are asked for, in the order of their slots.
    #[must_use]
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// Whether no message of the queue has the attribute in this slot.
    #[must_use]
    pub fn is_nowhere(&self, slot: Slot) -> bool {
        matches!(
            self.places.get(usize::from(slot.0)),
            None | Some(Place::Nowhere)
        )
    }
}

/// Whether a message of a queue with these attributes may carry one of this name.
#[must_use]
pub fn may_carry(name: &str, declared: &BTreeMap<Arc<str>, Source>) -> bool {
    place(name, declared, "") != Place::Nowhere
}

/// Where a name is found in a message; `None`: it is the id, the queue, or nowhere.
pub(super) fn source_of(name: &str, declared: &BTreeMap<Arc<str>, Source>) -> Option<Source> {
    match place(name, declared, "") {
        Place::Declared(source) | Place::Asked(source) => Some(source),
        Place::Id | Place::Fixed(_) | Place::Nowhere => None,
    }
}

fn place(name: &str, declared: &BTreeMap<Arc<str>, Source>, queue: &str) -> Place {
    if let Some(source) = declared.get(name) {
        return Place::Declared(source.clone());
    }
    let property = |name: &str| Place::Asked(Source::Property(name.to_owned()));
    match (name, name.split_once('.')) {
        ("id", _) => Place::Id,
        ("queue", _) => Place::Fixed(Attribute::of(queue)),
        ("type" | "priority", _) => property(name),
        (_, Some(("header", header))) if !header.is_empty() && header.len() <= 255 => {
            Place::Asked(Source::Header(header.to_owned()))
        }
        (_, Some(("property", known))) if PROPERTIES.contains(&known) => property(known),
        (_, Some(("body", path))) if !path.is_empty() => {
            Place::Asked(Source::Body(format!("/{}", path.replace('.', "/"))))
        }
        _ => Place::Nowhere,
    }
}
