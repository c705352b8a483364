//! `sluicegate demo`: the daemon on three queues in memory, with made-up traffic of 200 accounts, workers that take their time, mail
//! providers that are fake and fail when they are told to, and an overload after twenty seconds. No broker, nothing on disk.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::house::House;
use super::story::{self, Story};
use crate::cli::DemoOptions;
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::fake::Fake;
use crate::memory::MemoryQueue;
use crate::rules::lots::{KeyHash, STEPS, Seed};
use crate::rules::message::{Field, Properties, Raw};
use crate::seams::{Job, Outcome};
use crate::targets::Handlers;

const SETTINGS: &str = include_str!("../../config/demo.toml");
const ACCOUNTS: u32 = 200;
const PUBLISH_EVERY: Duration = Duration::from_millis(10);

/// When the overload begins, how long it lasts, and how long the calm after it, before the next one.
pub(super) const CALM: Duration = Duration::from_secs(20);
const OVERLOAD: Duration = Duration::from_secs(240);
const CALM_AFTER: Duration = Duration::from_secs(60);

/// Whether `orders` gets more than its workers can do, `at` this time since the start.
pub(super) fn is_overloaded(at: Duration) -> bool {
    let Some(after_calm) = at.checked_sub(CALM) else {
        return false;
    };
    after_calm.as_millis() % (OVERLOAD + CALM_AFTER).as_millis() < OVERLOAD.as_millis()
}

/// What a queue of the demo gets and how long its worker takes for a job.
struct Profile {
    /// What stands in its messages.
    body: fn(u64) -> String,
    per_second: f64,
    overloaded_per_second: f64,
    service: Duration,
}

fn profile(queue: &str) -> Profile {
    let (per_second, overloaded_per_second, service_ms) = match queue {
        "orders" => (120.0, 600.0, 40),
        "mail" => (30.0, 30.0, 60),
        _ => (4.0, 4.0, 300),
    };
    Profile {
        body: if queue == "mail" {
            mail
        } else {
            |_| String::new()
        },
        per_second,
        overloaded_per_second,
        service: Duration::from_millis(service_ms),
    }
}

/// What became of the jobs of `orders`.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) on_time: AtomicU64,
    pub(super) late: AtomicU64,
}

/// Runs the demo until Ctrl-C, or for as long as the options say.
///
/// # Errors
/// When its address is taken.
pub fn demo(options: DemoOptions) -> anyhow::Result<ExitCode> {
    let key = ("DEMO_KEY".to_owned(), "of the demo".to_owned());
    let mut settings = config::read_text("config/demo.toml", SETTINGS, &BTreeMap::from([key]))?;
    settings.daemon.listen = options.listen;
    let _log = super::logging::start("warn")?;
    let runtime = super::control_runtime()?;
    let ended = runtime.block_on(async {
        let (clock, stop, done) = (Clock::system(), CancellationToken::new(), Arc::new(Done::default()));
        let handlers = Handlers::default().with("demo", worker(clock, Arc::clone(&done)));
        let providers = fake_providers(&mut settings).await?;
        let at = providers.first().and_then(|listener| listener.local_addr().ok()).context("config/demo.toml has no provider")?;
        let (mut house, queues) = House::in_memory(settings, handlers, clock).await?;
        let profiles = house.settings().queues.iter().map(|queue| profile(queue.name.as_str()));
        let feeds: Vec<Feed> = profiles.zip(&queues).map(|(profile, queue)| Feed { profile, queue: queue.clone(), owed: 0.0, sent: 0 }).collect();
        for listener in providers {
            let fake = Arc::new(Fake::new(profile("mail").service, None));
            house.also("fake provider", move |stop| fake.serve(listener, stop.cancelled_owned()));
        }
        house.also("traffic", move |stop| traffic(feeds, clock, stop));
        if !options.quiet {
            let orders = queues.first().cloned().context("config/demo.toml has no queue")?;
            let story = Story { doors: Arc::clone(house.doors()), address: house.address()?, provider: at, orders, done, clock };
            house.also("story", move |stop| story::tell(story, stop));
        }
        let running = house.run(stop.clone());
        tokio::select! {
            ended = running => Ok::<_, anyhow::Error>(ended),
            () = super::twice_asked_to_stop(stop.clone()) => anyhow::bail!("stopped at once, as asked twice"),
            () = end_after(options.seconds, stop) => unreachable_end(),
        }
    })?;
    if !options.quiet {
        story::farewell(&ended);
    }
    Ok(super::report(&ended))
}

/// Places on this machine where the fake providers listen; the settings are told where that is.
async fn fake_providers(settings: &mut Settings) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for provider in &mut settings.providers {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        provider.url = format!("http://{}", listener.local_addr()?);
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Asks for a stop after so many seconds, then waits for it to be carried out.
async fn end_after(seconds: Option<u64>, stop: CancellationToken) {
    if let Some(seconds) = seconds {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        stop.cancel();
    }
    std::future::pending().await
}

fn unreachable_end() -> anyhow::Result<super::Ended> {
    anyhow::bail!("the demo ended in an unexpected way")
}

/// A worker that takes its time, and notes whether the job was still of use.
fn worker(
    clock: Clock,
    done: Arc<Done>,
) -> impl Fn(Job) -> futures_util::future::BoxFuture<'static, Outcome> + Send + Sync {
    move |job| {
        let done = Arc::clone(&done);
        Box::pin(async move {
            tokio::time::sleep(profile(job.queue.as_str()).service).await;
            if job.queue.as_str() == "orders" {
                let late = job
                    .deadline_ms
                    .is_some_and(|deadline| clock.now().ms > deadline);
                let count = if late { &done.late } else { &done.on_time };
                count.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Done
        })
    }
}

/// The traffic of one queue.
struct Feed {
    profile: Profile,
    queue: MemoryQueue,
    /// Messages that are due, with the part of the next one.
    owed: f64,
    sent: u64,
}

async fn traffic(mut feeds: Vec<Feed>, clock: Clock, stop: CancellationToken) {
    let mut before = clock.now().mono;
    while tokio::time::timeout(PUBLISH_EVERY, stop.cancelled())
        .await
        .is_err()
    {
        let now = clock.now();
        for feed in &mut feeds {
            let rate = if is_overloaded(now.mono) {
                feed.profile.overloaded_per_second
            } else {
                feed.profile.per_second
            };
            feed.owed += rate * now.mono.saturating_sub(before).as_secs_f64();
            while feed.owed >= 1.0 {
                feed.owed -= 1.0;
                feed.sent += 1;
                let body = (feed.profile.body)(feed.sent);
                feed.queue.publish(Raw {
                    body: body.into(),
                    ..message(feed.sent, now.ms)
                });
            }
        }
        before = now.mono;
    }
}

/// A made-up mail, as services write it.
fn mail(number: u64) -> String {
    serde_json::json!({
        "from": "Shop <no-reply@shop.example>",
        "to": [format!("customer-{number}@example.org")],
        "subject": format!("Your order {number} is on its way"),
        "text": "It will be there tomorrow.",
    })
    .to_string()
}

/// Made-up message number `number`: an account out of 200, some of which send far more than others.
fn message(number: u64, at_ms: i64) -> Raw {
    let draw = f64::from(KeyHash(number).bucket(Seed::of("account"))) / f64::from(STEPS);
    let account = (draw.powi(3) * f64::from(ACCOUNTS)) as u32;
    let text = |text: String| Field::LongString(text.into_bytes());
    Raw {
        properties: Properties {
            message_id: Some(format!("job-{number}")),
            ..Properties::default()
        },
        headers: vec![
            (
                "x-account".to_owned(),
                text(format!("account-{account:03}")),
            ),
            ("timestamp_in_ms".to_owned(), Field::LongLongInt(at_ms)),
        ],
        ..Raw::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overload_comes_after_the_calm_and_comes_again() {
        for (secs, overloaded) in [
            (0, false),
            (19, false),
            (20, true),
            (259, true),
            (260, false),
            (319, false),
            (320, true),
        ] {
            assert_eq!(
                is_overloaded(Duration::from_secs(secs)),
                overloaded,
                "{secs} s"
            );
        }
    }

    #[test]
    fn there_are_200_accounts_and_some_send_more() {
        let mut by_account: BTreeMap<String, u32> = BTreeMap::new();
        for number in 0..100_000 {
            *by_account
                .entry(
                    message(number, 0).headers[0]
                        .1
                        .as_text()
                        .unwrap()
                        .into_owned(),
                )
                .or_default() += 1;
        }
        assert_eq!(by_account.len(), 200);
        assert!(by_account["account-000"] > 20 * by_account["account-150"]);
    }
}
