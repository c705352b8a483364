//! A full queue is worked off by an HTTP worker that does nothing, handed to it by the daemon with all valves on, and by a bare
//! loop that takes, posts and acknowledges with the same client.
//!
//! `cargo bench --bench http [-- --quick | --rounds N]`

use anyhow::Result;
use peers::arguments::{Arguments, ourselves};
use peers::consume::Order;
use peers::daemon::Daemon;
use peers::load::Load;
use peers::report::{Goal, Report, table};
use peers::rounds::{Contender, play};
use peers::stage::{Run, Stage};
use peers::{free_port, roles};

/// The queue.
const QUEUE: &str = "posted";

/// The program that was built with this benchmark.
const PROGRAM: &str = env!("CARGO_BIN_EXE_sluicegate");

fn main() -> Result<()> {
    roles::play_or(measure)
}

fn measure(arguments: Arguments) -> Result<()> {
    let stage = Stage::start(&[])?;
    let mut report = Report::new("http", arguments);
    let load = Load::plain(QUEUE, arguments.of(60_000, 1_000));
    let mut contenders = [
        Contender::new("Sluicegate, 100 slots", || ours(&stage, &load, 100)),
        Contender::new("bare loop, 100 at once", || bare(&stage, &load, 100)),
        Contender::new("Sluicegate, 1,000 slots", || ours(&stage, &load, 1_000)),
        Contender::new("bare loop, 1,000 at once", || bare(&stage, &load, 1_000)),
    ];
    play(&stage, &mut contenders, arguments.rounds);
    table("An HTTP worker that does nothing", &contenders);
    let [ours, bare, ours_1000, bare_1000] = &contenders;
    let client = |run: &Run| run.per_100k(run.client);
    let what = "HTTP worker, 100 slots, messages/s";
    report.ratio(what, (ours, bare), Goal::AtLeast(0.95), Run::rate);
    report.ratio_without_goal("HTTP worker, 100 slots, client CPU", (ours, bare), client);
    let all = "HTTP worker, 100 slots, CPU of client and broker";
    report.ratio_without_goal(all, (ours, bare), Run::all_per_100k);
    let what = "HTTP worker, 1,000 slots, messages/s";
    report.ratio(what, (ours_1000, ours), Goal::AtLeast(0.9), Run::rate);
    report.ratio_without_goal(what, (ours_1000, bare_1000), Run::rate);
    report.conclude()
}

/// The daemon, with prefetch as it chooses.
fn ours(stage: &Stage, load: &Load, slots: u32) -> Result<Run> {
    let port = free_port();
    let target = format!("{{ http = \"http://127.0.0.1:{port}/jobs\" }}");
    let daemon = Daemon {
        url: &stage.url(),
        queue: QUEUE,
        target: &target,
        slots,
        settings: "",
        valves: &[],
    };
    let program = daemon.write()?.program(PROGRAM);
    stage.drain_into(load, Some(program), worker(port, load.count), || Ok(()))
}

/// The bare loop, with the prefetch that the daemon would choose.
fn bare(stage: &Stage, load: &Load, slots: u16) -> Result<Run> {
    let port = free_port();
    let order = Order {
        url: stage.url(),
        queue: QUEUE.to_owned(),
        count: load.count,
        prefetch: (2 * slots).clamp(16, 1_000),
    };
    let mut loop_of_ours = roles::command("lapin-post", &order);
    loop_of_ours.arg(format!("http://127.0.0.1:{port}/jobs"));
    loop_of_ours.arg(slots.to_string());
    stage.drain_into(
        load,
        Some(loop_of_ours),
        worker(port, load.count),
        || Ok(()),
    )
}

fn worker(port: u16, count: u64) -> std::process::Command {
    let mut worker = ourselves("worker");
    worker.args([port.to_string(), count.to_string()]);
    worker
}
