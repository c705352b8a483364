//! Services that read flags by the real OpenFeature SDKs, for Python and JavaScript, and follow them as they change.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value as Json, json};

use crate::daemon::{Daemon, PROGRAM};
use crate::keeper::{Kept, directory, eventually, tail};
use crate::laws::root;
use crate::nginx::daemon_with;
use crate::scene::secs;

const FLAGS: &str = r#"
[[flag]]
key = "new-basket"
kind = "permission"
type = "boolean"
value = false
rules = [{ name = "beta", when = [{ attribute = "account", op = "in", values = ["acme"] }], value = true }]

[[flag]]
key = "greeting"
kind = "config"
type = "string"
value = "hello"

[[flag]]
key = "page-size"
kind = "config"
type = "integer"
value = 25

[[flag]]
key = "sample"
kind = "config"
type = "ratio"
value = 1.0

[[flag]]
key = "colours"
kind = "config"
type = "object"
value = { header = "blue", footer = { text = "grey" } }

[[flag]]
key = "request-timeout"
kind = "config"
type = "duration"
value = "500ms"
rules = [
    { name = "reports", when = [{ attribute = "route", op = "starts_with", values = ["/reports"] }, { attribute = "method", op = "in", values = ["GET"] }], value = "1m 30s" },
    { name = "ring", by = "account", split = [{ value = "750ms", share = 1.0 }] },
]
"#;

fn daemon() -> Daemon {
    let file = directory("flags").join("flags.toml");
    std::fs::write(&file, FLAGS).unwrap();
    daemon_with(&file)
}

/// Where `tests/run` puts the SDKs: beside what was built.
fn installed(name: &str) -> PathBuf {
    let place = Path::new(PROGRAM).ancestors().nth(2).unwrap().join(name);
    assert!(
        place.exists(),
        "there is no OpenFeature in {}: `tests/run` installs it",
        place.display()
    );
    place
}

fn python() -> Command {
    let mut command = Command::new(installed("openfeature-venv").join("bin/python"));
    command.arg(root().join("tests/openfeature/ask.py"));
    command
}

fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    let modules = installed("openfeature-node").join("node_modules");
    command
        .env("NODE_PATH", modules)
        .arg(root().join("tests/openfeature").join(script));
    command
}

/// What an SDK answers to these questions.
fn ask(mut sdk: Command, daemon: &Daemon, questions: &[Json]) -> Vec<Json> {
    let questions = serde_json::to_string(questions).unwrap();
    let output = sdk.args([daemon.url(), questions]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{sdk:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A question: type, flag, the code's default, context.
struct Question(&'static str, &'static str, Json, Json);

impl Question {
    fn json(&self) -> Json {
        let Self(kind, key, default, context) = self;
        json!({"type": kind, "key": key, "default": default, "context": context})
    }
}

/// Questions that are answered, each with value, reason and variant.
fn answered() -> Vec<(Question, Json, &'static str, &'static str)> {
    let acme = || json!({"targetingKey": "acme"});
    let report =
        json!({"targetingKey": "acme", "route": "/reports/7", "method": "GET", "node": "web-1"});
    let ask = |kind, key, default: Json| Question(kind, key, default, json!({}));
    let of_acme = |kind, key, default: Json| Question(kind, key, default, acme());
    let colours = json!({"header": "blue", "footer": {"text": "grey"}});
    let by_default = |question: Question, value: Json| (question, value, "STATIC", "default");
    vec![
        (
            ask("boolean", "new-basket", json!(true)),
            json!(false),
            "DEFAULT",
            "default",
        ),
        (
            of_acme("boolean", "new-basket", json!(false)),
            json!(true),
            "TARGETING_MATCH",
            "beta",
        ),
        (
            Question("string", "request-timeout", json!("1s"), report),
            json!("1m 30s"),
            "TARGETING_MATCH",
            "reports",
        ),
        (
            of_acme("string", "request-timeout", json!("1s")),
            json!("750ms"),
            "SPLIT",
            "ring",
        ),
        by_default(ask("string", "greeting", json!("?")), json!("hello")),
        by_default(ask("integer", "page-size", json!(1)), json!(25)),
        by_default(ask("float", "sample", json!(0.5)), json!(1.0)),
        by_default(ask("object", "colours", json!({})), colours),
        by_default(ask("float", "queue.orders.skip", json!(0.5)), json!(0.0)),
        by_default(
            ask("string", "queue.orders.max_age", json!("1s")),
            json!("none"),
        ),
    ]
}

/// Questions that get the code's default, each with the error.
fn refused() -> Vec<(Question, &'static str)> {
    let ask = |kind, key, default: Json| Question(kind, key, default, json!({}));
    vec![
        (ask("boolean", "new-bakset", json!(true)), "FLAG_NOT_FOUND"),
        (
            ask("string", "request-timeout", json!("1s")),
            "TARGETING_KEY_MISSING",
        ),
        (ask("boolean", "greeting", json!(true)), "TYPE_MISMATCH"),
        // No limit is null, which is no number.
        (
            ask("integer", "queue.orders.concurrency", json!(8)),
            "TYPE_MISMATCH",
        ),
    ]
}

/// Asks all of this with one SDK, and compares what it makes of the answers.
fn check(name: &str, sdk: impl Fn() -> Command) {
    let (daemon, cases) = (daemon(), answered());
    let questions: Vec<Json> = cases.iter().map(|(asked, ..)| asked.json()).collect();
    let answers = ask(sdk(), &daemon, &questions);
    assert_eq!(answers.len(), cases.len());
    for ((asked, value, reason, variant), answer) in cases.iter().zip(&answers) {
        let place = format!("{name}: {}: {answer}", asked.json());
        assert!(answer["error"].is_null(), "{place}");
        // A whole number comes back from JavaScript without its point.
        let same = &answer["value"] == value
            || value.is_f64() && answer["value"].as_f64() == value.as_f64();
        assert!(same, "{place}");
        let why = (&answer["reason"], &answer["variant"]);
        assert_eq!(why, (&json!(reason), &json!(variant)), "{place}");
        assert!(answer["metadata"]["revision"].is_number(), "{place}");
        if *variant != "default" {
            assert_eq!(answer["metadata"]["rule"], json!(variant), "{place}");
        }
    }
    let cases = refused();
    let questions: Vec<Json> = cases.iter().map(|(asked, _)| asked.json()).collect();
    let answers = ask(sdk(), &daemon, &questions);
    assert_eq!(answers.len(), cases.len());
    for ((asked, error), answer) in cases.iter().zip(&answers) {
        let place = format!("{name}: {}: {answer}", asked.json());
        assert_eq!(answer["value"], asked.2, "the code's default: {place}");
        assert_eq!(answer["error"], json!(error), "{place}");
    }
    let series = "sluicegate_evaluations_total{flag=\"new-basket\"}";
    assert_eq!(daemon.metrics().get(series), 2.0);
}

#[test]
fn the_sdk_for_python_reads_every_type_and_every_reason() {
    check("Python", python);
}

#[test]
fn the_sdk_for_javascript_reads_every_type_and_every_reason() {
    check("JavaScript", || node("ask.cjs"));
}

/// The lines that a process wrote so far, each one of JSON.
fn lines(log: &Path) -> Vec<Json> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let whole = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    whole
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[test]
fn the_sdk_for_pages_follows_changes_by_events_and_is_told_304_when_none_is_for_it() {
    let daemon = daemon();
    let home = directory("follow");
    let (log, errors) = (home.join("log"), home.join("errors"));
    let _page = Kept::start(
        node("follow.cjs")
            .args([&daemon.url(), "{\"targetingKey\": \"acme\"}", "greeting"])
            .stdout(File::create(&log).unwrap())
            .stderr(File::create(&errors).unwrap()),
    );
    let says = |what: &str, wanted: &dyn Fn(&Json) -> bool| {
        eventually(what, secs(20), || {
            let lines = lines(&log);
            let found = lines.iter().rfind(|line| wanted(line)).cloned();
            found.ok_or_else(|| format!("{lines:?}\n{}", tail(&errors, 20)))
        })
    };
    says("the page has the value", &|line| line["value"] == "hello");
    let first = says("it got all flags", &|line| line["status"] == 200);
    assert!(first["asked"].is_null());
    // Once it listens it asks again, for what may have changed in between; nothing has.
    let again = says("it asks with the tag that it has", &|line| {
        line["status"] == 304
    });
    assert_eq!(
        (&again["asked"], &again["etag"]),
        (&first["etag"], &first["etag"])
    );
    daemon.set("greeting", "good evening");
    let changed = says("the page hears of the change", &|line| {
        line["value"] == "good evening"
    });
    assert_eq!(changed["changed"], json!(["greeting"]));
    let second = says("it got all flags again", &|line| line["status"] == 200);
    assert_eq!(second["asked"], first["etag"]);
    assert_ne!(second["etag"], first["etag"]);
}
