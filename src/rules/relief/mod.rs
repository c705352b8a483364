//! Relief: what can be known of a queue's load, and what to shed when there is more of it than workers.
//!
//! ```text
//!  service   how long jobs take            load      what is measured of every queue; workers wanted
//!  offered   how many are published        health    an opening that ends when its queue is well
//!
//!  fresh     the age up to which jobs are worth starting        sketch    who brings how much
//!  deadlines, classes   several kinds of jobs in one queue      fair      who brings too much
//!  decision, valve      the valve that asks all this            failing   whose jobs fail, unlike those of others
//! ```

pub mod classes;
pub mod deadlines;
pub mod decision;
pub mod failing;
pub mod fair;
pub mod fresh;
pub mod health;
pub mod load;
pub mod offered;
pub mod service;
pub mod sketch;
pub mod valve;
