//! What may be typed after `flag`. May import `rules`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value as Json;

use super::super::clauses::Typed;
use super::super::help;
use super::rule::RuleVerb;
use super::{Keep, Length, Terms};
use crate::rules::names::FlagKey;
use crate::rules::opening::{OpeningId, Restore};
use crate::rules::units::Span;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum FlagVerb {
    /// List flags with the value in force and what lies over it.
    #[command(after_help = help::FLAG_LIST)]
    List {
        /// Only flags whose key contains this text.
        #[arg(value_name = "TEXT")]
        part: Option<String>,
        /// Only flags that an opening lies on.
        #[arg(long)]
        open: bool,
    },
    /// Show one flag: value, rules, bounds, help, openings.
    #[command(after_help = help::FLAG_GET)]
    Get {
        /// The flag, such as queue.orders.skip.
        key: FlagKey,
    },
    /// Make a flag of your own.
    #[command(after_help = help::FLAG_CREATE)]
    Create(Box<NewFlag>),
    /// Change a flag's own value, for good. For an emergency use `open`, which ends by itself.
    #[command(after_help = help::FLAG_SET, after_long_help = help::flag_set_long())]
    Set {
        /// The flag, such as queue.orders.skip.
        key: FlagKey,
        /// The new value, such as 70%, 30s, 50/s, true, none.
        #[arg(allow_negative_numbers = true)]
        value: String,
        #[command(flatten)]
        keep: Keep,
        #[command(flatten)]
        terms: Terms,
    },
    /// Change a flag's whole document in your editor, or from a file.
    #[command(after_help = help::FLAG_EDIT)]
    Edit(EditArgs),
    /// Add, remove and list the rules of a flag: who gets another value than everybody.
    #[command(subcommand, after_help = help::FLAG_RULE, after_long_help = help::flag_rule_long())]
    Rule(RuleVerb),
    /// Lay a value over flags for a time, for everybody or for some; at its end what stood below is back.
    #[command(after_help = help::FLAG_OPEN, after_long_help = help::flag_open_long())]
    Open(Box<OpenArgs>),
    /// End openings before their time.
    #[command(after_help = help::FLAG_CLOSE)]
    Close {
        /// An opening, such as o41, or a flag: then every opening that lies on it.
        #[arg(value_name = "ID or KEY")]
        what: FlagKey,
        #[command(flatten)]
        terms: Terms,
    },
    /// Let an opening last longer: --for is added to what is left of it.
    #[command(after_help = help::FLAG_EXTEND)]
    Extend {
        /// The opening, such as o41.
        id: OpeningId,
        #[command(flatten)]
        length: Length,
        #[command(flatten)]
        terms: Terms,
    },
    /// Give a flag the exact definition back that it had before its last change, or before another.
    #[command(after_help = help::FLAG_UNDO)]
    Undo {
        /// The flag; a deleted one comes back.
        key: FlagKey,
        /// Undo the change of this revision and all after it, as `flag history` numbers them; the last one when not said.
        #[arg(long, value_name = "N")]
        revision: Option<u64>,
        #[command(flatten)]
        force: Force,
        #[command(flatten)]
        terms: Terms,
    },
    /// List the changes of one flag, newest first.
    #[command(after_help = help::FLAG_HISTORY)]
    History {
        /// The flag; a deleted one has its history still.
        key: FlagKey,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
        limit: u64,
    },
    /// Delete a flag of your own. Its key is never given another meaning; `undo` brings it back.
    #[command(after_help = help::FLAG_DELETE)]
    Delete {
        /// The flag.
        key: FlagKey,
        #[command(flatten)]
        force: Force,
        #[command(flatten)]
        terms: Terms,
    },
    /// Make the flags and segments of a file be as it says, all or none, and print the plan.
    #[command(after_help = help::FLAG_APPLY)]
    Apply(ApplyArgs),
    /// Print flags and segments as a file for `flag apply`; valves that nobody ever turned are left out.
    #[command(after_help = help::FLAG_EXPORT)]
    Export {
        /// Only flags whose key contains this text, and no segments.
        #[arg(value_name = "TEXT")]
        part: Option<String>,
        /// How it is written.
        #[arg(long, value_enum, default_value = "toml")]
        format: Notation,
    },
    /// Say what a flag says to somebody, and why: rule by rule.
    #[command(after_help = help::FLAG_EXPLAIN)]
    Explain {
        /// The flag.
        key: FlagKey,
        #[command(flatten)]
        about: ExplainArgs,
    },
    /// Say what a value would do to recent messages, before it does.
    #[command(after_help = help::FLAG_PREVIEW)]
    Preview(PreviewArgs),
}

impl FlagVerb {
    /// The terms of a write.
    pub(in crate::cli) fn terms(&self) -> Option<&Terms> {
        match self {
            Self::Create(new) => Some(&new.terms),
            Self::Edit(asked) => Some(&asked.terms),
            Self::Open(asked) => Some(&asked.terms),
            Self::Apply(asked) => Some(&asked.terms),
            Self::Rule(RuleVerb::Add(new)) => Some(&new.terms),
            Self::Rule(RuleVerb::Remove { terms, .. })
            | Self::Set { terms, .. }
            | Self::Close { terms, .. }
            | Self::Extend { terms, .. }
            | Self::Undo { terms, .. }
            | Self::Delete { terms, .. } => Some(terms),
            Self::Rule(RuleVerb::List { .. })
            | Self::List { .. }
            | Self::Get { .. }
            | Self::History { .. }
            | Self::Export { .. }
            | Self::Explain { .. }
            | Self::Preview(_) => None,
        }
    }
}

/// Whether a flag goes that is still in use.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(in crate::cli) struct Force {
    /// Also when this deletes a flag that was evaluated within the last hour.
    #[arg(long, help_heading = "The change")]
    pub(in crate::cli) force: bool,
}

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Notation {
    /// As in config/flags.toml.
    Toml,
    /// As the API has it.
    Json,
}

/// A flag to be made.
#[derive(Debug, Args)]
pub(in crate::cli) struct NewFlag {
    /// Its key, such as checkout.new-form.
    pub(in crate::cli) key: FlagKey,
    /// The type of its value.
    #[arg(long = "type", value_name = "TYPE", value_parser = help::TYPES)]
    pub(in crate::cli) value_type: String,
    /// Its value for everybody.
    #[arg(long, allow_negative_numbers = true)]
    pub(in crate::cli) value: String,
    /// What it is for. A release flag needs an owner and a name as `[flags]` in the daemon's file has it.
    #[arg(long, default_value = "config", value_parser = help::KINDS)]
    pub(in crate::cli) kind: String,
    /// The smallest value allowed (numbers; durations in seconds).
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(in crate::cli) min: Option<f64>,
    /// The largest value allowed.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(in crate::cli) max: Option<f64>,
    /// A value that a string may take; repeat it for each.
    #[arg(long = "choice", value_name = "TEXT")]
    pub(in crate::cli) choices: Vec<String>,
    /// What it does, in a sentence.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(in crate::cli) description: String,
    /// The team that answers for it.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(in crate::cli) owner: String,
    /// Where to read what to do.
    #[arg(
        long,
        value_name = "URL",
        default_value = "",
        hide_default_value = true
    )]
    pub(in crate::cli) runbook: String,
    /// The attribute whose lot decides in splits; account when not said.
    #[arg(long, value_name = "ATTRIBUTE")]
    pub(in crate::cli) by: Option<String>,
    /// What lots are drawn with, instead of the key: flags of one seed draw the same.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) seed: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) terms: Terms,
}

/// A flag's document, and where it comes from.
#[derive(Debug, Args)]
pub(in crate::cli) struct EditArgs {
    /// The flag.
    pub(in crate::cli) key: FlagKey,
    /// Read the document, TOML or JSON, from here instead of an editor; `-` reads standard input.
    #[arg(long, short, value_name = "FILE")]
    pub(in crate::cli) file: Option<PathBuf>,
    /// How the editor shows it.
    #[arg(long, value_enum, default_value = "toml")]
    pub(in crate::cli) format: Notation,
    #[command(flatten)]
    pub(in crate::cli) keep: Keep,
    #[command(flatten)]
    pub(in crate::cli) terms: Terms,
}

/// A file of flags and segments.
#[derive(Debug, Args)]
pub(in crate::cli) struct ApplyArgs {
    /// The file, TOML or JSON, as `flag export` writes it; `-` reads standard input.
    pub(in crate::cli) file: PathBuf,
    /// Delete flags that are managed by the file and no longer in it; valves go back to neutral.
    #[arg(long)]
    pub(in crate::cli) prune: bool,
    #[command(flatten)]
    pub(in crate::cli) keep: Keep,
    #[command(flatten)]
    pub(in crate::cli) force: Force,
    #[command(flatten)]
    pub(in crate::cli) terms: Terms,
}

/// For whom something is: those of whom all clauses hold.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct Whom {
    /// For whom: a clause such as account=acme or segment:beta; all of several have to hold, nobody named: everybody.
    #[arg(long, value_name = "CLAUSE")]
    pub(in crate::cli) when: Vec<Typed>,
}

impl Whom {
    /// The clauses as the API takes them.
    pub(in crate::cli) fn json(&self) -> Json {
        let all = self.when.iter().map(|Typed(clause)| clause);
        all.map(|clause| serde_json::to_value(clause).unwrap_or_default())
            .collect()
    }
}

/// What is opened, for whom and how long.
#[derive(Debug, Args)]
pub(in crate::cli) struct OpenArgs {
    /// Flags and values in turn; several are opened and closed as one.
    #[arg(
        value_name = "KEY VALUE",
        num_args = 2..,
        required = true,
        allow_negative_numbers = true
    )]
    pub(in crate::cli) pairs: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) whom: Whom,
    #[command(flatten)]
    pub(in crate::cli) length: Length,
    /// How it goes back: `snap`, at once, or `ramp:10m`, in steps over that time after its end.
    #[arg(long, value_name = "HOW", default_value = "snap", value_parser = restore)]
    pub(in crate::cli) restore: Restore,
    #[command(flatten)]
    pub(in crate::cli) terms: Terms,
}

/// `snap`, or `ramp:` and a time.
pub(super) fn restore(text: &str) -> Result<Restore, String> {
    match text.split_once(':') {
        None if text == "snap" => Ok(Restore::Snap),
        Some(("ramp", over)) => {
            let over: Span = over.parse().map_err(|why| format!("{why}"))?;
            Ok(Restore::Ramp(over))
        }
        _ => Err("write snap, or ramp and the time it takes, such as ramp:10m".to_owned()),
    }
}

/// Whom or what it is explained for.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct ExplainArgs {
    /// What is known of them, such as account=acme; repeat it for each attribute.
    #[arg(long, short, value_name = "ATTRIBUTE=VALUE", value_parser = known)]
    pub(in crate::cli) context: Vec<(String, String)>,
}

/// An attribute and its value.
fn known(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write an attribute and its value, such as account=acme".to_owned()),
    }
}

/// A value to be tried on recent messages.
#[derive(Debug, Args)]
pub(in crate::cli) struct PreviewArgs {
    /// The flag.
    pub(in crate::cli) key: FlagKey,
    /// The value that is tried.
    #[arg(allow_negative_numbers = true)]
    pub(in crate::cli) value: String,
    #[command(flatten)]
    pub(in crate::cli) whom: Whom,
}
