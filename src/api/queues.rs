//! `/api/v1/queues`: the gate, the vital signs and the account of each queue.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::access::Caller;
use super::body::{Asked, Named};
use super::error::{LONGEST_ECHO, NO_SUCH_QUEUE, Problem};
use super::page::{Page, Paging};
use super::release::BlockedView;
use super::{Doors, QueueDoor};
use crate::config::{self, Disposition, OnUnknown, TargetSettings};
use crate::metrics::Ledger;
use crate::rules::names::FlagKey;
use crate::rules::snapshot::Snapshot;
use crate::rules::units::Span;
use crate::rules::valve::Valve;
use crate::rules::verdict::Why;
use crate::seams::Receipt;
use crate::vitals::VitalsReport;

const LIST: &str = "/api/v1/queues";

/// A queue, whole.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Queue)]
pub(super) struct QueueView {
    /// The name, with its vhost when it lies in one of its own.
    #[schema(example = "orders")]
    name: String,
    /// Whether it is served, or nobody wants it to be: what `/readyz` asks.
    served: bool,
    /// What the file says of it.
    settings: SettingsView,
    /// Its valves as they stand now.
    gate: Vec<ValveView>,
    /// The keys that wait for their release, where order is kept.
    blocked: BlockedView,
    /// How it does.
    vitals: VitalsReport,
    /// What waits in lanes, because its key may not go faster; `…/lanes` has it by key.
    lanes: LanesView,
    /// Its account, read as one copy: received = in_hand + the sum of settled.
    ledger: LedgerView,
    /// Deliveries of the whole daemon that were lost hold of: a fault of ours, always 0.
    receipts_dropped: u64,
}

/// What waits in the lanes of a queue.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lanes)]
struct LanesView {
    /// Keys with a lane, or with messages in the shared one.
    keys: usize,
    /// Messages, at the broker and in hand, as far as is known.
    messages: u64,
}

/// What the file says of a queue; changed there, with a restart.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueueSettings)]
struct SettingsView {
    /// The name at the broker.
    broker_name: String,
    /// The vhost, when it is one of its own.
    vhost: Option<String>,
    /// Messages at the target at once.
    slots: u32,
    /// Messages that the broker may have out with us.
    prefetch: u16,
    /// The attribute that keyed limits count by.
    key: Option<String>,
    /// A job finished later than this after it was published counts as late, such as `30s`.
    deadline_after: Option<String>,
    /// Where messages go: a URL without user and password, or `handler <name>`.
    target: String,
    /// How often a message is tried in all.
    attempts: u32,
    /// Whether the order of messages is kept: none, key or strict.
    order: &'static str,
    /// What happens to skipped messages: drop, dead_letter or park.
    on_skip: &'static str,
    /// What happens to expired messages.
    on_expired: &'static str,
    /// What happens to rejected messages.
    on_rejected: &'static str,
    /// What happens to messages that may have been done: retry or park.
    on_unknown: &'static str,
    /// The light versions that `degrade` may name.
    modes: Vec<String>,
    /// What the automatic valve may do.
    relief: ReliefSettingsView,
}

/// What the automatic valve may do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReliefSettings)]
struct ReliefSettingsView {
    /// The share that is shed in any case, from 0 to 1.
    floor: f64,
    /// The share that is shed at most.
    ceiling: f64,
    /// By so much the share that is shed may rise at once.
    step: f64,
    /// What becomes of a key that brings too much: observe, limit or degrade.
    bad_actor: &'static str,
}

/// A valve as it stands now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Valve)]
struct ValveView {
    /// Its name.
    #[schema(example = "skip")]
    valve: &'static str,
    /// The key of its flag.
    #[schema(example = "queue.orders.skip")]
    flag: String,
    /// What it says now.
    now: Value,
    /// Whether it does nothing now.
    neutral: bool,
    /// The opening that `now` comes from; `null`: it is the value that stands.
    opening: Option<String>,
}

/// A queue's account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Ledger)]
struct LedgerView {
    /// Deliveries taken.
    received: u64,
    /// Deliveries taken and not yet settled.
    in_hand: u64,
    /// Deliveries settled, each way once.
    settled: Vec<SettledView>,
}

/// One way in which deliveries end, and how many did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Settled)]
struct SettledView {
    /// run, shed, wait or back.
    verdict: &'static str,
    /// The reason.
    #[schema(example = "done")]
    reason: &'static str,
    /// How many.
    count: u64,
}

/// Lists the queues, by name.
#[utoipa::path(get, path = LIST, tag = "queues", params(Paging), responses(
    (status = 200, description = "One page of the queues.", body = Page<QueueView>,
     headers(("Link" = String, description = "The next page, if there is one: `rel=\"next\"`."))),
))]
pub(super) async fn list(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    Asked(paging): Asked<Paging>,
) -> Result<Page<QueueView>, Problem> {
    let snapshot = doors.store.snapshot();
    let after = paging.cursor.clone().unwrap_or_default();
    let mut queues: Vec<&QueueDoor> = doors
        .queues
        .iter()
        .filter(|queue| queue.settings.name.as_str() > after.as_str())
        .filter(|queue| caller.sees_queue(queue.settings.name.as_str()))
        .collect();
    queues.sort_by_key(|queue| &queue.settings.name);
    let rest = queues
        .into_iter()
        .map(|queue| show(&doors, &snapshot, queue));
    Page::of(LIST, &paging, rest, |queue| queue.name.clone())
}

/// Reads one queue.
#[utoipa::path(get, path = "/api/v1/queues/{name}", tag = "queues",
    params(("name" = String, Path, description = "The queue's name, percent-encoded: `billing%2Forders`.")),
    responses(
        (status = 200, description = "The queue.", body = QueueView),
        (status = 404, description = "There is no such queue."),
))]
pub(super) async fn read(
    State(doors): State<Arc<Doors>>,
    Named(name): Named,
) -> Result<Json<QueueView>, Problem> {
    let queue = find(&doors, &name)?;
    Ok(Json(show(&doors, &doors.store.snapshot(), queue)))
}

/// The queue of this name.
pub(super) fn find<'d>(doors: &'d Doors, name: &str) -> Result<&'d QueueDoor, Problem> {
    let found = doors
        .queues
        .iter()
        .find(|queue| queue.settings.name.as_str() == name);
    found.ok_or_else(|| none(name))
}

/// No such queue.
pub(super) fn none(name: &str) -> Problem {
    let name: String = name.chars().take(LONGEST_ECHO).collect();
    Problem::new(
        NO_SUCH_QUEUE,
        format!("the daemon has no queue `{name}`; GET {LIST} shows those it has"),
    )
}

fn show(doors: &Doors, snapshot: &Snapshot, queue: &QueueDoor) -> QueueView {
    let (keys, messages) = queue.vitals.in_lanes();
    QueueView {
        name: queue.settings.name.to_string(),
        served: queue.vitals.ready().is_ok(),
        settings: settings(&queue.settings),
        gate: Valve::ALL
            .into_iter()
            .filter_map(|valve| valve_now(snapshot, &queue.settings, valve))
            .collect(),
        blocked: BlockedView::of(&queue.blocked),
        vitals: queue.vitals.report(doors.clock.now().mono),
        lanes: LanesView { keys, messages },
        ledger: ledger(&queue.metrics.ledger()),
        receipts_dropped: Receipt::dropped(),
    }
}

fn settings(queue: &config::Queue) -> SettingsView {
    let disposition = |disposition| match disposition {
        Disposition::Drop => "drop",
        Disposition::DeadLetter => "dead_letter",
        Disposition::Park => "park",
    };
    SettingsView {
        broker_name: queue.broker_name.clone(),
        vhost: queue.vhost.clone(),
        slots: queue.slots,
        prefetch: queue.prefetch,
        key: queue.reading.key.clone(),
        deadline_after: queue.deadline_after.map(|after| {
            let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            Span::from_millis(millis).to_string()
        }),
        target: match &queue.target {
            TargetSettings::Http(url) => without_user(url),
            TargetSettings::Handler(name) => format!("handler {name}"),
            TargetSettings::Queue(name) => format!("queue {name}"),
            TargetSettings::Pool(name) => format!("pool {name}"),
        },
        attempts: queue.attempts,
        order: queue.order.word(),
        on_skip: disposition(queue.on_skip),
        on_expired: disposition(queue.on_expired),
        on_rejected: disposition(queue.on_rejected),
        on_unknown: match queue.on_unknown {
            OnUnknown::Retry => "retry",
            OnUnknown::Failover => "failover",
            OnUnknown::Park => "park",
        },
        modes: queue.modes.clone(),
        relief: ReliefSettingsView {
            floor: queue.relief.bounds.floor.get(),
            ceiling: queue.relief.bounds.ceiling.get(),
            step: queue.relief.bounds.step.get(),
            bad_actor: queue.relief.bad_actor.word(),
        },
    }
}

/// A URL without user, password, query and fragment, any of which may hold a secret.
fn without_user(url: &str) -> String {
    let shown = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = shown.split_once("://") else {
        return shown.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

fn valve_now(snapshot: &Snapshot, queue: &config::Queue, valve: Valve) -> Option<ValveView> {
    let key = FlagKey::of_valve(&queue.name, valve);
    let (now, opening) = snapshot.value(key.as_str())?;
    let neutral = snapshot.flag(key.as_str())?.read(&valve.neutral()).ok()?;
    Some(ValveView {
        valve: valve.name(),
        flag: key.to_string(),
        neutral: now == neutral,
        now: now.to_json(),
        opening: opening.map(|id| id.to_string()),
    })
}

fn ledger(ledger: &Ledger) -> LedgerView {
    LedgerView {
        received: ledger.received,
        in_hand: ledger.in_hand,
        settled: Why::ALL
            .into_iter()
            .map(|why| SettledView {
                verdict: why.verdict(),
                reason: why.word(),
                count: ledger.settled[why as usize],
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_targets_url_is_shown_without_its_secrets() {
        for (url, shown) in [
            ("http://127.0.0.1:8081/jobs", "http://127.0.0.1:8081/jobs"),
            (
                "http://ana:s3cret@worker/jobs?key=s3cret#s3cret",
                "http://worker/jobs",
            ),
            ("http://a@b@worker", "http://worker"),
            ("http://worker/@me", "http://worker/@me"),
        ] {
            assert_eq!(without_user(url), shown, "{url}");
        }
    }
}
