//! The rules of the house: given the knobs and the facts, what happens to a message, and why?
//!
//! Pure: no clock, lock, log, await or I/O; time is an argument. May use `std`, `serde`, `serde_json`, `thiserror` and small
//! pure crates (xxhash-rust, sha2, jiff, percent-encoding, regex, semver, ipnet), and no other room, so that all of it can be replayed: in a test, in a benchmark, in a
//! preview.

pub mod accepted;
pub mod access;
pub mod arrivals;
pub mod asks;
pub mod audience;
pub mod backoff;
pub mod big_move;
pub mod binding;
pub mod breaker;
pub mod chain;
pub mod change;
pub mod choice;
pub mod clause;
pub mod comparison;
pub mod compile;
pub mod context;
pub mod document;
pub mod doubt;
pub mod edits;
pub mod envelope;
pub mod explain;
pub mod facts;
pub mod finding;
pub mod flag;
mod flag_value;
pub mod gate;
pub mod handed;
pub mod hold;
pub mod json;
mod kept;
pub mod lane;
#[cfg(test)]
mod laws;
mod laying;
pub mod lots;
#[cfg(test)]
mod made_up;
pub mod members;
pub mod message;
pub mod names;
pub mod notice;
pub mod opening;
pub mod order;
pub mod pace;
pub mod patience;
pub mod plan;
pub mod policy;
pub mod pressure;
pub mod preview;
pub mod ramp;
pub mod record;
pub mod relief;
mod renewal;
pub mod reply;
pub mod route;
pub mod rule_name;
pub mod sample;
pub mod segment;
mod segment_edits;
pub mod settlement;
pub mod snapshot;
mod steering;
pub mod suppress;
mod texts;
pub mod times;
pub mod top;
pub mod units;
pub mod value;
pub mod valve;
mod valve_value;
pub mod verdict;
pub mod watermark;
pub mod window;
