//! Mails by a provider: what may have been sent waits for a decision, what nobody can send is a dead letter, and a key that is refused is
//! read again.

use std::collections::BTreeSet;
use std::io::Write;

use serde_json::{Value as Json, json};

use crate::broker::Broker;
use crate::ledger::{Kind, Message};
use crate::providers::{served, stands};
use crate::scene::{QUEUE, Scene, secs};
use crate::worker::{Reply, Worker};

/// A mail whose subject is its id.
pub(crate) fn mail(id: &str) -> Message {
    let job = json!({
        "from": "Shop <no-reply@shop.example>", "to": [format!("{id}@example.org")],
        "subject": id, "text": "Hello ✓",
    });
    Message::new(id).body(job.to_string())
}

/// What stands in the subject of a mail as SendGrid gets it.
pub(crate) fn subjects(worker: &Worker) -> Vec<String> {
    let subject = |body: &[u8]| {
        let body: Json = serde_json::from_slice(body).unwrap();
        body["subject"].as_str().unwrap().to_owned()
    };
    worker.got().iter().map(|got| subject(&got.body)).collect()
}

pub(crate) fn key_file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{text}").unwrap();
    file
}

fn mail_pool(worker: &Worker, key: &tempfile::NamedTempFile) -> String {
    let base = worker.url();
    let base = base.trim_end_matches("/jobs");
    format!(
        "[[pool]]\nname = \"work\"\nproviders = [\"sendgrid\"]\n[[provider]]\nname = \"sendgrid\"\nkind = \"sendgrid\"\nurl = \"{base}\"\n\
         deadline = \"1s\"\napi_key_file = \"{}\"\n",
        key.path().display()
    )
}

#[test]
fn a_mail_that_may_have_been_sent_is_parked_and_a_bad_one_is_a_dead_letter() {
    let scene = Scene::set(Broker::shared(), "mails", Kind::Quorum);
    let (worker, key) = (Worker::start(), key_file("canary-one"));
    worker.decides(|got, _| match String::from_utf8_lossy(&got.body) {
        body if body.contains("\"cut\"") => Reply::Cut,
        body if body.contains("\"hung\"") => Reply::Hang,
        body if body.contains("\"refused\"") => Reply::Status(400),
        _ => Reply::Status(202),
    });
    let daemon = served(&scene, "slots = 8", &mail_pool(&worker, &key));
    let broken = mail("broken").body(r#"{"from": "a@b.example", "to": ["c@d.example\r\nBcc: x@evil.example"], "subject": "x", "text": "y"}"#);
    scene.publish(&[
        mail("fine"),
        mail("cut"),
        mail("hung"),
        mail("refused"),
        broken,
    ]);
    let now = scene.settles(&daemon, secs(30));
    let counted = ["done", "unknown", "failed"].map(|reason| now.settled(QUEUE, reason));
    assert_eq!(counted, [1, 2, 2], "{}", daemon.log());
    scene.also_worked(subjects(&worker).into_iter().filter(|id| id == "fine"));
    let log = daemon.log();
    let said = [
        log,
        daemon.get("/metrics").body,
        daemon.get("/api/v1/providers").body,
    ];
    for text in said {
        assert!(
            !text.contains("canary") && !text.contains("@example.org"),
            "{text}"
        );
    }
    let found = scene.nothing_lost(daemon);
    let ids = |list: &[Message]| {
        list.iter()
            .map(|message| message.id.clone())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(
        ids(&found.parked),
        ["cut", "hung"].map(str::to_owned).into()
    );
    assert_eq!(
        ids(&found.dead),
        ["broken", "refused"].map(str::to_owned).into()
    );
    assert_eq!(
        worker
            .got()
            .iter()
            .filter(|got| got.body.is_empty())
            .count(),
        0
    );
}

#[test]
fn a_key_that_is_refused_rests_the_provider_until_its_file_changes() {
    let scene = Scene::set(Broker::shared(), "keys", Kind::Quorum);
    let (worker, key) = (Worker::start(), key_file("canary-old"));
    worker.decides(|got, _| match got.header("authorization") {
        Some("Bearer canary-new") => Reply::Status(202),
        _ => Reply::Status(401),
    });
    let daemon = served(&scene, "slots = 4", &mail_pool(&worker, &key));
    let mails: Vec<Message> = (0..20)
        .map(|number| mail(&format!("mail-{number}")))
        .collect();
    scene.publish(&mails);
    let provider = stands(
        &daemon,
        "sendgrid",
        |provider| provider["refuses_us"].is_string(),
        secs(10),
    );
    assert_eq!(provider["state"], "resting");
    assert!(
        worker.got().len() <= 8,
        "a dead key is not tried again and again"
    );
    std::fs::write(key.path(), "canary-new").unwrap();
    let now = scene.settles(&daemon, secs(30));
    assert_eq!(now.settled(QUEUE, "done"), 20, "{}", daemon.log());
    scene.also_worked(subjects(&worker));
    scene.nothing_lost(daemon);
}
