//! The manual is true: its table of valves is drawn from the code.

use std::fmt::Write as _;
use std::process::Command;

use sluicegate::rules::flag::ValueType;
use sluicegate::rules::valve::Valve;

use crate::daemon::command;
use crate::keeper::directory;

const README: &str = include_str!("../../README.md");

fn type_word(value_type: ValueType) -> String {
    let whole = value_type.to_string();
    whole.split(' ').next().unwrap_or_default().to_owned()
}

fn table_of_valves() -> String {
    let mut table =
        "| valve | type | does nothing at | what it does |\n| --- | --- | --- | --- |\n".to_owned();
    for valve in Valve::ALL {
        let facts = valve.facts();
        let neutral = match valve.neutral() {
            serde_json::Value::Null => "none".to_owned(),
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        let type_word = type_word(facts.value_type);
        let _ = writeln!(
            table,
            "| `{}` | {type_word} | {neutral} | {} |",
            facts.name, facts.help
        );
    }
    table
}

#[test]
fn the_table_of_valves_is_drawn_from_the_code() {
    let table = table_of_valves();
    let begin = README
        .find("<!-- valves:")
        .and_then(|at| README[at..].find('\n').map(|end| at + end + 1));
    let end = README.find("<!-- end of valves -->");
    let written = begin.zip(end).map(|(begin, end)| &README[begin..end]);
    assert_eq!(
        written,
        Some(table.as_str()),
        "README's table of valves differs from the code; it should be:\n{table}"
    );
}

/// Every line `.SH` of a page.
fn sections(page: &str) -> Vec<&str> {
    let titles = page.lines().filter_map(|line| line.strip_prefix(".SH "));
    titles.map(|title| title.trim_matches('"')).collect()
}

#[test]
fn every_command_has_a_manual_page_with_its_sections_that_renders() {
    let folder = directory("man");
    let (status, _, said) = command(&["man", folder.to_str().unwrap()]);
    assert_eq!(status, Some(0), "{said}");
    let pages: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
    assert!(
        said.starts_with(&format!("{} pages", pages.len())),
        "{said}"
    );
    for page in pages.iter().map(|page| page.as_ref().unwrap().path()) {
        let text = std::fs::read_to_string(&page).unwrap();
        let found = sections(&text);
        for wanted in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "EXAMPLES",
            "EXIT STATUS",
            "SEE ALSO",
        ] {
            assert!(found.contains(&wanted), "{}: {found:?}", page.display());
        }
        // Where a typesetter is, it has nothing to say against it.
        let typeset = Command::new("groff")
            .args(["-man", "-ww", "-Kutf8", "-Tutf8", "-z"])
            .arg(&page)
            .output();
        if let Ok(typeset) = typeset {
            let complaints = String::from_utf8_lossy(&typeset.stderr);
            let ours = complaints
                .lines()
                .filter(|line| line.contains("sluicegate"));
            assert_eq!(ours.collect::<Vec<_>>(), Vec::<&str>::new());
        }
    }
    for name in ["sluicegate", "sluicegate-run", "sluicegate-flag-open"] {
        assert!(folder.join(format!("{name}.1")).exists(), "{name}");
    }
}

#[test]
fn the_page_of_the_program_is_printed_and_names_codes_files_and_environment() {
    let (status, page, _) = command(&["man"]);
    assert_eq!(status, Some(0));
    let found = sections(&page);
    for wanted in ["VALVES OF A QUEUE", "EXIT STATUS", "ENVIRONMENT", "FILES"] {
        assert!(found.contains(&wanted), "{found:?}");
    }
    for (code, meaning) in [
        ("0", "Done."),
        ("5", "Somebody was faster, or it exists."),
        ("7", "No daemon answers."),
    ] {
        let item = format!(".TP\n\\fB{code}\\fR\n{meaning}\n");
        assert!(page.contains(&item), "{item}\n{page}");
    }
}
