//! The guard of the doors: by which name they are called, from which page, by whom, and for what (FAULTS G01, G02, G05, G06, G08,
//! G10, G11).
//!
//! The outermost layer, so that no way of writing a path leads around it. What answers whatever the Host says is listed here; who
//! may what stands in [`routes`].

use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock};

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::access::{Access, Caller, Peer, SIGN_IN_BY, Shown, Stranger};
use super::error::{
    CROSS_SITE, LONGEST_ECHO, MALFORMED_REQUEST, Problem, SIGN_IN, TOO_OFTEN, WRONG_HOST,
};
use super::routes::{self, Route, Within};
use super::status::STYLE_HASH;
use super::{Doors, ofrep, queues};
use crate::rules::access::Need;

/// What a scraper or an orchestrator asks, by whatever name it found us.
const BY_ANY_NAME: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// What the guard of a door knows.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    pub(super) doors: Arc<Doors>,
    /// Whether nobody is asked who they are: the door has health and numbers alone.
    pub(super) asks_nobody: bool,
}

/// Why a request is refused, and whose it is, if that is known.
type Refusal = (Problem, Option<Caller>);

/// Lets a request pass or refuses it, and dresses whatever comes back.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let instance = parts.uri.path().to_owned();
    let peer = parts.extensions.get::<Peer>().copied();
    let response = match guard.admit(&mut parts, peer).await {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err((problem, caller)) => {
            guard.note(&problem, caller.as_ref(), &parts, peer);
            problem.into_response()
        }
    };
    let tls = peer.is_some_and(|peer| peer.tls);
    hardened(Problem::write_into(response, instance), tls)
}

impl Guard {
    /// Looks whether the request may be asked, and by whom; that is then one of its extensions.
    async fn admit(&self, parts: &mut Parts, peer: Option<Peer>) -> Result<(), Refusal> {
        may_call(&self.doors.access, parts).map_err(|problem| (problem, None))?;
        let path = parts.extensions.get::<MatchedPath>().cloned();
        let path = path.as_ref().map(MatchedPath::as_str);
        let route = path.and_then(|path| routes::find(&parts.method, path));
        if self.asks_nobody || route.is_some_and(|route| route.need == Need::Nothing) {
            return Ok(());
        }
        let caller = self
            .sign_in(parts, peer)
            .map_err(|problem| (problem, None))?;
        // What does not stand in the table is for admins, if it is there at all.
        let need = match (route, path) {
            (Some(route), _) => route.need,
            (None, Some(_)) => Need::Administer,
            (None, None) => Need::Name,
        };
        let allowed = caller
            .must(
                need,
                format_args!("{} {}", parts.method, path.unwrap_or_default()),
            )
            .inspect_err(|_| self.doors.metrics.denied("role"));
        let allowed = match allowed {
            Ok(()) => self.within(&caller, route, parts).await,
            refused => refused,
        };
        allowed.map_err(|problem| (problem, Some(caller.clone())))?;
        parts.extensions.insert(caller);
        Ok(())
    }

    fn sign_in(&self, parts: &Parts, peer: Option<Peer>) -> Result<Caller, Problem> {
        let doors = &self.doors;
        let shown = if parts.uri.path().starts_with(ofrep::PATH) {
            Shown::BearerOrKey
        } else {
            Shown::Bearer
        };
        let signed_in = doors
            .access
            .sign_in(&parts.headers, shown, peer, doors.clock.now());
        signed_in.map_err(|stranger| {
            doors.metrics.denied(stranger.word());
            match stranger {
                Stranger::TooOften(wait) => Problem::new(TOO_OFTEN, WAIT).after(wait),
                _ => Problem::new(SIGN_IN, SIGN_IN_BY),
            }
        })
    }

    /// Refuses what lies outside of the caller's scope, as if it were not there.
    async fn within(
        &self,
        caller: &Caller,
        route: Option<&Route>,
        parts: &mut Parts,
    ) -> Result<(), Problem> {
        let Some(route) = route.filter(|_| !caller.sees_everything()) else {
            return Ok(());
        };
        let named = RawPathParams::from_request_parts(parts, &()).await;
        let named = |part: &str| {
            let mut all = named.iter().flatten();
            all.find(|(name, _)| *name == part)
                .map_or("", |(_, value)| value)
        };
        let snapshot = || self.doors.store.snapshot();
        let looked = match route.within {
            Within::Nothing | Within::Body | Within::Entries => Ok(()),
            Within::Everything => caller.must_see_everything(),
            Within::Queue(part) if caller.sees_queue(named(part)) => Ok(()),
            Within::Queue(part) => Err(queues::none(named(part))),
            Within::Flag(part) if caller.sees_flag(named(part)) => Ok(()),
            Within::Flag(part) => Err(Problem::never_a_flag(named(part))),
            Within::Segment(part) => caller.may_see_segment(named(part), &snapshot()),
            Within::Opening(part) => match named(part).parse() {
                Ok(id) => caller.may_see_opening(id, &snapshot()),
                Err(_) => Ok(()), // the handler says what is wrong with it
            },
        };
        looked.inspect_err(|_| self.doors.metrics.denied("scope"))
    }

    /// One line for each refusal; `?` escapes what would forge a line or move the cursor.
    fn note(&self, problem: &Problem, caller: Option<&Caller>, parts: &Parts, peer: Option<Peer>) {
        let short: String = parts.uri.path().chars().take(LONGEST_ECHO).collect();
        let address = peer.map(|peer| self.doors.access.client(&parts.headers, peer));
        tracing::info!(
            who = ?caller.map(Caller::name),
            address = ?address,
            method = %parts.method,
            path = ?short,
            outcome = problem.word(),
            "refused at the door"
        );
    }
}

const WAIT: &str = "too many wrong tokens came from there; wait, and send a right one";

fn may_call(access: &Access, request: &Parts) -> Result<(), Problem> {
    if BY_ANY_NAME.contains(&request.uri.path()) {
        return Ok(());
    }
    let host = host(request)?;
    if !is_ours(&host, access) {
        return Err(Problem::new(
            WRONG_HOST,
            format!(
                "this daemon is not called `{host}`; use 127.0.0.1 or localhost, or list the name under `hosts` in [daemon]"
            ),
        ));
    }
    if request.method == Method::GET || request.method == Method::HEAD {
        return Ok(()); // nothing that reads has effects, and no other site can read the answer
    }
    same_origin(&request.headers, &host)
}

/// The one name by which the daemon was called.
fn host(request: &Parts) -> Result<Authority, Problem> {
    let unclear = |what: &str| {
        let cure = "send one Host header with a name and perhaps a port";
        Problem::new(MALFORMED_REQUEST, format!("{what}; {cure}"))
    };
    let mut said = request.headers.get_all(header::HOST).iter();
    let (first, second) = (said.next(), said.next());
    if second.is_some() {
        return Err(unclear("there are two Host headers"));
    }
    let host: Authority = first
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| unclear("the Host header is missing or cannot be read"))?;
    let others = request
        .uri
        .authority()
        .is_some_and(|named| !named.as_str().eq_ignore_ascii_case(host.as_str()));
    if others || host.as_str().contains('@') {
        return Err(unclear("the request names several hosts or a user"));
    }
    Ok(host)
}

fn is_ours(host: &Authority, access: &Access) -> bool {
    let name = host.host();
    let loopback = name.eq_ignore_ascii_case("localhost")
        || name == "[::1]"
        || name
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback());
    loopback
        || access.is_host(|one| {
            one.eq_ignore_ascii_case(name) || one.eq_ignore_ascii_case(host.as_str())
        })
}

/// A change that a browser sends for a page must come from a page of ours.
fn same_origin(headers: &HeaderMap, host: &Authority) -> Result<(), Problem> {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_ascii_lowercase();
    let foreign_origin = headers.get_all(header::ORIGIN).iter().any(|origin| {
        let origin = text(origin);
        let named = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        !named.is_some_and(|named| named.eq_ignore_ascii_case(host.as_str()))
    });
    let foreign_site = headers
        .get_all(HeaderName::from_static("sec-fetch-site"))
        .iter()
        .any(|site| !matches!(text(site).as_str(), "same-origin" | "none"));
    if foreign_origin || foreign_site {
        return Err(Problem::new(
            CROSS_SITE,
            "a page of another site sent this; turn knobs from a page of this daemon, the command line or a program without Origin",
        ));
    }
    Ok(())
}

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; style-src '{}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        *STYLE_HASH
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// Nothing that we say is framed, guessed at, kept by others, or told onward.
fn hardened(mut response: Response, tls: bool) -> Response {
    let headers = response.headers_mut();
    if tls {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
