//! `man` and `completions`: the manual pages and what shells complete, drawn from the grammar, as everything that can be typed is. May import no room.

use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::help::EXIT_CODES;

const MANUAL: &str = "Sluicegate";
const IN_A_LINE: &str = "sluicegate - valves between RabbitMQ and its workers";

const ENVIRONMENT: [(&str, &str); 6] = [
    (
        "SLUICEGATE_URL",
        "The daemon that is asked, instead of --url.",
    ),
    (
        "SLUICEGATE_TOKEN",
        "What lets you in, where the daemon asks for it. It is sent to the daemon at --url and printed nowhere.",
    ),
    (
        "VISUAL, EDITOR",
        "The editor of `flag edit`; vi when neither is set.",
    ),
    (
        "SLUICEGATE__SECTION__SETTING",
        "A setting of the configuration, such as SLUICEGATE__AMQP__HEARTBEAT or SLUICEGATE__QUEUE__ORDERS__SLOTS; it holds instead \
         of what the file says.",
    ),
    ("NO_COLOR", "Nothing is coloured, whatever it is set to."),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC",
        "Set by systemd: `run` tells it that it is ready, how it does, and that it is alive.",
    ),
];

const FILES: [(&str, &str); 2] = [
    (
        "/etc/sluicegate/sluicegate.toml",
        "The configuration, where the package puts it. A commented one with every setting is in /usr/share/doc/sluicegate.",
    ),
    (
        "/var/lib/sluicegate",
        "The flags and their history (daemon.data_dir).",
    ),
];

const SIGNALS: [(&str, &str); 2] = [
    (
        "SIGTERM, SIGINT",
        "Stop: nothing more is taken, what is at work is finished and settled, within daemon.stop_within. Asked a second time, it \
         stops at once.",
    ),
    (
        "SIGHUP",
        "Read the configuration again. What needs a restart is logged; a file that is not fine changes nothing.",
    ),
];

/// What a shell runs to complete what is typed.
pub(super) fn completions(mut program: Command, shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, "sluicegate", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The page of the program itself.
pub(super) fn page(mut program: Command) -> io::Result<String> {
    program = program.disable_help_subcommand(true);
    program.build();
    text(&draw(&program, &pages(&program))?)
}

/// Writes a page for each command into `folder`, which is made when it is not there; gives how many.
pub(super) fn write_all(mut program: Command, folder: &Path) -> io::Result<usize> {
    program = program.disable_help_subcommand(true);
    program.build();
    std::fs::create_dir_all(folder)?;
    let pages = pages(&program);
    for command in &pages {
        let file = folder.join(format!("{}.1", name(command)));
        std::fs::write(file, draw(command, &pages)?)?;
    }
    Ok(pages.len())
}

fn text(page: &[u8]) -> io::Result<String> {
    String::from_utf8(page.to_vec()).map_err(io::Error::other)
}

/// The program and every command below it.
fn pages(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().flat_map(pages);
    std::iter::once(command).chain(below).collect()
}

fn name(command: &Command) -> &str {
    command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
}

fn draw(command: &Command, all: &[&Command]) -> io::Result<Vec<u8>> {
    let is_program = !name(command).contains('-');
    let runs = command.get_name() == "run";
    let source = concat!("sluicegate ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).manual(MANUAL).source(source);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    if is_program {
        let mut name = Roff::new();
        name.control("SH", ["NAME"]);
        name.text([roman(IN_A_LINE)]);
        name.to_writer(&mut page)?;
    } else {
        man.render_name_section(&mut page)?;
    }
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut own = Roff::new();
    more_help(&mut own, command);
    if runs {
        listed(&mut own, "SIGNALS", &SIGNALS);
    }
    exit_status(&mut own, runs);
    if is_program || runs {
        listed(&mut own, "ENVIRONMENT", &ENVIRONMENT);
        listed(&mut own, "FILES", &FILES);
    }
    see_also(&mut own, command, all);
    own.to_writer(&mut page)?;
    Ok(page)
}

/// What `--help` says below the options: a block with a title is a section, its lines as they stand; any other is text.
fn more_help(page: &mut Roff, command: &Command) {
    let help = command
        .get_after_long_help()
        .or_else(|| command.get_after_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    for block in help.split("\n\n") {
        match block.split_once(":\n") {
            // They have a section of their own on every page.
            Some(("Exit codes", _)) => {}
            Some((title, lines)) if !title.contains('\n') => {
                as_it_stands(page, title, lines);
            }
            _ => {
                page.control("PP", []);
                page.text([roman(block.replace('\n', " "))]);
            }
        }
    }
}

fn as_it_stands(page: &mut Roff, title: &str, lines: &str) {
    // What follows a comma in a title is told in the section, in small letters as it is typed.
    let (title, rest) = title.split_once(", ").unwrap_or((title, ""));
    page.control("SH", [title.to_uppercase().as_str()]);
    if !rest.is_empty() {
        page.text([roman(format!("They are turned {rest}."))]);
    }
    page.control("PP", []);
    page.control("nf", []);
    for line in lines.lines() {
        page.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    page.control("fi", []);
}

fn listed(page: &mut Roff, title: &str, items: &[(&str, &str)]) {
    page.control("SH", [title]);
    for (item, what) in items {
        tagged(page, bold(*item), what);
    }
}

fn tagged(page: &mut Roff, tag: Inline, what: &str) {
    page.control("TP", []);
    page.text([tag]);
    page.text([roman(what)]);
}

fn exit_status(page: &mut Roff, runs: bool) {
    page.control("SH", ["EXIT STATUS"]);
    if runs {
        tagged(
            page,
            bold("0"),
            "Stopped, and everything in hand was settled.",
        );
        tagged(
            page,
            bold("1"),
            "It could not start, or something was not finished in time; the log names it, and the broker delivers it again.",
        );
        tagged(page, bold("2"), "Typed wrongly.");
        return;
    }
    for (code, meaning) in EXIT_CODES {
        let mut sentence = meaning.to_owned();
        sentence[..1].make_ascii_uppercase();
        tagged(page, bold(code.to_string()), &format!("{sentence}."));
    }
}

/// The commands above and below, and those of others that belong to it.
fn see_also(page: &mut Roff, command: &Command, all: &[&Command]) {
    let own = name(command);
    let is_near = |other: &str| {
        let above = own.rsplit_once('-').map(|(above, _)| above);
        let below = other.rsplit_once('-').map(|(above, _)| above);
        other == "sluicegate" || above == Some(other) || below == Some(own)
    };
    let names = all.iter().map(|other| name(other));
    let near = names.filter(|other| *other != own && is_near(other));
    let mut pages: Vec<(&str, &str)> = near.map(|other| (other, "(1)")).collect();
    pages.extend([("rabbitmqctl", "(8)"), ("systemctl", "(1)")]);
    page.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for (number, (name, section)) in pages.iter().enumerate() {
        if number > 0 {
            line.push(roman(", "));
        }
        line.extend([italic(*name), roman(*section)]);
    }
    page.text(line);
}
