//! The program `sluicegate`: reads what was typed and hands it to whoever does it. What it does stands in the library.

use std::process::ExitCode;

use sluicegate::app;
use sluicegate::cli::{self, Command};

fn main() -> ExitCode {
    let ended = match cli::parse() {
        Command::Run { config } => app::run(&config),
        Command::Demo(options) => app::demo(options),
        Command::Check {
            config,
            connect,
            json,
        } => app::check(&config, connect, json),
        Command::Tap { options, json } => app::tap(&options, json),
        Command::Schema(of) => app::schema(of),
        Command::Offline(asked) => app::offline(&asked),
        Command::Client(command) => cli::client_command(&command),
    };
    ended.unwrap_or_else(|why| {
        eprintln!("error: {why:#}");
        ExitCode::FAILURE
    })
}
