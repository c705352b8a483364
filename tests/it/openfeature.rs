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

/// Asks all of this with one SDK, and compares what it makes of the answers.
fn check(name: &str, sdk: impl Fn() -> Command) {
    let daemon = daemon();
    let acme = json!({"targetingKey": "acme"});
    let report =
        json!({"targetingKey": "acme", "route": "/reports/7", "method": "GET", "node": "web-1"});
    let cases = [
        (
            ("boolean", "new-basket", json!(true), json!({})),
            json!(false),
            "DEFAULT",
            "default",
        ),
        (
            ("boolean", "new-basket", json!(false), acme.clone()),
            json!(true),
            "TARGETING_MATCH",
            "beta",
        ),
        (
            ("string", "greeting", json!("?"), json!({})),
            json!("hello"),
            "STATIC",
            "default",
        ),
        (
            ("integer", "page-size", json!(1), json!({})),
            json!(25),
            "STATIC",
            "default",
        ),
        (
            ("float", "sample", json!(0.5), json!({})),
            json!(1.0),
            "STATIC",
            "default",
        ),
        (
            ("object", "colours", json!({}), json!({})),
            json!({"header": "blue", "footer": {"text": "grey"}}),
            "STATIC",
            "default",
        ),
        (
            ("string", "request-timeout", json!("1s"), report),
            json!("1m 30s"),
            "TARGETING_MATCH",
            "reports",
        ),
        (
            ("string", "request-timeout", json!("1s"), acme),
            json!("750ms"),
            "SPLIT",
            "ring",
        ),
        (
            ("float", "queue.orders.skip", json!(0.5), json!({})),
            json!(0.0),
            "STATIC",
            "default",
        ),
        (
            ("string", "queue.orders.max_age", json!("1s"), json!({})),
            json!("none"),
            "STATIC",
            "default",
        ),
    ];
    let question = |(kind, key, default, context): &(&str, &str, Json, Json)| json!({"type": kind, "key": key, "default": default, "context": context});
    let questions: Vec<Json> = cases.iter().map(|(asked, ..)| question(asked)).collect();
    let answers = ask(sdk(), &daemon, &questions);
    assert_eq!(answers.len(), cases.len());
    for ((asked, value, reason, variant), answer) in cases.iter().zip(&answers) {
        let place = format!("{name}: {asked:?}: {answer}");
        assert!(answer["error"].is_null(), "{place}");
        // A whole number comes back from JavaScript without its point.
        let same = &answer["value"] == value
            || value.is_f64() && answer["value"].as_f64() == value.as_f64();
        assert!(same, "{place}");
        assert_eq!(
            (&answer["reason"], &answer["variant"]),
            (&json!(reason), &json!(variant)),
            "{place}"
        );
        let revision = answer["metadata"]["revision"].as_f64().unwrap();
        assert!(revision >= 0.0, "{place}");
        if *variant != "default" {
            assert_eq!(answer["metadata"]["rule"], json!(variant), "{place}");
        }
    }

    let cases = [
        (
            ("boolean", "new-bakset", json!(true), json!({})),
            "FLAG_NOT_FOUND",
        ),
        (
            ("string", "request-timeout", json!("1s"), json!({})),
            "TARGETING_KEY_MISSING",
        ),
        (
            ("boolean", "greeting", json!(true), json!({})),
            "TYPE_MISMATCH",
        ),
        (
            ("integer", "queue.orders.concurrency", json!(8), json!({})),
            "TYPE_MISMATCH",
        ), // no limit: null
    ];
    let questions: Vec<Json> = cases.iter().map(|(asked, _)| question(asked)).collect();
    let answers = ask(sdk(), &daemon, &questions);
    for ((asked, error), answer) in cases.iter().zip(&answers) {
        assert_eq!(answer["value"], asked.2, "the code's default: {asked:?}");
        assert_eq!(answer["error"], json!(error), "{name}: {asked:?}: {answer}");
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
