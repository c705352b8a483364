//! The AMQP room alone, without a daemon, against the shared node: what both ends promise the worker.

use std::time::Duration;

use bytes::Bytes;
use lapin::types::AMQPValue;
use sluicegate::amqp::{self, AmqpInlet, AmqpOutlet};
use sluicegate::clock::Clock;
use sluicegate::config::{Settings, read_text};
use sluicegate::rules::message::{Field, Properties, Raw};
use sluicegate::rules::units::Span;
use sluicegate::rules::verdict::Why;
use sluicegate::seams::{
    Arrival, Inlet, LinkState, NotPlaced, Outgoing, Outlet, Place, Receipt, Settle, Wanted,
};
use tokio::time::timeout;

use crate::broker::Broker;
use crate::ledger::{Kind, Ledger, Message, long, now_ms};
use crate::scene::on_both_kinds;

pub(crate) const QUEUE: &str = "orders";
const PATIENCE: Duration = Duration::from_secs(45);

on_both_kinds!(
    every_delivery_is_told_exactly_once,
    idle_and_back_and_with_another_prefetch,
    deferred_messages_come_back_as_they_went,
);

/// A vhost with an empty queue, and the file of a daemon for it.
pub(crate) fn scene(name: &str, kind: Kind, queue: &str) -> (Ledger, Settings) {
    let broker = Broker::shared();
    let vhost = broker.vhost(&format!("amqp-{name}-{}", kind.word()));
    let url = broker.url(&vhost);
    let ledger = Ledger::at(&url);
    ledger.declare(QUEUE, kind, &[]);
    let file = format!(
        "[amqp]\nurl = \"{url}\"\n[[queue]]\nname = \"{QUEUE}\"\ntarget = {{ http = \"http://127.0.0.1:9/\" }}\n{queue}"
    );
    let settings = read_text("the test's file", &file, &Default::default()).unwrap();
    (ledger, settings)
}

/// Runs a test as a queue's own thread runs its worker.
pub(crate) fn on_a_queue_thread<T>(
    settings: &Settings,
    test: impl AsyncFnOnce(AmqpInlet, AmqpOutlet) -> T,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (inlet, outlet) = amqp::open(&settings.amqp, &settings.queues[0]);
        timeout(PATIENCE, test(inlet, outlet)).await.unwrap()
    })
}

pub(crate) async fn until(inlet: &mut AmqpInlet, wanted: impl Fn(&Arrival) -> bool) -> Arrival {
    loop {
        let arrival = inlet.next().await;
        if wanted(&arrival) {
            return arrival;
        }
    }
}

async fn message(inlet: &mut AmqpInlet) -> (Raw, Receipt) {
    match until(inlet, |arrival| matches!(arrival, Arrival::Message(_))).await {
        Arrival::Message(delivery) => (delivery.raw, delivery.receipt),
        _ => unreachable!(),
    }
}

pub(crate) fn publish(ledger: &Ledger, count: usize) {
    let messages: Vec<Message> = (0..count)
        .map(|number| Message::new(format!("m{number}")))
        .collect();
    ledger.publish(QUEUE, &messages);
}

fn every_delivery_is_told_exactly_once(kind: Kind) {
    let (ledger, settings) = scene("told", kind, "");
    publish(&ledger, 300);
    let told = on_a_queue_thread(&settings, async |mut inlet, _outlet| {
        inlet.want(Wanted::Consume { prefetch: 100 });
        let (mut held, mut told, mut taken) = (Vec::new(), [0; Why::COUNT], 0);
        let mut add = |tally: [u32; Why::COUNT]| {
            told.iter_mut().zip(tally).for_each(|(sum, n)| *sum += n);
        };
        while taken < 300 {
            match inlet.next().await {
                Arrival::Message(delivery) => {
                    taken += 1;
                    held.push(delivery.receipt);
                }
                Arrival::Settled(tally) => add(tally.0),
                _ => {}
            }
            // The last come first, and the very first is held to the end.
            if held.len() >= 50 {
                for receipt in held.drain(1..).rev() {
                    assert!(inlet.usable(&receipt));
                    inlet.settle(receipt, Settle::Ack, Why::Done);
                }
            }
        }
        for receipt in held {
            inlet.settle(receipt, Settle::GiveBack, Why::GivenBack);
        }
        add(inlet.close().await.0);
        assert_eq!(inlet.settling(), 0);
        told
    });
    let back = told[Why::GivenBack as usize];
    assert!(back >= 1, "the first was held to the end");
    assert_eq!(told[Why::Done as usize] + back, 300, "{told:?}");
    assert_eq!(ledger.drain(QUEUE).len(), back as usize);
}

fn idle_and_back_and_with_another_prefetch(kind: Kind) {
    let (ledger, settings) = scene("idle", kind, "");
    publish(&ledger, 40);
    on_a_queue_thread(&settings, async |mut inlet, _outlet| {
        inlet.want(Wanted::Consume { prefetch: 5 });
        let mut held: Vec<Receipt> = Vec::new();
        for _ in 0..5 {
            held.push(message(&mut inlet).await.1);
        }
        let more = timeout(Duration::from_millis(300), message(&mut inlet)).await;
        assert!(
            more.is_err(),
            "five are out, more than that were not wanted"
        );
        inlet.want(Wanted::Consume { prefetch: 10 });
        for _ in 0..10 {
            held.push(message(&mut inlet).await.1);
        }
        inlet.want(Wanted::Idle);
        let idle = |arrival: &Arrival| matches!(arrival, Arrival::Link(LinkState::Idle));
        until(&mut inlet, idle).await;
        assert_eq!(held.iter().map(Receipt::epoch).max(), Some(held[0].epoch()));
        for receipt in held.drain(..) {
            assert!(inlet.usable(&receipt), "what is out can still be settled");
            inlet.settle(receipt, Settle::Ack, Why::Done);
        }
        let done = until(&mut inlet, |arrival| matches!(arrival, Arrival::Settled(_))).await;
        assert!(matches!(done, Arrival::Settled(tally) if tally.0[Why::Unsettled as usize] == 0));
        let more = timeout(Duration::from_millis(300), message(&mut inlet)).await;
        assert!(more.is_err(), "nothing is taken while nobody wants it");
        inlet.want(Wanted::Consume { prefetch: 5 });
        let (_, receipt) = message(&mut inlet).await;
        inlet.settle(receipt, Settle::Ack, Why::Done);
        inlet.close().await;
    });
    assert_eq!(ledger.drain(QUEUE).len(), 24);
}

pub(crate) fn outgoing(id: &str) -> Outgoing {
    Outgoing {
        properties: Properties {
            message_id: Some(id.to_owned()),
            ..Properties::default()
        },
        headers: vec![("x-kept".to_owned(), Field::LongString(b"as it is".to_vec()))],
        body: Bytes::from_static(b"body"),
        at_ms: now_ms(),
    }
}

async fn place(outlet: &AmqpOutlet, place: Place, message: Outgoing) -> Result<(), NotPlaced> {
    while outlet.blocked() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    outlet.publish(place, message).await
}

fn deferred_messages_come_back_as_they_went(kind: Kind) {
    let (_ledger, settings) = scene("deferred", kind, "");
    let mut sent = outgoing("one");
    let table = Field::Table(vec![("n".to_owned(), Field::LongLongInt(7))]);
    sent.headers.push(("x-table".to_owned(), table));
    let raw = on_a_queue_thread(&settings, async |mut inlet, outlet| {
        let delay = Place::Delay(Span::from_secs(5));
        assert_eq!(place(&outlet, delay, sent.clone()).await, Ok(()));
        inlet.want(Wanted::Consume { prefetch: 1 });
        let (raw, receipt) = message(&mut inlet).await;
        inlet.settle(receipt, Settle::Ack, Why::Done);
        inlet.close().await;
        outlet.close().await;
        raw
    });
    assert_eq!(raw.properties.message_id, sent.properties.message_id);
    assert_eq!(raw.properties.delivery_mode, Some(2));
    assert_eq!(raw.body, sent.body);
    for (name, value) in &sent.headers {
        assert_eq!(raw.header(name), Some(value), "{name}");
    }
}

/// The ledger has a runtime of its own, which must not run inside another.
pub(crate) fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|threads| threads.spawn(work).join().unwrap())
}

#[test]
fn a_queue_that_is_deleted_is_said_to_be_missing_until_it_is_there_again() {
    let (ledger, settings) = scene("missing", Kind::Classic, "");
    on_a_queue_thread(&settings, async |mut inlet, _outlet| {
        let is =
            |state| move |arrival: &Arrival| matches!(arrival, Arrival::Link(now) if *now == state);
        inlet.want(Wanted::Consume { prefetch: 5 });
        until(&mut inlet, is(LinkState::Consuming)).await;
        aside(|| ledger.delete(QUEUE));
        until(&mut inlet, is(LinkState::QueueMissing)).await;
        aside(|| ledger.declare(QUEUE, Kind::Classic, &[]));
        until(&mut inlet, is(LinkState::Consuming)).await;
        aside(|| publish(&ledger, 1));
        let (_, receipt) = message(&mut inlet).await;
        assert!(inlet.usable(&receipt));
        inlet.settle(receipt, Settle::Ack, Why::Done);
        assert_eq!(inlet.close().await.0[Why::Done as usize], 1);
    });
    assert_eq!(ledger.ready(QUEUE), Some(0));
}

#[test]
fn a_message_that_cannot_be_placed_is_told_of_and_hurts_no_other() {
    let queue = "dead_letter = { queue = \"nowhere\" }\n";
    let (ledger, settings) = scene("returned", Kind::Classic, queue);
    let placed = on_a_queue_thread(&settings, async |_inlet, outlet| {
        place(&outlet, Place::Park, outgoing("first"))
            .await
            .unwrap();
        let mut under_way = tokio::task::JoinSet::new();
        for number in 0..900 {
            let outlet = outlet.clone();
            let to = if number % 3 == 0 {
                Place::Dead
            } else {
                Place::Park
            };
            let message = outgoing(&format!("m{number}"));
            under_way.spawn_local(async move { (to, outlet.publish(to, message).await) });
        }
        let mut placed = 1;
        while let Some(Ok((to, said))) = under_way.join_next().await {
            match (to, said) {
                (Place::Dead, Err(NotPlaced::Refused(_))) => {}
                (Place::Park, Ok(())) => placed += 1,
                // The client gave it the return of another, so it may be placed twice; that is the lesser evil.
                (Place::Park, Err(NotPlaced::Unsure(_))) => {}
                (to, said) => panic!("{to:?}: {said:?}"),
            }
        }
        outlet.close().await;
        placed
    });
    let broker = Broker::shared();
    let queues = broker.queues("amqp-returned-classic");
    let stream = queues.iter().find(|name| name.contains(".park.")).unwrap();
    let parked = ledger.read_stream(stream).len();
    assert!(
        parked >= placed && placed > 500,
        "{placed} told, {parked} there"
    );
}

#[test]
fn a_full_queue_refuses_and_a_queue_made_otherwise_is_named() {
    let queue = "dead_letter = { queue = \"full\" }\n";
    let (ledger, settings) = scene("full", Kind::Classic, queue);
    let bound = [
        ("x-max-length", AMQPValue::LongInt(2)),
        ("x-overflow", long("reject-publish")),
    ];
    ledger.declare("full", Kind::Classic, &bound);
    ledger.declare("sluicegate.delay.orders.5s", Kind::Classic, &[]);
    on_a_queue_thread(&settings, async |_inlet, outlet| {
        let mut refused = 0;
        for number in 0..5 {
            let said = place(&outlet, Place::Dead, outgoing(&format!("m{number}"))).await;
            refused += usize::from(matches!(said, Err(NotPlaced::Full(_))));
        }
        assert_eq!(refused, 3, "two have room");
        let delay = Place::Delay(Span::from_secs(5));
        let said = place(&outlet, delay, outgoing("late")).await.unwrap_err();
        assert!(
            said.to_string().contains("sluicegate.delay.orders.5s"),
            "{said}"
        );
        assert!(said.to_string().contains("declare = false"), "{said}");
        outlet.close().await;
    });
}

#[test]
fn check_says_what_is_missing_and_leaves_nothing_behind() {
    let (ledger, settings) = scene("check", Kind::Quorum, "");
    publish(&ledger, 3);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let clock = Clock::system();
    let report = runtime.block_on(amqp::check::check(&settings, &clock));
    assert!(report.passed(), "{report:#?}");
    let says = |text: &str| {
        report
            .findings
            .iter()
            .any(|found| found.text.contains(text))
    };
    for text in [
        "3 messages are ready",
        "3 of 3 carry an age",
        "3 of 3 carry an id",
    ] {
        assert!(says(text), "{text} is missing in {report:#?}");
    }
    assert_eq!(Broker::shared().queues("amqp-check-quorum"), [QUEUE]);
    ledger.delete(QUEUE);
    let report = runtime.block_on(amqp::check::check(&settings, &clock));
    assert!(!report.passed(), "{report:#?}");
}

#[test]
fn a_prefetch_that_changes_under_load_breaks_no_order() {
    let (ledger, settings) = scene("prefetch", Kind::Quorum, "");
    publish(&ledger, 3_000);
    on_a_queue_thread(&settings, async |mut inlet, _outlet| {
        let mut held = std::collections::VecDeque::new();
        for number in 0..3_000 {
            if number % 100 == 0 {
                let prefetch = if number % 200 == 0 { 16 } else { 64 };
                inlet.want(Wanted::Consume { prefetch });
            }
            let (raw, receipt) = message(&mut inlet).await;
            assert_eq!(raw.properties.message_id, Some(format!("m{number}")));
            held.push_back(receipt);
            // Some are always in hand, and never so many that no more would come.
            if held.len() > 8
                && let Some(first) = held.pop_front()
            {
                inlet.settle(first, Settle::Ack, Why::Done);
            }
        }
        for receipt in held {
            inlet.settle(receipt, Settle::Ack, Why::Done);
        }
        inlet.close().await;
    });
    assert_eq!(ledger.ready(QUEUE), Some(0));
}
