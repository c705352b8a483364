//! A queue with workers in virtual time: jobs come, wait, are started or shed, and are done on time or late. The unit of time is
//! a second, and the mean work of a job is one second.

use std::collections::VecDeque;

/// Numbers drawn from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def0)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// From 0 to 1, never either.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    pub(crate) fn exponential(&mut self) -> f64 {
        -self.unit().ln()
    }

    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// How long jobs take; one second on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Work {
    Constant,
    Exponential,
    /// Lognormal with a coefficient of variation of 2.9.
    HeavyTailed,
}

impl Work {
    pub(crate) const ALL: [Work; 3] = [Work::Constant, Work::Exponential, Work::HeavyTailed];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Exponential => "exponential",
            Self::HeavyTailed => "heavy tail",
        }
    }

    fn draw(self, draws: &mut Draws) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Exponential => draws.exponential(),
            Self::HeavyTailed => {
                let variance = (1.0_f64 + 2.9 * 2.9).ln();
                (variance.sqrt() * draws.normal() - variance / 2.0).exp()
            }
        }
    }
}

/// A job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    pub(crate) published: f64,
    pub(crate) work: f64,
    /// Seconds from publishing until it is useless.
    pub(crate) deadline: f64,
    pub(crate) account: u32,
    pub(crate) priority: u8,
    pub(crate) lot: u64,
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum End {
    OnTime,
    Late,
    Shed,
}

/// Where a job is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) now: f64,
    pub(crate) age: f64,
    /// Jobs that wait behind it.
    pub(crate) waiting: usize,
    /// Jobs that its worker does before it.
    pub(crate) ahead: usize,
    /// Whether it was asked for before.
    pub(crate) again: bool,
}

/// Who decides.
pub(crate) trait Valve {
    /// A job is published: whether it may enter the queue. Asked of valves that stand at the publisher.
    fn enters(&mut self, _now: f64, _job: &Job, _waiting: usize) -> bool {
        true
    }
    /// Whether the newest job goes first now.
    fn newest_first(&mut self, _now: f64, _waiting: usize) -> bool {
        false
    }
    /// Whether a job is started.
    fn starts(&mut self, view: &View, job: &Job) -> bool;
    /// A job was done.
    fn done(&mut self, _now: f64, _job: &Job, _took: f64, _on_time: bool) {}
    /// A worker found nothing waiting.
    fn caught_up(&mut self, _now: f64) {}
}

/// When the valve is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Asked {
    /// When a worker begins a job.
    AtStart,
    /// When the queue delivers it to a worker, which may hold others.
    AtDelivery,
}

/// A queue and its workers.
pub(crate) struct Scene<'a> {
    pub(crate) workers: usize,
    /// Jobs that each worker holds beside the one that it does.
    pub(crate) holds: usize,
    pub(crate) asked: Asked,
    pub(crate) until: f64,
    pub(crate) work: Work,
    /// Jobs offered per second at a time.
    pub(crate) rate: &'a dyn Fn(f64) -> f64,
    /// The highest rate.
    pub(crate) peak: f64,
    /// How many times longer jobs take that start at a time.
    pub(crate) slowness: &'a dyn Fn(f64) -> f64,
    /// Jobs at the start: how many, over which age.
    pub(crate) backlog: (usize, f64),
    /// What a job is like: changes it as drawn.
    pub(crate) make: &'a dyn Fn(&mut Job, &mut Draws),
}

pub(crate) const DEADLINE: f64 = 10.0;

impl<'a> Scene<'a> {
    /// One worker, a constant load.
    pub(crate) fn steady(
        work: Work,
        workers: usize,
        rate: &'a dyn Fn(f64) -> f64,
        peak: f64,
    ) -> Self {
        Scene {
            workers,
            holds: 0,
            asked: Asked::AtStart,
            until: 6_000.0,
            work,
            rate,
            peak,
            slowness: &|_| 1.0,
            backlog: (0, 0.0),
            make: &|_, _| {},
        }
    }

    /// Plays it, telling what becomes of each job and when.
    pub(crate) fn play(
        &self,
        seed: u64,
        valve: &mut dyn Valve,
        mut tell: impl FnMut(&Job, End, f64),
    ) {
        let mut play = Play {
            scene: self,
            valve,
            tell: &mut tell,
            draws: Draws::of(seed),
            queue: VecDeque::new(),
            workers: (0..self.workers).map(|_| Worker::default()).collect(),
        };
        play.run();
    }
}

#[derive(Default)]
struct Worker {
    /// What it does, when it began and when that ends.
    doing: Option<(Job, f64, f64)>,
    held: VecDeque<Job>,
}

struct Play<'p, 'a> {
    scene: &'p Scene<'a>,
    valve: &'p mut dyn Valve,
    tell: &'p mut dyn FnMut(&Job, End, f64),
    draws: Draws,
    queue: VecDeque<Job>,
    workers: Vec<Worker>,
}

impl Play<'_, '_> {
    fn run(&mut self) {
        let (count, over) = self.scene.backlog;
        for number in 0..count {
            let job = self.job(over * (number as f64 / count as f64 - 1.0));
            self.queue.push_back(job);
        }
        let mut next = self.after(0.0);
        self.begin_all(0.0);
        loop {
            let done = (0..self.workers.len())
                .filter_map(|worker| Some((self.workers[worker].doing?.2, worker)))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            let now = done.map_or(next, |(at, _)| at.min(next));
            if now >= self.scene.until {
                return;
            }
            match done {
                Some((at, worker)) if at <= next => self.finish(at, worker),
                _ => {
                    let job = self.job(next);
                    if self.valve.enters(next, &job, self.queue.len()) {
                        self.queue.push_back(job);
                    } else {
                        (self.tell)(&job, End::Shed, next);
                    }
                    next = self.after(next);
                }
            }
            self.begin_all(now);
        }
    }

    /// When the next job is published: a Poisson process, thinned to the rate.
    fn after(&mut self, mut now: f64) -> f64 {
        loop {
            now += self.draws.exponential() / self.scene.peak;
            if now > self.scene.until
                || self.draws.unit() * self.scene.peak <= (self.scene.rate)(now)
            {
                return now;
            }
        }
    }

    fn job(&mut self, published: f64) -> Job {
        let mut job = Job {
            published,
            work: self.scene.work.draw(&mut self.draws),
            deadline: DEADLINE,
            account: 0,
            priority: 0,
            lot: self.draws.next(),
        };
        (self.scene.make)(&mut job, &mut self.draws);
        job
    }

    fn finish(&mut self, now: f64, worker: usize) {
        if let Some((job, began, _)) = self.workers[worker].doing.take() {
            let on_time = now - job.published <= job.deadline;
            self.valve.done(now, &job, now - began, on_time);
            (self.tell)(&job, if on_time { End::OnTime } else { End::Late }, now);
        }
    }

    fn begin_all(&mut self, now: f64) {
        // Those with the least in hand are served first.
        while !self.queue.is_empty() {
            let room = |worker: &Worker| match worker.doing {
                None if worker.held.is_empty() => 0,
                None => worker.held.len(),
                Some(_) => worker.held.len() + 1,
            };
            let free = (0..self.workers.len())
                .map(|worker| (room(&self.workers[worker]), worker))
                .min();
            match free {
                Some((held, worker)) if held <= self.scene.holds => {
                    self.deliver(now, worker, held);
                    self.begin(now, worker);
                }
                _ => break,
            }
        }
        for worker in 0..self.workers.len() {
            self.begin(now, worker);
        }
    }

    /// Takes jobs from the queue until one is taken by the worker.
    fn deliver(&mut self, now: f64, worker: usize, held: usize) {
        loop {
            let newest = self.valve.newest_first(now, self.queue.len());
            let job = if newest {
                self.queue.pop_back()
            } else {
                self.queue.pop_front()
            };
            let Some(job) = job else {
                self.valve.caught_up(now);
                return;
            };
            let passes = match self.scene.asked {
                Asked::AtStart => self.scene.holds > 0 || self.passes(now, &job, 0),
                Asked::AtDelivery => self.passes(now, &job, held),
            };
            if passes {
                self.workers[worker].held.push_back(job);
                return;
            }
            (self.tell)(&job, End::Shed, now);
        }
    }

    fn passes(&mut self, now: f64, job: &Job, ahead: usize) -> bool {
        let view = View {
            now,
            age: now - job.published,
            waiting: self.queue.len(),
            ahead,
            again: false,
        };
        self.valve.starts(&view, job)
    }

    fn begin(&mut self, now: f64, worker: usize) {
        while self.workers[worker].doing.is_none() {
            let Some(job) = self.workers[worker].held.pop_front() else {
                return;
            };
            let asked_again = self.scene.asked == Asked::AtStart && self.scene.holds > 0;
            if asked_again && !self.passes(now, &job, 0) {
                (self.tell)(&job, End::Shed, now);
                continue;
            }
            let end = now + job.work * (self.scene.slowness)(now);
            self.workers[worker].doing = Some((job, now, end));
        }
    }
}
