//! The bare way from a queue to an HTTP worker: so many POSTs at once by hyper-util's pooled client, each acknowledged when its
//! answer is there, and no acknowledgement awaited.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use lapin::options::BasicAckOptions;

use crate::consume::{Order, consumer};
use crate::load::channel;

type Http = Client<HttpConnector, Full<Bytes>>;

/// What is posted, and where to.
#[derive(Debug, Clone)]
pub struct Posted {
    /// From where.
    pub order: Order,
    /// The worker's address.
    pub to: String,
    /// How many at once.
    pub slots: usize,
}

/// Posts message after message until it is ended: the worker says when it has them all.
///
/// # Errors
/// When the broker or the worker is gone.
pub async fn post_each(what: &Posted) -> Result<()> {
    let (_connection, channel) = channel(&what.order.url).await?;
    let order = &what.order;
    let mut consumer = consumer(&channel, &order.queue, order.prefetch).await?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Http = Client::builder(TokioExecutor::new()).build(connector);
    let address: Uri = what.to.parse()?;
    let mut posted = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some((tag, answered)) = posted.next() => {
                let answered: Result<()> = answered;
                answered?;
                let _ = channel.basic_ack(tag, BasicAckOptions::default()).now_or_never();
            }
            next = consumer.next(), if posted.len() < what.slots => {
                let delivery = next.context("the queue was cancelled")??;
                let tag = delivery.delivery_tag;
                let answered = post(&client, &address, delivery.data.into());
                posted.push(answered.map(move |answered| (tag, answered)));
            }
        }
    }
}

fn post(client: &Http, address: &Uri, body: Bytes) -> impl Future<Output = Result<()>> + use<> {
    let request = Request::post(address.clone())
        .header("content-type", "application/json")
        .body(Full::new(body));
    let asked = request.map(|request| client.request(request));
    async move {
        let answer = asked?.await?;
        ensure!(
            answer.status().is_success(),
            "the worker said {}",
            answer.status()
        );
        answer.into_body().collect().await?;
        Ok(())
    }
}
