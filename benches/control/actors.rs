//! One account floods everybody: what the others get. (G13)

use peers::report::Goal;

use crate::others::{FixedSkip, Quota};
use crate::ours::Ours;
use crate::queue::{DEADLINE, Draws, End, Job, Scene, Valve, Work};
use crate::tables::Tables;

const WORKERS: usize = 8;
const ALL: f64 = WORKERS as f64;
const GOOD: usize = 100;
/// When the bad ones begin.
const ONSET: f64 = 200.0;
/// What good accounts offer together, in units of what the workers can do.
const USUAL: f64 = 0.5;

/// Who floods, and how.
#[derive(Clone, Copy, PartialEq)]
enum Flood {
    /// One account: nine tenths of a fivefold load.
    One,
    /// The same, and the good ones are of very different sizes.
    AmongUnequal,
    /// Five accounts together.
    Five,
    /// One account with jobs that take five times as long.
    ByCost,
    /// Nobody: all are equal, and there is twice too much.
    Nobody,
}

/// What came of it.
#[derive(Default)]
struct Result {
    /// Of the good accounts' jobs on time, in percent: later, and in the first three deadlines.
    good: f64,
    first: f64,
    /// The workers' time spent on jobs that were on time, in percent.
    goodput: f64,
    jain: f64,
}

impl Flood {
    fn bad(self) -> usize {
        match self {
            Self::One | Self::AmongUnequal | Self::ByCost => 1,
            Self::Five => 5,
            Self::Nobody => 0,
        }
    }

    /// Jobs per second, before and after the onset.
    fn rate(self, now: f64) -> f64 {
        let flood = match self {
            Self::Nobody => return 2.0 * ALL,
            Self::ByCost => 4.5 / 5.0,
            _ => 4.5,
        };
        ALL * (USUAL + if now < ONSET { 0.0 } else { flood })
    }

    /// The mean work of jobs like this one.
    fn usual_work(self, job: &Job) -> f64 {
        let is_bad = job.account as usize >= GOOD;
        if self == Self::ByCost && is_bad {
            5.0
        } else {
            1.0
        }
    }

    fn make(self, job: &mut Job, draws: &mut Draws) {
        let good = if self == Self::Nobody {
            1.0
        } else {
            ALL * USUAL / self.rate(job.published)
        };
        if draws.unit() < good {
            job.account = match self {
                // The n-th largest is an n-th of the largest.
                Self::AmongUnequal => ((GOOD + 1) as f64).powf(draws.unit()) as u32 - 1,
                _ => (draws.next() % GOOD as u64) as u32,
            };
        } else {
            job.account = (GOOD + (draws.next() as usize % self.bad())) as u32;
            if self == Self::ByCost {
                job.work *= 5.0;
            }
        }
    }
}

fn play(tables: &Tables, flood: Flood, seed: u64, valve: &mut dyn Valve) -> Result {
    let until = ONSET + tables.arguments.of(2_000.0, 200.0);
    let settled = ONSET + 3.0 * DEADLINE;
    let rate = |now| flood.rate(now);
    let make = |job: &mut Job, draws: &mut Draws| flood.make(job, draws);
    let scene = Scene {
        until,
        make: &make,
        ..Scene::steady(Work::Exponential, WORKERS, &rate, 5.0 * ALL)
    };
    let mut accounts = vec![(0.0, 0.0); GOOD + 5];
    let (mut first, mut work) = ((0.0, 0.0), 0.0);
    scene.play(seed, valve, |job, end, at| {
        let on_time = f64::from(u8::from(end == End::OnTime));
        if job.published >= settled {
            let account = &mut accounts[job.account as usize];
            account.0 += on_time;
            account.1 += 1.0;
        } else if job.published >= ONSET && (job.account as usize) < GOOD {
            first.0 += on_time;
            first.1 += 1.0;
        }
        if at >= settled {
            work += on_time * flood.usual_work(job);
        }
    });
    let span = until - settled;
    let (done, offered) = accounts[..GOOD]
        .iter()
        .fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let bad = &accounts[GOOD..GOOD + flood.bad()];
    let cost = if flood == Flood::ByCost { 5.0 } else { 1.0 };
    let fair = (ALL * span - offered).max(0.0) / bad.len().max(1) as f64 / cost;
    // What each got of its fair share.
    let got = |fair: f64| move |one: &(f64, f64)| one.0 / one.1.min(fair);
    let mut shares: Vec<f64> = accounts[..GOOD]
        .iter()
        .filter(|one| one.1 > 0.0)
        .map(got(f64::MAX))
        .collect();
    shares.extend(bad.iter().map(got(fair)));
    Result {
        good: 100.0 * done / offered,
        first: 100.0 * first.0 / f64::max(first.1, 1.0),
        goodput: 100.0 * work / (ALL * span),
        jain: jain(&shares),
    }
}

fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|one| one * one).sum();
    sum * sum / (shares.len() as f64 * squares)
}

pub(crate) fn run(tables: &mut Tables) {
    let mean = |results: &[Result], of: fn(&Result) -> f64| {
        results.iter().map(of).sum::<f64>() / results.len() as f64
    };
    let many = |make: &dyn Fn(u64) -> Box<dyn Valve>| -> Vec<Result> {
        let seeds = tables.seeds(3);
        seeds
            .map(|seed| play(tables, Flood::One, seed, &mut *make(seed)))
            .collect()
    };
    let age = many(&|_| Box::new(Ours::of(WORKERS)));
    let skip = many(&|seed| Box::new(FixedSkip(0.8, Draws::of(seed))));
    let quota = many(&|_| Box::new(Quota::of(5.0 * USUAL * ALL / GOOD as f64, GOOD + 5)));
    let (age_good, skip_good) = (mean(&age, |one| one.good), mean(&skip, |one| one.good));
    let quota_goodput = mean(&quota, |one| one.goodput);
    tables.reproduced("age valve only, good accounts", age_good, 20.0);
    tables.reproduced("random skip, good accounts", skip_good, 12.0);
    tables.reproduced("static quota, goodput", quota_goodput, 52.0);
    let against = format!("age valve only {age_good:.0} %, random skip {skip_good:.0} %");
    for (flood, name, least) in FLOODS {
        let against = if flood == Flood::One { &*against } else { "" };
        let results = flooded(tables, flood, name);
        let what = format!("{name}: the others on time");
        let good = results.iter().map(|one| one.good).collect();
        tables.goal(&what, against, Goal::AtLeast(least), " %", good);
        if flood == Flood::One {
            of_one(tables, &results, quota_goodput);
        }
    }
    equal(tables);
}

fn equal(tables: &mut Tables) {
    let mut reported = 0.0;
    let mut goodput = Vec::new();
    for seed in tables.seeds(3) {
        let mut ours = Ours::fairly(WORKERS);
        goodput.push(play(tables, Flood::Nobody, seed, &mut ours).goodput);
        reported += ours.reported.len() as f64;
    }
    let what = "100 equal accounts at 2×: goodput";
    tables.goal(what, "", Goal::AtLeast(95.0), " %", goodput);
    tables.goal(
        "accounts reported in it",
        "",
        Goal::AtMost(0.0),
        "",
        vec![reported],
    );
}

const FLOODS: [(Flood, &str, f64); 4] = [
    (Flood::One, "one account sends 90 % of 5×", 98.0),
    (
        Flood::AmongUnequal,
        "the same among accounts of unequal size",
        98.0,
    ),
    (Flood::Five, "five accounts send 18 % each of 5×", 98.0),
    (
        Flood::ByCost,
        "one account's jobs take five times as long",
        92.0,
    ),
];

/// Ours against a flood; nobody who is innocent may be reported.
fn flooded(tables: &mut Tables, flood: Flood, name: &str) -> Vec<Result> {
    let mut innocent = 0;
    let mut results = Vec::new();
    for seed in tables.seeds(3) {
        let mut ours = Ours::fairly(WORKERS);
        results.push(play(tables, flood, seed, &mut ours));
        innocent += ours.wrongly_reported(GOOD as u32);
    }
    let what = format!("{name}: innocent accounts reported");
    tables.goal(&what, "", Goal::AtMost(0.0), "", vec![f64::from(innocent)]);
    results
}

fn of_one(tables: &mut Tables, results: &[Result], quota: f64) {
    let all = |of: fn(&Result) -> f64| results.iter().map(of).collect::<Vec<f64>>();
    let goal = Goal::AtLeast;
    let against = format!("static quota {quota:.0} %");
    tables.goal(
        "its goodput",
        &against,
        goal(93.0),
        " %",
        all(|one| one.goodput),
    );
    tables.goal("its Jain index", "", goal(0.99), "", all(|one| one.jain));
    let what = "the others on time in the first three deadlines";
    tables.goal(what, "", goal(80.0), " %", all(|one| one.first));
}
