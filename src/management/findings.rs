//! What the told arguments and policies mean for a queue that is taken in hand, and what to do about it. Pure. Imports `config`,
//! `rules` and `topology`.

use super::Notes;
use super::told::{Consumers, QueueTold};
use crate::config::Queue;
use crate::rules::finding::Weight;
use crate::rules::settlement::Place;
use crate::topology::definitions::json_of;
use crate::topology::places::{arguments, name, ours, places};

/// Below this, pauses, stops and crashes use a delivery limit up sooner than one may think; RabbitMQ's own default since 4.0.
const FEW_DELIVERIES: i64 = 20;
/// Parts of a policy that change what we rely on in our own queues.
const MEDDLING: [&str; 8] = [
    "message-ttl",
    "expires",
    "max-length",
    "max-length-bytes",
    "overflow",
    "dead-letter-exchange",
    "delivery-limit",
    "max-age",
];

/// What is told of the queue itself.
pub(super) fn of_queue(queue: &Queue, told: &QueueTold) -> Notes {
    let mut notes = vec![(Weight::Fine, kind(told))];
    notes.extend(its_nature(queue, told));
    notes.extend(what_it_loses(told));
    notes
}

fn kind(told: &QueueTold) -> String {
    let kind = told.kind.as_deref().unwrap_or("unknown");
    let by = match told.policies().as_slice() {
        [] => "no policy acts on it".to_owned(),
        names => format!("the policy {} acts on it", names.join(" and ")),
    };
    let dead = match told.text("dead-letter-exchange") {
        None => String::new(),
        Some(exchange) => format!("; what the broker drops goes to the exchange {exchange:?}"),
    };
    format!("its type is {kind}, {by}{dead}")
}

fn its_nature(queue: &Queue, told: &QueueTold) -> Notes {
    let mut notes = Notes::new();
    let mut note = |weight, text: &str| notes.push((weight, text.to_owned()));
    if told.kind.as_deref() == Some("stream") {
        note(
            Weight::Problem,
            "it is a stream, whose messages are never taken out; let Sluicegate take from a queue",
        );
    }
    if told.is("x-single-active-consumer") && !queue.order.is_kept() {
        note(
            Weight::Problem,
            "it has a single active consumer, so somebody relies on its order, and `order` is \"none\"; set `order` to \"key\" or \"strict\", or declare the queue without x-single-active-consumer",
        );
    }
    if told.arguments.0.contains_key("x-max-priority") {
        note(
            Weight::Fine,
            "it has priorities; messages in hand are dispatched by priority, too",
        );
    }
    if told.durable == Some(false) {
        note(
            Weight::Warning,
            "it is not durable: a restart of the broker loses its messages; declare it durable",
        );
    }
    if told.auto_delete == Some(true) {
        note(
            Weight::Warning,
            "it is deleted when its last consumer leaves, as at each stop of the daemon; declare it without auto-delete",
        );
    }
    notes
}

/// What the broker does to its messages behind our back.
fn what_it_loses(told: &QueueTold) -> Notes {
    let mut notes = Notes::new();
    let mut warn = |text: String| notes.push((Weight::Warning, text));
    let gone = match told.text("dead-letter-exchange") {
        None => "vanish",
        Some(_) => "are dead-lettered by the broker",
    };
    if let Some(limit) = told
        .limit("delivery-limit")
        .filter(|limit| (0..FEW_DELIVERIES).contains(limit))
    {
        warn(format!(
            "its delivery limit is {limit}, and pauses, stops and crashes count: messages over it {gone}; raise it to {FEW_DELIVERIES} or more (our own retries do not count)"
        ));
    }
    if let Some(ttl) = told.limit("message-ttl") {
        warn(format!(
            "messages older than {ttl} ms {gone} at its head, past `max_age` and the park; take message-ttl away and set `max_age`"
        ));
    }
    if let Some(expires) = told.limit("expires") {
        warn(format!(
            "it is deleted with all that is in it when it has no consumer for {expires} ms, as in a pause or stop; take expires away"
        ));
    }
    let bounded = ["max-length", "max-length-bytes"]
        .into_iter()
        .find_map(|limit| Some((limit, told.limit(limit)?)));
    if let Some((limit, most)) = bounded {
        let drops = told.text("overflow").is_none_or(|how| how == "drop-head");
        if drops {
            warn(format!(
                "over {limit} {most} the oldest messages {gone}, past the park; set overflow to reject-publish, or take the limit away"
            ));
        } else {
            let text = format!(
                "over {limit} {most} it refuses; what was deferred then waits in its delay queue until there is room"
            );
            notes.push((Weight::Fine, text));
        }
    }
    notes
}

/// Who else reads it.
pub(super) fn of_consumers(consumers: &Consumers) -> Notes {
    let (weight, text) = match &consumers.others {
        None => (Weight::Unknown, "who else reads it is not told".to_owned()),
        Some(others) if others.is_empty() => match consumers.ours {
            0 | 1 => (Weight::Fine, "nobody else reads it".to_owned()),
            many => (
                Weight::Warning,
                format!(
                    "{many} daemons of Sluicegate read it, which share neither rates nor concurrency; stop all but one"
                ),
            ),
        },
        Some(others) => {
            let named: Vec<&str> = others.iter().take(3).map(String::as_str).collect();
            let count = others.len();
            let text = format!(
                "{count} other consumers read it past the gate (tags: {}); stop them, or their messages meet no valve",
                named.join(", ")
            );
            (Weight::Warning, text)
        }
    };
    vec![(weight, text)]
}

/// The admitted queue: is it bounded, does it refuse when it is full, and does anybody read it?
pub(super) fn of_admitted(queue: &Queue, told: &QueueTold) -> Notes {
    let (name, slots) = (&told.name, i64::from(queue.slots));
    let mut notes = Notes::new();
    match told.limit("max-length") {
        None => notes.push((
            Weight::Warning,
            format!("{name} has no max-length, so that everything is admitted at once and goes stale there; set it to {slots} (`slots`) by a policy, with overflow reject-publish"),
        )),
        Some(_) if told.text("overflow") != Some("reject-publish") => notes.push((
            Weight::Problem,
            format!("{name} drops messages when it is full; set its overflow to reject-publish"),
        )),
        Some(limit) if limit != slots => notes.push((
            Weight::Warning,
            format!("{name} holds up to {limit} messages, and `slots` is {slots}; make them equal"),
        )),
        Some(_) => notes.push((Weight::Fine, format!("{name} holds up to {slots} messages and then refuses"))),
    }
    if told.consumers() == Some(0) {
        let text = format!("nobody reads {name}; point the workers at it");
        notes.push((Weight::Warning, text));
    }
    notes
}

/// The queues that we keep beside it, as far as they are there.
pub(super) fn of_our_own(queue: &Queue, vhost: &str, all: &[QueueTold]) -> Notes {
    let mut notes = Notes::new();
    let mut there = 0;
    for told in all {
        let Some(place) = place_of(queue, &told.name) else {
            continue;
        };
        there += 1;
        notes.extend(of_one(queue, vhost, place, told));
    }
    if notes.is_empty() {
        notes.push((
            Weight::Fine,
            format!("{there} queues of Sluicegate's own are there, each as it is declared"),
        ));
    }
    notes
}

/// The place that a queue of this name is, if it is one of this queue's own.
fn place_of(queue: &Queue, found: &str) -> Option<Place> {
    places(queue)
        .into_iter()
        .filter(|place| ours(queue, *place) && *place != Place::Admitted)
        .find(|place| {
            let wanted = name(queue, *place, 0);
            let dated = matches!(place, Place::Park | Place::Dead) && queue.declare;
            match wanted.strip_suffix("1970-01-01").filter(|_| dated) {
                Some(stem) => found.strip_prefix(stem).is_some_and(|day| day.len() == 10),
                None => found == wanted,
            }
        })
}

fn of_one(queue: &Queue, vhost: &str, place: Place, told: &QueueTold) -> Notes {
    let mut notes = Notes::new();
    let name = &told.name;
    let wanted = json_of(&arguments(queue, place));
    let mut has = told.arguments.0.clone();
    if wanted.get("x-queue-type").is_none()
        && has
            .get("x-queue-type")
            .is_some_and(|kind| kind == "classic")
    {
        has.remove("x-queue-type");
    }
    if wanted.as_object() != Some(&has) {
        let has = serde_json::Value::Object(has);
        notes.push(if matches!(place, Place::Park | Place::Dead) && queue.declare {
            (Weight::Warning, format!("{name} has other arguments ({has}, not {wanted}); it is used as it is until its day is over"))
        } else {
            (Weight::Problem, format!("{name} has other arguments: {has}, not {wanted}; when it is empty, delete it (rabbitmqctl delete_queue -p {vhost} {name} --if-empty) and have it made anew"))
        });
    }
    let meddling: Vec<&str> = MEDDLING
        .into_iter()
        .filter(|part| told.effective_policy_definition.0.contains_key(*part))
        .collect();
    if !meddling.is_empty() {
        let by = told.policies().join(" and ");
        notes.push((
            Weight::Warning,
            format!("the policy {by} changes {name} ({}), which may lose messages; have its pattern leave out what begins with sluicegate.", meddling.join(", ")),
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::config::read_text;

    fn queue(more: &str) -> Queue {
        let text = format!(
            "[amqp]\nurl = 'amqp://127.0.0.1'\n{more}\n[[queue]]\nname = 'orders'\ntarget = {{ http = 'http://x' }}\n"
        );
        read_text("test", &text, &Default::default())
            .unwrap()
            .queues
            .remove(0)
    }

    fn told(json: Json) -> QueueTold {
        serde_json::from_value(json).unwrap()
    }

    /// What is found besides what is fine; each must hold its words.
    fn check(what: &str, notes: &Notes, expected: &[(Weight, &str)]) {
        let said: Vec<_> = notes
            .iter()
            .filter(|(weight, _)| *weight != Weight::Fine)
            .collect();
        assert_eq!(said.len(), expected.len(), "{what}: {said:#?}");
        for ((weight, text), (wanted, part)) in said.into_iter().zip(expected) {
            assert_eq!(weight, wanted, "{what}: {text}");
            assert!(text.contains(part), "{what}: {part:?} is not in {text}");
            assert!(text.contains("; "), "{what}: no cure in {text}");
        }
    }

    fn of(json: Json) -> Notes {
        of_queue(&queue(""), &told(json))
    }

    fn policy(definition: Json) -> Notes {
        of(json!({"type": "quorum", "policy": "p", "effective_policy_definition": definition}))
    }

    #[test]
    fn a_queue_that_cannot_or_should_not_be_taken_is_said_so() {
        use Weight::{Problem, Warning};
        check(
            "a plain queue",
            &of(json!({"type": "classic", "durable": true, "auto_delete": false, "arguments": {}})),
            &[],
        );
        check(
            "a stream",
            &of(json!({"type": "stream"})),
            &[(Problem, "is a stream")],
        );
        check(
            "single active consumer without order",
            &of(json!({"arguments": {"x-single-active-consumer": true}})),
            &[(Problem, "`order` is \"none\"")],
        );
        check(
            "single active consumer, not",
            &of(json!({"arguments": {"x-single-active-consumer": false}})),
            &[],
        );
        check(
            "what does not last",
            &of(json!({"durable": false, "auto_delete": true})),
            &[(Warning, "not durable"), (Warning, "auto-delete")],
        );
    }

    #[test]
    fn what_the_broker_does_behind_our_back_is_said_with_its_cure() {
        use Weight::Warning;
        check(
            "few deliveries",
            &policy(json!({"delivery-limit": 3})),
            &[(
                Warning,
                "limit is 3, and pauses, stops and crashes count: messages over it vanish",
            )],
        );
        check(
            "few deliveries, dead-lettered",
            &policy(json!({"delivery-limit": 3, "dead-letter-exchange": "dlx"})),
            &[(Warning, "are dead-lettered by the broker")],
        );
        check(
            "many deliveries",
            &policy(json!({"delivery-limit": 20})),
            &[],
        );
        check(
            "no limit of deliveries",
            &policy(json!({"delivery-limit": -1})),
            &[],
        );
        check(
            "a time to live",
            &policy(json!({"message-ttl": 60_000})),
            &[(Warning, "older than 60000 ms vanish")],
        );
        check(
            "an end",
            &of(json!({"arguments": {"x-expires": 1_000}})),
            &[(Warning, "no consumer for 1000 ms")],
        );
        check(
            "a bound that drops",
            &of(json!({"arguments": {"x-max-length": 9}})),
            &[(Warning, "over max-length 9 the oldest")],
        );
        check(
            "a bound that drops, said",
            &policy(json!({"max-length-bytes": 9, "overflow": "drop-head"})),
            &[(Warning, "max-length-bytes 9")],
        );
        check(
            "a bound that refuses",
            &policy(json!({"max-length": 9, "overflow": "reject-publish"})),
            &[],
        );
        let (_, first) = &policy(json!({"dead-letter-exchange": "dlx"}))[0];
        assert!(
            first.contains("type is quorum")
                && first.contains("policy p")
                && first.contains("\"dlx\""),
            "{first}"
        );
    }

    #[test]
    fn who_reads_past_the_gate_is_named() {
        let consumers = |ours: usize, others: Option<&[&str]>| {
            let others = others.map(|tags| tags.iter().map(|tag| (*tag).to_owned()).collect());
            of_consumers(&Consumers { ours, others })
        };
        check("nobody", &consumers(0, Some(&[])), &[]);
        check("a daemon", &consumers(1, Some(&[])), &[]);
        check(
            "two daemons",
            &consumers(2, Some(&[])),
            &[(Weight::Warning, "2 daemons")],
        );
        check(
            "others",
            &consumers(1, Some(&["a", "b"])),
            &[(
                Weight::Warning,
                "2 other consumers read it past the gate (tags: a, b)",
            )],
        );
        let (weight, _) = &consumers(0, None)[0];
        assert_eq!(*weight, Weight::Unknown);
    }

    #[test]
    fn an_admitted_queue_is_bounded_refuses_and_is_read() {
        let mut orders = queue("");
        orders.target = crate::config::TargetSettings::Queue("orders.admitted".to_owned());
        let of = |json: Json| of_admitted(&orders, &told(json));
        let bounded = |most: i64, overflow: &str| json!({"name": "orders.admitted", "effective_policy_definition": {"max-length": most, "overflow": overflow}});
        check("as it should be", &of(bounded(8, "reject-publish")), &[]);
        check(
            "it drops",
            &of(bounded(8, "drop-head")),
            &[(Weight::Problem, "drops messages")],
        );
        check(
            "another bound",
            &of(bounded(9, "reject-publish")),
            &[(Weight::Warning, "up to 9")],
        );
        check(
            "no bound, nobody",
            &of(json!({"consumer_details": []})),
            &[
                (Weight::Warning, "no max-length"),
                (Weight::Warning, "nobody reads"),
            ],
        );
    }

    #[test]
    fn queues_of_ours_that_differ_are_found_and_those_of_others_left_alone() {
        let orders = queue("");
        let day = "2026-11-21";
        let at = |place: Place, name: &str| {
            told(
                json!({"name": name, "type": "x", "arguments": json_of(&arguments(&orders, place))}),
            )
        };
        let delay = Place::Delay(crate::rules::backoff::DELAYS[0]);
        let same = [
            at(delay, "sluicegate.delay.orders.5s"),
            at(Place::Park, &format!("sluicegate.park.orders.{day}")),
        ];
        let notes = of_our_own(&orders, "/", &same);
        assert_eq!(
            notes,
            [(
                Weight::Fine,
                "2 queues of Sluicegate's own are there, each as it is declared".to_owned()
            )]
        );
        let other =
            |name: &str| told(json!({"name": name, "arguments": {"x-queue-type": "classic"}}));
        let of = |queue: &Queue, name: &str| of_our_own(queue, "/", &[other(name)]);
        check(
            "a delay queue",
            &of(&orders, "sluicegate.delay.orders.5s"),
            &[(Weight::Problem, "--if-empty")],
        );
        check(
            "a park",
            &of(&orders, "sluicegate.park.orders.2026-11-21"),
            &[(Weight::Warning, "until its day is over")],
        );
        check(
            "another queue's",
            &of(&orders, "sluicegate.park.orders.eu.2026-11-21"),
            &[],
        );
        check(
            "another queue's delay",
            &of(&orders, "sluicegate.delay.mail.5s"),
            &[],
        );
        let fixed = queue("declare = false");
        check(
            "a park for good",
            &of(&fixed, "sluicegate.park.orders"),
            &[(Weight::Problem, "other arguments")],
        );
        check(
            "a dated park, not ours any more",
            &of(&fixed, "sluicegate.park.orders.2026-11-21"),
            &[],
        );
        let mut meddled = at(delay, "sluicegate.delay.orders.5s");
        meddled.policy = json!("all");
        meddled.effective_policy_definition = json!({"max-length": 10, "ha-mode": "all"}).into();
        check(
            "a policy over all",
            &of_our_own(&orders, "/", &[meddled]),
            &[(
                Weight::Warning,
                "the policy all changes sluicegate.delay.orders.5s (max-length)",
            )],
        );
    }
}
