//! An HTTP worker as target: each job is one POST, and what came of it is read from the status, and from how far we got.
//!
//! The one question that matters when something breaks: can the worker have the job? Not before the whole request was taken
//! by the connection: then it is tried again freely. After that, without a full answer, nobody knows. May import `seams`,
//! `clock` and `rules`.

use std::cell::OnceCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Uri;
use hyper::body::{Body, Incoming};
use hyper::header::{HeaderName, RETRY_AFTER};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::Service;

use super::NoTarget;
use super::answer::{outcome_of, version_of};
use super::request::{Outbound, Sent, request_of};
use crate::clock::Clock;
use crate::seams::{Answer, Job, Outcome, Target};

/// Longer than this no connection is waited for, whatever the job's timeout: finding the address included.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Common servers close an idle connection after 5 s: ours goes first, so that no request meets the closing door.
const IDLE_AT_MOST: Duration = Duration::from_secs(4);
/// The most that is read of an answer's body, in bytes; only its end is of interest.
const LONGEST_ANSWER: u64 = 64 * 1024;
/// The most that a connection buffers, in bytes: of an answer's head, and of a request that the worker does not read.
const LONGEST_HEAD: usize = 64 * 1024;

const WORKER_VERSION: HeaderName = HeaderName::from_static("sluicegate-worker-version");

/// One HTTP worker, with its own pool of connections. One for each queue, used on the queue's thread.
///
/// Redirects are not followed, answers are not decompressed, and no proxy is taken from the environment.
#[derive(Debug)]
pub struct HttpWorker {
    client: Client<Connector, Outbound>,
    address: Uri,
    clock: Clock,
    /// Filled when it was said once that the worker's answers are too long.
    long_answers: Rc<OnceCell<()>>,
}

impl HttpWorker {
    /// The worker at `address`, such as `http://127.0.0.1:8081/jobs`. Connects when the first job comes.
    ///
    /// # Errors
    /// When the address is no `http://` address with a host, or carries a user.
    pub fn new(address: &str, clock: Clock) -> Result<Self, NoTarget> {
        let address: Uri = address.parse().map_err(|_| NoTarget::NotAnAddress)?;
        let host = address.host().filter(|host| !host.is_empty());
        let user = address
            .authority()
            .is_some_and(|a| a.as_str().contains('@'));
        if address.scheme_str() != Some("http") || host.is_none() || user {
            return Err(NoTarget::NotAnAddress);
        }
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_AT_MOST)
            .http1_max_buf_size(LONGEST_HEAD)
            .retry_canceled_requests(true) // only those of which not a byte was written
            .build(Connector::new());
        Ok(Self {
            client,
            address,
            clock,
            long_answers: Rc::default(),
        })
    }
}

impl Target for HttpWorker {
    fn hand_over(&self, job: Job) -> Pin<Box<dyn Future<Output = Answer>>> {
        let sent = Sent::default();
        let timeout = job.timeout;
        let asked = self.client.request(request_of(&self.address, &job, &sent));
        let (clock, long_answers) = (self.clock, Rc::clone(&self.long_answers));
        Box::pin(async move {
            // A request that is dropped at its deadline takes its connection with it.
            match tokio::time::timeout(timeout, answer(asked, &sent, clock, &long_answers)).await {
                Ok(answer) => answer,
                Err(_) if sent.fully() => {
                    Outcome::Unknown(format!("the worker gave no full answer within {timeout:?}"))
                        .into()
                }
                Err(_) => Outcome::Retry(format!(
                    "the worker did not take the whole request within {timeout:?}"
                ))
                .into(),
            }
        })
    }
}

async fn answer(
    asked: ResponseFuture,
    sent: &Sent,
    clock: Clock,
    long_answers: &OnceCell<()>,
) -> Answer {
    let response = match asked.await {
        Ok(response) => response,
        Err(error) if sent.fully() => {
            return Outcome::Unknown(format!("no answer: {}", cause(&error))).into();
        }
        Err(error) => return Outcome::Retry(format!("not sent: {}", cause(&error))).into(),
    };
    let (head, body) = response.into_parts();
    let outcome = match end_of(body).await {
        End::Whole => None,
        End::TooLong => {
            if long_answers.set(()).is_ok() {
                tracing::warn!(
                    limit = LONGEST_ANSWER,
                    "the worker's answers are longer than we read; their status counts, and each costs a connection"
                );
            }
            None
        }
        End::Cut => Some(Outcome::Unknown("the answer was cut".to_owned())),
    };
    Answer {
        worker_version: version_of(head.headers.get(WORKER_VERSION)),
        outcome: outcome.unwrap_or_else(|| {
            let retry_after = head.headers.get(RETRY_AFTER);
            outcome_of(head.status, retry_after, clock.now().ms)
        }),
    }
}

/// How an answer's body ended.
enum End {
    Whole,
    TooLong,
    Cut,
}

async fn end_of(mut body: Incoming) -> End {
    let mut read: u64 = 0;
    if body.size_hint().lower() > LONGEST_ANSWER {
        return End::TooLong;
    }
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return End::Cut;
        };
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
        if read > LONGEST_ANSWER {
            return End::TooLong;
        }
    }
    End::Whole
}

/// What went wrong, in words without addresses.
fn cause(error: &Error) -> String {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.kind().to_string();
        }
        if let Some(http) = error.downcast_ref::<hyper::Error>() {
            if http.is_parse() {
                return "what came is no HTTP answer that we read".to_owned();
            }
            if http.is_incomplete_message() || http.is_canceled() || http.is_closed() {
                return "the connection was closed".to_owned();
            }
        }
        next = error.source();
    }
    "the connection failed".to_owned()
}

/// Connects over TCP, within [`CONNECT_WITHIN`].
#[derive(Debug, Clone)]
struct Connector(HttpConnector);

impl Connector {
    fn new() -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        Self(tcp)
    }
}

impl Service<Uri> for Connector {
    type Response = <HttpConnector as Service<Uri>>::Response;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(CONNECT_WITHIN, self.0.call(address));
        Box::pin(async move {
            let connected = connecting
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
            Ok(connected?)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::targets::request::tests::job;

    /// What a worker does with a connection, after it read one request and said something.
    #[derive(Clone, Copy, PartialEq)]
    enum Then {
        Closes,
        Hangs,
        /// One byte now and then, for ever.
        Drips,
        /// As many bytes as are taken.
        Floods,
        /// It did not even read the request.
        NeverRead,
    }

    fn read_request(stream: &mut TcpStream) {
        let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let count = stream.read(&mut buffer).unwrap();
            seen.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&seen);
            let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                let mut lengths = head
                    .lines()
                    .filter_map(|line| line.strip_prefix("content-length: "));
                let length = lengths.next().map(|length| length.parse::<usize>());
                length.is_none_or(|length| body.len() >= length.unwrap())
            });
            if whole || count == 0 {
                return;
            }
        }
    }

    /// A worker for one connection; it lasts until what is returned is dropped.
    fn worker(says: String, then: Then) -> (SocketAddr, mpsc::Sender<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (until, end) = mpsc::channel();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            if then != Then::NeverRead {
                read_request(&mut stream);
            }
            stream.write_all(says.as_bytes()).unwrap();
            match then {
                Then::Closes => return,
                Then::Drips => {
                    while stream.write_all(b"x").is_ok() {
                        thread::sleep(Duration::from_millis(10));
                    }
                }
                Then::Floods => while stream.write_all(&[b'x'; 4096]).is_ok() {},
                Then::Hangs | Then::NeverRead => {}
            }
            let _ = end.recv();
        });
        (address, until)
    }

    fn http(address: SocketAddr) -> HttpWorker {
        HttpWorker::new(&format!("http://{address}/jobs"), Clock::system()).unwrap()
    }

    async fn handed(target: &HttpWorker, body: usize, timeout: Duration) -> String {
        let job = Job {
            timeout,
            ..job(vec![b'x'; body])
        };
        match target.hand_over(job).await.outcome {
            Outcome::Retry(cause) => format!("retry: {cause}"),
            Outcome::Failed(cause) => format!("failed: {cause}"),
            Outcome::Unknown(cause) => format!("unknown: {cause}"),
            Outcome::Throttled(wait) => format!("throttled: {wait:?}"),
            Outcome::Done => "done".to_owned(),
            other => other.word().to_owned(),
        }
    }

    const SHORT: Duration = Duration::from_millis(150);
    const LONG: Duration = Duration::from_secs(20);

    async fn check(says: impl Into<String>, then: Then, expected: &str) {
        let says = says.into();
        let timeout = if matches!(then, Then::Closes | Then::Floods) {
            LONG
        } else {
            SHORT
        };
        for body in [0, 300] {
            let (address, _until) = worker(says.clone(), then);
            let said = handed(&http(address), body, timeout).await;
            let start: String = says.chars().take(60).collect();
            assert!(said.starts_with(expected), "{start:?}, {body}: {said}");
        }
    }

    #[tokio::test]
    async fn a_whole_answer_counts_by_its_status() {
        let close = Then::Closes;
        check(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            close,
            "done",
        )
        .await;
        check("HTTP/1.1 204 No Content\r\n\r\n", close, "done").await;
        check("HTTP/1.1 200 OK\r\n\r\nuntil the end", close, "done").await;
        check("HTTP/1.0 200 OK\r\n\r\nan old one", close, "done").await;
        check(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
            close,
            "done",
        )
        .await;
        let answered = |status: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        check(answered("500 Oh"), close, "retry: the worker answered 500").await;
        check(
            answered("425 Early"),
            close,
            "retry: the worker answered 425",
        )
        .await;
        check(answered("404 No"), close, "failed: the worker answered 404").await;
        check(
            answered("101 Switch"),
            close,
            "failed: the worker answered 101",
        )
        .await;
        let busy = answered("503 Busy\r\nretry-after: 3");
        check(busy, close, "throttled: Some(3s)").await;
        check(answered("429 Slow"), close, "throttled: None").await;
    }

    #[tokio::test]
    async fn a_cut_answer_leaves_us_not_knowing() {
        let unknown = "unknown: ";
        for said in [
            "",
            "HTTP/1.1 20",
            "HTTP/1.1 200 OK\r\nx-half: ",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 500 Oh\r\ncontent-length: 10\r\n\r\nhalf",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
        ] {
            check(said, Then::Closes, unknown).await;
        }
        let giant = "x".repeat(2 * LONGEST_HEAD);
        let giant = format!("HTTP/1.1 200 OK\r\nx-giant: {giant}\r\n\r\n");
        check(giant, Then::Hangs, "unknown: no answer: what came is no").await;
        let many = "x-one: of many\r\n".repeat(101);
        let many = format!("HTTP/1.1 200 OK\r\n{many}\r\n");
        check(many, Then::Hangs, "unknown: no answer: what came is no").await;
    }

    #[tokio::test]
    async fn a_slow_answer_is_waited_for_no_longer_than_the_timeout() {
        let late = "unknown: the worker gave no full answer within 150ms";
        for then in [Then::Hangs, Then::Drips] {
            check("", then, "unknown: ").await;
            check("HTTP/1.1 200 OK\r\nx-slow: ", then, late).await;
            check(
                "HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n",
                then,
                late,
            )
            .await;
            check("HTTP/1.1 200 OK\r\n\r\n", then, late).await;
        }
        check("", Then::NeverRead, late).await; // the kernel took it for the worker
    }

    #[tokio::test]
    async fn of_an_endless_answer_only_the_beginning_is_read() {
        check("HTTP/1.1 200 OK\r\n\r\n", Then::Floods, "done").await;
        check(
            "HTTP/1.1 503 No\r\n\r\n",
            Then::Floods,
            "retry: the worker answered 503",
        )
        .await;
        check(
            "HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n",
            Then::Hangs,
            "done",
        )
        .await;
    }

    #[tokio::test]
    async fn what_was_not_fully_sent_is_tried_again() {
        let (address, until) = worker(String::new(), Then::NeverRead);
        let said = handed(&http(address), 64 << 20, SHORT).await;
        assert!(said.starts_with("retry: the worker did not take"), "{said}");
        drop(until);
        let nobody = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let said = handed(&http(nobody), 10, LONG).await;
        assert_eq!(said, "retry: not sent: connection refused");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_long_for_a_connection() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = socket.listen(1).unwrap();
        let address = full.local_addr().unwrap();
        // Two wait to be accepted; a third is not answered any more.
        let _waiting = [(); 2].map(|()| TcpStream::connect(address).unwrap());
        let said = handed(&http(address), 10, LONG).await;
        assert_eq!(said, "retry: not sent: timed out");
        let said = handed(&http(address), 10, SHORT).await;
        assert!(said.starts_with("retry: the worker did not take"), "{said}");
    }

    const KEPT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    #[tokio::test]
    async fn a_connection_is_used_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = http(listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for _ in 0..3 {
                read_request(&mut stream);
                stream.write_all(KEPT).unwrap();
            }
        });
        for _ in 0..3 {
            assert_eq!(handed(&target, 10, LONG).await, "done");
        }
    }

    #[tokio::test]
    async fn a_connection_closed_while_idle_costs_no_job() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = http(listener.local_addr().unwrap());
        let (closed, was_closed) = mpsc::channel();
        thread::spawn(move || {
            for _ in 0..5 {
                let (mut stream, _) = listener.accept().unwrap();
                read_request(&mut stream);
                stream.write_all(KEPT).unwrap();
                drop(stream);
                closed.send(()).unwrap();
            }
        });
        for _ in 0..5 {
            assert_eq!(handed(&target, 10, LONG).await, "done");
            was_closed.recv().unwrap();
            tokio::task::yield_now().await; // the runtime looks at its sockets
        }
    }

    #[tokio::test]
    async fn a_request_lost_on_a_kept_connection_is_not_sent_twice() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = http(listener.local_addr().unwrap());
        let (tell, requests) = mpsc::channel();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            read_request(&mut stream);
            stream.write_all(KEPT).unwrap();
            read_request(&mut stream);
            drop(stream);
            listener.set_nonblocking(true).unwrap();
            tell.send(listener).unwrap();
        });
        assert_eq!(handed(&target, 10, LONG).await, "done");
        let said = handed(&target, 10, LONG).await;
        assert_eq!(said, "unknown: no answer: the connection was closed");
        let listener = requests.recv().unwrap();
        assert!(listener.accept().is_err(), "nobody came again");
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        elsewhere.set_nonblocking(true).unwrap();
        let location = elsewhere.local_addr().unwrap();
        let says = format!(
            "HTTP/1.1 307 There\r\nlocation: http://{location}/\r\ncontent-length: 0\r\n\r\n"
        );
        check(says, Then::Closes, "failed: the worker answered 307").await;
        assert!(elsewhere.accept().is_err(), "nobody came");
    }

    #[tokio::test]
    async fn the_version_is_kept_with_the_outcome() {
        let says =
            "HTTP/1.1 500 Oh\r\nsluicegate-worker-version: 1.4.2\r\ncontent-length: 0\r\n\r\n";
        let (address, _until) = worker(says.to_owned(), Then::Closes);
        let answer = http(address).hand_over(job("")).await;
        assert_eq!(answer.worker_version.as_deref(), Some("1.4.2"));
    }
}
