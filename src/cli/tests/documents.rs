//! Rules, and whole documents: `flag rule`, `flag edit`, `flag apply`, `flag export`, `segment`.

use super::*;

fn form(value: &str, rules: Json) -> Json {
    json!({
        "key": "shop.form", "kind": "release", "type": "string", "value": value, "choices": ["old", "new"], "owner": "shop",
        "description": "", "runbook": "", "now": value, "revision": 41, "openings": [], "rules": rules,
    })
}

fn rule(name: &str, account: &str) -> Json {
    json!({"name": name, "when": [{"attribute": "account", "op": "in", "values": [account]}], "value": "new"})
}

#[test]
fn a_rule_is_added_before_all_others() {
    let after = form("old", json!([rule("acme", "acme"), rule("b", "b")]));
    let daemon = Scripted::answering(vec![
        (200, form("old", json!([rule("b", "b")]))),
        (200, after),
    ]);
    let line = "sluicegate flag rule add shop.form acme --when account=acme --value new -r x";
    let ended = type_at(&daemon.url, line, None);
    let wanted = "\
shop.form has 2 rules, tried in this order:
RULE  WHO             GETS
acme  account=acme    new
b     account=b       new
      everybody else  old
";
    assert_eq!(
        (ended.data.as_str(), ended.code),
        (wanted, 0),
        "{}",
        ended.talk
    );
    let asked = daemon.asked.join().unwrap();
    let wanted = json!({"rules": [rule("acme", "acme"), rule("b", "b")], "reason": "x"});
    assert_eq!(
        asked[1],
        format!("ana: PATCH /api/v1/flags/shop.form \"41\"{wanted}")
    );
}

#[test]
fn a_rule_may_split_and_stand_last_and_be_kept() {
    let daemon = Scripted::answering(vec![
        (200, form("old", json!([rule("b", "b")]))),
        (200, form("old", json!([]))),
    ]);
    let line = "sluicegate flag rule add shop.form ring --when segment:beta --split 5%=new --split 1%=old --by account \
                --last --keep -r x -n";
    let ended = type_at(&daemon.url, line, None);
    let wanted =
        "dry run, nothing was changed: shop.form would have no rules: everybody gets old\n";
    assert_eq!(ended.data, wanted, "{}", ended.talk);
    let asked = daemon.asked.join().unwrap();
    let ring = json!({"name": "ring", "when": [{"segment": "beta"}], "by": "account",
                      "split": [{"value": "new", "share": 0.05}, {"value": "old", "share": 0.01}]});
    let wanted = json!({"rules": [rule("b", "b"), ring], "reason": "x", "keep": true});
    let path = "ana: PATCH /api/v1/flags/shop.form?dry_run=true \"41\"";
    assert_eq!(asked[1], format!("{path}{wanted}"));
}

#[test]
fn a_rule_that_is_there_or_is_not_is_told_before_anything_is_sent() {
    for (line, code, cure) in [
        ("add shop.form b --value new", 5, "--replace"),
        ("add shop.form c --value new --before d", 3, "it has b"),
        ("remove shop.form c", 3, "it has b"),
    ] {
        let daemon = Scripted::answering(vec![(200, form("old", json!([rule("b", "b")])))]);
        let ended = type_at(
            &daemon.url,
            &format!("sluicegate flag rule {line} -r x"),
            None,
        );
        assert_eq!(ended.code, code, "{line}: {}", ended.talk);
        assert!(ended.talk.contains(cure), "{line}: {}", ended.talk);
    }
}

#[test]
fn a_document_is_changed_from_standard_input() {
    let daemon = Scripted::answering(vec![
        (200, form("old", json!([]))),
        (200, form("new", json!([]))),
    ]);
    let line = "sluicegate flag edit shop.form --file - -r x";
    let ended = pipe_at(
        &daemon.url,
        line,
        "value = 'new'\nowner = 'shop'\nchoices = ['old', 'new']\n",
    );
    assert_eq!(
        (ended.code, ended.data.as_str()),
        (0, "shop.form is changed (revision 41)\n"),
        "{}",
        ended.talk
    );
    assert!(
        ended
            .talk
            .contains("- value = \"old\"\n+ value = \"new\"\n"),
        "{}",
        ended.talk
    );
    let asked = daemon.asked.join().unwrap();
    let wanted = json!({"key": "shop.form", "kind": "release", "type": "string", "value": "new", "choices": ["old", "new"],
                        "owner": "shop", "reason": "x"});
    assert_eq!(
        asked[1],
        format!("ana: PUT /api/v1/flags/shop.form \"41\"{wanted}")
    );
}

#[test]
fn what_the_daemon_shows_can_be_sent_back_and_says_what_was_seen() {
    let mut seen = form("old", json!([rule("b", "b")]));
    let daemon = Scripted::answering(vec![(200, seen.clone())]);
    let line = "sluicegate flag edit shop.form --file - -r x";
    let ended = pipe_at(&daemon.url, line, &seen.to_string());
    assert_eq!(
        (ended.code, ended.data.as_str()),
        (0, "nothing to change\n"),
        "{}",
        ended.talk
    );

    seen["revision"] = json!(39);
    seen["rules"] = json!([]);
    let daemon = Scripted::answering(vec![
        (200, form("old", json!([rule("b", "b")]))),
        problem(422, "bad-value"),
    ]);
    let ended = pipe_at(&daemon.url, line, &seen.to_string());
    assert_eq!(ended.code, 2);
    let asked = daemon.asked.join().unwrap();
    assert!(
        asked[1].starts_with("ana: PUT /api/v1/flags/shop.form \"39\"{"),
        "{asked:?}"
    );
}

#[test]
fn the_editor_is_asked_and_when_somebody_was_faster_theirs_is_shown_and_yours_is_kept() {
    let mut stale = problem(412, "stale");
    stale.1["now"] = form("old", json!([rule("theirs", "acme")]));
    let daemon = Scripted::answering(vec![(200, form("old", json!([]))), stale]);
    let line = format!("sluicegate flag edit shop.form --url {}", daemon.url);
    let caller = Caller {
        editor: Some("sed -i s/old\\\"$/new\\\"/".to_owned()),
        ..ana()
    };
    let ended = run_as(parse_line(&line).unwrap(), Some("because\n"), "", caller);
    assert_eq!(ended.code, 5, "{}", ended.talk);
    let talk = &ended.talk;
    assert!(
        talk.contains("- value = \"old\"\n+ value = \"new\"\n"),
        "{talk}"
    );
    assert!(
        talk.contains("meanwhile:\n") && talk.contains("+ name = \"theirs\"\n"),
        "{talk}"
    );
    let file = talk.trim_end().rsplit(' ').next().unwrap();
    let yours = std::fs::read_to_string(file).unwrap();
    std::fs::remove_file(file).unwrap();
    assert!(
        yours.starts_with("# shop.form, revision 41") && yours.contains("value = \"new\""),
        "{yours}"
    );
    assert!(daemon.asked.join().unwrap()[1].contains(r#""reason":"because""#));
}

#[test]
fn a_document_that_is_none_is_refused_and_kept_where_it_is() {
    for (text, cure) in [
        ("", "the document is empty"),
        ("valeu = 'new'", "unknown field `valeu`"),
        ("type = 'ratio'", "never changes"),
        ("key = 'other'", "never changes"),
        ("value = ", "line 1"),
    ] {
        let daemon = Scripted::answering(vec![(200, form("old", json!([])))]);
        let ended = pipe_at(
            &daemon.url,
            "sluicegate flag edit shop.form --file - -r x",
            text,
        );
        assert_eq!(ended.code, 2, "{text}: {}", ended.talk);
        assert!(ended.talk.contains(cure), "{text}: {}", ended.talk);
        if let Some((_, file)) = ended.talk.trim_end().rsplit_once("--file ") {
            assert_eq!(std::fs::read_to_string(file).unwrap(), text);
            std::fs::remove_file(file).unwrap();
        }
    }
    let daemon = Scripted::answering(vec![(200, form("old", json!([])))]);
    let ended = type_at(&daemon.url, "sluicegate flag edit shop.form -r x", None);
    assert_eq!(ended.code, 2);
    assert!(
        ended.talk.contains("no terminal for an editor"),
        "{}",
        ended.talk
    );
}

#[test]
fn a_file_of_flags_is_applied_and_the_plan_printed() {
    let plan = json!({"revision": 9, "same": 2, "drifted": [], "left": [], "warnings": ["many flags"], "plan": [
        {"act": "change", "flag": "shop.form", "differs": [{"field": "value", "from": "old", "to": "new"}]}]});
    let daemon = Scripted::answering(vec![(200, plan)]);
    let file = "[[flag]]\nkey = 'shop.form'\nrevision = 4\n[[segment]]\nname = 'beta'\n";
    let line = "sluicegate flag apply - -r x --dry-run --prune";
    let ended = pipe_at(&daemon.url, line, file);
    let wanted = "\
dry run, nothing was changed: 0 to create, 1 to change, 0 to delete, 2 as they are
change shop.form
    value: old -> new
";
    assert_eq!((ended.data.as_str(), ended.code), (wanted, 0));
    assert_eq!(ended.talk, "warning: many flags\n");
    let asked = daemon.asked.join().unwrap();
    let wanted = r#"ana: POST /api/v1/flags/apply?dry_run=true {"flags":[{"key":"shop.form"}],"segments":[{"name":"beta"}],"reason":"x","prune":true}"#;
    assert_eq!(asked, [wanted]);
}

#[test]
fn an_export_is_what_apply_reads() {
    let untouched =
        json!({"key": "queue.a.skip", "kind": "ops", "type": "ratio", "value": 0.0, "revision": 0});
    let page = |member: &str, next: Json| {
        let members = json!([member]);
        (
            200,
            json!({"name": "beta", "by": "account", "member_count": 2, "members": members, "next": next, "revision": 3}),
        )
    };
    let daemon = Scripted::answering(vec![
        (
            200,
            json!({"items": [form("old", json!([rule("b", "b")])), untouched], "next": null}),
        ),
        (200, json!({"items": [{"name": "beta"}], "next": null})),
        page("acme", json!("acme")),
        page("globex", json!(null)),
    ]);
    let ended = type_at(&daemon.url, "sluicegate flag export", None);
    let wanted = "\
[[segment]]
name = \"beta\"
by = \"account\"
members = [\"acme\", \"globex\"]

[[flag]]
key = \"shop.form\"
kind = \"release\"
type = \"string\"
value = \"old\"
choices = [\"old\", \"new\"]
owner = \"shop\"

[[flag.rules]]
name = \"b\"
value = \"new\"

[[flag.rules.when]]
attribute = \"account\"
op = \"in\"
values = [\"b\"]
";
    assert_eq!(
        (ended.code, ended.data.as_str()),
        (0, wanted),
        "{}",
        ended.talk
    );
}

#[test]
fn segments_are_made_changed_shown_and_deleted() {
    let beta = || json!({"name": "beta", "by": "account", "members": ["acme", "globex"], "member_count": 2, "revision": 3});
    for (line, input, script, data, asked) in [
        (
            "create beta acme --file - --when type^=bulk. -r x",
            "# who\nglobex\n\nacme\n",
            vec![(201, beta())],
            "segment beta exists, with 2 members\n",
            r#"ana: PUT /api/v1/segments/beta {"name":"beta","description":"","owner":"","by":"account","members":["acme","globex"],"when":[{"attribute":"type","op":"starts_with","values":["bulk."]}],"reason":"x"}"#,
        ),
        (
            "add beta globex -r x",
            "",
            vec![(200, beta())],
            "added 1 member: segment beta has 2 members\n",
            r#"ana: POST /api/v1/segments/beta/members {"add":["globex"],"reason":"x"}"#,
        ),
        (
            "remove beta a b -r x --dry-run",
            "",
            vec![(200, beta())],
            "dry run, nothing was changed: remove 2 members: segment beta would have 2 members\n",
            r#"ana: POST /api/v1/segments/beta/members?dry_run=true {"remove":["a","b"],"reason":"x"}"#,
        ),
        (
            "list",
            "",
            vec![(200, json!({"items": [beta()], "next": null}))],
            "SEGMENT  MEMBERS  BY       AND WHO  OWNER  WHAT\nbeta           2  account\n",
            "ana: GET /api/v1/segments ",
        ),
        (
            "delete beta -r 'it is over'",
            "",
            vec![(200, beta()), (200, beta())],
            "segment beta is deleted\n",
            "ana: DELETE /api/v1/segments/beta?reason=it%20is%20over \"41\"",
        ),
    ] {
        let daemon = Scripted::answering(script);
        let ended = pipe_at(&daemon.url, &format!("sluicegate segment {line}"), input);
        assert_eq!(
            (ended.data.as_str(), ended.code),
            (data, 0),
            "{line}: {}",
            ended.talk
        );
        assert_eq!(
            daemon.asked.join().unwrap().last().unwrap(),
            asked,
            "{line}"
        );
    }
    for (line, cure) in [
        ("create beta -r x", "nobody would belong to it"),
        ("add beta -r x", "nobody is named"),
        ("add beta --file /nowhere/x -r x", "cannot be read"),
    ] {
        let ended = type_at(
            "http://127.0.0.1:9",
            &format!("sluicegate segment {line}"),
            None,
        );
        assert!(
            ended.code != 0 && ended.talk.contains(cure),
            "{line}: {}",
            ended.talk
        );
    }
}
