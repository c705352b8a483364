//! What the daemon says of its own API is what it does: schemathesis asks a running daemon whatever its OpenAPI document allows,
//! and much that it does not.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::daemon::PROGRAM;
use crate::http::request;
use crate::keeper::{Kept, directory, eventually, free_port, tail};
use crate::scene::secs;

#[test]
fn schemathesis_finds_no_fault_and_nothing_undocumented() {
    let place = Path::new(PROGRAM).ancestors().nth(2).unwrap();
    let schemathesis = place.join("schemathesis-venv/bin/st");
    assert!(
        schemathesis.exists(),
        "there is no {}: `tests/run` installs it",
        schemathesis.display()
    );
    let home = directory("contract");
    let port = free_port();
    let mut demo = Command::new(PROGRAM);
    demo.args([
        "demo",
        "--seconds",
        "240",
        "--listen",
        &format!("127.0.0.1:{port}"),
    ]);
    demo.stdout(Stdio::null())
        .stderr(File::create(home.join("log")).unwrap());
    let _demo = Kept::start(&mut demo);
    eventually("the demo answers", secs(20), || {
        let answer = request(port, "GET", "/livez", &[], None);
        answer.map(|_| ()).map_err(|why| why.to_string())
    });
    let report = home.join("report");
    let mut asking = Command::new(schemathesis);
    asking
        .arg("run")
        .arg(format!("http://127.0.0.1:{port}/api/v1/openapi.json"))
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "25", "--max-time", "60"])
        .args(["--seed", "7", "--continue-on-failure", "--warnings", "off", "--no-color"])
        .args(["--request-timeout", "5", "--generation-database", "none"])
        // They never end; their own tests read them.
        .args(["--exclude-path-regex", "/events"])
        .current_dir(&home)
        .stdout(File::create(&report).unwrap())
        .stderr(Stdio::null());
    let status = Kept::start(&mut asking).wait(secs(200));
    assert_eq!(
        status,
        Some(0),
        "{}\n{}",
        tail(&report, 150),
        tail(&home.join("log"), 20)
    );
}
