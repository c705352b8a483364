//! Talks to a daemon over HTTP: one request, one answer, within a deadline. Imports `cli`'s own files only.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::response::Parts;
use hyper::{HeaderMap, Method, Request, Response, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value as Json;
use thiserror::Error;

use super::failure::{Exit, Failure};

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Ten thousand flags with their openings are less.
const LONGEST_ANSWER: usize = 64 << 20;
/// A longer name, or one that is not visible ASCII, is not told: the daemon would refuse it.
const LONGEST_USER: usize = 64;
const USER: HeaderName = HeaderName::from_static("sluicegate-user");

/// Where a daemon is: `http://HOST:PORT`, perhaps with a path before its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BaseUrl(String);

/// Why a text is no such address.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum NotAUrl {
    #[error("{0:?} is not an address; write it like http://127.0.0.1:7070")]
    Unreadable(String),
    #[error(
        "https is not spoken here; name the daemon's own door, such as http://127.0.0.1:7070, or tunnel to it"
    )]
    Https,
}

impl FromStr for BaseUrl {
    type Err = NotAUrl;
    fn from_str(text: &str) -> Result<Self, NotAUrl> {
        let unreadable = || NotAUrl::Unreadable(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| unreadable())?;
        match (uri.scheme_str(), uri.host(), uri.query()) {
            (Some("https"), ..) => Err(NotAUrl::Https),
            (Some("http"), Some(host), None) if !host.is_empty() => {
                Ok(Self(text.trim_end_matches('/').to_owned()))
            }
            _ => Err(unreadable()),
        }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    method: Method,
    path: String,
    headers: HeaderMap,
    pub(super) body: Option<serde_json::Map<String, Json>>,
}

impl Ask {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, None)
    }

    /// A write; with `dry_run` nothing is changed.
    pub(super) fn write(
        method: Method,
        path: &str,
        body: serde_json::Map<String, Json>,
        dry_run: bool,
    ) -> Self {
        let path = format!("{path}{}", if dry_run { "?dry_run=true" } else { "" });
        Self::new(method, path, Some(body))
    }

    /// The end of what stands at a path.
    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path, None)
    }

    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    fn new(
        method: Method,
        path: impl Into<String>,
        body: Option<serde_json::Map<String, Json>>,
    ) -> Self {
        Self {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body,
        }
    }
}

/// What the daemon said, good or bad.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) etag: Option<String>,
    body: Json,
}

impl Answer {
    /// The size that must be confirmed, if that is what the daemon asks for.
    pub(super) fn size_to_confirm(&self) -> Option<u64> {
        let asked = self.status == 409 && self.word() == "confirm-size";
        asked.then(|| self.body["size"].as_u64()).flatten()
    }

    /// The sentence of a problem.
    pub(super) fn sentence(&self) -> String {
        ["detail", "title"]
            .into_iter()
            .find_map(|field| self.body[field].as_str())
            .map_or_else(
                || format!("the daemon answered {} without a word", self.status),
                str::to_owned,
            )
    }

    /// The body, when the daemon did what was asked.
    pub(super) fn done(self) -> Result<Json, Failure> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let sentence = typed_here(&self.sentence());
        let failure = Failure::of_problem(self.status, self.word(), sentence);
        Err(failure.with(self.body))
    }

    /// What stands now, when somebody was faster.
    pub(super) fn stands_now(&self) -> Option<&Json> {
        let stale = self.status == 412 && self.word() == "stale" && self.body["now"].is_object();
        stale.then_some(&self.body["now"])
    }

    /// The last word of a problem's `type`.
    fn word(&self) -> &str {
        let name = self.body["type"].as_str().unwrap_or_default();
        name.rsplit(['/', ':', '#']).next().unwrap_or(name)
    }
}

/// A cure for programs, as it is typed here.
fn typed_here(sentence: &str) -> String {
    sentence
        .replace("say \"keep\": true", "say --keep")
        .replace("force=true", "--force")
}

/// Asks one daemon.
#[derive(Debug)]
pub(super) struct Client {
    base: BaseUrl,
    user: Option<HeaderValue>,
    token: Option<HeaderValue>,
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
}

impl Client {
    pub(super) fn new(base: BaseUrl, user: Option<&str>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        // No connection is kept: while somebody thinks about a question, the daemon may close it.
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        let user = user
            .filter(|name| name.len() <= LONGEST_USER && name.bytes().all(|b| b.is_ascii_graphic()))
            .and_then(|name| HeaderValue::from_str(name).ok());
        Self {
            base,
            user,
            token: None,
            http,
        }
    }

    /// The same, known by a token.
    pub(super) fn with_token(self, token: Option<&str>) -> Self {
        let shown = token.and_then(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Self {
            token: shown,
            ..self
        }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When nobody answers in time, or somebody answers who is no daemon of ours.
    pub(super) async fn send(&self, ask: Ask) -> Result<Answer, Failure> {
        let changes = ask.method != Method::GET;
        let request = self.request(ask)?;
        tokio::time::timeout(ANSWER_WITHIN, self.exchange(request, changes))
            .await
            .unwrap_or_else(|_| {
                let why = format!("did not answer within {} s", ANSWER_WITHIN.as_secs());
                Err(self.silent(&why, changes))
            })
    }

    fn request(&self, ask: Ask) -> Result<Request<Full<Bytes>>, Failure> {
        let unusable = |why: &dyn fmt::Display| {
            let sentence = format!("the request could not be written ({why}); check --url");
            Failure::new(Exit::Usage, sentence)
        };
        let body = match ask.body {
            Some(fields) => Bytes::from(Json::Object(fields).to_string()),
            None => Bytes::new(),
        };
        let mut request = Request::builder()
            .method(ask.method)
            .uri(format!("{}{}", self.base, ask.path))
            .body(Full::new(body))
            .map_err(|why| unusable(&why))?;
        let agent = concat!("sluicegate/", env!("CARGO_PKG_VERSION"));
        let headers = request.headers_mut();
        headers.extend(ask.headers);
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        let json = HeaderValue::from_static("application/json");
        headers.entry(header::CONTENT_TYPE).or_insert(json);
        if let Some(token) = &self.token {
            headers.insert(header::AUTHORIZATION, token.clone());
        }
        if let Some(user) = &self.user {
            headers.insert(USER, user.clone());
        }
        Ok(request)
    }

    /// Reads text of any length, piece by piece as it comes.
    ///
    /// # Errors
    /// As [`Client::send`]; and what `piece` says, which ends the reading.
    pub(super) async fn read(
        &self,
        path: &str,
        mut piece: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let request = self.request(Ask::get(path))?;
        let late = || self.silent("fell silent", false);
        let response = tokio::time::timeout(ANSWER_WITHIN, self.begin(request, false));
        let (head, mut body) = response.await.map_err(|_| late())??.into_parts();
        if !head.status.is_success() {
            return self.whole(head, body, false).await?.done().map(|_| ());
        }
        loop {
            let frame = tokio::time::timeout(ANSWER_WITHIN, body.frame());
            match frame.await.map_err(|_| late())? {
                None => return Ok(()),
                Some(Err(_)) => return Err(self.silent("broke its answer off", false)),
                Some(Ok(frame)) => piece(frame.data_ref().map_or(&[][..], |data| data))?,
            }
        }
    }

    async fn begin(
        &self,
        request: Request<Full<Bytes>>,
        changes: bool,
    ) -> Result<Response<Incoming>, Failure> {
        self.http.request(request).await.map_err(|why| {
            if why.is_connect() {
                self.nobody()
            } else {
                self.silent("broke the connection off", changes)
            }
        })
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        changes: bool,
    ) -> Result<Answer, Failure> {
        let (head, body) = self.begin(request, changes).await?.into_parts();
        self.whole(head, body, changes).await
    }

    async fn whole(&self, head: Parts, body: Incoming, changes: bool) -> Result<Answer, Failure> {
        let bytes = Limited::new(body, LONGEST_ANSWER)
            .collect()
            .await
            .map_err(|_| self.silent("broke its answer off", changes))?
            .to_bytes();
        let body = match bytes.is_empty() {
            true => Json::Null,
            false => serde_json::from_slice(&bytes).map_err(|_| self.stranger())?,
        };
        let etag = head.headers.get(header::ETAG);
        Ok(Answer {
            status: head.status.as_u16(),
            etag: etag
                .and_then(|tag| tag.to_str().ok())
                .map(ToOwned::to_owned),
            body,
        })
    }

    fn nobody(&self) -> Failure {
        let sentence = format!(
            "no daemon answers at {}; start one with `sluicegate demo` or name it with --url",
            self.base
        );
        Failure::new(Exit::Unreachable, sentence)
    }

    fn silent(&self, what: &str, changes: bool) -> Failure {
        let cure = if changes {
            "the change may have been made: look with `sluicegate flag list --open` before you repeat it"
        } else {
            "try again, and look at its log"
        };
        let sentence = format!("the daemon at {} {what}; {cure}", self.base);
        Failure::new(Exit::Unreachable, sentence)
    }

    fn stranger(&self) -> Failure {
        let sentence = format!(
            "what answers at {} does not speak like a Sluicegate daemon; check --url",
            self.base
        );
        Failure::new(Exit::Failed, sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_plain_http_with_a_host() {
        for (text, wanted) in [
            ("http://127.0.0.1:7070", Some("http://127.0.0.1:7070")),
            ("http://gate/", Some("http://gate")),
            (
                "http://[::1]:7070/sluice/",
                Some("http://[::1]:7070/sluice"),
            ),
            ("https://gate", None),
            ("127.0.0.1:7070", None),
            ("gate", None),
            ("http://", None),
            ("http://gate/?x=1", None),
            ("", None),
        ] {
            let read = text.parse::<BaseUrl>().ok().map(|url| url.to_string());
            assert_eq!(read.as_deref(), wanted, "{text:?}");
        }
    }
}
