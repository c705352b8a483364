//! The flags that are asked for, the accounts that ask, and what is known of them.

use std::hint::black_box;

use anyhow::Result;
use serde_json::json;
use sluicegate::rules::context::Attribute;
use sluicegate::rules::flag::{Flag, FlagDocument, Value};
use sluicegate::rules::segment::{Segment, SegmentDocument};
use sluicegate::rules::snapshot::{GatedQueue, Handle, Snapshot, Stored};

/// Accounts that ask in turn, so that no branch is learned by heart.
pub(crate) const ASKING: usize = 4_096;
/// Flags that are loaded.
pub(crate) const FLAGS: usize = 1_000;

pub(crate) fn keys(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("shop.checkout.{number}"))
        .collect()
}

pub(crate) fn accounts(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("account-{number:06}"))
        .collect()
}

/// Three rules that look at `plan`, `country` and `app`, then a share of accounts, or the segment `targeted`.
fn flag(key: &str, targeted: bool) -> Result<Flag> {
    let last = match targeted {
        true => json!({"name": "targeted", "when": [{"segment": "targeted"}], "value": true}),
        false => json!({"name": "ring", "split": [{"value": true, "share": 0.25}]}),
    };
    let document: FlagDocument = serde_json::from_value(json!({
        "key": key, "kind": "release", "type": "boolean", "value": false, "rules": [
            {"name": "plans", "value": true, "when": [{"attribute": "plan", "op": "in", "values": ["free", "trial", "demo"]}]},
            {"name": "countries", "value": true, "when": [{"attribute": "country", "op": "in", "values": ["se", "dk"]}]},
            {"name": "bulk", "value": true, "when": [{"attribute": "app", "op": "starts_with", "values": ["bulk."]}]},
            last]}))?;
    Ok(Flag::try_from(document)?)
}

pub(crate) fn snapshot(flags: usize, members: &[String]) -> Result<Snapshot> {
    let mut stored = Stored::default();
    for key in keys(flags) {
        stored.flags.push(flag(&key, false)?);
    }
    if !members.is_empty() {
        let segment = SegmentDocument {
            members: members.to_vec(),
            ..serde_json::from_value(json!({"name": "targeted"}))?
        };
        stored.segments.push(Segment::try_from(segment)?);
        stored.flags.push(flag("targeted", true)?);
    }
    Ok(Snapshot::of(
        vec![GatedQueue::named("orders".parse()?)],
        stored,
    ))
}

pub(crate) fn told(account: &str) -> [(&'static str, Attribute); 4] {
    [
        ("account", account),
        ("plan", "gold"),
        ("country", "no"),
        ("app", "shop.web"),
    ]
    .map(|(name, text)| (name, Attribute::of(text)))
}

pub(crate) type Known = Vec<Option<Attribute>>;

pub(crate) fn known(snapshot: &Snapshot, accounts: &[String]) -> Vec<Known> {
    accounts
        .iter()
        .map(|account| snapshot.context(told(account)))
        .collect()
}

pub(crate) fn ours(snapshot: &Snapshot, handle: Handle, known: &[Known], number: u64) -> bool {
    let context = &*known[number as usize % known.len()];
    let chosen = snapshot.ask(handle, black_box(context));
    chosen.is_some_and(|chosen| *chosen.value == Value::Boolean(true))
}
