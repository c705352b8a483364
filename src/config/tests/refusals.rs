//! What is refused, where, and with which cure: one line for each.

use super::SMALL;
use super::settings;
use super::with;

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

/// A line added to the queue of the smallest file, what is wrong with it, and the cure.
const LINES: &[(&str, &str, &str)] = &[
    (
        "attributes = { 'a b' = 'header:x' }",
        "cannot be a name here",
        "visible ASCII",
    ),
    (
        "slot = 9",
        "no setting `queue.orders.slot`",
        "did you mean `slots`?",
    ),
    (
        "heartbeat = '3s'",
        "no setting `queue.orders.heartbeat`",
        "belongs in [amqp]",
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
        "on_unknown = 'elsewhere'",
        "is not known",
        "\"retry\", \"failover\", \"park\"",
    ),
    (
        "order = 'key'",
        "the queue has no `key`",
        "key = \"account\"",
    ),
    (
        "order = 'strict'\nslots = 8",
        "one message at a time",
        "leave `slots` out",
    ),
    ("order = 'nones'", "not known", "did you mean \"none\"?"),
    (
        "preset = 'celry'",
        "\"celry\" is not known",
        "did you mean \"celery\"?",
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
        "`sluicegate token new`",
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
];

#[test]
fn one_wrong_setting_is_one_problem_with_its_line_and_cure() {
    let queue = |line: &str| format!("{SMALL}{line}\n");
    for (line, message, help) in LINES {
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

const TARGET: &str = "target = { http = \"http://127.0.0.1:8081/jobs\" }";

/// What of the smallest file becomes what, the line of the problem, what is wrong, and the cure.
const CHANGES: &[(&str, &str, usize, &str, &str)] = &[
    (
        "name = \"orders\"\n",
        "",
        3,
        "`queue.#1.name` is missing",
        "name = \"orders\"",
    ),
    (TARGET, "", 3, "`queue.orders.target` is missing", "http://"),
    (
        TARGET,
        "target = {}",
        5,
        "`queue.orders.target` is empty",
        "\"http\", \"handler\", \"queue\"",
    ),
    (
        TARGET,
        "target = 'http://x'",
        5,
        "takes a table with one of",
        "\"http\"",
    ),
    (
        TARGET,
        "target = { http = 'http://x', handler = 'y' }",
        5,
        "two things at once",
        "leave one",
    ),
    (
        TARGET,
        "target = { pool = 'mail' }",
        5,
        "there is no such [[pool]]",
        "add the [[pool]]",
    ),
    (
        TARGET,
        "target = { queue = 'orders' }",
        5,
        "`queue.orders.target` is the queue itself",
        "that only workers read",
    ),
    (
        TARGET,
        "target = { queue = 'dead' }\ndead_letter = { queue = 'dead' }",
        5,
        "`queue.orders.target` is its dead-letter queue",
        "that only workers read",
    ),
    (
        TARGET,
        "target = { queue = 'mail' }\n[[queue]]\nname = 'mail'\ntarget.handler = 'x'",
        5,
        "`queue.orders.target` is taken in hand itself",
        "that only workers read",
    ),
    (
        TARGET,
        "target = { queue = 'admitted' }\noutcomes = { queue = 'admitted' }",
        6,
        "`queue.orders.outcomes` is a queue of messages",
        "that only reports go to",
    ),
    (
        TARGET,
        "target = { http = 'https://x' }",
        5,
        "by plain http",
        "http://",
    ),
    (
        TARGET,
        "target = { http = 'http://u:p@x' }",
        5,
        "user or password",
        "leave them out",
    ),
    (
        TARGET,
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
        "\"amqp://127.0.0.1\"",
        "'amqps://127.0.0.1'\nca_file = 'x.pem'",
        3,
        "no file that can be found",
        "path",
    ),
    (
        "[[queue]]",
        "ca_file = '../Cargo.toml'\n[[queue]]",
        3,
        "only with TLS",
        "amqps://",
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
];

#[test]
fn what_is_missing_or_in_the_way_is_told_where_it_belongs() {
    for (from, to, line, message, help) in CHANGES {
        let text = SMALL.replace(from, to);
        assert_ne!(text, SMALL, "{from}");
        check(&text, *line, message, help);
    }
    let empty = with("", &[]).expect_err("nothing is there");
    assert_eq!(empty.all().len(), 2, "{empty}");
    assert!(
        empty.to_string().contains("`amqp` is missing")
            && empty.to_string().contains("`queue` is missing")
    );
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
