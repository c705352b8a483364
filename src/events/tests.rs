//! Listeners: what they hear, what they miss and are told so, and how changes reach them.

use super::*;
use crate::rules::change::{Actor, Change, Edit};
use crate::rules::opening::Restore;
use crate::rules::record::FIRST;
use crate::rules::snapshot::{GatedQueue, Snapshot, Stored};

/// The kinds of what the listener hears now, without waiting for more.
async fn hears(listener: &mut Listener, events: &Events) -> Vec<&'static str> {
    let heard = async {
        let heard = listener.next(events).await;
        heard.iter().map(|event| event.kind.word()).collect()
    };
    let nothing_more = std::future::ready(vec![]);
    tokio::select! { biased; heard = heard => heard, none = nothing_more => none }
}

fn tell(events: &Events, text: &str) {
    events.tell(EventKind::Change, vec![], &json!({ "text": text }), None);
}

/// The id of the newest event.
async fn id(listener: &mut Listener, events: &Events) -> String {
    let heard = listener.next(events).await;
    let frame = std::str::from_utf8(&heard.last().unwrap().frame).unwrap();
    let line = frame.lines().find_map(|line| line.strip_prefix("id: "));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn a_listener_hears_what_happens_from_then_on_and_each_thing_once() {
    let events = Events::default();
    tell(&events, "before");
    let mut listener = events.listen(None);
    assert_eq!(hears(&mut listener, &events).await, [""; 0]);
    tell(&events, "a");
    tell(&events, "b");
    assert_eq!(hears(&mut listener, &events).await, ["change", "change"]);
    assert_eq!(hears(&mut listener, &events).await, [""; 0]);
}

#[tokio::test]
async fn one_that_comes_back_goes_on_where_it_was_if_that_is_remembered() {
    let events = Events::default();
    let mut listener = events.listen(None);
    let start = listener.position(&events);
    tell(&events, "a");
    let last = id(&mut listener, &events).await;
    assert_eq!(listener.position(&events), last);
    let mut same = events.listen(Some(&last));
    assert_eq!(hears(&mut same, &events).await, [""; 0]);
    tell(&events, "b");
    assert_eq!(
        hears(&mut events.listen(Some(&last)), &events).await,
        ["change"]
    );
    let mut from_start = events.listen(Some(&start));
    assert_eq!(hears(&mut from_start, &events).await, ["change", "change"]);

    let of_another_run = Events::default().listen(None).position(&Events::default());
    let ahead = last.replace("-1", "-99");
    for unknown in ["", "17", "x-1", &of_another_run, &ahead] {
        let mut listener = events.listen(Some(unknown));
        assert_eq!(hears(&mut listener, &events).await, ["resync"], "{unknown}");
        assert_eq!(hears(&mut listener, &events).await, [""; 0], "once");
    }
}

#[tokio::test]
async fn one_that_falls_behind_is_told_so_and_goes_on_from_there() {
    let events = Events::default();
    let mut slow = events.listen(None);
    let start = slow.position(&events);
    for number in 0..2_000 {
        tell(&events, &number.to_string());
    }
    assert_eq!(hears(&mut slow, &events).await, ["resync"]);
    let mut back = events.listen(Some(&start));
    assert_eq!(hears(&mut back, &events).await, ["resync"]);
    tell(&events, "after");
    assert_eq!(hears(&mut slow, &events).await, ["change"]);
    // Large events are forgotten sooner: the ring has a size in bytes, too.
    for _ in 0..20 {
        tell(&events, &"x".repeat(100_000));
    }
    assert_eq!(hears(&mut slow, &events).await, ["resync"]);
}

#[tokio::test]
async fn changes_and_openings_are_told_as_they_are_recorded() {
    let events = Arc::new(Events::default());
    let mut listener = events.listen(None);
    let queue = GatedQueue::named("orders".parse().unwrap());
    let mut now = Snapshot::of(vec![queue], Stored::default());
    let open = Edit::Open {
        values: vec![("queue.orders.skip".parse().unwrap(), json!(0.1))],
        when: vec![],
        ends_at_ms: 61_000,
        restore: Restore::Snap,
        until: None,
    };
    let close = Edit::Close(crate::rules::opening::OpeningId(1));
    for (edit, kind) in [(open, "opening_began"), (close, "opening_ended")] {
        let change = Change::new(edit, Actor::new("ana", "api"), "INC-481", 1_000);
        let next = now.with(&change).unwrap();
        events.tell_of_change(&ChangeRecord::of(&change, &now, &next, FIRST));
        now = next;
        let heard = listener.next(&events).await;
        let kinds: Vec<&str> = heard.iter().map(|event| event.kind.word()).collect();
        assert_eq!(kinds, ["change", kind]);
        assert_eq!(heard[0].flags[0].as_str(), "queue.orders.skip");
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let told = text(&heard[1].frame);
        assert!(
            told.contains(&format!("\nevent: {kind}\ndata: {{\"opening\":\"o1\"")),
            "{told}"
        );
        let notice = text(heard[0].refetch.as_ref().unwrap());
        let wanted = format!(
            "\nevent: message\ndata: {{\"type\":\"refetchEvaluation\",\"etag\":\"{}\",\"lastModified\":1}}\n\n",
            now.revision()
        );
        assert!(notice.ends_with(&wanted), "{notice}");
        assert!(heard[1].refetch.is_none(), "one notice for one change");
    }
}

/// A notice of an opening.
fn noticed_of(kind: Kind) -> Notice {
    let opening = json!({"id": "o7", "values": [["queue.orders.skip", 0.1]], "owner": "ana", "reason": "INC-481",
        "opened_at_ms": 1_000, "ends_at_ms": 61_000, "restore": "snap"});
    let opening = serde_json::from_value(opening).unwrap();
    let flag = json!({"flag": "queue.orders.skip", "before": 0.1, "after": 0.0});
    let flags = vec![serde_json::from_value(flag).unwrap()];
    Notice::by_itself(kind, &opening, flags, 31_000, 7)
}

#[tokio::test]
async fn each_change_and_each_reminder_is_told() {
    let events = Arc::new(Events::default());
    let mut listener = events.listen(None);
    let (records, heard) = broadcast::channel(2);
    let (notices, noticed) = broadcast::channel(2);
    let queue = GatedQueue::named("orders".parse().unwrap());
    let now = Snapshot::of(vec![queue], Stored::default());
    let edit = Edit::Set("queue.orders.skip".parse().unwrap(), json!(0.1));
    let mut change = Change::new(edit, Actor::new("ana", "api"), "INC-481", 1_000);
    change.keep = true;
    let next = now.with(&change).unwrap();
    let record = Arc::new(ChangeRecord::of(&change, &now, &next, FIRST));
    records.send(Arc::clone(&record)).unwrap();
    let stop = CancellationToken::new();
    let telling = run((heard, noticed), Arc::clone(&events), stop.clone());
    let listening = async {
        assert_eq!(listener.next(&events).await[0].kind, EventKind::Change);
        for kind in [Kind::Ended, Kind::Reminder] {
            notices.send(Arc::new(noticed_of(kind))).unwrap(); // what ended is told by its change
        }
        let heard = listener.next(&events).await;
        let frame = String::from_utf8(heard[0].frame.to_vec()).unwrap();
        let wanted = "event: opening_ends_soon\ndata: {\"opening\":\"o7\"";
        assert!(heard.len() == 1 && frame.contains(wanted), "{frame}");
        assert_eq!(heard[0].flags[0].as_str(), "queue.orders.skip");
        for _ in 0..3 {
            records.send(Arc::clone(&record)).unwrap(); // more than the channel holds
        }
        assert_eq!(listener.next(&events).await[0].kind, EventKind::Resync);
        stop.cancel();
    };
    tokio::join!(telling, listening);
}
