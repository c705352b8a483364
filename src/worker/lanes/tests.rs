//! The worker's lanes on the queue in memory, in made-up time.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::super::tests::{House, START_MS, after, in_made_up_time, settings};
use crate::config::Queue;
use crate::rules::lane::{Lane, MOST_LANES};
use crate::rules::lots::KeyHash;
use crate::rules::verdict::Why;
use crate::store::KeptLanes;

/// `acme-0`, `acme-1`, …
fn in_order(account: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{account}-{number}"))
        .collect()
}

#[test]
fn a_flooding_key_keeps_its_rate_and_its_order_and_others_pass() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.script.takes.set(Duration::from_millis(10));
        house.turn("rate_each", json!("10/s burst 1"));
        house.publish(0..1_000, "flood", START_MS);
        for other in 0..20 {
            house.publish(0..1, &format!("other{other}"), START_MS);
        }
        after(2_000).await;
        assert_eq!(house.done_of("other").len(), 20);
        after(58_000).await;
        let done = house.done_of("flood");
        assert_eq!(done, in_order("flood", done.len()));
        assert!((570..=601).contains(&done.len()), "{}", done.len());
        after(60_000).await;
        assert_eq!(house.done(), 1_020);
        let aside = house.settled(Why::Rate);
        assert!((900..=1_000).contains(&aside), "each went once: {aside}");
        assert_eq!(house.ledger().received, 1_020 + aside);
        assert_eq!(
            house.settled(Why::GivenBack) + house.settled(Why::Unsettled),
            0
        );
    });
}

#[test]
fn newer_ones_follow_into_the_lane_and_it_is_removed_when_it_was_quiet() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.script.takes.set(Duration::from_millis(1));
        house.turn("rate_each", json!("10/s burst 1"));
        for batch in 0..10 {
            house.publish(batch * 20..(batch + 1) * 20, "flood", START_MS);
            after(1_000).await;
        }
        assert_eq!(house.vitals.in_lanes().0, 1);
        after(15_000).await;
        assert_eq!(house.done_of("flood"), in_order("flood", 200));
        after(45_000).await;
        assert_eq!(house.vitals.in_lanes(), (0, 0), "the lane is gone");
        house.publish(200..300, "flood", START_MS);
        after(30_000).await;
        assert_eq!(house.done_of("flood"), in_order("flood", 300));
    });
}

#[test]
fn without_a_limit_the_lane_is_emptied_at_full_speed() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.script.takes.set(Duration::from_millis(1));
        house.turn("rate_each", json!("1/h"));
        house.publish(0..500, "flood", START_MS);
        after(10_000).await;
        assert_eq!(house.done(), 1);
        let line = house.vitals.lane("flood").unwrap();
        assert_eq!(line.waiting, Some(499));
        assert!(line.eta.unwrap() > Duration::from_secs(498 * 3_600));
        house.turn("rate_each", json!(null));
        after(2_000).await;
        assert_eq!(house.done(), 500);
    });
}

#[test]
fn a_slow_key_is_taken_shortly_before_its_time() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.turn("rate_each", json!("6/h burst 1"));
        house.publish(0..5, "slow", START_MS);
        after(60_000).await;
        assert_eq!((house.done(), house.ledger().in_hand), (1, 0));
        after(40 * 60_000).await;
        assert_eq!(house.done_of("slow"), in_order("slow", 5));
        assert_eq!(house.settled(Why::GivenBack), 0);
        assert_eq!(house.settled(Why::Rate), 4);
    });
}

#[test]
fn few_slots_for_a_key_are_kept_and_its_lane_is_in_order() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.script.takes.set(Duration::from_millis(500));
        house.turn("concurrency_each", json!(1));
        house.publish(0..60, "flood", START_MS);
        house.publish(0..3, "other", START_MS);
        after(4_000).await;
        assert_eq!(house.done_of("other").len(), 3);
        after(28_000).await;
        assert_eq!(house.done_of("flood"), in_order("flood", 60));
        assert!(house.settled(Why::Concurrency) > 30);
    });
}

#[test]
fn after_a_death_stored_lanes_are_emptied_in_order() {
    in_made_up_time(async |clock| {
        let mut house = House::open(clock);
        house.script.takes.set(Duration::from_millis(1));
        house.turn("rate_each", json!("20/s burst 1"));
        house.publish(0..300, "flood", START_MS);
        for life in 1..=3 {
            after(3_000).await;
            house.die_and_begin_again(clock).await;
            house.publish(0..1, &format!("other{life}"), START_MS);
        }
        after(20_000).await;
        let mut done = house.done_of("flood");
        done.dedup();
        assert_eq!(done, in_order("flood", 300));
        assert_eq!(house.done_of("other").len(), 3);
        assert!(house.settled(Why::Rate) <= 300);
    });
}

#[test]
fn a_broken_link_breaks_no_order() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.script.takes.set(Duration::from_millis(1));
        house.turn("rate_each", json!("20/s burst 1"));
        house.publish(0..200, "flood", START_MS);
        for _ in 0..3 {
            after(2_000).await;
            house.queue.break_link();
        }
        after(20_000).await;
        let mut done = house.done_of("flood");
        done.dedup();
        assert_eq!(done, in_order("flood", 200));
        assert_eq!(house.ledger().in_hand, 0);
    });
}

#[test]
fn what_cannot_be_put_in_a_lane_waits_and_keeps_its_order() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.script.takes.set(Duration::from_millis(1));
        house.turn("rate_each", json!("20/s burst 1"));
        house.queue.refuse(true);
        house.publish(0..300, "flood", START_MS);
        after(10_000).await;
        assert_eq!(house.settled(Why::Rate), 0);
        house.queue.refuse(false);
        after(3_000).await;
        house.queue.refuse(true);
        after(3_000).await;
        house.queue.refuse(false);
        after(30_000).await;
        assert_eq!(house.done_of("flood"), in_order("flood", 300));
    });
}

#[test]
fn a_pause_leaves_lanes_alone() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.script.takes.set(Duration::from_millis(1));
        house.turn("rate_each", json!("20/s burst 1"));
        house.publish(0..200, "flood", START_MS);
        after(3_000).await;
        house.turn("pause", json!(true));
        after(5_000).await;
        let before = house.done();
        assert_eq!(house.ledger().in_hand, 0);
        after(60_000).await;
        assert_eq!((house.done(), house.ledger().in_hand), (before, 0));
        house.turn("pause", json!(false));
        after(15_000).await;
        assert_eq!(house.done_of("flood"), in_order("flood", 200));
    });
}

#[test]
fn what_grows_old_in_a_lane_is_shed_when_it_is_taken() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.script.takes.set(Duration::from_millis(1));
        house.turn("rate_each", json!("10/s burst 1"));
        house.turn("max_age", json!("10s"));
        house.publish(0..1_000, "flood", START_MS);
        after(20_000).await;
        let expired = house.settled(Why::Expired);
        assert!(
            (890..=910).contains(&expired),
            "{expired} of 1000, 10 s at 10/s"
        );
        assert_eq!(house.done() as u64 + expired, 1_000);
    });
}

#[test]
fn keys_above_the_most_share_a_lane_and_none_blocks_another() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.script.takes.set(Duration::from_millis(1));
        house.turn("rate_each", json!("1/s burst 1"));
        let keys = u32::try_from(MOST_LANES).unwrap() + 20;
        for number in 0..20 {
            for key in 0..keys {
                house.publish(number..number + 1, &format!("key{key:03}"), START_MS);
            }
        }
        after(6_000).await;
        let shared = |house: &House| {
            let lines = house.vitals.lanes_after("", 1_000);
            lines.iter().filter(|line| line.shared).count()
        };
        assert!(shared(&house) > 0, "{:?}", house.vitals.in_lanes());
        after(120_000).await;
        for key in 0..keys {
            let account = format!("key{key:03}");
            assert_eq!(house.done_of(&account), in_order(&account, 20));
        }
        assert_eq!(shared(&house), 0);
        let aside = house.settled(Why::Rate);
        assert!(
            aside < 20_000,
            "those of the shared lane went round {aside} times in all"
        );
    });
}

#[test]
fn where_no_lane_may_be_opened_delay_queues_serve() {
    in_made_up_time(async |clock| {
        let undeclared = Queue {
            declare: false,
            ..settings()
        };
        let house = House::open_with(clock, undeclared, None);
        house.script.takes.set(Duration::from_millis(1));
        house.turn("rate_each", json!("2/s burst 1"));
        house.publish(0..50, "flood", START_MS);
        after(3_000).await;
        assert_eq!(house.vitals.in_lanes(), (0, 0));
        assert!(house.queue.delayed() > 0);
        after(60_000).await;
        assert_eq!(house.done(), 50);
    });
}

#[test]
fn a_lane_that_cannot_be_read_is_told_and_filled_no_further() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.script.takes.set(Duration::from_millis(1));
        house.turn("rate_each", json!("10/s burst 1"));
        let lane = Lane::Own(KeyHash::of(b"flood"));
        house.queue.forbid(lane, true);
        house.publish(0..100, "flood", START_MS);
        after(3_000).await;
        let line = house.vitals.lane("flood").unwrap();
        assert!(line.unread.unwrap().contains("not permitted"));
        assert_eq!(line.eta, None);
        let detail = house.vitals.report(clock.now().mono).state_detail;
        assert!(detail.contains("1 lanes cannot be read"), "{detail}");
        let there = house.queue.lane(lane).unwrap().len();
        house.publish(100..160, "flood", START_MS);
        after(30_000).await;
        assert_eq!(house.queue.lane(lane).unwrap().len(), there);
        assert_eq!(house.done(), 160 - there, "the others take another way");
        house.queue.forbid(lane, false);
        after(20_000).await;
        assert_eq!(house.done(), 160);
        assert_eq!(house.vitals.report(clock.now().mono).state_detail, "");
    });
}

#[test]
fn a_damaged_record_keeps_no_lane_from_being_emptied() {
    in_made_up_time(async |clock| {
        let mut house = House::open(clock);
        house.script.takes.set(Duration::from_millis(1));
        house.turn("rate_each", json!("10/s burst 1"));
        house.publish(0..100, "flood", START_MS);
        house.publish(0..100, "spate", START_MS);
        after(3_000).await;
        let book = house.store.lanes(&house.settings.name);
        book.damage(Lane::Own(KeyHash::of(b"flood")));
        house.die_and_begin_again(clock).await;
        after(3_000).await;
        let line = house.vitals.lane("flood").unwrap();
        assert!(line.waiting > Some(0), "its key is known again: {line:?}");
        after(10_000).await;
        for account in ["flood", "spate"] {
            let mut done = house.done_of(account);
            done.dedup();
            assert_eq!(done, in_order(account, 100));
        }
        after(60_000).await;
        assert_eq!(book.all(), KeptLanes::default(), "gone with its lane");
    });
}

#[test]
fn what_was_lost_while_it_waited_for_its_lane_says_nothing_of_the_lane() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        house.script.takes.set(Duration::from_millis(1));
        house.turn("rate_each", json!("1/s burst 1"));
        house.queue.refuse(true);
        house.publish(0..100, "flood", START_MS);
        after(200_000).await;
        house.queue.break_link();
        after(110_000).await;
        house.queue.refuse(false);
        house.publish(0..1, "other", START_MS);
        after(6_000).await;
        assert_eq!(house.done_of("other").len(), 1, "more is taken");
        assert_eq!(house.settled(Why::GivenBack), 0);
    });
}

#[test]
fn lanes_of_before_are_emptied_where_none_may_be_made() {
    in_made_up_time(async |clock| {
        let mut house = House::open(clock);
        house.script.takes.set(Duration::from_millis(1));
        house.turn("rate_each", json!("20/s burst 1"));
        house.publish(0..200, "flood", START_MS);
        after(3_000).await;
        house.settings = Arc::new(Queue {
            declare: false,
            ..settings()
        });
        house.die_and_begin_again(clock).await;
        after(1_500).await;
        let detail = || house.vitals.report(clock.now().mono).state_detail;
        assert!(
            detail().contains("1 lanes of a time before"),
            "{}",
            detail()
        );
        after(15_000).await;
        let mut done = house.done_of("flood");
        done.dedup();
        assert_eq!(done, in_order("flood", 200));
        assert_eq!(detail(), "");
    });
}
