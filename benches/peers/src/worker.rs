//! The HTTP worker that does nothing: it counts, and writes down how old each job was when it came.
//!
//! A body that begins with `{"at":` and nanoseconds since 1970 tells when it was published.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

use crate::load::published;
use crate::roles::{Marks, say};

/// How much of a body is kept, in bytes.
const HEAD: usize = 80;

/// What is known of the jobs so far.
struct Seen {
    marks: Marks,
    ages: Vec<u64>,
    heads: Vec<(u64, Bytes)>,
    mode: String,
}

type Shared = Arc<Mutex<Seen>>;

/// Serves: the arguments are the port and how many jobs there will be. Says `mode` with the time when the header
/// `sluicegate-degrade` changes, and shows the ages at `/ages`, nanoseconds separated by spaces, and when which came at `/heads`: nanoseconds since 1970 and the beginning of the body.
///
/// # Errors
/// When the port is taken.
pub async fn serve(arguments: &[String]) -> Result<()> {
    let at = |index: usize| arguments.get(index).context("an argument is missing");
    let (port, count) = (at(0)?.parse::<u16>()?, at(1)?.parse()?);
    let seen = Shared::new(Mutex::new(Seen {
        marks: Marks::of(count),
        ages: Vec::new(),
        heads: Vec::new(),
        mode: "none".to_owned(),
    }));
    let router = Router::new()
        .route("/jobs", post(job))
        .route("/ages", get(ages))
        .route("/heads", get(heads))
        .with_state(seen);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let listener = listener.tap_io(|stream| {
        // An error means that answers come a little later.
        let _ = stream.set_nodelay(true);
    });
    say("ready");
    axum::serve(listener, router).await?;
    Ok(())
}

async fn job(State(seen): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.marks.begun();
    if let Some(published) = published(&body) {
        let age = since_1970().saturating_sub(published);
        seen.ages.push(age);
        seen.heads
            .push((published + age, body.slice(..HEAD.min(body.len()))));
        let mode = headers.get("sluicegate-degrade");
        let mode = mode.and_then(|mode| mode.to_str().ok()).unwrap_or("none");
        if mode != seen.mode {
            say(&format!("mode {mode} {}", since_1970()));
            mode.clone_into(&mut seen.mode);
        }
    }
    seen.marks.one();
    StatusCode::OK
}

async fn ages(State(seen): State<Shared>) -> String {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let ages: Vec<String> = seen.ages.iter().map(u64::to_string).collect();
    ages.join(" ")
}

async fn heads(State(seen): State<Shared>) -> String {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let line = |(at, head): &(u64, Bytes)| format!("{at} {}\n", String::from_utf8_lossy(head));
    seen.heads.iter().map(line).collect()
}

/// Nanoseconds since 1970.
#[must_use]
pub fn since_1970() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}
