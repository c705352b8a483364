//! An HTTP provider that misbehaves: the rows of section C of the catalogue of faults that one exchange shows. The others need a pool
//! and are scenes of `tests/it`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::tests::{provider, work};
use super::*;
use crate::rules::reply::{Reply, Rule};

const LONG: Duration = Duration::from_secs(20);
const WELL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What a service does with the requests of a connection.
#[derive(Debug, Clone)]
enum Does {
    /// Answers each so.
    Says(String),
    /// Answers so, a byte each tenth of a second.
    Drips(&'static str),
    /// Answers with a body that never ends.
    Pours,
    /// Answers the first so, and closes.
    ClosesAfter(&'static str),
    /// Answers the first so, reads the second and closes.
    DropsTheSecond(&'static str),
}

struct Service {
    url: String,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Service {
    async fn start(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let (connections, requests) = (
            Arc::clone(&service.connections),
            Arc::clone(&service.requests),
        );
        #[expect(clippy::disallowed_methods, reason = "a service of the test's own")]
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let (does, requests) = (does.clone(), Arc::clone(&requests));
                tokio::spawn(async move { serve(stream, does, &requests).await });
            }
        });
        service
    }

    fn adapter(&self, answers: Vec<Rule>) -> Adapter {
        let settings = Provider {
            url: self.url.clone(),
            answers,
            ..provider(Kind::Http)
        };
        Adapter::of(&settings, Clock::system()).unwrap()
    }

    fn counts(&self) -> (usize, usize) {
        let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
        (count(&self.connections), count(&self.requests))
    }
}

/// The requests here are small: one read is one request.
async fn serve(mut stream: TcpStream, does: Does, requests: &AtomicUsize) -> Option<()> {
    let mut buffer = vec![0; 65_536];
    for number in 1.. {
        if stream.read(&mut buffer).await.ok()? == 0 {
            return None;
        }
        requests.fetch_add(1, Ordering::Relaxed);
        match &does {
            Does::Says(text) => stream.write_all(text.as_bytes()).await.ok()?,
            Does::Drips(text) => {
                for byte in text.as_bytes() {
                    stream.write_all(&[*byte]).await.ok()?;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            Does::Pours => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
                loop {
                    stream.write_all(&buffer).await.ok()?;
                }
            }
            Does::ClosesAfter(text) => {
                stream.write_all(text.as_bytes()).await.ok()?;
                return None;
            }
            Does::DropsTheSecond(_) if number == 2 => return None,
            Does::DropsTheSecond(text) => stream.write_all(text.as_bytes()).await.ok()?,
        }
    }
    None
}

fn words(reply: &Reply) -> String {
    match reply {
        Reply::Throttled(wait) => format!("throttled {wait:?}"),
        other => format!("{}: {}", other.word(), other.cause()),
    }
}

fn says(status: &str, headers: &str, body: &str) -> Does {
    let length = body.len();
    Does::Says(format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}"
    ))
}

#[tokio::test]
async fn what_a_service_says_is_believed_as_far_as_it_goes() {
    let error = Rule::new(
        "2xx",
        Some("/status".to_owned()),
        Some("error".to_owned()),
        "provider",
    );
    let after = |wait: &str| says("429 Slow", &format!("retry-after: {wait}\r\n"), "");
    let bomb = "content-encoding: gzip\r\ncontent-type: application/json\r\n";
    let rows = [
        ("C01", says("500 Oh", "", ""), "provider: it answered 500"),
        ("C02", after("0"), "throttled Some(0ns)"),
        ("C02", after("-1"), "throttled None"),
        ("C02", after("1000000000"), "throttled Some(3600s)"),
        (
            "C02",
            after("Sun, 06 Nov 1994 08:49:37 GMT"),
            "throttled Some(0ns)",
        ),
        ("C02", after("soon"), "throttled None"),
        ("C04", Does::Pours, "done"),
        (
            "C04",
            says("200 OK", bomb, "{\"status\": \"error\"}"),
            "provider",
        ),
        (
            "C05",
            says("200 OK", "", "{\"status\": \"error\"}"),
            "provider: it answered 200",
        ),
        ("C05", says("200 OK", "", "{\"status\": \"fine\"}"), "done"),
        (
            "C05",
            Does::Says("HTTP/1.1 204 No\r\n\r\n".to_owned()),
            "done",
        ),
        ("C05", says("304 Same", "", ""), "ours: it answered 304"),
        ("C12", says("401 No", "", ""), "ours: it answered 401"),
        (
            "C14",
            Does::ClosesAfter("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"),
            "unknown",
        ),
        ("C14", Does::ClosesAfter("HTTP/1.1 5"), "unknown"),
        (
            "",
            Does::Says("no HTTP at all\r\n\r\n".to_owned()),
            "unknown",
        ),
    ];
    for (row, does, expected) in rows {
        let told = format!("{row} {does:?}");
        let service = Service::start(does).await;
        let adapter = service.adapter(error.clone().into_iter().collect());
        let clock = Clock::system();
        let began = clock.mono();
        let said = words(&adapter.ask(&work(), LONG).await);
        assert!(said.starts_with(expected), "{told}: {said}");
        assert!(clock.mono() - began < Duration::from_secs(10), "{told}");
        assert_eq!(service.counts().1, 1, "{told}: nothing is sent again");
    }
}

/// C03: the deadline is one for the whole exchange, not for each read.
#[tokio::test]
async fn who_answers_a_byte_at_a_time_is_not_waited_for() {
    let service = Service::start(Does::Drips(WELL)).await;
    let clock = Clock::system();
    let began = clock.mono();
    let reply = service
        .adapter(Vec::new())
        .ask(&work(), Duration::from_millis(500))
        .await;
    assert!(words(&reply).starts_with("unknown: it gave no full answer within"));
    assert!(clock.mono() - began < Duration::from_secs(3));
}

/// C06: what a provider says never makes us call somebody else.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in ["301", "302", "303", "307", "308"] {
        let inside = Service::start(says("200 OK", "", "")).await;
        let to = format!("location: {}/secret\r\n", inside.url);
        let service = Service::start(says(&format!("{status} Go"), &to, "")).await;
        let reply = service.adapter(Vec::new()).ask(&work(), LONG).await;
        assert!(words(&reply).starts_with("ours: "), "{status}: {reply:?}");
        assert_eq!(inside.counts(), (0, 0), "{status}");
    }
}

/// C13: who does not speak TLS gets nothing where TLS was asked for.
#[tokio::test]
async fn nothing_is_sent_without_tls_to_an_https_address() {
    let service = Service::start(Does::Says(WELL.to_owned())).await;
    let settings = Provider {
        url: service.url.replace("http:", "https:"),
        ..provider(Kind::Http)
    };
    let adapter = Adapter::of(&settings, Clock::system()).unwrap();
    let said = words(&adapter.ask(&work(), LONG).await);
    assert!(said.starts_with("provider: not sent"), "{said}");
}

/// C14: a connection that was kept and is gone: what was surely not sent is sent on another; what was sent is unknown, and not sent again.
#[tokio::test]
async fn a_kept_connection_that_closes_loses_nothing_and_doubles_nothing() {
    let service = Service::start(Does::ClosesAfter(WELL)).await;
    let adapter = service.adapter(Vec::new());
    for asked in 1..=3 {
        let said = words(&adapter.ask(&work(), LONG).await);
        assert!(said.starts_with("done"), "{asked}: {said}");
        assert_eq!(service.counts(), (asked, asked));
        // The close is seen once the runtime has looked.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let service = Service::start(Does::DropsTheSecond(WELL)).await;
    let adapter = service.adapter(Vec::new());
    assert_eq!(adapter.ask(&work(), LONG).await.word(), "done");
    assert_eq!(adapter.ask(&work(), LONG).await.word(), "unknown");
    assert_eq!(service.counts(), (1, 2));
}
