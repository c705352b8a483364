//! Rules, segments and whole documents against the daemon's own router.

use super::router::Daemon;
use super::*;
use crate::rules::choice::Reason;
use crate::rules::context::Attribute;

/// What a flag says to somebody, and why.
fn says(daemon: &Daemon, key: &str, known: &[(&str, &str)]) -> (Json, Reason) {
    let snapshot = daemon.store.snapshot();
    let known = known
        .iter()
        .map(|(name, text)| (*name, Attribute::of(text)));
    let context = snapshot.context(known);
    let chosen = snapshot
        .choice(key)
        .unwrap()
        .choose(&*context, snapshot.audiences());
    (chosen.value.to_json(), chosen.reason)
}

const SKIP: &str = "queue.orders.skip";

#[test]
fn a_404_for_that_one_customer_is_one_command() {
    let daemon = Daemon::start();
    daemon.done("sluicegate flag create shop.reports --type boolean --value true --kind permission -r OPS-8");
    let line = "sluicegate flag rule add shop.reports acme --when account=acme --value false --reason INC-482";
    let shown = daemon.done(line);
    assert!(shown.contains("acme  account=acme    false"), "{shown}");
    let acme = says(&daemon, "shop.reports", &[("account", "acme")]);
    assert_eq!(acme, (json!(false), Reason::Rule(0)));
    let other = says(&daemon, "shop.reports", &[("account", "globex")]);
    assert_eq!(other, (json!(true), Reason::Default));

    assert_eq!(daemon.types(line).code, 5, "it has that rule");
    let list = daemon.done("sluicegate flag rule list shop.reports");
    assert!(list.contains("everybody else  true"), "{list}");
    let dry = daemon.done("sluicegate flag rule remove shop.reports acme -r over -n");
    assert!(dry.contains("would have no rules"), "{dry}");
    daemon.done("sluicegate flag rule remove shop.reports acme -r over");
    let acme = says(&daemon, "shop.reports", &[("account", "acme")]);
    assert_eq!(acme, (json!(true), Reason::Static));
}

#[test]
fn to_skip_some_jobs_of_some_accounts_for_an_hour_is_one_command() {
    let daemon = Daemon::start();
    daemon.done("sluicegate segment create beta acme globex -r OPS-7");
    let line = "sluicegate flag open queue.orders.skip 30% --when type^=bulk. --when segment:beta --for 1h --reason INC-483";
    let opened = daemon.done(line);
    assert!(
        opened.contains("is open for type^=bulk. and segment:beta until"),
        "{opened}"
    );
    assert!(
        opened.contains("in 59m") || opened.contains("in 1h"),
        "{opened}"
    );
    for (account, kind, wanted) in [
        ("acme", "bulk.mail", 0.3),
        ("acme", "single", 0.0),
        ("initech", "bulk.mail", 0.0),
    ] {
        let (value, _) = says(&daemon, SKIP, &[("account", account), ("type", kind)]);
        assert_eq!(value, json!(wanted), "{account} {kind}");
    }
    let list = daemon.done("sluicegate flag list --open");
    assert!(
        list.contains("0%") && list.contains("(for type^=bulk. and segment:beta)"),
        "{list}"
    );
    let extended = daemon.done("sluicegate flag extend o2 --for 30m -r on");
    assert!(
        extended.contains("in 1h 29m") || extended.contains("in 1h 30m"),
        "{extended}"
    );
    daemon.done("sluicegate flag close o2 -r over");
}

#[test]
fn a_valve_that_sheds_for_some_needs_an_end_or_keep() {
    let daemon = Daemon::start();
    let line = "sluicegate flag rule add queue.orders.degrade acme --when account=acme --value reject -r x";
    let refused = daemon.types(line);
    assert_eq!(refused.code, 6, "{}", refused.talk);
    assert!(refused.talk.contains("say --keep"), "{}", refused.talk);
    daemon.done(&format!("{line} --keep"));
    let (value, _) = says(&daemon, "queue.orders.degrade", &[("account", "acme")]);
    assert_eq!(value, json!("reject"));
}

#[test]
fn what_is_exported_shown_or_written_anew_can_be_sent_back() {
    let daemon = Daemon::start();
    daemon.done(
        "sluicegate flag create shop.form --type string --value old --choice old --choice new -r x",
    );
    daemon.done("sluicegate segment create beta acme -r x");
    daemon.done("sluicegate flag rule add shop.form ring --when segment:beta --split 5%=new --by account -r x");
    let shown = daemon.done("sluicegate flag get shop.form --json");
    let same = pipe_at(
        &daemon.url,
        "sluicegate flag edit shop.form --file - -r x",
        &shown,
    );
    assert_eq!(same.data, "nothing to change\n", "{}", same.talk);

    let exported = daemon.done("sluicegate flag export");
    assert!(
        exported.contains("[[flag.rules.split]]") && exported.contains("members = [\"acme\"]"),
        "{exported}"
    );
    let changed = shown.replace("\"old\",\n  \"choices\"", "\"new\",\n  \"choices\"");
    assert_ne!(changed, shown);
    let edit = "sluicegate flag edit shop.form --file - -r x";
    let dry = pipe_at(&daemon.url, &format!("{edit} -n"), &changed);
    assert_eq!(
        dry.data, "dry run, nothing was changed: shop.form would be changed\n",
        "{}",
        dry.talk
    );
    let done = pipe_at(&daemon.url, edit, &changed);
    assert_eq!(done.code, 0, "{}", done.talk);
    assert_eq!(daemon.now("shop.form"), json!("new"));
    let late = pipe_at(&daemon.url, edit, &shown);
    assert_eq!(late.code, 5, "{}", late.talk);
    assert!(late.talk.contains("yours is in "), "{}", late.talk);
    let kept = late.talk.trim_end().rsplit(' ').next().unwrap();
    std::fs::remove_file(kept).unwrap();
}

#[test]
fn a_segment_lives_and_ends() {
    let daemon = Daemon::start();
    let made = daemon.done("sluicegate segment create beta acme globex --owner shop -r x");
    assert_eq!(made, "segment beta exists, with 2 members\n");
    assert_eq!(
        daemon.types("sluicegate segment create beta a -r x").code,
        5
    );
    let added = daemon.done("sluicegate segment add beta initech acme -r x");
    assert_eq!(added, "added 2 members: segment beta has 3 members\n");
    let dry = daemon.done("sluicegate segment remove beta acme -r x --dry-run");
    assert_eq!(
        dry,
        "dry run, nothing was changed: remove 1 member: segment beta would have 2 members\n"
    );
    let shown = daemon.done("sluicegate segment get beta");
    assert!(
        shown.contains("initech") && shown.contains("shop"),
        "{shown}"
    );
    let list = daemon.done("sluicegate segment list");
    assert!(list.contains("beta           3  account"), "{list}");
    assert_eq!(daemon.types("sluicegate segment get alpha").code, 3);
    assert_eq!(
        daemon.done("sluicegate segment delete beta -r x"),
        "segment beta is deleted\n"
    );
    assert_eq!(daemon.types("sluicegate segment delete beta -r x").code, 3);
}

#[test]
fn a_flag_is_deleted_and_changes_are_listed() {
    let daemon = Daemon::start();
    daemon.done("sluicegate flag create shop.form --type boolean --value true -r made");
    assert_eq!(
        daemon.done("sluicegate flag delete shop.form -r gone"),
        "shop.form is deleted\n"
    );
    assert_eq!(
        daemon
            .types("sluicegate flag delete shop.form -r gone")
            .code,
        3
    );
    let changes = daemon.done("sluicegate changes");
    assert!(
        changes.contains("create shop.form at true") && changes.contains("delete shop.form gone"),
        "{changes}"
    );
    let one = daemon.json("sluicegate changes --limit 1");
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
}

#[test]
fn a_change_is_undone_told_and_verified() {
    let daemon = Daemon::start();
    daemon.done("sluicegate flag create load.rate --type rate --value 50/s -r made");
    daemon.done("sluicegate flag set load.rate 80/s -r more");
    let undone = daemon.done("sluicegate flag undo load.rate -r back -n");
    assert_eq!(
        undone,
        "dry run, nothing was changed: load.rate would be as it was, at 50/s\n"
    );
    daemon.done("sluicegate flag undo load.rate -r back");
    assert_eq!(daemon.now("load.rate"), json!("50/s"));
    let history = daemon.done("sluicegate flag history load.rate");
    for told in [
        "undo load.rate",
        "set load.rate 50/s to 80/s",
        "create load.rate at 50/s",
    ] {
        assert!(history.contains(told), "{told}: {history}");
    }
    daemon.done("sluicegate flag delete load.rate -r done");
    let back = daemon.done("sluicegate flag undo load.rate -r needed");
    assert_eq!(back, "load.rate is as it was, at 50/s\n");

    let only = daemon.json("sluicegate changes --flag load.rate");
    assert_eq!(only["items"].as_array().unwrap().len(), 5);
    let lines = daemon.done("sluicegate changes --jsonl");
    assert_eq!(lines.lines().count(), 5, "{lines}");
    let verified = daemon.done("sluicegate changes verify");
    assert!(
        verified.starts_with("the chain holds: 5 changes, to revision 5"),
        "{verified}"
    );
    let altered = lines.replace("more", "less");
    let broken = pipe_at(&daemon.url, "sluicegate changes verify --file -", &altered);
    assert_eq!(broken.code, 1);
    assert!(
        broken.talk.contains("revision 3 does not follow"),
        "{}",
        broken.talk
    );
}

#[test]
fn what_one_daemon_exports_another_applies() {
    let daemon = Daemon::start();
    daemon.done(
        "sluicegate flag create shop.form --type string --value old --choice old --choice new -r x",
    );
    daemon.done("sluicegate segment create beta acme -r x");
    daemon.done("sluicegate flag rule add shop.form beta --when segment:beta --value new -r x");
    daemon.done("sluicegate flag set queue.orders.rate 50/s -r x");
    for format in ["toml", "json"] {
        let file = daemon.done(&format!("sluicegate flag export --format {format}"));
        let other = Daemon::start();
        let apply = "sluicegate flag apply - -r x --yes --keep";
        let dry = pipe_at(&other.url, &format!("{apply} -n"), &file);
        let plan = "2 to create, 1 to change, 0 to delete, 0 as they are\n";
        assert!(
            dry.data
                .starts_with(&format!("dry run, nothing was changed: {plan}")),
            "{}{}",
            dry.data,
            dry.talk
        );
        let done = pipe_at(&other.url, apply, &file);
        assert!(done.data.starts_with(plan), "{}{}", done.data, done.talk);
        assert!(
            done.data.contains("create segment beta") && done.data.contains("none -> 50/s"),
            "{}",
            done.data
        );
        assert_eq!(
            other.done(&format!("sluicegate flag export --format {format}")),
            file
        );
        let again = pipe_at(&other.url, apply, &file);
        assert!(
            again
                .data
                .starts_with("0 to create, 0 to change, 0 to delete, 3 as they are"),
            "{}",
            again.data
        );
    }
}

#[test]
fn what_is_said_is_explained_and_what_would_be_is_previewed() {
    let daemon = Daemon::start();
    daemon
        .done("sluicegate flag create shop.reports --type boolean --value true --owner shop -r x");
    daemon
        .done("sluicegate flag rule add shop.reports acme --when account=acme --value false -r x");
    let told = daemon.done("sluicegate flag explain shop.reports -c account=acme");
    let wanted = "\
shop.reports says false to account=acme: rule acme (revision 2)
  rule acme: decides
    yes account=acme   found acme
";
    assert_eq!(told, wanted);
    let misspelt = daemon.types("sluicegate flag explain shop.reports -c acount=acme");
    assert!(misspelt.data.contains("says true"), "{}", misspelt.data);
    assert!(
        misspelt.talk.contains("perhaps misspelt"),
        "{}",
        misspelt.talk
    );
    assert_eq!(daemon.types("sluicegate flag explain nope").code, 3);

    daemon.done("sluicegate flag open queue.orders.degrade reject --when account=acme -r x");
    let told = daemon.done("sluicegate explain orders -c account=acme -c id=o-1");
    assert!(
        told.starts_with("orders: shed (rejected), by the opening o3"),
        "{told}"
    );
    let told = daemon.done("sluicegate explain orders -c account=globex -c id=o-1");
    assert!(told.starts_with("orders: run"), "{told}");
    assert_eq!(daemon.types("sluicegate explain ordres").code, 3);

    let preview = daemon.done("sluicegate flag preview queue.orders.skip 30% --when account=acme");
    assert!(preview.starts_with("no data"), "{preview}");
}

#[test]
fn a_team_with_many_release_flags_is_warned_and_a_bad_name_is_refused_with_the_pattern() {
    let daemon = Daemon::start();
    daemon.store.limit(crate::rules::policy::Policy {
        releases_of_a_team: Some(1),
        ..Default::default()
    });
    let create = |key: &str, more: &str| {
        daemon.types(&format!(
            "sluicegate flag create {key} --kind release --type boolean --value false -r OPS-7 {more}"
        ))
    };
    let named = create("basket", "--owner web");
    assert_eq!(named.code, 6, "{}", named.talk);
    assert!(
        named.talk.contains("<stakeholder>.<team>.<id>"),
        "{}",
        named.talk
    );
    let owned = create("shop.web.a", "");
    assert_eq!(owned.code, 6, "{}", owned.talk);
    assert!(owned.talk.contains("needs an owner"), "{}", owned.talk);
    let first = create("shop.web.a", "--owner web");
    assert_eq!(
        (first.code, first.talk.contains("warning")),
        (0, false),
        "{}",
        first.talk
    );
    let warning = "warning: web has 2 open release flags";
    for more in ["--owner web --dry-run", "--owner web"] {
        let second = create("shop.web.b", more);
        assert_eq!(
            (second.code, second.talk.contains(warning)),
            (0, true),
            "{}",
            second.talk
        );
    }
    for line in [
        "flag set shop.web.a true -r on",
        "flag rule add shop.web.a acme --when account=acme --value true -r on",
        "flag open shop.web.a true --for 5m -r on",
    ] {
        let said = daemon.types(&format!("sluicegate {line}"));
        assert_eq!(
            (said.code, said.talk.contains(warning)),
            (0, true),
            "{line}: {}",
            said.talk
        );
    }
    let programs = daemon.done("sluicegate flag set shop.web.a false -r off --json");
    assert!(
        programs.contains("web has 2 open release flags"),
        "{programs}"
    );
}
