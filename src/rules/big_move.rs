//! Big moves: a change that touches much at once is confirmed by its size.

use std::collections::BTreeSet;

use super::change::{Change, Edit, Refused};
use super::clause::{ClauseDocument, Op, named_segments};
use super::flag::{Flag, Value};
use super::names::FlagKey;
use super::snapshot::Snapshot;
use super::units::Rate;
use super::valve::Valve;

/// A move of more than so many points, in percent of the messages of a queue, is big.
const MOST_POINTS: u64 = 25;
/// A move of a valve for more than so many accounts is big.
const MOST_ACCOUNTS: u64 = 1_000;

/// How much a change moves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size {
    points: u64,
    accounts: u64,
}

impl Size {
    fn largest(self, other: Self) -> Self {
        Self {
            points: self.points.max(other.points),
            accounts: self.accounts.max(other.accounts),
        }
    }

    /// What is to be confirmed, if it is big.
    fn to_confirm(self) -> Option<(u64, &'static str)> {
        if self.points > MOST_POINTS {
            Some((self.points, "percent"))
        } else {
            (self.accounts > MOST_ACCOUNTS).then_some((self.accounts, "accounts"))
        }
    }
}

impl Snapshot {
    /// A big move needs its size said by whoever makes it. Ends are never big: what an opening covered was somebody's
    /// choice; nor are extensions: what it lays there was confirmed when it was opened.
    pub(super) fn confirm_size(
        &self,
        next: &Self,
        touched: &BTreeSet<FlagKey>,
        change: &Change,
    ) -> Result<(), Refused> {
        let ends = matches!(
            change.edit,
            Edit::Close(_) | Edit::Extend(..) | Edit::Ramp(..) | Edit::Undo(..)
        );
        if ends || change.cause.is_the_guards() {
            return Ok(());
        }
        // One number is confirmed for the whole change, so it is the largest: else two big moves at once could never be made.
        let sizes = touched
            .iter()
            .map(|key| (key.clone(), self.size_of(next, key, change)))
            .chain(self.grown(next, &change.edit));
        let largest = sizes.max_by_key(|(_, size)| {
            size.to_confirm()
                .map_or((0, 0), |_| (size.points, size.accounts))
        });
        match largest.and_then(|(key, size)| Some((key, size.to_confirm()?))) {
            Some((key, (size, unit))) if change.confirm != Some(size) => {
                Err(Refused::ConfirmSize { key, size, unit })
            }
            _ => Ok(()),
        }
    }

    /// What the flag says counts, what it will say once the openings over it have ended, and what rules and clauses say.
    fn size_of(&self, next: &Self, key: &FlagKey, change: &Change) -> Size {
        let (Some((_, _)), Some(before), Some(after)) = (
            next.valve(key.as_str()),
            self.flag(key.as_str()),
            next.flag(key.as_str()),
        ) else {
            return Size::default();
        };
        let says = |snapshot: &Self| snapshot.value(key.as_str()).map(|(value, _)| value);
        let mut size = Size {
            points: points(key, says(self), says(next)).max(points(
                key,
                Some(before.value.clone()),
                Some(after.value.clone()),
            )),
            accounts: 0,
        };
        let (rules, former) = (after.document().rules, before.document().rules);
        for rule in &rules {
            if former.contains(rule) {
                continue;
            }
            let values = rule
                .value
                .iter()
                .chain(rule.split.iter().map(|share| &share.value));
            for value in values {
                size = size.largest(next.size_for(key, after, value, &rule.when));
            }
        }
        if let Edit::Open { values, when, .. } = &change.edit
            && !when.is_empty()
        {
            for (_, value) in values.iter().filter(|(on, _)| on == key) {
                size = size.largest(next.size_for(key, after, value, when));
            }
        }
        size
    }

    /// The valves that say something else to a segment than to everybody, when many come to it: to all of them it is said too.
    fn grown(&self, next: &Self, edit: &Edit) -> Vec<(FlagKey, Size)> {
        let edits = match edit {
            Edit::Several(edits) => edits.iter().map(|one| &one.edit).collect(),
            one => vec![one],
        };
        let mut sizes = Vec::new();
        for name in edits.into_iter().filter_map(Edit::segment) {
            let (Some(old), Some(new)) = (self.segments.get(name), next.segments.get(name)) else {
                continue;
            };
            let accounts = new.members.without(&old.members).len() as u64;
            if accounts > MOST_ACCOUNTS {
                let valves = next.valves_that_tell(name);
                let size = Size {
                    points: 0,
                    accounts,
                };
                sizes.extend(valves.map(|key| (key, size)));
            }
        }
        sizes
    }

    /// The valves that say something else to a segment than to everybody, by a rule or an opening.
    fn valves_that_tell<'a>(&'a self, segment: &'a str) -> impl Iterator<Item = FlagKey> + 'a {
        let names = move |when: &[ClauseDocument]| named_segments(when).any(|name| name == segment);
        let tells = move |flag: &Flag| {
            let key = flag.key.as_str();
            let document = flag.document();
            let of_rules = document.rules.iter();
            let of_rules = of_rules.filter(|rule| names(&rule.when)).flat_map(|rule| {
                let shares = rule.split.iter().map(|share| &share.value);
                rule.value.iter().chain(shares)
            });
            let openings = self.openings_on(key).filter(|laid| names(&laid.when));
            let of_openings = openings.filter_map(|laid| laid.value_on(key));
            let differs = |value| {
                points(
                    &flag.key,
                    Some(flag.value.clone()),
                    document.read(value).ok(),
                ) > 0
            };
            of_rules.chain(of_openings).any(differs)
        };
        let queues = self.queues().iter();
        let keys = queues.flat_map(|queue| {
            let valves = Valve::ALL.into_iter();
            valves.map(|valve| FlagKey::of_valve(&queue.name, valve))
        });
        keys.filter(move |key| self.flag(key.as_str()).is_some_and(|flag| tells(flag)))
    }

    /// The size of laying a value before those for whom all clauses hold.
    fn size_for(
        &self,
        key: &FlagKey,
        flag: &Flag,
        value: &serde_json::Value,
        when: &[ClauseDocument],
    ) -> Size {
        let moved = points(key, Some(flag.value.clone()), flag.read(value).ok());
        if moved == 0 {
            return Size::default();
        }
        match self.accounts(when) {
            None if when.is_empty() => Size {
                points: moved,
                accounts: 0,
            },
            None => Size::default(), // clauses on other attributes: how many that are the preview says
            Some(accounts) => Size {
                points: 0,
                accounts,
            },
        }
    }

    /// How many accounts clauses name, as far as they name any.
    fn accounts(&self, when: &[ClauseDocument]) -> Option<u64> {
        let named = |clause: &ClauseDocument| match (&clause.segment, clause.op) {
            (Some(segment), None | Some(Op::In)) => {
                Some(self.segments.get(segment)?.members.len() as u64)
            }
            (None, Some(Op::In)) => Some(clause.values.len() as u64),
            _ => None,
        };
        when.iter().filter_map(named).min()
    }
}

/// How much of a queue a move of one of its valves touches, in percent; 0 where that cannot be said from the values alone.
fn points(key: &FlagKey, before: Option<Value>, after: Option<Value>) -> u64 {
    let stops = |value: &Value| match value {
        Value::Boolean(paused) => *paused && key.as_str().ends_with(".pause"),
        Value::Text(mode) => mode.as_ref() == "reject",
        Value::Rate(rate) => Rate::is_stop(*rate),
        Value::Integer(count) => *count == 0,
        _ => false,
    };
    match (before, after) {
        (Some(Value::Ratio(before)), Some(Value::Ratio(after))) => {
            ((after.get() - before.get()).abs() * 100.0).round() as u64
        }
        (Some(before), Some(after)) if stops(&after) && !stops(&before) => 100,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::change::Actor;
    use crate::rules::snapshot::{GatedQueue, Stored};

    fn members(count: usize) -> Vec<String> {
        (0..count)
            .map(|number| format!("account-{number}"))
            .collect()
    }

    /// A queue whose accounts in the segment `some` are told `value` by `degrade`, and nobody is in it.
    fn start(value: &str) -> Snapshot {
        let mut queue = GatedQueue::named("orders".parse().unwrap());
        let source = "header:x-account".parse().unwrap();
        queue.attributes.insert("account".into(), source);
        let snapshot = Snapshot::of(vec![queue], Stored::default());
        let segment = json!({"name": "some"});
        let edit = Edit::PutSegment(serde_json::from_value(segment).unwrap());
        let snapshot = snapshot.with(&change(edit)).unwrap();
        let flag = snapshot.flag("queue.orders.degrade").unwrap();
        let mut document = flag.document();
        document.rules = serde_json::from_value(json!([
            {"name": "some", "when": [{"segment": "some"}], "value": value}
        ]))
        .unwrap();
        snapshot
            .with(&change(Edit::Replace(Box::new(document))))
            .unwrap()
    }

    fn change(edit: Edit) -> Change {
        Change {
            keep: true,
            ..Change::new(edit, Actor::new("ana", "api"), "x", 1)
        }
    }

    /// What is to be confirmed when so many come.
    fn asked(snapshot: &Snapshot, count: usize) -> Option<u64> {
        let edit = Edit::Members {
            segment: "some".parse().unwrap(),
            add: members(count),
            remove: Vec::new(),
        };
        match snapshot.with(&change(edit)) {
            Err(Refused::ConfirmSize { size, unit, .. }) => {
                assert_eq!(unit, "accounts");
                Some(size)
            }
            other => other.map(|_| None).unwrap(),
        }
    }

    #[test]
    fn many_who_come_to_a_segment_that_a_valve_rejects_are_a_big_move() {
        let rejected = start("reject");
        assert_eq!(asked(&rejected, 1_000), None);
        assert_eq!(asked(&rejected, 1_001), Some(1_001));
        assert_eq!(
            asked(&start("none"), 5_000),
            None,
            "they get what everybody gets"
        );
        let whole = json!({"name": "some", "members": members(2_000)});
        let edit = Edit::PutSegment(serde_json::from_value(whole).unwrap());
        let mut put = change(edit);
        assert!(matches!(
            rejected.with(&put),
            Err(Refused::ConfirmSize { size: 2_000, .. })
        ));
        put.confirm = Some(2_000);
        let grown = rejected.with(&put).unwrap();
        assert_eq!(
            asked(&grown, 3_000),
            None,
            "only those who come are counted"
        );
        assert_eq!(asked(&grown, 3_001), Some(1_001));
    }
}
