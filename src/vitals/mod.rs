//! Live health: what a queue does now, for pages, API and later the automatic valves. The worker writes, everybody reads.
//! May import `rules`, `seams` and `pulse`.

mod lanes;
pub mod providers;
mod recent;
mod relief;
mod report;
mod serving;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::pulse::Pulse;
use crate::rules::facts::Key;
use crate::rules::handed::{Handed, Reported, Told, Work};
use crate::rules::lots::KeyHash;
use crate::rules::top::Top;
use crate::rules::window::{Latest, Window};
use crate::seams::LinkState;
pub use lanes::LaneLine;
pub use recent::{Collector, Kept, Recent};
pub use relief::{BadActorReport, ReliefNow, ReliefReport};
pub use report::{KeyLoad, VitalsReport};

/// Keys that are counted one by one; a key with more than one part in so many of the load is never missed.
const COUNTERS: usize = 256;
/// In this time the load of a key fades to about a third.
const FADES_IN: Duration = Duration::from_secs(60);
/// Above so many messages a second, keys are counted in a sample of one in so many.
const MUCH: f64 = 2_000.0;
const ONE_IN: f64 = 8.0;
/// Keys that a report names.
const NAMED: usize = 10;

/// What one queue does now. The worker takes the lock a few times for each message, for a fraction of a microsecond; a report
/// holds it for some tens of microseconds.
#[derive(Debug)]
pub struct QueueVitals {
    /// Whether the queue's thread turns.
    pub pulse: Pulse,
    /// What came lately. A lock of its own, for which the worker never waits.
    pub recent: Recent,
    inner: Mutex<Inner>,
    /// What was handed over. A lock of its own: a report of many outcomes does not keep the worker from the rest.
    handed: Mutex<Handed>,
}

#[derive(Debug)]
struct Inner {
    link: LinkState,
    shut: bool,
    trouble: String,
    waiting: String,
    ready: Option<u64>,
    oldest_age_ms: Option<i64>,
    surroundings: Surroundings,
    slots_busy: u32,
    slots: u32,
    events: Window<{ Event::COUNT }>,
    service: Latest,
    by_count: Top,
    by_work: Top,
    lanes: Vec<LaneLine>,
    relief: ReliefNow,
    thinning: Thinning,
}

/// Who brings the load is looked for in a sample when there is much of it: of [`ONE_IN`] messages one, which counts for all.
#[derive(Debug, Default)]
struct Thinning {
    seen: u64,
    much: bool,
}

impl Thinning {
    /// What this message counts for; `None`: it is not looked at. Drawn, so that accounts which take turns are all seen.
    fn weight(&mut self) -> Option<f64> {
        self.seen += 1;
        let drawn = KeyHash(self.seen).draw(0) < 1.0 / ONE_IN;
        match self.much {
            false => Some(1.0),
            true => drawn.then_some(ONE_IN),
        }
    }
}

/// What is counted by the second.
#[derive(Debug, Clone, Copy)]
enum Event {
    Received,
    Shed,
    Done,
    OnTime,
    Late,
}

impl Event {
    const COUNT: usize = Event::Late as usize + 1;
}

/// What AMQP cannot tell of a queue, as the management API told it last; `None`: unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// How old the message at the queue's head is, in milliseconds.
    pub head_age_ms: Option<i64>,
    /// How many consumers but ours read the queue.
    pub other_consumers: Option<u64>,
}

impl Default for QueueVitals {
    fn default() -> Self {
        Self {
            pulse: Pulse::default(),
            recent: Recent::default(),
            inner: Mutex::new(Inner {
                link: LinkState::Connecting("starting".to_owned()),
                shut: false,
                trouble: String::new(),
                waiting: String::new(),
                ready: None,
                oldest_age_ms: None,
                surroundings: Surroundings::default(),
                slots_busy: 0,
                slots: 0,
                events: Window::default(),
                service: Latest::default(),
                by_count: Top::new(COUNTERS, FADES_IN),
                by_work: Top::new(COUNTERS, FADES_IN),
                lanes: Vec::new(),
                relief: ReliefNow::default(),
                thinning: Thinning::default(),
            }),
            handed: Mutex::default(),
        }
    }
}

impl QueueVitals {
    /// A message was taken at `now` (time since the clock's start).
    pub fn received(&self, now: Duration, key: Option<&Key>) {
        let mut inner = self.lock();
        inner.count(now, Event::Received);
        if let Some((hash, key)) = key
            && let Some(weight) = inner.thinning.weight()
        {
            inner.by_count.offer(now, *hash, key, weight);
        }
    }

    /// A message was shed.
    pub fn shed(&self, now: Duration) {
        self.lock().count(now, Event::Shed);
    }

    /// A job was done: after `service` at the target, on time or not (`None`: it had no deadline).
    pub fn done(&self, now: Duration, key: Option<&Key>, service: Duration, on_time: Option<bool>) {
        let mut inner = self.lock();
        inner.count(now, Event::Done);
        match on_time {
            Some(true) => inner.count(now, Event::OnTime),
            Some(false) => inner.count(now, Event::Late),
            None => {}
        }
        inner.service.add(service);
        inner.work(now, key, service);
    }

    /// The target was busy with a job for so long and did not do it: it failed, or is to be tried again.
    pub fn in_vain(&self, now: Duration, key: Option<&Key>, busy: Duration) {
        self.lock().work(now, key, busy);
    }

    /// So many messages of so many are at the target.
    pub fn slots(&self, now: Duration, busy: u32, of: u32) {
        let mut inner = self.lock();
        inner.thinning.much = inner.events.per_second(now, Event::Received as usize) > MUCH;
        inner.slots_busy = busy;
        inner.slots = of;
    }

    /// How the link stands, and whether the gate is shut (paused, or a limit of zero).
    pub fn link(&self, link: LinkState, shut: bool) {
        let mut inner = self.lock();
        inner.link = link;
        inner.shut = shut;
    }

    /// What keeps the queue from its work though it is served; empty: nothing.
    pub fn trouble(&self, trouble: String) {
        self.lock().trouble = trouble;
    }

    /// What the queue waits for though nothing is wrong, such as room in its admitted queue; empty: nothing.
    pub fn waiting(&self, waiting: String) {
        self.lock().waiting = waiting;
    }

    /// A job is being handed over to workers who may report what came of it.
    pub fn handing_over(&self, id: KeyHash, work: Work) {
        self.handed().remember(id, work);
    }

    /// It was not handed over after all.
    pub fn not_handed_over(&self, id: KeyHash) {
        self.handed().forget(id);
    }

    /// Somebody reports what came of a job that was handed over: whether and how that counts.
    pub fn reported(&self, id: KeyHash, reported: Reported, now: Duration) -> Told {
        self.handed().report(id, reported, now)
    }

    /// What is known of the backlog; `ready: None` keeps what was known of that. Gives the age of the oldest message anywhere, in
    /// milliseconds, as far as it is known.
    pub fn backlog(&self, ready: Option<u64>, oldest_in_hand_ms: Option<i64>) -> Option<i64> {
        let mut inner = self.lock();
        inner.ready = ready.or(inner.ready);
        inner.oldest_age_ms = oldest_in_hand_ms;
        inner.oldest_ms()
    }

    /// What the management API told last.
    pub fn surroundings(&self, surroundings: Surroundings) {
        self.lock().surroundings = surroundings;
    }

    /// Whether the queue is served, or nobody wants it to be: what `/readyz` asks. Else the reason.
    ///
    /// # Errors
    /// When it is not served, with the reason.
    pub fn ready(&self) -> Result<(), String> {
        let inner = self.lock();
        match &inner.link {
            LinkState::Consuming | LinkState::Standby => Ok(()),
            _ if inner.shut => Ok(()),
            _ => Err(inner.detail()),
        }
    }

    /// A reading at `now`.
    #[must_use]
    pub fn report(&self, now: Duration) -> VitalsReport {
        let (reported, unreported) = {
            let handed = self.handed();
            (handed.counted(), handed.open() as u64)
        };
        VitalsReport {
            reported,
            unreported,
            ..self.lock().report(now)
        }
    }

    fn handed(&self) -> MutexGuard<'_, Handed> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn count(&mut self, now: Duration, event: Event) {
        self.events.count(now, event as usize);
    }

    fn work(&mut self, now: Duration, key: Option<&Key>, took: Duration) {
        if let Some((hash, key)) = key
            && let Some(weight) = self.thinning.weight()
        {
            let work = took.as_secs_f64() * weight;
            self.by_work.offer(now, *hash, key, work);
        }
    }

    fn detail(&self) -> String {
        match &self.link {
            LinkState::Consuming if self.trouble.is_empty() => self.waiting.clone(),
            LinkState::Consuming if self.waiting.is_empty() => self.trouble.clone(),
            LinkState::Consuming => format!("{}; {}", self.trouble, self.waiting),
            LinkState::Standby => {
                let standby = "another consumer may be the single active one of this queue; this one takes over when it goes";
                [standby, &self.trouble]
                    .join("; ")
                    .trim_end_matches("; ")
                    .to_owned()
            }
            LinkState::Idle if self.shut => "the gate is shut, so nothing is taken".to_owned(),
            LinkState::Idle => "connected, not consuming".to_owned(),
            LinkState::QueueMissing => "the queue does not exist at the broker".to_owned(),
            LinkState::Connecting(why) | LinkState::Denied(why) => why.clone(),
        }
    }

    /// The age of the oldest message anywhere.
    fn oldest_ms(&self) -> Option<i64> {
        self.oldest_age_ms.max(self.surroundings.head_age_ms)
    }

    /// The share of jobs done on time, in the last seconds, so that a valve's effect is seen at once; a queue with little to do is
    /// looked at for a minute.
    fn on_time(&self, now: Duration) -> Option<f64> {
        let rate = |event: Event| self.events.per_second(now, event as usize);
        let lately = |event: Event| self.events.in_the_last_minute(now, event as usize);
        let share =
            |on_time: f64, late: f64| (on_time + late > 0.0).then(|| on_time / (on_time + late));
        share(rate(Event::OnTime), rate(Event::Late))
            .or_else(|| share(lately(Event::OnTime) as f64, lately(Event::Late) as f64))
    }

    fn report(&self, now: Duration) -> VitalsReport {
        let seconds = |ms: i64| ms.max(0) as f64 / 1_000.0;
        let rate = |event: Event| self.events.per_second(now, event as usize);
        let service = self.service.quantiles([0.5, 0.9, 0.99]);
        let named = |top: &Top| top.top(now, NAMED).into_iter().map(KeyLoad::from).collect();
        VitalsReport {
            state: self.link.word().to_owned(),
            state_detail: self.detail(),
            ready: self.ready,
            oldest_age_seconds: self.oldest_ms().map(seconds),
            head_age_seconds: self.surroundings.head_age_ms.map(seconds),
            other_consumers: self.surroundings.other_consumers,
            slots_busy: self.slots_busy,
            slots: self.slots,
            received_per_second: rate(Event::Received),
            done_per_second: rate(Event::Done),
            shed_per_second: rate(Event::Shed),
            on_time_ratio: self.on_time(now),
            service_p50_seconds: service.map(|[p50, _, _]| p50),
            service_p90_seconds: service.map(|[_, p90, _]| p90),
            service_p99_seconds: service.map(|[_, _, p99]| p99),
            reported: 0,
            unreported: 0,
            relief: self.relief.report.clone(),
            top_by_count: named(&self.by_count),
            top_by_work: named(&self.by_work),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn key(text: &str) -> Key {
        (KeyHash::of(text.as_bytes()), text.into())
    }

    #[test]
    fn before_anything_happened_nothing_is_claimed() {
        let report = QueueVitals::default().report(at(5_000));
        assert_eq!(
            (report.state.as_str(), report.state_detail.as_str()),
            ("connecting", "starting")
        );
        assert_eq!(
            (
                report.ready,
                report.on_time_ratio,
                report.service_p50_seconds
            ),
            (None, None, None)
        );
        assert_eq!(
            (report.received_per_second, report.top_by_count.len()),
            (0.0, 0)
        );
    }

    #[test]
    fn a_report_tells_who_brings_the_messages_and_who_the_work() {
        let vitals = QueueVitals::default();
        let (acme, bulk) = (key("acme"), key("bulk"));
        for n in 0..2_000 {
            let now = at(n * 10); // 100 a second for 20 s: 90 small ones of acme, 10 big ones of bulk, every 4th late, 1 in 10 shed
            let (key, service) = if n % 10 == 0 {
                (&bulk, at(900))
            } else {
                (&acme, at(10))
            };
            vitals.received(now, Some(key));
            if n % 10 == 5 {
                vitals.shed(now);
            } else {
                vitals.done(now, Some(key), service, Some(n % 4 != 0));
            }
        }
        vitals.slots(at(20_000), 3, 8);
        vitals.backlog(Some(7), Some(1_500));
        vitals.backlog(None, None);
        let report = vitals.report(at(20_000));
        let near = |value: f64, wanted: f64| {
            assert!(
                (value - wanted).abs() < wanted * 0.05,
                "{value}, not {wanted}"
            )
        };
        near(report.received_per_second, 100.0);
        near(report.done_per_second, 90.0);
        near(report.shed_per_second, 10.0);
        near(report.on_time_ratio.unwrap(), 0.72);
        near(report.service_p50_seconds.unwrap(), 0.010);
        near(report.service_p99_seconds.unwrap(), 0.9);
        near(report.top_by_count[0].ratio, 0.9);
        near(report.top_by_work[0].per_second, 9.0);
        assert_eq!(
            (
                report.top_by_count[0].key.as_str(),
                report.top_by_work[0].key.as_str()
            ),
            ("acme", "bulk")
        );
        assert_eq!((report.slots_busy, report.slots), (3, 8));
        assert_eq!((report.ready, report.oldest_age_seconds), (Some(7), None));
        assert_eq!(report.other_consumers, None, "unknown is not 0");
        vitals.surroundings(Surroundings {
            head_age_ms: Some(9_000),
            other_consumers: Some(2),
        });
        assert_eq!(vitals.backlog(None, Some(2_000)), Some(9_000));
        assert_eq!(vitals.backlog(None, Some(10_000)), Some(10_000));
        let report = vitals.report(at(20_000));
        assert_eq!(
            (report.head_age_seconds, report.oldest_age_seconds),
            (Some(9.0), Some(10.0))
        );
    }

    #[test]
    fn under_much_load_a_sample_says_the_same() {
        let vitals = QueueVitals::default();
        let (acme, other) = (key("acme"), key("other"));
        for n in 0..40_000u64 {
            let now = at(n / 8); // 8,000 a second, for 5 s; every fourth is acme's
            if n % 800 == 0 {
                vitals.slots(now, 1, 8);
            }
            vitals.received(now, Some(if n % 4 == 0 { &acme } else { &other }));
        }
        let top = vitals.report(at(5_000)).top_by_count;
        let acme = top.iter().find(|load| load.key == "acme").unwrap();
        assert!((acme.ratio - 0.25).abs() < 0.02, "{}", acme.ratio);
    }

    #[test]
    fn work_that_came_to_nothing_counts_as_work_alone() {
        let vitals = QueueVitals::default();
        vitals.in_vain(at(0), Some(&key("acme")), at(500));
        let report = vitals.report(at(100));
        assert_eq!(report.top_by_work[0].key, "acme");
        assert_eq!(
            (report.done_per_second, report.service_p50_seconds),
            (0.0, None)
        );
    }

    #[test]
    fn a_queue_that_nobody_wants_served_is_ready_and_one_that_is_not_served_says_why() {
        let check = |link: LinkState, shut: bool, expected: Result<(), &str>| {
            let vitals = QueueVitals::default();
            vitals.link(link.clone(), shut);
            assert_eq!(
                vitals.ready(),
                expected.map_err(str::to_owned),
                "{link:?}, shut: {shut}"
            );
        };
        check(LinkState::Consuming, false, Ok(()));
        check(LinkState::Standby, false, Ok(()));
        check(LinkState::Idle, true, Ok(()));
        check(LinkState::Idle, false, Err("connected, not consuming"));
        check(
            LinkState::QueueMissing,
            false,
            Err("the queue does not exist at the broker"),
        );
        check(
            LinkState::Connecting("refused".to_owned()),
            false,
            Err("refused"),
        );
        check(LinkState::Denied("no".to_owned()), true, Ok(()));
    }
}
