//! `sluicegate topology` for people: the queues, what each is for, the permissions, and the lines to paste. Imports `config` and
//! `rules`.

use std::fmt::Write as _;

use super::definitions::own_queues;
use super::permissions::{Permissions, permissions};
use super::places::{Argument, Arguments};
use super::shell::quoted;
use crate::config::{Queue, Settings};
use crate::rules::settlement::Place;

/// The whole page. `file` is what was given as `--config`; `at_ms` chooses the day of streams.
#[must_use]
pub fn page(settings: &Settings, queues: &[&Queue], user: &str, file: &str, at_ms: i64) -> String {
    let mut page = String::new();
    for queue in queues {
        one_queue(&mut page, settings, queue, at_ms);
    }
    how_they_are_made(&mut page, settings.amqp.declare, file);
    rights(&mut page, settings, queues, user);
    page
}

fn one_queue(page: &mut String, settings: &Settings, queue: &Queue, at_ms: i64) {
    let name = &queue.broker_name;
    let _ = writeln!(
        page,
        "Beside {name} in vhost {}:\n",
        settings.vhost_of(queue)
    );
    for own in own_queues(settings, queue, at_ms) {
        line(page, &own.name, &purpose(queue, own.place), &own.arguments);
    }
    if let Some(theirs) = &queue.dead_letter_queue {
        let _ = writeln!(
            page,
            "  {theirs}\n      dead letters; it is yours, and never declared by Sluicegate"
        );
    }
    if let Some(outcomes) = &queue.outcomes_queue {
        let _ = writeln!(
            page,
            "  {outcomes}\n      workers report here what came of their work; it is yours, and never declared by Sluicegate"
        );
    }
    if queue.declare {
        let lane = format!("sluicegate.lane.{name}.<16 hex digits, or shared>");
        let purpose = "messages of one throttled key; deleted when it is empty";
        line(
            page,
            &lane,
            purpose,
            &super::places::arguments(queue, Place::Lane(crate::rules::lane::Lane::Shared)),
        );
    }
    page.push('\n');
}

fn line(page: &mut String, name: &str, purpose: &str, arguments: &Arguments) {
    let _ = writeln!(page, "  {name}\n      {purpose}");
    if arguments.is_empty() {
        page.push_str("      durable, no arguments\n");
        return;
    }
    let said: Vec<String> = arguments
        .iter()
        .map(|(name, value)| match value {
            Argument::Text(text) => format!("{name}={text:?}"),
            Argument::Number(number) => format!("{name}={number}"),
        })
        .collect();
    let _ = writeln!(page, "      durable, {}", said.join(" "));
}

fn purpose(queue: &Queue, place: Place) -> String {
    let each_day = if queue.declare { ", one each day" } else { "" };
    match place {
        Place::Delay(delay) => format!(
            "messages wait here for {delay}, then the broker puts them back into {}",
            queue.broker_name
        ),
        Place::Park => format!("the park: what was shed, with its reason{each_day}"),
        Place::Dead => format!("dead letters{each_day}"),
        Place::Admitted => "the admitted queue, which your workers read".to_owned(),
        Place::Results => "results: what came of jobs; it is yours".to_owned(),
        Place::Lane(_) => "messages of one throttled key".to_owned(),
    }
}

fn how_they_are_made(page: &mut String, declare: bool, file: &str) {
    let command = format!("sluicegate topology --config {}", quoted(file));
    page.push_str(if declare {
        "The file says `declare = true`: the daemon declares each of these when it needs it, and there is nothing to make.\n\
         With `declare = false` somebody else makes them once, park and dead letters without a date and no lanes (what is\n\
         throttled for long waits in the delay queues instead):\n\n"
    } else {
        "The file says `declare = false`: the daemon declares nothing, and these must be there. Until they are, what belongs there\n\
         is held. No lanes are made: what is throttled for long waits in the delay queues instead. Those of before are read until they\n\
         are empty; remove them then. Make the others by\n\n"
    });
    let before = if declare {
        "SLUICEGATE__AMQP__DECLARE=false "
    } else {
        ""
    };
    let _ = writeln!(
        page,
        "  {before}{command} --format definitions > sluicegate-queues.json\n  rabbitmqctl import_definitions sluicegate-queues.json\n"
    );
}

fn rights(page: &mut String, settings: &Settings, queues: &[&Queue], user: &str) {
    let _ = writeln!(
        page,
        "A user who may do this and nothing else (`add_user` asks for the password; `set_permissions` replaces what the user may\n\
         do in that vhost):\n\n  rabbitmqctl add_user {}",
        quoted(user)
    );
    for declare in [true, false] {
        let here = if settings.amqp.declare == declare {
            ", as the file says"
        } else {
            ""
        };
        let _ = writeln!(page, "\n  # declare = {declare}{here}");
        for of in permissions(settings, queues, declare) {
            let _ = writeln!(page, "  {}", set_permissions(user, &of));
        }
    }
    page.push_str(
        "\nThe three patterns say what may be configured (declared and deleted), written (published to, always through the default\n\
         exchange, which is called amq.default there) and read (consumed). To declare a delay queue, the broker also wants read on it.\n",
    );
}

/// The line that permits it.
fn set_permissions(user: &str, of: &Permissions) -> String {
    format!(
        "rabbitmqctl set_permissions -p {} {} {} {} {}",
        quoted(&of.vhost),
        quoted(user),
        quoted(&of.configure),
        quoted(&of.write),
        quoted(&of.read)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read_text;

    #[test]
    fn every_queue_is_there_with_its_arguments_and_the_lines_to_paste() {
        for (declare, says, never) in [
            (
                "true",
                [
                    "sluicegate.park.orders.2026-11-21",
                    "sluicegate.lane.orders.<",
                    "SLUICEGATE__AMQP__DECLARE=false sluicegate topology --config 'a b.toml'",
                    "# declare = true, as the file says",
                ],
                "declare = false, as",
            ),
            (
                "false",
                [
                    "sluicegate.park.orders\n",
                    "  sluicegate topology --config 'a b.toml' --format definitions",
                    "these must be there",
                    "# declare = false, as the file says",
                ],
                "sluicegate.lane.orders.<",
            ),
        ] {
            let text = format!(
                "[amqp]\nurl = 'amqp://127.0.0.1'\ndeclare = {declare}\n[[queue]]\nname = 'orders'\ntarget = {{ handler = 'x' }}\n"
            );
            let settings = read_text("test", &text, &Default::default()).unwrap();
            let queues: Vec<&Queue> = settings.queues.iter().collect();
            let page = page(&settings, &queues, "gate", "a b.toml", 1_795_219_200_000);
            let always = [
                "sluicegate.delay.orders.10m",
                "x-message-ttl=600000",
                "rabbitmqctl set_permissions -p / gate '^$' ",
            ];
            for part in says.iter().chain(&always) {
                assert!(page.contains(part), "{declare}: no {part:?} in\n{page}");
            }
            assert!(!page.contains(never), "{declare}: {never:?} in\n{page}");
        }
    }
}
