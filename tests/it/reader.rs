//! A worker behind an admitted queue, as estates have them: it reads the queue, takes its time, acknowledges, and connects again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};

/// A running worker; ends when it is dropped.
pub(crate) struct Reader {
    got: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Reads `queue` one message at a time, `takes` so long for each, and reports each as done to `reports` if that is a queue.
    pub(crate) fn start(url: &str, queue: &str, takes: Duration, reports: Option<&str>) -> Self {
        let (got, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let work = Work {
            url: url.to_owned(),
            queue: queue.to_owned(),
            takes,
            reports: reports.map(str::to_owned),
            got: Arc::clone(&got),
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(work.run());
        });
        Self {
            got,
            stop,
            thread: Some(thread),
        }
    }

    /// The ids that it worked on and acknowledged, in their order.
    pub(crate) fn got(&self) -> Vec<String> {
        self.got
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ends it, and gives the ids that it worked on.
    pub(crate) fn ends(mut self) -> Vec<String> {
        self.end();
        self.got()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.end();
    }
}

struct Work {
    url: String,
    queue: String,
    takes: Duration,
    reports: Option<String>,
    got: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

impl Work {
    async fn run(self) {
        while !self.stop.load(Ordering::Relaxed) {
            if self.connected().await.is_none() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Works until it is told to stop, or something fails.
    async fn connected(&self) -> Option<()> {
        let (connection, channel, mut consumer) = answered(self.consumer()).await?;
        while !self.stop.load(Ordering::Relaxed) {
            let next = tokio::time::timeout(Duration::from_millis(100), consumer.next());
            let Ok(next) = next.await else { continue };
            let Some(delivery) = next.transpose().ok()? else {
                break;
            };
            tokio::time::sleep(self.takes).await;
            let id = delivery.properties.message_id().as_ref();
            let id = id.map(ToString::to_string).unwrap_or_default();
            answered(self.report(&channel, &id)).await?;
            answered(delivery.ack(BasicAckOptions::default())).await?;
            self.got
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(id);
        }
        answered(connection.close(200, "goodbye".into())).await
    }

    async fn consumer(&self) -> Result<(Connection, Channel, Consumer), lapin::Error> {
        let named = ConnectionProperties::default().with_connection_name("a worker".into());
        let connection = Connection::connect(&self.url, named).await?;
        let channel = connection.create_channel().await?;
        channel.basic_qos(1, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let queue = self.queue.as_str().into();
        let consume = channel.basic_consume(queue, "".into(), options, FieldTable::default());
        let consumer = consume.await?;
        Ok((connection, channel, consumer))
    }

    async fn report(&self, channel: &Channel, id: &str) -> Result<(), lapin::Error> {
        let Some(reports) = &self.reports else {
            return Ok(());
        };
        let report = format!(r#"{{"queue":"orders","id":"{id}","outcome":"done","took_ms":5}}"#);
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default();
        let key = reports.as_str().into();
        let sent = channel.basic_publish("".into(), key, options, report.as_bytes(), properties);
        sent.await?;
        Ok(())
    }
}

/// What the broker answers: one that dies while it is asked may leave lapin waiting for ever.
async fn answered<T>(asked: impl Future<Output = Result<T, lapin::Error>>) -> Option<T> {
    let answer = tokio::time::timeout(Duration::from_secs(5), asked);
    answer.await.ok()?.ok()
}
