//! From queue to queue: through the daemon with all valves on, and by RabbitMQ's own shovel; both into a queue that somebody
//! empties, as workers would.
//!
//! `cargo bench --bench forward [-- --quick | --rounds N]`

use std::process::Command;

use anyhow::{Result, ensure};
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use peers::arguments::Arguments;
use peers::consume::Order;
use peers::daemon::Daemon;
use peers::load::{Load, channel};
use peers::report::{Goal, Report, table};
use peers::roles;
use peers::rounds::{Contender, play};
use peers::stage::{Run, Stage};

/// From where and where to.
const FROM: &str = "waiting";
const TO: &str = "waiting.admitted";
/// Slots of the daemon, and messages that may be out with the others.
const WINDOW: u16 = 1_000;

/// The program that was built with this benchmark.
const PROGRAM: &str = env!("CARGO_BIN_EXE_sluicegate");

fn main() -> Result<()> {
    roles::play_or(measure)
}

fn measure(arguments: Arguments) -> Result<()> {
    let stage = Stage::start(&["rabbitmq_shovel"])?;
    let mut report = Report::new("forward", arguments);
    for (kind, persistent, goal) in [("transient", false, 1.1), ("persistent", true, 1.25)] {
        let load = Load {
            persistent,
            ..Load::plain(FROM, arguments.of(60_000, 1_000))
        };
        let mut contenders = [
            Contender::new("Sluicegate, queue to queue", || ours(&stage, &load)),
            Contender::new("RabbitMQ's shovel, on-confirm", || shovel(&stage, &load)),
            Contender::new("lapin: take, publish, ack", || bare(&stage, &load)),
        ];
        play(&stage, &mut contenders, arguments.rounds);
        table(&format!("From queue to queue, {kind}"), &contenders);
        let [ours, shovel, bare] = &contenders;
        let what = format!("queue to queue, {kind}, messages/s");
        report.ratio(&what, (ours, shovel), Goal::AtLeast(goal), Run::rate);
        report.ratio_without_goal(&what, (ours, bare), Run::rate);
        let what = format!("queue to queue, {kind}, CPU of all and the broker");
        report.ratio(&what, (ours, shovel), Goal::AtMost(0.9), Run::all_per_100k);
        report.ratio_without_goal(&what, (ours, bare), Run::all_per_100k);
    }
    report.conclude()
}

fn ours(stage: &Stage, load: &Load) -> Result<Run> {
    make_the_other_queue(stage, true)?;
    let files = Daemon {
        url: &stage.url(),
        queue: FROM,
        target: &format!("{{ queue = \"{TO}\" }}"),
        slots: u32::from(WINDOW),
        settings: "",
        valves: &[],
    }
    .write()?;
    stage.drain_into(
        load,
        Some(files.program(PROGRAM)),
        sink(stage, load),
        || Ok(()),
    )
}

/// The broker moves them itself, so all of its work is counted as the broker's.
fn shovel(stage: &Stage, load: &Load) -> Result<Run> {
    make_the_other_queue(stage, false)?;
    let (url, vhost) = (stage.url(), stage.vhost());
    let start = || {
        let said = stage.eval(&format!(
            "rabbit_runtime_parameters:set(<<\"{vhost}\">>, <<\"shovel\">>, <<\"bench\">>, [\
             {{<<\"src-protocol\">>, <<\"amqp091\">>}}, {{<<\"src-uri\">>, <<\"{url}\">>}}, {{<<\"src-queue\">>, <<\"{FROM}\">>}}, \
             {{<<\"src-prefetch-count\">>, {WINDOW}}}, {{<<\"dest-protocol\">>, <<\"amqp091\">>}}, {{<<\"dest-uri\">>, <<\"{url}\">>}}, \
             {{<<\"dest-queue\">>, <<\"{TO}\">>}}, {{<<\"ack-mode\">>, <<\"on-confirm\">>}}], <<\"bench\">>)."
        ));
        ensure!(said == "ok", "the broker refuses the shovel: {said}");
        Ok(())
    };
    let run = stage.drain_into(load, None, sink(stage, load), start);
    let _ = stage.eval(&format!(
        "rabbit_runtime_parameters:clear(<<\"{vhost}\">>, <<\"shovel\">>, <<\"bench\">>, <<\"bench\">>)."
    ));
    run
}

fn bare(stage: &Stage, load: &Load) -> Result<Run> {
    make_the_other_queue(stage, false)?;
    let mut command = roles::command("lapin-republish", &order(stage, FROM, load.count));
    command.args([TO, "queue"]);
    stage.drain_into(load, Some(command), sink(stage, load), || Ok(()))
}

/// Bounded as the daemon declares it, for whoever empties it must be there before the daemon; the others know no bound.
fn make_the_other_queue(stage: &Stage, bounded: bool) -> Result<()> {
    let url = stage.url();
    stage.wait(async {
        let (connection, channel) = channel(&url).await?;
        let mut arguments = FieldTable::default();
        if bounded {
            arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(WINDOW.into()));
            let refuse = AMQPValue::LongString("reject-publish".into());
            arguments.insert("x-overflow".into(), refuse);
        }
        let durable = QueueDeclareOptions::durable();
        channel.queue_declare(TO.into(), durable, arguments).await?;
        connection.close(200, "made".into()).await?;
        Ok(())
    })
}

fn sink(stage: &Stage, load: &Load) -> Command {
    roles::command("sink", &order(stage, TO, load.count))
}

fn order(stage: &Stage, queue: &str, count: u64) -> Order {
    Order {
        url: stage.url(),
        queue: queue.to_owned(),
        count,
        prefetch: WINDOW,
    }
}
