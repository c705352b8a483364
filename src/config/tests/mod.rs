//! The file as a whole.

use super::*;
use crate::rules::facts::Source;

mod hostile;
mod people;
mod providers;
mod refusals;
mod samples;

/// The smallest file that is fine.
pub(super) const SMALL: &str = "[amqp]\nurl = \"amqp://127.0.0.1\"\n[[queue]]\nname = \"orders\"\ntarget = { http = \"http://127.0.0.1:8081/jobs\" }\n";

pub(super) fn settings(text: &str) -> Settings {
    with(text, &[]).unwrap_or_else(|problems| panic!("{problems}\nin:\n{text}"))
}

pub(super) fn with(text: &str, environment: &[(&str, &str)]) -> Result<Settings, Problems> {
    let pairs = environment.iter();
    let environment = pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    read_text("config/sluicegate.toml", text, &environment)
}

#[test]
fn the_smallest_file_has_the_defaults() {
    let read = settings(SMALL);
    let queue = &read.queues[0];
    assert_eq!(read.daemon.listen.to_string(), "127.0.0.1:7070");
    assert_eq!(read.daemon.data_dir, Path::new("/var/lib/sluicegate"));
    assert_eq!(
        (read.daemon.stop_within, read.amqp.heartbeat),
        (Duration::from_secs(25), Duration::from_secs(10))
    );
    assert_eq!(
        (read.daemon.log.as_str(), read.amqp.declare),
        ("info", true)
    );
    assert_eq!((queue.slots, queue.prefetch, queue.attempts), (8, 16, 5));
    assert_eq!(
        (queue.on_skip, queue.on_expired),
        (Disposition::Park, Disposition::Park)
    );
    assert_eq!(
        (queue.on_rejected, queue.on_unknown),
        (Disposition::DeadLetter, OnUnknown::Retry)
    );
    assert_eq!(
        (queue.reading.max_body, queue.hold),
        (4_194_304, Duration::from_secs(300))
    );
    assert!(queue.park.streams && queue.modes.is_empty() && queue.deadline_after.is_none());
    assert_eq!(
        (queue.park.max_age, queue.park.max_bytes),
        (Duration::from_secs(7 * 86_400), 10 << 30)
    );
}

#[test]
fn what_is_written_is_what_is_read() {
    let text = "[daemon]\nlisten = '[::1]:0'\nhosts = ['gate.example.org']\ndata_dir = 'data'\n\
        [amqp]\nurl = 'amqp://u:p@localhost/%2f'\nheartbeat = '5s'\n\
        [[queue]]\nname = 'orders'\nvhost = 'billing'\ntarget = { handler = 'mine' }\nslots = 2_000\nprefetch = 4_000\n\
        key = 'account'\ndeadline = 'header:x-deadline'\npass = ['orders.rate']\ndead_letter.queue = 'orders.dead'\n\
        park = { as = 'queue', max_age = '1d' }\n[queue.attributes]\naccount = 'body:/customer/id'\n";
    let read = settings(text);
    let queue = &read.queues[0];
    assert_eq!(queue.name.as_str(), "billing/orders");
    assert_eq!(
        (queue.broker_name.as_str(), queue.vhost.as_deref()),
        ("orders", Some("billing"))
    );
    assert_eq!(queue.target, TargetSettings::Handler("mine".to_owned()));
    assert_eq!((queue.slots, queue.prefetch), (2_000, 4_000));
    assert_eq!(
        queue.reading.deadline,
        Some(Source::Header("x-deadline".to_owned()))
    );
    assert_eq!(
        queue.reading.attributes["account"],
        Source::Body("/customer/id".to_owned())
    );
    assert_eq!(
        (queue.dead_letter_queue.as_deref(), queue.park.streams),
        (Some("orders.dead"), false)
    );
    assert_eq!(queue.pass[0].as_str(), "orders.rate");
    assert_eq!(
        read.daemon.data_dir,
        Path::new("config/data"),
        "relative to the folder of the file"
    );
    assert_eq!(read.amqp.url.expose(), "amqp://u:p@localhost/%2f");
}

#[test]
fn all_problems_are_told_at_once_as_a_compiler_would() {
    let text = "[daemon]\nlisten = \"0.0.0.0:7070\"\n\n[amqp]\nurl = \"amqp://127.0.0.1\"\n\n[[queue]]\nname = \"orders\"\nslot = 9\ntarget = { http = \"http://127.0.0.1:8081/jobs\" }\n\n[[providers]]\napi_key = \"canary\"\n";
    let shown = with(text, &[]).expect_err(text).to_string();
    let awaited = "\
config/sluicegate.toml:2:10: `daemon.listen` is not on loopback, and there are no tokens: everybody who reaches it could turn every valve
  |
2 | listen = \"0.0.0.0:7070\"
  |          ^^^^^^^^^^^^^^
  = help: add a [[token]] (`sluicegate token new` prints one), and `tls_cert_file` and `tls_key_file` in [daemon], or `trusted_proxies` with the proxy that does TLS; or listen on 127.0.0.1 or [::1]

config/sluicegate.toml:9:1: there is no setting `queue.orders.slot`
  |
9 | slot = …
  | ^^^^
  = help: did you mean `slots`?

config/sluicegate.toml:12:3: there is no setting `providers`
   |
12 | [[providers]]
   |   ^^^^^^^^^
   = help: did you mean `provider`?

3 problems in config/sluicegate.toml";
    assert_eq!(shown, awaited);
}

#[test]
fn a_file_that_cannot_be_read_at_all_is_told_in_plain_words() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    for (path, part) in [
        (folder.path().join("nowhere.toml"), "No such file"),
        (folder.path().to_owned(), "cannot be read"),
        (
            write("huge.toml", &vec![b'\n'; 10 << 20]),
            "larger than 1 MiB",
        ),
        (
            write("latin1.toml", b"# gr\xfc\xdfe\n"),
            "is not UTF-8: line 1",
        ),
        (write("binary.toml", &[0, 159, 146, 150]), "is not UTF-8"),
        (write("nul.toml", b"a = \"\0\"\n"), "this is not TOML"),
    ] {
        let shown = read(&path, &Environment::new())
            .expect_err(part)
            .to_string();
        assert!(
            shown.contains(part) && shown.contains("= help: "),
            "{shown}"
        );
        let flags = flags::read(&path).expect_err(part).to_string();
        assert!(flags.contains(part), "{flags}");
    }
    let good = write("good.toml", SMALL.as_bytes());
    assert!(read(&good, &Environment::new()).is_ok());
}
