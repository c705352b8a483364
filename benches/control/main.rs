//! What the automatic rules make of overload, in virtual time with fixed seeds, beside what else people do about it.
//!
//! The rules are the product's own, with the settings that they have by default; the alternatives play in the same run. A goal in
//! virtual time that is missed makes the benchmark fail, and so does an alternative that is weaker than it should be.
//!
//! `cargo bench --bench control [-- --quick]`
#![expect(clippy::print_stdout, reason = "a benchmark tells what it found")]

mod accounts;
mod actors;
mod known;
mod others;
mod ours;
mod overload;
mod queue;
mod small;
mod story;
mod tables;

use anyhow::Result;
use peers::arguments::Arguments;
use peers::meter::Counting;

use tables::Tables;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Result<()> {
    let mut tables = Tables::new(Arguments::read());
    overload::run(&mut tables);
    story::run(&mut tables);
    actors::run(&mut tables);
    accounts::run(&mut tables);
    small::run(&mut tables)?;
    tables.conclude()
}
