//! The worker in front of an admitted queue, in made-up time.

use std::time::Duration;

use serde_json::json;

use super::Finished;
use super::tests::{House, START_MS, after, in_made_up_time, settings};
use crate::clock::Clock;
use crate::config::{OnUnknown, Queue, TargetSettings};
use crate::rules::handed::{Reported, Told};
use crate::rules::lots::KeyHash;
use crate::rules::verdict::Why;
use crate::seams::Outcome;
use crate::targets::{Handlers, build};

/// A house whose target is an admitted queue with room for `room` messages.
fn admitting(clock: Clock, room: usize) -> House {
    let settings = Queue {
        target: TargetSettings::Queue("orders.admitted".to_owned()),
        ..settings()
    };
    let target = settings.target.clone();
    let made = Box::new(move |outlet: &crate::memory::MemoryOutlet| {
        let none = Handlers::default();
        build(&target, (&none, &[]), clock, outlet, (OnUnknown::Retry, 5)).unwrap()
    });
    let house = House::open_with(clock, settings, Some(made));
    house.queue.admit_at_most(room);
    house
}

impl House {
    fn refusals(&self) -> u64 {
        let page = self.metrics.encode().unwrap();
        let series = "sluicegate_target_full_total{queue=\"orders\"} ";
        let line = page.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap().parse().unwrap()
    }

    fn detail(&self, clock: Clock) -> String {
        self.vitals.report(clock.now().mono).state_detail
    }

    /// Takes all that was admitted, as ids.
    fn take_all(&self) -> Vec<String> {
        std::iter::from_fn(|| self.queue.take_admitted())
            .filter_map(|message| message.properties.message_id)
            .collect()
    }
}

#[test]
fn what_there_is_room_for_is_handed_over_and_the_rest_stays_in_hand() {
    in_made_up_time(async |clock| {
        let house = admitting(clock, 4);
        house.publish(0..20, "acme", START_MS);
        after(3_000).await;
        assert_eq!(
            (house.queue.admitted(), house.settled(Why::HandedOver)),
            (4, 4)
        );
        assert_eq!(house.ledger().in_hand, 16, "all within the prefetch");
        assert_eq!((house.queue.delayed(), house.queue.put_away()), (0, (0, 0)));
        assert_eq!(house.detail(clock), "waiting for room in orders.admitted");
        assert_eq!(house.vitals.ready(), Ok(()), "a full queue is no trouble");
        assert!(house.refusals() > 2, "{}", house.refusals());
        assert!(
            house.refusals() < 20,
            "it is not asked in vain all the time: {}",
            house.refusals()
        );
        let mut taken = vec![];
        for _ in 0..20 {
            taken.extend(house.take_all());
            after(1_100).await;
        }
        taken.extend(house.take_all());
        let all: Vec<String> = (0..20).map(|number| format!("acme-{number}")).collect();
        assert_eq!(taken, all, "in their order, each once");
        assert_eq!(
            (house.settled(Why::HandedOver), house.ledger().in_hand),
            (20, 0)
        );
        after(1_100).await;
        assert_eq!(house.detail(clock), "");
    });
}

#[test]
fn those_that_are_refused_at_once_are_all_in_hand_again() {
    in_made_up_time(async |clock| {
        let house = House::open(clock);
        *house.script.answer.borrow_mut() = Box::new(|_| Outcome::Full);
        // All of one moment, and all dispatched as they come.
        house.publish(0..4, "acme", START_MS);
        after(300).await;
        assert_eq!(house.ledger().in_hand, 4);
        *house.script.answer.borrow_mut() = Box::new(|_| Outcome::Done);
        after(3_000).await;
        assert_eq!((house.settled(Why::Done), house.ledger().in_hand), (4, 0));
    });
}

#[test]
fn nothing_goes_stale_while_it_waits_for_room() {
    in_made_up_time(async |clock| {
        let house = admitting(clock, 4);
        house.turn("max_age", json!("10s"));
        house.publish(0..16, "acme", START_MS);
        after(11_000).await;
        assert_eq!(house.take_all().len(), 4);
        after(1_500).await;
        assert_eq!(
            (house.queue.admitted(), house.settled(Why::Expired)),
            (0, 12)
        );
        house.publish(16..18, "acme", clock.now().ms);
        after(1_500).await;
        assert_eq!(house.take_all(), ["acme-16", "acme-17"]);
    });
}

#[test]
fn a_degraded_one_is_handed_over_as_the_gate_says_when_there_is_room() {
    in_made_up_time(async |clock| {
        let house = admitting(clock, 1);
        house.publish(0..3, "acme", START_MS);
        after(500).await;
        house.turn("skip", json!(1.0));
        assert_eq!(house.take_all(), ["acme-0"]);
        after(1_500).await;
        assert_eq!(
            (house.queue.admitted(), house.settled(Why::Skipped)),
            (0, 2)
        );
    });
}

#[test]
fn what_was_not_taken_is_no_attempt_and_spends_no_rate() {
    in_made_up_time(async |clock| {
        let house = admitting(clock, 2);
        house.turn("rate_each", json!("5/s burst 1"));
        house.publish(0..6, "acme", START_MS);
        after(10_000).await;
        let attempts = |house: &House| {
            let admitted = std::iter::from_fn(|| house.queue.take_admitted());
            let attempt = |headers: &[(String, crate::rules::message::Field)]| {
                let header = headers
                    .iter()
                    .find(|(name, _)| name == "x-sluicegate-attempt");
                header.and_then(|(_, value)| value.as_integer())
            };
            admitted
                .map(|one| attempt(&one.headers))
                .collect::<Vec<_>>()
        };
        assert_eq!(attempts(&house), [Some(1), Some(1)]);
        after(2_500).await;
        assert_eq!(attempts(&house), [Some(1), Some(1)]);
        after(2_500).await;
        assert_eq!(attempts(&house), [Some(1), Some(1)]);
        assert_eq!(
            (house.settled(Why::Rate), house.settled(Why::HandedOver)),
            (0, 6),
            "nothing is delayed elsewhere"
        );
    });
}

#[test]
fn a_target_that_cannot_be_reached_is_trouble_and_takes_again_when_it_can() {
    in_made_up_time(async |clock| {
        let house = admitting(clock, 100);
        house.queue.refuse(true);
        house.publish(0..5, "acme", START_MS);
        after(5_000).await;
        assert_eq!((house.queue.admitted(), house.ledger().in_hand), (0, 5));
        let detail = house.detail(clock);
        assert!(detail.starts_with("nothing can be admitted"), "{detail}");
        house.queue.refuse(false);
        after(2_000).await;
        assert_eq!(house.queue.admitted(), 5);
        assert_eq!(house.detail(clock), "");
    });
}

#[test]
fn a_pause_and_a_stop_give_back_what_waits_for_room() {
    in_made_up_time(async |clock| {
        let house = admitting(clock, 2);
        house.publish(0..10, "acme", START_MS);
        after(500).await;
        house.turn("pause", json!(true));
        after(500).await;
        assert_eq!((house.queue.ready(), house.ledger().in_hand), (8, 0));
        house.turn("pause", json!(false));
        after(500).await;
        house.stop.cancel();
        let queue = house.queue.clone();
        assert_eq!(house.worker.await.unwrap(), Finished::default());
        assert_eq!((queue.ready(), queue.admitted()), (8, 2));
    });
}

#[test]
fn a_broken_link_hands_over_twice_at_most_and_loses_nothing() {
    in_made_up_time(async |clock| {
        let house = admitting(clock, 5);
        house.publish(0..20, "acme", START_MS);
        let mut taken = vec![];
        for round in 0..30 {
            after(700).await;
            if round % 5 == 0 {
                house.queue.break_link();
            }
            taken.extend(house.take_all());
        }
        taken.sort();
        taken.dedup();
        assert_eq!((taken.len(), house.ledger().in_hand), (20, 0));
    });
}

#[test]
fn what_is_handed_over_is_remembered_for_its_report_and_nothing_else() {
    in_made_up_time(async |clock| {
        let house = admitting(clock, 2);
        house.publish(0..3, "acme", START_MS);
        after(100).await;
        let now = clock.now().mono;
        let report = |id: &str| {
            let id = KeyHash::of(id.as_bytes());
            house.vitals.reported(id, Reported::Done, now)
        };
        let Told::Counted(work) = report("acme-0") else {
            panic!("it was handed over")
        };
        assert_eq!(work.key.map(|(_, key)| key).as_deref(), Some("acme"));
        assert!(work.at < Duration::from_millis(50) && now >= work.at);
        assert_eq!(report("acme-0"), Told::Repeated);
        assert_eq!(report("acme-2"), Told::Unknown, "it waits for room");
        assert_eq!(house.vitals.report(now).unreported, 1);
    });
}

#[test]
fn a_fast_consumer_is_kept_busy() {
    in_made_up_time(async |clock| {
        let house = admitting(clock, 50);
        house.publish(0..3_000, "acme", START_MS);
        let mut taken = 0;
        for _ in 0..1_000 {
            after(1).await;
            for _ in 0..2 {
                taken += usize::from(house.queue.take_admitted().is_some());
            }
        }
        assert!(taken > 1_900, "{taken} of 2000 in a second");
    });
}
