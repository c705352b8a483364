//! Steady overload: what share of their time workers spend on jobs that are done on time, with every valve, at every load, for
//! constant, exponential and heavy-tailed work. (G1, G2, G3, G7)

use peers::report::Goal;

use crate::known::ROWS;
use crate::others::{Expiry, FacebookCodel, FixedSkip};
use crate::ours::Ours;
use crate::queue::{Asked, Draws, End, Scene, Valve, Work};
use crate::tables::Tables;

/// What is offered, in units of what the workers can do.
const LOADS: [f64; 5] = [0.5, 1.1, 2.0, 5.0, 10.0];
/// Seconds that are not counted at the start.
const WARM: f64 = 100.0;

type Maker<'a> = &'a dyn Fn(u64) -> Box<dyn Valve>;

/// Of one valve, for one kind of work and one load.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// Jobs done on time, in percent of what the workers can do (or of what is offered, if that is less); for each seed.
    pub(crate) good: Vec<f64>,
    /// Of the jobs that were started, those that came late, in percent.
    pub(crate) late: Vec<f64>,
}

impl Figures {
    pub(crate) fn mean(&self) -> f64 {
        self.good.iter().sum::<f64>() / self.good.len().max(1) as f64
    }
}

/// How jobs reach the workers.
#[derive(Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) workers: usize,
    pub(crate) holds: usize,
    pub(crate) asked: Asked,
}

const ONE_WORKER: Setting = Setting {
    workers: 1,
    holds: 0,
    asked: Asked::AtStart,
};

pub(crate) fn play(
    tables: &Tables,
    setting: Setting,
    work: Work,
    load: f64,
    make: Maker<'_>,
) -> Figures {
    let mut figures = Figures::default();
    let offered = load * setting.workers as f64;
    let until = WARM + tables.arguments.of(6_000.0, 300.0);
    let rate = |_| offered;
    // What takes long in a heavy tail is rare: it takes more to tell.
    let seeds = if work == Work::HeavyTailed { 9 } else { 3 };
    for seed in tables.seeds(seeds) {
        let scene = Scene {
            holds: setting.holds,
            asked: setting.asked,
            until,
            ..Scene::steady(work, setting.workers, &rate, offered)
        };
        let (mut good, mut late) = (0.0, 0.0);
        scene.play(seed, &mut *make(seed), |_, end, at| match end {
            _ if at < WARM => {}
            End::OnTime => good += 1.0,
            End::Late => late += 1.0,
            End::Shed => {}
        });
        let possible = offered.min(setting.workers as f64) * (until - WARM);
        figures.good.push(100.0 * good / possible);
        figures.late.push(100.0 * late / f64::max(good + late, 1.0));
    }
    figures
}

pub(crate) fn run(tables: &mut Tables) {
    println!(
        "\ngoodput in percent of the workers' time (one worker, deadline ten jobs; late among started in percent)\n"
    );
    print!("| valve |");
    for work in Work::ALL {
        for load in LOADS {
            print!(" {} {load}x |", work.word());
        }
    }
    println!("\n| --- |{}", " --- |".repeat(15));
    let mut best = [[0.0_f64; 5]; 3];
    let mut against = vec![String::new(); 15];
    for row in &ROWS {
        let figures = line(tables, row.name, &row.make);
        for (place, figures) in figures.iter().enumerate() {
            let (work, load) = (place / 5, place % 5);
            let mean = figures.mean();
            best[work][load] = best[work][load].max(mean);
            let what = format!("{}, {} {}x", row.name, Work::ALL[work].word(), LOADS[load]);
            if let Some(found) = load.checked_sub(1).and_then(|at| row.found[work][at]) {
                tables.reproduced(&what, mean, found);
            }
            if ["none", "expiry (TTL)", "CoDel, Facebook"].contains(&row.name) {
                against[place] += &format!("{} {mean:.0} %; ", row.name);
            }
        }
    }
    best_fixed(tables, &mut best, &mut against);
    let ours = line(tables, "**automatic**", &|_| Box::new(Ours::of(1)));
    goals(tables, &ours, &best, &against);
    workers(tables);
}

/// Prints and returns the figures of a valve at every kind of work and load.
fn line(tables: &Tables, name: &str, make: Maker<'_>) -> Vec<Figures> {
    print!("| {name} |");
    let mut all = Vec::new();
    for work in Work::ALL {
        for load in LOADS {
            let figures = play(tables, ONE_WORKER, work, load, make);
            let late = figures.late.iter().sum::<f64>() / figures.late.len() as f64;
            print!(" {:.0} ({late:.0}) |", figures.mean());
            all.push(figures);
        }
    }
    println!();
    all
}

/// The fixed rate that does best, found by trying: what nobody knows at the time.
fn best_fixed(tables: &mut Tables, best: &mut [[f64; 5]; 3], against: &mut [String]) {
    let expected = [
        (0, 2, 79.0),
        (0, 4, 82.0),
        (1, 2, 66.0),
        (1, 4, 72.0),
        (2, 2, 49.0),
        (2, 4, 53.0),
    ];
    for (work, load, expected) in expected {
        let tried = (0..tables.arguments.of(12, 2)).map(|step| {
            let started = 1.0 - 0.04 * f64::from(step);
            let skip = 1.0 - started / LOADS[load];
            let make = |seed| -> Box<dyn Valve> { Box::new(FixedSkip(skip, Draws::of(seed))) };
            play(tables, ONE_WORKER, Work::ALL[work], LOADS[load], &make).mean()
        });
        let found = tried.fold(0.0, f64::max);
        best[work][load] = best[work][load].max(found);
        against[5 * work + load] += &format!("best fixed skip {found:.0} %; ");
        let what = format!(
            "best fixed skip, {} {}x",
            Work::ALL[work].word(),
            LOADS[load]
        );
        println!("| {what}: {found:.0} |");
        tables.reproduced(&what, found, expected);
    }
}

fn goals(tables: &mut Tables, ours: &[Figures], best: &[[f64; 5]; 3], against: &[String]) {
    // At least so much on time, and at most so much late, for each kind of work and load.
    let least = [
        [0.0, 95.0, 97.0, 97.0, 97.0],
        [0.0, 0.0, 95.0, 95.0, 95.0],
        [0.0, 0.0, 93.0, 93.0, 93.0],
    ];
    let most_late = [1.0, 3.0, 100.0];
    let mut worst = 0.0_f64;
    let mut worst_heavy = 0.0_f64;
    for (place, figures) in ours.iter().enumerate() {
        let (work, load) = (place / 5, place % 5);
        let kind = format!("{} work at {}×", Work::ALL[work].word(), LOADS[load]);
        if least[work][load] > 0.0 {
            let what = format!("done on time, {kind}");
            let goal = Goal::AtLeast(least[work][load]);
            let theirs = against[place].trim_end_matches("; ");
            tables.goal(&what, theirs, goal, " %", figures.good.clone());
        }
        if load >= 2 && work < 2 {
            let what = format!("started in vain, {kind}");
            tables.goal(
                &what,
                "",
                Goal::AtMost(most_late[work]),
                " %",
                figures.late.clone(),
            );
        }
        let behind = best[work][load] - figures.mean();
        if work == 2 {
            worst_heavy = worst_heavy.max(behind);
        } else {
            worst = worst.max(behind);
        }
    }
    let what = "behind the best alternative of each cell, at worst";
    let kinds = "constant and exponential, five loads";
    tables.goal(what, kinds, Goal::AtMost(3.0), " points", vec![worst]);
    tables.goal(
        what,
        "heavy tail, five loads",
        Goal::AtMost(5.0),
        " points",
        vec![worst_heavy],
    );
}

/// More workers, and workers that hold jobs.
fn workers(tables: &mut Tables) {
    let setting = |workers, holds, asked| Setting {
        workers,
        holds,
        asked,
    };
    let start = Asked::AtStart;
    for load in [1.1, 2.0, 5.0, 10.0] {
        let four = setting(4, 0, start);
        let ours = play(tables, four, Work::Exponential, load, &|_| {
            Box::new(Ours::of(4))
        });
        let theirs = play(tables, four, Work::Exponential, load, &|_| {
            Box::new(FacebookCodel::of(4))
        });
        let what = format!("done on time, exponential work at {load}×, 4 workers");
        let against = format!("CoDel, Facebook {:.0} %", theirs.mean());
        tables.goal(&what, &against, Goal::AtLeast(96.0), " %", ours.good);
    }
    for (held, asked) in [
        ("when a slot is free", start),
        ("at delivery", Asked::AtDelivery),
    ] {
        for load in [2.0, 5.0, 10.0] {
            let holding = setting(4, 9, asked);
            let ours = play(tables, holding, Work::Exponential, load, &|_| {
                Box::new(Ours::of(4))
            });
            let blind = play(tables, holding, Work::Exponential, load, &|_| {
                Box::new(Ours::blind(4))
            });
            let expiry = play(tables, holding, Work::Exponential, load, &|_| {
                Box::new(Expiry)
            });
            let what = format!("the same at {load}×, each worker holds 10, asked {held}");
            let against = match asked {
                Asked::AtStart => format!("expiry {:.0} %", expiry.mean()),
                Asked::AtDelivery => {
                    tables.reproduced(
                        "blind to what is held",
                        blind.mean(),
                        if load < 5.0 { 42.0 } else { 40.0 },
                    );
                    format!(
                        "blind to what is held {:.0} %, expiry {:.0} %",
                        blind.mean(),
                        expiry.mean()
                    )
                }
            };
            tables.goal(&what, &against, Goal::AtLeast(93.0), " %", ours.good);
        }
    }
}
