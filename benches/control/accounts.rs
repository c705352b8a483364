//! A million accounts: who brings the most, and whose jobs fail, in how little memory and time. (G14, G15)

use std::collections::{HashMap, HashSet};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use peers::meter::{live, nanoseconds_each};
use peers::report::Goal;
use sluicegate::rules::lots::KeyHash;
use sluicegate::rules::relief::failing::{Failing, Turn};
use sluicegate::rules::relief::fair::FairShare;
use sluicegate::rules::relief::sketch::LoadSketch;

use crate::queue::Draws;
use crate::tables::Tables;

const ACCOUNTS: f64 = 1_000_000.0;
/// Jobs per second.
const RATE: f64 = 10_000.0;
/// Found is who is seen to bring so much of it all.
const FOUND: f64 = 0.1;
const BAD: KeyHash = KeyHash(0xbad);
/// A trace of accounts, to be asked in turn.
const TRACE: usize = 1 << 16;

pub(crate) fn run(tables: &mut Tables) {
    found(tables);
    innocent(tables);
    paces(tables);
    failing(tables);
    healthy(tables);
}

/// The n-th largest account brings an n-th of the largest.
fn account(draws: &mut Draws) -> KeyHash {
    let rank = (ACCOUNTS + 1.0).powf(draws.unit()) as u64;
    KeyHash::of(&rank.to_le_bytes())
}

/// How soon an account is found that begins to send a share of all.
fn found(tables: &mut Tables) {
    for (share, most_ms, known) in [(0.5, 250.0, 220.0), (0.9, 130.0, 115.0)] {
        let seeds = tables.seeds(20);
        let milliseconds = seeds.map(|seed| {
            let mut draws = Draws::of(seed);
            let mut sketch = LoadSketch::new(Duration::from_secs(1));
            let mut now_s = 0.0;
            let until_s = tables.arguments.of(5.0, 2.0);
            while now_s < until_s {
                now_s += 1.0 / RATE;
                sketch.offer(now_s, account(&mut draws), 0.001);
            }
            let began_s = now_s;
            for number in 0_u64.. {
                now_s += 1.0 / RATE;
                let bad = draws.unit() < share;
                let who = if bad { BAD } else { account(&mut draws) };
                sketch.offer(now_s, who, 0.001);
                if number.is_multiple_of(10) && sketch.heavy(FOUND).any(|one| one == BAD) {
                    break;
                }
            }
            1_000.0 * (now_s - began_s)
        });
        let what = format!(
            "{:.0} % of 10,000 jobs/s from one of a million accounts: found after",
            100.0 * share
        );
        let against = format!("1,024 counters elsewhere {known:.0} ms");
        let milliseconds: Vec<f64> = milliseconds.collect();
        tables.goal(&what, &against, Goal::AtMost(most_ms), " ms", milliseconds);
    }
}

/// Nobody is found or reported among accounts of natural sizes, in ten minutes.
fn innocent(tables: &mut Tables) {
    let mut draws = Draws::of(7);
    let mut fair = FairShare::for_deadline(Duration::from_secs(5));
    let name: Arc<str> = "somebody".into();
    let mut wrong = HashSet::new();
    let mut reported = 0;
    let jobs = tables.arguments.of(6_000_000, 60_000);
    for number in 1..=jobs {
        let now = Duration::from_secs_f64(f64::from(number) / RATE);
        fair.offered(now, None, (account(&mut draws), &name), 0.001);
        if number % 1_000 == 0 {
            reported += fair.tick(now, 11, 0.001).len();
            wrong.extend(fair.sketch.heavy(FOUND));
        }
    }
    let what = "the same without a bad one, ten minutes: found or reported";
    let wrong = (wrong.len() + reported) as f64;
    tables.goal(what, "", Goal::AtMost(0.0), "", vec![wrong]);
}

/// What a message costs, beside an exact count of all.
fn paces(tables: &mut Tables) {
    let mut draws = Draws::of(8);
    let trace: Vec<KeyHash> = (0..TRACE).map(|_| account(&mut draws)).collect();
    let name: Arc<str> = "somebody".into();
    let jobs = tables.arguments.of(4_000_000, 50_000);
    let before = live();
    let mut fair = FairShare::for_deadline(Duration::from_secs(5));
    let mut scattered = 0_u64;
    let mut who = |number: u64| {
        // Fresh ones of the long tail in place of every other, so that it is no trace of a few.
        scattered = scattered.wrapping_add(0x9e37_79b9_7f4a_7c15);
        match number % 2 {
            0 => trace[number as usize % TRACE],
            _ => KeyHash(scattered % 1_000_000),
        }
    };
    let each = nanoseconds_each(jobs, |number| {
        let now = Duration::from_nanos(number * 100_000);
        let account = who(number);
        fair.offered(now, None, (account, &name), 0.001);
        black_box(fair.share_of(account));
        black_box(fair.tick(now, 5, 0.001));
    });
    let bytes = (live() - before) as f64 / 1_024.0;
    drop(fair);
    let before = live();
    let mut exact: HashMap<u64, f64> = HashMap::new();
    let theirs = nanoseconds_each(jobs, |number| {
        *exact.entry(who(number).0).or_default() += 0.001;
    });
    let their_bytes = (live() - before) as f64 / 1_024.0;
    let against = format!("an exact hash map {theirs:.0} ns");
    let what = "the fair share, a message: counted and asked, twofold load";
    tables.pace(what, &against, 150.0, " ns", vec![each]);
    let against = format!("an exact hash map {their_bytes:.0} KiB");
    tables.goal(
        "memory of it",
        &against,
        Goal::AtMost(256.0),
        " KiB",
        vec![bytes],
    );
}

/// After how many of its own jobs since its first failure an account is isolated whose jobs fail.
fn failing(tables: &mut Tables) {
    for (share, most) in [(1.0, 6.0), (0.5, 13.0), (0.2, 50.0)] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for seed in 1..=tables.arguments.of(301, 5) {
            let mut draws = Draws::of(seed);
            let mut failing = Failing::default();
            let (mut in_a_row, mut jobs, mut in_a_row_at) = (0, 0_u32, None);
            let now = Duration::from_secs(60);
            let others = |failing: &mut Failing, draws: &mut Draws, count: u32| {
                for _ in 0..count {
                    let failed = draws.unit() < 0.01;
                    failing.outcome(now, account(draws), failed, None);
                }
            };
            others(&mut failing, &mut draws, 20_000);
            loop {
                others(&mut failing, &mut draws, 20);
                jobs += 1;
                let failed = draws.unit() < share;
                in_a_row = if failed { in_a_row + 1 } else { 0 };
                if in_a_row == 5 {
                    in_a_row_at.get_or_insert(jobs);
                }
                let turn = failing.outcome(now, BAD, failed, None);
                if let Some(Turn::Isolated(evidence)) = turn {
                    ours.push(f64::from(evidence.jobs));
                    break;
                }
            }
            theirs.push(in_a_row_at.map_or(f64::MAX, f64::from));
        }
        theirs.sort_by(f64::total_cmp);
        let median = theirs[theirs.len() / 2];
        let against = if median < f64::MAX {
            format!("five in a row: {median:.0}")
        } else {
            "five in a row: not yet".to_owned()
        };
        let what = format!(
            "an account of which {:.0} % fail: isolated after its first failure by",
            100.0 * share
        );
        tables.goal(&what, &against, Goal::AtMost(most), " jobs", ours);
    }
}

/// Nobody is isolated while all is well.
fn healthy(tables: &mut Tables) {
    let jobs: u32 = tables.arguments.of(100_000_000, 200_000);
    let mut draws = Draws::of(9);
    let mut failing = Failing::default();
    let mut wrong = 0;
    for number in 0..jobs {
        let now = Duration::from_micros(u64::from(number) * 100);
        let failed = draws.next().is_multiple_of(100);
        // A cheap draw of sizes: some of a few thousand are large, most of a million are small.
        let drawn = draws.next();
        let who = if drawn & 1 == 0 {
            drawn % 5_000
        } else {
            drawn % 1_000_000
        };
        wrong += u32::from(failing.outcome(now, KeyHash(who), failed, None).is_some());
    }
    let what = "isolated in 100 million healthy jobs";
    tables.goal(what, "", Goal::AtMost(0.0), "", vec![f64::from(wrong)]);
}
