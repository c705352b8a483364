//! What may be typed after `segment`, `changes` and `store`. May import `rules`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::super::help;
use super::Terms;
use super::flag::{Notation, Whom};
use crate::rules::names::FlagKey;
use crate::rules::segment::SegmentName;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SegmentVerb {
    /// List segments with how many belong to each.
    #[command(after_help = help::SEGMENT_LIST)]
    List,
    /// Show one segment with its members.
    #[command(after_help = help::SEGMENT_GET)]
    Get {
        /// The segment.
        name: SegmentName,
    },
    /// Make a segment of members, of clauses, or of both: either is enough to belong to it.
    #[command(after_help = help::SEGMENT_CREATE, after_long_help = help::segment_create_long())]
    Create(Box<NewSegment>),
    /// Add members to a segment; those it has already are no error.
    #[command(after_help = help::SEGMENT_ADD)]
    Add(MembersArgs),
    /// Remove members from a segment; those it has not are no error.
    #[command(after_help = help::SEGMENT_REMOVE)]
    Remove(MembersArgs),
    /// Delete a segment that no flag names.
    #[command(after_help = help::SEGMENT_DELETE)]
    Delete {
        /// The segment.
        name: SegmentName,
        #[command(flatten)]
        terms: Terms,
    },
}

impl SegmentVerb {
    /// The terms of a write.
    pub(in crate::cli) fn terms(&self) -> Option<&Terms> {
        match self {
            Self::List | Self::Get { .. } => None,
            Self::Create(new) => Some(&new.terms),
            Self::Add(asked) | Self::Remove(asked) => Some(&asked.terms),
            Self::Delete { terms, .. } => Some(terms),
        }
    }
}

/// Members, as arguments or from a file.
#[derive(Debug, Args)]
pub(in crate::cli) struct MembersArgs {
    /// The segment.
    pub(in crate::cli) name: SegmentName,
    #[command(flatten)]
    pub(in crate::cli) members: Members,
    #[command(flatten)]
    pub(in crate::cli) terms: Terms,
}

/// Who is meant.
#[derive(Debug, Args)]
pub(in crate::cli) struct Members {
    /// Members, such as acme globex.
    #[arg(value_name = "MEMBER")]
    pub(in crate::cli) members: Vec<String>,
    /// Read members from a file, one a line; `-` reads standard input. Empty lines and lines that begin with # are skipped.
    #[arg(long, short, value_name = "FILE")]
    pub(in crate::cli) file: Option<PathBuf>,
}

/// A segment to be made.
#[derive(Debug, Args)]
pub(in crate::cli) struct NewSegment {
    /// Its name, such as beta.
    pub(in crate::cli) name: SegmentName,
    #[command(flatten)]
    pub(in crate::cli) members: Members,
    /// The attribute that members are values of.
    #[arg(long, value_name = "ATTRIBUTE", default_value = "account")]
    pub(in crate::cli) by: String,
    #[command(flatten)]
    pub(in crate::cli) whom: Whom,
    /// Who is meant, in a sentence.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(in crate::cli) description: String,
    /// The team that answers for it.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(in crate::cli) owner: String,
    #[command(flatten)]
    pub(in crate::cli) terms: Terms,
}

/// The audit log.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct ChangesArgs {
    #[command(subcommand)]
    pub(in crate::cli) verb: Option<ChangesVerb>,
    /// Only changes that touched this flag.
    #[arg(long, value_name = "KEY")]
    pub(in crate::cli) flag: Option<FlagKey>,
    /// At most so many, newest first; 50 when not said.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(in crate::cli) limit: Option<u64>,
    /// Print every change as one line of JSON, oldest first, as it was written down: what `changes verify --file` checks.
    #[arg(long, conflicts_with_all = ["flag", "limit"])]
    pub(in crate::cli) jsonl: bool,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ChangesVerb {
    /// Check that no change was altered, left out or put in: each names the hash of the one before it.
    #[command(after_help = help::CHANGES_VERIFY)]
    Verify(VerifyArgs),
}

/// Where the changes lie that are checked; the daemon's when nothing is said.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(in crate::cli) struct VerifyArgs {
    /// Check what `changes --jsonl` printed; `-` reads standard input.
    #[arg(long, short, value_name = "FILE")]
    pub(in crate::cli) file: Option<PathBuf>,
    /// Check the store in this directory (daemon.data_dir); its daemon must not run.
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) data_dir: Option<PathBuf>,
}

/// What may be done with the store of a daemon that does not run.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum StoreVerb {
    /// List the good snapshots that are kept: all flags, segments and openings as they stood.
    #[command(after_help = help::STORE_SNAPSHOTS)]
    Snapshots {
        #[command(flatten)]
        place: DataDir,
    },
    /// Go back to a good snapshot.
    #[command(after_help = help::STORE_RESTORE)]
    Restore {
        /// The snapshot's revision, as `store snapshots` lists it.
        revision: u64,
        #[command(flatten)]
        place: DataDir,
        #[command(flatten)]
        terms: Terms,
    },
    /// Print what a store holds: as JSON all of it, as TOML its flags and segments; `flag apply` reads both.
    #[command(after_help = help::STORE_EXPORT)]
    Export {
        #[command(flatten)]
        place: DataDir,
        /// How it is written.
        #[arg(long, value_enum, default_value = "json")]
        format: Notation,
    },
}

/// Where a store lies.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct DataDir {
    /// The daemon's data directory (daemon.data_dir).
    #[arg(long, value_name = "DIR", default_value = "/var/lib/sluicegate")]
    pub(in crate::cli) data_dir: PathBuf,
}
