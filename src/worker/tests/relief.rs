//! Relief by the worker: overload, what is shed, what is spared, and that it lets go.

use super::*;
use crate::config::BadActor;
use crate::rules::units::Ratio;

/// Jobs of 100 ms in four slots: forty a second.
const CAPACITY: u32 = 40;
const DEADLINE: Duration = Duration::from_secs(3);

fn relieved(change: impl FnOnce(&mut Queue)) -> Queue {
    let mut queue = Queue {
        deadline_after: Some(DEADLINE),
        ..settings()
    };
    change(&mut queue);
    queue
}

impl House {
    /// Publishes so many a second for so many seconds, each from the account that `who` says; numbers go on from `from`.
    async fn offer(
        &self,
        clock: Clock,
        (rate, seconds): (u32, u32),
        from: u32,
        who: impl Fn(u32) -> &'static str,
    ) {
        for number in 0..rate * seconds {
            let id = from + number;
            self.publish(id..id + 1, who(number), clock.now().ms);
            after(1_000 / u64::from(rate)).await;
        }
    }

    fn protect(&self, account: &str) {
        let snapshot = self.store.snapshot();
        let flag = snapshot.flag("queue.orders.protect").unwrap();
        let mut document = flag.document().clone();
        let when = json!([{"attribute": "account", "op": "in", "values": [account]}]);
        let rules = json!([{"name": "some", "when": when, "value": true}]);
        document.rules = serde_json::from_value(rules).unwrap();
        let edit = Edit::Replace(Box::new(document));
        let change = Change::new(edit, Actor::new("ana", "test"), "test", 0);
        self.store.turn(&change).unwrap();
    }

    /// Jobs done so far: on time, and late.
    fn on_time(&self) -> (u64, u64) {
        let page = self.metrics.encode().unwrap();
        let count = |on_time: &str| {
            let series =
                format!("sluicegate_completed_total{{on_time=\"{on_time}\",queue=\"orders\"}} ");
            let line = page.lines().find_map(|line| line.strip_prefix(&series));
            line.unwrap().parse().unwrap()
        };
        (count("true"), count("false"))
    }

    fn relief(&self) -> crate::vitals::ReliefReport {
        self.vitals.report(Duration::ZERO).relief
    }
}

#[test]
fn auto_does_on_time_what_the_workers_can_do_and_lets_go() {
    in_made_up_time(async move |clock| {
        let house = House::open_with(clock, relieved(|_| {}), None);
        house.turn("skip_mode", json!("auto"));
        house.offer(clock, (3 * CAPACITY, 20), 0, |_| "acme").await;
        let (before, _) = house.on_time();
        house
            .offer(clock, (3 * CAPACITY, 30), 10_000, |_| "acme")
            .await;
        let (after_it, _) = house.on_time();
        let goodput = (after_it - before) as f64 / f64::from(CAPACITY * 30);
        assert!(goodput >= 0.9, "{goodput} of capacity on time");
        let relief = house.relief();
        assert!(
            (relief.expected_ratio - 2.0 / 3.0).abs() < 0.05 && relief.limit_seconds.is_some(),
            "{relief:?}"
        );
        assert!(
            (relief.workers_wanted.unwrap() - 12.0).abs() < 1.0,
            "{relief:?}"
        );

        house
            .offer(clock, (CAPACITY / 2, 10), 20_000, |_| "acme")
            .await;
        let shed = house.settled(Why::Skipped);
        house
            .offer(clock, (CAPACITY / 2, 20), 30_000, |_| "acme")
            .await;
        assert_eq!(house.settled(Why::Skipped), shed, "it let go");
        assert_eq!(house.relief().shed, shed);
    });
}

#[test]
fn with_an_old_backlog_what_is_fresh_is_done_at_once() {
    in_made_up_time(async move |clock| {
        let house = House::open_with(clock, relieved(|_| {}), None);
        house.offer(clock, (CAPACITY / 2, 5), 0, |_| "acme").await;
        house.publish(50_000..56_000, "old", clock.now().ms - 60_000);
        house.turn("skip_mode", json!("auto"));
        after(u64::try_from(DEADLINE.as_millis()).unwrap()).await;
        let (before, _) = house.on_time();
        house
            .offer(clock, (2 * CAPACITY, 10), 10_000, |_| "acme")
            .await;
        let (after_it, _) = house.on_time();
        let goodput = (after_it - before) as f64 / f64::from(CAPACITY * 10);
        assert!(goodput >= 0.9, "{goodput} of capacity on time");
    });
}

#[test]
fn observe_counts_and_sheds_nothing_and_manual_counts_nothing() {
    for (mode, counts) in [("observe", true), ("manual", false)] {
        in_made_up_time(async move |clock| {
            let house = House::open_with(clock, relieved(|_| {}), None);
            if mode != "manual" {
                house.turn("skip_mode", json!(mode));
            }
            house.offer(clock, (3 * CAPACITY, 20), 0, |_| "acme").await;
            assert_eq!(house.settled(Why::Skipped), 0, "{mode}");
            let relief = house.relief();
            assert_eq!((relief.mode.as_str(), relief.shed), (mode, 0));
            assert_eq!(relief.would_shed > 100, counts, "{relief:?}");
            assert!(
                (relief.expected_ratio - 2.0 / 3.0).abs() < 0.05,
                "{relief:?}"
            );
            let page = house.metrics.encode().unwrap();
            let none = "sluicegate_relief_shed_total{grounds=\"too_old\",queue=\"orders\"} 0";
            assert!(page.contains(none), "{mode}");
        });
    }
}

#[test]
fn what_is_protected_is_never_shed() {
    in_made_up_time(async move |clock| {
        let house = House::open_with(clock, relieved(|_| {}), None);
        house.protect("gold");
        house.turn("skip_mode", json!("auto"));
        let who = |number: u32| {
            if number.is_multiple_of(10) {
                "gold"
            } else {
                "acme"
            }
        };
        house.offer(clock, (3 * CAPACITY, 20), 0, who).await;
        after(5_000).await;
        assert!(house.settled(Why::Skipped) > 1_000);
        assert_eq!(house.done_of("gold").len(), 2 * 3 * CAPACITY as usize);
    });
}

#[test]
fn without_a_deadline_nothing_is_shed_and_it_says_so_until_max_age_gives_one() {
    in_made_up_time(async move |clock| {
        let house = House::open_with(clock, settings(), None);
        house.turn("skip_mode", json!("auto"));
        house.offer(clock, (3 * CAPACITY, 10), 0, |_| "acme").await;
        assert_eq!(house.settled(Why::Skipped), 0);
        let said = house.vitals.report(Duration::ZERO).state_detail;
        assert!(
            said.contains("skip_mode says auto and sheds nothing"),
            "{said}"
        );
        house.turn("max_age", json!("3s"));
        house
            .offer(clock, (3 * CAPACITY, 10), 10_000, |_| "acme")
            .await;
        let (before, _) = house.on_time();
        house
            .offer(clock, (3 * CAPACITY, 20), 20_000, |_| "acme")
            .await;
        let (after_it, _) = house.on_time();
        let goodput = (after_it - before) as f64 / f64::from(CAPACITY * 20);
        assert!(goodput >= 0.9, "{goodput} of capacity on time");
        assert!(house.settled(Why::Skipped) > 1_000, "and by this valve");
    });
}

#[test]
fn what_is_shed_is_parked_with_the_opening_and_the_numbers() {
    in_made_up_time(async move |clock| {
        let house = House::open_with(clock, relieved(|_| {}), None);
        house.turn("skip_mode", json!("auto"));
        house.offer(clock, (3 * CAPACITY, 10), 0, |_| "acme").await;
        after(3_000).await;
        let parked = house.queue.parked();
        let header = |name: &str| {
            let headers = &parked.last.back().unwrap().headers;
            let found = headers.iter().find(|(one, _)| one == name);
            match found {
                Some((_, Field::LongString(text))) => String::from_utf8(text.clone()).unwrap(),
                other => panic!("{name}: {other:?}"),
            }
        };
        assert_eq!(header("x-sluicegate-reason"), "skipped");
        let cause = header("x-sluicegate-cause");
        for number in [
            "too old to start",
            "T ",
            "need ",
            "gamma ",
            "offered ",
            "capacity 40.00/s",
        ] {
            assert!(cause.contains(number), "{cause}");
        }
    });
}

#[test]
fn the_file_bounds_what_is_shed() {
    for (what, floor, ceiling, share) in [
        ("a ceiling", 0.0, 0.3, 0.25..=0.31),
        ("a floor", 0.9, 1.0, 0.86..=0.94),
    ] {
        in_made_up_time(async move |clock| {
            let bounded = |queue: &mut Queue| {
                queue.relief.bounds.floor = Ratio::try_from(floor).unwrap();
                queue.relief.bounds.ceiling = Ratio::try_from(ceiling).unwrap();
            };
            let house = House::open_with(clock, relieved(bounded), None);
            house.turn("skip_mode", json!("auto"));
            house.offer(clock, (3 * CAPACITY, 20), 0, |_| "acme").await;
            after(2_000).await;
            let ledger = house.ledger();
            let shed = ledger.settled[Why::Skipped as usize] as f64;
            let all = shed + ledger.settled[Why::Done as usize] as f64;
            assert!(share.contains(&(shed / all)), "{what}: {shed} of {all}");
        });
    }
}

#[test]
fn one_account_that_floods_is_reported_and_cut_to_its_share() {
    for (answer, others_have_theirs) in [(BadActor::Observe, false), (BadActor::Limit, true)] {
        in_made_up_time(async move |clock| {
            let queue = relieved(|queue| queue.relief.bad_actor = answer);
            let house = House::open_with(clock, queue, None);
            house.turn("skip_mode", json!("auto"));
            // A twelfth of what the workers can do comes from each of four others; the rest of five times as much from one.
            let who = |number: u32| match number % 15 {
                0 => "a",
                4 => "b",
                8 => "c",
                12 => "d",
                _ => "flood",
            };
            house.offer(clock, (3 * CAPACITY, 40), 0, who).await;
            let actors = house.relief().bad_actors;
            let names: Vec<_> = actors.iter().map(|one| one.key.as_deref()).collect();
            assert_eq!(names, [Some("flood")], "{answer:?}: {actors:?}");
            assert!(
                actors[0].ratio.unwrap() > 0.5 && actors[0].for_seconds > 5.0,
                "{actors:?}"
            );
            let done: usize = ["a", "b", "c", "d"]
                .iter()
                .map(|one| house.done_of(one).len())
                .sum();
            let offered = (3 * CAPACITY * 40 * 4 / 15) as f64;
            let share = done as f64 / offered;
            assert_eq!(
                share > 0.9,
                others_have_theirs,
                "{answer:?}: {share} of the others' jobs"
            );
        });
    }
}
