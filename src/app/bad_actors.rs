//! Tells the guard which accounts are to be degraded: those that a queue reports, where the file asks for that.

use std::sync::Arc;

use crate::api::{Doors, QueueDoor};
use crate::clock::Clock;
use crate::config::BadActor;
use crate::guard::{self, TooMuch};
use crate::supervise::Tasks;
use crate::vitals::BadActorReport;

/// Starts to degrade them, if any queue asks for it.
pub(super) fn watch(doors: &Arc<Doors>, clock: Clock, tasks: &mut Tasks) {
    let asks = |door: &QueueDoor| door.settings.relief.bad_actor == BadActor::Degrade;
    if !doors.queues.iter().any(asks) {
        return;
    }
    let store = Arc::clone(&doors.store);
    let doors = Arc::clone(doors);
    let blamed = move |_| {
        let queues = doors.queues.iter().filter(|door| asks(door));
        queues.flat_map(too_much).collect()
    };
    tasks.spawn("bad actors", move |stop| {
        guard::degrade(store, clock, blamed, stop)
    });
}

fn too_much(door: &QueueDoor) -> Vec<TooMuch> {
    let settings = &door.settings;
    let Some(attribute) = &settings.reading.key else {
        return Vec::new();
    };
    let by_load = door.vitals.bad_actors().into_iter();
    let by_load = by_load.filter_map(|actor| {
        let why = why(&actor)?;
        Some(TooMuch {
            queue: settings.name.clone(),
            attribute: attribute.clone(),
            key: actor.key?,
            to: settings.relief.degrade_to.clone(),
            lasting: settings.relief.degrade_for,
            why,
        })
    });
    by_load.collect()
}

/// `brings work for 9.1 slots, 72% of all, for 45 s; its fair share is 1.1 slots`; `None`: it is not its load.
fn why(actor: &BadActorReport) -> Option<String> {
    let (workers, share) = (actor.workers?, actor.ratio?);
    let fair = actor.fair_workers;
    let fair = fair.map_or_else(
        || "there is enough for all now".to_owned(),
        |fair| format!("its fair share is {fair:.1} slots"),
    );
    let brings = format!(
        "brings work for {workers:.1} slots, {:.0}% of all",
        share * 100.0
    );
    Some(format!("{brings}, for {:.0} s; {fair}", actor.for_seconds))
}
