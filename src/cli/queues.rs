//! `queue list`, `lanes`, `pause` and `resume`. May import `rules`.

use serde_json::{Map, Value as Json, json};

use super::console::harmless;
use super::failure::{Exit, Failure};
use super::grammar::{Keep, Length, Terms};
use super::openings;
use super::relief;
use super::session::{Seen, Session, would};
use super::table::{Cell, Side, Table, Tint};
use super::views::{FlagView, KeyLoad, LaneView, QueueView, Settled, ValveNow, read};
use super::words::{about, lasting, moment, per_second, shown};
use crate::rules::names::{FlagKey, QueueName, segment};
use crate::rules::valve::Valve;

/// `queue list`
pub(super) async fn list(session: &mut Session<'_>) -> Result<(), Failure> {
    let answer = session.list("/api/v1/queues").await?;
    let queues: Vec<QueueView> = read(&answer["items"])?;
    session.show(&answer, |console| {
        if queues.is_empty() {
            console.say("the daemon has no queue in hand; its configuration names them");
        } else {
            let table = table_of(&queues).render(console.colour);
            console.data(&table);
        }
    });
    Ok(())
}

fn table_of(queues: &[QueueView]) -> Table {
    let mut table = Table::new([
        ("QUEUE", Side::Left),
        ("STATE", Side::Left),
        ("READY", Side::Right),
        ("OLDEST", Side::Right),
        ("OFFERED/S", Side::Right),
        ("CAN DO/S", Side::Right),
        ("IN/S", Side::Right),
        ("DONE/S", Side::Right),
        ("SHED/S", Side::Right),
        ("ON TIME", Side::Right),
        ("P50", Side::Right),
        ("P99", Side::Right),
        ("VALVES", Side::Left),
    ]);
    for queue in queues {
        let vitals = &queue.vitals;
        let open = open_valves(queue);
        let relief = vitals.relief.as_ref();
        table.row([
            queue.name.as_str().into(),
            Cell::tinted(&vitals.state, tint_of(&vitals.state)),
            known(vitals.ready, |ready| ready.to_string()).into(),
            known(vitals.oldest_age_seconds, lasting).into(),
            known(relief, |relief| per_second(relief.offered_per_second)).into(),
            known(
                relief.and_then(|relief| relief.capacity_per_second),
                per_second,
            )
            .into(),
            per_second(vitals.received_per_second).into(),
            per_second(vitals.done_per_second).into(),
            per_second(vitals.shed_per_second).into(),
            known(vitals.on_time_ratio, about).into(),
            known(vitals.service_p50_seconds, lasting).into(),
            known(vitals.service_p99_seconds, lasting).into(),
            Cell::tinted(&open.join(", "), Tint::Notable),
        ]);
    }
    table
}

fn known<T>(figure: Option<T>, words: impl Fn(T) -> String) -> String {
    figure.map_or_else(|| "-".to_owned(), words)
}

fn tint_of(state: &str) -> Tint {
    match state {
        "consuming" => Tint::Good,
        "idle" | "standby" => Tint::Notable,
        _ => Tint::Bad,
    }
}

/// The valves that do something, with their values: `skip 70% (o41)`.
fn open_valves(queue: &QueueView) -> Vec<String> {
    let does_something = |valve: &&ValveNow| !valve.neutral;
    queue
        .gate
        .iter()
        .filter(does_something)
        .map(|valve| {
            let value = shown(&valve.now, type_of(&valve.valve));
            let over = valve.opening.as_ref();
            let over = over.map_or(String::new(), |id| format!(" ({id})"));
            format!("{} {value}{over}", valve.valve)
        })
        .collect()
}

/// The word of a valve's type, where it makes a difference to people.
fn type_of(valve: &str) -> &'static str {
    if valve == Valve::Skip.name() {
        "ratio"
    } else {
        ""
    }
}

/// `queue list NAME`
pub(super) async fn one(session: &mut Session<'_>, name: &QueueName) -> Result<(), Failure> {
    let path = format!("/api/v1/queues/{}", segment(name.as_str()));
    let answer = session.get(&path).await?;
    let queue: QueueView = read(&answer)?;
    session.show(&answer, |console| {
        let colour = console.colour;
        console.data(&table_of(std::slice::from_ref(&queue)).render(colour));
        if !queue.vitals.state_detail.is_empty() {
            console.data(&format!("\n{}", harmless(&queue.vitals.state_detail)));
        }
        console.data(&format!("\n{}", surroundings_of(&queue)));
        relief::show(&queue.vitals, console);
        queue.blocked.show(&queue.name, console);
        console.data(&format!("\n{}", account_of(&queue).render(colour)));
        for (title, unit, keys) in [
            ("TOP BY COUNT", "/S", &queue.vitals.top_by_count),
            ("TOP BY WORK", "S/S", &queue.vitals.top_by_work),
        ] {
            if !keys.is_empty() {
                console.data(&format!("\n{}", keys_of(title, unit, keys).render(colour)));
            }
        }
    });
    Ok(())
}

/// What AMQP cannot tell.
fn surroundings_of(queue: &QueueView) -> String {
    let unknown = "unknown without [management]";
    let head = match queue.vitals.head_age_seconds {
        Some(age) => lasting(age),
        None if queue.vitals.other_consumers.is_some() => {
            "not told (empty, or messages without a timestamp)".to_owned()
        }
        None => unknown.to_owned(),
    };
    let others = match queue.vitals.other_consumers {
        Some(0) => "none".to_owned(),
        Some(count) => format!("{count}: they read past the gate"),
        None => unknown.to_owned(),
    };
    format!("head of the queue: {head}\nother consumers: {others}")
}

/// Where every message is: received = settled + in hand.
fn account_of(queue: &QueueView) -> Table {
    let ledger = &queue.ledger;
    let mut table = Table::new([
        ("MESSAGES", Side::Left),
        ("", Side::Left),
        ("COUNT", Side::Right),
    ]);
    table.row([
        "received".into(),
        "".into(),
        ledger.received.to_string().into(),
    ]);
    table.row([
        "in hand".into(),
        "".into(),
        ledger.in_hand.to_string().into(),
    ]);
    for settled in ledger.settled.iter().filter(|settled| settled.count > 0) {
        table.row([
            settled.verdict.as_str().into(),
            settled.reason.as_str().into(),
            settled.count.to_string().into(),
        ]);
    }
    let handed_over = |settled: &Settled| settled.reason == "handed_over" && settled.count > 0;
    if ledger.settled.iter().any(handed_over) {
        for (what, count) in [
            ("counted", queue.vitals.reported),
            ("still to come", queue.vitals.unreported),
        ] {
            table.row(["reports".into(), what.into(), count.to_string().into()]);
        }
    }
    table
}

fn keys_of(title: &str, unit: &str, keys: &[KeyLoad]) -> Table {
    let mut table = Table::new([
        (title, Side::Left),
        ("SHARE", Side::Right),
        (unit, Side::Right),
    ]);
    for load in keys {
        table.row([
            load.key.as_str().into(),
            about(load.ratio).into(),
            per_second(load.per_second).into(),
        ]);
    }
    table
}

/// `queue lanes`
pub(super) async fn lanes(
    session: &mut Session<'_>,
    name: &QueueName,
    key: Option<&str>,
) -> Result<(), Failure> {
    let list = format!("/api/v1/queues/{}/lanes", segment(name.as_str()));
    let answer = match key {
        Some(key) => {
            let answer = session.get(&format!("{list}?key={}", segment(key))).await?;
            json!({ "items": answer["items"] })
        }
        None => session.list(&list).await?,
    };
    let lanes: Vec<LaneView> = read(&answer["items"])?;
    session.show(&answer, |console| match (key, lanes.is_empty()) {
        (Some(key), true) => {
            let key = harmless(key);
            console.say(&format!("nothing of {key} waits in a lane of {name}"));
        }
        (None, true) => console.say(&format!("nothing waits in a lane of {name}")),
        (_, false) => {
            console.data(&lanes_of(&lanes).render(console.colour));
            for lane in &lanes {
                if let Some(why) = &lane.unread {
                    let (key, why) = (harmless(&lane.key), harmless(why));
                    console.data(&format!("the lane of {key} cannot be read: {why}"));
                }
            }
        }
    });
    Ok(())
}

fn lanes_of(lanes: &[LaneView]) -> Table {
    let mut table = Table::new([
        ("KEY", Side::Left),
        ("LANE", Side::Left),
        ("WAITING", Side::Right),
        ("SINCE", Side::Left),
        ("PACE", Side::Left),
        ("A NEW ONE RUNS IN", Side::Right),
    ]);
    for lane in lanes {
        table.row([
            lane.key.as_str().into(),
            if lane.shared { "shared" } else { "own" }.into(),
            known(lane.waiting, |waiting| waiting.to_string()).into(),
            moment(&lane.since).into(),
            pace_of(lane).into(),
            known(lane.eta_seconds, lasting).into(),
        ]);
    }
    table
}

/// `4.0/s, 2 at once`
fn pace_of(lane: &LaneView) -> String {
    let rate = lane.per_second.map(|rate| match rate {
        0.1.. => format!("{}/s", per_second(rate)),
        _ => format!("one in {}", lasting(1.0 / rate)),
    });
    let at_once = lane.at_once.map(|at_once| format!("{at_once} at once"));
    let both: Vec<String> = rate.into_iter().chain(at_once).collect();
    match both.is_empty() {
        true => "no limit".to_owned(),
        false => both.join(", "),
    }
}

/// `queue pause`
pub(super) async fn pause(
    session: &mut Session<'_>,
    name: &QueueName,
    length: &Length,
    terms: &Terms,
) -> Result<(), Failure> {
    let (flag, _) = pause_flag(session, name).await?;
    let values = [(flag.key.clone(), Json::from(true))];
    let answer = session.open(&values, length, Map::new(), terms).await?;
    openings::tell(session, &answer, &[flag], &values, terms);
    if !session.json && !terms.dry_run {
        let note = format!("or: sluicegate queue resume {name} --reason \"...\"");
        session.console.say(&note);
    }
    Ok(())
}

/// `queue resume`
pub(super) async fn resume(
    session: &mut Session<'_>,
    name: &QueueName,
    terms: &Terms,
) -> Result<(), Failure> {
    let (flag, _) = pause_flag(session, name).await?;
    let pausing = flag
        .openings
        .iter()
        .filter(|over| *over.on(&flag.key) == json!(true));
    let ids: Vec<String> = pausing.map(|over| over.id.clone()).collect();
    let own = flag.value == json!(true);
    let mut done = Vec::new();
    if own || !ids.is_empty() {
        let reason = session.reason(terms)?;
        done = openings::close_all(session, &ids, &reason, terms).await?;
        if own {
            // Read again: closing an opening is no change of the flag's own value, but somebody may have made one.
            let (flag, etag) = pause_flag(session, name).await?;
            let running = Json::from(false);
            let seen = Seen {
                flag: &flag,
                etag: &etag,
                keep: Keep::default(),
            };
            done.push(session.set(&seen, &running, &reason, terms).await?);
        }
    }
    let sentence = match (ids.is_empty(), own) {
        (true, false) => format!("{name} is not paused"),
        (true, true) => format!("{}{} false", would(terms), flag.key),
        (false, false) => format!("{}{name}: closed {}", would(terms), ids.join(", ")),
        (false, true) => format!(
            "{}{name}: closed {}, and {} false",
            would(terms),
            ids.join(", "),
            flag.key
        ),
    };
    session.show(&json!({ "items": done }), |console| console.data(&sentence));
    Ok(())
}

async fn pause_flag(
    session: &Session<'_>,
    name: &QueueName,
) -> Result<(FlagView, String), Failure> {
    let key = FlagKey::of_valve(name, Valve::Pause);
    session.flag(key.as_str()).await.map_err(|failure| {
        if failure.exit != Exit::NotFound {
            return failure;
        }
        let sentence = format!("there is no queue {name}; `sluicegate queue list` shows them all");
        Failure::new(Exit::NotFound, sentence)
    })
}
