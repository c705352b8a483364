//! The program as people run it: with TLS, over several vhosts, with a file that is wrong, and without any broker.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::broker::Broker;
use crate::daemon::{Config, Daemon, PROGRAM};
use crate::http::request;
use crate::keeper::{Kept, directory, eventually, free_port, tail};
use crate::ledger::{Kind, Ledger, Message};
use crate::scene::{QUEUE, Scene, secs};
use crate::worker::Worker;

/// An authority of its own and a certificate for `localhost`, in files of this directory.
fn certificates(home: &Path) {
    let script = "
        exec 2>openssl.log; set -e
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=authority' -keyout authority.key -out authority.pem \\
            -addext basicConstraints=critical,CA:TRUE
        openssl req -newkey rsa:2048 -nodes -subj '/CN=localhost' -keyout broker.key -out broker.csr
        printf 'subjectAltName=DNS:localhost\n' >names
        openssl x509 -req -in broker.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -extfile names -out broker.pem
        chmod 644 broker.key";
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(home)
        .status()
        .unwrap();
    assert!(made.success(), "{}", tail(&home.join("openssl.log"), 20));
}

#[test]
fn tls_is_spoken_with_a_broker_that_can_be_trusted_and_with_no_other() {
    let home = directory("tls");
    certificates(&home);
    let (port, at) = (free_port(), home.display().to_string());
    let settings = format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {at}/authority.pem\n\
         ssl_options.certfile = {at}/broker.pem\nssl_options.keyfile = {at}/broker.key\n\
         ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n"
    );
    let broker = Broker::start_with(home.clone(), &settings, 1);
    let scene = Scene::set(&broker, "tls", Kind::Quorum);
    let over = |host: &str, amqp: String| {
        let mut config = scene.config("");
        config.amqp_url = format!("amqps://guest:guest@{host}:{port}/{}", scene.vhost);
        config.amqp = amqp;
        Daemon::start(&config)
    };
    let trusting = format!("ca_file = \"{at}/authority.pem\"");
    let untrusted = over("localhost", String::new());
    let wrong_name = over("127.0.0.1", trusting.clone());
    for daemon in [untrusted, wrong_name] {
        eventually("TLS is refused, and said so", secs(10), || {
            let said = daemon.not_ready(secs(10));
            said.contains("TLS").then_some(()).ok_or(said)
        });
        assert_eq!(daemon.terminate(), Some(0), "{}", daemon.log());
    }
    let daemon = over("localhost", trusting);
    daemon.ready(secs(10));
    scene.publish_many("job", 20);
    scene.worker_got(20, secs(10));
    scene.settles(&daemon, secs(10));
    scene.nothing_lost(daemon);
}

#[test]
fn queues_of_several_vhosts_are_served_by_one_daemon() {
    let broker = Broker::shared();
    let (first, second) = (broker.vhost("vhosts-first"), broker.vhost("vhosts-second"));
    let ledgers = [&first, &second].map(|vhost| Ledger::at(&broker.url(vhost)));
    let workers = [Worker::start(), Worker::start()];
    let (on_second, of_it) = (workers[1].url(), format!("vhost = \"{second}\""));
    let config = Config::new(&broker.url(&first))
        .queue(QUEUE, &workers[0].url(), "")
        .queue(QUEUE, &on_second, &of_it);
    for ledger in &ledgers {
        ledger.declare(QUEUE, Kind::Classic, &[]);
    }
    let daemon = Daemon::start(&config);
    daemon.ready(secs(10));
    let other = format!("{second}/{QUEUE}");
    daemon.set(
        &format!("queue.{other}.degrade").replace('/', "%2F"),
        "reject",
    );
    for ledger in &ledgers {
        ledger.publish(QUEUE, &["a", "b"].map(Message::new));
    }
    daemon.counts("both are served, each by its own valves", secs(10), |now| {
        now.settled(QUEUE, "done") == 2 && now.settled(&other, "rejected") == 2
    });
    assert_eq!((workers[0].ids().len(), workers[1].ids().len()), (2, 0));
    let queue = daemon.queue(&other.replace('/', "%2F"));
    assert_eq!(queue["name"], json!(other), "{queue}");
    daemon.always_added_up();
}

#[test]
fn e12_a_file_that_is_wrong_is_refused_with_line_and_cure_and_changes_nothing_when_read_again() {
    let scene = Scene::set(Broker::shared(), "e12", Kind::Classic);
    let (status, said) = Daemon::refuses_to_start(&scene.config("slot = 4\nattempts = 0"));
    assert_eq!(status, Some(1), "{said}");
    for part in [":13:1", "^^^^", "`slots`", "attempts = 0"] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    let daemon = scene.daemon("slots = 4");
    let is_fine = |fine: f64| {
        daemon.counts("the file is judged", secs(5), |now| {
            now.get("sluicegate_config_reload_ok").to_bits() == fine.to_bits()
        });
    };
    daemon.reads_again(|text| text.replace("slots = 4", "slots = \"many\""));
    is_fine(0.0);
    scene.publish_many("job", 5);
    scene.worker_got(5, secs(10));
    daemon.reads_again(|text| text.replace("slots = \"many\"", "slots = 5"));
    is_fine(1.0);
    assert!(daemon.log().contains("needs a restart"), "{}", daemon.log());
    scene.settles(&daemon, secs(10));
    scene.nothing_lost(daemon);
}

#[test]
fn a_web_page_cannot_drive_the_daemon() {
    let scene = Scene::set(Broker::shared(), "doors", Kind::Classic);
    let daemon = scene.daemon("");
    let port: u16 = daemon.url().rsplit(':').next().unwrap().parse().unwrap();
    let path = format!("/api/v1/flags/queue.{QUEUE}.pause");
    let body = json!({ "value": true, "reason": "a web page" }).to_string();
    let tag = daemon.get(&path).headers["etag"].clone();
    let refused = |headers: &[(&str, &str)]| {
        let headers = [&[("if-match", tag.as_str())], headers].concat();
        let answer = request(port, "PATCH", &path, &headers, Some(&body)).unwrap();
        assert!(
            (400..500).contains(&answer.status),
            "{headers:?}: {answer:?}"
        );
        let kind = &answer.headers["content-type"];
        assert!(kind.starts_with("application/problem+json"), "{kind}");
    };
    refused(&[("origin", "http://evil.example")]);
    refused(&[("origin", "null")]);
    refused(&[("sec-fetch-site", "cross-site")]);
    assert_eq!(daemon.get(&path).json()["now"], json!(false));
    let without_tag = request(port, "PATCH", &path, &[], Some(&body)).unwrap();
    assert_eq!(without_tag.status, 428, "{without_tag:?}");
    let stale = request(
        port,
        "PATCH",
        &path,
        &[("if-match", "\"999\"")],
        Some(&body),
    )
    .unwrap();
    assert_eq!(stale.status, 412, "{stale:?}");
    let document = daemon.get("/api/v1/openapi.json").json();
    assert!(
        document["paths"]["/api/v1/flags/{key}"].is_object(),
        "{document}"
    );
    scene.nothing_lost(daemon);
}

/// What the demo says that can be tried: the fake Mailgun fails, and mails go to the next provider.
fn mailgun_fails_in_the_demo(port: u16, log: &Path) {
    let said = std::fs::read_to_string(log).unwrap();
    let address = said.split("curl -X PUT 'http://127.0.0.1:").nth(1).unwrap();
    let fake: u16 = address.split('/').next().unwrap().parse().unwrap();
    let told = request(fake, "PUT", "/fake?do=fail", &[], None).unwrap();
    assert_eq!(told.status, 200, "{told:?}");
    let provider = |name: &str| {
        let all = request(port, "GET", "/api/v1/providers", &[], None).unwrap();
        let all = all.json();
        let items = all["items"].as_array().unwrap();
        let found = items.iter().find(|provider| provider["name"] == name);
        found.unwrap().clone()
    };
    eventually("mailgun rests", secs(20), || {
        let mailgun = provider("mailgun");
        let rests = mailgun["state"] != "passing";
        rests.then_some(()).ok_or(mailgun.to_string())
    });
    let ledger = request(fake, "GET", "/fake", &[], None).unwrap().body;
    assert!(
        ledger.contains("@shop.example") && ledger.contains(": fail"),
        "{ledger}"
    );
    let sent = |now: &crate::scrape::Scrape| {
        now.sum("sluicegate_provider_requests_total", &["sendgrid", "done"])
    };
    eventually("sendgrid sends", secs(20), || {
        let page = request(port, "GET", "/metrics", &[], None).unwrap();
        let sent = sent(&crate::scrape::Scrape::parse(&page.body));
        (sent > 0.0).then_some(()).ok_or(sent.to_string())
    });
}

#[test]
fn the_demo_shows_it_without_a_broker_and_ends_cleanly() {
    let home = directory("demo");
    let (log, port) = (File::create(home.join("log")).unwrap(), free_port());
    let mut demo = Kept::start(
        Command::new(PROGRAM)
            .args(["demo", "--listen", &format!("127.0.0.1:{port}")])
            .current_dir(&home)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null()),
    );
    let done = || {
        let page =
            request(port, "GET", "/metrics", &[], None).map_err(|error| error.to_string())?;
        let now = crate::scrape::Scrape::parse(&page.body);
        let done = now.sum("sluicegate_messages_settled_total", &["reason=\"done\""]);
        (done > 50.0).then_some(()).ok_or(format!("{done} done"))
    };
    eventually("the demo works", secs(20), done);
    let queues = request(port, "GET", "/api/v1/queues", &[], None).unwrap();
    assert_eq!(
        queues.json()["items"].as_array().map(Vec::len),
        Some(3),
        "{queues:?}"
    );
    mailgun_fails_in_the_demo(port, &home.join("log"));
    demo.signal("INT");
    assert_eq!(
        demo.wait(secs(15)),
        Some(0),
        "{}",
        tail(&home.join("log"), 30)
    );
    let left: Vec<_> = std::fs::read_dir(&home)
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert_eq!(left, ["log"], "it keeps nothing");
}
