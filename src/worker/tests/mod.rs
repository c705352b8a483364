//! The worker on the queue in memory, in made-up time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

mod order;
mod relief;

use super::{Finished, Given, Worker};
use crate::clock::Clock;
use crate::config::{
    Disposition, OnUnknown, Order, ParkSettings, Queue, ReliefSettings, TargetSettings,
};
use crate::memory::{MemoryOutlet, MemoryQueue};
use crate::metrics::{Ledger, Metrics};
use crate::rules::change::{Actor, Change, Edit};
use crate::rules::facts::{Reading, Source};
use crate::rules::message::{Field, Properties, Raw};
use crate::rules::snapshot::{GatedQueue, Snapshot, Stored};
use crate::rules::verdict::Why;
use crate::seams::{Answer, Job, Outcome, Target};
use crate::store::{Blocked, Store};
use crate::vitals::QueueVitals;

pub(super) const START_MS: i64 = 1_795_219_200_000;

pub(super) type Answering = Box<dyn Fn(&Job) -> Outcome>;

/// A target whose answer the test chooses, that takes as long as the test says and writes down what it was given.
pub(super) struct Script {
    pub(super) takes: Cell<Duration>,
    pub(super) answer: RefCell<Answering>,
    pub(super) done: RefCell<Vec<(String, u32)>>,
    at_once: Cell<usize>,
    most_at_once: Cell<usize>,
}

struct Scripted(Rc<Script>);

impl Target for Scripted {
    fn hand_over(&self, job: Job) -> Pin<Box<dyn Future<Output = Answer>>> {
        let script = Rc::clone(&self.0);
        script.at_once.set(script.at_once.get() + 1);
        script
            .most_at_once
            .set(script.most_at_once.get().max(script.at_once.get()));
        Box::pin(async move {
            tokio::time::sleep(script.takes.get()).await;
            script.at_once.set(script.at_once.get() - 1);
            script
                .done
                .borrow_mut()
                .push((job.id.to_string(), job.attempt));
            let outcome = (script.answer.borrow())(&job);
            outcome.into()
        })
    }
}

pub(super) type MakeTarget = Box<dyn FnOnce(&MemoryOutlet) -> Rc<dyn Target>>;

/// A queue with its worker running, and all that a test may do to them.
pub(super) struct House {
    pub(super) queue: MemoryQueue,
    pub(super) store: Arc<Store>,
    pub(super) metrics: Arc<Metrics>,
    blocked: Arc<Blocked>,
    pub(super) vitals: Arc<QueueVitals>,
    pub(super) script: Rc<Script>,
    pub(super) stop: CancellationToken,
    pub(super) worker: tokio::task::JoinHandle<Finished>,
    pub(super) settings: Arc<Queue>,
}

pub(super) fn settings() -> Queue {
    let attributes = BTreeMap::from([("account".into(), Source::Header("x-account".into()))]);
    Queue {
        name: "orders".parse().unwrap(),
        broker_name: "orders".into(),
        vhost: None,
        declare: true,
        slots: 4,
        prefetch: 16,
        reading: Reading {
            age: Some(Source::Header("at".into())),
            not_before: Some(Source::Header("eta".into())),
            attributes,
            key: Some("account".into()),
            max_body: 1_000,
            ..Reading::default()
        },
        deadline_after: None,
        target: TargetSettings::Handler("script".into()),
        attempts: 3,
        order: Order::None,
        on_skip: Disposition::Park,
        on_expired: Disposition::Drop,
        on_rejected: Disposition::DeadLetter,
        on_unknown: OnUnknown::Retry,
        on_unknown_is_written: false,
        modes: vec![],
        pass: vec![],
        dead_letter_queue: None,
        outcomes_queue: None,
        results_queue: None,
        relief: ReliefSettings::default(),
        park: ParkSettings {
            streams: true,
            max_age: Duration::from_secs(60),
            max_bytes: 1 << 20,
        },
        hold: Duration::from_secs(300),
    }
}

impl House {
    pub(super) fn open(clock: Clock) -> Self {
        Self::open_with(clock, settings(), None)
    }

    /// With other settings, and another target in front of the outlet than the one that the test scripts.
    pub(super) fn open_with(clock: Clock, settings: Queue, target: Option<MakeTarget>) -> Self {
        let mut house = Self::furnished(settings, MemoryQueue::new(clock), None);
        house.begin(clock, target);
        house
    }

    /// On a queue with something in it, or on a store of the test's own.
    fn open_on(clock: Clock, settings: Queue, queue: MemoryQueue, store: Option<Store>) -> Self {
        let mut house = Self::furnished(settings, queue, store);
        house.begin(clock, None);
        house
    }

    fn furnished(settings: Queue, queue: MemoryQueue, store: Option<Store>) -> Self {
        let settings = Arc::new(settings);
        let metrics = Arc::new(Metrics::new(std::slice::from_ref(&settings.name)).unwrap());
        let gated = GatedQueue {
            attributes: settings.reading.attributes.clone(),
            pass: settings.pass.clone(),
            ..GatedQueue::named(settings.name.clone())
        };
        let start = Snapshot::of(vec![gated], Stored::default());
        let in_memory = || Store::in_memory(start, Arc::clone(&metrics));
        let store = Arc::new(store.unwrap_or_else(in_memory));
        let numbers = Arc::clone(metrics.queue("orders").unwrap());
        let book = store.blocked(&settings.name);
        let blocked = Arc::new(Blocked::open(book, settings.order, numbers));
        let script = Rc::new(Script {
            takes: Cell::new(Duration::from_millis(100)),
            answer: RefCell::new(Box::new(|_| Outcome::Done)),
            done: RefCell::default(),
            at_once: Cell::new(0),
            most_at_once: Cell::new(0),
        });
        Self {
            queue,
            store,
            metrics,
            blocked,
            vitals: Arc::default(),
            script,
            stop: CancellationToken::new(),
            worker: tokio::task::spawn_local(async { Finished::default() }),
            settings,
        }
    }

    /// Starts a worker on what is there.
    fn begin(&mut self, clock: Clock, target: Option<MakeTarget>) {
        let (inlet, outlet) = self.queue.open();
        let given = Given {
            settings: Arc::clone(&self.settings),
            inlet,
            target: match target {
                Some(make) => make(&outlet),
                None => Rc::new(Scripted(Rc::clone(&self.script))),
            },
            outlet,
            flags: self.store.subscribe(),
            clock,
            blocked: Arc::clone(&self.blocked),
            vitals: Arc::clone(&self.vitals),
            metrics: Arc::clone(&self.metrics),
            lanes: self.store.lanes(&self.settings.name),
        };
        self.stop = CancellationToken::new();
        let worker = Worker::new(given).unwrap();
        let running = worker.run(self.stop.clone(), Duration::from_secs(5));
        self.worker = tokio::task::spawn_local(running);
    }

    /// Kills the worker with whatever it has in hand, and starts another on the same queue and store.
    pub(super) async fn die_and_begin_again(&mut self, clock: Clock) {
        self.worker.abort();
        let _ = (&mut self.worker).await;
        self.metrics.queue("orders").unwrap().in_hand_is_lost();
        self.begin(clock, None);
    }

    /// The ids of this account that were done, in order.
    pub(super) fn done_of(&self, account: &str) -> Vec<String> {
        let done = self.script.done.borrow();
        let of = done.iter().map(|(id, _)| id.clone());
        of.filter(|id| id.starts_with(account)).collect()
    }

    pub(super) fn publish(&self, ids: std::ops::Range<u32>, account: &str, at_ms: i64) {
        for id in ids {
            let headers = [
                ("x-account", Field::LongString(account.into())),
                ("at", Field::LongLongInt(at_ms)),
            ];
            let properties = Properties {
                message_id: Some(format!("{account}-{id}")),
                ..Properties::default()
            };
            self.queue.publish(Raw {
                properties,
                headers: headers
                    .map(|(name, field)| (name.to_owned(), field))
                    .to_vec(),
                ..Raw::default()
            });
        }
    }

    /// One message that is not to be done for so long, in milliseconds; `what` is its id.
    fn schedule(&self, what: &str, wait_ms: i64) {
        let eta = START_MS.saturating_add(wait_ms);
        let headers = [
            ("at", Field::LongLongInt(START_MS)),
            ("eta", Field::LongLongInt(eta)),
        ];
        self.queue.publish(Raw {
            properties: Properties {
                message_id: Some(what.to_owned()),
                ..Properties::default()
            },
            headers: headers
                .map(|(name, field)| (name.to_owned(), field))
                .to_vec(),
            ..Raw::default()
        });
    }

    pub(super) fn turn(&self, valve: &str, value: Json) {
        let edit = Edit::Set(format!("queue.orders.{valve}").parse().unwrap(), value);
        let change = Change {
            keep: true,
            ..Change::new(edit, Actor::new("ana", "test"), "test", 0)
        };
        let confirmed = [None, Some(100), Some(50)].map(|confirm| {
            self.store.turn(&Change {
                confirm,
                ..change.clone()
            })
        });
        assert!(confirmed.iter().any(Result::is_ok), "{confirmed:?}");
    }

    pub(super) fn ledger(&self) -> Ledger {
        let ledger = self.metrics.queue("orders").unwrap().ledger();
        assert!(ledger.adds_up(), "{ledger:?}");
        ledger
    }

    pub(super) fn settled(&self, why: Why) -> u64 {
        self.ledger().settled[why as usize]
    }

    pub(super) fn done(&self) -> usize {
        self.script.done.borrow().len()
    }
}

pub(super) fn in_made_up_time<F: Future<Output = ()>>(test: impl FnOnce(Clock) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async { test(Clock::made_up(START_MS)).await });
}

pub(super) async fn after(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[test]
fn messages_are_done_in_so_many_slots() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.publish(0..40, "acme", START_MS);
        after(1_050).await;
        assert_eq!(
            (
                house.done(),
                house.settled(Why::Done),
                house.script.most_at_once.get()
            ),
            (40, 40, 4)
        );
    });
}

#[test]
fn a_crowd_of_arrivals_leaves_the_other_tasks_of_the_thread_their_turns() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.turn("max_age", json!("30s"));
        after(100).await;
        let turns = Rc::new(Cell::new(0));
        let counted = Rc::clone(&turns);
        let queue = house.queue.clone();
        tokio::task::spawn_local(async move {
            while queue.ready() > 0 {
                counted.set(counted.get() + 1);
                tokio::task::yield_now().await;
            }
        });
        house.publish(0..6_400, "acme", START_MS - 31_000);
        after(1_000).await;
        assert_eq!(house.settled(Why::Expired), 6_400);
        assert!(turns.get() >= 90, "{} turns", turns.get());
    });
}

#[test]
fn late_messages_cost_the_worker_nothing() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.turn("max_age", json!("30s"));
        house.publish(0..50, "acme", START_MS - 31_000);
        house.publish(50..54, "acme", START_MS);
        after(150).await;
        assert_eq!(
            (
                house.done(),
                house.settled(Why::Expired),
                house.settled(Why::Done)
            ),
            (4, 50, 4)
        );
    });
}

#[test]
fn what_became_late_in_hand_is_not_handed_over() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.script.takes.set(Duration::from_secs(2));
        house.turn("max_age", json!("1s"));
        house.publish(0..16, "acme", START_MS);
        after(10_000).await;
        assert_eq!((house.done(), house.settled(Why::Expired)), (4, 12));
    });
}

#[test]
fn skipped_messages_are_parked_with_their_reason() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.turn("skip", json!(1.0));
        house.publish(0..5, "acme", START_MS);
        after(50).await;
        let parked = house.queue.parked();
        assert_eq!((parked.count, house.done()), (5, 0));
        let reason = parked.last[0]
            .headers
            .iter()
            .find(|(name, _)| name == "x-sluicegate-reason")
            .unwrap();
        assert_eq!(reason.1, Field::LongString(b"skipped".to_vec()));
    });
}

#[test]
fn what_is_not_to_be_done_yet_is_done_in_time_and_never_early() {
    in_made_up_time(async |clock| {
        for wait_ms in [1_i64, 700, 5_000, 5_001, 9_999, 34_000, 3_600_000] {
            let house = House::open(clock);
            house.script.takes.set(Duration::ZERO);
            let began = clock.now().ms - START_MS;
            house.schedule("later", began + wait_ms);
            after(wait_ms.unsigned_abs() - 1).await;
            assert_eq!(house.done(), 0, "after {wait_ms} ms it was early");
            after(1_001).await;
            assert_eq!(house.script.done.borrow()[..], [("later".to_owned(), 1)]);
            // Hops of at most ten minutes cost no attempt, and the last seconds none at all.
            let hops = house.settled(Why::NotYet);
            assert_eq!(hops > 0, wait_ms > 5_000, "{wait_ms} ms took {hops} hops");
            assert!(hops < 15, "{wait_ms} ms took {hops} hops");
        }
    });
}

#[test]
fn a_job_of_tomorrow_is_not_late_when_tomorrow_comes() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.turn("max_age", json!("30s"));
        house.turn("skip", json!(1.0));
        house.schedule("tomorrow", 86_400_000);
        after(86_399_000).await;
        assert_eq!((house.settled(Why::Skipped), house.done()), (0, 0));
        house.turn("skip", json!(0.0));
        after(2_000).await;
        assert_eq!((house.settled(Why::Expired), house.done()), (0, 1));
    });
}

#[test]
fn times_that_nobody_means_are_not_heeded() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.schedule("far", 366 * 86_400_000);
        house.schedule("never", i64::MAX);
        house.schedule("long ago", i64::MIN);
        after(1_000).await;
        assert_eq!((house.done(), house.settled(Why::NotYet)), (3, 0));
    });
}

#[test]
fn many_that_wait_for_their_time_hold_up_nobody() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        for number in 0..3_000 {
            house.schedule(&format!("later-{number}"), 4_000);
        }
        house.publish(0..40, "acme", START_MS);
        after(1_200).await;
        assert_eq!((house.done(), house.settled(Why::Done)), (40, 40));
        house.turn("pause", json!(true));
        after(50).await;
        assert_eq!(house.ledger().in_hand, 0);
        house.turn("pause", json!(false));
        house.script.takes.set(Duration::from_millis(1));
        after(9_000).await;
        assert_eq!(house.done(), 3_040);
    });
}

#[test]
fn a_pause_gives_back_what_is_not_dispatched_and_finishes_the_rest() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.publish(0..20, "acme", START_MS);
        after(50).await;
        house.turn("pause", json!(true));
        after(500).await;
        assert_eq!(
            (
                house.done(),
                house.settled(Why::GivenBack),
                house.queue.ready(),
                house.ledger().in_hand
            ),
            (4, 12, 16, 0)
        );
        house.turn("pause", json!(false));
        after(1_000).await;
        assert_eq!(house.done(), 20);
    });
}

#[test]
fn attempts_are_counted_and_the_last_one_is_a_dead_letter() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        *house.script.answer.borrow_mut() =
            Box::new(|_| Outcome::Retry("the worker answered 500".into()));
        house.publish(0..1, "acme", START_MS);
        after(60_000).await;
        let attempts: Vec<u32> = house
            .script
            .done
            .borrow()
            .iter()
            .map(|(_, attempt)| *attempt)
            .collect();
        assert_eq!(attempts, [1, 2, 3]);
        assert_eq!(
            (
                house.settled(Why::Retry),
                house.settled(Why::Attempts),
                house.queue.put_away()
            ),
            (2, 1, (0, 1))
        );
    });
}

#[test]
fn a_throttled_target_is_left_alone_and_the_attempt_not_counted() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        *house.script.answer.borrow_mut() =
            Box::new(|_| Outcome::Throttled(Some(Duration::from_secs(4))));
        house.publish(0..4, "acme", START_MS);
        after(1_000).await;
        *house.script.answer.borrow_mut() = Box::new(|_| Outcome::Done);
        house.publish(4..5, "acme", START_MS);
        after(2_000).await;
        assert_eq!(house.done(), 4, "nothing is dispatched for four seconds");
        after(10_000).await;
        let attempts: Vec<u32> = house
            .script
            .done
            .borrow()
            .iter()
            .map(|(_, attempt)| *attempt)
            .collect();
        assert_eq!((attempts, house.settled(Why::Throttled)), (vec![1; 9], 4));
    });
}

#[test]
fn a_rate_paces_the_queue() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.turn("rate", json!("10/s burst 1"));
        house.publish(0..200, "acme", START_MS);
        after(10_050).await;
        assert!((98..=101).contains(&house.done()), "{}", house.done());
    });
}

#[test]
fn a_key_that_waits_never_blocks_another() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.turn("rate_each", json!("1/s burst 1"));
        house.publish(0..500, "flood", START_MS);
        for other in 0..20 {
            house.publish(0..1, &format!("other{other}"), START_MS);
        }
        after(3_000).await;
        let done = house.script.done.borrow().clone();
        let others = done
            .iter()
            .filter(|(id, _)| id.starts_with("other"))
            .count();
        assert_eq!(
            others, 20,
            "the others are through though 500 of one key came first"
        );
        assert!(
            done.len() - others <= 4,
            "and the flood keeps its rate: {}",
            done.len() - others
        );
        assert!(
            house.settled(Why::Rate) > 400,
            "what must wait long waits elsewhere"
        );
    });
}

#[test]
fn a_key_has_only_so_many_slots_and_the_rest_go_to_others() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.turn("concurrency_each", json!(1));
        house.publish(0..8, "flood", START_MS);
        house.publish(0..4, "other", START_MS);
        after(250).await;
        let of = |account: &str| {
            house
                .script
                .done
                .borrow()
                .iter()
                .filter(|(id, _)| id.starts_with(account))
                .count()
        };
        assert_eq!((of("flood"), of("other")), (2, 2));
        after(10_000).await;
        assert_eq!((of("flood"), of("other")), (8, 4));
    });
}

#[test]
fn a_broken_link_redelivers_and_the_account_still_adds_up() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.publish(0..20, "acme", START_MS);
        after(50).await;
        house.queue.break_link();
        after(2_000).await;
        let mut ids: Vec<String> = house
            .script
            .done
            .borrow()
            .iter()
            .map(|(id, _)| id.clone())
            .collect();
        ids.sort();
        ids.dedup();
        assert_eq!(
            (ids.len(), house.settled(Why::Unsettled)),
            (20, 16),
            "nothing is lost; 16 were in hand"
        );
        assert_eq!((house.settled(Why::Done), house.ledger().in_hand), (20, 0));
    });
}

#[test]
fn what_cannot_be_placed_is_held_and_placed_when_it_can_be() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.queue.refuse(true);
        house.turn("skip", json!(1.0));
        house.publish(0..5, "acme", START_MS);
        after(20_000).await;
        assert_eq!(
            (house.queue.put_away(), house.ledger().in_hand),
            ((0, 0), 5)
        );
        house.queue.refuse(false);
        after(6_000).await;
        assert_eq!(
            (
                house.queue.put_away(),
                house.ledger().in_hand,
                house.settled(Why::Skipped)
            ),
            ((5, 0), 0, 5)
        );
    });
}

#[test]
fn a_malformed_message_is_a_dead_letter() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.queue.publish(Raw {
            body: vec![b'x'; 1_001].into(),
            ..Raw::default()
        });
        after(50).await;
        assert_eq!(
            (house.settled(Why::Malformed), house.queue.put_away()),
            (1, (0, 1))
        );
    });
}

#[test]
fn a_stop_finishes_what_is_at_work_and_names_the_stragglers() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.publish(0..3, "acme", START_MS);
        after(50).await;
        house.stop.cancel();
        let (queue, metrics) = (house.queue.clone(), Arc::clone(&house.metrics));
        assert_eq!(house.worker.await.unwrap(), Finished::default());
        let ledger = metrics.queue("orders").unwrap().ledger();
        assert_eq!(
            (
                ledger.settled[Why::Done as usize],
                ledger.in_hand,
                queue.ready()
            ),
            (3, 0, 0)
        );

        let house = House::open(clock);
        house.script.takes.set(Duration::from_secs(60));
        house.publish(7..8, "acme", START_MS);
        after(50).await;
        house.stop.cancel();
        let queue = house.queue.clone();
        assert_eq!(house.worker.await.unwrap().stragglers, ["acme-7"]);
        assert_eq!(queue.ready(), 1, "it is redelivered");
    });
}

#[test]
fn a_stop_takes_nothing_more_however_much_is_on_the_move() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.queue.refuse(true);
        house.script.takes.set(Duration::from_secs(1));
        *house.script.answer.borrow_mut() = Box::new(|_| Outcome::Failed("no".into()));
        house.publish(0..1_000, "acme", START_MS);
        after(50).await;
        house.turn("skip", json!(1.0));
        house.stop.cancel();
        let metrics = Arc::clone(&house.metrics);
        house.worker.await.unwrap();
        let ledger = metrics.queue("orders").unwrap().ledger();
        assert!(ledger.received <= 32, "{ledger:?}");
    });
}

#[test]
fn messages_on_the_move_at_the_deadline_are_stragglers() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.queue.refuse(true);
        house.turn("skip", json!(1.0));
        house.publish(7..8, "acme", START_MS);
        after(50).await;
        house.stop.cancel();
        assert_eq!(house.worker.await.unwrap().stragglers, ["acme-7"]);
    });
}

#[test]
fn a_line_whose_head_meets_the_queues_rate_keeps_its_order_and_its_turn() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.script.takes.set(Duration::from_millis(1));
        house.turn("rate", json!("4/s burst 1"));
        house.turn("rate_each", json!("2/s burst 1"));
        house.publish(0..4, "acme", START_MS);
        house.publish(0..4, "other", START_MS);
        after(3_000).await;
        let done = house.script.done.borrow().clone();
        let of = |account: &str| {
            done.iter()
                .filter(|(id, _)| id.starts_with(account))
                .map(|(id, _)| id.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(of("acme"), ["acme-0", "acme-1", "acme-2", "acme-3"]);
        assert_eq!(of("other").len(), 4);
    });
}

#[test]
fn a_line_that_is_due_while_all_slots_are_busy_does_not_spin() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.script.takes.set(Duration::from_secs(3));
        house.turn("rate_each", json!("2/s burst 1"));
        for account in 0..4 {
            house.publish(0..2, &format!("account{account}"), START_MS);
        }
        // In made-up time a loop that spins never lets the time go on, and this would not end.
        after(10_000).await;
        assert_eq!(house.done(), 8);
    });
}

#[test]
fn somebody_elses_flag_does_not_end_a_targets_rest() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        *house.script.answer.borrow_mut() =
            Box::new(|_| Outcome::Throttled(Some(Duration::from_secs(8))));
        house.publish(0..4, "acme", START_MS);
        after(200).await;
        house.publish(4..5, "acme", START_MS);
        house.turn("timeout", json!("20s"));
        after(2_000).await;
        assert_eq!(house.done(), 4);
    });
}

#[test]
fn what_was_done_in_vain_and_cannot_be_placed_is_not_done_again() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.queue.refuse(true);
        *house.script.answer.borrow_mut() =
            Box::new(|_| Outcome::Failed("the worker answered 400".into()));
        house.publish(0..1, "acme", START_MS);
        after(3_600_000).await;
        assert_eq!((house.done(), house.ledger().in_hand), (1, 1));
        house.queue.refuse(false);
        after(6_000).await;
        assert_eq!((house.done(), house.settled(Why::Failed)), (1, 1));
    });
}

#[test]
fn what_cannot_be_parked_for_long_goes_back_and_nothing_is_taken_for_a_while() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.queue.refuse(true);
        house.turn("skip", json!(1.0));
        house.publish(0..100, "acme", START_MS);
        after(320_000).await;
        let taken = house.ledger().received;
        assert!(house.settled(Why::GivenBack) > 0);
        after(120_000).await;
        assert_eq!(
            house.ledger().received,
            taken,
            "nothing is taken while no place takes anything"
        );
        house.queue.refuse(false);
        after(60_000).await;
        assert_eq!(house.queue.put_away().0, 100);
    });
}

#[test]
fn an_impossible_time_neither_comes_first_nor_breaks_anything() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.publish(0..1, "acme", i64::MIN);
        house.publish(1..2, "acme", i64::MAX);
        house.publish(2..3, "acme", 1_795_219_200);
        after(2_000).await;
        assert_eq!((house.done(), house.settled(Why::Done)), (3, 3));
    });
}

#[test]
fn one_message_that_is_always_refused_stops_nobody() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        *house.script.answer.borrow_mut() = Box::new(|job| match job.id.starts_with("poison") {
            true => Outcome::Throttled(Some(Duration::from_secs(10))),
            false => Outcome::Done,
        });
        house.publish(0..1, "poison", START_MS);
        house.publish(0..40, "acme", START_MS);
        after(1_200).await;
        assert_eq!(house.settled(Why::Done), 40);
    });
}

#[test]
fn a_target_that_is_down_does_not_use_up_everybodys_attempts() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.script.takes.set(Duration::ZERO);
        *house.script.answer.borrow_mut() =
            Box::new(|_| Outcome::Retry("connection refused".into()));
        house.publish(0..5_000, "acme", START_MS);
        after(20_000).await;
        assert!(house.done() < 100, "{} were tried in 20 s", house.done());
        *house.script.answer.borrow_mut() = Box::new(|_| Outcome::Done);
        after(20_000).await;
        assert!(house.settled(Why::Done) > 4_000 && house.queue.put_away() == (0, 0));
    });
}

#[test]
fn many_short_waits_for_a_slot_are_spent_in_hand() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.script.takes.set(Duration::from_millis(30));
        house.turn("concurrency_each", json!(1));
        house.publish(0..60, "acme", START_MS);
        after(2_500).await;
        assert_eq!(
            (
                house.done(),
                house.settled(Why::Rate),
                house.settled(Why::Concurrency)
            ),
            (60, 0, 0)
        );
    });
}
