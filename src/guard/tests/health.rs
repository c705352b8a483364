//! Openings that end when their queue is well, and those whose end would hurt.

use std::sync::Mutex;

use super::*;
use crate::rules::names::QueueName;
use crate::rules::relief::load::Load;

const SECOND: Duration = Duration::from_secs(1);

/// What is seen of every queue; `None`: nothing.
#[derive(Debug, Default)]
struct MadeUp(Mutex<Option<Seen>>);

impl Sight for MadeUp {
    fn of(&self, _: &QueueName, _: Duration) -> Option<Seen> {
        *self.0.lock().unwrap()
    }
}

/// So much comes to workers that can do 200 a second, and this share of what is done is on time.
fn seen(offered: f64, on_time: f64, sheds: bool) -> Seen {
    Seen {
        on_time: Some(on_time),
        load: Load {
            offered,
            service_s: Some(0.04),
            slots: 8,
        },
        sheds,
        holds_back: false,
    }
}

fn fire() -> Seen {
    seen(600.0, 1.0, true)
}

fn well() -> Seen {
    seen(40.0, 0.991, false)
}

struct Watched {
    scene: Scene,
    sight: Arc<MadeUp>,
}

impl Watched {
    fn set() -> Self {
        let mut scene = Scene::set();
        let sight = Arc::new(MadeUp::default());
        scene.guard.given.sight = Arc::clone(&sight) as Arc<dyn Sight>;
        Self { scene, sight }
    }

    fn see(&self, seen: impl Into<Option<Seen>>) {
        *self.sight.0.lock().unwrap() = seen.into();
    }

    /// Relieves `orders` until it is well.
    fn until_well(&self, restore: Restore) -> OpeningId {
        let until: crate::rules::relief::health::UntilWell =
            "on-time >= 98% for 10m, at most 8h".parse().unwrap();
        let edit = Edit::Open {
            values: vec![
                (key("queue.orders.max_age"), json!("9s")),
                (key("queue.orders.skip_mode"), json!("auto")),
            ],
            when: vec![],
            ends_at_ms: self.scene.now.ms + until.at_most.as_millis(),
            restore,
            until: Some(until),
        };
        OpeningId(self.scene.turn(edit).unwrap().revision())
    }

    fn extended(&self) -> String {
        let page = self.scene.guard.given.metrics.encode().unwrap();
        let line = "sluicegate_opening_extensions_total ";
        let found = page.lines().find_map(|one| one.strip_prefix(line));
        found.unwrap_or_default().to_owned()
    }
}

#[test]
fn it_ends_when_its_queue_has_been_well_for_long_enough_and_says_the_numbers() {
    let mut watched = Watched::set();
    let id = watched.until_well(Restore::Snap);
    watched.see(fire());
    watched.scene.pass(20 * MINUTE);
    assert!(
        watched.scene.is_open(id),
        "it is on time, for the valve sheds"
    );
    watched.see(well());
    watched.scene.pass(9 * MINUTE);
    watched.see(seen(40.0, 0.9, false));
    watched.scene.pass(2 * SECOND);
    watched.see(well());
    watched.scene.pass(10 * MINUTE - SECOND);
    assert!(watched.scene.is_open(id), "a break begins it anew");
    watched.scene.pass(3 * SECOND);
    assert!(!watched.scene.is_open(id));
    let record = watched.scene.newest();
    assert_eq!(
        (record.edit, record.cause),
        (EditKind::Close, Cause::Health)
    );
    assert_eq!(record.by.via, "guard");
    assert_eq!(
        record.reason,
        "orders has been well for 10m: 99.1% on time (98% asked for), 40.0 jobs/s offered to workers that can do 200.0/s"
    );
    let notice = Notice::of(&record).map(|notice| notice.kind);
    assert_eq!(notice, Some(Kind::Ended));
}

#[test]
fn its_way_back_begins_when_its_queue_is_well_and_is_told_once() {
    let mut watched = Watched::set();
    let id = watched.until_well(ramp(5));
    watched.see(well());
    watched.scene.pass(10 * MINUTE + SECOND);
    let record = watched.scene.newest();
    assert_eq!((record.edit, record.cause), (EditKind::Ramp, Cause::Health));
    assert_eq!(watched.scene.told(), [Kind::Ramping]);
    watched.scene.pass(150 * SECOND);
    assert_eq!(
        watched.scene.says("queue.orders.max_age"),
        json!("18s"),
        "half of it holds"
    );
    assert_eq!(watched.scene.says("queue.orders.skip_mode"), json!("auto"));
    watched.scene.pass(150 * SECOND);
    assert!(!watched.scene.is_open(id));
    assert_eq!(watched.scene.says("queue.orders.max_age"), Json::Null);
    assert_eq!(watched.scene.told(), []);
}

#[test]
fn of_whom_nobody_can_tell_it_does_not_end_but_at_the_latest() {
    let mut watched = Watched::set();
    let id = watched.until_well(Restore::Snap);
    watched.see(well());
    watched.scene.pass(9 * MINUTE);
    watched.see(None);
    watched.scene.pass(SECOND * 2);
    watched.see(well());
    watched.scene.pass(9 * MINUTE);
    assert!(watched.scene.is_open(id), "it was not seen without a break");
    watched.scene.restart();
    watched.scene.pass(9 * MINUTE);
    assert!(watched.scene.is_open(id), "a restart begins the watch anew");
    watched.see(None);
    watched.scene.pass(450 * MINUTE);
    assert!(watched.scene.is_open(id));
    watched.scene.pass(4 * MINUTE);
    assert!(!watched.scene.is_open(id));
    assert_eq!(watched.scene.newest().cause, Cause::Expiry);
}

#[test]
fn nobody_is_ended_into_a_fire_but_once_and_everybody_hears_of_it() {
    for restore in [Restore::Snap, ramp(5)] {
        let mut watched = Watched::set();
        let id = watched.scene.skip(30, restore);
        watched.see(fire());
        watched.scene.pass(31 * MINUTE);
        let record = watched.scene.newest();
        assert_eq!(
            (record.edit, record.cause),
            (EditKind::Extend, Cause::Health),
            "{restore:?}"
        );
        let reason = &record.reason;
        let why = "600.0 jobs/s offered to workers that can do 200.0/s; extended once, by 30m";
        assert!(
            reason.contains("would hurt") && reason.ends_with(why),
            "{reason}"
        );
        let notice = Notice::of(&record).unwrap();
        assert_eq!(
            (notice.kind, notice.by.name.as_str()),
            (Kind::Extended, "guard")
        );
        assert_eq!(watched.extended(), "1");
        assert!(
            (watched.scene.skips() - 0.2).abs() < 1e-9,
            "{restore:?}: whole"
        );
        watched.scene.restart();
        watched.scene.pass(40 * MINUTE);
        assert!(
            !watched.scene.is_open(id),
            "{restore:?}: not twice, also after a restart"
        );
        assert_eq!(watched.extended(), "1");
    }
}

#[test]
fn whose_end_would_not_hurt_is_not_extended() {
    let check = |what: &str, flag: &str, value: Json, seen: Option<Seen>, extended: bool| {
        let mut watched = Watched::set();
        let id = watched.scene.open(&[(flag, value)], 30, Restore::Snap);
        watched.see(seen);
        watched.scene.pass(31 * MINUTE);
        assert_eq!(watched.scene.is_open(id), extended, "{what}");
    };
    let skip = |what: &str, seen: Option<Seen>| {
        check(what, "queue.orders.skip", json!(0.2), seen, false);
    };
    skip("nobody can tell", None);
    skip(
        "there is no more than can be done",
        Some(seen(150.0, 1.0, true)),
    );
    skip("it sheds nothing", Some(seen(600.0, 0.5, false)));
    let timeout = json!("10s");
    check(
        "not for overload",
        "queue.orders.timeout",
        timeout,
        Some(fire()),
        false,
    );
    check(
        "late ones",
        "queue.orders.max_age",
        json!("9s"),
        Some(fire()),
        true,
    );
    check(
        "by itself",
        "queue.orders.skip_mode",
        json!("auto"),
        Some(fire()),
        true,
    );
    let held = Seen {
        holds_back: true,
        ..seen(600.0, 1.0, false)
    };
    check(
        "held back",
        "queue.orders.rate",
        json!("100/s"),
        Some(held),
        true,
    );
    check(
        "held back by another",
        "queue.orders.skip",
        json!(0.2),
        Some(held),
        false,
    );
}

#[test]
fn what_a_newer_opening_covers_is_not_extended() {
    let mut watched = Watched::set();
    let (covered, newer) = (
        watched.scene.skip(30, Restore::Snap),
        watched.scene.skip(90, Restore::Snap),
    );
    watched.see(fire());
    watched.scene.pass(31 * MINUTE);
    assert!(!watched.scene.is_open(covered) && watched.scene.is_open(newer));
}

#[test]
fn an_opening_that_no_queue_has_to_do_with_cannot_end_by_health() {
    let watched = Watched::set();
    for flag in ["queue.orders.pause", "queue.orders.skip"] {
        let edit = Edit::Open {
            values: vec![(key(flag), json!(flag.ends_with("pause")))],
            when: vec![],
            ends_at_ms: watched.scene.now.ms + 60_000,
            restore: Restore::Snap,
            until: Some("on-time >= 98% for 10s, at most 1m".parse().unwrap()),
        };
        let refused = watched.scene.turn(edit).unwrap_err().to_string();
        let by_health = refused.contains("ends by health");
        assert_eq!(by_health, flag.ends_with("pause"), "{flag}: {refused}");
    }
}
