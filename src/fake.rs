//! A fake provider, for the demo, for `examples/` and for whoever tries out a pool: it speaks as Mailgun, SendGrid, SES and Postmark do,
//! takes any job on every other path, writes down what it got *before* it answers, and can be told to misbehave while it runs.
//! It listens on this machine only as far as its caller binds it so. Imports no room.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// What it can be told to do, with what that is.
pub const WORDS: [(&str, &str); 9] = [
    ("well", "takes the job"),
    ("fail", "answers 500"),
    ("refuse", "answers 400, as for a bad recipient"),
    ("deny", "answers 401, as for a wrong key"),
    ("throttle", "answers 429 with Retry-After: 10"),
    ("slow", "takes the job after three seconds"),
    ("hang", "takes the job and never answers"),
    (
        "cut",
        "takes the job and closes the connection without an answer",
    ),
    (
        "lie",
        "answers 200 with a page that says nothing of the job",
    ),
];
/// So many lines of its ledger are kept at hand; all of them go to its file, if it has one.
const AT_HAND: usize = 10_000;
/// The longest request, in bytes.
const LONGEST: usize = 64 << 20;

/// The provider.
#[derive(Debug)]
pub struct Fake {
    takes: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    does: &'static str,
    share: f64,
    count: u64,
    got: VecDeque<String>,
    ledger: Option<File>,
}

type Answer = Response<Full<Bytes>>;

impl Fake {
    /// One that does well, takes this long for a job, and appends what it gets to this file.
    #[must_use]
    pub fn new(takes: Duration, ledger: Option<File>) -> Self {
        Self {
            takes,
            inner: Mutex::new(Inner {
                does: "well",
                share: 1.0,
                count: 0,
                got: VecDeque::new(),
                ledger,
            }),
        }
    }

    /// Serves whoever connects, until `stop`.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: impl Future<Output = ()>) {
        let mut connections = FuturesUnordered::new();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return,
                Ok((stream, _)) = listener.accept() => connections.push(Arc::clone(&self).converse(stream)),
                Some(()) = connections.next() => {}
            }
        }
    }

    async fn converse(self: Arc<Self>, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let answers = service_fn(|request| self.answer(request));
        let connection = hyper::server::conn::http1::Builder::new();
        // An error means that the other side went away, or that it is to be left without an answer.
        let _ = connection
            .serve_connection(TokioIo::new(stream), answers)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, NoAnswer> {
        let (head, body) = request.into_parts();
        if head.uri.path() == "/fake" {
            let told = match head.method {
                Method::PUT => self.told(head.uri.query().unwrap_or_default()),
                _ => Ok(self.ledger()),
            };
            return Ok(match told {
                Ok(text) => plain(StatusCode::OK, text),
                Err(why) => plain(StatusCode::BAD_REQUEST, why),
            });
        }
        let body = http_body_util::Limited::new(body, LONGEST).collect();
        let body = body.await.map_err(|_| NoAnswer)?.to_bytes();
        let path = head.uri.path();
        match self.write_down(path, &head.headers, &body) {
            "fail" => Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, String::new())),
            "refuse" => {
                let said = r#"{"message": "no such recipient"}"#;
                Ok(json(StatusCode::BAD_REQUEST, said))
            }
            "deny" => Ok(plain(StatusCode::UNAUTHORIZED, String::new())),
            "throttle" => Ok(throttled()),
            "hang" => std::future::pending().await,
            "cut" => Err(NoAnswer),
            "lie" => Ok(plain(StatusCode::OK, "<html>welcome</html>".to_owned())),
            word => {
                let slow = Duration::from_secs(if word == "slow" { 3 } else { 0 });
                let takes = self.takes + slow;
                if !takes.is_zero() {
                    tokio::time::sleep(takes).await;
                }
                Ok(as_taken(path))
            }
        }
    }

    /// Takes an order, such as `do=fail&share=0.5`.
    fn told(&self, query: &str) -> Result<String, String> {
        let said = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value)
        };
        let wanted = said("do").unwrap_or("well");
        let known = WORDS.iter().find(|(word, _)| *word == wanted);
        let Some((word, what)) = known else {
            let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
            return Err(format!(
                "it cannot {wanted:?}; it can {}\n",
                words.join(", ")
            ));
        };
        let share: f64 = said("share").map_or(Ok(1.0), str::parse).unwrap_or(-1.0);
        if !(0.0..=1.0).contains(&share) {
            return Err("`share` lies between 0 and 1\n".to_owned());
        }
        let mut inner = self.lock();
        (inner.does, inner.share) = (word, share);
        Ok(format!("{:.0} % of what comes: {what}\n", share * 100.0))
    }

    /// What it got: a line for each job, the last ones.
    #[must_use]
    pub fn ledger(&self) -> String {
        let inner = self.lock();
        inner.got.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Writes down what came, and says what to do with it.
    fn write_down(&self, path: &str, headers: &HeaderMap, body: &[u8]) -> &'static str {
        let mut inner = self.lock();
        // Each so many, rather than by lot: a share of a half is every second one.
        let (number, share) = (inner.count as f64, inner.share);
        let chosen = (number * share).fract() + share >= 1.0;
        let does = if chosen { inner.does } else { "well" };
        let id = headers.get("ce-id").and_then(|id| id.to_str().ok());
        let id = id.or_else(|| message_id(body)).unwrap_or("-");
        let line = format!("{number} {path} {id} {} bytes: {does}", body.len());
        if let Some(ledger) = &mut inner.ledger {
            let _ = writeln!(ledger, "{line}");
        }
        inner.count += 1;
        inner.got.push_back(line);
        if inner.got.len() > AT_HAND {
            inner.got.pop_front();
        }
        does
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection is closed without a word.
#[derive(Debug, thiserror::Error)]
#[error("nothing is answered, as it was told")]
struct NoAnswer;

impl From<Infallible> for NoAnswer {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Our Message-ID, where a mail shows it: 32 hexadecimal digits, and the domain.
fn message_id(body: &[u8]) -> Option<&str> {
    let parts = body.split(|byte| *byte == b'<').skip(1);
    let ids = parts.filter_map(|part| part.split(|byte| *byte == b'>').next());
    let ours =
        |id: &&[u8]| id.get(32) == Some(&b'@') && id.iter().take(32).all(u8::is_ascii_hexdigit);
    std::str::from_utf8(ids.into_iter().find(ours)?).ok()
}

fn plain(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    answer
}

fn json(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = plain(status, text.to_owned());
    let kind = hyper::header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn throttled() -> Answer {
    let mut answer = plain(StatusCode::TOO_MANY_REQUESTS, String::new());
    let wait = hyper::header::HeaderValue::from_static("10");
    answer.headers_mut().insert(RETRY_AFTER, wait);
    answer
}

/// What the service of this path says when it takes a mail.
fn as_taken(path: &str) -> Answer {
    match path {
        "/v3/mail/send" => {
            let mut answer = plain(StatusCode::ACCEPTED, String::new());
            let id = hyper::header::HeaderValue::from_static("fake");
            answer.headers_mut().insert("x-message-id", id);
            answer
        }
        "/v2/email/outbound-emails" => json(StatusCode::OK, r#"{"MessageId": "fake"}"#),
        "/email" => json(
            StatusCode::OK,
            r#"{"ErrorCode": 0, "Message": "OK", "MessageID": "fake"}"#,
        ),
        _ => json(
            StatusCode::OK,
            r#"{"id": "<fake>", "message": "Queued. Thank you."}"#,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_what_it_is_told_to_the_share_it_is_told() {
        let fake = Fake::new(Duration::ZERO, None);
        let does = |fake: &Fake| {
            let done = (0..8).map(|_| fake.write_down("/x", &HeaderMap::new(), b""));
            done.filter(|does| *does == "fail").count()
        };
        for (order, failing) in [
            ("do=well", 0),
            ("do=fail", 8),
            ("do=fail&share=0.5", 4),
            ("do=fail&share=0.25", 2),
            ("do=fail&share=0", 0),
        ] {
            fake.told(order).unwrap();
            assert_eq!(does(&fake), failing, "{order}");
        }
        assert!(
            fake.told("do=dance")
                .unwrap_err()
                .contains("throttle, slow")
        );
        assert!(fake.told("do=fail&share=2").is_err());
        assert_eq!(fake.ledger().lines().count(), 40);
        assert!(fake.ledger().starts_with("0 /x - 0 bytes: well\n"));
    }

    #[test]
    fn a_mail_is_known_by_its_message_id() {
        let id = format!("{}@shop.example", "0123456789abcdef".repeat(2));
        let body = format!("<p>{{\"Message-ID\": \"<{id}>\"}}");
        assert_eq!(message_id(body.as_bytes()), Some(id.as_str()));
        assert_eq!(message_id(b"<p><b>"), None);
    }
}
