//! What is due of which opening, by two clocks of which one jumps. Imports `rules` and `clock`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Now;
use crate::rules::opening::{Opening, OpeningId};
use crate::rules::ramp::Stage;
use crate::rules::snapshot::Snapshot;

/// While something is open we look this often whether the wall clock has jumped.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is to be done of an opening now.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Due {
    /// Its end comes near.
    Reminder(Arc<Opening>),
    /// Less of it holds from now on.
    Step(Arc<Opening>, f64),
    /// Its time is over.
    End(Arc<Opening>),
}

/// The openings in force, each with the time that we know is left of it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    seen: BTreeMap<OpeningId, Seen>,
}

/// What we know of one opening.
#[derive(Debug, Clone, Copy)]
struct Seen {
    ends_at_ms: i64,
    strength: f64,
    /// When nothing of it holds any more, on the clock that never jumps.
    over: Duration,
    reminded: bool,
    /// Whether it was said that it could not be closed.
    overdue: bool,
}

impl Seen {
    fn of(opening: &Opening, now: Now) -> Self {
        // A clock that was set back gives nobody more time.
        let left = opening.left_at(now.ms).min(opening.most_left());
        Self {
            ends_at_ms: opening.ends_at_ms,
            strength: opening.strength,
            over: now.mono.saturating_add(left),
            reminded: opening.strength < 1.0 || opening.reminds_before().is_none(),
            overdue: false,
        }
    }

    /// The time that is left, by whichever clock is further.
    fn left(&self, opening: &Opening, now: Now) -> Duration {
        let by_mono = self.over.saturating_sub(now.mono);
        opening.left_at(now.ms).min(by_mono)
    }

    /// What is due, and how long until something else is.
    fn due(&mut self, opening: &Arc<Opening>, now: Now) -> (Option<Due>, Duration) {
        match opening.stage(self.left(opening, now)) {
            Stage::Over => (Some(Due::End(Arc::clone(opening))), LOOK_EVERY),
            Stage::Ramps { strength, next } => {
                let weaker = strength < opening.strength;
                let step = weaker.then(|| Due::Step(Arc::clone(opening), strength));
                (step, next)
            }
            Stage::Holds(left) => {
                let before = opening.reminds_before().unwrap_or_default();
                if self.reminded || left > before {
                    let reminder = left.saturating_sub(before);
                    return (None, if self.reminded { left } else { reminder });
                }
                self.reminded = true;
                (Some(Due::Reminder(Arc::clone(opening))), left)
            }
        }
    }
}

impl Watch {
    /// What is due, and when to look again (on the clock that never jumps); `None`: nothing is open.
    pub(super) fn due(&mut self, snapshot: &Snapshot, now: Now) -> (Vec<Due>, Option<Duration>) {
        self.seen.retain(|id, _| snapshot.opening(*id).is_some());
        let mut due = Vec::new();
        let mut wait: Option<Duration> = None;
        for opening in snapshot.openings() {
            let seen = self.seen.entry(opening.id);
            let seen = seen.or_insert_with(|| Seen::of(opening, now));
            if seen.ends_at_ms != opening.ends_at_ms || opening.strength > seen.strength {
                *seen = Seen::of(opening, now); // it was extended
            }
            if opening.strength < seen.strength {
                // What it went back it does not get again, also when the clock is then set back.
                seen.over = seen.over.min(now.mono.saturating_add(opening.most_left()));
                seen.strength = opening.strength;
            }
            let (what, next) = seen.due(opening, now);
            due.extend(what);
            wait = Some(wait.map_or(next, |wait| wait.min(next)).min(LOOK_EVERY));
        }
        (due, wait.map(|wait| now.mono.saturating_add(wait)))
    }

    /// Whether it was not yet said that this one could not be closed.
    pub(super) fn is_news(&mut self, id: OpeningId) -> bool {
        let seen = self.seen.get_mut(&id);
        seen.is_some_and(|seen| !std::mem::replace(&mut seen.overdue, true))
    }
}
