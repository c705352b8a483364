//! `/api/v1/queues/{name}/scale`: how many workers a queue wants, for KEDA or another scaler. May import `rules` and `vitals`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Doors;
use super::body::Named;
use super::error::Problem;
use super::queues::find;
use crate::rules::relief::load::Load;
use crate::vitals::VitalsReport;

/// How many workers a queue wants.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Scale)]
pub(super) struct ScaleView {
    /// Workers (slots) that it takes: jobs offered per second × the mean service time, rounded up. What is shed counts, so that workers
    /// are asked for while we shed. As many as there are while that is not known, and not fewer while a backlog stands.
    #[schema(example = 12)]
    workers: u32,
    /// Whether it was measured.
    known: bool,
    /// What else is to be said; empty: nothing.
    note: &'static str,
    /// Jobs offered per second, by the time at which they were published.
    offered_per_second: Option<f64>,
    /// The mean service time in seconds; null: not known yet.
    service_seconds: Option<f64>,
    /// Workers (slots) that there are.
    slots: u32,
}

impl ScaleView {
    fn of(load: Option<Load>, vitals: &VitalsReport) -> Self {
        let slots = load.map_or(vitals.slots, |load| load.slots);
        let wanted = load.and_then(|load| load.workers_wanted());
        let stands = vitals.ready.is_some_and(|ready| ready > u64::from(slots));
        let (workers, note) = match wanted.map(|wanted| wanted.ceil() as u32) {
            None => (
                slots,
                "fewer than 30 jobs were done since the start, so how long they take is not known: as many as there are",
            ),
            Some(wanted) if wanted < slots && stands => {
                (slots, "a backlog stands: not fewer than there are")
            }
            Some(wanted) => (wanted, ""),
        };
        Self {
            workers,
            known: wanted.is_some(),
            note,
            offered_per_second: load.map(|load| load.offered),
            service_seconds: load.and_then(|load| load.service_s),
            slots,
        }
    }
}

/// Says how many workers a queue wants, in one number for a scaler.
#[utoipa::path(get, path = "/api/v1/queues/{name}/scale", tag = "queues", operation_id = "queues_scale",
    params(("name" = String, Path, description = "The queue's name, percent-encoded: `billing%2Forders`.")),
    responses(
        (status = 200, description = "How many.", body = ScaleView),
        (status = 404, description = "There is no such queue."),
))]
pub(super) async fn read(
    State(doors): State<Arc<Doors>>,
    Named(name): Named,
) -> Result<Json<ScaleView>, Problem> {
    let vitals = &find(&doors, &name)?.vitals;
    let report = vitals.report(doors.clock.now().mono);
    Ok(Json(ScaleView::of(vitals.load(), &report)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::vitals::QueueVitals;

    fn check(offered: f64, service_s: Option<f64>, ready: u64, expected: (u32, bool)) {
        let vitals = QueueVitals::default();
        vitals.backlog(Some(ready), None);
        let load = Load {
            offered,
            service_s,
            slots: 8,
        };
        let scale = ScaleView::of(Some(load), &vitals.report(Duration::ZERO));
        assert_eq!((scale.workers, scale.known), expected, "{scale:?}");
    }

    #[test]
    fn workers_are_asked_for_by_what_is_offered() {
        check(120.0, Some(0.1), 0, (12, true));
        check(121.0, Some(0.1), 5_000, (13, true));
        check(10.0, Some(0.1), 8, (1, true));
        check(0.0, Some(0.1), 0, (0, true));
        check(10.0, Some(0.1), 9, (8, true));
        check(120.0, None, 0, (8, false));
    }
}
