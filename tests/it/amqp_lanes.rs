//! Lanes of the AMQP room alone, against the shared node: their order, their loss, their removal.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use sluicegate::amqp::{AmqpInlet, AmqpOutlet};
use sluicegate::config::{Settings, read_text};
use sluicegate::rules::lane::Lane;
use sluicegate::rules::lots::KeyHash;
use sluicegate::rules::names::lane_queue;
use sluicegate::rules::verdict::Why;
use sluicegate::seams::{
    Arrival, Delivery, Inlet, LaneNews, NotPlaced, Outlet, Place, Receipt, Settle, Wanted,
};
use tokio::time::timeout;

use crate::amqp::{QUEUE, aside, on_a_queue_thread, outgoing, publish, scene, until};
use crate::broker::Broker;
use crate::ledger::Kind;
use crate::path::Path;

const A: Lane = Lane::Own(KeyHash(0xa));
const B: Lane = Lane::Own(KeyHash(0xb));
const MOMENT: Duration = Duration::from_millis(300);

fn taking(prefetch: u16) -> Wanted {
    Wanted::Consume { prefetch }
}

fn id(delivery: &Delivery) -> String {
    delivery.raw.properties.message_id.clone().unwrap()
}

fn ids(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    let numbers = numbers.into_iter();
    numbers.map(|number| format!("m{number}")).collect()
}

async fn prepare(outlet: &AmqpOutlet, lane: Lane) {
    while outlet.blocked() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    outlet.prepare(Place::Lane(lane)).await.unwrap();
}

/// Makes a lane and puts so many messages into it.
async fn fill(outlet: &AmqpOutlet, lane: Lane, count: usize) {
    prepare(outlet, lane).await;
    let puts = ids(0..count).into_iter();
    let puts = puts.map(|id| outlet.publish(Place::Lane(lane), outgoing(&id)));
    let put = join_all(puts).await;
    assert!(put.iter().all(Result::is_ok), "{put:?}");
}

async fn next_of(inlet: &mut AmqpInlet, lane: Lane) -> Delivery {
    let comes =
        |arrival: &Arrival| matches!(arrival, Arrival::Message(it) if it.lane == Some(lane));
    match until(inlet, comes).await {
        Arrival::Message(delivery) => *delivery,
        _ => unreachable!(),
    }
}

async fn news_of(
    inlet: &mut AmqpInlet,
    lane: Lane,
    wanted: impl Fn(&LaneNews) -> bool,
) -> LaneNews {
    let comes = |arrival: &Arrival| matches!(arrival, Arrival::Lane(of, news) if *of == lane && wanted(news));
    match until(inlet, comes).await {
        Arrival::Lane(_, news) => news,
        _ => unreachable!(),
    }
}

/// What came of a removal.
async fn removed(inlet: &mut AmqpInlet, lane: Lane) -> LaneNews {
    inlet.remove_lane(lane);
    let is_answer = |news: &LaneNews| !matches!(news, LaneNews::Depth { .. });
    news_of(inlet, lane, is_answer).await
}

fn done(inlet: &mut AmqpInlet, receipt: Receipt) {
    inlet.settle(receipt, Settle::Ack, Why::Done);
}

#[test]
fn a_lane_keeps_the_order_of_the_calls_and_gives_back_in_order() {
    const COUNT: usize = 1_500;
    let (ledger, settings) = scene("lane-order", Kind::Classic, "");
    on_a_queue_thread(&settings, async |mut inlet, outlet| {
        prepare(&outlet, A).await;
        let puts = ids(0..COUNT).into_iter();
        let puts: Vec<_> = puts
            .map(|id| outlet.publish(Place::Lane(A), outgoing(&id)))
            .collect();
        // Whoever polls them, and however: what counts is when they were called.
        let mut puts: FuturesUnordered<_> = puts.into_iter().rev().collect();
        while let Some(put) = puts.next().await {
            put.unwrap();
        }
        inlet.want_lane(A, taking(40));
        let mut held = Vec::new();
        for number in 0..40 {
            let delivery = next_of(&mut inlet, A).await;
            assert_eq!(id(&delivery), format!("m{number}"));
            held.push(delivery.receipt);
        }
        inlet.want_lane(A, Wanted::Idle);
        let more = timeout(MOMENT, next_of(&mut inlet, A)).await;
        assert!(more.is_err(), "it is idle");
        for receipt in held {
            assert!(inlet.usable(&receipt), "what is out can still be settled");
            inlet.settle(receipt, Settle::GiveBack, Why::GivenBack);
        }
        inlet.want_lane(A, taking(40));
        for number in 0..COUNT {
            let delivery = next_of(&mut inlet, A).await;
            assert_eq!(id(&delivery), format!("m{number}"));
            done(&mut inlet, delivery.receipt);
        }
        assert_eq!(removed(&mut inlet, A).await, LaneNews::Gone);
        inlet.close().await;
        outlet.close().await;
    });
    assert_eq!(ledger.ready(&lane_queue(QUEUE, A)), None);
}

/// The same daemon as of `settings`, behind a path that can be cut.
fn behind(path: &Path, vhost: &str) -> Settings {
    let file = format!(
        "[amqp]\nurl = \"amqp://guest:guest@127.0.0.1:{}/{vhost}\"\n[[queue]]\nname = \"{QUEUE}\"\ntarget = {{ http = \"http://127.0.0.1:9/\" }}\n",
        path.port()
    );
    read_text("the test's file", &file, &Default::default()).unwrap()
}

#[test]
fn a_cut_ends_every_epoch_and_what_was_wanted_is_opened_again_in_order() {
    let (ledger, _) = scene("lane-cut", Kind::Classic, "");
    publish(&ledger, 5);
    let path = Path::to(Broker::shared().port());
    let settings = behind(&path, "amqp-lane-cut-classic");
    on_a_queue_thread(&settings, async |mut inlet, outlet| {
        fill(&outlet, A, 60).await;
        fill(&outlet, B, 3).await;
        inlet.want(taking(2));
        inlet.want_lane(A, taking(10));
        inlet.want_lane(B, Wanted::Idle);
        let mut held = Vec::new();
        let mut epochs = std::collections::BTreeSet::new();
        while held.len() < 12 {
            if let Arrival::Message(delivery) = inlet.next().await {
                epochs.insert((delivery.lane, delivery.receipt.epoch()));
                held.push(delivery.receipt);
            }
        }
        assert_eq!(epochs.len(), 2, "a channel for each: {epochs:?}");
        path.cut();
        until(
            &mut inlet,
            |arrival| matches!(arrival, Arrival::Link(now) if !now.connected()),
        )
        .await;
        for receipt in held {
            assert!(!inlet.usable(&receipt));
            done(&mut inlet, receipt);
        }
        let told = until(&mut inlet, |arrival| matches!(arrival, Arrival::Settled(_))).await;
        assert!(matches!(told, Arrival::Settled(tally) if tally.0[Why::Unsettled as usize] == 12));
        assert_eq!(inlet.settling(), 0);

        let (mut of_queue, mut of_lane, mut depths) = (0, Vec::new(), [false; 2]);
        while of_queue < 5 || of_lane.len() < 60 || depths != [true; 2] {
            match inlet.next().await {
                Arrival::Message(delivery) => {
                    match delivery.lane {
                        None => of_queue += 1,
                        Some(lane) => {
                            assert_eq!(lane, A, "the other one is idle");
                            of_lane.push(id(&delivery));
                        }
                    }
                    done(&mut inlet, delivery.receipt);
                }
                Arrival::Lane(lane, LaneNews::Depth { ready }) => {
                    depths[usize::from(lane == B)] = true;
                    assert!(lane == A || ready == 3);
                }
                Arrival::Lane(lane, news) => panic!("{lane:?}: {news:?}"),
                _ => {}
            }
        }
        assert_eq!(of_lane, ids(0..60));
        let told = inlet.close().await;
        assert_eq!(told.0[Why::Unsettled as usize], 0);
        outlet.close().await;
    });
    assert_eq!(ledger.ready(QUEUE), Some(0));
    assert_eq!(ledger.ready(&lane_queue(QUEUE, A)), Some(0));
    assert_eq!(ledger.ready(&lane_queue(QUEUE, B)), Some(3));
}

/// Gives a message back, also when it comes again before the consumer has ended, until it is said that the lane stays.
async fn given_back_it_stays(inlet: &mut AmqpInlet, receipt: Receipt) {
    inlet.settle(receipt, Settle::GiveBack, Why::GivenBack);
    loop {
        match inlet.next().await {
            Arrival::Message(again) => {
                inlet.settle(again.receipt, Settle::GiveBack, Why::GivenBack);
            }
            Arrival::Lane(_, LaneNews::Stays) => return,
            Arrival::Lane(_, LaneNews::Gone) => panic!("a message was deleted with its lane"),
            _ => {}
        }
    }
}

#[test]
fn a_lane_is_removed_only_when_nothing_is_lost_by_it() {
    let (ledger, settings) = scene("lane-removal", Kind::Classic, "");
    on_a_queue_thread(&settings, async |mut inlet, outlet| {
        fill(&outlet, A, 2).await;
        assert_eq!(
            removed(&mut inlet, A).await,
            LaneNews::Stays,
            "two are in it"
        );
        inlet.want_lane(A, taking(5));
        let first = next_of(&mut inlet, A).await;
        let second = next_of(&mut inlet, A).await;
        inlet.remove_lane(A);
        let answer = |news: &LaneNews| !matches!(news, LaneNews::Depth { .. });
        let waits = timeout(MOMENT, news_of(&mut inlet, A, answer)).await;
        assert!(waits.is_err(), "two are out: {waits:?}");
        done(&mut inlet, first.receipt);
        let mut back = second;
        for _ in 0..20 {
            assert_eq!(id(&back), "m1");
            // The broker would delete the lane together with what it is told a moment later to be back in it.
            given_back_it_stays(&mut inlet, back.receipt).await;
            inlet.want_lane(A, taking(5));
            back = next_of(&mut inlet, A).await;
            inlet.remove_lane(A);
        }
        given_back_it_stays(&mut inlet, back.receipt).await;
        inlet.want_lane(A, taking(5));
        let last = next_of(&mut inlet, A).await;
        done(&mut inlet, last.receipt);
        assert_eq!(removed(&mut inlet, A).await, LaneNews::Gone);
        assert_eq!(removed(&mut inlet, A).await, LaneNews::Gone, "and again");
        inlet.close().await;
        outlet.close().await;
    });
    assert_eq!(ledger.ready(&lane_queue(QUEUE, A)), None);
}

#[test]
fn a_lane_that_is_missing_is_gone_and_hurts_no_other() {
    let (ledger, settings) = scene("lane-missing", Kind::Classic, "");
    on_a_queue_thread(&settings, async |mut inlet, outlet| {
        let gone = |news: &LaneNews| *news == LaneNews::Gone;
        inlet.want(taking(5));
        inlet.want_lane(A, taking(5));
        news_of(&mut inlet, A, gone).await;
        inlet.want_lane(A, Wanted::Idle);
        news_of(&mut inlet, A, gone).await;
        fill(&outlet, A, 1).await;
        fill(&outlet, B, 1).await;
        inlet.want_lane(A, taking(5));
        inlet.want_lane(B, taking(5));
        let held = next_of(&mut inlet, B).await;
        aside(|| ledger.delete(&lane_queue(QUEUE, A)));
        news_of(&mut inlet, A, gone).await;
        assert!(
            inlet.usable(&held.receipt),
            "the other's channel is its own"
        );
        done(&mut inlet, held.receipt);
        let put = outlet.publish(Place::Lane(A), outgoing("late")).await;
        assert!(matches!(put, Err(NotPlaced::Refused(_))), "{put:?}");
        fill(&outlet, A, 1).await;
        inlet.want_lane(A, taking(5));
        let again = next_of(&mut inlet, A).await;
        done(&mut inlet, again.receipt);
        let told = inlet.close().await;
        assert_eq!(told.0[Why::Unsettled as usize], 0);
        outlet.close().await;
    });
    assert_eq!(ledger.ready(&lane_queue(QUEUE, B)), Some(0));
}

#[test]
fn a_lane_that_another_has_for_itself_is_told_and_read_when_it_is_free() {
    let (ledger, settings) = scene("lane-unread", Kind::Classic, "");
    on_a_queue_thread(&settings, async |mut inlet, outlet| {
        fill(&outlet, A, 0).await;
        fill(&outlet, B, 1).await;
        let held = aside(|| ledger.consume_alone(&lane_queue(QUEUE, A)));
        inlet.want_lane(A, taking(5));
        let unread = |news: &LaneNews| matches!(news, LaneNews::Unread(_));
        let told = news_of(&mut inlet, A, unread).await;
        assert!(format!("{told:?}").contains("exclusive"), "{told:?}");
        inlet.want_lane(B, taking(5));
        let other = next_of(&mut inlet, B).await;
        done(&mut inlet, other.receipt);
        aside(|| drop(held));
        // It is tried again slowly, as long as only people can mend it.
        let read = |news: &LaneNews| *news == LaneNews::Read;
        news_of(&mut inlet, A, read).await;
        fill(&outlet, A, 1).await;
        let first = next_of(&mut inlet, A).await;
        done(&mut inlet, first.receipt);
        inlet.close().await;
        outlet.close().await;
    });
}

#[test]
fn as_many_lanes_as_there_may_be_are_served_beside_the_queue() {
    let (ledger, settings) = scene("lane-many", Kind::Classic, "");
    publish(&ledger, 2_000);
    let own = (0..64).map(|key| Lane::Own(KeyHash(key)));
    let lanes: Vec<Lane> = own.chain([Lane::Shared]).collect();
    on_a_queue_thread(&settings, async |mut inlet, outlet| {
        for lane in &lanes {
            fill(&outlet, *lane, 3).await;
            inlet.want_lane(*lane, taking(1));
        }
        inlet.want(taking(100));
        let (mut of_queue, mut of_lanes) = (0, 0);
        while of_queue < 2_000 || of_lanes < 3 * 65 {
            if let Arrival::Message(delivery) = inlet.next().await {
                match delivery.lane {
                    None => of_queue += 1,
                    Some(_) => of_lanes += 1,
                }
                done(&mut inlet, delivery.receipt);
            }
        }
        for lane in &lanes {
            inlet.remove_lane(*lane);
        }
        for _ in &lanes {
            let gone = |arrival: &Arrival| matches!(arrival, Arrival::Lane(_, LaneNews::Gone));
            until(&mut inlet, gone).await;
        }
        inlet.close().await;
        outlet.close().await;
    });
    assert_eq!(Broker::shared().queues("amqp-lane-many-classic"), [QUEUE]);
}
