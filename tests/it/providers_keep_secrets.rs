//! Whatever goes wrong with providers, none of their secrets is told: not by the log, the API, the metrics, the changes, results or files.

use std::time::Duration;

use crate::broker::Broker;
use crate::daemon::Daemon;
use crate::ledger::Kind;
use crate::providers::{served, stands};
use crate::providers_told::{mail, secret_file, told};
use crate::scene::{Scene, secs};
use crate::worker::{Reply, Worker};

/// A pool of three providers and a webhook that is told results, each with a secret.
fn planted(home: &tempfile::TempDir, [first, second, hook]: [&Worker; 3]) -> String {
    let file = |name: &str, text: &str| secret_file(home, name, text).display().to_string();
    let base = |worker: &Worker| worker.url().trim_end_matches("/jobs").to_owned();
    format!(
        "[[pool]]\nname = \"work\"\nproviders = [\"mailgun\", \"ses\", \"relay\"]\n[pool.results]\nurl_file = \"{}\"\nsecret_file = \"{}\"\n\
         [[provider]]\nname = \"mailgun\"\nkind = \"mailgun\"\ndomain = \"mg.example\"\nurl = \"{}\"\ndeadline = \"1s\"\napi_key_file = \"{}\"\n\
         [[provider]]\nname = \"ses\"\nkind = \"ses\"\nregion = \"eu-west-1\"\nuser = \"AKID\"\nurl = \"{}\"\ndeadline = \"1s\"\napi_key_file = \"{}\"\n\
         [[provider]]\nname = \"relay\"\nkind = \"smtp\"\nurl = \"smtp://127.0.0.1:9\"\nuser = \"relay\"\ndeadline = \"1s\"\napi_key_file = \"{}\"\n",
        file("hook", &format!("{}/canary-in-url", base(hook))),
        file(
            "signs",
            "whsec_Y2FuYXJ5LWluLWEtc2VjcmV0LXRoYXQtc2lnbnMtaXQ="
        ),
        base(first),
        file("mailgun", "canary\u{7f}mailgun"), // no header can carry it
        base(second),
        file("ses", "canary-ses"),
        file("relay", "canary-relay"),
    )
}

/// Everything that anybody is told, and every file that is written, by where.
fn all_that_is_said(daemon: Daemon, hook: &Worker) -> Vec<(String, String)> {
    let paths = [
        "/api/v1/providers",
        "/api/v1/providers/unknown",
        "/api/v1/pools",
        "/api/v1/changes",
        "/api/v1/changes?format=jsonl",
        "/api/v1/queues",
        "/api/v1/openapi.json",
        "/metrics",
        "/status",
        "/readyz?verbose",
    ];
    let mut said: Vec<(String, String)> = paths
        .iter()
        .map(|path| ((*path).to_owned(), daemon.get(path).body))
        .collect();
    said.push(("the log".to_owned(), daemon.log()));
    said.push((
        "provider list".to_owned(),
        told(&daemon, &["provider", "list"]),
    ));
    for got in hook.got() {
        said.push((
            "a result".to_owned(),
            String::from_utf8_lossy(&got.body).into_owned(),
        ));
    }
    daemon.terminate();
    for entry in std::fs::read_dir(daemon.data()).unwrap().flatten() {
        if let Ok(bytes) = std::fs::read(entry.path()) {
            let name = entry.path().display().to_string();
            said.push((name, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    said.push(("the log at the end".to_owned(), daemon.log()));
    said
}

/// Rows G16 and G17: secrets are planted, everything goes wrong, and nobody is told them.
#[test]
fn no_secret_is_told_whatever_goes_wrong() {
    let scene = Scene::set(Broker::shared(), "canaries", Kind::Quorum);
    let home = tempfile::tempdir().unwrap();
    let (first, second, hook) = (Worker::start(), Worker::start(), Worker::start());
    for worker in [&first, &second] {
        // Providers repeat what they were sent, keys included, when something is wrong.
        worker.decides(|_, turn| match turn % 5 {
            0 => Reply::Status(401),
            1 => Reply::Status(500),
            2 => Reply::Cut,
            3 => Reply::Status(400),
            _ => Reply::Status(202),
        });
    }
    let sections = planted(&home, [&first, &second, &hook]);
    let daemon = served(&scene, "slots = 8\nattempts = 3", &sections);
    scene.publish(
        &(0..40)
            .map(|number| mail(&format!("mail-{number}")))
            .collect::<Vec<_>>(),
    );
    stands(
        &daemon,
        "mailgun",
        |provider| provider["refuses_us"].is_string(),
        secs(20),
    );
    std::fs::write(home.path().join("mailgun"), "canary-mailgun").unwrap();
    daemon.counts("some are settled", secs(30), |now| {
        now.sum("sluicegate_pool_results_total", &["told=\"told\""]) >= 3.0
    });
    std::fs::remove_file(home.path().join("ses")).unwrap();
    told(
        &daemon,
        &["provider", "rest", "ses", "--reason", "a test", "--yes"],
    );
    std::thread::sleep(Duration::from_millis(1_500)); // the file that is gone is looked at
    daemon.reads_again(|text| text.replace("slots = 8", "slots = 9"));
    let said = all_that_is_said(daemon, &hook);
    for (what, text) in said {
        let at = text.to_lowercase().find("canary");
        let around = at.map(|at| {
            text.chars()
                .skip(at.saturating_sub(60))
                .take(160)
                .collect::<String>()
        });
        assert_eq!(around, None, "{what}");
    }
}
