//! `/ofrep/v1`: flags for services, by the OpenFeature Remote Evaluation Protocol 0.3, so that any OpenFeature SDK reads them.
//!
//! Errors are OFREP's own ([`failure`]), since SDKs read them. May import `rules` and `metrics`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::Doors;
use super::access::Caller;
use super::body::{self, Named};
use super::pace::Pace;
use crate::metrics::Metrics;
use crate::store::Store;
use context::{LARGEST, Told};
use failure::Failure;
use on_its_way::OnTheirWay;
use sheet::{Asker, Sheet, Sheets};

mod context;
mod failure;
mod on_its_way;
mod sheet;
#[cfg(test)]
mod tests;

/// What the paths of OFREP begin with.
pub(super) const PATH: &str = "/ofrep/";
/// Where a service hears that flags have changed: it then evaluates anew.
pub(super) const EVENTS: &str = "/ofrep/v1/events";
/// After so many seconds without a word from its user a service may hang up, and listen again when it is used.
const INACTIVITY_S: u32 = 120;

/// What the doors keep for services.
#[derive(Debug)]
pub struct Services {
    sheets: Sheets,
    on_their_way: OnTheirWay,
    pace: Pace,
}

impl Services {
    /// Each of them may ask so often a second.
    #[must_use]
    pub fn new(evaluations_per_second: u32) -> Self {
        Self {
            sheets: Sheets::default(),
            on_their_way: OnTheirWay::default(),
            pace: Pace::each_second(evaluations_per_second),
        }
    }

    /// From now on so often.
    pub fn limit(&self, evaluations_per_second: u32) {
        self.pace.limit(evaluations_per_second);
    }

    fn sheet(&self, store: &Store, metrics: &Metrics) -> Arc<Sheet> {
        self.sheets.of(store.snapshot(), metrics)
    }
}

/// What a service asks with.
pub(super) struct Ask {
    told: Told,
    headers: HeaderMap,
}

impl FromRequest<Arc<Doors>> for Ask {
    type Rejection = Failure;
    async fn from_request(request: Request, doors: &Arc<Doors>) -> Result<Self, Failure> {
        let (mut parts, body): (_, Body) = request.into_parts();
        let caller = Caller::from_request_parts(&mut parts, doors).await?;
        let pace = &doors.services.pace;
        pace.take(&caller.mark_of_source(), doors.clock.now().mono)
            .map_err(Failure::too_many)?;
        body::says_json(&parts.method, &parts.headers)?;
        let told = Told::read(&body::bytes(body, LARGEST).await?)?;
        Ok(Self {
            told,
            headers: parts.headers,
        })
    }
}

/// Whoever is asked for, as this sheet knows them.
fn asker(told: &Told, sheet: &Sheet) -> Asker {
    Asker::new(sheet.snapshot().context(told.attributes()), told.targeted)
}

/// What is asked.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EvaluationRequest {
    /// What is known of whoever is asked for: `targetingKey` (also `account`, unless that is told), and any attributes that rules
    /// ask for. Those of an object are named `object.name`; a list `roles: ["admin"]` makes `roles.admin`, which `exists`.
    #[schema(value_type = Option<Object>, example = json!({"targetingKey": "acme", "route": "/orders", "roles": ["admin"]}))]
    context: Option<Json>,
}

/// What a flag says to whoever is asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Evaluation {
    /// The flag.
    #[schema(example = "request-timeout")]
    key: String,
    /// Its value. Durations and rates are texts (`500ms`, `50/s`, `none`), ratios numbers from 0 to 1; `null` is an integer without a limit.
    value: Json,
    /// `STATIC`, `DEFAULT`, `TARGETING_MATCH`, `SPLIT` or `DISABLED`.
    #[schema(example = "TARGETING_MATCH")]
    reason: String,
    /// The rule or the opening that the value comes from, or `default`.
    #[schema(example = "slow-reports")]
    variant: String,
    /// The revision of the flag's last change; `rule` or `opening`, if the value comes from one.
    #[schema(value_type = Object, example = json!({"revision": 41, "rule": "slow-reports"}))]
    metadata: Json,
}

/// What all flags say to whoever is asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Evaluations {
    /// One [`Evaluation`] for each flag, or a failure, such as `TARGETING_KEY_MISSING`.
    #[schema(value_type = Vec<Object>)]
    flags: Vec<Json>,
    /// The revision of all flags.
    #[schema(value_type = Object, example = json!({"revision": 41}))]
    metadata: Json,
    /// Where changes are told: one server-sent-event stream.
    #[schema(value_type = Vec<Object>)]
    #[serde(rename = "eventStreams")]
    event_streams: Vec<Json>,
}

/// Evaluates one flag.
#[utoipa::path(post, path = "/ofrep/v1/evaluate/flags/{key}", tag = "ofrep",
    request_body = EvaluationRequest,
    params(("key" = String, Path, description = "The flag's key, percent-encoded.")),
    responses(
        (status = 200, description = "What it says.", body = Evaluation),
        (status = 400, description = "The request or its context cannot be read, or the flag draws lots and no targeting key was told.", body = Failure),
        (status = 404, description = "There is no such flag.", body = Failure),
        (status = 408, description = "The body did not come within 10 s.", body = Failure),
        (status = 413, description = "The body is larger than 64 KiB.", body = Failure),
        (status = 415, description = "It was not sent as application/json.", body = Failure),
        (status = 429, description = "You ask more often than `evaluations_per_second` of the file allows.", body = Failure,
         headers(("Retry-After" = u32, description = "Seconds."))),
))]
pub(super) async fn evaluate(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    named: Result<Named, super::error::Problem>,
    ask: Ask,
) -> Result<Response, Failure> {
    let Named(key) = named?;
    let sheet = doors.services.sheet(&doors.store, &doors.metrics);
    let row = sheet.row(&key).filter(|_| caller.sees_flag(&key));
    let row = row.ok_or_else(|| Failure::no_flag(&key))?;
    row.tally().asked(1, doors.clock.now().ms);
    let answer = sheet.answer(row, &asker(&ask.told, &sheet))?;
    Ok(json(answer))
}

/// Evaluates all flags.
#[utoipa::path(post, path = "/ofrep/v1/evaluate/flags", tag = "ofrep",
    request_body = EvaluationRequest,
    params(("If-None-Match" = Option<String>, Header, description = "The ETag of an earlier answer.")),
    responses(
        (status = 200, description = "What they say.", body = Evaluations,
         headers(("ETag" = String, description = "Another one when flags change, or what they ask of the context."))),
        (status = 304, description = "They say what they said with this ETag."),
        (status = 400, description = "The request or its context cannot be read.", body = Failure),
        (status = 408, description = "The body did not come within 10 s.", body = Failure),
        (status = 413, description = "The body is larger than 64 KiB.", body = Failure),
        (status = 415, description = "It was not sent as application/json.", body = Failure),
        (status = 429, description = "You ask more often than `evaluations_per_second` of the file allows, or too many answers are on their way.", body = Failure,
         headers(("Retry-After" = u32, description = "Seconds."))),
))]
pub(super) async fn evaluate_all(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    ask: Ask,
) -> Result<Response, Failure> {
    let sheet = doors.services.sheet(&doors.store, &doors.metrics);
    let asker = asker(&ask.told, &sheet);
    let tag = sheet.tag(&asker, &caller);
    let mut response = if is_known(&ask.headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let answer = sheet.answer_all(&asker, &caller, &streams());
        json(doors.services.on_their_way.send(answer)?)
    };
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// Whether the caller has the answer with this tag already.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let said = headers.get_all(header::IF_NONE_MATCH).iter();
    said.filter_map(|said| said.to_str().ok())
        .flat_map(|said| said.split(','))
        .map(|said| said.trim())
        .any(|said| said == "*" || said.strip_prefix("W/").unwrap_or(said) == tag)
}

fn streams() -> String {
    format!(
        "[{{\"type\":\"sse\",\"endpoint\":{{\"requestUri\":\"{EVENTS}\"}},\"inactivityDelaySec\":{INACTIVITY_S}}}]"
    )
}

fn json(body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
