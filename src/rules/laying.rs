//! How openings come, change and go: what lies over flags for a time, and what lies beneath while a value is on its way.
//!
//! Whatever may be refused is refused when an opening comes. Nothing keeps one from its end.

use std::sync::Arc;

use serde_json::Value as Json;

use super::change::{Change, Edit, Refused};
use super::edits::{Touched, managed_by_others};
use super::flag::{Flag, Value};
use super::names::FlagKey;
use super::opening::{MOST_ON_ONE_FLAG, Opening, OpeningId, Restore, SHORTEST_RAMP};
use super::snapshot::Snapshot;
use super::units::Span;

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
        } = edit
        else {
            return Ok(());
        };
        let opening = Opening {
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
        if let Restore::Ramp(over) = opening.restore {
            ramps_in_time(over, change)?;
        }
        for (key, value) in &opening.values {
            let flag = self.standing(key.as_str(), None)?;
            let value = flag.read(value)?;
            let below = self
                .value(key.as_str())
                .map_or(Value::None, |(below, _)| below);
            if opening.restore != Restore::Snap {
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
            ..found.as_ref().clone()
        };
        if was_whole {
            Arc::make_mut(&mut self.openings).insert(id, Arc::new(extended));
            return Ok(());
        }
        self.lay(extended, touched)
    }

    /// A step back. It never goes up: only an extension does.
    pub(super) fn step(
        &mut self,
        id: OpeningId,
        strength: f64,
        touched: &mut Touched,
    ) -> Result<(), Refused> {
        let found = self.openings.get(&id).ok_or(Refused::NoOpening(id))?;
        let weaker = Opening {
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
