//! Adapters against what the services document: their requests, and a table of answers for each.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::{Value as Json, json};

use super::exchange::{Answered, Api, Request};
use super::generic::Generic;
use super::mailgun::Mailgun;
use super::postmark::Postmark;
use super::sendgrid::Sendgrid;
use super::ses::Ses;
use super::*;
use crate::config::secret::Secret;
use crate::rules::reply::Rule;
use crate::targets::mail::tests::{full, mail};
use crate::targets::request::tests::job;

const NOW_MS: i64 = 1_440_938_160_000;

pub(super) fn provider(kind: Kind) -> Provider {
    let (url, key) = match kind {
        Kind::Smtp => ("smtp://127.0.0.1:2525", ""),
        Kind::Http => ("https://worker.example/jobs", ""),
        _ => ("https://api.example", "x"),
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("canary{key}")).unwrap();
    let text = format!(
        "[amqp]\nurl = 'amqp://127.0.0.1'\n[[queue]]\nname = 'q'\ntarget = {{ pool = 'p' }}\n[[pool]]\nname = 'p'\nproviders = ['one']\n\
         [[provider]]\nname = 'one'\nkind = '{}'\nurl = '{url}'\ndomain = 'mg.shop.example'\nregion = 'eu-west-1'\nuser = 'AKID'\napi_key_file = '{}'\n",
        kind.word(),
        file.path().display()
    );
    let settings = crate::config::read_text("test.toml", &text, &Default::default());
    settings
        .unwrap_or_else(|why| panic!("{why}"))
        .providers
        .remove(0)
}

pub(super) fn work() -> Work {
    Work {
        job: job(&b"{}"[..]),
        mail: Some(mail(&full())),
    }
}

fn asked(api: &dyn Api) -> Request {
    api.request(&work(), &Secret::new("canary".to_owned()), NOW_MS)
        .unwrap()
}

fn body(request: &Request) -> Json {
    serde_json::from_slice(&request.body).unwrap()
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    let found = request.headers.iter().find(|(known, _)| *known == name);
    found.map_or("", |(_, value)| value)
}

/// What an answer means: its status, its headers and its body, then the word of the reply.
fn check(
    api: &dyn Api,
    status: u16,
    headers: &[(&'static str, &'static str)],
    body: Json,
    expected: &str,
) {
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        all.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    let wait = all
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let answer = Answered {
        status,
        headers: all,
        json: (!body.is_null()).then_some(body.clone()),
        wait: wait.map(Duration::from_secs),
    };
    let reply = api.reply(&answer);
    let said = match &reply {
        Reply::Done(Some(id)) => format!("done {id}"),
        Reply::Throttled(Some(wait)) => format!("throttled {} s", wait.as_secs()),
        other => other.word().to_owned(),
    };
    assert_eq!(said, expected, "{status} {body}");
    assert!(!reply.cause().contains('@'), "{reply:?} repeats an address");
}

/// What every HTTP service means by a status, whatever it says.
fn check_common(api: &dyn Api) {
    for status in [500, 502, 503, 504, 599, 408, 425] {
        check(api, status, &[], Json::Null, "provider");
    }
    for status in [301, 302, 307, 401] {
        check(api, status, &[], Json::Null, "ours");
    }
    check(api, 429, &[], Json::Null, "throttled");
    check(
        api,
        429,
        &[("retry-after", "7")],
        Json::Null,
        "throttled 7 s",
    );
    check(
        api,
        503,
        &[("retry-after", "7")],
        Json::Null,
        "throttled 7 s",
    );
}

#[test]
fn sendgrid_is_asked_and_understood() {
    let request = asked(&Sendgrid);
    let body = body(&request);
    assert_eq!(
        (request.path.as_str(), header(&request, "authorization")),
        ("/v3/mail/send", "Bearer canary")
    );
    assert_eq!(
        body["personalizations"][0]["to"][1],
        json!({"email": "bo@example.org", "name": "Bo, the \"first\""})
    );
    assert_eq!(
        body["from"],
        json!({"email": "hallo@shop.example", "name": "Bücher & Mehr"})
    );
    assert_eq!(
        body["content"][0]["type"], "text/plain",
        "the plain text comes first, or SendGrid refuses it"
    );
    assert_eq!(body["attachments"][1]["disposition"], "inline");
    assert_eq!(body["attachments"][0]["filename"], "Rechnung März.pdf");
    assert!(
        body["headers"]["Message-ID"]
            .as_str()
            .unwrap()
            .ends_with("@shop.example>")
    );
    assert_eq!(
        (&body["categories"], &body["custom_args"]),
        (&json!(["order"]), &json!({"order": "4711"}))
    );
    let api = &Sendgrid;
    let error =
        |message: &str| json!({"errors": [{"message": message, "field": null, "help": null}]});
    check(api, 202, &[("x-message-id", "abc")], Json::Null, "done abc");
    check(api, 202, &[], Json::Null, "done");
    check(
        api,
        400,
        &[],
        error("Does not contain a valid address: a@b"),
        "recipient",
    );
    check(api, 413, &[], error("payload too large"), "recipient");
    check(
        api,
        401,
        &[],
        error("The provided authorization grant is invalid"),
        "ours",
    );
    check(
        api,
        403,
        &[],
        error("The from address does not match a verified Sender Identity"),
        "sender",
    );
    check(api, 403, &[], error("access forbidden"), "ours");
    check(api, 404, &[], Json::Null, "ours");
    check_common(api);
}

#[test]
fn postmark_is_asked_and_understood() {
    let request = asked(&Postmark);
    let body = body(&request);
    assert_eq!(
        (
            request.path.as_str(),
            header(&request, "x-postmark-server-token")
        ),
        ("/email", "canary")
    );
    assert_eq!(
        (&body["Bcc"], &body["Tag"]),
        (&json!("bcc@example.org"), &json!("order"))
    );
    assert_eq!(body["Attachments"][1]["ContentID"], "cid:logo");
    assert!(
        body["To"]
            .as_str()
            .unwrap()
            .starts_with("ana@example.org, ")
    );
    let api = &Postmark;
    let code =
        |code: i64| json!({"ErrorCode": code, "Message": "said of a@b.example", "MessageID": "m"});
    check(
        api,
        200,
        &[],
        json!({"ErrorCode": 0, "MessageID": "b7", "Message": "OK"}),
        "done b7",
    );
    check(api, 200, &[], json!({"fine": true}), "unknown");
    check(api, 200, &[], Json::Null, "unknown");
    for (number, expected) in [
        (300, "recipient"),
        (406, "recipient"),
        (411, "recipient"),
        (400, "sender"),
        (401, "sender"),
        (412, "sender"),
        (405, "ours"),
        (10, "ours"),
        (413, "ours"),
        (100, "provider"),
    ] {
        check(api, 422, &[], code(number), expected);
    }
    check(api, 401, &[], code(10), "ours");
    check(api, 404, &[], Json::Null, "ours");
    check_common(api);
}

#[test]
fn mailgun_is_asked_and_understood() {
    let api = &Mailgun::of(&provider(Kind::Mailgun));
    let request = asked(api);
    assert_eq!(request.path, "/v3/mg.shop.example/messages");
    assert_eq!(header(&request, "authorization"), "Basic YXBpOmNhbmFyeQ==");
    let boundary = request.content_type.split("boundary=").nth(1).unwrap();
    let body = String::from_utf8_lossy(&request.body).into_owned();
    for part in [
        "name=\"to\"\r\n\r\nana@example.org\r\n",
        "name=\"subject\"\r\n\r\nDeine Bestellung ✓ ist da\r\n",
        "name=\"h:X-Campaign\"\r\n\r\nspring\r\n",
        "name=\"v:order\"\r\n\r\n4711\r\n",
        "name=\"o:tag\"\r\n\r\norder\r\n",
        "name=\"attachment\"; filename=\"Rechnung März.pdf\"\r\nContent-Type: application/pdf\r\n\r\n%PDF\r\n",
        "name=\"inline\"; filename=\"logo\"\r\nContent-Type: image/png\r\n",
        "name=\"h:Message-Id\"\r\n\r\n<",
    ] {
        assert!(body.contains(part), "{part}\n{body}");
    }
    assert!(body.ends_with(&format!("--{boundary}--\r\n")));
    let said = |message: &str| json!({"message": message});
    check(
        api,
        200,
        &[],
        json!({"id": "<x>", "message": "Queued. Thank you."}),
        "done <x>",
    );
    check(
        api,
        400,
        &[],
        said("'to' parameter is not a valid address"),
        "recipient",
    );
    check(
        api,
        400,
        &[],
        said("'from' parameter is not a valid address"),
        "sender",
    );
    check(
        api,
        400,
        &[],
        said("Domain mg.shop.example is not allowed to send: disabled"),
        "ours",
    );
    check(api, 401, &[], Json::Null, "ours");
    check(api, 402, &[], said("Request failed"), "ours");
    check(api, 404, &[], said("Domain not found"), "ours");
    check(api, 413, &[], Json::Null, "recipient");
    check_common(api);
}

#[test]
fn ses_is_asked_and_understood() {
    let api = &Ses::of(&provider(Kind::Ses));
    let request = asked(api);
    let body = body(&request);
    assert_eq!(request.path, "/v2/email/outbound-emails");
    assert_eq!(header(&request, "x-amz-date"), "20150830T123600Z");
    let signed = header(&request, "authorization");
    assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=AKID/20150830/eu-west-1/ses/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature="), "{signed}");
    assert!(!signed.contains("canary"));
    assert_eq!(
        body["Destination"]["BccAddresses"],
        json!(["bcc@example.org"])
    );
    assert!(body["Content"]["Raw"]["Data"].as_str().unwrap().len() > 500);
}

#[test]
fn the_answers_of_ses_are_known_by_their_names() {
    let api = &Ses::of(&provider(Kind::Ses));
    let named = |name: &'static str| [("x-amzn-errortype", name)];
    check(api, 200, &[], json!({"MessageId": "0100"}), "done 0100");
    check(
        api,
        400,
        &named("BadRequestException"),
        json!({"message": "bad address x@y"}),
        "recipient",
    );
    check(
        api,
        400,
        &named("MessageRejected"),
        json!({"message": "content"}),
        "recipient",
    );
    check(
        api,
        400,
        &named("MessageRejected:http://x"),
        json!({"message": "Email address is not verified."}),
        "sender",
    );
    check(
        api,
        400,
        &named("MailFromDomainNotVerifiedException"),
        json!({}),
        "sender",
    );
    check(
        api,
        400,
        &named("AccountSuspendedException"),
        json!({}),
        "ours",
    );
    check(
        api,
        400,
        &named("SendingPausedException"),
        json!({}),
        "ours",
    );
    check(
        api,
        400,
        &named("LimitExceededException"),
        json!({}),
        "throttled",
    );
    check(
        api,
        429,
        &named("TooManyRequestsException"),
        json!({}),
        "throttled",
    );
    check(api, 403, &named("SignatureDoesNotMatch"), json!({}), "ours");
    check(
        api,
        403,
        &[],
        json!({"__type": "com.amazon#UnrecognizedClientException"}),
        "ours",
    );
    check_common(api);
}

#[test]
fn any_service_is_asked_as_it_is_and_a_table_may_know_it_better() {
    let plain = &Generic;
    let request = asked(plain);
    assert_eq!((request.path.as_str(), &request.body[..]), ("", &b"{}"[..]));
    assert_eq!(header(&request, "authorization"), "Bearer canary");
    assert!(request.more.contains_key("idempotency-key") && request.more.contains_key("ce-id"));
    check(plain, 200, &[], Json::Null, "done");
    check(plain, 404, &[], Json::Null, "recipient");
    check_common(plain);
    let rule = Rule::new(
        "200",
        Some("/status".to_owned()),
        Some("error".to_owned()),
        "provider",
    )
    .unwrap();
    assert!(rule.fits(200, Some(&json!({"status": "error"}))));
}

/// A service for one connection: says this once the request was read, then closes or waits.
async fn service(says: &'static str, closes: bool) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    #[expect(clippy::disallowed_methods, reason = "a service of the test's own")]
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 65_536];
        let _ = stream.read(&mut buffer).await;
        stream.write_all(says.as_bytes()).await.unwrap();
        if !closes {
            let _ = stream.read(&mut buffer).await;
        }
    });
    format!("http://{address}")
}

async fn exchanged(url: String, within: Duration) -> String {
    let provider = Provider {
        url,
        ..provider(Kind::Http)
    };
    let adapter = Adapter::of(&provider, Clock::system()).unwrap();
    let reply = adapter.ask(&work(), within).await;
    format!("{}: {}", reply.word(), reply.cause())
}

#[tokio::test]
async fn what_breaks_is_unknown_only_once_the_provider_may_have_it() {
    let long = Duration::from_secs(20);
    for (says, closes, expected) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            true,
            "done",
        ),
        (
            "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
            true,
            "provider: it answered 500",
        ),
        (
            "HTTP/1.1 302 Go\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            true,
            "ours: ",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
            true,
            "unknown: the answer was cut",
        ),
        ("HTTP/1.1 20", true, "unknown: no answer"),
        ("", true, "unknown: no answer"),
    ] {
        let said = exchanged(service(says, closes).await, long).await;
        assert!(said.starts_with(expected), "{says:?}: {said}");
    }
    let hangs = exchanged(service("", false).await, Duration::from_millis(200)).await;
    assert!(
        hangs.starts_with("unknown: it gave no full answer within"),
        "{hangs}"
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let refused = exchanged(format!("http://{nobody}"), long).await;
    assert!(
        refused.starts_with("provider: not sent: connection refused"),
        "{refused}"
    );
}
