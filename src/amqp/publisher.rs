//! The task that owns the publish connection: keeps it up, declares, publishes, and believes a confirm only when it may.
//! May import `config`, `rules` and `seams`.

use std::cell::Cell;
use std::collections::HashSet;
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
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::connection::{Connector, Link, Lost, Tries};
use super::declare::Declarer;
use super::headers::{basic_properties, short, table};
use super::outlet::Order;
use crate::config::Queue;
use crate::rules::message::Field;
use crate::seams::{NotPlaced, Outgoing, Place};

/// How long the broker may take to confirm before the connection counts as dead.
const CONFIRM: Duration = Duration::from_secs(10);
/// Written into each message, so that a returned one tells which it is.
const NUMBER_HEADER: &str = "x-sluicegate-publish";
/// Persistent, as AMQP numbers it.
const PERSISTENT: u8 = 2;

/// What came of one publish, as far as it can tell by itself.
enum Landed {
    /// The broker said something; a message that came back may be another's.
    Said(Confirmation),
    /// It was never sent, or surely not placed.
    Not(NotPlaced),
    /// The confirm did not come in time.
    Late,
}

type Flight = LocalBoxFuture<'static, (i64, String, Landed, Waiting)>;
type Waiting = oneshot::Sender<Result<(), NotPlaced>>;

/// A connection on which messages are published.
struct Line {
    link: Rc<Link>,
    channel: Rc<Channel>,
    declarer: Rc<Declarer>,
    flights: FuturesUnordered<Flight>,
    /// The numbers of messages that came back in the hands of another publish.
    returned: HashSet<i64>,
    last_number: i64,
}

/// Owns the publish connection.
pub(super) struct Publisher {
    connector: Connector,
    queue: Rc<Queue>,
    declare: bool,
    orders: mpsc::UnboundedReceiver<Order>,
    blocked: Rc<Cell<bool>>,
    tries: Tries,
}

impl Publisher {
    /// Not connected yet.
    pub(super) fn new(
        connector: Connector,
        queue: Queue,
        declare: bool,
        orders: mpsc::UnboundedReceiver<Order>,
        blocked: Rc<Cell<bool>>,
    ) -> Self {
        Self {
            connector,
            queue: Rc::new(queue),
            declare,
            orders,
            blocked,
            tries: Tries::default(),
        }
    }

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
        if self.tries.count() % 60 == 0 {
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
        let connector = self.connector.clone();
        let line = async move {
            let link = Rc::new(connector.connect().await?);
            let channel = link.channel().await?;
            let options = ConfirmSelectOptions::default();
            channel.confirm_select(options).await?;
            Ok::<_, Lost>((link, Rc::new(channel)))
        };
        let mute = || Lost::Broken("the broker does not answer".to_owned());
        let line = timeout(CONFIRM, line).map(|line| line.map_err(|_| mute())?);
        let (link, channel) = refusing(&mut self.orders, "connecting to the broker", line).await?;
        let queue = Rc::clone(&self.queue);
        let declarer = Declarer::new(Rc::clone(&link), queue, self.declare);
        Ok(Line {
            link,
            channel,
            declarer: Rc::new(declarer),
            flights: FuturesUnordered::new(),
            returned: HashSet::new(),
            last_number: 0,
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
                // Answers before new orders, so that memory stays bounded and returns are seen in their order.
                biased;
                Some(landed) = line.flights.next() => {
                    if let Some(lost) = self.landed(&mut line, landed) {
                        break lost;
                    }
                }
                event = events.next() => {
                    if let Some(lost) = ended(&line, event) {
                        break lost;
                    }
                }
                Some(order) = self.orders.recv() => line.start(order),
                () = stop.cancelled() => {
                    line.link.close().await;
                    return None;
                }
            }
        };
        line.link.cut();
        // Their frames are gone with the connection; what each knows already is still true.
        while let Some(Some(landed)) = line.flights.next().now_or_never() {
            self.landed(&mut line, landed);
        }
        let (name, in_flight) = (self.connector.name(), line.flights.len());
        tracing::warn!(name, in_flight, reason = %lost, "the connection to publish on is lost");
        Some(lost)
    }

    /// Answers one publish. `Some`: the connection is of no use any more.
    fn landed(
        &mut self,
        line: &mut Line,
        (number, name, landed, waiting): (i64, String, Landed, Waiting),
    ) -> Option<Lost> {
        let came_back = |name: &str| {
            Err(NotPlaced::Refused(format!(
                "the queue {name} does not exist"
            )))
        };
        let mut lost = None;
        let answer = match landed {
            Landed::Said(Confirmation::Ack(None)) if line.returned.remove(&number) => {
                line.declarer.forget(&name);
                came_back(&name)
            }
            Landed::Said(Confirmation::Ack(None)) => {
                self.tries.over();
                Ok(())
            }
            Landed::Said(Confirmation::Ack(Some(message))) => {
                let theirs = number_of(&message);
                if theirs == Some(number) {
                    line.declarer.forget(&name);
                    came_back(&name)
                } else {
                    line.returned.extend(theirs);
                    let why = "another message came back in its place".to_owned();
                    Err(NotPlaced::Unsure(why))
                }
            }
            Landed::Said(_) => Err(NotPlaced::Refused(format!("{name} is full"))),
            Landed::Not(why) => Err(why),
            Landed::Late if line.link.blocked() => {
                // The alarm explains it. The connection stays: a new one would only be blocked by the next message.
                Err(NotPlaced::Unsure(
                    "the broker is blocked by an alarm".to_owned(),
                ))
            }
            Landed::Late => {
                lost = Some(Lost::Broken("a confirm did not come".to_owned()));
                Err(NotPlaced::Unsure("the confirm did not come".to_owned()))
            }
        };
        if line.flights.is_empty() {
            line.returned.clear();
        }
        // Nobody waits any more: then nobody acknowledges the source, which is safe.
        let _ = waiting.send(answer);
        lost.or_else(|| line.broken())
    }
}

impl Line {
    /// Starts a publish; while the broker blocks, it is refused at once.
    fn start(&mut self, order: Order) {
        if self.link.blocked() {
            let why = "the broker is blocked by an alarm".to_owned();
            let _ = order.answer.send(Err(NotPlaced::Unsure(why)));
            return;
        }
        self.last_number += 1;
        let number = self.last_number;
        let (channel, declarer) = (Rc::clone(&self.channel), Rc::clone(&self.declarer));
        let flight = async move {
            let Order {
                place,
                message,
                answer,
                _permit,
            } = order;
            let mut name = String::new();
            let flown = fly(&channel, &declarer, place, message, number, &mut name);
            let landed = match timeout(CONFIRM, flown).await {
                Ok(Ok(said)) => Landed::Said(said),
                Ok(Err(why)) => Landed::Not(why),
                Err(_) => Landed::Late,
            };
            (number, name, landed, answer)
        };
        self.flights.push(flight.boxed_local());
    }

    fn broken(&self) -> Option<Lost> {
        let usable = self.link.up() && self.channel.status().connected();
        (!usable).then(|| Lost::Broken("the channel was closed".to_owned()))
    }
}

async fn fly(
    channel: &Channel,
    declarer: &Declarer,
    place: Place,
    message: Outgoing,
    number: i64,
    name: &mut String,
) -> Result<Confirmation, NotPlaced> {
    name.clone_from(&declarer.place(place, message.at_ms).await?);
    let refused = |why: super::headers::TooLong| NotPlaced::Refused(why.to_string());
    let unsure = |error: lapin::Error| NotPlaced::Unsure(Lost::from(error).to_string());
    let mut headers = message.headers;
    headers.push((NUMBER_HEADER.to_owned(), Field::LongLongInt(number)));
    let mut properties = message.properties;
    properties.delivery_mode = Some(PERSISTENT);
    let properties = basic_properties(&properties, table(&headers).map_err(refused)?);
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    let key = short("the name of a queue", name).map_err(refused)?;
    let properties = properties.map_err(refused)?;
    let sent = channel.basic_publish("".into(), key, options, &message.body, properties);
    sent.await.map_err(unsure)?.await.map_err(unsure)
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
                let _ = order.answer.send(Err(NotPlaced::Unsure(reason.to_owned())));
            }
        }
    }
}
