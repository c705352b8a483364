//! The product's own rules, asked as the worker asks them, with the settings that they have by default.

use std::sync::Arc;
use std::time::Duration;

use sluicegate::rules::lots::KeyHash;
use sluicegate::rules::relief::decision::Decision;
use sluicegate::rules::relief::fair::{FairShare, Share, Told};
use sluicegate::rules::relief::load::Measures;
use sluicegate::rules::relief::valve::{AutoValve, Bounds, Candidate};

use crate::queue::{DEADLINE, Job, Valve, View};

/// The automatic valve, and before it the fair share, if wanted.
pub(crate) struct Ours {
    pub(crate) valve: AutoValve,
    pub(crate) measures: Measures,
    pub(crate) fair: Option<FairShare>,
    /// Accounts that were reported.
    pub(crate) reported: Vec<KeyHash>,
    slots: u32,
    blind: bool,
    name: Arc<str>,
}

impl Ours {
    pub(crate) fn of(workers: usize) -> Self {
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
    pub(crate) fn fairly(workers: usize) -> Self {
        let deadline = Duration::from_secs_f64(DEADLINE);
        Self {
            fair: Some(FairShare::for_deadline(deadline)),
            ..Self::of(workers)
        }
    }

    /// Not told of the jobs that a worker holds.
    pub(crate) fn blind(workers: usize) -> Self {
        Self {
            blind: true,
            ..Self::of(workers)
        }
    }

    /// How many of the accounts below this number were reported.
    pub(crate) fn wrongly_reported(&self, good: u32) -> u32 {
        let is_good = |one: &KeyHash| (0..good).any(|number| *one == hash(number));
        self.reported.iter().filter(|one| is_good(one)).count() as u32
    }

    /// How its account stands to its fair share.
    fn share(&mut self, now: Duration, age: Option<Duration>, job: &Job) -> Share {
        let Some(fair) = &mut self.fair else {
            return Share::WITHIN;
        };
        let account = account(job);
        let usual_s = self.measures.service.all.mean_s().unwrap_or(1.0);
        fair.offered(now, age, (account, &self.name), usual_s);
        for told in fair.tick(now, self.slots, usual_s) {
            if let Told::Reported(actor) = told {
                self.reported.push(actor.account);
            }
        }
        fair.share_of(account)
    }
}

/// The hash of a job's account.
fn account(job: &Job) -> KeyHash {
    hash(job.account)
}

fn hash(account: u32) -> KeyHash {
    KeyHash::of(&account.to_le_bytes())
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.max(0.0))
}

impl Valve for Ours {
    fn starts(&mut self, view: &View, job: &Job) -> bool {
        let now = seconds(view.now);
        let age = Some(seconds(view.age));
        let mut share = Share::WITHIN;
        if !view.again {
            self.measures.offered(now, age);
            share = self.share(now, age, job);
            let lot = (job.lot.rotate_left(17) >> 11) as f64 / (1_u64 << 53) as f64;
            if lot >= share.passing {
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
            over_share: share.is_over,
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
            let usual_s = self.measures.service.all.mean_s().unwrap_or(1.0);
            fair.served(account(job), seconds(took), usual_s);
        }
    }

    fn caught_up(&mut self, now: f64) {
        self.measures.caught_up(seconds(now));
        self.valve.caught_up(seconds(now));
        if let Some(fair) = &mut self.fair {
            fair.caught_up(seconds(now));
        }
    }
}
