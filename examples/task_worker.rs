//! An HTTP worker with a few slots, each busy for one service time with one job. A job that ends after its deadline is useless,
//! and has cost as much as any other: the way in which an overloaded queue fails *all* of its jobs.
//!
//! `cargo run --example task_worker -- --slots 20 --deadline 3s`
#![expect(clippy::print_stdout, reason = "an example talks to people")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use serde_json::{Value, json};
use sluicegate::clock::Clock;
use sluicegate::rules::units::Span;
use tokio::sync::Semaphore;

mod follow;

/// The flag that says how long a job takes: a duration (`"100ms"`).
const FLAG: &str = "demo.task_worker.service_time";

/// Does jobs that come over HTTP, and counts which were on time.
#[derive(Parser)]
struct Args {
    /// Where jobs come in (POST), and where the counts are read (GET).
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: String,
    /// The daemon, which is asked each second for the flag demo.task_worker.service_time.
    #[arg(long, default_value = "http://127.0.0.1:7070")]
    url: String,
    /// Jobs that are worked on at once; others wait for their turn.
    #[arg(long, default_value_t = 20)]
    slots: usize,
    /// How long a job takes, until the daemon says otherwise.
    #[arg(long, default_value = "100ms")]
    service: Span,
    /// Let service times vary as those of real work do: exponentially, with that mean.
    #[arg(long)]
    exponential: bool,
    /// When the daemon names no deadline: how long after it was published a job is worth something.
    #[arg(long, default_value = "3s")]
    deadline: Span,
    /// End after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
}

struct Worker {
    clock: Clock,
    slots: Semaphore,
    service_ms: AtomicU64,
    exponential: bool,
    deadline_ms: i64,
    begun: AtomicU64,
    on_time: AtomicU64,
    late: AtomicU64,
}

impl Worker {
    fn count(&self) -> Value {
        json!({ "on_time": self.on_time.load(Relaxed), "late": self.late.load(Relaxed) })
    }

    fn service_time(&self) -> Duration {
        let number = self.begun.fetch_add(1, Relaxed);
        let mean = Duration::from_millis(self.service_ms.load(Relaxed));
        if !self.exponential {
            return mean;
        }
        let draw = (number as f64 * 0.618_033_988_749_895).fract(); // the golden ratio spreads evenly
        mean.mul_f64(-(1.0 - draw).ln())
    }

    /// When the job is useless, milliseconds since 1970.
    fn useless_at(&self, headers: &HeaderMap) -> Option<i64> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let named = text("sluicegate-deadline").and_then(|ms| ms.parse().ok());
        named.or_else(|| {
            let published: jiff::Timestamp = text("ce-time")?.parse().ok()?;
            Some(published.as_millisecond() + self.deadline_ms)
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let worker = Arc::new(Worker {
        clock: Clock::system(),
        slots: Semaphore::new(args.slots),
        service_ms: AtomicU64::new(millis(args.service)),
        exponential: args.exponential,
        deadline_ms: args.deadline.as_millis(),
        begun: AtomicU64::new(0),
        on_time: AtomicU64::new(0),
        late: AtomicU64::new(0),
    });
    let routes = Router::new()
        .route("/jobs", get(count).post(work))
        .with_state(Arc::clone(&worker));
    let door = tokio::net::TcpListener::bind(&args.listen)
        .await
        .context("the address is not free; name another by --listen")?;
    let turned = |value: &Value| {
        if let Some(service) = value.as_str().and_then(|text| text.parse().ok()) {
            worker.service_ms.store(millis(service), Relaxed);
        }
    };
    let time_is_up = tokio::time::sleep(Duration::from_secs(args.seconds.unwrap_or(u64::MAX >> 2)));
    tokio::select! {
        ended = axum::serve(door, routes) => ended?,
        () = follow::follow(&args.url, FLAG, turned) => {}
        () = tell(&worker) => {}
        () = time_is_up => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    println!("{}", worker.count());
    Ok(())
}

fn millis(span: Span) -> u64 {
    span.as_millis().unsigned_abs()
}

/// Does one job. Late ones are answered 200 as well: to do them again would help nobody.
async fn work(State(worker): State<Arc<Worker>>, headers: HeaderMap) -> impl IntoResponse {
    let Ok(_slot) = worker.slots.acquire().await else {
        unreachable!("the slots are never closed")
    };
    tokio::time::sleep(worker.service_time()).await;
    let useless_at = worker.useless_at(&headers).unwrap_or(i64::MAX);
    let (counted, word) = if worker.clock.now().ms <= useless_at {
        (&worker.on_time, "on time")
    } else {
        (&worker.late, "late")
    };
    counted.fetch_add(1, Relaxed);
    let version = concat!("task_worker/", env!("CARGO_PKG_VERSION"));
    ([("sluicegate-worker-version", version)], word)
}

async fn count(State(worker): State<Arc<Worker>>) -> Json<Value> {
    Json(worker.count())
}

/// Says each second what was done in it.
async fn tell(worker: &Worker) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let (mut on_time, mut late) = (0, 0);
    loop {
        second.tick().await;
        let (before_on_time, before_late) = (on_time, late);
        on_time = worker.on_time.load(Relaxed);
        late = worker.late.load(Relaxed);
        println!(
            "{} on time, {} late",
            on_time - before_on_time,
            late - before_late
        );
    }
}
