//! The manual is true: its table of valves is drawn from the code.

use std::fmt::Write as _;

use sluicegate::rules::flag::ValueType;
use sluicegate::rules::valve::Valve;

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
