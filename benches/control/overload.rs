//! Steady overload: what share of their time workers spend on jobs that are done on time, with every valve, at every load, for
//! constant, exponential and heavy-tailed work. (G1, G2, G3, G7)

use peers::report::Goal;

use crate::others::{
    AdaptiveLifo, Aimd, Codel, Expiry, FacebookCodel, FixedSkip, Nothing, Pie, Predict, Throttling,
};
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
pub struct Figures {
    /// Jobs done on time, in percent of what the workers can do (or of what is offered, if that is less); for each seed.
    pub good: Vec<f64>,
    /// Of the jobs that were started, those that came late, in percent.
    pub late: Vec<f64>,
}

impl Figures {
    pub fn mean(&self) -> f64 {
        self.good.iter().sum::<f64>() / self.good.len().max(1) as f64
    }
}

/// How jobs reach the workers.
#[derive(Clone, Copy)]
pub struct Setting {
    pub workers: usize,
    pub holds: usize,
    pub asked: Asked,
}

const ONE_WORKER: Setting = Setting {
    workers: 1,
    holds: 0,
    asked: Asked::AtStart,
};

pub fn play(tables: &Tables, setting: Setting, work: Work, load: f64, make: Maker<'_>) -> Figures {
    let mut figures = Figures::default();
    let offered = load * setting.workers as f64;
    let until = WARM + tables.arguments.of(6_000.0, 300.0);
    let rate = |_| offered;
    for seed in tables.seeds(3) {
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

/// A valve's name, how it is made, and what was found for it elsewhere at 1.1, 2, 5 and 10 times the load, for each kind of work.
struct Row<'a> {
    name: &'a str,
    make: Maker<'a>,
    found: [[Option<f64>; 4]; 3],
}

const fn found(
    constant: [f64; 3],
    exponential: [f64; 4],
    heavy: [f64; 3],
) -> [[Option<f64>; 4]; 3] {
    let [a, b, d] = constant;
    let [e, f, g, h] = exponential;
    let [i, j, l] = heavy;
    [
        [Some(a), Some(b), None, Some(d)],
        [Some(e), Some(f), Some(g), Some(h)],
        [Some(i), Some(j), None, Some(l)],
    ]
}

const UNKNOWN: [[Option<f64>; 4]; 3] = [[None; 4]; 3];

pub fn run(tables: &mut Tables) {
    let rows = [
        Row {
            name: "none",
            make: &|_| Box::new(Nothing),
            found: found([0.0; 3], [0.0; 4], [0.0; 3]),
        },
        Row {
            name: "expiry (TTL)",
            make: &|_| Box::new(Expiry),
            found: found(
                [80.0, 21.0, 0.0],
                [81.0, 52.0, 20.0, 10.0],
                [80.0, 78.0, 23.0],
            ),
        },
        Row {
            name: "predict, median",
            make: &|_| Box::new(Predict::at(0.5)),
            found: found(
                [98.0, 100.0, 100.0],
                [87.0, 76.0, 60.0, 55.0],
                [81.0, 86.0, 59.0],
            ),
        },
        Row {
            name: "predict, p90",
            make: &|_| Box::new(Predict::at(0.9)),
            found: found(
                [98.0, 100.0, 100.0],
                [91.0, 96.0, 91.0, 92.0],
                [81.0, 96.0, 91.0],
            ),
        },
        Row {
            name: "CoDel, RFC 8289",
            make: &|_| Box::new(Codel::new()),
            found: found([88.0, 43.0, 1.0], [75.0, 34.0, 4.0, 1.0], [56.0, 33.0, 1.0]),
        },
        Row {
            name: "CoDel, Facebook",
            make: &|_| Box::new(FacebookCodel::of(1)),
            found: found(
                [86.0, 96.0, 100.0],
                [81.0, 94.0, 98.0, 100.0],
                [72.0, 90.0, 98.0],
            ),
        },
        Row {
            name: "adaptive LIFO + expiry",
            make: &|_| Box::new(AdaptiveLifo::new()),
            found: found(
                [92.0, 100.0, 100.0],
                [88.0, 99.0, 100.0, 100.0],
                [79.0, 96.0, 94.0],
            ),
        },
        Row {
            name: "PIE, RFC 8033",
            make: &|seed| Box::new(Pie::at_tail(seed)),
            found: found(
                [89.0, 95.0, 20.0],
                [79.0, 81.0, 36.0, 22.0],
                [67.0, 70.0, 25.0],
            ),
        },
        Row {
            name: "PIE, asked at the head",
            make: &|seed| Box::new(Pie::at_head(seed)),
            found: UNKNOWN,
        },
        Row {
            name: "SRE throttling, K = 2",
            make: &|seed| Box::new(Throttling::new(seed)),
            found: found(
                [48.0, 31.0, 29.0],
                [43.0, 32.0, 33.0, 28.0],
                [37.0, 27.0, 27.0],
            ),
        },
        Row {
            name: "AIMD on misses",
            make: &|seed| Box::new(Aimd::new(seed)),
            found: found(
                [73.0, 71.0, 52.0],
                [64.0, 64.0, 58.0, 51.0],
                [43.0, 45.0, 46.0],
            ),
        },
    ];
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
    for row in &rows {
        let figures = line(tables, row.name, row.make);
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
