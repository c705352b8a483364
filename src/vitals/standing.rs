//! How a queue stands: whether it is well, and whether the end of a valve would hurt it. May import `rules` and `seams`.

use std::time::Duration;

use super::{Event, Inner, QueueVitals};
use crate::rules::relief::health::Standing;
use crate::rules::relief::load::Load;
use crate::seams::LinkState;

impl QueueVitals {
    /// How the queue stands; `None`: it is not consumed now, so that nothing can be told of it.
    #[must_use]
    pub fn standing(&self, now: Duration) -> Option<Standing> {
        let inner = self.lock();
        (inner.link == LinkState::Consuming).then(|| Standing {
            on_time: inner.on_time(now),
            load: inner.load(now),
            sheds: inner.events.in_the_last_minute(now, Event::Shed as usize) > 0,
        })
    }

    /// The load on the queue.
    #[must_use]
    pub fn load(&self, now: Duration) -> Load {
        self.lock().load(now)
    }

    /// Whether messages wait though slots are free.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        let (_, in_lanes) = self.in_lanes();
        let inner = self.lock();
        let waits = inner.ready.is_some_and(|ready| ready > 0);
        in_lanes > 0 || (waits && inner.slots_busy < inner.slots)
    }
}

impl Inner {
    /// What is taken is what is offered, while a valve sheds the rest; a backlog that nobody takes is no silence.
    fn load(&self, now: Duration) -> Load {
        let taken = self.events.per_second(now, Event::Received as usize);
        let waits = self.ready.is_some_and(|ready| ready > 0);
        Load {
            offered: if waits {
                taken.max(f64::MIN_POSITIVE)
            } else {
                taken
            },
            service_s: self.service.mean_s(),
            slots: self.slots,
        }
    }
}
