//! The files in `config/`, and that every setting is explained, shown and has an effect.

use std::collections::BTreeSet;

use super::super::list::FILE;
use super::super::shape::{Setting, Shape};
use super::*;

/// Every setting with its path; a section stands before what is in it.
fn every_setting() -> Vec<(String, &'static Setting)> {
    fn collect(
        path: &str,
        settings: &'static [Setting],
        into: &mut Vec<(String, &'static Setting)>,
    ) {
        for setting in settings.iter().filter(|setting| setting.here()) {
            let path = super::super::walk::below(path, setting.name);
            into.push((path.clone(), setting));
            collect(&path, setting.shape.settings(), into);
        }
    }
    let mut all = Vec::new();
    collect("", FILE, &mut all);
    all
}

/// What the samples take from the environment.
fn keys() -> Environment {
    let names = [
        "DEMO_KEY",
        "MAILGUN_KEY",
        "SENDGRID_KEY",
        "SES_SECRET_KEY",
        "POSTMARK_TOKEN",
    ];
    let key = |name: &str| (name.to_owned(), "a key".to_owned());
    names.map(key).into()
}

#[test]
fn every_sample_reads() {
    for (name, text) in [
        (
            "config/sluicegate.toml",
            include_str!("../../../config/sluicegate.toml"),
        ),
        (
            "config/demo.toml",
            include_str!("../../../config/demo.toml"),
        ),
        (
            "examples/sluicegate.toml",
            include_str!("../../../examples/sluicegate.toml"),
        ),
        (
            "examples/celery/sluicegate.toml",
            include_str!("../../../examples/celery/sluicegate.toml"),
        ),
        (
            "examples/embedded.toml",
            include_str!("../../../examples/embedded.toml"),
        ),
        (
            "examples/mail/sluicegate.toml",
            include_str!("../../../examples/mail/sluicegate.toml"),
        ),
    ] {
        read_text(name, text, &keys()).unwrap_or_else(|problems| panic!("{problems}"));
    }
    let demo = read(Path::new("config/demo.toml"), &keys()).unwrap();
    let names: Vec<&str> = demo
        .queues
        .iter()
        .map(|queue| queue.name.as_str())
        .collect();
    assert_eq!(names, ["orders", "mail", "reports"]);
    for file in ["config/flags.toml", "examples/flags.toml"] {
        let flags = flags::read(Path::new(file)).unwrap_or_else(|problems| panic!("{problems}"));
        for key in ["demo.task_queuer.rate", "demo.task_worker.service_time"] {
            assert!(
                flags.flags.iter().any(|flag| flag.key == key),
                "{file}: {key}"
            );
        }
    }
}

#[test]
fn the_sample_explains_every_setting_and_shows_its_default() {
    let sample = include_str!("../../../config/sluicegate.toml");
    for (path, setting) in every_setting()
        .iter()
        .filter(|(_, setting)| setting.shape.settings().is_empty())
    {
        assert!(
            sample.contains(setting.help),
            "`{path}` is not explained: {}",
            setting.help
        );
        let written = ["#", "# ", ""]
            .iter()
            .any(|mark| sample.contains(&format!("\n{mark}{} = ", setting.name)));
        let named = [".http", ".handler", ".queue", ".pool", ".attributes"]
            .iter()
            .any(|end| path.ends_with(end));
        assert!(written || named, "`{path}` is not shown");
    }
    let plain = settings(sample);
    let everything = settings(&hostile::sample_with_everything().replace("canary", "guest"));
    assert_eq!(
        difference(&plain, &everything),
        [],
        "a default is not the default"
    );
}

#[test]
fn other_webhooks_are_told_of_at_once() {
    let told = |events: &str| {
        settings(&format!(
            "{SMALL}[[notify]]\nurl = 'http://h'\nevents = [{events}]\n"
        ))
    };
    let (none, some, more) = (settings(SMALL), told("'opened'"), told("'opened', 'ended'"));
    for (old, new) in [(&none, &some), (&some, &more), (&more, &none)] {
        let found = difference(old, new);
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.setting.as_str(), one.live))
            .collect();
        assert_eq!(found, [("notify", true)]);
    }
}

/// Every setting with a value that is not its default.
const CHANGED: &[(&str, &str)] = &[
    ("daemon.listen", "127.0.0.1:1"),
    ("daemon.hosts", "['h']"),
    ("daemon.data_dir", "/x"),
    ("daemon.flags_file", "A FILE"),
    ("daemon.stop_within", "3s"),
    ("daemon.log", "debug"),
    ("daemon.trusted_proxies", "['10.0.0.5']"),
    ("daemon.proxy_user_header", "x-user"),
    ("metrics.listen", "0.0.0.0:1"),
    ("ofrep.listen", "127.0.0.1:2"),
    ("limits.skip", "50%"),
    ("limits.skip_by_queue.orders", "50%"),
    ("limits.changes_per_minute", "3"),
    ("limits.evaluations_per_second", "3"),
    ("flags.release_name", "<team>.<id>"),
    ("flags.releases_of_a_team", "3"),
    ("amqp.url", "amqps://u:canary@localhost"),
    ("amqp.ca_file", "A FILE"),
    ("amqp.declare", "false"),
    ("amqp.heartbeat", "3s"),
    ("management.url", "https://u:other@localhost"),
    ("management.ca_file", "A FILE"),
    ("queue.orders.vhost", "v"),
    ("queue.orders.target.http", "http://x"),
    ("queue.orders.target.handler", "y"),
    ("queue.orders.target.queue", "orders.admitted"),
    ("queue.orders.target.pool", "mail"),
    ("queue.orders.slots", "3"),
    ("queue.orders.prefetch", "33"),
    ("queue.orders.attempts", "3"),
    ("queue.orders.key", "account"),
    ("queue.orders.attributes.type", "property:type"),
    ("queue.orders.id", "header:x"),
    ("queue.orders.age", "header:x"),
    ("queue.orders.deadline", "header:x"),
    ("queue.orders.not_before", "header:x"),
    ("queue.orders.deadline_after", "3s"),
    ("queue.orders.max_body_bytes", "3"),
    ("queue.orders.order", "strict"),
    ("queue.orders.on_skip", "drop"),
    ("queue.orders.on_expired", "drop"),
    ("queue.orders.on_rejected", "drop"),
    ("queue.orders.on_unknown", "park"),
    ("queue.orders.modes", "['light']"),
    ("queue.orders.pass", "['a.b']"),
    ("queue.orders.hold", "3s"),
    ("queue.orders.dead_letter.queue", "dead"),
    ("queue.orders.outcomes.queue", "orders.outcomes"),
    ("queue.orders.relief.floor", "5%"),
    ("queue.orders.relief.ceiling", "90%"),
    ("queue.orders.relief.step", "10%"),
    ("queue.orders.relief.degrade_for", "5m"),
    ("queue.orders.park.as", "queue"),
    ("queue.orders.park.max_age", "3d"),
    ("queue.orders.park.max_bytes", "3_000_000"),
];

/// How a reload names a setting that lies within another.
fn told_as(setting: &str) -> &str {
    if setting.ends_with("skip_by_queue.orders") {
        return "limits.skip_by_queue";
    }
    if setting.ends_with("target.queue") || setting.ends_with("target.pool") {
        return "queue.orders.target";
    }
    let ends = [".type", ".http", ".handler"];
    let mut ends = ends.iter().filter_map(|end| setting.strip_suffix(end));
    ends.next().unwrap_or(setting)
}

#[test]
fn every_setting_makes_a_difference() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let file = file.path().display().to_string();
    let base = "[daemon]\ntrusted_proxies = ['10.0.0.9']\nproxy_user_header = 'x-remote-user'\n[metrics]\n[amqp]\nurl = 'amqps://localhost'\n[management]\nurl = 'https://u:canary@localhost'\n[[queue]]\nname = 'orders'\n\
        target.handler = 'x'\nattributes.account = 'header:x'\n[queue.park]\n\
        [[provider]]\nname = 'a'\nkind = 'http'\nurl = 'http://127.0.0.1'\n[[pool]]\nname = 'mail'\nproviders = ['a']\n";
    let old = settings(base);
    let mut seen = BTreeSet::new();
    for (setting, value) in CHANGED {
        let variable = format!("SLUICEGATE__{}", setting.replace('.', "__").to_uppercase());
        let value = if *value == "A FILE" {
            file.as_str()
        } else {
            value
        };
        let new = with(base, &[(&variable, value)]).unwrap_or_else(|problems| panic!("{problems}"));
        let found = difference(&old, &new);
        let names: Vec<&str> = found.iter().map(|one| one.setting.as_str()).collect();
        assert!(!format!("{found:?}").contains("canary"));
        let inside = told_as(setting);
        if *setting == "queue.orders.vhost" {
            let another = ["queue.orders", "queue.v/orders"];
            assert_eq!(names, another, "another vhost makes it another queue");
        } else if *setting == "queue.orders.order" {
            assert_eq!(
                names,
                ["queue.orders.slots", "queue.orders.order"],
                "one slot follows"
            );
        } else {
            assert_eq!(names, [inside]);
        }
        let live = ["hosts", "log", "trusted_proxies", "proxy_user_header"];
        let live = live
            .iter()
            .any(|name| setting.strip_prefix("daemon.") == Some(name))
            || setting.starts_with("limits.")
            || setting.starts_with("flags.");
        assert!(found.iter().all(|one| one.live == live), "{setting}");
        seen.insert(setting.replace("queue.orders", "queue"));
    }
    let untold = [
        "daemon.tls_cert_file", // see `people`
        "daemon.tls_key_file",
        "amqp.url_file",
        "amqp.url_env",
        "management.password_file",
        "management.password_env",
        "queue.name",
        "queue.preset",
        "queue.relief.bad_actor", // see `relief`
        "queue.relief.degrade_to",
    ];
    for (path, setting) in every_setting() {
        let group = matches!(
            setting.shape,
            Shape::Section(_) | Shape::Sections(..) | Shape::Choice(_) | Shape::Free(_)
        );
        assert!(
            group
                || seen.contains(&path)
                || untold.contains(&path.as_str())
                || ["token.", "user.", "notify.", "provider.", "pool."]
                    .iter()
                    .any(|list| path.starts_with(list)),
            "`{path}` is not tried"
        );
    }
}
