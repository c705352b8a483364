//! What `--help` teaches: examples for every command, and the valves as the rules declare them. Every example is parsed by a
//! test. May import `rules`.

use crate::rules::valve::Valve;
pub(super) use compat::*;
pub(super) use flag::*;
pub(super) use provider::*;
pub(super) use relieve::*;
pub(super) use store::*;

mod compat;
mod flag;
mod provider;
mod relieve;
mod store;

/// Lines that we break ourselves fit a terminal of 80.
const WIDTH: usize = 78;

pub(super) const TYPES: [&str; 8] = [
    "boolean", "ratio", "integer", "number", "duration", "rate", "string", "object",
];
pub(super) const KINDS: [&str; 5] = ["ops", "release", "permission", "config", "migration"];

const START: &str = "\
Examples:
  sluicegate demo
  sluicegate check --config sluicegate.toml --connect
  sluicegate tap orders --config sluicegate.toml
  sluicegate run --config sluicegate.toml
  sluicegate queue list
  sluicegate relieve orders --deadline 30s --reason \"INC-481\"
  sluicegate flag open queue.orders.skip 70% --for 30m --reason \"INC-481\" --yes
  sluicegate flag rule add shop.reports acme --when account=acme --value false --reason INC-482";

const START_HINT: &str = "`sluicegate --help` lists the valves and the exit codes.";

pub(super) const RUN: &str = "\
Examples:
  sluicegate run --config /etc/sluicegate/sluicegate.toml

SIGTERM or Ctrl-C stops it gracefully: messages in hand are finished first. SIGHUP reads the file again.";

pub(super) const DEMO: &str = "\
Examples:
  sluicegate demo
  sluicegate demo --listen 127.0.0.1:7171 --seconds 60
  sluicegate demo --quiet --seconds 5

It needs no broker and keeps nothing. Type the commands that it tells you in another terminal.";

pub(super) const CHECK: &str = "\
Examples:
  sluicegate check --config sluicegate.toml
  sluicegate check --config sluicegate.toml --connect

All errors are shown at once, each with its line and its cure. Exit code 0: fine, 1: not.";

pub(super) const TAP: &str = "\
Examples:
  sluicegate tap orders --config sluicegate.toml
  sluicegate tap orders --config sluicegate.toml --for 1h --deadline 30s --service 100ms
  sluicegate tap orders -c sluicegate.toml --exchange shop --key 'order.#' --kind topic
  sluicegate tap orders -c sluicegate.toml --for 1m --json > seen.jsonl

It makes a small queue of its own beside yours, bound to the same exchange by the same keys, and reads
copies there: your queue, its messages and its consumers are left alone. It is removed at the end, at
Ctrl-C, and by the broker if the tap is killed. It holds 10000 messages or 64 MiB at most; what is too
much falls out of it, and is said. The broker copies each message once more while it looks.

The bindings are asked of RabbitMQ's management API ([management] in the file); without it name them
yourself. It refuses, and says why, where a second queue would take messages away or get none: behind
x-consistent-hash and other kinds that share out, and for what is published straight to the queue.

With --service (how long a job takes) and a deadline it says what `relieve` would have done: the same
messages pass by two made-up queues with as many workers, one with the automatic valve and one without.

Do not unbind your queue meanwhile: what nobody else is bound to take would end in the tap.";

pub(super) const TOKEN: &str = "\
Examples:
  sluicegate token new ana --role operator --queues orders --for 90d";

pub(super) const TOKEN_NEW: &str = "\
Examples:
  sluicegate token new ana --role operator --queues orders,mail.* --for 90d
  sluicegate token new checkout --role service --flags shop.*

To replace one, add a second token of the same name, hand its secret over, then take the first one out.";

pub(super) const SCHEMA: &str = "\
Examples:
  sluicegate schema > sluicegate.schema.json
  sluicegate schema mail > mail-job.schema.json

With `#:schema ./sluicegate.schema.json` as the first line of the file, editors complete and check it.";

pub(super) const QUEUE: &str = "\
Examples:
  sluicegate queue list
  sluicegate queue lanes orders
  sluicegate queue pause orders --reason \"INC-481\" --for 10m
  sluicegate queue resume orders --reason \"INC-481 is over\"
  sluicegate queue release orders --key acme --reason \"the address is mended\"";

pub(super) const QUEUE_LIST: &str = "\
Examples:
  sluicegate queue list
  sluicegate queue list orders
  sluicegate queue list orders --json";

pub(super) const QUEUE_LANES: &str = "\
Examples:
  sluicegate queue lanes orders
  sluicegate queue lanes orders --key acme
  sluicegate queue lanes orders --json

A key that rate_each or concurrency_each makes wait long has a lane; above 64 keys, the rest share one.";

pub(super) const QUEUE_PAUSE: &str = "\
Examples:
  sluicegate queue pause orders --reason \"INC-481\"
  sluicegate queue pause orders --for 10m --reason \"INC-481\" --yes
  sluicegate queue pause billing/orders --until 2026-11-21T18:00:00Z -r INC-481 --dry-run

This opens queue.NAME.pause, for 30m when nothing is said: a forgotten pause ends by itself.";

pub(super) const QUEUE_RESUME: &str = "\
Examples:
  sluicegate queue resume orders --reason \"INC-481 is over\"
  sluicegate queue resume orders --reason \"INC-481 is over\" --dry-run

It closes every opening that pauses the queue; where the flag's own value is true, it sets that false, too.";

pub(super) const QUEUE_RELEASE: &str = "\
Examples:
  sluicegate queue list orders
  sluicegate queue release orders --key acme --reason \"the address is mended\"
  sluicegate queue release orders --all --reason \"the database is back\" --dry-run

What comes of the key from now on is done again, in its order. What was parked meanwhile stays in the park.";

pub(super) const TOPOLOGY: &str = "\
Examples:
  sluicegate topology --config sluicegate.toml
  sluicegate topology --config sluicegate.toml --queue orders --user gate
  sluicegate topology --config sluicegate.toml --format definitions > queues.json
  sluicegate topology --config sluicegate.toml --format permissions > permissions.json

Only the file is read; neither a broker nor a daemon is asked. `definitions` and `permissions` are for what
the file says of `declare`; with SLUICEGATE__AMQP__DECLARE=false in front they are for `declare = false`.
`rabbitmqctl import_definitions FILE` reads both; vhosts and the user must be there, and no user is changed.";

pub(super) const BYPASS: &str = "\
Examples:
  sluicegate bypass orders
  sluicegate bypass billing/orders --config sluicegate.toml

The steps are exact for what the file says of this queue. If a daemon answers at --url, its counts are shown.";

pub(super) const COMPLETIONS: &str = "\
Examples:
  sluicegate completions bash > /etc/bash_completion.d/sluicegate
  sluicegate completions zsh > ~/.zfunc/_sluicegate
  sluicegate completions fish > ~/.config/fish/completions/sluicegate.fish";

const VALUES: &str = "\
Values:
  boolean   true, false
  ratio     0.7 or 70%
  duration  500ms, 30s, \"1m 30s\", 2h
  rate      50/s, 100/m, \"100/m burst 20\"; 0/s means stop
  integer, number, string, object (as JSON)
  none      no limit (duration, rate, integer)";

pub(super) const MAN: &str = "\
Examples:
  sluicegate man | man -l -
  sluicegate man /usr/local/share/man/man1

With a folder, a page for each command is written there.";

/// How commands end.
pub(super) const EXIT_CODES: [(u8, &str); 8] = [
    (0, "done"),
    (1, "failed"),
    (2, "typed wrongly"),
    (3, "not found"),
    (4, "denied"),
    (5, "somebody was faster, or it exists"),
    (
        6,
        "refused by a guard or limit (such as a big move without --yes)",
    ),
    (7, "no daemon answers"),
];

/// The exit codes in two lines.
fn exits() -> String {
    let mut text = "Exit codes:".to_owned();
    for line in EXIT_CODES.chunks(6) {
        let said: Vec<String> = line
            .iter()
            .map(|(code, meaning)| format!("{code} {meaning}"))
            .collect();
        text += &format!("\n  {}", said.join("   "));
    }
    text
}

/// The valves with their help, as a block of lines.
fn valves() -> String {
    let widest = Valve::ALL
        .iter()
        .map(|valve| valve.name().len())
        .max()
        .unwrap_or(0);
    let mut text = "Valves of a queue, as flags queue.NAME.VALVE:".to_owned();
    for valve in Valve::ALL {
        let mut head = valve.name();
        for line in wrapped(valve.facts().help, WIDTH - widest - 4) {
            text += &format!("\n  {head:widest$}  {line}");
            head = "";
        }
    }
    text
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

pub(super) fn start_short() -> String {
    [START, START_HINT].join("\n\n")
}

pub(super) fn start_long() -> String {
    [START, &valves(), VALUES, &exits()].join("\n\n")
}
