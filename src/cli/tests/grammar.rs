//! What parses, what does not, and what help says.

use super::*;

#[test]
fn the_grammar_holds_together() {
    Cli::command().debug_assert();
}

/// `debug` is part of what the parsed command says of itself.
fn parses(line: &str, debug: &str) {
    let command = parse_line(line).unwrap_or_else(|why| panic!("{line}: {why}"));
    let text = format!("{command:?}");
    assert!(text.contains(debug), "{line}: {debug} is not in {text}");
}

#[test]
fn what_people_type_is_understood() {
    parses(
        "sluicegate run --config a.toml",
        r#"Run { config: "a.toml" }"#,
    );
    parses("sluicegate demo", "listen: 127.0.0.1:7070, seconds: None");
    parses(
        "sluicegate demo --seconds 5 -q",
        "seconds: Some(5), quiet: true",
    );
    parses(
        "sluicegate check -c a.toml --connect --json",
        "connect: true, json: true",
    );
    parses("sluicegate schema", "Schema");
    parses(
        "sluicegate tap billing/orders -c a.toml --for 1m --deadline 30s --service 100ms --slots 8 --json",
        "slots: Some(8)",
    );
    parses(
        "sluicegate tap orders --exchange shop --key a --key b --argument x-match=any --kind headers",
        r#"[("x-match", "any")]"#,
    );
    parses(
        "sluicegate --url http://gate:1 flag list",
        r#"BaseUrl("http://gate:1")"#,
    );
    parses(
        "sluicegate flag list --url http://gate:1/ --json",
        "json: true",
    );
    parses("sluicegate flag set a -3 -r x", r#"value: "-3""#);
    parses(
        "sluicegate flag open a -0.5 b 2 --for 1m30s",
        r#"["a", "-0.5", "b", "2"]"#,
    );
    parses("sluicegate flag open a 70% -yn", "yes: true, dry_run: true");
    parses("sluicegate queue pause billing/orders", "billing/orders");
    parses("sluicegate queue release orders --all", "all: true");
    parses("sluicegate completions zsh", "Zsh");
    parses("sluicegate man", "Man { folder: None }");
    parses("sluicegate man a/man1", r#"folder: Some("a/man1")"#);
    parses("sluicegate topology", "/etc/sluicegate/sluicegate.toml");
    parses(
        "sluicegate topology --format definitions --queue a/b --user gate -c a.toml",
        "format: Definitions",
    );
    parses(
        "sluicegate bypass billing/orders -c a.toml",
        "billing/orders",
    );
}

#[test]
fn what_cannot_be_meant_is_a_usage_error_with_its_cure() {
    for (line, cure) in [
        ("sluicegate", "Usage:"),
        ("sluicegate run", "--config"),
        ("sluicegate fly", "unrecognized subcommand"),
        ("sluicegate flag lst", "'list'"),
        ("sluicegate queue release orders", "--key"),
        ("sluicegate queue release o --key a --all", "--all"),
        ("sluicegate demo --seconds 0", "not in 1.."),
        ("sluicegate flag open a", "KEY VALUE"),
        (
            "sluicegate flag open a 1 --for soon",
            "write a number and a unit",
        ),
        ("sluicegate flag open a 1 --until tomorrow", "--until"),
        (
            "sluicegate flag open a 1 --for 1m --until 2026-11-21T18:00:00Z",
            "cannot be used with",
        ),
        ("sluicegate flag create a --type ration --value 1", "ratio"),
        ("sluicegate flag create a --type ratio", "--value"),
        (
            "sluicegate flag list --url https://gate",
            "https is not spoken",
        ),
        (
            "sluicegate flag list --url gate:7070",
            "http://127.0.0.1:7070",
        ),
        ("sluicegate queue pause", "<NAME>"),
        ("sluicegate completions cobol", "possible values"),
        ("sluicegate tap", "<QUEUE>"),
        ("sluicegate tap orders --key a", "--exchange"),
        ("sluicegate tap orders --for 2d", "from 1s to 1d"),
        ("sluicegate tap orders --service 0s", "from 1ms to 1d"),
        ("sluicegate tap orders --slots 0", "not in 1.."),
        (
            "sluicegate tap orders --exchange a --kind x-random",
            "possible values",
        ),
        (
            "sluicegate tap orders --exchange a --argument eu",
            "NAME=TEXT",
        ),
    ] {
        let error = parse_line(line).map(|_| ()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(cure), "{line}: {error}");
    }
}

#[test]
fn every_command_shows_examples_and_they_parse() {
    fn walk(command: &mut clap::Command, path: &str) {
        let help = command.render_help().to_string();
        let lead = format!("  {path}");
        let text = command.get_after_help().map(ToString::to_string);
        let text = text.unwrap_or_default();
        let examples: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("  sluicegate "))
            .collect();
        assert!(help.contains("Examples:"), "{path}");
        assert!(
            examples.iter().any(|line| line.starts_with(&lead)),
            "{path}"
        );
        for line in examples {
            assert!(line.len() <= 96, "too long for a terminal: {line}");
            for typed in line.trim().split(" | ") {
                let typed = typed.split(" > ").next().unwrap();
                if typed.starts_with("sluicegate") {
                    parse_line(typed).unwrap_or_else(|why| panic!("{typed}: {why}"));
                }
            }
        }
        let below = command.get_subcommands_mut();
        for below in below.filter(|below| below.get_name() != "help") {
            let path = format!("{path} {}", below.get_name());
            walk(below, &path);
        }
    }
    walk(&mut Cli::command(), "sluicegate");
}

#[test]
fn help_lists_every_valve_with_its_help_and_all_exit_codes() {
    let help = Cli::command().render_long_help().to_string();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for valve in crate::rules::valve::Valve::ALL {
        let line = words(&format!("{} {}", valve.name(), valve.facts().help));
        assert!(words(&help).contains(&line), "{line}");
    }
    for exit in [
        Exit::Failed,
        Exit::Usage,
        Exit::NotFound,
        Exit::Denied,
        Exit::Conflict,
        Exit::Refused,
        Exit::Unreachable,
    ] {
        assert!(help.contains(&format!("  {} ", exit as u8)), "{exit:?}");
    }
}

#[test]
fn types_and_kinds_are_those_of_the_rules() {
    use crate::rules::flag::{Kind, ValueType};
    for word in help::TYPES {
        serde_json::from_value::<ValueType>(json!(word)).unwrap();
    }
    for word in help::KINDS {
        serde_json::from_value::<Kind>(json!(word)).unwrap();
    }
}
