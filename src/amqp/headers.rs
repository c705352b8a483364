//! Headers and properties: lapin's words for them into ours and back, every type as it is.
//! May import `rules`.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable, ShortString};
use thiserror::Error;

use crate::rules::message::{Field, Properties};

/// Why a message cannot be written as AMQP.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{what} is {len} bytes long, AMQP allows 255; the message cannot be published as it is")]
pub(super) struct TooLong {
    what: String,
    len: usize,
}

/// A short text of AMQP. Lapin's own conversion panics on a long one.
pub(super) fn short(what: &str, text: impl Into<String>) -> Result<ShortString, TooLong> {
    let text = text.into();
    let len = text.len();
    let what = || what.to_owned();
    ShortString::try_new(text).map_err(|_| TooLong { what: what(), len })
}

/// The headers of a message as they came; lapin gives them sorted by name.
pub(super) fn fields(table: &FieldTable) -> Vec<(String, Field)> {
    table
        .into_iter()
        .map(|(name, value)| (name.as_str().to_owned(), field(value)))
        .collect()
}

fn field(value: &AMQPValue) -> Field {
    match value {
        AMQPValue::Boolean(value) => Field::Boolean(*value),
        AMQPValue::ShortShortInt(value) => Field::ShortShortInt(*value),
        AMQPValue::ShortShortUInt(value) => Field::ShortShortUInt(*value),
        AMQPValue::ShortInt(value) => Field::ShortInt(*value),
        AMQPValue::ShortUInt(value) => Field::ShortUInt(*value),
        AMQPValue::LongInt(value) => Field::LongInt(*value),
        AMQPValue::LongUInt(value) => Field::LongUInt(*value),
        AMQPValue::LongLongInt(value) => Field::LongLongInt(*value),
        AMQPValue::Float(value) => Field::Float(*value),
        AMQPValue::Double(value) => Field::Double(*value),
        AMQPValue::DecimalValue(value) => Field::Decimal {
            scale: value.scale,
            value: value.value,
        },
        AMQPValue::ShortString(text) => Field::ShortString(text.as_str().as_bytes().to_vec()),
        AMQPValue::LongString(text) => Field::LongString(text.as_bytes().to_vec()),
        AMQPValue::FieldArray(items) => Field::Array(items.as_slice().iter().map(field).collect()),
        AMQPValue::Timestamp(value) => Field::Timestamp(*value),
        AMQPValue::FieldTable(table) => Field::Table(fields(table)),
        AMQPValue::ByteArray(bytes) => Field::ByteArray(bytes.as_slice().to_vec()),
        AMQPValue::Void => Field::Void,
    }
}

/// Headers to be published.
pub(super) fn table(fields: Vec<(String, Field)>) -> Result<FieldTable, TooLong> {
    let mut table = FieldTable::default();
    for (name, field) in fields {
        table.insert(short("the name of a header", name)?, value(field)?);
    }
    Ok(table)
}

fn value(field: Field) -> Result<AMQPValue, TooLong> {
    Ok(match field {
        Field::Boolean(value) => AMQPValue::Boolean(value),
        Field::ShortShortInt(value) => AMQPValue::ShortShortInt(value),
        Field::ShortShortUInt(value) => AMQPValue::ShortShortUInt(value),
        Field::ShortInt(value) => AMQPValue::ShortInt(value),
        Field::ShortUInt(value) => AMQPValue::ShortUInt(value),
        Field::LongInt(value) => AMQPValue::LongInt(value),
        Field::LongUInt(value) => AMQPValue::LongUInt(value),
        Field::LongLongInt(value) => AMQPValue::LongLongInt(value),
        Field::Float(value) => AMQPValue::Float(value),
        Field::Double(value) => AMQPValue::Double(value),
        Field::Decimal { scale, value } => AMQPValue::DecimalValue(DecimalValue { scale, value }),
        // RabbitMQ reads the letter of a short string as a number, so none ever comes and a long one goes.
        Field::ShortString(bytes) | Field::LongString(bytes) => AMQPValue::LongString(bytes.into()),
        Field::Array(items) => AMQPValue::FieldArray(FieldArray::from(
            items
                .into_iter()
                .map(value)
                .collect::<Result<Vec<_>, _>>()?,
        )),
        Field::Timestamp(value) => AMQPValue::Timestamp(value),
        Field::Table(fields) => AMQPValue::FieldTable(table(fields)?),
        Field::ByteArray(bytes) => AMQPValue::ByteArray(bytes.into()),
        Field::Void => AMQPValue::Void,
    })
}

/// The properties of a message as they came.
pub(super) fn properties(came: &BasicProperties) -> Properties {
    let text = |text: &Option<ShortString>| text.as_ref().map(|text| text.as_str().to_owned());
    Properties {
        content_type: text(came.content_type()),
        content_encoding: text(came.content_encoding()),
        delivery_mode: *came.delivery_mode(),
        priority: *came.priority(),
        correlation_id: text(came.correlation_id()),
        reply_to: text(came.reply_to()),
        expiration: text(came.expiration()),
        message_id: text(came.message_id()),
        timestamp: *came.timestamp(),
        kind: text(came.kind()),
        user_id: text(came.user_id()),
        app_id: text(came.app_id()),
        cluster_id: text(came.cluster_id()),
    }
}

/// Properties and headers to be published, as they are.
pub(super) fn basic_properties(
    ours: Properties,
    headers: FieldTable,
) -> Result<BasicProperties, TooLong> {
    let mut theirs = BasicProperties::default().with_headers(headers);
    macro_rules! carry {
        ($($name:ident => $with:ident),+) => {$(
            if let Some(text) = ours.$name {
                theirs = theirs.$with(short(stringify!($name), text)?);
            }
        )+};
    }
    carry!(
        content_type => with_content_type, content_encoding => with_content_encoding,
        correlation_id => with_correlation_id, reply_to => with_reply_to, expiration => with_expiration,
        message_id => with_message_id, kind => with_type, user_id => with_user_id, app_id => with_app_id,
        cluster_id => with_cluster_id
    );
    if let Some(mode) = ours.delivery_mode {
        theirs = theirs.with_delivery_mode(mode);
    }
    if let Some(priority) = ours.priority {
        theirs = theirs.with_priority(priority);
    }
    if let Some(timestamp) = ours.timestamp {
        theirs = theirs.with_timestamp(timestamp);
    }
    Ok(theirs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_field() -> impl Strategy<Value = Field> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..300);
        let leaf = prop_oneof![
            any::<bool>().prop_map(Field::Boolean),
            any::<i8>().prop_map(Field::ShortShortInt),
            any::<u8>().prop_map(Field::ShortShortUInt),
            any::<i16>().prop_map(Field::ShortInt),
            any::<u16>().prop_map(Field::ShortUInt),
            any::<i32>().prop_map(Field::LongInt),
            any::<u32>().prop_map(Field::LongUInt),
            any::<i64>().prop_map(Field::LongLongInt),
            any::<f32>().prop_map(Field::Float),
            any::<f64>().prop_map(Field::Double),
            any::<(u8, u32)>().prop_map(|(scale, value)| Field::Decimal { scale, value }),
            bytes().prop_map(Field::LongString),
            any::<u64>().prop_map(Field::Timestamp),
            bytes().prop_map(Field::ByteArray),
            Just(Field::Void),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Field::Array),
                proptest::collection::btree_map("[a-z]{1,8}", inner, 0..4)
                    .prop_map(|table| Field::Table(table.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_header_survives_the_way_there_and_back(field in any_field()) {
            let headers = vec![("x".to_owned(), field)];
            prop_assert_eq!(fields(&table(headers.clone()).unwrap()), headers);
        }
    }

    #[test]
    fn properties_survive_the_way_there_and_back() {
        let text = |name: &str| Some(format!("the {name}"));
        let ours = Properties {
            content_type: text("content type"),
            content_encoding: text("encoding"),
            delivery_mode: Some(2),
            priority: Some(9),
            correlation_id: text("correlation"),
            reply_to: text("reply"),
            expiration: Some("1000".to_owned()),
            message_id: text("id"),
            timestamp: Some(1_795_219_200),
            kind: text("type"),
            user_id: text("user"),
            app_id: text("app"),
            cluster_id: text("cluster"),
        };
        let theirs = basic_properties(ours.clone(), FieldTable::default()).unwrap();
        assert_eq!(properties(&theirs), ours);
        let none = basic_properties(Properties::default(), FieldTable::default()).unwrap();
        assert_eq!(properties(&none), Properties::default());
    }

    #[test]
    fn what_amqp_cannot_hold_is_refused_and_never_panics() {
        let long = "x".repeat(256);
        let ours = Properties {
            message_id: Some(long.clone()),
            ..Properties::default()
        };
        let refused = basic_properties(ours, FieldTable::default()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "message_id is 256 bytes long, AMQP allows 255; the message cannot be published as it is"
        );
        assert!(table(vec![(long, Field::Void)]).is_err());
        let bytes = Field::ShortString(vec![0xff; 300]);
        assert_eq!(
            value(bytes),
            Ok(AMQPValue::LongString(vec![0xff; 300].into()))
        );
    }
}
