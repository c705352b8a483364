//! One webhook: a notice is posted, signed as Standard Webhooks has it (<https://www.standardwebhooks.com>, version 1), and
//! answered within a deadline. Imports `config` and `rules`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Response};
use sha2::Sha256;

use crate::config::Notify;
use crate::config::secret::Key;
use crate::rules::notice::Notice;

/// How long an answer may take, whole.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// So much of an answer is read, so that its connection can be used again; a longer one costs the connection.
const LONGEST: usize = 16 << 10;
/// Answers that say that this very notice will never be taken.
const NEVER: [u16; 4] = [400, 410, 413, 422];

/// What came of a try to post a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was taken.
    Taken,
    /// It will never be taken.
    Refused(String),
    /// It may be taken later.
    Failed {
        /// why not now
        why: String,
        /// how long the other side asks us to wait
        after: Option<Duration>,
    },
}

/// Posts notices; a seam, so that tries and waits can be tested on made-up time.
pub(super) trait Post: Send + Sync {
    /// Posts one notice.
    fn post(&self, notice: &Notice, now_ms: i64) -> impl Future<Output = Answer> + Send;
}

/// A webhook of the file.
pub(super) struct Webhook {
    http: reqwest::Client,
    settings: Notify,
}

impl Webhook {
    /// Posts nothing yet. The error says why nobody could be trusted.
    pub(super) fn new(settings: &Notify) -> Result<Self, String> {
        // An error means that somebody has chosen one for this process already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            .user_agent(concat!("sluicegate/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &settings.ca_file {
            let pem = std::fs::read(path).map_err(|why| format!("`ca_file`: {why}"))?;
            let trusted = Certificate::from_pem_bundle(&pem).map_err(|why| said(&why))?;
            builder = builder.tls_certs_only(trusted);
        } else if settings.url.expose().starts_with("http:") {
            // Nobody need be trusted, and a machine without any authorities is none the worse.
            builder = builder.tls_certs_only([]);
        }
        Ok(Self {
            http: builder.build().map_err(|why| said(&why))?,
            settings: settings.clone(),
        })
    }
}

impl Post for Webhook {
    async fn post(&self, notice: &Notice, now_ms: i64) -> Answer {
        let body = match serde_json::to_vec(notice) {
            Ok(body) => body,
            Err(why) => return Answer::Refused(why.to_string()),
        };
        let timestamp = (now_ms / 1_000).to_string();
        let mut request = self
            .http
            .post(self.settings.url.expose())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &notice.id)
            .header("webhook-timestamp", &timestamp);
        if let Some(key) = &self.settings.secret {
            let signature = signature(key, &notice.id, &timestamp, &body);
            request = request.header("webhook-signature", signature);
        }
        match request.body(body).send().await {
            Ok(answer) => read(answer).await,
            Err(why) => Answer::Failed {
                why: said(&why),
                after: None,
            },
        }
    }
}

/// What an answer says; what it holds beside its status is of no use to us.
async fn read(mut answer: Response) -> Answer {
    let status = answer.status();
    let after = retry_after(answer.headers());
    let mut length = 0;
    while let Ok(Some(chunk)) = answer.chunk().await {
        length += chunk.len();
        if length > LONGEST {
            break;
        }
    }
    let why = format!("it answers {}", status.as_u16());
    if status.is_success() {
        Answer::Taken
    } else if status.is_redirection() {
        let cure = "redirects are not followed; write the address that it leads to into the file";
        Answer::Refused(format!("{why}, and {cure}"))
    } else if NEVER.contains(&status.as_u16()) {
        Answer::Refused(why)
    } else {
        Answer::Failed { why, after }
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// `v1,` and the HMAC-SHA256 of id, time and body in base64.
fn signature(key: &Key, id: &str, timestamp: &str, body: &[u8]) -> String {
    // An HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose()) else {
        return String::new();
    };
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    #[test]
    fn a_signature_is_what_receivers_expect() {
        let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let signed = signature(
            &key,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_wait_that_is_asked_for_is_read() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        for (text, wait) in [("30", Some(30)), ("Fri, 31 Dec 1999 23:59:59 GMT", None)] {
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            assert_eq!(retry_after(&headers), wait.map(Duration::from_secs));
        }
    }
}
