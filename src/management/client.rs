//! One question to the management API, one answer, within a deadline and a bound. Imports `config` and `rules`.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, StatusCode};
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::told::{BindingTold, ExchangeTold, Page, QueueTold};
use crate::config::Management;
use crate::config::secret::Secret;
use crate::rules::names::segment;

/// How long an answer may take, whole.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The longest answer that is read; a queue's own is a few kilobytes.
const LONGEST: usize = 4 << 20;
/// Queues of a page; more than we keep beside one queue in years of days.
const PAGE: usize = 500;

/// Why the API tells nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Trouble {
    /// It is not reached, or not in time.
    #[error(
        "the management API is not reached ({0}); check `management.url` and whether the plugin rabbitmq_management is enabled"
    )]
    Unreachable(String),
    /// It refuses the user.
    #[error(
        "the management API refuses the user ({0}); check the password, and give the user the tag `management` and any permission in the vhost"
    )]
    Denied(u16),
    /// Something else answers, or in a way that cannot be read.
    #[error(
        "what answers at `management.url` is no management API that can be understood ({0}); check the address"
    )]
    Unreadable(String),
    /// The file with the authorities cannot be used.
    #[error("`management.ca_file` cannot be used: {0}")]
    Authorities(String),
}

/// Asks the management API.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Arc<str>,
    user: Arc<str>,
    password: Secret,
}

impl Client {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// When nobody could be trusted: `ca_file` cannot be read, or the system knows no authorities.
    pub fn new(management: &Management) -> Result<Self, Trouble> {
        // An error means that somebody has chosen one for this process already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            // A redirect would carry the password elsewhere.
            .redirect(Policy::none())
            .no_proxy()
            .timeout(ANSWER_WITHIN)
            .user_agent(concat!("sluicegate/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &management.ca_file {
            let bad = |why: String| Trouble::Authorities(why);
            let pem = std::fs::read(path).map_err(|why| bad(why.to_string()))?;
            let trusted = Certificate::from_pem_bundle(&pem).map_err(|why| bad(said(&why)))?;
            builder = builder.tls_certs_only(trusted);
        } else if management.url.starts_with("http:") {
            // Nobody need be trusted, and a machine without any authorities is none the worse.
            builder = builder.tls_certs_only([]);
        }
        let http = builder
            .build()
            .map_err(|why| Trouble::Authorities(said(&why)))?;
        Ok(Self {
            http,
            base: management.url.as_str().into(),
            user: management.user.as_str().into(),
            password: management.password.clone(),
        })
    }

    /// What it tells of a queue; `None`: it shows no such queue.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub(super) async fn queue(
        &self,
        vhost: &str,
        name: &str,
    ) -> Result<Option<QueueTold>, Trouble> {
        let path = format!("/api/queues/{}/{}", segment(vhost), segment(name));
        let told: Option<QueueTold> = self.get(&path).await?;
        match told {
            Some(told) if told.name != name => {
                let why = "its answer is not about the queue that was asked for".to_owned();
                Err(Trouble::Unreadable(why))
            }
            told => Ok(told),
        }
    }

    /// What it tells of the queues of a vhost that are named as ours are; the first five hundred.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub(super) async fn ours(&self, vhost: &str) -> Result<Vec<QueueTold>, Trouble> {
        let path = format!(
            "/api/queues/{}?page=1&page_size={PAGE}&use_regex=true&name={}",
            segment(vhost),
            segment(r"^sluicegate\.")
        );
        let page: Option<Page> = self.get(&path).await?;
        Ok(page.map_or_else(Vec::new, |page| page.items))
    }

    /// What leads to a queue; `None`: it shows no such queue.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub(super) async fn bindings(
        &self,
        vhost: &str,
        queue: &str,
    ) -> Result<Option<Vec<BindingTold>>, Trouble> {
        let path = format!("/api/queues/{}/{}/bindings", segment(vhost), segment(queue));
        self.get(&path).await
    }

    /// An exchange; `None`: it shows no such exchange.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub(super) async fn exchange(
        &self,
        vhost: &str,
        name: &str,
    ) -> Result<Option<ExchangeTold>, Trouble> {
        let path = format!("/api/exchanges/{}/{}", segment(vhost), segment(name));
        self.get(&path).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Trouble> {
        let unreachable = |why: reqwest::Error| Trouble::Unreachable(said(&why));
        let asked = self
            .http
            .get(format!("{}{path}", self.base))
            .basic_auth(&self.user, Some(self.password.expose()));
        let mut answer = asked.send().await.map_err(unreachable)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(Trouble::Denied(answer.status().as_u16()));
            }
            other => return Err(Trouble::Unreadable(format!("status {}", other.as_u16()))),
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST {
                let why = format!("its answer is longer than {} MiB", LONGEST >> 20);
                return Err(Trouble::Unreadable(why));
            }
        }
        let read = serde_json::from_slice(&body);
        read.map(Some).map_err(|why| {
            Trouble::Unreadable(format!("its answer is not what was asked for: {why}"))
        })
    }
}

/// The innermost cause, which says most; never the URL.
fn said(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", ANSWER_WITHIN.as_secs());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
