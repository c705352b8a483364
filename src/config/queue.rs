//! The queues: `[[queue]]`.

use std::collections::BTreeMap;

use super::admitted;
use super::build::Section;
use super::pool::{Pool, Results};
use super::preset;
use super::problems::Notes;
use super::relief;
use super::{Attributes, Disposition, OnUnknown, Order, ParkSettings, Queue, TargetSettings};
use crate::rules::facts::Reading;
use crate::rules::names::QueueName;

/// All queues; none when one of them cannot be read. `vhost` is that of the broker's URL, when it is known; `declare` is what
/// `[amqp]` says.
pub(super) fn all(
    sections: &[Section<'_>],
    vhost: Option<&str>,
    declare: bool,
    notes: &mut Notes,
) -> Option<Vec<Queue>> {
    let queues: Vec<Option<Queue>> = sections
        .iter()
        .map(|section| queue(*section, declare, notes))
        .collect();
    let mut names = BTreeMap::new();
    for (section, queue) in sections.iter().zip(&queues) {
        let Some(queue) = queue else { continue };
        let at = (queue.vhost.as_deref().or(vhost), queue.broker_name.as_str());
        let place = section.place("name");
        if names.insert(queue.name.as_str().to_owned(), at).is_some() {
            let what = format!("there are two queues of the name `{}`", queue.name);
            notes.add(
                place,
                what,
                "leave one out, or name the vhost in which it lies",
            );
        } else if names.values().filter(|other| **other == at).count() > 1 {
            let what = format!(
                "the queue `{}` is taken twice: its vhost is that of the broker's URL",
                queue.name
            );
            notes.add(place, what, "leave one of the two out");
        }
    }
    admitted::check(sections, &queues, vhost, notes);
    queues.into_iter().collect()
}

fn queue(section: Section<'_>, declare: bool, notes: &mut Notes) -> Option<Queue> {
    let broker_name: Option<String> = section.get("name");
    let vhost: Option<String> = section.get("vhost");
    let name = broker_name
        .as_ref()
        .and_then(|name| named(section, vhost.as_deref(), name, notes));
    let path = name
        .as_ref()
        .map_or("queue".to_owned(), |name| format!("queue.{name}"));
    let reading = reading(section, &path, notes);
    let order = order(section, &path, notes);
    let slots = order.and_then(|order| slots(section, order));
    let prefetch = slots
        .zip(order)
        .and_then(|slots_and_order| prefetch(section, slots_and_order, &path, notes));
    let dead_letter_queue = dead_letter_queue(section, broker_name.as_deref(), &path, notes);
    let park = park(section.section("park"));
    let relief = relief::of(section, &path, notes);
    Some(Queue {
        name: name?,
        broker_name: broker_name?,
        vhost,
        declare,
        slots: slots?,
        prefetch: prefetch?,
        reading: reading?,
        deadline_after: section.get("deadline_after"),
        target: target(section.section("target"))?,
        attempts: section.get("attempts")?,
        order: order?,
        on_skip: disposition(section, "on_skip")?,
        on_expired: disposition(section, "on_expired")?,
        on_rejected: disposition(section, "on_rejected")?,
        on_unknown: on_unknown(section)?,
        on_unknown_is_written: section.table.get("on_unknown").is_some(),
        modes: section.get("modes")?,
        pass: section.get("pass")?,
        dead_letter_queue,
        outcomes_queue: section.section("outcomes").get("queue"),
        results_queue: None,
        park: park?,
        relief: relief?,
        hold: section.get("hold")?,
    })
}

/// The queues once the pools are known: a mail that may have been sent is not sent again unless somebody says so, or its providers
/// know the job again; and the queue that is told of results is that of the pool.
pub(super) fn settled(mut queues: Vec<Queue>, pools: &[Pool]) -> Vec<Queue> {
    for queue in &mut queues {
        let TargetSettings::Pool(name) = &queue.target else {
            continue;
        };
        let Some(pool) = pools.iter().find(|pool| pool.name == *name) else {
            continue;
        };
        if pool.mail && !pool.idempotent && !queue.on_unknown_is_written {
            queue.on_unknown = OnUnknown::Park;
        }
        if let Some(Results::Queue(name)) = &pool.results {
            queue.results_queue = Some(name.clone());
        }
    }
    queues
}

fn named(
    section: Section<'_>,
    vhost: Option<&str>,
    name: &str,
    notes: &mut Notes,
) -> Option<QueueName> {
    let named = QueueName::new(vhost, name);
    if let (Err(why), Some(_), Ok(_)) = (&named, vhost, QueueName::new(None, name)) {
        notes.add_sentence(section.place("vhost"), "queue.vhost", &why.to_string());
    }
    named.ok()
}

fn reading(section: Section<'_>, path: &str, notes: &mut Notes) -> Option<Reading> {
    let preset = preset::of(section);
    let mut attributes = preset.attributes;
    attributes.extend(section.get::<Attributes>("attributes").unwrap_or_default());
    let key: Option<String> = section.get("key");
    let written = section.section("attributes").table;
    if let Some(key) = &key
        && written.get(key).is_none()
        && !attributes.contains_key(key)
    {
        let what = format!(
            "`{path}.key` names the attribute {key:?}, which [queue.attributes] does not have"
        );
        let help =
            format!("say where it is found: {key} = \"header:x-{key}\" under [queue.attributes]");
        notes.add(section.place("key"), what, help);
    }
    Some(Reading {
        id: section.get("id").or(preset.id),
        age: section.get("age"),
        deadline: section.get("deadline").or(preset.deadline),
        not_before: preset::not_before(section, preset.not_before, path, notes),
        attributes: attributes
            .into_iter()
            .map(|(name, place)| (name.into(), place))
            .collect(),
        key,
        max_body: section.get("max_body_bytes")?,
    })
}

/// Whether order is kept; that of keys needs a key, and that of all has one slot.
fn order(section: Section<'_>, path: &str, notes: &mut Notes) -> Option<Order> {
    let order = match section.get::<String>("order")?.as_str() {
        "none" => Order::None,
        "key" => Order::Key,
        "strict" => Order::Strict,
        _ => return None,
    };
    if order == Order::Key && section.get::<String>("key").is_none() {
        let what = format!("`{path}.order` is \"key\", and the queue has no `key`");
        let help = "name the attribute whose messages keep their order, as in key = \"account\"; or write order = \"strict\" for one line of all";
        notes.add(section.place("order"), what, help);
    }
    let slots = section.get::<u32>("slots");
    if order == Order::Strict && section.table.get("slots").is_some() && slots > Some(1) {
        let what = format!(
            "`{path}.order` is \"strict\", one message at a time, so `slots` above 1 would stay empty"
        );
        let help = "leave `slots` out; or write order = \"key\", which keeps the order of each key and works on several keys at once";
        notes.add(section.place("slots"), what, help);
    }
    Some(order)
}

/// The slots: what the file says, else what the order suggests.
fn slots(section: Section<'_>, order: Order) -> Option<u32> {
    let slots = section.get("slots")?;
    if section.table.get("slots").is_some() {
        return Some(slots);
    }
    Some(order.usual_slots(slots))
}

/// The prefetch: what the file says, else what follows from the slots. Fewer than the slots would leave slots empty for ever.
fn prefetch(
    section: Section<'_>,
    (slots, order): (u32, Order),
    path: &str,
    notes: &mut Notes,
) -> Option<u16> {
    let written = section.table.get("prefetch").is_some();
    let prefetch = if written {
        section.get("prefetch")?
    } else {
        order.prefetch_for(slots)
    };
    if u32::from(prefetch) < slots {
        let (place, what) = if written {
            (
                "prefetch",
                format!("`{path}.prefetch` is {prefetch}, so {slots} slots are never full"),
            )
        } else {
            let what = format!(
                "`{path}.slots` is {slots}, and no more than {prefetch} messages are taken when `prefetch` is not set"
            );
            ("slots", what)
        };
        let help = format!(
            "set `prefetch` to {slots} or more, or fewer slots; twice the slots is a good start"
        );
        notes.add(section.place(place), what, help);
    }
    Some(prefetch)
}

fn dead_letter_queue(
    section: Section<'_>,
    own: Option<&str>,
    path: &str,
    notes: &mut Notes,
) -> Option<String> {
    let queue: Option<String> = section.section("dead_letter").get("queue");
    if queue.is_some() && queue.as_deref() == own {
        let what = format!(
            "`{path}.dead_letter` is the queue itself, so that a dead letter would come back for ever"
        );
        notes.add(
            section.section("dead_letter").place("queue"),
            what,
            "name another queue",
        );
    }
    queue
}

fn target(target: Section<'_>) -> Option<TargetSettings> {
    let http = target.get("http").map(TargetSettings::Http);
    let queue = || target.get("queue").map(TargetSettings::Queue);
    http.or_else(queue)
        .or_else(|| target.get("handler").map(TargetSettings::Handler))
        .or_else(|| {
            let pool = target.get::<String>("pool")?;
            Some(TargetSettings::Pool(pool.into()))
        })
}

fn park(park: Section<'_>) -> Option<ParkSettings> {
    let kind: String = park.get("as")?;
    Some(ParkSettings {
        streams: kind == "stream",
        max_age: park.get("max_age")?,
        max_bytes: park.get("max_bytes")?,
    })
}

fn disposition(section: Section<'_>, name: &str) -> Option<Disposition> {
    match section.get::<String>(name)?.as_str() {
        "drop" => Some(Disposition::Drop),
        "dead_letter" => Some(Disposition::DeadLetter),
        "park" => Some(Disposition::Park),
        _ => None,
    }
}

fn on_unknown(section: Section<'_>) -> Option<OnUnknown> {
    match section.get::<String>("on_unknown")?.as_str() {
        "retry" => Some(OnUnknown::Retry),
        "failover" => Some(OnUnknown::Failover),
        "park" => Some(OnUnknown::Park),
        _ => None,
    }
}
