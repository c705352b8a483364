//! What may be typed, declared once: from it come the parser, `--help` and the completions. May import `rules`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::client::BaseUrl;
use super::help;
use crate::rules::access::Role;
use crate::rules::names::{Glob, QueueName};
use crate::rules::relief::health::Until;
use crate::rules::units::Span;
pub(in crate::cli) use compat::{CompatVerb, FlagdVerb, RedisArgs, RolloutVerb};
pub(in crate::cli) use flag::{
    ApplyArgs, EditArgs, ExplainArgs, FlagVerb, Force, NewFlag, Notation, OpenArgs, PreviewArgs,
};
pub use provider::SchemaOf;
pub(in crate::cli) use provider::{InDoubt, ProviderVerb};
pub(in crate::cli) use relieve::RelieveArgs;
pub(in crate::cli) use rule::{NewRule, Place, RuleVerb};
pub(in crate::cli) use store::{
    ChangesArgs, ChangesVerb, DataDir, Members, MembersArgs, NewSegment, SegmentVerb, StoreVerb,
};

pub use tap::TapOptions;

mod compat;
mod flag;
mod provider;
mod relieve;
mod rule;
mod store;
mod tap;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "sluicegate",
    version,
    about = "Sluicegate stands between RabbitMQ and your workers. Its valves (skip, max_age, rate, ...) are flags that you turn \
             while messages flow: no deploy, no restart, nothing lost, and a turned valve can end by itself.",
    after_help = help::start_short(),
    after_long_help = help::start_long(),
    max_term_width = 110
)]
pub(in crate::cli) struct Cli {
    #[command(flatten)]
    pub(in crate::cli) door: Door,
    #[command(subcommand)]
    pub(in crate::cli) verb: Verb,
}

/// Where the daemon is and how it is shown.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct Door {
    /// The daemon that `flag` and `queue` talk to.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "SLUICEGATE_URL",
        default_value = "http://127.0.0.1:7070",
        help_heading = "Everywhere"
    )]
    pub(in crate::cli) url: BaseUrl,
    /// Print JSON, for programs.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Verb {
    /// Run the daemon.
    #[command(after_help = help::RUN)]
    Run(FileArgs),
    /// Show it all without a broker: queues, a worker, an overload after 20 s, and what to type to mend it.
    #[command(after_help = help::DEMO)]
    Demo(DemoOptions),
    /// Check the configuration; with --connect also the broker, the queues and a sample of their messages.
    #[command(after_help = help::CHECK)]
    Check {
        #[command(flatten)]
        file: FileArgs,
        /// Also ask the broker: is it there, are the queues, is what may be done enough, do messages carry an age?
        #[arg(long)]
        connect: bool,
    },
    /// Look at what comes to a queue, without a daemon and without taking a message from anybody.
    #[command(after_help = help::TAP)]
    Tap(Box<TapOptions>),
    /// Print a JSON Schema: of the configuration, of a mail job, or of the result of a job.
    #[command(after_help = help::SCHEMA)]
    Schema {
        /// Of what.
        #[arg(default_value = "config")]
        of: SchemaOf,
    },
    /// See and turn flags; a queue's valves are flags.
    #[command(subcommand, after_help = help::flag_short(), after_long_help = help::flag_long())]
    Flag(FlagVerb),
    /// See and change segments: named audiences, for rules and openings.
    #[command(subcommand, after_help = help::SEGMENT)]
    Segment(SegmentVerb),
    /// List who changed what, when and why; check that nobody altered the list.
    #[command(after_help = help::CHANGES)]
    Changes(ChangesArgs),
    /// Look into the store of a daemon that does not run: its good snapshots, a way back to one, an export.
    #[command(subcommand, after_help = help::STORE)]
    Store(StoreVerb),
    /// Say what a queue would do with a message, valve by valve and rule by rule.
    #[command(after_help = help::EXPLAIN)]
    Explain {
        /// The queue.
        queue: QueueName,
        #[command(flatten)]
        about: ExplainArgs,
    },
    /// Relieve a queue that gets more than its workers can do: late jobs go first, then what does not fit; it lets go by itself.
    #[command(after_help = help::RELIEVE)]
    Relieve(RelieveArgs),
    /// See, pause and resume queues.
    #[command(subcommand, after_help = help::QUEUE)]
    Queue(QueueVerb),
    /// See, pin, rest and pass the providers of pools.
    #[command(subcommand, after_help = help::PROVIDER)]
    Provider(ProviderVerb),
    /// Make tokens, with which programs and people come in.
    #[command(subcommand, after_help = help::TOKEN)]
    Token(TokenVerb),
    /// Print the queues that Sluicegate keeps beside yours, and the permissions that it needs.
    #[command(after_help = help::TOPOLOGY)]
    Topology(TopologyArgs),
    /// Print how to take the daemon out of the path of a queue, and how to put it back. Changes nothing.
    #[command(after_help = help::BYPASS)]
    Bypass {
        /// The queue.
        name: QueueName,
        #[command(flatten)]
        file: UsualFileArgs,
    },
    /// Take flags over from flagd or the Rollout gem, and give them back.
    #[command(subcommand, after_help = help::COMPAT)]
    Compat(CompatVerb),
    /// Print the manual page, or write one for each command.
    #[command(after_help = help::MAN)]
    Man {
        /// The folder for the pages, such as /usr/local/share/man/man1.
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// Print completions for your shell.
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TokenVerb {
    /// Print a new secret, once, and the table for the configuration that makes the daemon know it. Asks no daemon.
    #[command(after_help = help::TOKEN_NEW)]
    New(NewToken),
}

/// A token to be made.
#[derive(Debug, Args)]
pub(in crate::cli) struct NewToken {
    /// Whose it is.
    #[arg(value_parser = name)]
    pub(in crate::cli) name: String,
    /// What it allows: viewer reads, operator changes, admin all, service evaluates and reports.
    #[arg(long, value_name = "ROLE")]
    pub(in crate::cli) role: Role,
    /// The queues that it is for, with their valves, such as orders,mail.*; without --queues and --flags all.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(in crate::cli) queues: Vec<Glob>,
    /// The flags that it is for, such as deptA.*
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    pub(in crate::cli) flags: Vec<Glob>,
    /// How long it is good, such as 90d; without it until it is taken out of the file.
    #[arg(long = "for", value_name = "DURATION")]
    pub(in crate::cli) lasting: Option<Span>,
}

fn name(text: &str) -> Result<String, String> {
    if (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("use 1 to 64 visible ASCII characters without spaces".to_owned())
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct FileArgs {
    /// The configuration, a TOML file.
    #[arg(long, short, value_name = "FILE")]
    pub(in crate::cli) config: PathBuf,
}

/// The configuration, at its usual place unless said otherwise.
#[derive(Debug, Args)]
pub(in crate::cli) struct UsualFileArgs {
    /// The configuration, a TOML file.
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "/etc/sluicegate/sluicegate.toml"
    )]
    pub(in crate::cli) config: PathBuf,
}

/// What of the topology, and how.
#[derive(Debug, Args)]
pub(in crate::cli) struct TopologyArgs {
    #[command(flatten)]
    pub(in crate::cli) file: UsualFileArgs,
    /// Text for people; or JSON for `rabbitmqctl import_definitions`: the queues, or the permissions.
    #[arg(long, value_enum, default_value = "text")]
    pub(in crate::cli) format: Format,
    /// Only this queue.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) queue: Option<QueueName>,
    /// The daemon's user at the broker.
    #[arg(long, value_name = "NAME", default_value = "sluicegate")]
    pub(in crate::cli) user: String,
}

/// How the topology is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    /// For people, with the lines to paste.
    Text,
    /// The queues, for import.
    Definitions,
    /// The permissions, for import.
    Permissions,
}

/// How the demo runs.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DemoOptions {
    /// Where the demo's daemon listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    pub listen: SocketAddr,
    /// End by itself after this many seconds.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: Option<u64>,
    /// Tell no story.
    #[arg(long, short)]
    pub quiet: bool,
}

/// How long an opening lasts.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct Length {
    /// How long it lasts, such as 30m; 30m when nothing is said, at most 1d.
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "until")]
    pub(in crate::cli) lasting: Option<Span>,
    /// When it ends: a time such as 2026-11-21T18:00:00Z, or, on valves, "on-time >= 98% for 10m, at most 8h".
    #[arg(long, value_name = "WHEN")]
    pub(in crate::cli) until: Option<Until>,
}

/// Whether a valve stays turned.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(in crate::cli) struct Keep {
    /// Let a valve that sheds or stops stay so without an end.
    #[arg(long, help_heading = "The change")]
    pub(in crate::cli) keep: bool,
}

/// What every write is told.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct Terms {
    /// Why; it is kept with the change. Asked for in a terminal.
    #[arg(long, short, value_name = "TEXT", help_heading = "The change")]
    pub(in crate::cli) reason: Option<String>,
    /// Confirm a big move without being asked.
    #[arg(long, short, action = ArgAction::SetTrue, help_heading = "The change")]
    pub(in crate::cli) yes: bool,
    /// Say what would happen and change nothing.
    #[arg(long, short = 'n', help_heading = "The change")]
    pub(in crate::cli) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum QueueVerb {
    /// List queues with their state, backlog, speed and open valves; with a name, all of that one.
    #[command(after_help = help::QUEUE_LIST)]
    List {
        /// Only this queue, in full.
        name: Option<QueueName>,
    },
    /// List the throttled keys of a queue: how many of each wait in its lane, and when a new one would run.
    #[command(after_help = help::QUEUE_LANES)]
    Lanes {
        /// The queue.
        name: QueueName,
        /// Only this key, such as an account.
        #[arg(long)]
        key: Option<String>,
    },
    /// Take nothing more from a queue for a time; what is in hand and not dispatched goes back.
    #[command(after_help = help::QUEUE_PAUSE)]
    Pause {
        /// The queue.
        name: QueueName,
        #[command(flatten)]
        length: Length,
        #[command(flatten)]
        terms: Terms,
    },
    /// Take from a paused queue again: ends what pauses it.
    #[command(after_help = help::QUEUE_RESUME)]
    Resume {
        /// The queue.
        name: QueueName,
        #[command(flatten)]
        terms: Terms,
    },
    /// Release keys of an ordered queue that a failure has blocked.
    #[command(after_help = help::QUEUE_RELEASE)]
    Release {
        /// The queue.
        name: QueueName,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        terms: Terms,
    },
}

impl QueueVerb {
    /// The terms of a write.
    pub(in crate::cli) fn terms(&self) -> Option<&Terms> {
        match self {
            Self::List { .. } | Self::Lanes { .. } => None,
            Self::Pause { terms, .. }
            | Self::Resume { terms, .. }
            | Self::Release { terms, .. } => Some(terms),
        }
    }
}

/// Which blocked keys are meant.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct Which {
    /// This key, as `queue list NAME` shows it; "" stands for messages without one.
    #[arg(long, value_name = "KEY")]
    pub(in crate::cli) key: Option<String>,
    /// Every blocked key.
    #[arg(long)]
    pub(in crate::cli) all: bool,
}
