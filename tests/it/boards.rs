//! Laws of what Grafana shows: the boards are as their script says, name only what the daemon declares, and keep the rules of
//! grafana/dashboard-linter (which cannot be had where this was written, so that its rules are written down here).

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value as Json;

use crate::laws::root;
use crate::promised::families;
use crate::promql::{Selector, read};

/// The labels that a series of this name has; `None`: there is no such family.
fn labels_of(
    name: &str,
    families: &BTreeMap<String, BTreeSet<String>>,
) -> Option<BTreeSet<String>> {
    let part_of = |suffix: &str| families.get(name.strip_suffix(suffix)?);
    let own = families
        .get(name)
        .or_else(|| part_of("_sum"))
        .or_else(|| part_of("_count"));
    let bucket = part_of("_bucket");
    let mut labels = own.or(bucket)?.clone();
    labels.extend(["job".to_owned(), "instance".to_owned()]);
    if bucket.is_some() {
        labels.insert("le".to_owned());
    }
    Some(labels)
}

/// Says that a query names only families and labels that there are.
pub(crate) fn names_what_there_is(
    place: &str,
    query: &str,
    families: &BTreeMap<String, BTreeSet<String>>,
) {
    let read = read(query);
    assert!(
        !read.selectors.is_empty(),
        "{place}: {query} asks for nothing"
    );
    let mut all = BTreeSet::new();
    for selector in &read.selectors {
        let name = &selector.name;
        let labels = labels_of(name, families)
            .unwrap_or_else(|| panic!("{place}: the daemon declares no {name}"));
        for (label, ..) in &selector.matchers {
            assert!(
                labels.contains(label),
                "{place}: {name} has no label {label}"
            );
        }
        all.extend(labels);
    }
    for label in read.labels {
        assert!(
            all.contains(&label),
            "{place}: nothing in {query} has a label {label}"
        );
    }
}

/// The boards, by the name of their file.
pub(crate) fn boards() -> Vec<(String, Json)> {
    let folder = std::fs::read_dir(root().join("dashboards/grafana/sluicegate")).unwrap();
    let mut boards: Vec<(String, Json)> = folder
        .map(|file| {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_str(&text).unwrap())
        })
        .collect();
    boards.sort_by(|one, other| one.0.cmp(&other.0));
    boards
}

fn list<'a>(of: &'a Json, member: &str) -> &'a [Json] {
    of[member].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(of: &'a Json, member: &str) -> &'a str {
    of[member].as_str().unwrap_or_default()
}

/// The panels of a board that show something.
fn panels(board: &Json) -> impl Iterator<Item = &Json> {
    list(board, "panels")
        .iter()
        .filter(|panel| panel["type"] != "row")
}

/// Every query of a board with its place, also those of its marks and choices.
pub(crate) fn queries(name: &str, board: &Json) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for panel in panels(board) {
        for target in list(panel, "targets") {
            let place = format!("{name}: {}", text(panel, "title"));
            all.push((place, text(target, "expr").to_owned()));
        }
    }
    for mark in list(&board["annotations"], "list") {
        let place = format!("{name}: marks {}", text(mark, "name"));
        all.push((place, text(mark, "expr").to_owned()));
    }
    for variable in list(&board["templating"], "list") {
        if let Some((series, _)) = label_values(variable) {
            all.push((format!("{name}: ${}", text(variable, "name")), series));
        }
    }
    all
}

/// What a choice is drawn from: `label_values(series, label)`.
fn label_values(variable: &Json) -> Option<(String, String)> {
    let inner = text(variable, "query")
        .strip_prefix("label_values(")?
        .strip_suffix(')')?;
    let (series, label) = inner.rsplit_once(", ")?;
    Some((series.to_owned(), label.to_owned()))
}

#[test]
fn the_boards_are_as_their_script_says() {
    let check = Command::new("python3")
        .args(["-B", "dashboards/grafana/boards.py", "--check"])
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success(), "{said}");
    let names: Vec<String> = boards().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["flags", "overview", "providers", "queue", "rollouts"]
    );
}

#[test]
fn boards_name_only_what_the_daemon_declares() {
    let families = families();
    for (name, board) in boards() {
        for (place, query) in queries(&name, &board) {
            names_what_there_is(&place, &query, &families);
        }
        for panel in panels(&board) {
            for target in list(panel, "targets") {
                let named = read(text(target, "expr"));
                let labels = named
                    .selectors
                    .iter()
                    .filter_map(|one| labels_of(&one.name, &families));
                let labels: BTreeSet<String> = labels.flatten().collect();
                let legend = text(target, "legendFormat");
                for part in legend.split("{{").skip(1) {
                    let label = part.split("}}").next().unwrap_or_default();
                    let place = text(panel, "title");
                    assert!(
                        labels.contains(label),
                        "{name}: {place}: no label {label} for the legend"
                    );
                    assert!(
                        named.labels.is_empty()
                            || named.labels.contains(label)
                            || text(target, "expr").contains("without"),
                        "{name}: {place}: {label} is in the legend, but not grouped by"
                    );
                }
            }
        }
        for variable in list(&board["templating"], "list") {
            if let Some((series, label)) = label_values(variable) {
                let read = read(&series);
                let labels = labels_of(&read.selectors[0].name, &families).unwrap();
                assert!(labels.contains(&label), "{name}: {series} has no {label}");
            }
        }
    }
}

/// Units of Grafana that fit what we count in.
const UNITS: [&str; 9] = [
    "short",
    "none",
    "s",
    "percentunit",
    "bytes",
    "cps",
    "reqps",
    "ops",
    "dateTimeFromNow",
];
/// Panels that may look at counters as they are; `dashboards/grafana/.lint` says why.
const BARE_COUNTERS: [(&str, &str); 1] = [("Sluicegate / Overview", "Account")];

#[test]
fn boards_keep_the_rules_of_the_linter() {
    let excluded = std::fs::read_to_string(root().join("dashboards/grafana/.lint")).unwrap();
    for (board, panel) in BARE_COUNTERS {
        let entry = format!("- dashboard: {board}\n        panel: {panel}\n");
        assert!(excluded.contains(&entry), "{entry}");
    }
    for (name, board) in boards() {
        assert_eq!(board["editable"], false, "{name}: template-uneditable");
        assert_eq!(board["graphTooltip"], 1, "{name}: one cross-hair for all");
        assert_eq!(board["uid"], format!("sluicegate-{name}"));
        lint_variables(&name, &board);
        let mut ids = BTreeSet::new();
        for panel in panels(&board) {
            let place = format!("{name}: {:?}", panel["title"]);
            assert!(ids.insert(panel["id"].as_i64()), "{place}: its id is taken");
            lint_panel(&place, text(&board, "title"), panel);
        }
        lint_places(&name, &board);
    }
}

fn lint_variables(name: &str, board: &Json) {
    let variables = list(&board["templating"], "list");
    let named = |wanted: &str| {
        let found = variables.iter().find(|one| text(one, "name") == wanted);
        found.unwrap_or_else(|| panic!("{name}: there is no variable {wanted}"))
    };
    let source = named("datasource");
    assert_eq!(
        (text(source, "label"), text(source, "query")),
        ("Data source", "prometheus"),
        "{name}: template-datasource"
    );
    for (wanted, label) in [("job", "Job"), ("instance", "Instance")] {
        let variable = named(wanted);
        assert_eq!(text(variable, "label"), label, "{name}: template-{wanted}");
        assert_eq!(variable["multi"], true, "{name}: template-{wanted}");
        assert_eq!(variable["allValue"], ".+", "{name}: template-{wanted}");
    }
    for variable in variables.iter().filter(|one| text(one, "type") == "query") {
        let place = format!("{name}: ${}", text(variable, "name"));
        assert_eq!(variable["datasource"]["uid"], "$datasource", "{place}");
        assert_eq!(variable["refresh"], 2, "{place}: on-time-change-reload");
        assert!(
            label_values(variable).is_some(),
            "{place}: template-label-promql"
        );
    }
}

fn lint_panel(place: &str, board: &str, panel: &Json) {
    assert_eq!(
        panel["datasource"]["uid"], "$datasource",
        "{place}: panel-datasource"
    );
    assert!(!text(panel, "title").is_empty(), "{place}: panel-title");
    assert!(
        text(panel, "description").len() > 15,
        "{place}: panel-description"
    );
    let unit = text(&panel["fieldConfig"]["defaults"], "unit");
    assert!(
        UNITS.contains(&unit),
        "{place}: panel-units knows no {unit:?}"
    );
    let targets = list(panel, "targets");
    assert!(!targets.is_empty(), "{place}: panel-no-targets");
    for target in targets {
        for selector in read(text(target, "expr")).selectors {
            lint_selector(
                place,
                &selector,
                BARE_COUNTERS.contains(&(board, text(panel, "title"))),
            );
        }
    }
}

fn lint_selector(place: &str, selector: &Selector, may_be_bare: bool) {
    let name = &selector.name;
    for label in ["job", "instance"] {
        let wanted = (label.to_owned(), "=~".to_owned(), format!("${label}"));
        assert!(
            selector.matchers.contains(&wanted),
            "{place}: target-{label}: {name} is not narrowed by {label}=~\"${label}\""
        );
    }
    let within = selector.within.iter().map(String::as_str);
    let rated = within
        .clone()
        .any(|word| ["rate", "irate", "increase"].contains(&word));
    assert!(
        rated || may_be_bare || !name.ends_with("_total"),
        "{place}: target-counter-agg: {name} is a counter, and not within rate or increase"
    );
    // A fixed range is right where the title or its words name it.
    assert!(
        ["", "$__rate_interval", "1h"].contains(&selector.range.as_str()),
        "{place}: target-rate-interval: {name}[{}]",
        selector.range
    );
}

/// Panels lie beside each other, within the 24 columns.
fn lint_places(name: &str, board: &Json) {
    let mut taken = BTreeSet::new();
    for panel in list(board, "panels") {
        let at = |member: &str| panel["gridPos"][member].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{name}: {:?}", panel["title"]);
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                let free = taken.insert((x, y));
                assert!(free, "{name}: {:?} lies on another", panel["title"]);
            }
        }
    }
}
