//! What may be typed after `flag rule`. May import `rules`.

use std::str::FromStr;

use clap::{Args, Subcommand};

use super::super::help;
use super::flag::Whom;
use super::{Keep, Terms};
use crate::rules::names::FlagKey;
use crate::rules::units::Ratio;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RuleVerb {
    /// List the rules of a flag, in the order in which they are tried.
    #[command(after_help = help::RULE_LIST)]
    List {
        /// The flag.
        key: FlagKey,
    },
    /// Add a rule before all others, or where you say: the first whose clauses all hold wins.
    #[command(after_help = help::RULE_ADD, after_long_help = help::rule_add_long())]
    Add(Box<NewRule>),
    /// Remove a rule.
    #[command(after_help = help::RULE_REMOVE)]
    Remove {
        /// The flag.
        key: FlagKey,
        /// The rule, as `flag rule list` names it.
        name: String,
        #[command(flatten)]
        keep: Keep,
        #[command(flatten)]
        terms: Terms,
    },
}

/// A rule to be added.
#[derive(Debug, Args)]
pub(in crate::cli) struct NewRule {
    /// The flag.
    pub(in crate::cli) key: FlagKey,
    /// The rule's name, which reasons and headers tell; one of a kind in its flag.
    pub(in crate::cli) name: String,
    #[command(flatten)]
    pub(in crate::cli) whom: Whom,
    #[command(flatten)]
    pub(in crate::cli) gets: Gets,
    /// The attribute whose lot decides in a split; the flag's own, or account, when not said.
    #[arg(long, value_name = "ATTRIBUTE", requires = "split")]
    pub(in crate::cli) by: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) place: Place,
    #[command(flatten)]
    pub(in crate::cli) keep: Keep,
    #[command(flatten)]
    pub(in crate::cli) terms: Terms,
}

/// What they get.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct Gets {
    /// The value that they get.
    #[arg(long, allow_negative_numbers = true)]
    pub(in crate::cli) value: Option<String>,
    /// The share of them that gets a value, such as 5%=true; repeat it. Who is in no share goes on to the next rule.
    #[arg(long, value_name = "SHARE=VALUE")]
    pub(in crate::cli) split: Vec<Share>,
}

/// Where the rule stands.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(in crate::cli) struct Place {
    /// Put it right before this rule.
    #[arg(long, value_name = "RULE")]
    pub(in crate::cli) before: Option<String>,
    /// Put it behind all others.
    #[arg(long)]
    pub(in crate::cli) last: bool,
    /// Put it in the place of the rule of its name.
    #[arg(long)]
    pub(in crate::cli) replace: bool,
}

/// A share and the value it gets, as typed.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli) struct Share {
    pub(in crate::cli) share: Ratio,
    pub(in crate::cli) value: String,
}

impl FromStr for Share {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (share, value) = text
            .split_once('=')
            .ok_or("write the share and its value, such as 5%=true")?;
        let share = share.parse().map_err(|why| format!("{why}"))?;
        Ok(Self {
            share,
            value: value.to_owned(),
        })
    }
}
