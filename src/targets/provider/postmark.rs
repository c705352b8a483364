//! Postmark: `POST /email`, 200 with `{"ErrorCode": 0, "MessageID": …}`, errors as 422 with an `ErrorCode` and a `Message`.

use lettre::message::Mailbox;
use serde_json::{Value as Json, json};

use super::Work;
use super::exchange::{Answered, Api, Request};
use crate::config::secret::Secret;
use crate::rules::reply::Reply;

pub(super) struct Postmark;

/// What the codes mean that are no fault of the job.
const SENDER: [i64; 3] = [400, 401, 412]; // no such signature, not confirmed, pending approval for other domains
const OURS: [i64; 4] = [10, 405, 413, 1_235]; // token, no credits, may not send, no such stream
const PROVIDER: [i64; 2] = [100, 500]; // maintenance

impl Api for Postmark {
    fn request(&self, work: &Work, secret: &Secret, _: i64) -> Result<Request, Reply> {
        let mail = work.mail()?;
        let message_id = [json!({"Name": "Message-ID", "Value": format!("<{}>", mail.message_id)})];
        let headers = mail
            .headers
            .iter()
            .map(|(name, value)| json!({"Name": name, "Value": value}));
        let mut body = json!({
            "From": mail.from.to_string(),
            "To": list(&mail.to),
            "Subject": mail.subject,
            "Headers": headers.chain(message_id).collect::<Vec<_>>(),
        });
        let optional = [
            ("Cc", (!mail.cc.is_empty()).then(|| list(&mail.cc))),
            ("Bcc", (!mail.bcc.is_empty()).then(|| list(&mail.bcc))),
            ("ReplyTo", mail.reply_to.as_ref().map(ToString::to_string)),
            ("TextBody", mail.text.clone()),
            ("HtmlBody", mail.html.clone()),
            ("Tag", mail.tags.first().cloned()),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                body[name] = json!(value);
            }
        }
        if !mail.metadata.is_empty() {
            body["Metadata"] = json!(mail.metadata);
        }
        if !mail.attachments.is_empty() {
            let parts = mail.attachments.iter().map(|part| {
                let mut one = json!({"Name": part.filename, "Content": part.base64(), "ContentType": part.content_type});
                if let Some(id) = &part.content_id {
                    one["ContentID"] = json!(format!("cid:{id}"));
                }
                one
            });
            body["Attachments"] = parts.collect();
        }
        let headers = vec![
            ("x-postmark-server-token", secret.expose().to_owned()),
            ("accept", "application/json".to_owned()),
        ];
        Ok(Request::json("/email", headers, &body))
    }

    fn reply(&self, answer: &Answered) -> Reply {
        let said = answer.text("/Message");
        let code = answer
            .json
            .as_ref()
            .and_then(|json| json.pointer("/ErrorCode"))
            .and_then(Json::as_i64);
        let cause = || match code {
            Some(code) => format!("{} (code {code})", answer.cause(said)),
            None => answer.cause(said),
        };
        match (answer.status, code) {
            (200..=299, Some(0)) => Reply::Done(answer.text("/MessageID").map(str::to_owned)),
            // A whole answer that does not say what Postmark says: somebody else answers at its address.
            (200..=299, None) => Reply::Unknown(answer.cause(Some("no ErrorCode in it"))),
            (200..=299 | 422, Some(code)) if SENDER.contains(&code) => Reply::Sender(cause()),
            (200..=299 | 422, Some(code)) if OURS.contains(&code) => Reply::Ours(cause()),
            (200..=299 | 422, Some(code)) if PROVIDER.contains(&code) => Reply::Provider(cause()),
            (200..=299 | 422, Some(_)) => Reply::Recipient(cause()),
            (404 | 405, _) => Reply::Ours(cause()),
            _ => answer.by_status(said),
        }
    }
}

fn list(boxes: &[Mailbox]) -> String {
    let all: Vec<String> = boxes.iter().map(ToString::to_string).collect();
    all.join(", ")
}
