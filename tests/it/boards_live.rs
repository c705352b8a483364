//! Boards and rules on a real Prometheus that scrapes the real demo: no query is wrong or empty, and every alert has been tried
//! and has a runbook.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value as Json, json};

use crate::boards::{boards, names_what_there_is, queries};
use crate::daemon::PROGRAM;
use crate::http::request;
use crate::keeper::{Kept, directory, eventually, free_port, tail};
use crate::laws::root;
use crate::promised::{PROMISED, families};
use crate::promql::read;

/// A Prometheus with our rules.
struct Prometheus {
    port: u16,
    home: std::path::PathBuf,
    _process: Kept,
}

impl Prometheus {
    /// Starts one that scrapes these ports, as the job `sluicegate`.
    fn scraping(ports: &[u16]) -> Self {
        let (home, port) = (directory("prometheus"), free_port());
        let rules = root().join("dashboards/prometheus");
        let targets: Vec<String> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{0}/sluicegate.recording.yaml, {0}/sluicegate.alerts.yaml]\nscrape_configs: [{{job_name: sluicegate, static_configs: [{{targets: {targets:?}}}]}}]\n",
            rules.display()
        );
        let file = home.join("prometheus.yaml");
        std::fs::write(&file, text).unwrap();
        let log = std::fs::File::create(home.join("log")).unwrap();
        let process = Kept::start(
            Command::new("prometheus")
                .arg(format!("--config.file={}", file.display()))
                .arg(format!(
                    "--storage.tsdb.path={}",
                    home.join("data").display()
                ))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .stdout(log.try_clone().unwrap())
                .stderr(log),
        );
        let prometheus = Self {
            port,
            home,
            _process: process,
        };
        eventually("Prometheus is ready", Duration::from_secs(30), || {
            let answer = request(port, "GET", "/-/ready", &[], None);
            match answer {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!(
                    "{other:?}\n{}",
                    tail(&prometheus.home.join("log"), 20)
                )),
            }
        });
        prometheus
    }

    fn get(&self, path: &str) -> Json {
        let answer = request(self.port, "GET", path, &[], None).unwrap();
        answer.json()
    }

    /// The values that a query has now; what Prometheus has against it is a failure.
    fn values(&self, query: &str) -> Vec<f64> {
        let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let answer = self.get(&format!("/api/v1/query?query={query}"));
        assert_eq!(answer["status"], "success", "{answer}");
        let series = answer["data"]["result"].as_array().unwrap().iter();
        let value = |one: &Json| one["value"][1].as_str()?.parse().ok();
        series.filter_map(value).collect()
    }

    /// All rules: their name, query, and what they are.
    fn rules(&self) -> Vec<Json> {
        let answer = self.get("/api/v1/rules");
        let groups = answer["data"]["groups"].as_array().unwrap().iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().unwrap().clone());
        rules.collect()
    }
}

/// A page of the families that the demo shows no series of: counters rise, gauges are 1.
fn stand_in(shown: &str, since: Instant) -> String {
    let rising = since.elapsed().as_secs();
    let mut page = String::new();
    for family in PROMISED {
        if shown.contains(&format!("\n{}", family.name)) {
            continue;
        }
        let _ = writeln!(page, "# TYPE {} {}", family.name, family.kind);
        for labels in combinations(family.labels) {
            let name = family.name;
            let _ = match family.kind {
                "counter" => writeln!(page, "{name}{{{labels}}} {rising}"),
                "gauge" => writeln!(page, "{name}{{{labels}}} 1"),
                _ => writeln!(
                    page,
                    "{name}_bucket{{{labels},le=\"0.1\"}} {rising}\n{name}_bucket{{{labels},le=\"+Inf\"}} {rising}\n{name}_sum{{{labels}}} {rising}\n{name}_count{{{labels}}} {rising}"
                ),
            };
        }
    }
    page
}

fn combinations(labels: &[(&str, &[&str])]) -> Vec<String> {
    let mut all = vec![String::new()];
    for (label, values) in labels {
        let longer = all.iter().flat_map(|one| {
            let comma = if one.is_empty() { "" } else { "," };
            values
                .iter()
                .map(move |value| format!("{one}{comma}{label}=\"{value}\""))
        });
        all = longer.collect();
    }
    all
}

/// Serves the stand-in, for the life of the tests.
fn serve_stand_in(shown: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, since) = (listener.local_addr().unwrap().port(), Instant::now());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let page = stand_in(&shown, since);
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/plain; version=0.0.4\r\n";
            let _ = write!(stream, "{head}content-length: {}\r\n\r\n{page}", page.len());
        }
    });
    port
}

/// The demo, and whatever an operator may do to it.
struct Demo {
    port: u16,
    _process: Kept,
}

impl Demo {
    fn start() -> Self {
        let (home, port) = (directory("demo"), free_port());
        let process = Kept::start(
            Command::new(PROGRAM)
                .args(["demo", "--quiet", "--listen", &format!("127.0.0.1:{port}")])
                .current_dir(&home)
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        eventually("the demo answers", Duration::from_secs(20), || {
            let page = request(port, "GET", "/metrics", &[], None);
            page.map(|_| ()).map_err(|error| error.to_string())
        });
        Self {
            port,
            _process: process,
        }
    }

    fn page(&self) -> String {
        let page = request(self.port, "GET", "/metrics", &[], None).unwrap();
        page.body
    }

    /// Lays values over flags.
    fn opens(&self, values: &Json, lasts: &str) {
        let mut body = json!({ "values": values, "for": lasts, "reason": "a test" });
        let send = |body: &Json| {
            let body = body.to_string();
            request(self.port, "POST", "/api/v1/openings", &[], Some(&body)).unwrap()
        };
        let mut answer = send(&body);
        if answer.status == 409 {
            body["confirm"] = answer.json()["size"].clone();
            answer = send(&body);
        }
        assert!(answer.status < 300, "{values}: {}", answer.body);
    }
}

/// A query as it is after Grafana has put in what was chosen: everything, and four scrapes.
fn chosen(query: &str) -> String {
    let mut query = query.replace("$__rate_interval", "8s");
    for variable in ["job", "instance", "queue", "pool", "provider", "flag"] {
        query = query.replace(&format!("${variable}"), ".+");
    }
    assert!(!query.contains('$'), "{query}: an unknown variable");
    query
}

#[test]
fn no_query_of_a_board_is_wrong_or_empty_on_a_real_prometheus() {
    let demo = Demo::start();
    demo.opens(&json!({ "queue.orders.skip": 0.2 }), "30m");
    demo.opens(&json!({ "queue.mail.rate": "20/s" }), "30m");
    let page = demo.page();
    let prometheus = Prometheus::scraping(&[demo.port, serve_stand_in(page)]);
    let mut waiting: Vec<(String, String)> = boards()
        .iter()
        .flat_map(|(name, board)| queries(name, board))
        .collect();
    // What rules ask for must be there as well, though most of them should not fire; `absent` asks for what is there.
    for rule in prometheus.rules() {
        let place = format!("rule {}", rule["name"]);
        for selector in read(rule["query"].as_str().unwrap()).selectors {
            let matchers: Vec<String> = selector
                .matchers
                .iter()
                .map(|(label, how, value)| format!("{label}{how}\"{value}\""))
                .collect();
            let query = format!("{}{{{}}}", selector.name, matchers.join(","));
            waiting.push((place.clone(), query));
        }
        if rule["type"] == "recording" {
            waiting.push((place, rule["name"].as_str().unwrap().to_owned()));
        }
    }
    assert!(waiting.len() > 150, "only {} queries", waiting.len());
    let deadline = Instant::now() + Duration::from_secs(90);
    while !waiting.is_empty() {
        assert!(Instant::now() < deadline, "empty: {waiting:#?}");
        demo.opens(&json!({ "queue.reports.skip": 0.1 }), "1s"); // a turn, and an end by itself
        std::thread::sleep(Duration::from_secs(2));
        waiting.retain(|(_, query)| {
            let values = prometheus.values(&chosen(query));
            values.iter().all(|value| value.is_nan())
        });
    }
    no_alert_is_false(&prometheus, &demo);
}

/// The demo with a few openings is no reason to wake anybody.
fn no_alert_is_false(prometheus: &Prometheus, demo: &Demo) {
    let answer = prometheus.get("/api/v1/alerts");
    let demo = format!("127.0.0.1:{}", demo.port);
    let firing: Vec<&Json> = answer["data"]["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|alert| alert["state"] == "firing" && alert["labels"]["instance"] == demo.as_str())
        .collect();
    assert_eq!(firing, Vec::<&Json>::new());
}

fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(root().join("dashboards/prometheus"))
        .output()
        .unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "promtool {arguments:?}\n{}{}",
        said(&output.stdout),
        said(&output.stderr)
    );
}

#[test]
fn rules_stand_the_tests_of_promtool() {
    let rules = ["sluicegate.recording.yaml", "sluicegate.alerts.yaml"];
    promtool(&[&["check", "rules", "--lint-fatal"], &rules[..]].concat());
    promtool(&["check", "config", "prometheus.yaml"]);
    promtool(&["test", "rules", "tests/alerts.yaml", "tests/recording.yaml"]);
}

#[test]
fn every_rule_names_what_there_is_was_tried_and_every_alert_has_a_runbook() {
    let prometheus = Prometheus::scraping(&[]);
    let tests = ["alerts", "recording"].map(|name| {
        let file = root().join(format!("dashboards/prometheus/tests/{name}.yaml"));
        std::fs::read_to_string(file).unwrap()
    });
    let rules = prometheus.rules();
    let mut families = families();
    for rule in rules.iter().filter(|rule| rule["type"] == "recording") {
        let name = rule["name"].as_str().unwrap();
        families.insert(name.to_owned(), BTreeSet::new());
        assert!(
            tests[1].contains(name),
            "{name} is not tried in tests/recording.yaml"
        );
    }
    let mut runbooks = BTreeSet::new();
    for rule in &rules {
        let name = rule["name"].as_str().unwrap();
        names_what_there_is(name, rule["query"].as_str().unwrap(), &families);
        if rule["type"] == "alerting" {
            alert_is_whole(name, rule, &tests[0]);
            runbooks.insert(format!("{name}.md"));
        }
    }
    let folder = std::fs::read_dir(root().join("dashboards/prometheus/runbooks")).unwrap();
    let found: BTreeSet<String> = folder
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, runbooks, "a runbook for each alert, and no other");
}

fn alert_is_whole(name: &str, rule: &Json, tests: &str) {
    let says = |part: &str, member: &str| rule[part][member].as_str().unwrap_or_default();
    let severities = ["critical", "warning", "info"];
    assert!(severities.contains(&says("labels", "severity")), "{name}");
    assert!(name.starts_with("Sluicegate"), "{name}");
    assert!(!says("annotations", "summary").contains("{{"), "{name}");
    assert!(says("annotations", "description").contains("{{"), "{name}");
    assert_eq!(
        says("annotations", "runbook_url"),
        format!("runbooks/{name}.md")
    );
    let board = says("annotations", "dashboard_url")
        .split(['/', '?'])
        .nth(2)
        .unwrap_or_default();
    assert!(
        boards().iter().any(|(_, one)| one["uid"] == board),
        "{name}: there is no board {board}"
    );
    let fires = format!("alertname: {name}\n        exp_alerts:\n          - exp_labels");
    assert!(tests.contains(&fires), "{name}: no test in which it fires");
    let quiet = format!("alertname: {name} }}");
    assert!(
        tests.contains(&quiet),
        "{name}: no test in which it is quiet"
    );
}
