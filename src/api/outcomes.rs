//! `POST /api/v1/outcomes`: workers report what came of work that was handed over.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Caller;
use super::body;
use super::error::{BAD_DOCUMENT, LIMIT, MALFORMED_JSON, Problem};
use super::{Doors, queues};
use crate::outcomes::{Books, Counted, Report, Unreadable, count, read};

/// Reports as they come: a list of at most 1,000, or a single one.
pub(super) struct Reports(Vec<Report>);

impl FromRequest<Arc<Doors>> for Reports {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &Arc<Doors>) -> Result<Self, Problem> {
        let (parts, body): (_, Body) = request.into_parts();
        body::says_json(&parts.method, &parts.headers)?;
        let bytes = body::bytes(body, body::LARGEST_BODY).await?;
        read(&bytes).map(Self).map_err(|why| {
            let sentence = why.to_string();
            match why {
                Unreadable::NotJson(_) => Problem::new(MALFORMED_JSON, sentence),
                Unreadable::TooMany(_) => Problem::new(LIMIT, sentence),
                Unreadable::NotAReport { pointer, .. } => {
                    Problem::new(BAD_DOCUMENT, sentence).at(pointer)
                }
            }
        })
    }
}

/// How reports were taken.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OutcomesTaken)]
pub(super) struct Taken {
    /// How many count.
    counted: usize,
    /// How many were told before, and do not count again.
    repeated: usize,
    /// How many are of jobs that are not remembered: not handed over, or more than an hour or 100,000 jobs ago.
    unknown: usize,
    /// Each report in turn.
    reports: Vec<Counted>,
}

/// Reports what came of work that was handed over.
///
/// Repeating a report does no harm: it counts once. Only jobs are known that were handed over in the last hour, and of those the
/// newest 100,000 of each queue.
#[utoipa::path(post, path = "/api/v1/outcomes", tag = "outcomes",
    request_body(content = Vec<Report>, description = "At most 1,000 reports; a single one may come without its list."),
    responses(
        (status = 200, description = "How each was taken.", body = Taken),
        (status = 404, description = "One of them names a queue that the daemon does not have; none was counted."),
        (status = 422, description = "One of them does not fit, or there are too many; none was counted."),
))]
pub(super) async fn report(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    Reports(reports): Reports,
) -> Result<Json<Taken>, Problem> {
    let found = reports
        .iter()
        .map(|report| match caller.sees_queue(&report.queue) {
            true => queues::find(&doors, &report.queue),
            false => Err(queues::none(&report.queue)),
        })
        .collect::<Result<Vec<_>, Problem>>()?;
    let now = doors.clock.now();
    let taken: Vec<Counted> = reports
        .iter()
        .zip(found)
        .map(|(report, queue)| {
            let books = Books {
                vitals: &queue.vitals,
                metrics: &queue.metrics,
            };
            count(report, books, now)
        })
        .collect();
    let how_many = |how: Counted| taken.iter().filter(|one| **one == how).count();
    Ok(Json(Taken {
        counted: how_many(Counted::Counted),
        repeated: how_many(Counted::Repeated),
        unknown: how_many(Counted::Unknown),
        reports: taken,
    }))
}
