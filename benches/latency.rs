//! How much later a job reaches its HTTP worker through the daemon than through a bare loop, at half of the load that the bare
//! loop can do; and how soon a valve that was turned is obeyed.
//!
//! `cargo bench --bench latency [-- --quick | --rounds N]`
#![expect(clippy::print_stdout, reason = "a benchmark talks to people")]

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use lapin::BasicProperties;
use peers::arguments::{Arguments, ourselves};
use peers::consume::Order;
use peers::daemon::{Daemon, Files};
use peers::load::{Load, steadily, timed_body};
use peers::processes::Process;
use peers::report::{Goal, Report};
use peers::rounds::Spread;
use peers::stage::Stage;
use peers::worker::since_1970;
use peers::{api, free_port, roles};
use serde_json::json;

/// The queue.
const QUEUE: &str = "steady";
/// Slots of the daemon, and requests at once of the bare loop.
const SLOTS: u16 = 100;
/// Messages with which each run begins that are not counted: connections are made.
const WARMING: usize = 500;
/// How long anything may take to start.
const START: Duration = Duration::from_secs(30);

/// The program that was built with this benchmark.
const PROGRAM: &str = env!("CARGO_BIN_EXE_sluicegate");

fn main() -> Result<()> {
    roles::play_or(measure)
}

fn measure(arguments: Arguments) -> Result<()> {
    let stage = Stage::start(&[])?;
    let mut report = Report::new("latency", arguments);
    let rate = half_load(&stage, arguments)?;
    println!("half of what the bare loop can do: {rate:.0}/s");
    for quorum in [false, true] {
        added(&stage, arguments, &mut report, rate, quorum)?;
    }
    let turns = arguments.of(50, 5);
    let took = turned(&stage, turns)?;
    let what = format!("knob to effect, p99 of {turns} turns");
    let middle = quantile(&took, 0.5);
    println!(
        "knob to effect: p50 {middle:.1} ms, p99 {:.1} ms",
        quantile(&took, 0.99)
    );
    let p99 = Spread::of(vec![quantile(&took, 0.99)]);
    report.goal(&what, "the answered PATCH", Goal::AtMost(100.0), " ms", p99);
    report.conclude()
}

/// Half of the messages that the bare loop hands to its worker in a second.
fn half_load(stage: &Stage, arguments: Arguments) -> Result<f64> {
    let load = Load::plain(QUEUE, arguments.of(40_000, 1_000));
    let port = free_port();
    let run = stage.drain_into(
        &load,
        Some(bare(stage, port)),
        worker(port, load.count),
        || Ok(()),
    )?;
    Ok(run.rate() / 2.0)
}

/// The ages at the worker, in turn through the bare loop and through the daemon.
fn added(
    stage: &Stage,
    arguments: Arguments,
    report: &mut Report,
    rate: f64,
    quorum: bool,
) -> Result<()> {
    let load = Load {
        quorum,
        persistent: quorum,
        ..Load::plain(QUEUE, arguments.of(60_000, 1_500))
    };
    // A quorum queue writes each message to the disk; it does less.
    let rate = if quorum { rate / 2.0 } else { rate };
    let kind = if quorum { "quorum" } else { "classic" };
    let (mut middle, mut late) = (Vec::new(), Vec::new());
    for round in 1..=arguments.rounds {
        let bare = ages(stage, &load, rate, |port| Ok(bare(stage, port)))?;
        let ours = ages(stage, &load, rate, |port| {
            Ok(daemon(stage, port)?.program(PROGRAM))
        })?;
        let at = |share| (quantile(&ours, share), quantile(&bare, share));
        let ((p50, bare50), (p99, bare99)) = (at(0.5), at(0.99));
        println!(
            "round {round}  {kind}: p50 {p50:.2} ms, bare {bare50:.2} ms; p99 {p99:.2} ms, bare {bare99:.2} ms"
        );
        middle.push(p50 - bare50);
        late.push(p99 - bare99);
    }
    let (against, load) = ("the bare loop", format!("{kind} queue, {rate:.0}/s"));
    let what = format!("added latency, p50, {load}");
    report.goal(&what, against, Goal::AtMost(0.3), " ms", Spread::of(middle));
    let what = format!("added latency, p99, {load}");
    report.goal(&what, against, Goal::AtMost(2.0), " ms", Spread::of(late));
    Ok(())
}

/// How old each message was at the worker, in milliseconds, sorted.
fn ages(
    stage: &Stage,
    load: &Load,
    rate: f64,
    contender: impl FnOnce(u16) -> Result<Command>,
) -> Result<Vec<f64>> {
    let port = free_port();
    let (_worker, _contender) = begin(stage, load, port, contender(port)?)?;
    stage.wait(publish(&stage.url(), load.count, rate))?;
    let mut ages = Vec::new();
    for _ in 0..100 {
        let page = api::get(port, "/ages")?;
        ages = page
            .split_whitespace()
            .flat_map(str::parse::<f64>)
            .collect();
        if ages.len() as u64 >= load.count {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    stage.clear();
    let mut ages: Vec<f64> = ages
        .into_iter()
        .skip(WARMING)
        .map(|age| age / 1e6)
        .collect();
    ages.sort_by(f64::total_cmp);
    Ok(ages)
}

/// The worker and who feeds it, on an empty queue, once they have had a first message.
fn begin(stage: &Stage, load: &Load, port: u16, contender: Command) -> Result<(Process, Process)> {
    let one = Load {
        count: 1,
        ..load.clone()
    };
    stage.fill(&one)?;
    let mut worker = Process::start(worker(port, 0))?;
    worker.says("ready", START)?;
    let contender = Process::start(contender)?;
    worker.says("first", START)?;
    Ok((worker, contender))
}

/// Publishes so many messages at an even pace, each with its time.
async fn publish(url: &str, count: u64, rate: f64) -> Result<()> {
    steadily(url, QUEUE, (count, rate), |number| {
        let id = number.to_string().into();
        let properties = BasicProperties::default().with_message_id(id);
        (properties.with_delivery_mode(1), timed_body(""))
    })
    .await
}

/// Turns `degrade` to and fro while messages flow: milliseconds from the answered PATCH to the first message that obeys, sorted.
fn turned(stage: &Stage, turns: usize) -> Result<Vec<f64>> {
    let (url, port) = (stage.url(), free_port());
    let files = daemon(stage, port)?;
    let load = Load::plain(QUEUE, 1);
    let (mut worker, _daemon) = begin(stage, &load, port, files.program(PROGRAM))?;
    let publisher = std::thread::spawn(move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(publish(&url, (turns as u64 + 20) * 100, 1_000.0))
    });
    worker.says("mode light", START)?;
    let mut took = Vec::new();
    for turn in 0..turns {
        let to = if turn % 2 == 0 { "none" } else { "light" };
        let asked = since_1970();
        api::turn(files.port, &format!("queue.{QUEUE}.degrade"), &json!(to))?;
        let answered = since_1970();
        took.push(obeyed(&mut worker, to, asked)?.saturating_sub(answered) as f64 / 1e6);
        std::thread::sleep(Duration::from_millis(30 + (turn as u64 * 7) % 40));
    }
    took.sort_by(f64::total_cmp);
    drop(worker);
    // It may still be publishing; what it says does not matter any more.
    drop(publisher);
    Ok(took)
}

/// When the first message obeyed, nanoseconds since 1970. One that was on its way before may still say otherwise.
fn obeyed(worker: &mut Process, mode: &str, asked: u64) -> Result<u64> {
    loop {
        let at: u64 = worker.says(&format!("mode {mode} "), START)?.parse()?;
        if at >= asked {
            return Ok(at);
        }
    }
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

fn daemon(stage: &Stage, worker: u16) -> Result<Files> {
    let target = format!("{{ http = \"http://127.0.0.1:{worker}/jobs\" }}");
    let daemon = Daemon {
        url: &stage.url(),
        queue: QUEUE,
        target: &target,
        slots: u32::from(SLOTS),
        settings: "",
        valves: &[],
    };
    daemon.write()
}

fn bare(stage: &Stage, worker: u16) -> Command {
    let order = Order {
        url: stage.url(),
        queue: QUEUE.to_owned(),
        count: 0,
        prefetch: 2 * SLOTS,
    };
    let mut command = roles::command("lapin-post", &order);
    command.arg(format!("http://127.0.0.1:{worker}/jobs"));
    command.arg(SLOTS.to_string());
    command
}

fn worker(port: u16, count: u64) -> Command {
    let mut worker = ourselves("worker");
    worker.args([port.to_string(), count.to_string()]);
    worker
}
