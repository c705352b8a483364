//! The envelope: a message that leaves our hands carries its original self whole, in one header, and comes back byte for byte.
//!
//! The header `x-sluicegate-original` holds JSON `{v, exchange, key, properties, headers: {name: [AMQP type letter, value]}}`.
//! Floats are written as their bits in hex and bytes in base64, so that nothing is rounded. What a broker would act upon or
//! refuse when it is published again is stripped from the outside, and restored from the envelope.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value as Json, json};

use super::message::{Field, Properties, Raw};
use super::verdict::{By, Why};

/// The header that holds the original.
pub const ORIGINAL: &str = "x-sluicegate-original";
/// The id of a job in doubt, by which its message is found in the park.
pub const ID: &str = "x-sluicegate-id";
/// Why the message lies where it lies.
pub const REASON: &str = "x-sluicegate-reason";
/// More about the reason, such as what the worker answered.
pub const CAUSE: &str = "x-sluicegate-cause";
/// The revision of the flags that decided.
pub const REVISION: &str = "x-sluicegate-revision";
/// The rule whose value decided.
pub const RULE: &str = "x-sluicegate-rule";
/// The opening whose value decided.
pub const OPENING: &str = "x-sluicegate-opening";
/// When, in milliseconds since 1970.
pub const AT: &str = "x-sluicegate-at";
/// How often it was tried.
pub const ATTEMPT: &str = "x-sluicegate-attempt";

/// All headers together stay below this: a header frame larger than the frame-max (128 KiB) would close the connection.
const MOST_HEADER_BYTES: usize = 96 * 1_024;
const LONGEST_CAUSE: usize = 256;

/// What is written on the outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Stamp {
    /// Why.
    pub why: Why,
    /// More about why; shortened to 256 bytes.
    pub cause: String,
    /// The revision of the flags that decided.
    pub revision: u64,
    /// Whose value decided.
    pub by: By,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// How often it was tried.
    pub attempt: u32,
}

/// A message ready to be published: properties and headers (the body stays as it is).
#[derive(Debug, Clone, PartialEq)]
pub struct Sealed {
    /// Properties; what the broker would act upon is stripped.
    pub properties: Properties,
    /// Headers, with the envelope and the stamp.
    pub headers: Vec<(String, Field)>,
}

/// The headers do not fit in an envelope: the message is to be dead-lettered as malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// Puts a message in its envelope.
///
/// # Errors
/// When its headers are too large for one; then only [`seal_without_original`] can carry it.
pub fn seal(raw: &Raw, stamp: &Stamp) -> Result<Sealed, TooLarge> {
    let original = Field::LongString(original_of(raw).to_string().into_bytes());
    let mut headers = stamp_headers(stamp);
    headers.push((ORIGINAL.to_owned(), original));
    let size = size_of_table(&headers);
    let beside = harmless(&raw.headers);
    if size + size_of_table(&beside) <= MOST_HEADER_BYTES {
        headers.splice(0..0, beside);
    } else if size > MOST_HEADER_BYTES {
        return Err(TooLarge);
    }
    Ok(Sealed {
        properties: outside_properties(&raw.properties),
        headers,
    })
}

/// A message with its stamp and as many of its own headers as fit: the last resort for one whose headers fit no envelope.
#[must_use]
pub fn seal_without_original(raw: &Raw, stamp: &Stamp) -> Sealed {
    let mut headers = stamp_headers(stamp);
    let mut room = MOST_HEADER_BYTES.saturating_sub(size_of_table(&headers));
    for header in harmless(&raw.headers) {
        let size = size_of_entry(&header);
        if size <= room {
            room -= size;
            headers.push(header);
        }
    }
    Sealed {
        properties: outside_properties(&raw.properties),
        headers,
    }
}

/// Whether a message in this envelope was in our hands before as one that was to be done: it is offered no second time.
#[must_use]
pub fn came_before(raw: &Raw) -> bool {
    let not_yet = Why::NotYet.word().as_bytes();
    raw.header(ORIGINAL).is_some()
        && !matches!(raw.header(REASON), Some(Field::LongString(why)) if why.as_slice() == not_yet)
}

/// Takes a message out of its envelope: the original, and how often it was tried. A message without one is its own original.
#[must_use]
pub fn open(raw: Raw) -> (Raw, u32) {
    let attempt = raw.header(ATTEMPT).and_then(Field::as_integer).unwrap_or(0);
    let attempt = u32::try_from(attempt.clamp(0, 1_000)).unwrap_or(0);
    let original = match raw.header(ORIGINAL) {
        Some(Field::LongString(bytes)) => serde_json::from_slice(bytes)
            .ok()
            .and_then(|json| restored(&json, &raw)),
        _ => None,
    };
    match original {
        Some(original) => (original, attempt),
        None => (raw, 0),
    }
}

/// What a broker acts upon, or refuses, when it is published again.
fn is_harmful(header: &str) -> bool {
    matches!(header, "CC" | "BCC" | "x-death")
        || header.starts_with("x-first-death-")
        || header.starts_with("x-last-death-")
        || header.starts_with("x-sluicegate-")
}

fn harmless(headers: &[(String, Field)]) -> Vec<(String, Field)> {
    headers
        .iter()
        .filter(|(name, _)| !is_harmful(name))
        .cloned()
        .collect()
}

fn outside_properties(properties: &Properties) -> Properties {
    Properties {
        user_id: None,
        expiration: None,
        delivery_mode: Some(2),
        ..properties.clone()
    }
}

fn stamp_headers(stamp: &Stamp) -> Vec<(String, Field)> {
    let text =
        |name: &str, text: &str| (name.to_owned(), Field::LongString(text.as_bytes().to_vec()));
    let number = |name: &str, number: i64| (name.to_owned(), Field::LongLongInt(number));
    let mut headers = vec![
        text(REASON, stamp.why.word()),
        number(REVISION, i64::try_from(stamp.revision).unwrap_or(i64::MAX)),
        number(AT, stamp.at_ms),
        number(ATTEMPT, stamp.attempt.into()),
    ];
    if !stamp.cause.is_empty() {
        let cause: String = stamp.cause.chars().take(LONGEST_CAUSE).collect();
        headers.push(text(CAUSE, &cause));
    }
    if let Some(rule) = &stamp.by.rule {
        headers.push(text(RULE, rule));
    }
    if let Some(opening) = stamp.by.opening {
        headers.push(text(OPENING, &opening.to_string()));
    }
    headers
}

fn original_of(raw: &Raw) -> Json {
    let headers: Map<String, Json> = raw
        .headers
        .iter()
        .map(|(name, field)| (name.clone(), field_to_json(field)))
        .collect();
    json!({
        "v": 1,
        "exchange": raw.exchange,
        "key": raw.routing_key,
        "properties": raw.properties,
        "headers": headers,
    })
}

fn restored(json: &Json, outside: &Raw) -> Option<Raw> {
    let text = |name: &str| json.get(name)?.as_str().map(str::to_owned);
    if json.get("v")?.as_u64()? != 1 {
        return None;
    }
    let headers = json.get("headers")?.as_object()?.iter();
    Some(Raw {
        exchange: text("exchange")?,
        routing_key: text("key")?,
        redelivered: outside.redelivered,
        properties: serde_json::from_value(json.get("properties")?.clone()).ok()?,
        headers: headers
            .map(|(name, json)| Some((name.clone(), field_from_json(json)?)))
            .collect::<Option<_>>()?,
        body: outside.body.clone(),
    })
}

fn field_to_json(field: &Field) -> Json {
    let bytes = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": BASE64.encode(bytes) }),
    };
    match field {
        Field::Boolean(value) => json!(["t", value]),
        Field::ShortShortInt(value) => json!(["b", value]),
        Field::ShortShortUInt(value) => json!(["B", value]),
        Field::ShortInt(value) => json!(["s", value]),
        Field::ShortUInt(value) => json!(["u", value]),
        Field::LongInt(value) => json!(["I", value]),
        Field::LongUInt(value) => json!(["i", value]),
        Field::LongLongInt(value) => json!(["l", value]),
        Field::Float(value) => json!(["f", format!("{:08x}", value.to_bits())]),
        Field::Double(value) => json!(["d", format!("{:016x}", value.to_bits())]),
        Field::Decimal { scale, value } => json!(["D", [scale, value]]),
        Field::ShortString(value) => json!(["short", bytes(value)]),
        Field::LongString(value) => json!(["S", bytes(value)]),
        Field::ByteArray(value) => json!(["x", bytes(value)]),
        Field::Timestamp(value) => json!(["T", value]),
        Field::Void => json!(["V"]),
        Field::Array(items) => json!(["A", items.iter().map(field_to_json).collect::<Vec<_>>()]),
        Field::Table(entries) => {
            let entries: Vec<Json> = entries
                .iter()
                .map(|(name, field)| json!([name, field_to_json(field)]))
                .collect();
            json!(["F", entries])
        }
    }
}

fn field_from_json(json: &Json) -> Option<Field> {
    let (letter, value) = (json.get(0)?.as_str()?, json.get(1));
    let whole = || value?.as_i64();
    let bytes = || match value? {
        Json::String(text) => Some(text.clone().into_bytes()),
        other => BASE64.decode(other.get("base64")?.as_str()?).ok(),
    };
    Some(match letter {
        "t" => Field::Boolean(value?.as_bool()?),
        "b" => Field::ShortShortInt(whole()?.try_into().ok()?),
        "B" => Field::ShortShortUInt(whole()?.try_into().ok()?),
        "s" => Field::ShortInt(whole()?.try_into().ok()?),
        "u" => Field::ShortUInt(whole()?.try_into().ok()?),
        "I" => Field::LongInt(whole()?.try_into().ok()?),
        "i" => Field::LongUInt(whole()?.try_into().ok()?),
        "l" => Field::LongLongInt(whole()?),
        "f" => Field::Float(f32::from_bits(
            u32::from_str_radix(value?.as_str()?, 16).ok()?,
        )),
        "d" => Field::Double(f64::from_bits(
            u64::from_str_radix(value?.as_str()?, 16).ok()?,
        )),
        "D" => {
            let number = |index: usize| value?.get(index)?.as_u64();
            Field::Decimal {
                scale: number(0)?.try_into().ok()?,
                value: number(1)?.try_into().ok()?,
            }
        }
        "short" => Field::ShortString(bytes()?),
        "S" => Field::LongString(bytes()?),
        "x" => Field::ByteArray(bytes()?),
        "T" => Field::Timestamp(value?.as_u64()?),
        "V" => Field::Void,
        "A" => Field::Array(
            value?
                .as_array()?
                .iter()
                .map(field_from_json)
                .collect::<Option<_>>()?,
        ),
        "F" => {
            let entry = |json: &Json| {
                Some((
                    json.get(0)?.as_str()?.to_owned(),
                    field_from_json(json.get(1)?)?,
                ))
            };
            Field::Table(
                value?
                    .as_array()?
                    .iter()
                    .map(entry)
                    .collect::<Option<_>>()?,
            )
        }
        _ => return None,
    })
}

/// The bytes of headers on the wire.
#[must_use]
pub fn size_of_table(headers: &[(String, Field)]) -> usize {
    headers.iter().map(size_of_entry).sum()
}

/// The bytes of a header on the wire: length of the name, name, type letter, value.
fn size_of_entry((name, field): &(String, Field)) -> usize {
    2 + name.len() + size_of_field(field)
}

fn size_of_field(field: &Field) -> usize {
    match field {
        Field::Void => 0,
        Field::Boolean(_) | Field::ShortShortInt(_) | Field::ShortShortUInt(_) => 1,
        Field::ShortInt(_) | Field::ShortUInt(_) => 2,
        Field::LongInt(_) | Field::LongUInt(_) | Field::Float(_) => 4,
        Field::Decimal { .. } => 5,
        Field::LongLongInt(_) | Field::Double(_) | Field::Timestamp(_) => 8,
        Field::ShortString(bytes) | Field::LongString(bytes) | Field::ByteArray(bytes) => {
            4 + bytes.len()
        }
        Field::Array(items) => {
            4 + items
                .iter()
                .map(|item| 1 + size_of_field(item))
                .sum::<usize>()
        }
        Field::Table(entries) => 4 + size_of_table(entries),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn stamp() -> Stamp {
        Stamp {
            why: Why::Skipped,
            cause: String::new(),
            revision: 41,
            by: By {
                opening: Some(crate::rules::opening::OpeningId(41)),
                rule: Some("acme-bulk".into()),
                numbers: None,
            },
            at_ms: 1_000,
            attempt: 2,
        }
    }

    fn text(text: &str) -> Field {
        Field::LongString(text.as_bytes().to_vec())
    }

    /// The message as it comes back to us from where it was put.
    fn as_delivered(sealed: Sealed, raw: &Raw) -> Raw {
        let Sealed {
            properties,
            headers,
        } = sealed;
        Raw {
            exchange: String::new(),
            routing_key: "orders".into(),
            redelivered: false,
            properties,
            headers,
            body: raw.body.clone(),
        }
    }

    #[test]
    fn what_a_broker_would_act_upon_stays_inside() {
        let raw = Raw {
            properties: Properties {
                user_id: Some("guest".into()),
                expiration: Some("5".into()),
                ..Properties::default()
            },
            headers: [
                "CC",
                "BCC",
                "x-death",
                "x-first-death-queue",
                "x-last-death-reason",
                "x-account",
            ]
            .map(|name| (name.to_owned(), text("a")))
            .to_vec(),
            ..Raw::default()
        };
        let sealed = seal(&raw, &stamp()).unwrap();
        let outside: Vec<&str> = sealed
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(
            outside,
            [
                "x-account",
                REASON,
                REVISION,
                AT,
                ATTEMPT,
                RULE,
                OPENING,
                ORIGINAL
            ]
        );
        assert_eq!(
            (sealed.properties.user_id, sealed.properties.expiration),
            (None, None)
        );
    }

    #[test]
    fn large_headers_travel_in_the_envelope_alone_and_larger_ones_not_at_all() {
        let with = |bytes: usize| Raw {
            headers: vec![("x-big".into(), text(&"x".repeat(bytes)))],
            ..Raw::default()
        };
        let (small, large, too_large) = (with(1_000), with(60_000), with(100_000));
        assert_eq!(seal(&small, &stamp()).unwrap().headers[0].0, "x-big");
        let sealed = seal(&large, &stamp()).unwrap();
        assert!(sealed.headers.iter().all(|(name, _)| name != "x-big"));
        assert_eq!(open(as_delivered(sealed, &large)), (large, 2));
        assert_eq!(seal(&too_large, &stamp()), Err(TooLarge));
        let bare = seal_without_original(&too_large, &stamp());
        assert!(size_of_table(&bare.headers) <= MOST_HEADER_BYTES);
    }

    #[test]
    fn a_header_that_only_looks_like_an_envelope_is_left_alone() {
        for forged in [
            "",
            "{}",
            "{\"v\":2}",
            "{\"v\":1,\"exchange\":\"\",\"key\":\"\",\"properties\":{\"x\":1},\"headers\":{}}",
            "[1",
        ] {
            let raw = Raw {
                headers: vec![(ORIGINAL.into(), text(forged))],
                ..Raw::default()
            };
            assert_eq!(open(raw.clone()), (raw, 0), "{forged}");
        }
    }

    fn any_field() -> impl Strategy<Value = Field> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..20);
        let leaf = prop_oneof![
            any::<bool>().prop_map(Field::Boolean),
            any::<i8>().prop_map(Field::ShortShortInt),
            any::<u8>().prop_map(Field::ShortShortUInt),
            any::<i16>().prop_map(Field::ShortInt),
            any::<u16>().prop_map(Field::ShortUInt),
            any::<i32>().prop_map(Field::LongInt),
            any::<u32>().prop_map(Field::LongUInt),
            any::<i64>().prop_map(Field::LongLongInt),
            any::<u64>().prop_map(Field::Timestamp),
            (-1e30f32..1e30).prop_map(Field::Float),
            (-1e300f64..1e300).prop_map(Field::Double),
            (any::<u8>(), any::<u32>()).prop_map(|(scale, value)| Field::Decimal { scale, value }),
            bytes().prop_map(Field::LongString),
            bytes().prop_map(Field::ByteArray),
            Just(Field::Void),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Field::Array),
                proptest::collection::vec(("[a-z]{1,4}", inner), 0..4).prop_map(Field::Table),
            ]
        })
    }

    proptest! {
        /// Sealed and opened, however often, a message is what it was.
        #[test]
        fn a_message_comes_back_as_it_was(
            headers in proptest::collection::btree_map("[a-z-]{1,12}", any_field(), 0..6),
            user_id in proptest::option::of("[a-z]{1,8}"),
            expiration in proptest::option::of("[0-9]{1,5}"),
            priority in proptest::option::of(any::<u8>()),
            body in proptest::collection::vec(any::<u8>(), 0..50),
            rounds in 1usize..4,
        ) {
            let properties = Properties { user_id, expiration, priority, ..Properties::default() };
            let raw = Raw { exchange: "shop".into(), routing_key: "order.new".into(), properties, headers: headers.into_iter().collect(), body: Bytes::from(body), redelivered: false };
            let mut travelling = raw.clone();
            for _ in 0..rounds {
                let (original, _) = open(travelling);
                travelling = as_delivered(seal(&original, &stamp()).unwrap(), &original);
            }
            prop_assert_eq!(open(travelling), (raw, 2));
        }
    }
}
