//! Laws of what we hand out: nothing of one machine in it, licences that allow it, samples that load.

use std::process::Command;

use crate::laws::root;

/// The files that git knows, by their path from the root, with their text; none without git.
fn tracked_files() -> Vec<(String, String)> {
    let output = Command::new("git")
        .arg("ls-files")
        .current_dir(root())
        .output();
    let names = output.map(|output| output.stdout).unwrap_or_default();
    let names = String::from_utf8(names).unwrap();
    let read = |name: &str| {
        Some((
            name.to_owned(),
            std::fs::read_to_string(root().join(name)).ok()?,
        ))
    };
    names.lines().filter_map(read).collect()
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    // Put together here, so that this file does not name them itself.
    let paths = ["work", "root", "home"].map(|name| format!("/{name}/"));
    for (file, text) in tracked_files() {
        for (number, line) in text.lines().enumerate() {
            let path = paths.iter().find(|path| {
                line.match_indices(path.as_str()).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    !before.is_some_and(|character| {
                        character.is_alphanumeric() || "._-}$".contains(character)
                    })
                })
            });
            assert!(
                path.is_none(),
                "{file}:{}: `{path:?}` is of one machine, not of the project",
                number + 1
            );
        }
    }
}

/// Every crate that is built on Linux: name, licence as an SPDX expression, source.
fn crates() -> Vec<(String, String, Option<String>)> {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        metadata.status.success(),
        "{}",
        String::from_utf8_lossy(&metadata.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let built: Vec<&str> = nodes
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let packages = metadata["packages"].as_array().unwrap();
    let packages = packages
        .iter()
        .filter(|package| built.contains(&package["id"].as_str().unwrap()));
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    packages
        .map(|package| {
            let licence = text(&package["license"]).unwrap_or_default();
            (
                text(&package["name"]).unwrap(),
                licence,
                text(&package["source"]),
            )
        })
        .collect()
}

/// Whether an SPDX expression lets us choose licences that are all allowed. `AND` binds stronger than `OR`.
fn fits(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ");
    if let Some((before, rest)) = expression.split_once('(') {
        let (inner, after) = rest.split_once(')').unwrap_or((rest, ""));
        let inner = if fits(inner, allowed) {
            "fits"
        } else {
            "does-not-fit"
        };
        return fits(&format!("{before}{inner}{after}"), allowed);
    }
    let one = |licence: &str| {
        licence.trim() == "fits" || allowed.iter().any(|name| name == licence.trim())
    };
    expression
        .split(" OR ")
        .any(|all| all.split(" AND ").all(one))
}

#[test]
fn every_crate_has_a_licence_that_we_may_ship_and_comes_from_the_one_registry() {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let deny: toml::Table = text.parse().unwrap();
    let list = |table: &str, key: &str| -> Vec<String> {
        let list = deny[table][key].as_array().unwrap().iter();
        list.map(|item| item.as_str().unwrap().to_owned()).collect()
    };
    let allowed = list("licenses", "allow");
    let registries = list("sources", "allow-registry");
    let crates = crates();
    assert!(crates.len() > 100, "the crates were not seen");
    for (name, licence, source) in crates {
        assert!(
            fits(&licence, &allowed),
            "{name}: {licence:?} is not among the licences that deny.toml allows"
        );
        let Some(source) = source else { continue };
        let known = registries
            .iter()
            .any(|registry| source == format!("registry+{registry}"));
        assert!(
            known,
            "{name} comes from {source}, which deny.toml does not allow"
        );
    }
}

#[test]
fn licences_are_read_as_spdx_says() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned()];
    let check = |expression: &str, expected: bool| {
        assert_eq!(fits(expression, &allowed), expected, "{expression}");
    };
    check("MIT", true);
    check("GPL-3.0-only", false);
    check("Apache-2.0/MIT", true);
    check("(GPL-3.0-only OR MIT) AND ISC", true);
    check("MIT AND Apache-2.0", false);
    check("", false);
}

#[test]
fn every_file_in_config_loads() {
    let directory = std::fs::read_dir(root().join("config")).unwrap();
    let files = directory.map(|entry| entry.unwrap().path());
    for path in files.filter(|path| path.is_file()) {
        let text = std::fs::read_to_string(&path).unwrap();
        let read = if text.contains("\n[[flag]]") {
            sluicegate::config::flags::read(&path)
                .map(|_| ())
                .map_err(|why| why.to_string())
        } else {
            // The demo gives its fake providers a key.
            let variables = [("DEMO_KEY".to_owned(), "a key".to_owned())];
            sluicegate::config::read(&path, &variables.into())
                .map(|_| ())
                .map_err(|why| why.to_string())
        };
        assert_eq!(read, Ok(()), "{}", path.display());
    }
}

fn text_of(file: &str) -> String {
    let read = std::fs::read_to_string(root().join(file));
    read.unwrap_or_else(|why| panic!("{file}: {why}"))
}

/// `[package.metadata.deb]`, and its assets: from where to where.
fn package() -> (toml::Table, Vec<(String, String)>) {
    let manifest: toml::Table = text_of("Cargo.toml").parse().unwrap();
    let deb = manifest["package"]["metadata"]["deb"].as_table().unwrap();
    let word = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let assets = deb["assets"].as_array().unwrap().iter();
    let assets = assets.map(|asset| (word(&asset[0]), word(&asset[1])));
    (deb.clone(), assets.collect())
}

#[test]
fn everything_that_the_debian_package_takes_is_there_or_is_made_by_its_script() {
    let (deb, assets) = package();
    let script = text_of("config/deb/build");
    let made = |path: &str| {
        let Some(path) = path.strip_prefix("target/deb/") else {
            return path == "target/release/sluicegate" && script.contains("cargo build");
        };
        let said = path.strip_suffix("/*.1").unwrap_or(path);
        let by_shell = said.rsplit_once('.').filter(|(_, shell)| {
            let shells = script
                .lines()
                .find(|line| line.starts_with("for shell in "))
                .unwrap_or_default();
            shells.split([' ', ';']).any(|word| word == *shell)
        });
        let said = by_shell.map_or(said.to_owned(), |(name, _)| format!("{name}.$shell"));
        script.contains(&format!("$made/{said}\""))
    };
    assert!(script.contains("\nmade=target/deb\n"));
    let some = |from: &str| {
        let Some((folder, end)) = from.split_once("/*.") else {
            return root().join(from).is_file();
        };
        let files = std::fs::read_dir(root().join(folder)).into_iter().flatten();
        let mut ends = files.map(|file| file.unwrap().path());
        ends.any(|path| path.extension().is_some_and(|own| own == end))
    };
    for (from, _) in &assets {
        assert!(
            some(from) || made(from),
            "{from} is not there, and config/deb/build does not make it"
        );
    }
    let word = |value: &toml::Value| value.as_str().unwrap().to_owned();
    for file in deb["conf-files"].as_array().unwrap().iter().map(word) {
        assert!(
            assets.iter().any(|(_, to)| format!("/{to}") == file),
            "{file} is in no asset"
        );
    }
    let scripts = word(&deb["maintainer-scripts"]);
    assert!(
        text_of(&format!("{scripts}/postinst")).contains("#DEBHELPER#"),
        "the service would not be registered"
    );
    let units = &deb["systemd-units"];
    text_of(&format!(
        "{}/{}.service",
        word(&units["unit-scripts"]),
        word(&units["unit-name"])
    ));
    assert_eq!(
        (units["enable"].as_bool(), units["start"].as_bool()),
        (Some(false), Some(false)),
        "not before it is configured"
    );
}

/// What a file in `config` says when it is read as the daemon's file.
fn read_as_configuration(text: &str) -> Result<(), String> {
    let path = crate::keeper::directory("shipped").join("sluicegate.toml");
    std::fs::write(&path, text).unwrap();
    let read = sluicegate::config::read(&path, &std::collections::BTreeMap::new());
    read.map(|_| ()).map_err(|why| why.to_string())
}

#[test]
fn the_packaged_file_lacks_nothing_but_a_queue() {
    let text = text_of("config/deb/sluicegate.toml");
    let said = read_as_configuration(&text).unwrap_err();
    assert!(
        said.contains("`queue` is missing") && said.contains("\n1 problem in"),
        "{said}"
    );
    let (before, queue) = text.split_once("# [[queue]]").unwrap();
    let queue: Vec<&str> = queue
        .lines()
        .map(|line| line.trim_start_matches("# "))
        .collect();
    let named = format!("{before}[[queue]]{}", queue.join("\n"));
    assert_eq!(read_as_configuration(&named), Ok(()));
}

#[test]
fn the_unit_starts_what_the_package_installs_and_gives_a_stop_its_time() {
    let unit = text_of("config/systemd/sluicegate.service");
    let says = |line: &str| unit.lines().any(|found| found == line);
    let (_, assets) = package();
    let installed = |file: &str| {
        let program = |to: &String| to.ends_with('/') && file == format!("/{to}sluicegate");
        assets
            .iter()
            .any(|(_, to)| format!("/{to}") == file || program(to))
    };
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .unwrap();
    for file in start.split(' ').filter(|word| word.starts_with('/')) {
        assert!(installed(file), "{file} is not in the package");
    }
    assert!(says("Type=notify") && says("WatchdogSec=30s") && says("Restart=on-failure"));
    let stop = unit
        .lines()
        .find_map(|line| line.strip_prefix("TimeoutStopSec="))
        .unwrap();
    let stop: u64 = stop.trim_end_matches('s').parse().unwrap();
    let sample = format!(
        "{}\n[[queue]]\nname = \"a\"\ntarget = {{ http = \"http://127.0.0.1:1\" }}",
        text_of("config/deb/sluicegate.toml")
    );
    let path = crate::keeper::directory("unit").join("sluicegate.toml");
    std::fs::write(&path, sample).unwrap();
    let settings = sluicegate::config::read(&path, &std::collections::BTreeMap::new()).unwrap();
    assert!(
        stop >= settings.daemon.stop_within.as_secs() + 10,
        "{stop} s"
    );
}
