//! What the settings of a queue say of queues beside it: the admitted queue that workers read, and the queue by which they report.

use super::Queue;
use super::build::Section;
use super::problems::Notes;

/// Refuses queues that would feed back into each other. `vhost` is that of the broker's URL, when it is known.
pub(super) fn check(
    sections: &[Section<'_>],
    queues: &[Option<Queue>],
    vhost: Option<&str>,
    notes: &mut Notes,
) {
    let known: Vec<&Queue> = queues.iter().flatten().collect();
    for (section, queue) in sections.iter().zip(queues) {
        let Some(queue) = queue else { continue };
        let at = |queue: &Queue| queue.vhost.clone().or(vhost.map(str::to_owned));
        let is_taken = |name: &str| {
            known
                .iter()
                .any(|other| other.broker_name == name && at(other) == at(queue))
        };
        let admitted = (!queue.admitted().is_empty()).then_some(queue.admitted());
        let dead = queue.dead_letter_queue.as_deref();
        let path = format!("queue.{}", queue.name);
        if let Some(admitted) = admitted {
            let fault = if admitted == queue.broker_name {
                Some("is the queue itself, so that a message would come back for ever")
            } else if Some(admitted) == dead {
                Some("is its dead-letter queue, so that dead letters would be worked on")
            } else if is_taken(admitted) {
                Some("is taken in hand itself, so that a message would be gated twice")
            } else {
                None
            };
            if let Some(fault) = fault {
                notes.add(
                    section.section("target").place("queue"),
                    format!("`{path}.target` {fault}"),
                    "name a queue that only workers read, such as \"orders.admitted\"",
                );
            }
        }
        if let Some(outcomes) = queue.outcomes_queue.as_deref() {
            let clashes = is_taken(outcomes) || [admitted, dead].contains(&Some(outcomes));
            if clashes {
                notes.add(
                    section.section("outcomes").place("queue"),
                    format!("`{path}.outcomes` is a queue of messages, and everything in it would be taken for a report"),
                    "name a queue that only reports go to, such as \"orders.outcomes\"",
                );
            }
        }
    }
}
