//! Providers and pools: what is read, what is refused, and that a secret is never shown.

use std::io::Write;

use tempfile::NamedTempFile;

use super::super::pool::Results;
use super::super::provider::Kind;
use super::super::{OnUnknown, TargetSettings};
use super::{settings, with};

fn key() -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    writeln!(file, "canary").unwrap();
    file
}

fn text(key: &NamedTempFile, queue: &str, rest: &str) -> String {
    format!(
        "[amqp]\nurl = 'amqp://127.0.0.1'\n[[queue]]\nname = 'mail'\ntarget = {{ pool = 'mail' }}\n{queue}\n\
         [[provider]]\nname = 'mailgun'\nkind = 'mailgun'\ndomain = 'mg.example'\napi_key_file = '{0}'\n\
         [[provider]]\nname = 'ses'\nkind = 'ses'\nregion = 'eu-west-1'\nuser = 'AKID'\napi_key_file = '{0}'\n\
         [[provider]]\nname = 'relay'\nkind = 'smtp'\nurl = 'smtp://127.0.0.1:2525'\n\
         [[pool]]\nname = 'mail'\nproviders = ['mailgun', 'ses', 'relay']\n{rest}\n",
        key.path().display()
    )
}

#[test]
fn a_pool_is_read_with_its_providers() {
    let key = key();
    let read = settings(&text(
        &key,
        "",
        "weights = { mailgun = '90%', ses = '10%' }",
    ));
    let urls: Vec<&str> = read
        .providers
        .iter()
        .map(|provider| provider.url.as_str())
        .collect();
    assert_eq!(
        urls,
        [
            "https://api.mailgun.net",
            "https://email.eu-west-1.amazonaws.com",
            "smtp://127.0.0.1:2525"
        ]
    );
    assert_eq!(read.providers[2].kind, Kind::Smtp);
    let weights: Vec<u32> = read.pools[0]
        .members
        .iter()
        .map(|member| member.weight)
        .collect();
    assert_eq!(
        (weights, read.pools[0].mail),
        (vec![90_000, 10_000, 0], true)
    );
    assert_eq!(read.queues[0].target, TargetSettings::Pool("mail".into()));
    let credential = read.providers[0].credential.as_ref().unwrap();
    assert_eq!(credential.read().unwrap().expose(), "canary");
    assert!(!format!("{read:?}").contains("canary"));
}

#[test]
fn a_mail_that_may_have_been_sent_is_parked_unless_somebody_says_otherwise() {
    let key = key();
    let unknown = |queue: &str| settings(&text(&key, queue, "")).queues[0].on_unknown;
    assert_eq!(unknown(""), OnUnknown::Park);
    assert_eq!(unknown("on_unknown = 'retry'"), OnUnknown::Retry);
    assert_eq!(unknown("on_unknown = 'failover'"), OnUnknown::Failover);
}

/// What these lines, below a pool that is fine, are refused with.
fn refused(rest: &str, expected: &str) {
    let problems = with(&text(&key(), "", rest), &[])
        .map(drop)
        .expect_err(rest)
        .to_string();
    assert!(problems.contains(expected), "{rest}\n{problems}");
    assert!(!problems.contains("canary"), "{problems}");
}

#[test]
fn a_pool_that_cannot_work_is_refused_with_its_cure() {
    refused(
        "[[pool]]\nname = 'two'\nproviders = ['mailgum']",
        "did you mean `mailgun`?",
    );
    refused(
        "[[pool]]\nname = 'two'\nproviders = []",
        "name at least one",
    );
    refused(
        "[[pool]]\nname = 'mail'\nproviders = ['ses']",
        "two pools of the name",
    );
    refused("weights = { sendgrid = '10%' }", "none of its providers");
}

#[test]
fn who_is_told_results_is_a_queue_or_a_webhook() {
    let of = |rest: &str| {
        let variables = [("HOOK", "https://hooks.example/canary")];
        let read =
            with(&text(&key(), "", rest), &variables).unwrap_or_else(|why| panic!("{rest}: {why}"));
        assert!(
            !format!("{read:?}").contains("hooks.example/canary"),
            "{rest}"
        );
        (
            read.pools[0].results.clone(),
            read.queues[0].results_queue.clone(),
        )
    };
    assert_eq!(of(""), (None, None));
    let (results, queue) = of("results = { queue = 'mail.results' }");
    assert_eq!(
        (results, queue.as_deref()),
        (
            Some(Results::Queue("mail.results".into())),
            Some("mail.results")
        )
    );
    let (results, queue) = of("results = { url_env = 'HOOK' }");
    let Some(Results::Webhook(hook)) = results else {
        panic!("{results:?}");
    };
    assert_eq!((hook.host.as_str(), queue), ("hooks.example", None));
    refused(
        "results = { queue = 'a', url = 'https://h' }",
        "names a queue and a URL",
    );
    refused(
        "results = { url = 'https://u:canary@h' }",
        "user or password",
    );
    refused("results = { queue = 'a b' }", "a b");
    refused(
        "[[provider]]\nname = 'x'\nkind = 'http'\nurl = 'https://x'\n[[pool]]\nname = 'two'\nproviders = ['x']\nsuppress = 'no-mail'",
        "none of its providers sends mail",
    );
}

#[test]
fn a_provider_that_cannot_work_is_refused_with_its_cure() {
    let key = key();
    let path = key.path().display().to_string();
    refused(
        "[[provider]]\nname = 'ses'\nkind = 'http'\nurl = 'https://x'",
        "two providers of the name",
    );
    refused(
        "[[provider]]\nname = 'auto'\nkind = 'http'\nurl = 'https://x'",
        "meaning of its own",
    );
    refused(
        "[[provider]]\nname = 'a=b'\nkind = 'http'\nurl = 'https://x'",
        "cannot name a provider",
    );
    refused(
        "[[provider]]\nname = 'x'\nkind = 'http'",
        "`provider.x.url` is missing",
    );
    refused(
        "[[provider]]\nname = 'x'\nkind = 'http'\nurl = 'http://elsewhere'",
        "plain http to another machine",
    );
    refused(
        "[[provider]]\nname = 'x'\nkind = 'http'\nurl = 'https://u:canary@elsewhere'",
        "may not hold user or password",
    );
    refused(
        "[[provider]]\nname = 'x'\nkind = 'smtp'\nurl = 'https://elsewhere'",
        "smtp:// or smtps://",
    );
    refused("[[provider]]\nname = 'x'\nkind = 'sendgrid'", "has no key");
    refused(
        &format!("[[provider]]\nname = 'x'\nkind = 'mailgun'\napi_key_file = '{path}'"),
        "`provider.x.domain` is missing",
    );
    refused(
        "[[provider]]\nname = 'x'\nkind = 'sendgrid'\napi_key_file = '/nowhere'",
        "cannot be read",
    );
    refused(
        "[[provider]]\nname = 'x'\nkind = 'http'\nurl = 'https://x'\n[[provider.answer]]\nstatus = '42'\nmeans = 'done'",
        "is no status",
    );
    refused(
        "[[provider]]\nname = 'x'\nkind = 'http'\nurl = 'https://x'\n[[provider.answer]]\nstatus = '200'\nis = 'x'\nmeans = 'done'",
        "found nowhere",
    );
    let unknown = text(&key, "", "").replace("pool = 'mail'", "pool = 'mial'");
    let problems = with(&unknown, &[])
        .map(drop)
        .expect_err("a pool that is not there")
        .to_string();
    assert!(problems.contains("did you mean `mail`?"), "{problems}");
}

#[test]
fn the_example_reads() {
    let text = include_str!("../../../examples/mail/sluicegate.toml");
    let keys = [
        "MAILGUN_KEY",
        "SENDGRID_KEY",
        "SES_SECRET_KEY",
        "POSTMARK_TOKEN",
    ];
    let read = with(text, &keys.map(|name| (name, "canary")))
        .unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(read.pools[0].members.len(), 5);
}
