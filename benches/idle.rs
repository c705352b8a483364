//! What the daemon takes when there is nothing to do: memory with 1,000 flags, processor time, and how soon it works.
//!
//! `cargo bench --bench idle [-- --quick | --rounds N]`
#![expect(clippy::print_stdout, reason = "a benchmark talks to people")]
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark is measured by the clock on the wall"
)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use peers::arguments::{Arguments, ourselves};
use peers::consume::Order;
use peers::daemon::{Daemon, Files};
use peers::load::Load;
use peers::processes::Process;
use peers::report::{Goal, Report};
use peers::rounds::Spread;
use peers::stage::Stage;
use peers::{free_port, roles};

/// The queue.
const QUEUE: &str = "quiet";
/// How long a start may take before it counts as failed.
const LONGEST: Duration = Duration::from_secs(30);
/// After its start the daemon comes to rest.
const REST: Duration = Duration::from_secs(2);

/// What is read of a process that has nothing to do.
struct Quiet {
    /// Resident memory in MiB.
    resident: f64,
    /// Processor time of one minute, in milliseconds.
    cpu_ms: f64,
}

/// The program that was built with this benchmark.
const PROGRAM: &str = env!("CARGO_BIN_EXE_sluicegate");

fn main() -> Result<()> {
    roles::play_or(measure)
}

fn measure(arguments: Arguments) -> Result<()> {
    let stage = Stage::start(&[])?;
    let mut report = Report::new("idle", arguments);
    let (mut starts, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=arguments.rounds.min(3) {
        starts.push(first_delivery(&stage)?);
        stage.fill(&Load::plain(QUEUE, 0))?; // idle is who has a queue, and nothing in it
        ours.push(quiet(&daemon(&stage, free_port())?, arguments)?);
        theirs.push(probe(&stage, arguments)?);
        println!("round {round}");
    }
    let over =
        |all: &[Quiet], figure: fn(&Quiet) -> f64| Spread::of(all.iter().map(figure).collect());
    let resident = |all: &[Quiet]| over(all, |quiet| quiet.resident);
    let what = "idle, 1,000 flags: resident memory";
    let probe = resident(&theirs);
    let against = format!("bare lapin consumer: {:.1} MiB", probe.median);
    report.goal(what, &against, Goal::AtMost(26.0), " MiB", resident(&ours));
    let cpu = over(&theirs, |quiet| quiet.cpu_ms);
    let against = format!("bare lapin consumer: {:.0} ms", cpu.median);
    let cpu = over(&ours, |quiet| quiet.cpu_ms);
    report.goal(
        "idle, 1,000 flags: CPU a minute",
        &against,
        Goal::AtMost(20.0),
        " ms",
        cpu,
    );
    let what = "start of the program to the first message at its worker";
    report.goal(what, "", Goal::AtMost(1.0), " s", Spread::of(starts));
    report.conclude()
}

/// From the start of the program to the first request at the worker; a message waits in the queue.
fn first_delivery(stage: &Stage) -> Result<f64> {
    stage.fill(&Load::plain(QUEUE, 10))?;
    let port = free_port();
    let mut worker = ourselves("worker");
    worker.args([port.to_string(), "10".to_owned()]);
    let mut worker = Process::start(worker)?;
    worker.says("ready", LONGEST)?;
    let files = daemon(stage, port)?;
    let started = Instant::now();
    let daemon = Process::start(files.program(PROGRAM))?;
    worker.says("first", LONGEST)?;
    let took = started.elapsed().as_secs_f64();
    daemon.stop();
    stage.clear();
    Ok(took)
}

/// The daemon with nothing to do but to answer health and metrics once, as a monitor would.
fn quiet(files: &Files, arguments: Arguments) -> Result<Quiet> {
    let daemon = Process::start(files.program(PROGRAM))?;
    let started = Instant::now();
    while let Err(why) = peers::api::get(files.port, "/metrics") {
        ensure!(started.elapsed() < LONGEST, "it did not answer: {why:#}");
        std::thread::sleep(REST / 40);
    }
    std::thread::sleep(arguments.of(REST, REST / 4));
    Ok(watch(&daemon, arguments))
}

/// A bare consumer with nothing to do.
fn probe(stage: &Stage, arguments: Arguments) -> Result<Quiet> {
    let order = Order {
        url: stage.url(),
        queue: QUEUE.to_owned(),
        count: 1,
        prefetch: 16,
    };
    let probe = Process::start(roles::command("lapin-await", &order))?;
    std::thread::sleep(arguments.of(REST, REST / 4));
    Ok(watch(&probe, arguments))
}

fn watch(process: &Process, arguments: Arguments) -> Quiet {
    let seconds = arguments.of(60, 2);
    let before = process.cpu_by_thread();
    std::thread::sleep(Duration::from_secs(seconds));
    // A thread that ended meanwhile had come to rest before.
    let after = process.cpu_by_thread().into_iter();
    let used = after.map(|(thread, now)| now - before.get(&thread).copied().unwrap_or(0));
    let used = used.sum::<u64>() as f64;
    Quiet {
        resident: process.resident(),
        cpu_ms: used / 1e6 * 60.0 / seconds as f64,
    }
}

/// The files of a daemon with a thousand flags beside the valves.
fn daemon(stage: &Stage, worker: u16) -> Result<Files> {
    let files = Daemon {
        url: &stage.url(),
        queue: QUEUE,
        target: &format!("{{ http = \"http://127.0.0.1:{worker}/jobs\" }}"),
        slots: 8,
        settings: "",
        valves: &[],
    }
    .write()?;
    let mut flags = String::new();
    for number in 0..1_000 {
        let _ = write!(
            flags,
            "[[flag]]\nkey = \"team-{}.switch-{number}\"\nkind = \"config\"\ntype = \"boolean\"\nvalue = true\n\
             description = \"Something that is turned on step by step, number {number}\"\n",
            number % 20
        );
    }
    let file = files.config.with_file_name("flags.toml");
    std::fs::File::options()
        .append(true)
        .open(file)?
        .write_all(flags.as_bytes())?;
    Ok(files)
}
