//! Server-sent events: `/api/v1/events` for people and their programs, `/ofrep/v1/events` for services that hold what flags said.
//! May import `events`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Doors;
use super::access::Caller;
use super::error::{CLOSING, Problem, TOO_MANY_LISTEN};
use super::guest::Guest;
use crate::events::{Event, EventKind, Events, Listener, Since, notice};

/// Streams at once.
pub(super) const MOST: usize = 2_000;
/// How long one stream is kept; whoever listens comes again by itself, and misses nothing.
pub(super) const LONGEST: Duration = Duration::from_secs(30 * 60);
/// With nothing to tell, a listener hears this often that we are there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a listener waits before it comes again, in milliseconds.
const RETRY_MS: u32 = 2_000;

/// Who listens.
#[derive(Debug)]
pub struct Listeners(Arc<Semaphore>);

impl Default for Listeners {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

/// Which frames a stream has.
#[derive(Debug, Clone, Copy)]
enum Feed {
    /// Every event.
    Events,
    /// The notice to evaluate anew.
    Refetch,
}

impl Feed {
    /// What a stream begins with. A service asks first and listens then: what changed in between it must hear, too.
    fn begin(self, doors: &Doors, listener: &Listener, is_new: bool) -> Bytes {
        let id = listener.position(&doors.events);
        let mut begin = format!("retry: {RETRY_MS}\nid: {id}\n\n").into_bytes();
        if let (Self::Refetch, true) = (self, is_new) {
            let revision = doors.store.snapshot().revision();
            begin.extend_from_slice(&notice(&id, Since::Now { revision }));
        }
        begin.into()
    }

    fn frames(self, told: &[Arc<Event>], caller: &Caller) -> Option<Bytes> {
        match self {
            Self::Events if !caller.sees_everything() => {
                let parts = told.iter().filter_map(|event| part_of(event, caller));
                let frames = parts.collect::<Vec<Bytes>>().concat();
                Some(frames.into()).filter(|frames: &Bytes| !frames.is_empty())
            }
            Self::Events => match told {
                [] => None,
                [one] => Some(one.frame.clone()),
                many => {
                    let frames: Vec<&[u8]> = many.iter().map(|event| &*event.frame).collect();
                    Some(frames.concat().into())
                }
            },
            // One notice is as good as many.
            Self::Refetch => told.iter().rev().find_map(|event| event.refetch.clone()),
        }
    }
}

/// What of an event is told to a caller with limits to their scope: all, if all of it lies within; that something happened, if a
/// part of it does.
fn part_of(event: &Event, caller: &Caller) -> Option<Bytes> {
    let mut seen = event
        .flags
        .iter()
        .map(|flag| caller.sees_flag(flag.as_str()));
    if event.kind == EventKind::Resync || (!event.flags.is_empty() && seen.clone().all(|seen| seen))
    {
        return Some(event.frame.clone());
    }
    if !seen.any(|seen| seen) {
        return None;
    }
    let id = event.frame.split(|byte| *byte == b'\n').next()?;
    Some([id, b"\nevent: resync\ndata: {}\n\n"].concat().into())
}

/// Who wants to listen, and from where on.
pub(super) struct Comes {
    caller: Caller,
    last_id: Option<String>,
    guest: Option<Guest>,
}

impl<S: Send + Sync> FromRequestParts<S> for Comes {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let last_id = parts.headers.get("last-event-id");
        Ok(Self {
            caller,
            last_id: last_id.map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned()),
            guest: parts.extensions.get().cloned(),
        })
    }
}

/// Tells what happens, as it happens: server-sent events.
///
/// The name of each event is its kind: `change`, `opening_began`, `opening_extended`, `opening_ends_soon`, `opening_overdue`,
/// `opening_ended`, `provider`, and `resync` when events were missed: then read the state anew. `data` is JSON.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    params(("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event that was heard; the stream goes on behind it.")),
    responses(
        (status = 200, description = "The stream. It ends after half an hour; come again.", body = String, content_type = "text/event-stream"),
        (status = 503, description = "2,000 listen already, or the daemon stops; come again later."),
))]
pub(super) async fn listen(
    State(doors): State<Arc<Doors>>,
    comes: Comes,
) -> Result<Response, Problem> {
    open(&doors, comes, Feed::Events)
}

/// Tells services when to evaluate anew: server-sent events, as OFREP's `eventStreams` name them.
///
/// Each is an `event: message` with `data: {"type": "refetchEvaluation", "etag": "<revision>", "lastModified": <seconds>}`.
#[utoipa::path(get, path = "/ofrep/v1/events", tag = "ofrep", operation_id = "listen",
    params(("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event that was heard; the stream goes on behind it.")),
    responses(
        (status = 200, description = "The stream. It ends after half an hour; come again.", body = String, content_type = "text/event-stream"),
        (status = 503, description = "2,000 listen already, or the daemon stops; come again later."),
))]
pub(super) async fn listen_for_evaluations(
    State(doors): State<Arc<Doors>>,
    comes: Comes,
) -> Result<Response, Problem> {
    open(&doors, comes, Feed::Refetch)
}

fn open(doors: &Arc<Doors>, comes: Comes, feed: Feed) -> Result<Response, Problem> {
    if doors.stopping.is_cancelled() {
        return Err(Problem::new(
            CLOSING,
            "the daemon stops; come again when it is back",
        ));
    }
    let place = Arc::clone(&doors.listeners.0).try_acquire_owned();
    let place = place.map_err(|_| {
        let detail =
            format!("{MOST} listen already; close streams that nobody reads, or come again later");
        Problem::new(TOO_MANY_LISTEN, detail)
    })?;
    if let Some(guest) = comes.guest {
        guest.stays();
    }
    let listener = doors.events.listen(comes.last_id.as_deref());
    let begin = feed.begin(doors, &listener, comes.last_id.is_none());
    let now = doors.clock.now();
    let good_for = comes.caller.expires_ms().map_or(LONGEST, |end_ms| {
        Duration::from_millis(u64::try_from(end_ms - now.ms).unwrap_or(0))
    });
    let stream = Stream {
        begin: Some(begin),
        ends: doors.clock.instant(now.mono + LONGEST.min(good_for)),
        caller: comes.caller,
        doors: Arc::clone(doors),
        listener,
        feed,
        _place: place,
    };
    let frames = stream::unfold(stream, async |mut stream| {
        let frame = stream.next().await?;
        Some((Ok::<_, Infallible>(frame), stream))
    });
    let mut response = Body::from_stream(frames).into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    // Proxies that would keep frames back are asked not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// One stream.
struct Stream {
    begin: Option<Bytes>,
    ends: Instant,
    doors: Arc<Doors>,
    listener: Listener,
    caller: Caller,
    feed: Feed,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    /// What is sent next; `None`: the stream ends.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(begin) = self.begin.take() {
            return Some(begin);
        }
        let clock = &self.doors.clock;
        let heartbeat = clock.instant(clock.mono() + HEARTBEAT);
        let (events, feed, caller) = (&*self.doors.events, self.feed, &self.caller);
        tokio::select! {
            biased;
            () = self.doors.stopping.cancelled() => None,
            () = caller.over().cancelled() => None,
            () = tokio::time::sleep_until(self.ends) => None,
            frames = heard(&mut self.listener, events, (feed, caller)) => Some(frames),
            () = tokio::time::sleep_until(heartbeat) => Some(Bytes::from_static(b":\n\n")),
        }
    }
}

/// The next frames of this feed. Dropping the wait may lose events that are not of this feed, and no others.
async fn heard(listener: &mut Listener, events: &Events, (feed, caller): (Feed, &Caller)) -> Bytes {
    loop {
        let told = listener.next(events).await;
        if let Some(frames) = feed.frames(&told, caller) {
            return frames;
        }
    }
}
