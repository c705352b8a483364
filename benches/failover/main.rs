//! When does a provider rest, how often by mistake, and how soon is it back? Our rule beside those of Envoy, Hystrix and resilience4j,
//! in virtual time: nothing is sent. Then what a pool costs beside a bare client, with real requests on the loopback.
//!
//! `cargo bench --bench failover [-- --quick]`
#![expect(clippy::print_stdout, reason = "a benchmark talks to people")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use anyhow::Result;
use peers::arguments::Arguments;
use peers::report::{Goal, Report};
use peers::rounds::Spread;
use rules::{RULES, rule};
use sluicegate::rules::breaker::{Breaker, Call, Odds, Said, Turn};
use sluicegate::rules::lots::KeyHash;

mod overhead;
mod rules;

/// Between two calls of a steady 20 a second.
const STEADY: Duration = Duration::from_millis(50);
/// How long an outage lasts.
const OUTAGE: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let arguments = Arguments::read();
    let mut report = Report::new("failover", arguments);
    until_it_rests(arguments, &mut report);
    by_mistake(arguments, &mut report);
    an_outage(arguments, &mut report);
    brown_out(arguments, &mut report);
    overhead::measure(arguments, &mut report)?;
    report.conclude()
}

/// Chance that comes out the same in each run (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

/// How many calls it takes, `[median, p95]`, of those that rest within 5,000.
fn calls_until(name: &str, failing: f64, trials: u64) -> [f64; 2] {
    let mut calls: Vec<f64> = (0..trials)
        .map(|trial| {
            let mut dice = Dice(trial * 7_919 + 1);
            let mut rule = rule(name, trial);
            let mut now = Duration::ZERO;
            let mut count = 0u32;
            while rule.passes(now) && count < 5_000 {
                rule.called(dice.roll() >= failing, now);
                count += 1;
                now += STEADY;
                if !rule.passes(now) {
                    break;
                }
            }
            f64::from(count)
        })
        .collect();
    calls.sort_by(f64::total_cmp);
    [quantile(&calls, 0.5), quantile(&calls, 0.95)]
}

fn until_it_rests(arguments: Arguments, report: &mut Report) {
    let trials = arguments.of(300, 30);
    println!(
        "calls until it rests, median / p95\n\n| failing | {} |\n| --- | --- | --- | --- | --- |",
        RULES.join(" | ")
    );
    for (failing, goals) in [(1.0, [6.0, 6.0]), (0.5, [12.0, 25.0]), (0.3, [30.0, 80.0])] {
        let all = RULES.map(|name| calls_until(name, failing, trials));
        let cells: Vec<String> = all
            .iter()
            .map(|[a, b]| format!("{a:.0} / {b:.0}"))
            .collect();
        println!("| {:.0} % | {} |", failing * 100.0, cells.join(" | "));
        let what = format!(
            "calls until a provider rests that fails {:.0} %, median",
            failing * 100.0
        );
        let against = format!(
            "Envoy {:.0}, Hystrix {:.0}, resilience4j {:.0}",
            all[1][0], all[2][0], all[3][0]
        );
        report.goal(
            &what,
            &against,
            Goal::AtMost(goals[0]),
            "",
            Spread::of(vec![all[0][0]]),
        );
        if failing == 0.5 {
            let against = format!(
                "Envoy {:.0}, Hystrix {:.0}, resilience4j {:.0}",
                all[1][1], all[2][1], all[3][1]
            );
            report.goal(
                "the same, p95",
                &against,
                Goal::AtMost(goals[1]),
                "",
                Spread::of(vec![all[0][1]]),
            );
        }
    }
}

/// Rests in a million calls of a provider that is well.
fn mistakes(name: &str, failing: f64, calls: u64) -> f64 {
    let mut dice = Dice(99);
    let (mut rule_now, mut seed, mut rests) = (rule(name, 0), 0, 0u32);
    let mut now = Duration::ZERO;
    for _ in 0..calls {
        rule_now.called(dice.roll() >= failing, now);
        now += STEADY;
        if !rule_now.passes(now) {
            rests += 1;
            seed += 1;
            rule_now = rule(name, seed);
        }
    }
    f64::from(rests) * 1e6 / calls as f64
}

fn by_mistake(arguments: Arguments, report: &mut Report) {
    let calls = arguments.of(10_000_000, 100_000);
    for (failing, goal) in [(0.01, 1.0), (0.05, 5.0)] {
        let all = RULES.map(|name| mistakes(name, failing, calls));
        let what = format!(
            "rests by mistake in a million calls, {:.0} % failing",
            failing * 100.0
        );
        let against = format!(
            "Envoy {:.1}, Hystrix {:.1}, resilience4j {:.1}",
            all[1], all[2], all[3]
        );
        report.goal(
            &what,
            &against,
            Goal::AtMost(goal),
            "",
            Spread::of(vec![all[0]]),
        );
    }
}

/// Failed calls beyond those of a provider that is well, and seconds until it passes again.
fn outage(name: &str, failing: f64, seed: u64) -> (f64, f64) {
    let mut dice = Dice(seed * 104_729 + 3);
    let mut rule = rule(name, seed);
    let (begins, mut now) = (Duration::from_secs(60), Duration::ZERO);
    let ends = begins + OUTAGE;
    let (mut calls, mut failed, mut back) = (0u32, 0u32, None);
    while now < ends + Duration::from_secs(120) {
        let ill = (begins..ends).contains(&now);
        let lot = dice.roll();
        if rule.may(now, lot) {
            let good = dice.roll() >= if ill { failing } else { 0.01 };
            calls += 1;
            failed += u32::from(!good);
            rule.called(good, now);
        }
        if now >= ends && back.is_none() && rule.passes(now) {
            back = Some((now - ends).as_secs_f64());
        }
        now += STEADY;
    }
    let excess = f64::from(failed) - 0.01 * f64::from(calls);
    (excess, back.unwrap_or(120.0))
}

fn an_outage(arguments: Arguments, report: &mut Report) {
    let trials = arguments.of(300, 10);
    for failing in [1.0, 0.5, 0.2] {
        let all = RULES.map(|name| {
            let (mut excess, mut back): (Vec<f64>, Vec<f64>) = (1..=trials)
                .map(|trial| outage(name, failing, trial))
                .unzip();
            excess.sort_by(f64::total_cmp);
            back.sort_by(f64::total_cmp);
            (quantile(&excess, 0.5), quantile(&back, 0.5))
        });
        let what = format!(
            "a minute of {:.0} % failing at 20 calls/s: failed calls too many",
            failing * 100.0
        );
        let against = format!(
            "Envoy {:.0}, Hystrix {:.0}, resilience4j {:.0}",
            all[1].0, all[2].0, all[3].0
        );
        report.goal(
            &what,
            &against,
            Goal::AtMost(40.0),
            "",
            Spread::of(vec![all[0].0]),
        );
        let against = format!(
            "Envoy {:.0}, Hystrix {:.0}, resilience4j {:.0}",
            all[1].1, all[2].1, all[3].1
        );
        report.goal(
            "seconds until it passes again afterwards",
            &against,
            Goal::AtMost(6.0),
            " s",
            Spread::of(vec![all[0].1]),
        );
    }
}

/// What a brown-out came to.
#[derive(Default)]
struct BrownOut {
    done: Vec<u32>,
    rests: u32,
    most_unknown: usize,
}

/// 1,000 jobs a second on 400 slots, two providers of 100 ms; 20 % of what the first one gets hangs until its deadline of 30 s.
fn hanging(seconds: u64) -> BrownOut {
    const MOST: usize = 300; // three quarters of the slots
    let (slots, usual, deadline) = (400, Duration::from_millis(100), Duration::from_secs(30));
    let mut first = Breaker::new(Odds::default(), deadline, KeyHash(5));
    let mut dice = Dice(11);
    let mut ends: BinaryHeap<Reverse<(Duration, u64)>> = BinaryHeap::new();
    let mut calls: std::collections::HashMap<u64, (Call, bool)> = Default::default();
    let mut seen = BrownOut {
        done: vec![0; usize::try_from(seconds).unwrap_or(0)],
        ..BrownOut::default()
    };
    let mut waiting = 0u32;
    let begins = Duration::from_secs(60);
    for ms in 0..(seconds + 60) * 1_000 {
        let now = Duration::from_millis(ms);
        while ends.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((_, number))) = ends.pop() else {
                break;
            };
            let hung = calls.remove(&number).is_some_and(|(call, hung)| {
                let said = if hung { Said::Bad } else { Said::Good };
                count(first.answered(call, said, now), &first, &mut seen);
                hung
            });
            let second = now.saturating_sub(begins).as_secs() as usize;
            if !hung && now >= begins && second < seen.done.len() {
                seen.done[second] += 1;
            }
        }
        count(first.look(now), &first, &mut seen);
        waiting += 1;
        while waiting > 0 && ends.len() < slots {
            waiting -= 1;
            let number = ms * 1_000 + u64::from(waiting);
            let to_first = first.out() < MOST && first.may(now, dice.roll());
            let hangs = to_first && now >= begins && dice.roll() < 0.2;
            if to_first {
                calls.insert(number, (first.begin(now), hangs));
            }
            ends.push(Reverse((
                now + if hangs { deadline } else { usual },
                number,
            )));
        }
    }
    seen
}

fn count(turn: Option<Turn>, first: &Breaker, seen: &mut BrownOut) {
    if matches!(turn, Some(Turn::Rests(_))) {
        seen.rests += 1;
        seen.most_unknown = seen.most_unknown.max(first.out());
    }
}

fn brown_out(arguments: Arguments, report: &mut Report) {
    let seen = hanging(arguments.of(900, 60));
    let worst = seen.done.iter().min().copied().unwrap_or(0);
    let what = "a brown-out of 15 min, 20 % hang, 1,000 jobs/s: throughput of the worst second";
    report.goal(
        what,
        "",
        Goal::AtLeast(0.8),
        "",
        Spread::of(vec![f64::from(worst) / 1_000.0]),
    );
    report.goal(
        "rests meanwhile",
        "",
        Goal::AtMost(2.0),
        "",
        Spread::of(vec![f64::from(seen.rests)]),
    );
    report.goal(
        "out at a rest, with 300 slots at most",
        "",
        Goal::AtMost(300.0),
        "",
        Spread::of(vec![seen.most_unknown as f64]),
    );
}
