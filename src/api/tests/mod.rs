//! The doors from outside: requests in, answers out, on the whole router.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::config::{Disposition, OnUnknown, Order, ParkSettings, ReliefSettings, TargetSettings};
use crate::metrics::Ledger;
use crate::rules::facts::Reading;
use crate::rules::snapshot::{GatedQueue, Snapshot, Stored};
use crate::rules::verdict::Why;
use crate::seams::LinkState;

mod apply;
mod authz;
mod bad_inputs;
mod doubts;
mod events;
mod explain;
mod flags;
mod guarded;
mod openings;
mod outcomes;
mod pages;
mod preview;
mod reading;
mod release;
mod relief;
mod relieve;
mod segments;
mod several;
mod who_may;
mod writing;

pub(super) const NOON: i64 = 1_795_262_400_000; // 2026-11-21T12:00:00Z
const SKIP: &str = "/api/v1/flags/queue.orders.skip";

fn queue(name: &str) -> config::Queue {
    config::Queue {
        name: name.parse().unwrap(),
        broker_name: name.rsplit('/').next().unwrap().to_owned(),
        vhost: name.split_once('/').map(|(vhost, _)| vhost.to_owned()),
        declare: true,
        slots: 8,
        prefetch: 16,
        reading: Reading::default(),
        deadline_after: None,
        target: TargetSettings::Http("http://ana:s3cret@127.0.0.1:8081/jobs".to_owned()),
        attempts: 5,
        order: Order::Key,
        on_skip: Disposition::Park,
        on_expired: Disposition::Park,
        on_rejected: Disposition::DeadLetter,
        on_unknown: OnUnknown::Retry,
        on_unknown_is_written: false,
        modes: vec!["light".to_owned()],
        pass: vec![],
        dead_letter_queue: None,
        outcomes_queue: None,
        results_queue: None,
        relief: ReliefSettings::default(),
        park: ParkSettings {
            streams: true,
            max_age: std::time::Duration::from_secs(86_400),
            max_bytes: 1 << 30,
        },
        hold: std::time::Duration::from_secs(5),
    }
}

/// Doors of a daemon with the queues `orders` and `billing/orders`, both consuming; its clock stands at noon.
pub(super) fn doors() -> Arc<Doors> {
    doors_of([queue("orders"), queue("billing/orders")])
}

/// Doors of a daemon with these queues.
fn doors_of(settings: [config::Queue; 2]) -> Arc<Doors> {
    let names: Vec<_> = settings.iter().map(|queue| queue.name.clone()).collect();
    let metrics = Arc::new(Metrics::new(&names).unwrap());
    let gated = settings
        .iter()
        .map(|queue| GatedQueue {
            name: queue.name.clone(),
            modes: queue.modes.clone(),
            attributes: queue.reading.attributes.clone(),
            pass: queue.pass.clone(),
            pool: None,
        })
        .collect();
    let start = Snapshot::of(gated, Stored::default());
    let store = Arc::new(Store::in_memory(start, Arc::clone(&metrics)));
    let queues = settings.map(|settings| {
        let numbers = Arc::clone(metrics.queue(settings.name.as_str()).unwrap());
        let book = store.blocked(&settings.name);
        let vitals = QueueVitals::default();
        vitals.link(LinkState::Consuming, false);
        QueueDoor {
            blocked: Arc::new(Blocked::open(book, settings.order, Arc::clone(&numbers))),
            metrics: numbers,
            vitals: Arc::new(vitals),
            settings: Arc::new(settings),
        }
    });
    Arc::new(Doors {
        pools: Vec::new(),
        replayer: Arc::new(crate::seams::NoPark),
        store,
        metrics,
        clock: Clock::made_up(NOON),
        queues: queues.into(),
        access: Access::open(vec!["panel.example".to_owned()]),
        stopping: CancellationToken::new(),
        remembered: Remembered::default(),
        events: Arc::default(),
        listeners: Listeners::default(),
        services: Services::new(5_000),
        pace: Pace::each_minute(60),
        evaluated: LastEvaluated::default(),
    })
}

/// A request, built up; by default from a program on this machine.
pub(super) struct Ask {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

fn get(path: &str) -> Ask {
    Ask {
        method: "GET",
        path: path.to_owned(),
        headers: vec![("host", "127.0.0.1:7070".to_owned())],
        body: String::new(),
    }
}

pub(super) fn send(method: &'static str, path: &str, body: &Value) -> Ask {
    raw(method, path, &body.to_string()).with("content-type", "application/json")
}

pub(super) fn raw(method: &'static str, path: &str, body: &str) -> Ask {
    Ask {
        method,
        body: body.to_owned(),
        ..get(path)
    }
}

impl Ask {
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(said, _)| *said != name);
        self
    }

    pub(super) async fn to(self, doors: &Arc<Doors>) -> Got {
        self.at(router(Arc::clone(doors))).await
    }

    async fn at(self, router: Router) -> Got {
        let mut request = Request::builder().method(self.method).uri(&self.path);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Body::from(self.body)).unwrap();
        let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
        let kind = parts.headers.get("content-type");
        let bytes = if kind.is_some_and(|kind| kind == "text/event-stream") {
            // A stream has no end; how it begins is enough here.
            let begin = body.into_data_stream().next().await;
            begin.unwrap().unwrap()
        } else {
            axum::body::to_bytes(body, usize::MAX).await.unwrap()
        };
        Got {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) text: String,
}

impl Got {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The status, and for problems their kind: `412 stale`.
    fn verdict(&self) -> String {
        let json = self.json();
        let kind = json["type"].as_str().unwrap_or_default();
        match kind.strip_prefix("/problems/") {
            Some(word) => {
                assert_eq!(self.header("content-type"), "application/problem+json");
                assert_eq!(json["status"], self.status.as_u16());
                assert!(
                    json["instance"].as_str().unwrap().starts_with('/'),
                    "{json}"
                );
                format!("{} {word}", self.status.as_u16())
            }
            None => self.status.as_u16().to_string(),
        }
    }
}

/// Asks, and compares the verdict and a part of the text.
async fn check(what: &str, doors: &Arc<Doors>, ask: Ask, verdict: &str, part: &str) -> Got {
    let got = ask.to(doors).await;
    assert_eq!(got.verdict(), verdict, "{what}: {}", got.text);
    assert!(
        got.text.contains(part),
        "{what}: {:?} should say {part:?}",
        got.text
    );
    got
}
