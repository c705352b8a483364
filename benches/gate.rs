//! What a message costs at the gate: deciding, reading, permits and numbers, in processor time of one thread, without a broker.
//!
//! `cargo bench --bench gate [-- --quick | --rounds N]`

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use governor::{Quota, RateLimiter};
use peers::arguments::Arguments;
use peers::load::BODY;
use peers::meter::{Counting, allocations, live, nanoseconds_each};
use peers::report::{Goal, Report};
use peers::rounds::Spread;
use serde_json::{Value as Json, json};
use sluicegate::clock::Clock;
use sluicegate::metrics::{Ledger, Metrics, QueueMetrics};
use sluicegate::rules::facts::{Facts, Reading};
use sluicegate::rules::flag::{Flag, Value};
use sluicegate::rules::gate::{Gate, decide};
use sluicegate::rules::lots::KeyHash;
use sluicegate::rules::message::{Field, Raw};
use sluicegate::rules::names::QueueName;
use sluicegate::rules::valve::Valve;
use sluicegate::rules::verdict::Verdict;
use sluicegate::throttle::Throttle;
use sluicegate::vitals::QueueVitals;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Messages that are asked in turn, so that no branch is learned by heart.
const MESSAGES: usize = 4_096;
/// Milliseconds since 1970 of this benchmark.
const NOW_MS: i64 = 1_795_219_200_000;

fn main() -> Result<()> {
    let arguments = Arguments::read();
    let mut report = Report::new("gate", arguments);
    let bench = Bench::new()?;
    decisions(&bench, arguments, &mut report);
    whole(&bench, arguments, &mut report);
    keyed(&bench, arguments, &mut report);
    report.conclude()
}

/// A gate with every valve turned, and messages.
struct Bench {
    name: QueueName,
    gate: Gate,
    numbers: Arc<QueueMetrics>,
    by_header: Reading,
    by_body: Reading,
    messages: Vec<Raw>,
    facts: Vec<Facts>,
}

impl Bench {
    fn new() -> Result<Self> {
        let name: QueueName = "orders".parse()?;
        let gate = gate(&name, &[]);
        let metrics = Metrics::new(std::slice::from_ref(&name))?;
        let numbers = Arc::clone(metrics.queue("orders").context("no such queue")?);
        let messages: Vec<Raw> = (0..MESSAGES).map(message).collect();
        let (by_header, by_body) = (reading("header:x-account")?, reading("body:/account")?);
        let facts = messages
            .iter()
            .flat_map(|raw| by_header.read(raw, &gate.asks))
            .collect();
        Ok(Self {
            name,
            gate,
            numbers,
            by_header,
            by_body,
            messages,
            facts,
        })
    }

    fn message(&self, number: u64) -> &Raw {
        &self.messages[number as usize % MESSAGES]
    }

    fn facts(&self, number: u64) -> &Facts {
        &self.facts[number as usize % MESSAGES]
    }
}

fn gate(name: &QueueName, turned: &[(Valve, Json)]) -> Gate {
    let modes = ["light".to_owned()];
    let open = |valve| match valve {
        Valve::MaxAge => json!("24h"),
        Valve::Degrade => json!("light"),
        Valve::Protect => json!(true),
        Valve::Skip => json!(0.5),
        Valve::Rate | Valve::RateEach => json!("1000000/s burst 1000000"),
        Valve::Concurrency | Valve::ConcurrencyEach => json!(1_000_000),
        other => other.neutral(),
    };
    Gate::of_values(name, |valve| {
        let said = turned.iter().find(|(turned, _)| *turned == valve);
        let value = said.map_or_else(|| open(valve), |(_, value)| value.clone());
        let read = Flag::neutral_valve(name, valve, &modes).read(&value);
        read.unwrap_or(Value::None)
    })
}

fn reading(account: &str) -> Result<Reading> {
    Ok(Reading {
        attributes: BTreeMap::from([("account".into(), account.parse()?)]),
        key: Some("account".to_owned()),
        max_body: 1 << 20,
        ..Reading::default()
    })
}

fn message(number: usize) -> Raw {
    let account = format!("account-{:03}", number % 1_000);
    let head = format!("{{\"account\":\"{account}\",\"what\":\"");
    let mut raw = Raw {
        body: format!("{head}{}\"}}", "x".repeat(BODY - head.len() - 2)).into(),
        ..Raw::default()
    };
    raw.properties.message_id = Some(format!("{number:016x}"));
    raw.properties.timestamp = Some((NOW_MS / 1_000 - 5).unsigned_abs());
    raw.headers = vec![("x-account".into(), Field::LongString(account.into_bytes()))];
    raw
}

/// One decision of the gate, and what it allocates.
fn decisions(bench: &Bench, arguments: Arguments, report: &mut Report) {
    let times = arguments.of(5_000_000, 200_000);
    let mut each = Vec::new();
    let mut allocated = 0;
    for _ in 0..arguments.rounds {
        let before = allocations();
        let nanoseconds = nanoseconds_each(times, |number| {
            black_box(decide(&bench.gate, black_box(bench.facts(number)), NOW_MS));
        });
        allocated += allocations() - before;
        each.push(nanoseconds);
    }
    let what = "one decision of the gate, facts read";
    report.goal(what, "", Goal::AtMost(30.0), " ns", Spread::of(each));
    let allocated = Spread::of(vec![allocated as f64]);
    report.goal(
        "allocations in all decisions",
        "",
        Goal::AtMost(0.0),
        "",
        allocated,
    );
}

/// Everything that the worker asks of gate, throttle and numbers for one message.
fn whole(bench: &Bench, arguments: Arguments, report: &mut Report) {
    let times = arguments.of(500_000, 20_000);
    let (mut by_header, mut by_body, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    let (mut parsing, mut vitals) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        by_header.push(pass(bench, &bench.by_header, times));
        by_body.push(pass(bench, &bench.by_body, times));
        numbers.push(nanoseconds_each(times, |_| count(&bench.numbers)));
        parsing.push(nanoseconds_each(times, |number| {
            let body = &bench.message(number).body;
            black_box(serde_json::from_slice::<Json>(body).is_ok());
        }));
        vitals.push(watched(bench, times));
    }
    let [by_header, by_body] = [by_header, by_body].map(Spread::of);
    let numbers = Spread::of(numbers);
    let what = "the whole gate for a message, account in a header";
    report.goal(what, "", Goal::AtMost(500.0), " ns", by_header);
    let parsing = Spread::of(parsing);
    let against = format!("serde_json::Value of the body: {:.0} ns", parsing.median);
    let what = "the whole gate for a message, account in a 256 B JSON body";
    report.goal(what, &against, Goal::AtMost(1_000.0), " ns", by_body);
    report.goal("metrics of it", "", Goal::AtMost(60.0), " ns", numbers);
    report.note(
        "beside it: the rates and top keys of the queue's page",
        "",
        " ns",
        Spread::of(vitals),
    );
}

/// Reads a message, decides on arrival and at its slot, and takes and returns its permit; with the numbers.
fn pass(bench: &Bench, reading: &Reading, times: u64) -> f64 {
    let clock = Clock::system();
    let mut throttle = Throttle::default();
    throttle.obey(&bench.gate, Duration::ZERO);
    nanoseconds_each(times, |number| {
        let now = clock.now();
        let Ok(facts) = reading.read(bench.message(number), &bench.gate.asks) else {
            return;
        };
        let facts = facts.with_possible_times(NOW_MS);
        let first = decide(&bench.gate, &facts, NOW_MS);
        let again = decide(&bench.gate, &facts, NOW_MS);
        if first != Verdict::Run || again != Verdict::Run {
            return;
        }
        let key = facts.key.as_ref().map(|(hash, _)| *hash);
        if let Ok(permit) = throttle.admit(key, now.mono) {
            black_box((bench.gate.timeout(&facts), bench.gate.mode(&facts)));
            throttle.came_back(permit);
        }
        count(&bench.numbers);
    })
}

/// The numbers that a message which is done leaves behind.
fn count(numbers: &QueueMetrics) {
    numbers.picked_up(Some(5_000));
    numbers.processed("done", Duration::from_millis(3));
    numbers.completed(Some(true));
    numbers.write_ledger(Ledger::default());
}

fn watched(bench: &Bench, times: u64) -> f64 {
    let vitals = QueueVitals::default();
    let clock = Clock::system();
    nanoseconds_each(times, |number| {
        let now = clock.now().mono;
        let key = bench.facts(number).key.as_ref();
        vitals.received(now, key);
        vitals.done(now, key, Duration::from_millis(3), Some(true));
    })
}

/// A keyed throttle that has seen a million keys, against governor's.
fn keyed(bench: &Bench, arguments: Arguments, report: &mut Report) {
    let keys: u64 = arguments.of(1_000_000, 50_000);
    let slow = gate(
        &bench.name,
        &[
            (Valve::RateEach, json!("1/m burst 5")),
            (Valve::Rate, Json::Null),
        ],
    );
    let (mut bytes, mut each, mut left) = (Vec::new(), Vec::new(), Vec::new());
    let (mut theirs, mut their_bytes) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        let before = live();
        let mut throttle = Throttle::default();
        throttle.obey(&slow, Duration::ZERO);
        let now = Duration::from_secs(600);
        for key in 0..keys {
            admit(&mut throttle, key, now);
        }
        bytes.push((live() - before) as f64 / keys as f64);
        each.push(nanoseconds_each(keys, |number| {
            admit(&mut throttle, number, now)
        }));
        throttle.sweep(now + Duration::from_secs(3_600));
        left.push(throttle.keys() as f64);
        drop(throttle);

        let before = live();
        let quota = Quota::per_minute(std::num::NonZeroU32::MIN.saturating_add(4));
        let limiter = RateLimiter::keyed(quota);
        for key in 0..keys {
            let _ = limiter.check_key(&scattered(key));
        }
        their_bytes.push((live() - before) as f64 / keys as f64);
        theirs.push(nanoseconds_each(keys, |number| {
            black_box(limiter.check_key(&scattered(number)).is_ok());
        }));
    }
    let (theirs, their_bytes) = (Spread::of(theirs), Spread::of(their_bytes));
    let against = format!("governor keyed by u64: {:.1} B", their_bytes.median);
    report.goal(
        "keyed throttle, 1 M keys seen: memory of each",
        &against,
        Goal::AtMost(40.0),
        " B",
        Spread::of(bytes),
    );
    let against = format!("governor keyed by u64: {:.0} ns", theirs.median);
    report.goal(
        "keyed throttle, 1 M keys seen: permit taken and returned",
        &against,
        Goal::AtMost(500.0),
        " ns",
        Spread::of(each),
    );
    report.goal(
        "keyed throttle: keys left after a sweep once they are idle",
        "",
        Goal::AtMost(0.0),
        "",
        Spread::of(left),
    );
}

fn admit(throttle: &mut Throttle, key: u64, now: Duration) {
    if let Ok(permit) = throttle.admit(Some(KeyHash(scattered(key))), now) {
        throttle.came_back(permit);
    }
}

/// Keys in no order, each once.
fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
