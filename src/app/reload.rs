//! SIGHUP: the file is read again. What can change while running does; the rest is said to need a restart. A bad file changes
//! nothing.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::logging::LogFilter;
use super::systemd;
use crate::api::{Doors, Tls};
use crate::config::{self, Notify, Settings};

pub(super) struct Reload {
    pub(super) file: PathBuf,
    pub(super) settings: Settings,
    pub(super) log: LogFilter,
    pub(super) doors: Arc<Doors>,
    pub(super) tls: Option<Tls>,
    pub(super) webhooks: watch::Sender<Vec<Notify>>,
}

impl Reload {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            return stop.cancelled().await;
        };
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = hangup.recv() => {
                    systemd::reloading();
                    self.read_again();
                    systemd::reloaded();
                }
            }
        }
    }

    fn read_again(&mut self) {
        let read = config::read(&self.file, &config::environment());
        self.doors.metrics.config_reloaded(read.is_ok());
        let new = match read {
            Ok(new) => new,
            Err(problems) => {
                tracing::error!(%problems, "the file was read again and is not fine; nothing was changed");
                return;
            }
        };
        for difference in config::difference(&self.settings, &new) {
            let effect = if difference.live {
                "in force"
            } else {
                "needs a restart"
            };
            tracing::info!(setting = difference.setting, effect, "the file has changed");
        }
        if let Err(why) = self.log.change(&new.daemon.log) {
            tracing::error!(%why, "the log filter stays");
        }
        self.doors.access.renew(&new);
        self.read_certificate_again(&new);
        self.settings.tokens = new.tokens;
        self.settings.users = new.users;
        self.settings.daemon.hosts = new.daemon.hosts;
        self.settings.daemon.proxies = new.daemon.proxies;
        self.settings.daemon.log = new.daemon.log;
        if self.settings.notify != new.notify {
            self.webhooks.send_replace(new.notify.clone());
            self.settings.notify = new.notify;
        }
        if self.settings.limits != new.limits {
            self.doors.store.limit(new.limits.policy.clone());
            self.doors.pace.limit(new.limits.changes_per_minute);
            let evaluations = new.limits.evaluations_per_second;
            self.doors.services.limit(evaluations);
            self.settings.limits = new.limits;
        }
        tracing::info!("the file was read again");
    }
    /// Also when the file names the same: a certificate is renewed in its place.
    fn read_certificate_again(&mut self, new: &Settings) {
        let (Some(tls), Some(files)) = (&self.tls, &new.daemon.tls) else {
            return; // to begin or to end with TLS takes a restart
        };
        match tls.renew(files) {
            Ok(()) => self.settings.daemon.tls = Some(files.clone()),
            Err(why) => {
                self.doors.metrics.config_reloaded(false);
                tracing::error!(%why, "the certificate stays");
            }
        }
    }
}
