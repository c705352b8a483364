//! What is a mail, and what is refused before anybody is asked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::job::{Mail, schema};

/// A mail with everything in it.
pub(in crate::targets) fn full() -> Json {
    json!({
        "from": "Bücher & Mehr <hallo@shop.example>",
        "to": ["ana@example.org", {"email": "bo@example.org", "name": "Bo, the \"first\""}],
        "cc": ["cc@example.org"],
        "bcc": ["bcc@example.org"],
        "reply_to": "answers@shop.example",
        "subject": "Deine Bestellung ✓ ist da",
        "text": "Hallo,\n.\ndies ist ein Text mit Ümlauten.",
        "html": "<p>Hallo <img src=\"cid:logo\"></p>",
        "headers": {"X-Campaign": "spring", "List-Unsubscribe": "<https://shop.example/u>"},
        "attachments": [
            {"filename": "Rechnung März.pdf", "content_type": "application/pdf", "content": STANDARD.encode("%PDF")},
            {"filename": "logo.png", "content_type": "image/png", "content": STANDARD.encode([137, 80, 78, 71]), "content_id": "logo"}
        ],
        "tags": ["order"],
        "metadata": {"order": "4711"}
    })
}

pub(in crate::targets) fn mail(job: &Json) -> Mail {
    Mail::read(job.to_string().as_bytes(), "mail:1").unwrap()
}

fn refused(place: &str, value: Json) -> String {
    let mut job = full();
    *job.pointer_mut(place).unwrap() = value;
    match Mail::read(job.to_string().as_bytes(), "mail:1") {
        Ok(_) => "fine".to_owned(),
        Err(why) => why.to_string(),
    }
}

#[test]
fn a_whole_mail_is_read() {
    let mail = mail(&full());
    assert_eq!(mail.to[1].name.as_deref(), Some("Bo, the \"first\""));
    assert_eq!(mail.domain(), "shop.example");
    assert_eq!(mail.attachments[0].content.as_ref(), b"%PDF");
    let id = &mail.message_id;
    assert!(id.len() == 32 + 13 && id.ends_with("@shop.example"), "{id}");
}

#[test]
fn a_line_break_reaches_no_header() {
    for place in [
        "/from",
        "/to/0",
        "/to/1/name",
        "/to/1/email",
        "/cc/0",
        "/bcc/0",
        "/reply_to",
        "/subject",
        "/headers/X-Campaign",
        "/tags/0",
        "/metadata/order",
        "/attachments/0/filename",
        "/attachments/0/content_type",
        "/attachments/1/content_id",
    ] {
        for broken in [
            "a\r\nBcc: x@evil.example",
            "a\nb",
            "a\rb",
            "a\0b",
            "a@b.example\r\n",
        ] {
            let said = refused(place, json!(broken));
            assert!(said.contains("line break"), "{place} {broken:?}: {said}");
            assert!(!said.contains("evil"), "{said}");
        }
    }
}

#[test]
fn what_cannot_be_sent_says_why_and_repeats_nothing() {
    for (place, value, expected) in [
        ("/from", json!("nobody"), "from is no address"),
        ("/to", json!([]), "recipients"),
        ("/to/0", json!("canary@@x"), "to is no address"),
        ("/headers", json!({"Subject": "twice"}), "follows from"),
        ("/headers", json!({"a b": "c"}), "a name that none"),
        ("/headers", json!({"X:y": "c"}), "a name that none"),
        ("/attachments/0/content", json!("%%"), "base64"),
        (
            "/attachments/0/content_type",
            json!("nothing"),
            "a type that none",
        ),
        ("/attachments/1/content_id", json!("a b"), "content_id"),
        ("/subject", json!(7), "no mail: at line 1"),
    ] {
        let said = refused(place, value);
        assert!(
            said.contains(expected) && !said.contains("canary"),
            "{place}: {said}"
        );
    }
    let mut job = full();
    job["surprise"] = json!(1);
    assert!(Mail::read(job.to_string().as_bytes(), "k").is_err());
    let bare = json!({"from": "a@b.example", "to": ["c@d.example"], "subject": "x"});
    let why = Mail::read(bare.to_string().as_bytes(), "k").unwrap_err();
    assert!(why.to_string().contains("neither"), "{why}");
}

#[test]
fn the_message_id_is_the_jobs_own() {
    let of = |key: &str| {
        Mail::read(full().to_string().as_bytes(), key)
            .unwrap()
            .message_id
    };
    assert_eq!(of("mail:1"), of("mail:1"));
    assert_ne!(of("mail:1"), of("mail:2"));
}

/// What the schema says must be there, must be; what it does not name is refused; and it stands in `examples/`.
#[test]
fn the_schema_and_the_reader_agree() {
    let schema = schema();
    let read = |job: &Json| Mail::read(job.to_string().as_bytes(), "mail:1").is_ok();
    assert!(read(&full()));
    let needed = schema["required"].as_array().unwrap();
    assert_eq!(needed, &[json!("from"), json!("subject")]);
    for part in needed {
        let mut job = full();
        job.as_object_mut().unwrap().remove(part.as_str().unwrap());
        assert!(!read(&job), "without {part}");
    }
    assert_eq!(schema["additionalProperties"], false);
    let mut job = full();
    job["cci"] = json!([]);
    assert!(!read(&job), "an unknown part");
    let parts = schema["properties"].as_object().unwrap();
    for (part, of) in parts {
        let kind = of["type"].as_str().or(of["type"][0].as_str());
        let wrong = match kind {
            Some("array" | "object") | None => json!(7),
            _ => json!({"no": "text"}),
        };
        let mut job = full();
        job[part] = wrong;
        assert!(!read(&job), "{part} of another type");
    }
    let shown: Json =
        serde_json::from_str(include_str!("../../../examples/mail/mail-job.schema.json")).unwrap();
    assert_eq!(
        shown, schema,
        "make it anew: sluicegate schema mail > examples/mail/mail-job.schema.json"
    );
    let shown: Json =
        serde_json::from_str(include_str!("../../../examples/mail/result.schema.json")).unwrap();
    assert_eq!(
        shown,
        crate::targets::results::schema(),
        "make it anew: sluicegate schema result > examples/mail/result.schema.json"
    );
}

#[test]
fn the_schema_names_every_part() {
    let schema = schema();
    let parts = schema
        .pointer("/properties")
        .and_then(Json::as_object)
        .unwrap();
    for part in full().as_object().unwrap().keys() {
        assert!(parts.contains_key(part), "{part}");
    }
}
