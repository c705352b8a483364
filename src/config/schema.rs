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

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `value` fits `schema`, as far as we use draft-07; patterns are left to editors.
    fn fits(value: &Json, schema: &Json) -> Result<(), String> {
        let no = |why: &str| Err(format!("{why}: {value}"));
        let count = |of: &Json| of.as_u64().unwrap_or(u64::MAX) as usize;
        let kind = match value {
            Json::String(_) => "string",
            Json::Bool(_) => "boolean",
            Json::Array(_) => "array",
            Json::Object(_) => "object",
            _ => "integer",
        };
        if schema.get("type").is_some_and(|wanted| wanted != kind) {
            return no("another type");
        }
        if schema
            .get("enum")
            .is_some_and(|words| !words.as_array().unwrap().contains(value))
        {
            return no("another word");
        }
        let number = value.as_i64();
        if number.is_some_and(|number| schema["minimum"].as_i64() > Some(number))
            || number
                .is_some_and(|number| schema["maximum"].as_i64().is_some_and(|most| most < number))
        {
            return no("out of bounds");
        }
        if let Some(ways) = schema["oneOf"].as_array()
            && ways.iter().filter(|way| fits(value, way).is_ok()).count() != 1
        {
            return no("not exactly one");
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            if value.get(name.as_str().unwrap()).is_none() {
                return no(&format!("{name} is missing"));
            }
        }
        for (name, inner) in value.as_object().into_iter().flatten() {
            match (
                schema["properties"].get(name),
                schema.get("additionalProperties"),
            ) {
                (Some(property), _) => fits(inner, property)?,
                (None, Some(Json::Bool(false))) => return no(&format!("{name} is unknown")),
                (None, Some(form)) => fits(inner, form)?,
                (None, None) => {}
            }
        }
        if value.as_object().is_some_and(|fields| {
            schema
                .get("maxProperties")
                .is_some_and(|most| fields.len() > count(most))
                || schema
                    .get("minProperties")
                    .is_some_and(|least| fields.len() < count(least))
        }) {
            return no("too many or too few");
        }
        value
            .as_array()
            .into_iter()
            .flatten()
            .try_for_each(|item| fits(item, &schema["items"]))
    }

    fn judge(text: &str) -> Result<(), String> {
        let value: toml::Value = toml::from_str(text).unwrap();
        fits(&serde_json::to_value(value).unwrap(), &schema())
    }

    #[test]
    fn every_sample_fits_the_schema() {
        for text in [
            include_str!("../../config/sluicegate.toml"),
            include_str!("../../config/demo.toml"),
        ] {
            assert_eq!(judge(text), Ok(()));
        }
    }

    #[test]
    fn what_the_reader_refuses_by_its_list_the_schema_refuses_too() {
        let small = super::super::tests::SMALL;
        assert_eq!(judge(small), Ok(()));
        for line in [
            "slot = 9",
            "slots = 0",
            "slots = 10001",
            "slots = '9'",
            "on_skip = 'vanish'",
            "order = 'lane'",
            "preset = 'sidekiq'",
            "attributes = { a = 1 }",
            "park.as = 'file'",
            "dead_letter = {}",
            "[[queue]]\nname = 'mail'",
            "[[queue]]\nname = 'mail'\ntarget = {}",
            "[[queue]]\nname = 'mail'\ntarget = { http = 'http://x', handler = 'y' }",
            "[[provider]]\nname = 'mailgun'",
            "[demon]",
        ] {
            let text = format!("{small}{line}\n");
            assert!(judge(&text).is_err(), "{line}");
            assert!(super::super::tests::with(&text, &[]).is_err(), "{line}");
        }
        assert!(judge(&small.replace("url =", "url_env = 'X'\nurl =")).is_err());
        assert!(judge(&small.replace("[amqp]\nurl = \"amqp://127.0.0.1\"\n", "")).is_err());
    }

    #[test]
    fn it_is_draft_07_and_every_setting_has_help() {
        fn walk(schema: &Json, path: &str) {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                let path = format!("{path}.{name}");
                let help = property["description"].as_str().unwrap_or_default();
                assert!(help.ends_with('.'), "`{path}` needs a sentence: {help:?}");
                walk(property, &path);
                walk(&property["items"], &path);
            }
        }
        let schema = schema();
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        assert_eq!(
            schema["properties"]["daemon"]["properties"]["listen"]["default"],
            "127.0.0.1:7070"
        );
        assert_eq!(
            schema["properties"]["queue"]["items"]["properties"]["slots"]["default"],
            8
        );
        walk(&schema, "");
    }
}
