//! What a flag costs: asked by handle and by name, by one thread and by two, with a hundred thousand accounts named; a change
//! published; memory. Beside it the evaluators of LaunchDarkly and Unleash (Yggdrasil), with flags that say the same.
//!
//! `cargo bench --bench flags [-- --quick | --rounds N]`

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, Result};
use peers::arguments::Arguments;
use peers::evaluators::{Asking, LaunchDarkly, Yggdrasil};
use peers::meter::{Counting, allocations, live, nanoseconds_each, thread_time};
use peers::report::{Goal, Report};
use peers::rounds::Spread;
use serde_json::json;
use sluicegate::rules::change::{Actor, Change, Edit};
use sluicegate::rules::context::Attribute;
use sluicegate::rules::flag::{Flag, FlagDocument, Value};
use sluicegate::rules::segment::{Segment, SegmentDocument};
use sluicegate::rules::snapshot::{GatedQueue, Handle, Snapshot, Stored};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Accounts that ask in turn, so that no branch is learned by heart.
const ASKING: usize = 4_096;
/// Flags that are loaded.
const FLAGS: usize = 1_000;

fn main() -> Result<()> {
    let arguments = Arguments::read();
    let mut report = Report::new("flags", arguments);
    one_flag(arguments, &mut report)?;
    targeted(arguments, &mut report)?;
    changes(arguments, &mut report)?;
    memory(arguments, &mut report)?;
    report.conclude()
}

fn keys(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("shop.checkout.{number}"))
        .collect()
}

fn accounts(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("account-{number:06}"))
        .collect()
}

/// Three rules that look at `plan`, `country` and `app`, then a share of accounts, or the segment `targeted`.
fn flag(key: &str, targeted: bool) -> Result<Flag> {
    let last = match targeted {
        true => json!({"name": "targeted", "when": [{"segment": "targeted"}], "value": true}),
        false => json!({"name": "ring", "split": [{"value": true, "share": 0.25}]}),
    };
    let document: FlagDocument = serde_json::from_value(json!({
        "key": key, "kind": "release", "type": "boolean", "value": false, "rules": [
            {"name": "plans", "value": true, "when": [{"attribute": "plan", "op": "in", "values": ["free", "trial", "demo"]}]},
            {"name": "countries", "value": true, "when": [{"attribute": "country", "op": "in", "values": ["se", "dk"]}]},
            {"name": "bulk", "value": true, "when": [{"attribute": "app", "op": "starts_with", "values": ["bulk."]}]},
            last]}))?;
    Ok(Flag::try_from(document)?)
}

fn snapshot(flags: usize, members: &[String]) -> Result<Snapshot> {
    let mut stored = Stored::default();
    for key in keys(flags) {
        stored.flags.push(flag(&key, false)?);
    }
    if !members.is_empty() {
        let segment = SegmentDocument {
            members: members.to_vec(),
            ..serde_json::from_value(json!({"name": "targeted"}))?
        };
        stored.segments.push(Segment::try_from(segment)?);
        stored.flags.push(flag("targeted", true)?);
    }
    Ok(Snapshot::of(
        vec![GatedQueue::named("orders".parse()?)],
        stored,
    ))
}

fn told(account: &str) -> [(&'static str, Attribute); 4] {
    [
        ("account", account),
        ("plan", "gold"),
        ("country", "no"),
        ("app", "shop.web"),
    ]
    .map(|(name, text)| (name, Attribute::of(text)))
}

type Known = Vec<Option<Attribute>>;

fn known(snapshot: &Snapshot, accounts: &[String]) -> Vec<Known> {
    accounts
        .iter()
        .map(|account| snapshot.context(told(account)))
        .collect()
}

fn ours(snapshot: &Snapshot, handle: Handle, known: &[Known], number: u64) -> bool {
    let context = &*known[number as usize % known.len()];
    let chosen = snapshot.ask(handle, black_box(context));
    chosen.is_some_and(|chosen| *chosen.value == Value::Boolean(true))
}

/// What all three say of one flag among a thousand, and what they take for it.
fn one_flag(arguments: Arguments, report: &mut Report) -> Result<()> {
    let (keys, names) = (keys(FLAGS), accounts(ASKING));
    let snapshot = snapshot(FLAGS, &[])?;
    let known = known(&snapshot, &names);
    let asking = names
        .iter()
        .map(|name| Asking::of(name))
        .collect::<Result<Vec<_>>>()?;
    let key = &keys[FLAGS / 2];
    let handle = snapshot.handle(key).context("no such flag")?;
    let launchdarkly = LaunchDarkly::new(&keys, &[])?;
    let yggdrasil = Yggdrasil::new(&keys, &[])?;
    let times = arguments.of(2_000_000, 50_000);
    let at = |number: u64| number as usize % ASKING;
    let (mut by_handle, mut by_name, mut by_texts, mut allocated) = (vec![], vec![], vec![], 0);
    let (mut two, mut theirs_ld, mut theirs_ygg) = (vec![], vec![], vec![]);
    let mut times_faster = vec![];
    for _ in 0..arguments.rounds {
        let before = allocations();
        let own = nanoseconds_each(times, |number| {
            black_box(ours(&snapshot, handle, &known, number));
        });
        by_name.push(nanoseconds_each(times, |number| {
            let handle = snapshot.handle(black_box(key));
            black_box(handle.map(|handle| ours(&snapshot, handle, &known, number)));
        }));
        allocated += allocations() - before;
        by_handle.push(own);
        by_texts.push(nanoseconds_each(times / 10, |number| {
            let context = snapshot.context(told(&names[at(number)]));
            black_box(snapshot.ask(handle, &*context));
        }));
        two.push(two_threads(&snapshot, handle, &known, times) / own);
        let ld = nanoseconds_each(times / 20, |number| {
            black_box(launchdarkly.is_on(key, &asking[at(number)]));
        });
        let ygg = nanoseconds_each(times / 20, |number| {
            black_box(yggdrasil.is_on(key, &asking[at(number)]));
        });
        times_faster.push(ld.min(ygg) / own);
        theirs_ld.push(ld);
        theirs_ygg.push(ygg);
    }
    let peers = beside(theirs_ld, theirs_ygg);
    report.goal(
        "one flag by handle (three rules, a share of accounts)",
        &peers,
        Goal::AtMost(30.0),
        " ns",
        Spread::of(by_handle),
    );
    report.goal(
        "so many times faster than the faster of them",
        &peers,
        Goal::AtLeast(20.0),
        "",
        Spread::of(times_faster),
    );
    report.goal(
        "one flag by name among 1,000",
        "",
        Goal::AtMost(50.0),
        " ns",
        Spread::of(by_name),
    );
    report.goal(
        "allocations in all of these",
        "",
        Goal::AtMost(0.0),
        "",
        Spread::of(vec![allocated as f64]),
    );
    report.goal(
        "two threads at once: time of each against one alone",
        "",
        Goal::AtMost(1.1),
        "",
        Spread::of(two),
    );
    report.note(
        "one flag, its context made from four texts",
        "",
        " ns",
        Spread::of(by_texts),
    );
    shares(&snapshot, handle, &known, report);
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

fn beside(launchdarkly: Vec<f64>, yggdrasil: Vec<f64>) -> String {
    let (launchdarkly, yggdrasil) = (Spread::of(launchdarkly), Spread::of(yggdrasil));
    format!(
        "LaunchDarkly {:.0}, Yggdrasil {:.0}",
        launchdarkly.median, yggdrasil.median
    )
}

/// A flag that is for accounts named one by one.
fn targeted(arguments: Arguments, report: &mut Report) -> Result<()> {
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

/// Bytes that something holds when it is made.
fn weighed<T>(make: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let before = live();
    let made = make()?;
    Ok((made, live() as f64 - before as f64))
}

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
fn changes(arguments: Arguments, report: &mut Report) -> Result<()> {
    let members = accounts(arguments.of(100_000, 5_000));
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
