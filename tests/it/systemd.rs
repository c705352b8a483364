//! What systemd is told by the real program, over a socket as systemd's own: ready, alive, reading again, stopping.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::daemon::{Config, Daemon};
use crate::keeper::directory;
use crate::scene::secs;

/// What the program tells systemd.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn listening() -> Self {
        let path = directory("systemd").join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        Self {
            socket,
            path: path.to_str().unwrap().to_owned(),
        }
    }

    /// A daemon that this one started, on a broker that is not there: that must not keep it from being ready.
    fn starts(&self, watchdog_ms: u64) -> Daemon {
        let config = Config::new("amqp://guest:guest@127.0.0.1:9/%2f")
            .queue("orders", "http://127.0.0.1:9/", "")
            .under("NOTIFY_SOCKET", &self.path)
            .under("WATCHDOG_USEC", &(watchdog_ms * 1_000).to_string());
        Daemon::start(&config)
    }

    /// The next message, if one comes in time.
    fn next(&self) -> Option<String> {
        let mut message = [0; 4_096];
        let length = self.socket.recv(&mut message).ok()?;
        Some(String::from_utf8(message[..length].to_vec()).unwrap())
    }

    /// Waits for a message with this line, and gives it whole.
    fn told(&self, line: &str) -> String {
        let deadline = Instant::now() + secs(20);
        let mut others = Vec::new();
        while Instant::now() < deadline {
            let Some(message) = self.next() else { continue };
            if message.lines().any(|found| found.starts_with(line)) {
                return message;
            }
            others.push(message);
        }
        panic!("systemd was not told {line}; it was told {others:?}")
    }
}

#[test]
fn systemd_is_told_of_the_start_of_life_of_a_reload_and_of_the_stop() {
    let manager = Manager::listening();
    let daemon = manager.starts(400);
    let ready = manager.told("READY=1");
    let status = "STATUS=0 of 1 queue consuming, 0 openings; orders connecting";
    assert!(
        ready.lines().any(|line| line.starts_with(status)),
        "{ready}"
    );
    for _ in 0..3 {
        manager.told("WATCHDOG=1");
    }
    daemon.reads_again(|text| text);
    let reloading = manager.told("RELOADING=1");
    let time = reloading
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    let time: u128 = time.expect(&reloading).parse().unwrap();
    assert!(time > 0, "{reloading}");
    manager.told("READY=1");
    daemon.ask_to_stop();
    let stopping = manager.told("STOPPING=1");
    assert!(
        stopping.contains("STATUS=stopping: 0 messages"),
        "{stopping}"
    );
    assert!(
        stopping.contains("EXTEND_TIMEOUT_USEC=20000000"),
        "{stopping}"
    );
    assert_eq!(daemon.ended(secs(20)), Some(0), "{}", daemon.log());
}

#[test]
fn a_file_that_is_not_fine_ends_the_reload_too() {
    let manager = Manager::listening();
    let daemon = manager.starts(60_000);
    manager.told("READY=1");
    daemon.reads_again(|text| text.replace("stop_within", "stop_withn"));
    manager.told("RELOADING=1");
    manager.told("READY=1");
    assert!(
        daemon.log().contains("nothing was changed"),
        "{}",
        daemon.log()
    );
    assert_eq!(daemon.terminate(), Some(0));
}
