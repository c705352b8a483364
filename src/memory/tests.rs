//! What the queue in memory promises a worker of its lanes, as RabbitMQ does.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::{MemoryInlet, MemoryOutlet, MemoryQueue};
use crate::clock::Clock;
use crate::rules::lane::Lane;
use crate::rules::lots::KeyHash;
use crate::rules::message::{Properties, Raw};
use crate::rules::verdict::Why;
use crate::seams::{
    Arrival, Inlet, LaneNews, NotPlaced, Outgoing, Outlet, Place, Receipt, Settle, Wanted,
};

const A: Lane = Lane::Own(KeyHash(1));
const B: Lane = Lane::Own(KeyHash(2));
const TAKE: Wanted = Wanted::Consume { prefetch: 100 };

fn message(body: &str) -> Outgoing {
    Outgoing {
        properties: Properties::default(),
        headers: vec![],
        body: Bytes::copy_from_slice(body.as_bytes()),
        at_ms: 0,
    }
}

async fn put(outlet: &MemoryOutlet, lane: Lane, bodies: &[&str]) {
    outlet.prepare(Place::Lane(lane)).await.unwrap();
    for body in bodies {
        let put = outlet.publish(Place::Lane(lane), message(body));
        put.await.unwrap();
    }
}

fn queue() -> (MemoryQueue, MemoryInlet, MemoryOutlet) {
    let queue = MemoryQueue::new(Clock::system());
    let (inlet, outlet) = queue.open();
    (queue, inlet, outlet)
}

fn bodies(queue: &MemoryQueue, lane: Lane) -> String {
    let all = queue.lane(lane).unwrap();
    let all: Vec<_> = all
        .iter()
        .map(|raw| String::from_utf8_lossy(&raw.body))
        .collect();
    all.join(" ")
}

/// The messages that come within a moment, each with its receipt.
async fn taken(inlet: &mut MemoryInlet) -> Vec<(String, Option<Lane>, Receipt)> {
    let mut all = Vec::new();
    while let Ok(arrival) = timeout(Duration::from_millis(10), inlet.next()).await {
        if let Arrival::Message(delivery) = arrival {
            let body = String::from_utf8_lossy(&delivery.raw.body).into_owned();
            all.push((body, delivery.lane, delivery.receipt));
        }
    }
    all
}

/// The next news of a lane.
async fn news(inlet: &mut MemoryInlet) -> (Lane, LaneNews) {
    loop {
        if let Arrival::Lane(lane, news) = inlet.next().await {
            return (lane, news);
        }
    }
}

fn settle(inlet: &mut MemoryInlet, all: Vec<(String, Option<Lane>, Receipt)>, how: Settle) {
    for (_, _, receipt) in all {
        inlet.settle(receipt, how, Why::Done);
    }
}

#[tokio::test(start_paused = true)]
async fn the_queue_and_its_lanes_have_their_turns_and_each_its_prefetch() {
    let (queue, mut inlet, outlet) = queue();
    for body in ["q1", "q2", "q3", "q4"] {
        queue.publish(Raw {
            body: Bytes::copy_from_slice(body.as_bytes()),
            ..Raw::default()
        });
    }
    put(&outlet, A, &["a1", "a2", "a3"]).await;
    put(&outlet, B, &["b1", "b2"]).await;
    inlet.want(TAKE);
    inlet.want_lane(A, Wanted::Consume { prefetch: 2 });
    inlet.want_lane(B, TAKE);
    let first = taken(&mut inlet).await;
    let order: Vec<&str> = first.iter().map(|(body, _, _)| body.as_str()).collect();
    assert_eq!(order, ["a1", "b1", "q1", "a2", "b2", "q2", "q3", "q4"]);
    assert!(
        first
            .iter()
            .all(|(body, lane, _)| match body.as_bytes()[0] {
                b'a' => *lane == Some(A),
                b'b' => *lane == Some(B),
                _ => lane.is_none(),
            })
    );
    settle(&mut inlet, first, Settle::Ack);
    let rest = taken(&mut inlet).await;
    assert_eq!(rest[0].0, "a3");
    settle(&mut inlet, rest, Settle::Ack);
    assert_eq!(queue.put_into_lanes(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_was_out_comes_back_to_its_lane_in_order() {
    let (queue, mut inlet, outlet) = queue();
    put(&outlet, A, &["1", "2", "3", "4"]).await;
    inlet.want_lane(A, Wanted::Consume { prefetch: 3 });
    let mut out = taken(&mut inlet).await;
    let second = out.remove(1);
    inlet.settle(second.2, Settle::Ack, Why::Done);
    inlet.want_lane(A, Wanted::Idle);
    settle(&mut inlet, out, Settle::GiveBack);
    assert_eq!(bodies(&queue, A), "1 3 4");

    inlet.want_lane(A, Wanted::Consume { prefetch: 2 });
    let out = taken(&mut inlet).await;
    queue.break_link();
    assert!(!inlet.usable(&out[0].2));
    settle(&mut inlet, out, Settle::Ack);
    let tally = loop {
        if let Arrival::Settled(tally) = inlet.next().await {
            break tally;
        }
    };
    assert_eq!(tally.0[Why::Unsettled as usize], 2);
    let again = taken(&mut inlet).await;
    assert_eq!(format!("{} {}", again[0].0, again[1].0), "1 3");
    inlet.close().await;
    assert_eq!(bodies(&queue, A), "1 3 4");
    again.into_iter().for_each(|(_, _, receipt)| {
        let _ = receipt.spend();
    });
}

#[tokio::test(start_paused = true)]
async fn the_depth_is_told_at_once_and_again_and_when_it_is_opened_anew() {
    let (queue, mut inlet, outlet) = queue();
    put(&outlet, A, &["1", "2"]).await;
    let two = (A, LaneNews::Depth { ready: 2 });
    inlet.want_lane(A, Wanted::Idle);
    assert_eq!(news(&mut inlet).await, two);
    assert_eq!(
        news(&mut inlet).await,
        two,
        "told again, though it is not consumed"
    );
    inlet.want_lane(A, TAKE);
    assert_eq!(news(&mut inlet).await, two);
    queue.break_link();
    assert_eq!(news(&mut inlet).await, two);
    inlet.want_lane(B, TAKE);
    assert_eq!(news(&mut inlet).await, (B, LaneNews::Gone), "never made");
}

#[tokio::test(start_paused = true)]
async fn a_lane_is_removed_when_it_is_empty_and_nothing_of_it_is_out() {
    let (queue, mut inlet, outlet) = queue();
    put(&outlet, A, &["1", "2"]).await;
    inlet.want_lane(A, Wanted::Consume { prefetch: 1 });
    let out = taken(&mut inlet).await;
    inlet.remove_lane(A);
    let waits = timeout(Duration::from_millis(10), news(&mut inlet)).await;
    assert!(waits.is_err(), "one is out: {waits:?}");
    settle(&mut inlet, out, Settle::Ack);
    assert_eq!(news(&mut inlet).await, (A, LaneNews::Stays));
    inlet.want_lane(A, TAKE);
    let out = taken(&mut inlet).await;
    settle(&mut inlet, out, Settle::Ack);
    inlet.remove_lane(A);
    assert_eq!(news(&mut inlet).await, (A, LaneNews::Gone));
    assert_eq!(queue.lanes(), []);
    let refused = outlet.publish(Place::Lane(A), message("3")).await;
    assert!(
        matches!(refused, Err(NotPlaced::Refused(_))),
        "not made anew"
    );
}
