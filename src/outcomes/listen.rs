//! Reports that come by a queue: taken, counted, acknowledged, whatever is in them; what cannot be read is counted as such.

use tokio_util::sync::CancellationToken;

use super::{Books, Said, count, read};
use crate::clock::Clock;
use crate::metrics::NotCounted;
use crate::rules::verdict::Why;
use crate::seams::{Arrival, Inlet, LinkState, Settle, Wanted};

/// Messages with reports that may be out at once; each is done with at once.
const PREFETCH: u16 = 100;
/// Arrivals after which the other tasks of the thread get their turn.
const ROUND: u32 = 64;

/// Listens until `stop`. `own` is the queue that the reports belong to; `find` knows the books of any queue by name, since a report
/// may be of another.
pub async fn listen<'q>(
    mut inlet: impl Inlet,
    own: &str,
    find: impl Fn(&str) -> Option<Books<'q>>,
    clock: Clock,
    stop: CancellationToken,
) {
    inlet.want(Wanted::Consume { prefetch: PREFETCH });
    let mut said = None;
    let mut in_a_row = 0;
    while let Some(arrival) = stop.run_until_cancelled(inlet.next()).await {
        match arrival {
            Arrival::Message(delivery) => {
                take(&delivery.raw.body, own, &find, clock);
                inlet.settle(delivery.receipt, Settle::Ack, Why::Done);
            }
            Arrival::Link(link) if said.as_ref() != Some(&link) => {
                tell(own, &link);
                said = Some(link);
            }
            _ => {}
        }
        in_a_row = (in_a_row + 1) % ROUND;
        if in_a_row == 0 {
            tokio::task::yield_now().await;
        }
    }
    // What it could not settle any more is redelivered, and then counts as repeated.
    let _ = inlet.close().await;
}

fn take<'q>(body: &[u8], own: &str, find: impl Fn(&str) -> Option<Books<'q>>, clock: Clock) {
    let malformed = |why: &str| {
        if let Some(books) = find(own) {
            books.metrics.not_counted(NotCounted::Malformed);
        }
        tracing::debug!(queue = own, why, "a report of an outcome cannot be read");
    };
    match read(body) {
        Ok(reports) => {
            for report in reports {
                let Some(Said::Handed(queue, reported)) = report.said() else {
                    malformed("what providers tell comes by POST /api/v1/outcomes");
                    continue;
                };
                match find(queue) {
                    Some(books) => drop(count(&report, reported, books, clock.now())),
                    None => malformed("it names a queue that is not in hand"),
                }
            }
        }
        Err(why) => malformed(&why.to_string()),
    }
}

fn tell(own: &str, link: &LinkState) {
    match link {
        LinkState::Consuming | LinkState::Idle => {
            tracing::info!(queue = own, "listening for outcomes");
        }
        LinkState::QueueMissing => {
            tracing::warn!(
                queue = own,
                "the queue of outcomes does not exist; create it, or leave `outcomes` out"
            );
        }
        other => {
            tracing::info!(
                queue = own,
                state = other.word(),
                detail = other.detail(),
                "not listening for outcomes"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::LocalSet;

    use super::*;
    use crate::memory::MemoryQueue;
    use crate::metrics::Metrics;
    use crate::rules::handed::Work;
    use crate::rules::lots::KeyHash;
    use crate::rules::message::Raw;
    use crate::vitals::QueueVitals;

    #[tokio::test(start_paused = true)]
    async fn whatever_comes_is_settled_and_what_can_be_read_counts() {
        let clock = Clock::made_up(1_795_262_400_000);
        let queue = MemoryQueue::new(clock);
        let metrics = Metrics::new(&["orders".parse().unwrap()]).unwrap();
        let vitals = QueueVitals::default();
        for id in ["1", "2", "3"] {
            let work = Work {
                at: clock.now().mono,
                deadline_ms: None,
                key: None,
            };
            vitals.handing_over(KeyHash::of(id.as_bytes()), work);
        }
        for body in [
            r#"{"queue":"orders","id":"1","outcome":"done"}"#,
            r#"[{"queue":"orders","id":"2","outcome":"done"},{"queue":"orders","id":"3","outcome":"failed"}]"#,
            "not JSON",
            r#"{"queue":"elsewhere","id":"1","outcome":"done"}"#,
        ] {
            queue.publish(Raw {
                body: body.into(),
                ..Raw::default()
            });
        }
        let stop = CancellationToken::new();
        let numbers = metrics.queue("orders").unwrap();
        let find = |name: &str| {
            (name == "orders").then_some(Books {
                vitals: &vitals,
                metrics: numbers,
            })
        };
        let (inlet, _) = queue.open();
        let listening = listen(inlet, "orders", find, clock, stop.clone());
        let ended = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            stop.cancel();
        };
        LocalSet::new()
            .run_until(async { tokio::join!(listening, ended) })
            .await;
        assert_eq!(queue.ready(), 0, "nothing comes back");
        let page = metrics.encode().unwrap();
        for series in [
            "outcomes_reported_total{outcome=\"done\",queue=\"orders\"} 2",
            "outcomes_reported_total{outcome=\"failed\",queue=\"orders\"} 1",
            "outcomes_not_counted_total{queue=\"orders\",reason=\"malformed\"} 2",
        ] {
            assert!(page.contains(&format!("sluicegate_{series}")), "{series}");
        }
    }
}
