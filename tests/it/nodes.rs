//! Nodes that are lent to one test at a time: two exist at most, and a healthy one is handed on. And the one with plugins, shared by
//! all tests that need those.

use std::net::TcpStream;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

use crate::broker::{Broker, as_rabbitmq};
use crate::keeper::{directory, free_port, tail};

/// How many there are at once.
const OWN: usize = 2;

impl Broker {
    /// A node for this test alone, as long as the test holds it.
    pub(crate) fn own() -> OwnBroker {
        let mut pool = pool();
        while pool.free.is_empty() && pool.lent == OWN {
            pool = POOL.1.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        pool.lent += 1;
        let free = pool.free.pop();
        drop(pool);
        OwnBroker {
            broker: Some(free.unwrap_or_else(Broker::start)),
        }
    }

    /// A node that tests share which ask over HTTP what AMQP cannot tell, move messages by a shovel, or bind to an
    /// exchange that shares messages out.
    pub(crate) fn managed() -> &'static Managed {
        static MANAGED: OnceLock<Managed> = OnceLock::new();
        MANAGED.get_or_init(|| {
            let (home, port) = (directory("managed"), free_port());
            let plugins =
                "[rabbitmq_management,rabbitmq_shovel,rabbitmq_consistent_hash_exchange].";
            std::fs::write(home.join("plugins"), plugins).unwrap();
            let settings = format!(
                "management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\n\
                 collect_statistics_interval = 1000\n"
            );
            Managed {
                broker: Self::start_with(home, &settings, 1),
                port,
            }
        })
    }

    /// Runs a line in which a shell finds `rabbitmqctl`, for this node: what it said.
    pub(crate) fn shell(&self, line: &str) -> Result<String, String> {
        let folder = directory("ctl");
        let script = folder.join("rabbitmqctl");
        let node = self.port();
        let text = format!(
            "#!/bin/sh\nexec /usr/lib/rabbitmq/bin/rabbitmqctl --node sluicegate{node}@localhost --erlang-cookie sluicegate \"$@\"\n"
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let output = as_rabbitmq("sh")
            .args(["-e", "-c", line])
            .env("PATH", format!("{}:{path}", folder.display()))
            .env("HOME", &self.home)
            .env("LANG", "C.UTF-8")
            .env("ERL_EPMD_PORT", self.mapper_port.to_string())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        Err(said + &String::from_utf8_lossy(&output.stderr))
    }

    /// The last lines of its log.
    pub(crate) fn log(&self) -> String {
        tail(&self.home.join("log"), 40)
    }
}

/// A node whose management API listens on a port of its own.
pub(crate) struct Managed {
    pub(crate) broker: Broker,
    /// The port of the API, on 127.0.0.1.
    pub(crate) port: u16,
}

struct Pool {
    free: Vec<Broker>,
    lent: usize,
}

static POOL: (Mutex<Pool>, Condvar) = (
    Mutex::new(Pool {
        free: Vec::new(),
        lent: 0,
    }),
    Condvar::new(),
);

fn pool() -> std::sync::MutexGuard<'static, Pool> {
    POOL.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A borrowed node. It is handed on when its test went well and it runs, else ended.
pub(crate) struct OwnBroker {
    broker: Option<Broker>,
}

impl Deref for OwnBroker {
    type Target = Broker;
    fn deref(&self) -> &Broker {
        self.broker.as_ref().expect("held until it is dropped")
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        let broker = self
            .broker
            .take()
            .filter(|broker| !std::thread::panicking() && broker.healthy());
        let mut pool = pool();
        pool.lent -= 1;
        pool.free.extend(broker);
        POOL.1.notify_one();
    }
}

#[test]
fn a_node_of_our_own_survives_its_death_and_has_streams() {
    let broker = Broker::own();
    let vhost = broker.vhost("survives");
    let streams = broker.eval("rabbit_feature_flags:is_enabled([quorum_queue, stream_queue]).");
    assert_eq!(streams, "true");
    assert_eq!(broker.queues(&vhost), Vec::<String>::new());
    broker.kill_9();
    assert!(TcpStream::connect(("127.0.0.1", broker.port())).is_err());
    broker.restart();
    assert_eq!(broker.queues(&vhost), Vec::<String>::new());
    broker.alarm();
    broker.clear_alarm();
    broker.stop_gracefully();
    broker.restart();
}
