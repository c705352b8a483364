//! How a queue stands to its load, and what relief does about it: what pages and API show, what a scaler asks, what an end by
//! health is judged by. May import `rules`.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Event, QueueVitals};
use crate::rules::relief::asking::Asking;
use crate::rules::relief::health::Standing;
use crate::rules::relief::load::Load;
use crate::rules::relief::valve::AutoValve;

/// How a queue stands to its load, and what relief does. Measured whether the automatic valve is on or not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct ReliefReport {
    /// Who turns `skip`: manual, observe or auto.
    #[schema(example = "auto")]
    pub mode: String,
    /// Why automatic relief sheds nothing though it is on; empty: nothing keeps it from that.
    pub idle_because: String,
    /// Jobs offered per second, by the time at which they were published; also those that are shed.
    pub offered_per_second: f64,
    /// Jobs per second that all slots can do; null: fewer than 30 were done so far.
    pub capacity_per_second: Option<f64>,
    /// Slots that it takes to do all that is offered; null: not known yet.
    pub workers_wanted: Option<f64>,
    /// From publishing until a job is useless, in seconds: the tightest deadline of at least 5 % of them; null: none has any.
    pub deadline_seconds: Option<f64>,
    /// The age in seconds up to which jobs are worth starting: T.
    pub limit_seconds: Option<f64>,
    /// What a job needs at least, in seconds.
    pub need_seconds: Option<f64>,
    /// The factor on T, from 0.25 to 1: below 1 more came late than was foreseen.
    pub gamma: Option<f64>,
    /// The share, from 0 to 1, that automatic relief has to shed as things stand: what is offered beyond the capacity.
    pub expected_ratio: f64,
    /// The share that it shed lately; in observe: would have shed.
    pub shed_ratio: f64,
    /// Messages that it shed since the start.
    pub shed: u64,
    /// Messages that it would have shed in observe.
    pub would_shed: u64,
    /// The slots that one key may keep busy so that all have their share; null: there is enough for all, or no key.
    pub fair_workers: Option<f64>,
    /// Keys that bring too much, or whose jobs fail unlike those of others.
    pub bad_actors: Vec<BadActorReport>,
}

/// A key that is to blame: who, how much and since when.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = BadActor)]
pub struct BadActorReport {
    /// The key, such as an account; null: no message of it came since it was found out.
    pub key: Option<String>,
    /// `load`: it brings more than three times its fair share; `failures`: its jobs fail, unlike those of others.
    #[schema(example = "load")]
    pub because: &'static str,
    /// The slots that what it brings would keep busy; null: it is not its load.
    pub workers: Option<f64>,
    /// Its fair share of them.
    pub fair_workers: Option<f64>,
    /// Its share of all offered work, from 0 to 1.
    pub ratio: Option<f64>,
    /// For how long, in seconds.
    pub for_seconds: f64,
    /// What is done about it: observe, limit or degrade.
    #[schema(example = "observe")]
    pub answer: &'static str,
}

/// What the worker tells of relief, once a second.
#[derive(Debug, Clone, Default)]
pub struct ReliefNow {
    /// What is shown.
    pub report: ReliefReport,
    /// The load.
    pub load: Option<Load>,
    /// The automatic valve as it stood, to be asked what it would say of a message, and how; `None`: nothing came yet.
    pub valve: Option<Arc<(AutoValve, Asking)>>,
}

impl QueueVitals {
    /// How relief stands.
    pub fn relief(&self, now: ReliefNow) {
        self.lock().relief = now;
    }

    /// The load on the queue; `None`: nothing was measured yet.
    #[must_use]
    pub fn load(&self) -> Option<Load> {
        self.lock().relief.load
    }

    /// Whether the queue is well, as far as is known; `None`: nothing was measured yet.
    #[must_use]
    pub fn standing(&self, now: Duration) -> Option<Standing> {
        let inner = self.lock();
        Some(Standing {
            on_time: inner.on_time(now),
            load: inner.relief.load?,
            sheds: inner.events.in_the_last_minute(now, Event::Shed as usize) > 0,
        })
    }

    /// The automatic valve as it stood within the last second, and how it is asked; `None`: nothing came yet.
    #[must_use]
    pub fn auto_valve(&self) -> Option<Arc<(AutoValve, Asking)>> {
        self.lock().relief.valve.clone()
    }

    /// The keys that are to blame now.
    #[must_use]
    pub fn bad_actors(&self) -> Vec<BadActorReport> {
        self.lock().relief.report.bad_actors.clone()
    }
}
