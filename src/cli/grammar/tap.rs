//! What may be typed after `tap`. May import `rules`.

use std::path::PathBuf;

use clap::Args;

use crate::rules::names::QueueName;
use crate::rules::units::Span;

/// What is looked at, for how long, and what to compare it with.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct TapOptions {
    /// The queue, as the configuration names it.
    pub queue: QueueName,
    /// The configuration, a TOML file: the broker, and where messages carry age, account and type.
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "/etc/sluicegate/sluicegate.toml"
    )]
    pub config: PathBuf,
    /// How long to look, such as 10m; at most 1d.
    #[arg(long = "for", value_name = "DURATION", default_value = "10m", value_parser = lasting)]
    pub lasting: Span,
    /// How often to say what is seen.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = every)]
    pub every: Span,
    /// After this a job is useless; else what the message says, or `deadline_after` of the queue.
    #[arg(long, value_name = "DURATION", help_heading = "What relief would do", value_parser = above_zero)]
    pub deadline: Option<Span>,
    /// How long a job takes, such as 100ms. Nobody but you knows: a tap sees messages come, not jobs done.
    #[arg(long, value_name = "DURATION", help_heading = "What relief would do", value_parser = above_zero)]
    pub service: Option<Span>,
    /// How many jobs your workers do at once; else `slots` of the queue.
    #[arg(long, value_name = "N", help_heading = "What relief would do", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub slots: Option<u32>,
    /// Only what comes by this exchange. Without `[management]` in the file, the exchange to tap.
    #[arg(long, value_name = "NAME", help_heading = "By which way")]
    pub exchange: Option<String>,
    /// The routing key of the binding, as the queue has it; may be repeated.
    #[arg(
        long = "key",
        value_name = "KEY",
        help_heading = "By which way",
        requires = "exchange"
    )]
    pub keys: Vec<String>,
    /// An argument of the binding, for a headers exchange, such as region=eu; may be repeated.
    #[arg(long = "argument", value_name = "NAME=TEXT", help_heading = "By which way", requires = "exchange", value_parser = argument)]
    pub arguments: Vec<(String, String)>,
    /// The kind of the exchange, where nobody else can tell.
    #[arg(long, value_name = "KIND", help_heading = "By which way", requires = "exchange", value_parser = ["direct", "fanout", "topic", "headers"])]
    pub kind: Option<String>,
}

impl TapOptions {
    /// Whether the bindings to copy are typed here, and not asked of anybody.
    #[must_use]
    pub fn names_a_binding(&self) -> bool {
        !self.keys.is_empty() || !self.arguments.is_empty()
    }
}

const SECOND: Span = Span::from_secs(1);
const DAY: Span = Span::from_secs(86_400);

fn lasting(text: &str) -> Result<Span, String> {
    between(text, SECOND, DAY)
}

fn every(text: &str) -> Result<Span, String> {
    between(text, SECOND, Span::from_secs(3_600))
}

fn above_zero(text: &str) -> Result<Span, String> {
    between(text, Span::from_millis(1), DAY)
}

fn between(text: &str, least: Span, most: Span) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|why| format!("{why}"))?;
    if (least..=most).contains(&span) {
        Ok(span)
    } else {
        Err(format!("name a time from {least} to {most}"))
    }
}

fn argument(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair.ok_or("write NAME=TEXT, such as x-match=all or region=eu")?;
    Ok((name.to_owned(), value.to_owned()))
}
