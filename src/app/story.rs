//! The demo's story: what happens to `orders`, and what to type in another terminal to mend it.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;

use super::Ended;
use super::demo::{Done, is_overloaded};
use crate::api::Doors;
use crate::clock::Clock;
use crate::memory::MemoryQueue;
use crate::rules::names::FlagKey;
use crate::rules::snapshot::Snapshot;
use crate::rules::verdict::Why;

/// How often a line is told.
const LINE_EVERY: Duration = Duration::from_secs(4);

/// What the story looks at.
pub(super) struct Story {
    pub(super) doors: Arc<Doors>,
    pub(super) address: SocketAddr,
    /// Where the first of the mail providers listens.
    pub(super) provider: SocketAddr,
    pub(super) orders: MemoryQueue,
    pub(super) done: Arc<Done>,
    pub(super) clock: Clock,
}

/// One look at `orders`.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    on_time: u64,
    late: u64,
    received: u64,
    shed: u64,
    overloaded: bool,
}

/// Where the story is, so that each part is told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chapter {
    Calm,
    Overload,
    Failing,
    Mended,
}

/// Tells the story until `stop`.
pub(super) async fn tell(story: Story, stop: CancellationToken) {
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "sluicegate".to_owned());
    say(&greeting(story.address, story.provider));
    let (mut before, mut chapter, mut revision) = (story.look(), Chapter::Calm, 0);
    while tokio::time::timeout(LINE_EVERY, stop.cancelled())
        .await
        .is_err()
    {
        let now = story.look();
        say(&story.line(before, now));
        let snapshot = story.doors.store.snapshot();
        if snapshot.revision() != revision {
            revision = snapshot.revision();
            say(&turned(&snapshot));
        }
        let next = next_chapter(chapter, before, now);
        if next != chapter {
            chapter = next;
            say(&story.told(chapter, &program));
        }
        before = now;
    }
}

/// The last words.
pub(super) fn farewell(ended: &Ended) {
    say(if ended.cleanly() {
        "\nEvery job in hand was finished. Goodbye.\n"
    } else {
        "\nSome jobs were not finished.\n"
    });
}

fn next_chapter(chapter: Chapter, before: Look, now: Look) -> Chapter {
    let (on_time, late) = (now.on_time - before.on_time, now.late - before.late);
    match chapter {
        _ if !now.overloaded && chapter != Chapter::Calm && late == 0 => Chapter::Calm,
        Chapter::Calm if now.overloaded => Chapter::Overload,
        Chapter::Overload | Chapter::Mended if late > on_time => Chapter::Failing,
        Chapter::Overload | Chapter::Failing if now.shed > before.shed && on_time > 9 * late => {
            Chapter::Mended
        }
        _ => chapter,
    }
}

impl Story {
    fn look(&self) -> Look {
        let ledger = self
            .doors
            .queues
            .first()
            .map(|door| door.metrics.ledger())
            .unwrap_or_default();
        let shed = [Why::Expired, Why::Skipped, Why::Rejected]
            .iter()
            .map(|why| ledger.settled[*why as usize])
            .sum();
        Look {
            on_time: self.done.on_time.load(Ordering::Relaxed),
            late: self.done.late.load(Ordering::Relaxed),
            received: ledger.received,
            shed,
            overloaded: is_overloaded(self.clock.now().mono),
        }
    }

    fn line(&self, before: Look, now: Look) -> String {
        let each_second = |before: u64, now: u64| (now - before) / LINE_EVERY.as_secs();
        let (on_time, late) = (now.on_time - before.on_time, now.late - before.late);
        let share = (on_time * 100)
            .checked_div(on_time + late)
            .map_or("   –".to_owned(), |share| format!("{share:3} %"));
        format!(
            "{}  orders  taken {:4}/s   shed {:4}/s   done {:4}/s, on time {share}   waiting {:6}\n",
            self.time(),
            each_second(before.received, now.received),
            each_second(before.shed, now.shed),
            each_second(before.on_time + before.late, now.on_time + now.late),
            self.orders.ready(),
        )
    }

    fn time(&self) -> String {
        let secs = self.clock.now().mono.as_secs();
        format!("{:02}:{:02}", secs / 60, secs % 60)
    }

    fn told(&self, chapter: Chapter, program: &str) -> String {
        let url = if self.address.port() == 7070 {
            String::new()
        } else {
            format!(" --url http://{}", self.address)
        };
        match chapter {
            Chapter::Calm => "\n  The rush is over and all is well. What is still open closes by itself at its end.\n\n".to_owned(),
            Chapter::Overload => "\n  A rush begins: `orders` gets 600 jobs a second, and its workers can do 200. A job that is done later than\n  10 s after it was published is useless.\n\n".to_owned(),
            Chapter::Failing => format!(
                "\n  Now the queue is longer than 10 s, so every job is done too late: the workers are busy, and it is all for nothing.\n  In another terminal, relieve it, so that what can be done is done in time:\n\n      {program} relieve orders --deadline 10s --reason \"INC-481\"{url}\n\n"
            ),
            Chapter::Mended => {
                let (parked, _) = self.orders.put_away();
                format!("\n  The workers do what they can, on time. What was shed is parked, not gone: {parked} jobs so far.\n  See who turned what, and until when:   {program} flag list{url}\n\n")
            }
        }
    }
}

fn greeting(address: SocketAddr, provider: SocketAddr) -> String {
    format!(
        "\n  Sluicegate demo: three queues in memory, a worker for each, 200 accounts. Nothing leaves this machine.\n  See it at http://{address}/   Stop it with Ctrl-C.\n\n  \
         Mails go to a fake Mailgun, and when it fails to the next provider, until it is well again. Try it in another terminal:\n\n      \
         curl -X PUT 'http://{provider}/fake?do=fail'      # or hang, throttle, cut, well, …; what it got: curl http://{provider}/fake\n\n"
    )
}

/// What the flags of `orders` say now, when somebody has turned one.
fn turned(snapshot: &Snapshot) -> String {
    let openings = snapshot.openings().map(|opening| {
        let value = |(key, value): &(FlagKey, Json)| {
            format!(
                "{key} {}",
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            )
        };
        let values: Vec<String> = opening.values.iter().map(value).collect();
        let (who, why, id) = (&opening.owner, &opening.reason, opening.id);
        format!(
            "\n  {who} opened {}, because of {why} ({id}).\n\n",
            values.join(", ")
        )
    });
    let said: String = openings.collect();
    if said.is_empty() {
        "\n  A flag was changed.\n\n".to_owned()
    } else {
        said
    }
}

/// Standard output may be closed; the story is then told to nobody.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(on_time: u64, late: u64, shed: u64, overloaded: bool) -> Look {
        Look {
            on_time,
            late,
            received: 0,
            shed,
            overloaded,
        }
    }

    #[test]
    fn the_chapters_follow_what_happens() {
        let start = look(0, 0, 0, true);
        for (what, chapter, now, next) in [
            (
                "the rush begins",
                Chapter::Calm,
                look(100, 0, 0, true),
                Chapter::Overload,
            ),
            (
                "still on time",
                Chapter::Overload,
                look(100, 0, 0, true),
                Chapter::Overload,
            ),
            (
                "too late",
                Chapter::Overload,
                look(10, 90, 0, true),
                Chapter::Failing,
            ),
            (
                "mended by a valve",
                Chapter::Failing,
                look(95, 5, 50, true),
                Chapter::Mended,
            ),
            (
                "not by luck",
                Chapter::Failing,
                look(95, 5, 0, true),
                Chapter::Failing,
            ),
            (
                "and again",
                Chapter::Mended,
                look(10, 90, 50, true),
                Chapter::Failing,
            ),
            (
                "the rush is over",
                Chapter::Mended,
                look(100, 0, 0, false),
                Chapter::Calm,
            ),
        ] {
            assert_eq!(next_chapter(chapter, start, now), next, "{what}");
        }
    }
}
