//! Who may call at all: a web page must not drive 127.0.0.1 (FAULTS G05, G06, G08).
//!
//! The outermost layer, so that no way of writing a path leads around it. What answers whatever the Host says is listed here.

use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock};

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Doors;
use super::error::{CROSS_SITE, LONGEST_ECHO, MALFORMED_REQUEST, Problem, WRONG_HOST};
use super::status::STYLE_HASH;

/// What a scraper or an orchestrator asks, by whatever name it found us.
const BY_ANY_NAME: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// Lets a request pass or refuses it, and dresses whatever comes back.
pub(super) async fn guard(
    State(doors): State<Arc<Doors>>,
    request: Request,
    next: Next,
) -> Response {
    let instance = request.uri().path().to_owned();
    let response = match may_call(&doors.hosts, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            tracing::info!(
                method = %request.method(),
                path = ?instance.chars().take(LONGEST_ECHO).collect::<String>(),
                outcome = problem.word(),
                "refused at the door"
            );
            problem.into_response()
        }
    };
    hardened(Problem::write_into(response, instance))
}

fn may_call(hosts: &[String], request: &Request) -> Result<(), Problem> {
    if BY_ANY_NAME.contains(&request.uri().path()) {
        return Ok(());
    }
    let host = host(request)?;
    if !is_ours(&host, hosts) {
        return Err(Problem::new(
            WRONG_HOST,
            format!(
                "this daemon is not called `{host}`; use 127.0.0.1 or localhost, or list the name under `hosts` in [daemon]"
            ),
        ));
    }
    if *request.method() == Method::GET || *request.method() == Method::HEAD {
        return Ok(()); // nothing that reads has effects, and no other site can read the answer
    }
    same_origin(request.headers(), &host)
}

/// The one name by which the daemon was called.
fn host(request: &Request) -> Result<Authority, Problem> {
    let unclear = |what: &str| {
        let cure = "send one Host header with a name and perhaps a port";
        Problem::new(MALFORMED_REQUEST, format!("{what}; {cure}"))
    };
    let mut said = request.headers().get_all(header::HOST).iter();
    let (first, second) = (said.next(), said.next());
    if second.is_some() {
        return Err(unclear("there are two Host headers"));
    }
    let host: Authority = first
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| unclear("the Host header is missing or cannot be read"))?;
    let others = request
        .uri()
        .authority()
        .is_some_and(|named| !named.as_str().eq_ignore_ascii_case(host.as_str()));
    if others || host.as_str().contains('@') {
        return Err(unclear("the request names several hosts or a user"));
    }
    Ok(host)
}

fn is_ours(host: &Authority, listed: &[String]) -> bool {
    let name = host.host();
    let loopback = name.eq_ignore_ascii_case("localhost")
        || name == "[::1]"
        || name
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback());
    loopback
        || listed
            .iter()
            .any(|one| one.eq_ignore_ascii_case(name) || one.eq_ignore_ascii_case(host.as_str()))
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
fn hardened(mut response: Response) -> Response {
    let headers = response.headers_mut();
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
