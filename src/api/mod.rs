//! The doors: HTTP API, health, metrics and the plain page. The only room that names axum.
//!
//! [`table`] is the map of all routes; router and OpenAPI document are both drawn from it. A request goes through
//! [`checks`] (who may call), then its handler; what goes wrong on the way is one of the problems of [`error`]. A knob is turned
//! in [`mod@write`]. May import `store`, `events`, `metrics`, `outcomes`, `vitals`, `clock`, `seams`, `config` and `rules`.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::clock::Clock;
use crate::config;
use crate::events::Events;
use crate::metrics::{Metrics, QueueMetrics};
use crate::seams::PutsBack;
use crate::store::{Blocked, Store};
use crate::vitals::QueueVitals;
use error::{LONGEST_ECHO, METHOD, NO_SUCH_PATH, Problem};

mod access;
mod answer;
mod apply;
mod aside;
mod authz;
mod body;
mod changes;
mod checks;
mod deletion;
mod documents;
mod doubts;
mod error;
mod evaluated;
mod events;
mod explain;
mod flags;
mod guest;
mod health;
mod idempotency;
mod lanes;
mod ofrep;
mod openapi;
mod openings;
mod outcomes;
mod pace;
mod page;
mod preview;
mod providers;
mod queues;
mod release;
mod relieve;
mod resolved;
mod routes;
mod scale;
mod schemas;
mod seats;
mod segments;
mod serve;
mod several;
mod shapes;
mod status;
#[cfg(test)]
mod tests;
mod tls;
mod undo;
mod views;
mod write;

pub use access::Access;
pub use evaluated::LastEvaluated;
pub use events::Listeners;
pub use idempotency::Remembered;
pub use ofrep::Services;
pub use openapi::openapi;
pub use pace::Pace;
pub use providers::PoolDoor;
pub use serve::{Entrance, serve};
pub use tls::{BadTls, Tls};

/// What the doors look at, and the one knob behind them.
#[derive(Debug)]
pub struct Doors {
    /// The flags.
    pub store: Arc<Store>,
    /// All numbers.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
    /// The queues, in the order of the file.
    pub queues: Vec<QueueDoor>,
    /// The pools of providers, in the order of the file.
    pub pools: Vec<PoolDoor>,
    /// Who puts back from the park what is to be done again.
    pub replayer: Arc<dyn PutsBack>,
    /// Who may come in, and by which names.
    pub access: Access,
    /// Cancelled when the daemon begins to stop: `/readyz` says so while the doors are still open.
    pub stopping: CancellationToken,
    /// The answers to repeated requests; `Remembered::default()` to begin with.
    pub remembered: Remembered,
    /// What happens.
    pub events: Arc<Events>,
    /// Who hears of it; `Listeners::default()` to begin with.
    pub listeners: Listeners,
    /// What is kept for services.
    pub services: Services,
    /// How many changes each actor may make a minute.
    pub pace: Pace,
    /// When flags were last evaluated; `LastEvaluated::default()`: nobody counts.
    pub evaluated: LastEvaluated,
}

/// One queue, as far as the doors see it.
#[derive(Debug)]
pub struct QueueDoor {
    /// What the file says of it.
    pub settings: Arc<config::Queue>,
    /// Its keys that wait for their release.
    pub blocked: Arc<Blocked>,
    /// How it does.
    pub vitals: Arc<QueueVitals>,
    /// Its numbers.
    pub metrics: Arc<QueueMetrics>,
}

/// All routes.
fn table() -> OpenApiRouter<Arc<Doors>> {
    watched()
        .merge(for_services())
        .routes(routes!(status::root))
        .routes(routes!(status::status))
        .routes(routes!(flags::list))
        .routes(routes!(
            flags::read,
            flags::put,
            flags::patch,
            flags::delete
        ))
        .routes(routes!(segments::list))
        .routes(routes!(segments::read, segments::put, segments::delete))
        .routes(routes!(segments::members))
        .routes(routes!(preview::preview))
        .routes(routes!(openings::list, openings::open))
        .routes(routes!(openings::close))
        .routes(routes!(openings::extend))
        .routes(routes!(apply::apply))
        .routes(routes!(undo::history))
        .routes(routes!(undo::undo))
        .routes(routes!(changes::list, several::make))
        .routes(routes!(changes::verify))
        .routes(routes!(queues::list))
        .routes(routes!(queues::read))
        .routes(routes!(scale::read))
        .routes(routes!(release::release))
        .routes(routes!(relieve::relieve))
        .routes(routes!(lanes::list))
        .routes(routes!(providers::providers))
        .routes(routes!(providers::pools))
        .routes(routes!(doubts::list))
        .routes(routes!(doubts::resolve))
        .routes(routes!(events::listen))
        .routes(routes!(explain::explain))
        .routes(routes!(openapi::read))
}

/// The routes for services and proxies.
fn for_services() -> OpenApiRouter<Arc<Doors>> {
    OpenApiRouter::new()
        .routes(routes!(ofrep::evaluate_all))
        .routes(routes!(ofrep::evaluate))
        .routes(routes!(events::listen_for_evaluations))
        .routes(routes!(authz::allow))
        .routes(routes!(outcomes::report))
}

/// The routes for orchestrators.
fn health() -> OpenApiRouter<Arc<Doors>> {
    OpenApiRouter::with_openapi(openapi::start())
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
}

/// The routes for scrapers and orchestrators.
fn watched() -> OpenApiRouter<Arc<Doors>> {
    health().routes(routes!(health::metrics))
}

/// Everything on one door.
pub fn router(doors: Arc<Doors>) -> Router {
    dressed(table(), doors, false)
}

/// Health and metrics alone, for a door of their own (`[metrics] listen`).
pub fn metrics_router(doors: Arc<Doors>) -> Router {
    dressed(watched(), doors, true)
}

/// What services need alone, for a door of their own (`[ofrep] listen`).
pub fn services_router(doors: Arc<Doors>) -> Router {
    dressed(health().merge(for_services()), doors, false)
}

fn dressed(routes: OpenApiRouter<Arc<Doors>>, doors: Arc<Doors>, asks_nobody: bool) -> Router {
    let guard = checks::Guard {
        doors: Arc::clone(&doors),
        asks_nobody,
    };
    let guard = middleware::from_fn_with_state(guard, checks::guard);
    Router::from(routes)
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
        .layer(guard)
        .with_state(doors)
}

async fn nothing_here(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(LONGEST_ECHO).collect();
    Problem::new(
        NO_SUCH_PATH,
        format!("there is nothing at {path}; GET /api/v1/openapi.json lists all there is"),
    )
}

async fn not_so(request: Request) -> Problem {
    Problem::new(
        METHOD,
        format!(
            "this path does not take {}; the header Allow lists what it takes",
            request.method()
        ),
    )
}
