//! What somebody wrote, with the place where it stands: a line of the file, or a variable of the environment.
//!
//! A tree of our own between the TOML parser and the rest of the room, so that file and environment can be laid over each
//! other and every complaint still knows where to point.

use std::ops::Range;
use std::sync::Arc;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where something was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// Nowhere in particular: the file as a whole.
    Whole,
    /// These bytes of the file.
    Bytes(Range<usize>),
    /// This variable of the environment.
    Variable(Arc<str>),
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// A value as TOML knows them.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    /// `None`: more than 64 bits hold.
    Integer(Option<i64>),
    Float(f64),
    Boolean(bool),
    /// A date or time, which no setting takes.
    Moment,
    List(Vec<Written>),
    Table(Table),
}

impl Value {
    /// What it is, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "true or false",
            Self::Moment => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The same as JSON; none for what JSON cannot say: dates, infinities, too large numbers.
    pub(super) fn to_json(&self) -> Option<Json> {
        Some(match self {
            Self::Text(text) => text.as_str().into(),
            Self::Integer(number) => (*number)?.into(),
            Self::Float(number) => Json::Number(serde_json::Number::from_f64(*number)?),
            Self::Boolean(value) => (*value).into(),
            Self::Moment => return None,
            Self::List(list) => {
                let items: Option<Vec<Json>> =
                    list.iter().map(|item| item.value.to_json()).collect();
                items?.into()
            }
            Self::Table(table) => table.to_json()?,
        })
    }
}

/// A table, in the order in which it was written.
#[derive(Debug, Clone, Default)]
pub(super) struct Table(Vec<Entry>);

/// One line of a table.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Where the name stands.
    pub(super) at: Place,
    pub(super) written: Written,
}

impl Table {
    /// An empty one.
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.0
    }

    pub(super) fn get(&self, name: &str) -> Option<&Written> {
        self.0
            .iter()
            .find(|entry| entry.name == name)
            .map(|entry| &entry.written)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.value.text()
    }

    /// The table of this name.
    pub(super) fn table(&self, name: &str) -> Option<&Table> {
        match &self.get(name)?.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The tables of the list of this name, as `[[name]]` writes them.
    pub(super) fn tables(&self, name: &str) -> Vec<(&Table, &Place)> {
        match self.get(name).map(|written| &written.value) {
            Some(Value::List(list)) => list
                .iter()
                .filter_map(|item| match &item.value {
                    Value::Table(table) => Some((table, &item.place)),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The `index`th table of the list of this name.
    pub(super) fn nth_mut(&mut self, name: &str, index: usize) -> Option<&mut Table> {
        let entry = self.0.iter_mut().find(|entry| entry.name == name)?;
        let Value::List(list) = &mut entry.written.value else {
            return None;
        };
        let mut tables = list.iter_mut().filter_map(|item| match &mut item.value {
            Value::Table(table) => Some(table),
            _ => None,
        });
        tables.nth(index)
    }

    /// The table of this name, made when it is not there; none when something else is.
    pub(super) fn table_mut(&mut self, name: &str, place: &Place) -> Option<&mut Table> {
        if self.get(name).is_none() {
            let value = Value::Table(Table::default());
            let place = place.clone();
            self.put(name, Written { value, place });
        }
        let entry = self.0.iter_mut().find(|entry| entry.name == name)?;
        match &mut entry.written.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Writes a value, in place of the one that stood there.
    pub(super) fn put(&mut self, name: &str, written: Written) {
        self.remove(name);
        self.0.push(Entry {
            name: name.to_owned(),
            at: written.place.clone(),
            written,
        });
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|entry| entry.name != name);
    }

    pub(super) fn to_json(&self) -> Option<Json> {
        let fields: Option<serde_json::Map<String, Json>> = self
            .0
            .iter()
            .map(|entry| Some((entry.name.clone(), entry.written.value.to_json()?)))
            .collect();
        Some(Json::Object(fields?))
    }
}

/// A complaint of the TOML parser.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) place: Place,
    pub(super) message: String,
}

/// Reads a document as far as it can be read, with what is broken in it.
pub(super) fn parse(text: &str) -> (Table, Vec<Broken>) {
    let (root, errors) = DeTable::parse_recoverable(text);
    let broken = errors
        .iter()
        .map(|error| Broken {
            place: error.span().map_or(Place::Whole, Place::Bytes),
            message: error.message().to_owned(),
        })
        .collect();
    (table(root.get_ref(), None), broken)
}

/// Reads one value as it is written in a variable.
pub(super) fn parse_value(text: &str, variable: &Arc<str>) -> Option<Value> {
    let parsed = DeValue::parse(text).ok()?;
    Some(value(&parsed, Some(variable)).value)
}

fn table(table: &DeTable<'_>, variable: Option<&Arc<str>>) -> Table {
    let entries = table.iter().map(|(name, written)| Entry {
        name: name.get_ref().clone().into_owned(),
        at: place(name.span(), variable),
        written: value(written, variable),
    });
    Table(entries.collect())
}

fn value(written: &Spanned<DeValue<'_>>, variable: Option<&Arc<str>>) -> Written {
    let value = match written.get_ref() {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(number) => {
            Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(_) => Value::Moment,
        DeValue::Array(list) => {
            Value::List(list.iter().map(|item| value(item, variable)).collect())
        }
        DeValue::Table(inner) => Value::Table(table(inner, variable)),
    };
    Written {
        value,
        place: place(written.span(), variable),
    }
}

fn place(span: Range<usize>, variable: Option<&Arc<str>>) -> Place {
    variable.map_or(Place::Bytes(span), |name| Place::Variable(Arc::clone(name)))
}
