//! What waits for one webhook, and how long it is tried: in order, with ever longer waits, and never without a bound.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify as Bell;
use tokio::time::sleep;

use super::webhook::{Answer, Post};
use crate::clock::Clock;
use crate::config::Notify;
use crate::metrics::{Metrics, Sent};
use crate::rules::backoff::full_jitter;
use crate::rules::notice::Notice;

/// So many notices may wait for one webhook; then the oldest are dropped.
pub(super) const MOST_WAITING: usize = 256;
/// A notice that is older than this is not tried again.
pub(super) const GIVE_UP_AFTER: Duration = Duration::from_secs(5 * 60);
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The first wait is drawn from some 800 ms.
const FIRST_WAIT: u32 = 3;

/// A notice that waits.
#[derive(Debug, Clone)]
struct Waiting {
    number: u64,
    notice: Arc<Notice>,
    since: Duration,
}

/// Those who wait, by the order in which they came.
#[derive(Debug, Default)]
struct Waiters {
    next: u64,
    queue: VecDeque<Waiting>,
}

/// The way to one webhook.
pub(super) struct Line<P> {
    pub(super) settings: Notify,
    webhook: P,
    waiters: Mutex<Waiters>,
    came: Bell,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl<P: Post> Line<P> {
    pub(super) fn new(settings: Notify, webhook: P, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            settings,
            webhook,
            waiters: Mutex::default(),
            came: Bell::new(),
            clock,
            metrics,
        }
    }

    /// Takes a notice, if this webhook is to be told of its kind; never waits.
    pub(super) fn take(&self, notice: &Arc<Notice>) {
        if !self.settings.events.contains(&notice.kind) {
            return;
        }
        let mut waiters = self.waiters();
        let number = waiters.next;
        waiters.next += 1;
        waiters.queue.push_back(Waiting {
            number,
            notice: Arc::clone(notice),
            since: self.clock.mono(),
        });
        if waiters.queue.len() > MOST_WAITING {
            waiters.queue.pop_front();
            self.count(Sent::Dropped, 1);
        }
        drop(waiters);
        self.came.notify_one();
    }

    /// Posts what comes, one after the other, for ever.
    pub(super) async fn deliver(&self) {
        let mut failures = 0;
        loop {
            let Some(waiting) = self.first() else {
                self.came.notified().await;
                continue;
            };
            let id = &waiting.notice.id;
            match self.post(&waiting).await {
                Answer::Taken => {
                    failures = 0;
                    self.done(&waiting, Sent::Delivered);
                }
                Answer::Refused(why) => {
                    failures = 0;
                    tracing::warn!(webhook = %self.settings.host, id, why, "a webhook refused a notice; it is not tried again");
                    self.done(&waiting, Sent::Refused);
                }
                Answer::Failed { why, after } => {
                    let tried_for = self.clock.mono().saturating_sub(waiting.since);
                    if tried_for >= GIVE_UP_AFTER {
                        tracing::error!(webhook = %self.settings.host, id, why, "a webhook does not take a notice; it was tried long enough");
                        self.done(&waiting, Sent::GivenUp);
                    } else if failures == 0 {
                        tracing::warn!(webhook = %self.settings.host, id, why, "a webhook does not take a notice; it is tried again");
                    }
                    sleep(wait(&waiting.notice, failures, after)).await;
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    /// Posts what still waits, each once, until one fails.
    pub(super) async fn finish(&self) {
        while let Some(waiting) = self.first() {
            match self.post(&waiting).await {
                Answer::Taken => self.done(&waiting, Sent::Delivered),
                Answer::Refused(_) => self.done(&waiting, Sent::Refused),
                Answer::Failed { .. } => return,
            }
        }
    }

    /// Counts what waits and will not be sent any more.
    pub(super) fn abandon(&self, how: Sent) {
        let left = std::mem::take(&mut self.waiters().queue).len();
        if left > 0 {
            tracing::warn!(webhook = %self.settings.host, left, "notices were not sent to a webhook");
            self.count(how, left as u64);
        }
    }

    async fn post(&self, waiting: &Waiting) -> Answer {
        self.webhook
            .post(&waiting.notice, self.clock.now().ms)
            .await
    }

    fn first(&self) -> Option<Waiting> {
        self.waiters().queue.front().cloned()
    }

    /// Takes one out, unless it was dropped meanwhile, and counted as such.
    fn done(&self, waiting: &Waiting, how: Sent) {
        let mut waiters = self.waiters();
        let first = waiters.queue.front();
        if first.is_some_and(|first| first.number == waiting.number) {
            waiters.queue.pop_front();
            self.count(how, 1);
        }
    }

    fn count(&self, how: Sent, count: u64) {
        self.metrics.openings().notices(how, count);
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to wait after so many failures in a row: full jitter, or what the other side asks for if that is longer.
fn wait(notice: &Notice, failures: u32, after: Option<Duration>) -> Duration {
    let own = full_jitter(failures + FIRST_WAIT, LONGEST_WAIT, notice.jitter(failures));
    own.max(after.unwrap_or_default().min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::secret::Secret;
    use crate::rules::notice::Kind;
    use crate::rules::opening::{Opening, OpeningId, Restore};

    /// Answers by a list, then takes all; remembers what it was told, and when.
    struct Listener {
        clock: Clock,
        answers: Mutex<VecDeque<Answer>>,
        told: Mutex<Vec<(String, u64)>>,
    }

    impl Post for Listener {
        async fn post(&self, notice: &Notice, _now_ms: i64) -> Answer {
            let at = self.clock.mono().as_secs();
            let told = (notice.opening.id.to_string(), at);
            self.told.lock().unwrap().push(told);
            let next = self.answers.lock().unwrap().pop_front();
            next.unwrap_or(Answer::Taken)
        }
    }

    fn line(answers: Vec<Answer>, events: &[Kind]) -> Line<Listener> {
        let clock = Clock::made_up(0);
        let settings = Notify {
            url: Secret::new("http://127.0.0.1:1/".to_owned()),
            host: "127.0.0.1".to_owned(),
            events: events.to_vec(),
            secret: None,
            ca_file: None,
        };
        let listener = Listener {
            clock,
            answers: Mutex::new(answers.into()),
            told: Mutex::default(),
        };
        Line::new(
            settings,
            listener,
            clock,
            Arc::new(Metrics::new(&[]).unwrap()),
        )
    }

    fn notice(number: u64) -> Arc<Notice> {
        let opening = Opening {
            id: OpeningId(number),
            values: vec![("queue.orders.skip".parse().unwrap(), json!(0.2))],
            when: vec![],
            owner: "ana".into(),
            reason: "INC-481".into(),
            opened_at_ms: 0,
            ends_at_ms: 60_000,
            restore: Restore::Snap,
            strength: 1.0,
            beneath: false,
            until: None,
            extended: false,
        };
        Arc::new(Notice::by_itself(Kind::Reminder, &opening, vec![], 0, 7))
    }

    fn failed(after: Option<u64>) -> Answer {
        Answer::Failed {
            why: "it answers 500".to_owned(),
            after: after.map(Duration::from_secs),
        }
    }

    /// Delivers for so long, and gives what was told, by opening, with the second.
    async fn delivered(line: &Line<Listener>, seconds: u64) -> Vec<(String, u64)> {
        let _ = tokio::time::timeout(Duration::from_secs(seconds), line.deliver()).await;
        line.webhook.told.lock().unwrap().clone()
    }

    fn counted(line: &Line<Listener>, outcome: &str) -> u64 {
        let page = line.metrics.encode().unwrap();
        let series = format!("sluicegate_notices_total{{outcome=\"{outcome}\"}} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&series));
        value
            .unwrap_or_else(|| panic!("{series} is missing"))
            .parse()
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn notices_go_out_in_order_and_are_tried_again_after_ever_longer_waits() {
        let line = line(vec![failed(None); 6], &Kind::ALL);
        line.take(&notice(1));
        line.take(&notice(2));
        let told = delivered(&line, 200).await;
        let ids: Vec<&str> = told.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["o1", "o1", "o1", "o1", "o1", "o1", "o1", "o2"]);
        let last = told[6].1;
        assert!(
            (1..=60).contains(&last),
            "the seventh try came after {last} s"
        );
        assert_eq!(counted(&line, "delivered"), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_notice_is_given_up_after_some_minutes_and_the_next_gets_its_turn() {
        let line = line(vec![failed(Some(3_600)); 7], &Kind::ALL);
        line.take(&notice(1));
        let told = delivered(&line, 280).await;
        let seconds: Vec<u64> = told.iter().map(|(_, at)| *at).collect();
        assert_eq!(
            seconds,
            [0, 60, 120, 180, 240],
            "what is asked for is kept to, up to a minute"
        );
        line.take(&notice(2));
        let told = delivered(&line, 600).await;
        assert_eq!(told.last().unwrap().0, "o2");
        assert_eq!(
            (counted(&line, "given_up"), counted(&line, "delivered")),
            (1, 1)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_is_not_tried_again() {
        let line = line(vec![Answer::Refused("it answers 400".into())], &Kind::ALL);
        line.take(&notice(1));
        line.take(&notice(2));
        let told = delivered(&line, 1).await;
        assert_eq!(told.len(), 2);
        assert_eq!(
            (counted(&line, "refused"), counted(&line, "delivered")),
            (1, 1)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_are_dropped_when_too_many_wait_and_all_are_counted() {
        let line = line(vec![], &Kind::ALL);
        let count = MOST_WAITING as u64 + 3;
        (1..=count).for_each(|number| line.take(&notice(number)));
        let told = delivered(&line, 1).await;
        assert_eq!((told[0].0.as_str(), told.len()), ("o4", MOST_WAITING));
        assert_eq!(
            counted(&line, "dropped") + counted(&line, "delivered"),
            count
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_webhook_hears_of_the_kinds_that_it_asked_for() {
        let line = line(vec![], &[Kind::Opened]);
        line.take(&notice(1));
        assert_eq!(delivered(&line, 1).await, []);
    }

    #[tokio::test(start_paused = true)]
    async fn at_a_stop_each_is_tried_once_more_and_the_rest_is_counted() {
        let line = line(vec![Answer::Taken, failed(None)], &Kind::ALL);
        (1..=4).for_each(|number| line.take(&notice(number)));
        line.finish().await;
        line.abandon(Sent::Unsent);
        assert_eq!(
            (counted(&line, "delivered"), counted(&line, "unsent")),
            (1, 3)
        );
    }
}
