//! The command line: what may be typed ([`grammar`]), and the commands that ask a daemon over HTTP.
//!
//! Data goes to stdout, talk to stderr. Nobody is asked where no terminal is: then what is missing is named, with its flag. The
//! commands that are a daemon themselves (`run`, `demo`, `check`) are carried out by `app`. May import `clock`, `config`, `rules`
//! and `topology`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};

use crate::clock::Clock;
use crate::rules::names::QueueName;
use client::Client;
use console::{Console, harmless};
use failure::{Exit, Failure};
use grammar::{Cli, Door, FlagVerb, QueueVerb, Terms, TokenVerb, TopologyArgs, Verb};
use session::Session;

pub use grammar::DemoOptions;

mod beside;
mod client;
mod console;
mod failure;
mod flags;
mod grammar;
mod help;
mod man;
mod openings;
mod queues;
mod release;
mod session;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod views;
mod words;

/// What was typed.
#[derive(Debug)]
pub enum Command {
    /// `run`: be the daemon.
    Run {
        /// the configuration
        config: PathBuf,
    },
    /// `demo`: be a daemon with made-up queues.
    Demo(DemoOptions),
    /// `check`: read the configuration and say what is wrong with it.
    Check {
        /// the configuration
        config: PathBuf,
        /// whether to ask the broker, too
        connect: bool,
        /// whether the findings are wanted as JSON
        json: bool,
    },
    /// `schema`: print the JSON Schema of the configuration.
    Schema,
    /// `man`, `completions`, and all that asks a daemon: for [`client_command`].
    Client(ClientCommand),
}

/// A command that [`client_command`] carries out.
#[derive(Debug)]
pub struct ClientCommand {
    door: Door,
    task: Task,
}

#[derive(Debug)]
enum Task {
    Flag(FlagVerb),
    Queue(QueueVerb),
    Token(TokenVerb),
    Topology(TopologyArgs),
    Bypass { name: QueueName, config: PathBuf },
    Man { folder: Option<PathBuf> },
    Completions(clap_complete::Shell),
}

impl Task {
    /// The terms of a write.
    fn terms(&self) -> Option<&Terms> {
        match self {
            Self::Flag(FlagVerb::Create(new)) => Some(&new.terms),
            Self::Flag(
                FlagVerb::Set { terms, .. }
                | FlagVerb::Open { terms, .. }
                | FlagVerb::Close { terms, .. },
            )
            | Self::Queue(
                QueueVerb::Pause { terms, .. }
                | QueueVerb::Resume { terms, .. }
                | QueueVerb::Release { terms, .. },
            ) => Some(terms),
            _ => None,
        }
    }
}

/// Reads the process's arguments. Help, version and usage errors are printed and end the process, usage errors with exit code 2.
#[must_use]
pub fn parse() -> Command {
    Cli::parse().into()
}

impl From<Cli> for Command {
    fn from(cli: Cli) -> Self {
        let door = cli.door;
        match cli.verb {
            Verb::Run(file) => Self::Run {
                config: file.config,
            },
            Verb::Demo(options) => Self::Demo(options),
            Verb::Check { file, connect } => Self::Check {
                config: file.config,
                connect,
                json: door.json,
            },
            Verb::Schema => Self::Schema,
            Verb::Flag(verb) => Self::Client(ClientCommand {
                door,
                task: Task::Flag(verb),
            }),
            Verb::Queue(verb) => Self::Client(ClientCommand {
                door,
                task: Task::Queue(verb),
            }),
            Verb::Token(verb) => Self::Client(ClientCommand {
                door,
                task: Task::Token(verb),
            }),
            Verb::Topology(asked) => Self::Client(ClientCommand {
                door,
                task: Task::Topology(asked),
            }),
            Verb::Bypass { name, file } => Self::Client(ClientCommand {
                door,
                task: Task::Bypass {
                    name,
                    config: file.config,
                },
            }),
            Verb::Man { folder } => Self::Client(ClientCommand {
                door,
                task: Task::Man { folder },
            }),
            Verb::Completions { shell } => Self::Client(ClientCommand {
                door,
                task: Task::Completions(shell),
            }),
        }
    }
}

/// Carries a command out against the daemon that it names, and says how it ended.
///
/// # Errors
/// When no runtime can be made for it, or its output cannot be written.
pub fn client_command(command: &ClientCommand) -> anyhow::Result<ExitCode> {
    let mut console = Console::of_process();
    let user = ["USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime could be made for the request")?;
    let ended = runtime.block_on(carry_out(command, user.as_deref(), &mut console));
    console
        .finish()
        .context("the output could not be written")?;
    Ok(ended.map_or_else(ExitCode::from, |()| ExitCode::SUCCESS))
}

/// Carries a command out as `user`; what went wrong is said.
async fn carry_out(
    command: &ClientCommand,
    user: Option<&str>,
    console: &mut Console,
) -> Result<(), Exit> {
    let token = std::env::var("SLUICEGATE_TOKEN").ok();
    let client = Client::new(command.door.url.clone(), user).with_token(token.as_deref());
    perform(&command.task, &client, console, command.door.json)
        .await
        .map_err(|failure| {
            console.say(&format!("error: {}", harmless(&failure.sentence)));
            failure.exit
        })
}

async fn perform(
    task: &Task,
    client: &Client,
    console: &mut Console,
    json: bool,
) -> Result<(), Failure> {
    // What can be seen to be missing is said before anybody is asked.
    if !console.attended() && task.terms().is_some_and(|terms| terms.reason.is_none()) {
        return Err(session::no_reason());
    }
    let session = &mut Session {
        client,
        console,
        json,
        now_ms: Clock::system().now().ms,
    };
    match task {
        Task::Flag(verb) => flag(session, verb).await,
        Task::Queue(verb) => queue(session, verb).await,
        Task::Token(TokenVerb::New(asked)) => token::new(session, asked),
        Task::Topology(asked) => beside::topology(session, asked),
        Task::Bypass { name, config } => beside::bypass(session, name, config).await,
        Task::Man { folder } => manual(session, folder.as_deref()),
        Task::Completions(shell) => {
            session.console.data(&completions(*shell));
            Ok(())
        }
    }
}

async fn flag(session: &mut Session<'_>, verb: &FlagVerb) -> Result<(), Failure> {
    match verb {
        FlagVerb::List { part, open } => flags::list(session, part.as_deref(), *open).await,
        FlagVerb::Get { key } => flags::get(session, key).await,
        FlagVerb::Create(new) => flags::create(session, new).await,
        FlagVerb::Set { key, value, terms } => flags::set(session, key, value, terms).await,
        FlagVerb::Open {
            pairs,
            length,
            terms,
        } => openings::open(session, pairs, length, terms).await,
        FlagVerb::Close { what, terms } => openings::close(session, what, terms).await,
    }
}

async fn queue(session: &mut Session<'_>, verb: &QueueVerb) -> Result<(), Failure> {
    match verb {
        QueueVerb::List { name: None } => queues::list(session).await,
        QueueVerb::List { name: Some(name) } => queues::one(session, name).await,
        QueueVerb::Lanes { name, key } => queues::lanes(session, name, key.as_deref()).await,
        QueueVerb::Pause {
            name,
            length,
            terms,
        } => queues::pause(session, name, length, terms).await,
        QueueVerb::Resume { name, terms } => queues::resume(session, name, terms).await,
        QueueVerb::Release { name, which, terms } => {
            release::release(session, name, which, terms).await
        }
    }
}

fn manual(session: &mut Session<'_>, folder: Option<&Path>) -> Result<(), Failure> {
    let Some(folder) = folder else {
        let page = man::page(Cli::command()).map_err(|why| {
            Failure::new(Exit::Failed, format!("the page could not be drawn: {why}"))
        })?;
        session.console.data(&page);
        return Ok(());
    };
    let pages = man::write_all(Cli::command(), folder).map_err(|why| {
        let sentence = format!(
            "the pages could not be written to {}: {why}",
            folder.display()
        );
        Failure::new(Exit::Failed, sentence)
    })?;
    session
        .console
        .say(&format!("{pages} pages are in {}", folder.display()));
    Ok(())
}

fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sluicegate", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
