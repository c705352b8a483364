//! How a queue stands to its load: what an end by health is judged by. May import `rules`.

use std::time::Duration;

use super::{Event, Inner, QueueVitals};
use crate::rules::relief::health::Standing;
use crate::rules::relief::load::Load;

impl QueueVitals {
    /// The load on the queue; `None`: nothing was measured yet.
    #[must_use]
    pub fn load(&self) -> Option<Load> {
        self.lock().load
    }

    /// Whether the queue is well, as far as is known; `None`: nothing was measured yet.
    #[must_use]
    pub fn standing(&self, now: Duration) -> Option<Standing> {
        let inner = self.lock();
        Some(Standing {
            on_time: inner.on_time(now),
            load: inner.load?,
            sheds: inner.events.in_the_last_minute(now, Event::Shed as usize) > 0,
        })
    }
}

impl Inner {
    /// What is taken is what is offered, while a valve sheds the rest; a backlog that nobody takes is no silence.
    pub(super) fn measure(&mut self, now: Duration) {
        let taken = self.events.per_second(now, Event::Received as usize);
        let waits = self.ready.is_some_and(|ready| ready > 0);
        self.load = Some(Load {
            offered: if waits {
                taken.max(f64::MIN_POSITIVE)
            } else {
                taken
            },
            service_s: self.service.mean_s(),
            slots: self.slots,
        });
    }
}
