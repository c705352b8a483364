//! Serves a router at a listener, within limits that hold before anything is known of a caller (FAULTS 5.4, G13).
//!
//! HTTP/1.1 only. A door that is choked is closed to newcomers, and never slows a message: it runs on another runtime.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::events;
use super::guest::Guest;

/// The largest head of a request, in bytes.
const LARGEST_HEAD: usize = 16 * 1024;
/// How long the head of a request may take, or a connection may idle.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Connections at once; more wait in the listener's backlog. Streams of events have a number of their own.
const MOST_CONNECTIONS: usize = 256;
/// How long one connection is kept, however it is used: also by someone who never reads his answer.
const LONGEST_CONNECTION: Duration = Duration::from_secs(120);
/// How long an answer that is on its way may take once the connection shall end.
const LAST_ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long to wait when nothing can be accepted, because files or memory are out.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until `stop`, then lets the answers that are on their way go out.
///
/// # Errors
/// When the listener has no address. Once it serves, it does so until it is stopped.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    tracing::info!(at = %listener.local_addr()?, "serving");
    // A set of its own, not a task of the house: a panic ends its connection alone, and none outlives the door.
    let mut connections = JoinSet::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accept = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = accept => match accepted {
                (Ok(place), Ok((stream, _))) => {
                    let guest = Guest::new(place);
                    connections.spawn(converse(stream, guest, router.clone(), stop.clone()));
                }
                (_, Err(why)) => {
                    tracing::warn!(%why, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
                (Err(_), _) => break, // nobody closes the places
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Answers the requests of one connection, until it ends, is too old, or the door closes.
async fn converse(stream: TcpStream, guest: Guest, router: Router, stop: CancellationToken) {
    let itself = guest.clone();
    let service = router.map_request(move |mut request: Request<_>| {
        request.extensions_mut().insert(itself.clone());
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
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
}
