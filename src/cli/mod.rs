//! The command line: what may be typed ([`grammar`]), and the commands that ask a daemon over HTTP.
//!
//! Data goes to stdout, talk to stderr. Nobody is asked where no terminal is: then what is missing is named, with its flag. The
//! commands that are a daemon themselves or go to the broker (`run`, `demo`, `check`, `tap`) are carried out by `app`. May import `clock`, `compat`, `config`,
//! `rules` and `topology`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};

use crate::clock::Clock;
use crate::rules::names::QueueName;
use client::Client;
use console::Console;
use failure::{Exit, Failure};
use grammar::{
    ChangesArgs, ChangesVerb, Cli, CompatVerb, Door, ExplainArgs, FlagVerb, ProviderVerb,
    QueueVerb, RelieveArgs, RuleVerb, SegmentVerb, Terms, TokenVerb, TopologyArgs, Verb,
};
use session::Session;

pub use grammar::SchemaOf;

pub use console::harmless;
pub use documents::flags_file;
pub use grammar::{DemoOptions, TapOptions};
pub use offline::{Offline, OfflineTask};

mod beside;
mod changes;
mod clauses;
mod client;
mod compat;
mod console;
mod difference;
mod documents;
mod doubts;
mod edit;
mod explain;
mod failure;
mod files;
mod flags;
mod grammar;
mod help;
mod lifecycle;
mod man;
mod offline;
mod openings;
mod plan;
mod providers;
mod queues;
mod release;
mod relief;
mod relieve;
mod rules;
mod segments;
mod session;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod verify;
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
    /// `tap`: look at what comes to a queue.
    Tap {
        /// what at, and for how long
        options: Box<TapOptions>,
        /// whether JSON lines are wanted
        json: bool,
    },
    /// `schema`: print a JSON Schema.
    Schema(SchemaOf),
    /// `store`, and `changes verify --data-dir`: look into the store of a daemon that does not run.
    Offline(Offline),
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
    Segment(SegmentVerb),
    Changes(ChangesArgs),
    Explain(QueueName, ExplainArgs),
    Relieve(RelieveArgs),
    Queue(QueueVerb),
    Provider(ProviderVerb),
    Token(TokenVerb),
    Topology(TopologyArgs),
    Bypass { name: QueueName, config: PathBuf },
    Compat(CompatVerb),
    Man { folder: Option<PathBuf> },
    Completions(clap_complete::Shell),
}

impl Task {
    /// The terms of a write.
    fn terms(&self) -> Option<&Terms> {
        match self {
            Self::Flag(verb) => verb.terms(),
            Self::Segment(verb) => verb.terms(),
            Self::Relieve(asked) => Some(&asked.terms),
            Self::Queue(verb) => verb.terms(),
            Self::Provider(verb) => verb.terms(),
            _ => None,
        }
    }
}

/// Reads the process's arguments. Help, version and usage errors are printed and end the process, usage errors with exit code 2.
#[must_use]
pub fn parse() -> Command {
    Cli::try_parse()
        .unwrap_or_else(|error| {
            let for_programs = std::env::args_os().any(|word| word == "--json");
            if error.use_stderr() && for_programs {
                let text = error.render().to_string();
                let failure = Failure::new(Exit::Usage, text.trim_start_matches("error: ").trim());
                eprintln!("{}", failure.json());
                std::process::exit(i32::from(Exit::Usage as u8));
            }
            error.exit()
        })
        .into()
}

impl From<Cli> for Command {
    fn from(cli: Cli) -> Self {
        let json = cli.door.json;
        let task = match cli.verb {
            Verb::Run(file) => {
                return Self::Run {
                    config: file.config,
                };
            }
            Verb::Demo(options) => return Self::Demo(options),
            Verb::Check { file, connect } => {
                return Self::Check {
                    config: file.config,
                    connect,
                    json,
                };
            }
            Verb::Tap(options) => {
                return Self::Tap { options, json };
            }
            Verb::Schema { of } => return Self::Schema(of),
            Verb::Store(verb) => return Self::Offline(Offline::of(verb, json)),
            Verb::Changes(asked) => match Offline::verifying(&asked, json) {
                Some(offline) => return Self::Offline(offline),
                None => Task::Changes(asked),
            },
            Verb::Flag(verb) => Task::Flag(verb),
            Verb::Segment(verb) => Task::Segment(verb),
            Verb::Explain { queue, about } => Task::Explain(queue, about),
            Verb::Relieve(asked) => Task::Relieve(asked),
            Verb::Queue(verb) => Task::Queue(verb),
            Verb::Provider(verb) => Task::Provider(verb),
            Verb::Token(verb) => Task::Token(verb),
            Verb::Topology(asked) => Task::Topology(asked),
            Verb::Bypass { name, file } => Task::Bypass {
                name,
                config: file.config,
            },
            Verb::Compat(verb) => Task::Compat(verb),
            Verb::Man { folder } => Task::Man { folder },
            Verb::Completions { shell } => Task::Completions(shell),
        };
        Self::Client(ClientCommand {
            door: cli.door,
            task,
        })
    }
}

/// Who types, as their surroundings say.
#[derive(Default)]
struct Caller {
    user: Option<String>,
    /// What lets them in; printed nowhere.
    token: Option<String>,
    editor: Option<String>,
}

impl Caller {
    fn of_process() -> Self {
        let first = |names: &[&str]| {
            let said = |name: &&str| std::env::var(name).ok().filter(|text| !text.is_empty());
            names.iter().find_map(said)
        };
        Self {
            user: first(&["USER", "LOGNAME"]),
            token: first(&["SLUICEGATE_TOKEN"]),
            editor: first(&["VISUAL", "EDITOR"]),
        }
    }
}

/// Carries a command out against the daemon that it names, and says how it ended.
///
/// # Errors
/// When no runtime can be made for it, or its output cannot be written.
pub fn client_command(command: &ClientCommand) -> anyhow::Result<ExitCode> {
    let mut console = Console::of_process();
    let caller = Caller::of_process();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime could be made for the request")?;
    let ended = runtime.block_on(carry_out(command, &caller, &mut console));
    console
        .finish()
        .context("the output could not be written")?;
    Ok(ended.map_or_else(ExitCode::from, |()| ExitCode::SUCCESS))
}

/// Carries a command out; what went wrong is said.
async fn carry_out(
    command: &ClientCommand,
    caller: &Caller,
    console: &mut Console,
) -> Result<(), Exit> {
    let client = Client::new(command.door.url.clone(), caller.user.as_deref())
        .with_token(caller.token.as_deref());
    let json = command.door.json;
    let session = &mut Session {
        client: &client,
        console,
        json,
        editor: caller.editor.as_deref().unwrap_or("vi"),
        now_ms: Clock::system().now().ms,
    };
    perform(&command.task, session).await.map_err(|failure| {
        let said = match json {
            true => failure.json().to_string(),
            false => format!("error: {}", harmless(&failure.sentence)),
        };
        session.console.say(&said);
        failure.exit
    })
}

async fn perform(task: &Task, session: &mut Session<'_>) -> Result<(), Failure> {
    // What can be seen to be missing is said before anybody is asked.
    if !session.console.attended() && task.terms().is_some_and(|terms| terms.reason.is_none()) {
        return Err(session::no_reason());
    }
    match task {
        Task::Flag(verb) => flag(session, verb).await,
        Task::Segment(verb) => segment(session, verb).await,
        Task::Changes(asked) => match &asked.verb {
            None => changes::list(session, asked).await,
            Some(ChangesVerb::Verify(place)) => {
                changes::verify(session, place.file.as_deref()).await
            }
        },
        Task::Explain(name, about) => explain::queue(session, name, about).await,
        Task::Relieve(asked) => relieve::relieve(session, asked).await,
        Task::Queue(verb) => queue(session, verb).await,
        Task::Provider(verb) => providers::provider(session, verb).await,
        Task::Token(TokenVerb::New(asked)) => token::new(session, asked),
        Task::Topology(asked) => beside::topology(session, asked),
        Task::Bypass { name, config } => beside::bypass(session, name, config).await,
        Task::Compat(verb) => compat::compat(session, verb),
        Task::Man { folder } => manual(session, folder.as_deref()),
        Task::Completions(shell) => {
            session
                .console
                .data(&man::completions(Cli::command(), *shell));
            Ok(())
        }
    }
}

async fn flag(session: &mut Session<'_>, verb: &FlagVerb) -> Result<(), Failure> {
    match verb {
        FlagVerb::List { part, open } => flags::list(session, part.as_deref(), *open).await,
        FlagVerb::Get { key } => flags::get(session, key).await,
        FlagVerb::Create(new) => flags::create(session, new).await,
        FlagVerb::Set {
            key,
            value,
            keep,
            terms,
        } => flags::set(session, key, value, *keep, terms).await,
        FlagVerb::Edit(asked) => edit::edit(session, asked).await,
        FlagVerb::Rule(verb) => rule(session, verb).await,
        FlagVerb::Open(asked) => openings::open(session, asked).await,
        FlagVerb::Close { what, terms } => openings::close(session, what, terms).await,
        FlagVerb::Extend { id, length, terms } => {
            openings::extend(session, *id, length, terms).await
        }
        FlagVerb::Undo {
            key,
            revision,
            force,
            terms,
        } => lifecycle::undo(session, key, *revision, *force, terms).await,
        FlagVerb::History { key, limit } => changes::history(session, key, *limit).await,
        FlagVerb::Delete { key, force, terms } => {
            lifecycle::delete(session, key, *force, terms).await
        }
        FlagVerb::Apply(asked) => plan::apply(session, asked).await,
        FlagVerb::Export { part, format } => plan::export(session, part.as_deref(), *format).await,
        FlagVerb::Explain { key, about } => explain::flag(session, key, about).await,
        FlagVerb::Preview(asked) => explain::preview(session, asked).await,
    }
}

async fn rule(session: &mut Session<'_>, verb: &RuleVerb) -> Result<(), Failure> {
    match verb {
        RuleVerb::List { key } => rules::list(session, key).await,
        RuleVerb::Add(new) => rules::add(session, new).await,
        RuleVerb::Remove {
            key,
            name,
            keep,
            terms,
        } => rules::remove(session, key, name, *keep, terms).await,
    }
}

async fn segment(session: &mut Session<'_>, verb: &SegmentVerb) -> Result<(), Failure> {
    match verb {
        SegmentVerb::List => segments::list(session).await,
        SegmentVerb::Get { name } => segments::get(session, name).await,
        SegmentVerb::Create(new) => segments::create(session, new).await,
        SegmentVerb::Add(asked) => segments::change(session, asked, "add").await,
        SegmentVerb::Remove(asked) => segments::change(session, asked, "remove").await,
        SegmentVerb::Delete { name, terms } => segments::delete(session, name, terms).await,
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
