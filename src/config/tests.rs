//! The file as a whole: what is refused, in which words, and that nothing which is written makes the reader panic.

use proptest::prelude::*;

use super::*;
use crate::rules::message::Source;

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

/// Looks whether `text` has one problem only, at `line`, with these parts in message and cure.
fn check(text: &str, line: usize, message: &str, help: &str) {
    let problems = with(text, &[]).map(drop).expect_err(text);
    let [problem] = problems.all() else {
        panic!("one problem was awaited in:\n{text}\n{problems}");
    };
    assert_eq!(problem.line, Some(line), "{problems}");
    assert!(
        problem.message.contains(message),
        "awaited {message:?}: {problems}"
    );
    assert!(problem.help.contains(help), "awaited {help:?}: {problems}");
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
fn one_wrong_setting_is_one_problem_with_its_line_and_cure() {
    let queue = |line: &str| format!("{SMALL}{line}\n");
    for (line, message, help) in [
        (
            "slot = 9",
            "no setting `queue.orders.slot`",
            "did you mean `slots`?",
        ),
        (
            "heartbeat = '3s'",
            "no setting `queue.orders.heartbeat`",
            "belongs into [amqp]",
        ),
        (
            "colour = 'red'",
            "no setting",
            "there are name, vhost, target",
        ),
        ("slots = 0", "0 is out of bounds", "from 1 to 10000"),
        (
            "slots = '9'",
            "takes a whole number from 1 to 10000, got a text",
            "without quotes",
        ),
        (
            "slots = 99999999999999999999",
            "too large",
            "from 1 to 10000",
        ),
        (
            "slots = 1.5",
            "got a number with a fraction",
            "without quotes",
        ),
        ("slots = 2026-11-21", "got a date", "without quotes"),
        (
            "slots = 1200",
            "no more than 1000 messages are taken",
            "set `prefetch` to 1200",
        ),
        ("prefetch = 0", "0 is out of bounds", "from 1 to 65535"),
        (
            "prefetch = 7",
            "8 slots are never full",
            "set `prefetch` to 8 or more",
        ),
        ("hold = 30", "takes a duration", "\"30s\""),
        (
            "hold = '30'",
            "is not a duration",
            "write a number and a unit",
        ),
        ("hold = '11m'", "11m is out of bounds", "from 1s to 10m"),
        (
            "on_skip = 'Park'",
            "\"Park\" is not known",
            "did you mean \"park\"?",
        ),
        (
            "on_skip = 'vanish'",
            "is not known",
            "write \"drop\", \"dead_letter\", \"park\"",
        ),
        (
            "on_unknown = 'failover'",
            "comes with a later version",
            "\"retry\", \"park\"",
        ),
        ("order = 'strict'", "comes with a later version", "\"none\""),
        ("order = 'nones'", "not known", "did you mean \"none\"?"),
        (
            "preset = 'celery'",
            "`queue.orders.preset`",
            "later version",
        ),
        (
            "key = 'account'",
            "which [queue.attributes] does not have",
            "account = \"header:x-account\"",
        ),
        (
            "age = 'x-time'",
            "names no place in a message",
            "header:x-account",
        ),
        (
            "attributes = { a = 'head:x' }",
            "`queue.orders.attributes.a`",
            "write",
        ),
        (
            "attributes = 'header:x'",
            "takes a table of names",
            "account = \"header:x-account\"",
        ),
        ("modes = 'light'", "takes a list of texts", "in brackets"),
        ("modes = ['light', 'light']", "\"light\" twice", "leave one"),
        ("modes = ['reject']", "meaning of its own", "another name"),
        ("pass = ['a b']", "is not a flag key", "visible ASCII"),
        (
            "dead_letter = { queue = 'orders' }",
            "is the queue itself",
            "another queue",
        ),
        (
            "dead_letter = {}",
            "`queue.orders.dead_letter.queue` is missing",
            "orders.dead",
        ),
        (
            "dead_letter = 'orders.dead'",
            "takes a table, got a text",
            "{ name = value }",
        ),
        ("park = 'queue'", "takes a table, got a text", "table"),
        ("park.as = 'strem'", "not known", "did you mean \"stream\"?"),
        ("vhost = 'a b'", "cannot be a name", "ASCII"),
        (
            "max_body_bytes = true",
            "got true or false",
            "without quotes",
        ),
        (
            "[[queue]]\nname = 'orders'\ntarget.handler = 'x'",
            "two queues of the name `orders`",
            "leave one out",
        ),
        (
            "[[queue]]\nname = 'orders'\nvhost = '/'\ntarget.handler = 'x'",
            "taken twice",
            "leave one",
        ),
        (
            "[[queue]]\nname = 'sluicegate.delay.x.5s'\ntarget.handler = 'x'",
            "keeps for itself",
            "come from",
        ),
        (
            "[metrics]\nlisten = '127.0.0.1:7070'",
            "the address of `daemon.listen`",
            "another port",
        ),
        (
            "[daemon]\nlisten = '0.0.0.0:7070'",
            "not on loopback",
            "SSH tunnel",
        ),
        (
            "[daemon]\nlisten = '127.0.0.1'",
            "no address with a port",
            "127.0.0.1:7070",
        ),
        (
            "[daemon]\nhosts = ['https://x']",
            "no host name",
            "without scheme",
        ),
        (
            "[daemon]\nlog = 'inof'",
            "no log filter",
            "did you mean `info`?",
        ),
        (
            "[daemon]\nlog = 'info,lapin'",
            "no log filter",
            "for one module",
        ),
        (
            "[daemon]\nstop_within = '1h'",
            "out of bounds",
            "from 1s to 10m",
        ),
        (
            "[daemon]\nflags_file = 'nowhere.toml'",
            "no file that can be found",
            "folder of the configuration",
        ),
        (
            "[demon]\nlisten = '127.0.0.1:1'",
            "no setting `demon`",
            "did you mean `daemon`?",
        ),
        (
            "[[provider]]\nname = 'mailgun'",
            "`provider` is not read here",
            "later version",
        ),
        (
            "[[token]]\nname = 'ana'",
            "`token` is not read here",
            "later version",
        ),
    ] {
        let text = queue(line);
        let at = text.lines().count() - line.lines().count() + 1;
        let within = problem_line(&text).expect("a line");
        assert!(within >= at, "{line}: line {within}");
        check(&text, within, message, help);
    }
}

fn problem_line(text: &str) -> Option<usize> {
    with(text, &[]).err()?.all().first()?.line
}

#[test]
fn what_is_missing_or_in_the_way_is_told_where_it_belongs() {
    let target = "target = { http = \"http://127.0.0.1:8081/jobs\" }";
    for (from, to, line, message, help) in [
        (
            "name = \"orders\"\n",
            "",
            3,
            "`queue.#1.name` is missing",
            "name = \"orders\"",
        ),
        (target, "", 3, "`queue.orders.target` is missing", "http://"),
        (
            target,
            "target = {}",
            5,
            "`queue.orders.target` is empty",
            "\"http\", \"handler\"",
        ),
        (
            target,
            "target = 'http://x'",
            5,
            "takes a table with one of",
            "\"http\"",
        ),
        (
            target,
            "target = { http = 'http://x', handler = 'y' }",
            5,
            "two things at once",
            "leave one",
        ),
        (
            target,
            "target = { pool = 'mail' }",
            5,
            "`queue.orders.target.pool`",
            "later version",
        ),
        (
            target,
            "target = { queue = 'orders.admitted' }",
            5,
            "target.queue",
            "later version",
        ),
        (
            target,
            "target = { http = 'https://x' }",
            5,
            "by plain http",
            "http://",
        ),
        (
            target,
            "target = { http = 'http://u:p@x' }",
            5,
            "user or password",
            "leave them out",
        ),
        (
            target,
            "target = { htp = 'http://x' }",
            5,
            "no setting `queue.orders.target.htp`",
            "did you mean `http`?",
        ),
        (
            "[[queue]]",
            "[queue]",
            3,
            "takes a list of tables",
            "[[queue]]",
        ),
        (
            "url = \"amqp://127.0.0.1\"\n",
            "",
            1,
            "does not say where the broker is",
            "`url_file`",
        ),
        (
            "\"amqp://127.0.0.1\"",
            "\"amqp://u:p@broker\"",
            2,
            "holds a password",
            "`url_file`",
        ),
        (
            "\"amqp://127.0.0.1\"",
            "7",
            2,
            "takes the URL of a broker, got a whole number",
            "quotes",
        ),
        (
            "[[queue]]",
            "url_env = 'BROKER'\n[[queue]]",
            3,
            "both say where the broker is",
            "leave one",
        ),
        (
            "[[queue]]",
            "ca_file = 'x.pem'\n[[queue]]",
            3,
            "no file that can be found",
            "path",
        ),
        (
            "[[queue]]",
            "heartbeat = '1500ms'\n[[queue]]",
            3,
            "whole seconds",
            "10s",
        ),
        ("[amqp]", "amqp", 1, "this is not TOML", "name = value"),
        ("\"orders\"", "\"orders", 4, "this is not TOML", "quotes"),
        (
            "[[queue]]",
            "url = 'amqp://h'\n[[queue]]",
            3,
            "duplicate key",
            "leave one of the two",
        ),
    ] {
        let text = SMALL.replace(from, to);
        assert_ne!(text, SMALL, "{from}");
        if to == "ca_file = 'x.pem'\n[[queue]]" {
            let all = with(&text, &[]).expect_err(&text).to_string();
            assert!(
                all.contains(message) && all.contains("only with TLS"),
                "{all}"
            );
        } else {
            check(&text, line, message, help);
        }
    }
    let empty = with("", &[]).expect_err("nothing is there");
    assert_eq!(empty.all().len(), 2, "{empty}");
    assert!(
        empty.to_string().contains("`amqp` is missing")
            && empty.to_string().contains("`queue` is missing")
    );
}

#[test]
fn all_problems_are_told_at_once_as_a_compiler_would() {
    let text = "[daemon]\nlisten = \"0.0.0.0:7070\"\n\n[amqp]\nurl = \"amqp://127.0.0.1\"\n\n[[queue]]\nname = \"orders\"\nslot = 9\ntarget = { http = \"http://127.0.0.1:8081/jobs\" }\n";
    let shown = with(text, &[]).expect_err(text).to_string();
    let awaited = "\
config/sluicegate.toml:2:10: `daemon.listen` is not on loopback: everybody who reaches it could turn every valve, since this version has no tokens
  |
2 | listen = \"0.0.0.0:7070\"
  |          ^^^^^^^^^^^^^^
  = help: listen on 127.0.0.1 or [::1], and reach it by an SSH tunnel or a proxy that asks who is there

config/sluicegate.toml:9:1: there is no setting `queue.orders.slot`
  |
9 | slot = …
  | ^^^^
  = help: did you mean `slots`?

2 problems in config/sluicegate.toml";
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

#[test]
fn a_hundred_queues_are_enough() {
    let queue = |number: usize| format!("[[queue]]\nname = 'q{number}'\ntarget.handler = 'x'\n");
    let file = |count: usize| {
        let queues: String = (0..count).map(queue).collect();
        format!("[amqp]\nurl = 'amqp://localhost'\n{queues}")
    };
    assert_eq!(settings(&file(100)).queues.len(), 100);
    check(
        &file(101),
        3,
        "has 101 tables; at most 100",
        "another daemon",
    );
}

const CANARY: &str = "amqp://user:canary@broker.example/%2f";

#[test]
fn a_secret_is_never_shown_whatever_is_wrong_around_it() {
    for text in [
        format!("[amqp]\nurl = \"{CANARY}\"\n"),
        format!("[amqp]\nurl = [\"{CANARY}\"]\n"),
        format!("[amqp]\nurl = \"{CANARY}\nx = 1\n"),
        format!("[amqp]\nurl = {CANARY}\n"),
        format!("[amqp]\nurl : \"{CANARY}\"\n"),
        format!("[amqp]\nurl_file = \"{CANARY}\"\nurl_env = \"{CANARY}\"\n"),
        format!("[amqp]\nurl_file = \"{CANARY}\"\n"),
        format!("[amqp]\nurl_env = \"{CANARY}\"\n"),
        format!("amqp = \"{CANARY}\"\n"),
        format!("amqp = {{ url = \"{CANARY}\", heartbeat = 1 }}\n"),
        format!("amqp = {{ url = \"user:canary@h\", hartbeat = 1 }}\n"),
        format!("[daemon]\nlisten = \"{CANARY}\"\nlog = \"user:canary@h\"\n"),
        "[amqp]\npassword = \"canary\"\n".to_owned(),
        "[amqp]\npassword = canary\n".to_owned(),
        "[[provider]]\napi_key = \"canary\"\n".to_owned(),
        "provider = [{ api_key = \"canary\" }]\n".to_owned(),
        "queue = [\"canary\", { name = \"x\", target = { http = \"http://u:canary@h\", x = 1 } }]\n".to_owned(),
    ] {
        let problems = with(&text, &[]).expect_err(&text);
        let shown = format!("{problems}{problems:?}");
        assert!(!shown.contains("canary"), "{text}\n{problems}");
    }
    let read = settings(
        &SMALL
            .replace("127.0.0.1\"", "u:canary@h\"")
            .replace("u:canary@h", "u:canary@127.0.0.1"),
    );
    assert_eq!(read.amqp.url.expose(), "amqp://u:canary@127.0.0.1");
    assert!(!format!("{read:?}").contains("canary"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}", name in "[a-zA-Z_]{0,12}", value in "[ -~]{0,30}") {
        for text in [&text, &format!("{SMALL}{text}"), &format!("{SMALL}{name} = {value}\n"), &format!("[[flag]]\n{name} = {value}")] {
            let told = with(text, &[]).map_or_else(|problems| problems.to_string(), |read| format!("{read:?}"));
            prop_assert!(!told.is_empty());
            let _ = flags::read_text("flags.toml", text).map_err(|problems| problems.to_string());
        }
    }

    #[test]
    fn no_variable_makes_the_reader_panic(name in "SLUICEGATE__[A-Z_]{0,30}", value in ".{0,40}") {
        for name in [name.as_str(), "SLUICEGATE__QUEUE__ORDERS__SLOTS", "SLUICEGATE__QUEUE__ORDERS__ATTRIBUTES__A", "SLUICEGATE__QUEUE__ORDERS__TARGET", "SLUICEGATE__AMQP"] {
            if let Err(problems) = with(SMALL, &[(name, &value)]) {
                prop_assert!(problems.to_string().contains(name), "{}", problems);
            }
        }
    }

    #[test]
    fn a_slip_in_one_line_gives_settings_or_a_problem_with_its_line(line in 0_usize..200, at in 0_usize..80, letter in "[a-z\"'=\\[\\]{}#. \n]", kind in 0_u8..3) {
        let sample = sample_with_everything();
        let lines: Vec<&str> = sample.lines().collect();
        let line = line % lines.len();
        let mut slipped: Vec<char> = lines[line].chars().collect();
        let at = at.min(slipped.len());
        match kind {
            0 => slipped.splice(at..at, letter.chars()).for_each(drop),
            1 if at < slipped.len() => drop(slipped.remove(at)),
            _ => slipped.clear(),
        }
        let slipped: String = slipped.into_iter().collect();
        let mut text: Vec<&str> = lines.clone();
        text[line] = &slipped;
        let text = text.join("\n");
        if let Err(problems) = with(&text, &[]) {
            prop_assert!(!problems.to_string().contains("canary"), "{}\n{}", text, problems);
            for problem in problems.all() {
                let whole = problem.message.contains("is missing") && !problem.message.contains("queue.");
                prop_assert!(problem.line.is_some() || whole, "{}\n{}", text, problems);
                prop_assert!(!problem.help.is_empty());
            }
        }
    }
}

/// The sample with every default written out, and a password.
fn sample_with_everything() -> String {
    let sample = include_str!("../../config/sluicegate.toml");
    let lines = sample.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|letter: char| letter.is_ascii_lowercase()) => setting,
        Some(_) => "",
        None => line,
    });
    let text: String = lines
        .filter(|line| !line.is_empty())
        .map(|line| format!("{line}\n"))
        .collect();
    text.replace("guest:guest", "guest:canary")
}

mod samples {
    use std::collections::BTreeSet;

    use super::super::list::FILE;
    use super::super::shape::{Setting, Shape};
    use super::*;

    /// Every setting with its path; a section stands before what is in it.
    fn every_setting() -> Vec<(String, &'static Setting)> {
        fn collect(
            path: &str,
            settings: &'static [Setting],
            into: &mut Vec<(String, &'static Setting)>,
        ) {
            for setting in settings.iter().filter(|setting| setting.here()) {
                let path = super::super::walk::below(path, setting.name);
                into.push((path.clone(), setting));
                collect(&path, setting.shape.settings(), into);
            }
        }
        let mut all = Vec::new();
        collect("", FILE, &mut all);
        all
    }

    #[test]
    fn every_sample_reads() {
        for (name, text) in [
            (
                "config/sluicegate.toml",
                include_str!("../../config/sluicegate.toml"),
            ),
            ("config/demo.toml", include_str!("../../config/demo.toml")),
        ] {
            read_text(name, text, &Environment::new())
                .unwrap_or_else(|problems| panic!("{problems}"));
        }
        let demo = read(Path::new("config/demo.toml"), &Environment::new()).unwrap();
        let names: Vec<&str> = demo
            .queues
            .iter()
            .map(|queue| queue.name.as_str())
            .collect();
        assert_eq!(names, ["orders", "mail", "reports"]);
        let flags = flags::read(Path::new("config/flags.toml"))
            .unwrap_or_else(|problems| panic!("{problems}"));
        assert!(flags.iter().any(|flag| flag.key == "demo.task_queuer.rate"));
    }

    #[test]
    fn the_sample_explains_every_setting_and_shows_its_default() {
        let sample = include_str!("../../config/sluicegate.toml");
        for (path, setting) in every_setting()
            .iter()
            .filter(|(_, setting)| setting.shape.settings().is_empty())
        {
            assert!(
                sample.contains(setting.help),
                "`{path}` is not explained: {}",
                setting.help
            );
            let written = ["#", "# ", ""]
                .iter()
                .any(|mark| sample.contains(&format!("\n{mark}{} = ", setting.name)));
            let named = [".http", ".handler", ".queue", ".attributes"]
                .iter()
                .any(|end| path.ends_with(end));
            assert!(written || named, "`{path}` is not shown");
        }
        let plain = settings(sample);
        let everything = settings(&sample_with_everything().replace("canary", "guest"));
        assert_eq!(
            difference(&plain, &everything),
            [],
            "a default is not the default"
        );
    }

    #[test]
    fn every_setting_makes_a_difference() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let file = file.path().display();
        let base = "[daemon]\n[metrics]\n[amqp]\nurl = 'amqps://localhost'\n[[queue]]\nname = 'orders'\n\
            target.handler = 'x'\nattributes.account = 'header:x'\n[queue.park]\n";
        let old = settings(base);
        let mut seen = BTreeSet::new();
        for (setting, value) in [
            ("daemon.listen", "'127.0.0.1:1'".to_owned()),
            ("daemon.hosts", "['h']".to_owned()),
            ("daemon.data_dir", "'/x'".to_owned()),
            ("daemon.flags_file", format!("'{file}'")),
            ("daemon.stop_within", "'3s'".to_owned()),
            ("daemon.log", "'debug'".to_owned()),
            ("metrics.listen", "'0.0.0.0:1'".to_owned()),
            ("amqp.url", "'amqps://u:canary@localhost'".to_owned()),
            ("amqp.ca_file", format!("'{file}'")),
            ("amqp.declare", "false".to_owned()),
            ("amqp.heartbeat", "'3s'".to_owned()),
            ("queue.orders.vhost", "'v'".to_owned()),
            ("queue.orders.target.http", "'http://x'".to_owned()),
            ("queue.orders.target.handler", "'y'".to_owned()),
            ("queue.orders.slots", "3".to_owned()),
            ("queue.orders.prefetch", "33".to_owned()),
            ("queue.orders.attempts", "3".to_owned()),
            ("queue.orders.key", "'account'".to_owned()),
            ("queue.orders.attributes.type", "'property:type'".to_owned()),
            ("queue.orders.id", "'header:x'".to_owned()),
            ("queue.orders.age", "'header:x'".to_owned()),
            ("queue.orders.deadline", "'header:x'".to_owned()),
            ("queue.orders.deadline_after", "'3s'".to_owned()),
            ("queue.orders.max_body_bytes", "3".to_owned()),
            ("queue.orders.on_skip", "'drop'".to_owned()),
            ("queue.orders.on_expired", "'drop'".to_owned()),
            ("queue.orders.on_rejected", "'drop'".to_owned()),
            ("queue.orders.on_unknown", "'park'".to_owned()),
            ("queue.orders.modes", "['light']".to_owned()),
            ("queue.orders.pass", "['a.b']".to_owned()),
            ("queue.orders.hold", "'3s'".to_owned()),
            ("queue.orders.dead_letter.queue", "'dead'".to_owned()),
            ("queue.orders.park.as", "'queue'".to_owned()),
            ("queue.orders.park.max_age", "'3d'".to_owned()),
            ("queue.orders.park.max_bytes", "3_000_000".to_owned()),
        ] {
            let variable = format!("SLUICEGATE__{}", setting.replace('.', "__").to_uppercase());
            let value = value.trim_matches('\'');
            let new =
                with(base, &[(&variable, value)]).unwrap_or_else(|problems| panic!("{problems}"));
            let found = difference(&old, &new);
            let names: Vec<&str> = found.iter().map(|one| one.setting.as_str()).collect();
            assert!(!format!("{found:?}").contains("canary"));
            let inside = setting.strip_suffix(".type").unwrap_or(setting);
            let inside = inside
                .strip_suffix(".http")
                .or(inside.strip_suffix(".handler"))
                .unwrap_or(inside);
            match setting {
                // Another vhost makes it another queue, and slots bring their prefetch along.
                "queue.orders.vhost" => assert_eq!(names, ["queue.orders", "queue.v/orders"]),
                "queue.orders.slots" => assert_eq!(names, [setting]),
                _ => assert_eq!(names, [inside]),
            }
            let live = ["daemon.hosts", "daemon.log"].contains(&setting);
            assert!(found.iter().all(|one| one.live == live), "{setting}");
            seen.insert(setting.replace("queue.orders", "queue"));
        }
        let untold = ["amqp.url_file", "amqp.url_env", "queue.name", "queue.order"];
        for (path, setting) in every_setting() {
            let group = matches!(
                setting.shape,
                Shape::Section(_) | Shape::Sections(..) | Shape::Choice(_) | Shape::Free(_)
            );
            assert!(
                group || seen.contains(&path) || untold.contains(&path.as_str()),
                "`{path}` is not tried"
            );
        }
    }
}
