//! A snapshot: all flags at one revision, compiled and immutable.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::change::{Change, Edit, Refused};
use super::flag::{Flag, Value};
use super::gate::Gate;
use super::names::{FlagKey, QueueName};
use super::opening::{LONGEST, MOST_ON_ONE_FLAG, Opening, OpeningId};
use super::units::Rate;
use super::valve::Valve;

/// The most flags that a store holds.
pub const MOST_FLAGS: usize = 2_000;
/// The longest reason, in bytes.
pub const LONGEST_REASON: usize = 1_024;

/// A queue whose valves are flags from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatedQueue {
    /// Its name.
    pub name: QueueName,
    /// The modes that `degrade` may name.
    pub modes: Vec<String>,
}

/// All flags at one revision.
#[derive(Debug, Clone)]
pub struct Snapshot {
    revision: u64,
    flags: BTreeMap<FlagKey, Arc<Flag>>,
    openings: BTreeMap<OpeningId, Arc<Opening>>,
    queues: Vec<GatedQueue>,
    gates: BTreeMap<QueueName, Arc<Gate>>,
}

impl Snapshot {
    /// The snapshot of what a store holds. Valves that the store does not know stand at their neutral value; a stored valve
    /// keeps its value, owner and runbook, and takes its bounds, choices and help from this version.
    #[must_use]
    pub fn of(
        queues: Vec<GatedQueue>,
        revision: u64,
        stored: Vec<Flag>,
        openings: Vec<Opening>,
    ) -> Self {
        let mut flags: BTreeMap<FlagKey, Arc<Flag>> = stored
            .into_iter()
            .map(|flag| (flag.key.clone(), Arc::new(flag)))
            .collect();
        for queue in &queues {
            for valve in Valve::ALL {
                let neutral = Flag::neutral_valve(&queue.name, valve, &queue.modes);
                let kept = flags
                    .get(&neutral.key)
                    .and_then(|old| neutral.taking_over(old).ok());
                flags.insert(neutral.key.clone(), Arc::new(kept.unwrap_or(neutral)));
            }
        }
        let openings = openings
            .into_iter()
            .map(|opening| (opening.id, Arc::new(opening)))
            .collect();
        Self {
            revision,
            flags,
            openings,
            queues,
            gates: BTreeMap::new(),
        }
        .compiled()
    }

    /// The revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All flags, by key.
    pub fn flags(&self) -> impl Iterator<Item = &Arc<Flag>> {
        self.flags.values()
    }

    /// One flag, without what is laid over it.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<&Arc<Flag>> {
        self.flags.get(key)
    }

    /// All openings in force, oldest first.
    pub fn openings(&self) -> impl Iterator<Item = &Arc<Opening>> {
        self.openings.values()
    }

    /// One opening.
    #[must_use]
    pub fn opening(&self, id: OpeningId) -> Option<&Arc<Opening>> {
        self.openings.get(&id)
    }

    /// The openings that lie on a flag, oldest first: the last one wins.
    pub fn openings_on<'a>(
        &'a self,
        key: &'a str,
    ) -> impl DoubleEndedIterator<Item = &'a Arc<Opening>> {
        self.openings
            .values()
            .filter(move |opening| opening.values.iter().any(|(on, _)| on.as_str() == key))
    }

    /// What a flag says now, and the opening it comes from.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<(Value, Option<OpeningId>)> {
        let flag = self.flags.get(key)?;
        let laid = self.openings_on(key).next_back().and_then(|opening| {
            let json = &opening.values.iter().find(|(on, _)| on.as_str() == key)?.1;
            Some((flag.read(json).ok()?, Some(opening.id)))
        });
        Some(laid.unwrap_or_else(|| (flag.value.clone(), None)))
    }

    /// The gate of a queue.
    #[must_use]
    pub fn gate(&self, queue: &str) -> Option<&Arc<Gate>> {
        self.gates.get(queue)
    }

    /// The queues whose valves these flags are.
    #[must_use]
    pub fn queues(&self) -> &[GatedQueue] {
        &self.queues
    }

    /// The snapshot after a change; the change is checked as a whole.
    ///
    /// # Errors
    /// See [`Refused`]; the snapshot itself is never touched.
    pub fn with(&self, change: &Change) -> Result<Self, Refused> {
        if change.reason.trim().is_empty() {
            return Err(Refused::Incomplete(
                "a reason is missing; say why, such as \"INC-481\" (in a terminal: --reason)",
            ));
        }
        if change.reason.len() > LONGEST_REASON {
            return Err(Refused::Limit(format!(
                "a reason has at most {LONGEST_REASON} bytes; put the rest behind a link"
            )));
        }
        let mut next = self.clone();
        next.revision += 1;
        match &change.edit {
            Edit::Create(document) => next.create(document)?,
            Edit::Replace(document) => next.replace(document, change)?,
            Edit::Set(key, value) => {
                let flag = self.found(key.as_str(), change.seen)?;
                next.flags.insert(
                    key.clone(),
                    Arc::new(flag.with_value(value, next.revision)?),
                );
            }
            Edit::Open {
                values,
                ends_at_ms,
                restore,
            } => {
                let opening = Opening {
                    id: OpeningId(next.revision),
                    values: values.clone(),
                    owner: change.by.name.clone(),
                    reason: change.reason.clone(),
                    opened_at_ms: change.at_ms,
                    ends_at_ms: *ends_at_ms,
                    restore: *restore,
                };
                next.open(opening)?;
            }
            Edit::Close(id) => {
                next.openings.remove(id).ok_or(Refused::NoOpening(*id))?;
            }
        }
        let next = next.compiled();
        self.confirm_size(&next, change)?;
        Ok(next)
    }

    fn found(&self, key: &str, seen: Option<u64>) -> Result<&Arc<Flag>, Refused> {
        let flag = self
            .flags
            .get(key)
            .ok_or_else(|| Refused::NoFlag(key.to_owned()))?;
        match seen {
            Some(seen) if seen != flag.revision() => Err(Refused::Stale {
                key: flag.key.clone(),
                seen,
                now: flag.revision(),
            }),
            _ => Ok(flag),
        }
    }

    fn create(&mut self, document: &super::flag::FlagDocument) -> Result<(), Refused> {
        let mut document = document.clone();
        document.revision = self.revision;
        let flag = Flag::try_from(document)?;
        if self.flags.contains_key(&flag.key) {
            return Err(Refused::Exists(flag.key));
        }
        if self.flags.len() >= MOST_FLAGS {
            return Err(Refused::Limit(format!(
                "there are {MOST_FLAGS} flags already, which is the most; use one that is there (this version cannot remove flags)"
            )));
        }
        if flag.key.as_str().starts_with("queue.") {
            return Err(Refused::Limit(
                "keys that begin with `queue.` belong to the valves of queues; choose another key"
                    .to_owned(),
            ));
        }
        self.flags.insert(flag.key.clone(), Arc::new(flag));
        Ok(())
    }

    fn replace(
        &mut self,
        document: &super::flag::FlagDocument,
        change: &Change,
    ) -> Result<(), Refused> {
        let old = Arc::clone(self.found(&document.key, change.seen)?);
        if (document.value_type, document.kind) != (old.document().value_type, old.kind()) {
            return Err(Refused::Limit(format!(
                "the type and kind of `{}` never change; create a flag with another key",
                old.key
            )));
        }
        if old.key.as_str().starts_with("queue.") && !old.document().same_frame(document) {
            return Err(Refused::Limit(format!(
                "the bounds, choices and description of the valve `{}` come with the daemon and stay; its owner and runbook are yours",
                old.key
            )));
        }
        let flag = Flag::try_from(super::flag::FlagDocument {
            revision: self.revision,
            ..document.clone()
        })?;
        self.flags.insert(flag.key.clone(), Arc::new(flag));
        Ok(())
    }

    fn open(&mut self, opening: Opening) -> Result<(), Refused> {
        if opening.values.is_empty() {
            return Err(Refused::Incomplete(
                "an opening needs at least one flag with a value",
            ));
        }
        if opening.ends_at_ms <= opening.opened_at_ms {
            return Err(Refused::Limit(
                "an opening ends in the future; give a length such as 30m".to_owned(),
            ));
        }
        if opening.ends_at_ms - opening.opened_at_ms > LONGEST.as_millis() {
            return Err(Refused::Limit(format!(
                "an opening lasts at most {LONGEST}; open it for less, and again if need be"
            )));
        }
        for (key, value) in &opening.values {
            self.found(key.as_str(), None)?.read(value)?;
            if self.openings_on(key.as_str()).count() >= MOST_ON_ONE_FLAG {
                return Err(Refused::Limit(format!(
                    "{MOST_ON_ONE_FLAG} openings lie on `{key}` already; close one first"
                )));
            }
        }
        self.openings.insert(opening.id, Arc::new(opening));
        Ok(())
    }

    fn compiled(mut self) -> Self {
        self.gates = self
            .queues
            .iter()
            .map(|queue| {
                let gate =
                    Gate::compile(&queue.name, self.revision, |key| self.value(key.as_str()));
                (queue.name.clone(), Arc::new(gate))
            })
            .collect();
        self
    }

    /// What a flag says now.
    fn says(&self, key: &FlagKey) -> Option<Value> {
        self.value(key.as_str()).map(|(value, _)| value)
    }

    /// What a flag says without the openings over it.
    fn stands(&self, key: &FlagKey) -> Option<Value> {
        self.flag(key.as_str()).map(|flag| flag.value.clone())
    }

    /// A big move needs its size said by whoever makes it. Ends are never big: what an opening covered was somebody's choice.
    fn confirm_size(&self, next: &Self, change: &Change) -> Result<(), Refused> {
        let keys: Vec<&FlagKey> = match &change.edit {
            Edit::Set(key, _) => vec![key],
            Edit::Open { values, .. } => values.iter().map(|(key, _)| key).collect(),
            Edit::Replace(document) => self
                .flags
                .get_key_value(document.key.as_str())
                .map(|(key, _)| key)
                .into_iter()
                .collect(),
            Edit::Create(_) | Edit::Close(_) => return Ok(()),
        };
        // What the flag says counts, and what it will say once the openings over it have ended.
        let size_of = |key: &FlagKey| {
            let says = size_between(key, self.says(key), next.says(key));
            let will_say = size_between(key, self.stands(key), next.stands(key));
            says.max(will_say)
        };
        // One number is confirmed for the whole change, so it is the largest: else two big moves at once could never be made.
        let largest = keys.into_iter().max_by_key(|key| size_of(key));
        match largest.map(|key| (key, size_of(key))) {
            Some((key, size)) if size > 25 && change.confirm != Some(size) => {
                Err(Refused::ConfirmSize {
                    key: key.clone(),
                    size,
                })
            }
            _ => Ok(()),
        }
    }
}

fn size_between(key: &FlagKey, before: Option<Value>, after: Option<Value>) -> u64 {
    match (before, after) {
        (Some(before), Some(after)) if key.as_str().starts_with("queue.") => {
            size_of_move(key, &before, &after)
        }
        _ => 0,
    }
}

/// How much of a queue a move of one of its valves touches, in percent; 0 where that cannot be said from the values alone.
fn size_of_move(key: &FlagKey, before: &Value, after: &Value) -> u64 {
    let stops = |value: &Value| match value {
        Value::Boolean(paused) => *paused && key.as_str().ends_with(".pause"),
        Value::Text(mode) => mode.as_ref() == "reject",
        Value::Rate(rate) => Rate::is_stop(*rate),
        Value::Integer(count) => *count == 0,
        _ => false,
    };
    match (before, after) {
        (Value::Ratio(before), Value::Ratio(after)) => {
            ((after.get() - before.get()).abs() * 100.0).round() as u64
        }
        _ if stops(after) && !stops(before) => 100,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::rules::change::{Actor, Cause};
    use crate::rules::opening::Restore;

    fn start() -> Snapshot {
        Snapshot::of(
            vec![GatedQueue {
                name: "orders".parse().unwrap(),
                modes: vec![],
            }],
            0,
            vec![],
            vec![],
        )
    }

    fn change(edit: Edit) -> Change {
        let by = Actor {
            name: "ana".into(),
            via: "cli".into(),
        };
        Change {
            edit,
            by,
            reason: "INC-481".into(),
            cause: Cause::Operator,
            seen: None,
            confirm: None,
            at_ms: 1_000,
        }
    }

    fn key(text: &str) -> FlagKey {
        text.parse().unwrap()
    }

    fn open(flag: &str, value: Json) -> Change {
        change(Edit::Open {
            values: vec![(key(flag), value)],
            ends_at_ms: 61_000,
            restore: Restore::Snap,
        })
    }

    fn now(snapshot: &Snapshot, flag: &str) -> Json {
        snapshot.value(flag).unwrap().0.to_json()
    }

    #[test]
    fn an_opening_lies_over_the_value_and_ends_on_what_stands_below() {
        let opened = start()
            .with(&open("queue.orders.skip", json!(0.2)))
            .unwrap();
        assert_eq!(now(&opened, "queue.orders.skip"), json!(0.2));
        let below = opened
            .with(&change(Edit::Set(key("queue.orders.skip"), json!(0.1))))
            .unwrap();
        assert_eq!(
            now(&below, "queue.orders.skip"),
            json!(0.2),
            "the opening still lies over it"
        );
        let closed = below.with(&change(Edit::Close(OpeningId(1)))).unwrap();
        assert_eq!(
            now(&closed, "queue.orders.skip"),
            json!(0.1),
            "what changed meanwhile stands"
        );
    }

    #[test]
    fn the_newest_opening_wins_and_the_older_comes_back() {
        let first = start()
            .with(&open("queue.orders.skip", json!(0.2)))
            .unwrap();
        let second = first.with(&open("queue.orders.skip", json!(0.25))).unwrap();
        assert_eq!(now(&second, "queue.orders.skip"), json!(0.25));
        let closed = second.with(&change(Edit::Close(OpeningId(2)))).unwrap();
        assert_eq!(now(&closed, "queue.orders.skip"), json!(0.2));
    }

    fn check(what: &str, proposed: Change, sentence: &str) {
        let refused = start()
            .with(&proposed)
            .err()
            .map(|why| why.to_string())
            .unwrap_or_default();
        assert!(
            refused.contains(sentence),
            "{what}: {refused:?} should say {sentence:?}"
        );
    }

    #[test]
    fn a_refused_set_says_why_and_what_to_do() {
        let set = |flag: &str, value: Json| change(Edit::Set(key(flag), value));
        let stale = Change {
            seen: Some(7),
            ..set("queue.orders.skip", json!(0.1))
        };
        let unknown = set("queue.order.skip", json!(0.1));
        let stop = set("queue.orders.rate", json!("0/s"));
        check(
            "no such flag",
            unknown,
            "there is no flag `queue.order.skip`",
        );
        check("stale", stale, "you saw revision 7, it stands at 0");
        check("a stop by rate", stop, "\"confirm\": 100");
    }

    #[test]
    fn a_refused_opening_says_why_and_what_to_do() {
        let skip = |value: Json| open("queue.orders.skip", value);
        let ends = |ends_at_ms: i64| {
            change(Edit::Open {
                values: vec![(key("queue.orders.skip"), json!(0.1))],
                ends_at_ms,
                restore: Restore::Snap,
            })
        };
        let unexplained = Change {
            reason: " ".into(),
            ..skip(json!(0.1))
        };
        let empty = change(Edit::Open {
            values: vec![],
            ends_at_ms: 2_000,
            restore: Restore::Snap,
        });
        let unknown = change(Edit::Close(OpeningId(9)));
        let pause = open("queue.orders.pause", json!(true));
        check("no reason", unexplained, "a reason is missing");
        check("without an end", ends(1_000), "ends in the future");
        check("too long", ends(i64::MAX), "at most 1d");
        check("a bad value", skip(json!(70)), "write 5 percent as 0.05");
        check("nothing to open", empty, "at least one flag");
        check("no such opening", unknown, "there is no opening o9");
        check("a big move", skip(json!(0.7)), "\"confirm\": 70");
        check("a pause", pause, "\"confirm\": 100");
    }

    #[test]
    fn several_big_moves_at_once_are_confirmed_by_the_largest() {
        let both = |confirm| Change {
            confirm,
            ..change(Edit::Open {
                values: vec![
                    (key("queue.orders.skip"), json!(0.7)),
                    (key("queue.orders.pause"), json!(true)),
                ],
                ends_at_ms: 61_000,
                restore: Restore::Snap,
            })
        };
        check("neither", both(None), "\"confirm\": 100");
        check("the smaller", both(Some(70)), "\"confirm\": 100");
        let opened = start().with(&both(Some(100))).unwrap();
        assert_eq!(now(&opened, "queue.orders.skip"), json!(0.7));
    }

    #[test]
    fn a_big_move_below_an_opening_is_big_all_the_same() {
        let opened = start()
            .with(&open("queue.orders.skip", json!(0.2)))
            .unwrap();
        let below = change(Edit::Set(key("queue.orders.skip"), json!(1.0)));
        let refused = opened.with(&below).unwrap_err().to_string();
        assert!(refused.contains("\"confirm\": 100"), "{refused}");
    }

    #[test]
    fn a_big_move_passes_when_its_size_is_confirmed() {
        let moved = start()
            .with(&Change {
                confirm: Some(70),
                ..open("queue.orders.skip", json!(0.7))
            })
            .unwrap();
        assert_eq!(now(&moved, "queue.orders.skip"), json!(0.7));
        assert_eq!(moved.gate("orders").unwrap().revision, 1);
    }

    #[test]
    fn a_refused_change_and_others_flags_leave_a_flags_revision_alone() {
        let next = start()
            .with(&change(Edit::Set(key("queue.orders.skip"), json!(0.1))))
            .unwrap();
        assert_eq!(next.flag("queue.orders.skip").unwrap().revision(), 1);
        assert_eq!(next.flag("queue.orders.max_age").unwrap().revision(), 0);
    }
}
