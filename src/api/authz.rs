//! `GET /api/v1/authz/{flag}`: a proxy asks whether a request may pass (nginx `auth_request`, Traefik `forwardAuth`, Envoy).
//!
//! What is asked with comes from headers that the proxy sets, and from the query, for what the proxy itself knows. No other header
//! is read: a client must not be able to say who it is. May import `rules` and `metrics`.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::Doors;
use super::access::Caller;
use super::body::Named;
use super::error::{LONGEST_ECHO, MALFORMED_REQUEST, NOT_ALLOWED, Problem};
use crate::rules::choice::Reason;
use crate::rules::context::Attribute;
use crate::rules::flag::Value;
use crate::rules::names::FlagKey;

/// Which headers tell an attribute, the first that is there; of an address list the last entry, which the nearest proxy wrote.
const FROM_HEADERS: [(&str, &[&str]); 5] = [
    ("account", &["x-sluicegate-account"]),
    ("route", &["x-original-uri", "x-forwarded-uri"]),
    ("method", &["x-original-method", "x-forwarded-method"]),
    ("ip", &["x-real-ip", "x-forwarded-for"]),
    ("host", &["x-original-host", "x-forwarded-host"]),
];
/// The most attributes in a query.
const MOST: usize = 32;

/// What a proxy tells of a request.
#[derive(Debug)]
pub(super) struct Told(Vec<(String, Attribute)>);

impl<S: Send + Sync> FromRequestParts<S> for Told {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(query) = query.map_err(|why| Problem::new(MALFORMED_REQUEST, why.body_text()))?;
        Self::of(&parts.headers, query)
    }
}

impl Told {
    fn of(headers: &HeaderMap, query: Vec<(String, String)>) -> Result<Self, Problem> {
        let mut told: Vec<(String, Attribute)> = FROM_HEADERS
            .iter()
            .filter_map(|(name, from)| {
                let said = from.iter().find_map(|header| text(headers, header))?;
                Some(((*name).to_owned(), Attribute::of(meant(name, said))))
            })
            .collect();
        let mut names: Vec<&str> = query.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if names.len() > MOST || names.windows(2).any(|two| two.first() == two.last()) {
            let cure = format!("name at most {MOST} attributes in the query, each once");
            return Err(Problem::new(MALFORMED_REQUEST, cure));
        }
        // Told later, these win: the proxy's own words over what it passes on.
        told.extend(
            query
                .into_iter()
                .map(|(name, said)| (name, Attribute::of(&said))),
        );
        Ok(Self(told))
    }
}

/// The text of a header that is there once and says something.
fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut all = headers.get_all(name).iter();
    let (first, second) = (all.next(), all.next());
    let said = first.filter(|_| second.is_none())?.to_str().ok()?.trim();
    Some(said).filter(|said| !said.is_empty())
}

/// The part of a header that is the attribute: the path of an address, the last of a list.
fn meant<'h>(name: &str, said: &'h str) -> &'h str {
    match name {
        "route" => said.split(['?', '#']).next().unwrap_or(said),
        "ip" => said.rsplit(',').next().unwrap_or(said).trim(),
        _ => said,
    }
}

/// Says whether a request may pass: whether a boolean flag is true for it.
///
/// Attributes come from headers: `account` from X-Sluicegate-Account, `route` (the path) from X-Original-URI or X-Forwarded-Uri,
/// `method` from X-Original-Method or X-Forwarded-Method, `ip` from X-Real-IP or the last of X-Forwarded-For, `host` from
/// X-Original-Host or X-Forwarded-Host; any others from the query. A flag that is not there is off, so nothing passes.
#[utoipa::path(get, path = "/api/v1/authz/{flag}", tag = "authz",
    params(
        ("flag" = String, Path, description = "The flag's key, percent-encoded."),
        ("X-Sluicegate-Account" = Option<String>, Header, description = "The account."),
        ("X-Original-URI" = Option<String>, Header, description = "What was asked for."),
        ("X-Original-Method" = Option<String>, Header, description = "How it was asked for."),
        ("X-Real-IP" = Option<String>, Header, description = "Who asks."),
    ),
    responses(
        (status = 204, description = "It may pass.",
         headers(("X-Sluicegate-Rule" = String, description = "The rule or opening that decided, if one did."))),
        (status = 403, description = "It may not: the flag is false for it, not boolean, or not there."),
))]
pub(super) async fn allow(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    Named(key): Named,
    told: Result<Told, Problem>,
) -> Result<Response, Problem> {
    let Told(told) = told?;
    let snapshot = doors.store.snapshot();
    let flag = key.parse::<FlagKey>().ok();
    let handle = flag
        .filter(|flag| caller.sees_flag(flag.as_str()))
        .and_then(|flag| snapshot.handle(flag.as_str()));
    let Some(handle) = handle else {
        let key: String = key.chars().take(LONGEST_ECHO).collect();
        let detail = format!(
            "there is no flag `{key}`, so it is off; create it, or mend its name at the proxy"
        );
        return Err(Problem::new(NOT_ALLOWED, detail));
    };
    doors.metrics.tally(&key).asked(1, doors.clock.now().ms);
    let given = told
        .iter()
        .map(|(name, said)| (name.as_str(), said.clone()));
    let context = snapshot.context(given);
    let chosen = snapshot.ask(handle, context.as_slice());
    let allowed = chosen.as_ref().map(|chosen| chosen.value);
    let detail = match allowed {
        Some(Value::Boolean(true)) => None,
        Some(Value::Boolean(false)) => Some(format!("`{key}` is false for this request")),
        _ => Some(format!("`{key}` is not boolean; name a flag that is")),
    };
    let rule = chosen.and_then(|chosen| match chosen.reason {
        Reason::Opening(id) => Some(id.to_string()),
        reason => Some(snapshot.choice(&key)?.rule(reason)?.to_string()),
    });
    let mut response = match detail {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(detail) => Problem::new(NOT_ALLOWED, detail).into_response(),
    };
    if let Some(Ok(rule)) = rule.map(HeaderValue::try_from) {
        let name = HeaderName::from_static("x-sluicegate-rule");
        response.headers_mut().insert(name, rule);
    }
    Ok(response)
}
