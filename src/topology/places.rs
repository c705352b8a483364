//! The queue of each place: its name, and the arguments with which it is declared. Whoever declares it, we or somebody else, these
//! never change, or the broker refuses the declaration. Imports `config` and `rules`.
//!
//! Delay queues are quorum queues that dead-letter at least once and refuse when full: through a classic one, messages were lost
//! when the source queue was full or gone. Park and dead letters are streams, one for each day. With `declare = false` there is
//! nobody to make one each day, so that they have one name for good, and bounds of age and size alone.

use crate::config::{ParkSettings, Queue};
use crate::rules::backoff::DELAYS;
use crate::rules::names::{Day, dead_stream, delay_queue, lane_queue, park_stream};
use crate::rules::settlement::Place;

/// The value of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A text.
    Text(String),
    /// A whole number; on the wire a signed one of 64 bits.
    Number(i64),
}

/// The arguments of a queue, by name.
pub type Arguments = Vec<(&'static str, Argument)>;

/// The name of the queue for a message of that time, milliseconds since 1970.
#[must_use]
pub fn name(queue: &Queue, place: Place, at_ms: i64) -> String {
    let of = &queue.broker_name;
    match (place, &queue.dead_letter_queue) {
        (Place::Delay(delay), _) => delay_queue(of, delay),
        (Place::Lane(lane), _) => lane_queue(of, lane),
        (Place::Admitted, _) => queue.admitted().to_owned(),
        (Place::Results, _) => queue.results_queue.clone().unwrap_or_default(),
        (Place::Park, _) if queue.declare => park_stream(of, Day::of(at_ms)),
        (Place::Park, _) => format!("sluicegate.park.{of}"),
        (Place::Dead, Some(theirs)) => theirs.clone(),
        (Place::Dead, None) if queue.declare => dead_stream(of, Day::of(at_ms)),
        (Place::Dead, None) => format!("sluicegate.dead.{of}"),
    }
}

/// Whether the queue of a place is ours to declare; else it is yours, and only its name is known.
#[must_use]
pub fn ours(queue: &Queue, place: Place) -> bool {
    match place {
        Place::Dead => queue.dead_letter_queue.is_none(),
        Place::Results => false,
        _ => true,
    }
}

/// The places that a queue may need and that can be named beforehand: all but the lanes.
#[must_use]
pub fn places(queue: &Queue) -> Vec<Place> {
    let mut places: Vec<Place> = DELAYS.into_iter().map(Place::Delay).collect();
    places.extend([Place::Park, Place::Dead]);
    if !queue.admitted().is_empty() {
        places.push(Place::Admitted);
    }
    if queue.results_queue.is_some() {
        places.push(Place::Results);
    }
    places
}

/// The arguments with which a place is declared.
#[must_use]
pub fn arguments(queue: &Queue, place: Place) -> Arguments {
    match place {
        Place::Delay(delay) => vec![
            ("x-queue-type", text("quorum")),
            ("x-message-ttl", Argument::Number(delay.as_millis())),
            ("x-overflow", text("reject-publish")),
            ("x-dead-letter-strategy", text("at-least-once")),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(&queue.broker_name)),
        ],
        // Written out, since a vhost may have another default: only a classic queue can be removed if it is empty, and none but it
        // gives a message back as often as need be.
        Place::Lane(_) => vec![("x-queue-type", text("classic"))],
        Place::Admitted => vec![
            ("x-max-length", Argument::Number(queue.slots.into())),
            ("x-overflow", text("reject-publish")),
        ],
        Place::Park | Place::Dead if queue.park.streams => stream(&queue.park),
        Place::Park | Place::Dead => plain(&queue.park),
        Place::Results => Arguments::new(),
    }
}

/// A stream drops whole segments, the oldest first: the smaller they are, the better its bounds are kept.
fn stream(park: &ParkSettings) -> Arguments {
    const SMALLEST: u64 = 1_000_000;
    const LARGEST: u64 = 100_000_000;
    let segment = (park.max_bytes / 20).clamp(SMALLEST, LARGEST);
    vec![
        ("x-queue-type", text("stream")),
        ("x-max-age", text(&format!("{}s", park.max_age.as_secs()))),
        ("x-max-length-bytes", bytes(park.max_bytes)),
        ("x-stream-max-segment-size-bytes", bytes(segment)),
    ]
}

/// A plain queue that refuses when it is full, for brokers without streams.
fn plain(park: &ParkSettings) -> Arguments {
    let max_age = i64::try_from(park.max_age.as_millis()).unwrap_or(i64::MAX);
    vec![
        ("x-message-ttl", Argument::Number(max_age)),
        ("x-max-length-bytes", bytes(park.max_bytes)),
        ("x-overflow", text("reject-publish")),
    ]
}

fn text(text: &str) -> Argument {
    Argument::Text(text.to_owned())
}

fn bytes(count: u64) -> Argument {
    Argument::Number(i64::try_from(count).unwrap_or(i64::MAX))
}
