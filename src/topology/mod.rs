//! The queues that Sluicegate keeps for itself beside yours: their names and arguments, who must be permitted what, and how to do
//! without all of it. Pure: what declares and what explains draw from the same tables. May import `config` and `rules`.

pub mod bypass;
pub mod definitions;
pub mod page;
pub mod permissions;
pub mod places;
mod shell;

/// How to have the missing queues made, for errors and findings.
pub const CURE: &str = "`sluicegate topology` prints the queues that must be there with `declare = false`, and how to make them";
