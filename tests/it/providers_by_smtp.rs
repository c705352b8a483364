//! Mails by mail servers: a real one, with STARTTLS and a sign-in; and one that misbehaves, row by row of section D of the catalogue of
//! faults (each step alone is in `src/targets/provider/mail_tests.rs`).

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::broker::Broker;
use crate::keeper::{Kept, directory, eventually, free_port};
use crate::ledger::{Kind, Message};
use crate::mail_server::{Exim, Misbehaving, header};
use crate::providers::{served, stands};
use crate::providers_of_mail::{key_file, mail, subjects};
use crate::scene::{QUEUE, Scene, secs};
use crate::tls::certificate;
use crate::worker::{Reply, Worker};

/// A mail with this subject for these, with a body that would like to be a command.
fn mail_for(id: &str, to: &[&str]) -> Message {
    let job = json!({
        "from": "Shop <no-reply@shop.example>", "to": to, "subject": id,
        "text": format!("Hello {id},\n.\nMAIL FROM:<evil@example.org>\r\n..two dots\n"),
    });
    Message::new(id).body(job.to_string())
}

/// Who is asked when the mail server is not: it must never get what another provider may have sent or nobody can send.
fn second(worker: &Worker, key: &tempfile::NamedTempFile) -> String {
    worker.always(Reply::Status(202));
    format!(
        "[[provider]]\nname = \"second\"\nkind = \"sendgrid\"\nurl = \"{}\"\napi_key_file = \"{}\"\n",
        worker.url().trim_end_matches("/jobs"),
        key.path().display()
    )
}

fn ids<'a>(found: impl IntoIterator<Item = &'a Message>) -> BTreeSet<&'a str> {
    found.into_iter().map(|one| one.id.as_str()).collect()
}

#[test]
fn exim_gets_mails_over_starttls_from_who_signed_in() {
    let scene = Scene::set(Broker::shared(), "exim", Kind::Quorum);
    let (exim, worker, key) = (Exim::start(), Worker::start(), key_file("canary-right"));
    let sections = format!(
        "[[pool]]\nname = \"work\"\nproviders = [\"exim\", \"second\"]\n{}{}",
        exim.provider(key.path(), &exim.certificate()),
        second(&worker, &key)
    );
    let daemon = served(&scene, "slots = 8\nattempts = 2", &sections);
    let mut mails: Vec<Message> = (0..40)
        .map(|number| mail_for(&format!("mail-{number}"), &["ana@example.org"]))
        .collect();
    mails.push(mail_for("D01", &["grey@example.org"]));
    mails.push(mail_for("D02", &["nobody@example.org"]));
    let three = ["ana@example.org", "nobody@example.org", "bo@example.org"];
    mails.push(mail_for("D07", &three));
    scene.publish(&mails);
    let now = scene.settles(&daemon, secs(90));
    let counted = ["done", "failed", "attempts", "unknown"];
    let counted = counted.map(|reason| now.settled(QUEUE, reason));
    assert_eq!(counted, [41, 1, 1, 0], "{}", daemon.log());
    assert_eq!(exim.log_with("come again").len(), 2, "D01: asked twice");
    assert_eq!(exim.log_with("no such user").len(), 2, "D02 and D07");
    assert_eq!(worker.got().len(), 0, "nothing of that is for the second");
    let log = daemon.log_with("");
    assert!(!log.iter().any(|line| line.contains("canary")));
    let got = eventually("all are in the box", secs(20), || {
        let mails = exim.mails();
        (mails.len() == 41)
            .then_some(mails)
            .ok_or("not yet".to_owned())
    });
    let mut names = BTreeSet::new();
    for mail in &got {
        let id = header(mail, "Subject");
        // SMTP over TLS from who has signed in.
        assert!(mail.contains("with esmtpsa"), "{mail}");
        assert!(names.insert(header(mail, "Message-ID")), "{mail}");
        let body = format!("\nHello {id},\n.\nMAIL FROM:<evil@example.org>\n..two dots\n");
        assert!(mail.contains(&body), "D08: {mail}");
    }
    let of_three = got.iter().find(|mail| header(mail, "Subject") == "D07");
    let to = header(of_three.unwrap(), "Envelope-to");
    assert!(
        to.contains("ana@") && to.contains("bo@") && !to.contains("nobody@"),
        "{to}"
    );
    scene.also_worked(got.iter().map(|mail| header(mail, "Subject")));
    let found = scene.nothing_lost(daemon);
    assert_eq!(found.repeated(), 0);
    assert_eq!(ids(&found.dead), ["D01", "D02"].into());
}

/// D04, D06: a certificate of somebody else and a wrong secret; then the right ones.
#[test]
fn exim_gets_nothing_from_who_does_not_trust_it_and_a_wrong_secret_is_tried_once() {
    let scene = Scene::set(Broker::shared(), "exim-wrong", Kind::Quorum);
    let (exim, elsewhere, key) = (Exim::start(), directory("other"), key_file("canary-wrong"));
    certificate(&elsewhere);
    let pool = "[[pool]]\nname = \"work\"\nproviders = [\"exim\"]\n";
    scene.publish(&[mail("one"), mail("two"), mail("three")]);
    let trusts = exim.provider(key.path(), &elsewhere.join("cert.pem"));
    let daemon = served(&scene, "slots = 8", &format!("{pool}{trusts}"));
    let refused = |provider: &serde_json::Value| provider["refuses_us"].is_string();
    let provider = stands(&daemon, "exim", refused, secs(20));
    let why = provider["refuses_us"].as_str().unwrap();
    assert!(why.contains("certificate"), "{why}");
    assert_eq!(exim.log_with("A=plain").len(), 0);
    daemon.terminate();
    let trusts = exim.provider(key.path(), &exim.certificate());
    let daemon = served(&scene, "slots = 8", &format!("{pool}{trusts}"));
    let provider = stands(&daemon, "exim", refused, secs(20));
    let why = provider["refuses_us"].as_str().unwrap();
    assert!(why.contains("535"), "{why}");
    assert_eq!(
        exim.log_with("authenticator failed").len(),
        1,
        "not for each mail"
    );
    std::fs::write(key.path(), "canary-right").unwrap();
    let now = scene.settles(&daemon, secs(60));
    assert_eq!(now.settled(QUEUE, "done"), 3, "{}", daemon.log());
    assert_eq!(exim.log_with("authenticator failed").len(), 1);
    assert!(
        !daemon
            .log_with("")
            .iter()
            .any(|line| line.contains("canary"))
    );
    scene.also_worked(
        exim.log_with(" <= ")
            .iter()
            .zip(["one", "two", "three"])
            .map(|(_, id)| id.to_owned()),
    );
    scene.nothing_lost(daemon);
}

#[test]
fn a_mail_server_that_misbehaves_loses_nothing_and_doubles_nothing() {
    let scene = Scene::set(Broker::shared(), "misbehaves", Kind::Quorum);
    let (worker, key) = (Worker::start(), key_file("canary"));
    let server = Misbehaving::start(|to, before| match () {
        () if to.contains("later@") && before == 0 => "450 greylisted",
        () if to.contains("nobody@") => "550 5.1.1 no such user",
        () if to.contains("cut@") => "cut",
        () => "250 go on",
    });
    let sections = format!(
        "[[pool]]\nname = \"work\"\nproviders = [\"server\", \"second\"]\n\
         [[provider]]\nname = \"server\"\nkind = \"smtp\"\nurl = \"{}\"\n{}",
        server.url(),
        second(&worker, &key)
    );
    let daemon = served(&scene, "slots = 8", &sections);
    scene.publish(&[
        mail_for("plain", &["ana@example.org"]),
        mail_for("D01", &["later@example.org"]),
        mail_for("D02", &["nobody@example.org"]),
        mail_for("D03", &["cut@example.org"]),
        mail_for("D07", &["ana@example.org", "nobody@example.org"]),
    ]);
    let now = scene.settles(&daemon, secs(60));
    let counted = ["done", "failed", "unknown", "attempts"];
    let counted = counted.map(|reason| now.settled(QUEUE, reason));
    assert_eq!(counted, [3, 1, 1, 0], "{}", daemon.log());
    assert_eq!(subjects(&worker), Vec::<String>::new());
    let mails = server.mails();
    let got: Vec<String> = mails.iter().map(|mail| header(mail, "Subject")).collect();
    assert_eq!(got.len(), 4, "{got:?}");
    let whole = got.iter().filter(|id| *id != "D03");
    scene.also_worked(whole.cloned());
    let found = scene.nothing_lost(daemon);
    assert_eq!(ids(&found.parked), ["D03"].into());
    assert_eq!(ids(&found.dead), ["D02"].into());
}

/// C13: an HTTPS provider whose certificate nobody vouches for gets nothing, and the next one does.
#[test]
fn a_provider_with_a_certificate_that_nobody_vouches_for_gets_nothing() {
    let scene = Scene::set(Broker::shared(), "certificate", Kind::Quorum);
    let (home, port, worker) = (directory("https"), free_port(), Worker::start());
    certificate(&home);
    let mut server = Command::new("openssl");
    server.args([
        "s_server",
        "-quiet",
        "-accept",
        &format!("127.0.0.1:{port}"),
    ]);
    server.args(["-cert", "cert.pem", "-key", "key.pem"]);
    let got = std::fs::File::create(home.join("got")).unwrap();
    let _server = Kept::start(server.current_dir(&home).stdout(got).stderr(Stdio::null()));
    let sections = format!(
        "[[pool]]\nname = \"work\"\nproviders = [\"first\", \"second\"]\n\
         [[provider]]\nname = \"first\"\nkind = \"http\"\nurl = \"https://localhost:{port}/jobs\"\n\
         [[provider]]\nname = \"second\"\nkind = \"http\"\nurl = \"{}\"\n",
        worker.url()
    );
    eventually("openssl listens", secs(10), || {
        let tried = std::net::TcpStream::connect(("127.0.0.1", port));
        tried.map(drop).map_err(|why| why.to_string())
    });
    let daemon = served(&scene, "slots = 4", &sections);
    scene.publish_many("job", 20);
    let now = scene.settles(&daemon, secs(30));
    assert_eq!(now.settled(QUEUE, "done"), 20, "{}", daemon.log());
    let refused = |provider: &serde_json::Value| provider["refuses_us"].is_string();
    let provider = stands(&daemon, "first", refused, secs(5));
    assert!(provider.to_string().contains("certificate"), "{provider}");
    assert_eq!(std::fs::read(home.join("got")).unwrap(), b"");
    scene.also_worked(worker.ids().into_keys());
    scene.nothing_lost(daemon);
}
