//! The task that owns the publish connection: keeps it up, declares, publishes, and believes a confirm only when it may.
//! May import `config`, `rules` and `seams`.

use std::cell::Cell;
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::options::ConfirmSelectOptions;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::{Connector, Link, Lost, Tries};
use super::declare::{Declarer, Doubts};
use super::flights::{Believed, Flight, Flights, Waiting};
use super::letter::Letter;
use super::outlet::Order;
use crate::config::Queue;
use crate::seams::{NotPlaced, Place};

/// How long the broker may take to answer before the connection counts as dead.
const ANSWER: Duration = Duration::from_secs(10);
/// Of this the patience with a confirm is counted.
const SECOND: Duration = Duration::from_secs(1);
/// Publishes under way at once: bounds what a broker that does not confirm can keep busy.
const IN_FLIGHT: usize = 1_000;

/// A connection on which messages are published.
struct Line {
    link: Rc<Link>,
    channel: Arc<Channel>,
    declarer: Rc<Declarer>,
    flights: Flights,
    /// Places that are being made ready.
    preparing: FuturesUnordered<LocalBoxFuture<'static, ()>>,
    /// Queues that are being declared because there is something for them, by name, and what that is.
    declaring: FuturesUnordered<LocalBoxFuture<'static, Declared>>,
    until_declared: HashMap<String, Vec<Order>>,
    last_number: i64,
    /// Who we are at the broker.
    user: Rc<str>,
}

/// A queue that was to be declared; `None`: the broker did not answer.
struct Declared(String, Option<Result<(), NotPlaced>>);

/// Owns the publish connection.
pub(super) struct Publisher {
    pub(super) connector: Connector,
    pub(super) queue: Rc<Queue>,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) blocked: Rc<Cell<bool>>,
    pub(super) doubts: Doubts,
    pub(super) tries: Tries,
}

impl Publisher {
    /// Connects, publishes, and connects again, until it is told to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while let Some(line) = stop.run_until_cancelled(self.connect()).await {
            let lost = match line {
                Ok(line) => self.serve(line, &stop).await,
                Err(lost) => Some(lost),
            };
            let Some(lost) = lost else { return };
            if stop.run_until_cancelled(self.wait(lost)).await.is_none() {
                return;
            }
        }
    }

    async fn wait(&mut self, lost: Lost) {
        self.blocked.set(true);
        if self.tries.count().is_multiple_of(60) {
            let name = self.connector.name();
            tracing::warn!(name, reason = %lost, "no connection to publish on");
        }
        let wait = self.tries.next_wait(&lost);
        refusing(
            &mut self.orders,
            &lost.to_string(),
            tokio::time::sleep(wait),
        )
        .await;
    }

    async fn connect(&mut self) -> Result<Line, Lost> {
        let (connector, queue) = (self.connector.clone(), Rc::clone(&self.queue));
        let doubts = Rc::clone(&self.doubts);
        let line = async move {
            let link = Rc::new(connector.connect().await?);
            let channel = link.channel().await?;
            let options = ConfirmSelectOptions::default();
            channel.confirm_select(options).await?;
            let declarer = Declarer::new(Rc::clone(&link), queue, doubts);
            declarer.look_around().await;
            declarer.begin().await;
            Ok::<_, Lost>((link, Arc::new(channel), declarer))
        };
        let mute = || Lost::Broken("the broker does not answer".to_owned());
        let line = timeout(ANSWER, line).map(|line| line.map_err(|_| mute())?);
        let why = "connecting to the broker";
        let (link, channel, declarer) = refusing(&mut self.orders, why, line).await?;
        Ok(Line {
            link,
            channel,
            declarer: Rc::new(declarer),
            flights: Flights::default(),
            preparing: FuturesUnordered::new(),
            declaring: FuturesUnordered::new(),
            until_declared: HashMap::new(),
            last_number: 0,
            user: self.connector.user().into(),
        })
    }

    /// Publishes until it is told to stop, or the connection or its channel is lost. Publishes still under way then are not known
    /// to have been placed.
    async fn serve(&mut self, mut line: Line, stop: &CancellationToken) -> Option<Lost> {
        let mut events = std::pin::pin!(line.link.events());
        let (mut orders, mut seconds) = (Vec::new(), interval(SECOND));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tracing::info!(name = self.connector.name(), "ready to publish");
        let lost = loop {
            self.blocked.set(line.link.blocked());
            let room = line.room();
            tokio::select! {
                // Answers before new orders.
                biased;
                Some((flight, believed)) = line.flights.next() => {
                    self.answer(&line, flight, believed);
                    if let Some(lost) = line.broken() {
                        break lost;
                    }
                }
                event = events.next() => {
                    if let Some(lost) = ended(&line, event) {
                        break lost;
                    }
                }
                _ = seconds.tick(), if line.flights.len() > 0 => {
                    if let Some(lost) = line.second_passed() {
                        break lost;
                    }
                }
                Some(declared) = line.declaring.next() => {
                    if let Some(lost) = line.declared(declared) {
                        break lost;
                    }
                }
                Some(()) = line.preparing.next() => {}
                1.. = self.orders.recv_many(&mut orders, room), if room > 0 => {
                    for order in orders.drain(..) {
                        line.start(order);
                    }
                }
                () = stop.cancelled() => {
                    line.link.close().await;
                    return None;
                }
            }
        };
        line.link.cut();
        // Those that are under way are dropped unanswered: it is not known what came of them.
        let (name, in_flight) = (self.connector.name(), IN_FLIGHT - line.room());
        tracing::warn!(name, in_flight, reason = %lost, "the connection to publish on is lost");
        Some(lost)
    }

    fn answer(&mut self, line: &Line, flight: Flight, believed: Believed) {
        let to = &flight.to;
        let answer = match believed {
            Believed::Placed => {
                self.tries.over();
                Ok(())
            }
            Believed::CameBack => Err(line.declarer.forget(to)),
            Believed::Full => Err(NotPlaced::Full(format!("the queue {to}"))),
            Believed::Doubtful => Err(NotPlaced::Unsure(
                "another message came back in its place".to_owned(),
            )),
            Believed::Not(why) => Err(why),
        };
        if let Some(waiting) = flight.waiting {
            // An error means that nobody waits any more: then nobody acknowledges the source, which is safe.
            let _ = waiting.send(answer);
        }
    }
}

impl Line {
    /// How many more may be started.
    fn room(&self) -> usize {
        let waiting: usize = self.until_declared.values().map(Vec::len).sum();
        IN_FLIGHT.saturating_sub(self.flights.len() + waiting)
    }

    /// Starts a publish, or has its queue declared first, and then all that came for it meanwhile has to wait, too. While the
    /// broker blocks, it is refused at once.
    fn start(&mut self, order: Order) {
        if self.link.blocked() {
            let why = "the broker is blocked by an alarm".to_owned();
            let _ = order.answer.send(Err(NotPlaced::NotSent(why)));
            return;
        }
        let Some(message) = &order.message else {
            return self.prepare(order.place, order.answer);
        };
        let (place, to) = (order.place, self.declarer.name(order.place, message.at_ms));
        if let Some(waiting) = self.until_declared.get_mut(&to) {
            return waiting.push(order);
        }
        if !self.declarer.wants(place, &to) {
            return self.send(order, to);
        }
        self.until_declared.insert(to.clone(), vec![order]);
        let declarer = Rc::clone(&self.declarer);
        let declared = async move {
            let said = timeout(ANSWER, declarer.ready(place, &to)).await;
            Declared(to, said.ok())
        };
        self.declaring.push(declared.boxed_local());
    }

    /// Sends a message to a queue that is there.
    fn send(&mut self, order: Order, to: String) {
        let Some(message) = order.message else { return };
        self.last_number += 1;
        let number = self.last_number;
        match Letter::new(message, number, (order.place, &to), &self.user) {
            Ok(letter) => {
                let flight = Flight {
                    number,
                    to,
                    waiting: Some(order.answer),
                    _token: order.token,
                };
                let publish = letter.publish(Arc::clone(&self.channel));
                self.flights.push(flight, publish);
            }
            // An error means that nobody waits any more.
            Err(why) => {
                let _ = order.answer.send(Err(NotPlaced::Refused(why.to_string())));
            }
        }
    }

    /// Sends what waited for a queue. A broker that does not answer has a dead connection, unless an alarm explains it.
    fn declared(&mut self, Declared(to, said): Declared) -> Option<Lost> {
        let orders = self.until_declared.remove(&to).unwrap_or_default();
        let mute = "the broker did not declare a queue in time";
        let answered = said.is_some();
        let said = said.unwrap_or_else(|| Err(NotPlaced::NotSent(mute.to_owned())));
        for order in orders {
            match &said {
                Ok(()) => self.send(order, to.clone()),
                Err(why) => {
                    let _ = order.answer.send(Err(why.clone()));
                }
            }
        }
        (!answered && !self.link.blocked()).then(|| Lost::Broken(mute.to_owned()))
    }

    /// Whether somebody has waited for too long. They are told, and an alarm explains it: a new connection would only be blocked
    /// by its first message.
    fn second_passed(&mut self) -> Option<Lost> {
        let late = self.flights.second_passed();
        let any = !late.is_empty();
        for waiting in late {
            let why = "the confirm did not come in time".to_owned();
            let _ = waiting.send(Err(NotPlaced::Unsure(why)));
        }
        (any && !self.link.blocked()).then(|| Lost::Broken("a confirm did not come".to_owned()))
    }

    /// Starts to make a place ready.
    fn prepare(&mut self, place: Place, waiting: Waiting) {
        let declarer = Rc::clone(&self.declarer);
        let prepared = async move {
            let said = timeout(ANSWER, declarer.prepare(place)).await;
            let mute = || NotPlaced::Unsure("the broker did not declare it in time".to_owned());
            // An error means that nobody waits any more.
            let _ = waiting.send(said.unwrap_or_else(|_| Err(mute())));
        };
        self.preparing.push(prepared.boxed_local());
    }

    fn broken(&self) -> Option<Lost> {
        let lost = |what: &str| Some(Lost::Broken(format!("the {what} was closed")));
        match (self.link.up(), self.channel.status().connected()) {
            (true, true) => None,
            (true, false) => lost("channel"),
            (false, _) => lost("connection"),
        }
    }
}

/// Whether what happened on the connection ends it. Errors of the declarer's channel are told here, too, and do not.
fn ended(line: &Line, event: Option<lapin::Event>) -> Option<Lost> {
    match event {
        Some(lapin::Event::Error(error)) if !line.link.up() => Some(error.into()),
        Some(_) => line.broken(),
        None => Some(Lost::Broken("the connection has ended".to_owned())),
    }
}

/// Does `work` and meanwhile answers all who want to publish that it cannot be done now.
async fn refusing<T>(
    orders: &mut mpsc::UnboundedReceiver<Order>,
    reason: &str,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            Some(order) = orders.recv() => {
                let _ = order.answer.send(Err(NotPlaced::NotSent(reason.to_owned())));
            }
        }
    }
}
