//! What a flag is asked with: attributes, found by slot so that no name is looked up when it is asked.

use std::sync::Arc;

use serde_json::Value as Json;

use super::lots::{ByText, KeyHash};

/// The longest attribute that is kept as it is; a longer one is replaced by its hash.
pub const LONGEST_ATTRIBUTE: usize = 256;

/// The value of one attribute, with its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    text: Arc<str>,
    hash: KeyHash,
}

impl Attribute {
    /// The attribute of this text; one longer than [`LONGEST_ATTRIBUTE`] is replaced by its hash, so that the same account stays
    /// the same.
    #[must_use]
    pub fn of(text: &str) -> Self {
        if text.len() > LONGEST_ATTRIBUTE {
            let hash = KeyHash::of(text.as_bytes());
            return Self::of(&format!("xxh3:{:016x}", hash.0));
        }
        Self {
            text: text.into(),
            hash: KeyHash::of(text.as_bytes()),
        }
    }

    /// The attribute of a JSON value: texts, numbers and booleans have one, nothing else does. `1.0` is `1`.
    #[must_use]
    pub fn of_json(json: &Json) -> Option<Self> {
        plain_text(json).map(|text| Self::of(&text))
    }

    /// Its text.
    #[inline]
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The hash of its text.
    #[inline]
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        self.hash
    }

    /// Its text as a finite number.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        self.text
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
    }
}

/// A text, number or boolean as the text that clauses compare.
#[must_use]
pub fn plain_text(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(match number.as_f64() {
            Some(whole) if whole.fract() == 0.0 && whole.abs() < 9e15 => format!("{whole:.0}"),
            _ => number.to_string(),
        }),
        Json::Bool(value) => Some(value.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

/// Where the attributes of one name stand in a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

/// What is known when a flag is asked.
pub trait Context {
    /// The attribute in this slot, if it is known.
    fn attribute(&self, slot: Slot) -> Option<&Attribute>;
}

impl Context for [Option<Attribute>] {
    #[inline]
    fn attribute(&self, slot: Slot) -> Option<&Attribute> {
        self.get(usize::from(slot.0))?.as_ref()
    }
}

/// The names that flags ask for, each with its slot; a name keeps its slot. Cheap to clone: a copy is made with the first new name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary(Arc<Names>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Names {
    names: Vec<Arc<str>>,
    slots: ByText<Arc<str>, Slot>,
}

impl Vocabulary {
    /// The slot of a name, which is new if need be. Of more names than slots the rest share the last one, which nobody fills.
    pub fn slot(&mut self, name: &str) -> Slot {
        if let Some(slot) = self.find(name) {
            return slot;
        }
        let Ok(number) = u16::try_from(self.0.names.len()) else {
            return Slot(u16::MAX);
        };
        let name: Arc<str> = name.into();
        let known = Arc::make_mut(&mut self.0);
        known.names.push(Arc::clone(&name));
        known.slots.insert(name, Slot(number));
        Slot(number)
    }

    /// The slot of a name, if a flag asks for it.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Slot> {
        self.0.slots.get(name).copied()
    }

    /// All names, in the order of their slots.
    #[must_use]
    pub fn names(&self) -> &[Arc<str>] {
        &self.0.names
    }

    /// A context of what is given; what no flag asks for is left out.
    pub fn context<'a>(
        &self,
        given: impl IntoIterator<Item = (&'a str, Attribute)>,
    ) -> Vec<Option<Attribute>> {
        let mut context = vec![None; self.0.names.len()];
        for (name, attribute) in given {
            let place = self.find(name).map(|slot| usize::from(slot.0));
            if let Some(place) = place.and_then(|place| context.get_mut(place)) {
                *place = Some(attribute);
            }
        }
        context
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_equal_in_json_is_equal_as_text() {
        for (json, text) in [
            (json!("acme"), Some("acme")),
            (json!(1), Some("1")),
            (json!(1.0), Some("1")),
            (json!(-0.5), Some("-0.5")),
            (json!(true), Some("true")),
            (json!(null), None),
            (json!(["a"]), None),
        ] {
            assert_eq!(plain_text(&json).as_deref(), text, "{json}");
        }
    }

    #[test]
    fn names_keep_their_slots_and_a_context_has_what_is_asked_for() {
        let mut vocabulary = Vocabulary::default();
        let (account, plan) = (vocabulary.slot("account"), vocabulary.slot("plan"));
        assert_eq!(vocabulary.slot("account"), account);
        let given = [
            ("account", Attribute::of("acme")),
            ("city", Attribute::of("Oslo")),
        ];
        let context = vocabulary.context(given);
        assert_eq!(context.attribute(account), Some(&Attribute::of("acme")));
        assert_eq!(context.attribute(plan), None);
        assert_eq!(context.attribute(Slot(99)), None);
    }

    #[test]
    fn a_long_text_is_the_same_for_the_same_account() {
        let long = "x".repeat(LONGEST_ATTRIBUTE + 1);
        assert_eq!(Attribute::of(&long), Attribute::of(&long));
        assert_eq!(Attribute::of(&long).text().len(), 21);
    }
}
