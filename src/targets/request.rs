//! How a job is put to an HTTP worker: CloudEvents 1.0 in HTTP's binary mode, and what only we know of the job.
//! May import `seams` and `rules`.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};

use crate::rules::message::{Field, Raw};
use crate::seams::Job;

const CE_SPECVERSION: HeaderName = HeaderName::from_static("ce-specversion");
const CE_ID: HeaderName = HeaderName::from_static("ce-id");
const CE_SOURCE: HeaderName = HeaderName::from_static("ce-source");
const CE_TYPE: HeaderName = HeaderName::from_static("ce-type");
const CE_TIME: HeaderName = HeaderName::from_static("ce-time");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const QUEUE: HeaderName = HeaderName::from_static("sluicegate-queue");
const ATTEMPT: HeaderName = HeaderName::from_static("sluicegate-attempt");
const DEADLINE: HeaderName = HeaderName::from_static("sluicegate-deadline");
const DEGRADE: HeaderName = HeaderName::from_static("sluicegate-degrade");
const ACCOUNT: HeaderName = HeaderName::from_static("sluicegate-account");

/// The `ce-type` of a message that names no type.
const PLAIN_TYPE: &str = "sluicegate.message";

/// A body is given out in pieces of this size, so that "the last piece was taken" is close to "all of it was sent".
const PIECE: usize = 16 * 1024;

/// Whether the HTTP client has taken the whole of a request: from then on the worker may have it.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent(Arc<AtomicBool>);

impl Sent {
    /// Whether all of it was taken.
    pub(super) fn fully(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A message's body on its way, which notes when the last of it was taken.
#[derive(Debug)]
pub(super) struct Outbound {
    left: Bytes,
    sent: Sent,
}

impl Outbound {
    pub(super) fn new(body: Bytes, sent: &Sent) -> Self {
        Self {
            left: body,
            sent: sent.clone(),
        }
    }
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        let piece = self.left.len().min(PIECE);
        let piece = self.left.split_to(piece);
        if self.left.is_empty() {
            self.sent.note();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    /// Asked by the connection, and only when it begins to write this request: an empty body is sent with the head.
    fn is_end_stream(&self) -> bool {
        if self.left.is_empty() {
            self.sent.note();
        }
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

/// The request that puts `job` to the worker at `address`; `sent` learns when all of it was taken.
///
/// `sluicegate-deadline` is in milliseconds since 1970, so that a worker compares two numbers; `ce-time` is RFC 3339, as
/// CloudEvents has it. The character `%` stands before each byte that a header cannot carry, written in hexadecimal.
pub(super) fn request_of(address: &Uri, job: &Job, sent: &Sent) -> Request<Outbound> {
    let mut request = Request::new(Outbound {
        left: job.raw.body.clone(),
        sent: sent.clone(),
    });
    *request.method_mut() = Method::POST;
    *request.uri_mut() = address.clone();
    *request.headers_mut() = headers_of(job);
    request
}

/// All that is said of a job beside its body.
pub(super) fn headers_of(job: &Job) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16 + job.flags.len());
    event(&mut headers, job);
    ours(&mut headers, job);
    headers
}

fn event(headers: &mut HeaderMap, job: &Job) {
    let properties = &job.raw.properties;
    headers.insert(CE_SPECVERSION, HeaderValue::from_static("1.0"));
    headers.insert(CE_ID, encoded(&job.id));
    headers.insert(CE_SOURCE, encoded(&format!("/queues/{}", job.queue)));
    let named = properties.kind.as_deref().filter(|kind| !kind.is_empty());
    headers.insert(CE_TYPE, encoded(named.unwrap_or(PLAIN_TYPE)));
    let time = job
        .published_ms
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    if let Some(time) = time {
        headers.insert(CE_TIME, encoded(&time.to_string()));
    }
    if let Some(kind) = &properties.content_type {
        headers.insert(CONTENT_TYPE, as_written(kind));
    }
    if let Some(encoding) = &properties.content_encoding {
        headers.insert(CONTENT_ENCODING, as_written(encoding));
    }
    if let Some(parent) = traceparent(&job.raw) {
        headers.insert(TRACEPARENT, encoded(&parent));
    }
}

fn ours(headers: &mut HeaderMap, job: &Job) {
    headers.insert(
        IDEMPOTENCY_KEY,
        encoded(&format!("{}:{}", job.queue, job.id)),
    );
    headers.insert(QUEUE, encoded(job.queue.as_str()));
    headers.insert(ATTEMPT, job.attempt.into());
    if let Some(deadline_ms) = job.deadline_ms {
        headers.insert(DEADLINE, deadline_ms.into());
    }
    if let Some(mode) = &job.mode {
        headers.insert(DEGRADE, encoded(mode));
    }
    if let Some(account) = &job.account {
        headers.insert(ACCOUNT, encoded(account));
    }
    for (key, value) in job.flags.iter() {
        let name = format!("sluicegate-flag-{key}");
        if let Ok(name) = HeaderName::from_bytes(percent(&name, in_a_name).as_bytes()) {
            headers.insert(name, encoded(value));
        }
    }
}

/// The trace that the message belongs to, if it is written as W3C Trace Context has it: `00-<32 hex>-<16 hex>-<2 hex>`.
fn traceparent(raw: &Raw) -> Option<String> {
    let text = raw.header("traceparent").and_then(Field::as_text)?;
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str| {
        part.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let [version, trace, span, flags] = parts[..] else {
        return None;
    };
    let fine = [version.len(), trace.len(), span.len(), flags.len()] == [2, 32, 16, 2]
        && parts.iter().all(|part| hex(part))
        && version != "ff"
        && [trace, span].iter().all(|id| id.bytes().any(|b| b != b'0'));
    fine.then(|| text.clone().into_owned())
}

/// A value as CloudEvents writes it in a header: what is not visible ASCII, and `"` and `%`, is percent-encoded.
fn encoded(text: &str) -> HeaderValue {
    value(&percent(text, |byte| {
        byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%')
    }))
}

/// A value that is a header already, such as `text/plain; charset="utf-8"`: only what no header can carry is percent-encoded.
fn as_written(text: &str) -> HeaderValue {
    value(&percent(text, |byte| matches!(byte, b' '..=b'~')))
}

fn value(visible: &str) -> HeaderValue {
    // Never the empty one: what is left after encoding is always a header's value.
    HeaderValue::from_str(visible).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The characters of a header's name (RFC 9110, 5.6.2), without `%`, which begins an encoded byte.
fn in_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte)
}

fn percent(text: &str, plain: impl Fn(u8) -> bool) -> std::borrow::Cow<'_, str> {
    use std::fmt::Write;
    if text.bytes().all(&plain) {
        return text.into();
    }
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded.into()
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::rules::message::Properties;

    /// A job with nothing special about it.
    pub(in crate::targets) fn job(body: impl Into<Bytes>) -> Job {
        Job {
            queue: "orders".parse().unwrap(),
            id: "17".into(),
            raw: Arc::new(Raw {
                body: body.into(),
                ..Raw::default()
            }),
            attempt: 1,
            published_ms: None,
            deadline_ms: None,
            mode: None,
            account: None,
            flags: Arc::new([]),
            timeout: Duration::from_secs(30),
            way: Default::default(),
        }
    }

    fn shown(job: &Job) -> String {
        let address = Uri::from_static("http://worker/jobs");
        let request = request_of(&address, job, &Sent::default());
        let lines: Vec<String> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.join("\n")
    }

    #[test]
    fn a_plain_job_says_what_it_must() {
        assert_eq!(
            shown(&job("")),
            "ce-specversion: 1.0\nce-id: 17\nce-source: /queues/orders\nce-type: sluicegate.message\n\
             idempotency-key: orders:17\nsluicegate-queue: orders\nsluicegate-attempt: 1"
        );
    }

    #[test]
    fn a_full_job_says_all_that_is_known() {
        let properties = Properties {
            content_type: Some("application/json; charset=\"utf-8\"".to_owned()),
            content_encoding: Some("gzip".to_owned()),
            kind: Some("order.placed".to_owned()),
            ..Properties::default()
        };
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let full = Job {
            queue: "billing/orders".parse().unwrap(),
            id: "grüße 1%".into(),
            raw: Arc::new(Raw {
                properties,
                headers: vec![("traceparent".to_owned(), Field::LongString(trace.into()))],
                ..Raw::default()
            }),
            attempt: 3,
            published_ms: Some(1_795_219_200_123),
            deadline_ms: Some(1_795_219_230_123),
            mode: Some("light".into()),
            account: Some("acme".into()),
            flags: Arc::new([
                ("new.checkout".into(), "true".into()),
                ("Odd/key".into(), "{\"a\": 1}".into()),
            ]),
            ..job("")
        };
        assert_eq!(
            shown(&full),
            format!(
                "ce-specversion: 1.0\nce-id: gr%C3%BC%C3%9Fe%201%25\nce-source: /queues/billing/orders\n\
                 ce-type: order.placed\nce-time: 2026-11-21T00:00:00.123Z\n\
                 content-type: application/json; charset=\"utf-8\"\ncontent-encoding: gzip\ntraceparent: {trace}\n\
                 idempotency-key: billing/orders:gr%C3%BC%C3%9Fe%201%25\nsluicegate-queue: billing/orders\n\
                 sluicegate-attempt: 3\nsluicegate-deadline: 1795219230123\nsluicegate-degrade: light\n\
                 sluicegate-account: acme\nsluicegate-flag-new.checkout: true\n\
                 sluicegate-flag-odd%2fkey: {{%22a%22:%201}}"
            )
        );
    }

    #[test]
    fn only_a_well_formed_trace_is_passed_on() {
        let fine = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for (text, passes) in [
            (fine.to_owned(), true),
            (fine.to_uppercase(), false),
            (fine.replacen("00", "ff", 1), false),
            (
                fine.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
                false,
            ),
            (fine.replace("00f067aa0ba902b7", &"0".repeat(16)), false),
            (format!("{fine}-more"), false),
            (format!("{fine}\r\nevil: 1"), false),
            (String::new(), false),
        ] {
            let field = Field::LongString(text.clone().into());
            let raw = Raw {
                headers: vec![("traceparent".to_owned(), field)],
                ..Raw::default()
            };
            assert_eq!(traceparent(&raw).is_some(), passes, "{text}");
        }
    }

    #[test]
    fn a_body_is_sent_when_its_last_piece_was_taken() {
        for (length, pieces) in [(0, 0), (1, 1), (PIECE, 1), (PIECE + 1, 2)] {
            let sent = Sent::default();
            let mut body = Outbound {
                left: Bytes::from(vec![7; length]),
                sent: sent.clone(),
            };
            let mut context = Context::from_waker(std::task::Waker::noop());
            for piece in 0..pieces {
                assert!(!sent.fully(), "{length}: before piece {piece}");
                assert!(Pin::new(&mut body).poll_frame(&mut context).is_ready());
            }
            assert!(body.is_end_stream() && sent.fully(), "{length}");
        }
    }

    proptest! {
        /// Whatever a publisher writes: it stays within its header, and what comes out again is what went in.
        #[test]
        fn nothing_breaks_out_of_a_header(text in any::<String>()) {
            let strict = encoded(&text);
            prop_assert!(strict.as_bytes().iter().all(u8::is_ascii_graphic));
            let mut bytes = Vec::new();
            let mut rest = strict.as_bytes();
            while let Some((&first, after)) = rest.split_first() {
                if first == b'%' {
                    let digits = std::str::from_utf8(&after[..2]).unwrap();
                    bytes.push(u8::from_str_radix(digits, 16).unwrap());
                    rest = &after[2..];
                } else {
                    bytes.push(first);
                    rest = after;
                }
            }
            prop_assert_eq!(bytes, text.as_bytes());
            prop_assert!(as_written(&text).as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte)));
        }
    }
}
