//! One key floods a queue under `rate_each`, and 99 others have one message each among its hundred thousand: how much later they
//! are done than when they are alone, and whether the one keeps its rate and its order.
//!
//! `cargo bench --bench lanes [-- --quick | --rounds N]`
#![expect(clippy::print_stdout, reason = "a benchmark talks to people")]

use std::time::Duration;

use anyhow::Result;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use peers::arguments::{Arguments, ourselves};
use peers::daemon::{Daemon, Files};
use peers::load::{Load, steadily, timed_body};
use peers::processes::Process;
use peers::report::{Goal, Report};
use peers::rounds::Spread;
use peers::stage::Stage;
use peers::{api, free_port, roles};

/// The queue.
const QUEUE: &str = "crowded";
/// What each key may do in a second, and at once.
const RATE: f64 = 50.0;
const BURST: f64 = 50.0;
/// How many come in a second, all keys together.
const OFFERED: f64 = 4_000.0;
/// How long anything may take to start, and the last of the others to arrive.
const LONGEST: Duration = Duration::from_secs(60);

/// The program that was built with this benchmark.
const PROGRAM: &str = env!("CARGO_BIN_EXE_sluicegate");

fn main() -> Result<()> {
    roles::play_or(measure)
}

/// What became of the messages of one run.
struct Seen {
    /// Seconds from the first message of all to the last of the others at the worker.
    finished: f64,
    /// How old those of the others were at the worker, in milliseconds, sorted.
    ages: Vec<f64>,
    /// When which message of the one came, in seconds, in the order in which they came.
    one: Vec<(f64, u64)>,
    /// How many messages were republished for a lane.
    moved: u64,
}

fn measure(arguments: Arguments) -> Result<()> {
    let stage = Stage::start(&[])?;
    let mut report = Report::new("lanes", arguments);
    let flood = arguments.of(100_000, 4_000);
    let others = arguments.of(99, 19);
    let (mut slower, mut ages) = (Vec::new(), (Vec::new(), Vec::new()));
    let (mut pace, mut swapped, mut hops) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=arguments.rounds.min(3) {
        let alone = run(&stage, flood, others, false)?;
        let beside = run(&stage, flood, others, true)?;
        println!(
            "round {round}  the {others} alone were done after {:.2} s, beside {flood} of one key after {:.2} s; the one had {} done",
            alone.finished,
            beside.finished,
            beside.one.len()
        );
        slower.push(beside.finished / alone.finished);
        ages.0.push(middle(&alone.ages));
        ages.1.push(middle(&beside.ages));
        pace.push(pace_of(&beside.one));
        swapped.push(out_of_order(&beside.one) as f64);
        hops.push(beside.moved as f64 / flood as f64);
    }
    let what = format!(
        "{others} keys beside one with {flood} messages under `rate_each`: time until they are done"
    );
    report.goal(
        &what,
        "the same alone",
        Goal::AtMost(1.10),
        "",
        Spread::of(slower),
    );
    let alone = Spread::of(ages.0);
    let against = format!("alone: {:.2} ms", alone.median);
    report.note(
        "their median age at the worker",
        &against,
        " ms",
        Spread::of(ages.1),
    );
    let what = "the one key: its pace, as a share of its rate";
    report.goal(what, "", Goal::AtMost(1.02), "", Spread::of(pace.clone()));
    report.goal(what, "", Goal::AtLeast(0.95), "", Spread::of(pace));
    report.goal(
        "the one key: messages out of order",
        "",
        Goal::AtMost(0.0),
        "",
        Spread::of(swapped),
    );
    let what = "the one key: republished for each of its messages";
    report.goal(what, "", Goal::AtMost(1.0), "", Spread::of(hops));
    report.conclude()
}

/// One daemon, one worker, and messages at an even pace; `beside`: with those of the one key, else with its places left empty.
fn run(stage: &Stage, flood: u64, others: u64, beside: bool) -> Result<Seen> {
    stage.fill(&Load::plain(QUEUE, 0))?;
    let port = free_port();
    let mut worker = ourselves("worker");
    worker.args([port.to_string(), "0".to_owned()]);
    let mut worker = Process::start(worker)?;
    worker.says("ready", LONGEST)?;
    let files = daemon(stage, port)?;
    let daemon = Process::start(files.program(PROGRAM))?;
    let each = flood / others;
    let (count, rate) = if beside {
        (flood + others, OFFERED)
    } else {
        (others, OFFERED / (each + 1) as f64)
    };
    let url = stage.url();
    let publish = steadily(&url, QUEUE, (count, rate), |number| {
        if beside && number % (each + 1) != each {
            message("one", number)
        } else {
            message("other", number)
        }
    });
    let started = peers::worker::since_1970();
    stage.wait(publish)?;
    let seen = gather(port, &files, others, started)?;
    drop((daemon, worker));
    stage.clear();
    Ok(seen)
}

fn message(who: &str, number: u64) -> (BasicProperties, Vec<u8>) {
    let account = if who == "one" {
        who.to_owned()
    } else {
        format!("{who}-{number}")
    };
    let mut headers = FieldTable::default();
    headers.insert("x-account".into(), AMQPValue::LongString(account.into()));
    let properties = BasicProperties::default()
        .with_message_id(number.to_string().into())
        .with_delivery_mode(1)
        .with_headers(headers);
    (properties, timed_body(&format!("\"{who}\":{number},")))
}

/// Waits until the others have come, and reads what the worker wrote down.
fn gather(port: u16, files: &Files, others: u64, started: u64) -> Result<Seen> {
    for _ in 0..LONGEST.as_secs() * 10 {
        let page = api::get(port, "/heads")?;
        let of = |who: &str| {
            page.lines()
                .filter_map(|line| read(line, who))
                .collect::<Vec<_>>()
        };
        let there = of("other");
        if (there.len() as u64) < others {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        }
        let since = |at: u64| at.saturating_sub(started) as f64 / 1e9;
        let last = there.iter().map(|(at, ..)| *at).max().unwrap_or(started);
        let age = |(at, published, _): &(u64, u64, u64)| (at - published) as f64 / 1e6;
        let mut ages: Vec<f64> = there.iter().map(age).collect();
        ages.sort_by(f64::total_cmp);
        let one = of("one")
            .into_iter()
            .map(|(at, _, number)| (since(at), number));
        return Ok(Seen {
            finished: since(last),
            ages,
            one: one.collect(),
            moved: files.settled("rate"),
        });
    }
    anyhow::bail!("the others did not all come within {LONGEST:?}")
}

/// When it came, when it was published, and its number, if it is one of `who`: `17 {"at":15,"one":3,…`.
fn read(line: &str, who: &str) -> Option<(u64, u64, u64)> {
    let (came, body) = line.split_once(" {\"at\":")?;
    let (published, rest) = body.split_once(",\"")?;
    let (name, rest) = rest.split_once("\":")?;
    let number = rest.split_once(',')?.0;
    (name == who).then_some(())?;
    Some((
        came.parse().ok()?,
        published.parse().ok()?,
        number.parse().ok()?,
    ))
}

/// What the one did in a second once its burst was used up, as a share of its rate.
fn pace_of(one: &[(f64, u64)]) -> f64 {
    let steady = one.get(BURST as usize..).unwrap_or_default();
    match (steady.first(), steady.last()) {
        (Some((first, _)), Some((last, _))) if last > first => {
            (steady.len() - 1) as f64 / (last - first) / RATE
        }
        _ => f64::NAN,
    }
}

fn out_of_order(one: &[(f64, u64)]) -> usize {
    one.windows(2).filter(|pair| pair[0].1 > pair[1].1).count()
}

fn middle(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn daemon(stage: &Stage, worker: u16) -> Result<Files> {
    let target = format!("{{ http = \"http://127.0.0.1:{worker}/jobs\" }}");
    let rate = format!("\"{RATE}/s burst {BURST}\"");
    let daemon = Daemon {
        url: &stage.url(),
        queue: QUEUE,
        target: &target,
        slots: 100,
        settings: "",
        valves: &[("rate_each", "rate", &rate)],
    };
    daemon.write()
}
