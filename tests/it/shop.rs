//! A Celery application around a queue: real publishers and real workers, in Python, and what they wrote down.
//!
//! The application is that of `examples/celery`, with a task that writes down what it was given (`tests/celery/jobs.py`).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value as Json;

use crate::broker::Broker;
use crate::daemon::{Config, Daemon, PROGRAM};
use crate::keeper::{Kept, directory, eventually, free_port, tail};
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
        eventually("the daemon declares it", Duration::from_secs(10), || {
            let there = self.ledger.ready(ADMITTED);
            there.map(drop).ok_or(format!("no queue {ADMITTED}"))
        });
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

    /// Runs `examples/celery/run.sh` with so many seconds for each phase, and gives what it said.
    pub(crate) fn example(&self, seconds: u32) -> String {
        let log = self.home.join("example.log");
        let output = File::create(&log).unwrap();
        let mut run = Kept::start(
            Command::new(root().join("examples/celery/run.sh"))
                .args([self.broker.url(&self.vhost), seconds.to_string()])
                .env("SLUICEGATE", PROGRAM)
                .env("CELERY_VENV", virtual_environment())
                .env("SLUICEGATE_PORT", free_port().to_string())
                .stdout(output.try_clone().unwrap())
                .stderr(output),
        );
        let status = run.wait(Duration::from_secs(90) + 4 * Duration::from_secs(seconds.into()));
        let said = std::fs::read_to_string(&log).unwrap();
        assert_eq!(status, Some(0), "{said}");
        said
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

    /// The most that was ready in the admitted queue at once while `during` ran.
    pub(crate) fn most_admitted(&self, during: impl FnOnce()) -> u32 {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut most = 0;
                while !over.load(Ordering::Relaxed) {
                    most = most.max(self.admitted());
                    std::thread::sleep(Duration::from_millis(20));
                }
                most
            });
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(during));
            over.store(true, Ordering::Relaxed);
            let most = watch.join().unwrap();
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            most
        })
    }

    fn admitted(&self) -> u32 {
        let said = self.broker.eval(&format!(
            "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{}\">>, queue, <<\"{ADMITTED}\">>)), \
             [{{_, Ready}}] = rabbit_amqqueue:info(Q, [messages_ready]), Ready.",
            self.vhost
        ));
        said.trim().parse().unwrap()
    }

    /// The most jobs that the worker held at once, done or waiting, as its log tells. (What the broker counts as out may be more
    /// for a moment: an acknowledgement that it has not yet seen.)
    pub(crate) fn most_held(&self) -> i32 {
        let log = std::fs::read_to_string(self.home.join("worker.log")).unwrap();
        let change = |line: &str| {
            let of_task = line.contains(" Task test.record[");
            let ended = line.contains("] succeeded in ") || line.contains("] retry: ");
            i32::from(of_task && line.ends_with("] received")) - i32::from(of_task && ended)
        };
        let held = log.lines().scan(0, |held, line| {
            *held += change(line);
            Some(*held)
        });
        held.max().unwrap_or(0)
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
