//! How messages come to a queue, and to how many queues of which exchange: what AMQP does not tell. Imports `rules`.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::client::{Client, Trouble};
use super::told::{BindingTold, Table};
use crate::rules::binding::{Binding, Bound, kind_by_name};
use crate::rules::message::Field;

/// The bindings of a queue, each with the kind of its exchange; `None`: the API shows no such queue.
///
/// # Errors
/// See [`Trouble`].
pub async fn bound(
    client: &Client,
    vhost: &str,
    queue: &str,
) -> Result<Option<Vec<Bound>>, Trouble> {
    let Some(told) = client.bindings(vhost, queue).await? else {
        return Ok(None);
    };
    let mut kinds: BTreeMap<String, String> = BTreeMap::new();
    let mut found = Vec::new();
    for BindingTold {
        source,
        routing_key,
        arguments,
    } in told
    {
        let kind = match kinds.get(&source) {
            Some(kind) => kind.clone(),
            None => kind_of(client, vhost, &source).await?.unwrap_or_default(),
        };
        kinds.insert(source.clone(), kind.clone());
        let binding = Binding {
            exchange: source,
            key: routing_key,
            arguments: fields(arguments),
        };
        found.push(Bound { binding, kind });
    }
    Ok(Some(found))
}

/// The kind of an exchange; `None`: the API shows no such exchange.
///
/// # Errors
/// See [`Trouble`].
pub async fn kind_of(
    client: &Client,
    vhost: &str,
    exchange: &str,
) -> Result<Option<String>, Trouble> {
    if let Some(kind) = kind_by_name(exchange) {
        return Ok(Some(kind.to_owned()));
    }
    Ok(client
        .exchange(vhost, exchange)
        .await?
        .map(|told| told.kind))
}

/// How many messages were published to a queue since it was made, as the API knew a few seconds ago; `None`: it does not say.
///
/// # Errors
/// See [`Trouble`].
pub async fn published(client: &Client, vhost: &str, queue: &str) -> Result<Option<u64>, Trouble> {
    let told = client.queue(vhost, queue).await?;
    Ok(told.and_then(|told| told.published()))
}

/// Arguments as AMQP has them. JSON does not tell the widths of numbers, and the broker compares their values alone.
fn fields(arguments: Table) -> Vec<(String, Field)> {
    let entries = arguments.0.into_iter();
    entries.map(|(name, json)| (name, field(json))).collect()
}

fn field(json: Json) -> Field {
    match json {
        Json::Null => Field::Void,
        Json::Bool(value) => Field::Boolean(value),
        Json::String(text) => Field::LongString(text.into_bytes()),
        Json::Array(items) => Field::Array(items.into_iter().map(field).collect()),
        Json::Object(entries) => Field::Table(fields(Table(entries))),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Field::LongLongInt(whole),
            None => Field::Double(number.as_f64().unwrap_or_default()),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_of_bindings_keep_their_values() {
        let Json::Object(entries) = json!({"x-match": "any", "size": 3, "ratio": 0.5, "urgent": true, "there": null, "of": ["a"]})
        else {
            panic!("an object");
        };
        let text = |text: &str| Field::LongString(text.into());
        let expected = [
            ("x-match", text("any")),
            ("size", Field::LongLongInt(3)),
            ("ratio", Field::Double(0.5)),
            ("urgent", Field::Boolean(true)),
            ("there", Field::Void),
            ("of", Field::Array(vec![text("a")])),
        ];
        assert_eq!(
            fields(Table(entries)),
            expected.map(|(name, field)| (name.to_owned(), field))
        );
    }
}
