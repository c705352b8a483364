//! Laws of the runbooks beside the alerts.

use crate::daemon::command;
use crate::laws::root;

/// Commands of later parts: of a program that does not have them yet, their lines are not checked.
const PROMISED_COMMANDS: [&str; 2] = ["provider", "rollout"];

#[test]
fn runbooks_have_four_parts_and_name_commands_that_there_are() {
    let absent: Vec<&str> = PROMISED_COMMANDS
        .into_iter()
        .filter(|word| command(&[word, "--help"]).0 != Some(0))
        .collect();
    let folder = std::fs::read_dir(root().join("dashboards/prometheus/runbooks")).unwrap();
    for path in folder.map(|file| file.unwrap().path()) {
        let (text, place) = (std::fs::read_to_string(&path).unwrap(), path.display());
        let titles: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .collect();
        let wanted = [
            "What it means",
            "What to look at",
            "What to do",
            "How it ends",
        ];
        assert_eq!(titles, wanted, "{place}");
        let commands: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("sluicegate "))
            .collect();
        assert!(!commands.is_empty(), "{place}: what to do?");
        for line in commands {
            let mut words = words(line);
            if absent.contains(&words[0].as_str()) {
                continue;
            }
            words.push("--help".to_owned());
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let (status, _, said) = command(&words);
            assert_eq!(status, Some(0), "{place}: {line}\n{said}");
        }
    }
}

/// The words of a line of shell, up to a comment.
fn words(line: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (number, part) in line.split('"').enumerate() {
        if number % 2 == 1 {
            all.push(part.to_owned());
            continue;
        }
        let bare = part.split(" #").next().unwrap_or_default();
        all.extend(bare.split_whitespace().map(str::to_owned));
        if bare.len() < part.len() {
            break;
        }
    }
    all
}
