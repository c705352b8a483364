//! One request to an HTTP provider and its answer. What matters when it breaks: can the provider have the job? Not before the whole
//! request was taken by the connection.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Body, Certificate, Client, Response};
use serde_json::Value as Json;

use super::{Keyring, NO_SUCH_CERTIFICATE, Work, is_about_its_certificate};
use crate::clock::Clock;
use crate::config::provider::Provider;
use crate::config::secret::Secret;
use crate::rules::reply::{Reply, Rule};
use crate::targets::answer::wait_of;
use crate::targets::request::{Outbound, Sent};

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Services close idle connections after a while: ours goes first, so that no request meets the closing door.
const IDLE_AT_MOST: Duration = Duration::from_secs(20);
/// The most that is read of an answer, in bytes.
const LONGEST: usize = 64 << 10;
/// The longest words of a provider that are repeated, in characters.
const LONGEST_SAID: usize = 200;

/// A request before it is sent: always a POST.
#[derive(Debug)]
pub(super) struct Request {
    /// What follows the provider's URL.
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    /// Headers that need no check any more.
    pub(super) more: HeaderMap,
    /// Empty: it stands among the others.
    pub(super) content_type: String,
    pub(super) body: Bytes,
}

impl Request {
    pub(super) fn json(path: &str, headers: Vec<(&'static str, String)>, body: &Json) -> Self {
        Self {
            path: path.to_owned(),
            headers,
            more: HeaderMap::new(),
            content_type: "application/json".to_owned(),
            body: body.to_string().into(),
        }
    }
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// The body, when it is JSON.
    pub(super) json: Option<Json>,
    /// The wait that it asks for, between nothing and an hour.
    pub(super) wait: Option<Duration>,
}

impl Answered {
    /// A text in the body.
    pub(super) fn text(&self, pointer: &str) -> Option<&str> {
        self.json.as_ref()?.pointer(pointer)?.as_str()
    }

    /// A header, as far as it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Who answered what, with the provider's own words if they are few. Addresses in them are taken out.
    pub(super) fn cause(&self, said: Option<&str>) -> String {
        let status = self.status;
        match said.map(without_addresses).filter(|said| !said.is_empty()) {
            Some(said) => format!("it answered {status}: {said}"),
            None => format!("it answered {status}"),
        }
    }

    /// What a status means wherever nothing else is known.
    pub(super) fn by_status(&self, said: Option<&str>) -> Reply {
        let cause = self.cause(said);
        match self.status {
            429 => Reply::Throttled(self.wait),
            503 if self.headers.contains_key(RETRY_AFTER) => Reply::Throttled(self.wait),
            401 | 403 | 407 => Reply::Ours(cause),
            408 | 425 | 500..=599 => Reply::Provider(cause),
            300..=399 => Reply::Ours(format!("{cause}, and redirects are not followed")),
            400..=499 => Reply::Recipient(cause),
            _ => Reply::Unknown(cause),
        }
    }
}

fn without_addresses(text: &str) -> String {
    let words = text.split(|letter: char| letter.is_whitespace() || letter.is_control());
    let words = words.map(|word| if word.contains('@') { "…" } else { word });
    let said = words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    said.chars().take(LONGEST_SAID).collect()
}

/// How one kind of service is spoken to.
pub(super) trait Api {
    /// The request for a job; the reply instead, when it can never be one. `now_ms`: milliseconds since 1970.
    fn request(&self, work: &Work, secret: &Secret, now_ms: i64) -> Result<Request, Reply>;
    /// What a whole answer means.
    fn reply(&self, answer: &Answered) -> Reply;
}

/// An HTTP provider.
pub(in crate::targets) struct Exchange {
    client: Client,
    url: String,
    api: Box<dyn Api>,
    rules: Vec<Rule>,
    pub(super) keyring: Keyring,
    clock: Clock,
}

impl Exchange {
    pub(super) fn new(
        provider: &Provider,
        api: Box<dyn Api>,
        clock: Clock,
    ) -> Result<Self, String> {
        // An error means that somebody has chosen one for this process already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_WITHIN)
            .pool_idle_timeout(IDLE_AT_MOST)
            .tcp_nodelay(true)
            .user_agent(concat!("sluicegate/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &provider.ca_file {
            let pem = std::fs::read(path).map_err(|why| format!("`ca_file`: {why}"))?;
            let trusted = Certificate::from_pem_bundle(&pem).map_err(|why| cause(&why))?;
            builder = builder.tls_certs_only(trusted);
        } else if provider.url.starts_with("http:") {
            // Nobody need be trusted, and a machine without any authorities is none the worse.
            builder = builder.tls_certs_only([]);
        }
        Ok(Self {
            client: builder.build().map_err(|why| cause(&why))?,
            url: provider.url.clone(),
            api,
            rules: provider.answers.clone(),
            keyring: Keyring::new(provider.credential.as_ref()),
            clock,
        })
    }

    pub(super) async fn ask(&self, work: &Work, within: Duration) -> Reply {
        let now_ms = self.clock.now().ms;
        let request = match self.api.request(work, &self.keyring.secret(), now_ms) {
            Ok(request) => request,
            Err(reply) => return reply,
        };
        let sent = Sent::default();
        // Who is dropped at the deadline takes the connection along.
        match tokio::time::timeout(within, self.exchange(request, &sent)).await {
            Ok(reply) => reply,
            Err(_) if sent.fully() => {
                Reply::Unknown(format!("it gave no full answer within {within:?}"))
            }
            Err(_) => Reply::Provider(format!("it did not take the request within {within:?}")),
        }
    }

    async fn exchange(&self, request: Request, sent: &Sent) -> Reply {
        let mut headers = request.more;
        let pairs = request.headers.iter().map(|(name, value)| (*name, value));
        let kind = [("content-type", &request.content_type)];
        let kind = kind.into_iter().filter(|(_, kind)| !kind.is_empty());
        for (name, value) in pairs.chain(kind) {
            let Ok(value) = HeaderValue::from_str(value) else {
                return Reply::Ours(format!(
                    "what goes into the header {name} cannot: its key, perhaps"
                ));
            };
            headers.insert(HeaderName::from_static(name), value);
        }
        let body = Body::wrap(Outbound::new(request.body, sent));
        let asked = self.client.post(format!("{}{}", self.url, request.path));
        match asked.headers(headers).body(body).send().await {
            Ok(response) => self.read(response).await,
            Err(why) if is_about_its_certificate(&why) => {
                Reply::Ours(NO_SUCH_CERTIFICATE.to_owned())
            }
            Err(why) if sent.fully() => Reply::Unknown(format!("no answer: {}", cause(&why))),
            Err(why) => Reply::Provider(format!("not sent: {}", cause(&why))),
        }
    }

    async fn read(&self, mut response: Response) -> Reply {
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    body.extend_from_slice(&chunk[..chunk.len().min(LONGEST - body.len())])
                }
                Ok(None) => break,
                Err(_) => return Reply::Unknown("the answer was cut".to_owned()),
            }
            if body.len() >= LONGEST {
                break; // its status counts
            }
        }
        let headers = response.headers().clone();
        let wait = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        let now_ms = self.clock.now().ms;
        let answer = Answered {
            status: response.status().as_u16(),
            wait: wait.and_then(|text| wait_of(text, now_ms)),
            json: serde_json::from_slice(&body).ok(),
            headers,
        };
        let rule = self
            .rules
            .iter()
            .find(|rule| rule.fits(answer.status, answer.json.as_ref()));
        let ruled = rule.and_then(|rule| Reply::of(rule.means(), answer.cause(None), answer.wait));
        ruled.unwrap_or_else(|| self.api.reply(&answer))
    }
}

/// What went wrong, in words without addresses and URLs.
fn cause(why: &reqwest::Error) -> String {
    let mut next: Option<&(dyn Error + 'static)> = Some(why);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.kind().to_string();
        }
        next = error.source();
    }
    let what = match () {
        () if why.is_connect() => "the connection could not be made",
        () if why.is_timeout() => "it took too long",
        () if why.is_builder() => "the request cannot be made",
        () => "the connection broke",
    };
    what.to_owned()
}
