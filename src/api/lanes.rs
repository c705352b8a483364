//! `/api/v1/queues/{name}/lanes`: the keys of a queue whose messages wait in lanes, and when it will be their turn. May import
//! `rules` and `vitals`.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Doors;
use super::body::{Asked, Named};
use super::error::Problem;
use super::page::{Page, Paging};
use super::queues::find;
use super::views::rfc3339;
use crate::rules::names::segment;
use crate::vitals::LaneLine;

/// Which keys.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only this key; the list is empty when nothing of it lies in a lane.
    key: Option<String>,
    /// How many at most, from 1 to 500; usually 100.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// Where to go on: `next` of the page before.
    cursor: Option<String>,
}

/// A key whose messages wait in a lane.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LaneOfKey)]
pub(super) struct LaneView {
    /// The key.
    #[schema(example = "acme")]
    key: String,
    /// Whether it shares its lane with others, because there are more throttled keys than lanes.
    shared: bool,
    /// Messages that wait, at the broker and in hand; null: not known yet.
    waiting: Option<u64>,
    /// Since when it has a lane.
    #[schema(format = DateTime)]
    since: String,
    /// Messages of it per second at most; null: no rate for each key stands.
    per_second: Option<f64>,
    /// Messages of it at the target at once at most; null: no such limit stands.
    at_once: Option<u32>,
    /// In how many seconds a message that joins now would run, if the limits stay and the queue's slots do for it; null: unknown.
    eta_seconds: Option<f64>,
    /// Why its lane cannot be read, if so: what lies there stays until that is mended, and the broker is asked again by itself.
    unread: Option<String>,
}

impl From<LaneLine> for LaneView {
    fn from(line: LaneLine) -> Self {
        let interval = line.pace.interval.map(|interval| interval.as_secs_f64());
        Self {
            key: line.key.to_string(),
            shared: line.shared,
            waiting: line.waiting,
            since: rfc3339(line.since_ms),
            per_second: interval.filter(|secs| *secs > 0.0).map(|secs| 1.0 / secs),
            at_once: line.pace.at_once,
            eta_seconds: line.eta.map(|eta| eta.as_secs_f64()),
            unread: line.unread.map(|why| why.to_string()),
        }
    }
}

/// Lists the keys that have messages in lanes, by key; told anew each second.
#[utoipa::path(get, path = "/api/v1/queues/{name}/lanes", tag = "queues", operation_id = "queues_lanes",
    params(("name" = String, Path, description = "The queue's name, percent-encoded: `billing%2Forders`."), Which),
    responses(
        (status = 200, description = "One page of the keys.", body = Page<LaneView>,
         headers(("Link" = String, description = "The next page, if there is one: `rel=\"next\"`."))),
        (status = 404, description = "There is no such queue."),
))]
pub(super) async fn list(
    State(doors): State<Arc<Doors>>,
    Named(name): Named,
    Asked(which): Asked<Which>,
) -> Result<Page<LaneView>, Problem> {
    let vitals = &find(&doors, &name)?.vitals;
    let paging = Paging::at(which.limit, which.cursor);
    let after = paging.cursor.as_deref().unwrap_or_default();
    let found = match &which.key {
        Some(key) => vitals.lane(key).into_iter().collect(),
        // One more than the page has, so that it knows whether there is another.
        None => vitals.lanes_after(after, paging.limit()? + 1),
    };
    let path = format!("/api/v1/queues/{}/lanes", segment(&name));
    let rest = found.into_iter().map(LaneView::from);
    Page::of(&path, &paging, rest, |lane| lane.key.clone())
}
