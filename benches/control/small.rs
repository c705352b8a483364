//! Small things that all stands on: what the valve costs for a message, how exact a manual share and a keyed limit are. (G6, G8, G10)

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::{Quota, RateLimiter};
use peers::meter::{live, nanoseconds_each};
use peers::report::Goal;
use sluicegate::rules::flag::{Flag, Value};
use sluicegate::rules::gate::Gate;
use sluicegate::rules::lots::{KeyHash, Seed};
use sluicegate::rules::names::QueueName;
use sluicegate::rules::relief::service::ServiceByType;
use sluicegate::rules::relief::valve::{AutoValve, Bounds, Candidate};
use sluicegate::rules::units::Ratio;
use sluicegate::rules::valve::Valve;
use sluicegate::throttle::Throttle;

use crate::queue::Draws;
use crate::tables::Tables;

pub(crate) fn run(tables: &mut Tables) -> anyhow::Result<()> {
    decision(tables);
    manual(tables)?;
    keyed(tables)
}

/// A message at the valve: counted, asked, told what became of it, at five times the capacity.
fn decision(tables: &mut Tables) {
    let mut service = ServiceByType::default();
    let mut draws = Draws::of(5);
    for _ in 0..100 {
        service.add(None, Duration::from_secs_f64(0.01 * draws.exponential()));
    }
    let mut valve = AutoValve::new(Bounds::default());
    let times = tables.arguments.of(2_000_000, 20_000);
    let mut shed = 0_u64;
    let each = nanoseconds_each(times, |number| {
        let now = Duration::from_micros(number * 20 + 1_000_000);
        let candidate = Candidate {
            age: Some(Duration::from_millis(number % 128)),
            ahead: Duration::ZERO,
            deadline: Some(Duration::from_millis(100)),
            protected: false,
            priority: 0,
            over_share: false,
            job_type: None,
            lot: 0.5,
        };
        valve.arrived(now, &candidate);
        valve.tick(now, &service, 100);
        if valve.decide(now, &candidate).sheds() {
            valve.shed();
            shed += 1;
        } else {
            valve.began(now);
        }
    });
    black_box(shed);
    let what = "the automatic valve, a message: counted, asked, told";
    tables.pace(what, "", 200.0, " ns", vec![each]);
}

/// A manual share takes that share.
fn manual(tables: &mut Tables) -> anyhow::Result<()> {
    let mut worst = 0.0_f64;
    let seed = Seed::of("queue.orders.skip");
    for share in [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99] {
        let ratio = Ratio::try_from(share)?;
        let taken = (0..100_000_u32)
            .filter(|number| KeyHash::of(format!("m-{number}").as_bytes()).falls_in(ratio, seed))
            .count();
        worst = worst.max((taken as f64 / 1_000.0 - 100.0 * share).abs());
    }
    let what = "a manual skip over 100,000 messages, seven shares: off by at most";
    tables.goal(what, "", Goal::AtMost(0.2), " points", vec![worst]);
    Ok(())
}

/// A limit for each key: how exact, how fast, how large.
fn keyed(tables: &mut Tables) -> anyhow::Result<()> {
    let gate = limited("10/s burst 1")?;
    let mut throttle = Throttle::default();
    throttle.obey(&gate, Duration::ZERO);
    let key = KeyHash::of(b"acme");
    let mut passed = Vec::new();
    for tenth_of_ms in 0..tables.arguments.of(1_000_000_u64, 50_000) {
        // Offers every 3.7 ms or so, never in step with the limit.
        let now = Duration::from_nanos(tenth_of_ms * 3_700_013 / 37);
        if let Ok(permit) = throttle.admit(Some(key), now) {
            throttle.came_back(permit);
            passed.push(now);
        }
    }
    let window = Duration::from_secs(1);
    let most = (0..passed.len())
        .map(|first| {
            passed[first..]
                .iter()
                .take_while(|at| **at < passed[first] + window)
                .count()
        })
        .max();
    let span = passed.last().copied().unwrap_or_default().as_secs_f64();
    let short = 10.0 * span - passed.len() as f64;
    let error = (most.unwrap_or(0) as f64 - 10.0).max(short);
    let what = "a limit of 10/s for a key: off in its worst second, or in all, by";
    tables.goal(what, "", Goal::AtMost(1.0), " jobs", vec![error]);

    let keys = tables.arguments.of(1_000_000, 20_000);
    let slow = limited("1/m burst 5")?;
    let before = live();
    let mut throttle = Throttle::default();
    throttle.obey(&slow, Duration::ZERO);
    let scattered = |number: u64| KeyHash(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let now = Duration::from_secs(600);
    let each = nanoseconds_each(keys, |number| {
        if let Ok(permit) = throttle.admit(Some(scattered(number)), now) {
            throttle.came_back(permit);
        }
    });
    let mebibytes = (live() - before) as f64 / 1_048_576.0;
    let quota = Quota::per_minute(NonZeroU32::MIN.saturating_add(4));
    let limiter = RateLimiter::keyed(quota);
    let theirs = nanoseconds_each(keys, |number| {
        black_box(limiter.check_key(&scattered(number).0).is_ok());
    });
    let against = format!("governor keyed by u64 {theirs:.0} ns");
    let what = "a million keys, each for the first time: permit taken and returned";
    tables.pace(what, &against, 500.0, " ns", vec![each]);
    let what = "their memory";
    tables.goal(what, "", Goal::AtMost(64.0), " MiB", vec![mebibytes]);
    let one = KeyHash::of(b"one");
    let each = nanoseconds_each(keys, |_| {
        if let Ok(permit) = throttle.admit(Some(one), now) {
            throttle.came_back(permit);
        }
    });
    tables.pace("a key that is known: asked", "", 100.0, " ns", vec![each]);
    Ok(())
}

/// A gate of which nothing but the limit for each key is turned.
fn limited(rate: &str) -> anyhow::Result<Gate> {
    let queue: QueueName = "orders".parse()?;
    Ok(Gate::of_values(&queue, |valve| {
        let json = match valve {
            Valve::RateEach => rate.into(),
            other => other.neutral(),
        };
        let flag = Flag::neutral_valve(&queue, valve, &[]);
        flag.read(&json).unwrap_or(Value::None)
    }))
}
