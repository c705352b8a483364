//! A mail as one message, for those who take it whole: a mail server, SES.

use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Message, MultiPart, SinglePart};

use super::Mail;
use super::job::Part;

impl Mail {
    /// The message without Bcc, dated `now_ms` (milliseconds since 1970); the error says why it cannot be made.
    pub(in crate::targets) fn message(&self, now_ms: i64) -> Result<Vec<u8>, String> {
        let since_1970 = Duration::from_millis(u64::try_from(now_ms).unwrap_or(0));
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(self.subject.clone())
            .date(UNIX_EPOCH + since_1970)
            .message_id(Some(format!("<{}>", self.message_id)));
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        for cc in &self.cc {
            builder = builder.cc(cc.clone());
        }
        if let Some(reply_to) = &self.reply_to {
            builder = builder.reply_to(reply_to.clone());
        }
        // The builder asks who gets it; what it makes of that is not used.
        let envelope = lettre::address::Envelope::new(
            Some(self.from.email.clone()),
            self.to.iter().map(|to| to.email.clone()).collect(),
        );
        let envelope = envelope.map_err(|why| why.to_string())?;
        builder = builder.envelope(envelope);
        for (name, value) in &self.headers {
            let name = HeaderName::new_from_ascii(name.clone())
                .map_err(|_| "a header has a name that none can have".to_owned())?;
            builder = builder.raw_header(HeaderValue::new(name, value.clone()));
        }
        let made = match self.body() {
            Body::One(part) => builder.singlepart(part),
            Body::Many(parts) => builder.multipart(parts),
        };
        made.map(|message| message.formatted())
            .map_err(|why| why.to_string())
    }

    /// Files beside the mail; the mail with what its HTML shows; its text and HTML as alternatives.
    fn body(&self) -> Body {
        let (shown, beside): (Vec<&Part>, Vec<&Part>) = self
            .attachments
            .iter()
            .partition(|part| part.content_id.is_some());
        let (text, html) = (self.text.as_deref(), self.html.as_deref());
        let mut body = match (text.map(in_lines), html.map(in_lines)) {
            (Some(text), Some(html)) => Body::Many(MultiPart::alternative_plain_html(text, html)),
            (None, Some(html)) => Body::One(SinglePart::html(html)),
            (text, None) => Body::One(SinglePart::plain(text.unwrap_or_default())),
        };
        if !shown.is_empty() {
            body = body.within(MultiPart::related().build(), &shown);
        }
        if !beside.is_empty() {
            body = body.within(MultiPart::mixed().build(), &beside);
        }
        body
    }
}

enum Body {
    One(SinglePart),
    Many(MultiPart),
}

impl Body {
    fn within(self, outer: MultiPart, parts: &[&Part]) -> Self {
        let mut outer = match self {
            Self::One(part) => outer.singlepart(part),
            Self::Many(parts) => outer.multipart(parts),
        };
        for part in parts {
            outer = outer.singlepart(attached(part));
        }
        Self::Many(outer)
    }
}

/// With line breaks as mails have them. A return alone is one for some servers and none for others: between two such servers a part of a
/// body could pass for a mail of its own.
fn in_lines(text: &str) -> String {
    let breaks = text.replace("\r\n", "\n").replace('\r', "\n");
    breaks.replace('\n', "\r\n")
}

fn attached(part: &Part) -> SinglePart {
    // The type was checked when the job was read.
    let kind = ContentType::parse(&part.content_type).unwrap_or(ContentType::TEXT_PLAIN);
    let attachment = match &part.content_id {
        Some(id) => Attachment::new_inline_with_name(id.clone(), part.filename.clone()),
        None => Attachment::new(part.filename.clone()),
    };
    attachment.body(part.content.to_vec(), kind)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::targets::mail::tests::{full, mail};

    const NOW_MS: i64 = 784_111_777_000;

    fn message(job: &serde_json::Value) -> String {
        let bytes = mail(job).message(NOW_MS).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_full_mail_becomes_one_message() {
        let message = message(&full());
        for line in [
            "From: =?utf-8?b?",
            "To: ana@example.org, ",
            "Cc: cc@example.org",
            "Reply-To: answers@shop.example",
            "Date: Sun, 06 Nov 1994 08:49:37 +0000",
            "X-Campaign: spring",
            "MIME-Version: 1.0",
            "Content-Type: multipart/mixed;",
            "Content-Type: multipart/related;",
            "Content-Type: multipart/alternative;",
            "Content-ID: <logo>",
            "Content-Disposition: inline",
            "Message-ID: <",
        ] {
            assert!(
                message.contains(&format!("\r\n{line}")) || message.starts_with(line),
                "{line}\n{message}"
            );
        }
        assert!(!message.to_lowercase().contains("bcc"), "{message}");
        assert!(message.is_ascii(), "seven bits go through every server");
        assert!(
            !message.replace("\r\n", "").contains(['\r', '\n']),
            "a bare line break"
        );
        assert!(message.lines().all(|line| line.len() <= 998));
    }

    #[test]
    fn small_mails_have_one_part() {
        let plain =
            json!({"from": "a@b.example", "to": ["c@d.example"], "subject": "x", "text": "y"});
        assert!(message(&plain).contains("Content-Type: text/plain"));
        let html =
            json!({"from": "a@b.example", "to": ["c@d.example"], "subject": "x", "html": "<p>"});
        assert!(message(&html).contains("Content-Type: text/html"));
        let dots = json!({"from": "a@b.example", "to": ["c@d.example"], "subject": "x", "text": format!("{}\n.\n", "long ".repeat(500))});
        assert!(message(&dots).lines().all(|line| line.len() <= 998));
    }
}
