//! What the management API tells of a queue, as far as we ask; unknown fields are passed over, missing ones are unknown. Imports
//! no room.

use serde::Deserialize;
use serde_json::{Map, Value as Json};

/// A page of queues.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) items: Vec<QueueTold>,
}

/// A queue.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct QueueTold {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) durable: Option<bool>,
    pub(super) auto_delete: Option<bool>,
    pub(super) arguments: Table,
    pub(super) policy: Json,
    pub(super) operator_policy: Json,
    pub(super) effective_policy_definition: Table,
    consumer_details: Option<Vec<ConsumerTold>>,
    /// Counts since the queue was made; missing before the first message.
    message_stats: Table,
    /// Seconds since 1970; a text or nothing when it is not known.
    head_message_timestamp: Json,
}

/// A binding of a queue.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct BindingTold {
    /// The exchange; empty: the default one.
    pub(super) source: String,
    pub(super) routing_key: String,
    pub(super) arguments: Table,
}

/// An exchange.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ExchangeTold {
    #[serde(rename = "type")]
    pub(super) kind: String,
}

/// A table; RabbitMQ writes an empty one as a list.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(from = "Json")]
pub(super) struct Table(pub(super) Map<String, Json>);

impl From<Json> for Table {
    fn from(json: Json) -> Self {
        match json {
            Json::Object(fields) => Self(fields),
            _ => Self::default(),
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ConsumerTold {
    consumer_tag: String,
}

impl QueueTold {
    /// A limit as it acts: the smaller of what the argument `x-<name>` and the policies say.
    pub(super) fn limit(&self, name: &str) -> Option<i64> {
        let number = |json: Option<&Json>| json.and_then(Json::as_i64);
        let argument = number(self.arguments.0.get(&format!("x-{name}")));
        let policy = number(self.effective_policy_definition.0.get(name));
        argument.into_iter().chain(policy).min()
    }

    /// A text as it acts: the argument, else the policies.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let argument = self.arguments.0.get(&format!("x-{name}"));
        argument
            .or_else(|| self.effective_policy_definition.0.get(name))?
            .as_str()
    }

    /// Whether an argument is true.
    pub(super) fn is(&self, argument: &str) -> bool {
        self.arguments.0.get(argument) == Some(&Json::Bool(true))
    }

    /// The policies that act on it, by name.
    pub(super) fn policies(&self) -> Vec<&str> {
        [&self.policy, &self.operator_policy]
            .into_iter()
            .filter_map(Json::as_str)
            .filter(|name| !name.is_empty())
            .collect()
    }

    /// How many consumers read it, when told.
    pub(super) fn consumers(&self) -> Option<usize> {
        self.consumer_details.as_ref().map(Vec::len)
    }

    /// How many messages were published to it since it was made, a few seconds ago.
    pub(super) fn published(&self) -> Option<u64> {
        self.message_stats.0.get("publish")?.as_u64()
    }

    /// When the message at its head was published, milliseconds since 1970, where that is told.
    pub(super) fn head_ms(&self) -> Option<i64> {
        self.head_message_timestamp
            .as_i64()
            .filter(|seconds| *seconds > 0)?
            .checked_mul(1_000)
    }
}

/// Who reads a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Consumers {
    /// Consumers whose tag begins as ours do.
    pub(super) ours: usize,
    /// The tags of all others; `None`: not told.
    pub(super) others: Option<Vec<String>>,
}

impl Consumers {
    /// Tells the consumers whose tag begins with `prefix` from the others.
    pub(super) fn of(told: &QueueTold, prefix: &str) -> Self {
        let Some(all) = &told.consumer_details else {
            return Self::default();
        };
        let (ours, others): (Vec<_>, Vec<_>) = all
            .iter()
            .map(|consumer| consumer.consumer_tag.clone())
            .partition(|tag| tag.starts_with(prefix));
        Self {
            ours: ours.len(),
            others: Some(others),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_or_odd_is_unknown() {
        for odd in [
            json!({}),
            json!({"arguments": [], "effective_policy_definition": "", "policy": null, "head_message_timestamp": ""}),
        ] {
            let told: QueueTold = serde_json::from_value(odd).unwrap();
            assert_eq!(
                (
                    told.limit("message-ttl"),
                    told.text("overflow"),
                    told.head_ms()
                ),
                (None, None, None)
            );
            assert_eq!(told.policies(), Vec::<&str>::new());
            assert_eq!(Consumers::of(&told, "x"), Consumers::default());
        }
    }

    #[test]
    fn the_smaller_limit_acts_and_an_argument_goes_before_a_policy() {
        let told: QueueTold = serde_json::from_value(json!({
            "arguments": {"x-message-ttl": 500, "x-overflow": "reject-publish"},
            "effective_policy_definition": {"message-ttl": 300, "overflow": "drop-head", "max-length": 7},
            "policy": "ttl", "operator_policy": "", "head_message_timestamp": 1_795_219_200,
            "consumer_details": [{"consumer_tag": "sluicegate@a#1.0"}, {"consumer_tag": "other"}],
        })).unwrap();
        assert_eq!(
            (told.limit("message-ttl"), told.limit("max-length")),
            (Some(300), Some(7))
        );
        assert_eq!(told.text("overflow"), Some("reject-publish"));
        assert_eq!(
            (told.policies(), told.head_ms()),
            (vec!["ttl"], Some(1_795_219_200_000))
        );
        let consumers = Consumers::of(&told, "sluicegate@a#");
        assert_eq!(
            consumers,
            Consumers {
                ours: 1,
                others: Some(vec!["other".to_owned()])
            }
        );
    }
}
