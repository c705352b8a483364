//! What was said of jobs that may have been done, as changes tell of it. May import `rules`.

use serde::Serialize;
use utoipa::ToSchema;

use crate::rules::doubt::Resolution;

/// What was said of jobs that may have been done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Resolution)]
pub(super) struct ResolvedView {
    /// done, again or failed.
    r#as: &'static str,
    /// Which, as queue and id.
    jobs: Vec<ResolvedJob>,
}

/// A job that was resolved.
#[derive(Debug, Serialize, ToSchema)]
struct ResolvedJob {
    /// Its queue.
    queue: String,
    /// Its id.
    id: String,
}

impl ResolvedView {
    pub(super) fn of(resolution: Resolution) -> Self {
        let jobs = resolution.jobs.into_iter().map(|job| ResolvedJob {
            queue: job.queue.to_string(),
            id: job.id.to_string(),
        });
        Self {
            r#as: resolution.verdict.word(),
            jobs: jobs.collect(),
        }
    }
}
