//! Who may come in, at the real program: strangers, tokens, a trusted proxy, and what is never shown (FAULTS G01, G02, G06, G16,
//! G18, G23, G24, G28).

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::daemon::{PROGRAM, command};
use crate::http::{Answer, request};
use crate::keeper::{Kept, directory, eventually, free_port, tail};
use crate::scene::secs;

/// The program without a broker, and with a door of its own for health and numbers.
pub(crate) struct Door {
    process: Kept,
    home: PathBuf,
    pub(crate) port: u16,
    health: u16,
}

impl Door {
    /// Starts it with these lines in `[daemon]`, and these tables.
    pub(crate) fn open(home: PathBuf, daemon: &str, tables: &str) -> Self {
        let (port, health) = (free_port(), free_port());
        let text = format!(
            "[daemon]\nlisten = \"127.0.0.1:{port}\"\ndata_dir = \"data\"\nlog = \"trace,lapin=debug\"\n{daemon}\n\
             [metrics]\nlisten = \"127.0.0.1:{health}\"\n[amqp]\nurl = \"amqp://canary:canary-broker@127.0.0.1:1/%2f\"\n\
             [[queue]]\nname = \"orders\"\ntarget = {{ http = \"http://127.0.0.1:1/jobs\" }}\n\
             [[queue]]\nname = \"billing\"\ntarget = {{ http = \"http://127.0.0.1:1/jobs\" }}\n{tables}\n"
        );
        std::fs::write(home.join("sluicegate.toml"), text).unwrap();
        let log = File::create(home.join("log")).unwrap();
        let process = Kept::start(
            Command::new(PROGRAM)
                .args(["run", "--config", "sluicegate.toml"])
                .current_dir(&home)
                .env("CANARY_IN_THE_ENVIRONMENT", "canary-variable")
                .stdout(log.try_clone().unwrap())
                .stderr(log),
        );
        let door = Self {
            process,
            home,
            port,
            health,
        };
        eventually("the program answers", secs(20), || {
            request(health, "GET", "/livez", &[], None)
                .map_err(|why| format!("{why}\n{}", door.log()))
        });
        door
    }

    pub(crate) fn log(&self) -> String {
        tail(&self.home.join("log"), 2_000)
    }

    /// What is answered to somebody with these headers.
    fn asked(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Answer {
        request(self.port, method, path, headers, body)
            .unwrap_or_else(|why| panic!("{method} {path}: {why}\n{}", self.log()))
    }

    fn status(&self, path: &str, headers: &[(&str, &str)]) -> u16 {
        self.asked("GET", path, headers, None).status
    }

    /// What is answered to these bytes, until the connection ends.
    pub(crate) fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(secs(10))).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer); // a refusal may come as a reset
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(crate) fn reads_again(&self, change: impl FnOnce(String) -> String) {
        let file = self.home.join("sluicegate.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, change(text)).unwrap();
        self.process.signal("HUP");
    }
}

/// A new token: its secret, and the table for the file.
pub(crate) fn token(arguments: &[&str]) -> (String, String) {
    let (status, out, err) = command(&[&["token", "new"], arguments].concat());
    assert_eq!(status, Some(0), "{err}");
    let (secret, table) = out.split_once("\n\n").unwrap();
    assert!(!err.contains(secret), "the secret is said once: {err}");
    (format!("Bearer {secret}"), table.to_owned())
}

#[test]
fn a_token_is_good_from_the_reload_that_names_it_to_the_one_that_does_not() {
    let (old, first) = token(&[
        "ana", "--role", "operator", "--queues", "orders", "--for", "90d",
    ]);
    let (new, second) = token(&["ana", "--role", "operator", "--queues", "orders"]);
    let door = Door::open(directory("who-rotation"), "", &first);
    let sees = |token: &str| door.status("/api/v1/queues/orders", &[("authorization", token)]);
    assert_eq!((sees(&old), sees(&new)), (200, 401));
    assert_eq!(
        door.status("/api/v1/queues/billing", &[("authorization", &old)]),
        404
    );
    assert_eq!(door.status("/api/v1/queues/orders", &[]), 401);
    let settles = |what: &str, awaited: (u16, u16)| {
        eventually(what, secs(10), || {
            let found = (sees(&old), sees(&new));
            if found == awaited {
                Ok(())
            } else {
                Err(format!("{found:?}\n{}", door.log()))
            }
        });
    };
    door.reads_again(|text| format!("{text}\n{second}\n"));
    settles("both are good", (200, 200));
    door.reads_again(|text| text.replace(&first, ""));
    settles("the new one alone is good", (401, 200));
    door.reads_again(|text| text.replace("role = \"operator\"", "role = \"king\""));
    eventually("a bad file is told", secs(10), || {
        let log = door.log();
        log.contains("nothing was changed").then_some(()).ok_or(log)
    });
    assert_eq!(
        (sees(&old), sees(&new)),
        (401, 200),
        "a bad file changes nothing"
    );
}

#[expect(clippy::too_many_lines, reason = "a table, a few lines for each case")]
#[test]
fn no_trick_on_the_wire_leads_around() {
    let (_, table) = token(&["ana", "--role", "admin"]);
    let door = Door::open(directory("who-wire"), "", &table);
    let host = format!("host: 127.0.0.1:{}\r\n", door.port);
    for (what, head) in [
        (
            "two slashes",
            format!("GET //api/v1/flags HTTP/1.1\r\n{host}"),
        ),
        (
            "up",
            format!("GET /livez/../api/v1/flags HTTP/1.1\r\n{host}"),
        ),
        (
            "up, encoded",
            format!("GET /livez/%2e%2e/api/v1/flags HTTP/1.1\r\n{host}"),
        ),
        (
            "a slash, encoded",
            format!("GET /api%2fv1%2fflags HTTP/1.1\r\n{host}"),
        ),
        (
            "a parameter",
            format!("GET /api/v1/flags;a=b HTTP/1.1\r\n{host}"),
        ),
        (
            "a slash at the end",
            format!("GET /api/v1/flags/ HTTP/1.1\r\n{host}"),
        ),
        ("capitals", format!("GET /API/V1/FLAGS HTTP/1.1\r\n{host}")),
        (
            "absolute",
            format!(
                "GET http://127.0.0.1:{}/api/v1/flags HTTP/1.1\r\n{host}",
                door.port
            ),
        ),
        (
            "absolute, another's",
            format!("GET http://evil.example/livez HTTP/1.1\r\n{host}"),
        ),
        (
            "two hosts",
            format!("GET /api/v1/flags HTTP/1.1\r\n{host}host: evil.example\r\n"),
        ),
        (
            "another's host",
            "GET /api/v1/flags HTTP/1.1\r\nhost: evil.example\r\n".to_owned(),
        ),
        ("no host", "GET /api/v1/flags HTTP/1.1\r\n".to_owned()),
        (
            "an old version",
            "GET /api/v1/flags HTTP/1.0\r\n".to_owned(),
        ),
        (
            "a method in small letters",
            format!("get /api/v1/flags HTTP/1.1\r\n{host}"),
        ),
        (
            "an unknown method",
            format!("PROPFIND /api/v1/flags HTTP/1.1\r\n{host}"),
        ),
        (
            "another method by header",
            format!(
                "GET /livez HTTP/1.1\r\n{host}x-http-method-override: DELETE\r\nx-original-url: /api/v1/flags\r\n"
            ),
        ),
        ("an asterisk", format!("OPTIONS * HTTP/1.1\r\n{host}")),
        (
            "a tunnel",
            format!("CONNECT 127.0.0.1:22 HTTP/1.1\r\n{host}"),
        ),
        ("a NUL", format!("GET /api/v1/flags\0 HTTP/1.1\r\n{host}")),
        (
            "a folded header",
            format!("GET /api/v1/flags HTTP/1.1\r\n{host}x: a\r\n authorization: b\r\n"),
        ),
        (
            "two lengths",
            format!(
                "POST /api/v1/openings HTTP/1.1\r\n{host}content-length: 5\r\ncontent-length: 6\r\n"
            ),
        ),
    ] {
        let answer = door.raw(format!("{head}connection: close\r\n\r\n").as_bytes());
        let status: u16 = answer
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .unwrap_or(0);
        let alive = answer.ends_with("alive\n") && what.contains("by header");
        let alive = alive || (what == "absolute, another's" && answer.ends_with("alive\n")); // health answers to any name
        assert!(
            [400, 401, 421].contains(&status) || alive,
            "{what}: {answer:?}"
        );
        assert!(!answer.contains("queue.orders"), "{what}: {answer}");
    }
    let smuggled = format!(
        "POST /livez HTTP/1.1\r\n{host}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /api/v1/flags HTTP/1.1\r\n{host}connection: close\r\n\r\n"
    );
    let answer = door.raw(smuggled.as_bytes());
    assert!(
        !answer.contains("200 OK") && !answer.contains("queue.orders"),
        "{answer}"
    );
    let forged = door.raw(format!("GET /x%0a%1b[2J?{} HTTP/1.1\r\n{host}user-agent: \u{1b}]0;evil\u{7}\r\nconnection: close\r\n\r\n", "y".repeat(9_000)).as_bytes());
    assert!(forged.starts_with("HTTP/1.1 4"), "{forged}");
    let log = door.log();
    assert!(
        !log.contains('\u{1b}') && log.lines().all(|line| line.len() < 4_000),
        "{log}"
    );
}

#[test]
fn a_proxy_signs_users_in_and_nobody_else_does() {
    let users = "[[user]]\nname = \"ana\"\nrole = \"operator\"\nqueues = [\"orders\"]\n";
    let lines = "trusted_proxies = [\"127.0.0.1\"]\nproxy_user_header = \"x-remote-user\"";
    let door = Door::open(directory("who-proxy"), lines, users);
    let ana = [
        ("x-remote-user", "ana"),
        ("x-forwarded-for", "198.51.100.7"),
    ];
    assert_eq!(door.status("/api/v1/queues/orders", &ana), 200);
    assert_eq!(door.status("/api/v1/queues/billing", &ana), 404);
    assert_eq!(
        door.status("/api/v1/queues/orders", &[("x-remote-user", "bo")]),
        401
    );
    assert_eq!(door.status("/api/v1/queues/orders", &[]), 401);
    let body = json!({"values": {"queue.orders.skip": 0.1}, "reason": "INC-1"}).to_string();
    let opened = door.asked("POST", "/api/v1/openings", &ana, Some(&body));
    assert_eq!(opened.status, 201, "{}", opened.body);
    assert_eq!(opened.json()["owner"], "ana");
    door.reads_again(|text| text.replace("[\"127.0.0.1\"]", "[\"10.0.0.5\"]"));
    eventually("the proxy is trusted no more", secs(10), || {
        match door.status("/api/v1/queues/orders", &ana) {
            401 => Ok(()),
            other => Err(format!("{other}\n{}", door.log())),
        }
    });
}

#[test]
fn what_is_secret_is_shown_nowhere() {
    let (admin, table) = token(&["root", "--role", "admin"]);
    let secret = admin.trim_start_matches("Bearer ").to_owned();
    let door = Door::open(directory("who-canary"), "", &table);
    let known = [("authorization", admin.as_str())];
    let document = door
        .asked("GET", "/api/v1/openapi.json", &known, None)
        .json();
    let mut pages = vec![door.log()];
    for path in document["paths"].as_object().unwrap().keys() {
        let path = path
            .replace("{name}", "orders")
            .replace("{key}", "queue.orders.skip")
            .replace(['{', '}'], "");
        let bad = format!("{{\"{secret}\": 1, \"reason\": \"canary\"");
        for (method, body) in [
            ("GET", None),
            ("POST", Some("{\"reason\": 1}")),
            ("PUT", Some(bad.as_str())),
            ("PATCH", Some("[]")),
        ] {
            if path.ends_with("/events") && method == "GET" {
                continue; // it does not end
            }
            pages.push(
                door.asked(method, &path, &known, body)
                    .body
                    .replace(&bad, ""),
            );
        }
    }
    pages.push(
        request(door.health, "GET", "/metrics", &[], None)
            .unwrap()
            .body,
    );
    for wrong in ["Bearer canary-guess", "Basic canary"] {
        pages.push(
            door.asked("GET", "/api/v1/flags", &[("authorization", wrong)], None)
                .body,
        );
    }
    door.process.signal("HUP");
    eventually("it was read again", secs(10), || {
        let log = door.log();
        log.contains("was read again").then_some(()).ok_or(log)
    });
    pages.push(door.log());
    let hash = table
        .lines()
        .find_map(|line| line.strip_prefix("sha256 = "))
        .unwrap()
        .trim_matches('"')
        .to_owned();
    assert!(
        pages.iter().any(|page| page.contains("queue.orders.skip")) && pages.len() > 20,
        "nothing was looked at"
    );
    for page in &pages {
        for canary in [
            "canary-broker",
            "canary-variable",
            "canary-guess",
            secret.as_str(),
            hash.as_str(),
        ] {
            assert!(!page.contains(canary), "{canary} stands in:\n{page}");
        }
    }
}

#[test]
fn a_door_for_strangers_that_asks_nobody_is_not_opened() {
    let home = directory("who-refused");
    let text = "[daemon]\nlisten = \"0.0.0.0:0\"\ndata_dir = \"data\"\n[amqp]\nurl = \"amqp://127.0.0.1:1\"\n[[queue]]\nname = \"orders\"\ntarget = { http = \"http://127.0.0.1:1\" }\n";
    let (_, table) = token(&["ana", "--role", "admin"]);
    for (text, cure) in [
        (text.to_owned(), "`sluicegate token new`"),
        (format!("{text}{table}\n"), "`tls_cert_file`"),
    ] {
        let file = home.join("sluicegate.toml");
        std::fs::write(&file, text).unwrap();
        let (status, _, said) = command(&["run", "--config", file.to_str().unwrap()]);
        assert!(
            status != Some(0) && said.contains(cure) && said.contains("listen = \"0.0.0.0:0\""),
            "{status:?} {said}"
        );
    }
}
