//! How the queues under an opening do, as far as its end asks: an opening that ends when they are well, and one whose end would
//! hurt now. Imports `rules`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::clock::Now;
use crate::rules::names::QueueName;
use crate::rules::opening::{LONGEST, Opening, OpeningId};
use crate::rules::relief::health::{self, AtEnd, Standing, UntilWell};
use crate::rules::relief::load::Load;
use crate::rules::snapshot::Snapshot;
use crate::rules::units::Span;
use crate::rules::valve::Valve;

/// How a queue does, as the guard asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// The share of jobs done on time lately, from 0 to 1; `None`: none was done that had a deadline.
    pub on_time: Option<f64>,
    /// The load on it.
    pub load: Load,
    /// Whether anything was shed in the last minute.
    pub sheds: bool,
    /// Whether messages wait though the workers could take them: a limit of rate holds them back.
    pub holds_back: bool,
}

/// Who sees how queues do.
pub trait Sight: fmt::Debug + Send + Sync {
    /// How a queue does at `now`, time since the clock's start; `None`: it is not served now, so nobody can tell.
    fn of(&self, queue: &QueueName, now: Duration) -> Option<Seen>;
}

/// How the queue of an opening stands.
struct Stands {
    queue: QueueName,
    standing: Standing,
}

/// Watches the queues of openings that end by health.
#[derive(Debug, Default)]
pub(super) struct Health {
    watches: BTreeMap<OpeningId, health::Watch>,
    /// Those that began to go back because their queue was well; everybody was told.
    going_back: BTreeSet<OpeningId>,
}

impl Health {
    /// Forgets what is over.
    pub(super) fn retain(&mut self, snapshot: &Snapshot) {
        self.watches.retain(|id, _| snapshot.opening(*id).is_some());
        self.going_back.retain(|id| snapshot.opening(*id).is_some());
    }

    /// Why an opening that ends by health is to end now; `None`: it is not to.
    pub(super) fn ends(
        &mut self,
        sight: &dyn Sight,
        snapshot: &Snapshot,
        opening: &Opening,
        now: Now,
    ) -> Option<String> {
        let until = opening.until?;
        let goes_back = opening.strength < 1.0 || opening.left_at(now.ms) <= opening.way_back();
        if goes_back {
            return None;
        }
        let all = standings(sight, snapshot, opening, now.mono);
        let watch = self.watches.entry(opening.id).or_default();
        let Some(all) = all.filter(|all| !all.is_empty()) else {
            *watch = health::Watch::default();
            return None;
        };
        let unwell = all.iter().find(|one| !one.standing.is_well(until.on_time));
        let worst = unwell.or(all.first())?;
        let ends = watch.look(now.mono, &until, &worst.standing);
        let well_for = watch.well_for(now.mono)?;
        ends.then(|| well(&all, &until, well_for))
    }

    /// Notes that everybody was told that this one goes back.
    pub(super) fn goes_back(&mut self, id: OpeningId) {
        self.going_back.insert(id);
    }

    /// Whether that still has to be told.
    pub(super) fn is_to_be_told(&self, id: OpeningId) -> bool {
        !self.going_back.contains(&id)
    }
}

/// By how much an opening whose time is over is to be extended because its end would hurt now, and why; `None`: it ends.
pub(super) fn extension(
    sight: &dyn Sight,
    snapshot: &Snapshot,
    opening: &Opening,
    now: Duration,
) -> Option<(Span, String)> {
    let relieves = |(_, valve): (_, Valve)| valve.relieves();
    let holds = opening.values.iter().any(|(key, _)| {
        let valve = snapshot.valve(key.as_str());
        valve.is_some_and(relieves) && is_on_top(snapshot, opening, key.as_str())
    });
    if opening.beneath || !holds {
        return None;
    }
    let length = u64::try_from(opening.length().as_millis()).unwrap_or(u64::MAX);
    let length = Span::from_millis(length).min(LONGEST);
    let all = standings(sight, snapshot, opening, now)?;
    all.iter().find_map(
        |one| match health::at_end(length, opening.extended, &one.standing) {
            AtEnd::Extended(by) => Some((by, hurts(one, by))),
            AtEnd::Ends => None,
        },
    )
}

/// Whether nothing newer that holds for everybody lies over this opening: else its end would change nothing.
fn is_on_top(snapshot: &Snapshot, opening: &Opening, key: &str) -> bool {
    let mut newer = snapshot
        .openings_on(key)
        .filter(|other| other.id > opening.id);
    !newer.any(|other| other.when.is_empty() && !other.beneath)
}

/// How the queues stand on whose valves an opening lies; `None`: of one of them nobody can tell.
fn standings(
    sight: &dyn Sight,
    snapshot: &Snapshot,
    opening: &Opening,
    now: Duration,
) -> Option<Vec<Stands>> {
    let mut queues: BTreeMap<&QueueName, bool> = BTreeMap::new();
    for (key, _) in &opening.values {
        if let Some((queue, valve)) = snapshot.valve(key.as_str()) {
            let limits_rate = matches!(valve, Valve::Rate | Valve::RateEach);
            *queues.entry(&queue.name).or_default() |= limits_rate;
        }
    }
    let stands = queues.into_iter().map(|(queue, limits_rate)| {
        let seen = sight.of(queue, now)?;
        Some(Stands {
            queue: queue.clone(),
            standing: Standing {
                on_time: seen.on_time,
                load: seen.load,
                sheds: seen.sheds || (limits_rate && seen.holds_back),
            },
        })
    });
    stands.collect()
}

/// `orders has been well for 10m: 99.1% on time (98% asked for), 40.0/s of the 200.0/s that its workers can do`
fn well(all: &[Stands], until: &UntilWell, lasted: Duration) -> String {
    let lasted = Span::from_secs(lasted.as_secs());
    let queues = all.iter().map(|one| {
        let on_time = match one.standing.on_time {
            Some(share) => format!(
                "{:.1}% on time ({}% asked for)",
                share * 100.0,
                (until.on_time.get() * 1e6).round() / 1e4
            ),
            None => "nothing comes any more".to_owned(),
        };
        let has = format!("{} has been well for {lasted}: {on_time}", one.queue);
        format!("{has}, {}", Loaded(one.standing.load))
    });
    queues.collect::<Vec<_>>().join("; ")
}

/// `its end would hurt now: orders still sheds, for 600.0/s of the 200.0/s that its workers can do; extended once, by 30m`
fn hurts(one: &Stands, by: Span) -> String {
    format!(
        "its end would hurt now: {} still sheds or holds back, for there are {}; extended once, by {by}",
        one.queue,
        Loaded(one.standing.load)
    )
}

/// A load, for people.
struct Loaded(Load);

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} jobs/s offered", self.0.offered)?;
        match self.0.capacity() {
            Some(capacity) => write!(f, " to workers that can do {capacity:.1}/s"),
            None => f.write_str(" to workers whose speed is not known yet"),
        }
    }
}

/// Nobody sees anything, so that time alone ends openings.
#[derive(Debug, Clone, Copy, Default)]
pub struct Blind;

impl Sight for Blind {
    fn of(&self, _: &QueueName, _: Duration) -> Option<Seen> {
        None
    }
}
