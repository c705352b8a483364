//! Queues that keep their order, in made-up time.

use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::rules::lots::KeyHash;
use crate::store::{BlockedEntry, MOST_BLOCKED, on_a_disk_that_fills};

fn kept(order: Order) -> Queue {
    let slots = order.usual_slots(4);
    Queue {
        order,
        slots,
        prefetch: order.prefetch_for(slots),
        ..settings()
    }
}

impl House {
    fn open_in_order(clock: Clock, order: Order) -> Self {
        Self::open_with(clock, kept(order), None)
    }

    /// What came back from the target of this account, in that order: `7` or, from the second attempt on, `7.2`.
    fn of(&self, account: &str) -> Vec<String> {
        let done = self.script.done.borrow();
        let of_this = done.iter().filter_map(|(id, attempt)| {
            let number = id.strip_prefix(account)?.strip_prefix('-')?;
            Some(match attempt {
                1 => number.to_owned(),
                more => format!("{number}.{more}"),
            })
        });
        of_this.collect()
    }

    fn answers(&self, answer: impl Fn(&Job) -> Outcome + 'static) {
        *self.script.answer.borrow_mut() = Box::new(answer);
    }
}

fn down() -> Outcome {
    Outcome::Retry("the worker answered 500".into())
}

fn refused() -> Outcome {
    Outcome::Failed("the worker answered 400".into())
}

#[test]
fn messages_go_in_the_order_of_delivery_and_one_of_a_key_at_once() {
    in_made_up_time(async |clock| {
        let house = House::open_in_order(clock, Order::Key);
        // The later ones are older: age would put them first.
        for n in 0..8 {
            house.publish(n..n + 1, "acme", START_MS - i64::from(n) * 1_000);
            house.publish(n..n + 1, "bulk", START_MS);
        }
        after(450).await;
        assert_eq!(house.of("acme"), ["0", "1", "2", "3"]);
        assert_eq!(house.script.most_at_once.get(), 2);
        after(2_000).await;
        assert_eq!((house.of("acme").len(), house.of("bulk").len()), (8, 8));
    });
}

#[test]
fn strict_is_one_line_of_all() {
    in_made_up_time(async |clock| {
        let house = House::open_in_order(clock, Order::Strict);
        for n in 0..5 {
            house.publish(n..n + 1, ["acme", "bulk"][n as usize % 2], START_MS);
        }
        after(1_000).await;
        let done = house.script.done.borrow().clone();
        let ids: Vec<&str> = done.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["acme-0", "bulk-1", "acme-2", "bulk-3", "acme-4"]);
        assert_eq!(house.script.most_at_once.get(), 1);
    });
}

#[test]
fn a_retry_waits_in_its_place_and_only_its_key_waits_with_it() {
    in_made_up_time(async |clock| {
        let house = House::open_in_order(clock, Order::Key);
        house.answers(|job| match (&*job.id, job.attempt) {
            ("acme-0", 1 | 2) => down(),
            _ => Outcome::Done,
        });
        house.publish(0..3, "acme", START_MS);
        house.publish(0..20, "bulk", START_MS);
        after(2_500).await;
        // Somebody else's flag ends no wait.
        house.turn("timeout", json!("20s"));
        after(1_500).await;
        assert_eq!(house.of("acme"), ["0", "0.2"]);
        assert_eq!(house.of("bulk").len(), 20);
        after(3_000).await;
        assert_eq!(house.of("acme"), ["0", "0.2", "0.3", "1", "2"]);
        assert_eq!((house.settled(Why::Retry), house.queue.delayed()), (0, 0));
        assert_eq!(house.settled(Why::Done), 23);
    });
}

#[test]
fn a_throttled_one_waits_as_long_as_it_is_asked_to_and_no_attempt_is_counted() {
    in_made_up_time(async |clock| {
        let house = House::open_in_order(clock, Order::Key);
        let asked = Cell::new(0);
        house.answers(move |job| {
            asked.set(asked.get() + 1);
            match (&*job.id, asked.get()) {
                ("acme-0", 1) => Outcome::Throttled(Some(Duration::from_secs(40))),
                _ => Outcome::Done,
            }
        });
        house.publish(0..2, "acme", START_MS);
        after(39_000).await;
        assert_eq!(house.of("acme"), ["0"]);
        after(2_000).await;
        assert_eq!(house.of("acme"), ["0", "0", "1"]);
    });
}

#[test]
fn what_follows_a_failed_one_is_parked_until_its_key_is_released() {
    in_made_up_time(async |clock| {
        let house = House::open_in_order(clock, Order::Key);
        house.answers(|job| match &*job.id {
            "acme-1" => refused(),
            _ => Outcome::Done,
        });
        house.publish(0..5, "acme", START_MS);
        house.publish(0..5, "bulk", START_MS);
        after(1_000).await;
        house.publish(5..7, "acme", START_MS);
        after(1_000).await;
        assert_eq!(house.of("acme"), ["0", "1"]);
        assert_eq!(house.of("bulk").len(), 5);
        assert_eq!(
            (house.settled(Why::Failed), house.settled(Why::Blocked)),
            (1, 5)
        );
        assert_eq!(house.queue.put_away(), (5, 1));
        let [entry] = &house.blocked.oldest(9)[..] else {
            panic!("one key is blocked");
        };
        assert_eq!(entry.key, "acme");
        assert!(entry.cause.contains("acme-1") && entry.cause.contains("answered 400"));
        assert!(entry.since_ms > START_MS);
        house.blocked.release(&house.blocked.named(None)).unwrap();
        house.publish(7..9, "acme", START_MS);
        after(1_000).await;
        assert_eq!(house.of("acme"), ["0", "1", "7", "8"]);
    });
}

#[test]
fn the_last_attempt_blocks_and_so_does_an_unknown_one_that_is_parked() {
    for (outcome, on_unknown, expected) in [
        (down(), OnUnknown::Retry, (Why::Attempts, (2, 1))),
        (
            Outcome::Unknown("cut off".into()),
            OnUnknown::Park,
            (Why::Unknown, (3, 0)),
        ),
    ] {
        in_made_up_time(async move |clock| {
            let house = House::open_with(
                clock,
                Queue {
                    on_unknown,
                    ..kept(Order::Strict)
                },
                None,
            );
            house.answers(move |_| outcome.clone());
            house.publish(0..2, "acme", START_MS);
            house.publish(0..1, "bulk", START_MS);
            after(60_000).await;
            assert_eq!(house.settled(expected.0), 1);
            assert_eq!(house.queue.put_away(), expected.1, "all that follows");
            assert_eq!(house.blocked.named(Some("*")).len(), 1);
        });
    }
}

#[test]
fn a_shed_one_blocks_nobody() {
    in_made_up_time(async |clock| {
        let house = House::open_in_order(clock, Order::Key);
        house.turn("max_age", json!("30s"));
        house.publish(0..1, "acme", START_MS);
        house.publish(1..2, "acme", START_MS - 31_000);
        house.publish(2..3, "acme", START_MS);
        after(1_000).await;
        assert_eq!(house.of("acme"), ["0", "2"]);
        assert_eq!((house.settled(Why::Expired), house.blocked.count()), (1, 0));
    });
}

#[test]
fn a_pause_gives_all_back_in_its_order_once_what_is_at_work_has_ended() {
    in_made_up_time(async |clock| {
        let house = House::open_in_order(clock, Order::Key);
        house.answers(|job| match (&*job.id, job.attempt) {
            ("acme-0", 1) => down(),
            _ => Outcome::Done,
        });
        house.publish(0..5, "acme", START_MS);
        after(50).await;
        house.turn("pause", json!(true));
        after(20).await;
        assert_eq!((house.ledger().in_hand, house.queue.ready()), (5, 0));
        house.publish(5..8, "acme", START_MS);
        after(5_000).await;
        assert_eq!((house.ledger().in_hand, house.queue.ready()), (0, 8));
        house.turn("pause", json!(false));
        after(5_000).await;
        assert_eq!(
            house.of("acme"),
            ["0", "0.2", "1", "2", "3", "4", "5", "6", "7"]
        );
    });
}

#[test]
fn the_end_of_a_long_line_waits_in_its_lane_and_others_have_room() {
    in_made_up_time(async |clock| {
        let house = House::open_in_order(clock, Order::Key);
        house.script.takes.set(Duration::from_millis(10));
        house.answers(|job| match (&*job.id, job.attempt) {
            ("acme-0", 1 | 2) => down(),
            _ => Outcome::Done,
        });
        house.publish(0..600, "acme", START_MS);
        house.publish(0..20, "bulk", START_MS);
        after(4_000).await;
        assert_eq!(house.of("bulk").len(), 20);
        assert_eq!(house.of("acme"), ["0", "0.2"]);
        after(1_000).await;
        house.queue.break_link();
        after(3_000).await;
        house.turn("pause", json!(true));
        after(3_000).await;
        house.turn("pause", json!(false));
        house.publish(600..620, "acme", START_MS);
        after(20_000).await;
        let firsts: Vec<String> = (1..620).map(|n| n.to_string()).collect();
        let mut done = house.of("acme");
        done.retain(|one| !one.contains('.') && one != "0");
        done.dedup();
        assert_eq!(done, firsts);
        assert!(house.settled(Why::Concurrency) > 0, "some waited in a lane");
        assert_eq!(house.ledger().in_hand, 0);
    });
}

#[test]
fn one_that_its_lane_refuses_comes_before_those_that_follow_it() {
    in_made_up_time(async |clock| {
        let house = House::open_in_order(clock, Order::Key);
        house.script.takes.set(Duration::from_millis(10));
        house.answers(|job| match (&*job.id, job.attempt) {
            ("acme-0", 1 | 2) => down(),
            _ => Outcome::Done,
        });
        house.queue.refuse_some(40);
        house.publish(0..600, "acme", START_MS);
        after(100_000).await;
        let mut done = house.of("acme");
        done.retain(|one| !one.contains('.') && one != "0");
        let rest: Vec<String> = (1..600).map(|n| n.to_string()).collect();
        assert_eq!(done, rest);
        assert!(house.queue.put_into_lanes() > 0);
    });
}

#[test]
fn a_broken_link_loses_neither_the_order_nor_the_count_of_attempts() {
    in_made_up_time(async |clock| {
        let house = House::open_in_order(clock, Order::Key);
        house.answers(|job| match &*job.id {
            "acme-0" => down(),
            _ => Outcome::Done,
        });
        house.publish(0..4, "acme", START_MS);
        house.publish(0..4, "bulk", START_MS);
        after(150).await;
        house.queue.break_link();
        after(5_000).await;
        house.queue.break_link();
        after(20_000).await;
        assert_eq!(house.of("acme"), ["0", "0.2", "0.3"]);
        assert_eq!(
            (house.settled(Why::Attempts), house.settled(Why::Blocked)),
            (1, 3)
        );
        assert_eq!(
            house.of("bulk"),
            ["0", "1", "1", "2", "3"],
            "one was at work"
        );
    });
}

#[test]
fn a_stop_leaves_the_rest_in_its_order() {
    in_made_up_time(async |clock| {
        let house = House::open_in_order(clock, Order::Key);
        house.answers(|_| down());
        house.publish(0..40, "acme", START_MS);
        after(50).await;
        house.stop.cancel();
        let (queue, metrics) = (house.queue.clone(), Arc::clone(&house.metrics));
        assert_eq!(house.worker.await.unwrap(), Finished::default());
        let ledger = metrics.queue("orders").unwrap().ledger();
        assert!(ledger.adds_up() && ledger.in_hand == 0, "{ledger:?}");
        assert_eq!(queue.ready(), 40);

        let house = House::open_on(clock, kept(Order::Key), queue, None);
        after(5_000).await;
        let all: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        assert_eq!(house.of("acme"), all);
    });
}

#[test]
fn as_long_as_a_block_cannot_be_written_the_failed_one_is_held_and_nothing_follows_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, full) = on_a_disk_that_fills(dir.path());
    in_made_up_time(async |clock| {
        let house = House::open_on(
            clock,
            kept(Order::Key),
            MemoryQueue::new(clock),
            Some(store),
        );
        house.answers(|job| match &*job.id {
            "acme-0" => refused(),
            _ => Outcome::Done,
        });
        full.store(true, Ordering::SeqCst);
        house.publish(0..3, "acme", START_MS);
        house.publish(0..3, "bulk", START_MS);
        after(5_000).await;
        assert_eq!((house.of("acme").len(), house.of("bulk").len()), (1, 3));
        assert_eq!(house.ledger().in_hand, 3);
        assert_eq!(house.settled(Why::Failed), 0);
        full.store(false, Ordering::SeqCst);
        after(2_000).await;
        assert_eq!(
            (house.settled(Why::Failed), house.settled(Why::Blocked)),
            (1, 2)
        );
    });
}

#[test]
#[expect(
    clippy::await_holding_lock,
    reason = "the lock stands for a disk that does not answer meanwhile"
)]
fn a_disk_that_hangs_holds_up_no_other_key() {
    in_made_up_time(async |clock| {
        let house = House::open_in_order(clock, Order::Key);
        house.answers(|job| match &*job.id {
            "acme-0" => refused(),
            _ => Outcome::Done,
        });
        after(50).await;
        let hung = house.blocked.hang();
        house.publish(0..3, "acme", START_MS);
        house.publish(0..5, "bulk", START_MS);
        for _ in 0..200 {
            // Time does not pass by itself while another thread waits.
            tokio::time::advance(Duration::from_millis(10)).await;
            tokio::task::yield_now().await;
        }
        assert_eq!((house.of("acme").len(), house.of("bulk").len()), (1, 5));
        assert_eq!((house.settled(Why::Failed), house.blocked.count()), (0, 0));
        drop(hung);
        after(2_000).await;
        assert_eq!(
            (house.settled(Why::Failed), house.settled(Why::Blocked)),
            (1, 2)
        );
    });
}

#[test]
fn when_no_more_keys_can_be_blocked_the_failed_are_held_until_one_is_released() {
    in_made_up_time(async |clock| {
        let house = House::open_in_order(clock, Order::Key);
        for number in 0..MOST_BLOCKED {
            let key = format!("key{number}");
            let entry = BlockedEntry {
                hash: KeyHash::of(key.as_bytes()),
                key,
                cause: "it failed".to_owned(),
                since_ms: START_MS,
            };
            house.blocked.keep(entry).unwrap();
        }
        house.answers(|job| match job.id.starts_with("bulk") {
            true => Outcome::Done,
            false => refused(),
        });
        house.publish(0..3, "acme", START_MS);
        house.publish(0..2, "zeta", START_MS);
        house.publish(0..3, "bulk", START_MS);
        after(5_000).await;
        assert_eq!((house.of("acme").len(), house.of("zeta").len()), (1, 1));
        assert_eq!((house.of("bulk").len(), house.ledger().in_hand), (3, 5));
        let detail = || house.vitals.report(clock.now().mono).state_detail;
        assert!(detail().starts_with("2 failed messages are held"));
        assert!(detail().contains("sluicegate queue release"));
        let release = |key| house.blocked.release(&house.blocked.named(Some(key)));
        release("key7").unwrap();
        after(2_000).await;
        assert_eq!((house.settled(Why::Failed), house.ledger().in_hand), (1, 2));
        release("key8").unwrap();
        after(2_000).await;
        assert_eq!((house.settled(Why::Failed), house.ledger().in_hand), (2, 0));
        assert!(detail().starts_with("10000 blocked keys"), "{}", detail());
    });
}

/// What a test does to the queue in the middle.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Break,
    Kill,
    Pause,
    Skip,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn first_occurrences_of_a_line_are_done_in_its_order_whatever_happens(
        strict in any::<bool>(),
        fates in prop::collection::vec(0u8..12, 30),
        blows in prop::collection::vec((0u64..8_000, prop_oneof![Just(Blow::Break), Just(Blow::Kill), Just(Blow::Pause), Just(Blow::Skip)]), 0..4),
    ) {
        in_made_up_time(async move |clock| {
            let order = if strict { Order::Strict } else { Order::Key };
            // A small prefetch, so that lines are soon long enough for a lane.
            let settings = Queue { prefetch: 16, ..kept(order) };
            let mut house = House::open_with(clock, settings, None);
            let refused_ids: Vec<usize> = (0..30).filter(|n| fates[*n] == 0).collect();
            house.answers(move |job| match (fates[number(&job.id)], job.attempt) {
                (0, _) => refused(),
                (1, _) => down(),
                (2 | 3, 1) => down(),
                (4, 1) => Outcome::Unknown("cut off".into()),
                _ => Outcome::Done,
            });
            for n in 0..30 {
                let account = ["acme", "bulk", "small"][n as usize % 3];
                house.publish(n..n + 1, account, START_MS);
            }
            for (wait, blow) in blows {
                after(wait).await;
                match blow {
                    Blow::Break => house.queue.break_link(),
                    Blow::Kill => house.die_and_begin_again(clock).await,
                    Blow::Skip => house.turn("skip", json!(0.2)),
                    Blow::Pause => {
                        house.turn("pause", json!(true));
                        after(wait / 2).await;
                        house.turn("pause", json!(false));
                    }
                }
            }
            after(400_000).await;
            let ledger = house.ledger();
            assert_eq!((ledger.in_hand, house.queue.ready()), (0, 0), "all has its end");
            in_order(&house, strict, &refused_ids);
        });
    }
}

fn number(id: &str) -> usize {
    id.rsplit('-').next().unwrap().parse().unwrap()
}

fn in_order(house: &House, strict: bool, refused_ids: &[usize]) {
    let done = house.script.done.borrow();
    let mut highest: BTreeMap<&str, usize> = BTreeMap::new();
    let mut blocked: BTreeMap<&str, usize> = BTreeMap::new();
    for (id, _) in done.iter() {
        let line = if strict {
            "*"
        } else {
            id.split('-').next().unwrap()
        };
        let before = highest.entry(line).or_insert(0);
        // A repeated one comes before everything that follows it for the first time.
        assert!(number(id) >= *before, "{id} came after {before}: {done:?}");
        *before = number(id);
        let first = *blocked.entry(line).or_insert(usize::MAX);
        assert!(number(id) <= first, "{id} follows a failed one: {done:?}");
        if refused_ids.contains(&number(id)) {
            blocked.insert(line, number(id));
        }
    }
}
