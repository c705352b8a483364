//! One queue with all around it: a vhost, a ledger, a worker and the daemon between them. And the question that every test of a
//! fault ends with: was anything lost?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lapin::types::AMQPValue;

use crate::broker::Broker;
use crate::daemon::{Config, Daemon};
use crate::keeper::eventually;
use crate::ledger::{Kind, Ledger, Message};
use crate::scrape::Scrape;
use crate::worker::Worker;

/// The queue of every scene.
pub(crate) const QUEUE: &str = "orders";

/// Runs a test for both kinds of queue, as tests of their own: `classic::name` and `quorum::name`.
macro_rules! on_both_kinds {
    ($($test:ident),+ $(,)?) => {
        mod classic {
            $(#[test] fn $test() { super::$test(crate::ledger::Kind::Classic); })+
        }
        mod quorum {
            $(#[test] fn $test() { super::$test(crate::ledger::Kind::Quorum); })+
        }
    };
}
pub(crate) use on_both_kinds;

/// Seconds.
pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One queue with all around it.
pub(crate) struct Scene<'b> {
    pub(crate) broker: &'b Broker,
    pub(crate) vhost: String,
    pub(crate) ledger: Ledger,
    pub(crate) worker: Worker,
    published: Mutex<Vec<String>>,
    /// What others than the HTTP worker got.
    also_worked: Mutex<Vec<String>>,
}

impl<'b> Scene<'b> {
    /// A vhost with an empty queue of this kind.
    pub(crate) fn set(broker: &'b Broker, name: &str, kind: Kind) -> Self {
        Self::set_with(broker, name, kind, &[])
    }

    /// A vhost with an empty queue of this kind and with these arguments.
    pub(crate) fn set_with(
        broker: &'b Broker,
        name: &str,
        kind: Kind,
        arguments: &[(&str, AMQPValue)],
    ) -> Self {
        let vhost = broker.vhost(&format!("{name}-{}", kind.word()));
        let ledger = Ledger::at(&broker.url(&vhost));
        ledger.declare(QUEUE, kind, arguments);
        Self {
            broker,
            vhost,
            ledger,
            worker: Worker::start(),
            published: Mutex::default(),
            also_worked: Mutex::default(),
        }
    }

    /// The file of a daemon that serves the queue, with further settings of the queue.
    pub(crate) fn config(&self, settings: &str) -> Config {
        Config::new(&self.broker.url(&self.vhost)).queue(QUEUE, &self.worker.url(), settings)
    }

    /// Starts such a daemon and waits until it takes messages.
    pub(crate) fn daemon(&self, settings: &str) -> Daemon {
        let daemon = Daemon::start(&self.config(settings));
        daemon.ready(secs(10));
        daemon
    }

    /// Publishes messages; those that the broker confirmed must be found at the end.
    pub(crate) fn publish(&self, messages: &[Message]) {
        let confirmed = self.ledger.publish(QUEUE, messages);
        self.expect_found(confirmed);
    }

    /// Publishes `count` plain messages with the ids `name-0`, `name-1`, …
    pub(crate) fn publish_many(&self, name: &str, count: usize) {
        let messages: Vec<Message> = (0..count)
            .map(|number| Message::new(format!("{name}-{number}")))
            .collect();
        self.publish(&messages);
    }

    /// Publishes while the broker is being broken, and does not connect again. Gives how many were confirmed.
    pub(crate) fn try_publish_once(&self, name: &str, count: usize) -> usize {
        let messages: Vec<Message> = (0..count)
            .map(|number| Message::new(format!("{name}-{number}")))
            .collect();
        let confirmed = self.ledger.try_publish(QUEUE, &messages);
        let number = confirmed.len();
        self.expect_found(confirmed);
        number
    }

    /// These ids must be found at the end, too.
    pub(crate) fn expect_found(&self, ids: Vec<String>) {
        self.published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(ids);
    }

    /// Somebody else than the HTTP worker got these: whoever reads an admitted queue.
    pub(crate) fn also_worked(&self, ids: impl IntoIterator<Item = String>) {
        self.also_worked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(ids);
    }

    /// Waits until the worker got this id.
    pub(crate) fn worker_gets(&self, id: &str, within: Duration) {
        eventually(&format!("the worker gets {id}"), within, || {
            if self.worker.ids().contains_key(id) {
                Ok(())
            } else {
                Err(format!("it got {} others", self.worker.ids().len()))
            }
        });
    }

    /// Waits until the worker got this many different ids.
    pub(crate) fn worker_got(&self, count: usize, within: Duration) {
        eventually(&format!("the worker got {count} messages"), within, || {
            let got = self.worker.ids().len();
            (got >= count).then_some(()).ok_or(format!("it got {got}"))
        });
    }

    /// Waits until nothing is left in the queue, in delay queues or in hand, and gives the numbers then.
    pub(crate) fn settles(&self, daemon: &Daemon, within: Duration) -> Scrape {
        // A message on its way from one queue to the next is seen in neither for a moment: look several times.
        let mut calm = 0;
        let mut received = f64::NAN;
        eventually("everything is settled", within, || {
            let now = daemon.try_metrics()?;
            let same = now.of_queue("messages_received_total", QUEUE);
            let somewhere = self.something_somewhere(&now);
            calm = if somewhere.is_none() && same.to_bits() == received.to_bits() {
                calm + 1
            } else {
                0
            };
            received = same;
            match somewhere {
                Some(place) => Err(format!("something is {place}\n{}", daemon.log())),
                None if calm < 4 => Err("it was not yet calm".to_owned()),
                None => Ok(now),
            }
        })
    }

    fn something_somewhere(&self, now: &Scrape) -> Option<String> {
        if now.of_queue("messages_in_hand", QUEUE) != 0.0 {
            return Some("in hand".to_owned());
        }
        match self.broker.messages(&self.vhost) {
            Err(why) => Some(format!("where it cannot be seen: {why}")),
            Ok(queues) => queues
                .into_iter()
                .find(|(_, count)| *count > 0)
                .map(|(queue, count)| format!("in {queue}: {count}")),
        }
    }

    /// Looks everywhere, and says that nothing was lost. The daemon must have ended, so that what it held is back.
    pub(crate) fn nothing_lost(&self, daemon: Daemon) -> Found {
        daemon.always_added_up();
        drop(daemon);
        let found = self.look_everywhere();
        let published = self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let everywhere = found.everywhere();
        let lost: Vec<&String> = published
            .iter()
            .filter(|id| !everywhere.contains(id.as_str()))
            .collect();
        assert!(
            lost.is_empty(),
            "lost {} of {}: {:?}",
            lost.len(),
            published.len(),
            &lost[..lost.len().min(20)]
        );
        found
    }

    fn look_everywhere(&self) -> Found {
        let mut found = Found {
            worked: self.worker.ids(),
            ..Found::default()
        };
        let also = self.also_worked.lock();
        for id in also.unwrap_or_else(PoisonError::into_inner).iter() {
            *found.worked.entry(id.clone()).or_default() += 1;
        }
        for queue in self.broker.queues(&self.vhost) {
            if queue.starts_with("sluicegate.park.") {
                found.parked.extend(self.ledger.read_stream(&queue));
            } else if queue.starts_with("sluicegate.dead.") {
                found.dead.extend(self.ledger.read_stream(&queue));
            } else if queue == QUEUE {
                found.remaining.extend(self.ledger.drain(&queue));
            } else {
                let messages = self.ledger.drain(&queue);
                found.elsewhere.insert(queue, messages);
            }
        }
        found
    }
}

/// Where everything is at the end.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// How often the worker got each id.
    pub(crate) worked: BTreeMap<String, usize>,
    /// What lies in the park.
    pub(crate) parked: Vec<Message>,
    /// What lies with the dead letters.
    pub(crate) dead: Vec<Message>,
    /// What is still in the queue.
    pub(crate) remaining: Vec<Message>,
    /// What lies in other queues: delay queues, dead-letter queues of the test's own.
    pub(crate) elsewhere: BTreeMap<String, Vec<Message>>,
}

impl Found {
    fn everywhere(&self) -> BTreeSet<&str> {
        let lists = [&self.parked, &self.dead, &self.remaining];
        lists
            .into_iter()
            .chain(self.elsewhere.values())
            .flatten()
            .map(|message| message.id.as_str())
            .chain(self.worked.keys().map(String::as_str))
            .collect()
    }

    /// How many messages the worker got more than once, counting each further time.
    pub(crate) fn repeated(&self) -> usize {
        self.worked.values().map(|times| times - 1).sum()
    }
}
