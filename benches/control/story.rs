//! What happens in time: overload comes and goes, work becomes slow, a backlog is there at the start, a few jobs take very long,
//! jobs have several deadlines or priorities. (G4, G5, and the numbers of relief)

use std::cell::Cell;
use std::time::Duration;

use peers::report::Goal;

use crate::others::{Aimd, Expiry, FacebookCodel, FixedSkip, Nothing, Predict};
use crate::ours::Ours;
use crate::queue::{DEADLINE, Draws, End, Job, Scene, Valve, Work};
use crate::tables::Tables;

const WORKERS: usize = 4;
const ALL: f64 = WORKERS as f64;

type Maker<'a> = &'a dyn Fn(u64) -> Box<dyn Valve>;

fn ours(_: u64) -> Box<dyn Valve> {
    Box::new(Ours::of(WORKERS))
}

pub(crate) fn run(tables: &mut Tables) {
    for load in [2.0, 5.0, 10.0] {
        step(tables, load);
    }
    slow(tables);
    stale(tables);
    long_jobs(tables);
    two_deadlines(tables);
    priorities(tables);
}

const COMES: f64 = 200.0;
const GOES: f64 = 600.0;

/// Overload comes at once and goes at once: what was lost of the workers' time in the first 100 seconds, and seconds until 90 % of
/// new jobs are done on time again.
fn step(tables: &mut Tables, load: f64) {
    let all = |make: Maker<'_>| -> (Vec<f64>, Vec<f64>) {
        tables
            .seeds(5)
            .map(|seed| one_step(seed, load, make))
            .unzip()
    };
    let (lost, back) = all(&ours);
    let aimd = all(&|seed| Box::new(Aimd::new(seed))).1;
    let none = all(&|_| Box::new(Nothing)).1;
    let mean = |figures: &[f64]| figures.iter().sum::<f64>() / figures.len() as f64;
    let what = format!("onset of {load}×: workers' seconds lost in the first 100");
    tables.goal(&what, "", Goal::AtMost(DEADLINE), " s", lost);
    let what = format!("end of {load}×: until 90 % of new jobs are on time again");
    let against = format!("AIMD {:.0} s, none > {:.0} s", mean(&aimd), mean(&none));
    tables.goal(&what, &against, Goal::AtMost(DEADLINE), " s", back);
}

fn one_step(seed: u64, load: f64, make: Maker<'_>) -> (f64, f64) {
    let rate = |now: f64| {
        let over = (COMES..GOES).contains(&now);
        ALL * if over { load } else { 0.5 }
    };
    let scene = Scene {
        until: 1_000.0,
        ..Scene::steady(Work::Exponential, WORKERS, &rate, ALL * load)
    };
    let mut good = 0.0;
    let mut parts = vec![(0_u32, 0_u32); 41];
    scene.play(seed, &mut *make(seed), |job, end, at| {
        if end == End::OnTime && (COMES..COMES + 100.0).contains(&at) {
            good += 1.0;
        }
        if job.published >= GOES {
            let part = &mut parts[(((job.published - GOES) / DEADLINE) as usize).min(40)];
            part.0 += u32::from(end == End::OnTime);
            part.1 += 1;
        }
    });
    let well = |part: &(u32, u32)| f64::from(part.0) >= 0.9 * f64::from(part.1) && part.1 > 0;
    let until = parts.iter().position(well).unwrap_or(39);
    (100.0 - good / ALL, until as f64 * DEADLINE)
}

/// Every job takes three times as long for a while.
fn slow(tables: &mut Tables) {
    for work in [Work::Constant, Work::Exponential] {
        let all = |make: Maker<'_>| -> Vec<f64> {
            let seeds = tables.seeds(60);
            seeds.map(|seed| one_slow(seed, work, make)).collect()
        };
        let figures = all(&ours);
        let mean = |figures: Vec<f64>| figures.iter().sum::<f64>() / figures.len() as f64;
        let none = mean(all(&|_| Box::new(Nothing)));
        let codel = mean(all(&|_| Box::new(FacebookCodel::of(WORKERS))));
        let against = format!("none {none:.0} %, CoDel, Facebook {codel:.0} %");
        let what = format!(
            "{} work three times slower at 0.7×: done on time of what slow workers can do",
            work.word()
        );
        tables.goal(&what, &against, Goal::AtLeast(93.0), " %", figures);
    }
}

fn one_slow(seed: u64, work: Work, make: Maker<'_>) -> f64 {
    let slow = 300.0..800.0;
    let slowness = |now| if slow.contains(&now) { 3.0 } else { 1.0 };
    let scene = Scene {
        until: 900.0,
        slowness: &slowness,
        ..Scene::steady(work, WORKERS, &|_| 0.7 * ALL, 0.7 * ALL)
    };
    let mut good = 0.0;
    scene.play(seed, &mut *make(seed), |_, end, at| {
        if end == End::OnTime && slow.contains(&at) {
            good += 1.0;
        }
    });
    100.0 * good / (ALL * 500.0 / 3.0)
}

/// Relief is opened on a queue that has been overloaded for long: twenty deadlines of jobs wait, as if ten minutes at 30 s.
fn stale(tables: &mut Tables) {
    for load in [3.0, 10.0] {
        let all = |make: Maker<'_>| -> Vec<f64> {
            tables
                .seeds(9)
                .map(|seed| one_stale(seed, load, make))
                .collect()
        };
        let figures = all(&|seed| {
            let mut ours = Ours::of(WORKERS);
            let mut draws = Draws::of(seed ^ 99);
            // What was measured before anybody opened anything.
            for _ in 0..100 {
                let took = Duration::from_secs_f64(draws.exponential());
                ours.measures.served(None, took);
            }
            Box::new(ours)
        });
        let mean = |figures: Vec<f64>| figures.iter().sum::<f64>() / figures.len() as f64;
        let right = 1.0 - 0.8 / load;
        let fixed = mean(all(&|seed| Box::new(FixedSkip(right, Draws::of(seed)))));
        let expiry = mean(all(&|_| Box::new(Expiry)));
        let codel = mean(all(&|_| Box::new(FacebookCodel::of(WORKERS))));
        let what = format!(
            "stale backlog of 20 deadlines at {load}×: on time from one deadline after opening on"
        );
        let against =
            format!("fixed skip {fixed:.0} %, expiry {expiry:.0} %, CoDel, Facebook {codel:.0} %");
        tables.goal(&what, &against, Goal::AtLeast(90.0), " %", figures);
    }
}

fn one_stale(seed: u64, load: f64, make: Maker<'_>) -> f64 {
    let offered = load * ALL;
    let over = 20.0 * DEADLINE;
    let rate = |_| offered;
    let scene = Scene {
        until: 100.0,
        backlog: ((offered * over) as usize, over),
        ..Scene::steady(Work::Exponential, WORKERS, &rate, offered)
    };
    let mut good = 0.0;
    scene.play(seed, &mut *make(seed), |_, end, at| {
        if end == End::OnTime && (DEADLINE..6.0 * DEADLINE).contains(&at) {
            good += 1.0;
        }
    });
    100.0 * good / (ALL * 5.0 * DEADLINE)
}

/// Of the first 100 jobs 20 take three deadlines; then all is as usual: on time within two deadlines after the last long one, beside the same
/// without long ones.
fn long_jobs(tables: &mut Tables) {
    for (work, least) in [(Work::Constant, 99.0), (Work::Exponential, 93.0)] {
        let all = |make: Maker<'_>| -> Vec<f64> {
            let seeds = tables.seeds(5);
            seeds
                .map(|seed| {
                    let (usual, _) = with_long(seed, work, 0, make);
                    let (good, _) = with_long(seed, work, 20, make);
                    100.0 * good / f64::max(usual, 1.0)
                })
                .collect()
        };
        let figures = all(&ours);
        let naive = all(&|_| Box::new(Predict::at(0.9)));
        let against = format!(
            "predict, naive {:.0} %",
            naive.iter().sum::<f64>() / naive.len() as f64
        );
        let what = format!(
            "after 20 long jobs among 100, {} work at 2×: of usual goodput",
            work.word()
        );
        tables.goal(&what, &against, Goal::AtLeast(least), " %", figures);
    }
}

fn with_long(seed: u64, work: Work, long: usize, make: Maker<'_>) -> (f64, f64) {
    let number = Cell::new(0_usize);
    let lengthen = |job: &mut Job, _: &mut Draws| {
        number.set(number.get() + 1);
        if number.get() <= 5 * long && number.get().is_multiple_of(5) {
            job.work = 3.0 * DEADLINE;
        }
    };
    let scene = Scene {
        until: 700.0,
        make: &lengthen,
        ..Scene::steady(work, WORKERS, &|_| 2.0 * ALL, 2.0 * ALL)
    };
    let mut ends = Vec::new();
    let mut last_long: f64 = 0.0;
    scene.play(seed, &mut *make(seed), |job, end, at| {
        if end != End::Shed && job.work >= 3.0 * DEADLINE && long > 0 {
            last_long = last_long.max(at);
        }
        if end == End::OnTime {
            ends.push(at);
        }
    });
    let from = if long > 0 {
        last_long + 2.0 * DEADLINE
    } else {
        200.0
    };
    let counted = ends.iter().filter(|at| (from..from + 300.0).contains(*at));
    (counted.count() as f64, last_long)
}

/// Two deadlines in one queue.
fn two_deadlines(tables: &mut Tables) {
    let halves = |job: &mut Job, draws: &mut Draws| {
        job.deadline = if draws.next().is_multiple_of(2) {
            4.0
        } else {
            20.0
        };
    };
    for load in [2.0, 10.0] {
        let rate = |_| load * ALL;
        let mut tight = Vec::new();
        let mut good = Vec::new();
        for seed in tables.seeds(3) {
            let until = tables.arguments.of(3_000.0, 300.0);
            let scene = Scene {
                until,
                make: &halves,
                ..Scene::steady(Work::Exponential, WORKERS, &rate, load * ALL)
            };
            let (mut tight_ones, mut all) = (0.0, 0.0);
            scene.play(seed, &mut *ours(seed), |job, end, _| {
                if end == End::OnTime {
                    all += 1.0;
                    tight_ones += f64::from(u8::from(job.deadline < 10.0));
                }
            });
            good.push(100.0 * all / (ALL * until));
            tight.push(100.0 * tight_ones / all);
        }
        let what = format!("deadlines of 4 s and 20 s, half each, at {load}×: done on time");
        tables.goal(&what, "", Goal::AtLeast(95.0), " %", good);
        let what = format!("the share of the tight ones in it, at {load}×");
        tables.goal(
            &what,
            "a limit for each: 1 %",
            Goal::AtLeast(45.0),
            " %",
            tight,
        );
    }
}

/// Three priorities, a third each.
fn priorities(tables: &mut Tables) {
    let thirds = |job: &mut Job, draws: &mut Draws| job.priority = (draws.next() % 3) as u8;
    let load = 2.0;
    let rate = |_| load * ALL;
    let until = tables.arguments.of(3_000.0, 300.0);
    let mut good = Vec::new();
    let mut of_class = [Vec::new(), Vec::new(), Vec::new()];
    for seed in tables.seeds(3) {
        let scene = Scene {
            until,
            make: &thirds,
            ..Scene::steady(Work::Exponential, WORKERS, &rate, load * ALL)
        };
        let mut counts = [(0.0, 0.0); 3];
        scene.play(seed, &mut *ours(seed), |job, end, _| {
            let count = &mut counts[usize::from(job.priority)];
            count.1 += 1.0;
            count.0 += f64::from(u8::from(end == End::OnTime));
        });
        good.push(100.0 * counts.iter().map(|one| one.0).sum::<f64>() / (ALL * until));
        for (figures, (done, all)) in of_class.iter_mut().zip(counts) {
            figures.push(100.0 * done / all);
        }
    }
    let [low, middle, high] = of_class;
    let what = "three priorities at 2×: of the highest on time";
    tables.goal(what, "", Goal::AtLeast(97.0), " %", high);
    tables.note("of the middle one", "", " %", middle);
    tables.note("of the lowest, of which 1 % are probes", "", " %", low);
    tables.goal(
        "of the workers' time, on time",
        "",
        Goal::AtLeast(93.0),
        " %",
        good,
    );
}
