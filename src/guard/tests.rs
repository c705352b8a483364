//! Openings end: by both clocks, in steps, after restarts, on a full disk, and told.

use std::sync::atomic::Ordering;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::rules::names::FlagKey;
use crate::rules::opening::OpeningId;
use crate::rules::ramp::Stage;
use crate::rules::record::{ChangeRecord, EditKind};
use crate::rules::snapshot::{GatedQueue, Stored};

mod health;

const START_MS: i64 = 1_800_000_000_000;
const MINUTE: Duration = Duration::from_secs(60);

fn given(clock: Clock) -> Given {
    let queue = GatedQueue::named("orders".parse().unwrap());
    let metrics = Arc::new(Metrics::new(&[]).unwrap());
    let start = Snapshot::of(vec![queue], Stored::default());
    Given {
        store: Arc::new(Store::in_memory(start, Arc::clone(&metrics))),
        board: Board::default(),
        metrics,
        clock,
        sight: Arc::new(Blind),
    }
}

/// A guard whose clocks are told.
struct Scene {
    guard: Guard,
    now: Now,
    told: tokio::sync::broadcast::Receiver<Arc<Notice>>,
}

impl Scene {
    fn set() -> Self {
        let given = given(Clock::made_up(START_MS));
        Self {
            told: given.board.read(),
            guard: Guard::new(given),
            now: Now {
                ms: START_MS,
                mono: Duration::ZERO,
            },
        }
    }

    fn store(&self) -> &Arc<Store> {
        &self.guard.given.store
    }

    fn tick(&mut self) -> Duration {
        self.guard.tick(self.now)
    }

    /// Both clocks run on; the guard looks when it said it would.
    fn pass(&mut self, time: Duration) {
        let until = self.now.mono + time;
        loop {
            let next = self.tick();
            assert!(next > self.now.mono, "it never looks in the past");
            let next = next.min(until);
            let passed = next - self.now.mono;
            self.now.ms += i64::try_from(passed.as_millis()).unwrap();
            self.now.mono = next;
            if next == until {
                self.tick();
                return;
            }
        }
    }

    fn jump(&mut self, minutes: i64) {
        self.now.ms += minutes * 60_000;
    }

    /// Another process, whose clock begins anew.
    fn restart(&mut self) {
        let given = self.guard.given.clone();
        self.guard = Guard::new(given);
        self.now.mono = Duration::from_millis(17);
    }

    fn turn(&self, edit: Edit) -> Result<Arc<Snapshot>, Refused> {
        let change = Change {
            keep: true,
            ..Change::new(edit, Actor::new("ana", "cli"), "INC-481", self.now.ms)
        };
        self.store().turn(&change)
    }

    fn open(&self, values: &[(&str, Json)], minutes: i64, restore: Restore) -> OpeningId {
        let values = values.iter();
        let edit = Edit::Open {
            values: values
                .map(|(flag, value)| (key(flag), value.clone()))
                .collect(),
            when: vec![],
            ends_at_ms: self.now.ms + minutes * 60_000,
            restore,
            until: None,
        };
        OpeningId(self.turn(edit).unwrap().revision())
    }

    fn skip(&self, minutes: i64, restore: Restore) -> OpeningId {
        self.open(&[("queue.orders.skip", json!(0.2))], minutes, restore)
    }

    fn says(&self, flag: &str) -> Json {
        self.store().snapshot().value(flag).unwrap().0.to_json()
    }

    fn skips(&self) -> f64 {
        self.says("queue.orders.skip").as_f64().unwrap()
    }

    fn is_open(&self, id: OpeningId) -> bool {
        self.store().snapshot().opening(id).is_some()
    }

    fn newest(&self) -> ChangeRecord {
        self.store().changes(None, 1).unwrap().remove(0)
    }

    fn told(&mut self) -> Vec<Kind> {
        std::iter::from_fn(|| self.told.try_recv().ok())
            .map(|notice| notice.kind)
            .collect()
    }
}

fn key(flag: &str) -> FlagKey {
    flag.parse().unwrap()
}

fn ramp(minutes: u64) -> Restore {
    Restore::Ramp(crate::rules::units::Span::from_secs(minutes * 60))
}

#[tokio::test(start_paused = true)]
async fn an_opening_ends_at_its_time_and_the_record_says_why() {
    let clock = Clock::made_up(START_MS);
    let mut scene = Scene::set();
    let given = scene.guard.given.clone();
    let stop = CancellationToken::new();
    let guard = run(Given { clock, ..given }, stop.clone());
    let story = async {
        tokio::time::sleep(MINUTE).await; // it is asleep when the first one comes
        scene.now = clock.now();
        let (long, short) = (scene.skip(30, Restore::Snap), scene.skip(10, Restore::Snap));
        tokio::time::sleep(10 * MINUTE - Duration::from_millis(5)).await;
        assert!(scene.is_open(short));
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!scene.is_open(short) && scene.is_open(long));
        let record = scene.newest();
        assert_eq!(
            (record.cause, record.by.via.as_str()),
            (Cause::Expiry, "guard")
        );
        assert_eq!(
            (record.reason.as_str(), record.at_ms),
            ("its time was over", START_MS + 11 * 60_000)
        );
        tokio::time::sleep(20 * MINUTE).await;
        assert!(!scene.is_open(long));
        stop.cancel();
    };
    tokio::join!(guard, story);
}

#[tokio::test(start_paused = true)]
async fn what_ended_while_the_daemon_was_down_is_closed_before_it_works() {
    let scene = Scene::set();
    let (over, open) = (scene.skip(1, Restore::Snap), scene.skip(10, Restore::Snap));
    end_what_is_over(&Given {
        clock: Clock::made_up(START_MS + 120_000),
        ..scene.guard.given.clone()
    });
    assert!(!scene.is_open(over) && scene.is_open(open));
}

/// An opening of 30 minutes that was first seen at its start: is it over when the clocks say so?
fn check(what: &str, mono_min: u32, wall_min: i64, expected: bool) {
    let mut scene = Scene::set();
    let id = scene.skip(30, Restore::Snap);
    scene.tick();
    scene.now = Now {
        ms: START_MS + wall_min * 60_000,
        mono: MINUTE * mono_min,
    };
    scene.tick();
    assert_eq!(!scene.is_open(id), expected, "{what}");
}

#[test]
fn the_earlier_of_two_clocks_ends_it() {
    check("both run on", 29, 29, false);
    check("both are there", 30, 30, true);
    check("the wall clock jumped ahead", 5, 65, true);
    check("the wall clock was set back", 30, -30, true);
    check("the wall clock was set back, time is left", 29, -31, false);
    check("the machine was asleep", 1, 31, true);
}

#[test]
fn a_clock_that_was_set_back_while_we_were_down_gives_no_more_time_than_was_asked_for() {
    let mut scene = Scene::set();
    let id = scene.skip(30, Restore::Snap);
    scene.restart();
    scene.jump(-60);
    scene.pass(30 * MINUTE);
    assert!(!scene.is_open(id));
}

#[tokio::test(start_paused = true)]
async fn an_opening_goes_back_and_ends_on_a_full_disk_and_is_written_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let (store, full) = crate::store::on_a_disk_that_fills(dir.path());
    let mut scene = Scene::set();
    scene.guard.given.store = Arc::new(store);
    let (snap, back) = (scene.skip(10, Restore::Snap), scene.skip(10, ramp(4)));
    full.store(true, Ordering::SeqCst);
    scene.pass(12 * MINUTE);
    assert!((scene.skips() - 0.1).abs() < 1e-9, "{}", scene.skips());
    scene.pass(5 * MINUTE);
    assert!(!scene.is_open(snap) && !scene.is_open(back) && scene.store().owes());
    full.store(false, Ordering::SeqCst);
    scene.pass(LONGEST_RETRY + LOOK_EVERY);
    assert!(!scene.store().owes());
}

#[test]
fn it_goes_back_in_steps_that_leave_the_flags_own_revision_alone() {
    let mut scene = Scene::set();
    scene
        .turn(Edit::Set(key("queue.orders.skip"), json!(0.1)))
        .unwrap();
    let refused = scene.turn(Edit::Open {
        values: vec![(key("queue.orders.degrade"), json!("reject"))],
        when: vec![],
        ends_at_ms: scene.now.ms + 60_000,
        restore: ramp(10),
        until: None,
    });
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("no way in steps"), "{refused}");
    let id = scene.open(
        &[
            ("queue.orders.skip", json!(0.2)),
            ("queue.orders.max_age", json!("30s")),
        ],
        1,
        Restore::Snap,
    );
    let over = scene.open(&[("queue.orders.skip", json!(0.3))], 1, ramp(10));
    let revision = |scene: &Scene| {
        let snapshot = scene.store().snapshot();
        snapshot.flag("queue.orders.skip").unwrap().revision()
    };
    let before = revision(&scene);
    scene.pass(MINUTE + Duration::from_millis(1));
    assert!(!scene.is_open(id) && scene.is_open(over));
    let mut said = Vec::new();
    for _ in 0..4 {
        scene.pass(2 * MINUTE);
        said.push((scene.skips() * 100.0).round());
    }
    assert_eq!(said, [26.0, 22.0, 18.0, 14.0]);
    scene.pass(2 * MINUTE);
    assert!(!scene.is_open(over));
    assert_eq!(
        (scene.skips().to_bits(), revision(&scene)),
        (0.1f64.to_bits(), before)
    );
    let steps = scene.store().changes(None, 100).unwrap();
    let steps = steps.iter().filter(|record| record.edit == EditKind::Ramp);
    assert_eq!(steps.count(), 19, "the twentieth is the end");
}

#[test]
fn a_ramp_goes_on_where_it_was_after_a_restart_whatever_the_clock_says_then() {
    for (what, jump, skips) in [
        ("the clock is right", 0, 0.1),
        ("it was set back", -600, 0.1),
        ("it was set ahead", 2, 0.06),
    ] {
        let mut scene = Scene::set();
        let id = scene.skip(5, ramp(10));
        scene.pass(10 * MINUTE);
        scene.restart();
        scene.jump(jump);
        scene.tick();
        assert!(
            (scene.skips() - skips).abs() < 1e-9,
            "{what}: {}",
            scene.skips()
        );
        scene.pass(5 * MINUTE);
        assert!(!scene.is_open(id), "{what}");
    }
}

#[test]
fn what_is_extended_while_it_goes_back_holds_whole_again_until_its_new_end() {
    let mut scene = Scene::set();
    let id = scene.skip(5, ramp(10));
    scene.pass(10 * MINUTE);
    assert!((scene.skips() - 0.1).abs() < 1e-9);
    let ends_at_ms = scene.now.ms + 20 * 60_000;
    scene.turn(Edit::Extend(id, ends_at_ms)).unwrap();
    scene.pass(19 * MINUTE);
    assert!((scene.skips() - 0.2).abs() < 1e-9, "{}", scene.skips());
    scene.pass(6 * MINUTE);
    assert!((scene.skips() - 0.1).abs() < 1e-9, "{}", scene.skips());
    scene.turn(Edit::Close(id)).unwrap();
    assert_eq!(
        scene.skips().to_bits(),
        0.0f64.to_bits(),
        "a close in the middle ends it at once"
    );
    let revision = scene.store().snapshot().revision();
    scene.pass(20 * MINUTE);
    assert_eq!(scene.store().snapshot().revision(), revision);
}

#[test]
fn openings_over_several_flags_end_on_what_stands_below_also_when_that_changed() {
    let mut scene = Scene::set();
    let both = [
        ("queue.orders.skip", json!(0.2)),
        ("queue.orders.degrade", json!("none")),
        ("queue.orders.timeout", json!("10s")),
    ];
    let below = scene.open(&[("queue.orders.timeout", json!("20s"))], 60, Restore::Snap);
    let id = scene.open(&both, 5, Restore::Snap);
    assert_eq!(scene.says("queue.orders.timeout"), json!("10s"));
    scene
        .turn(Edit::Set(key("queue.orders.skip"), json!(0.15)))
        .unwrap();
    scene.pass(5 * MINUTE);
    assert!(!scene.is_open(id) && scene.is_open(below));
    assert_eq!(
        (
            scene.says("queue.orders.skip"),
            scene.says("queue.orders.timeout")
        ),
        (json!(0.15), json!("20s"))
    );
}

#[test]
fn what_no_longer_fits_below_an_opening_does_not_keep_it_from_its_end() {
    let mut scene = Scene::set();
    let mut queue = GatedQueue::named("orders".parse().unwrap());
    queue.modes = vec!["light".to_owned()];
    let of = |queue: &GatedQueue, stored| Snapshot::of(vec![queue.clone()], stored);
    let metrics = || Arc::new(Metrics::new(&[]).unwrap());
    let store = Store::in_memory(of(&queue, Stored::default()), metrics());
    scene.guard.given.store = Arc::new(store);
    let light = scene.open(
        &[("queue.orders.degrade", json!("light"))],
        60,
        Restore::Snap,
    );
    let none = scene.open(&[("queue.orders.degrade", json!("none"))], 5, Restore::Snap);
    // The file changes: there is no light version any more, and the daemon starts on what it had.
    queue.modes.clear();
    let before = scene.store().snapshot();
    let stored = Stored {
        revision: before.revision(),
        openings: before.openings().map(|one| one.as_ref().clone()).collect(),
        ..Stored::default()
    };
    scene.guard.given.store = Arc::new(Store::in_memory(of(&queue, stored), metrics()));
    scene.restart();
    scene.pass(5 * MINUTE);
    assert!(!scene.is_open(none) && scene.is_open(light));
    scene.pass(55 * MINUTE);
    assert!(!scene.is_open(light));
}

#[test]
fn everybody_is_told_in_time_and_once() {
    let mut scene = Scene::set();
    let (_short, id) = (
        scene.open(&[("queue.orders.pause", json!(false))], 1, Restore::Snap),
        scene.skip(30, ramp(10)),
    );
    scene.pass(Duration::from_secs(47));
    assert_eq!(scene.told(), []);
    scene.pass(Duration::from_secs(2));
    assert_eq!(
        scene.told(),
        [Kind::Reminder],
        "a fifth of a minute before the end"
    );
    scene.pass(23 * MINUTE);
    assert_eq!(scene.told(), []);
    scene.pass(2 * MINUTE);
    assert_eq!(scene.told(), [Kind::Reminder]);
    scene
        .turn(Edit::Extend(id, scene.now.ms + 30 * 60_000))
        .unwrap();
    scene.pass(24 * MINUTE);
    assert_eq!(scene.told(), []);
    scene.pass(2 * MINUTE);
    assert_eq!(scene.told(), [Kind::Reminder], "of the new end");
    scene.pass(30 * MINUTE);
    assert!(!scene.is_open(id));
    assert_eq!(scene.told(), [Kind::Ramping]);
    let page = scene.guard.given.metrics.encode().unwrap();
    for line in [
        "sluicegate_opening_reminders_total 3",
        "sluicegate_openings_overdue 0",
    ] {
        assert!(page.contains(line), "{line} is not in:\n{page}");
    }
}

#[test]
fn a_reminder_says_what_the_flags_say_now_and_will_say() {
    let mut scene = Scene::set();
    scene.skip(10, Restore::Snap);
    scene.pass(9 * MINUTE);
    let notice = scene.told.try_recv().unwrap();
    let told = &notice.flags[0];
    assert_eq!((&told.before, &told.after), (&json!(0.2), &json!(0.0)));
    assert!(
        notice.text.contains("extend it if it is still needed"),
        "{}",
        notice.text
    );
}

#[test]
fn a_value_on_its_way_arrives_and_can_be_seen_on_it() {
    let mut scene = Scene::set();
    let over = crate::rules::units::Span::from_secs(600);
    let flag = key("queue.orders.skip");
    scene.turn(Edit::Set(flag.clone(), json!(0.2))).unwrap();
    scene
        .turn(Edit::SetOver(flag.clone(), json!(0.0), over))
        .unwrap();
    let mut said = vec![scene.skips()];
    for _ in 0..4 {
        scene.pass(150 * LOOK_EVERY);
        said.push(scene.skips());
    }
    let said: Vec<f64> = said.iter().map(|said| (said * 100.0).round()).collect();
    assert_eq!(said, [20.0, 15.0, 10.0, 5.0, 0.0]);
    assert_eq!(scene.store().snapshot().openings().count(), 0);
    let document = scene.store().snapshot();
    assert_eq!(document.flag("queue.orders.skip").unwrap().revision(), 2);
}

/// What may happen to an opening.
#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    Jump(i64),
    Restart,
    Extend(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1u64..1_200).prop_map(Event::Pass),
        1 => (-3_000i64..3_000).prop_map(Event::Jump),
        1 => Just(Event::Restart),
        1 => (1i64..60).prop_map(Event::Extend),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The model knows how long the opening was last granted, for how long it was watched since, and whether the clock on the wall
    /// jumped: it ends when it was watched for all of that time, and where nothing jumped not before.
    #[test]
    fn an_opening_always_ends_and_not_before_its_time(
        minutes in 1i64..60,
        back in prop_oneof![Just(0u64), 1u64..20],
        events in prop::collection::vec(event(), 0..12),
    ) {
        let mut scene = Scene::set();
        let restore = if back == 0 { Restore::Snap } else { ramp(back) };
        let id = scene.skip(minutes, restore);
        scene.tick();
        let (mut granted, mut since_ms, mut jumped) = (minutes * 60_000, scene.now.ms, false);
        let mut strength = 1.0;
        for event in events {
            let mut extended = false;
            match event {
                Event::Pass(seconds) => scene.pass(Duration::from_secs(seconds)),
                Event::Jump(minutes) => {
                    scene.jump(minutes);
                    jumped = true;
                    scene.tick();
                }
                Event::Restart => {
                    scene.restart();
                    scene.tick();
                }
                Event::Extend(minutes) => {
                    let ends_at_ms = scene.now.ms + minutes * 60_000;
                    if scene.is_open(id) {
                        scene.turn(Edit::Extend(id, ends_at_ms)).unwrap();
                        scene.tick();
                        (granted, since_ms, extended) = (minutes * 60_000, scene.now.ms, true);
                    }
                }
            }
            let snapshot = scene.store().snapshot();
            let stands = snapshot.opening(id).map_or(0.0, |opening| opening.strength);
            prop_assert!(extended || stands <= strength, "it only goes back");
            strength = stands;
            if !jumped {
                let held = scene.now.ms - since_ms;
                prop_assert!(held >= granted || (stands - 1.0).abs() < 1e-9, "{held} of {granted} ms: {stands}");
                let over = granted + i64::try_from(back).unwrap() * 60_000;
                prop_assert_eq!(held >= over, stands == 0.0, "{} of {} ms: {}", held, over, stands);
            }
        }
        // Whatever was: it is over when it was watched for as long as an opening can last.
        let left = scene.store().snapshot().opening(id).map(|opening| opening.most_left());
        scene.pass(left.unwrap_or_default() + LOOK_EVERY);
        prop_assert!(!scene.is_open(id));
        prop_assert_eq!(scene.skips().to_bits(), 0.0f64.to_bits());
    }
}

#[test]
fn nothing_is_left_when_an_opening_is_over() {
    let mut scene = Scene::set();
    let id = scene.skip(1, ramp(1));
    let opening = Arc::clone(scene.store().snapshot().opening(id).unwrap());
    assert_eq!(
        opening.stage(opening.left_at(scene.now.ms)),
        Stage::Holds(MINUTE)
    );
    scene.pass(2 * MINUTE);
    let snapshot = scene.store().snapshot();
    assert_eq!(snapshot.openings_on("queue.orders.skip").count(), 0);
    assert_eq!(opening.stage(opening.left_at(scene.now.ms)), Stage::Over);
}
