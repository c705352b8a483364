//! Where `sluicegate tap` refuses, and with which cure; and what falls out of it.

use super::place::SETTINGS;
use super::*;
use crate::daemon::Config;
use crate::keeper::free_port;

#[test]
fn it_refuses_where_a_second_queue_would_do_harm_or_get_nothing_and_leaves_nothing_behind() {
    let Managed { broker, port } = Broker::managed();
    let place = Place::of(broker, "tap-refuses");
    let file = place.managed(*port).written();
    let check = |what: &str, arguments: &[&str], expected: i32, part: &str| {
        let before = place.all();
        let (status, said) = refused(&file, arguments);
        assert!(
            status == Some(expected) && said.contains(part),
            "{what}: {status:?} {said}"
        );
        place.left_as_it_was(&before);
    };
    check(
        "its own name alone leads to it",
        &[],
        6,
        "nothing but its own name",
    );
    check(
        "the default exchange",
        &["--exchange", "", "--key", QUEUE],
        6,
        "nothing but its own name",
    );
    place.bind("shards", "x-consistent-hash", "1", "[]");
    check(
        "messages are shared out",
        &[],
        6,
        "of the kind x-consistent-hash",
    );
    let by_hand = ["--exchange", "shards", "--key", "1", "--kind", "topic"];
    check(
        "also when somebody says otherwise",
        &by_hand,
        6,
        "of the kind x-consistent-hash",
    );
    place.bind("shop", "topic", "order.#", "[]");
    check("one of two", &[], 6, "to see that part alone: shop");
    check(
        "an exchange that it is not bound to",
        &["--exchange", "mail"],
        6,
        "it is bound to",
    );
    check(
        "an exchange that is not there",
        &["--exchange", "mail", "--key", "a"],
        3,
        "there is no exchange mail",
    );
    let tap = Running::start(&file, &["--exchange", "shop"]);
    place
        .ledger
        .publish_to("shop", "order.new", &messages("part", 3));
    tap.saw(3, "TERM");
}

#[test]
fn what_is_missing_or_not_permitted_is_said_with_its_cure() {
    let place = Place::of(Broker::shared(), "tap-denied");
    place.bind("shop", "topic", "order.#", "[]");
    let before = place.all();
    let way = ["--exchange", "shop", "--key", "order.#", "--kind", "topic"];
    let check = |what: &str, config: &Config, arguments: &[&str], expected: i32, part: &str| {
        let (status, said) = refused(&config.written(), &[&way, arguments].concat());
        assert!(
            status == Some(expected) && said.contains(part),
            "{what}: {status:?} {said}"
        );
        place.left_as_it_was(&before);
    };
    // In Erlang's texts a backslash is written twice.
    let own = r"sluicegate\\.tap\\..*";
    let all = [
        own.to_owned(),
        format!(r"({own}|amq\\.default)"),
        format!("({own}|shop)"),
    ];
    let all = [&*all[0], &*all[1], &*all[2]];
    place.broker.add_user("tapper", &place.vhost, all);
    let mut config = place.config();
    config.amqp_url = place.broker.url_for("tapper", "secret", &place.vhost);
    let tap = Running::start(&config.written(), &way);
    place
        .ledger
        .publish_to("shop", "order.new", &messages("least", 2));
    tap.saw(2, "TERM");
    for without in 0..3 {
        let mut may = all;
        may[without] = "^$";
        place.broker.permit("tapper", &place.vhost, may);
        check(
            &format!("without permission {without}"),
            &config,
            &[],
            4,
            "to tap, the user needs configure",
        );
    }
    config.amqp_url = place.broker.url_for("tapper", "wrong", &place.vhost);
    check(
        "a wrong password",
        &config,
        &[],
        4,
        "no connection to the broker",
    );
    let mut config = place.config();
    config.amqp_url = format!("amqp://guest:guest@127.0.0.1:{}/%2f", free_port());
    check("no broker", &config, &[], 7, "no connection to the broker");
}

#[test]
fn a_queue_that_the_file_does_not_name_or_that_is_not_there_is_said() {
    let place = Place::of(Broker::shared(), "tap-elsewhere-too");
    let way = ["--exchange", "shop", "--key", "order.#", "--kind", "topic"];
    let elsewhere = place.broker.vhost("tap-elsewhere");
    let other = format!("vhost = \"{elsewhere}\"\n{SETTINGS}");
    let config =
        Config::new(&place.broker.url(&place.vhost)).queue(QUEUE, "http://127.0.0.1:9/", &other);
    let (status, said) = refused(&config.written(), &way);
    assert!(
        status == Some(3) && said.contains("tap-elsewhere/orders"),
        "{status:?} {said}"
    );
    let line = [
        "tap",
        "tap-elsewhere/orders",
        "--config",
        &config.written(),
        "--for",
        "1s",
    ];
    let (status, _, said) = command(&[&line[..], &way].concat());
    assert!(
        status == Some(3) && said.contains("no queue 'orders' in vhost"),
        "{status:?} {said}"
    );
}

#[test]
fn what_falls_out_is_said_and_goes_nowhere_and_no_publisher_is_refused() {
    let Managed { broker, port } = Broker::managed();
    let place = Place::of(broker, "tap-full");
    place.bind("shop", "fanout", "", "[]");
    place.ledger.declare("dead", Kind::Classic, &[]);
    let vhost = &place.vhost;
    broker.eval(&format!(
        "rabbit_policy:parse_set(<<\"{vhost}\">>, <<\"all\">>, <<\"^sluicegate\">>, \
         <<\"{{\\\"dead-letter-exchange\\\": \\\"\\\", \\\"dead-letter-routing-key\\\": \\\"dead\\\"}}\">>, <<\"0\">>, <<\"queues\">>, <<\"tests\">>)."
    ));
    let before = place.all();
    let mut tap = Running::start(&place.managed(*port).written(), &[]);
    tap.process.signal("STOP");
    place
        .ledger
        .publish_to("shop", "", &messages("flood", 13_000));
    tap.process.signal("CONT");
    eventually("what fell out is told", secs(40), || {
        let last = tap.last().unwrap_or_default();
        let told = last["dropped"]["at_least"].as_u64() > Some(1_000);
        told.then_some(()).ok_or(format!("{last}"))
    });
    tap.process.signal("TERM");
    assert_eq!(tap.process.wait(secs(20)), Some(0), "{}", tap.said());
    let last = tap.last().unwrap();
    let (came, dropped) = (last["came"].as_u64().unwrap(), &last["dropped"]);
    assert_eq!(dropped["surely_none"], false, "{last}");
    assert!(
        came >= 10_000 && came + dropped["at_least"].as_u64().unwrap() <= 13_000,
        "{last}"
    );
    place.left_as_it_was(&before);
    let ready = |queue: &str| place.ledger.ready(queue);
    assert_eq!((ready(QUEUE), ready("dead")), (Some(13_000), Some(0)));
}
