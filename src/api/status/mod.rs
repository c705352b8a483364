//! `/` and `/status`: the plain page for browsers without scripts, for curl, and for bad days.
//!
//! What is turned comes first, then how the queues do. Gathered here as text, shown by [`html`] or [`text`].

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::api::access::Caller;
use crate::api::error::{BROKEN, Problem};
use crate::api::views::rfc3339;
use crate::api::{Doors, QueueDoor};
use crate::rules::flag::{Flag, Value};
use crate::rules::names::FlagKey;
use crate::rules::opening::Opening;
use crate::rules::snapshot::Snapshot;
use crate::rules::units::Span;
use crate::rules::valve::Valve;
use crate::store::Store;
use crate::vitals::KeyLoad;

mod html;
mod text;

/// The page's style; only a style of exactly this content is obeyed.
const STYLE: &str = include_str!("style.css");
/// Its hash, for the content security policy.
pub(super) static STYLE_HASH: LazyLock<String> =
    LazyLock::new(|| format!("sha256-{}", STANDARD.encode(Sha256::digest(STYLE))));

/// All that the page shows, as text that is not yet escaped.
struct Page {
    revision: u64,
    at: Moment,
    stopping: bool,
    turned: Vec<Turned>,
    queues: Vec<Row>,
}

/// A time to the second, for people and for programs.
struct Moment {
    shown: String,
    rfc3339: String,
}

impl Moment {
    fn of(at_ms: i64) -> Self {
        let rfc3339 = rfc3339(at_ms.div_euclid(1_000) * 1_000);
        Self {
            shown: rfc3339.replace('T', " ").replace('Z', " UTC"),
            rfc3339,
        }
    }
}

/// A valve that is not neutral, or another flag with an opening on it.
struct Turned {
    flag: String,
    now: String,
    why: Why,
}

enum Why {
    Set {
        revision: u64,
        /// Who and why, if the history still tells.
        by: Option<(String, String)>,
    },
    Opened {
        id: String,
        owner: String,
        reason: String,
        until: Moment,
        left: String,
    },
}

/// How a queue does.
struct Row {
    name: String,
    served: bool,
    state: String,
    detail: String,
    /// In the order of [`COLUMNS`].
    cells: [String; COLUMNS.len()],
    top_by_count: String,
    top_by_work: String,
}

const COLUMNS: [&str; 7] = [
    "Ready", "Oldest", "In/s", "Done/s", "Shed/s", "On time", "In hand",
];

/// The same page as `/status`, until there is a panel.
#[utoipa::path(get, path = "/", tag = "pages", responses(
    (status = 200, description = "HTML if `Accept` asks for it, else text.", content((String = "text/html"), (String = "text/plain"))),
))]
pub(super) async fn root(doors: State<Arc<Doors>>, caller: Caller, headers: HeaderMap) -> Response {
    status(doors, caller, headers).await
}

/// A plain page: which valves are turned, by whom and until when; then how each queue does.
#[utoipa::path(get, path = "/status", tag = "pages", responses(
    (status = 200, description = "HTML if `Accept` asks for it, else text.", content((String = "text/html"), (String = "text/plain"))),
))]
pub(super) async fn status(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    headers: HeaderMap,
) -> Response {
    // Off the doors' own threads: who set a valve is read from the disk.
    let gathering = tokio::task::spawn_blocking(move || Page::gather(&doors, &caller));
    let Ok(page) = gathering.await else {
        let cure = "the page broke off by a fault of ours; report the log";
        return Problem::new(BROKEN, cure).into_response();
    };
    let wants_html = headers.get_all(header::ACCEPT).iter().any(|accept| {
        accept
            .to_str()
            .is_ok_and(|types| types.contains("text/html"))
    });
    if wants_html {
        Html(html::show(&page)).into_response()
    } else {
        text::show(&page).into_response()
    }
}

impl Page {
    fn gather(doors: &Doors, caller: &Caller) -> Self {
        let now = doors.clock.now();
        let snapshot = doors.store.snapshot();
        let queues = doors
            .queues
            .iter()
            .filter(|queue| caller.sees_queue(queue.settings.name.as_str()))
            .map(|queue| Row::gather(queue, now.mono))
            .collect();
        Self {
            revision: snapshot.revision(),
            at: Moment::of(now.ms),
            stopping: doors.stopping.is_cancelled(),
            turned: turned(&doors.store, &snapshot, caller, now.ms),
            queues,
        }
    }
}

/// What is turned: openings first, the one that ends soonest on top.
fn turned(store: &Store, snapshot: &Snapshot, caller: &Caller, now_ms: i64) -> Vec<Turned> {
    let valves: BTreeMap<FlagKey, Valve> = snapshot
        .queues()
        .iter()
        .flat_map(|queue| Valve::ALL.map(|valve| (FlagKey::of_valve(&queue.name, valve), valve)))
        .collect();
    let neutral = |flag: &Flag| {
        let valve = valves.get(&flag.key)?;
        flag.read(&valve.neutral()).ok()
    };
    let mut found: Vec<(i64, Turned)> = snapshot
        .flags()
        .filter(|flag| caller.sees_flag(flag.key.as_str()))
        .filter_map(|flag| {
            let (now, opening) = snapshot.value(flag.key.as_str())?;
            let opening = opening.and_then(|id| snapshot.opening(id));
            if opening.is_none() && neutral(flag).is_none_or(|neutral| neutral == now) {
                return None;
            }
            let turned = Turned {
                flag: flag.key.to_string(),
                now: shown(&now),
                why: opening.map_or_else(
                    || Why::set(store, flag.revision()),
                    |opening| Why::opened(opening, now_ms),
                ),
            };
            Some((
                opening.map_or(i64::MAX, |opening| opening.ends_at_ms),
                turned,
            ))
        })
        .collect();
    found.sort_by_key(|(ends_at_ms, _)| *ends_at_ms);
    found.into_iter().map(|(_, turned)| turned).collect()
}

impl Why {
    fn set(store: &Store, revision: u64) -> Self {
        let newest = store.changes(Some(revision.saturating_add(1)), 1);
        let record = newest.ok().and_then(|newest| newest.into_iter().next());
        Self::Set {
            revision,
            by: record
                .filter(|record| record.revision == revision)
                .map(|record| (record.by.name, record.reason)),
        }
    }

    fn opened(opening: &Opening, now_ms: i64) -> Self {
        let left_ms = u64::try_from(opening.ends_at_ms - now_ms).unwrap_or(0);
        Self::Opened {
            id: opening.id.to_string(),
            owner: opening.owner.clone(),
            reason: opening.reason.clone(),
            until: Moment::of(opening.ends_at_ms),
            left: Span::from_secs(left_ms.div_ceil(1_000)).to_string(),
        }
    }
}

impl Row {
    fn gather(queue: &QueueDoor, now: std::time::Duration) -> Self {
        let report = queue.vitals.report(now);
        let unserved = queue.vitals.ready().err();
        Self {
            name: queue.settings.name.to_string(),
            served: unserved.is_none(),
            state: report.state.replace('_', " "),
            detail: unserved.unwrap_or(report.state_detail),
            cells: [
                report.ready.map_or_else(unknown, grouped),
                report.oldest_age_seconds.map_or_else(unknown, age),
                format!("{:.1}", report.received_per_second),
                format!("{:.1}", report.done_per_second),
                format!("{:.1}", report.shed_per_second),
                report.on_time_ratio.map_or_else(unknown, percent),
                grouped(queue.metrics.ledger().in_hand),
            ],
            top_by_count: top(&report.top_by_count, "/s"),
            top_by_work: top(&report.top_by_work, " s/s"),
        }
    }
}

fn unknown() -> String {
    "–".to_owned()
}

/// A value as people type it on the command line.
fn shown(value: &Value) -> String {
    match value {
        Value::None => "none".to_owned(),
        Value::Ratio(share) => percent(share.get()),
        Value::Text(text) => text.to_string(),
        other => other
            .to_json()
            .as_str()
            .map_or_else(|| other.to_json().to_string(), str::to_owned),
    }
}

fn percent(ratio: f64) -> String {
    let rounded = (ratio * 1_000.0).round() / 10.0;
    format!("{rounded} %")
}

fn age(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{seconds:.1}s")
    } else {
        Span::from_secs(seconds as u64).to_string()
    }
}

/// A number with a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

fn top(keys: &[KeyLoad], unit: &str) -> String {
    let one = |load: &KeyLoad| {
        let (share, rate) = (percent(load.ratio), load.per_second);
        format!("{} {share} ({rate:.1}{unit})", load.key)
    };
    keys.iter().take(5).map(one).collect::<Vec<_>>().join(", ")
}

/// A text in which nothing moves the cursor, forges a line or turns the reading direction: such characters are shown by number.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        let hidden = matches!(character, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if hidden || character.is_control() {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (number, shown) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), shown);
        }
        for (seconds, shown) in [(0.04, "0.0s"), (9.5, "9.5s"), (252.9, "4m 12s")] {
            assert_eq!(age(seconds), shown);
        }
        for (ratio, shown) in [
            (0.0, "0 %"),
            (0.7, "70 %"),
            (0.9876, "98.8 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(percent(ratio), shown);
        }
    }

    #[test]
    fn what_hides_is_shown_by_number() {
        for (text, shown) in [
            ("INC-481: Überlast 🚚", "INC-481: Überlast 🚚"),
            ("a\nb\u{1b}[2J", "a\\u{a}b\\u{1b}[2J"),
            ("\u{202e}gnp.exe", "\\u{202e}gnp.exe"),
            ("\u{2066}x\u{2069}\u{feff}", "\\u{2066}x\\u{2069}\\u{feff}"),
        ] {
            assert_eq!(plain(text), shown);
        }
    }
}
