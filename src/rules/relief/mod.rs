//! Relief: what can be known of a queue's load, and what to shed when there is more of it than workers.
//!
//! ```text
//!  service   how long jobs take            load      what is measured of every queue; workers wanted
//!  offered   how many are published        health    an opening that ends when its queue is well
//!                                          forecast  what relief would do now
//!
//!  fresh     the age up to which jobs are worth starting        sketch    who brings how much
//!  deadlines, classes   several kinds of jobs in one queue      fair      who brings too much
//!  decision, valve      the valve that asks all this            failing   whose jobs fail, unlike those of others
//!  rehearsal            what all this would do with messages that only pass by
//!  asking               what it is asked of a message, by the worker and by whoever explains
//! ```
//!
//! What a worker tells and asks, in this order (`now` is time since the clock's start):
//! - **a message came**, once for each: [`load::Measures::offered`]; [`fair::FairShare::offered`] and
//!   [`fair::FairShare::share_of`], by whose answer it is shed when its lot is not below `passing`; then, unless it was shed by
//!   anything, [`valve::AutoValve::arrived`];
//! - **a slot is free**: [`valve::AutoValve::decide`] (on arrival, too, with `ahead`, so that stale ones need not wait for a slot),
//!   then [`valve::AutoValve::began`] or [`valve::AutoValve::shed`];
//! - **a job came back**: [`load::Measures::served`], [`fair::FairShare::served`], [`failing::Failing::outcome`], and when it had a
//!   deadline [`valve::AutoValve::finished`];
//! - **nothing waits**, at the broker or in hand: `caught_up` of all three;
//! - **now and then** (it is cheap, so for every message if that is easiest): [`valve::AutoValve::tick`] and
//!   [`fair::FairShare::tick`], which says whom to report.
//!
//! Lots that are drawn here must not be those of `skip`, or what `skip` lets pass would never be shed here.

pub mod asking;
pub mod classes;
pub mod deadlines;
pub mod decision;
pub mod failing;
pub mod fair;
pub mod forecast;
pub mod fresh;
pub mod health;
pub mod load;
pub mod offered;
pub mod rehearsal;
pub mod service;
pub mod sketch;
pub mod valve;
