//! `sluicegate tap` at a real broker: what it sees, where it refuses, that nobody loses anything by it, and that nothing is left
//! behind, however it ends.

use lapin::types::AMQPValue;

use crate::broker::Broker;
use crate::daemon::command;
use crate::keeper::eventually;
use crate::ledger::{Kind, Ledger, Message, now_ms};
use crate::nodes::Managed;
use crate::scene::secs;

mod place;
mod refusals;

use place::{Place, QUEUE, Running, messages, refused};

/// What each kind of exchange that copies gives: the queue gets what it gets without a tap, and the tap the same.
fn copies(
    name: &str,
    kind: &str,
    key: &str,
    arguments: &str,
    publish: &dyn Fn(&Place<'_>, &[Message]),
) {
    let Managed { broker, port } = Broker::managed();
    let place = Place::of(broker, name);
    place.bind("shop", kind, key, arguments);
    let before = place.all();
    let file = place.managed(*port).written();
    let tap = Running::start(
        &file,
        &["--service", "100ms", "--slots", "2", "--deadline", "10s"],
    );
    assert_ne!(place.all(), before, "it stands beside the queue");
    publish(&place, &messages(name, 40));
    let last = tap.saw(40, "TERM");
    place.left_as_it_was(&before);
    let ids: Vec<String> = place
        .ledger
        .drain(QUEUE)
        .into_iter()
        .map(|one| one.id)
        .collect();
    let published: Vec<String> = (0..40).map(|number| format!("{name}-{number}")).collect();
    assert_eq!(ids, published, "the queue lost something by it");
    let accounts = last["accounts"].as_array().unwrap();
    let share = accounts[0]["share"].as_f64().unwrap();
    assert!(
        accounts[0]["name"] == "acme" && (share - 0.75).abs() < 0.01,
        "{last}"
    );
    assert_eq!(last["types"][0]["name"], "bulk", "{last}");
    assert_eq!(last["dropped"]["surely_none"], true, "{last}");
    assert!(
        last["age_seconds"]["p99"].as_f64().unwrap() < 10.0,
        "{last}"
    );
    assert_eq!(last["relief"]["slots"], 2, "{last}");
    assert!(
        last["relief"]["capacity_per_second"].as_f64().unwrap() > 19.0,
        "{last}"
    );
}

#[test]
fn a_topic_exchange_gives_copies() {
    copies("tap-topic", "topic", "order.#", "[]", &|place, messages| {
        place.ledger.publish_to("shop", "order.eu.new", messages);
        let misses = place
            .ledger
            .try_publish_to("shop", "mail.new", &messages[..1]);
        assert_eq!(misses, Vec::<String>::new());
    });
}

#[test]
fn a_direct_exchange_gives_copies() {
    copies(
        "tap-direct",
        "direct",
        "orders",
        "[]",
        &|place, messages| {
            place.ledger.publish_to("shop", "orders", messages);
        },
    );
}

#[test]
fn a_fanout_exchange_gives_copies() {
    copies("tap-fanout", "fanout", "", "[]", &|place, messages| {
        place.ledger.publish_to("shop", "anything", messages);
    });
}

#[test]
fn a_headers_exchange_gives_copies_by_the_arguments_of_the_binding() {
    let arguments = "[{<<\"x-match\">>, longstr, <<\"all\">>}, {<<\"region\">>, longstr, <<\"eu\">>}, {<<\"size\">>, signedint, 3}]";
    copies(
        "tap-headers",
        "headers",
        "",
        arguments,
        &|place, messages| {
            let of = |size: i32| {
                let with = |one: &Message| {
                    one.clone()
                        .text("region", "eu")
                        .header("size", AMQPValue::LongInt(size))
                };
                messages.iter().map(with).collect::<Vec<_>>()
            };
            place.ledger.publish_to("shop", "", &of(3));
            let misses: Vec<Message> = of(4);
            assert_eq!(
                place.ledger.try_publish_to("shop", "", &misses[..1]).len(),
                0
            );
        },
    );
}

#[test]
fn without_the_api_the_way_is_said_by_hand() {
    let place = Place::of(Broker::shared(), "tap-by-hand");
    place.bind("shop", "topic", "order.#", "[]");
    let before = place.all();
    let file = place.config().written();
    let (status, said) = refused(&file, &[]);
    assert!(
        status == Some(6) && said.contains("set [management]"),
        "{said}"
    );
    let (status, said) = refused(&file, &["--exchange", "shop", "--key", "order.#"]);
    assert!(status == Some(6) && said.contains("--kind topic"), "{said}");
    let way = ["--exchange", "shop", "--key", "order.#", "--kind", "topic"];
    let tap = Running::start(&file, &way);
    place
        .ledger
        .publish_to("shop", "order.new", &messages("hand", 12));
    let last = tap.saw(12, "INT");
    assert!(
        last["relief"]["unknown"]
            .as_str()
            .unwrap()
            .contains("--service"),
        "{last}"
    );
    assert!(
        last["relief"]["keeps_up_below_service_seconds"].is_number(),
        "{last}"
    );
    place.left_as_it_was(&before);
    assert_eq!(place.ledger.ready(QUEUE), Some(12));
}

#[test]
fn killed_it_leaves_nothing_behind_and_another_consumer_loses_nothing() {
    let place = Place::of(Broker::shared(), "tap-killed");
    place.bind("shop", "direct", "orders", "[]");
    let before = place.all();
    let file = place.config().written();
    let mut tap = Running::start(
        &file,
        &["--exchange", "shop", "--key", "orders", "--kind", "direct"],
    );
    let reader = Ledger::at(&place.broker.url(&place.vhost));
    let held = reader.consume_and_hold(QUEUE);
    place
        .ledger
        .publish_to("shop", "orders", &messages("first", 500));
    eventually("it has seen some", secs(20), || {
        tap.last()
            .filter(|last| last["came"] != 0)
            .map(drop)
            .ok_or_else(|| tap.said())
    });
    tap.process.kill_9();
    place
        .ledger
        .publish_to("shop", "orders", &messages("second", 500));
    place.left_as_it_was(&before);
    drop(held);
    drop(reader);
    eventually("all is there, what the other held too", secs(10), || {
        let ready = place.ledger.ready(QUEUE);
        (ready == Some(1_000))
            .then_some(())
            .ok_or(format!("{ready:?}"))
    });
    let redelivered = place.ledger.drain(QUEUE);
    assert_eq!(redelivered.len(), 1_000);
}

#[test]
fn it_ends_by_itself_and_when_the_queue_or_its_binding_goes() {
    let Managed { broker, port } = Broker::managed();
    let place = Place::of(broker, "tap-ends");
    place.bind("shop", "direct", "orders", "[]");
    place.bind("shop", "direct", "others", "[]");
    let before = place.all();
    let file = place.managed(*port).written();
    let (status, seen, said) = command(&[
        "tap", QUEUE, "--config", &file, "--for", "2s", "--every", "1s",
    ]);
    assert_eq!(status, Some(0), "{said}");
    assert!(
        seen.contains("age p50") && seen.contains("0 messages"),
        "{seen}"
    );
    place.left_as_it_was(&before);
    let mut tap = Running::start(&file, &[]);
    let vhost = &place.vhost;
    broker.eval(&format!(
        "[rabbit_binding:remove(B, <<\"tests\">>) || B <- rabbit_binding:list_for_destination(rabbit_misc:r(<<\"{vhost}\">>, queue, <<\"orders\">>)), element(3, B) =:= <<\"others\">>]."
    ));
    assert_eq!(tap.process.wait(secs(40)), Some(6), "{}", tap.said());
    assert!(
        tap.said().contains("not bound to shop by"),
        "{}",
        tap.said()
    );
    let before = place.all();
    let mut tap = Running::start(&file, &[]);
    place.ledger.delete(QUEUE);
    assert_eq!(tap.process.wait(secs(40)), Some(3), "{}", tap.said());
    place.ledger.declare(QUEUE, Kind::Classic, &[]);
    place.bind("shop", "direct", "orders", "[]");
    place.left_as_it_was(&before);
}

#[test]
fn overload_is_seen_and_relief_rehearsed() {
    let place = Place::of(Broker::shared(), "tap-overload");
    place.bind("shop", "fanout", "", "[]");
    let file = place.config().written();
    let way = [
        "--exchange",
        "shop",
        "--kind",
        "fanout",
        "--service",
        "200ms",
        "--slots",
        "1",
        "--deadline",
        "1s",
    ];
    let tap = Running::start(&file, &way);
    // Thirty a second, or half of that on a machine that is busy, for one worker who can do five.
    let began = now_ms();
    for number in 0..150_i64 {
        let due = began + number * 33;
        let wait = u64::try_from(due - now_ms()).unwrap_or(0);
        std::thread::sleep(std::time::Duration::from_millis(wait));
        let account = if number % 10 == 0 {
            format!("small-{number}")
        } else {
            "flood".to_owned()
        };
        let message = Message::new(format!("load-{number}")).text("x-account", &account);
        place.ledger.publish_to("shop", "", &[message]);
    }
    let last = tap.saw(150, "TERM");
    let share = |name: &str| last["relief"][name].as_f64().unwrap();
    assert!(share("on_time_of_possible_relieved") > 0.6, "{last}");
    assert!(share("on_time_now") < 0.25, "{last}");
    assert!(
        share("on_time_relieved") > 1.2 * share("on_time_now"),
        "{last}"
    );
    assert!(share("shed") > 0.4 && share("slots_wanted") > 2.0, "{last}");
    assert_eq!(last["accounts"][0]["name"], "flood", "{last}");
}
