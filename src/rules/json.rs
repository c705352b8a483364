//! JSON read strictly: what two readers could understand differently is refused.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};

/// Reads one JSON text: no key twice in an object, nothing after the end, nested at most 128 deep, numbers within range.
///
/// # Errors
/// When it is none of that; with line and column.
pub fn strict(bytes: &[u8]) -> Result<Json, serde_json::Error> {
    serde_json::from_slice::<Strict>(bytes).map(|strict| strict.0)
}

struct Strict(Json);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without a key twice")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        let number = Number::from_f64(value);
        number
            .map(Json::Number)
            .ok_or_else(|| E::custom("a number that is none"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!(
                    "the key {key:?} stands here twice"
                )));
            }
            let Strict(value) = entries.next_value()?;
            object.insert(key, value);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        for (what, text) in [
            ("empty", ""),
            ("cut", "{\"a\": 1"),
            ("a key twice", "{\"a\": 1, \"a\": 2}"),
            ("twice further in", "{\"b\": [{\"a\": 1, \"a\": 2}]}"),
            ("no number", "NaN"),
            ("too large", "1e999"),
            ("something after it", "{} {}"),
            ("nested without end", deep.as_str()),
        ] {
            assert!(strict(text.as_bytes()).is_err(), "{what}");
        }
        assert!(strict(b"\xff\xfe\"a\"").is_err(), "not UTF-8");
    }

    proptest! {
        #[test]
        fn bytes_never_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = strict(&bytes);
        }

        #[test]
        fn what_it_reads_is_what_everybody_reads(key in "[a-z]{1,8}", number in any::<i64>(), text in ".{0,20}") {
            let json = serde_json::json!({ key: [number, text, null, true, {"inner": 1.5}] });
            prop_assert_eq!(strict(json.to_string().as_bytes()).ok(), Some(json));
        }
    }
}
