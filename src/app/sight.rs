//! Lets the guard see how queues do: their vitals, in its words.

use std::sync::Arc;
use std::time::Duration;

use crate::api::Doors;
use crate::guard::{Seen, Sight};
use crate::rules::names::QueueName;

/// The vitals of all queues.
#[derive(Debug)]
pub(super) struct Eyes(pub(super) Arc<Doors>);

impl Sight for Eyes {
    fn of(&self, queue: &QueueName, now: Duration) -> Option<Seen> {
        let mut doors = self.0.queues.iter();
        let vitals = &doors.find(|door| door.settings.name == *queue)?.vitals;
        let standing = vitals.is_consumed().then(|| vitals.standing(now))??;
        Some(Seen {
            on_time: standing.on_time,
            load: standing.load,
            sheds: standing.sheds,
            holds_back: vitals.holds_back(),
        })
    }
}
