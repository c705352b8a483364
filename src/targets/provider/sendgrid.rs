//! SendGrid, mail API version 3: `POST /v3/mail/send`, 202 without a body, errors as `{"errors": [{"message", "field"}]}`.

use lettre::message::Mailbox;
use serde_json::{Map, Value as Json, json};

use super::Work;
use super::exchange::{Answered, Api, Request};
use crate::config::secret::Secret;
use crate::rules::reply::Reply;

pub(super) struct Sendgrid;

impl Api for Sendgrid {
    fn request(&self, work: &Work, secret: &Secret, _: i64) -> Result<Request, Reply> {
        let mail = work.mail()?;
        let mut to = Map::new();
        to.insert("to".to_owned(), all(&mail.to));
        for (name, boxes) in [("cc", &mail.cc), ("bcc", &mail.bcc)] {
            if !boxes.is_empty() {
                to.insert(name.to_owned(), all(boxes));
            }
        }
        let texts = [("text/plain", &mail.text), ("text/html", &mail.html)];
        let content = texts.iter().filter_map(|(kind, text)| {
            let text = text.as_ref()?;
            Some(json!({"type": kind, "value": text}))
        });
        let mut headers: Map<String, Json> = Map::new();
        headers.insert(
            "Message-ID".to_owned(),
            json!(format!("<{}>", mail.message_id)),
        );
        for (name, value) in &mail.headers {
            headers.insert(name.clone(), json!(value));
        }
        let mut body = json!({
            "personalizations": [to],
            "from": one(&mail.from),
            "subject": mail.subject,
            "content": content.collect::<Vec<_>>(),
            "headers": headers,
        });
        if let Some(reply_to) = &mail.reply_to {
            body["reply_to"] = one(reply_to);
        }
        if !mail.tags.is_empty() {
            body["categories"] = json!(mail.tags);
        }
        if !mail.metadata.is_empty() {
            body["custom_args"] = json!(mail.metadata);
        }
        if !mail.attachments.is_empty() {
            let parts = mail.attachments.iter().map(|part| {
                let mut one = json!({"content": part.base64(), "type": part.content_type, "filename": part.filename});
                one["disposition"] = json!(part.content_id.as_ref().map_or("attachment", |_| "inline"));
                if let Some(id) = &part.content_id {
                    one["content_id"] = json!(id);
                }
                one
            });
            body["attachments"] = parts.collect();
        }
        let key = format!("Bearer {}", secret.expose());
        Ok(Request::json(
            "/v3/mail/send",
            vec![("authorization", key)],
            &body,
        ))
    }

    fn reply(&self, answer: &Answered) -> Reply {
        let said = answer.text("/errors/0/message");
        match answer.status {
            200..=299 => Reply::Done(answer.header("x-message-id").map(str::to_owned)),
            // "The from address does not match a verified Sender Identity."
            403 if said.is_some_and(|said| said.to_ascii_lowercase().contains("from address")) => {
                Reply::Sender(answer.cause(said))
            }
            404 | 405 => Reply::Ours(answer.cause(said)),
            _ => answer.by_status(said),
        }
    }
}

fn all(boxes: &[Mailbox]) -> Json {
    boxes.iter().map(one).collect()
}

fn one(mailbox: &Mailbox) -> Json {
    match &mailbox.name {
        Some(name) => json!({"email": mailbox.email.to_string(), "name": name}),
        None => json!({"email": mailbox.email.to_string()}),
    }
}
