//! The addresses of the doors and their certificate: taken before anything else starts, so that what is wrong is said at once.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::api::{self, Doors, Entrance, Tls};
use crate::config::Settings;
use crate::supervise::Tasks;

pub(super) struct Entrances {
    listener: TcpListener,
    metrics: Option<TcpListener>,
    services: Option<TcpListener>,
    tls: Option<Tls>,
}

impl Entrances {
    /// Takes the addresses and reads the certificate.
    pub(super) async fn take(settings: &Settings) -> anyhow::Result<Self> {
        let listen = settings.daemon.listen;
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("{listen} cannot be listened on; another daemon may run there, or choose another `daemon.listen`")
        })?;
        Ok(Self {
            listener,
            metrics: at(settings.metrics_listen, "metrics.listen").await?,
            services: at(settings.ofrep_listen, "ofrep.listen").await?,
            tls: settings.daemon.tls.as_ref().map(Tls::load).transpose()?,
        })
    }

    /// Where the API is.
    pub(super) fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// The certificate, for whoever reads it again.
    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Opens the doors.
    pub(super) fn serve(self, doors: &Arc<Doors>, tasks: &mut Tasks) {
        let guarded = |listener| Entrance::guarded(listener, self.tls.clone(), Arc::clone(doors));
        let people = guarded(self.listener).for_people();
        let router = api::router(Arc::clone(doors));
        tasks.spawn("api", async move |stop| {
            note(api::serve(people, router, stop).await);
        });
        if let Some(services) = self.services.map(guarded) {
            let router = api::services_router(Arc::clone(doors));
            tasks.spawn("services", async move |stop| {
                note(api::serve(services, router, stop).await);
            });
        }
        if let Some(metrics) = self.metrics {
            let router = api::metrics_router(Arc::clone(doors));
            tasks.spawn("metrics", async move |stop| {
                note(api::serve(metrics, router, stop).await);
            });
        }
    }
}

fn note(served: std::io::Result<()>) {
    if let Err(why) = served {
        tracing::error!(%why, "a door had to close");
    }
}

async fn at(address: Option<SocketAddr>, setting: &str) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("{address} cannot be listened on; choose another `{setting}`"))?;
    Ok(Some(listener))
}
