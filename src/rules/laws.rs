//! What the rules promise together, for whatever flags, messages and keys.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::chain;
use super::change::{Actor, Change, Edit};
use super::context::Attribute;
use super::explain::{explain, words};
use super::facts::{Facts, Reading};
use super::flag::{Flag, FlagDocument, ShareDocument};
use super::gate::decide;
use super::lots::Bucketing;
use super::made_up::{any_flags, given, orders};
use super::message::{Field, Raw};
use super::preview::{LEAST, effect};
use super::sample::Sample;
use super::snapshot::{Snapshot, Stored};
use super::valve::Valve;
use super::verdict::{Verdict, Why};

/// A message of `orders` that carries what is given.
fn carrying(given: &[(String, String)]) -> Raw {
    let given: BTreeMap<&str, &String> = given.iter().map(|(name, text)| (&**name, text)).collect();
    let header = |name: &str, told: &str| {
        let text = given.get(told)?.as_bytes().to_vec();
        Some((name.to_owned(), Field::LongString(text)))
    };
    let mut raw = Raw {
        headers: [
            header("x-account", "account"),
            header("x-plan", "header.x-plan"),
        ]
        .into_iter()
        .flatten()
        .collect(),
        body: b"{}".as_slice().into(),
        ..Raw::default()
    };
    raw.properties.kind = given.get("type").map(|text| (*text).clone());
    raw.properties.message_id = given.get("id").map(|text| (*text).clone());
    raw
}

fn read(snapshot: &Snapshot, raw: &Raw) -> Facts {
    let reading = Reading {
        attributes: orders().attributes,
        max_body: 1_000,
        ..Reading::default()
    };
    reading
        .read(raw, &snapshot.gate("orders").unwrap().asks)
        .unwrap()
}

/// A message without an id has the hash of its body for one; who asks otherwise has to be told it.
fn with_id(given: Vec<(String, String)>, facts: &Facts) -> Vec<(String, String)> {
    let mut given = given;
    if given.iter().all(|(name, _)| name != "id") {
        given.push(("id".to_owned(), facts.id.to_string()));
    }
    given
}

fn told(snapshot: &Snapshot, given: &[(String, String)]) -> Vec<Option<Attribute>> {
    let told = given
        .iter()
        .map(|(name, text)| (&**name, Attribute::of(text)));
    snapshot.context(told)
}

/// One flag with one split, drawn by `account`.
fn splitting(key: &str, bucketing: Bucketing, seed: Option<&str>, shares: &[f64]) -> Snapshot {
    let values = ["blue", "green", "grey"];
    let split = shares
        .iter()
        .zip(values)
        .map(|(share, value)| ShareDocument {
            value: value.into(),
            share: *share,
        });
    let rule = json!({"name": "ring", "split": split.collect::<Vec<_>>()});
    let base =
        json!({"key": key, "kind": "release", "type": "string", "value": "red", "rules": [rule]});
    let document = FlagDocument {
        bucketing,
        seed: seed.map(str::to_owned),
        ..serde_json::from_value(base).unwrap()
    };
    let stored = Stored {
        flags: vec![Flag::try_from(document).unwrap()],
        ..Stored::default()
    };
    Snapshot::of(Vec::new(), stored)
}

fn answer(snapshot: &Snapshot, key: &str, account: &str) -> Json {
    let context = snapshot.context([("account", Attribute::of(account))]);
    let handle = snapshot.handle(key).unwrap();
    snapshot.ask(handle, &*context).unwrap().value.to_json()
}

fn turned(edit: Edit) -> Change {
    let change = Change::new(edit, Actor::new("ana", "api"), "a law", 0);
    Change {
        keep: true,
        ..change
    }
}

/// `orders` rejects whoever belongs to the segment `beta`, which is empty.
fn rejecting_a_segment() -> Snapshot {
    let start = Snapshot::of(vec![orders()], Stored::default());
    let segment = json!({"name": "beta", "by": "account", "members": []});
    let segment = Box::new(serde_json::from_value(segment).unwrap());
    let start = start.with(&turned(Edit::PutSegment(segment))).unwrap();
    let valve = start.flag("queue.orders.degrade").unwrap().document();
    let rules = json!([{"name": "beta", "when": [{"segment": "beta"}], "value": "reject"}]);
    let document = FlagDocument {
        rules: serde_json::from_value(rules).unwrap(),
        ..valve.clone()
    };
    let edit = Edit::Replace(Box::new(document));
    start.with(&turned(edit)).unwrap()
}

fn any_bucketing() -> impl Strategy<Value = Bucketing> {
    prop::sample::select(
        &[
            Bucketing::Sluicegate,
            Bucketing::Flagd,
            Bucketing::Unleash,
            Bucketing::Rollout,
        ][..],
    )
}

proptest! {
    /// What a service is told of a flag is what a message meets, what `explain` says of both, and what preview counts.
    #[test]
    fn all_who_ask_get_one_answer(snapshot in any_flags(), given in given()) {
        let before = Snapshot::of(vec![orders()], Stored::default());
        let raw = carrying(&given);
        let facts = read(&snapshot, &raw);
        let given = with_id(given, &facts);
        let context = told(&snapshot, &given);
        let gate = snapshot.gate("orders").unwrap();
        let samples: Vec<Sample> = (0..LEAST).map(|_| Sample::of(&read(&before, &raw), &raw, 0, 1)).collect();
        let verdict = decide(gate, &facts, 0);
        let chain = chain::explain(&snapshot, "orders", chain::Message { facts: &facts, has_id: true, now_ms: 0, auto: None }).unwrap();
        for valve in [Valve::MaxAge, Valve::Degrade, Valve::Protect, Valve::Skip] {
            let key = format!("queue.orders.{}", valve.name());
            let asked = snapshot.ask(snapshot.handle(&key).unwrap(), &*context).unwrap();
            let reason = words(snapshot.choice(&key).unwrap(), asked.reason);
            let to_service = (asked.value.to_json(), reason);
            let explained = explain(&snapshot, &key, &*context).unwrap();
            prop_assert_eq!(&(explained.value, explained.reason), &to_service);
            let links = chain.links.iter().filter_map(|link| link.says.as_ref());
            for link in links.filter(|says| says.flag == key) {
                prop_assert_eq!(&(link.value.clone(), link.reason.clone()), &to_service);
            }
            let foretold = effect(before.gate("orders").unwrap(), gate, valve, samples.iter()).unwrap();
            let said = foretold.values.iter().find(|said| said.count.after.messages == LEAST).unwrap();
            let plain = match &to_service.0 {
                Json::Null => "none".to_owned(),
                Json::String(text) => text.clone(),
                Json::Number(share) => super::units::Ratio::try_from(share.as_f64().unwrap()).unwrap().to_string(),
                other => other.to_string(),
            };
            prop_assert_eq!(&said.value, &plain);
            let after = foretold.verdicts.iter().find(|tally| tally.count.after.messages == LEAST).unwrap();
            let decided = match &verdict {
                Verdict::Run => ("run", None),
                Verdict::Shed { why, .. } => ("shed", Some(why.word())),
                Verdict::NotYet(_) => ("wait", Some(Why::NotYet.word())),
            };
            prop_assert_eq!((after.verdict, after.reason), decided);
        }
    }

    /// Who is in a share stays in it when it grows, whoever's formula draws; who got a value from a split still gets one.
    #[test]
    fn raising_a_share_keeps_who_is_in(
        bucketing in any_bucketing(), seed in proptest::option::of("[a-z]{1,8}"), account in "[a-z0-9@.-]{0,20}",
        first in 0.0..=0.5, more in 0.0..=0.3, second in 0.0..=0.2,
    ) {
        let key = "shop.checkout.12";
        let low = splitting(key, bucketing, seed.as_deref(), &[first, second]);
        let high = splitting(key, bucketing, seed.as_deref(), &[first + more, second]);
        let (before, after) = (answer(&low, key, &account), answer(&high, key, &account));
        prop_assert!(before != "blue" || after == "blue", "{before} became {after}");
        prop_assert!(before == "red" || after != "red", "{before} fell out");
    }

    /// A gate obeys at once who came to a segment or left it: it sheds those who belong to it now, and nobody else.
    #[test]
    fn a_gate_obeys_whoever_comes_and_leaves(moves in prop::collection::vec((any::<bool>(), 0..6_usize), 1..20)) {
        let names = ["a", "b", "c", "d", "e", "f"];
        let mut snapshot = rejecting_a_segment();
        let mut members = std::collections::BTreeSet::new();
        for (comes, number) in moves {
            let name = vec![names[number].to_owned()];
            let (add, remove) = if comes {
                members.insert(number);
                (name, Vec::new())
            } else {
                members.remove(&number);
                (Vec::new(), name)
            };
            let edit = Edit::Members { segment: "beta".parse().unwrap(), add, remove };
            // A change that changes nothing may be refused.
            snapshot = snapshot.with(&turned(edit)).unwrap_or(snapshot);
            for (number, account) in names.iter().enumerate() {
                let facts = read(&snapshot, &carrying(&[("account".to_owned(), (*account).to_owned())]));
                let sheds = matches!(decide(snapshot.gate("orders").unwrap(), &facts, 0), Verdict::Shed { why: Why::Rejected, .. });
                prop_assert_eq!(sheds, members.contains(&number), "{} after {:?}", account, members);
            }
        }
    }
}

proptest! {
    // Each case asks for a thousand accounts.
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Flags draw apart, unless they name one seed: then they draw alike.
    #[test]
    fn flags_are_independent(
        (one, other) in ("[a-z]{1,6}[.][a-z]{1,6}", "[a-z]{1,6}[.][a-z]{1,6}").prop_filter("two", |(one, other)| one != other),
        bucketing in prop::sample::select(&[Bucketing::Sluicegate, Bucketing::Flagd, Bucketing::Unleash][..]),
    ) {
        let split = |key: &str, seed| splitting(key, bucketing, seed, &[0.5]);
        let (a, b) = (split(&one, None), split(&other, None));
        let (alike_a, alike_b) = (split(&one, Some("ring")), split(&other, Some("ring")));
        let mut both = 0;
        for number in 0..1_000 {
            let account = format!("account-{number}");
            both += u32::from(answer(&a, &one, &account) == "blue" && answer(&b, &other, &account) == "blue");
            prop_assert_eq!(answer(&alike_a, &one, &account), answer(&alike_b, &other, &account));
        }
        // A quarter of 1,000, give or take seven times its deviation.
        prop_assert!((155..=345).contains(&both), "{one} {other}: {both}");
    }
}

/// The Rollout gem's trap, kept for who migrates: all its flags share the same early cohort, unless they name a seed.
#[test]
fn the_flags_of_the_rollout_gem_share_their_cohort() {
    let split = |key: &str| splitting(key, Bucketing::Rollout, None, &[0.2]);
    let (chat, mail) = (split("chat.new"), split("mail.new"));
    for id in 0..1_000 {
        let id = id.to_string();
        assert_eq!(
            answer(&chat, "chat.new", &id),
            answer(&mail, "mail.new", &id),
            "{id}"
        );
    }
}
