//! A full queue is drained by a handler inside the daemon that does nothing, with all valves on, and by others that do nothing.
//!
//! `cargo bench --bench drain [-- --quick | --rounds N]`

use anyhow::Result;
use peers::arguments::{Arguments, role};
use peers::consume::Order;
use peers::load::Load;
use peers::report::{Goal, Report, table};
use peers::roles;
use peers::rounds::{Contender, play};
use peers::stage::{Run, Stage};

#[path = "daemon/mod.rs"]
mod daemon;

use daemon::Daemon;

/// Messages that may be out with a consumer, and slots of the daemon.
const WINDOW: u16 = 1_000;

fn main() -> Result<()> {
    match role() {
        Some((role, arguments)) if role == daemon::EMBEDDED => daemon::play(&arguments),
        Some((role, arguments)) => roles::play(&role, &arguments),
        None => measure(Arguments::read()),
    }
}

fn measure(arguments: Arguments) -> Result<()> {
    let stage = Stage::start(&[])?;
    let mut report = Report::new("drain", arguments);
    plain(&stage, arguments, &mut report);
    report.conclude()
}

/// Plain messages: against bare lapin.
fn plain(stage: &Stage, arguments: Arguments, report: &mut Report) {
    let many = Load::plain("drained", arguments.of(200_000, 3_000));
    let few = Load::plain("drained", arguments.of(60_000, 1_000));
    let mut contenders = [
        Contender::new("Sluicegate, all valves", || ours(stage, &many)),
        Contender::new("lapin, multiple acks", || {
            raw(stage, &many, "lapin-multiple")
        }),
        Contender::new("lapin, each ack awaited", || {
            raw(stage, &few, "lapin-await")
        }),
    ];
    play(&mut contenders, arguments.rounds);
    table(
        "A full queue of 256 B messages, drained by a handler that does nothing",
        &contenders,
    );
    let [ours, multiple, awaited] = &contenders;
    let drained = "in-process no-op handler, messages/s";
    report.ratio(drained, (ours, multiple), Goal::AtLeast(0.95), Run::rate);
    let client = |run: &Run| run.per_100k(run.client);
    report.ratio(
        "in-process no-op handler, client CPU",
        (ours, multiple),
        Goal::AtMost(1.10),
        client,
    );
    report.ratio(drained, (ours, awaited), Goal::AtLeast(3.5), Run::rate);
}

fn ours(stage: &Stage, load: &Load) -> Result<Run> {
    let daemon = Daemon {
        url: &stage.url(),
        queue: &load.queue,
        target: "{ handler = \"nothing\" }",
        slots: u32::from(WINDOW),
        settings: "",
        valves: &[],
    };
    stage.drain(load, daemon.write()?.embedded(load.count))
}

fn raw(stage: &Stage, load: &Load, role: &str) -> Result<Run> {
    let order = Order {
        url: stage.url(),
        queue: load.queue.clone(),
        count: load.count,
        prefetch: WINDOW,
    };
    stage.drain(load, roles::command(role, &order))
}
