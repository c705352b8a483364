//! What may be typed of providers. May import `rules`.

use clap::{Args, Subcommand, ValueEnum};

use super::{Length, Terms};
use crate::cli::help;
use crate::rules::doubt::Verdict;
use crate::rules::names::QueueName;

/// Of what there is a JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// The configuration.
    Config,
    /// What services put into a queue whose pool sends mail.
    Mail,
    /// What is told of each job of a pool.
    Result,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ProviderVerb {
    /// List providers with their state and why, and the pools that they are in.
    #[command(after_help = help::PROVIDER_LIST)]
    List,
    /// List jobs that a provider may have done, and that were not done again.
    #[command(after_help = help::PROVIDER_UNKNOWN)]
    Unknown {
        #[command(flatten)]
        which: InDoubt,
    },
    /// Say what came of jobs that a provider may have done: done, again (they are done again) or failed.
    #[command(after_help = help::PROVIDER_RESOLVE)]
    Resolve {
        /// done, again or failed.
        #[arg(value_name = "VERDICT")]
        verdict: Verdict,
        /// Their ids; with --queue.
        #[arg(value_name = "ID", requires = "queue", required_unless_present = "all")]
        ids: Vec<String>,
        /// All that fit, instead of ids.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        #[command(flatten)]
        which: InDoubt,
        #[command(flatten)]
        terms: Terms,
    },
    /// Give all jobs of a pool to one provider for a time, or to several in shares; when those rest, the pool waits.
    #[command(after_help = help::PROVIDER_PIN)]
    Pin {
        /// The pool.
        #[arg(value_parser = name)]
        pool: String,
        /// The provider; or shares such as mailgun=90,sendgrid=10; or auto.
        provider: String,
        #[command(flatten)]
        length: Length,
        #[command(flatten)]
        terms: Terms,
    },
    /// Give a provider nothing for a time.
    #[command(after_help = help::PROVIDER_REST)]
    Rest {
        /// The provider.
        #[arg(value_parser = name)]
        provider: String,
        #[command(flatten)]
        length: Length,
        #[command(flatten)]
        terms: Terms,
    },
    /// Give a provider jobs for a time, whatever its breaker says.
    #[command(after_help = help::PROVIDER_PASS)]
    Pass {
        /// The provider.
        #[arg(value_parser = name)]
        provider: String,
        #[command(flatten)]
        length: Length,
        #[command(flatten)]
        terms: Terms,
    },
}

/// Which jobs in doubt are meant.
#[derive(Debug, Args)]
pub(in crate::cli) struct InDoubt {
    /// Only those of this queue.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) queue: Option<QueueName>,
    /// Only those of this pool.
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(in crate::cli) pool: Option<String>,
    /// Only those that this provider may have done.
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(in crate::cli) provider: Option<String>,
}

impl ProviderVerb {
    /// The terms of a write.
    pub(in crate::cli) fn terms(&self) -> Option<&Terms> {
        match self {
            Self::List | Self::Unknown { .. } => None,
            Self::Pin { terms, .. }
            | Self::Rest { terms, .. }
            | Self::Pass { terms, .. }
            | Self::Resolve { terms, .. } => Some(terms),
        }
    }
}

fn name(text: &str) -> Result<String, String> {
    let fine =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if (1..=63).contains(&text.len()) && text.bytes().all(fine) {
        Ok(text.to_owned())
    } else {
        Err("use the name as it stands in the configuration".to_owned())
    }
}
