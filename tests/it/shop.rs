//! A Celery application around a queue: real publishers and real workers, in Python, and what they wrote down.
//!
//! The application is that of `examples/celery`, with a task that writes down what it was given (`tests/celery/jobs.py`).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value as Json;

use crate::broker::Broker;
use crate::daemon::{Config, Daemon, PROGRAM};
use crate::keeper::{Kept, directory, eventually, tail};
use crate::laws::root;
use crate::ledger::{Ledger, Message};

/// The queue that the application publishes to, and the one that its workers read.
pub(crate) const WORK: &str = "work";
pub(crate) const ADMITTED: &str = "work.admitted";

/// One vhost with a Celery application.
pub(crate) struct Shop<'b> {
    pub(crate) broker: &'b Broker,
    pub(crate) vhost: String,
    pub(crate) ledger: Ledger,
    home: PathBuf,
}

impl<'b> Shop<'b> {
    /// A shop in a vhost of its own, whose queue was declared as Celery declares it.
    pub(crate) fn open(broker: &'b Broker, name: &str) -> Self {
        let vhost = broker.vhost(&format!("celery-{name}"));
        let ledger = Ledger::at(&broker.url(&vhost));
        let shop = Self {
            broker,
            ledger,
            vhost,
            home: directory("celery"),
        };
        shop.python(&["-c", "from jobs import app\nwith app.connection() as c: app.amqp.queues['work'].bind(c).declare()"]);
        shop
    }

    /// The file of a daemon that takes `work` in hand, with this target and further settings.
    pub(crate) fn config(&self, target: &str, settings: &str) -> Config {
        let mut config = Config::new(&self.broker.url(&self.vhost));
        config.queues = format!(
            "[[queue]]\nname = \"{WORK}\"\npreset = \"celery\"\ntarget = {target}\n{settings}\n"
        );
        config
    }

    /// Starts such a daemon and waits until it takes messages.
    pub(crate) fn daemon(&self, target: &str, settings: &str) -> Daemon {
        let daemon = Daemon::start(&self.config(target, settings));
        daemon.ready(Duration::from_secs(10));
        daemon
    }

    /// Publishes jobs by `apply_async`, each `{"args": …, "kwargs": …, "options": …}`, and gives their ids.
    pub(crate) fn publish(&self, jobs: &[Json]) -> Vec<String> {
        let jobs: Vec<String> = jobs.iter().map(Json::to_string).collect();
        let script = root().join("tests/celery/jobs.py");
        let mut arguments = vec![script.to_str().unwrap()];
        arguments.extend(jobs.iter().map(String::as_str));
        let ids = self.python(&arguments);
        ids.lines().map(str::to_owned).collect()
    }

    /// Starts a worker that reads the admitted queue and does so many jobs at once.
    pub(crate) fn worker(&self, concurrency: u32, daemon: &Daemon) -> Kept {
        let log = File::create(self.home.join("worker.log")).unwrap();
        let mut command = self.command();
        command
            .args(["-m", "celery", "-A", "jobs", "worker", "-Q", ADMITTED])
            .args(["--concurrency", &concurrency.to_string()])
            .args(["--without-gossip", "--without-mingle", "--loglevel=INFO"])
            .env("SLUICEGATE_URL", daemon.url())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        Kept::start(&mut command)
    }

    /// What the jobs wrote down, in their order.
    pub(crate) fn recorded(&self) -> Vec<Json> {
        let text = std::fs::read_to_string(self.home.join("record")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// What the runs of this id wrote down.
    pub(crate) fn runs(&self, id: &str) -> Vec<Json> {
        let mut runs = self.recorded();
        runs.retain(|run| run["id"] == id);
        runs
    }

    /// Waits until this id has run so often, and gives what it wrote down.
    pub(crate) fn ran(&self, id: &str, times: usize, within: Duration) -> Vec<Json> {
        eventually(&format!("{id} runs {times} times"), within, || {
            let runs = self.runs(id);
            (runs.len() >= times).then_some(runs).ok_or_else(|| {
                let log = tail(&self.home.join("worker.log"), 30);
                format!("{:?}\n{log}", self.recorded())
            })
        })
    }

    /// Looks at what lies in a queue, and puts it back.
    pub(crate) fn look(&self, queue: &str) -> Vec<Message> {
        let messages = self.ledger.drain(queue);
        self.ledger.publish(queue, &messages);
        messages
    }

    fn command(&self) -> Command {
        let python = virtual_environment().join("bin/python");
        assert!(
            python.exists(),
            "there is no Celery in {}: `tests/run` installs it",
            virtual_environment().display()
        );
        let mut command = Command::new(python);
        command
            .current_dir(root().join("tests/celery"))
            .env("PYTHONPATH", root().join("examples/celery"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("BROKER_URL", self.broker.url(&self.vhost))
            .env("RECORD", self.home.join("record"));
        command
    }

    fn python(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Where `tests/run` puts Celery: beside what was built.
pub(crate) fn virtual_environment() -> PathBuf {
    let target = Path::new(PROGRAM).ancestors().nth(2).unwrap();
    target.join("celery-venv")
}
