//! Flags and contexts that proptest makes up, for laws that hold for all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::clause::ClauseDocument;
use super::facts::Source;
use super::flag::{Flag, FlagDocument, RuleDocument, ShareDocument};
use super::lots::Bucketing;
use super::names::FlagKey;
use super::opening::{Opening, OpeningId, Restore};
use super::segment::Segment;
use super::snapshot::{GatedQueue, Snapshot, Stored};
use super::valve::Valve;

/// What contexts may tell.
pub(super) const NAMES: [&str; 4] = ["account", "type", "header.x-plan", "id"];
const OPS: [&str; 5] = ["in", "not_in", "starts_with", "ends_with", "contains"];
const BUCKETINGS: [Bucketing; 4] = [
    Bucketing::Sluicegate,
    Bucketing::Flagd,
    Bucketing::Unleash,
    Bucketing::Rollout,
];
const TEXTS: [&str; 6] = ["a", "b", "ab", "1", "2", "10"];

/// What is told: of each name a text, or nothing.
pub(super) fn given() -> impl Strategy<Value = Vec<(String, String)>> {
    let one = option::weighted(0.8, prop::sample::select(&TEXTS[..]));
    vec(one, NAMES.len()).prop_map(|texts| {
        let told = NAMES.into_iter().zip(texts);
        told.filter_map(|(name, text)| Some((name.to_owned(), text?.to_owned())))
            .collect()
    })
}

fn clause() -> impl Strategy<Value = ClauseDocument> {
    let values = || vec(prop::sample::select(&TEXTS[..]), 1..3);
    let texts = (prop::sample::select(&OPS[..]), values())
        .prop_map(|(op, values)| json!({"op": op, "values": values}));
    let numbers = (
        prop::sample::select(&["eq", "ne", "lt", "ge"][..]),
        0..11_u32,
    )
        .prop_map(|(op, value)| json!({"op": op, "values": [value]}));
    let exists = any::<bool>().prop_map(|there| json!({"op": "exists", "values": [there]}));
    let attribute = (
        prop::sample::select(&NAMES[..]),
        prop_oneof![4 => texts, 2 => numbers, 1 => exists],
    )
        .prop_map(|(name, mut clause)| {
            clause["attribute"] = name.into();
            clause
        });
    let segment = prop::sample::select(&["in", "not_in"][..])
        .prop_map(|op| json!({"segment": "beta", "op": op}));
    prop_oneof![5 => attribute, 1 => segment]
        .prop_map(|clause| serde_json::from_value(clause).unwrap())
}

fn gives(values: &'static [&'static str]) -> impl Strategy<Value = RuleDocument> {
    let value =
        || prop::sample::select(values).prop_map(|text| serde_json::from_str(text).unwrap());
    let one = value().prop_map(|value: Json| RuleDocument {
        value: Some(value),
        ..RuleDocument::default()
    });
    let share = (value(), 0.0..0.5).prop_map(|(value, share)| ShareDocument { value, share });
    let by = option::of(prop::sample::select(&NAMES[..]));
    let split = (vec(share, 1..3), by).prop_map(|(split, by)| RuleDocument {
        by: by.map(str::to_owned),
        split,
        ..RuleDocument::default()
    });
    prop_oneof![one, split]
}

fn rules(values: &'static [&'static str]) -> impl Strategy<Value = Vec<RuleDocument>> {
    let rule = (vec(clause(), 0..3), gives(values));
    vec(rule, 0..4).prop_map(|rules| {
        let named = rules.into_iter().enumerate();
        named
            .map(|(number, (when, rule))| RuleDocument {
                name: format!("r{number}"),
                when,
                ..rule
            })
            .collect()
    })
}

/// A flag with any value, any rules, enabled or not.
fn flag(base: FlagDocument, values: &'static [&'static str]) -> impl Strategy<Value = Flag> {
    (
        prop::sample::select(values),
        rules(values),
        prop::bool::weighted(0.9),
        option::of(prop::sample::select(&NAMES[..])),
        (
            prop::sample::select(&BUCKETINGS[..]),
            option::of(prop::sample::select(&TEXTS[..])),
        ),
    )
        .prop_map(move |(value, rules, enabled, by, (bucketing, seed))| {
            let document = FlagDocument {
                value: serde_json::from_str(value).unwrap(),
                rules,
                enabled,
                by: by.map(str::to_owned),
                bucketing,
                seed: seed.map(str::to_owned),
                ..base.clone()
            };
            Flag::try_from(document).unwrap()
        })
}

fn laid(key: FlagKey, values: &'static [&'static str]) -> impl Strategy<Value = Vec<Opening>> {
    let opening = (
        prop::sample::select(values),
        vec(clause(), 0..3),
        1..1_000_000_u64,
    );
    vec(opening, 0..2).prop_map(move |openings| {
        let all = openings.into_iter();
        all.map(|(value, when, id)| Opening {
            id: OpeningId(id),
            values: vec![(key.clone(), serde_json::from_str(value).unwrap())],
            when,
            owner: "ana".to_owned(),
            reason: "x".to_owned(),
            opened_at_ms: 0,
            ends_at_ms: 1,
            restore: Restore::Snap,
            strength: 1.0,
            beneath: false,
            until: None,
            extended: false,
        })
        .collect()
    })
}

/// The flag of services in [`any_flags`].
pub(super) const COLOUR: &str = "colour";
const VALVES: [(Valve, &[&str]); 4] = [
    (Valve::MaxAge, &["null", "\"10s\"", "\"30s\""]),
    (Valve::Degrade, &["\"none\"", "\"reject\"", "\"light\""]),
    (Valve::Skip, &["0.0", "0.25", "1.0"]),
    (Valve::Protect, &["false", "true"]),
];

/// The queue `orders`, whose file finds `account` in a header.
pub(super) fn orders() -> GatedQueue {
    let account = Source::Header("x-account".to_owned());
    GatedQueue {
        modes: vec!["light".to_owned()],
        attributes: BTreeMap::from([(Arc::from("account"), account)]),
        ..GatedQueue::named("orders".parse().unwrap())
    }
}

/// Any flags: the valves of `orders` and [`COLOUR`], a segment `beta`, and openings.
pub(super) fn any_flags() -> impl Strategy<Value = Snapshot> {
    let queue = orders();
    let mut all = Vec::new();
    for (valve, values) in VALVES {
        let base = Flag::neutral_valve(&queue.name, valve, &queue.modes);
        let laid = laid(base.key.clone(), values);
        all.push((flag(base.document(), values), laid).boxed());
    }
    let base = json!({"key": COLOUR, "kind": "config", "type": "string", "value": "red"});
    let colours = &["\"red\"", "\"blue\"", "\"green\""];
    let colour = flag(serde_json::from_value(base).unwrap(), colours);
    all.push((colour, laid(COLOUR.parse().unwrap(), colours)).boxed());
    (all, vec(prop::sample::select(&TEXTS[..]), 0..3)).prop_map(|(all, members)| {
        let beta = json!({"name": "beta", "members": members,
            "when": [{"attribute": "type", "op": "in", "values": ["ab"]}]});
        let beta = serde_json::from_value::<super::segment::SegmentDocument>(beta).unwrap();
        let (flags, openings): (Vec<Flag>, Vec<Vec<Opening>>) = all.into_iter().unzip();
        let stored = Stored {
            revision: 7,
            flags,
            segments: vec![Segment::try_from(beta).unwrap()],
            openings: openings.into_iter().flatten().collect(),
            ..Stored::default()
        };
        Snapshot::of(vec![orders()], stored)
    })
}
