//! By which way messages come to the queue: as the management API tells, or as was typed.

use super::refused::Refused;
use crate::cli::TapOptions;
use crate::config::{Queue, Settings};
use crate::management::{self, Client};
use crate::rules::binding::{Binding, Bound, CannotTap, beside, kind_by_name};
use crate::rules::message::Field;
use crate::rules::names::QueueName;

/// The queue of that name.
pub(super) fn queue<'s>(settings: &'s Settings, name: &QueueName) -> Result<&'s Queue, Refused> {
    let found = settings.queues.iter().find(|queue| queue.name == *name);
    found.ok_or_else(|| {
        let known: Vec<&str> = settings.queues.iter().map(|one| one.name.as_str()).collect();
        let known = known.join(", ");
        let sentence = format!(
            "the file has no queue {name}; it has {known} (one of another vhost is named with it, as in billing/orders)"
        );
        Refused::new(3, sentence)
    })
}

/// What our queue is to be bound by.
pub(super) async fn ways(
    options: &TapOptions,
    settings: &Settings,
    queue: &Queue,
    client: Option<&Client>,
) -> Result<Vec<Bound>, Refused> {
    let (name, vhost) = (&queue.broker_name, settings.vhost_of(queue));
    let told = match client {
        Some(client) if !options.names_a_binding() => {
            management::bound(client, vhost, name).await?
        }
        _ => None,
    };
    let bound = match (told, &options.exchange) {
        (Some(bound), _) => bound,
        (None, Some(exchange)) => by_hand(options, exchange, vhost, client).await?,
        (None, None) if client.is_some() => {
            let sentence = format!(
                "the management API does not show the queue {name} in the vhost {vhost}: it is not there, or the user of [management] has no permission in that vhost"
            );
            return Err(Refused::new(3, sentence));
        }
        (None, None) => {
            let sentence = "AMQP does not tell how messages come to a queue: set [management] in the file, or name the exchange and the keys of the binding by `--exchange`, `--key` and `--kind`";
            return Err(Refused::new(6, sentence.to_owned()));
        }
    };
    Ok(beside(name, options.exchange.as_deref(), bound)?)
}

/// One binding for each key; without any, one with an empty key.
async fn by_hand(
    options: &TapOptions,
    exchange: &str,
    vhost: &str,
    client: Option<&Client>,
) -> Result<Vec<Bound>, Refused> {
    let known = match client {
        Some(client) => {
            let told = management::kind_of(client, vhost, exchange).await?;
            let missing = || {
                let sentence = format!("there is no exchange {exchange} in the vhost {vhost}");
                Refused::new(3, sentence)
            };
            Some(told.ok_or_else(missing)?)
        }
        None => kind_by_name(exchange).map(str::to_owned),
    };
    let kind = known.or_else(|| options.kind.clone());
    let kind = kind.ok_or_else(|| CannotTap::KindUnknown {
        exchange: exchange.to_owned(),
    })?;
    let none = [String::new()];
    let keys: &[String] = if options.keys.is_empty() {
        &none
    } else {
        &options.keys
    };
    let text = |(name, text): &(String, String)| {
        (name.clone(), Field::LongString(text.clone().into_bytes()))
    };
    let arguments: Vec<(String, Field)> = options.arguments.iter().map(text).collect();
    let binding = |key: &String| Binding {
        exchange: exchange.to_owned(),
        key: key.clone(),
        arguments: arguments.clone(),
    };
    Ok(keys
        .iter()
        .map(|key| Bound {
            binding: binding(key),
            kind: kind.clone(),
        })
        .collect())
}
