//! One flag among a thousand: by handle, by name, from texts, by two threads, and what the peers take for the same.

use std::hint::black_box;

use anyhow::{Context, Result};
use peers::arguments::Arguments;
use peers::evaluators::{Asking, LaunchDarkly, Yggdrasil};
use peers::meter::{allocations, nanoseconds_each};
use peers::report::{Goal, Report};
use peers::rounds::Spread;
use sluicegate::rules::snapshot::{Handle, Snapshot};

use crate::beside;
use crate::made_up::{ASKING, FLAGS, Known, accounts, keys, known, ours, snapshot, told};

/// One flag among a thousand, and all who ask for it.
struct Asked {
    keys: Vec<String>,
    names: Vec<String>,
    snapshot: Snapshot,
    handle: Handle,
    known: Vec<Known>,
    asking: Vec<Asking>,
    launchdarkly: LaunchDarkly,
    yggdrasil: Yggdrasil,
}

impl Asked {
    fn new() -> Result<Self> {
        let (keys, names) = (keys(FLAGS), accounts(ASKING));
        let snapshot = snapshot(FLAGS, &[])?;
        let asking = names.iter().map(|name| Asking::of(name));
        Ok(Self {
            handle: snapshot.handle(&keys[FLAGS / 2]).context("no such flag")?,
            known: known(&snapshot, &names),
            asking: asking.collect::<Result<_>>()?,
            launchdarkly: LaunchDarkly::new(&keys, &[])?,
            yggdrasil: Yggdrasil::new(&keys, &[])?,
            keys,
            names,
            snapshot,
        })
    }

    fn key(&self) -> &str {
        &self.keys[FLAGS / 2]
    }

    fn ours(&self, handle: Handle, number: u64) -> bool {
        ours(&self.snapshot, handle, &self.known, number)
    }

    /// One round of everything, `times` of each.
    fn round(&self, times: u64, into: &mut Times) {
        let at = |number: u64| number as usize % ASKING;
        let before = allocations();
        let own = nanoseconds_each(times, |number| {
            black_box(self.ours(self.handle, number));
        });
        let by_name = nanoseconds_each(times, |number| {
            let handle = self.snapshot.handle(black_box(self.key()));
            black_box(handle.map(|handle| self.ours(handle, number)));
        });
        into.allocated += allocations() - before;
        into.by_handle.push(own);
        into.by_name.push(by_name);
        into.by_texts.push(nanoseconds_each(times / 10, |number| {
            let context = self.snapshot.context(told(&self.names[at(number)]));
            black_box(self.snapshot.ask(self.handle, &*context));
        }));
        let two = two_threads(&self.snapshot, self.handle, &self.known, times);
        into.two_threads.push(two / own);
        let ld = nanoseconds_each(times / 20, |number| {
            black_box(
                self.launchdarkly
                    .is_on(self.key(), &self.asking[at(number)]),
            );
        });
        let ygg = nanoseconds_each(times / 20, |number| {
            black_box(self.yggdrasil.is_on(self.key(), &self.asking[at(number)]));
        });
        into.times_faster.push(ld.min(ygg) / own);
        into.launchdarkly.push(ld);
        into.yggdrasil.push(ygg);
    }
}

/// What the rounds took, in nanoseconds for one answer.
#[derive(Default)]
struct Times {
    by_handle: Vec<f64>,
    by_name: Vec<f64>,
    by_texts: Vec<f64>,
    /// By handle and by name, in all rounds.
    allocated: u64,
    /// Against one thread alone.
    two_threads: Vec<f64>,
    times_faster: Vec<f64>,
    launchdarkly: Vec<f64>,
    yggdrasil: Vec<f64>,
}

/// What all three say of one flag among a thousand, and what they take for it.
pub(crate) fn one_flag(arguments: Arguments, report: &mut Report) -> Result<()> {
    let asked = Asked::new()?;
    let mut times = Times::default();
    for _ in 0..arguments.rounds {
        asked.round(arguments.of(2_000_000, 50_000), &mut times);
    }
    let peers = beside(times.launchdarkly, times.yggdrasil);
    let at_most = [
        (
            "one flag by handle (three rules, a share of accounts)",
            &*peers,
            30.0,
            " ns",
            times.by_handle,
        ),
        (
            "one flag by name among 1,000",
            "",
            50.0,
            " ns",
            times.by_name,
        ),
        (
            "allocations in all of these",
            "",
            0.0,
            "",
            vec![times.allocated as f64],
        ),
        (
            "two threads at once: time of each against one alone",
            "",
            1.1,
            "",
            times.two_threads,
        ),
    ];
    for (what, peers, goal, unit, found) in at_most {
        report.goal(what, peers, Goal::AtMost(goal), unit, Spread::of(found));
    }
    report.goal(
        "so many times faster than the faster of them",
        &peers,
        Goal::AtLeast(20.0),
        "",
        Spread::of(times.times_faster),
    );
    report.note(
        "one flag, its context made from four texts",
        "",
        " ns",
        Spread::of(times.by_texts),
    );
    shares(&asked.snapshot, asked.handle, &asked.known, report);
    Ok(())
}

/// The share that is on, so that what was measured is what was meant.
fn shares(snapshot: &Snapshot, handle: Handle, known: &[Known], report: &mut Report) {
    let on = (0..known.len() as u64).filter(|number| ours(snapshot, handle, known, *number));
    let share = on.count() as f64 / known.len() as f64;
    report.note(
        "share of accounts for whom it is on (a quarter is meant)",
        "",
        "",
        Spread::of(vec![share]),
    );
}

fn two_threads(snapshot: &Snapshot, handle: Handle, known: &[Known], times: u64) -> f64 {
    let run = || {
        nanoseconds_each(times, |number| {
            black_box(ours(snapshot, handle, known, number));
        })
    };
    std::thread::scope(|threads| {
        let other = threads.spawn(run);
        let own = run();
        f64::midpoint(own, other.join().unwrap_or(f64::NAN))
    })
}
