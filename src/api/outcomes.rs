//! `POST /api/v1/outcomes`: workers report what came of work that was handed over, and whoever hears from providers what came of jobs
//! that they took.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Caller;
use super::body;
use super::error::{BAD_DOCUMENT, LIMIT, LONGEST_ECHO, MALFORMED_JSON, NO_SUCH_PROVIDER, Problem};
use super::providers::PoolDoor;
use super::{Doors, queues};
use crate::outcomes::{Books, Counted, Report, Said, Unreadable, count, read};
use crate::rules::accepted::{Heard, Later};
use crate::rules::handed::Reported;
use crate::rules::names::FlagKey;

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

/// Reports what came of work that was handed over, or of jobs after a provider took them: bounces and complaints.
///
/// Repeating a report does no harm: it counts once. Only jobs are known that were handed over in the last hour, and of those the
/// newest 100,000 of each queue; of those that a provider took in the last week, the newest 100,000 of each provider.
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
    let books = reports
        .iter()
        .map(|report| of_whom(&doors, &caller, report))
        .collect::<Result<Vec<_>, Problem>>()?;
    let now = doors.clock.now();
    let taken: Vec<Counted> = reports
        .iter()
        .zip(books)
        .map(|(report, of)| match of {
            Of::Queue(reported, books) => count(report, reported, books, now),
            Of::Provider(pool, at, later) => heard(report, (pool, at), later, now.mono),
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

/// Where a report belongs.
enum Of<'a> {
    Queue(Reported, Books<'a>),
    /// A provider, by its number in a pool.
    Provider(&'a PoolDoor, usize, Later),
}

fn of_whom<'a>(doors: &'a Doors, caller: &Caller, report: &Report) -> Result<Of<'a>, Problem> {
    match report.said() {
        Some(Said::Handed(name, reported)) => {
            let queue = match caller.sees_queue(name) {
                true => queues::find(doors, name)?,
                false => return Err(queues::none(name)),
            };
            let books = Books {
                vitals: &queue.vitals,
                metrics: &queue.metrics,
            };
            Ok(Of::Queue(reported, books))
        }
        Some(Said::Taken(name, _, later)) => {
            let at = |pool: &PoolDoor| {
                let mut providers = pool.vitals.providers.iter();
                providers.position(|provider| *provider.name == *name)
            };
            let mut pools = doors.pools.iter();
            let found = pools.find_map(|pool| Some((pool, at(pool)?)));
            let found = found.filter(|_| {
                caller.sees_everything() || caller.sees_flag(FlagKey::of_force(name).as_str())
            });
            let (pool, at) = found.ok_or_else(|| {
                let name: String = name.chars().take(LONGEST_ECHO).collect();
                let sentence = format!(
                    "the daemon has no provider `{name}`; GET /api/v1/providers shows those it has"
                );
                Problem::new(NO_SUCH_PROVIDER, sentence)
            })?;
            Ok(Of::Provider(pool, at, later))
        }
        None => Err(Problem::new(
            BAD_DOCUMENT,
            "a report names a queue and an id, or a provider and a message_id",
        )),
    }
}

/// Counts what is told of a job after its provider took it.
fn heard(report: &Report, (pool, at): (&PoolDoor, usize), later: Later, now: Duration) -> Counted {
    let name = report.message_id.as_deref().unwrap_or_default();
    let recipient = report.recipient.as_deref().unwrap_or_default();
    let provider = &pool.vitals.providers[at];
    match provider.hears(name, later, recipient, now) {
        Heard::Counted(job) => {
            pool.metrics.reported(at, later);
            tracing::info!(queue = %job.queue, id = %job.id, provider = %provider.name, outcome = later.word(), "a provider tells of a job that it took");
            Counted::Counted
        }
        Heard::Repeated(_) => Counted::Repeated,
        Heard::Unknown => Counted::Unknown,
    }
}
