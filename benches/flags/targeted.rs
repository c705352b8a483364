//! A flag for a hundred thousand accounts, named one by one: hit and miss, and the memory of each.

use std::hint::black_box;

use anyhow::{Context, Result};
use peers::arguments::Arguments;
use peers::evaluators::{Asking, LaunchDarkly, Yggdrasil};
use peers::meter::nanoseconds_each;
use peers::report::{Goal, Report};
use peers::rounds::Spread;

use crate::made_up::{ASKING, accounts, known, ours, snapshot};
use crate::{beside, weighed};

/// A flag that is for accounts named one by one.
pub(crate) fn targeted(arguments: Arguments, report: &mut Report) -> Result<()> {
    let count = arguments.of(100_000, 5_000);
    let members = accounts(count);
    let strangers: Vec<String> = (0..ASKING)
        .map(|number| format!("stranger-{number:06}"))
        .collect();
    let spread: Vec<String> = (0..ASKING)
        .map(|number| members[number * 7_919 % count].clone())
        .collect();
    let (own, bytes) = weighed(|| snapshot(0, &members))?;
    let (none, frame) = weighed(|| snapshot(0, &members[..1]))?;
    let (launchdarkly, ld_bytes) = weighed(|| LaunchDarkly::new(&[], &members))?;
    let (yggdrasil, ygg_bytes) = weighed(|| Yggdrasil::new(&[], &members))?;
    drop(none);
    let each = |bytes: f64| bytes / count as f64;
    let peers = format!(
        "LaunchDarkly {:.0}, Yggdrasil {:.0}",
        each(ld_bytes),
        each(ygg_bytes)
    );
    report.goal(
        "memory of each of 100,000 named accounts, exact",
        &peers,
        Goal::AtMost(40.0),
        " B",
        Spread::of(vec![each(bytes - frame)]),
    );
    let handle = own.handle("targeted").context("no such flag")?;
    for (what, names, expected) in [("hit", spread, true), ("miss", strangers, false)] {
        let known = known(&own, &names);
        let asking = names
            .iter()
            .map(|name| Asking::of(name))
            .collect::<Result<Vec<_>>>()?;
        anyhow::ensure!((0..100).all(|number| ours(&own, handle, &known, number) == expected));
        anyhow::ensure!(
            (0..100).all(|number| launchdarkly.is_on("targeted", &asking[number]) == expected)
        );
        anyhow::ensure!(
            (0..100).all(|number| yggdrasil.is_on("targeted", &asking[number]) == expected)
        );
        let times = arguments.of(1_000_000, 50_000);
        let (mut each, mut ld, mut ygg) = (vec![], vec![], vec![]);
        for _ in 0..arguments.rounds {
            each.push(nanoseconds_each(times, |number| {
                black_box(ours(&own, handle, &known, number));
            }));
            ld.push(nanoseconds_each(times / 2_000, |number| {
                black_box(launchdarkly.is_on("targeted", &asking[number as usize % ASKING]));
            }));
            ygg.push(nanoseconds_each(times / 20, |number| {
                black_box(yggdrasil.is_on("targeted", &asking[number as usize % ASKING]));
            }));
        }
        let what = format!("100,000 named accounts, {what}");
        report.goal(
            &what,
            &beside(ld, ygg),
            Goal::AtMost(60.0),
            " ns",
            Spread::of(each),
        );
    }
    Ok(())
}
