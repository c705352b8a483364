//! The same on a real broker: ten slots and jobs of 10 ms, at three and at ten times what they can do, beside what else people do
//! about it. Each contender works on the same load in a process of its own; what the slots can do is measured in the same run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use peers::arguments::ourselves;
use peers::consume::Order;
use peers::daemon::{Daemon, Files, Valve};
use peers::load::{Load, steadily, timed_body};
use peers::processes::Process;
use peers::report::Goal;
use peers::roles;
use peers::stage::Stage;
use peers::timed::{Count, DEADLINE_MS, JOB, SLOTS, Window};
use peers::worker::since_1970;
use sluicegate::seams::{Job, Outcome};
use sluicegate::targets::Handlers;
use sluicegate::{app, config};
use tokio_util::sync::CancellationToken;

use crate::tables::Tables;

/// The role of this program as the daemon with a handler that takes its time.
pub(crate) const DAEMON: &str = "daemon";
/// What the slots would do if nothing else took time, each second.
const NOMINAL: f64 = 1_000.0;
const QUEUE: &str = "burning";
/// How long anything may take to start.
const START: Duration = Duration::from_secs(30);

/// What a run did, jobs each second.
#[derive(Debug, Clone, Copy)]
struct Did {
    on_time: f64,
    late: f64,
}

/// A load, and how long it is measured.
#[derive(Debug, Clone, Copy)]
struct Overload {
    times: f64,
    warming: Duration,
    lasting: Duration,
    /// Whether the broker lets messages expire.
    expires: bool,
}

/// Plays it all.
pub(crate) fn run(tables: &mut Tables) -> Result<()> {
    let stage = Stage::start(&[])?;
    let arguments = tables.arguments;
    let warming = Duration::from_secs(arguments.of(5, 2));
    let lasting = Duration::from_secs(arguments.of(10, 1));
    for times in [3.0, 10.0] {
        let load = Overload {
            times,
            warming,
            lasting,
            expires: false,
        };
        at(&stage, tables, load)?;
    }
    Ok(())
}

fn at(stage: &Stage, tables: &mut Tables, load: Overload) -> Result<()> {
    let capacity = bare(stage, load, "none")?;
    let capacity = capacity.on_time + capacity.late;
    let percent = |did: Did| did.on_time * 100.0 / capacity;
    let mut fixed = f64::NEG_INFINITY;
    // What the arithmetic says, for the nominal and for the measured capacity, and more to be on the safe side.
    for spare in [1.0, capacity / NOMINAL, 0.9 * capacity / NOMINAL] {
        let skip = format!("{:.3}", 1.0 - spare / load.times);
        let valves = [("skip", "ratio", skip.as_str())];
        fixed = fixed.max(percent(ours(stage, load, &valves)?));
    }
    let none = percent(ours(stage, load, &[])?);
    let expiring = Overload {
        expires: true,
        ..load
    };
    let ttl = percent(bare(stage, expiring, "none")?);
    let codel = percent(bare(stage, load, "codel")?);
    let rounds = 0..tables.arguments.rounds.min(3);
    let auto = [("skip_mode", "string", "\"auto\"")];
    let goodput: Result<Vec<f64>> = rounds
        .map(|_| Ok(percent(ours(stage, load, &auto)?)))
        .collect();
    let against = format!(
        "no valve {none:.0}, best fixed skip {fixed:.0}, TTL {ttl:.0}, Facebook's CoDel {codel:.0} %"
    );
    let what = format!(
        "real broker, {:.0} jobs/s can be done, {}× offered",
        capacity, load.times
    );
    tables.measured(&what, &against, Goal::AtLeast(90.0), " %", goodput?);
    Ok(())
}

/// The daemon with these valves.
fn ours(stage: &Stage, load: Overload, valves: &[Valve<'_>]) -> Result<Did> {
    let plain = [("protect", "boolean", "false"), ("skip", "ratio", "0.0")];
    let rest = plain
        .iter()
        .filter(|one| valves.iter().all(|valve| valve.0 != one.0));
    let valves: Vec<Valve<'_>> = valves.iter().chain(rest).copied().collect();
    let daemon = Daemon {
        url: &stage.url(),
        queue: QUEUE,
        target: "{ handler = \"work\" }",
        slots: u32::from(SLOTS),
        settings: &format!(
            "deadline_after = \"{DEADLINE_MS}ms\"\non_skip = \"drop\"\non_expired = \"drop\""
        ),
        valves: &valves,
    };
    let Files { config, .. } = daemon.write()?;
    let command = |window: Window| {
        let mut command = ourselves(DAEMON);
        command.arg(&config).args(window.arguments());
        command
    };
    play(stage, load, command)
}

/// A consumer on bare lapin with this rule.
fn bare(stage: &Stage, load: Overload, rule: &str) -> Result<Did> {
    let order = Order {
        url: stage.url(),
        queue: QUEUE.to_owned(),
        count: 0,
        prefetch: 2 * SLOTS,
    };
    let command = |window: Window| {
        let mut command = roles::command("lapin-work", &order);
        command.arg(rule).args(window.arguments());
        command
    };
    play(stage, load, command)
}

fn play(
    stage: &Stage,
    load: Overload,
    contender: impl Fn(Window) -> std::process::Command,
) -> Result<Did> {
    stage.fill(&Load::plain(QUEUE, 0))?;
    let window = Window::after(load.warming, load.lasting);
    let publisher = publisher(stage.url(), load);
    let mut contender = Process::start(contender(window))?;
    let told = contender.says("did ", load.warming + load.lasting + START)?;
    let published = publisher.join().map_err(|_| anyhow!("nobody published"))?;
    published?;
    drop(contender);
    stage.clear();
    let mut counts = told.split(' ').map(str::parse::<f64>);
    let mut each_second = || -> Result<f64> {
        let count = counts.next().context("a count is missing")??;
        Ok(count / window.seconds())
    };
    Ok(Did {
        on_time: each_second()?,
        late: each_second()?,
    })
}

/// Publishes until the run is over, at an even pace.
fn publisher(url: String, load: Overload) -> JoinHandle<Result<()>> {
    let rate = load.times * NOMINAL;
    let count = (rate * (load.warming + load.lasting).as_secs_f64()) as u64;
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(steadily(&url, QUEUE, (count, rate), |number| {
            (properties(number, load.expires), timed_body(""))
        }))
    })
}

fn properties(number: u64, expires: bool) -> BasicProperties {
    let mut headers = FieldTable::default();
    let now = i64::try_from(since_1970() / 1_000_000).unwrap_or(i64::MAX);
    headers.insert("timestamp_in_ms".into(), AMQPValue::LongLongInt(now));
    let properties = BasicProperties::default()
        .with_message_id(format!("{number:x}").into())
        .with_delivery_mode(1)
        .with_headers(headers);
    if expires {
        properties.with_expiration(DEADLINE_MS.to_string().into())
    } else {
        properties
    }
}

/// Plays [`DAEMON`].
pub(crate) fn daemon(arguments: &[String]) -> Result<()> {
    let (file, window) = arguments.split_first().context("the file is missing")?;
    let settings = config::read(Path::new(file), &BTreeMap::new())?;
    let count = Count::of(Window::read(window)?);
    let work = move |job: Job| {
        let count = Arc::clone(&count);
        async move {
            tokio::time::sleep(JOB).await;
            count.done(&job.raw.body);
            Outcome::Done
        }
    };
    let handlers = Handlers::default().with("work", work);
    // Whoever measures ends this process.
    app::run_with(settings, handlers, CancellationToken::new())?;
    Ok(())
}
