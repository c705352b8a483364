//! Sluicegate: an operational control panel for queues.
//!
//! A daemon that takes RabbitMQ queues in hand beside their workers, and lets an operator open and close safety valves on the
//! traffic, live, with nothing lost. This page is the map.
//!
//! ```text
//!            main → app (introduces the rooms to each other, decides nothing)
//!                    │
//!   ┌───────┬────────┼─────────┬──────────┬─────────┐      the loops and doors; they do not know each other
//!  api     cli     guard     worker   amqp memory targets      (and management, which asks what AMQP cannot tell)
//!   └─ outcomes ─── notices ──────┴──────────┴─────────┘
//!         store   events   vitals   throttle   metrics   seams   clock   supervise   pulse   compat
//!                    │
//!      topology → config → rules (pure: no clock, lock, log, await or I/O)
//! ```
//!
//! Where to begin reading:
//! - what happens to a message: [`rules::gate::decide`], then [`worker`], which does it;
//! - what a flag and an opening are: [`rules::flag`], [`rules::opening`], [`rules::snapshot`]; the one door through which they
//!   change: [`store::Store::turn`];
//! - what the worker asks of the world: [`seams`]; who answers: [`amqp`] or [`memory`] for queues, [`targets`] for work;
//! - what came of work that was handed over to an admitted queue: [`outcomes`], [`rules::handed`]; its back-pressure:
//!   [`rules::pressure`];
//! - what comes to a queue, seen from beside it without a daemon: [`amqp::beside`], [`rules::arrivals`], and what relief would do,
//!   [`rules::relief::rehearsal`];
//! - which provider of a pool gets a job: [`rules::route`]; when one rests: [`rules::breaker`]; who asks them: [`targets::pool`];
//! - what is told to whoever listens, as it happens: [`events`]; what services read: [`api`], in its room `ofrep`;
//! - how flags come from other systems and go back to them: [`compat`];
//! - how few acknowledgements settle everything exactly once: [`rules::watermark`].
//!
//! Three rooms hold what changes: `store` (flags), `throttle` (permits), `vitals` (health). A test holds the arrows above.
//!
//! Deliberately absent: an expression language on the message path, automatic recovery inside the AMQP client (a supervisor of
//! our own is heard when it gives up), delaying by nack and requeue, a task for each message, metrics by account.
//!
//! A program embeds the daemon by [`app::run_with`], with Rust handlers as targets; see `examples/embedded.rs`.
#![forbid(unsafe_code)]

pub mod amqp;
pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod compat;
pub mod config;
pub mod events;
pub mod fake;
pub mod guard;
pub mod management;
pub mod memory;
pub mod metrics;
pub mod notices;
pub mod outcomes;
pub mod pulse;
pub mod rules;
pub mod seams;
pub mod store;
pub mod supervise;
pub mod targets;
pub mod throttle;
pub mod topology;
pub mod vitals;
pub mod worker;
