//! Has the management API asked what AMQP cannot tell, where the file names one.

use std::sync::Arc;

use crate::amqp;
use crate::api::{Doors, QueueDoor};
use crate::clock::Clock;
use crate::config::Settings;
use crate::management::{self, Client, Watched};
use crate::supervise::Tasks;

/// Starts to watch the surroundings of every queue.
pub(super) fn watch(settings: &Settings, doors: &Doors, clock: Clock, tasks: &mut Tasks) {
    let Some(management) = &settings.management else {
        return;
    };
    let client = Client::new(management);
    let watched = |door: &QueueDoor| Watched {
        vhost: settings.vhost_of(&door.settings).to_owned(),
        name: door.settings.broker_name.clone(),
        vitals: Arc::clone(&door.vitals),
    };
    let queues = doors.queues.iter().map(watched).collect();
    tasks.spawn("management", move |stop| {
        management::watch(client, queues, amqp::own_tag(), clock, stop)
    });
}
