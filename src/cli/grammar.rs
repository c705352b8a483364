//! What may be typed, declared once: from it come the parser, `--help` and the completions. May import `rules`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::client::BaseUrl;
use super::help;
use crate::rules::access::Role;
use crate::rules::names::{FlagKey, Glob, QueueName};
use crate::rules::units::Span;

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
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) door: Door,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// Where the daemon is and how it is shown.
#[derive(Debug, Clone, Args)]
pub(super) struct Door {
    /// The daemon that `flag` and `queue` talk to.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "SLUICEGATE_URL",
        default_value = "http://127.0.0.1:7070",
        help_heading = "Everywhere"
    )]
    pub(super) url: BaseUrl,
    /// Print JSON, for programs.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
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
    /// Print the JSON Schema of the configuration.
    #[command(after_help = help::SCHEMA)]
    Schema,
    /// See and turn flags; a queue's valves are flags.
    #[command(subcommand, after_help = help::flag_short(), after_long_help = help::flag_long())]
    Flag(FlagVerb),
    /// See, pause and resume queues.
    #[command(subcommand, after_help = help::QUEUE)]
    Queue(QueueVerb),
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
pub(super) enum TokenVerb {
    /// Print a new secret, once, and the table for the configuration that makes the daemon know it. Asks no daemon.
    #[command(after_help = help::TOKEN_NEW)]
    New(NewToken),
}

/// A token to be made.
#[derive(Debug, Args)]
pub(super) struct NewToken {
    /// Whose it is.
    #[arg(value_parser = name)]
    pub(super) name: String,
    /// What it allows: viewer reads, operator changes, admin all, service evaluates and reports.
    #[arg(long, value_name = "ROLE")]
    pub(super) role: Role,
    /// The queues that it is for, with their valves, such as orders,mail.*; without --queues and --flags all.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(super) queues: Vec<Glob>,
    /// The flags that it is for, such as deptA.*
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    pub(super) flags: Vec<Glob>,
    /// How long it is good, such as 90d; without it until it is taken out of the file.
    #[arg(long = "for", value_name = "DURATION")]
    pub(super) lasting: Option<Span>,
}

fn name(text: &str) -> Result<String, String> {
    if (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("use 1 to 64 visible ASCII characters without spaces".to_owned())
    }
}

#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// The configuration, a TOML file.
    #[arg(long, short, value_name = "FILE")]
    pub(super) config: PathBuf,
}

/// The configuration, at its usual place unless said otherwise.
#[derive(Debug, Args)]
pub(super) struct UsualFileArgs {
    /// The configuration, a TOML file.
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "/etc/sluicegate/sluicegate.toml"
    )]
    pub(super) config: PathBuf,
}

/// What of the topology, and how.
#[derive(Debug, Args)]
pub(super) struct TopologyArgs {
    #[command(flatten)]
    pub(super) file: UsualFileArgs,
    /// Text for people; or JSON for `rabbitmqctl import_definitions`: the queues, or the permissions.
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
    /// Only this queue.
    #[arg(long, value_name = "NAME")]
    pub(super) queue: Option<QueueName>,
    /// The daemon's user at the broker.
    #[arg(long, value_name = "NAME", default_value = "sluicegate")]
    pub(super) user: String,
}

/// How the topology is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
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

#[derive(Debug, Subcommand)]
pub(super) enum FlagVerb {
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
    /// Show one flag: value, bounds, help, openings.
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
        terms: Terms,
    },
    /// Lay a value over flags for a time; at its end what stood below is back.
    #[command(after_help = help::FLAG_OPEN, after_long_help = help::flag_open_long())]
    Open {
        /// Flags and values in turn; several are opened and closed as one.
        #[arg(
            value_name = "KEY VALUE",
            num_args = 2..,
            required = true,
            allow_negative_numbers = true
        )]
        pairs: Vec<String>,
        #[command(flatten)]
        length: Length,
        #[command(flatten)]
        terms: Terms,
    },
    /// End openings before their time.
    #[command(after_help = help::FLAG_CLOSE)]
    Close {
        /// An opening, such as o41, or a flag: then every opening that lies on it.
        #[arg(value_name = "ID or KEY")]
        what: FlagKey,
        #[command(flatten)]
        terms: Terms,
    },
}

/// A flag to be made.
#[derive(Debug, Args)]
pub(super) struct NewFlag {
    /// Its key, such as checkout.new-form.
    pub(super) key: FlagKey,
    /// The type of its value.
    #[arg(long = "type", value_name = "TYPE", value_parser = help::TYPES)]
    pub(super) value_type: String,
    /// Its value for everybody.
    #[arg(long, allow_negative_numbers = true)]
    pub(super) value: String,
    /// What it is for.
    #[arg(long, default_value = "config", value_parser = help::KINDS)]
    pub(super) kind: String,
    /// The smallest value allowed (numbers; durations in seconds).
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(super) min: Option<f64>,
    /// The largest value allowed.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(super) max: Option<f64>,
    /// A value that a string may take; repeat it for each.
    #[arg(long = "choice", value_name = "TEXT")]
    pub(super) choices: Vec<String>,
    /// What it does, in a sentence.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) description: String,
    /// The team that answers for it.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) owner: String,
    /// Where to read what to do.
    #[arg(
        long,
        value_name = "URL",
        default_value = "",
        hide_default_value = true
    )]
    pub(super) runbook: String,
    #[command(flatten)]
    pub(super) terms: Terms,
}

/// How long an opening lasts.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Length {
    /// How long it lasts, such as 30m; 30m when nothing is said, at most 1d.
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "until")]
    pub(super) lasting: Option<Span>,
    /// When it ends, such as 2026-11-21T18:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(super) until: Option<jiff::Timestamp>,
}

/// What every write is told.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Terms {
    /// Why; it is kept with the change. Asked for in a terminal.
    #[arg(long, short, value_name = "TEXT", help_heading = "The change")]
    pub(super) reason: Option<String>,
    /// Confirm a big move without being asked.
    #[arg(long, short, action = ArgAction::SetTrue, help_heading = "The change")]
    pub(super) yes: bool,
    /// Say what would happen and change nothing.
    #[arg(long, short = 'n', help_heading = "The change")]
    pub(super) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum QueueVerb {
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

/// Which blocked keys are meant.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// This key, as `queue list NAME` shows it; "" stands for messages without one.
    #[arg(long, value_name = "KEY")]
    pub(super) key: Option<String>,
    /// Every blocked key.
    #[arg(long)]
    pub(super) all: bool,
}
