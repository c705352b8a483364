//! Serves a router at a listener, within limits that hold before anything is known of a caller (FAULTS 5.4, G13).
//!
//! HTTP/1.1 only. A door that is choked is closed to newcomers, and never slows a message: it runs on another runtime.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::Doors;
use super::access::Peer;
use super::events;
use super::guest::Guest;
use super::seats::{Seat, Seats};
use super::tls::Tls;

/// The largest head of a request, in bytes.
const LARGEST_HEAD: usize = 16 * 1024;
/// How long the head of a request may take, or a connection may idle.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Connections at once; more wait in the listener's backlog. Streams of events have a number of their own.
const MOST_CONNECTIONS: usize = 256;
/// Connections of one address at once, where people come.
const MOST_OF_ONE_ADDRESS: usize = 32;
/// Headers of a request.
const MOST_HEADERS: usize = 100;
/// How long one connection is kept, however it is used: also by someone who never reads his answer.
const LONGEST_CONNECTION: Duration = Duration::from_secs(120);
/// How long an answer that is on its way may take once the connection shall end.
const LAST_ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long to wait when nothing can be accepted, because files or memory are out.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Where a door is, and how it is spoken there.
#[derive(Debug)]
pub struct Entrance {
    listener: TcpListener,
    tls: Option<Tls>,
    /// Whose proxies speak for many, and may come without TLS from afar; `None`: everybody may.
    known_to: Option<Arc<Doors>>,
    /// Connections of one address at once.
    each: usize,
}

impl From<TcpListener> for Entrance {
    fn from(listener: TcpListener) -> Self {
        Self {
            listener,
            tls: None,
            known_to: None,
            each: MOST_CONNECTIONS,
        }
    }
}

impl Entrance {
    /// One that strangers may reach: with TLS, or for this machine and the proxies that these doors trust.
    #[must_use]
    pub fn guarded(listener: TcpListener, tls: Option<Tls>, doors: Arc<Doors>) -> Self {
        Self {
            tls,
            known_to: Some(doors),
            ..listener.into()
        }
    }

    /// The same for people, who need few connections each.
    #[must_use]
    pub fn for_people(self) -> Self {
        Self {
            each: MOST_OF_ONE_ADDRESS,
            ..self
        }
    }

    /// The seat of a new connection; `None`: it is not heard.
    fn seat(&self, seats: &Seats, address: IpAddr) -> Option<Seat> {
        let proxy = self
            .known_to
            .as_ref()
            .is_some_and(|doors| doors.access.is_proxy(address));
        let most = if proxy { MOST_CONNECTIONS } else { self.each };
        let near = proxy || address.to_canonical().is_loopback();
        let covered = near || self.tls.is_some() || self.known_to.is_none();
        seats.take(address, most).filter(|_| covered)
    }
}

/// Serves until `stop`, then lets the answers that are on their way go out.
///
/// # Errors
/// When the listener has no address. Once it serves, it does so until it is stopped.
pub async fn serve(
    entrance: impl Into<Entrance>,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    let entrance = entrance.into();
    tracing::info!(at = %entrance.listener.local_addr()?, tls = entrance.tls.is_some(), "serving");
    let seats = Seats::default();
    // A set of its own, not a task of the house: a panic ends its connection alone, and none outlives the door.
    let mut connections = JoinSet::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accept = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, entrance.listener.accept().await)
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = accept => match accepted {
                (Ok(place), Ok((stream, from))) => {
                    let Some(seat) = entrance.seat(&seats, from.ip()) else {
                        tracing::debug!(address = %from.ip(), "a connection was not taken: too many of one address, or without TLS from afar");
                        continue;
                    };
                    let peer = Peer { address: from.ip(), tls: entrance.tls.is_some() };
                    let greet = entrance.tls.as_ref().map(Tls::acceptor);
                    let guest = Guest::new((place, seat));
                    connections.spawn(welcome(stream, greet, (peer, guest), router.clone(), stop.clone()));
                }
                (_, Err(why)) => {
                    tracing::warn!(%why, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
                (Err(_), _) => break, // nobody closes the places
            }
        }
    }
    drop(entrance);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Agrees on TLS, where it is spoken, then answers.
async fn welcome(
    stream: TcpStream,
    greet: Option<TlsAcceptor>,
    who: (Peer, Guest),
    router: Router,
    stop: CancellationToken,
) {
    let Some(greet) = greet else {
        return converse(stream, who, router, stop).await;
    };
    match tokio::time::timeout(HEAD_WITHIN, greet.accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, who, router, stop).await,
        Ok(Err(why)) => tracing::debug!(%why, "no TLS was agreed on"),
        Err(_) => tracing::debug!("TLS was not agreed on in time"),
    }
}

/// Answers the requests of one connection, until it ends, is too old, or the door closes.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    (peer, guest): (Peer, Guest),
    router: Router,
    stop: CancellationToken,
) {
    let itself = guest.clone();
    let router = router.map_request(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(itself.clone());
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(LARGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return note(ended),
        () = stop.cancelled() => {}
        () = worn_out(&guest) => {}
    }
    connection.as_mut().graceful_shutdown();
    if let Ok(ended) = tokio::time::timeout(LAST_ANSWER_WITHIN, connection).await {
        note(ended);
    }
}

/// Waits until a connection is too old.
async fn worn_out(guest: &Guest) {
    tokio::time::sleep(LONGEST_CONNECTION).await;
    if guest.listens() {
        tokio::time::sleep(events::LONGEST).await;
    }
}

fn note(ended: hyper::Result<()>) {
    if let Err(why) = ended {
        tracing::debug!(%why, "a connection ended badly");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What a client that says `words` and then only listens is told until the connection ends.
    async fn said(words: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let router = Router::new().route("/", get(async || "here"));
        let stop = CancellationToken::new();
        let serving = serve(listener, router, stop.clone());
        let asking = async {
            client.write_all(words.as_bytes()).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            stop.cancel();
            answer
        };
        let (served, answer) = tokio::join!(serving, asking);
        served.unwrap();
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_answered_and_does_not_idle_for_ever() {
        let answer = said("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_head_is_not_waited_for() {
        assert_eq!(said("GET / HTTP/1.1\r\nhost: x\r\nslow").await, "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_huge_head_is_refused() {
        let huge = format!(
            "GET / HTTP/1.1\r\nhost: x\r\nx-y: {}\r\n\r\n",
            "z".repeat(LARGEST_HEAD)
        );
        assert!(said(&huge).await.starts_with("HTTP/1.1 431"));
    }

    #[tokio::test]
    async fn an_answer_on_its_way_goes_out_before_the_door_closes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let stop = CancellationToken::new();
        let stop_now = stop.clone();
        let slow = async move || {
            stop_now.cancel(); // the door closes while this answer is made
            tokio::task::yield_now().await;
            "late"
        };
        let router = Router::new().route("/", get(slow));
        let asking = async {
            client
                .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                .await
                .unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let (served, answer) = tokio::join!(serve(listener, router, stop), asking);
        served.unwrap();
        assert!(answer.ends_with("late"), "{answer}");
    }

    /// What a connection from this address is told.
    async fn asks(door: std::net::SocketAddr, from: &str) -> (tokio::net::TcpStream, String) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        let mut stream = socket.connect(door).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 12];
        let told = stream.read_exact(&mut answer).await.map(|_| answer);
        (
            stream,
            told.map_or_else(
                |_| String::new(),
                |answer| String::from_utf8_lossy(&answer).into_owned(),
            ),
        )
    }

    #[tokio::test]
    async fn nobody_takes_all_seats() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "here"));
        let stop = CancellationToken::new();
        let entrance = Entrance::from(listener).for_people();
        let serving = serve(entrance, router, stop.clone());
        let asking = async {
            let mut open = Vec::new();
            for number in 0..MOST_OF_ONE_ADDRESS {
                let (stream, answer) = asks(door, "127.0.0.1").await;
                assert_eq!(answer, "HTTP/1.1 200", "{number}");
                open.push(stream);
            }
            assert_eq!(asks(door, "127.0.0.1").await.1, "", "one too many");
            assert_eq!(
                asks(door, "127.0.0.2").await.1,
                "HTTP/1.1 200",
                "another address"
            );
            stop.cancel();
        };
        let (served, ()) = tokio::join!(serving, asking);
        served.unwrap();
    }
}
