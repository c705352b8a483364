//! A private RabbitMQ node: own name, ports, data, log and Erlang port mapper, no plugins unless asked for, ended by its process id.
//!
//! [`Broker::shared`] serves all tests of this process, each in a vhost of its own. A test that kills, freezes or starves its
//! broker borrows one with [`Broker::own`].
//!
//! One setting differs from RabbitMQ's own: a delay queue whose source is full or gone tries again after 1 s, not after 3 min.

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::keeper::{Kept, directory, eventually, free_port, tail};

/// How long a node may take to start; about five seconds on an idle machine.
const START: Duration = Duration::from_secs(90);
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// One node.
pub(crate) struct Broker {
    pub(crate) home: PathBuf,
    port: u16,
    distribution: u16,
    pub(crate) mapper_port: u16,
    cores: usize,
    node: Mutex<Option<Kept>>,
    _mapper: Kept,
}

impl Broker {
    /// Starts a node and waits until it serves.
    pub(crate) fn start() -> Self {
        Self::start_with(directory("broker"), "", 1)
    }

    /// Starts a node with its files in `home`, further lines of configuration, and so many cores. A file `plugins` in `home`
    /// names its plugins. Tests take one core, so that their nodes leave room for each other; benchmarks take all.
    pub(crate) fn start_with(home: PathBuf, settings: &str, cores: usize) -> Self {
        let (port, distribution, mapper_port) = (free_port(), free_port(), free_port());
        let config = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\n\
             log.file = false\nlog.console = true\nlog.console.level = info\n\
             disk_free_limit.absolute = 1MB\n{settings}"
        );
        std::fs::write(home.join("rabbitmq.conf"), config).unwrap();
        std::fs::write(home.join("environment"), "").unwrap();
        hand_over_to_rabbitmq(&home);
        let mapper = Kept::start(
            as_rabbitmq("epmd")
                .args(["-address", "127.0.0.1", "-port", &mapper_port.to_string()])
                .env("HOME", &home)
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        let broker = Self {
            home,
            port,
            distribution,
            mapper_port,
            cores,
            node: Mutex::new(None),
            _mapper: mapper,
        };
        broker.restart();
        broker
    }

    /// The node that all tests share which do it no harm.
    pub(crate) fn shared() -> &'static Broker {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(Broker::start)
    }

    /// The port for AMQP.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The address of `vhost`, for a user with password.
    pub(crate) fn url_for(&self, user: &str, password: &str, vhost: &str) -> String {
        format!("amqp://{user}:{password}@127.0.0.1:{}/{vhost}", self.port)
    }

    /// The address of `vhost` for the user who may do everything there.
    pub(crate) fn url(&self, vhost: &str) -> String {
        self.url_for("guest", "guest", vhost)
    }

    /// A fresh vhost, in which `guest` may do everything.
    pub(crate) fn vhost(&self, name: &str) -> String {
        self.eval(&format!(
            "rabbit_vhost:add(<<\"{name}\">>, <<\"tests\">>), {}.",
            permissions("guest", name, [".*", ".*", ".*"])
        ));
        name.to_owned()
    }

    /// A user with password `secret` and these permissions: configure, write, read.
    pub(crate) fn add_user(&self, name: &str, vhost: &str, may: [&str; 3]) {
        self.eval(&format!(
            "rabbit_auth_backend_internal:add_user(<<\"{name}\">>, <<\"secret\">>, <<\"tests\">>), {}.",
            permissions(name, vhost, may)
        ));
    }

    /// Other permissions for a user: configure, write, read.
    pub(crate) fn permit(&self, name: &str, vhost: &str, may: [&str; 3]) {
        self.eval(&format!("{}.", permissions(name, vhost, may)));
    }

    /// The broker closes every connection of a user, as the management page does.
    pub(crate) fn close_connections_of(&self, user: &str) {
        self.eval(&format!(
            "rabbit_networking:close_all_user_connections(<<\"{user}\">>, <<\"closed by a test\">>)."
        ));
    }

    /// The names of all queues of a vhost.
    pub(crate) fn queues(&self, vhost: &str) -> Vec<String> {
        let list = self.eval(&format!(
            "lists:flatten([[binary_to_list(element(4, N)), $,] || N <- rabbit_amqqueue:list_names(<<\"{vhost}\">>)])."
        ));
        let names = list.trim_matches(|c| "[]\"".contains(c));
        let names = names.split(',').filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    }

    /// How many messages lie in each queue of a vhost that is no stream, as the queues themselves say now: those that are ready,
    /// and in a delay queue those that are over and that the source has not taken. An error while a queue does not answer.
    pub(crate) fn messages(&self, vhost: &str) -> Result<Vec<(String, u64)>, String> {
        let list = self.try_eval(&format!(
            "lists:flatten([begin \
               {{ok, Q}} = rabbit_amqqueue:lookup(N), \
               Count = case amqqueue:get_type(Q) of \
                 rabbit_stream_queue -> 0; \
                 rabbit_classic_queue -> [{{messages, M}}] = rabbit_amqqueue:info(Q, [messages]), M; \
                 rabbit_quorum_queue -> \
                   {{ok, {{R, D}}, _}} = ra:consistent_query(amqqueue:get_pid(Q), fun(S) -> \
                     {{maps:get(num_ready_messages, rabbit_fifo:overview(S)), maps:get(num_discarded, rabbit_fifo:overview(S), 0) + maps:get(num_discard_checked_out, rabbit_fifo:overview(S), 0)}} end, 2000), R + D \
               end, \
               io_lib:format(\"~s=~b,\", [element(4, N), Count]) end || N <- rabbit_amqqueue:list_names(<<\"{vhost}\">>)])."
        ))?;
        let entries = list.trim_matches(|c| "[]\"".contains(c)).split(',');
        let parse = |entry: &str| {
            let (name, count) = entry.split_once('=')?;
            Some((name.to_owned(), count.parse().ok()?))
        };
        Ok(entries.filter_map(parse).collect())
    }

    /// Evaluates Erlang at the node, as `rabbitmqctl eval` does, but in milliseconds. Gives what came back, as text.
    pub(crate) fn eval(&self, expression: &str) -> String {
        self.try_eval(expression)
            .unwrap_or_else(|error| panic!("{expression}\n{error}"))
    }

    fn try_eval(&self, expression: &str) -> Result<String, String> {
        // Two calls under one name at once would be refused, and erl_call's own random names are not random enough.
        static CALLS: AtomicU32 = AtomicU32::new(0);
        let name = format!("test{}", CALLS.fetch_add(1, Ordering::Relaxed));
        let mut call = Command::new("erl_call")
            .args(["-address", &format!("127.0.0.1:{}", self.distribution)])
            .args(["-h", &name, "-c", "sluicegate", "-e"])
            .env("HOME", &self.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let sent = writeln!(call.stdin.take().unwrap(), "{expression}");
        let output = call.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let fine = text
            .trim()
            .strip_prefix("{ok, ")
            .and_then(|text| text.strip_suffix('}'));
        match fine {
            Some(value) if sent.is_ok() => Ok(value.to_owned()),
            _ => Err(text + &String::from_utf8_lossy(&output.stderr)),
        }
    }

    /// Kills the node, as a power cut would.
    ///
    /// RabbitMQ 3.10 writes the term of a quorum queue down within 5 s of its declaration; killed before, the queue never has a
    /// leader again and cannot be used. That is the broker's own fault, and no daemon can mend it: so this writes it down first.
    pub(crate) fn kill_9(&self) {
        self.eval("[dets:sync(Table) || Table <- dets:all()].");
        if let Some(mut node) = self.node().take() {
            node.kill_9();
        }
    }

    /// Stops the node as `service rabbitmq-server stop` does.
    pub(crate) fn stop_gracefully(&self) {
        if let Some(mut node) = self.node().take() {
            node.signal("TERM");
            node.wait(Duration::from_secs(60));
        }
    }

    /// Starts the node on what it left, and gives the moment at which its port opened. Waits until it serves.
    pub(crate) fn restart(&self) -> Instant {
        let opened = self.start_and_wait_for_port();
        eventually("the node serves", START, || {
            let running = self.try_eval("rabbit:is_running().")?;
            (running == "true").then_some(()).ok_or(running)
        });
        opened
    }

    /// As [`Broker::restart`], but comes back as soon as the port is open.
    pub(crate) fn start_and_wait_for_port(&self) -> Instant {
        let mut node = self.node();
        assert!(node.is_none(), "the node runs already");
        *node = Some(self.launch());
        let started = Instant::now();
        loop {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Instant::now();
            }
            let alive = node.as_mut().is_some_and(Kept::running);
            assert!(
                alive && started.elapsed() < START,
                "the node did not start:\n{}",
                tail(&self.home.join("log"), 40)
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn launch(&self) -> Kept {
        let at = |name: &str| self.home.join(name);
        let log = File::options()
            .create(true)
            .append(true)
            .open(at("log"))
            .unwrap();
        // RABBITMQ_ALLOW_INPUT makes the script replace itself by the node, so that our child is the node itself.
        Kept::start(
            as_rabbitmq(SERVER)
                .arg("-noinput")
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .env("LANG", "C.UTF-8")
                .env("HOME", &self.home)
                .env("ERL_EPMD_ADDRESS", "127.0.0.1")
                .env("ERL_EPMD_PORT", self.mapper_port.to_string())
                .env("RABBITMQ_ALLOW_INPUT", "1")
                .env(
                    "RABBITMQ_NODENAME",
                    format!("sluicegate{}@localhost", self.port),
                )
                .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
                .env("RABBITMQ_NODE_PORT", self.port.to_string())
                .env("RABBITMQ_DIST_PORT", self.distribution.to_string())
                .env("RABBITMQ_MNESIA_BASE", at("data"))
                .env("RABBITMQ_LOG_BASE", at("data"))
                .env("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf"))
                .env("RABBITMQ_CONF_ENV_FILE", at("environment"))
                .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("plugins"))
                .env(
                    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                    format!(
                        "+S {0}:{0} +sbwt none +sbwtdcpu none +sbwtdio none -setcookie sluicegate \
                         -rabbit dead_letter_worker_publisher_confirm_timeout 1000",
                        self.cores
                    ),
                )
                .stdout(log.try_clone().unwrap())
                .stderr(log),
        )
    }

    /// Stops the node in its tracks: its sockets stay open and nothing answers.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        self.node().as_ref().expect("the node runs").signal(name);
    }

    /// Raises the memory alarm: the broker blocks every connection that publishes.
    pub(crate) fn alarm(&self) {
        self.eval("vm_memory_monitor:set_vm_memory_high_watermark(0.000001).");
        eventually("the alarm is raised", Duration::from_secs(10), || {
            let alarms = self.eval("length(rabbit_alarm:get_alarms()).");
            (alarms != "0").then_some(()).ok_or(alarms)
        });
    }

    /// Ends the alarm.
    pub(crate) fn clear_alarm(&self) {
        self.eval("vm_memory_monitor:set_vm_memory_high_watermark(0.8).");
        eventually("the alarm is over", Duration::from_secs(10), || {
            let alarms = self.eval("length(rabbit_alarm:get_alarms()).");
            (alarms == "0").then_some(()).ok_or(alarms)
        });
    }

    /// Channels opened from now on are closed by the broker when they hold a delivery for longer than this.
    pub(crate) fn set_consumer_timeout(&self, longest: Duration) {
        self.eval(&format!(
            "application:set_env(rabbit, channel_tick_interval, 250), application:set_env(rabbit, consumer_timeout, {}).",
            longest.as_millis()
        ));
    }

    /// Whether it runs and no alarm is raised: fit for the next test.
    pub(crate) fn healthy(&self) -> bool {
        self.node().is_some() && self.try_eval("rabbit_alarm:get_alarms().").as_deref() == Ok("[]")
    }

    fn node(&self) -> std::sync::MutexGuard<'_, Option<Kept>> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn permissions(user: &str, vhost: &str, [configure, write, read]: [&str; 3]) -> String {
    format!(
        "rabbit_auth_backend_internal:set_permissions(<<\"{user}\">>, <<\"{vhost}\">>, <<\"{configure}\">>, <<\"{write}\">>, <<\"{read}\">>, <<\"tests\">>)"
    )
}

/// RabbitMQ is not to run as root: there it runs as the user of Debian's package, else as ourselves.
pub(crate) fn as_rabbitmq(program: &str) -> Command {
    if !we_are_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=rabbitmq",
        "--regid=rabbitmq",
        "--clear-groups",
        program,
    ]);
    command
}

fn hand_over_to_rabbitmq(home: &Path) {
    if we_are_root() {
        let mut command = Command::new("chown");
        let done = command.args(["-R", "rabbitmq:rabbitmq"]).arg(home).status();
        assert!(
            done.unwrap().success(),
            "there is no user rabbitmq; tests/run installs it"
        );
    }
}

pub(crate) fn we_are_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
