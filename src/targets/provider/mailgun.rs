//! Mailgun: `POST /v3/<domain>/messages` as a form with files, 200 with `{"id": …}`, errors as `{"message": …}`.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Work;
use super::exchange::{Answered, Api, Request};
use crate::config::provider::Provider;
use crate::config::secret::Secret;
use crate::rules::reply::Reply;
use crate::targets::mail::Mail;

pub(super) struct Mailgun {
    domain: String,
}

impl Mailgun {
    pub(super) fn of(provider: &Provider) -> Self {
        Self {
            domain: provider.domain.clone().unwrap_or_default(),
        }
    }
}

impl Api for Mailgun {
    fn request(&self, work: &Work, secret: &Secret, _: i64) -> Result<Request, Reply> {
        let mail = work.mail()?;
        let form = Form::of(mail);
        let login = STANDARD.encode(format!("api:{}", secret.expose()));
        Ok(Request {
            path: format!("/v3/{}/messages", self.domain),
            headers: vec![("authorization", format!("Basic {login}"))],
            more: Default::default(),
            content_type: format!("multipart/form-data; boundary={}", form.boundary),
            body: form.end().into(),
        })
    }

    fn reply(&self, answer: &Answered) -> Reply {
        let said = answer.text("/message");
        let says = |words: &str| said.is_some_and(|said| said.to_ascii_lowercase().contains(words));
        match answer.status {
            200..=299 => Reply::Done(answer.text("/id").map(str::to_owned)),
            // "Domain … is not allowed to send", "… not a valid domain"
            400 | 403 if says("not allowed to send") || says("is disabled") => {
                Reply::Ours(answer.cause(said))
            }
            400 if says("from") => Reply::Sender(answer.cause(said)),
            402 | 404 | 405 => Reply::Ours(answer.cause(said)),
            _ => answer.by_status(said),
        }
    }
}

/// A form with files, as browsers send it (RFC 7578).
struct Form {
    boundary: String,
    body: Vec<u8>,
}

impl Form {
    fn of(mail: &Mail) -> Self {
        // Its own Message-ID stands in no part of a mail but by design.
        let own = mail.message_id.split('@').next().unwrap_or_default();
        let mut form = Self {
            boundary: format!("sluicegate-{own}"),
            body: Vec::new(),
        };
        form.field("from", &mail.from.to_string());
        for (name, boxes) in [("to", &mail.to), ("cc", &mail.cc), ("bcc", &mail.bcc)] {
            for mailbox in boxes {
                form.field(name, &mailbox.to_string());
            }
        }
        form.field("subject", &mail.subject);
        for (name, text) in [("text", &mail.text), ("html", &mail.html)] {
            if let Some(text) = text {
                form.field(name, text);
            }
        }
        form.field("h:Message-Id", &format!("<{}>", mail.message_id));
        if let Some(reply_to) = &mail.reply_to {
            form.field("h:Reply-To", &reply_to.to_string());
        }
        for (name, value) in &mail.headers {
            form.field(&format!("h:{name}"), value);
        }
        for tag in &mail.tags {
            form.field("o:tag", tag);
        }
        for (name, value) in &mail.metadata {
            form.field(&format!("v:{name}"), value);
        }
        for part in &mail.attachments {
            // An inline file is shown by its name.
            let (field, name) = match &part.content_id {
                Some(id) => ("inline", id),
                None => ("attachment", &part.filename),
            };
            form.begin(field, Some(name), Some(&part.content_type));
            form.body.extend_from_slice(&part.content);
            form.body.extend_from_slice(b"\r\n");
        }
        form
    }

    fn field(&mut self, name: &str, value: &str) {
        self.begin(name, None, None);
        self.body.extend_from_slice(value.as_bytes());
        self.body.extend_from_slice(b"\r\n");
    }

    fn begin(&mut self, name: &str, filename: Option<&str>, kind: Option<&str>) {
        let mut head = format!(
            "--{}\r\nContent-Disposition: form-data; name=\"{}\"",
            self.boundary,
            quoted(name)
        );
        if let Some(filename) = filename {
            let _ = write!(head, "; filename=\"{}\"", quoted(filename));
        }
        if let Some(kind) = kind {
            let _ = write!(head, "\r\nContent-Type: {kind}");
        }
        head.push_str("\r\n\r\n");
        self.body.extend_from_slice(head.as_bytes());
    }

    fn end(mut self) -> Vec<u8> {
        let end = format!("--{}--\r\n", self.boundary);
        self.body.extend_from_slice(end.as_bytes());
        self.body
    }
}

/// A name within quotes, as the standard of HTML has it; line breaks were refused when the job was read.
fn quoted(name: &str) -> String {
    name.replace('"', "%22")
}
