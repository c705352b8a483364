//! What a pool tells: jobs in doubt are listed and resolved, results come before the acknowledgement, what providers tell later is matched,
//! and suppressed addresses get nothing.

use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

use crate::broker::Broker;
use crate::daemon::{Daemon, command};
use crate::keeper::eventually;
use crate::ledger::{Kind, Message};
use crate::providers::served;
use crate::scene::{QUEUE, Scene, secs};
use crate::worker::{Reply, Worker};

const RESULTS: &str = "results";

fn mail_to(id: &str, to: &[&str]) -> Message {
    let job =
        json!({"from": "Shop <no-reply@shop.example>", "to": to, "subject": id, "text": "Hello ✓"});
    Message::new(id).body(job.to_string())
}

pub(crate) fn mail(id: &str) -> Message {
    mail_to(id, &[&format!("{id}@example.org")])
}

/// A pool of one SendGrid, with more settings of the pool.
fn pool(worker: &Worker, key: &std::path::Path, more: &str) -> String {
    let base = worker.url();
    let base = base.trim_end_matches("/jobs");
    format!(
        "[[pool]]\nname = \"work\"\nproviders = [\"sendgrid\"]\n{more}\n[[provider]]\nname = \"sendgrid\"\nkind = \"sendgrid\"\n\
         url = \"{base}\"\ndeadline = \"1s\"\napi_key_file = \"{}\"\n",
        key.display()
    )
}

/// A file that nobody else may read.
pub(crate) fn secret_file(home: &tempfile::TempDir, name: &str, text: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = home.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

pub(crate) fn told(daemon: &Daemon, arguments: &[&str]) -> String {
    let url = daemon.url();
    let all = [arguments, &["--url", &url]].concat();
    let (code, said, complaint) = command(&all);
    assert_eq!(
        code,
        Some(0),
        "{arguments:?}: {said}{complaint}\n{}",
        daemon.log()
    );
    said + &complaint
}

fn in_doubt(daemon: &Daemon) -> Vec<String> {
    let list = daemon.get("/api/v1/providers/unknown").json();
    let items = list["items"].as_array().unwrap().iter();
    let mut ids: Vec<String> = items
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids
}

fn subjects(worker: &Worker) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for got in worker.got() {
        if let Ok(body) = serde_json::from_slice::<Json>(&got.body) {
            let subject = body["subject"].as_str().unwrap_or_default();
            *all.entry(subject.to_owned()).or_default() += 1;
        }
    }
    all
}

/// What was asked for the mail with this subject, each time.
fn bodies_of(worker: &Worker, subject: &str) -> Vec<Json> {
    let mut bodies: Vec<Json> = worker
        .got()
        .iter()
        .map(|got| serde_json::from_slice(&got.body).unwrap())
        .collect();
    bodies.retain(|body| body["subject"] == subject);
    bodies
}

fn resolve(daemon: &Daemon, verdict: &str, id: &str) {
    let reason = format!("a test of {verdict}");
    let line = [
        "provider", "resolve", verdict, id, "--queue", QUEUE, "--reason", &reason, "--yes",
    ];
    told(daemon, &line);
}

/// The three that were resolved, with who did what and why.
fn are_on_record(daemon: &Daemon) {
    let changes = daemon.get("/api/v1/changes").json();
    let items = changes["items"].as_array().unwrap().clone();
    let resolved: Vec<&Json> = items
        .iter()
        .filter(|change| change["edit"] == "resolve")
        .collect();
    assert_eq!(resolved.len(), 3, "{changes}");
    assert_eq!(
        resolved[0]["resolved"],
        json!({"as": "again", "jobs": [{"queue": QUEUE, "id": "lost"}]})
    );
    assert_eq!(resolved[0]["reason"], "a test of again");
}

#[test]
fn what_may_have_been_sent_is_listed_survives_a_crash_and_is_resolved() {
    let scene = Scene::set(Broker::shared(), "doubts", Kind::Quorum);
    let home = tempfile::tempdir().unwrap();
    let worker = Worker::start();
    worker.decides(|got, _| match String::from_utf8_lossy(&got.body) {
        body if body.contains("\"fine\"") => Reply::Status(202),
        _ => Reply::Cut,
    });
    let key = secret_file(&home, "key", "canary");
    let daemon = served(&scene, "slots = 8", &pool(&worker, &key, ""));
    scene.publish(&[mail("fine"), mail("sent"), mail("lost"), mail("stale")]);
    let now = scene.settles(&daemon, secs(30));
    assert_eq!(
        (now.settled(QUEUE, "done"), now.settled(QUEUE, "unknown")),
        (1, 3),
        "{}",
        daemon.log()
    );
    assert_eq!(in_doubt(&daemon), ["lost", "sent", "stale"]);
    assert_eq!(now.sum("sluicegate_pool_jobs_in_doubt", &[]), 3.0);
    daemon.kill_9();
    daemon.restart();
    daemon.ready(secs(20));
    assert_eq!(
        in_doubt(&daemon),
        ["lost", "sent", "stale"],
        "a crash forgets nothing"
    );
    let list = told(&daemon, &["provider", "unknown"]);
    assert!(
        list.contains("sendgrid") && list.contains("@shop.example"),
        "{list}"
    );

    resolve(&daemon, "done", "sent");
    resolve(&daemon, "failed", "stale");
    assert_eq!(in_doubt(&daemon), ["lost"]);
    worker.always(Reply::Status(202));
    resolve(&daemon, "again", "lost");
    assert_eq!(in_doubt(&daemon), Vec::<String>::new());
    eventually("the lost one is sent again", secs(20), || {
        let sent = subjects(&worker);
        (sent.get("lost") == Some(&2))
            .then_some(())
            .ok_or(format!("{sent:?}\n{}", daemon.log()))
    });
    let bodies = bodies_of(&worker, "lost");
    assert_eq!(bodies[0], bodies[1], "with the same Message-ID");
    assert_eq!(
        subjects(&worker).get("sent"),
        Some(&1),
        "what was done is not done again"
    );

    are_on_record(&daemon);
    let (code, _, complaint) = command(&[
        "provider",
        "resolve",
        "done",
        "lost",
        "--queue",
        QUEUE,
        "--reason",
        "x",
        "--url",
        &daemon.url(),
    ]);
    assert_eq!(code, Some(3), "{complaint}");
    scene.settles(&daemon, secs(20));
    scene.also_worked(["fine".to_owned(), "lost".to_owned()]);
    scene.nothing_lost(daemon);
}

/// Waits until so many are done, unknown and failed.
fn settled(daemon: &Daemon, wanted: [u64; 3]) {
    daemon.counts("all are settled", secs(30), |now| {
        ["done", "unknown", "failed"].map(|reason| now.settled(QUEUE, reason)) == wanted
    });
}

/// What the queue of results holds, by id and attempt.
fn results(scene: &Scene<'_>) -> BTreeMap<String, Json> {
    let all = scene.ledger.drain(RESULTS);
    let read = all.iter().map(|message| {
        let result: Json = serde_json::from_slice(&message.body).unwrap();
        (result["id"].as_str().unwrap().to_owned(), result)
    });
    read.collect()
}

/// What a provider tells later of the mail that it called so, once and again; and of one that nobody knows.
fn is_matched(daemon: &Daemon, name: &str) {
    let bounce = json!([{"provider": "sendgrid", "message_id": name, "outcome": "bounced", "recipient": "fine@example.org"}]);
    for expected in ["counted", "repeated"] {
        let answer = daemon.send("POST", "/api/v1/outcomes", &[], &bounce);
        assert_eq!(
            (answer.status, answer.json()["reports"][0].as_str()),
            (200, Some(expected)),
            "{}",
            answer.body
        );
    }
    let strange = json!({"provider": "sendgrid", "message_id": "no such", "outcome": "complained"});
    assert_eq!(
        daemon
            .send("POST", "/api/v1/outcomes", &[], &strange)
            .json()["unknown"],
        1
    );
    let now = daemon.metrics();
    assert_eq!(
        now.sum(
            "sluicegate_provider_reported_total",
            &["outcome=\"bounced\""]
        ),
        1.0
    );
}

#[test]
fn what_came_of_each_job_is_told_and_matched_with_what_comes_later() {
    let scene = Scene::set(Broker::shared(), "results", Kind::Quorum);
    let home = tempfile::tempdir().unwrap();
    let worker = Worker::start();
    worker.decides(|got, _| match String::from_utf8_lossy(&got.body) {
        body if body.contains("\"cut\"") => Reply::Cut,
        body if body.contains("\"refused\"") => Reply::Status(400),
        _ => Reply::Status(202),
    });
    scene.ledger.declare(RESULTS, Kind::Quorum, &[]);
    let key = secret_file(&home, "key", "canary");
    let more = "suppress = \"no-mail\"\nresults = { queue = \"results\" }";
    let daemon = served(&scene, "slots = 4", &pool(&worker, &key, more));
    let segment = json!({"by": "recipient", "members": ["gone@example.org"], "reason": "a test"});
    let put = daemon.send(
        "PUT",
        "/api/v1/segments/no-mail",
        &[("if-none-match", "*")],
        &segment,
    );
    assert_eq!(put.status, 201, "{}", put.body);
    scene.publish(&[
        mail("fine"),
        mail("cut"),
        mail("refused"),
        mail_to("some", &["here@example.org", "Gone@example.org"]),
        mail_to("none", &["gone@example.org"]),
    ]);
    settled(&daemon, [3, 1, 1]);
    let results = results(&scene);
    let outcome = |id: &str| results[id]["outcome"].as_str().unwrap().to_owned();
    let outcomes = ["fine", "cut", "refused", "some", "none"].map(outcome);
    assert_eq!(
        outcomes,
        ["done", "unknown", "failed", "done", "suppressed"],
        "{results:?}"
    );
    let fine = &results["fine"];
    assert_eq!(
        (&fine["provider"], &fine["queue"], &fine["attempt"]),
        (&json!("sendgrid"), &json!(QUEUE), &json!(1))
    );
    assert_eq!(
        fine["recipients"],
        json!([{"address": "fine@example.org", "outcome": "accepted"}])
    );
    assert_eq!(
        results["some"]["recipients"],
        json!([{"address": "here@example.org", "outcome": "accepted"}, {"address": "Gone@example.org", "outcome": "suppressed"}])
    );
    let bodies: Vec<String> = worker
        .got()
        .iter()
        .map(|got| String::from_utf8_lossy(&got.body).to_lowercase())
        .collect();
    assert!(
        !bodies.iter().any(|body| body.contains("gone@example.org")),
        "{bodies:?}"
    );

    let name = fine["message_id"].as_str().unwrap();
    is_matched(&daemon, name);
    scene.also_worked(["fine", "some", "none"].map(str::to_owned));
    scene.nothing_lost(daemon);
}

#[test]
fn nothing_is_acknowledged_before_its_result_is_told() {
    let scene = Scene::set(Broker::shared(), "told-first", Kind::Quorum);
    let home = tempfile::tempdir().unwrap();
    let worker = Worker::start();
    worker.always(Reply::Status(202));
    let key = secret_file(&home, "key", "canary");
    let daemon = served(
        &scene,
        "slots = 4",
        &pool(&worker, &key, "results = { queue = \"results\" }"),
    );
    scene.publish(
        &(0..4)
            .map(|number| mail(&format!("mail-{number}")))
            .collect::<Vec<_>>(),
    );
    daemon.counts("results are tried in vain", secs(20), |now| {
        now.sum("sluicegate_pool_results_total", &["told=\"retried\""]) >= 8.0
    });
    assert_eq!(
        daemon.metrics().settled(QUEUE, "done"),
        0,
        "nobody was told yet"
    );
    scene.ledger.declare(RESULTS, Kind::Quorum, &[]);
    settled(&daemon, [4, 0, 0]);
    assert_eq!(results(&scene).len(), 4);
    assert_eq!(
        subjects(&worker).values().copied().max(),
        Some(1),
        "each was sent once"
    );
    scene.also_worked(subjects(&worker).into_keys());
    scene.nothing_lost(daemon);
}
