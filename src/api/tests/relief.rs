//! Relief, from outside: what a queue tells of it, what a scaler reads, and what an explanation says.

use std::time::Duration;

use super::explain::turn;
use super::preview::busy;
use super::*;
use crate::rules::relief::asking::Asking;
use crate::rules::relief::load::{Load, Measures};
use crate::rules::relief::valve::{AutoValve, Bounds, Candidate};
use crate::vitals::{ReliefNow, ReliefReport};

/// The valve of a queue that gets three times what its four slots can do, jobs of 100 ms that are useless after 10 s.
fn overloaded() -> ReliefNow {
    let (mut valve, mut measures) = (AutoValve::new(Bounds::default()), Measures::default());
    let asking = Asking {
        deadline_after: Some(Duration::from_secs(10)),
        need: Duration::from_millis(100),
    };
    let fresh = Candidate {
        age: Some(Duration::ZERO),
        ahead: Duration::ZERO,
        deadline: asking.deadline_after,
        protected: false,
        priority: 0,
        over_share: false,
        job_type: None,
        lot: 0.5,
    };
    for number in 0..2_400_u32 {
        let now = Duration::from_secs_f64(f64::from(number) / 119.0);
        measures.offered(now, fresh.age);
        measures.served(None, Duration::from_millis(100));
        valve.arrived(now, &fresh);
        valve.tick(now, &measures.service, 4);
        valve.began(Duration::from_secs(1_000));
    }
    ReliefNow {
        report: ReliefReport {
            mode: "auto".into(),
            ..ReliefReport::default()
        },
        load: Some(Load {
            slots: 4,
            ..measures.load(4)
        }),
        valve: Some(Arc::new((valve, asking))),
    }
}

#[tokio::test]
async fn a_scaler_is_told_how_many_workers_are_wanted() {
    let doors = doors();
    let scale = "/api/v1/queues/orders/scale";
    let unknown = get(scale).to(&doors).await.json();
    assert_eq!(
        (&unknown["known"], &unknown["slots"]),
        (&json!(false), &unknown["workers"])
    );
    doors.queues[0].vitals.relief(overloaded());
    let told = get(scale).to(&doors).await.json();
    assert_eq!(
        (&told["workers"], &told["known"]),
        (&json!(12), &json!(true)),
        "{told}"
    );
    let none = get("/api/v1/queues/none/scale");
    check("no queue", &doors, none, "404 no-such-queue", "").await;
    let queue = get("/api/v1/queues/orders").to(&doors).await.json();
    assert_eq!(queue["vitals"]["relief"]["mode"], "auto");
    assert_eq!(queue["settings"]["relief"]["ceiling"], 1.0);
}

#[tokio::test]
async fn an_explanation_says_what_the_automatic_valve_says_and_its_numbers() {
    let doors = busy();
    doors.queues[0].vitals.relief(overloaded());
    for (mode, age, verdict, found) in [
        (
            "manual",
            "9700ms",
            "run",
            "people alone turn skip; by itself it would say: too old",
        ),
        ("observe", "9700ms", "run", "it is only observed: too old"),
        ("auto", "9700ms", "shed", "too old to start: 9.70 s"),
        ("auto", "20s", "shed", "no time left"),
        ("auto", "1s", "run", "fresh enough (T "),
    ] {
        turn(&doors, "queue.orders.skip_mode", json!({ "value": mode })).await;
        let path = format!("/api/v1/explain?queue=orders&id=m-1&age={age}");
        let told = get(&path).to(&doors).await.json();
        assert_eq!(told["verdict"], verdict, "{mode} {age}: {told}");
        let links = told["links"].as_array().unwrap();
        let link = links
            .iter()
            .find(|link| link["asks"] == "skip_mode")
            .unwrap();
        let said = link["found"].as_str().unwrap();
        assert!(said.starts_with(found), "{mode} {age}: {said}");
        for number in [
            "T ",
            "need 0.10 s",
            "gamma ",
            "offered 11",
            "capacity 40.00/s",
        ] {
            assert!(said.contains(number), "{said}");
        }
        assert_eq!(link["decides"], verdict == "shed");
    }
}
