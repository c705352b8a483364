//! The product's own rules, asked as the worker asks them, with the settings that they have by default.

use std::sync::Arc;
use std::time::Duration;

use sluicegate::rules::lots::KeyHash;
use sluicegate::rules::relief::decision::Decision;
use sluicegate::rules::relief::fair::{FairShare, Told};
use sluicegate::rules::relief::load::Measures;
use sluicegate::rules::relief::valve::{AutoValve, Bounds, Candidate};

use crate::queue::{DEADLINE, Job, Valve, View};

/// The automatic valve, and before it the fair share, if wanted.
pub struct Ours {
    pub valve: AutoValve,
    pub measures: Measures,
    pub fair: Option<FairShare>,
    /// Accounts that were reported.
    pub reported: Vec<KeyHash>,
    slots: u32,
    blind: bool,
    name: Arc<str>,
}

impl Ours {
    pub fn of(workers: usize) -> Self {
        Self {
            valve: AutoValve::new(Bounds::default()),
            measures: Measures::default(),
            fair: None,
            reported: Vec::new(),
            slots: workers as u32,
            blind: false,
            name: "somebody".into(),
        }
    }

    /// With the fair share before the valve.
    pub fn fairly(workers: usize) -> Self {
        let deadline = Duration::from_secs_f64(DEADLINE);
        Self {
            fair: Some(FairShare::for_deadline(deadline)),
            ..Self::of(workers)
        }
    }

    /// Not told of the jobs that a worker holds.
    pub fn blind(workers: usize) -> Self {
        Self {
            blind: true,
            ..Self::of(workers)
        }
    }

    fn is_fair(&mut self, now: Duration, job: &Job) -> bool {
        let Some(fair) = &mut self.fair else {
            return true;
        };
        let account = account(job);
        let usual_s = self.measures.service.all.mean_s().unwrap_or(1.0);
        fair.offered(now, account, &self.name, usual_s);
        for told in fair.tick(now, self.slots, usual_s) {
            if let Told::Reported(actor) = told {
                self.reported.push(actor.account);
            }
        }
        let lot = (job.lot.rotate_left(17) >> 11) as f64 / (1_u64 << 53) as f64;
        lot < fair.passing_share(now, account)
    }
}

/// The hash of a job's account.
pub fn account(job: &Job) -> KeyHash {
    KeyHash::of(&job.account.to_le_bytes())
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.max(0.0))
}

impl Valve for Ours {
    fn starts(&mut self, view: &View, job: &Job) -> bool {
        let now = seconds(view.now);
        let age = Some(seconds(view.age));
        if !view.again {
            self.measures.offered(now, age);
            if !self.is_fair(now, job) {
                return false;
            }
        }
        let ahead = match self.measures.service.all.mean_s() {
            Some(mean_s) if !self.blind => view.ahead as f64 * mean_s,
            _ => 0.0,
        };
        let candidate = Candidate {
            age,
            ahead: seconds(ahead),
            deadline: Some(seconds(job.deadline)),
            protected: false,
            priority: job.priority,
            job_type: None,
            lot: (job.lot >> 11) as f64 / (1_u64 << 53) as f64,
        };
        if !view.again {
            self.valve.arrived(now, &candidate);
        }
        self.valve.tick(now, &self.measures.service, self.slots);
        match self.valve.decide(now, &candidate) {
            Decision::Pass(_) => self.valve.began(now),
            Decision::Shed(..) => {
                self.valve.shed();
                return false;
            }
        }
        true
    }

    fn done(&mut self, _: f64, job: &Job, took: f64, on_time: bool) {
        self.measures.served(None, seconds(took));
        self.valve.finished(on_time);
        if let Some(fair) = &mut self.fair {
            fair.served(account(job), seconds(took));
        }
    }

    fn caught_up(&mut self, now: f64) {
        self.measures.caught_up(seconds(now));
        self.valve.caught_up(seconds(now));
    }
}
