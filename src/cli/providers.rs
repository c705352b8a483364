//! `provider list`, `pin`, `rest` and `pass`. Each of the last three is an opening: it has a reason and an end. What is said of jobs in
//! doubt lies beside. May import `rules`.

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::console::harmless;
use super::doubts;
use super::failure::Failure;
use super::grammar::{Length, ProviderVerb, Terms};
use super::openings;
use super::session::Session;
use super::table::{Cell, Side, Table, Tint};
use super::views::read;
use super::words::{lasting, moment};
use crate::rules::names::FlagKey;

/// What the daemon says of a provider.
#[derive(Debug, Deserialize)]
struct ProviderView {
    name: String,
    kind: String,
    state: String,
    force: String,
    share: f64,
    until: Option<String>,
    trip: Option<Trip>,
    out: usize,
    usual_seconds: Option<f64>,
    refuses_us: Option<String>,
    #[serde(default)]
    last_cause: String,
    replies: Vec<Reply>,
}

#[derive(Debug, Deserialize)]
struct Trip {
    calls: u32,
    failed: u32,
}

#[derive(Debug, Deserialize)]
struct Reply {
    reply: String,
    count: u64,
}

/// What the daemon says of a pool.
#[derive(Debug, Deserialize)]
struct PoolView {
    name: String,
    route: String,
    opening: Option<String>,
    on_backup: bool,
    providers: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Member {
    name: String,
    share: Option<f64>,
}

pub(super) async fn provider(
    session: &mut Session<'_>,
    verb: &ProviderVerb,
) -> Result<(), Failure> {
    match verb {
        ProviderVerb::List => list(session).await,
        ProviderVerb::Unknown { which } => doubts::list(session, which).await,
        ProviderVerb::Resolve {
            verdict,
            ids,
            all,
            which,
            terms,
        } => doubts::resolve(session, (*verdict, ids, *all), which, terms).await,
        ProviderVerb::Pin {
            pool,
            provider,
            length,
            terms,
        } => open(session, &FlagKey::of_pool(pool), provider, length, terms).await,
        ProviderVerb::Rest {
            provider,
            length,
            terms,
        } => open(session, &FlagKey::of_force(provider), "rest", length, terms).await,
        ProviderVerb::Pass {
            provider,
            length,
            terms,
        } => open(session, &FlagKey::of_force(provider), "pass", length, terms).await,
    }
}

async fn open(
    session: &mut Session<'_>,
    key: &FlagKey,
    value: &str,
    length: &Length,
    terms: &Terms,
) -> Result<(), Failure> {
    let (flag, _) = session.flag(key.as_str()).await?;
    let values = [(key.to_string(), Json::from(value))];
    let answer = session.open(&values, length, Map::new(), terms).await?;
    openings::tell(session, &answer, &[flag], &values, terms);
    Ok(())
}

async fn list(session: &mut Session<'_>) -> Result<(), Failure> {
    let pools = session.list("/api/v1/pools").await?;
    let providers = session.list("/api/v1/providers").await?;
    let answer = serde_json::json!({ "pools": pools["items"], "providers": providers["items"] });
    let pools: Vec<PoolView> = read(&pools["items"])?;
    let providers: Vec<ProviderView> = read(&providers["items"])?;
    session.show(&answer, |console| {
        if providers.is_empty() {
            console.say("the daemon has no pool of providers; its configuration names them");
            return;
        }
        console.data(&table_of(&providers).render(console.colour));
        for pool in &pools {
            console.data(&harmless(&in_words(pool)));
        }
        for provider in &providers {
            if let Some(why) = &provider.refuses_us {
                let said = format!("{} does not accept us: {why}", provider.name);
                console.data(&harmless(&said));
            }
        }
    });
    Ok(())
}

/// `pool mail: mailgun, sendgrid (route auto), on backup`
fn in_words(pool: &PoolView) -> String {
    let member = |member: &Member| match member.share {
        Some(share) => format!("{} {:.0}%", member.name, share * 100.0),
        None => member.name.clone(),
    };
    let members: Vec<String> = pool.providers.iter().map(member).collect();
    let opening = pool.opening.as_ref();
    let opening = opening.map_or_else(String::new, |id| format!(" by {id}"));
    let backup = if pool.on_backup { ", on backup" } else { "" };
    format!(
        "pool {}: {} (route {}{opening}){backup}",
        pool.name,
        members.join(", "),
        pool.route
    )
}

fn table_of(providers: &[ProviderView]) -> Table {
    let mut table = Table::new([
        ("PROVIDER", Side::Left),
        ("KIND", Side::Left),
        ("STATE", Side::Left),
        ("OUT", Side::Right),
        ("USUAL", Side::Right),
        ("DONE", Side::Right),
        ("FAILED", Side::Right),
        ("UNKNOWN", Side::Right),
        ("WHY", Side::Left),
    ]);
    for provider in providers {
        let count = |words: &[&str]| {
            let wanted = provider
                .replies
                .iter()
                .filter(|one| words.contains(&one.reply.as_str()));
            wanted.map(|one| one.count).sum::<u64>().to_string()
        };
        table.row([
            provider.name.as_str().into(),
            provider.kind.as_str().into(),
            state_of(provider),
            provider.out.to_string().into(),
            provider
                .usual_seconds
                .map_or_else(|| "-".to_owned(), lasting)
                .into(),
            count(&["done"]).into(),
            count(&["provider", "ours"]).into(),
            count(&["unknown"]).into(),
            why(provider).as_str().into(),
        ]);
    }
    table
}

fn state_of(provider: &ProviderView) -> Cell {
    match (provider.force.as_str(), provider.state.as_str()) {
        ("rest", _) => Cell::tinted("resting (forced)", Tint::Notable),
        ("pass", _) => Cell::tinted("passing (forced)", Tint::Notable),
        (_, "passing") if provider.share < 1.0 => {
            let part = format!("passing {:.0}%", provider.share * 100.0);
            Cell::tinted(&part, Tint::Notable)
        }
        (_, "passing") => Cell::tinted("passing", Tint::Good),
        (_, state) => Cell::tinted(state, Tint::Bad),
    }
}

/// `6 of 8 calls failed; probed 20:41:05; it answered 500`
fn why(provider: &ProviderView) -> String {
    let trip = provider
        .trip
        .as_ref()
        .filter(|trip| trip.calls > 0)
        .map(|trip| format!("{} of {} calls failed", trip.failed, trip.calls));
    let until = provider.until.as_ref();
    let until = until.map(|until| format!("probed {}", moment(until)));
    let cause =
        (!provider.last_cause.is_empty() && trip.is_some()).then(|| provider.last_cause.clone());
    let all: Vec<String> = [trip, until, cause].into_iter().flatten().collect();
    all.join("; ")
}
