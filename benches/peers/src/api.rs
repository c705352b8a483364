//! Asks the daemon over HTTP.

use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};

use crate::client::request;

/// The body of a page.
///
/// # Errors
/// When nobody answers.
pub fn get(port: u16, path: &str) -> Result<String> {
    let answer = request(port, "GET", path, &[], None)?;
    ensure!(answer.status < 300, "{path}: {}", answer.status);
    Ok(answer.body)
}

/// Gives a flag another value, as `sluicegate flag set … --keep --yes` does.
///
/// # Errors
/// When the daemon refuses.
pub fn turn(port: u16, flag: &str, value: &Json) -> Result<()> {
    let path = format!("/api/v1/flags/{flag}");
    let seen = request(port, "GET", &path, &[], None)?;
    let etag = seen.headers.get("etag").context("no such flag")?;
    let mut body = json!({ "value": value, "reason": "a benchmark", "keep": true });
    loop {
        let text = body.to_string();
        let answer = request(port, "PATCH", &path, &[("if-match", etag)], Some(&text))?;
        if answer.status == 409 && body.get("confirm").is_none() {
            body["confirm"] = answer.json()["size"].clone();
            continue;
        }
        ensure!(answer.status == 200, "{flag}: {}", answer.body);
        return Ok(());
    }
}
