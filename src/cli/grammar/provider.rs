//! What may be typed of providers. May import `rules`.

use clap::Subcommand;

use super::{Length, Terms};
use crate::cli::help;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ProviderVerb {
    /// List providers with their state and why, and the pools that they are in.
    #[command(after_help = help::PROVIDER_LIST)]
    List,
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

impl ProviderVerb {
    /// The terms of a write.
    pub(in crate::cli) fn terms(&self) -> Option<&Terms> {
        match self {
            Self::List => None,
            Self::Pin { terms, .. } | Self::Rest { terms, .. } | Self::Pass { terms, .. } => {
                Some(terms)
            }
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
