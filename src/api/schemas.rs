//! Types of the rules in the OpenAPI document: their JSON schema, as schemars draws it, in the words of OpenAPI. So a shape is
//! written once, and the document cannot differ from it.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value as Json;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, Schema, SchemaType,
    Type,
};

/// The schema of a type of the rules.
pub(super) fn of<T: JsonSchema>() -> RefOr<Schema> {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>();
    RefOr::T(convert(schema.as_value()))
}

/// Gives these types of the rules a name in the document.
macro_rules! named {
    ($($view:ident = $name:literal of $of:ty),+ $(,)?) => { $(
        impl utoipa::PartialSchema for $view {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                crate::api::schemas::of::<$of>()
            }
        }
        impl utoipa::ToSchema for $view {
            fn name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
        }
    )+ };
}
pub(super) use named;

fn convert(schema: &Json) -> Schema {
    let description = schema["description"].as_str().map(str::to_owned);
    let branches = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
    if let Some(branches) = branches {
        return one_of(branches, description);
    }
    match types(&schema["type"]).as_slice() {
        [Type::Array, ..] => {
            let items = RefOr::T(convert(&schema["items"]));
            let array = ArrayBuilder::new().items(items).description(description);
            Schema::Array(array.build())
        }
        [Type::Object, ..] => Schema::Object(object(schema, description)),
        [] => {
            let any = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
            Schema::Object(any.description(description).build())
        }
        some => {
            let plain = ObjectBuilder::new().schema_type(one_or_more(some));
            let words = schema["enum"].as_array().cloned();
            Schema::Object(plain.description(description).enum_values(words).build())
        }
    }
}

/// Words of an enum, or shapes of which one fits.
fn one_of(branches: &[Json], description: Option<String>) -> Schema {
    let words: Option<Vec<Json>> = branches
        .iter()
        .map(|branch| branch.get("const").cloned())
        .collect();
    if let Some(words) = words {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let text = text.description(description).enum_values(Some(words));
        return Schema::Object(text.build());
    }
    let shapes = branches.iter().flat_map(|branch| match convert(branch) {
        // Words that each have a description, beside those that have none.
        Schema::OneOf(inner) => inner.items,
        shape => vec![RefOr::T(shape)],
    });
    let one_of = shapes.fold(OneOfBuilder::new(), OneOfBuilder::item);
    Schema::OneOf(one_of.description(description).build())
}

fn object(schema: &Json, description: Option<String>) -> Object {
    let mut object = ObjectBuilder::new().schema_type(one_or_more(&types(&schema["type"])));
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        object = object.property(name, convert(property));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        object = object.required(name.as_str().unwrap_or_default());
    }
    if schema["additionalProperties"] == Json::Bool(true) {
        let anything = AdditionalProperties::<Schema>::FreeForm(true);
        object = object.additional_properties(Some(anything));
    }
    object.description(description).build()
}

fn types(said: &Json) -> Vec<Type> {
    let words = said
        .as_array()
        .map_or(std::slice::from_ref(said), Vec::as_slice);
    let word = |word: &Json| {
        Some(match word.as_str()? {
            "array" => Type::Array,
            "object" => Type::Object,
            "string" => Type::String,
            "integer" => Type::Integer,
            "number" => Type::Number,
            "boolean" => Type::Boolean,
            "null" => Type::Null,
            _ => return None,
        })
    };
    words.iter().filter_map(word).collect()
}

fn one_or_more(types: &[Type]) -> SchemaType {
    match types {
        [one] => SchemaType::Type(one.clone()),
        several => SchemaType::Array(several.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::json;

    use super::*;

    /// A shape.
    #[derive(Serialize, JsonSchema)]
    struct Shape {
        /// How many.
        count: Option<u64>,
        names: Vec<String>,
        value: Json,
        word: Word,
        inner: Option<Inner>,
    }

    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Word {
        /// the first
        First,
        /// the second
        Second,
    }

    #[derive(Serialize, JsonSchema)]
    struct Inner {
        yes: bool,
    }

    #[test]
    fn a_shape_is_said_in_the_words_of_openapi() {
        let schema = serde_json::to_value(of::<Shape>()).unwrap();
        assert_eq!(schema["description"], "A shape.");
        let properties = &schema["properties"];
        assert_eq!(
            properties["count"],
            json!({"type": ["integer", "null"], "description": "How many."})
        );
        assert_eq!(
            properties["names"],
            json!({"type": "array", "items": {"type": "string"}})
        );
        assert_eq!(properties["value"], json!({}));
        assert_eq!(
            properties["word"],
            json!({"type": "string", "enum": ["first", "second"]})
        );
        let inner = json!({"type": ["object", "null"], "required": ["yes"],
            "properties": {"yes": {"type": "boolean"}}});
        assert_eq!(properties["inner"], inner);
        let shape = json!({"word": [Word::First, Word::Second]});
        assert_eq!(shape["word"], properties["word"]["enum"]);
        assert_eq!(schema["required"], json!(["names", "value", "word"]));
    }
}
