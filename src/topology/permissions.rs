//! What the daemon's user must be permitted, and nothing more: three patterns for each vhost, as RabbitMQ knows them. Imports
//! `config` and `rules`.
//!
//! What the broker asks for, found by trial and in its log: to declare a queue, *configure* on it; one that dead-letters, also
//! *read* on itself and *write* on the exchange that it dead-letters to; to delete a queue, *configure*; to consume, *read*; to
//! publish, *write* on the exchange, never on the queue. A passive declaration asks for nothing. The default exchange is called
//! `amq.default` there.

use crate::config::{Queue, Settings, TargetSettings};
use crate::rules::backoff::DELAYS;
use crate::rules::names::delay_queue;

/// The pattern that matches nothing.
const NOTHING: &str = "^$";
/// Where everything is published: the default exchange.
const DEFAULT_EXCHANGE: &str = r"^amq\.default$";
/// A calendar day in the name of a stream.
const DAY: &str = "[0-9]{4}-[0-9]{2}-[0-9]{2}";
/// Ends the names that `sluicegate check --connect` tries permissions with.
const TRIAL: &str = "check";

/// The patterns of one vhost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// The vhost.
    pub vhost: String,
    /// What may be declared and deleted.
    pub configure: String,
    /// What may be published to.
    pub write: String,
    /// What may be consumed.
    pub read: String,
}

/// The least that suffices for these queues, by vhost, in the order of the file.
#[must_use]
pub fn permissions(settings: &Settings, queues: &[&Queue], declare: bool) -> Vec<Permissions> {
    let mut vhosts: Vec<&str> = Vec::new();
    for queue in queues {
        let vhost = settings.vhost_of(queue);
        if !vhosts.contains(&vhost) {
            vhosts.push(vhost);
        }
    }
    vhosts
        .into_iter()
        .map(|vhost| {
            let here = || {
                queues
                    .iter()
                    .filter(|queue| settings.vhost_of(queue) == vhost)
            };
            let declared = if declare {
                here().flat_map(|queue| declared(queue)).collect()
            } else {
                Vec::new()
            };
            Permissions {
                vhost: vhost.to_owned(),
                configure: any_of(&declared),
                write: DEFAULT_EXCHANGE.to_owned(),
                read: any_of(
                    &here()
                        .flat_map(|queue| read(queue, declare))
                        .collect::<Vec<_>>(),
                ),
            }
        })
        .collect()
}

/// What of a queue's own queues is declared, deleted or both.
fn declared(queue: &Queue) -> Vec<String> {
    let name = escaped(&queue.broker_name);
    let mut kinds = vec!["park"];
    if queue.dead_letter_queue.is_none() {
        kinds.push("dead");
    }
    let kinds = alternatives(&kinds);
    let mut patterns = vec![
        delays(queue),
        lanes(queue),
        format!(r"sluicegate\.{kinds}\.{name}\.({DAY}|{TRIAL})"),
    ];
    patterns.extend(admitted(queue));
    patterns
}

/// What is read: the queue itself, the reports of its workers, its lanes (also where we do not declare: there may be some of a time
/// when we did), where we declare, what dead-letters (to declare it asks for that), and of a pool the park, from which a job in doubt
/// is done again.
fn read(queue: &Queue, declare: bool) -> Vec<String> {
    let mut patterns = vec![escaped(&queue.broker_name)];
    patterns.extend(queue.outcomes_queue.as_deref().map(escaped));
    if declare {
        patterns.push(delays(queue));
    }
    patterns.push(lanes(queue));
    if matches!(queue.target, TargetSettings::Pool(_)) {
        patterns.push(format!(
            r"sluicegate\.park\.{}(\.{DAY})?",
            escaped(&queue.broker_name)
        ));
    }
    patterns
}

fn delays(queue: &Queue) -> String {
    let name = escaped(&queue.broker_name);
    let ends: Vec<String> = DELAYS
        .into_iter()
        .map(|delay| delay_queue("", delay).replace("sluicegate.delay..", ""))
        .chain([TRIAL.to_owned()])
        .collect();
    format!(r"sluicegate\.delay\.{name}\.({})", ends.join("|"))
}

fn lanes(queue: &Queue) -> String {
    let name = escaped(&queue.broker_name);
    format!(r"sluicegate\.lane\.{name}\.([0-9a-f]{{16}}|shared)")
}

fn admitted(queue: &Queue) -> Option<String> {
    let name = queue.admitted();
    (!name.is_empty()).then(|| escaped(name))
}

fn alternatives(words: &[&str]) -> String {
    match words {
        [word] => (*word).to_owned(),
        words => format!("({})", words.join("|")),
    }
}

/// One pattern for all; RabbitMQ looks for a match anywhere in a name, so both ends are nailed down.
fn any_of(patterns: &[String]) -> String {
    match patterns {
        [] => NOTHING.to_owned(),
        [one] => format!("^{one}$"),
        all => format!("^({})$", all.join("|")),
    }
}

/// A name as a pattern that matches that name alone.
fn escaped(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len() + 8);
    for character in name.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read_text;

    fn settings(queues: &[(&str, &str)]) -> Settings {
        let mut text = "[amqp]\nurl = 'amqp://127.0.0.1/%2f'\n".to_owned();
        for (name, more) in queues {
            text += &format!("[[queue]]\nname = '{name}'\ntarget = {{ handler = 'x' }}\n{more}\n");
        }
        read_text("test", &text, &Default::default()).unwrap()
    }

    fn check(queues: &[(&str, &str)], declare: bool, expected: &[[&str; 4]]) {
        let settings = settings(queues);
        let all: Vec<&Queue> = settings.queues.iter().collect();
        let found = permissions(&settings, &all, declare);
        let found: Vec<[&str; 4]> = found
            .iter()
            .map(|of| [&*of.vhost, &*of.configure, &*of.write, &*of.read])
            .collect();
        assert_eq!(found, expected, "{queues:?}");
    }

    #[test]
    fn the_patterns_are_nailed_down_escaped_and_by_vhost() {
        let write = r"^amq\.default$";
        let lanes = r"sluicegate\.lane\.orders\.([0-9a-f]{16}|shared)";
        let read = format!("^(orders|{lanes})$");
        check(&[("orders", "")], false, &[["/", "^$", write, &read]]);
        let lanes = r"([0-9a-f]{16}|shared)";
        let [first, last] =
            [r"a\.b\+c", "bills"].map(|name| format!(r"{name}|sluicegate\.lane\.{name}\.{lanes}"));
        let here = format!("^({first}|{last})$");
        let there = format!(r"^(mail|sluicegate\.lane\.mail\.{lanes})$");
        check(
            &[("a.b+c", ""), ("mail", "vhost = 'eu'"), ("bills", "")],
            false,
            &[["/", "^$", write, &here], ["eu", "^$", write, &there]],
        );
        let delays = r"sluicegate\.delay\.q\.(5s|30s|2m|10m|check)";
        let lanes = r"sluicegate\.lane\.q\.([0-9a-f]{16}|shared)";
        let streams =
            |kinds| format!(r"sluicegate\.{kinds}\.q\.([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}|check)");
        let read = format!("^(q|{delays}|{lanes})$");
        let configure = format!("^({delays}|{lanes}|{})$", streams("(park|dead)"));
        check(&[("q", "")], true, &[["/", &configure, write, &read]]);
        let configure = format!("^({delays}|{lanes}|{})$", streams("park"));
        check(
            &[("q", "dead_letter = { queue = 'd' }")],
            true,
            &[["/", &configure, write, &read]],
        );
    }
}
