//! How messages come to a queue, and whether a second queue beside it would get copies or take messages away.

use thiserror::Error;

use super::message::Field;

/// Kinds of exchanges that give a copy to each queue whose binding fits. Of any other kind one queue may get what another does not.
pub const COPYING: [&str; 4] = ["direct", "fanout", "topic", "headers"];
/// Bindings that are copied at most.
pub const MOST: usize = 1_000;

/// One binding of a queue to an exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// The exchange; empty: the default one.
    pub exchange: String,
    /// The routing key of the binding.
    pub key: String,
    /// Its arguments: what a headers exchange compares.
    pub arguments: Vec<(String, Field)>,
}

/// A binding, and the kind of its exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// The binding.
    pub binding: Binding,
    /// `topic`, `x-consistent-hash`, …
    pub kind: String,
}

/// Why nothing can stand beside a queue without doing harm.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CannotTap {
    /// It has the default exchange's binding alone.
    #[error(
        "nothing but its own name leads to {queue}: what is published straight to a queue goes to that queue alone, and nobody can have a copy. Publish to an exchange of yours and bind the queue to it, then tap; or look at a sample by `sluicegate check --connect`, which gives it back"
    )]
    OnlyByName {
        /// the queue
        queue: String,
    },
    /// It is not bound to the exchange that was named.
    #[error(
        "{queue} is not bound to the exchange {exchange:?}; it is bound to {others}. Name one of these, or give `--key` as well to tap that exchange as you say"
    )]
    NotBound {
        /// the queue
        queue: String,
        /// what was named
        exchange: String,
        /// what it is bound to
        others: String,
    },
    /// A second queue would take messages away.
    #[error(
        "the exchange {exchange} is of the kind {kind}: it may share messages out among the queues that are bound to it, so that a second queue would take them from {queue}. Only direct, fanout, topic and headers exchanges give copies. {cure}"
    )]
    MayShare {
        /// the exchange
        exchange: String,
        /// its kind
        kind: String,
        /// the queue
        queue: String,
        /// what to do instead
        cure: String,
    },
    /// Nobody says of what kind the exchange is.
    #[error(
        "AMQP does not tell of what kind the exchange {exchange} is, and at some kinds a second queue takes messages from the first. Set [management] in the file, or say `--kind topic` (or direct, fanout, headers) if you are sure"
    )]
    KindUnknown {
        /// the exchange
        exchange: String,
    },
    /// There are more bindings than we copy.
    #[error(
        "{queue} has {count} bindings, and at most {MOST} are copied; name one exchange by `--exchange`, or one with `--key`"
    )]
    TooMany {
        /// the queue
        queue: String,
        /// how many
        count: usize,
    },
}

/// What a second queue is to be bound by so that it gets a copy of what comes to `queue`, and takes nothing from it; with `exchange`
/// only what comes by that one. What is published straight to the queue by its name is never among it.
///
/// # Errors
/// When a second queue would get nothing, or take messages away: the sentence says why, and the cure.
pub fn beside(
    queue: &str,
    exchange: Option<&str>,
    bound: Vec<Bound>,
) -> Result<Vec<Bound>, CannotTap> {
    let queue_name = || queue.to_owned();
    let by_name = |one: &Bound| one.binding.exchange.is_empty();
    let named: Vec<Bound> = bound.into_iter().filter(|one| !by_name(one)).collect();
    if named.is_empty() {
        return Err(CannotTap::OnlyByName {
            queue: queue_name(),
        });
    }
    let wanted = |one: &&Bound| exchange.is_none_or(|wanted| one.binding.exchange == wanted);
    let chosen: Vec<Bound> = named.iter().filter(wanted).cloned().collect();
    if chosen.is_empty() {
        return Err(CannotTap::NotBound {
            queue: queue_name(),
            exchange: exchange.unwrap_or_default().to_owned(),
            others: exchanges(&named),
        });
    }
    if chosen.len() > MOST {
        let count = chosen.len();
        let queue = queue_name();
        return Err(CannotTap::TooMany { queue, count });
    }
    if let Some(shares) = chosen.iter().find(|one| !copies(&one.kind)) {
        let fine: Vec<Bound> = chosen
            .iter()
            .filter(|one| copies(&one.kind))
            .cloned()
            .collect();
        let cure = if fine.is_empty() {
            "Tap the exchange in front of it, by `--exchange NAME --key KEY`: that shows what comes to all queues behind it".to_owned()
        } else {
            format!(
                "Name one that copies by `--exchange`, to see that part alone: {}",
                exchanges(&fine)
            )
        };
        return Err(CannotTap::MayShare {
            exchange: shares.binding.exchange.clone(),
            kind: shares.kind.clone(),
            queue: queue_name(),
            cure,
        });
    }
    Ok(chosen)
}

/// Whether an exchange of this kind gives a copy to each queue whose binding fits.
#[must_use]
pub fn copies(kind: &str) -> bool {
    COPYING.contains(&kind)
}

/// The kind of an exchange that every broker has, by its name.
#[must_use]
pub fn kind_by_name(exchange: &str) -> Option<&'static str> {
    match exchange {
        "" | "amq.direct" => Some("direct"),
        "amq.fanout" => Some("fanout"),
        "amq.topic" => Some("topic"),
        "amq.headers" | "amq.match" => Some("headers"),
        _ => None,
    }
}

/// The exchanges of bindings, each once, as people read them.
fn exchanges(bound: &[Bound]) -> String {
    let mut names: Vec<&str> = bound
        .iter()
        .map(|one| one.binding.exchange.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(exchange: &str, kind: &str, key: &str) -> Bound {
        let (exchange, key) = (exchange.to_owned(), key.to_owned());
        let binding = Binding {
            exchange,
            key,
            arguments: Vec::new(),
        };
        Bound {
            binding,
            kind: kind.to_owned(),
        }
    }

    fn check(what: &str, wanted: Option<&str>, has: &[Bound], expected: &str) {
        let said = match beside("orders", wanted, has.to_vec()) {
            Ok(chosen) => {
                let keys = chosen.iter().map(|one| &*one.binding.key);
                keys.collect::<Vec<_>>().join(",")
            }
            Err(why) => why.to_string(),
        };
        assert!(said.starts_with(expected), "{what}: {said}");
    }

    #[test]
    fn a_copy_is_had_where_nobody_loses_by_it() {
        let by_name = bound("", "direct", "orders");
        let topic = bound("shop", "topic", "order.#");
        let fanout = bound("news", "fanout", "");
        let headers = bound("match", "headers", "eu");
        let hash = bound("shards", "x-consistent-hash", "10");
        let all = [&by_name, &topic, &fanout, &headers].map(Clone::clone);
        check(
            "by name alone",
            None,
            &[by_name.clone()],
            "nothing but its own name leads to orders",
        );
        check("no binding at all", None, &[], "nothing but its own name");
        check("three that copy", None, &all, "order.#,,eu");
        check("one of them", Some("shop"), &all, "order.#");
        check(
            "one that it is not bound to",
            Some("mail"),
            &all,
            "orders is not bound to the exchange \"mail\"; it is bound to match, news, shop",
        );
        check(
            "one that shares out",
            None,
            &[hash.clone()],
            "the exchange shards is of the kind x-consistent-hash",
        );
        let mixed = [by_name, topic, hash];
        check(
            "one that shares out among others",
            None,
            &mixed,
            "the exchange shards is of",
        );
        check("the other alone", Some("shop"), &mixed, "order.#");
        let why = beside("orders", None, mixed.to_vec())
            .unwrap_err()
            .to_string();
        assert!(why.ends_with("to see that part alone: shop"), "{why}");
        check(
            "too many",
            None,
            &vec![fanout; MOST + 1],
            "orders has 1001 bindings",
        );
    }

    #[test]
    fn kinds_that_are_not_known_to_copy_are_taken_to_share_out() {
        for kind in [
            "x-consistent-hash",
            "x-modulus-hash",
            "x-random",
            "x-local-random",
            "x-delayed-message",
            "x-recent-history",
            "",
            "Topic",
        ] {
            assert!(!copies(kind), "{kind}");
        }
        for name in [
            "amq.direct",
            "amq.fanout",
            "amq.topic",
            "amq.headers",
            "amq.match",
        ] {
            assert!(kind_by_name(name).is_some_and(copies), "{name}");
        }
        assert_eq!(kind_by_name("amq.rabbitmq.trace"), None);
    }
}
