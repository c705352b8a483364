//! The admitted queue as a target: a message is published to it as its publisher wrote it, with confirm, and only then
//! acknowledged at its source. Existing workers read the queue and need not know of us. May import `seams` and `rules`.
//!
//! Properties and headers are carried byte for byte, except what the broker would act upon when it is published again (the
//! headers `CC` and `BCC`; `user_id` is left out by the outlet unless it is ours) and except `x-sluicegate-*`, which nobody but us
//! may set. Those tell what HTTP workers are told: queue, id, attempt, deadline, degrade, account and the flags of `pass`.

use std::future::Future;
use std::pin::Pin;

use crate::clock::Clock;
use crate::rules::envelope::size_of_table;
use crate::rules::message::Field;
use crate::rules::settlement::OnUnknown;
use crate::seams::{Answer, Job, NotPlaced, Outcome, Outgoing, Outlet, Place, Target};

/// What all of our headers begin with.
const OURS: &str = "x-sluicegate-";
/// All headers together stay below this: a header frame larger than the frame-max (128 KiB) would close the connection.
const MOST_HEADER_BYTES: usize = 120 * 1_024;
/// The longest name of a header in AMQP.
const LONGEST_NAME: usize = 255;

/// Publishes what it is handed to the admitted queue.
pub(super) struct AdmittedQueue<O> {
    outlet: O,
    on_unknown: OnUnknown,
    clock: Clock,
}

impl<O: Outlet> AdmittedQueue<O> {
    /// A target behind this outlet, which knows the queue as [`Place::Admitted`].
    pub(super) fn new(outlet: O, on_unknown: OnUnknown, clock: Clock) -> Self {
        Self {
            outlet,
            on_unknown,
            clock,
        }
    }
}

impl<O: Outlet> Target for AdmittedQueue<O> {
    fn hand_over(&self, job: Job) -> Pin<Box<dyn Future<Output = Answer>>> {
        let headers = headers_of(&job);
        if size_of_table(&headers) > MOST_HEADER_BYTES {
            let cause = "its headers are too large to be admitted".to_owned();
            return Box::pin(std::future::ready(Outcome::Failed(cause).into()));
        }
        let outgoing = Outgoing {
            properties: job.raw.properties.clone(),
            headers,
            body: job.raw.body.clone(),
            at_ms: self.clock.now().ms,
        };
        let placed = self.outlet.publish(Place::Admitted, outgoing);
        let on_unknown = self.on_unknown;
        Box::pin(async move { outcome_of(placed.await, on_unknown).into() })
    }
}

/// A message that may have been placed is published again as soon as that can be done, or parked, as the file says: it may then
/// be done twice, and is never lost.
fn outcome_of(placed: Result<(), NotPlaced>, on_unknown: OnUnknown) -> Outcome {
    match placed {
        Ok(()) => Outcome::HandedOver,
        Err(NotPlaced::Full(_)) => Outcome::Full,
        Err(why @ NotPlaced::Unsure(_)) if on_unknown == OnUnknown::Park => {
            Outcome::Unknown(why.to_string())
        }
        Err(why) => Outcome::Held(why.to_string()),
    }
}

/// The headers that its publisher wrote, and ours.
fn headers_of(job: &Job) -> Vec<(String, Field)> {
    let theirs = &job.raw.headers;
    let mut headers = Vec::with_capacity(theirs.len() + 8 + job.flags.len());
    headers.extend(theirs.iter().filter(|(name, _)| is_kept(name)).cloned());
    let mut add = |name: &str, value: Field| headers.push(([OURS, name].concat(), value));
    let text = |text: &str| Field::LongString(text.as_bytes().to_vec());
    add("queue", text(job.queue.as_str()));
    add("id", text(&job.id));
    add("attempt", Field::LongLongInt(job.attempt.into()));
    if let Some(deadline_ms) = job.deadline_ms {
        add("deadline", Field::LongLongInt(deadline_ms));
    }
    if let Some(mode) = &job.mode {
        add("degrade", text(mode));
    }
    if let Some(account) = &job.account {
        add("account", text(account));
    }
    for (key, value) in job.flags.iter() {
        if OURS.len() + "flag-".len() + key.len() <= LONGEST_NAME {
            add(&format!("flag-{key}"), text(value));
        }
    }
    headers
}

fn is_kept(name: &str) -> bool {
    !matches!(name, "CC" | "BCC") && !name.starts_with(OURS)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::rules::message::Raw;
    use crate::targets::request::tests::job;

    fn shown(job: &Job) -> Vec<String> {
        headers_of(job)
            .iter()
            .map(|(name, value)| format!("{name}={}", value.as_text().unwrap_or_default()))
            .collect()
    }

    #[test]
    fn a_plain_job_says_what_it_must() {
        assert_eq!(
            shown(&job("")),
            [
                "x-sluicegate-queue=orders",
                "x-sluicegate-id=17",
                "x-sluicegate-attempt=1"
            ]
        );
    }

    #[test]
    fn what_its_publisher_wrote_stays_and_what_is_forged_or_acted_upon_does_not() {
        let text = |text: &str| Field::LongString(text.into());
        let headers = vec![
            ("BCC".to_owned(), Field::Array(vec![text("copies")])),
            ("CC".to_owned(), Field::Array(vec![text("copies")])),
            ("cc".to_owned(), text("kept")),
            ("task".to_owned(), text("shop.pay")),
            ("x-death".to_owned(), text("kept")),
            ("x-sluicegate-account".to_owned(), text("forged")),
            ("x-sluicegate-degrade".to_owned(), text("forged")),
            ("x-sluicegate-publish".to_owned(), text("forged")),
        ];
        let full = Job {
            raw: Arc::new(Raw {
                headers,
                ..Raw::default()
            }),
            attempt: 3,
            deadline_ms: Some(1_795_219_230_123),
            account: Some("acme".into()),
            mode: Some("light".into()),
            flags: Arc::new([
                ("queue.orders.skip".into(), "0.5".into()),
                ("x".repeat(250).into(), "no name for a header".into()),
            ]),
            ..job("")
        };
        assert_eq!(
            shown(&full),
            [
                "cc=kept",
                "task=shop.pay",
                "x-death=kept",
                "x-sluicegate-queue=orders",
                "x-sluicegate-id=17",
                "x-sluicegate-attempt=3",
                "x-sluicegate-deadline=1795219230123",
                "x-sluicegate-degrade=light",
                "x-sluicegate-account=acme",
                "x-sluicegate-flag-queue.orders.skip=0.5",
            ]
        );
    }

    #[test]
    fn what_comes_of_a_publish() {
        use OnUnknown::{Park, Retry};
        let why = || "the cause".to_owned();
        let check = |placed, on_unknown, expected: &str| {
            assert_eq!(outcome_of(placed, on_unknown).word(), expected);
        };
        check(Ok(()), Retry, "handed_over");
        check(Err(NotPlaced::Full(why())), Park, "full");
        check(Err(NotPlaced::NotSent(why())), Park, "held");
        check(Err(NotPlaced::Refused(why())), Park, "held");
        check(Err(NotPlaced::Unsure(why())), Retry, "held");
        check(Err(NotPlaced::Unsure(why())), Park, "unknown");
    }
}
