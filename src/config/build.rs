//! Makes [`Settings`] of what was written, and checks what several settings say of each other.
//!
//! The walk has noted what does not fit by itself; what it refused reads here as if it were not written, and nobody gets the
//! settings then.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::list::FILE;
use super::overlay::Environment;
use super::people::Fingerprint;
use super::problems::Notes;
use super::shape::Setting;
use super::tree::{Place, Table, Value};
use super::walk::fits;
use super::{
    Amqp, Daemon, Settings, broker_url, limits, management, notify, people, pool, provider, queue,
};
use crate::rules::access::Role;
use crate::rules::facts::Source;
use crate::rules::names::{FlagKey, Glob};
use crate::rules::notice;
use crate::rules::units::{Rate, Ratio, Span};

/// A table, with the settings that it may hold.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    pub(super) table: &'a Table,
    pub(super) place: &'a Place,
    settings: &'static [Setting],
}

static NO_TABLE: Table = Table::new();

impl<'a> Section<'a> {
    pub(super) fn new(table: &'a Table, place: &'a Place, settings: &'static [Setting]) -> Self {
        Self {
            table,
            place,
            settings,
        }
    }

    fn setting(&self, name: &str) -> Option<&'static Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }

    /// The value of a setting: what is written, else its default; none when what is written was refused.
    pub(super) fn get<T: FromValue>(&self, name: &str) -> Option<T> {
        let setting = self.setting(name)?;
        match self.table.get(name) {
            Some(written) if fits(written, setting) => T::from_value(&written.value),
            Some(_) => None,
            None => {
                let nobody: Arc<str> = "".into();
                T::from_value(&setting.shape.read(setting.default?, &nobody))
            }
        }
    }

    /// A table below this one; an empty one when it is not written.
    pub(super) fn section(&self, name: &str) -> Section<'a> {
        let settings = self
            .setting(name)
            .map_or(&[][..], |setting| setting.shape.settings());
        let place = self
            .table
            .get(name)
            .map_or(self.place, |written| &written.place);
        Section::new(self.table.table(name).unwrap_or(&NO_TABLE), place, settings)
    }

    /// The tables of a list below this one.
    pub(super) fn sections(&self, name: &str) -> Vec<Section<'a>> {
        let settings = self
            .setting(name)
            .map_or(&[][..], |setting| setting.shape.settings());
        let tables = self.table.tables(name).into_iter();
        tables
            .map(|(table, place)| Section::new(table, place, settings))
            .collect()
    }

    /// Where a setting is written; where the section begins when it is not.
    pub(super) fn place(&self, name: &str) -> &'a Place {
        self.table
            .get(name)
            .map_or(self.place, |written| &written.place)
    }
}

/// What can be read from a value that the walk found good.
pub(super) trait FromValue: Sized {
    /// None when the value is of another kind.
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for String {
    fn from_value(value: &Value) -> Option<Self> {
        value.text().map(str::to_owned)
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Boolean(value) => Some(*value),
            _ => None,
        }
    }
}

impl FromValue for Duration {
    fn from_value(value: &Value) -> Option<Self> {
        value.text()?.parse::<Span>().ok().map(Span::get)
    }
}

/// Whole numbers, and types of `rules` that are written as texts.
macro_rules! from_value {
    (numbers: $($number:ty)*; texts: $($text:ty)*) => {
        $(impl FromValue for $number {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Integer(number) => Self::try_from((*number)?).ok(),
                    _ => None,
                }
            }
        })*
        $(impl FromValue for $text {
            fn from_value(value: &Value) -> Option<Self> {
                value.text()?.parse().ok()
            }
        })*
    };
}
from_value!(numbers: u16 u32 u64 usize; texts: SocketAddr Rate Ratio Source FlagKey PathBuf Glob Role Fingerprint jiff::Timestamp notice::Kind);

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::List(list) => list.iter().map(|item| T::from_value(&item.value)).collect(),
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for BTreeMap<String, T> {
    fn from_value(value: &Value) -> Option<Self> {
        let Value::Table(table) = value else {
            return None;
        };
        let entries = table.entries().iter();
        entries
            .map(|entry| Some((entry.name.clone(), T::from_value(&entry.written.value)?)))
            .collect()
    }
}

/// What is around the file: the folder it lies in, and the variables.
pub(super) struct Around<'a> {
    pub(super) folder: &'a Path,
    pub(super) environment: &'a Environment,
}

/// The settings, if nothing that they need is missing or bad.
pub(super) fn settings(tree: &Table, around: &Around<'_>, notes: &mut Notes) -> Option<Settings> {
    let file = Section::new(tree, &Place::Whole, FILE);
    let daemon = daemon(file.section("daemon"), knows_somebody(file), around, notes);
    let metrics = file.section("metrics");
    let metrics_listen: Option<SocketAddr> = metrics.get("listen");
    if metrics_listen
        .is_some_and(|own| own.port() != 0 && file.section("daemon").get("listen") == Some(own))
    {
        notes.add(
            metrics.place("listen"),
            "`metrics.listen` is the address of `daemon.listen`, which serves /metrics already",
            "leave it out, or choose another port",
        );
    }
    let ofrep_listen = services_door(file, notes);
    let tokens = people::tokens(&file.sections("token"), notes);
    let users = people::users(&file.sections("user"), file.section("daemon"), notes);
    let broker = broker_url::read(file.section("amqp"), around, notes);
    let amqp = amqp(file.section("amqp"), broker.as_ref(), around, notes);
    let vhost = broker.as_ref().map(|broker| broker.vhost.as_str());
    let declare = file.section("amqp").get("declare").unwrap_or(true);
    let management = tree
        .table("management")
        .map(|_| management::read(file.section("management"), around, notes));
    let notify = notify::all(&file.sections("notify"), around, notes);
    let providers = provider::providers(&file.sections("provider"), around, notes);
    let pools = pool::pools(&file.sections("pool"), providers.as_deref(), around, notes);
    let queues = queue::all(&file.sections("queue"), vhost, declare, notes);
    if let (Some(queues), Some(pools)) = (&queues, &pools) {
        pool::check_queues(&file.sections("queue"), queues, pools, notes);
    }
    let queues = queues.map(|queues| queue::settled(queues, pools.as_deref().unwrap_or_default()));
    Some(Settings {
        daemon: daemon?,
        metrics_listen,
        ofrep_listen,
        tokens: tokens?,
        users: users?,
        amqp: amqp?,
        management: match management {
            Some(management) => Some(management?),
            None => None,
        },
        notify: notify?,
        providers: providers?,
        pools: pools?,
        queues: queues?,
        limits: limits::read(file.section("limits"), file.section("flags"))?,
    })
}

/// `[ofrep] listen`
fn services_door(file: Section<'_>, notes: &mut Notes) -> Option<SocketAddr> {
    let (own, daemon, metrics) = (
        file.section("ofrep"),
        file.section("daemon"),
        file.section("metrics"),
    );
    let listen: Option<SocketAddr> = own.get("listen");
    let taken = [daemon.get("listen"), metrics.get("listen")];
    if listen.is_some_and(|own| own.port() != 0) && taken.contains(&listen) {
        let what = "`ofrep.listen` is the address of another door";
        notes.add(
            own.place("listen"),
            what,
            "leave it out, or choose another port",
        );
    }
    people::check_door(
        ("ofrep.listen", listen),
        own,
        daemon,
        knows_somebody(file),
        notes,
    );
    listen
}

/// Whether anybody can be told from strangers.
fn knows_somebody(file: Section<'_>) -> bool {
    ["token", "user"]
        .iter()
        .any(|name| !file.table.tables(name).is_empty())
}

fn daemon(
    daemon: Section<'_>,
    known: bool,
    around: &Around<'_>,
    notes: &mut Notes,
) -> Option<Daemon> {
    let listen: Option<SocketAddr> = daemon.get("listen");
    people::check_door(("daemon.listen", listen), daemon, daemon, known, notes);
    let tls = people::tls(daemon, around, notes);
    let flags_file = file_that_exists(daemon, "flags_file", around, notes);
    let data_dir: Option<PathBuf> = daemon.get("data_dir");
    Some(Daemon {
        listen: listen?,
        hosts: daemon.get("hosts")?,
        data_dir: around.folder.join(data_dir?),
        flags_file,
        stop_within: daemon.get("stop_within")?,
        log: daemon.get("log")?,
        tls,
        proxies: people::proxies(daemon, notes),
    })
}

fn amqp(
    amqp: Section<'_>,
    broker: Option<&broker_url::Broker>,
    around: &Around<'_>,
    notes: &mut Notes,
) -> Option<Amqp> {
    let ca_file = file_that_exists(amqp, "ca_file", around, notes);
    if ca_file.is_some() && broker.is_some_and(|broker| !broker.tls) {
        notes.add(
            amqp.place("ca_file"),
            "`amqp.ca_file` is of use only with TLS, and the broker's URL begins with amqp://",
            "begin the URL with amqps://, or leave `ca_file` out",
        );
    }
    let heartbeat: Option<Duration> = amqp.get("heartbeat");
    if heartbeat.is_some_and(|heartbeat| heartbeat.subsec_nanos() != 0) {
        notes.add(
            amqp.place("heartbeat"),
            "`amqp.heartbeat` is no number of whole seconds, which is all that AMQP can say",
            "write whole seconds, such as \"10s\"",
        );
    }
    Some(Amqp {
        url: broker?.url.clone(),
        vhost: broker?.vhost.clone(),
        ca_file,
        declare: amqp.get("declare")?,
        heartbeat: heartbeat?,
    })
}

/// A file that a setting names, which must be there.
pub(super) fn file_that_exists(
    section: Section<'_>,
    name: &str,
    around: &Around<'_>,
    notes: &mut Notes,
) -> Option<PathBuf> {
    let path = around.folder.join(section.get::<PathBuf>(name)?);
    if !path.is_file() {
        let what = format!(
            "`{name}` names no file that can be found: {}",
            path.display()
        );
        notes.add(
            section.place(name),
            what,
            "mend the path; it is read from the folder of the configuration",
        );
    }
    Some(path)
}
