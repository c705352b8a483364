//! What the doors for services bear: answers with a thousand flags, and a thousand who listen for events.
//!
//! `cargo bench --bench doors [-- --quick | --rounds N]`
#![expect(clippy::print_stdout, reason = "a benchmark talks to people")]
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark is measured by the clock on the wall"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use futures_util::future::join_all;
use peers::arguments::Arguments;
use peers::daemon::{Daemon, Files};
use peers::processes::Process;
use peers::report::{Goal, Report};
use peers::rounds::Spread;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The program that was built with this benchmark.
const PROGRAM: &str = env!("CARGO_BIN_EXE_sluicegate");
/// Flags beside the valves.
const FLAGS: usize = 1_000;
/// How long anything may take before it counts as failed.
const LONGEST: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let arguments = Arguments::read();
    let mut report = Report::new("doors", arguments);
    let (files, daemon) = daemon()?;
    answers(arguments, &files, &daemon, &mut report)?;
    listeners(arguments, &files, &daemon, &mut report)?;
    daemon.stop();
    report.conclude()
}

/// A daemon with a thousand flags, limits that nobody reaches, and a broker that is not there.
fn daemon() -> Result<(Files, Process)> {
    let files = Daemon {
        url: "amqp://127.0.0.1:9/%2f",
        queue: "orders",
        target: "{ http = \"http://127.0.0.1:9/jobs\" }",
        slots: 8,
        settings: "",
        valves: &[],
    }
    .write()?;
    let append = |path: &std::path::Path, text: &str| -> Result<()> {
        let mut file = std::fs::File::options().append(true).open(path)?;
        Ok(file.write_all(text.as_bytes())?)
    };
    let limits = "[limits]\nchanges_per_minute = 100000\nevaluations_per_second = 1000000\n";
    append(&files.config, limits)?;
    let rules = "rules = [{ name = \"plans\", when = [{ attribute = \"plan\", op = \"in\", values = [\"free\", \"trial\"] }], value = true }, \
        { name = \"ring\", by = \"account\", split = [{ value = true, share = 0.25 }] }]";
    let flags: String = (0..FLAGS)
        .map(|number| {
            format!(
                "[[flag]]\nkey = \"shop.switch-{number}\"\nkind = \"config\"\ntype = \"boolean\"\nvalue = false\n{rules}\n"
            )
        })
        .collect();
    append(&files.config.with_file_name("flags.toml"), &flags)?;
    let daemon = Process::start(files.program(PROGRAM))?;
    let deadline = Instant::now() + LONGEST;
    while peers::api::get(files.port, "/livez").is_err() {
        ensure!(Instant::now() < deadline, "the daemon does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok((files, daemon))
}

/// Answers for each second of the daemon's processor time, on one connection that is kept.
fn rate(files: &Files, daemon: &Process, times: u64, request: &str) -> Result<f64> {
    let stream = TcpStream::connect(("127.0.0.1", files.port))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut once = || -> Result<usize> {
        reader.get_mut().write_all(request.as_bytes())?;
        let (mut length, mut line) = (0, String::new());
        loop {
            line.clear();
            ensure!(reader.read_line(&mut line)? > 0, "the daemon hung up");
            ensure!(!line.starts_with("HTTP/1.1 4"), "refused: {line}");
            if let Some(said) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = said.trim().parse()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        Ok(length)
    };
    once()?;
    let before = used(daemon);
    for _ in 0..times {
        once()?;
    }
    Ok(times as f64 / ((used(daemon) - before) as f64 / 1e9))
}

/// Nanoseconds of processor time so far.
fn used(daemon: &Process) -> u64 {
    daemon.cpu_by_thread().values().sum()
}

fn answers(
    arguments: Arguments,
    files: &Files,
    daemon: &Process,
    report: &mut Report,
) -> Result<()> {
    let body = json!({"context": {"targetingKey": "acme", "plan": "gold"}}).to_string();
    let bulk = format!(
        "POST /ofrep/v1/evaluate/flags HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let nothing = "GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    let (mut all, mut least) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        all.push(rate(files, daemon, arguments.of(3_000, 20), &bulk)?);
        least.push(rate(files, daemon, arguments.of(10_000, 20), nothing)?);
    }
    let against = format!("its own `/livez`: {:.0}", Spread::of(least).median);
    report.goal(
        "OFREP, all of 1,000 flags: answers for each core-second",
        &against,
        Goal::AtLeast(2_000.0),
        "",
        Spread::of(all),
    );
    Ok(())
}

/// How long it takes from the request that changes a flag until each of a thousand has heard of it.
fn listeners(
    arguments: Arguments,
    files: &Files,
    daemon: &Process,
    report: &mut Report,
) -> Result<()> {
    let many = arguments.of(1_000, 20);
    let changes = arguments.of(50, 3);
    let before = daemon.resident();
    let (heard, hears) = channel();
    let (ready, is_ready) = channel();
    let port = files.port;
    let ears = std::thread::spawn(move || listen(port, many, changes, &ready, &heard));
    if is_ready.recv_timeout(LONGEST).is_err() {
        let why = ears.join().map_err(|_| anyhow!("the listeners failed"))?;
        return why.context("they could not all listen");
    }
    let each_kb = (daemon.resident() - before) * 1_048_576.0 / 1_000.0 / f64::from(many);
    let waits = told(port, many, changes, &hears)?;
    drop(ears);
    let what = format!("an event, heard by each of {many}: p99");
    report.goal(
        &what,
        "",
        Goal::AtMost(100.0),
        " ms",
        Spread::of(vec![waits]),
    );
    let what = format!("memory of each of {many} who listen");
    report.goal(
        &what,
        "",
        Goal::AtMost(25.0),
        " kB",
        Spread::of(vec![each_kb]),
    );
    Ok(())
}

/// Turns a flag so many times; gives the 99th percentile of all waits, in milliseconds.
fn told(port: u16, many: u32, changes: u32, hears: &Receiver<Instant>) -> Result<f64> {
    let mut waits = Vec::new();
    for number in 0..changes {
        let began = Instant::now();
        let value = json!(number % 2 == 0);
        peers::api::turn(port, "shop.switch-7", &value)?;
        for _ in 0..many {
            let at = hears.recv_timeout(LONGEST).context("not all heard of it")?;
            waits.push(at.saturating_duration_since(began).as_secs_f64() * 1e3);
        }
    }
    waits.sort_by(f64::total_cmp);
    println!("{} events heard", waits.len());
    let place = waits.len() * 99 / 100;
    waits.get(place).copied().context("nothing was heard")
}

/// So many who listen on one thread until each heard so many changes.
fn listen(
    port: u16,
    many: u32,
    changes: u32,
    ready: &Sender<()>,
    heard: &Sender<Instant>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut ears = Vec::new();
        for _ in 0..many {
            ears.push(ear(port).await?); // one after the other: few of one address may come at once
        }
        ready.send(())?;
        join_all(ears.into_iter().map(|ear| hear(ear, changes, heard))).await;
        Ok(())
    })
}

/// A stream that has begun.
async fn ear(port: u16) -> Result<tokio::net::TcpStream> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let ask = "GET /api/v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/event-stream\r\n\r\n";
    stream.write_all(ask.as_bytes()).await?;
    let mut begin = [0; 1_024];
    let length = stream.read(&mut begin).await?;
    let begin = String::from_utf8_lossy(&begin[..length]);
    ensure!(begin.starts_with("HTTP/1.1 200"), "refused: {begin}");
    Ok(stream)
}

async fn hear(mut stream: tokio::net::TcpStream, changes: u32, heard: &Sender<Instant>) {
    let (mut text, mut some) = (String::new(), [0; 4_096]);
    let mut count = 0;
    while count < changes {
        let Ok(length @ 1..) = stream.read(&mut some).await else {
            return;
        };
        text.push_str(&String::from_utf8_lossy(&some[..length]));
        while let Some(place) = text.find("event: change") {
            text.drain(..place + 13);
            count += 1;
            if heard.send(Instant::now()).is_err() {
                return;
            }
        }
        // Half a name may stand at the end.
        let rest = text.len().saturating_sub(13);
        let rest = (rest..=text.len()).find(|place| text.is_char_boundary(*place));
        text.drain(..rest.unwrap_or_default());
    }
}
