//! What strangers do to the doors of a daemon that works, by their numbers in the catalogue of faults (G13, G17, G26, G27, G28).

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::broker::Broker;
use crate::daemon::Daemon;
use crate::http::request;
use crate::keeper::{eventually, free_port};
use crate::ledger::{Kind, Message};
use crate::scene::{QUEUE, Scene, secs};

fn port(daemon: &Daemon) -> u16 {
    daemon.url().rsplit(':').next().unwrap().parse().unwrap()
}

fn connected(daemon: &Daemon, said: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port(daemon))).unwrap();
    stream.set_read_timeout(Some(secs(10))).unwrap();
    let _ = stream.write_all(said.as_bytes()); // who is not heard may be hung up on
    stream
}

/// What is answered to these bytes, until the connection ends.
fn raw(daemon: &Daemon, said: &str) -> String {
    let mut answer = Vec::new();
    let _ = connected(daemon, said).read_to_end(&mut answer); // a refusal may come as a reset
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn g13_a_door_that_is_choked_slows_no_message_and_opens_again() {
    let scene = Scene::set(Broker::shared(), "g13", Kind::Classic);
    let metrics = free_port();
    let mut config = scene.config("slots = 8");
    config.sections = format!("[metrics]\nlisten = \"127.0.0.1:{metrics}\"\n");
    let daemon = Daemon::start(&config);
    daemon.ready(secs(10));
    let slow = "GET /api/v1/flags HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ";
    let held: Vec<TcpStream> = (0..400).map(|_| connected(&daemon, slow)).collect();
    let huge = format!(
        "POST /api/v1/openings HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        1_u64 << 30
    );
    let huge = connected(&daemon, &huge);
    scene.publish_many("job", 1_000);
    scene.worker_got(1_000, secs(20));
    let page = request(metrics, "GET", "/metrics", &[], None).unwrap();
    assert_eq!(page.status, 200, "numbers have a door of their own");
    drop((held, huge));
    eventually("the door is open again", secs(10), || {
        match daemon.try_get("/api/v1/flags?limit=1") {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    scene.settles(&daemon, secs(10));
    let found = scene.nothing_lost(daemon);
    assert_eq!((found.worked.len(), found.repeated()), (1_000, 0));
}

#[test]
fn g26_numbers_name_nobody_and_their_door_leads_nowhere_else() {
    let scene = Scene::set(Broker::shared(), "g26", Kind::Classic);
    let door = free_port();
    let mut config =
        scene.config("key = \"account\"\n[queue.attributes]\naccount = \"header:x-account\"");
    config.sections = format!("[metrics]\nlisten = \"127.0.0.1:{door}\"\n");
    let daemon = Daemon::start(&config);
    daemon.ready(secs(10));
    daemon.set(&format!("queue.{QUEUE}.rate_each"), "1000/s");
    let messages: Vec<Message> = (0..20)
        .map(|number| {
            Message::new(format!("canary-job-{number}")).text("x-account", "canary-account")
        })
        .collect();
    scene.publish(&messages);
    scene.worker_got(20, secs(10));
    scene.settles(&daemon, secs(10));
    let ask = |path: &str| request(door, "GET", path, &[], None).unwrap();
    let page = ask("/metrics").body;
    assert!(
        page.contains("sluicegate_messages_received_total{queue=\"orders\"} 20"),
        "{page}"
    );
    assert!(!page.contains("canary"), "{page}");
    for path in [
        "/api/v1/flags",
        "/status",
        "/ofrep/v1/events",
        "/debug/pprof",
        "/debug",
        "/actuator",
        "/api/v1/openapi.json",
    ] {
        assert_eq!(ask(path).status, 404, "{path}");
    }
    for path in ["/debug/pprof", "/debug", "/actuator", "/core", "/console"] {
        assert_eq!(daemon.get(path).status, 404, "{path}");
    }
    scene.nothing_lost(daemon);
}

/// A daemon whose broker is away.
fn alone() -> Daemon {
    let nobody = format!("amqp://127.0.0.1:{}/%2f", free_port());
    Daemon::start(&crate::daemon::Config::new(&nobody).queue(QUEUE, "http://127.0.0.1:9/jobs", ""))
}

#[test]
fn g17_a_reference_that_comes_over_the_api_is_a_text() {
    let daemon = alone();
    for (number, reference) in [
        "file:/etc/hostname",
        "env:PATH",
        "/etc/passwd",
        "../../etc/passwd",
        "${PATH}",
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/api/v1/flags/shop.text-{number}");
        let body = json!({"kind": "config", "type": "string", "value": reference, "runbook": "", "reason": reference});
        let made = daemon.send("PUT", &path, &[("if-none-match", "*")], &body);
        assert_eq!(made.status, 201, "{}", made.body);
        assert_eq!(daemon.get(&path).json()["now"], json!(reference));
    }
    let body =
        json!({"kind": "config", "type": "string", "value_file": "/etc/hostname", "reason": "x"});
    let refused = daemon.send(
        "PUT",
        "/api/v1/flags/shop.file",
        &[("if-none-match", "*")],
        &body,
    );
    assert!(
        refused.status == 422 && refused.body.contains("\"/value_file\""),
        "{}",
        refused.body
    );
}

#[test]
fn g27_a_file_that_is_packed_is_not_unpacked() {
    let daemon = alone();
    // Ten bytes of gzip's head, then what would grow a thousandfold.
    let bomb = format!("\u{1f}\u{fffd}\u{8}{}", "\0".repeat(50_000));
    let packed = [("content-encoding", "gzip")];
    let answer = request(
        port(&daemon),
        "POST",
        "/api/v1/flags/apply",
        &packed,
        Some(&bomb),
    )
    .unwrap();
    assert!((400..500).contains(&answer.status), "{answer:?}");
    assert_eq!(
        daemon
            .metrics()
            .get("sluicegate_snapshot_revision")
            .to_bits(),
        0.0_f64.to_bits()
    );
}

#[test]
fn g28_who_shares_a_connection_gets_his_own_answers() {
    let daemon = alone();
    let get =
        |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{more}\r\n");
    let several = [
        get("/api/v1/flags/queue.orders.skip", ""),
        get("/nothing", ""),
        get("/api/v1/flags/queue.orders.rate", ""),
        get("/livez", "connection: close\r\n"),
    ];
    let answers = raw(&daemon, &several.concat());
    let places: Vec<usize> = [
        "\"key\":\"queue.orders.skip\"",
        "no-such-path",
        "\"key\":\"queue.orders.rate\"",
        "alive",
    ]
    .into_iter()
    .map(|part| {
        answers
            .find(part)
            .unwrap_or_else(|| panic!("{part} is not in {answers}"))
    })
    .collect();
    assert!(
        places.is_sorted() && answers.matches("HTTP/1.1 ").count() == 4,
        "{answers}"
    );
    let unasked = raw(&daemon, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(unasked, "", "HTTP/2 is not spoken");
    let upgrade =
        "connection: upgrade, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
    for (what, said, awaited) in [
        (
            "too many headers",
            get("/livez", &"x-y: z\r\n".repeat(101)),
            "HTTP/1.1 431",
        ),
        (
            "an upgrade",
            get("/api/v1/flags?limit=1", upgrade),
            "HTTP/1.1 200",
        ),
    ] {
        let answer = raw(&daemon, &said);
        assert!(answer.starts_with(awaited), "{what}: {answer:?}");
    }
    assert_eq!(daemon.get("/livez").status, 200);
}
