//! The file: what needs a restart. What an operator turns is a flag.
//!
//! Two kinds of things, and the line between them: what people write (declared once, as data, in `list`) and what was built
//! from it ([`Settings`], here). Nothing but [`read`] makes a [`Settings`]; whoever holds one need not check it again.
//!
//! The way of a file: `file` reads it, `tree` keeps what stands where, `overlay` lays the environment over it, `walk` checks it
//! against the list, `build` makes the settings. Whatever is wrong on the way is noted in `problems`, and told all at once.
//! May import `rules`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::rules::facts::Reading;
use crate::rules::names::{FlagKey, QueueName};
pub use crate::rules::order::Order;
use crate::rules::relief::valve::Bounds;
pub use crate::rules::settlement::{Disposition, OnUnknown};
use secret::{Key, Secret};

pub use difference::{Difference, difference};
pub use limits::Limits;
pub use overlay::{Environment, environment};
pub use preset::reads_celery;
pub use problems::{Problem, Problems};
pub use schema::schema;
pub use url::without_userinfo;

mod admitted;
mod broker_url;
mod build;
mod difference;
mod file;
pub mod flags;
mod limits;
mod list;
mod list_flags;
mod list_people;
mod list_pool;
mod list_queues;
mod management;
mod near;
mod notify;
mod overlay;
pub mod people;
pub mod pool;
mod preset;
mod problems;
pub mod provider;
mod queue;
mod relief;
mod schema;
pub mod secret;
mod shape;
mod tree;
mod url;
mod walk;

#[cfg(test)]
mod tests;

/// Reads the file at `path`, with the overrides of `environment` (see [`environment`]) laid over it.
///
/// # Errors
/// When anything in it is unknown, missing, out of range or contradicts something else: all of it, each with its place and cure.
pub fn read(path: &Path, environment: &Environment) -> Result<Settings, Problems> {
    read_text(&path.display().to_string(), &file::text(path)?, environment)
}

/// Reads the text of a file. `name` is its path, from whose folder relative paths are read, and which errors begin with.
///
/// # Errors
/// See [`read`].
pub fn read_text(name: &str, text: &str, environment: &Environment) -> Result<Settings, Problems> {
    let mut tree = file::parse(name, text, list::FILE)?;
    let mut notes = problems::Notes::default();
    overlay::apply(&mut tree, environment, &mut notes);
    walk::check(&tree, &tree::Place::Whole, list::FILE, "", &mut notes);
    let around = build::Around {
        folder: Path::new(name).parent().unwrap_or(Path::new("")),
        environment,
    };
    match build::settings(&tree, &around, &mut notes) {
        Some(settings) if notes.is_empty() => Ok(settings),
        Some(_) => Err(notes.conclude(name, text)),
        None => {
            if notes.is_empty() {
                let help = "please report it with the file that led to it";
                notes.add(
                    &tree::Place::Whole,
                    "cannot be read, and nobody said why",
                    help,
                );
            }
            Err(notes.conclude(name, text))
        }
    }
}

/// All that the daemon was told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[daemon]`
    pub daemon: Daemon,
    /// `[metrics] listen`: a door of its own for Prometheus.
    pub metrics_listen: Option<SocketAddr>,
    /// `[ofrep] listen`: a door of its own for services.
    pub ofrep_listen: Option<SocketAddr>,
    /// `[[token]]`
    pub tokens: Vec<people::Token>,
    /// `[[user]]`
    pub users: Vec<people::User>,
    /// `[amqp]`
    pub amqp: Amqp,
    /// `[management]`
    pub management: Option<Management>,
    /// `[[notify]]`
    pub notify: Vec<Notify>,
    /// `[[provider]]`
    pub providers: Vec<provider::Provider>,
    /// `[[pool]]`
    pub pools: Vec<pool::Pool>,
    /// `[[queue]]`
    pub queues: Vec<Queue>,
    /// `[limits]` and `[flags]`
    pub limits: Limits,
}

/// `[daemon]`
#[derive(Debug, Clone)]
pub struct Daemon {
    /// Where the API and the pages are served.
    pub listen: SocketAddr,
    /// Host names, beside loopback's own, by which the API may be called.
    pub hosts: Vec<String>,
    /// Where flags and history are kept.
    pub data_dir: PathBuf,
    /// The flags with which a new store begins; see [`flags::read`].
    pub flags_file: Option<PathBuf>,
    /// How long a stop may take before stragglers are named and cut off.
    pub stop_within: Duration,
    /// The log filter, such as `info` or `sluicegate=debug`.
    pub log: String,
    /// The certificate of the doors; `None`: they speak plainly.
    pub tls: Option<people::TlsFiles>,
    /// The proxies whose word is taken for who asks.
    pub proxies: people::Proxies,
}

/// `[amqp]`
#[derive(Debug, Clone)]
pub struct Amqp {
    /// The broker, with user, password and vhost. Shown without them.
    pub url: Secret,
    /// A PEM file with the authorities that may have signed the broker's certificate; `None`: the public ones.
    pub ca_file: Option<PathBuf>,
    /// The vhost that the URL names.
    pub vhost: String,
    /// Whether delay queues and park streams are declared by us.
    pub declare: bool,
    /// The heartbeat that is asked for.
    pub heartbeat: Duration,
}

/// `[management]`: RabbitMQ's HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Management {
    /// Its address, without user and without `/` at the end: `http://127.0.0.1:15672`.
    pub url: String,
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: Secret,
    /// A PEM file with the authorities that may have signed its certificate; `None`: those that the system knows.
    pub ca_file: Option<PathBuf>,
}

/// `[[notify]]`: a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// Where notices are posted; shown by its host alone.
    pub url: Secret,
    /// The host of the URL, for people.
    pub host: String,
    /// The kinds of notices that it is told.
    pub events: Vec<crate::rules::notice::Kind>,
    /// What signs the notices.
    pub secret: Option<Key>,
    /// A PEM file with the authorities that may have signed its certificate; `None`: those that the system knows.
    pub ca_file: Option<PathBuf>,
}

/// Where a run message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetSettings {
    /// An HTTP worker at this URL (`http://…`).
    Http(String),
    /// The daemon's own Rust handler of this name (the demo's worker, or one of a program that embeds the library).
    Handler(String),
    /// The admitted queue of this name, in the same vhost, which workers read.
    Queue(String),
    /// The pool of providers of this name.
    Pool(std::sync::Arc<str>),
}

/// How the park is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkSettings {
    /// Streams, one for each day; else plain durable queues (for brokers without streams).
    pub streams: bool,
    /// How long parked messages are kept.
    pub max_age: Duration,
    /// How many bytes one day's stream may hold.
    pub max_bytes: u64,
}

/// `[queue.relief]`
#[derive(Debug, Clone, PartialEq)]
pub struct ReliefSettings {
    /// What the automatic valve may shed.
    pub bounds: Bounds,
    /// What becomes of a key that brings too much.
    pub bad_actor: BadActor,
    /// What is laid on `degrade` for such a key.
    pub degrade_to: String,
    /// For how long.
    pub degrade_for: Duration,
}

impl Default for ReliefSettings {
    fn default() -> Self {
        Self {
            bounds: Bounds::default(),
            bad_actor: BadActor::Observe,
            degrade_to: "reject".to_owned(),
            degrade_for: Duration::from_secs(30 * 60),
        }
    }
}

/// What becomes of a key that brings more than three times its fair share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadActor {
    /// It is reported.
    Observe,
    /// While the automatic valve sheds, it is cut to its fair share.
    Limit,
    /// An opening degrades it.
    Degrade,
}

impl BadActor {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Observe, Self::Limit, Self::Degrade];

    /// Its word, as the file has it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Limit => "limit",
            Self::Degrade => "degrade",
        }
    }
}

/// `[[queue]]`
#[derive(Debug, Clone)]
pub struct Queue {
    /// The name by which flags and metrics call it: with its vhost when it names one.
    pub name: QueueName,
    /// The name at the broker.
    pub broker_name: String,
    /// The vhost, when it is not that of `[amqp] url`.
    pub vhost: Option<String>,
    /// Whether the queues that we keep beside it are declared by us, as `[amqp]` says; if not, they have fixed names, and there
    /// are no lanes.
    pub declare: bool,
    /// Messages at the target at once.
    pub slots: u32,
    /// Messages that the broker may have out with us; from slots when the file does not say.
    pub prefetch: u16,
    /// Where id, age, key and attributes are found.
    pub reading: Reading,
    /// A job finished later than this after it was published counts as late; sheds nothing by itself.
    pub deadline_after: Option<Duration>,
    /// Where run messages go.
    pub target: TargetSettings,
    /// How often a message is tried in all.
    pub attempts: u32,
    /// Whether the order of its messages is kept.
    pub order: Order,
    /// What happens to skipped messages.
    pub on_skip: Disposition,
    /// What happens to expired messages.
    pub on_expired: Disposition,
    /// What happens to rejected messages.
    pub on_rejected: Disposition,
    /// What happens to messages that may have been done.
    pub on_unknown: OnUnknown,
    /// Whether the file says so; else it follows from the target.
    pub on_unknown_is_written: bool,
    /// The light versions that `degrade` may name.
    pub modes: Vec<String>,
    /// Flags whose values are told to the worker.
    pub pass: Vec<FlagKey>,
    /// The queue that takes dead letters, instead of our own stream.
    pub dead_letter_queue: Option<String>,
    /// The queue by which workers behind an admitted queue report what came of their work.
    pub outcomes_queue: Option<String>,
    /// The queue that is told what came of the jobs of its pool.
    pub results_queue: Option<String>,
    /// The park.
    pub park: ParkSettings,
    /// What the automatic valve may do.
    pub relief: ReliefSettings,
    /// How long a message may be held undispatched within the prefetch.
    pub hold: Duration,
}

impl Settings {
    /// The vhost in which a queue lies.
    #[must_use]
    pub fn vhost_of<'a>(&'a self, queue: &'a Queue) -> &'a str {
        queue.vhost.as_deref().unwrap_or(&self.amqp.vhost)
    }
}

impl Queue {
    /// The disposition of a shed message.
    #[must_use]
    pub fn disposition(&self, why: crate::rules::verdict::Why) -> Disposition {
        use crate::rules::verdict::Why;
        match why {
            Why::Skipped => self.on_skip,
            Why::Expired => self.on_expired,
            Why::Rejected => self.on_rejected,
            // Of a blocked key nothing is lost: it is replayed when what failed is mended.
            Why::Blocked => Disposition::Park,
            _ => Disposition::DeadLetter,
        }
    }

    /// Whether the file says when a job of this queue is too late.
    #[must_use]
    pub fn knows_deadlines(&self) -> bool {
        self.deadline_after.is_some() || self.reading.deadline.is_some()
    }

    /// The admitted queue; empty when the target is none.
    #[must_use]
    pub fn admitted(&self) -> &str {
        match &self.target {
            TargetSettings::Queue(name) => name,
            TargetSettings::Http(_) | TargetSettings::Handler(_) | TargetSettings::Pool(_) => "",
        }
    }

    /// Whether the prefetch follows from the slots, and may grow while much is shed; one that was written is a bound. With order it
    /// stays as it is: it is changed by cancel and consume, and between the two a standby would take what follows.
    #[must_use]
    pub fn prefetch_may_grow(&self) -> bool {
        !self.order.is_kept() && self.prefetch == self.order.prefetch_for(self.slots)
    }
}

/// The names of attributes with their places; kept sorted so that errors and pages are stable.
pub type Attributes = BTreeMap<String, crate::rules::facts::Source>;
