//! How a change leads from one snapshot to the next: checked as a whole, made as a whole.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value as Json;

use super::change::{Cause, Change, Edit, Refused, Seen};
use super::doubt::MOST_RESOLVED;
use super::flag::{Flag, FlagDocument, Managed, Value};
use super::names::FlagKey;
use super::segment::MOST_SEGMENTS;
use super::snapshot::{LONGEST_REASON, MOST_FLAGS, Snapshot};
use super::valve::Valve;

/// The most edits of one change.
pub const MOST_EDITS: usize = 100;

/// What edits touched, so that it is compiled anew.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) flags: BTreeSet<FlagKey>,
    pub(super) segments: BTreeSet<u16>,
}

impl Snapshot {
    /// The snapshot after a change; the change is checked as a whole.
    ///
    /// # Errors
    /// See [`Refused`]; the snapshot itself is never touched.
    pub fn with(&self, change: &Change) -> Result<Self, Refused> {
        explained(&change.reason)?;
        let mut next = self.clone();
        next.revision += 1;
        let mut touched = Touched::default();
        next.edit(&change.edit, change.seen, change, &mut touched)?;
        let queues = next.queues_that_ask(&touched.flags, &touched.segments);
        next.compile_gates(&queues);
        // What stands below an opening stood before it: nothing there keeps an opening from its end.
        if !matches!(change.edit, Edit::Close(_) | Edit::Ramp(..)) {
            for key in &touched.flags {
                self.check_valve(&next, key, change)?;
            }
        }
        self.confirm_size(&next, &touched.flags, change)?;
        Ok(next)
    }

    fn edit(
        &mut self,
        edit: &Edit,
        seen: Option<u64>,
        change: &Change,
        touched: &mut Touched,
    ) -> Result<(), Refused> {
        match edit {
            Edit::Create(document) => self.create(document, touched),
            Edit::Replace(document) => self.replace(document, seen, change, touched),
            Edit::Set(key, value) => {
                let flag = self.standing(key.as_str(), seen)?;
                managed_by_others(&flag, change)?;
                let flag = flag.with_value(value, self.revision)?;
                self.place(flag, touched)
            }
            Edit::Delete(key) => self.delete(key, seen, change, touched),
            Edit::Undo(key, former) => self.undo(key, former.as_deref(), seen, change, touched),
            Edit::PutSegment(document) => self.write_segment(document, seen, touched),
            Edit::DeleteSegment(name) => self.delete_segment(name, seen),
            Edit::Members {
                segment,
                add,
                remove,
            } => {
                let found = self.standing_segment(segment, seen)?;
                let next = found.with_members(add, remove, self.revision)?;
                self.put_members(&Arc::new(next));
                Ok(())
            }
            Edit::SetOver(key, value, over) => {
                self.set_over(key, value, *over, seen, change, touched)
            }
            Edit::Open { .. } => self.open(edit, change, touched),
            Edit::Extend(id, ends_at_ms) => self.extend(*id, *ends_at_ms, change, touched),
            Edit::Ramp(id, strength) => self.step(*id, *strength, change, touched),
            Edit::Close(id) => self.close(*id, touched),
            Edit::Resolve(resolution) => match resolution.jobs.len() {
                1..=MOST_RESOLVED => Ok(()),
                count => Err(Refused::Limit(format!(
                    "a change resolves 1 to {MOST_RESOLVED} jobs, got {count}"
                ))),
            },
            Edit::Several(edits) => self.several(edits, change, touched),
        }
    }

    fn several(
        &mut self,
        edits: &[Seen],
        change: &Change,
        touched: &mut Touched,
    ) -> Result<(), Refused> {
        let most = match change.cause {
            Cause::File => MOST_FLAGS + MOST_SEGMENTS,
            Cause::Operator | Cause::Expiry | Cause::Health => MOST_EDITS,
        };
        if edits.is_empty() || edits.len() > most {
            return Err(Refused::Limit(format!(
                "a change has 1 to {most} edits, got {}",
                edits.len()
            )));
        }
        for one in edits {
            let alone = matches!(
                one.edit,
                Edit::Several(_)
                    | Edit::SetOver(..)
                    | Edit::Open { .. }
                    | Edit::Close(_)
                    | Edit::Extend(..)
                    | Edit::Ramp(..)
                    | Edit::Resolve(_)
            );
            if alone {
                return Err(Refused::Incomplete(
                    "a change of several edits takes flags and segments; open and close on their own",
                ));
            }
            self.edit(&one.edit, one.seen, change, touched)?;
        }
        Ok(())
    }

    /// The flag that stands, when it is the one that the caller saw.
    pub(super) fn standing(&self, key: &str, seen: Option<u64>) -> Result<Arc<Flag>, Refused> {
        let flag = self
            .flag(key)
            .ok_or_else(|| Refused::NoFlag(key.to_owned()))?;
        match seen {
            Some(seen) if seen != flag.revision() => Err(Refused::Stale {
                key: flag.key.clone(),
                seen,
                now: flag.revision(),
            }),
            _ => Ok(Arc::clone(flag)),
        }
    }

    /// Puts a flag in place. Whoever sets another value means that one, not the way to the one before.
    pub(super) fn place(&mut self, flag: Flag, touched: &mut Touched) -> Result<(), Refused> {
        let stood = self.flag(flag.key.as_str());
        if stood.is_some_and(|stood| stood.value != flag.value) {
            self.leave_the_way(&flag.key);
        }
        touched.flags.insert(flag.key.clone());
        Ok(self.put(Arc::new(flag))?)
    }

    fn create(&mut self, document: &FlagDocument, touched: &mut Touched) -> Result<(), Refused> {
        let mut document = document.clone();
        document.revision = self.revision;
        let flag = Flag::try_from(document)?;
        if self.flag(flag.key.as_str()).is_some() {
            return Err(Refused::Exists(flag.key));
        }
        if let Some(revision) = self.tombstones.get(&flag.key) {
            return Err(Refused::Tombstone {
                key: flag.key,
                revision: *revision,
            });
        }
        if self.entries.len() >= MOST_FLAGS {
            return Err(Refused::Limit(format!(
                "there are {MOST_FLAGS} flags already, which is the most; delete one that is done"
            )));
        }
        if flag.key.as_str().starts_with("queue.") {
            return Err(Refused::Limit(
                "keys that begin with `queue.` belong to the valves of queues; choose another key"
                    .to_owned(),
            ));
        }
        if let Some(objection) = self.policy.objection(&flag.document()) {
            return Err(Refused::Limit(format!("`{}`: {objection}", flag.key)));
        }
        self.place(flag, touched)
    }

    fn replace(
        &mut self,
        document: &FlagDocument,
        seen: Option<u64>,
        change: &Change,
        touched: &mut Touched,
    ) -> Result<(), Refused> {
        let old = self.standing(&document.key, seen)?;
        managed_by_others(&old, change)?;
        if (document.value_type, document.kind) != (old.value_type(), old.kind()) {
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
        if let Some(objection) = self.policy.objection(document) {
            return Err(Refused::Limit(format!("`{}`: {objection}", old.key)));
        }
        let flag = Flag::try_from(FlagDocument {
            revision: self.revision,
            ..document.clone()
        })?;
        self.place(flag, touched)
    }

    fn delete(
        &mut self,
        key: &FlagKey,
        seen: Option<u64>,
        change: &Change,
        touched: &mut Touched,
    ) -> Result<(), Refused> {
        let flag = self.standing(key.as_str(), seen)?;
        managed_by_others(&flag, change)?;
        if self.valve(key.as_str()).is_some() {
            return Err(Refused::Limit(format!(
                "`{key}` is a valve and stays as long as its queue; set it to its neutral value instead"
            )));
        }
        let mut pools = self.queues().iter().filter_map(|queue| queue.pool.as_ref());
        if pools.any(|pool| pool.is_steered_by(key)) {
            return Err(Refused::Limit(format!(
                "`{key}` steers providers and stays as long as they; set it to its neutral value instead"
            )));
        }
        self.leave_the_way(key);
        if let Some(opening) = self.openings_on(key.as_str()).next() {
            return Err(Refused::Limit(format!(
                "the opening {} lies on `{key}`; close it first",
                opening.id
            )));
        }
        if let Some(queue) = self.queues().iter().find(|queue| queue.pass.contains(key)) {
            return Err(Refused::Limit(format!(
                "the queue {} passes `{key}` to its worker; take it out of `pass` in the file first",
                queue.name
            )));
        }
        self.take_out(key);
        Arc::make_mut(&mut self.tombstones).insert(key.clone(), self.revision);
        touched.flags.insert(key.clone());
        Ok(())
    }

    fn undo(
        &mut self,
        key: &FlagKey,
        former: Option<&FlagDocument>,
        seen: Option<u64>,
        change: &Change,
        touched: &mut Touched,
    ) -> Result<(), Refused> {
        let Some(former) = former else {
            return self.delete(key, seen, change, touched);
        };
        let old = self.flag(key.as_str()).cloned();
        if old.is_some() {
            managed_by_others(&*self.standing(key.as_str(), seen)?, change)?;
        }
        let flag = Flag::try_from(FlagDocument {
            revision: self.revision,
            ..former.clone()
        })?;
        Arc::make_mut(&mut self.tombstones).remove(key);
        self.place(flag, touched)
    }

    /// What a valve may not be made: ruled where no rule is asked, asked what no message carries, beyond a limit of the file, or
    /// shedding without an end.
    fn check_valve(&self, next: &Self, key: &FlagKey, change: &Change) -> Result<(), Refused> {
        let (Some((queue, valve)), Some(choice)) =
            (next.valve(key.as_str()), next.choice(key.as_str()))
        else {
            return Ok(());
        };
        if !valve.facts().by_rules && choice.is_by_rules() {
            return Err(Refused::Limit(format!(
                "`{key}` holds for the whole queue and takes no rules and clauses; those of max_age, degrade, protect, skip and timeout do"
            )));
        }
        if let Some((queue, name)) = next.unreadable(key.as_str()) {
            return Err(Refused::Limit(format!(
                "no message of `{queue}` has an attribute `{name}`; say where it is found ({name} = \"header:…\" under [queue.attributes] in the file), or write header.<name>, property.<name> or body.<path>"
            )));
        }
        let largest = next.policy.largest_skip(queue.name.as_str());
        let beyond = |value: &Value| matches!(value, Value::Ratio(share) if *share > largest);
        if valve == Valve::Skip && !change.cause.is_the_guards() && choice.values().any(beyond) {
            return Err(Refused::Limit(format!(
                "[limits] of the file lets `{key}` skip at most {largest}; no change goes beyond it"
            )));
        }
        let stays_shut = |snapshot: &Self| snapshot.sheds_for_good(key, valve);
        let is_an_edit = matches!(
            change.edit,
            Edit::Set(..) | Edit::SetOver(..) | Edit::Replace(_) | Edit::Several(_)
        );
        if is_an_edit
            && !change.keep
            && !change.cause.is_the_guards()
            && stays_shut(next)
            && !stays_shut(self)
        {
            return Err(Refused::NeedsAnEnd(key.clone()));
        }
        Ok(())
    }

    /// Whether a valve sheds or stops without an end: below its openings, for anybody.
    fn sheds_for_good(&self, key: &FlagKey, valve: Valve) -> bool {
        let Some(flag) = self.flag(key.as_str()) else {
            return false;
        };
        let document = flag.document();
        let of_rules = document.rules.iter().flat_map(|rule| {
            let shares = rule.split.iter().map(|share| &share.value);
            rule.value.iter().chain(shares)
        });
        let said: Vec<&Json> = of_rules.chain([&document.value]).collect();
        said.into_iter()
            .filter_map(|json| document.read(json).ok())
            .any(|value| valve.sheds_at(&value))
    }
}

fn explained(reason: &str) -> Result<(), Refused> {
    if reason.trim().is_empty() {
        return Err(Refused::Incomplete(
            "a reason is missing; say why, such as \"INC-481\" (in a terminal: --reason)",
        ));
    }
    if reason.len() > LONGEST_REASON {
        return Err(Refused::Limit(format!(
            "a reason has at most {LONGEST_REASON} bytes; put the rest behind a link"
        )));
    }
    Ok(())
}

/// What the file manages is edited by the file alone.
pub(super) fn managed_by_others(flag: &Flag, change: &Change) -> Result<(), Refused> {
    if flag.document().managed == Some(Managed::File) && change.cause != Cause::File {
        return Err(Refused::ManagedByFile(flag.key.clone()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::rules::change::Actor;
    use crate::rules::opening::{OpeningId, Restore};
    use crate::rules::snapshot::{GatedQueue, Stored};

    fn start() -> Snapshot {
        let queue = GatedQueue::named("orders".parse().unwrap());
        Snapshot::of(vec![queue], Stored::default())
    }

    fn change(edit: Edit) -> Change {
        Change {
            keep: true,
            ..Change::new(edit, Actor::new("ana", "cli"), "INC-481", 1_000)
        }
    }

    fn key(text: &str) -> FlagKey {
        text.parse().unwrap()
    }

    fn open(flag: &str, value: Json) -> Change {
        change(Edit::Open {
            values: vec![(key(flag), value)],
            when: vec![],
            ends_at_ms: 61_000,
            restore: Restore::Snap,
            until: None,
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
                when: vec![],
                ends_at_ms,
                restore: Restore::Snap,
                until: None,
            })
        };
        let unexplained = Change {
            reason: " ".into(),
            ..skip(json!(0.1))
        };
        let empty = change(Edit::Open {
            values: vec![],
            when: vec![],
            ends_at_ms: 2_000,
            restore: Restore::Snap,
            until: None,
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
                when: vec![],
                ends_at_ms: 61_000,
                restore: Restore::Snap,
                until: None,
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
