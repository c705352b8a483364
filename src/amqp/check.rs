//! `sluicegate check --connect`: is all that the daemon needs of the broker there, and do the messages carry what the valves ask?
//!
//! Leaves nothing behind: what is declared to try a permission has a name of its own and is deleted, what is published has no
//! queue to go to, and the sampled messages go back to their place. A quorum queue counts that as a delivery, and a sampled
//! message is marked as redelivered. May import `config`, `rules`, `topology`
//! and `clock`.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::time::timeout;

use super::admitted;
use super::connection::{Connector, Link, Lost};
use super::declare::{arguments, declare};
use super::headers::short;
use super::probe::depth;
use super::tap::raw;
use crate::clock::Clock;
use crate::config::{Queue, Settings, reads_celery};
use crate::rules::context::{Context, Slot};
use crate::rules::facts::{Facts, Reading};
use crate::rules::finding::{Finding, Report, Weight};
use crate::rules::message::Raw;
use crate::rules::units::Span;
use crate::seams::Place;
use crate::topology::{CURE, places};

/// Messages looked at in each queue.
const SAMPLE: u16 = 100;
/// How long to wait for the next message of a sample.
const NEXT: Duration = Duration::from_secs(1);
/// How long one question to the broker may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Findings about one queue.
pub(super) struct Notes<'r> {
    about: &'r str,
    report: &'r mut Report,
}

impl Notes<'_> {
    pub(super) fn note(&mut self, weight: Weight, text: String) {
        let about = self.about.to_owned();
        self.report.findings.push(Finding {
            weight,
            about,
            text,
        });
    }

    pub(super) fn answer(&mut self, fine: &str, said: Result<(), Lost>, cure: &str) {
        match said {
            Ok(()) => self.note(Weight::Fine, fine.to_owned()),
            Err(lost) => self.note(Weight::Problem, format!("{lost}; {cure}")),
        }
    }
}

/// Asks the broker about each queue of the file. Takes some seconds, and at most about a minute for each queue.
pub async fn check(settings: &Settings, clock: &Clock) -> Report {
    let mut report = Report::default();
    for queue in &settings.queues {
        let mut notes = Notes {
            about: queue.name.as_str(),
            report: &mut report,
        };
        let connector = Connector::new(&settings.amqp, Some(queue), "check");
        match connector.connect().await {
            Err(lost) => notes.note(
                Weight::Problem,
                format!("no connection to the broker: {lost}"),
            ),
            Ok(link) => {
                let version = connector.version().await;
                let version =
                    version.map_or_else(String::new, |version| format!(" (version {version})"));
                notes.note(Weight::Fine, format!("the broker is reached{version}"));
                check_queue(&link, queue, clock, &mut notes).await;
                link.close().await;
            }
        }
    }
    report
}

async fn check_queue(link: &Link, queue: &Queue, clock: &Clock, notes: &mut Notes<'_>) {
    let name = &queue.broker_name;
    let ready = ask(link, async |channel| depth(channel, name).await).await;
    let there = ready.is_ok();
    match ready {
        Ok(ready) => notes.note(
            Weight::Fine,
            format!("the queue is there, {ready} messages are ready"),
        ),
        Err(lost) => notes.note(
            Weight::Problem,
            format!("{lost}; create the queue, Sluicegate never declares yours"),
        ),
    }
    let published = ask(link, publish_nowhere).await;
    notes.answer(
        "publishing is permitted",
        published,
        "grant write on `amq.default`: parking, dead-lettering and deferring need it",
    );
    check_places(link, queue, notes).await;
    if there {
        let sample = ask(link, async |channel| sample(channel, name).await).await;
        match sample {
            Ok(sample) => report_sample(&sample, &queue.reading, clock.now().ms, notes),
            Err(lost) => notes.answer("", Err(lost), "grant read on the queue"),
        }
    }
}

/// Asks on a channel of its own: a refusal closes it.
pub(super) async fn ask<T>(
    link: &Link,
    question: impl AsyncFnOnce(&Channel) -> Result<T, Lost>,
) -> Result<T, Lost> {
    let asked = async {
        let channel = link.channel().await?;
        let answer = question(&channel).await;
        if channel.status().connected() {
            // What was sampled goes back with this. An error means that it is closed already.
            let _ = channel.close(200, "goodbye".into()).await;
        }
        answer
    };
    timeout(ANSWER, asked)
        .await
        .unwrap_or_else(|_| Err(Lost::Broken("the broker does not answer".to_owned())))
}

/// Publishes what nobody is bound to take: the broker returns it if we may publish, and refuses it if not.
async fn publish_nowhere(channel: &Channel) -> Result<(), Lost> {
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    let nowhere = format!("sluicegate.check.{}", std::process::id());
    let key = short("a routing key", &nowhere).map_err(|why| Lost::Broken(why.to_string()))?;
    let properties = BasicProperties::default();
    let sent = channel.basic_publish("".into(), key, options, b"", properties);
    match sent.await?.await? {
        Confirmation::Ack(Some(_)) => Ok(()),
        other => Err(Lost::Broken(format!(
            "a test message was not returned: {other:?}"
        ))),
    }
}

/// Whether the places for messages that leave our hands are there, or can be declared by us.
async fn check_places(link: &Link, queue: &Queue, notes: &mut Notes<'_>) {
    let name = &queue.broker_name;
    admitted::check_outcomes(link, queue, notes).await;
    if !queue.declare {
        return look_for_places(link, queue, notes).await;
    }
    if let Some(theirs) = &queue.dead_letter_queue {
        let there = ask(link, async |channel| depth(channel, theirs).await).await;
        notes.answer(
            &format!("the dead-letter queue {theirs} is there"),
            there.map(|_| ()),
            "create it, or leave `dead_letter` out to have a stream of our own",
        );
    }
    admitted::check(link, queue, notes).await;
    let delay = Place::Delay(Span::from_secs(5));
    let mut kinds = vec![("delay", delay), ("park", Place::Park)];
    if queue.dead_letter_queue.is_none() {
        kinds.push(("dead", Place::Dead));
    }
    for (kind, place) in kinds {
        let trial = format!("sluicegate.{kind}.{name}.check");
        let declared = ask(link, async |channel| {
            declare(channel, &trial, arguments(queue, place)).await?;
            let name = short("the name of a queue", &trial);
            let name = name.map_err(|why| Lost::Broken(why.to_string()))?;
            channel
                .queue_delete(name, QueueDeleteOptions::default())
                .await?;
            Ok(())
        });
        notes.answer(
            &format!("sluicegate.{kind}.{name}.… can be declared"),
            declared.await,
            "`sluicegate topology` prints the permissions that this needs; or make the queues yourself as it prints them, and set `declare = false`; a broker without streams needs `as = \"queue\"` in [queue.park]",
        );
    }
}

/// Whether the places that somebody else was to make are there; of what kind they are AMQP cannot tell.
async fn look_for_places(link: &Link, queue: &Queue, notes: &mut Notes<'_>) {
    for place in places::places(queue) {
        let name = places::name(queue, place, 0);
        let there = ask(link, async |channel| depth(channel, &name).await).await;
        let cure = if places::ours(queue, place) {
            CURE
        } else {
            "create it, or leave `dead_letter` out to have one of our own"
        };
        notes.answer(&format!("{name} is there"), there.map(drop), cure);
    }
}

/// Up to a hundred messages. They are not acknowledged: they go back when the channel closes.
async fn sample(channel: &Channel, queue: &str) -> Result<Vec<Raw>, Lost> {
    let name =
        short("the name of the queue", queue).map_err(|why| Lost::Broken(why.to_string()))?;
    channel
        .basic_qos(SAMPLE, BasicQosOptions::default())
        .await?;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel
        .basic_consume(name, "".into(), options, FieldTable::default())
        .await?;
    let mut found = Vec::new();
    while found.len() < usize::from(SAMPLE) {
        match timeout(NEXT, consumer.next()).await {
            Ok(Some(delivery)) => found.push(raw(delivery?)),
            Ok(None) | Err(_) => break,
        }
    }
    channel
        .basic_cancel(consumer.tag(), BasicCancelOptions::default())
        .await?;
    Ok(found)
}

fn report_sample(sample: &[Raw], reading: &Reading, now_ms: i64, notes: &mut Notes<'_>) {
    if sample.is_empty() {
        let text = "there is no message to look at; run this again when there are some";
        return notes.note(Weight::Warning, text.to_owned());
    }
    for (weight, text) in findings(sample, reading, now_ms) {
        notes.note(weight, text);
    }
}

/// What a sample says of age, id, key, times and attributes.
fn findings(sample: &[Raw], reading: &Reading, now_ms: i64) -> Vec<(Weight, String)> {
    let of = sample.len();
    let celery = reads_celery(reading);
    let asks = reading.asks();
    let read: Vec<Facts> = sample
        .iter()
        .filter_map(|raw| Some(reading.read(raw, &asks).ok()?.with_possible_times(now_ms)))
        .collect();
    let count = |carries: &dyn Fn(&Facts) -> bool| read.iter().filter(|f| carries(f)).count();
    let mut found = vec![
        finding(
            read.len(),
            of,
            "can be read",
            "the others are dead-lettered as malformed; raise `max_body_bytes`, or do not read attributes from bodies that are not JSON",
        ),
        finding(
            count(&|facts| facts.age_ms(now_ms).or(facts.not_before_ms).is_some()),
            of,
            "carry an age",
            if celery {
                "max_age cannot work without it, and Celery writes none; set the header `timestamp_in_ms` by the signal `before_task_publish`, as in examples/celery/app.py"
            } else {
                "max_age cannot work without it; have the publisher set the property `timestamp` or the header `timestamp_in_ms`, or say where the time is with `age = …`"
            },
        ),
        finding(
            count(&|facts| !facts.id_from_body),
            of,
            "carry an id",
            "without it a hash of the body serves, and equal bodies draw the same lot; have the publisher set `message_id`, or say where it is with `id = …`",
        ),
    ];
    for (slot, name) in (0..).map(Slot).zip(reading.attributes.keys()) {
        let is_key = reading.key.as_deref() == Some(name.as_ref());
        found.push(finding(
            count(&|facts| facts.attribute(slot).is_some()),
            of,
            &format!("carry the attribute `{name}`"),
            if celery && name.as_ref() == "type" {
                "the others are no messages of Celery's protocol 2, and are handled as any message"
            } else if is_key {
                "without it they count as one key named `unknown` for rate_each and concurrency_each; mend its place in [queue.attributes]"
            } else {
                "rules that ask for it do not hold without it; mend its place in [queue.attributes]"
            },
        ));
    }
    found.extend(times(&read, reading, now_ms));
    let counted = |raw: &&Raw| raw.header("x-delivery-count").is_some();
    if sample.iter().any(|raw| counted(&raw)) {
        found.push((Weight::Warning, "it is a quorum queue that counts deliveries: give it a dead-letter exchange, or messages over its delivery limit vanish".to_owned()));
    }
    found
}

/// How many carry a deadline or a time not to begin before, where a setting names one; many messages need neither.
fn times(read: &[Facts], reading: &Reading, now_ms: i64) -> Vec<(Weight, String)> {
    let (count, of) = (
        |wanted: &dyn Fn(&Facts) -> bool| read.iter().filter(|facts| wanted(facts)).count(),
        read.len(),
    );
    let mut found = Vec::new();
    if let Some(place) = &reading.deadline {
        let with = count(&|facts| facts.deadline_ms.is_some());
        found.push((
            Weight::Fine,
            format!("{with} of {of} carry a deadline ({place})"),
        ));
    }
    if let Some(place) = &reading.not_before {
        let waiting = count(&|facts| facts.not_yet(now_ms).is_some());
        let text = format!("{waiting} of {of} are not to be done yet ({place})");
        found.push((Weight::Fine, text));
        let unread = count(&|facts| facts.not_before_unread);
        if unread > 0 {
            let text = format!(
                "{unread} of {of} carry no time at {place} that can be, and are done at once; write seconds or milliseconds since 1970 or ISO 8601, at most 365 days ahead"
            );
            found.push((Weight::Warning, text));
        }
    }
    found
}

fn finding(count: usize, of: usize, what: &str, cure: &str) -> (Weight, String) {
    let text = format!("{count} of {of} {what}");
    if count == of {
        (Weight::Fine, text)
    } else {
        (Weight::Warning, format!("{text}: {cure}"))
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::message::{Field, Properties};

    use super::*;

    const NOW_MS: i64 = 1_795_219_200_000;

    fn message(id: Option<&str>, timestamp: Option<u64>, account: Option<&str>) -> Raw {
        let account = account.map(|account| {
            let account = Field::LongString(account.into());
            ("x-account".to_owned(), account)
        });
        Raw {
            properties: Properties {
                message_id: id.map(str::to_owned),
                timestamp,
                ..Properties::default()
            },
            headers: account.into_iter().collect(),
            ..Raw::default()
        }
    }

    fn check(what: &str, sample: &[Raw], says: &[&str]) {
        let reading = Reading {
            attributes: [("account".into(), "header:x-account".parse().unwrap())].into(),
            key: Some("account".to_owned()),
            max_body: 1_000,
            ..Reading::default()
        };
        let found = findings(sample, &reading, NOW_MS);
        for says in says {
            let said = found.iter().any(|(_, text)| text.starts_with(says));
            assert!(said, "{what}: {says:?} is missing in {found:#?}");
        }
        assert_eq!(found.len(), says.len(), "{what}: {found:#?}");
    }

    #[test]
    fn a_sample_says_which_valves_cannot_work_and_what_to_do() {
        check(
            "messages with all they need",
            &[message(Some("a"), Some(1_795_219_100), Some("acme"))],
            &[
                "1 of 1 can be read",
                "1 of 1 carry an age",
                "1 of 1 carry an id",
                "1 of 1 carry the attribute `account`",
            ],
        );
        check(
            "messages with nothing",
            &[message(None, None, None), message(None, Some(1), None)],
            &[
                "2 of 2 can be read",
                "0 of 2 carry an age: max_age cannot work",
                "0 of 2 carry an id: without it a hash of the body serves",
                "0 of 2 carry the attribute `account`: without it they count as one key named `unknown`",
            ],
        );
        let mut counted = message(Some("a"), Some(1_795_219_100), Some("acme"));
        let header = ("x-delivery-count".to_owned(), Field::LongLongInt(1));
        counted.headers.push(header);
        check(
            "a quorum queue",
            &[counted],
            &[
                "1 of 1 can",
                "1 of 1 carry an age",
                "1 of 1 carry an id",
                "1 of 1 carry the",
                "it is a quorum queue",
            ],
        );
    }

    #[test]
    fn a_sample_of_celery_is_told_in_its_words() {
        let place = |text: &str| Some(text.parse().unwrap());
        let reading = Reading {
            id: place("header:id"),
            deadline: place("header:expires"),
            not_before: place("header:eta"),
            attributes: place("header:task")
                .map(|task| ("type".into(), task))
                .into_iter()
                .collect(),
            max_body: 1_000,
            ..Reading::default()
        };
        let celery = |eta: Field| {
            let text = |text: &str| Field::LongString(text.into());
            let headers = [
                ("id", text("a")),
                ("task", text("app.small")),
                ("expires", text("2026-11-21T00:05:00+00:00")),
                ("eta", eta),
            ];
            Raw {
                headers: headers.map(|(name, field)| (name.to_owned(), field)).into(),
                ..Raw::default()
            }
        };
        let sample = [
            celery(Field::Void),
            celery(Field::LongString("2026-11-21T00:01:00+00:00".into())),
            celery(Field::LongString("never".into())),
        ];
        let found = findings(&sample, &reading, NOW_MS);
        for says in [
            "1 of 3 carry an age: max_age cannot work without it, and Celery writes none",
            "3 of 3 carry an id",
            "3 of 3 carry the attribute `type`",
            "3 of 3 carry a deadline (header:expires)",
            "1 of 3 are not to be done yet (header:eta)",
            "1 of 3 carry no time at header:eta that can be",
        ] {
            let said = found.iter().any(|(_, text)| text.starts_with(says));
            assert!(said, "{says:?} is missing in {found:#?}");
        }
    }

    #[test]
    fn only_a_problem_fails_the_check() {
        let mut report = Report::default();
        assert!(report.passed());
        for (weight, passes) in [(Weight::Warning, true), (Weight::Problem, false)] {
            let mut notes = Notes {
                about: "orders",
                report: &mut report,
            };
            notes.note(weight, "something".to_owned());
            assert_eq!(report.passed(), passes, "{weight:?}");
        }
    }
}
