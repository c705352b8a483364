//! Places to put messages: one connection that publishes, with a supervisor of its own.
//!
//! One local task, the [`Publisher`], owns the connection; [`AmqpOutlet::publish`] hands it a message and waits for the answer.
//! May import `config`, `rules` and `seams`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::connection::Connector;
use super::publisher::Publisher;
use crate::config::Queue;
use crate::seams::{NotPlaced, Outgoing, Outlet, Place};

/// Publishes under way at once: bounds the memory that a broker which does not confirm can take.
const IN_FLIGHT: usize = 1_000;

/// How long publishes under way may take at a stop.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// A message to be published, and who waits for what comes of it.
pub(super) struct Order {
    pub(super) place: Place,
    pub(super) message: Outgoing,
    pub(super) answer: oneshot::Sender<Result<(), NotPlaced>>,
    /// Held until the publish has come to its end, also when nobody waits any more.
    pub(super) permit: OwnedSemaphorePermit,
}

/// RabbitMQ as an [`Outlet`].
#[derive(Clone)]
pub struct AmqpOutlet {
    orders: mpsc::UnboundedSender<Order>,
    permits: Arc<Semaphore>,
    /// Written by the publisher: whether a publish would have to wait.
    blocked: Rc<Cell<bool>>,
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
        let publisher = Publisher::new(connector, queue, taken, Rc::clone(&blocked));
        // A local task, because nobody polls an outlet between two publishes, and a connection must be kept up and watched.
        let handle = tokio::task::spawn_local(publisher.run(stop.clone()));
        Self {
            orders,
            permits: Arc::new(Semaphore::new(IN_FLIGHT)),
            blocked,
            task: Rc::new(Task {
                stop,
                handle: RefCell::new(Some(handle)),
            }),
        }
    }
}

impl Outlet for AmqpOutlet {
    fn publish(
        &self,
        place: Place,
        message: Outgoing,
    ) -> impl Future<Output = Result<(), NotPlaced>> + 'static {
        let (orders, permits) = (self.orders.clone(), Arc::clone(&self.permits));
        let blocked = Rc::clone(&self.blocked);
        async move {
            // What is blocked holds its permits; nobody shall wait for those.
            if blocked.get() {
                let why =
                    "there is no connection to publish on, or the broker blocks it by an alarm";
                return Err(NotPlaced::Unsure(why.to_owned()));
            }
            let closed = || NotPlaced::Unsure("publishing has ended".to_owned());
            let permit = permits.acquire_owned().await.map_err(|_| closed())?;
            let (answer, answered) = oneshot::channel();
            let order = Order {
                place,
                message,
                answer,
                permit,
            };
            orders.send(order).map_err(|_| closed())?;
            answered.await.unwrap_or_else(|_| Err(closed()))
        }
    }

    fn prepare(&self, _place: Place) -> impl Future<Output = Result<(), NotPlaced>> + 'static {
        std::future::ready(Ok(()))
    }

    fn blocked(&self) -> bool {
        self.blocked.get()
    }

    async fn close(&self) {
        // All permits are back when all publishes have come to their end; blocked by an alarm, they may take for ever.
        let all = u32::try_from(IN_FLIGHT).unwrap_or(u32::MAX);
        let _all = timeout(LAST_WORDS, self.permits.acquire_many(all)).await;
        self.permits.close();
        self.task.stop.cancel();
        let handle = self.task.handle.take();
        if let Some(handle) = handle {
            // It closes its connection within a deadline of its own; an error would be a panic, which is logged.
            let _ = handle.await;
        }
    }
}
