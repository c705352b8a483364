//! What `queue list NAME` says of a queue's load and of relief. May import `rules`.

use super::console::{Console, harmless};
use super::table::{Side, Table};
use super::views::{BadActor, Relief, Vitals};
use super::words::{about, lasting, per_second};

/// The load, what it takes, and what automatic relief makes of it.
pub(super) fn show(vitals: &Vitals, console: &mut Console) {
    let Some(relief) = &vitals.relief else { return };
    console.data(&format!("\n{}", sentences(relief, vitals.slots).join("\n")));
    if !relief.bad_actors.is_empty() {
        let table = actors(&relief.bad_actors).render(console.colour);
        console.data(&format!("\n{table}"));
    }
}

fn sentences(relief: &Relief, slots: u32) -> Vec<String> {
    let unknown = || "not known yet (fewer than 30 jobs done)".to_owned();
    let capacity = relief.capacity_per_second;
    let capacity = capacity.map_or_else(unknown, |rate| format!("{}/s", per_second(rate)));
    let wanted = relief.workers_wanted;
    let wanted = wanted.map_or_else(unknown, |wanted| format!("{}", wanted.ceil()));
    let mut said = vec![
        format!("offered: {}/s", per_second(relief.offered_per_second)),
        format!("capacity: {capacity}"),
        format!("workers wanted: {wanted} (slots: {slots})"),
    ];
    if let Relief {
        deadline_seconds: Some(deadline),
        limit_seconds: Some(limit),
        need_seconds: Some(need),
        gamma: Some(gamma),
        ..
    } = relief
    {
        said.push(format!(
            "worth starting: up to an age of {} (T {}, gamma {gamma:.2}; deadline {}, a job needs {})",
            lasting(limit * gamma),
            lasting(*limit),
            lasting(*deadline),
            lasting(*need)
        ));
    }
    said.push(match (relief.mode.as_str(), &relief.idle_because) {
        (mode, why) if !why.is_empty() => {
            format!(
                "relief: {}, and sheds nothing: {}",
                harmless(mode),
                harmless(why)
            )
        }
        ("auto", _) => format!(
            "relief: auto, {} of all to shed now; {} shed so far",
            about(relief.expected_ratio),
            relief.shed
        ),
        ("observe", _) => format!(
            "relief: observe, {} of all would have to be shed now; {} would have been so far",
            about(relief.expected_ratio),
            relief.would_shed
        ),
        (mode, _) => format!(
            "relief: {}; {} of all would have to be shed now",
            harmless(mode),
            about(relief.expected_ratio)
        ),
    });
    said
}

fn actors(actors: &[BadActor]) -> Table {
    let mut table = Table::new([
        ("TO BLAME", Side::Left),
        ("FOR", Side::Left),
        ("SHARE", Side::Right),
        ("SLOTS", Side::Right),
        ("FAIR", Side::Right),
        ("SINCE", Side::Right),
        ("ANSWER", Side::Left),
    ]);
    let figure = |figure: Option<f64>| figure.map_or("-".to_owned(), per_second);
    for actor in actors {
        table.row([
            actor.key.as_deref().unwrap_or("(not known yet)").into(),
            actor.because.as_str().into(),
            actor.ratio.map_or("-".to_owned(), about).into(),
            figure(actor.workers).into(),
            figure(actor.fair_workers).into(),
            lasting(actor.for_seconds).into(),
            actor.answer.as_str().into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn relief(mode: &str, idle: &str, known: bool) -> Relief {
        let figure = |figure: f64| known.then_some(figure);
        serde_json::from_value(json!({
            "mode": mode, "idle_because": idle, "offered_per_second": 120.0,
            "capacity_per_second": figure(40.0), "workers_wanted": figure(11.9), "deadline_seconds": figure(3.0),
            "limit_seconds": figure(2.5), "need_seconds": figure(0.1), "gamma": figure(0.8),
            "expected_ratio": 0.667, "shed": 7, "would_shed": 5,
        }))
        .unwrap()
    }

    #[test]
    fn what_is_known_is_said_with_its_numbers() {
        let last = |mode: &str, idle: &str| {
            let said = sentences(&relief(mode, idle, true), 4);
            assert_eq!(said.len(), 5, "{said:?}");
            said.last().unwrap().clone()
        };
        let said = sentences(&relief("auto", "", true), 4);
        assert_eq!(said[2], "workers wanted: 12 (slots: 4)");
        assert!(
            said[3].contains("up to an age of 2.0s (T 2.5s, gamma 0.80;"),
            "{said:?}"
        );
        assert!(last("auto", "").ends_with("7 shed so far"));
        assert!(last("observe", "").ends_with("5 would have been so far"));
        assert!(last("auto", "no deadline").ends_with("sheds nothing: no deadline"));
        let unknown = sentences(&relief("manual", "", false), 4);
        assert_eq!(
            unknown[1],
            "capacity: not known yet (fewer than 30 jobs done)"
        );
        assert_eq!(unknown.len(), 4);
    }
}
