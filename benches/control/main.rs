//! What the automatic rules make of overload, in virtual time with fixed seeds, beside what else people do about it.
//!
//! The rules are the product's own, with the settings that they have by default; the alternatives play in the same run. A goal in
//! virtual time that is missed makes the benchmark fail, and so does an alternative that is weaker than it should be. At the end the
//! daemon plays on a real broker, in real time.
//!
//! `cargo bench --bench control [-- --quick]`
#![expect(clippy::print_stdout, reason = "a benchmark tells what it found")]

mod accounts;
mod actors;
mod broker;
mod known;
mod others;
mod ours;
mod overload;
mod queue;
mod small;
mod story;
mod tables;

use anyhow::Result;
use peers::arguments::{Arguments, role};
use peers::meter::Counting;
use peers::roles;

use tables::Tables;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Result<()> {
    match role() {
        Some((role, arguments)) if role == broker::DAEMON => broker::daemon(&arguments),
        Some((role, arguments)) => roles::play(&role, &arguments),
        None => measure(),
    }
}

fn measure() -> Result<()> {
    let mut tables = Tables::new(Arguments::read());
    overload::run(&mut tables);
    story::run(&mut tables);
    actors::run(&mut tables);
    accounts::run(&mut tables);
    small::run(&mut tables)?;
    broker::run(&mut tables)?;
    tables.conclude()
}
