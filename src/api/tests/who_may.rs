//! Who may what: each route with each role, within and outside of a scope, as the table of routes has it (FAULTS G01, G02, G10,
//! G11, G12).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::*;
use crate::api::routes::{Route, TABLE, Within};
use crate::rules::access::{Need, Role, SECRET_CHARACTERS, SECRET_PREFIX};
use crate::rules::doubt::Doubt;

/// The queue that is out of the scope of whoever has `orders`, and its flag.
const OTHER: &str = "billing/orders";

fn secret(name: &str) -> String {
    format!("{SECRET_PREFIX}{name:_<width$}", width = SECRET_CHARACTERS)
}

/// Whom the file of these tests knows: each role without a limit, with the queue `orders`, and with the other queue.
fn people() -> Vec<(String, Role, &'static str)> {
    let scopes = [("all", ""), ("in", "orders"), ("out", OTHER)];
    let of = |role: Role| scopes.map(|(word, queue)| (format!("{role}-{word}"), role, queue));
    Role::ALL.into_iter().flat_map(of).collect()
}

fn guarded() -> Arc<Doors> {
    let mut text = "[amqp]\nurl = 'amqp://127.0.0.1'\n[[queue]]\nname = 'orders'\ntarget.http = 'http://127.0.0.1:1'\n".to_owned();
    for (name, role, queue) in people() {
        let hash: String = Sha256::digest(secret(&name))
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let scope = if queue.is_empty() {
            String::new()
        } else {
            let word = name.rsplit('-').next().unwrap_or_default();
            format!("queues = ['{queue}']\nflags = ['{word}.*']\n")
        };
        let _ = write!(
            text,
            "[[token]]\nname = '{name}'\nrole = '{role}'\nsha256 = '{hash}'\n{scope}"
        );
    }
    let settings = config::read_text("sluicegate.toml", &text, &config::Environment::new());
    let doors = doors();
    doors
        .access
        .renew(&settings.unwrap_or_else(|problems| panic!("{problems}")));
    doors
}

impl Ask {
    fn by(self, name: &str) -> Self {
        self.with("authorization", &format!("Bearer {}", secret(name)))
    }
}

/// Opens a tenth of `orders` for the segment `beta`, which is made for it; the opening's id.
async fn opening(doors: &Arc<Doors>) -> String {
    let beta = json!({"name": "beta", "by": "id", "members": ["o-1"], "reason": "a secret reason"});
    let made = send("PUT", "/api/v1/segments/beta", &beta).with("if-none-match", "*");
    let made = made.by("operator-all").to(doors).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let body = json!({"values": {"queue.orders.skip": 0.1}, "when": [{"segment": "beta"}], "reason": "a secret reason"});
    let got = send("POST", "/api/v1/openings", &body)
        .by("operator-all")
        .to(doors)
        .await;
    got.json()["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{}", got.text))
        .to_owned()
}

/// A request of a route for what has to do with `orders`.
fn ask(route: &Route, opening: &str) -> Ask {
    let path = route
        .path
        .replace("segments/{name}", "segments/beta")
        .replace("{name}", "orders")
        .replace("{key}", "queue.orders.skip")
        .replace("{flag}", "queue.orders.skip")
        .replace("{id}", opening);
    assert!(
        !path.contains('{'),
        "say here what stands for the part in {path}"
    );
    let body = match (route.method, route.path) {
        ("GET", _) => return get(&path),
        (_, "/api/v1/openings") => json!({"values": {"queue.orders.skip": 0.1}, "reason": "x"}),
        (_, "/api/v1/providers/unknown/resolve") => {
            json!({"queue": "orders", "ids": ["o-1"], "as": "done", "reason": "x"})
        }
        (_, "/api/v1/outcomes") => json!({"queue": "orders", "id": "o-1", "outcome": "done"}),
        (_, "/api/v1/changes") => {
            json!({"edits": [{"edit": "set", "flag": "queue.orders.skip", "value": 0.1, "seen": 0}], "reason": "x"})
        }
        (_, "/api/v1/flags/apply") => {
            json!({"flags": [{"key": "queue.orders.skip", "kind": "ops", "type": "ratio", "value": 0.1}], "reason": "x"})
        }
        (_, path) if path.starts_with("/ofrep/") => json!({"context": {"targetingKey": "acme"}}),
        _ if route.within == Within::Body => {
            panic!("say here what {} {path} is sent", route.method)
        }
        _ => json!({"reason": "x"}),
    };
    send(route.method, &path, &body)
}

/// What the table says is answered: a verdict, or an empty one where it goes on to the handler.
fn awaited(route: &Route, role: Role, outside: bool, limited: bool) -> &'static str {
    match route.within {
        _ if !role.may(route.need) => "403 role",
        Within::Everything if limited => "403 scope",
        Within::Queue(_) if outside => "404 no-such-queue",
        Within::Flag(_) if outside => "404 no-such-flag",
        Within::Opening(_) if outside => "404 no-such-opening",
        Within::Segment(_) if outside => "404 no-such-segment",
        Within::Body if outside && route.path.contains("/authz/") => "403 not-allowed",
        Within::Body if outside => "404",
        _ => "",
    }
}

/// A provider may have done the job `o-1` of `orders`.
fn in_doubt(doors: &Doors) {
    let doubt = Doubt {
        queue: "orders".parse().unwrap(),
        id: "o-1".into(),
        pool: "mail".into(),
        provider: "mailgun".into(),
        message_id: None,
        account: None,
        cause: "no answer".to_owned(),
        attempt: 1,
        at_ms: NOON,
    };
    doors.store.doubts().keep(&[doubt]).unwrap();
}

#[tokio::test]
async fn each_route_takes_its_role_and_scope() {
    for route in TABLE.iter().filter(|route| route.need != Need::Nothing) {
        for (name, role, queue) in people() {
            let doors = guarded();
            let opening = opening(&doors).await;
            in_doubt(&doors);
            let got = ask(route, &opening).by(&name).to(&doors).await;
            let verdict = awaited(route, role, queue == OTHER, !queue.is_empty());
            let what = format!("{} {} by {name}: {}", route.method, route.path, got.text);
            if verdict.is_empty() {
                let denied = ["401", "403 role", "403 scope", "404", "500"];
                let got = got.verdict();
                assert!(!denied.iter().any(|no| got.starts_with(no)), "{what}");
            } else {
                assert!(got.verdict().starts_with(verdict), "{what}: not {verdict}");
            }
            if queue == OTHER && route.within == Within::Entries && verdict.is_empty() {
                let rest = got
                    .text
                    .replace(OTHER, "")
                    .replace("\"broker_name\":\"orders\"", "");
                let hidden = ["orders", "beta", "a secret reason"];
                let shown = hidden.iter().any(|word| rest.contains(word));
                assert!(!shown, "{what}: it shows what is not there");
            }
        }
    }
}

#[tokio::test]
async fn whoever_is_not_known_is_told_nothing_but_how_to_be() {
    let doors = guarded();
    let opening = opening(&doors).await;
    let mut answers = BTreeSet::new();
    for route in TABLE {
        for (what, header) in [
            ("no token", None),
            ("a wrong one", Some(format!("Bearer {}", secret("nobody")))),
            ("none of ours", Some("Bearer admin".to_owned())),
            ("another way", Some("Basic YWRtaW46YWRtaW4=".to_owned())),
        ] {
            let mut asked = ask(route, &opening);
            asked
                .headers
                .extend(header.map(|header| ("authorization", header)));
            let got = asked.to(&doors).await;
            if route.need == Need::Nothing {
                assert_eq!(got.verdict(), "200", "{} {what}", route.path);
                continue;
            }
            let too_often =
                got.verdict() == "429 too-often" && !got.header("retry-after").is_empty();
            assert!(
                got.verdict() == "401 sign-in" || too_often,
                "{} {} {what}: {}",
                route.method,
                route.path,
                got.text
            );
            if !too_often {
                assert_eq!(
                    got.header("www-authenticate"),
                    "Bearer realm=\"sluicegate\""
                );
                answers.insert(got.json()["detail"].to_string());
            }
        }
    }
    assert_eq!(
        answers.len(),
        1,
        "the answer tells what was wrong: {answers:?}"
    );
    let page = doors.metrics.encode().unwrap();
    for reason in ["no_token", "wrong_token", "too_often"] {
        let zero = format!("sluicegate_denied_total{{reason=\"{reason}\"}} 0\n");
        assert!(!page.contains(&zero), "{reason} is not counted");
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_or_method_leads_around() {
    let doors = guarded();
    for path in [
        "/nothing",
        "//api/v1/flags",
        "/api//v1/flags",
        "/api/v1/flags/",
        "/api/../api/v1/flags",
        "/API/v1/flags",
        "/api%2Fv1/flags",
        "/%2e%2e/api/v1/flags",
        "/livez/../api/v1/flags",
        "/livez%2f",
        "/livez/",
        "/status;a=b",
        "/metrics",
    ] {
        let got = get(path).to(&doors).await;
        assert_eq!(got.verdict(), "401 sign-in", "{path}: {}", got.text);
    }
    for method in ["DELETE", "TRACE", "OPTIONS", "CONNECT", "PROPFIND"] {
        let ask = || raw(method, "/api/v1/flags/queue.orders.skip", "");
        check(method, &doors, ask(), "401 sign-in", "").await;
        let role = ask().by("operator-all").to(&doors).await.verdict();
        assert!(
            role == "403 role" || role == "405 method-not-allowed",
            "{method}: {role}"
        );
    }
    check(
        "HEAD is a GET",
        &doors,
        raw("HEAD", SKIP, "").by("viewer-all"),
        "200",
        "",
    )
    .await;
}

#[test]
fn every_route_stands_in_the_table_and_the_document_says_what_it_takes() {
    let document = openapi();
    let mut there = BTreeSet::new();
    for (path, item) in document.paths.paths {
        let mut item = item;
        for method in ["GET", "PUT", "POST", "PATCH", "DELETE"] {
            let Some(operation) = openapi::operation_of(&mut item, method) else {
                continue;
            };
            there.insert((method, path.clone()));
            let route = TABLE
                .iter()
                .find(|route| route.method == method && route.path == path);
            let route =
                route.unwrap_or_else(|| panic!("say in routes.rs what {method} {path} takes"));
            assert_eq!(
                operation.security.is_some(),
                route.need != Need::Nothing,
                "{method} {path}"
            );
            assert!(
                !route.writes() || method != "GET",
                "{path}: a GET changes nothing"
            );
        }
    }
    for route in TABLE {
        assert!(
            there.contains(&(route.method, route.path.to_owned())),
            "there is no {} {}",
            route.method,
            route.path
        );
    }
}

#[tokio::test]
async fn a_body_reaches_no_further_than_the_path() {
    let doors = guarded();
    let both = json!({"values": {"queue.orders.skip": 0.1, "queue.billing/orders.skip": 0.1}, "reason": "x"});
    let open = |who: &str| send("POST", "/api/v1/openings", &both).by(who);
    check(
        "two queues, one of mine",
        &doors,
        open("operator-in"),
        "404 no-such-flag",
        "queue.billing/orders.skip",
    )
    .await;
    let got = check(
        "two queues, all mine",
        &doors,
        open("operator-all"),
        "201",
        "",
    )
    .await;
    let close = format!(
        "/api/v1/openings/{}/close",
        got.json()["id"].as_str().unwrap()
    );
    let close = |who: &str| send("POST", &close, &json!({"reason": "x"})).by(who);
    check(
        "half of it is mine",
        &doors,
        close("operator-in"),
        "403 scope",
        "outside of your scope",
    )
    .await;
    let seen = get("/api/v1/openings").by("operator-in").to(&doors).await;
    assert!(
        seen.text.contains("queue.orders.skip") && !seen.text.contains("billing"),
        "{}",
        seen.text
    );
    let flag = get(SKIP).by("viewer-in").to(&doors).await;
    assert!(!flag.text.contains("billing"), "{}", flag.text);
    check(
        "all of it is mine",
        &doors,
        close("operator-all"),
        "200",
        "",
    )
    .await;
    let log = get("/api/v1/changes").by("viewer-in").to(&doors).await;
    assert!(
        log.text.contains("queue.orders.skip") && !log.text.contains("billing"),
        "{}",
        log.text
    );
    let reports = json!([{"queue": "orders", "id": "1", "outcome": "done"}, {"queue": OTHER, "id": "1", "outcome": "done"}]);
    check(
        "reports",
        &doors,
        send("POST", "/api/v1/outcomes", &reports).by("service-in"),
        "404 no-such-queue",
        OTHER,
    )
    .await;
}

#[tokio::test]
async fn what_has_no_end_takes_an_admin() {
    let doors = guarded();
    let keep = |who: &str| {
        let body = json!({"value": 0.1, "keep": true, "reason": "x"});
        send("PATCH", SKIP, &body).by(who).with("if-match", "\"0\"")
    };
    check("keep", &doors, keep("operator-all"), "403 role", "keep").await;
    let long = |who: &str| {
        let body = json!({"values": {"queue.orders.skip": 0.1}, "for": "25h", "reason": "x"});
        send("POST", "/api/v1/openings", &body).by(who)
    };
    let refused = long("operator-all").to(&doors).await;
    assert_eq!(refused.status.as_u16() / 100, 4, "{}", refused.text);
    check("a day and an hour", &doors, long("admin-all"), "201", "").await;
    check("keep", &doors, keep("admin-all"), "200", "").await;
}

#[tokio::test]
async fn nobody_says_himself_who_he_is_or_what_he_may() {
    let doors = guarded();
    let open = |more: Value| {
        let mut body = json!({"values": {"queue.orders.skip": 0.1}, "reason": "x"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        send("POST", "/api/v1/openings", &body).by("operator-in")
    };
    for more in [
        json!({"role": "admin"}),
        json!({"actor": "root"}),
        json!({"by": {"name": "root"}}),
        json!({"revision": 7}),
        json!({"keep": true}),
    ] {
        check(
            &more.to_string(),
            &doors,
            open(more),
            "422 bad-document",
            "unknown field",
        )
        .await;
    }
    check(
        "a header",
        &doors,
        open(json!({})).with("sluicegate-user", "root"),
        "201",
        "",
    )
    .await;
    let record = &doors.store.changes(None, 1).unwrap()[0];
    assert_eq!(
        (record.by.name.as_str(), record.by.auth.as_str()),
        ("operator-in", "token")
    );
}

#[tokio::test]
async fn services_show_their_token_by_either_header() {
    let doors = guarded();
    let ask = |path: &str| send("POST", path, &json!({"context": {}}));
    let key = |ask: Ask| ask.with("x-api-key", &secret("service-all"));
    let evaluate = "/ofrep/v1/evaluate/flags/queue.orders.skip";
    for ask in [
        ask(evaluate).by("service-all"),
        key(ask(evaluate)),
        key(ask("/ofrep/v1/evaluate/flags")),
    ] {
        check("either", &doors, ask, "200", "").await;
    }
    check(
        "no other door",
        &doors,
        key(get("/api/v1/flags")),
        "401 sign-in",
        "",
    )
    .await;
    let wrong = ask(evaluate).with("x-api-key", &secret("nobody"));
    check("a wrong key", &doors, wrong, "401 sign-in", "").await;
}

#[tokio::test]
async fn an_idempotency_key_is_its_owners_alone() {
    let doors = guarded();
    let open = |who: &str| {
        let body = json!({"values": {"queue.orders.skip": 0.1}, "reason": "x"});
        send("POST", "/api/v1/openings", &body)
            .by(who)
            .with("idempotency-key", "k")
    };
    let first = check("first", &doors, open("operator-in"), "201", "").await;
    let again = check("again", &doors, open("operator-in"), "201", "").await;
    let other = check("another", &doors, open("operator-all"), "201", "").await;
    assert_eq!(first.text, again.text);
    assert_ne!(first.json()["id"], other.json()["id"]);
    check(
        "outside",
        &doors,
        open("operator-out"),
        "404 no-such-flag",
        "",
    )
    .await;
}

#[expect(clippy::too_many_lines, reason = "a table, a few lines for each case")]
#[tokio::test]
async fn several_at_once_reach_no_further_than_one() {
    let doors = guarded();
    let opening = opening(&doors).await;
    let edit = |edit: Value| json!({"edits": [{"edit": "set", "flag": "queue.billing/orders.skip", "value": 0.1, "seen": 0}, edit], "reason": "x"});
    let set = json!({"edit": "set", "flag": "queue.orders.skip", "value": 0.1, "seen": 0});
    for (what, one, verdict) in [
        ("a set", set, "404 no-such-flag"),
        (
            "a patch that does not fit",
            json!({"edit": "patch", "flag": "queue.orders.skip", "patch": {"nonsense": 1}, "seen": 0}),
            "404 no-such-flag",
        ),
        (
            "no such flag",
            json!({"edit": "set", "flag": "queue.orders.nothing", "value": 1, "seen": 0}),
            "404 no-such-flag",
        ),
        (
            "an undo",
            json!({"edit": "undo", "flag": "queue.orders.skip", "revision": 1}),
            "404 no-such-flag",
        ),
        (
            "a segment",
            json!({"edit": "members", "segment": "beta", "add": ["x"]}),
            "404 no-such-segment",
        ),
        (
            "a deletion",
            json!({"edit": "delete_segment", "segment": "beta", "seen": 1}),
            "404 no-such-segment",
        ),
        (
            "a new flag",
            json!({"edit": "create", "document": {"key": "queue.orders.x", "kind": "config", "type": "ratio", "value": 0}}),
            "404 no-such-flag",
        ),
    ] {
        let ask = send("POST", "/api/v1/changes", &edit(one)).by("operator-out");
        check(what, &doors, ask, verdict, "/edits/1").await;
    }
    let own = json!({"key": "queue.billing/orders.skip", "kind": "ops", "type": "ratio", "value": 0.1, "managed": "file"});
    let other = json!({"key": "queue.orders.skip", "kind": "ops", "type": "ratio", "value": 0.1, "managed": "file"});
    let apply = |flags: &[&Value], who: &str| {
        let body = json!({"flags": flags, "keep": true, "prune": true, "reason": "x"});
        send("POST", "/api/v1/flags/apply", &body).by(who)
    };
    check(
        "both",
        &doors,
        apply(&[&own, &other], "admin-out"),
        "404 no-such-flag",
        "/flags/1",
    )
    .await;
    check(
        "both",
        &doors,
        apply(&[&own, &other], "admin-all"),
        "200",
        "",
    )
    .await;
    let got = check(
        "own",
        &doors,
        apply(&[&own], "admin-out"),
        "200",
        "\"left\":[]",
    )
    .await;
    assert!(!got.text.contains("queue.orders"), "{}", got.text);
    let close = format!("/api/v1/openings/{opening}/extend");
    let extend = send("POST", &close, &json!({"for": "1h", "reason": "x"})).by("operator-out");
    check("an opening", &doors, extend, "404 no-such-opening", "").await;
    check(
        "the log",
        &doors,
        get("/api/v1/changes?format=jsonl").by("viewer-out"),
        "403 scope",
        "",
    )
    .await;
    check(
        "a flag's log",
        &doors,
        get("/api/v1/changes?flag=queue.orders.skip").by("viewer-out"),
        "200",
        "\"items\":[]",
    )
    .await;
}

#[tokio::test]
async fn a_deletion_takes_an_admin_however_it_is_asked_for() {
    let doors = guarded();
    let made = json!({"edits": [{"edit": "create", "document": {"key": "in.x", "kind": "config", "type": "ratio", "value": 0}}], "reason": "x"});
    let made = send("POST", "/api/v1/changes", &made)
        .by("operator-in")
        .to(&doors)
        .await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    let several = json!({"edits": [{"edit": "delete", "flag": "in.x", "seen": 1}], "reason": "x"});
    let undo = json!({"reason": "x"});
    for (what, ask) in [
        (
            "alone",
            raw("DELETE", "/api/v1/flags/in.x?reason=x", "").with("if-match", "\"1\""),
        ),
        ("among others", send("POST", "/api/v1/changes", &several)),
        (
            "by taking it back",
            send("POST", "/api/v1/flags/in.x/undo", &undo),
        ),
    ] {
        check(what, &doors, ask.by("operator-in"), "403 role", "admin").await;
    }
    let delete = raw("DELETE", "/api/v1/flags/in.x?reason=x", "").with("if-match", "\"1\"");
    check("an admin", &doors, delete.by("admin-in"), "200", "").await;
}

#[tokio::test]
async fn who_listens_hears_of_what_is_there_for_them() {
    use crate::events::EventKind::{Change, Resync};
    let doors = guarded();
    let request = Request::get("/api/v1/events").header("host", "localhost");
    let request = request.header("authorization", format!("Bearer {}", secret("viewer-in")));
    let answer = router(Arc::clone(&doors)).oneshot(request.body(Body::empty()).unwrap());
    let mut stream = answer.await.unwrap().into_body().into_data_stream();
    stream.next().await.unwrap().unwrap();
    for (number, kind, flags) in [
        (1, Change, &["queue.billing/orders.skip"][..]),
        (2, Change, &["queue.orders.skip"]),
        (
            3,
            Change,
            &["queue.orders.skip", "queue.billing/orders.skip"],
        ),
        (4, Change, &[]),
        (5, Resync, &[]),
    ] {
        let flags = flags.iter().map(|flag| flag.parse().unwrap()).collect();
        doors
            .events
            .tell(kind, flags, &json!({"number": number}), None);
    }
    let heard = String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap();
    let lines: Vec<&str> = heard
        .lines()
        .filter(|line| !line.starts_with("id: "))
        .collect();
    let awaited = [
        "event: change",
        "data: {\"number\":2}",
        "",
        "event: resync",
        "data: {}",
        "",
        "event: resync",
        "data: {\"number\":5}",
        "",
    ];
    assert_eq!(lines, awaited);
    doors.access.renew(&config::read_text("x.toml", "[amqp]\nurl = 'amqp://127.0.0.1'\n[[queue]]\nname = 'orders'\ntarget.http = 'http://127.0.0.1:1'\n", &config::Environment::new()).unwrap());
    assert!(
        stream.next().await.is_none(),
        "who may come in is another matter now"
    );
}
