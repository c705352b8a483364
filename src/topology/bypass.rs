//! `sluicegate bypass QUEUE`: how to take the daemon out of the path, and how to put it back; step by step, with the lines to
//! paste. It only tells, and changes nothing. Imports `config` and `rules`.

use std::fmt::Write as _;

use super::places::name;
use super::shell::quoted;
use crate::config::{Queue, Settings, TargetSettings, reads_celery};
use crate::rules::lane::Lane;
use crate::rules::names::segment;
use crate::rules::settlement::Place;
use crate::rules::units::Span;

/// What a running daemon says of the queue now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// How it stands, in one word.
    pub state: String,
    /// Messages ready at the broker, when known.
    pub ready: Option<u64>,
    /// Messages taken and not yet settled.
    pub in_hand: u64,
    /// Keys with a lane, and the messages in all lanes; `None`: not told.
    pub lanes: Option<(u64, u64)>,
}

/// Numbered steps.
struct Steps {
    page: String,
    number: u32,
}

impl Steps {
    fn step(&mut self, title: &str) {
        self.number += 1;
        let _ = write!(self.page, "\n{}. {title}\n", self.number);
    }

    fn say(&mut self, text: &str) {
        let _ = writeln!(self.page, "   {text}");
    }

    fn run(&mut self, line: &str) {
        let _ = writeln!(self.page, "\n     {line}\n");
    }
}

/// The whole page for one queue; `live` is what its daemon says, if one answers.
#[must_use]
pub fn page(settings: &Settings, queue: &Queue, live: Option<&Live>) -> String {
    let mut steps = Steps {
        page: head(settings, queue, live),
        number: 0,
    };
    who_does_the_work(&mut steps, queue);
    close_the_gate(&mut steps, queue);
    bring_home(&mut steps, settings, queue, live);
    what_stays(&mut steps, queue);
    put_it_back(&mut steps, queue);
    steps.page
}

fn head(settings: &Settings, queue: &Queue, live: Option<&Live>) -> String {
    let (name, vhost) = (&queue.broker_name, settings.vhost_of(queue));
    let to = match &queue.target {
        TargetSettings::Http(url) => {
            let shown = url.split(['?', '#']).next().unwrap_or_default();
            format!("the HTTP worker {shown}")
        }
        TargetSettings::Handler(handler) => format!("the handler {handler} inside the program"),
        TargetSettings::Queue(admitted) => format!("the workers of {admitted}"),
        TargetSettings::Pool(pool) => format!("the providers of the pool {pool}"),
    };
    let mut head = format!(
        "{name} in vhost {vhost}: the daemon takes from it and hands over to {to}. Nothing is changed by this page.\n"
    );
    match live {
        None => head.push_str("Now: unknown, no daemon was asked or none answered.\n"),
        Some(live) => {
            let ready = live
                .ready
                .map_or("unknown".to_owned(), |ready| ready.to_string());
            let lanes = live.lanes.map_or_else(String::new, |(keys, messages)| {
                format!(", {messages} of {keys} keys in lanes")
            });
            let _ = writeln!(
                head,
                "Now: {}, {ready} ready, {} in hand{lanes}.",
                live.state, live.in_hand
            );
        }
    }
    head
}

fn who_does_the_work(steps: &mut Steps, queue: &Queue) {
    let name = &queue.broker_name;
    match &queue.target {
        TargetSettings::Queue(admitted) => {
            steps.step(&format!("Point the workers at {name} itself"));
            steps.say(&format!(
                "Let them read both for a while: {admitted} until it is empty, and {name}."
            ));
            if reads_celery(&queue.reading) {
                steps.say("With Celery (PROJECT is what you start it with now), and once the first is empty, without it:");
                steps.run(&format!(
                    "celery -A PROJECT worker -Q {}",
                    quoted(&format!("{admitted},{name}"))
                ));
            }
        }
        TargetSettings::Http(_) => {
            steps.step("Decide who takes the messages");
            steps.say(&format!(
                "An HTTP worker cannot read a queue: without the daemon it gets nothing, and {name} only grows. Either keep the"
            ));
            steps.say("daemon and let its gate pass everything (all valves neutral; nothing below is needed then):");
            steps.run(&format!(
                "sluicegate flag list queue.{}. --open",
                queue.name
            ));
            steps.say(
                "and close each opening that it shows with `sluicegate flag close ID --reason …`. Or start a consumer of your own",
            );
            steps.say(&format!(
                "that takes from {name}, posts to the worker and acknowledges after a 2xx; start it after step 2."
            ));
        }
        TargetSettings::Pool(pool) => {
            steps.step("Decide who takes the messages");
            steps.say(&format!(
                "The daemon calls the providers of the pool {pool}: without it {name} only grows. Pin the one that works, or start a"
            ));
            steps.say("consumer of your own that calls it and acknowledges after its answer:");
            steps.run(&format!(
                "sluicegate provider pin {pool} PROVIDER --for 1h --reason \"bypass\" --yes"
            ));
        }
        TargetSettings::Handler(_) => {
            steps.step("Decide who takes the messages");
            steps.say(&format!(
                "The work is done inside the program that embeds the daemon: without it {name} only grows. Have the program consume"
            ));
            steps.say(&format!(
                "{name} itself, or keep it and close what is open: `sluicegate flag list queue.{}. --open`.",
                queue.name
            ));
        }
    }
}

fn close_the_gate(steps: &mut Steps, queue: &Queue) {
    steps.step("Close the gate: what is in hand is finished or given back");
    steps.run(&format!(
        "sluicegate flag set queue.{}.pause true --reason \"bypass\" --keep --yes",
        queue.name
    ));
    steps.say(&format!(
        "It stays closed until you set it back. Wait until `sluicegate queue list {}` says 0 in hand. When every queue of",
        queue.name
    ));
    steps.say(
        "the daemon is to be bypassed, stop it instead: `systemctl stop sluicegate`, or SIGTERM.",
    );
}

fn bring_home(steps: &mut Steps, settings: &Settings, queue: &Queue, live: Option<&Live>) {
    let (source, vhost) = (&queue.broker_name, settings.vhost_of(queue));
    steps.step("Bring home what waits elsewhere");
    steps.say(&format!(
        "sluicegate.delay.{source}.*: the broker itself puts these back into {source}, after 10 minutes at the latest. See them by"
    ));
    steps.run(&format!(
        "rabbitmqctl list_queues -p {} name messages | grep -F .{}",
        quoted(vhost),
        quoted(source)
    ));
    if queue.declare {
        lanes(steps, queue, vhost, live);
    }
    if let TargetSettings::Queue(admitted) = &queue.target {
        steps.say(&format!(
            "{admitted}: workers that read both empty it. To bring it home instead (it goes behind what is in {source}):"
        ));
        steps.run(&shovel(vhost, admitted, source));
    }
    steps.say("A message that was deferred or laned carries x-sluicegate-* headers; its body is as it was. What the daemon sets aside");
    steps.say("(expiration, user_id, CC, BCC) is restored by the daemon alone.");
}

fn lanes(steps: &mut Steps, queue: &Queue, vhost: &str, live: Option<&Live>) {
    let source = &queue.broker_name;
    let some = live
        .and_then(|live| live.lanes)
        .is_some_and(|(keys, _)| keys > 0);
    if queue.reading.key.is_none() && !some {
        return;
    }
    steps.say(&format!(
        "sluicegate.lane.{source}.*: nobody reads these while the daemon is away. Shovels bring them home (they need the plugin"
    ));
    steps.say("rabbitmq_shovel, and end by themselves); each lane keeps its order:");
    let shared = name(queue, Place::Lane(Lane::Shared), 0);
    let stem = shared.trim_end_matches("shared");
    // In single quotes, which are closed for a moment where the shell is to put the lane's name in.
    let definition = shovel_of(vhost, "@lane@", source)
        .replace('\'', r"'\''")
        .replace("@lane@", r#"'"$lane"'"#);
    steps.run(&format!(
        "rabbitmqctl -q list_queues -p {vhost} --no-table-headers name | grep -F {} | while read -r lane; do rabbitmqctl set_parameter -p {vhost} shovel \"home-$lane\" '{definition}' </dev/null; done",
        quoted(stem),
        vhost = quoted(vhost),
    ));
}

/// A shovel that moves all that is in one queue now to another one, with confirms, and then ends.
fn shovel(vhost: &str, from: &str, to: &str) -> String {
    format!(
        "rabbitmqctl set_parameter -p {} shovel {} {}",
        quoted(vhost),
        quoted(&format!("home-{from}")),
        quoted(&shovel_of(vhost, from, to))
    )
}

fn shovel_of(vhost: &str, from: &str, to: &str) -> String {
    let uri = format!("amqp:///{}", segment(vhost));
    let definition = serde_json::json!({
        "src-protocol": "amqp091", "src-uri": uri, "src-queue": from, "src-delete-after": "queue-length",
        "dest-protocol": "amqp091", "dest-uri": uri, "dest-queue": to, "ack-mode": "on-confirm",
    });
    definition.to_string()
}

fn what_stays(steps: &mut Steps, queue: &Queue) {
    let source = &queue.broker_name;
    let kept = Span::from_millis(u64::try_from(queue.park.max_age.as_millis()).unwrap_or(u64::MAX));
    steps.step("Leave the rest where it lies");
    steps.say(&format!(
        "sluicegate.park.{source}*: what was shed stays for {kept} and is not lost by the bypass; nothing replays it meanwhile."
    ));
    match &queue.dead_letter_queue {
        Some(theirs) => steps.say(&format!("{theirs}: your dead-letter queue, untouched.")),
        None => steps.say(&format!(
            "sluicegate.dead.{source}*: dead letters, kept as long."
        )),
    }
}

fn put_it_back(steps: &mut Steps, queue: &Queue) {
    let name = &queue.broker_name;
    steps.step("Put the daemon back");
    match &queue.target {
        TargetSettings::Queue(admitted) => {
            steps.say(&format!(
                "Start it if it was stopped, point the workers at {admitted} alone, and open the gate:"
            ));
            if reads_celery(&queue.reading) {
                steps.run(&format!("celery -A PROJECT worker -Q {}", quoted(admitted)));
            }
        }
        TargetSettings::Http(_) | TargetSettings::Handler(_) | TargetSettings::Pool(_) => steps.say(&format!(
            "Stop your own consumer of {name}, or its messages pass by the gate; start the daemon if it was stopped, and open the gate:"
        )),
    }
    steps.run(&format!(
        "sluicegate flag set queue.{}.pause false --reason \"bypass is over\" --yes",
        queue.name
    ));
    steps.say("`sluicegate check --connect` says whether somebody still reads past the gate, when [management] is set.");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read_text;

    fn page_of(queue: &str, live: Option<&Live>) -> String {
        let text = format!(
            "[amqp]\nurl = 'amqp://127.0.0.1/bill%20ing'\n[[queue]]\nname = 'orders'\n{queue}\n"
        );
        let settings = read_text("test", &text, &Default::default()).unwrap();
        page(&settings, &settings.queues[0], live)
    }

    fn check(what: &str, page: &str, says: &[&str], never: &[&str]) {
        for part in says {
            assert!(page.contains(part), "{what}: no {part:?} in\n{page}");
        }
        for part in never {
            assert!(!page.contains(part), "{what}: {part:?} in\n{page}");
        }
    }

    #[test]
    fn the_steps_are_those_of_the_queues_target() {
        let http = "target = { http = 'http://worker/jobs?key=canary' }";
        check(
            "an HTTP worker",
            &page_of(http, None),
            &[
                "cannot read a queue",
                "http://worker/jobs",
                "Now: unknown",
                "queue.orders.pause true",
                "queue.orders.pause false",
                "'bill ing'",
                "for 7d",
            ],
            &["canary", "sluicegate.lane", "celery", "shovel"],
        );
        check(
            "with keys",
            &page_of(
                &format!("{http}\nkey = 'account'\nattributes = {{ account = 'header:x' }}"),
                None,
            ),
            &[
                "sluicegate.lane.orders.",
                "amqp:///bill%20ing",
                r#""src-queue":"'"$lane"'""#,
            ],
            &["celery"],
        );
        check(
            "a handler",
            &page_of("target = { handler = 'mine' }", None),
            &["inside the program"],
            &["celery", "shovel"],
        );
        check(
            "a dead-letter queue of one's own",
            &page_of(
                &format!("{http}\ndead_letter = {{ queue = 'orders.dead' }}"),
                None,
            ),
            &["orders.dead: your dead-letter queue"],
            &["sluicegate.dead"],
        );
    }

    #[test]
    fn what_a_daemon_says_is_shown() {
        let live = Live {
            state: "consuming".to_owned(),
            ready: Some(12),
            in_hand: 3,
            lanes: Some((2, 40)),
        };
        let page = page_of("target = { handler = 'mine' }", Some(&live));
        check(
            "live",
            &page,
            &[
                "Now: consuming, 12 ready, 3 in hand, 40 of 2 keys in lanes.",
                "shovel",
            ],
            &[],
        );
    }
}
