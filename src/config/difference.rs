//! What changed between two readings of the file, and whether a running daemon can take it up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::list::FILE;
use super::shape::Shape;
use super::{Limits, Management, Queue, Settings};

/// A setting that changed. What it was and is, is not told: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The setting, such as `daemon.log`, `queue.orders.slots`, or `queue.mail` for a queue that came or went.
    pub setting: String,
    /// Whether it is applied by a reload; else it needs a restart.
    pub live: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.live {
            "is applied"
        } else {
            "needs a restart"
        };
        write!(f, "{} {how}", self.setting)
    }
}

/// Every setting in which two readings differ, by name.
#[must_use]
pub fn difference(old: &Settings, new: &Settings) -> Vec<Difference> {
    let mut found = Found(Vec::new());
    daemon(old, new, &mut found);
    people(old, new, &mut found);
    if old.notify != new.notify {
        found.note("notify".to_owned(), true);
    }
    let (a, b) = (
        (&*old.providers, &*new.providers),
        (&*old.pools, &*new.pools),
    );
    listed("provider", a, |provider| &provider.name, &mut found);
    listed("pool", b, |pool| &pool.name, &mut found);
    let both = (by_name(old), by_name(new));
    for (name, before) in &both.0 {
        match both.1.get(name) {
            Some(after) => queue(before, after, &mut found),
            None => found.note(format!("queue.{name}"), false),
        }
    }
    for name in both.1.keys().filter(|name| !both.0.contains_key(*name)) {
        found.note(format!("queue.{name}"), false);
    }
    found.0
}

fn by_name(settings: &Settings) -> BTreeMap<&str, &Queue> {
    let queues = settings.queues.iter();
    queues.map(|queue| (queue.name.as_str(), queue)).collect()
}

struct Found(Vec<Difference>);

impl Found {
    fn note(&mut self, setting: String, live: bool) {
        self.0.push(Difference { setting, live });
    }

    fn compare<T: PartialEq>(&mut self, section: &str, setting: &str, old: &T, new: &T) {
        if old != new {
            self.note(format!("{section}.{setting}"), is_live(section, setting));
        }
    }
}

fn is_live(section: &str, setting: &str) -> bool {
    let section = FILE.iter().find(|known| known.name == section);
    section
        .filter(|section| matches!(section.shape, Shape::Section(_)))
        .and_then(|section| {
            section
                .shape
                .settings()
                .iter()
                .find(|known| known.name == setting)
        })
        .is_some_and(|setting| setting.live)
}

fn daemon(old: &Settings, new: &Settings, found: &mut Found) {
    let (a, b) = (&old.daemon, &new.daemon);
    found.compare("daemon", "listen", &a.listen, &b.listen);
    found.compare("daemon", "hosts", &a.hosts, &b.hosts);
    found.compare("daemon", "data_dir", &a.data_dir, &b.data_dir);
    found.compare("daemon", "flags_file", &a.flags_file, &b.flags_file);
    found.compare("daemon", "stop_within", &a.stop_within, &b.stop_within);
    found.compare("daemon", "log", &a.log, &b.log);
    let tls = |daemon: &super::Daemon| daemon.tls.clone().map(|tls| (tls.cert, tls.key)).unzip();
    let ((old_cert, old_key), (new_cert, new_key)) = (tls(a), tls(b));
    // From none to some the doors would have to speak otherwise.
    let live = a.tls.is_some() == b.tls.is_some();
    for (setting, differ) in [
        ("tls_cert_file", old_cert != new_cert),
        ("tls_key_file", old_key != new_key),
    ] {
        if differ {
            found.note(format!("daemon.{setting}"), live);
        }
    }
    found.compare("daemon", "trusted_proxies", &a.proxies.at, &b.proxies.at);
    let header = |of: &super::Daemon| of.proxies.user_header.clone();
    found.compare("daemon", "proxy_user_header", &header(a), &header(b));
    found.compare("ofrep", "listen", &old.ofrep_listen, &new.ofrep_listen);
    found.compare(
        "metrics",
        "listen",
        &old.metrics_listen,
        &new.metrics_listen,
    );
    limits(&old.limits, &new.limits, found);
    let (a, b) = (&old.amqp, &new.amqp);
    found.compare("amqp", "url", &a.url, &b.url);
    found.compare("amqp", "ca_file", &a.ca_file, &b.ca_file);
    found.compare("amqp", "declare", &a.declare, &b.declare);
    found.compare("amqp", "heartbeat", &a.heartbeat, &b.heartbeat);
    management(old.management.as_ref(), new.management.as_ref(), found);
}

fn people(old: &Settings, new: &Settings, found: &mut Found) {
    let (tokens, users) = ((&*old.tokens, &*new.tokens), (&*old.users, &*new.users));
    named("token", tokens, |token| &token.name, found);
    named("user", users, |user| &user.name, found);
}

/// Notes each name whose entries differ, in whatever order they stand.
fn named<T: PartialEq>(
    section: &str,
    (old, new): (&[T], &[T]),
    name: fn(&T) -> &String,
    found: &mut Found,
) {
    let all: BTreeSet<&String> = old.iter().chain(new).map(name).collect();
    for one in all {
        let of = |list: &'_ [T]| list.iter().filter(|entry| name(entry) == one).count();
        let same = |entry: &&T| name(entry) != one || new.contains(entry);
        if of(old) != of(new) || !old.iter().all(|entry| same(&entry)) {
            found.note(format!("{section}.{one}"), true);
        }
    }
}

/// Notes each provider or pool that came, went or is another now; each needs a restart.
fn listed<T: PartialEq>(
    section: &str,
    (old, new): (&[T], &[T]),
    name: fn(&T) -> &std::sync::Arc<str>,
    found: &mut Found,
) {
    let names: BTreeSet<_> = old.iter().chain(new).map(name).collect();
    for one in names {
        let of = |list: &'_ [T]| list.iter().position(|entry| name(entry) == one);
        if of(old).map(|at| &old[at]) != of(new).map(|at| &new[at]) {
            found.note(format!("{section}.{one}"), false);
        }
    }
}

fn limits(a: &Limits, b: &Limits, found: &mut Found) {
    let skip = |of: &Limits| {
        of.policy
            .largest_skip
            .split_last()
            .map(|(all, some)| (all.clone(), some.to_vec()))
    };
    let ((all_a, some_a), (all_b, some_b)) = (skip(a).unzip(), skip(b).unzip());
    found.compare("limits", "skip", &all_a, &all_b);
    found.compare("limits", "skip_by_queue", &some_a, &some_b);
    let (per_minute_a, per_minute_b) = (a.changes_per_minute, b.changes_per_minute);
    found.compare("limits", "changes_per_minute", &per_minute_a, &per_minute_b);
    let (per_second_a, per_second_b) = (a.evaluations_per_second, b.evaluations_per_second);
    let name = "evaluations_per_second";
    found.compare("limits", name, &per_second_a, &per_second_b);
    let (a, b) = (&a.policy, &b.policy);
    found.compare("flags", "release_name", &a.release_name, &b.release_name);
    found.compare(
        "flags",
        "releases_of_a_team",
        &a.releases_of_a_team,
        &b.releases_of_a_team,
    );
}

fn management(old: Option<&Management>, new: Option<&Management>, found: &mut Found) {
    match (old, new) {
        (Some(a), Some(b)) => {
            let whole = |of: &Management| (of.url.clone(), of.user.clone(), of.password.clone());
            found.compare("management", "url", &whole(a), &whole(b));
            found.compare("management", "ca_file", &a.ca_file, &b.ca_file);
        }
        (None, None) => {}
        _ => found.note("management".to_owned(), false),
    }
}

fn queue(a: &Queue, b: &Queue, found: &mut Found) {
    let section = format!("queue.{}", a.name);
    let mut compare = |setting: &str, differ: bool| {
        if differ {
            found.note(format!("{section}.{setting}"), false);
        }
    };
    compare("name", a.broker_name != b.broker_name);
    compare("vhost", a.vhost != b.vhost);
    compare("target", a.target != b.target);
    compare("slots", a.slots != b.slots);
    compare("prefetch", a.prefetch != b.prefetch);
    compare("attempts", a.attempts != b.attempts);
    compare("key", a.reading.key != b.reading.key);
    compare("attributes", a.reading.attributes != b.reading.attributes);
    compare("id", a.reading.id != b.reading.id);
    compare("age", a.reading.age != b.reading.age);
    compare("deadline", a.reading.deadline != b.reading.deadline);
    compare("not_before", a.reading.not_before != b.reading.not_before);
    compare("deadline_after", a.deadline_after != b.deadline_after);
    compare("max_body_bytes", a.reading.max_body != b.reading.max_body);
    compare("order", a.order != b.order);
    compare("on_skip", a.on_skip != b.on_skip);
    compare("on_expired", a.on_expired != b.on_expired);
    compare("on_rejected", a.on_rejected != b.on_rejected);
    compare("on_unknown", a.on_unknown != b.on_unknown);
    compare("modes", a.modes != b.modes);
    compare("pass", a.pass != b.pass);
    compare("hold", a.hold != b.hold);
    compare(
        "dead_letter.queue",
        a.dead_letter_queue != b.dead_letter_queue,
    );
    compare("outcomes.queue", a.outcomes_queue != b.outcomes_queue);
    let (ra, rb) = (&a.relief, &b.relief);
    compare("relief.floor", ra.bounds.floor != rb.bounds.floor);
    compare("relief.ceiling", ra.bounds.ceiling != rb.bounds.ceiling);
    compare("relief.step", ra.bounds.step != rb.bounds.step);
    compare("relief.bad_actor", ra.bad_actor != rb.bad_actor);
    compare("relief.degrade_to", ra.degrade_to != rb.degrade_to);
    compare("relief.degrade_for", ra.degrade_for != rb.degrade_for);
    compare("park.as", a.park.streams != b.park.streams);
    compare("park.max_age", a.park.max_age != b.park.max_age);
    compare("park.max_bytes", a.park.max_bytes != b.park.max_bytes);
}
