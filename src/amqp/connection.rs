//! One connection to the broker: made within a deadline, and cut when it does not end by itself.
//!
//! Lapin's own recovery is not used (it hides a lost connection and gives up without a word), and neither is its own connecting,
//! which waits for ever for a peer that accepts and stays mute. We connect the socket ourselves and keep a duplicate: to shut that
//! down ends whatever lapin does with the original. May import `config`, `rules` and `seams`.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use lapin::tcp::{AsyncTcpStream, RustlsConnector, RustlsConnectorConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use thiserror::Error;
use tokio::time::timeout;

use super::greeting::version;
use crate::config::{Amqp, Queue};
use crate::rules::backoff::full_jitter;
use crate::rules::names::CONSUMER_TAG;
use crate::seams::LinkState;

/// The largest frame, unless `url` says otherwise: RabbitMQ's own default, so that each message that was published can be read.
/// Said before the broker says it, because lapin's two buffers of 32 frames are then asked for zeroed, and take no memory until
/// they are used; buffers that grow later are written over at once, 16 MiB for each queue.
const FRAME: u32 = 131_072;
/// How long name, socket, TLS and AMQP may take to come up together.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a connection may take to close before it is cut.
const CLOSE: Duration = Duration::from_secs(5);
/// The longest wait between two tries while the trouble is young: a restarted broker is used again within 2 s.
const LONGEST_WAIT_AT_FIRST: Duration = Duration::from_secs(1);
/// Tries, some minutes of them, after which the trouble is no longer young.
const YOUNG: u32 = 600;
/// The longest wait between two tries from then on.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The wait, half of it drawn, after a refusal that only people can mend: a fast retry might lock the account.
const SLOW_WAIT: Duration = Duration::from_secs(30);

/// Why there is no connection, channel or consumer; one for each thing that is done about it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Lost {
    /// Password, vhost or permission: retried slowly.
    #[error("the broker refuses us: {0}; check user, password, vhost and permissions")]
    Denied(String),
    /// No trust, or no TLS at the other end: retried slowly.
    #[error(
        "TLS failed: {0}; check the host name in `url`, `ca_file` and the broker's certificate"
    )]
    Untrusted(String),
    /// The client cannot read what the broker sent: retried slowly, because each try costs every message that is out a delivery.
    #[error(
        "the client cannot read what the broker sent ({0}); look for a message with a property or header name that is not UTF-8, and remove it"
    )]
    Unreadable(String),
    /// The queue does not exist.
    #[error("{0}")]
    Missing(String),
    /// Anything else: retried soon.
    #[error("{0}")]
    Broken(String),
}

impl Lost {
    /// Whether only people can mend it.
    pub(super) fn needs_people(&self) -> bool {
        matches!(
            self,
            Self::Denied(_) | Self::Untrusted(_) | Self::Unreadable(_)
        )
    }

    /// What the link is while this is not mended.
    pub(super) fn state(&self) -> LinkState {
        match self {
            Self::Denied(why) => LinkState::Denied(why.clone()),
            Self::Missing(_) => LinkState::QueueMissing,
            Self::Untrusted(_) | Self::Unreadable(_) | Self::Broken(_) => {
                LinkState::Connecting(self.to_string())
            }
        }
    }
}

impl From<lapin::Error> for Lost {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(said) => {
                let text = said.get_message().to_string();
                match said.get_id() {
                    // 403 ACCESS_REFUSED, 530 NOT_ALLOWED (a vhost that is not there or not ours)
                    403 | 530 => Self::Denied(text),
                    404 => Self::Missing(text),
                    _ => Self::Broken(text),
                }
            }
            ErrorKind::ParsingError(_) => Self::Unreadable(error.to_string()),
            _ => Self::Broken(error.to_string()),
        }
    }
}

impl From<std::io::Error> for Lost {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Tries, each later than the one before by full jitter.
#[derive(Debug, Default)]
pub(super) struct Tries(u32);

impl Tries {
    /// The wait before the next try after `lost`.
    pub(super) fn next_wait(&mut self, lost: &Lost) -> Duration {
        let attempt = self.0;
        self.0 = self.0.saturating_add(1);
        match lost {
            lost if lost.needs_people() => SLOW_WAIT / 2 + (SLOW_WAIT / 2).mul_f64(draw()),
            Lost::Broken(_) if attempt < YOUNG => {
                full_jitter(attempt, LONGEST_WAIT_AT_FIRST, draw())
            }
            _ => full_jitter(attempt, LONGEST_WAIT, draw()),
        }
    }

    /// How many in a row.
    pub(super) fn count(&self) -> u32 {
        self.0
    }

    /// It went well for a while: the next trouble is a new one.
    pub(super) fn over(&mut self) {
        self.0 = 0;
    }
}

/// A number from 0 to 1, at random.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that draws at random: a hundred daemons must not come back at the same moment"
)]
pub(super) fn draw() -> f64 {
    rand::RngExt::random(&mut rand::rng())
}

/// A duplicate of a connection's socket. When it is dropped the socket is shut down, and with it lapin's thread ends.
#[derive(Debug)]
struct Cord(TcpStream);

impl Cord {
    fn cut(&self) {
        // An error means that it is shut down already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Drop for Cord {
    fn drop(&mut self) {
        self.cut();
    }
}

/// A connection that is up, or was.
#[derive(Debug)]
pub(super) struct Link {
    connection: Connection,
    cord: Cord,
}

impl Link {
    /// Whether it is up as far as is known.
    pub(super) fn up(&self) -> bool {
        self.connection.status().connected()
    }

    /// Whether the broker has blocked it by an alarm: nothing is written until it unblocks.
    pub(super) fn blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// What happens on the connection as a whole.
    pub(super) fn events(&self) -> impl futures_util::Stream<Item = lapin::Event> + 'static {
        self.connection.events_listener()
    }

    /// A new channel.
    pub(super) async fn channel(&self) -> Result<Channel, Lost> {
        Ok(self.connection.create_channel().await?)
    }

    /// Ends it at once: whoever waits on it gets an error.
    pub(super) fn cut(&self) {
        self.cord.cut();
    }

    /// Closes it in good order, within a deadline.
    pub(super) async fn close(&self) {
        let closed = self.connection.close(200, "goodbye".into());
        if timeout(CLOSE, closed).await.is_err() {
            tracing::warn!("the broker did not answer to the closing of a connection; it is cut");
        }
        self.cut();
    }
}

/// This process as the broker is told: `host#pid`.
fn this_process() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().take(100).collect();
    format!("{host}#{}", std::process::id())
}

/// What the tags of this process's consumers begin with, so that they can be told from those of others.
#[must_use]
pub fn own_tag() -> String {
    format!("{CONSUMER_TAG}{}.", this_process())
}

/// A tag for a new consumer of ours.
pub(super) fn new_tag() -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    format!("{}{}", own_tag(), LAST.fetch_add(1, Ordering::Relaxed))
}

/// A tag that comes after each of [`new_tag`], for one consumer of a channel.
pub(super) fn last_tag() -> String {
    format!("{}z", own_tag())
}

/// Makes connections for one queue in one role.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    settings: Amqp,
    vhost: Option<String>,
    name: String,
}

impl Connector {
    /// A connector that calls itself `sluicegate/<queue> <role>@host#pid`.
    pub(super) fn new(settings: &Amqp, queue: Option<&Queue>, role: &str) -> Self {
        let of = queue.map_or("-", |queue| queue.name.as_str());
        Self {
            settings: settings.clone(),
            vhost: queue.and_then(|queue| queue.vhost.clone()),
            name: format!("sluicegate/{of} {role}@{}", this_process()),
        }
    }

    /// The name that the broker shows.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Who we are at the broker; empty when the address cannot be read.
    pub(super) fn user(&self) -> String {
        let uri = self.uri();
        uri.map(|uri| uri.authority.userinfo.username)
            .unwrap_or_default()
    }

    /// The version that the broker tells before anybody has signed in; none over TLS.
    pub(super) async fn version(&self) -> Option<String> {
        let uri = self.uri().ok()?;
        match uri.scheme {
            AMQPScheme::AMQP => version(&uri.authority.host, uri.authority.port).await,
            AMQPScheme::AMQPS => None,
        }
    }

    /// A connection, or why there is none, within the deadline. May be dropped: then nothing is left behind.
    pub(super) async fn connect(&self) -> Result<Link, Lost> {
        timeout(HANDSHAKE, self.handshake())
            .await
            .unwrap_or_else(|_| {
                let deadline = HANDSHAKE.as_secs();
                Err(Lost::Broken(format!(
                    "the broker did not answer within {deadline} s"
                )))
            })
    }

    async fn handshake(&self) -> Result<Link, Lost> {
        let uri = self.uri()?;
        let runtime = lapin::runtime::default_runtime()?;
        let address = (uri.authority.host.clone(), uri.authority.port);
        let found: Vec<_> = tokio::net::lookup_host(address).await?.collect();
        let stream = AsyncTcpStream::connect(&runtime, found).await?;
        let AsyncTcpStream::Plain(plain) = &stream else {
            return Err(Lost::Broken("a new socket is plain".to_owned()));
        };
        let cord = Cord(plain.get_ref().as_fd().try_clone_to_owned()?.into());
        cord.0.set_nodelay(true)?;
        let stream = match uri.scheme {
            AMQPScheme::AMQP => stream,
            AMQPScheme::AMQPS => {
                let trusting = self.trusting()?;
                let secured = stream.into_rustls(&trusting, &uri.authority.host).await;
                secured.map_err(|error| Lost::Untrusted(error.to_string()))?
            }
        };
        // Lapin asks for a stream whenever it connects. It connects once: it has no retries and does not recover.
        let stream = Mutex::new(Some(stream));
        let hand_over = async move |_: AMQPUri, _| {
            let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            stream.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected).into())
        };
        let connection = Connection::connector(uri, runtime, hand_over, self.properties()).await?;
        Ok(Link { connection, cord })
    }

    fn uri(&self) -> Result<AMQPUri, Lost> {
        let unreadable = |why| Lost::Broken(format!("`url` in [amqp] cannot be read: {why}"));
        let mut uri: AMQPUri = self.settings.url.expose().parse().map_err(unreadable)?;
        if let Some(vhost) = &self.vhost {
            uri.vhost.clone_from(vhost);
        }
        let heartbeat = self.settings.heartbeat.as_secs().clamp(1, 60);
        uri.query.heartbeat = u16::try_from(heartbeat).ok();
        uri.query.frame_max.get_or_insert(FRAME);
        Ok(uri)
    }

    fn properties(&self) -> ConnectionProperties {
        ConnectionProperties::default()
            .with_connection_name(self.name.clone().into())
            .with_client_property("product".into(), "Sluicegate".into())
            .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into())
    }

    /// Whom to trust: the authorities in `ca_file` and nobody else, or the public ones.
    fn trusting(&self) -> Result<RustlsConnector, Lost> {
        let config = match &self.settings.ca_file {
            None => RustlsConnectorConfig::new_with_webpki_root_certs(),
            Some(path) => {
                let certificates = certificates(path)?;
                let certificates = certificates.into_iter().map(Into::into).collect();
                RustlsConnectorConfig::default().with_parsable_certificates(certificates)
            }
        };
        let no_trust = |error: std::io::Error| Lost::Untrusted(error.to_string());
        config.connector_with_no_client_auth().map_err(no_trust)
    }
}

/// The certificates of a PEM file.
fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, Lost> {
    let unreadable = |why: String| Lost::Untrusted(format!("`ca_file` {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let mut found = Vec::new();
    for block in text.split("-----BEGIN CERTIFICATE-----").skip(1) {
        let body = block
            .split("-----END CERTIFICATE-----")
            .next()
            .unwrap_or("");
        let digits: String = body.split_whitespace().collect();
        let certificate = base64::engine::general_purpose::STANDARD.decode(digits);
        found.push(certificate.map_err(|error| unreadable(error.to_string()))?);
    }
    if found.is_empty() {
        return Err(unreadable("there is no certificate in it".to_owned()));
    }
    Ok(found)
}
