//! `/api/v1/providers` and `/api/v1/pools`: who does the work of pools, how they stand and why. May import `config`, `metrics`, `rules`
//! and `vitals`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Doors;
use super::access::Caller;
use super::body::Asked;
use super::error::Problem;
use super::page::{Page, Paging};
use super::views::rfc3339;
use crate::clock::Now;
use crate::config::pool::Pool;
use crate::metrics::PoolMetrics;
use crate::rules::breaker::Trip;
use crate::rules::names::FlagKey;
use crate::rules::reply::Reply;
use crate::rules::route::Force;
use crate::rules::snapshot::Snapshot;
use crate::rules::value::Value;
use crate::vitals::providers::{PoolVitals, ProviderVitals};

const PROVIDERS: &str = "/api/v1/providers";
const POOLS: &str = "/api/v1/pools";

/// A pool, as far as the doors see it.
#[derive(Debug)]
pub struct PoolDoor {
    /// What the file says of it.
    pub settings: Arc<Pool>,
    /// How its providers stand.
    pub vitals: Arc<PoolVitals>,
    /// Its numbers.
    pub metrics: Arc<PoolMetrics>,
}

/// A provider.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Provider)]
pub(super) struct ProviderView {
    /// Its name.
    #[schema(example = "mailgun")]
    name: String,
    /// How it is spoken to: http, mailgun, sendgrid, ses, postmark or smtp.
    #[schema(example = "mailgun")]
    kind: &'static str,
    /// What its breaker says: passing, resting or probing.
    #[schema(example = "passing")]
    state: &'static str,
    /// What an operator forces by `provider.<name>.force`: none, rest or pass.
    force: &'static str,
    /// The share that it gets of what is meant for it, by its breaker.
    share: f64,
    /// When it is probed next, while it rests.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// The numbers behind its last rest, until it passes in full again.
    trip: Option<TripView>,
    /// Jobs that are out to it.
    out: usize,
    /// The usual time of its answers, once it is known.
    usual_seconds: Option<f64>,
    /// How often it said what, since the daemon started.
    replies: Vec<ReplyView>,
    /// Jobs that it was given today (UTC).
    today: u64,
    /// Until when it asked us to wait, if it did.
    #[schema(format = DateTime)]
    asked_until: Option<String>,
    /// From domains that it refused in the last ten minutes; their jobs go elsewhere.
    refused_domains: Vec<String>,
    /// Why it does not accept us, while it does not: its key, the account.
    refuses_us: Option<String>,
    /// What it said last when something was wrong.
    last_cause: String,
}

/// The numbers behind a rest: what happened since the evidence began to gather.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Trip)]
struct TripView {
    /// When it began to rest.
    #[schema(format = DateTime)]
    at: String,
    /// So many calls said something of it,
    calls: u32,
    /// so many of them failed,
    failed: u32,
    /// and so many of those were overdue rather than answered.
    overdue: u32,
}

/// How often a provider said something.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reply)]
struct ReplyView {
    /// done, recipient, sender, throttled, later, provider, ours or unknown.
    #[schema(example = "done")]
    reply: &'static str,
    /// How often.
    count: u64,
}

/// A pool.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Pool)]
pub(super) struct PoolView {
    /// Its name.
    #[schema(example = "mail")]
    name: String,
    /// What `pool.<name>.provider` says to everybody: auto, a name, or shares.
    #[schema(example = "auto")]
    route: String,
    /// The opening that the route comes from; null: it is the value that stands.
    opening: Option<String>,
    /// Whether its jobs are mails.
    mail: bool,
    /// Whether the first provider does not carry all that is meant for it.
    on_backup: bool,
    /// The most jobs that may be out to one of its providers; null: no limit.
    most_out: Option<usize>,
    /// Its providers, the first choice first.
    providers: Vec<MemberView>,
}

/// A provider of a pool.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PoolMember)]
struct MemberView {
    /// Its name.
    name: String,
    /// Its share where the pool is weighted; null: it is ordered.
    share: Option<f64>,
    /// What its breaker says: passing, resting or probing.
    state: &'static str,
    /// What an operator forces.
    force: &'static str,
}

/// Lists the providers, by name.
#[utoipa::path(get, path = PROVIDERS, tag = "providers", operation_id = "providers_list", params(Paging), responses(
    (status = 200, description = "One page of the providers.", body = Page<ProviderView>,
     headers(("Link" = String, description = "The next page, if there is one: `rel=\"next\"`."))),
))]
pub(super) async fn providers(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    Asked(paging): Asked<Paging>,
) -> Result<Page<ProviderView>, Problem> {
    let (snapshot, now) = (doors.store.snapshot(), doors.clock.now());
    let after = paging.cursor.clone().unwrap_or_default();
    let all = doors.pools.iter().flat_map(|pool| &pool.vitals.providers);
    let mut seen: Vec<&Arc<ProviderVitals>> = all
        .filter(|provider| *provider.name > *after)
        .filter(|provider| caller.sees_flag(FlagKey::of_force(&provider.name).as_str()))
        .collect();
    seen.sort_by_key(|provider| &provider.name);
    seen.dedup_by_key(|provider| &provider.name);
    let rest = seen
        .into_iter()
        .map(|provider| show(provider, &snapshot, now));
    Page::of(PROVIDERS, &paging, rest, |provider| provider.name.clone())
}

/// Lists the pools, by name.
#[utoipa::path(get, path = POOLS, tag = "providers", operation_id = "pools_list", params(Paging), responses(
    (status = 200, description = "One page of the pools.", body = Page<PoolView>,
     headers(("Link" = String, description = "The next page, if there is one: `rel=\"next\"`."))),
))]
pub(super) async fn pools(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    Asked(paging): Asked<Paging>,
) -> Result<Page<PoolView>, Problem> {
    let (snapshot, now) = (doors.store.snapshot(), doors.clock.now());
    let after = paging.cursor.clone().unwrap_or_default();
    let mut seen: Vec<&PoolDoor> = doors
        .pools
        .iter()
        .filter(|pool| *pool.settings.name > *after)
        .filter(|pool| caller.sees_flag(FlagKey::of_pool(&pool.settings.name).as_str()))
        .collect();
    seen.sort_by_key(|pool| &pool.settings.name);
    let rest = seen.into_iter().map(|pool| show_pool(pool, &snapshot, now));
    Page::of(POOLS, &paging, rest, |pool| pool.name.clone())
}

fn show(provider: &ProviderVitals, snapshot: &Snapshot, now: Now) -> ProviderView {
    let report = provider.report(now.mono, now.ms);
    let breaker = report.breaker;
    let at = |mono: Duration| rfc3339(wall(mono, now));
    let replies = Reply::WORDS.into_iter().zip(report.replies);
    ProviderView {
        name: provider.name.to_string(),
        kind: provider.kind,
        state: breaker.standing.word(),
        force: forced(snapshot, &provider.name).word(),
        share: breaker.share,
        until: breaker.until.map(at),
        trip: breaker.trip.map(|trip: Trip| TripView {
            at: at(trip.at),
            calls: trip.calls,
            failed: trip.failed,
            overdue: trip.overdue,
        }),
        out: breaker.out,
        usual_seconds: breaker.usual.map(|usual| usual.as_secs_f64()),
        replies: replies
            .map(|(reply, count)| ReplyView { reply, count })
            .collect(),
        today: report.today,
        asked_until: report.asked_until.map(at),
        refused_domains: report.refused_domains,
        refuses_us: report.ours,
        last_cause: report.last_cause,
    }
}

fn show_pool(pool: &PoolDoor, snapshot: &Snapshot, now: Now) -> PoolView {
    let name = &pool.settings.name;
    let said = snapshot.value(FlagKey::of_pool(name).as_str());
    let (route, opening) = match said {
        Some((Value::Text(route), opening)) => (route.to_string(), opening),
        _ => ("auto".to_owned(), None),
    };
    let weighted = pool.settings.members.iter().any(|member| member.weight > 0);
    let total: u32 = pool
        .settings
        .members
        .iter()
        .map(|member| member.weight)
        .sum();
    let members = pool.settings.members.iter().zip(&pool.vitals.providers);
    let first = pool.settings.members.first();
    let force = first.map_or(Force::None, |member| forced(snapshot, &member.name));
    PoolView {
        name: name.to_string(),
        route,
        opening: opening.map(|id| id.to_string()),
        mail: pool.settings.mail,
        on_backup: pool.vitals.on_backup(force, now.mono, now.ms),
        most_out: (pool.vitals.most != usize::MAX).then_some(pool.vitals.most),
        providers: members
            .map(|(member, vitals)| MemberView {
                name: member.name.to_string(),
                share: weighted.then(|| f64::from(member.weight) / f64::from(total)),
                state: vitals.report(now.mono, now.ms).breaker.standing.word(),
                force: forced(snapshot, &member.name).word(),
            })
            .collect(),
    }
}

fn forced(snapshot: &Snapshot, provider: &str) -> Force {
    match snapshot.value(FlagKey::of_force(provider).as_str()) {
        Some((Value::Text(word), _)) => Force::of(&word),
        _ => Force::None,
    }
}

/// A time since the clock's start, in milliseconds since 1970.
fn wall(mono: Duration, now: Now) -> i64 {
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    now.ms
        .saturating_sub(millis(now.mono))
        .saturating_add(millis(mono))
}
