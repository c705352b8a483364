//! What Sluicegate is measured against, and the stage on which all are measured alike.
//!
//! Every contender is a process of its own: the benchmark starts itself again with `as ROLE …` ([`roles`]), or starts the program
//! of another language ([`scripts`]). So the processor time of each and of the broker can be read apart ([`stage`]), and a
//! contender has the machine to itself but for the broker. What is compared stands in [`rounds`] and [`report`].
//!
//! A contender says `first` on standard output when it has the first message of a queue that was filled before, and `last` with
//! the nanoseconds since then when it is done with the last. Imports nothing of Sluicegate, which is one contender more
//! ([`daemon`]).
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark is measured by the clock on the wall"
)]

#[expect(
    dead_code,
    reason = "the tests ask more of a broker than benchmarks do"
)]
#[path = "../../../tests/it/broker.rs"]
mod broker;
#[path = "../../../tests/it/http.rs"]
mod client;
#[path = "../../../tests/it/keeper.rs"]
mod keeper;

pub mod api;
pub mod arguments;
pub mod consume;
pub mod daemon;
pub mod evaluators;
pub mod load;
pub mod meter;
pub mod post;
pub mod processes;
pub mod report;
pub mod republish;
pub mod roles;
pub mod rounds;
pub mod scripts;
pub mod stage;
pub mod timed;
pub mod work;
pub mod worker;

/// A directory of its own, removed when the benchmark ends (`SLUICEGATE_KEEP=1` leaves it).
#[must_use]
pub fn directory(name: &str) -> std::path::PathBuf {
    keeper::directory(name)
}

/// A port on 127.0.0.1 that nobody listens on.
#[must_use]
pub fn free_port() -> u16 {
    keeper::free_port()
}
