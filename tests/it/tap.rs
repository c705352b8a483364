//! `sluicegate tap` at a real broker: what it sees, where it refuses, that nobody loses anything by it, and that nothing is left
//! behind, however it ends.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use lapin::types::AMQPValue;
use serde_json::Value as Json;

use crate::broker::Broker;
use crate::daemon::{Config, PROGRAM, command};
use crate::keeper::{Kept, directory, eventually, free_port, tail};
use crate::ledger::{Kind, Ledger, Message, now_ms};
use crate::nodes::Managed;
use crate::scene::secs;

const QUEUE: &str = "orders";
const SETTINGS: &str = "key = \"account\"\nattributes = { account = \"header:x-account\" }";

/// A vhost with the queue, and what the broker has in it.
struct Place<'b> {
    broker: &'b Broker,
    vhost: String,
    ledger: Ledger,
}

impl<'b> Place<'b> {
    fn of(broker: &'b Broker, name: &str) -> Self {
        let vhost = broker.vhost(name);
        let ledger = Ledger::at(&broker.url(&vhost));
        ledger.declare(QUEUE, Kind::Classic, &[]);
        Self {
            broker,
            vhost,
            ledger,
        }
    }

    fn config(&self) -> Config {
        Config::new(&self.broker.url(&self.vhost)).queue(QUEUE, "http://127.0.0.1:9/", SETTINGS)
    }

    fn managed(&self, port: u16) -> Config {
        let mut config = self.config();
        config.sections = format!("[management]\nurl = \"http://guest:guest@127.0.0.1:{port}\"\n");
        config
    }

    /// Everything that a tap could leave behind: queues, bindings with their arguments, exchanges, and connections of taps.
    fn all(&self) -> [String; 4] {
        let vhost = &self.vhost;
        let sorted = |of: &str| {
            self.broker.eval(&format!(
                "lists:flatten(io_lib:format(\"~p\", [lists:sort({of})]))."
            ))
        };
        [
            sorted(&format!("rabbit_amqqueue:list_names(<<\"{vhost}\">>)")),
            sorted(&format!("rabbit_binding:list(<<\"{vhost}\">>)")),
            sorted(&format!(
                "[element(2, X) || X <- rabbit_exchange:list(<<\"{vhost}\">>)]"
            )),
            sorted(&format!(
                "[N || [{{vhost, <<\"{vhost}\">>}}, {{client_properties, P}}] <- rabbit_networking:connection_info_all([vhost, client_properties]), \
                 {{<<\"connection_name\">>, _, N}} <- P, string:find(N, <<\" tap@\">>) =/= nomatch]"
            )),
        ]
    }

    fn left_as_it_was(&self, before: &[String; 4]) {
        eventually("the broker is as it was", secs(10), || {
            let now = self.all();
            (now == *before)
                .then_some(())
                .ok_or(format!("{now:#?} instead of {before:#?}"))
        });
    }

    /// An exchange, and a binding of the queue to it.
    fn bind(&self, exchange: &str, kind: &str, key: &str, arguments: &str) {
        let vhost = &self.vhost;
        let name = |kind: &str, name: &str| {
            format!("rabbit_misc:r(<<\"{vhost}\">>, {kind}, <<\"{name}\">>)")
        };
        let (from, to) = (name("exchange", exchange), name("queue", QUEUE));
        self.broker.eval(&format!(
            "case rabbit_exchange:lookup({from}) of {{ok, _}} -> ok; _ -> \
               rabbit_exchange:declare({from}, rabbit_exchange:check_type(<<\"{kind}\">>), true, false, false, [], <<\"tests\">>) end, \
             rabbit_binding:add({{binding, {from}, <<\"{key}\">>, {to}, {arguments}}}, <<\"tests\">>)."
        ));
    }
}

/// Messages of two accounts, published now.
fn messages(name: &str, count: usize) -> Vec<Message> {
    let account = |number: usize| if number % 4 == 0 { "globex" } else { "acme" };
    let one = |number: usize| {
        Message::new(format!("{name}-{number}"))
            .text("x-account", account(number))
            .with(|properties| properties.with_type("bulk".into()))
    };
    (0..count).map(one).collect()
}

/// A tap that runs.
struct Running {
    process: Kept,
    home: PathBuf,
}

impl Running {
    /// Starts it, and waits until it looks.
    fn start(file: &str, arguments: &[&str]) -> Self {
        let home = directory("tap");
        let open = |name: &str| File::create(home.join(name)).unwrap();
        let mut line = Command::new(PROGRAM);
        line.args(["tap", QUEUE, "--config", file, "--json", "--every", "1s"]);
        line.args(arguments)
            .stdout(open("seen"))
            .stderr(open("said"));
        let mut running = Self {
            process: Kept::start(&mut line),
            home,
        };
        eventually("it looks", secs(20), || {
            let said = running.said();
            assert!(running.process.running(), "it ended: {said}");
            said.contains("looking at").then_some(()).ok_or(said)
        });
        running
    }

    fn said(&self) -> String {
        tail(&self.home.join("said"), 40)
    }

    /// The last report so far.
    fn last(&self) -> Option<Json> {
        let text = std::fs::read_to_string(self.home.join("seen")).unwrap();
        let whole = &text[..text.rfind('\n')?];
        let line = whole.lines().next_back()?;
        Some(serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}")))
    }

    /// Waits until so many messages came in all; asks it to stop then, and gives the last report.
    fn saw(mut self, count: u64, signal: &str) -> Json {
        let seen = || {
            let text = std::fs::read_to_string(self.home.join("seen")).unwrap();
            let lines = text
                .lines()
                .filter_map(|line| serde_json::from_str::<Json>(line).ok());
            lines
                .map(|line| line["came"].as_u64().unwrap())
                .sum::<u64>()
        };
        eventually("it has seen them", secs(20), || {
            let seen = seen();
            (seen >= count)
                .then_some(())
                .ok_or(format!("{seen} of {count}; {}", self.said()))
        });
        self.process.signal(signal);
        let status = self.process.wait(secs(20));
        assert_eq!(status, Some(0), "{}", self.said());
        let last = self.last().unwrap();
        assert_eq!(
            (&last["whole"], &last["came"]),
            (&Json::Bool(true), &Json::from(count)),
            "{last}"
        );
        last
    }
}

fn refused(file: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let line = [&["tap", QUEUE, "--config", file, "--for", "1s"], arguments].concat();
    let (status, _, said) = command(&line);
    (status, said)
}

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
        "100ms",
        "--slots",
        "1",
        "--deadline",
        "1s",
    ];
    let tap = Running::start(&file, &way);
    // Five seconds of thirty a second, for one worker who can do ten.
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
