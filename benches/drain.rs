//! A full queue is drained by a handler inside the daemon that does nothing, with all valves on, and by others that do nothing;
//! and by a gate that sheds everything.
//!
//! `cargo bench --bench drain [-- --quick | --rounds N]`
#![expect(clippy::print_stdout, reason = "a benchmark talks to people")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use peers::arguments::{Arguments, role};
use peers::consume::Order;
use peers::daemon::{Daemon, EMBEDDED, Files, Valve};
use peers::load::{Load, Shape};
use peers::report::{Goal, Report, table};
use peers::roles::{self, Marks};
use peers::rounds::{Contender, Spread, play};
use peers::scripts::{self, Pool};
use peers::stage::{Run, Stage};
use sluicegate::seams::{Job, Outcome};
use sluicegate::targets::Handlers;
use sluicegate::{app, config};
use tokio_util::sync::CancellationToken;

/// Messages that may be out with a consumer, and slots of the daemon.
const WINDOW: u16 = 1_000;
/// The queue.
const QUEUE: &str = "drained";

fn main() -> Result<()> {
    match role() {
        Some((role, arguments)) if role == EMBEDDED => embedded(&arguments),
        Some((role, arguments)) => roles::play(&role, &arguments),
        None => measure(Arguments::read()),
    }
}

fn measure(arguments: Arguments) -> Result<()> {
    let stage = Stage::start(&[])?;
    let mut report = Report::new("drain", arguments);
    plain(&stage, arguments, &mut report);
    celery(&stage, arguments, &mut report);
    skipped(&stage, arguments, &mut report);
    report.conclude()
}

/// Plain messages: against bare lapin, pika and amqplib.
fn plain(stage: &Stage, arguments: Arguments, report: &mut Report) {
    let load = Load::plain(QUEUE, arguments.of(100_000, 2_000));
    let order = order(stage, &load);
    let raw = |role| stage.drain(&load, roles::command(role, &order));
    let mut contenders = [
        Contender::new("Sluicegate, all valves", || handled(stage, &load)),
        Contender::new("lapin, multiple acks", || raw("lapin-multiple")),
        Contender::new("lapin, as in its README", || {
            raw("lapin-await-as-in-readme")
        }),
        Contender::new("lapin, each ack awaited, one thread", || raw("lapin-await")),
        Contender::new("pika", || stage.drain(&load, scripts::pika(&order)?)),
        Contender::new("node amqplib", || {
            stage.drain(&load, scripts::amqplib(&order)?)
        }),
    ];
    play(stage, &mut contenders, arguments.rounds);
    table(
        "A full queue of 256 B messages, drained by a handler that does nothing",
        &contenders,
    );
    let [ours, multiple, readme, awaited, pika, node] = &contenders;
    let drained = "in-process no-op handler, messages/s";
    report.ratio(drained, (ours, multiple), Goal::AtLeast(0.95), Run::rate);
    let client = "in-process no-op handler, client CPU";
    report.ratio(client, (ours, multiple), Goal::AtMost(1.10), client_cpu);
    let all = "in-process no-op handler, CPU of client and broker";
    report.ratio_without_goal(all, (ours, multiple), Run::all_per_100k);
    report.ratio(drained, (ours, readme), Goal::AtLeast(3.5), Run::rate);
    report.ratio_without_goal(drained, (ours, awaited), Run::rate);
    report.ratio(drained, (ours, pika), Goal::AtLeast(2.5), Run::rate);
    report.ratio(drained, (ours, node), Goal::AtLeast(1.5), Run::rate);
}

/// The messages of Celery's protocol: against its workers.
fn celery(stage: &Stage, arguments: Arguments, report: &mut Report) {
    let load = |count| Load {
        shape: Shape::Celery,
        ..Load::plain(QUEUE, count)
    };
    let many = load(arguments.of(100_000, 2_000));
    let few = load(arguments.of(10_000, 100));
    let worker = |pool| stage.drain(&few, scripts::celery(&order(stage, &few), pool)?);
    let mut contenders = [
        Contender::new("Sluicegate, all valves", || handled(stage, &many)),
        Contender::new("lapin, multiple acks", || {
            stage.drain(
                &many,
                roles::command("lapin-multiple", &order(stage, &many)),
            )
        }),
        Contender::new("Celery, prefork 2", || worker(Pool::Prefork)),
        Contender::new("Celery, solo", || worker(Pool::Solo)),
    ];
    play(stage, &mut contenders, arguments.rounds);
    table("Celery's messages, a task that does nothing", &contenders);
    let [ours, multiple, prefork, solo] = &contenders;
    let drained = "Celery's messages, messages/s";
    report.ratio(drained, (ours, prefork), Goal::AtLeast(9.0), Run::rate);
    let client = "Celery's messages, client CPU";
    report.ratio(
        client,
        (ours, prefork),
        Goal::AtMost(1.0 / 22.0),
        client_cpu,
    );
    report.ratio(drained, (ours, solo), Goal::AtLeast(7.0), Run::rate);
    report.ratio(client, (ours, solo), Goal::AtMost(1.0 / 12.0), client_cpu);
    report.ratio_without_goal(drained, (ours, multiple), Run::rate);
}

/// `skip` at 100 %: dropped, and parked in a stream.
fn skipped(stage: &Stage, arguments: Arguments, report: &mut Report) {
    let load = Load::plain(QUEUE, arguments.of(100_000, 2_000));
    let order = order(stage, &load);
    let into_a_stream = |role| {
        let mut command = roles::command(role, &order);
        command.args(["parked.by.hand", "stream"]);
        command
    };
    let mut contenders = [
        Contender::new("Sluicegate, skip 100 %, drop", || {
            shed(stage, &load, "drop")
        }),
        Contender::new("Sluicegate, skip 100 %, park", || {
            shed(stage, &load, "park")
        }),
        Contender::new("lapin: take, publish to a stream, ack", || {
            stage.drain(&load, into_a_stream("lapin-republish"))
        }),
        Contender::new("lapin: only publish to a stream", || {
            stage.publish(&load, into_a_stream("lapin-publish"))
        }),
    ];
    play(stage, &mut contenders, arguments.rounds);
    table("Everything is shed", &contenders);
    let [dropped, parked, moved, published] = &contenders;
    match dropped.made() {
        Ok(runs) => {
            let per_core = Spread::over(runs, |run| run.messages as f64 / run.client.max(1e-9));
            let what = "skip 100 %, `drop`: messages for each core-second of the daemon";
            report.goal(what, "its own CPU", Goal::AtLeast(40_000.0), "", per_core);
        }
        Err(error) => println!("drop: {error:#}"),
    }
    let what = "skip 100 %, `park`, messages/s";
    report.ratio(what, (parked, moved), Goal::AtLeast(0.9), Run::rate);
    report.ratio_without_goal(what, (parked, published), Run::rate);
    let all = "skip 100 %, `park`, CPU of client and broker";
    report.ratio_without_goal(all, (parked, moved), Run::all_per_100k);
}

fn client_cpu(run: &Run) -> f64 {
    run.per_100k(run.client)
}

fn order(stage: &Stage, load: &Load) -> Order {
    Order {
        url: stage.url(),
        queue: load.queue.clone(),
        count: load.count,
        prefetch: WINDOW,
    }
}

/// The daemon with a handler that does nothing.
fn handled(stage: &Stage, load: &Load) -> Result<Run> {
    let files = daemon(stage, "", &[])?;
    stage.drain(load, files.embedded(load.count))
}

/// The daemon that skips everything.
fn shed(stage: &Stage, load: &Load, on_skip: &str) -> Result<Run> {
    let settings = format!("on_skip = \"{on_skip}\"");
    let all = [("skip", "ratio", "1.0"), ("protect", "boolean", "false")];
    let files = daemon(stage, &settings, &all)?;
    stage.drain_watched(load, files.embedded(load.count), || {
        files.settled("skipped")
    })
}

fn daemon(stage: &Stage, settings: &str, valves: &[Valve<'_>]) -> Result<Files> {
    let daemon = Daemon {
        url: &stage.url(),
        queue: QUEUE,
        target: "{ handler = \"nothing\" }",
        slots: u32::from(WINDOW),
        settings,
        valves,
    };
    daemon.write()
}

/// Plays [`EMBEDDED`]: the daemon with a handler that does nothing, for so many messages.
fn embedded(arguments: &[String]) -> Result<()> {
    let file = arguments.first().context("the file is missing")?;
    let count = arguments.get(1).context("the count is missing")?.parse()?;
    let settings = config::read(Path::new(file), &BTreeMap::new())?;
    let marks = Arc::new(Mutex::new(Marks::of(count)));
    let nothing = move |_: Job| {
        let mut marks = marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.begun();
        marks.one();
        std::future::ready(Outcome::Done)
    };
    let handlers = Handlers::default().with("nothing", nothing);
    // Whoever measures ends this process when it has seen the queue empty.
    app::run_with(settings, handlers, CancellationToken::new())?;
    Ok(())
}
