//! Big moves: a change that touches much at once is confirmed by its size.

use std::collections::BTreeSet;

use super::change::{Cause, Change, Edit, Refused};
use super::clause::{ClauseDocument, Op};
use super::flag::{Flag, Value};
use super::names::FlagKey;
use super::snapshot::Snapshot;
use super::units::Rate;

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
        if ends || change.cause == Cause::Expiry {
            return Ok(());
        }
        // One number is confirmed for the whole change, so it is the largest: else two big moves at once could never be made.
        let sizes = touched
            .iter()
            .map(|key| (key, self.size_of(next, key, change)));
        let largest = sizes.max_by_key(|(_, size)| {
            size.to_confirm()
                .map_or((0, 0), |_| (size.points, size.accounts))
        });
        match largest.and_then(|(key, size)| Some((key, size.to_confirm()?))) {
            Some((key, (size, unit))) if change.confirm != Some(size) => {
                Err(Refused::ConfirmSize {
                    key: key.clone(),
                    size,
                    unit,
                })
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
        for rule in &after.document().rules {
            if before.document().rules.contains(rule) {
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
