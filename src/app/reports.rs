//! Reports of outcomes that come by a queue, and the books in which those of any queue are counted.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::api::Doors;
use crate::clock::Clock;
use crate::outcomes::{self, Books};
use crate::rules::names::QueueName;
use crate::seams::Inlet;

/// Listens to the reports of one queue until `stop`; ends at once when it has no queue of reports.
pub(super) async fn listen(
    reports: Option<impl Inlet>,
    own: QueueName,
    doors: Arc<Doors>,
    clock: Clock,
    stop: CancellationToken,
) {
    if let Some(reports) = reports {
        let find = |queue: &str| books_of(&doors, queue);
        outcomes::listen(reports, own.as_str(), find, clock, stop).await;
    }
}

fn books_of<'d>(doors: &'d Doors, queue: &str) -> Option<Books<'d>> {
    let mut all = doors.queues.iter();
    let door = all.find(|door| door.settings.name.as_str() == queue)?;
    Some(Books {
        vitals: &door.vitals,
        metrics: &door.metrics,
    })
}
