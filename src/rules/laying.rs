//! How openings come, change and go: what lies over flags for a time, and what lies beneath while a value is on its way.
//!
//! Whatever may be refused is refused when an opening comes. Nothing keeps one from its end.

use std::sync::Arc;

use serde_json::Value as Json;

use super::change::{Cause, Change, Edit, Refused};
use super::edits::{Touched, managed_by_others};
use super::flag::{Flag, Value};
use super::names::FlagKey;
use super::opening::{MOST_ON_ONE_FLAG, Opening, OpeningId, Restore, SHORTEST_RAMP};
use super::snapshot::Snapshot;
use super::units::Span;
use super::valve::Valve;

impl Snapshot {
    /// Lays an [`Edit::Open`] over its flags.
    pub(super) fn open(
        &mut self,
        edit: &Edit,
        change: &Change,
        touched: &mut Touched,
    ) -> Result<(), Refused> {
        let Edit::Open {
            values,
            when,
            ends_at_ms,
            restore,
            until,
        } = edit
        else {
            return Ok(());
        };
        let opening = Opening {
            until: *until,
            when: when.clone(),
            ends_at_ms: *ends_at_ms,
            ..self.new_opening(values.clone(), *restore, change)
        };
        if opening.values.is_empty() {
            return Err(Refused::Incomplete(
                "an opening needs at least one flag with a value",
            ));
        }
        ends_in_time(opening.ends_at_ms, change)?;
        self.can_be_well(&opening)?;
        if let Restore::Ramp(over) = opening.restore {
            ramps_in_time(over, change)?;
        }
        for (key, value) in &opening.values {
            let flag = self.standing(key.as_str(), None)?;
            let value = flag.read(value)?;
            let below = self
                .value(key.as_str())
                .map_or(Value::None, |(below, _)| below);
            if opening.restore != Restore::Snap && !self.goes_along(key, &opening) {
                in_steps(key, &value, &below, "end it with restore \"snap\"")?;
            }
            if self.openings_on(key.as_str()).count() >= MOST_ON_ONE_FLAG {
                return Err(Refused::Limit(format!(
                    "{MOST_ON_ONE_FLAG} openings lie on `{key}` already; close one first"
                )));
            }
        }
        self.lay(opening, touched)
    }

    /// Whether somebody can say when this opening's queue is well, if that is to end it.
    fn can_be_well(&self, opening: &Opening) -> Result<(), Refused> {
        let valves = opening
            .values
            .iter()
            .map(|(key, _)| self.valve(key.as_str()));
        let no_end = |valve: &Option<(_, Valve)>| !matches!(valve, Some((_, valve)) if *valve != Valve::Pause);
        match opening.until {
            Some(_) if valves.into_iter().any(|valve| no_end(&valve)) => Err(Refused::Limit(
                "an opening ends by health (`until on-time …`) where it lies on valves of queues alone, and none of them is `pause`; end it at a time instead"
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Whether a flag has no way in steps of its own and holds until the others under its opening are back: the mode of a valve.
    fn goes_along(&self, key: &FlagKey, opening: &Opening) -> bool {
        let is_mode = |valve| matches!(valve, Valve::SkipMode | Valve::ConcurrencyMode);
        let valve = self.valve(key.as_str());
        opening.values.len() > 1 && valve.is_some_and(|(_, valve)| is_mode(valve))
    }

    fn new_opening(
        &self,
        values: Vec<(FlagKey, Json)>,
        restore: Restore,
        change: &Change,
    ) -> Opening {
        Opening {
            id: OpeningId(self.revision),
            values,
            when: Vec::new(),
            owner: change.by.name.clone(),
            reason: change.reason.clone(),
            opened_at_ms: change.at_ms,
            ends_at_ms: change.at_ms,
            restore,
            strength: 1.0,
            beneath: false,
            until: None,
            extended: false,
        }
    }

    /// Sets the value for everybody, with the one that stood laid beneath it: from now on it goes back to the new one.
    pub(super) fn set_over(
        &mut self,
        key: &FlagKey,
        value: &Json,
        over: Span,
        seen: Option<u64>,
        change: &Change,
        touched: &mut Touched,
    ) -> Result<(), Refused> {
        let flag = self.standing(key.as_str(), seen)?;
        managed_by_others(&flag, change)?;
        ramps_in_time(over, change)?;
        // From what it says now: a value that is on its way goes on from where it is.
        let from = self.choice(key.as_str()).map(|choice| choice.value.clone());
        let from = from.unwrap_or_else(|| flag.value.clone());
        let next = flag.with_value(value, self.revision)?;
        in_steps(key, &from, &next.value, "set it without a ramp")?;
        self.leave_the_way(key);
        let moves = from != next.value;
        self.place(next, touched)?;
        if moves {
            let values = vec![(key.clone(), from.to_json())];
            let way = Opening {
                beneath: true,
                ..self.new_opening(values, Restore::Ramp(over), change)
            };
            self.lay(way, touched)?;
        }
        Ok(())
    }

    /// Takes away what lay beneath a flag while its value was on its way.
    pub(super) fn leave_the_way(&mut self, key: &FlagKey) {
        let way = self.openings_on(key.as_str()).find(|way| way.beneath);
        if let Some(id) = way.map(|way| way.id) {
            Arc::make_mut(&mut self.openings).remove(&id);
        }
    }

    pub(super) fn extend(
        &mut self,
        id: OpeningId,
        ends_at_ms: i64,
        change: &Change,
        touched: &mut Touched,
    ) -> Result<(), Refused> {
        let found = self.openings.get(&id).ok_or(Refused::NoOpening(id))?;
        ends_in_time(ends_at_ms, change)?;
        let was_whole = found.strength >= 1.0;
        let extended = Opening {
            ends_at_ms,
            strength: 1.0,
            extended: found.extended || change.cause == Cause::Health,
            ..found.as_ref().clone()
        };
        if was_whole {
            Arc::make_mut(&mut self.openings).insert(id, Arc::new(extended));
            return Ok(());
        }
        self.lay(extended, touched)
    }

    /// A step back. It never goes up: only an extension does. When its queue is well, the way back begins before the end.
    pub(super) fn step(
        &mut self,
        id: OpeningId,
        strength: f64,
        change: &Change,
        touched: &mut Touched,
    ) -> Result<(), Refused> {
        let found = self.openings.get(&id).ok_or(Refused::NoOpening(id))?;
        let ends_at_ms = match change.cause {
            Cause::Health => found.ends_at_ms.min(change.at_ms),
            _ => found.ends_at_ms,
        };
        let weaker = Opening {
            ends_at_ms,
            strength: strength.clamp(0.0, 1.0).min(found.strength),
            ..found.as_ref().clone()
        };
        Arc::make_mut(&mut self.openings).insert(id, Arc::new(weaker.clone()));
        self.compile_under(&weaker, touched);
        Ok(())
    }

    pub(super) fn close(&mut self, id: OpeningId, touched: &mut Touched) -> Result<(), Refused> {
        let openings = Arc::make_mut(&mut self.openings);
        let opening = openings.remove(&id).ok_or(Refused::NoOpening(id))?;
        self.compile_under(&opening, touched);
        Ok(())
    }

    fn lay(&mut self, opening: Opening, touched: &mut Touched) -> Result<(), Refused> {
        let opening = Arc::new(opening);
        Arc::make_mut(&mut self.openings).insert(opening.id, Arc::clone(&opening));
        for flag in self.under_it(&opening) {
            touched.flags.insert(flag.key.clone());
            self.put(flag)?;
        }
        Ok(())
    }

    /// Compiles the flags under an opening that went or weakened. What does not fit any more, of another opening or a rule, is
    /// left out, as at a start: it is no reason to keep this one.
    fn compile_under(&mut self, opening: &Opening, touched: &mut Touched) {
        for flag in self.under_it(opening) {
            touched.flags.insert(flag.key.clone());
            self.put_what_fits(flag);
        }
    }

    fn under_it(&self, opening: &Opening) -> Vec<Arc<Flag>> {
        let keys = opening.values.iter().map(|(key, _)| key.as_str());
        keys.filter_map(|key| self.flag(key).cloned()).collect()
    }
}

fn in_steps(key: &FlagKey, from: &Value, to: &Value, cure: &str) -> Result<(), Refused> {
    match from.at_strength(to, 0.5) {
        Some(_) => Ok(()),
        None => Err(Refused::Limit(format!(
            "`{key}` has no way in steps from {} to {}; {cure}",
            from.to_json(),
            to.to_json()
        ))),
    }
}

fn ramps_in_time(over: Span, change: &Change) -> Result<(), Refused> {
    if (SHORTEST_RAMP..=change.longest).contains(&over) {
        return Ok(());
    }
    Err(Refused::Limit(format!(
        "a ramp takes {SHORTEST_RAMP} to {}, got {over}",
        change.longest
    )))
}

fn ends_in_time(ends_at_ms: i64, change: &Change) -> Result<(), Refused> {
    if ends_at_ms <= change.at_ms {
        return Err(Refused::Limit(
            "an opening ends in the future; give a length such as 30m".to_owned(),
        ));
    }
    if ends_at_ms - change.at_ms > change.longest.as_millis() {
        return Err(Refused::Limit(format!(
            "an opening lasts at most {}; open it for less, and extend it if need be",
            change.longest
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::change::Actor;
    use crate::rules::context::Attribute;
    use crate::rules::explain::explain;
    use crate::rules::flag::FlagDocument;
    use crate::rules::snapshot::{GatedQueue, Stored};

    const TEN_MINUTES: Span = Span::from_secs(600);

    fn ttl() -> FlagKey {
        "cache.ttl".parse().unwrap()
    }

    fn change(edit: Edit) -> Change {
        Change::new(edit, Actor::new("ana", "cli"), "INC-481", 1_000)
    }

    fn over(value: &str) -> Edit {
        Edit::SetOver(ttl(), json!(value), TEN_MINUTES)
    }

    fn over_some(when: &str, value: &str, restore: Restore) -> Edit {
        let when = if when.is_empty() {
            json!([])
        } else {
            json!([{"attribute": "account", "op": "in", "values": [when]}])
        };
        Edit::Open {
            values: vec![(ttl(), json!(value))],
            when: serde_json::from_value(when).unwrap(),
            ends_at_ms: 61_000,
            restore,
            until: None,
        }
    }

    /// `cache.ttl` says 100s to everybody and 1s to acme.
    fn start() -> Snapshot {
        let document = json!({
            "key": "cache.ttl", "kind": "config", "type": "duration", "value": "100s",
            "rules": [{"name": "acme", "value": "1s", "when": [{"attribute": "account", "op": "in", "values": ["acme"]}]}]
        });
        let document: FlagDocument = serde_json::from_value(document).unwrap();
        let queue = GatedQueue::named("orders".parse().unwrap());
        let empty = Snapshot::of(vec![queue], Stored::default());
        after(&empty, vec![Edit::Create(Box::new(document))])
    }

    fn after(start: &Snapshot, edits: Vec<Edit>) -> Snapshot {
        let mut now = start.clone();
        for edit in edits {
            now = now.with(&change(edit)).unwrap();
        }
        now
    }

    fn step(of: u64, strength: f64) -> Edit {
        Edit::Ramp(OpeningId(of), strength)
    }

    /// What is said to an account, and why.
    fn told(snapshot: &Snapshot, account: &str) -> (String, String) {
        let context = snapshot.context([("account", Attribute::of(account))]);
        let explained = explain(snapshot, "cache.ttl", &*context).unwrap();
        let value = explained.value.as_str().unwrap_or_default().to_owned();
        let last = explained.steps.last();
        let decided = last.is_some_and(|step| step.decides);
        assert!(decided || ["default", "static"].contains(&explained.reason.as_str()));
        (value, explained.reason)
    }

    /// What acme and everybody else are told.
    fn check(what: &str, edits: Vec<Edit>, acme: (&str, &str), others: (&str, &str)) {
        let now = after(&start(), edits);
        let owned = |(value, reason): (&str, &str)| (value.to_owned(), reason.to_owned());
        assert_eq!(told(&now, "acme"), owned(acme), "{what}");
        assert_eq!(told(&now, "other"), owned(others), "{what}");
        let everybody = now.value("cache.ttl").unwrap().0;
        assert_eq!(everybody.to_json(), json!(others.0), "{what}");
    }

    #[test]
    fn a_value_on_its_way_lies_beneath_rules_and_openings() {
        let acme = ("1s", "rule acme");
        check(
            "it begins",
            vec![over("0s")],
            acme,
            ("1m 40s", "opening o2"),
        );
        let half = vec![over("0s"), step(2, 0.5)];
        check("half way", half, acme, ("50s", "opening o2"));
        let opened = vec![over_some("", "9s", Restore::Snap), over("0s"), step(3, 0.5)];
        check(
            "an opening stays above",
            opened,
            ("9s", "opening o2"),
            ("9s", "opening o2"),
        );
        let closed = vec![over("0s"), step(2, 0.5), Edit::Close(OpeningId(2))];
        check("it has arrived", closed, acme, ("0s", "default"));
        let way = Restore::Ramp(TEN_MINUTES);
        let back = vec![
            over("0s"),
            over_some("", "10s", way),
            step(2, 0.5),
            step(3, 0.5),
        ];
        check(
            "an opening goes back to what is on its way",
            back,
            ("30s", "opening o3"),
            ("30s", "opening o3"),
        );
    }

    #[test]
    fn whoever_sets_another_value_means_that_one() {
        let acme = ("1s", "rule acme");
        let on = || vec![over("0s"), step(2, 0.5)];
        let then = |edit: Edit| on().into_iter().chain([edit]).collect();
        check(
            "at once",
            then(Edit::Set(ttl(), json!("7s"))),
            acme,
            ("7s", "default"),
        );
        check(
            "on from where it is",
            then(over("200s")),
            acme,
            ("50s", "opening o4"),
        );
        let document = |value: &str| {
            let document = start().flag("cache.ttl").unwrap().document();
            Edit::Replace(Box::new(FlagDocument {
                value: json!(value),
                description: "how long".into(),
                ..document
            }))
        };
        check(
            "another description",
            then(document("0s")),
            acme,
            ("50s", "opening o2"),
        );
        check(
            "another definition",
            then(document("3s")),
            acme,
            ("3s", "default"),
        );
        let former = start().flag("cache.ttl").unwrap().document();
        let undo = Edit::Undo(ttl(), Some(Box::new(former)));
        check("back", then(undo), acme, ("1m 40s", "default"));
        check(
            "to the same",
            vec![over("100s")],
            acme,
            ("1m 40s", "default"),
        );
        let gone = after(&start(), then(Edit::Delete(ttl())));
        assert_eq!(gone.openings().count(), 0);
    }

    fn refused(what: &str, start: &Snapshot, edit: Edit, sentence: &str) {
        let why = start.with(&change(edit)).unwrap_err().to_string();
        assert!(why.contains(sentence), "{what}: {why}");
    }

    #[test]
    fn what_cannot_go_in_steps_is_refused_and_so_is_what_could_not_be_set() {
        let over = |flag: &str, value: Json, seconds| {
            Edit::SetOver(flag.parse().unwrap(), value, Span::from_secs(seconds))
        };
        let start = start();
        refused(
            "no numbers",
            &start,
            over("queue.orders.degrade", json!("reject"), 60),
            "set it without a ramp",
        );
        refused(
            "from none",
            &start,
            over("queue.orders.max_age", json!("30s"), 60),
            "no way in steps",
        );
        refused(
            "no time",
            &start,
            over("cache.ttl", json!("1s"), 0),
            "a ramp takes 1s to 1d",
        );
        refused(
            "too long",
            &start,
            over("cache.ttl", json!("1s"), 90_000),
            "a ramp takes 1s to 1d",
        );
        refused(
            "a bad value",
            &start,
            over("cache.ttl", json!("soon"), 60),
            "duration",
        );
        refused(
            "for ever",
            &start,
            over("queue.orders.skip", json!(0.1), 60),
            "without an end",
        );
        let instant = Restore::Ramp(Span::from_secs(0));
        refused(
            "an instant",
            &start,
            over_some("", "1s", instant),
            "a ramp takes 1s to 1d",
        );
        let stale = Change {
            seen: Some(7),
            ..change(over("cache.ttl", json!("1s"), 60))
        };
        assert!(matches!(start.with(&stale), Err(Refused::Stale { .. })));
    }

    #[test]
    fn a_big_move_is_confirmed_also_in_steps_and_extending_is_none() {
        let skip = |value: f64| {
            let key = "queue.orders.skip".parse().unwrap();
            Change {
                keep: true,
                ..change(Edit::SetOver(key, json!(value), TEN_MINUTES))
            }
        };
        let why = start().with(&skip(0.7)).unwrap_err().to_string();
        assert!(why.contains("\"confirm\": 70"), "{why}");
        let open = Change {
            confirm: Some(70),
            ..change(Edit::Open {
                values: vec![("queue.orders.skip".parse().unwrap(), json!(0.7))],
                when: vec![],
                ends_at_ms: 61_000,
                restore: Restore::Ramp(TEN_MINUTES),
                until: None,
            })
        };
        let opened = start().with(&open).unwrap();
        let weaker = after(&opened, vec![step(2, 0.1)]);
        let whole = after(&weaker, vec![Edit::Extend(OpeningId(2), 99_000)]);
        assert_eq!(
            whole.value("queue.orders.skip").unwrap().0.to_json(),
            json!(0.7)
        );
        assert_eq!(whole.gate("orders").unwrap().revision, 4);
    }

    #[test]
    fn a_step_never_goes_up() {
        let acme = ("1s", "rule acme");
        let up = vec![over("0s"), step(2, 0.25), step(2, 0.75)];
        check("a step up", up, acme, ("25s", "opening o2"));
    }

    #[test]
    fn a_limit_of_the_file_keeps_no_opening_from_its_end() {
        let set = Change {
            keep: true,
            ..change(Edit::Set("queue.orders.skip".parse().unwrap(), json!(0.2)))
        };
        let opened = Edit::Open {
            values: vec![("queue.orders.skip".parse().unwrap(), json!(0.1))],
            when: vec![],
            ends_at_ms: 61_000,
            restore: Restore::Snap,
            until: None,
        };
        let opened = after(&start().with(&set).unwrap(), vec![opened]);
        let limit = ("*".parse().unwrap(), 0.15.try_into().unwrap());
        let policy = crate::rules::policy::Policy {
            largest_skip: vec![limit],
            ..crate::rules::policy::Policy::default()
        };
        let opened = opened.under(policy);
        for cause in [Cause::Expiry, Cause::Operator] {
            let close = Change {
                cause,
                ..change(Edit::Close(OpeningId(3)))
            };
            let closed = opened.with(&close).unwrap();
            assert_eq!(
                closed.value("queue.orders.skip").unwrap().0.to_json(),
                json!(0.2)
            );
        }
    }
}
