//! Bodies that are a document with words beside it: `{"value": 0.2, "reason": "INC-481"}`. May import `rules`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value as Json};

use super::body::pointer;
use super::error::{BAD_DOCUMENT, Problem};
use super::write::Words;
use crate::rules::flag::{Flag, FlagDocument};
use crate::rules::names::FlagKey;

/// A document, and the words of a write.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Worded {
    /// Why; never empty.
    #[serde(default)]
    reason: String,
    /// The size of a big move.
    #[serde(default)]
    confirm: Option<u64>,
    /// Whether a valve that sheds may stay so without an end.
    #[serde(default)]
    keep: bool,
    #[serde(default)]
    dry_run: bool,
    /// All else.
    #[serde(flatten)]
    pub(super) document: Map<String, Json>,
}

impl Worded {
    /// What is said beside the document.
    pub(super) fn words(&self) -> Words {
        Words {
            confirm: self.confirm,
            keep: self.keep,
            dry_run: self.dry_run,
            ..Words::because(&self.reason)
        }
    }
}

/// Reads a part of a body, which stands at this pointer, as what it must be.
pub(super) fn read<T: DeserializeOwned>(document: Json, at: &str) -> Result<T, Problem> {
    serde_path_to_error::deserialize(document).map_err(|why| {
        let place = format!("{at}{}", pointer(why.path().iter()));
        Problem::new(BAD_DOCUMENT, why.into_inner().to_string()).at(place)
    })
}

/// What the path or another field says already is said the same in a document, or not at all; the revision is the daemon's.
pub(super) fn named(
    document: &mut Map<String, Json>,
    field: &str,
    name: &str,
    at: &str,
) -> Result<(), Problem> {
    let said = document.insert(field.to_owned(), name.into());
    if said.is_some_and(|said| said != name) {
        let cure =
            format!("the {field} in the body differs from the one it is about; leave it out");
        return Err(Problem::new(BAD_DOCUMENT, cure).at(format!("{at}/{field}")));
    }
    if document.contains_key("revision") {
        let cure = "the revision is set by the daemon; leave it out, and say what you saw (If-Match, or `seen`)";
        return Err(Problem::new(BAD_DOCUMENT, cure).at(format!("{at}/revision")));
    }
    Ok(())
}

/// The whole document of a flag. Of a valve, what comes with the daemon and is not said stays.
pub(super) fn whole(
    mut document: Map<String, Json>,
    old: Option<&Flag>,
    at: &str,
) -> Result<FlagDocument, Problem> {
    let valve = old.filter(|flag| FlagKey::comes_with_us(flag.key.as_str()));
    if let Some(Ok(Json::Object(frame))) = valve.map(|flag| serde_json::to_value(flag.document())) {
        for (field, value) in frame {
            let framing = ["min", "max", "choices", "description"];
            if framing.contains(&field.as_str()) && !document.contains_key(&field) {
                document.insert(field, value);
            }
        }
    }
    read(document.into(), at)
}

/// The document of a flag with a merge patch applied (RFC 7396).
pub(super) fn patched(
    old: &FlagDocument,
    patch: Map<String, Json>,
    at: &str,
) -> Result<FlagDocument, Problem> {
    let standing = serde_json::to_value(old).unwrap_or_default();
    let document: FlagDocument = read(merged(&standing, patch.into()), at)?;
    Ok(FlagDocument {
        revision: old.revision,
        ..document
    })
}

/// What was said, `null` included: a merge patch tells it from what was not said.
pub(super) fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    value: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

/// A merge patch applied: objects are merged, `null` removes, everything else replaces.
pub(super) fn merged(target: &Json, patch: Json) -> Json {
    let Json::Object(patch) = patch else {
        return patch;
    };
    let mut merged_object = target.as_object().cloned().unwrap_or_default();
    for (key, part) in patch {
        if part.is_null() {
            merged_object.shift_remove(&key);
        } else {
            let below = merged(merged_object.get(&key).unwrap_or(&Json::Null), part);
            merged_object.insert(key, below);
        }
    }
    Json::Object(merged_object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_follows_the_examples_of_rfc_7396() {
        for (target, patch, result) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (
                json!({"a":"b","b":"c"}),
                json!({"a":null}),
                json!({"b":"c"}),
            ),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (
                json!({"a":{"b":"c"}}),
                json!({"a":{"b":"d","c":null}}),
                json!({"a":{"b":"d"}}),
            ),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (
                json!({}),
                json!({"a":{"bb":{"ccc":null}}}),
                json!({"a":{"bb":{}}}),
            ),
        ] {
            assert_eq!(
                merged(&target, patch.clone()),
                result,
                "{target} patched with {patch}"
            );
        }
    }
}
