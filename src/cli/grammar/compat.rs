//! What may be typed after `compat`. Imports no room.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::super::help;
use super::flag::Notation;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CompatVerb {
    /// Read and write the JSON of flagd.
    #[command(subcommand, after_help = help::COMPAT_FLAGD)]
    Flagd(FlagdVerb),
    /// Read and write the Redis keys of the Rollout gem.
    #[command(subcommand, after_help = help::COMPAT_ROLLOUT)]
    Rollout(RolloutVerb),
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum FlagdVerb {
    /// Print flagd's flags as ours, for `flag apply`; those without an equal are named and left out.
    #[command(after_help = help::COMPAT_FLAGD_IMPORT)]
    Import {
        /// flagd's file, or `-` for standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// How the flags are written.
        #[arg(long, value_enum, default_value = "toml")]
        format: Notation,
    },
    /// Print our flags as flagd's JSON; those without an equal are named and left out.
    #[command(after_help = help::COMPAT_FLAGD_EXPORT)]
    Export {
        /// A file of flags, as `flag export` prints it, or `-` for standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RolloutVerb {
    /// Print the features in Redis as our flags, for `flag apply`; those without an equal are named and left out.
    #[command(after_help = help::COMPAT_ROLLOUT_IMPORT)]
    Import {
        #[command(flatten)]
        redis: RedisArgs,
        /// How the flags are written.
        #[arg(long, value_enum, default_value = "toml")]
        format: Notation,
    },
    /// Make the features in Redis say what our flags say; those without an equal are named and left out.
    #[command(after_help = help::COMPAT_ROLLOUT_EXPORT)]
    Export {
        /// A file of flags, as `flag export` prints it, or `-` for standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        redis: RedisArgs,
        /// Only print what would be written.
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
}

/// The Redis of the gem.
#[derive(Debug, Args)]
pub(in crate::cli) struct RedisArgs {
    /// Its address; its password, if it has one, is in SLUICEGATE_REDIS_PASSWORD.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:6379")]
    pub(in crate::cli) redis: String,
    /// The user to sign in as, if it is not Redis' default user.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) user: Option<String>,
    /// The number of its database.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(in crate::cli) database: u32,
    /// What redis-namespace puts before the keys, such as development.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(in crate::cli) namespace: String,
    /// The attribute that holds the gem's user id.
    #[arg(long, value_name = "ATTRIBUTE", default_value = "account")]
    pub(in crate::cli) by: String,
    /// The gem runs with randomize_percentage: true.
    #[arg(long)]
    pub(in crate::cli) randomized: bool,
}
