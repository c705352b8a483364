//! A real nginx before a shop, with the example's configuration: one account gets a 404, and nobody else.

use std::fs::File;
use std::process::Command;

use serde_json::json;

use crate::daemon::{Config, Daemon};
use crate::http::request;
use crate::keeper::{Kept, directory, eventually, free_port, tail};
use crate::laws::root;
use crate::scene::secs;

const NGINX: &str = "/usr/sbin/nginx";

/// A daemon whose store begins with these flags; it needs no broker for them.
pub(crate) fn daemon_with(flags: &std::path::Path) -> Daemon {
    let nowhere = format!("amqp://guest:guest@127.0.0.1:{}/%2f", free_port());
    let mut config = Config::new(&nowhere).queue("orders", "http://127.0.0.1:1/", "");
    config.daemon = format!("{}flags_file = {flags:?}\n", config.daemon);
    Daemon::start(&config)
}

struct Nginx {
    port: u16,
    _process: Kept,
}

impl Nginx {
    /// nginx with the example's file, on ports of its own, in front of this daemon.
    fn start(daemon: &Daemon) -> Self {
        let home = directory("nginx");
        let (port, shop) = (free_port(), free_port());
        let ours = daemon.url().replace("http://", "");
        let file = root().join("examples/nginx/nginx.conf");
        let text = std::fs::read_to_string(file).unwrap();
        for known in ["127.0.0.1:7070", "127.0.0.1:8080", "127.0.0.1:8081"] {
            assert!(text.contains(known), "{known} is not in the example");
        }
        let text = text
            .replace("127.0.0.1:7070", &ours)
            .replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"))
            .replace("127.0.0.1:8081", &format!("127.0.0.1:{shop}"));
        std::fs::write(home.join("nginx.conf"), text).unwrap();
        assert!(
            std::path::Path::new(NGINX).exists(),
            "there is no {NGINX}: `tests/run` installs it"
        );
        let log = File::create(home.join("log")).unwrap();
        let process = Kept::start(
            Command::new(NGINX)
                .arg("-p")
                .arg(&home)
                .args(["-c", "nginx.conf"])
                .stderr(log),
        );
        let nginx = Self {
            port,
            _process: process,
        };
        eventually("nginx answers", secs(10), || {
            let answer = request(port, "GET", "/", &[], None);
            answer.map(drop).map_err(|error| {
                let log = tail(&home.join("log"), 20);
                format!("{error}\n{log}")
            })
        });
        nginx
    }

    /// The status of a request of this account, with further headers.
    fn status(&self, account: &str, path: &str, more: &[(&str, &str)]) -> u16 {
        let mut headers = vec![("x-account", account)];
        headers.extend(more);
        let answer = request(self.port, "GET", path, &headers, None).unwrap();
        assert!(answer.status != 200 || answer.body == "welcome to the shop\n");
        answer.status
    }
}

#[test]
fn one_account_gets_a_404_and_everybody_else_the_shop() {
    let daemon = daemon_with(&root().join("examples/nginx/flags.toml"));
    let nginx = Nginx::start(&daemon);
    let mut refused = Vec::new();
    for number in 0..200 {
        let account = match number % 50 {
            17 => "acme".to_owned(),
            other => format!("account-{other}"),
        };
        match nginx.status(&account, &format!("/orders/{number}?page=2"), &[]) {
            200 => {}
            404 => refused.push(account),
            other => panic!("{account}: {other}"),
        }
    }
    assert_eq!(refused, ["acme"; 4]);

    // What a client says of itself is not believed.
    let lies = [("x-sluicegate-account", "acme"), ("x-original-uri", "/a")];
    assert_eq!(nginx.status("emca", "/", &lies), 200);
    let lies = [("x-sluicegate-account", "emca")];
    assert_eq!(nginx.status("acme", "/", &lies), 404);

    // The flag is turned while it runs: nobody, and everybody but acme again.
    let seen = daemon.get("/api/v1/flags/shop.open");
    let body = json!({"values": {"shop.open": false}, "for": "5m", "reason": "closed for lunch"});
    let opened = daemon.send("POST", "/api/v1/openings", &[], &body);
    assert_eq!(opened.status, 201, "{} {}", seen.body, opened.body);
    assert_eq!(nginx.status("emca", "/", &[]), 404);
    let id = opened.json()["id"].as_str().unwrap().to_owned();
    let close = format!("/api/v1/openings/{id}/close");
    let closed = daemon.send("POST", &close, &[], &json!({"reason": "lunch is over"}));
    assert_eq!(closed.status, 200, "{}", closed.body);
    assert_eq!(nginx.status("emca", "/", &[]), 200);
    assert_eq!(nginx.status("acme", "/", &[]), 404);

    // Without the daemon everybody passes, as the example wants it.
    daemon.kill_9();
    assert_eq!(nginx.status("acme", "/", &[]), 200);
    daemon.restart();
    eventually("the rule holds again", secs(10), || {
        match nginx.status("acme", "/", &[]) {
            404 => Ok(()),
            other => Err(other.to_string()),
        }
    });
}
