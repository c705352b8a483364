//! What it takes to publish a change.

use std::hint::black_box;
use std::time::Duration;

use anyhow::Result;
use peers::arguments::Arguments;
use peers::evaluators::Yggdrasil;
use peers::meter::thread_time;
use peers::report::{Goal, Report};
use peers::rounds::Spread;
use serde_json::json;
use sluicegate::rules::change::{Actor, Change, Edit};

use crate::made_up::{FLAGS, accounts, keys, snapshot};

fn change(edit: Edit) -> Change {
    Change::new(edit, Actor::new("ana", "bench"), "INC-481", 0)
}

/// Processor time of one call, in microseconds.
fn microseconds(call: impl FnOnce() -> Result<()>) -> Result<f64> {
    let before = thread_time();
    call()?;
    Ok((thread_time() - before)
        .max(Duration::from_nanos(1))
        .as_nanos() as f64
        / 1e3)
}

/// The median of many calls.
fn usually(times: u64, mut call: impl FnMut(u64) -> Result<()>) -> Result<f64> {
    let all = (0..times)
        .map(|number| microseconds(|| call(number)))
        .collect::<Result<Vec<_>>>()?;
    Ok(Spread::of(all).median)
}

/// From one snapshot to the next, without the disk.
pub(crate) fn changes(arguments: Arguments, report: &mut Report) -> Result<()> {
    // With the newcomer there are as many as a segment may have.
    let members = accounts(arguments.of(99_999, 4_999));
    let (many, few) = (snapshot(FLAGS, &members)?, snapshot(10, &members)?);
    let times = arguments.of(500, 20);
    let (mut value, mut valve, mut account, mut account_few, mut theirs) =
        (vec![], vec![], vec![], vec![], vec![]);
    let names = keys(FLAGS);
    for _ in 0..arguments.rounds {
        value.push(
            usually(times, |number| {
                let edit = Edit::Set(names[number as usize % FLAGS].parse()?, json!(true));
                drop(black_box(many.with(&change(edit))?));
                Ok(())
            })? / 1e3,
        );
        valve.push(
            usually(times, |_| {
                let edit = Edit::Set("queue.orders.timeout".parse()?, json!("20s"));
                drop(black_box(many.with(&change(edit))?));
                Ok(())
            })? / 1e3,
        );
        for (snapshot, into) in [(&many, &mut account), (&few, &mut account_few)] {
            into.push(usually(times, |number| {
                let edit = Edit::Members {
                    segment: "targeted".parse()?,
                    add: vec![format!("newcomer-{number}")],
                    remove: vec![],
                };
                drop(black_box(snapshot.with(&change(edit))?));
                Ok(())
            })?);
        }
        let yggdrasil = Yggdrasil::default();
        let state = Yggdrasil::state(&names, &[])?;
        theirs.push(microseconds(|| yggdrasil.publish(state))? / 1e3);
    }
    let theirs = format!(
        "Yggdrasil {:.0} (a state that was read already)",
        Spread::of(theirs).median
    );
    report.goal(
        "publish one of 1,000 flags",
        &theirs,
        Goal::AtMost(2.0),
        " ms",
        Spread::of(value),
    );
    report.goal(
        "publish a valve among 1,000 flags",
        "",
        Goal::AtMost(2.0),
        " ms",
        Spread::of(valve),
    );
    let what = "publish one account more in a segment of 100,000, 1,000 flags";
    report.goal(what, "", Goal::AtMost(50.0), " µs", Spread::of(account));
    report.goal(
        "the same with 10 flags",
        "",
        Goal::AtMost(50.0),
        " µs",
        Spread::of(account_few),
    );
    Ok(())
}
