//! What came of each job of a pool, told to a queue or a webhook before its message is acknowledged: so that a bounce or a complaint
//! can be matched later. It is told again until it is taken. May import `config`, `seams`, `clock`, `metrics` and `rules`.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use hmac::{Hmac, Mac};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::Sha256;

use crate::clock::Clock;
use crate::config::pool::{Results, Webhook};
use crate::config::secret::Key;
use crate::metrics::{PoolMetrics, Telling};
use crate::rules::backoff::full_jitter;
use crate::rules::lots::KeyHash;
use crate::rules::message::Properties;
use crate::seams::{Outgoing, Outlet, Place};

/// The version of a result.
const VERSION: u32 = 1;
/// What results are called.
const KIND: &str = "sluicegate.result";
/// The longest wait before a result is told again.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long a webhook may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Answers of a webhook that say that this very result will never be taken.
const NEVER: [u16; 4] = [400, 410, 413, 422];

/// What came of a job. Told at least once: after a crash perhaps twice, with the same `queue`, `id` and `attempt`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct JobResult {
    /// The version of this form: 1.
    pub v: u32,
    /// The queue that the job came from.
    pub queue: String,
    /// The job's id.
    pub id: String,
    /// The pool that it was given to.
    pub pool: String,
    /// `done`, `failed`, `unknown` (a provider may have done it), or `suppressed` (nobody was left to send it to).
    pub outcome: &'static str,
    /// The provider that did it, may have done it or refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What that provider calls it: what bounces and complaints name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_message_id: Option<String>,
    /// The Message-ID of the mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The key that limits count by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// Who was asked in this attempt, in turn.
    pub calls: Vec<CallMade>,
    /// What went wrong; left out: nothing did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Each recipient of a mail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<RecipientTold>,
    /// When (RFC 3339).
    pub at: String,
}

/// A provider that was asked.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CallMade {
    /// Which.
    pub provider: String,
    /// What it said: done, recipient, sender, throttled, later, provider, ours or unknown.
    pub reply: &'static str,
    /// In its words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cause: String,
}

/// A recipient, and what came of the mail for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RecipientTold {
    /// The address.
    pub address: String,
    /// `accepted`, `refused` (while others were taken), `suppressed`, `failed` or `unknown`.
    pub outcome: &'static str,
    /// Why, where that is told.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cause: String,
}

/// The JSON Schema of a result.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(JobResult).to_value()
}

impl JobResult {
    /// Its form.
    pub(super) const V: u32 = VERSION;

    /// The same in each try to tell it.
    fn told_as(&self) -> String {
        let whole = format!("{}:{}:{}", self.queue, self.id, self.attempt);
        format!("msg_{:016x}", KeyHash::of(whole.as_bytes()).0)
    }
}

/// Why a result was not taken.
enum NotTold {
    /// Not now.
    Yet(String),
    /// It never will be.
    Ever(String),
}

type Telt<'a> = LocalBoxFuture<'a, Result<(), NotTold>>;

/// Somebody who takes results.
trait Takes {
    fn take<'a>(&'a self, name: &'a str, body: &'a Bytes, now_ms: i64) -> Telt<'a>;
}

/// Tells results.
pub(super) struct Teller {
    to: Box<dyn Takes>,
    pool: Arc<str>,
    metrics: Arc<PoolMetrics>,
    clock: Clock,
}

impl Teller {
    /// Tells them as these settings say; a queue is reached by `outlet`. The error says whose settings cannot be used.
    pub(super) fn of<O: Outlet>(
        results: &Results,
        outlet: &O,
        (pool, metrics): (&Arc<str>, &Arc<PoolMetrics>),
        clock: Clock,
    ) -> Result<Self, String> {
        let to: Box<dyn Takes> = match results {
            Results::Queue(_) => Box::new(ByQueue(outlet.clone())),
            Results::Webhook(settings) => Box::new(Posted::to(settings)?),
        };
        Ok(Self {
            to,
            pool: Arc::clone(pool),
            metrics: Arc::clone(metrics),
            clock,
        })
    }

    /// Tells a result, again and again until it is taken: until then its message is in hand, and its slot with it.
    pub(super) async fn tell(&self, result: &JobResult) {
        let (name, body) = (result.told_as(), serde_json::to_vec(result));
        let body = Bytes::from(body.unwrap_or_default());
        let lot = KeyHash::of(name.as_bytes());
        for failures in 0.. {
            let told = self.to.take(&name, &body, self.clock.now().ms).await;
            let (queue, id, pool) = (&result.queue, &result.id, &self.pool);
            match told {
                Ok(()) => return self.metrics.told(Telling::Told),
                Err(NotTold::Ever(why)) => {
                    self.metrics.told(Telling::Refused);
                    return tracing::error!(%pool, queue, id, why, "a result was refused for good and is told to nobody; mend who takes it");
                }
                Err(NotTold::Yet(why)) => {
                    self.metrics.told(Telling::Retried);
                    if failures == 0 {
                        tracing::warn!(%pool, queue, id, why, "a result cannot be told; its message is held and it is told again");
                    }
                }
            }
            let wait = full_jitter(failures, LONGEST_WAIT, lot.draw(failures));
            tokio::time::sleep(wait.max(Duration::from_millis(50))).await;
        }
    }
}

/// A queue.
struct ByQueue<O>(O);

impl<O: Outlet> Takes for ByQueue<O> {
    fn take<'a>(&'a self, name: &'a str, body: &'a Bytes, now_ms: i64) -> Telt<'a> {
        let outgoing = Outgoing {
            properties: Properties {
                content_type: Some("application/json".to_owned()),
                kind: Some(KIND.to_owned()),
                message_id: Some(name.to_owned()),
                timestamp: u64::try_from(now_ms / 1_000).ok(),
                ..Properties::default()
            },
            headers: Vec::new(),
            body: body.clone(),
            at_ms: now_ms,
        };
        let published = self.0.publish(Place::Results, outgoing);
        Box::pin(async move { published.await.map_err(|why| NotTold::Yet(why.to_string())) })
    }
}

/// A webhook, signed as Standard Webhooks has it (<https://www.standardwebhooks.com>, version 1).
struct Posted {
    client: Client,
    settings: Webhook,
}

impl Posted {
    fn to(settings: &Webhook) -> Result<Self, String> {
        // An error means that somebody has chosen one for this process already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(ANSWER_WITHIN)
            .user_agent(concat!("sluicegate/", env!("CARGO_PKG_VERSION")));
        if settings.url.expose().starts_with("http:") {
            // Nobody need be trusted, and a machine without any authorities is none the worse.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build();
        Ok(Self {
            client: client.map_err(|_| "`results` cannot be posted: nobody can be trusted")?,
            settings: settings.clone(),
        })
    }
}

impl Takes for Posted {
    fn take<'a>(&'a self, name: &'a str, body: &'a Bytes, now_ms: i64) -> Telt<'a> {
        let timestamp = (now_ms / 1_000).to_string();
        let mut asked = self
            .client
            .post(self.settings.url.expose())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", name)
            .header("webhook-timestamp", &timestamp);
        if let Some(key) = &self.settings.secret {
            asked = asked.header("webhook-signature", signature(key, name, &timestamp, body));
        }
        let host = &self.settings.host;
        Box::pin(async move {
            match asked.body(body.clone()).send().await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    let why = format!("{host} answers {status}");
                    Err(match NEVER.contains(&status) {
                        true => NotTold::Ever(why),
                        false => NotTold::Yet(why),
                    })
                }
                Err(why) if why.is_timeout() => {
                    Err(NotTold::Yet(format!("{host} gives no answer")))
                }
                Err(_) => Err(NotTold::Yet(format!("{host} cannot be reached"))),
            }
        })
    }
}

/// `v1,` and the HMAC-SHA256 of name, time and body in base64.
fn signature(key: &Key, name: &str, timestamp: &str, body: &[u8]) -> String {
    // An HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose()) else {
        return String::new();
    };
    for part in [name.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}
