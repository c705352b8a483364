//! Nodes that are lent to one test at a time: two exist at most, and a healthy one is handed on.

use std::net::TcpStream;
use std::ops::Deref;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::broker::Broker;

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
