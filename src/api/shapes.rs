//! The shapes of `rules` in the OpenAPI document, drawn from their own JSON schemas: one truth, however they grow. May import
//! `rules`.

use schemars::SchemaGenerator;
use serde_json::{Map, Value as Json, json};
use utoipa::openapi::schema::{Array, ArrayBuilder, Ref, Schema};
use utoipa::openapi::{ComponentsBuilder, OpenApi, RefOr};

use crate::rules::flag::FlagDocument;
use crate::rules::opening::Restore;
use crate::rules::segment::SegmentDocument;

/// What our documents call the shapes whose own names say that they are documents.
const NAMES: [(&str, &str); 3] = [
    ("RuleDocument", "Rule"),
    ("ShareDocument", "Share"),
    ("ClauseDocument", "Clause"),
];

/// A list of rules.
pub(super) fn rules() -> Array {
    list("Rule")
}

/// A list of clauses.
pub(super) fn clauses() -> Array {
    list("Clause")
}

/// How an opening ends.
pub(super) fn restore() -> Ref {
    Ref::from_schema_name("Restore")
}

/// Whose formula draws lots.
pub(super) fn bucketing() -> Ref {
    Ref::from_schema_name("Bucketing")
}

/// A list of whole flags.
pub(super) fn flag_documents() -> Array {
    list("FlagDocument")
}

/// A list of whole segments.
pub(super) fn segment_documents() -> Array {
    list("SegmentDocument")
}

fn list(of: &str) -> Array {
    ArrayBuilder::new().items(Ref::from_schema_name(of)).build()
}

/// Puts the shapes among the components of the document.
pub(super) fn add(document: &mut OpenApi) {
    let components = document
        .components
        .get_or_insert_with(|| ComponentsBuilder::new().build());
    for (name, schema) in all() {
        if let Ok(schema) = serde_json::from_value::<RefOr<Schema>>(schema) {
            components.schemas.insert(name, schema);
        }
    }
}

/// The shapes by name, as OpenAPI writes them.
fn all() -> Map<String, Json> {
    let mut generator = SchemaGenerator::default();
    generator.subschema_for::<FlagDocument>();
    generator.subschema_for::<SegmentDocument>();
    generator.subschema_for::<Restore>();
    let mut all = Map::new();
    for (name, schema) in generator.take_definitions(true) {
        all.insert(ours(&name).to_owned(), in_openapi(schema));
    }
    for (of, put) in [
        ("FlagDocument", "FlagPut"),
        ("SegmentDocument", "SegmentPut"),
    ] {
        let body = worded(all.get(of).cloned().unwrap_or_default());
        if put == "FlagPut" {
            all.insert("FlagPatch".to_owned(), patch(body.clone()));
        }
        all.insert(put.to_owned(), body);
    }
    all
}

fn ours(name: &str) -> &str {
    let renamed = NAMES.iter().find(|(theirs, _)| *theirs == name);
    renamed.map_or(name, |(_, ours)| ours)
}

/// A JSON schema as this version of OpenAPI's writer reads it: what may be anything says so, a constant is a choice of one.
fn in_openapi(schema: Json) -> Json {
    let Json::Object(mut schema) = schema else {
        return json!({"type": null}); // `true`: anything
    };
    if let Some(Json::String(to)) = schema.get("$ref") {
        let name = ours(to.rsplit('/').next().unwrap_or_default());
        return json!({"$ref": format!("#/components/schemas/{name}")});
    }
    if let Some(constant) = schema.remove("const") {
        schema.insert("enum".to_owned(), json!([constant]));
    }
    for part in ["properties", "oneOf", "anyOf", "allOf"] {
        match schema.get_mut(part) {
            Some(Json::Object(all)) => all
                .values_mut()
                .for_each(|one| *one = in_openapi(one.take())),
            Some(Json::Array(all)) => all.iter_mut().for_each(|one| *one = in_openapi(one.take())),
            _ => {}
        }
    }
    if let Some(items) = schema.get_mut("items") {
        *items = in_openapi(items.take());
    }
    let says = |part: &str| schema.contains_key(part);
    if !["type", "oneOf", "anyOf", "allOf"].into_iter().any(says) {
        schema.insert("type".to_owned(), Json::Null);
    }
    Json::Object(schema)
}

/// A document as a body: the path says its name, the daemon its revision, and words stand beside it.
fn worded(mut document: Json) -> Json {
    let words = json!({
        "reason": {"type": "string", "minLength": 1, "maxLength": 1024, "description": "Why; never empty.", "example": "INC-481"},
        "confirm": {"type": ["integer", "null"], "minimum": 0, "description": "The size of a big move, as the answer 409 `confirm-size` told it."},
        "keep": {"type": "boolean", "default": false, "description": "`true`: a valve that sheds or stops stays so without an end."},
        "dry_run": {"type": "boolean", "default": false, "description": "Checks the change and shows what it would lead to; nothing is changed."},
    });
    if let (Some(Json::Object(properties)), Json::Object(words)) =
        (document.get_mut("properties"), words)
    {
        properties.remove("revision");
        properties.extend(words);
    }
    if let Some(Json::Array(required)) = document.get_mut("required") {
        required.retain(|name| name != "key" && name != "name");
        required.push("reason".into());
    }
    document["description"] = "The whole document, and why.".into();
    document
}

/// A merge patch (RFC 7396) of a body: nothing but the reason must be said, and `null` removes.
fn patch(mut body: Json) -> Json {
    body["required"] = json!(["reason"]);
    body["description"] =
        "A merge patch (RFC 7396): what is not said stays, `null` removes, lists are replaced whole.".into();
    let Some(Json::Object(properties)) = body.get_mut("properties") else {
        return body;
    };
    for (name, schema) in properties {
        if ["reason", "keep", "dry_run", "confirm"].contains(&name.as_str()) {
            continue;
        }
        match schema.get("type") {
            Some(Json::String(one)) => schema["type"] = json!([one, "null"]),
            None => *schema = json!({"anyOf": [schema, {"type": "null"}]}),
            _ => {}
        }
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("default");
        }
    }
    body["properties"]["ramp"] = json!({
        "type": "string", "example": "10m",
        "description": "The value goes to the new one in steps, over this time (1 s to 24 h), from what the flag says now; between numbers only.",
    });
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_written_as_it_was_read() {
        for (name, schema) in all() {
            let read = serde_json::from_value::<RefOr<Schema>>(schema.clone());
            let written = serde_json::to_value(read.unwrap_or_else(|why| panic!("{name}: {why}")));
            let written = written.unwrap();
            let names = |of: &Json| -> Vec<String> {
                let properties = of["properties"].as_object();
                properties
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| name.clone())
                    .collect()
            };
            let (mut there, mut awaited) = (names(&written), names(&schema));
            there.sort();
            awaited.sort();
            assert_eq!(there, awaited, "{name}");
        }
    }

    #[test]
    fn a_body_says_neither_revision_nor_name_and_always_why() {
        let all = all();
        for (name, fields) in [
            ("FlagPut", ["kind", "type", "reason"]),
            ("FlagPatch", ["reason"; 3]),
        ] {
            let body = &all[name];
            assert!(body["properties"].get("revision").is_none(), "{name}");
            for field in fields {
                assert!(
                    body["required"].as_array().unwrap().contains(&field.into()),
                    "{name}: {field}"
                );
            }
        }
        let nullable = &all["FlagPatch"]["properties"]["owner"]["type"];
        assert_eq!(*nullable, json!(["string", "null"]));
    }
}
