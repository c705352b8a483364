//! Places to put messages: one connection that publishes, with a supervisor of its own.
//!
//! One local task, the [`Publisher`], owns the connection; [`AmqpOutlet::publish`] hands it a message and waits for the answer.
//! The message is handed over when `publish` is called, not when its future is first polled: a future that waits for anything, be
//! it Tokio's own budget, may be overtaken by the next.
//!
//! May import `config`, `rules` and `seams`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::connection::{Connector, Tries};
use super::declare::Doubts;
use super::publisher::Publisher;
use crate::config::Queue;
use crate::seams::{NotPlaced, Outgoing, Outlet, Place};

/// How long publishes under way may take at a stop.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// A message to be published, or a place to be made ready, and who waits for what comes of it.
pub(super) struct Order {
    pub(super) place: Place,
    /// `None`: only the place is wanted.
    pub(super) message: Option<Outgoing>,
    pub(super) answer: oneshot::Sender<Result<(), NotPlaced>>,
    /// Held until the publish has come to its end, also when nobody waits any more.
    pub(super) token: TaskTrackerToken,
}

/// RabbitMQ as an [`Outlet`].
#[derive(Clone)]
pub struct AmqpOutlet {
    orders: mpsc::UnboundedSender<Order>,
    /// What was asked for and has not come to its end.
    under_way: TaskTracker,
    /// Written by the publisher: whether a publish would have to wait.
    blocked: Rc<Cell<bool>>,
    /// Written by the declarer: what is doubtful about a place that is used.
    doubts: Doubts,
    task: Rc<Task>,
}

/// The publisher's task ends with the last outlet, or when it is told to.
struct Task {
    stop: CancellationToken,
    handle: RefCell<Option<JoinHandle<()>>>,
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.borrow().as_ref() {
            handle.abort();
        }
    }
}

impl AmqpOutlet {
    /// Starts to connect. To be called inside a `LocalSet`.
    pub(super) fn start(connector: Connector, queue: Queue) -> Self {
        let (orders, taken) = mpsc::unbounded_channel();
        let blocked = Rc::new(Cell::new(true));
        let stop = CancellationToken::new();
        let doubts = Doubts::default();
        let publisher = Publisher {
            connector,
            queue: Rc::new(queue),
            orders: taken,
            blocked: Rc::clone(&blocked),
            doubts: Rc::clone(&doubts),
            tries: Tries::default(),
        };
        // A local task, because nobody polls an outlet between two publishes, and a connection must be kept up and watched.
        let handle = tokio::task::spawn_local(publisher.run(stop.clone()));
        Self {
            orders,
            under_way: TaskTracker::new(),
            blocked,
            doubts,
            task: Rc::new(Task {
                stop,
                handle: RefCell::new(Some(handle)),
            }),
        }
    }

    /// Hands an order to the publisher, in its turn.
    fn order(
        &self,
        place: Place,
        message: Option<Outgoing>,
    ) -> impl Future<Output = Result<(), NotPlaced>> + 'static {
        let handed_over = if self.blocked.get() {
            let why = "there is no connection to publish on, or the broker blocks it by an alarm";
            Err(NotPlaced::NotSent(why.to_owned()))
        } else {
            let (answer, answered) = oneshot::channel();
            let order = Order {
                place,
                message,
                answer,
                token: self.under_way.token(),
            };
            let sent = self.orders.send(order);
            let ended = || NotPlaced::NotSent("publishing has ended".to_owned());
            sent.map(|()| answered).map_err(|_| ended())
        };
        let lost = || NotPlaced::Unsure("the connection to publish on was lost".to_owned());
        async move { handed_over?.await.unwrap_or_else(|_| Err(lost())) }
    }
}

impl Outlet for AmqpOutlet {
    fn publish(
        &self,
        place: Place,
        message: Outgoing,
    ) -> impl Future<Output = Result<(), NotPlaced>> + 'static {
        self.order(place, Some(message))
    }

    fn prepare(&self, place: Place) -> impl Future<Output = Result<(), NotPlaced>> + 'static {
        self.order(place, None)
    }

    fn blocked(&self) -> bool {
        self.blocked.get()
    }

    fn doubts(&self) -> Option<String> {
        self.doubts.borrow().clone()
    }

    async fn close(&self) {
        // Blocked by an alarm, publishes may take for ever.
        self.under_way.close();
        let _all = timeout(LAST_WORDS, self.under_way.wait()).await;
        self.task.stop.cancel();
        let handle = self.task.handle.take();
        if let Some(handle) = handle {
            // It closes its connection within a deadline of its own; an error would be a panic, which is logged.
            let _ = handle.await;
        }
    }
}
