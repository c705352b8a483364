//! Every command against the daemon's own router: that both mean the same by each word.

use tokio_util::sync::CancellationToken;

use super::*;
use crate::api::{
    self, Access, Doors, LastEvaluated, Listeners, Pace, QueueDoor, Remembered, Services,
};
use crate::config::{Queue, TargetSettings};
use crate::metrics::Metrics;
use crate::rules::facts::{Reading, Source};
use crate::rules::lots::KeyHash;
use crate::rules::snapshot::{GatedQueue, Snapshot, Stored};
use crate::store::{Blocked, BlockedEntry, Store};
use crate::vitals::QueueVitals;

/// A daemon with the queue `orders`, and nothing in it.
pub(super) struct Daemon {
    pub(super) url: String,
    pub(super) store: Arc<Store>,
    stop: CancellationToken,
    served: Option<JoinHandle<()>>,
}

impl Daemon {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let token = stop.clone();
        let doors = Arc::new(doors(token.clone()));
        let store = Arc::clone(&doors.store);
        let served = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let router = api::router(doors);
                api::serve(listener, router, token).await.unwrap();
            });
        });
        Self {
            url,
            store,
            stop,
            served: Some(served),
        }
    }

    /// Types a line with nobody to ask.
    pub(super) fn types(&self, line: &str) -> Ended {
        type_at(&self.url, line, None)
    }

    /// Types a line that must end well, and gives what it printed.
    pub(super) fn done(&self, line: &str) -> String {
        let ended = self.types(line);
        assert_eq!(ended.code, 0, "{line}: {}", ended.talk);
        ended.data
    }

    /// Types a line as a program and gives the JSON.
    pub(super) fn json(&self, line: &str) -> Json {
        serde_json::from_str(&self.done(&format!("{line} --json"))).unwrap()
    }

    /// What a flag says now.
    pub(super) fn now(&self, key: &str) -> Json {
        self.json(&format!("sluicegate flag get {key}"))["now"].take()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(served) = self.served.take() {
            let _ = served.join();
        }
    }
}

fn doors(stopping: CancellationToken) -> Doors {
    let settings = Arc::new(orders());
    let metrics = Arc::new(Metrics::new(std::slice::from_ref(&settings.name)).unwrap());
    let account = Source::Header("x-account".into());
    let gated = GatedQueue {
        attributes: [("account".into(), account)].into(),
        ..GatedQueue::named(settings.name.clone())
    };
    let start = Snapshot::of(vec![gated], Stored::default());
    let store = Arc::new(Store::in_memory(start, Arc::clone(&metrics)));
    let numbers = Arc::clone(metrics.queue("orders").unwrap());
    let book = store.blocked(&settings.name);
    let blocked = Blocked::open(book, settings.order, Arc::clone(&numbers));
    let acme = BlockedEntry {
        hash: KeyHash::of(b"acme"),
        key: "acme".to_owned(),
        cause: "message o-17 failed: the worker answered 400".to_owned(),
        since_ms: 1_795_219_200_000,
    };
    blocked.keep(acme).unwrap();
    let queue = QueueDoor {
        blocked: Arc::new(blocked),
        vitals: Arc::new(QueueVitals::default()),
        metrics: numbers,
        settings,
    };
    Doors {
        pools: Vec::new(),
        replayer: Arc::new(crate::seams::NoPark),
        store,
        metrics,
        clock: Clock::system(),
        queues: vec![queue],
        access: Access::open(Vec::new()),
        stopping,
        remembered: Remembered::default(),
        events: Arc::default(),
        listeners: Listeners::default(),
        services: Services::new(5_000),
        pace: Pace::each_minute(60),
        evaluated: LastEvaluated::default(),
    }
}

fn orders() -> Queue {
    use crate::config::{Disposition, OnUnknown, Order, ParkSettings, ReliefSettings};
    use std::time::Duration;
    Queue {
        name: "orders".parse().unwrap(),
        broker_name: "orders".into(),
        vhost: None,
        declare: true,
        slots: 8,
        prefetch: 16,
        reading: Reading::default(),
        deadline_after: None,
        target: TargetSettings::Handler("demo".into()),
        attempts: 5,
        order: Order::Key,
        on_skip: Disposition::Park,
        on_expired: Disposition::Park,
        on_rejected: Disposition::DeadLetter,
        on_unknown: OnUnknown::Retry,
        on_unknown_is_written: false,
        modes: Vec::new(),
        pass: Vec::new(),
        dead_letter_queue: None,
        outcomes_queue: None,
        results_queue: None,
        relief: ReliefSettings::default(),
        park: ParkSettings {
            streams: true,
            max_age: Duration::from_secs(86_400),
            max_bytes: 1 << 30,
        },
        hold: Duration::from_secs(2),
    }
}

const SKIP: &str = "queue.orders.skip";

#[test]
fn an_opening_lives_and_ends_by_the_commands_that_help_shows() {
    let daemon = Daemon::start();
    let line = "sluicegate flag open queue.orders.skip 70% --for 30m --reason INC-481";
    let refused = daemon.types(line);
    assert_eq!(refused.code, 6, "{}", refused.talk);
    assert!(refused.talk.contains("--yes"), "{}", refused.talk);
    let dry = daemon.done(&format!("{line} --dry-run"));
    assert!(dry.starts_with("dry run, nothing was changed"), "{dry}");
    assert!(dry.contains("queue.orders.skip: no data: "), "{dry}");
    assert_eq!(daemon.now(SKIP), json!(0.0));

    let opened = daemon.done(&format!("{line} --yes"));
    assert!(opened.starts_with("o1 is open until"), "{opened}");
    assert_eq!(daemon.now(SKIP), json!(0.7));
    let list = daemon.done("sluicegate flag list --open");
    assert!(
        list.contains("70%") && list.contains("ana: INC-481") && list.contains("in 29m"),
        "{list}"
    );
    let queues = daemon.done("sluicegate queue list");
    assert!(queues.contains("skip 70% (o1)"), "{queues}");

    let closed = daemon.done("sluicegate flag close queue.orders.skip --reason over");
    assert_eq!(closed, "closed: o1\n");
    assert_eq!(daemon.now(SKIP), json!(0.0));
    assert_eq!(daemon.types("sluicegate flag close o1 -r again").code, 3);
}

#[test]
fn a_flag_is_made_set_and_read() {
    let daemon = Daemon::start();
    let line =
        "sluicegate flag create load.rate --type rate --value 50/s -r test --description how-fast";
    assert_eq!(
        daemon.done(&format!("{line} -n")),
        "dry run, nothing was changed: load.rate would exist, at 50/s\n"
    );
    assert_eq!(daemon.types("sluicegate flag get load.rate").code, 3);
    assert_eq!(daemon.done(line), "load.rate exists, at 50/s\n");
    assert_eq!(daemon.types(line).code, 5, "it exists");
    assert_eq!(
        daemon.done("sluicegate flag set load.rate 80/m -r test"),
        "load.rate 80/m (was 50/s)\n"
    );
    assert_eq!(
        daemon.done("sluicegate flag set load.rate none -r test"),
        "load.rate none (was 80/m)\n"
    );
    let shown = daemon.done("sluicegate flag get load.rate");
    assert!(
        shown.contains("how-fast") && shown.contains("rate"),
        "{shown}"
    );

    daemon.done("sluicegate flag create load.plan --type object --value {} -r test");
    for value in ["{\\a\\:1}", "{\\b\\:2}"] {
        let value = value.replace('\\', "\"");
        let words = [
            "sluicegate",
            "flag",
            "set",
            "load.plan",
            &value,
            "-r",
            "test",
            "--url",
            &daemon.url,
        ];
        assert_eq!(
            run(Cli::try_parse_from(words).unwrap().into(), None).code,
            0
        );
    }
    assert_eq!(daemon.now("load.plan"), json!({"b": 2}), "set replaces");
}

#[test]
fn wrong_values_are_usage_errors_with_the_daemons_own_cure() {
    let daemon = Daemon::start();
    for (line, cure) in [
        ("flag set queue.orders.skip 170% -r x", "between 0 and 1"),
        ("flag set queue.orders.max_age soon -r x", "30s"),
        ("flag open queue.orders.pause 1 -r x", "true or false"),
        ("flag open queue.orders.skip_mode always -r x", "manual"),
        (
            "flag create load.rate --type rate --value fast -r x",
            "50/s",
        ),
    ] {
        let ended = daemon.types(&format!("sluicegate {line}"));
        assert_eq!(ended.code, 2, "{line}: {}", ended.talk);
        assert!(ended.talk.contains(cure), "{line}: {}", ended.talk);
    }
    let long = daemon.types("sluicegate flag open queue.orders.skip 1% --for 48h -r x");
    assert_eq!(long.code, 6, "{}", long.talk);
}

#[test]
fn a_queue_is_paused_and_resumed() {
    let daemon = Daemon::start();
    let pause = "sluicegate queue pause orders --reason INC-481";
    assert_eq!(daemon.types(pause).code, 6, "all of a queue is a big move");
    daemon.done(&format!("{pause} --yes"));
    let set = "sluicegate flag set queue.orders.pause true -r too --yes";
    let refused = daemon.types(set);
    assert_eq!(refused.code, 6, "{}", refused.talk);
    assert!(
        refused.talk.contains("would shed or stop without an end")
            && refused.talk.contains("say --keep"),
        "{}",
        refused.talk
    );
    daemon.done(&format!("{set} --keep"));
    assert_eq!(daemon.now("queue.orders.pause"), json!(true));
    let dry = daemon.done("sluicegate queue resume orders -r over --dry-run");
    assert!(dry.starts_with("dry run"), "{dry}");
    assert_eq!(daemon.now("queue.orders.pause"), json!(true));
    let resumed = daemon.done("sluicegate queue resume orders -r over");
    assert_eq!(resumed, "orders: closed o1, and queue.orders.pause false\n");
    assert_eq!(daemon.now("queue.orders.pause"), json!(false));
    assert_eq!(
        daemon.done("sluicegate queue resume orders -r over"),
        "orders is not paused\n"
    );
    assert_eq!(daemon.types("sluicegate queue pause ordres -r x").code, 3);
    assert_eq!(daemon.types("sluicegate queue list ordres").code, 3);
    let one = daemon.done("sluicegate queue list orders");
    assert!(one.contains("received") && one.contains("in hand"), "{one}");
}

#[test]
fn a_blocked_key_is_seen_and_released() {
    let daemon = Daemon::start();
    let one = daemon.done("sluicegate queue list orders");
    let (key, cause) = (
        "BLOCKED KEY",
        "message o-17 failed: the worker answered 400",
    );
    assert!(one.contains(key) && one.contains(cause), "{one}");
    let release = "sluicegate queue release orders --key acme --reason mended";
    let dry = daemon.done(&format!("{release} --dry-run"));
    let sentence = "released \"acme\" of orders; none is blocked now\n";
    assert_eq!(dry, format!("dry run, nothing was changed: {sentence}"));
    assert_eq!(daemon.done(release), sentence);
    assert_eq!(daemon.types(release).code, 3, "it is not blocked");
    let all = daemon.done("sluicegate queue release orders --all -r mended");
    assert_eq!(all, "released 0 keys of orders; none is blocked now\n");
    assert_eq!(
        daemon
            .types("sluicegate queue release ordres --all -r x")
            .code,
        3
    );
}
