//! The task that owns the publish connection: keeps it up, declares, publishes, and believes a confirm only when it may.
//! May import `config`, `rules` and `seams`.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::AMQPValue;
use lapin::{Channel, Confirmation};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::connection::{Connector, Link, Lost, Tries};
use super::declare::{Declarer, Doubts};
use super::flights::{Believed, Flights, Landed, Said, Waiting};
use super::headers::{basic_properties, short, table};
use super::outlet::Order;
use crate::config::Queue;
use crate::rules::message::Field;
use crate::seams::{NotPlaced, Outgoing, Place};

/// How long the broker may take to confirm before the connection counts as dead.
const CONFIRM: Duration = Duration::from_secs(10);
/// Publishes under way at once: bounds what a broker that does not confirm can keep busy.
const IN_FLIGHT: usize = 1_000;
/// Written into each message, so that a returned one tells which it is.
const NUMBER_HEADER: &str = "x-sluicegate-publish";
/// Persistent, as AMQP numbers it.
const PERSISTENT: u8 = 2;

/// A connection on which messages are published.
struct Line {
    link: Rc<Link>,
    channel: Rc<Channel>,
    declarer: Rc<Declarer>,
    flights: Flights,
    /// Places that are being made ready.
    preparing: FuturesUnordered<LocalBoxFuture<'static, ()>>,
    late: Rc<Notify>,
    last_number: i64,
    /// Who we are at the broker.
    user: Rc<str>,
}

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
            Ok::<_, Lost>((link, Rc::new(channel), declarer))
        };
        let mute = || Lost::Broken("the broker does not answer".to_owned());
        let line = timeout(CONFIRM, line).map(|line| line.map_err(|_| mute())?);
        let why = "connecting to the broker";
        let (link, channel, declarer) = refusing(&mut self.orders, why, line).await?;
        Ok(Line {
            link,
            channel,
            declarer: Rc::new(declarer),
            flights: Flights::default(),
            preparing: FuturesUnordered::new(),
            late: Rc::default(),
            last_number: 0,
            user: self.connector.user().into(),
        })
    }

    /// Publishes until it is told to stop, or the connection or its channel is lost. Publishes still under way then are not known
    /// to have been placed.
    async fn serve(&mut self, mut line: Line, stop: &CancellationToken) -> Option<Lost> {
        let mut events = std::pin::pin!(line.link.events());
        tracing::info!(name = self.connector.name(), "ready to publish");
        let lost = loop {
            self.blocked.set(line.link.blocked());
            tokio::select! {
                // Answers before new orders.
                biased;
                Some(answer) = line.flights.next() => {
                    self.answer(&line, answer);
                    if let Some(lost) = line.broken() {
                        break lost;
                    }
                }
                event = events.next() => {
                    if let Some(lost) = ended(&line, event) {
                        break lost;
                    }
                }
                () = line.late.notified() => {
                    // An alarm explains it, and a new connection would only be blocked by its first message.
                    if !line.link.blocked() {
                        break Lost::Broken("a confirm did not come".to_owned());
                    }
                }
                Some(()) = line.preparing.next() => {}
                Some(order) = self.orders.recv(), if line.flights.len() < IN_FLIGHT => line.start(order),
                () = stop.cancelled() => {
                    line.link.close().await;
                    return None;
                }
            }
        };
        line.link.cut();
        // Those that are under way are dropped unanswered: it is not known what came of them.
        let (name, in_flight) = (self.connector.name(), line.flights.len());
        tracing::warn!(name, in_flight, reason = %lost, "the connection to publish on is lost");
        Some(lost)
    }

    fn answer(&mut self, line: &Line, (landed, believed): (Landed, Believed)) {
        let name = &landed.name;
        let answer = match believed {
            Believed::Placed => {
                self.tries.over();
                Ok(())
            }
            Believed::CameBack => Err(line.declarer.forget(name)),
            Believed::Full => Err(NotPlaced::Full(format!("the queue {name}"))),
            Believed::Doubtful => Err(NotPlaced::Unsure(
                "another message came back in its place".to_owned(),
            )),
            Believed::Not(why) => Err(why),
        };
        if let Some(waiting) = landed.waiting {
            // An error means that nobody waits any more: then nobody acknowledges the source, which is safe.
            let _ = waiting.send(answer);
        }
    }
}

impl Line {
    /// Starts a publish; while the broker blocks, it is refused at once.
    fn start(&mut self, order: Order) {
        if self.link.blocked() {
            let why = "the broker is blocked by an alarm".to_owned();
            let _ = order.answer.send(Err(NotPlaced::NotSent(why)));
            return;
        }
        let Some(message) = order.message else {
            return self.prepare(order.place, order.answer);
        };
        self.last_number += 1;
        let number = self.last_number;
        let (channel, declarer) = (Rc::clone(&self.channel), Rc::clone(&self.declarer));
        let (late, user) = (Rc::clone(&self.late), Rc::clone(&self.user));
        let name = declarer.name(order.place, message.at_ms);
        let flight = async move {
            let mut waiting = Some(order.answer);
            let flown = fly(
                &channel,
                &declarer,
                order.place,
                message,
                number,
                &name,
                &user,
            );
            let said = followed(flown, &mut waiting, &late).await;
            Landed {
                number,
                name,
                said,
                waiting,
                _token: order.token,
            }
        };
        self.flights.push(flight);
    }

    /// Starts to make a place ready.
    fn prepare(&mut self, place: Place, waiting: Waiting) {
        let declarer = Rc::clone(&self.declarer);
        let prepared = async move {
            let said = timeout(CONFIRM, declarer.prepare(place)).await;
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

/// Follows a publish to its end: only the answer has a deadline. Late, it may still be placed, and may carry news of another.
async fn followed(
    flown: impl Future<Output = Result<Said, NotPlaced>>,
    waiting: &mut Option<Waiting>,
    late: &Notify,
) -> Result<Said, NotPlaced> {
    let mut flown = std::pin::pin!(flown);
    if let Ok(said) = timeout(CONFIRM, &mut flown).await {
        return said;
    }
    let why = NotPlaced::Unsure("the confirm did not come in time".to_owned());
    // An error means that nobody waits any more.
    let _ = waiting.take().map(|waiting| waiting.send(Err(why)));
    late.notify_one();
    flown.await
}

async fn fly(
    channel: &Channel,
    declarer: &Declarer,
    place: Place,
    message: Outgoing,
    number: i64,
    name: &str,
    user: &str,
) -> Result<Said, NotPlaced> {
    declarer.ready(place, name).await?;
    let refused = |why: super::headers::TooLong| NotPlaced::Refused(why.to_string());
    let unsure = |error: lapin::Error| NotPlaced::Unsure(Lost::from(error).to_string());
    let mut headers = message.headers;
    headers.push((NUMBER_HEADER.to_owned(), Field::LongLongInt(number)));
    let mut properties = message.properties;
    if place != Place::Admitted {
        properties.delivery_mode = Some(PERSISTENT);
    }
    // The broker would close the channel over another's.
    properties.user_id = properties.user_id.filter(|theirs| theirs == user);
    let properties = basic_properties(&properties, table(&headers).map_err(refused)?);
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    let key = short("the name of a queue", name).map_err(refused)?;
    let properties = properties.map_err(refused)?;
    let sent = channel.basic_publish("".into(), key, options, &message.body, properties);
    Ok(match sent.await.map_err(unsure)?.await.map_err(unsure)? {
        Confirmation::Ack(None) => Said::Taken,
        Confirmation::Ack(Some(message)) => Said::CameBack(number_of(&message)),
        Confirmation::Nack(_) | Confirmation::NotRequested => Said::Full,
    })
}

fn number_of(message: &BasicReturnMessage) -> Option<i64> {
    let headers = message.delivery.properties.headers().as_ref()?;
    match headers.inner().get(NUMBER_HEADER)? {
        AMQPValue::LongLongInt(number) => Some(*number),
        _ => None,
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
