//! The program itself: started with a file of its own, watched over HTTP, ended by its process id.

use std::fmt::Write as _;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::http::{Answer, request};
use crate::keeper::{Kept, directory, eventually, free_port, tail};
use crate::scrape::{Auditor, Scrape};

/// How long the program may take to answer for the first time; under a second on an idle machine.
const START: Duration = Duration::from_secs(20);

/// The path of the program that was built with these tests.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_sluicegate");

/// What the program's file will say.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) amqp_url: String,
    pub(crate) daemon: String,
    pub(crate) amqp: String,
    /// Sections of their own, such as `[management]`.
    pub(crate) sections: String,
    pub(crate) queues: String,
    /// Variables of the environment.
    environment: Vec<(String, String)>,
}

impl Config {
    /// A file for the broker at this address, with no queue yet.
    pub(crate) fn new(amqp_url: &str) -> Self {
        Self {
            amqp_url: amqp_url.to_owned(),
            daemon: "stop_within = \"10s\"\nlog = \"info\"\n".to_owned(),
            amqp: String::new(),
            sections: String::new(),
            queues: String::new(),
            environment: Vec::new(),
        }
    }

    /// With a variable of the environment.
    pub(crate) fn under(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a queue: its name, where its worker listens, and further settings as in the file.
    pub(crate) fn queue(mut self, name: &str, worker: &str, settings: &str) -> Self {
        let _ = write!(
            self.queues,
            "[[queue]]\nname = \"{name}\"\ntarget = {{ http = \"{worker}\" }}\n{settings}\n"
        );
        self
    }

    /// With a queue whose messages go to an admitted queue.
    pub(crate) fn admitting(mut self, name: &str, admitted: &str, settings: &str) -> Self {
        let _ = write!(
            self.queues,
            "[[queue]]\nname = \"{name}\"\ntarget = {{ queue = \"{admitted}\" }}\n{settings}\n"
        );
        self
    }

    /// With a queue whose messages go to a pool, and further sections.
    pub(crate) fn pooled(mut self, name: &str, pool: &str, settings: &str, sections: &str) -> Self {
        let _ = write!(
            self.queues,
            "[[queue]]\nname = \"{name}\"\ntarget = {{ pool = \"{pool}\" }}\n{settings}\n"
        );
        self.sections.push_str(sections);
        self
    }

    /// Writes the file for a command that reads it, and gives its path.
    pub(crate) fn written(&self) -> String {
        let home = directory("file");
        let path = home.join("sluicegate.toml");
        let text = self.text(free_port(), home.join("data").to_str().unwrap());
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn text(&self, port: u16, data: &str) -> String {
        let data = if self.daemon.contains("data_dir") {
            String::new()
        } else {
            format!("data_dir = \"{data}\"\n")
        };
        format!(
            "[daemon]\nlisten = \"127.0.0.1:{port}\"\n{data}{}\n[amqp]\nurl = \"{}\"\n{}\n{}{}",
            self.daemon, self.amqp_url, self.amqp, self.sections, self.queues
        )
    }
}

/// The running program.
pub(crate) struct Daemon {
    process: Mutex<Kept>,
    home: PathBuf,
    port: u16,
    environment: Vec<(String, String)>,
    auditor: Auditor,
}

impl Daemon {
    /// Starts the program and waits until it answers.
    pub(crate) fn start(config: &Config) -> Self {
        let home = directory("daemon");
        let port = free_port();
        let data = home.join("data");
        let text = config.text(port, data.to_str().unwrap());
        std::fs::write(home.join("sluicegate.toml"), text).unwrap();
        let daemon = Self {
            process: Mutex::new(launch(&home, &config.environment)),
            auditor: Auditor::start(port),
            home,
            port,
            environment: config.environment.clone(),
        };
        daemon.answers();
        daemon
    }

    /// Starts a program that is to refuse: its exit status and what it said.
    pub(crate) fn refuses_to_start(config: &Config) -> (Option<i32>, String) {
        let home = directory("refuses");
        let text = config.text(free_port(), home.join("data").to_str().unwrap());
        std::fs::write(home.join("sluicegate.toml"), text).unwrap();
        let status = launch(&home, &config.environment).wait(START);
        (status, tail(&home.join("log"), 60))
    }

    fn answers(&self) {
        eventually("the daemon answers", START, || {
            assert!(
                self.process().running(),
                "the daemon ended:\n{}",
                self.log()
            );
            self.try_get("/livez")
                .map(|_| ())
                .map_err(|error| error.to_string())
        });
    }

    /// Starts it again on what it left behind, after [`Daemon::kill_9`] or [`Daemon::terminate`].
    pub(crate) fn restart(&self) {
        *self.process() = launch(&self.home, &self.environment);
        self.answers();
    }

    /// Waits until `/readyz` says yes. The message of a failure ends with the log.
    pub(crate) fn ready(&self, within: Duration) {
        eventually("the daemon is ready", within, || {
            let answer = self
                .try_get("/readyz?verbose")
                .map_err(|error| error.to_string())?;
            if answer.status == 200 {
                Ok(())
            } else {
                Err(format!("{} {}\n{}", answer.status, answer.body, self.log()))
            }
        });
    }

    /// Waits until `/readyz` says no, and gives what it says.
    pub(crate) fn not_ready(&self, within: Duration) -> String {
        eventually("the daemon says that it is not ready", within, || {
            let answer = self
                .try_get("/readyz?verbose")
                .map_err(|error| error.to_string())?;
            if answer.status == 503 {
                Ok(answer.body)
            } else {
                Err(answer.status.to_string())
            }
        })
    }

    /// Kills it, as a power cut would.
    pub(crate) fn kill_9(&self) {
        self.process().kill_9();
    }

    /// Asks it to stop (SIGTERM) and does not wait.
    pub(crate) fn ask_to_stop(&self) {
        self.process().signal("TERM");
    }

    /// Writes another file for it and has it read again (SIGHUP).
    pub(crate) fn reads_again(&self, change: impl FnOnce(String) -> String) {
        let file = self.home.join("sluicegate.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, change(text)).unwrap();
        self.process().signal("HUP");
    }

    /// Waits for its end: the exit status.
    pub(crate) fn ended(&self, within: Duration) -> Option<i32> {
        self.process().wait(within)
    }

    /// Asks it to stop, and gives its exit status.
    pub(crate) fn terminate(&self) -> Option<i32> {
        self.ask_to_stop();
        self.ended(Duration::from_secs(20))
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process().id()
    }

    /// What it wrote, its last 60 lines.
    pub(crate) fn log(&self) -> String {
        tail(&self.home.join("log"), 60)
    }

    /// All lines that it wrote with this in them.
    pub(crate) fn log_with(&self, text: &str) -> Vec<String> {
        let log = std::fs::read_to_string(self.home.join("log")).unwrap_or_default();
        let lines = log.lines().filter(|line| line.contains(text));
        lines.map(str::to_owned).collect()
    }

    /// How many lines it wrote so far.
    pub(crate) fn log_lines(&self) -> usize {
        let text = std::fs::read(self.home.join("log")).unwrap_or_default();
        text.iter().filter(|byte| **byte == b'\n').count()
    }

    /// How many threads it has now.
    pub(crate) fn threads(&self) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id()));
        tasks.map_or(0, Iterator::count)
    }

    /// Where it keeps flags and history.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// `http://127.0.0.1:…`
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// GET; the daemon must answer.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.try_get(path)
            .unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", self.log()))
    }

    /// GET; an error when the daemon does not answer.
    pub(crate) fn try_get(&self, path: &str) -> std::io::Result<Answer> {
        request(self.port, "GET", path, &[], None)
    }

    /// A request with JSON.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Json,
    ) -> Answer {
        request(self.port, method, path, headers, Some(&body.to_string()))
            .unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.log()))
    }

    /// Gives a flag another value, as `sluicegate flag set … --keep --yes` does.
    pub(crate) fn set(&self, flag: &str, value: impl Into<Json>) {
        let path = format!("/api/v1/flags/{flag}");
        let seen = self.get(&path);
        let etag = seen.headers.get("etag").cloned().unwrap_or_default();
        let mut body = json!({ "value": value.into(), "reason": "a test", "keep": true });
        let mut answer = self.send("PATCH", &path, &[("if-match", &etag)], &body);
        if answer.status == 409 {
            body["confirm"] = answer.json()["size"].clone();
            answer = self.send("PATCH", &path, &[("if-match", &etag)], &body);
        }
        assert_eq!(answer.status, 200, "{flag}: {}", answer.body);
    }

    /// What `GET /api/v1/queues/{queue}` says.
    pub(crate) fn queue(&self, queue: &str) -> Json {
        self.get(&format!("/api/v1/queues/{queue}")).json()
    }

    /// All numbers; an error when the daemon does not answer.
    pub(crate) fn try_metrics(&self) -> Result<Scrape, String> {
        let page = self
            .try_get("/metrics")
            .map_err(|error| error.to_string())?;
        Ok(Scrape::parse(&page.body))
    }

    /// All numbers.
    pub(crate) fn metrics(&self) -> Scrape {
        Scrape::parse(&self.get("/metrics").body)
    }

    /// Waits until the numbers are as `want` wants them.
    pub(crate) fn counts(
        &self,
        what: &str,
        within: Duration,
        want: impl Fn(&Scrape) -> bool,
    ) -> Scrape {
        eventually(what, within, || {
            let page = self
                .try_get("/metrics")
                .map_err(|error| error.to_string())?;
            let scrape = Scrape::parse(&page.body);
            if want(&scrape) {
                return Ok(scrape);
            }
            let lines = page
                .body
                .lines()
                .filter(|line| line.starts_with("sluicegate_messages") && !line.ends_with(" 0"));
            let lines: Vec<&str> = lines.collect();
            Err(format!("{}\n{}", lines.join("\n"), self.log()))
        })
    }

    /// Says that the numbers added up in every scrape of its life so far.
    pub(crate) fn always_added_up(&self) {
        self.auditor.found_nothing();
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn launch(home: &std::path::Path, environment: &[(String, String)]) -> Kept {
    let log = File::options()
        .create(true)
        .append(true)
        .open(home.join("log"))
        .unwrap();
    Kept::start(
        Command::new(PROGRAM)
            .args(["run", "--config"])
            .arg(home.join("sluicegate.toml"))
            .current_dir(home)
            .env_remove("SLUICEGATE_URL")
            .env_remove("SLUICEGATE_TOKEN")
            .env_remove("NOTIFY_SOCKET")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(log.try_clone().unwrap())
            .stderr(log),
    )
}

/// Runs the program with these arguments to its end: exit status, what it said, what it complained of.
pub(crate) fn command(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(PROGRAM)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}
