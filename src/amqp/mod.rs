//! RabbitMQ behind the worker's seams. The only room that names lapin.
//! May import `seams`, `config`, `rules` and `topology`.

mod acks;
mod admitted;
pub mod beside;
pub mod check;
mod connection;
mod declare;
mod depths;
mod flights;
mod greeting;
mod headers;
mod hunger;
mod inlet;
mod lanes;
mod letter;
mod notes;
mod outlet;
pub mod parked;
mod probe;
mod publisher;
mod source;
mod tap;

pub use connection::own_tag;
pub use inlet::AmqpInlet;
pub use outlet::AmqpOutlet;

use crate::config::{Amqp, Queue};

/// For the log filter: the client writes whole messages into its warnings, and what matters of the rest we say ourselves.
pub const CLIENT_LOGS: &str = "lapin=off";

/// Both ends of one queue: to take messages from, and to put them elsewhere.
///
/// To be called inside a `LocalSet` on the queue's own thread: both ends stay there, and the outlet keeps its connection up by a
/// local task. The inlet connects when it is first polled. Neither fails: what is wrong is told as
/// [`LinkState`](crate::seams::LinkState), and tried again.
#[must_use]
pub fn open(settings: &Amqp, queue: &Queue) -> (AmqpInlet, AmqpOutlet) {
    let consume = connection::Connector::new(settings, Some(queue), "consume");
    let publish = connection::Connector::new(settings, Some(queue), "publish");
    (
        AmqpInlet::new(consume, queue.broker_name.clone(), queue.order.is_kept()),
        AmqpOutlet::start(publish, queue.clone()),
    )
}

/// The queue by which workers report what came of their work; `None`: the file names none. As [`open`] says of its inlet.
#[must_use]
pub fn open_outcomes(settings: &Amqp, queue: &Queue) -> Option<AmqpInlet> {
    let outcomes = queue.outcomes_queue.clone()?;
    let connector = connection::Connector::new(settings, Some(queue), "outcomes");
    Some(AmqpInlet::new(connector, outcomes, false))
}
