//! Many real messages and one valve: whom a rule is for, and how many a share takes, counted one by one.

use std::collections::BTreeMap;

use serde_json::json;

use crate::broker::Broker;
use crate::daemon::command;
use crate::ledger::{Kind, Message};
use crate::scene::{QUEUE, Scene, secs};

const ACCOUNTS: usize = 50;
const EACH: usize = 200;
const BY_ACCOUNT: &str =
    "slots = 32\nkey = \"account\"\n[queue.attributes]\naccount = \"header:x-account\"";

fn account(number: usize) -> String {
    format!("account-{}", number % ACCOUNTS)
}

#[test]
fn one_account_is_rejected_and_every_other_is_untouched() {
    let scene = Scene::set(Broker::shared(), "one-account", Kind::Quorum);
    let daemon = scene.daemon(BY_ACCOUNT);
    let (flag, url) = (format!("queue.{QUEUE}.degrade"), daemon.url());
    let rule = [
        "flag",
        "rule",
        "add",
        &flag,
        "flood",
        "--when",
        "account=account-17",
        "--value",
        "reject",
        "--keep",
        "--reason",
        "INC-482",
        "--yes",
        "--url",
        &url,
    ];
    let (status, said, complaint) = command(&rule);
    assert_eq!(status, Some(0), "{said}{complaint}");
    let messages: Vec<Message> = (0..ACCOUNTS * EACH)
        .map(|number| Message::new(format!("job-{number}")).text("x-account", &account(number)))
        .collect();
    scene.publish(&messages);
    let settled = scene.settles(&daemon, secs(120));
    let all = (ACCOUNTS * EACH) as u64;
    assert_eq!(
        settled.of_queue("messages_received_total", QUEUE) as u64,
        all
    );
    assert_eq!(settled.settled(QUEUE, "rejected"), EACH as u64);
    assert_eq!(settled.settled(QUEUE, "done"), all - EACH as u64);
    let mut worked: BTreeMap<String, usize> = BTreeMap::new();
    for job in scene.worker.got() {
        let of = job.header("sluicegate-account").unwrap_or_default();
        *worked.entry(of.to_owned()).or_default() += 1;
        assert_eq!(job.header("sluicegate-degrade"), None, "{}", job.id);
    }
    let others = (0..ACCOUNTS).filter(|number| *number != 17);
    let awaited = others.map(|number| (account(number), EACH)).collect();
    assert_eq!(worked, awaited);
    let found = scene.nothing_lost(daemon);
    assert_eq!((found.repeated(), found.dead.len()), (0, EACH));
    for dead in &found.dead {
        assert_eq!(dead.said("x-account").as_deref(), Some("account-17"));
        assert_eq!(
            dead.said("x-sluicegate-reason").as_deref(),
            Some("rejected")
        );
    }
}

/// One draw of 100,000 lots at 25 % strays by 0.14 points (one standard deviation). Lots are drawn by the id and the flag's key,
/// so these ids always stray the same; that others do not stray further together is a law of `rules::lots`.
#[test]
fn a_quarter_of_a_hundred_thousand_messages_is_skipped() {
    const COUNT: usize = 100_000;
    let scene = Scene::set(Broker::shared(), "a-quarter", Kind::Classic);
    let daemon = scene.daemon("slots = 32\nprefetch = 500\non_skip = \"park\"");
    let flag = format!("queue.{QUEUE}.skip");
    daemon.set(&flag, json!("25%"));
    scene.publish_many("job", COUNT);
    let settled = scene.settles(&daemon, secs(400));
    let (skipped, done) = (
        settled.settled(QUEUE, "skipped"),
        settled.settled(QUEUE, "done"),
    );
    assert_eq!(skipped + done, COUNT as u64);
    let points = (skipped as f64 / COUNT as f64 - 0.25).abs() * 100.0;
    assert!(
        points <= 0.2,
        "{skipped} of {COUNT} were skipped: {points} points off"
    );
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.parked.len() as u64, skipped);
    assert_eq!((found.worked.len() as u64, found.repeated()), (done, 0));
    let both = found
        .parked
        .iter()
        .filter(|parked| found.worked.contains_key(&parked.id));
    assert_eq!(both.count(), 0, "skipped and done");
}
