//! What came of work that was handed over: reports of workers, by `POST /api/v1/outcomes` or by a queue, and how they count.
//! May import `rules`, `clock`, `metrics`, `seams` and `vitals`.

mod listen;
mod report;

use std::time::Duration;

use crate::clock::Now;
use crate::metrics::{NotCounted, QueueMetrics};
use crate::rules::handed::{Reported, Told};
use crate::rules::lots::KeyHash;
use crate::vitals::QueueVitals;
pub use listen::listen;
pub use report::{Counted, MOST_REPORTS, Report, Said, Unreadable, read};

/// Where the outcomes of one queue's work are counted.
#[derive(Debug, Clone, Copy)]
pub struct Books<'q> {
    /// The queue's live health.
    pub vitals: &'q QueueVitals,
    /// Its numbers.
    pub metrics: &'q QueueMetrics,
}

/// Counts a report, once. Only what was handed over in the last hour can be reported, and of that the newest 100,000 jobs.
///
/// On time is what the report says, else what the deadline says of the time `at` (without it: now). How long the work took is what
/// it says, else the time since it was handed over, which includes the wait in the admitted queue.
pub fn count(report: &Report, reported: Reported, books: Books<'_>, now: Now) -> Counted {
    let Books { vitals, metrics } = books;
    let id = KeyHash::of(report.id.as_bytes());
    let work = match vitals.reported(id, reported, now.mono) {
        Told::Counted(work) => work,
        Told::Repeated => {
            metrics.not_counted(NotCounted::Repeated);
            return Counted::Repeated;
        }
        Told::Unknown => {
            metrics.not_counted(NotCounted::Unknown);
            return Counted::Unknown;
        }
    };
    metrics.reported(reported);
    let ended_ms = report.at_ms().unwrap_or(now.ms);
    let since = now.mono.saturating_sub(work.at);
    let told_late = Duration::from_millis(now.ms.saturating_sub(ended_ms).max(0).unsigned_abs());
    let took = report
        .took_ms
        .map_or(since.saturating_sub(told_late), Duration::from_millis);
    let key = work.key.as_ref();
    if reported == Reported::Done {
        let in_time = work.deadline_ms.map(|deadline| ended_ms <= deadline);
        let on_time = report.on_time.or(in_time);
        metrics.completed_elsewhere(on_time, took);
        vitals.done(now.mono, key, took, on_time);
    } else {
        vitals.in_vain(now.mono, key, took);
    }
    Counted::Counted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Clock;
    use crate::metrics::Metrics;
    use crate::rules::handed::Work;

    const NOON: i64 = 1_795_262_400_000;

    /// A job handed over at noon, useless ten seconds later; this is reported of it four seconds after noon.
    fn check(what: &str, report: serde_json::Value, series: &[&str], p50: Option<f64>) {
        let metrics = Metrics::new(&["orders".parse().unwrap()]).unwrap();
        let vitals = QueueVitals::default();
        let handed = Clock::made_up(NOON).now();
        let work = Work {
            at: handed.mono,
            deadline_ms: Some(NOON + 10_000),
            key: Some((KeyHash::of(b"acme"), "acme".into())),
        };
        vitals.handing_over(KeyHash::of(b"17"), work);
        let now = Now {
            mono: handed.mono + Duration::from_secs(4),
            ms: NOON + 4_000,
        };
        let text = serde_json::to_vec(&report).unwrap();
        let books = Books {
            vitals: &vitals,
            metrics: metrics.queue("orders").unwrap(),
        };
        for report in read(&text).unwrap() {
            let Some(Said::Handed(_, reported)) = report.said() else {
                panic!("{what}: of no queue");
            };
            count(&report, reported, books, now);
        }
        let page = metrics.encode().unwrap();
        for series in series {
            let line = format!("sluicegate_{series}");
            assert!(
                page.lines().any(|said| said == line),
                "{what}: {line}\n{page}"
            );
        }
        assert_eq!(vitals.report(now.mono).service_p50_seconds, p50, "{what}");
    }

    #[test]
    fn reports_become_numbers() {
        let of = |more: serde_json::Value| {
            let mut report = json!({"queue": "orders", "id": "17"});
            report
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            report
        };
        check(
            "done, and told at once",
            of(json!({"outcome": "done"})),
            &[
                "completed_total{on_time=\"true\",queue=\"orders\"} 1",
                "outcomes_reported_total{outcome=\"done\",queue=\"orders\"} 1",
            ],
            Some(4.0),
        );
        check(
            "it says itself what it took, and that it was late",
            of(
                json!({"outcome": "done", "took_ms": 250, "on_time": false, "worker_version": "1.2"}),
            ),
            &["completed_total{on_time=\"false\",queue=\"orders\"} 1"],
            Some(0.25),
        );
        check(
            "told later, with its time",
            of(json!({"outcome": "done", "at": NOON + 1_000})),
            &["completed_total{on_time=\"true\",queue=\"orders\"} 1"],
            Some(1.0),
        );
        check(
            "with its time as text, after the deadline",
            of(json!({"outcome": "done", "at": "2026-11-21T12:00:11Z"})),
            &["completed_total{on_time=\"false\",queue=\"orders\"} 1"],
            Some(4.0),
        );
        check(
            "failed",
            of(json!({"outcome": "failed"})),
            &[
                "completed_total{on_time=\"true\",queue=\"orders\"} 0",
                "outcomes_reported_total{outcome=\"failed\",queue=\"orders\"} 1",
            ],
            None,
        );
        check(
            "twice, and of another",
            json!([
                {"queue": "orders", "id": "17", "outcome": "done"},
                {"queue": "orders", "id": "17", "outcome": "done"},
                {"queue": "orders", "id": "18", "outcome": "done"},
            ]),
            &[
                "completed_total{on_time=\"true\",queue=\"orders\"} 1",
                "outcomes_not_counted_total{queue=\"orders\",reason=\"repeated\"} 1",
                "outcomes_not_counted_total{queue=\"orders\",reason=\"unknown\"} 1",
            ],
            Some(4.0),
        );
    }
}
