//! `sluicegate store` and `changes verify --data-dir`: into the store of a daemon that does not run. What was asked for goes to
//! standard output, what goes wrong to standard error with the exit codes of the command line.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use crate::cli::{Offline, OfflineTask, flags_file};
use crate::clock::Clock;
use crate::rules::change::Actor;
use crate::store::rescue::{self, KeptSnapshot, RescueError, Restored};
use crate::store::{Chain, OpenError};

/// What was asked for, for people and for programs, and whether all is well.
struct Told {
    people: String,
    programs: Json,
    well: bool,
}

impl Told {
    fn well(people: String, programs: Json) -> Self {
        Self {
            people,
            programs,
            well: true,
        }
    }
}

/// Carries it out.
///
/// # Errors
/// When standard output cannot be written.
pub fn offline(asked: &Offline) -> anyhow::Result<ExitCode> {
    let told = match tell(asked) {
        Ok(told) => told,
        Err(why) => return Ok(refused(&why, asked.json)),
    };
    let text = match &asked.task {
        OfflineTask::Export { toml: true } => {
            let list = |name: &str| told.programs[name].as_array().cloned().unwrap_or_default();
            flags_file(&list("flags"), &list("segments"))?
        }
        OfflineTask::Export { toml: false } => format!("{:#}", told.programs),
        _ if asked.json => format!("{:#}", told.programs),
        _ => told.people,
    };
    writeln!(std::io::stdout(), "{}", text.trim_end())?;
    Ok(if told.well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn tell(asked: &Offline) -> Result<Told, RescueError> {
    let dir = asked.data_dir.as_path();
    match &asked.task {
        OfflineTask::Snapshots => rescue::snapshots(dir).map(|all| snapshots(dir, &all)),
        OfflineTask::Verify => rescue::verify(dir, None).map(|chain| verified(&chain)),
        OfflineTask::Export { .. } => rescue::export(dir).map(|export| {
            for note in &export.notes {
                eprintln!("note: {note}");
            }
            Told::well(String::new(), json!(export))
        }),
        OfflineTask::Restore {
            revision,
            reason,
            dry_run,
        } => restore(dir, *revision, reason.as_deref(), *dry_run),
    }
}

fn refused(why: &RescueError, as_json: bool) -> ExitCode {
    let exit: u8 = match why {
        RescueError::NoReason => 2,
        RescueError::NoStore(_) | RescueError::NoSnapshot { .. } => 3,
        RescueError::Open(OpenError::Busy(_)) => 5,
        RescueError::Open(_) => 1,
    };
    if as_json {
        let error = json!({"error": {"exit": exit, "detail": why.to_string()}});
        eprintln!("{error}");
    } else {
        eprintln!("error: {why}");
    }
    ExitCode::from(exit)
}

fn snapshots(dir: &Path, all: &[KeptSnapshot]) -> Told {
    let mut page = String::new();
    if all.is_empty() {
        let _ = writeln!(page, "no snapshot lies in {}", dir.display());
    }
    for kept in all {
        let written = kept.written_at_ms.map_or_else(String::new, moment);
        let holds = match &kept.damaged {
            Some(why) => format!("DAMAGED: {why}"),
            None => format!(
                "{} flags, {} segments, {} openings",
                kept.flags, kept.segments, kept.openings
            ),
        };
        let revision = kept.revision;
        let _ = writeln!(page, "revision {revision:>8}  {written:20}  {holds}");
    }
    Told::well(page, json!({ "items": all }))
}

fn moment(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(
        |_| String::new(),
        |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
    )
}

fn verified(chain: &Chain) -> Told {
    let since = match chain.begins_after {
        0 => String::new(),
        revision => format!(", after revision {revision}"),
    };
    let whole = format!(
        "{} changes{since}, to revision {}\nlast hash {}",
        chain.whole, chain.newest, chain.head
    );
    let people = match &chain.broken {
        None => format!("the chain holds: {whole}"),
        Some(broken) => format!("{broken}\nwhole before that: {whole}"),
    };
    Told {
        people,
        programs: json!(chain),
        well: chain.broken.is_none(),
    }
}

fn restore(
    dir: &Path,
    revision: u64,
    reason: Option<&str>,
    dry_run: bool,
) -> Result<Told, RescueError> {
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    let reason = reason.ok_or(RescueError::NoReason)?;
    if dry_run {
        return would_restore(dir, revision);
    }
    let user = ["USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    let by = Actor::new(user.as_deref().unwrap_or("local"), "cli");
    let now_ms = Clock::system().now().ms;
    let restored = rescue::restore(dir, revision, &by, reason, now_ms)?;
    Ok(Told::well(restored_page(&restored), json!(restored)))
}

/// What lies there, without going back to it.
fn would_restore(dir: &Path, revision: u64) -> Result<Told, RescueError> {
    let all = rescue::snapshots(dir)?;
    let good = |kept: &&KeptSnapshot| kept.damaged.is_none();
    let found = all.iter().find(|kept| kept.revision == revision);
    let missing = |why: &str| RescueError::NoSnapshot {
        revision,
        why: why.to_owned(),
        good: all.iter().filter(good).map(|kept| kept.revision).collect(),
    };
    let found = found.ok_or_else(|| missing("none has this number"))?;
    if let Some(why) = &found.damaged {
        return Err(missing(why));
    }
    let page = format!(
        "dry run, nothing was changed: revision {revision} is good, with {} flags, {} segments and {} openings",
        found.flags, found.segments, found.openings
    );
    Ok(Told::well(page, json!(found)))
}

fn restored_page(restored: &Restored) -> String {
    let mut page = format!(
        "back to what stood at revision {}, as change {}\n",
        restored.from, restored.revision
    );
    let listed = |name: &str, all: Vec<String>| match all.is_empty() {
        true => String::new(),
        false => format!("{name}: {}\n", all.join(", ")),
    };
    page += &listed(
        "flags",
        restored.flags.iter().map(ToString::to_string).collect(),
    );
    page += &listed(
        "segments",
        restored.segments.iter().map(ToString::to_string).collect(),
    );
    page += &listed(
        "openings that are no more",
        restored.closed.iter().map(ToString::to_string).collect(),
    );
    page += &listed(
        "openings that are again",
        restored.reopened.iter().map(ToString::to_string).collect(),
    );
    for note in &restored.notes {
        let _ = writeln!(page, "note: {note}");
    }
    page
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::metrics::Metrics;
    use crate::rules::change::{Change, Edit};
    use crate::store::{Seed, Store};

    /// A store with one flag, at 1 and then at 2.
    fn made(dir: &Path) -> Store {
        let metrics = Arc::new(Metrics::new(&[]).unwrap());
        let store = Store::open(dir, Vec::new(), Seed::default(), 1, metrics)
            .unwrap()
            .store;
        let document = json!({"key": "a", "kind": "config", "type": "integer", "value": 1});
        let create = Edit::Create(Box::new(serde_json::from_value(document).unwrap()));
        let set = Edit::Set("a".parse().unwrap(), json!(2));
        for edit in [create, set] {
            let change = Change::new(edit, Actor::new("ana", "cli"), "test", 1);
            store.turn(&change).unwrap();
        }
        store
    }

    fn ask(dir: &Path, task: OfflineTask) -> Result<Told, RescueError> {
        tell(&Offline {
            data_dir: dir.to_owned(),
            json: false,
            task,
        })
    }

    fn restore_task(reason: Option<&str>, dry_run: bool) -> OfflineTask {
        OfflineTask::Restore {
            revision: 1,
            reason: reason.map(str::to_owned),
            dry_run,
        }
    }

    #[test]
    fn a_store_is_looked_into_exported_and_brought_back() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert!(matches!(
            ask(dir, OfflineTask::Verify),
            Err(RescueError::NoStore(_))
        ));
        let store = made(dir);
        let busy = ask(dir, OfflineTask::Verify);
        assert!(matches!(busy, Err(RescueError::Open(OpenError::Busy(_)))));
        drop(store);

        let verified = ask(dir, OfflineTask::Verify).unwrap();
        assert!(
            verified.well
                && verified
                    .people
                    .starts_with("the chain holds: 2 changes, to revision 2"),
            "{}",
            verified.people
        );
        let exported = ask(dir, OfflineTask::Export { toml: true })
            .unwrap()
            .programs;
        assert_eq!(exported["flags"][0]["value"], 2);
        let list = |name: &str| exported[name].as_array().cloned().unwrap_or_default();
        let file = flags_file(&list("flags"), &list("segments")).unwrap();
        assert!(file.contains("[[flag]]\nkey = \"a\""), "{file}");

        let listed = ask(dir, OfflineTask::Snapshots).unwrap();
        let kept = |revision: u64| {
            let items = listed.programs["items"].as_array().unwrap();
            items.iter().any(|item| item["revision"] == revision)
        };
        assert!(
            kept(1) && listed.people.contains("1 flags"),
            "{}",
            listed.people
        );
        assert!(matches!(
            ask(dir, restore_task(None, true)),
            Err(RescueError::NoReason)
        ));
        let dry = ask(dir, restore_task(Some("x"), true)).unwrap();
        assert!(dry.people.starts_with("dry run"), "{}", dry.people);
        let back = ask(dir, restore_task(Some("x"), false)).unwrap();
        assert!(
            back.people.contains("as change 3") && back.people.contains("flags: a"),
            "{}",
            back.people
        );
        let exported = ask(dir, OfflineTask::Export { toml: false }).unwrap();
        assert_eq!(exported.programs["flags"][0]["value"], 1);
    }
}
