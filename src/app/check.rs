//! `sluicegate check`: everything that would go wrong, before it does. Findings go to standard output; exit 0 or 1.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use crate::amqp::check::check as ask_the_broker;
use crate::api::Tls;
use crate::clock::Clock;
use crate::config::{self, Problems, Settings};
use crate::management;
use crate::rules::finding::{Finding, Report, Weight};

/// Whether the file is fine, and with `connect` whether the broker is as the file says.
///
/// # Errors
/// When the findings cannot be written.
pub fn check(file: &Path, connect: bool, as_json: bool) -> anyhow::Result<ExitCode> {
    let settings = match read(file) {
        Ok(settings) => settings,
        Err(problems) if as_json => return told(&json_of(&problems), false),
        Err(problems) => return told(&problems.to_string(), false),
    };
    if let Some(Err(why)) = settings.daemon.tls.as_ref().map(Tls::load) {
        let problem = json!({"place": "daemon.tls_cert_file", "line": null, "message": why.to_string(), "help": ""});
        let page = json!({"passed": false, "problems": [problem], "findings": []}).to_string();
        return told(&if as_json { page } else { why.to_string() }, false);
    }
    let report = if connect {
        eprintln!(
            "asking the broker about {} queue(s), a few seconds each…",
            settings.queues.len()
        );
        let runtime = super::control_runtime()?;
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, ask(&settings))
    } else {
        Report::default()
    };
    let passed = report.passed();
    if as_json {
        let text =
            json!({"passed": passed, "problems": [], "findings": report.findings}).to_string();
        return told(&text, passed);
    }
    told(&page(file, &settings, &report.findings), passed)
}

/// The file and the file of flags that it names.
fn read(file: &Path) -> Result<Settings, Problems> {
    let settings = config::read(file, &config::environment())?;
    if let Some(flags) = &settings.daemon.flags_file {
        config::flags::read(flags)?;
    }
    Ok(settings)
}

/// What AMQP tells, and what the management API tells, queue by queue.
async fn ask(settings: &Settings) -> Report {
    let mut report = ask_the_broker(settings, &Clock::system()).await;
    report.findings.extend(management::check(settings).await);
    let at = |finding: &Finding| {
        let named = |queue: &config::Queue| queue.name.as_str() == finding.about;
        settings.queues.iter().position(named)
    };
    report.findings.sort_by_key(at);
    report
}

fn page(file: &Path, settings: &Settings, findings: &[Finding]) -> String {
    let mut page = format!(
        "{} is fine: {} queue(s)",
        file.display(),
        settings.queues.len()
    );
    let mut about = "";
    for finding in findings {
        if finding.about != about {
            about = &finding.about;
            page.push_str(&format!("\n\n{about}"));
        }
        let mark = match finding.weight {
            Weight::Fine => "ok     ",
            Weight::Unknown => "unknown",
            Weight::Warning => "warning",
            Weight::Problem => "PROBLEM",
        };
        page.push_str(&format!("\n  {mark}  {}", finding.text));
    }
    page
}

fn json_of(problems: &Problems) -> String {
    let one = |problem: &config::Problem| -> Json {
        json!({"place": problem.place, "line": problem.line, "message": problem.message, "help": problem.help})
    };
    let all: Vec<Json> = problems.all().iter().map(one).collect();
    json!({"passed": false, "problems": all, "findings": []}).to_string()
}

fn told(text: &str, passed: bool) -> anyhow::Result<ExitCode> {
    writeln!(std::io::stdout(), "{text}")?;
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
