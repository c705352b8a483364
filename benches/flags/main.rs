//! What a flag costs: asked by handle and by name, by one thread and by two, with a hundred thousand accounts named; a change
//! published; memory. Beside it the evaluators of LaunchDarkly and Unleash (Yggdrasil), with flags that say the same.
//!
//! `cargo bench --bench flags [-- --quick | --rounds N]`

mod changes;
mod made_up;
mod one_flag;
mod targeted;

use anyhow::Result;
use peers::arguments::Arguments;
use peers::evaluators::{LaunchDarkly, Yggdrasil};
use peers::meter::{Counting, live};
use peers::report::{Goal, Report};
use peers::rounds::Spread;

use changes::changes;
use made_up::{FLAGS, keys, snapshot};
use one_flag::one_flag;
use targeted::targeted;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Result<()> {
    let arguments = Arguments::read();
    let mut report = Report::new("flags", arguments);
    one_flag(arguments, &mut report)?;
    targeted(arguments, &mut report)?;
    changes(arguments, &mut report)?;
    memory(arguments, &mut report)?;
    report.conclude()
}

/// What the peers took, in nanoseconds.
pub(crate) fn beside(launchdarkly: Vec<f64>, yggdrasil: Vec<f64>) -> String {
    let (launchdarkly, yggdrasil) = (Spread::of(launchdarkly), Spread::of(yggdrasil));
    format!(
        "LaunchDarkly {:.0}, Yggdrasil {:.0}",
        launchdarkly.median, yggdrasil.median
    )
}

/// Bytes that something holds when it is made.
pub(crate) fn weighed<T>(make: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let before = live();
    let made = make()?;
    Ok((made, live() as f64 - before as f64))
}

/// What 1,000 flags hold in memory: their documents and what was compiled of them.
fn memory(arguments: Arguments, report: &mut Report) -> Result<()> {
    let count = arguments.of(FLAGS, 100);
    let scale = FLAGS as f64 / count as f64 / f64::from(1 << 20);
    let (empty, frame) = weighed(|| snapshot(0, &[]))?;
    let (own, bytes) = weighed(|| snapshot(count, &[]))?;
    let (launchdarkly, ld) = weighed(|| LaunchDarkly::new(&keys(count), &[]))?;
    let (yggdrasil, ygg) = weighed(|| Yggdrasil::new(&keys(count), &[]))?;
    drop((empty, own, launchdarkly, yggdrasil));
    let peers = format!(
        "LaunchDarkly {:.1}, Yggdrasil {:.1}",
        ld * scale,
        ygg * scale
    );
    report.goal(
        "memory of 1,000 flags of four rules",
        &peers,
        Goal::AtMost(1.0),
        " MiB",
        Spread::of(vec![(bytes - frame) * scale]),
    );
    Ok(())
}
