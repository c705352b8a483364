//! Where a tap is tried: a vhost with a queue, what the broker has in it, and a tap that runs.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value as Json;

use crate::broker::Broker;
use crate::daemon::{Config, PROGRAM, command};
use crate::keeper::{Kept, directory, eventually, tail};
use crate::ledger::{Kind, Ledger, Message};
use crate::scene::secs;

pub(super) const QUEUE: &str = "orders";
pub(super) const SETTINGS: &str =
    "key = \"account\"\nattributes = { account = \"header:x-account\" }";

/// A vhost with the queue, and what the broker has in it.
pub(super) struct Place<'b> {
    pub(super) broker: &'b Broker,
    pub(super) vhost: String,
    pub(super) ledger: Ledger,
}

impl<'b> Place<'b> {
    pub(super) fn of(broker: &'b Broker, name: &str) -> Self {
        let vhost = broker.vhost(name);
        let ledger = Ledger::at(&broker.url(&vhost));
        ledger.declare(QUEUE, Kind::Classic, &[]);
        Self {
            broker,
            vhost,
            ledger,
        }
    }

    pub(super) fn config(&self) -> Config {
        Config::new(&self.broker.url(&self.vhost)).queue(QUEUE, "http://127.0.0.1:9/", SETTINGS)
    }

    pub(super) fn managed(&self, port: u16) -> Config {
        let mut config = self.config();
        config.sections = format!("[management]\nurl = \"http://guest:guest@127.0.0.1:{port}\"\n");
        config
    }

    /// Everything that a tap could leave behind: queues, bindings with their arguments, exchanges, and connections of taps.
    pub(super) fn all(&self) -> [String; 4] {
        let vhost = &self.vhost;
        let sorted = |of: &str| {
            self.broker.eval(&format!(
                "lists:flatten(io_lib:format(\"~p\", [lists:sort({of})]))."
            ))
        };
        [
            sorted(&format!("rabbit_amqqueue:list_names(<<\"{vhost}\">>)")),
            sorted(&format!("rabbit_binding:list(<<\"{vhost}\">>)")),
            sorted(&format!(
                "[element(2, X) || X <- rabbit_exchange:list(<<\"{vhost}\">>)]"
            )),
            sorted(&format!(
                "[N || [{{vhost, <<\"{vhost}\">>}}, {{client_properties, P}}] <- rabbit_networking:connection_info_all([vhost, client_properties]), \
                 {{<<\"connection_name\">>, _, N}} <- P, string:find(N, <<\" tap@\">>) =/= nomatch]"
            )),
        ]
    }

    pub(super) fn left_as_it_was(&self, before: &[String; 4]) {
        eventually("the broker is as it was", secs(10), || {
            let now = self.all();
            (now == *before)
                .then_some(())
                .ok_or(format!("{now:#?} instead of {before:#?}"))
        });
    }

    /// An exchange, and a binding of the queue to it.
    pub(super) fn bind(&self, exchange: &str, kind: &str, key: &str, arguments: &str) {
        let vhost = &self.vhost;
        let name = |kind: &str, name: &str| {
            format!("rabbit_misc:r(<<\"{vhost}\">>, {kind}, <<\"{name}\">>)")
        };
        let (from, to) = (name("exchange", exchange), name("queue", QUEUE));
        self.broker.eval(&format!(
            "case rabbit_exchange:lookup({from}) of {{ok, _}} -> ok; _ -> \
               rabbit_exchange:declare({from}, rabbit_exchange:check_type(<<\"{kind}\">>), true, false, false, [], <<\"tests\">>) end, \
             rabbit_binding:add({{binding, {from}, <<\"{key}\">>, {to}, {arguments}}}, <<\"tests\">>)."
        ));
    }
}

/// Messages of two accounts, published now.
pub(super) fn messages(name: &str, count: usize) -> Vec<Message> {
    let account = |number: usize| {
        if number.is_multiple_of(4) {
            "globex"
        } else {
            "acme"
        }
    };
    let one = |number: usize| {
        Message::new(format!("{name}-{number}"))
            .text("x-account", account(number))
            .with(|properties| properties.with_type("bulk".into()))
    };
    (0..count).map(one).collect()
}

/// A tap that runs.
pub(super) struct Running {
    pub(super) process: Kept,
    pub(super) home: PathBuf,
}

impl Running {
    /// Starts it, and waits until it looks.
    pub(super) fn start(file: &str, arguments: &[&str]) -> Self {
        let home = directory("tap");
        let open = |name: &str| File::create(home.join(name)).unwrap();
        let mut line = Command::new(PROGRAM);
        line.args(["tap", QUEUE, "--config", file, "--json", "--every", "1s"]);
        line.args(arguments)
            .stdout(open("seen"))
            .stderr(open("said"));
        let mut running = Self {
            process: Kept::start(&mut line),
            home,
        };
        eventually("it looks", secs(20), || {
            let said = running.said();
            assert!(running.process.running(), "it ended: {said}");
            said.contains("looking at").then_some(()).ok_or(said)
        });
        running
    }

    pub(super) fn said(&self) -> String {
        tail(&self.home.join("said"), 40)
    }

    /// The last report so far.
    pub(super) fn last(&self) -> Option<Json> {
        let text = std::fs::read_to_string(self.home.join("seen")).unwrap();
        let whole = &text[..text.rfind('\n')?];
        let line = whole.lines().next_back()?;
        Some(serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}")))
    }

    /// Waits until so many messages came in all; asks it to stop then, and gives the last report.
    pub(super) fn saw(mut self, count: u64, signal: &str) -> Json {
        let seen = || {
            let text = std::fs::read_to_string(self.home.join("seen")).unwrap();
            let lines = text
                .lines()
                .filter_map(|line| serde_json::from_str::<Json>(line).ok());
            lines
                .map(|line| line["came"].as_u64().unwrap())
                .sum::<u64>()
        };
        eventually("it has seen them", secs(20), || {
            let seen = seen();
            (seen >= count)
                .then_some(())
                .ok_or(format!("{seen} of {count}; {}", self.said()))
        });
        self.process.signal(signal);
        let status = self.process.wait(secs(20));
        assert_eq!(status, Some(0), "{}", self.said());
        let last = self.last().unwrap();
        assert_eq!(
            (&last["whole"], &last["came"]),
            (&Json::Bool(true), &Json::from(count)),
            "{last}"
        );
        last
    }
}

pub(super) fn refused(file: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let line = [&["tap", QUEUE, "--config", file, "--for", "1s"], arguments].concat();
    let (status, _, said) = command(&line);
    (status, said)
}
