//! Publishes jobs that are worth something only for a while: each carries when it was published, when it is useless, and whose
//! it is. How many come each second is a flag of the daemon, so that a rush can be turned on and off while you watch.
//!
//! `cargo run --example task_queuer -- --rate 600 --deadline 3s`
#![expect(clippy::print_stdout, reason = "an example talks to people")]

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use serde::Serialize;
use serde_json::Value;
use sluicegate::clock::Clock;
use sluicegate::rules::units::{Rate, Span};
use tokio::time::interval;

mod follow;

/// The flag that says how many jobs come each second: a rate (`"600/s"`) or a number.
const FLAG: &str = "demo.task_queuer.rate";
const ACCOUNTS: f64 = 200.0;
/// Above this many unconfirmed jobs the broker is waited for.
const MOST_UNCONFIRMED: usize = 5_000;

/// Publishes time-sensitive jobs to a RabbitMQ queue.
#[derive(Parser)]
struct Args {
    /// The broker.
    #[arg(long, default_value = "amqp://guest:guest@127.0.0.1:5672/%2f")]
    amqp: String,
    /// The queue; made when it is not there.
    #[arg(long, default_value = "tasks")]
    queue: String,
    /// The daemon, which is asked each second for the flag demo.task_queuer.rate.
    #[arg(long, default_value = "http://127.0.0.1:7070")]
    url: String,
    /// Jobs each second, until the daemon says otherwise.
    #[arg(long, default_value_t = 600.0)]
    rate: f64,
    /// How long a job is worth something.
    #[arg(long, default_value = "3s")]
    deadline: Span,
    /// End after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
}

/// What became of the jobs.
#[derive(Default, Serialize)]
struct Count {
    published: u64,
    confirmed: u64,
    refused: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let connection = Connection::connect(&args.amqp, ConnectionProperties::default())
        .await
        .context("the broker cannot be reached; start it, or name another by --amqp")?;
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let durable = QueueDeclareOptions::durable();
    channel
        .queue_declare(args.queue.as_str().into(), durable, FieldTable::default())
        .await
        .context("the queue is there, and is not a durable classic one; name another by --queue")?;

    let rate = Cell::new(args.rate);
    let turned = |value: &Value| rate.set(per_second(value).unwrap_or(rate.get()));
    let time_is_up = tokio::time::sleep(Duration::from_secs(args.seconds.unwrap_or(u64::MAX >> 2)));
    let mut count = Count::default();
    tokio::select! {
        ended = publish(&channel, &args, &rate, &mut count) => ended?,
        () = follow::follow(&args.url, FLAG, turned) => {}
        () = time_is_up => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    println!("{}", serde_json::to_string(&count)?);
    Ok(())
}

fn per_second(value: &Value) -> Option<f64> {
    let rate = || value.as_str()?.parse::<Rate>().ok();
    value.as_f64().or_else(|| Some(rate()?.per_second()))
}

/// Publishes at `rate`, in small steps, and counts what the broker confirms. Ends only when the broker is gone.
async fn publish(
    channel: &Channel,
    args: &Args,
    rate: &Cell<f64>,
    count: &mut Count,
) -> Result<()> {
    let clock = Clock::system();
    let mut step = interval(Duration::from_millis(5));
    let mut second = interval(Duration::from_secs(1));
    let mut confirms = FuturesUnordered::new();
    let (mut owed, mut last) = (0.0, clock.now().mono);
    loop {
        tokio::select! {
            _ = step.tick() => {
                let now = clock.now();
                owed += rate.get() * (now.mono - last).as_secs_f64();
                last = now.mono;
                while owed >= 1.0 && confirms.len() < MOST_UNCONFIRMED {
                    owed -= 1.0;
                    let job = job(count.published + 1, now.ms, args.deadline);
                    let to_queue = args.queue.as_str().into();
                    // Mandatory, so that a job that no queue takes comes back instead of being lost.
                    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
                    confirms.push(channel.basic_publish("".into(), to_queue, options, b"{}", job).await?);
                    count.published += 1;
                }
                owed = owed.min(rate.get()); // what could not be published in time is not made up for
            }
            Some(confirm) = confirms.next() => match confirm? {
                Confirmation::Ack(None) => count.confirmed += 1,
                _ => count.refused += 1,
            },
            _ = second.tick() => {
                let Count { published, confirmed, refused } = count;
                println!("{:.0}/s; in all {published} published, {confirmed} confirmed, {refused} refused", rate.get());
            }
        }
    }
}

fn job(number: u64, now_ms: i64, deadline: Span) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("x-published-at".into(), AMQPValue::LongLongInt(now_ms));
    let useless_at = now_ms + deadline.as_millis();
    headers.insert("x-deadline".into(), AMQPValue::LongLongInt(useless_at));
    headers.insert(
        "x-account".into(),
        AMQPValue::LongString(account(number).into()),
    );
    BasicProperties::default()
        .with_message_id(format!("{now_ms}-{number}").into())
        .with_type("task".into())
        .with_content_type("application/json".into())
        .with_delivery_mode(2)
        .with_headers(headers)
}

/// A few accounts bring most of the jobs, as everywhere: the first of 200 alone brings one in six.
fn account(number: u64) -> String {
    let draw = number as f64 * 0.618_033_988_749_895; // the golden ratio spreads evenly
    format!("account-{:03.0}", (draw.fract().powi(3) * ACCOUNTS).floor())
}
