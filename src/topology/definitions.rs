//! Queues and permissions as `rabbitmqctl import_definitions` reads them. Imports `config` and `rules`.
//!
//! Users are left out on purpose: to import one overwrites its password and tags.

use serde_json::{Map, Value as Json, json};

use super::permissions::Permissions;
use super::places::{Argument, Arguments, arguments, name, ours, places};
use crate::config::{Queue, Settings};
use crate::rules::settlement::Place;

/// A queue of ours.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnQueue {
    /// The vhost it lies in.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub place: Place,
    /// Its arguments.
    pub arguments: Arguments,
}

/// The queues of ours for one queue that can be named at that time (milliseconds since 1970): all but the lanes.
#[must_use]
pub fn own_queues(settings: &Settings, queue: &Queue, at_ms: i64) -> Vec<OwnQueue> {
    places(queue)
        .into_iter()
        .filter(|place| ours(queue, *place))
        .map(|place| OwnQueue {
            vhost: settings.vhost_of(queue).to_owned(),
            name: name(queue, place, at_ms),
            place,
            arguments: arguments(queue, place),
        })
        .collect()
}

/// Queues as definitions: `{"queues": […]}`.
#[must_use]
pub fn queues(queues: &[OwnQueue]) -> Json {
    let one = |queue: &OwnQueue| {
        json!({"name": queue.name, "vhost": queue.vhost, "durable": true, "auto_delete": false,
               "arguments": json_of(&queue.arguments)})
    };
    Json::Array(queues.iter().map(one).collect())
}

/// Permissions as definitions: `[{"user", "vhost", "configure", "write", "read"}]`.
#[must_use]
pub fn permissions(user: &str, permissions: &[Permissions]) -> Json {
    let one = |of: &Permissions| json!({"user": user, "vhost": of.vhost, "configure": of.configure, "write": of.write, "read": of.read});
    Json::Array(permissions.iter().map(one).collect())
}

/// Arguments as a JSON object.
#[must_use]
pub fn json_of(arguments: &Arguments) -> Json {
    let fields: Map<String, Json> = arguments
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Argument::Text(text) => text.as_str().into(),
                Argument::Number(number) => (*number).into(),
            };
            ((*name).to_owned(), value)
        })
        .collect();
    Json::Object(fields)
}
