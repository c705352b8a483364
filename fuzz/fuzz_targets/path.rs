//! The first line is a method and a path with its query, the rest a body: whatever is asked of the API, it answers, and never with a fault of
//! its own.
#![no_main]

use std::cell::RefCell;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use libfuzzer_sys::fuzz_target;
use sluicegate::api::{
    Access, Doors, LastEvaluated, Listeners, Pace, Remembered, Services, router,
};
use sluicegate::clock::Clock;
use sluicegate::metrics::Metrics;
use sluicegate::rules::snapshot::{GatedQueue, Snapshot, Stored};
use sluicegate::store::Store;
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// Milliseconds since 1970 of this daemon.
const NOW_MS: i64 = 1_795_262_400_000;

/// So many requests one daemon is asked before there is a new one: making it takes far longer than a request. What a request leaves
/// behind is part of the next one's luck, so a crash that does not come back with its input alone wants the ones before it.
const ASKED: u32 = 500;

/// A daemon with the valves of one queue, and nothing behind them.
fn doors() -> Arc<Doors> {
    let queue = "orders".parse().expect("a name");
    let metrics = Metrics::new(std::slice::from_ref(&queue)).expect("metrics");
    let metrics = Arc::new(metrics);
    let start = Snapshot::of(vec![GatedQueue::named(queue)], Stored::default());
    Arc::new(Doors {
        store: Arc::new(Store::in_memory(start, Arc::clone(&metrics))),
        metrics,
        clock: Clock::made_up(NOW_MS),
        queues: Vec::new(),
        access: Access::open(Vec::new()),
        stopping: Default::default(),
        remembered: Remembered::default(),
        events: Arc::default(),
        listeners: Listeners::default(),
        services: Services::default(),
        pace: Pace::new(u32::MAX),
        evaluated: LastEvaluated::default(),
    })
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime")
});

thread_local! {
    static DAEMON: RefCell<Option<(Router, u32)>> = const { RefCell::new(None) };
}

/// The doors of a daemon that was asked less often than that.
fn daemon() -> Router {
    DAEMON.with_borrow_mut(|daemon| {
        let (router, asked) = daemon
            .take()
            .filter(|(_, asked)| *asked < ASKED)
            .unwrap_or_else(|| (router(doors()), 0));
        *daemon = Some((router.clone(), asked + 1));
        router
    })
}

fuzz_target!(|input: &str| {
    let (path, body) = input.split_once('\n').unwrap_or((input, ""));
    let (method, path) = path.split_once(' ').unwrap_or(("GET", path));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1:7070")
        .header("content-type", "application/json")
        .header("if-match", "\"0\"")
        .body(Body::from(body.to_owned()));
    let Ok(request) = request else { return };
    let answer = RUNTIME.block_on(daemon().oneshot(request));
    let status = answer.expect("the router answers").status();
    assert!(
        !status.is_server_error() || status == 503,
        "{method} {path}: {status}"
    );
});
