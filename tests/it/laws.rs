//! The laws of the house. Each is a table or a few lines, and fails with a sentence that says what to do.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a room may import besides itself. Imports point one way: a room may name only rooms that stand above it here.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("rules", &[]),
    ("config", &["rules"]),
    ("topology", &["rules", "config"]),
    ("compat", &["rules"]),
    ("clock", &[]),
    ("supervise", &[]),
    ("pulse", &[]),
    ("fake", &[]),
    ("metrics", &["rules"]),
    ("events", &["rules"]),
    ("seams", &["rules"]),
    ("store", &["rules", "metrics"]),
    ("throttle", &["rules"]),
    ("vitals", &["rules", "seams", "pulse"]),
    (
        "outcomes",
        &["rules", "clock", "metrics", "seams", "vitals"],
    ),
    ("notices", &["rules", "config", "clock", "metrics", "store"]),
    (
        "guard",
        &["rules", "clock", "store", "supervise", "metrics", "notices"],
    ),
    (
        "worker",
        &[
            "rules", "config", "clock", "metrics", "seams", "store", "throttle", "vitals",
        ],
    ),
    (
        "amqp",
        &["rules", "config", "topology", "clock", "seams", "supervise"],
    ),
    (
        "management",
        &["rules", "config", "topology", "clock", "vitals"],
    ),
    ("memory", &["rules", "clock", "seams"]),
    (
        "targets",
        &["rules", "config", "clock", "seams", "metrics", "vitals"],
    ),
    ("park", &["rules", "config", "clock", "seams"]),
    (
        "api",
        &[
            "rules", "config", "clock", "metrics", "outcomes", "seams", "store", "vitals", "events",
        ],
    ),
    ("cli", &["rules", "config", "topology", "compat", "clock"]),
    (
        "app",
        &[
            "rules",
            "config",
            "topology",
            "clock",
            "supervise",
            "pulse",
            "fake",
            "metrics",
            "events",
            "outcomes",
            "seams",
            "store",
            "throttle",
            "vitals",
            "notices",
            "guard",
            "worker",
            "amqp",
            "management",
            "memory",
            "targets",
            "park",
            "api",
            "cli",
        ],
    ),
];

/// Words that only some files may say in code, and why.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    (
        "lapin",
        &["src/amqp/"],
        "only the AMQP room names lapin; ask through `seams`",
    ),
    (
        "axum",
        &["src/api/"],
        "only the API room names axum; give it a plain function to call",
    ),
    (
        "utoipa_axum",
        &["src/api/"],
        "only the API room names axum's helpers",
    ),
    (
        "tokio::spawn",
        &["src/supervise.rs"],
        "a task has a name, a way to stop and a deadline: use `Tasks::spawn`",
    ),
    (
        "clap_mangen",
        &["src/cli/man.rs"],
        "manual pages are drawn in one place",
    ),
    (
        "sd_notify",
        &["src/app/systemd.rs"],
        "systemd is told in one place",
    ),
    (
        "basic_nack",
        &["src/amqp/inlet", "src/amqp/acks.rs"],
        "nack with requeue gives back at pause and stop, it never delays: settle through the inlet",
    ),
    (
        "basic_reject",
        &[],
        "reject counts towards the delivery limit of a quorum queue: acknowledge, or give back",
    ),
    (
        "enable_auto_recover",
        &[],
        "lapin's recovery hides a lost connection: our own supervisor connects again",
    ),
    (
        "Instant::now",
        &["src/clock.rs"],
        "only the clock reads time: take `now` as an argument",
    ),
    (
        "SystemTime::now",
        &["src/clock.rs"],
        "only the clock reads time: take `now` as an argument",
    ),
];

/// The longest file before its tests.
const LONGEST: usize = 400;

/// Where everything lies.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a directory, by its path from the root, with its text.
fn rust_files(below: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut open = vec![root().join(below)];
    while let Some(directory) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else {
            continue;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                files.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// What of a file is not its tests: all before a line `#[cfg(test)]` that is followed by a module with a body.
fn before_tests(text: &str) -> &str {
    let mut marks = text.match_indices("\n#[cfg(test)]\n").map(|(at, _)| at);
    let tests = marks.find(|at| {
        let mut after = text[*at..]
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        after
            .next()
            .is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
    });
    tests.map_or(text, |at| &text[..at])
}

/// Whether a file is nothing but tests: `tests.rs`, or in a directory `tests`.
fn is_tests(file: &str) -> bool {
    file.ends_with("tests.rs") || file.contains("/tests/")
}

/// The code of a file without its tests and without lines that are comments.
fn code(text: &str) -> String {
    let lines = before_tests(text).lines();
    let lines: Vec<&str> = lines
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    lines.join("\n")
}

/// Where `word` stands by itself, not as a part of a longer name.
fn says(code: &str, word: &str) -> bool {
    let of_name = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(of_name) && !after.is_some_and(of_name)
    })
}

/// The room that a file belongs to; none for the map and the program.
fn room_of(file: &str) -> Option<&str> {
    let inner = file.strip_prefix("src/")?;
    let first = inner.split('/').next()?.trim_end_matches(".rs");
    (!["lib", "main"].contains(&first)).then_some(first)
}

/// The rooms that code names: `crate::store::…`, and each in `crate::{store, clock::Clock}`.
fn rooms_named(code: &str) -> Vec<String> {
    let mut named = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            named.push(first_name(rest));
            continue;
        };
        let mut depth = 0;
        for part in list.split_inclusive([',', '{', '}']) {
            if depth == 0 && !first_name(part).is_empty() {
                named.push(first_name(part));
            }
            depth += i32::from(part.ends_with('{')) - i32::from(part.ends_with('}'));
            if depth < 0 {
                break;
            }
        }
    }
    named
}

fn first_name(text: &str) -> String {
    let of_name = |character: &char| character.is_alphanumeric() || *character == '_';
    text.trim_start().chars().take_while(of_name).collect()
}

#[test]
fn imports_point_one_way() {
    for (file, text) in rust_files("src") {
        let Some(room) = room_of(&file).filter(|_| !is_tests(&file)) else {
            continue;
        };
        let allowed = MAY_IMPORT
            .iter()
            .find(|(name, _)| *name == room)
            .map(|(_, allowed)| *allowed)
            .unwrap_or_else(|| {
                panic!("{file}: a new room; say in MAY_IMPORT what `{room}` may import")
            });
        for target in rooms_named(&code(&text)) {
            let fine = target == room || allowed.contains(&target.as_str());
            assert!(
                fine,
                "{file}: `{room}` may not import `{target}`; allowed: {allowed:?}"
            );
        }
    }
}

#[test]
fn the_table_of_imports_has_no_knot() {
    for (at, (room, allowed)) in MAY_IMPORT.iter().enumerate() {
        for target in *allowed {
            let above = MAY_IMPORT[..at].iter().any(|(name, _)| name == target);
            assert!(
                above,
                "`{room}` may import `{target}`, which does not stand above it"
            );
        }
    }
}

#[test]
fn imports_of_every_form_are_seen() {
    let check = |code: &str, expected: &[&str]| assert_eq!(rooms_named(code), expected, "{code}");
    check("use crate::store::Store;", &["store"]);
    check("fn f(a: crate::clock::Now)", &["clock"]);
    check(
        "use crate::{store::{self, Store}, clock::Now, seams};",
        &["store", "clock", "seams"],
    );
    check(
        "use crate::{\n    amqp,\n    store,\n};\nuse std::{fs, io};",
        &["amqp", "store"],
    );
    check("use std::store;", &[]);
}

#[test]
fn nobody_leaves_a_room_by_the_back_door() {
    for (file, text) in rust_files("src") {
        if is_tests(&file) || room_of(&file).is_none() {
            continue;
        }
        let is_mod = usize::from(file.ends_with("/mod.rs"));
        let up = "super::".repeat(file.matches('/').count() - is_mod);
        let line = code(&text).lines().position(|line| line.contains(&up));
        assert!(
            line.is_none(),
            "{file}: write `crate::…`, not `{up}…`, so that imports can be seen"
        );
    }
}

#[test]
fn some_words_are_for_some_rooms_only() {
    for (file, text) in rust_files("src") {
        if is_tests(&file) {
            continue;
        }
        let code = code(&text);
        for (word, places, cure) in ONLY_IN {
            let here = places.iter().any(|place| file.starts_with(place));
            assert!(here || !says(&code, word), "{file} says `{word}`: {cure}");
        }
    }
}

#[test]
fn every_file_says_what_it_is_for_and_is_short() {
    let files = ["src", "tests", "examples", "benches"];
    let mut wrong = Vec::new();
    for (file, text) in files.into_iter().flat_map(rust_files) {
        if !text.starts_with("//! ") {
            wrong.push(format!(
                "{file} does not begin with `//!` and what it is for"
            ));
        }
        let length = before_tests(&text).lines().count();
        if length > LONGEST && !is_tests(&file) {
            wrong.push(format!(
                "{file} has {length} lines before its tests: split it, {LONGEST} is the most"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Two shapes of one name are one in the OpenAPI document, and one of them is then described wrongly.
#[test]
fn no_two_shapes_of_the_api_have_one_name() {
    let derived = r"derive\([^)]*\bToSchema\b[^)]*\)\]((?:\s*#\[[^\]]*\])*)\s*(?:pub(?:\([^)]*\))? )?(?:struct|enum) (\w+)";
    let derived = regex::Regex::new(derived).unwrap();
    let renamed = regex::Regex::new(r"\bas = (\w+)").unwrap();
    let of_rules = regex::Regex::new(r#"\w+ = "(\w+)" of "#).unwrap();
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, text) in rust_files("src") {
        let derived = derived.captures_iter(&text).map(|found| {
            let other = renamed.captures(&found[1]);
            other.map_or(found[2].to_owned(), |other| other[1].to_owned())
        });
        let of_rules = of_rules.captures_iter(&text);
        let of_rules = of_rules.map(|found| found[1].to_owned());
        for name in derived.chain(of_rules) {
            places.entry(name).or_default().push(file.clone());
        }
    }
    assert!(places.len() > 50, "the search finds no more: {places:?}");
    for (name, files) in places {
        assert_eq!(files.len(), 1, "two shapes are called {name}: {files:?}");
    }
}
