//! What may be typed after `relieve`. May import `rules`.

use clap::Args;

use super::Terms;
use super::flag::restore;
use crate::rules::names::QueueName;
use crate::rules::opening::Restore;
use crate::rules::relief::health::Until;
use crate::rules::units::Span;

/// How a queue is relieved.
#[derive(Debug, Args)]
pub(in crate::cli) struct RelieveArgs {
    /// The queue.
    pub(in crate::cli) name: QueueName,
    /// A job done later than this after it was published is useless; deadline_after of the file when not said.
    #[arg(long, value_name = "DURATION")]
    pub(in crate::cli) deadline: Option<Span>,
    /// Skip this share by lot, such as 60%, instead of letting the valve find what fits.
    #[arg(long, value_name = "SHARE")]
    pub(in crate::cli) skip: Option<String>,
    /// How long it lasts, such as 30m, at most 1d; until the queue is well when nothing is said.
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "until")]
    pub(in crate::cli) lasting: Option<Span>,
    /// When it ends: a time such as 2026-11-21T18:00:00Z, or "on-time >= 98% for 10m, at most 8h".
    #[arg(long, value_name = "WHEN")]
    pub(in crate::cli) until: Option<Until>,
    /// How it goes back: `ramp:5m`, in steps over that time after its end, when not said; or `snap`, at once.
    #[arg(long, value_name = "HOW", value_parser = restore)]
    pub(in crate::cli) restore: Option<Restore>,
    #[command(flatten)]
    pub(in crate::cli) terms: Terms,
}
