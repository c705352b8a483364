//! A mail server that misbehaves at each step, by a script: the rows of section D of the catalogue of faults.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::tests::{provider, work};
use super::*;
use crate::rules::reply::Reply;
use crate::targets::mail::tests::mail;
use crate::targets::request::tests::job;

/// What it says to a line that begins so, before what it says by itself. `HELLO`: when somebody connects; `.`: at the end of a mail.
/// Instead of words it may `close`, `hang`, or talk without an end.
type Script = &'static [(&'static str, &'static str)];

const CLOSE: &str = "close";
const HANG: &str = "hang";
const MILLION_LINES: &str = "a million lines";
const ENDLESS_LINE: &str = "one endless line";

/// What came: lines of commands, and mails as they were, with the dots that were put before dots.
#[derive(Debug, Default)]
struct Got {
    commands: Vec<String>,
    mails: Vec<Vec<u8>>,
}

impl Got {
    fn count(&self, word: &str) -> usize {
        let of_word = |line: &&String| line.starts_with(word);
        self.commands.iter().filter(of_word).count()
    }
}

#[derive(Debug, Clone)]
struct Server {
    url: String,
    got: Arc<Mutex<Got>>,
}

impl Server {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            url: format!("smtp://{}", listener.local_addr().unwrap()),
            got: Arc::default(),
        };
        let got = Arc::clone(&server.got);
        #[expect(clippy::disallowed_methods, reason = "a server of the test's own")]
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let got = Arc::clone(&got);
                tokio::spawn(async move { serve(BufReader::new(stream), script, &got).await });
            }
        });
        server
    }

    fn got(&self) -> std::sync::MutexGuard<'_, Got> {
        self.got.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn smtp(&self, user: Option<&str>) -> Smtp {
        let settings = Provider {
            url: self.url.clone(),
            user: user.map(str::to_owned),
            ..provider(Kind::Smtp)
        };
        Smtp::new(&settings, Clock::system()).unwrap()
    }
}

fn answer(line: &str, script: Script) -> &'static str {
    let own = script.iter().find(|(known, _)| line.starts_with(known));
    match own {
        Some((_, says)) => says,
        None => match line.split(' ').next().unwrap_or_default() {
            "HELLO" => "220 here",
            "EHLO" => "250-here\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN",
            "AUTH" => "235 come in",
            "DATA" => "354 go on",
            "QUIT" => "221 bye",
            _ => "250 2.0.0 queued as 1",
        },
    }
}

/// Serves one connection, until it ends or the script closes it.
async fn serve(mut stream: BufReader<TcpStream>, script: Script, got: &Mutex<Got>) {
    let mut line = "HELLO".to_owned();
    loop {
        let says = answer(&line, script);
        let said = match says {
            CLOSE => return,
            HANG => return std::future::pending().await,
            MILLION_LINES => talk(&mut stream, b"250-and more\r\n").await,
            ENDLESS_LINE => talk(&mut stream, b"and more, ").await,
            _ => stream.write_all(format!("{says}\r\n").as_bytes()).await,
        };
        if said.is_err() {
            return;
        }
        if line == "DATA" && says.starts_with("354") {
            let Some(mail) = read_mail(&mut stream).await else {
                return;
            };
            got.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .mails
                .push(mail);
            ".".clone_into(&mut line);
            continue;
        }
        line.clear();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        line.truncate(line.trim_end().len());
        let mut got = got.lock().unwrap_or_else(PoisonError::into_inner);
        got.commands.push(line.clone());
    }
}

async fn talk(stream: &mut BufReader<TcpStream>, words: &[u8]) -> std::io::Result<()> {
    for _ in 0..1_000_000 {
        stream.write_all(words).await?;
    }
    stream.write_all(b"250 done\r\n").await
}

/// All up to the line that is one dot, without it.
async fn read_mail(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut mail = Vec::new();
    loop {
        let before = mail.len();
        stream.read_until(b'\n', &mut mail).await.ok()?;
        match &mail[before..] {
            b"" => return None,
            b".\r\n" if mail[..before].ends_with(b"\r\n") => {
                mail.truncate(before);
                return Some(mail);
            }
            _ => {}
        }
    }
}

fn words(reply: &Reply) -> String {
    match reply {
        Reply::Done(id) => format!("done {}", id.clone().unwrap_or_default()),
        other => format!("{}: {}", other.word(), other.cause()),
    }
}

const LONG: Duration = Duration::from_secs(20);

async fn mailed(script: Script) -> String {
    let server = Server::start(script).await;
    words(&server.smtp(None).ask(&work(), LONG).await)
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table, one line for each step")]
async fn a_mail_server_is_understood_at_each_step() {
    let rows: [(&str, Script, &str); 16] = [
        ("", &[], "done 2.0.0 queued as 1"),
        (
            "",
            &[("HELLO", CLOSE)],
            "provider: the connection could not be made",
        ),
        (
            "D01",
            &[("RCPT", "450 greylisted")],
            "later: it answered 450 to a recipient",
        ),
        (
            "D01",
            &[("MAIL", "451 try later")],
            "provider: it answered 451 to From",
        ),
        (
            "D02",
            &[("RCPT", "550 5.1.1 no such user")],
            "recipient: it answered 550 to a recipient",
        ),
        (
            "D02",
            &[(".", "552 too big")],
            "recipient: it answered 552 to the mail",
        ),
        (
            "D02",
            &[("MAIL", "550 not you")],
            "sender: it answered 550 to From",
        ),
        (
            "D02",
            &[("RCPT", "554 5.7.1 relay access denied")],
            "sender: it answered 554",
        ),
        (
            "D03",
            &[(".", CLOSE)],
            "unknown: the connection broke at the mail",
        ),
        (
            "before D03",
            &[("DATA", CLOSE)],
            "provider: the connection broke at DATA",
        ),
        (
            "",
            &[(".", "451 disk full")],
            "provider: it answered 451 to the mail",
        ),
        (
            "D05",
            &[("HELLO", "421 too busy")],
            "provider: it answered 421 at the door",
        ),
        (
            "D05",
            &[("DATA", "421 closing")],
            "provider: it answered 421 to DATA",
        ),
        (
            "D06",
            &[("MAIL", "530 sign in first")],
            "ours: it answered 530",
        ),
        (
            "D05",
            &[("EHLO", MILLION_LINES)],
            "provider: the connection could not be made",
        ),
        (
            "D05",
            &[(".", ENDLESS_LINE)],
            "unknown: the connection broke at the mail",
        ),
    ];
    for (row, script, expected) in rows {
        let said = mailed(script).await;
        assert!(said.starts_with(expected), "{row} {script:?}: {said}");
    }
}

/// D03: whoever gets a mail again can know it again.
#[tokio::test]
async fn a_mail_that_was_lost_at_its_end_has_the_same_message_id_when_it_comes_again() {
    let server = Server::start(&[(".", CLOSE)]).await;
    let smtp = server.smtp(None);
    for _ in 0..2 {
        let reply = smtp.ask(&work(), LONG).await;
        assert_eq!(reply.word(), "unknown", "{reply:?}");
    }
    let got = server.got();
    let id = |mail: &Vec<u8>| {
        let text = String::from_utf8(mail.clone()).unwrap();
        let line = text.lines().find(|line| line.starts_with("Message-ID:"));
        line.unwrap().to_owned()
    };
    assert_eq!(got.mails.len(), 2);
    assert_eq!(id(&got.mails[0]), id(&got.mails[1]));
}

/// D04: whatever is done to STARTTLS, neither a mail nor a secret goes over in the clear.
#[tokio::test]
async fn without_starttls_nothing_is_sent() {
    const OFFERS: (&str, &str) = ("EHLO", "250-here\r\n250 STARTTLS");
    let rows: [(Script, &str); 4] = [
        (&[], "ours: it does not offer STARTTLS"),
        (
            &[OFFERS, ("STARTTLS", "454 not now")],
            "provider: it answered 454 at the door",
        ),
        (
            &[OFFERS, ("STARTTLS", "220 this is no TLS")],
            "provider: the connection could not be made",
        ),
        // What follows in the clear is not taken for an answer within TLS.
        (
            &[
                OFFERS,
                ("STARTTLS", "220 go on\r\n250-here\r\n250 AUTH PLAIN"),
            ],
            "provider: the connection could not be made",
        ),
    ];
    for (script, expected) in rows {
        let server = Server::start(script).await;
        let mut smtp = server.smtp(Some("ana"));
        smtp.pretend_it_is_elsewhere();
        let reply = words(&smtp.ask(&work(), Duration::from_secs(3)).await);
        assert!(
            reply.starts_with(expected) || reply.contains("did not take the mail"),
            "{script:?}: {reply}"
        );
        let got = server.got();
        assert_eq!(
            (got.count("AUTH"), got.count("MAIL"), got.mails.len()),
            (0, 0, 0)
        );
        assert!(got.count("EHLO") <= 1, "{got:?}");
    }
}

/// D05: a server that is slow holds a job no longer than its deadline, at whatever step.
#[tokio::test]
async fn a_slow_server_holds_a_job_for_its_deadline_at_most() {
    let rows: [(Script, &str); 4] = [
        (&[("HELLO", HANG)], "provider: it did not take the mail"),
        (&[("RCPT", HANG)], "provider: it did not take the mail"),
        (&[("DATA", HANG)], "provider: it did not take the mail"),
        (&[(".", HANG)], "unknown: it gave no answer to the mail"),
    ];
    for (script, expected) in rows {
        let (server, clock) = (Server::start(script).await, Clock::system());
        let began = clock.mono();
        let reply = server
            .smtp(None)
            .ask(&work(), Duration::from_millis(300))
            .await;
        let said = words(&reply);
        assert!(said.starts_with(expected), "{script:?}: {said}");
        assert!(clock.mono() - began < Duration::from_secs(10), "{script:?}");
    }
}

/// D06: a secret that is refused is tried once, however many mails wait, and not again soon.
#[tokio::test]
async fn a_refused_sign_in_is_not_repeated() {
    let server = Server::start(&[("AUTH", "535 5.7.8 no")]).await;
    let smtp = server.smtp(Some("ana"));
    let (work, ten) = (work(), 0..10);
    let replies = futures_util::future::join_all(ten.map(|_| smtp.ask(&work, LONG))).await;
    for reply in replies {
        let said = words(&reply);
        assert!(
            said.starts_with("ours: it answered 535 to our sign-in"),
            "{said}"
        );
        assert!(!said.contains("canary"), "{said}");
    }
    assert_eq!(server.got().count("AUTH"), 1);
    let well = Server::start(&[]).await;
    let smtp = well.smtp(Some("ana"));
    for _ in 0..3 {
        assert_eq!(smtp.ask(&work, LONG).await.word(), "done");
    }
    assert_eq!(well.got().count("AUTH"), 1, "the connection is kept");
}

/// D07: of several recipients those that are refused are left out; the others get the mail, once.
#[tokio::test]
async fn the_others_get_a_mail_of_which_one_recipient_is_refused() {
    let refuses: Script = &[("RCPT TO:<bo@", "550 5.1.1 no such user")];
    let server = Server::start(refuses).await;
    let reply = server.smtp(None).ask(&work(), LONG).await;
    assert_eq!(words(&reply), "done 2.0.0 queued as 1");
    let got = server.got();
    assert_eq!(
        (got.count("RCPT"), got.count("DATA"), got.mails.len()),
        (4, 1, 1)
    );
}

/// A mail as its text stands at the server after the dots are taken off, decoded.
fn text_of(mail: &[u8]) -> String {
    let mail = String::from_utf8(mail.to_vec()).unwrap();
    let (headers, body) = mail.split_once("\r\n\r\n").unwrap();
    let lines = body.split("\r\n");
    let lines = lines.map(|line| line.strip_prefix('.').unwrap_or(line));
    let body = lines.collect::<Vec<_>>().join("\r\n");
    if headers.contains("Content-Transfer-Encoding: base64") {
        let packed: String = body.split_whitespace().collect();
        let engine = &base64::engine::general_purpose::STANDARD;
        let bytes = base64::Engine::decode(engine, packed).unwrap();
        return String::from_utf8(bytes).unwrap();
    }
    if headers.contains("Content-Transfer-Encoding: quoted-printable") {
        return from_quoted_printable(&body);
    }
    body
}

fn from_quoted_printable(text: &str) -> String {
    let text = text.replace("=\r\n", "");
    let mut parts = text.split('=');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

/// All line breaks as they are on the wire, and none at the end: there the protocol puts its own.
fn on_the_wire(text: &str) -> String {
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    lines.trim_end_matches('\n').replace('\n', "\r\n")
}

/// D08: whatever stands in a body, the server gets one mail, in lines that it takes, and reads what was written.
async fn one_mail_arrives(text: &str) {
    let server = Server::start(&[]).await;
    let job_of =
        json!({"from": "a@shop.example", "to": ["b@example.org"], "subject": "x", "text": text});
    let work = Work {
        job: job(&b"{}"[..]),
        mail: Some(mail(&job_of)),
    };
    let reply = server.smtp(None).ask(&work, LONG).await;
    assert_eq!(reply.word(), "done", "{reply:?}");
    let got = server.got();
    assert_eq!(got.mails.len(), 1, "{text:?}");
    assert_eq!(
        (got.count("MAIL"), got.count("RCPT"), got.count("DATA")),
        (1, 1, 1)
    );
    let wire = String::from_utf8(got.mails[0].clone()).unwrap();
    let bare = wire.replace("\r\n", "");
    assert!(!bare.contains(['\r', '\n']), "{text:?} became {wire:?}");
    assert!(wire.split("\r\n").all(|line| line.len() <= 998), "{text:?}");
    assert_eq!(on_the_wire(&text_of(&got.mails[0])), on_the_wire(text));
}

#[tokio::test]
async fn nothing_in_a_body_is_taken_for_the_end_of_a_mail() {
    let long = "long ".repeat(1_000);
    for text in [
        "a\r\n.\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<c@example.org>\r\nDATA\r\nhi\r\n.\r\n",
        "a\n.\nMAIL FROM:<evil@example.org>\n",
        "a\r.\rMAIL FROM:<evil@example.org>\r",
        "a\n.\r\nMAIL FROM:<evil@example.org>\r\n",
        "a\r\n.\rMAIL FROM:<evil@example.org>\r\n",
        ".",
        "..\r\n...\r\n.",
        "\r\n.\r\n",
        &long,
        &long.replace(' ', "\u{fc}"),
    ] {
        one_mail_arrives(text).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_body_is_one_mail(text in "[ -~\r\n.\u{e4}]{0,300}|([.\r\n]|MAIL){0,40}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(one_mail_arrives(&text));
    }
}
