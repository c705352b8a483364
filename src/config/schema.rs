//! The JSON Schema (draft-07) of the file, for editors; drawn from the list of settings.

use serde_json::{Map, Value as Json, json};

use super::list::{FILE, URL_WAYS};
use super::shape::{Form, Setting, Shape};
use super::tree::Value;

/// A duration as [`crate::rules::units::Span`] reads it.
const DURATION: &str = r"^\s*([0-9]+\s*(d|h|m|s|ms)\s*)+$";

/// The schema of `sluicegate.toml`.
#[must_use]
pub fn schema() -> Json {
    let mut schema = table(FILE);
    let head = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "sluicegate.toml",
        "description": "The configuration of Sluicegate. What needs a restart is here; what an operator turns is a flag.",
    });
    if let (Json::Object(schema), Json::Object(head)) = (&mut schema, head) {
        schema.extend(head);
    }
    schema
}

fn table(settings: &'static [Setting]) -> Json {
    let here = || settings.iter().filter(|setting| setting.here());
    let properties: Map<String, Json> = here()
        .map(|setting| (setting.name.to_owned(), property(setting)))
        .collect();
    let required: Vec<&str> = here()
        .filter(|one| one.needed.is_some())
        .map(|one| one.name)
        .collect();
    let mut schema =
        json!({"type": "object", "additionalProperties": false, "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if URL_WAYS
        .iter()
        .all(|way| here().any(|setting| setting.name == *way))
    {
        schema["oneOf"] = URL_WAYS
            .iter()
            .map(|way| json!({"required": [way]}))
            .collect();
    }
    schema
}

fn property(setting: &Setting) -> Json {
    let mut schema = shape(&setting.shape);
    schema["description"] = json!(setting.help);
    let nobody = "".into();
    let default = setting
        .default
        .map(|text| setting.shape.read(text, &nobody));
    if let Some(default) = default.as_ref().and_then(Value::to_json) {
        schema["default"] = default;
    }
    schema
}

fn shape(shape: &Shape) -> Json {
    match shape {
        Shape::Text(form) => text(form),
        Shape::Duration(..) => json!({"type": "string", "pattern": DURATION}),
        Shape::Integer(least, most) => {
            json!({"type": "integer", "minimum": least, "maximum": most})
        }
        Shape::Number => json!({"type": "number"}),
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::OneOf(words, _) => json!({"type": "string", "enum": words}),
        Shape::Texts(form) => json!({"type": "array", "items": text(form), "uniqueItems": true}),
        Shape::Free(form) => json!({"type": "object", "additionalProperties": text(form)}),
        Shape::Any | Shape::NotHere => json!({}),
        Shape::Section(settings) => table(settings),
        Shape::Sections(settings, most) => {
            json!({"type": "array", "items": table(settings), "minItems": 1, "maxItems": most})
        }
        Shape::Choice(settings) => {
            let mut schema = table(settings);
            schema["minProperties"] = json!(1);
            schema["maxProperties"] = json!(1);
            schema
        }
    }
}

fn text(form: &Form) -> Json {
    match form.pattern {
        Some(pattern) => json!({"type": "string", "pattern": pattern}),
        None => json!({"type": "string"}),
    }
}
