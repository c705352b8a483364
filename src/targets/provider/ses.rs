//! Amazon SES, API version 2: `POST /v2/email/outbound-emails`, signed; 200 with `{"MessageId": …}`, errors named by the header
//! `x-amzn-ErrorType`. The mail goes as one raw message, so that headers and files are as everywhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::message::Mailbox;
use serde_json::json;

use super::Work;
use super::exchange::{Answered, Api, Request};
use super::signature::{Signer, stamp};
use crate::config::provider::Provider;
use crate::config::secret::Secret;
use crate::rules::reply::Reply;

const PATH: &str = "/v2/email/outbound-emails";

pub(super) struct Ses {
    region: String,
    key_id: String,
    host: String,
}

impl Ses {
    pub(super) fn of(provider: &Provider) -> Self {
        let after = provider
            .url
            .split_once("://")
            .map_or("", |(_, after)| after);
        Self {
            region: provider.region.clone().unwrap_or_default(),
            key_id: provider.user.clone().unwrap_or_default(),
            host: after.split('/').next().unwrap_or_default().to_owned(),
        }
    }
}

impl Api for Ses {
    fn request(&self, work: &Work, secret: &Secret, now_ms: i64) -> Result<Request, Reply> {
        let mail = work.mail()?;
        let message = mail.message(now_ms).map_err(Reply::Recipient)?;
        let addresses = |boxes: &[Mailbox]| {
            boxes
                .iter()
                .map(|to| to.email.to_string())
                .collect::<Vec<_>>()
        };
        // What SES takes in a tag: letters, digits, `_` and `-`.
        let plain = |text: &str| {
            text.replace(
                |letter: char| !(letter.is_ascii_alphanumeric() || "_-".contains(letter)),
                "_",
            )
        };
        let tags = mail
            .tags
            .iter()
            .enumerate()
            .map(|(n, tag)| (format!("tag{n}"), plain(tag)));
        let metadata = mail
            .metadata
            .iter()
            .map(|(name, value)| (plain(name), plain(value)));
        let tags = tags
            .chain(metadata)
            .map(|(name, value)| json!({"Name": name, "Value": value}));
        let body = json!({
            "FromEmailAddress": mail.from.to_string(),
            "Destination": {
                "ToAddresses": addresses(&mail.to),
                "CcAddresses": addresses(&mail.cc),
                "BccAddresses": addresses(&mail.bcc),
            },
            "Content": {"Raw": {"Data": STANDARD.encode(message)}},
            "EmailTags": tags.collect::<Vec<_>>(),
        });
        let stamp = stamp(now_ms);
        let mut request = Request::json(PATH, Vec::new(), &body);
        let signer = Signer {
            key_id: &self.key_id,
            secret: secret.expose(),
            region: &self.region,
            service: "ses",
        };
        let signed = [
            ("content-type", "application/json"),
            ("host", &*self.host),
            ("x-amz-date", &*stamp),
        ];
        let authorization = signer.sign(PATH, &signed, &request.body, &stamp);
        request.headers = vec![("authorization", authorization), ("x-amz-date", stamp)];
        Ok(request)
    }

    fn reply(&self, answer: &Answered) -> Reply {
        let said = answer.text("/message").or_else(|| answer.text("/Message"));
        let name = answer
            .header("x-amzn-errortype")
            .or_else(|| answer.text("/__type"));
        let name = name
            .unwrap_or_default()
            .split(':')
            .next()
            .unwrap_or_default();
        let name = name.rsplit('#').next().unwrap_or_default();
        let cause = || answer.cause(said.or(Some(name)));
        let says = |words: &str| said.is_some_and(|said| said.to_ascii_lowercase().contains(words));
        match (answer.status, name) {
            (200..=299, _) => Reply::Done(answer.text("/MessageId").map(str::to_owned)),
            (_, "TooManyRequestsException" | "LimitExceededException" | "ThrottlingException") => {
                Reply::Throttled(answer.wait)
            }
            (_, "MailFromDomainNotVerifiedException") => Reply::Sender(cause()),
            (_, "MessageRejected") if says("not verified") => Reply::Sender(cause()),
            (_, "AccountSuspendedException" | "SendingPausedException" | "NotFoundException") => {
                Reply::Ours(cause())
            }
            (404 | 405, _) => Reply::Ours(cause()),
            _ => answer.by_status(said.or(Some(name))),
        }
    }
}
