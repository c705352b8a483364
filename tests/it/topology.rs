//! What `sluicegate topology` prints is enough and no more: a user with these permissions, and queues made by somebody else.

use serde_json::Value as Json;

use crate::broker::Broker;
use crate::daemon::{Config, Daemon, command};
use crate::keeper::eventually;
use crate::ledger::{Kind, Ledger, Message};
use crate::scene::{QUEUE, Scene, secs};
use crate::worker::Reply;

/// What is printed for a file, as JSON.
fn printed(file: &str, user: &str) -> Json {
    let (status, said, complaint) =
        command(&["topology", "--json", "--config", file, "--user", user]);
    assert_eq!(status, Some(0), "{complaint}");
    serde_json::from_str(&said).unwrap()
}

/// The three patterns: configure, write, read.
fn patterns(printed: &Json) -> [String; 3] {
    let of = &printed["permissions"][0];
    ["configure", "write", "read"].map(|kind| of[kind].as_str().unwrap().to_owned())
}

fn permit(scene: &Scene<'_>, user: &str, may: [&str; 3]) {
    // In Erlang's texts a backslash is written twice.
    let may = may.map(|pattern| pattern.replace('\\', r"\\"));
    let may = [&*may[0], &*may[1], &*may[2]];
    scene.broker.permit(user, &scene.vhost, may);
}

/// A user of its own with what is printed for this file, and the file in that user's name.
fn least(scene: &Scene<'_>, user: &str, mut config: Config) -> (Config, Json) {
    config.amqp_url = scene.broker.url_for(user, "secret", &scene.vhost);
    let printed = printed(&config.written(), user);
    scene
        .broker
        .add_user(user, &scene.vhost, ["^$", "^$", "^$"]);
    let [configure, write, read] = patterns(&printed);
    permit(scene, user, [&configure, &write, &read]);
    (config, printed)
}

/// Parks, dead-letters, defers and does, one message each way, and looks that it came there.
fn every_way(scene: &Scene<'_>, daemon: &Daemon) {
    daemon.ready(secs(10));
    scene
        .worker
        .decides(|got, before| match (&*got.id, before) {
            ("again", 0) => Reply::Status(503),
            ("bad", _) => Reply::Status(400),
            _ => Reply::Status(200),
        });
    scene.publish(&["done", "again", "bad"].map(Message::new));
    daemon.counts("three ways", secs(20), |now| {
        now.settled(QUEUE, "done") == 2
            && now.settled(QUEUE, "retry") == 1
            && now.settled(QUEUE, "failed") == 1
    });
    let skipped = daemon.metrics().settled(QUEUE, "skipped");
    daemon.set("queue.orders.skip", 1.0);
    scene.publish(&[Message::new("shed")]);
    daemon.counts("the fourth", secs(10), |now| {
        now.settled(QUEUE, "skipped") == skipped + 1
    });
    scene.settles(daemon, secs(10));
}

fn passes_check(file: &str) -> (bool, String) {
    let (status, said, complaint) = command(&["check", "--connect", "--config", file]);
    (status == Some(0), said + &complaint)
}

#[test]
fn with_the_printed_permissions_all_works_and_with_less_it_does_not() {
    let scene = Scene::set(Broker::shared(), "least", Kind::Quorum);
    let user = "least";
    let (config, printed) = least(&scene, user, scene.config(""));
    let daemon = Daemon::start(&config);
    every_way(&scene, &daemon);
    let log = daemon.log();
    assert!(!log.contains("ACCESS_REFUSED"), "{log}");
    let found = scene.nothing_lost(daemon);
    assert_eq!((found.parked.len(), found.dead.len()), (1, 1));
    let file = config.written();
    let (fine, said) = passes_check(&file);
    assert!(fine, "{said}");
    let [configure, write, read] = patterns(&printed);
    let all = [&*configure, &*write, &*read];
    for without in 0..3 {
        let mut may = all;
        may[without] = "^$";
        permit(&scene, user, may);
        let (fine, said) = passes_check(&file);
        assert!(!fine, "without pattern {without} of {all:?}:\n{said}");
    }
    let reads_its_queue_alone = format!("^{QUEUE}$");
    permit(&scene, user, [&configure, &write, &reads_its_queue_alone]);
    let (fine, said) = passes_check(&file);
    assert!(!fine && said.contains("read"), "{said}");
    let reads_its_delays_alone = read.replace(&format!("({QUEUE}|"), "(");
    permit(&scene, user, [&configure, &write, &reads_its_delays_alone]);
    let (fine, said) = passes_check(&file);
    assert!(!fine, "{said}");
}

#[test]
fn the_permitted_user_can_do_nothing_to_the_queues_of_others() {
    let scene = Scene::set(Broker::shared(), "foreign", Kind::Classic);
    for declare in ["declare = true", "declare = false"] {
        let user = format!("foreign-{}", declare.len());
        let mut config = scene.config("");
        config.amqp = declare.to_owned();
        let (_, printed) = least(&scene, &user, config);
        let patterns = patterns(&printed);
        let may = |kind: &str, resource: &str, name: &str| {
            let said = scene.broker.eval(&format!(
                "{{ok, U}} = rabbit_access_control:check_user_login(<<\"{user}\">>, [{{password, <<\"secret\">>}}]), \
                 try rabbit_access_control:check_resource_access(U, {{resource, <<\"{}\">>, {resource}, <<\"{name}\">>}}, {kind}, #{{}}) \
                 catch _:_ -> refused end.",
                scene.vhost
            ));
            match said.as_str() {
                "ok" => true,
                "refused" => false,
                other => panic!("{other}"),
            }
        };
        for foreign in [
            "mail",
            "orders2",
            "xorders",
            "orders.eu",
            "sluicegate.delay.mail.5s",
            "sluicegate.delay.orders.5sx",
            "sluicegate.park.ordersX2026-11-21",
            "sluicegate.park.orders.eu.2026-11-21",
            "sluicegateXpark.orders.2026-11-21",
        ] {
            for kind in ["configure", "write", "read"] {
                assert!(
                    !may(kind, "queue", foreign),
                    "{kind} {foreign}: {patterns:?}"
                );
            }
        }
        assert!(!may("configure", "queue", QUEUE) && !may("write", "queue", QUEUE));
        assert!(may("read", "queue", QUEUE) && may("write", "exchange", ""));
        for exchange in ["amq.direct", "amq.topic", "mail", "amqXdefault"] {
            assert!(!may("write", "exchange", exchange), "{exchange}");
            assert!(!may("read", "exchange", exchange), "{exchange}");
        }
        let declares = declare.ends_with("true");
        assert_eq!(
            may("configure", "queue", "sluicegate.park.orders.2026-11-21"),
            declares
        );
    }
}

#[test]
fn with_declare_false_imported_queues_serve_and_nothing_is_declared() {
    let scene = Scene::set(Broker::shared(), "undeclared", Kind::Classic);
    let mut config =
        scene.config("key = \"account\"\nattributes = { account = \"header:x-account\" }");
    config.amqp = "declare = false".to_owned();
    let (config, printed) = least(&scene, "undeclared", config);
    assert_eq!(printed["permissions"][0]["configure"], "^$", "{printed}");
    let file = config.written();
    let (fine, said) = passes_check(&file);
    assert!(
        !fine && said.contains("sluicegate.park.orders") && said.contains("sluicegate topology"),
        "{said}"
    );
    // Nothing is there yet: it is said, and what is shed is held.
    let daemon = Daemon::start(&config);
    daemon.ready(secs(10));
    daemon.set("queue.orders.skip", 1.0);
    scene.publish(&[Message::new("early")]);
    eventually("the missing queue is told", secs(10), || {
        let queue = daemon.queue(QUEUE);
        let told = queue["vitals"]["state_detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        (told.contains("sluicegate.park.orders does not exist") && told.contains("topology"))
            .then_some(())
            .ok_or(told)
    });
    let log = daemon.log();
    assert!(
        log.contains("sluicegate.delay.orders.2m") && log.contains("declare = false"),
        "{log}"
    );
    // Made as it is printed.
    import(&scene, &file);
    let before = queues(&scene);
    assert_eq!(before.len(), 7, "{before:?}");
    daemon.counts("what was held is parked", secs(60), |now| {
        now.settled(QUEUE, "skipped") == 1
    });
    daemon.set("queue.orders.skip", 0.0);
    scene.settles(&daemon, secs(10));
    every_way(&scene, &daemon);
    assert_eq!(queues(&scene), before, "something was declared");
    let (fine, said) = passes_check(&file);
    assert!(fine, "{said}");
    assert_eq!(queues(&scene), before, "the check left something behind");
    let log = daemon.log();
    assert!(!log.contains("ACCESS_REFUSED"), "{log}");
    let found = scene.nothing_lost(daemon);
    assert_eq!((found.parked.len(), found.dead.len()), (2, 1));
}

/// The queues of the scene's vhost, sorted.
fn queues(scene: &Scene<'_>) -> Vec<String> {
    let mut queues = scene.broker.queues(&scene.vhost);
    queues.sort();
    queues
}

/// `rabbitmqctl import_definitions` of what is printed for this file.
fn import(scene: &Scene<'_>, file: &str) {
    let (status, definitions, complaint) =
        command(&["topology", "--format", "definitions", "--config", file]);
    assert_eq!(status, Some(0), "{complaint}");
    let path = format!("{file}.json");
    std::fs::write(&path, definitions).unwrap();
    let said = scene
        .broker
        .shell(&format!("rabbitmqctl import_definitions {path}"));
    said.unwrap_or_else(|why| panic!("{why}\n{}", scene.broker.log()));
}

#[test]
fn what_is_imported_is_what_would_be_declared() {
    let scene = Scene::set(Broker::shared(), "same", Kind::Classic);
    let config = scene.config("");
    import(&scene, &config.written());
    let daemon = Daemon::start(&config);
    every_way(&scene, &daemon);
    let log = daemon.log();
    assert!(
        !log.contains("PRECONDITION_FAILED") && !log.contains("other arguments"),
        "{log}"
    );
    drop(daemon);
    let ledger = Ledger::at(&scene.broker.url(&scene.vhost));
    assert!(ledger.ready("sluicegate.delay.orders.5s").is_some());
}

#[test]
fn an_admitted_queue_needs_no_more_than_is_printed() {
    for declare in [true, false] {
        let scene = Scene::set(
            Broker::shared(),
            &format!("admitting-{declare}"),
            Kind::Classic,
        );
        let mut config = Config::new("amqp://to-be-set");
        config.amqp = format!("declare = {declare}");
        config.queues = "[[queue]]\nname = \"orders\"\ntarget = { queue = \"orders.admitted\" }\n\
             outcomes = { queue = \"orders.outcomes\" }\n"
            .to_owned();
        scene.ledger.declare("orders.outcomes", Kind::Classic, &[]);
        config.amqp_url = scene.broker.url(&scene.vhost);
        let user = format!("admitting-{declare}");
        let (config, _) = least(&scene, &user, config);
        if !declare {
            import(&scene, &config.written());
        }
        let daemon = Daemon::start(&config);
        daemon.ready(secs(10));
        scene.ledger.publish(QUEUE, &["a", "b"].map(Message::new));
        daemon.counts("both are admitted", secs(10), |now| {
            now.settled(QUEUE, "handed_over") == 2
        });
        let (fine, said) = passes_check(&config.written());
        assert!(fine, "declare = {declare}: {said}");
        let log = daemon.log();
        assert!(!log.contains("ACCESS_REFUSED"), "{log}");
        assert_eq!(scene.ledger.ready("orders.admitted"), Some(2));
    }
}
