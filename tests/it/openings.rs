//! Openings by the program itself, without a broker: they end whatever happens to it, go back in steps, and are told of.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::{Value as Json, json};
use sha2::Sha256;
use sluicegate::store::rescue;

use crate::daemon::{Config, Daemon};
use crate::http::Answer;
use crate::keeper::{directory, eventually, free_port};
use crate::scene::secs;
use crate::worker::{Got, Reply, Worker};

const SKIP: &str = "queue.orders.skip";
const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A file with one queue of a broker that is not there: nobody needs one to open a valve.
fn config() -> Config {
    let nobody = format!("amqp://127.0.0.1:{}", free_port());
    Config::new(&nobody).queue("orders", "http://127.0.0.1:9/jobs", "")
}

fn open(daemon: &Daemon, values: &Json, length: &str, restore: &Json) -> String {
    let body = json!({"values": values, "for": length, "restore": restore, "reason": "INC-481"});
    let answer = daemon.send("POST", "/api/v1/openings", &[], &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()["id"].as_str().unwrap().to_owned()
}

fn flag(daemon: &Daemon, flag: &str) -> Answer {
    daemon.get(&format!("/api/v1/flags/{flag}"))
}

fn says(daemon: &Daemon) -> f64 {
    flag(daemon, SKIP).json()["now"].as_f64().unwrap()
}

fn is_open(daemon: &Daemon, id: &str) -> bool {
    let openings = daemon.get("/api/v1/openings").json();
    let mut openings = openings["items"].as_array().unwrap().iter();
    openings.any(|opening| opening["id"] == id)
}

/// The log of a daemon that has ended is whole.
fn the_chain_is_whole(data: &Path) {
    let chain = rescue::verify(data, None).unwrap();
    assert!(chain.broken.is_none() && chain.whole > 0, "{chain:?}");
}

#[test]
fn killed_during_an_opening_and_across_its_end_it_stands_on_the_right_value() {
    let daemon = Daemon::start(&config());
    daemon.set(SKIP, 0.1);
    let short = open(&daemon, &json!({SKIP: 0.2}), "3s", &json!("snap"));
    let long = open(
        &daemon,
        &json!({SKIP: 0.3, "queue.orders.timeout": "10s"}),
        "1h",
        &json!("snap"),
    );
    daemon.kill_9();
    daemon.restart();
    assert!(
        is_open(&daemon, &short) && is_open(&daemon, &long),
        "killed during both"
    );
    assert!((says(&daemon) - 0.3).abs() < 1e-9);
    let closed = daemon.send(
        "POST",
        &format!("/api/v1/openings/{long}/close"),
        &[],
        &json!({"reason": "it is over"}),
    );
    assert_eq!(closed.status, 200, "{}", closed.body);
    daemon.kill_9();
    std::thread::sleep(secs(4));
    daemon.restart();
    // It is closed before the first delivery is taken, so before anybody can ask.
    assert!(!is_open(&daemon, &short), "killed across its end");
    assert!((says(&daemon) - 0.1).abs() < 1e-9, "{}", says(&daemon));
    let newest = daemon.get("/api/v1/changes?limit=1").json()["items"][0].clone();
    assert_eq!(
        (&newest["edit"], &newest["cause"]),
        (&json!("close"), &json!("expiry"))
    );
    assert_eq!(daemon.terminate(), Some(0), "{}", daemon.log());
    the_chain_is_whole(&daemon.data());
}

#[test]
fn a_ramp_is_seen_on_its_way_survives_a_kill_and_leaves_the_etag_alone() {
    let daemon = Daemon::start(&config());
    let tag = flag(&daemon, SKIP).headers["etag"].clone();
    let id = open(&daemon, &json!({SKIP: 0.2}), "2s", &json!({"ramp": "10s"}));
    let on_its_way = |low: f64, high: f64| {
        eventually("it is on its way back", secs(10), || {
            let said = says(&daemon);
            let fits = said > low && said < high;
            fits.then_some(())
                .ok_or(format!("{said}\n{}", daemon.log()))
        });
    };
    on_its_way(0.1, 0.2);
    let strength = daemon.get("/api/v1/openings").json()["items"][0]["strength"].as_f64();
    assert!(
        strength.is_some_and(|strength| strength < 1.0),
        "{strength:?}"
    );
    daemon.kill_9();
    daemon.restart();
    on_its_way(0.0, 0.15);
    assert_eq!(flag(&daemon, SKIP).headers["etag"], tag);
    eventually("it is over", secs(15), || {
        (!is_open(&daemon, &id))
            .then_some(())
            .ok_or_else(|| daemon.log())
    });
    assert!(says(&daemon).abs() < 1e-9);
    assert_eq!(daemon.terminate(), Some(0), "{}", daemon.log());
    the_chain_is_whole(&daemon.data());
}

#[test]
fn a_value_of_configuration_goes_to_the_new_one_in_steps() {
    let daemon = Daemon::start(&config());
    let path = "/api/v1/flags/cache.ttl";
    let document = json!({"kind": "config", "type": "duration", "value": "100s", "reason": "new"});
    let created = daemon.send("PUT", path, &[("if-none-match", "*")], &document);
    assert_eq!(created.status, 201, "{}", created.body);
    let patch = |body: &Json| {
        let tag = daemon.get(path).headers["etag"].clone();
        daemon.send("PATCH", path, &[("if-match", &tag)], body)
    };
    let answer = patch(&json!({"value": "0s", "ramp": "4s", "reason": "INC-481"}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        (&answer.json()["value"], &answer.json()["now"]),
        (&json!("0s"), &json!("1m 40s"))
    );
    for now in ["50s", "0s"] {
        eventually("the value is there", secs(10), || {
            let said = daemon.get(path).json()["now"].clone();
            (said == json!(now)).then_some(()).ok_or(format!("{said}"))
        });
    }
    let words = json!({"kind": "config", "type": "string", "value": "a", "reason": "new"});
    daemon.send(
        "PUT",
        "/api/v1/flags/cache.kind",
        &[("if-none-match", "*")],
        &words,
    );
    let tag = flag(&daemon, "cache.kind").headers["etag"].clone();
    let body = json!({"value": "b", "ramp": "4s", "reason": "INC-481"});
    let refused = daemon.send(
        "PATCH",
        "/api/v1/flags/cache.kind",
        &[("if-match", &tag)],
        &body,
    );
    assert!(
        (400..500).contains(&refused.status) && refused.body.contains("no way in steps"),
        "{}",
        refused.body
    );
}

/// What a webhook was told, when its signature is right.
fn told(got: &Got) -> (String, Json) {
    let header = |name: &str| got.header(name).unwrap().to_owned();
    let (id, at) = (header("webhook-id"), header("webhook-timestamp"));
    let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(SECRET).unwrap()).unwrap();
    mac.update(format!("{id}.{at}.").as_bytes());
    mac.update(&got.body);
    let signature = header("webhook-signature");
    let signature = signature.strip_prefix("v1,").unwrap();
    mac.verify_slice(&STANDARD.decode(signature).unwrap())
        .unwrap();
    let body: Json = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(body["id"], json!(id));
    (id, body)
}

#[test]
fn a_webhook_is_told_signed_and_once_more_after_it_failed() {
    let receiver = Worker::start();
    receiver.decides(|_, before| Reply::Status(if before == 0 { 500 } else { 204 }));
    let home = directory("webhook");
    let file = home.join("secret");
    std::fs::write(&file, format!("whsec_{SECRET}\n")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, mode).unwrap();
    let mut config = config();
    config.sections = format!(
        "[[notify]]\nurl = \"{}\"\nsecret_file = \"{}\"\n\n",
        receiver.url(),
        file.display()
    );
    let daemon = Daemon::start(&config);
    let id = open(&daemon, &json!({SKIP: 0.2}), "3s", &json!("snap"));
    let got = eventually("all is told", secs(20), || {
        let got = receiver.got();
        let all = got.len() >= 3;
        all.then_some(got).ok_or_else(|| daemon.log())
    });
    let told: Vec<(String, Json)> = got.iter().map(told).collect();
    assert_eq!(told[0], told[1], "the same again, by the same id");
    let kinds: Vec<&Json> = told.iter().map(|(_, told)| &told["type"]).collect();
    assert_eq!(kinds, ["opened", "opened", "ended"]);
    let opened = &told[0].1;
    assert_eq!(opened["opening"]["id"], json!(id));
    assert_eq!(
        opened["flags"],
        json!([{"flag": SKIP, "before": 0.0, "after": 0.2}])
    );
    assert_eq!(
        (&opened["reason"], &opened["by"]["via"]),
        (&json!("INC-481"), &json!("api"))
    );
    let sent = "sluicegate_notices_total{outcome=\"delivered\"}";
    daemon.counts("both are counted", secs(5), |now| {
        (now.get(sent) - 2.0).abs() < 0.5
    });
    // Another file: it hears of ends alone, at once and without a restart.
    daemon.reads_again(|text| text.replace("secret_file", "events = [\"closed\"]\nsecret_file"));
    eventually("the file is read", secs(5), || {
        let log = daemon.log();
        log.contains("notify").then_some(()).ok_or(log)
    });
    let id = open(&daemon, &json!({SKIP: 0.2}), "1m", &json!("snap"));
    daemon.send(
        "POST",
        &format!("/api/v1/openings/{id}/close"),
        &[],
        &json!({"reason": "well again"}),
    );
    assert_eq!(daemon.terminate(), Some(0), "{}", daemon.log());
    let got = receiver.got();
    let (_, last) = self::told(got.last().unwrap());
    assert_eq!(
        (got.len(), &last["type"], &last["reason"]),
        (4, &json!("closed"), &json!("well again"))
    );
}
