//! The mail job: what stands in a message of a queue whose pool sends mail. [`MailJob`] is what services write; [`Mail`] is what came
//! of checking it. Nothing else makes a [`Mail`], so no line break reaches a header by any provider.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use lettre::message::Mailbox;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::Recipient;

/// The most recipients of one mail, of all kinds together.
const MOST_RECIPIENTS: usize = 1_000;
/// The longest subject, name, tag or value of a header, in bytes.
const LONGEST_LINE: usize = 4_096;
/// Headers that follow from other parts of the job.
const OURS: [&str; 16] = [
    "from",
    "to",
    "cc",
    "bcc",
    "reply-to",
    "sender",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "content-disposition",
    "content-id",
    "return-path",
    "dkim-signature",
];

/// A mail to be sent. One of `text` and `html` is needed, and one recipient.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MailJob {
    /// Who it is from.
    pub from: Address,
    /// Whom it is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<Address>,
    /// Who gets a copy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cc: Vec<Address>,
    /// Who gets a copy that the others do not know of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bcc: Vec<Address>,
    /// Where answers go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Address>,
    /// The subject.
    pub subject: String,
    /// The mail as plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The mail as HTML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// Further headers, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Words that the provider groups its statistics by; some take one only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What the provider tells us again with bounces and complaints, where it can.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// An address: `"ana@shop.example"`, `"Ana <ana@shop.example>"`, or an object.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Address {
    /// As it stands in a header.
    Text(String),
    /// In two parts.
    Parts(NamedAddress),
}

/// An address with its name.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedAddress {
    /// The address.
    pub email: String,
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A file.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// Its name.
    pub filename: String,
    /// Its type, such as `application/pdf`.
    pub content_type: String,
    /// What is in it, in base64.
    pub content: String,
    /// The name by which the HTML shows it (`<img src="cid:…">`); without it the file is only attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_id: Option<String>,
}

/// The JSON Schema of a mail job.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(MailJob).to_value()
}

/// Why a job can be sent by nobody; never repeats what is in it.
#[derive(Debug, Error, PartialEq, Eq)]
pub(in crate::targets) enum BadMail {
    #[error("the job is no mail: {0}")]
    Json(String),
    #[error("{0} is no address")]
    Address(String),
    #[error("{0} holds a line break or another control character")]
    Control(String),
    #[error("{0} is too long")]
    Long(&'static str),
    #[error("{0}")]
    Shape(&'static str),
}

/// A mail that was checked.
#[derive(Debug, Clone)]
pub(in crate::targets) struct Mail {
    pub(in crate::targets) from: Mailbox,
    pub(in crate::targets) to: Vec<Mailbox>,
    pub(in crate::targets) cc: Vec<Mailbox>,
    pub(in crate::targets) bcc: Vec<Mailbox>,
    pub(in crate::targets) reply_to: Option<Mailbox>,
    pub(in crate::targets) subject: String,
    pub(in crate::targets) text: Option<String>,
    pub(in crate::targets) html: Option<String>,
    pub(in crate::targets) headers: BTreeMap<String, String>,
    pub(in crate::targets) attachments: Vec<Part>,
    pub(in crate::targets) tags: Vec<String>,
    pub(in crate::targets) metadata: BTreeMap<String, String>,
    /// Without `<` and `>`; the same at each attempt.
    pub(in crate::targets) message_id: String,
    /// Recipients that a provider refused while it took the mail for others.
    pub(in crate::targets) refused: RefCell<Vec<Recipient>>,
}

/// An attachment that was checked.
#[derive(Debug, Clone)]
pub(in crate::targets) struct Part {
    pub(in crate::targets) filename: String,
    pub(in crate::targets) content_type: String,
    pub(in crate::targets) content: Bytes,
    pub(in crate::targets) content_id: Option<String>,
}

impl Part {
    pub(in crate::targets) fn base64(&self) -> String {
        STANDARD.encode(&self.content)
    }
}

impl Mail {
    /// Reads and checks the job in a message's body; `key` is the job's own, from which its Message-ID is made.
    pub(in crate::targets) fn read(body: &[u8], key: &str) -> Result<Self, BadMail> {
        let job: MailJob = serde_json::from_slice(body).map_err(|why| {
            // The words of the reader may repeat what stands there; its place does not.
            BadMail::Json(format!("at line {}, column {}", why.line(), why.column()))
        })?;
        Self::check(job, key)
    }

    fn check(job: MailJob, key: &str) -> Result<Self, BadMail> {
        let from = mailbox(&job.from, "from")?;
        if job.text.is_none() && job.html.is_none() {
            return Err(BadMail::Shape("the mail has neither text nor html"));
        }
        let count = job.to.len() + job.cc.len() + job.bcc.len();
        if job.to.is_empty() || count > MOST_RECIPIENTS {
            return Err(BadMail::Shape(
                "a mail has 1 to 1,000 recipients, one in `to`",
            ));
        }
        line(&job.subject, "subject")?;
        for tag in &job.tags {
            line(tag, "a tag")?;
        }
        for (name, value) in &job.metadata {
            line(name, "metadata")?;
            line(value, "metadata")?;
        }
        for (name, value) in &job.headers {
            header(name, value)?;
        }
        let domain = from.email.domain().to_ascii_lowercase();
        Ok(Self {
            message_id: message_id(key, &domain),
            to: mailboxes(&job.to, "to")?,
            cc: mailboxes(&job.cc, "cc")?,
            bcc: mailboxes(&job.bcc, "bcc")?,
            reply_to: job
                .reply_to
                .map(|address| mailbox(&address, "reply_to"))
                .transpose()?,
            from,
            subject: job.subject,
            text: job.text,
            html: job.html,
            headers: job.headers,
            attachments: job
                .attachments
                .into_iter()
                .map(part)
                .collect::<Result<_, _>>()?,
            tags: job.tags,
            metadata: job.metadata,
            refused: RefCell::default(),
        })
    }

    /// The domain of From, in lower case.
    pub(in crate::targets) fn domain(&self) -> String {
        self.from.email.domain().to_ascii_lowercase()
    }
}

fn mailboxes(addresses: &[Address], field: &str) -> Result<Vec<Mailbox>, BadMail> {
    let all = addresses.iter().map(|address| mailbox(address, field));
    all.collect()
}

fn mailbox(address: &Address, field: &str) -> Result<Mailbox, BadMail> {
    let wrong = || BadMail::Address(field.to_owned());
    let mailbox = match address {
        Address::Text(text) => {
            line(text, field)?;
            text.parse::<Mailbox>().map_err(|_| wrong())?
        }
        Address::Parts(parts) => {
            line(&parts.email, field)?;
            if let Some(name) = &parts.name {
                line(name, field)?;
            }
            let email = parts.email.parse().map_err(|_| wrong())?;
            Mailbox::new(parts.name.clone(), email)
        }
    };
    Ok(mailbox)
}

/// A text that becomes part of a header: no control characters, so that it ends where it ends.
fn line(text: &str, field: &str) -> Result<(), BadMail> {
    if text.chars().any(char::is_control) {
        return Err(BadMail::Control(field.to_owned()));
    }
    if text.len() > LONGEST_LINE {
        return Err(BadMail::Long("a line of the mail"));
    }
    Ok(())
}

fn header(name: &str, value: &str) -> Result<(), BadMail> {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !(1..=76).contains(&name.len()) || !name.bytes().all(of_token) {
        return Err(BadMail::Shape("a header has a name that none can have"));
    }
    if OURS.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(BadMail::Shape(
            "a header is set that follows from the rest of the job",
        ));
    }
    line(value, "a header")
}

fn part(attachment: Attachment) -> Result<Part, BadMail> {
    line(&attachment.filename, "the name of an attachment")?;
    line(&attachment.content_type, "the type of an attachment")?;
    let typed = lettre::message::header::ContentType::parse(&attachment.content_type);
    if typed.is_err() {
        return Err(BadMail::Shape(
            "an attachment has a type that none can have",
        ));
    }
    if let Some(id) = &attachment.content_id {
        line(id, "the id of an attachment")?;
        if id.is_empty()
            || !id.bytes().all(|byte| byte.is_ascii_graphic())
            || id.contains(['<', '>'])
        {
            return Err(BadMail::Shape(
                "an attachment has a content_id that none can have",
            ));
        }
    }
    let content = STANDARD
        .decode(attachment.content.as_bytes())
        .map_err(|_| BadMail::Shape("an attachment is not in base64"))?;
    Ok(Part {
        filename: attachment.filename,
        content_type: attachment.content_type,
        content: content.into(),
        content_id: attachment.content_id,
    })
}

/// The same for the same job, whoever sends it and however often.
fn message_id(key: &str, domain: &str) -> String {
    let mut id = String::with_capacity(33 + domain.len());
    for byte in &Sha256::digest(key.as_bytes())[..16] {
        let _ = write!(id, "{byte:02x}");
    }
    format!("{id}@{domain}")
}
