//! Streams of events, from outside.

use axum::body::BodyDataStream;
use axum::response::Response;

use super::*;
use crate::events::{EventKind, Since};

async fn listen(doors: &Arc<Doors>, path: &str, last_id: Option<&str>) -> Response {
    listen_at(router(Arc::clone(doors)), path, last_id).await
}

async fn listen_at(router: Router, path: &str, last_id: Option<&str>) -> Response {
    let mut request = Request::builder().uri(path).header("host", "127.0.0.1");
    if let Some(id) = last_id {
        request = request.header("last-event-id", id);
    }
    let request = request.body(Body::empty()).unwrap();
    let answer = router.oneshot(request).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    answer
}

/// The next frames of a stream, without their ids; `None`: it has ended.
async fn frames(stream: &mut BodyDataStream) -> Option<String> {
    let bytes = stream.next().await?.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("id: "));
    Some(lines.collect::<Vec<_>>().join("|"))
}

fn tell(doors: &Doors, number: u64) {
    let data = json!({ "revision": number });
    let refetch = Some(Since::Change {
        revision: number,
        at_ms: 2_000,
    });
    doors.events.tell(EventKind::Change, vec![], &data, refetch);
}

#[tokio::test(start_paused = true)]
async fn people_hear_every_event_and_services_one_notice_for_many() {
    let doors = doors();
    let [mut people, mut services] = [
        listen(&doors, "/api/v1/events", None).await,
        listen(&doors, "/ofrep/v1/events", None).await,
    ]
    .map(|answer| answer.into_body().into_data_stream());
    assert_eq!(frames(&mut people).await.unwrap(), "retry: 2000|");
    // What changed after they asked and before they listened, services hear at once.
    assert_eq!(
        frames(&mut services).await.unwrap(),
        "retry: 2000||event: message|data: {\"type\":\"refetchEvaluation\",\"etag\":\"0\"}|"
    );
    tell(&doors, 1);
    tell(&doors, 2);
    let data = |n: u64| format!("event: change|data: {{\"revision\":{n}}}|");
    let heard = frames(&mut people).await.unwrap();
    assert_eq!(heard, format!("{}|{}", data(1), data(2)));
    assert_eq!(
        frames(&mut services).await.unwrap(),
        "event: message|data: {\"type\":\"refetchEvaluation\",\"etag\":\"2\",\"lastModified\":2}|"
    );
    // What tells nothing new of flags is nothing to services.
    let soon = EventKind::OpeningEndsSoon;
    doors.events.tell(soon, vec![], &json!({}), None);
    assert_eq!(
        frames(&mut people).await.unwrap(),
        "event: opening_ends_soon|data: {}|"
    );
    assert_eq!(frames(&mut services).await.unwrap(), ":|", "a heartbeat");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_after_its_time_or_when_the_daemon_stops() {
    let doors = doors();
    let mut old = listen(&doors, "/api/v1/events", None)
        .await
        .into_body()
        .into_data_stream();
    let mut said = 0;
    while frames(&mut old).await.is_some() {
        said += 1;
    }
    assert_eq!(
        said, 120,
        "the beginning, and a heartbeat each 15 s for half an hour"
    );
    let mut young = listen(&doors, "/api/v1/events", None)
        .await
        .into_body()
        .into_data_stream();
    frames(&mut young).await.unwrap();
    doors.stopping.cancel();
    assert_eq!(frames(&mut young).await, None);
    check(
        "stops",
        &doors,
        get("/api/v1/events"),
        "503 closing",
        "come again",
    )
    .await;
}

#[tokio::test]
async fn whoever_comes_back_misses_nothing_or_hears_of_it() {
    let doors = doors();
    let first = listen(&doors, "/api/v1/events", None).await;
    let begin = first
        .into_body()
        .into_data_stream()
        .next()
        .await
        .unwrap()
        .unwrap();
    let begin = String::from_utf8(begin.to_vec()).unwrap();
    let id = begin
        .lines()
        .find_map(|line| line.strip_prefix("id: "))
        .unwrap();
    tell(&doors, 1);
    let mut back = listen(&doors, "/ofrep/v1/events", Some(id))
        .await
        .into_body()
        .into_data_stream();
    frames(&mut back).await.unwrap();
    let heard = frames(&mut back).await.unwrap();
    assert!(heard.contains("\"etag\":\"1\""), "{heard}");
    let mut stranger = listen(&doors, "/api/v1/events", Some("another-1"))
        .await
        .into_body()
        .into_data_stream();
    frames(&mut stranger).await.unwrap();
    assert_eq!(
        frames(&mut stranger).await.unwrap(),
        "event: resync|data: {}|"
    );
}

#[tokio::test]
async fn only_so_many_listen_at_once() {
    let doors = doors();
    let (mut streams, router) = (Vec::new(), router(Arc::clone(&doors)));
    for _ in 0..crate::api::events::MOST {
        streams.push(listen_at(router.clone(), "/ofrep/v1/events", None).await);
    }
    let more = get("/api/v1/events");
    check(
        "one more",
        &doors,
        more,
        "503 too-many-listen",
        "2000 listen",
    )
    .await;
    streams.pop();
    listen(&doors, "/api/v1/events", None).await;
}
