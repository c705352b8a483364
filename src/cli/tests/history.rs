//! What was changed, and its undoing: `changes`, `flag history`, `flag undo`, `flag delete`; and why a flag says what it says.

use super::*;
use crate::rules::record::{FIRST, hash};

fn change(revision: u64) -> Json {
    json!({
        "revision": revision, "at": "2026-11-21T11:00:00Z", "by": {"name": "ana", "via": "cli"}, "cause": "operator",
        "reason": "INC-481", "edit": "set", "opening": null, "prev": "00",
        "touched": [{"flag": "a", "before": 0.1, "after": 0.2}],
    })
}

#[test]
fn changes_are_listed_newest_first_and_so_many() {
    for (line, path) in [
        ("changes --limit 2", "/api/v1/changes?limit=2"),
        (
            "changes --flag a --limit 2",
            "/api/v1/changes?flag=a&limit=2",
        ),
        (
            "flag history a --limit 2",
            "/api/v1/flags/a/history?limit=2",
        ),
    ] {
        let page = json!({"items": [change(9), change(8)], "next": "8"});
        let daemon = Scripted::answering(vec![(200, page)]);
        let ended = type_at(&daemon.url, &format!("sluicegate {line}"), None);
        let wanted = "\
REVISION  WHEN                  WHO        WHAT              WHY
       9  2026-11-21 11:00:00Z  ana (cli)  set a 0.1 to 0.2  INC-481
       8  2026-11-21 11:00:00Z  ana (cli)  set a 0.1 to 0.2  INC-481
";
        assert_eq!(
            (ended.data.as_str(), ended.code),
            (wanted, 0),
            "{line}: {}",
            ended.talk
        );
        assert_eq!(daemon.asked.join().unwrap(), [format!("ana: GET {path} ")]);
    }
}

fn chain(count: u64) -> String {
    let mut prev = FIRST.to_owned();
    let mut text = String::new();
    for revision in 1..=count {
        let line = json!({"revision": revision, "reason": "x", "prev": prev}).to_string();
        prev = hash(line.as_bytes());
        text += &format!("{line}\n");
    }
    text
}

#[test]
fn the_chain_is_verified_where_it_comes_from() {
    let sound = chain(3);
    let altered = sound.replacen("\"x\"", "\"y\"", 1);
    for (text, code, said) in [
        (
            &sound,
            0,
            "the chain holds: 3 changes, to revision 3\nlast hash ",
        ),
        (&altered, 1, "revision 2 does not follow"),
    ] {
        let daemon = Scripted::answering(vec![(200, json!(text))]);
        let ended = type_at(&daemon.url, "sluicegate changes verify", None);
        assert_eq!(ended.code, code, "{}", ended.talk);
        assert!(format!("{}{}", ended.data, ended.talk).contains(said));
        let ended = pipe_at(&daemon.url, "sluicegate changes verify --file -", text);
        assert_eq!(ended.code, code, "{}", ended.talk);
        assert_eq!(
            daemon.asked.join().unwrap(),
            ["ana: GET /api/v1/changes?format=jsonl "]
        );
    }
    let daemon = Scripted::answering(vec![(200, json!(sound))]);
    let printed = type_at(&daemon.url, "sluicegate changes --jsonl", None);
    assert_eq!((printed.code, printed.data), (0, sound));
    let daemon = Scripted::answering(vec![problem(503, "store")]);
    assert_eq!(
        type_at(&daemon.url, "sluicegate changes verify", None).code,
        1
    );
}

#[test]
fn a_change_is_undone_and_a_flag_deleted() {
    let flag = || json!({"key": "a", "kind": "ops", "type": "ratio", "value": 0.1, "now": 0.1, "revision": 41, "openings": []});
    for (line, script, data, asked) in [
        (
            "undo a -r x",
            vec![(200, flag())],
            "a is as it was, at 10%\n",
            r#"ana: POST /api/v1/flags/a/undo {"reason":"x"}"#,
        ),
        (
            "undo a --revision 7 --force -r x -n",
            vec![(200, json!(null))],
            "dry run, nothing was changed: a would be gone again: it did not exist before\n",
            r#"ana: POST /api/v1/flags/a/undo?dry_run=true {"reason":"x","revision":7,"force":true}"#,
        ),
        (
            "delete a -r x --force",
            vec![(200, flag()), (200, flag())],
            "a is deleted\n",
            "ana: DELETE /api/v1/flags/a?reason=x&force=true \"41\"",
        ),
    ] {
        let daemon = Scripted::answering(script);
        let ended = type_at(&daemon.url, &format!("sluicegate flag {line}"), None);
        assert_eq!(
            (ended.data.as_str(), ended.code),
            (data, 0),
            "{line}: {}",
            ended.talk
        );
        assert_eq!(daemon.asked.join().unwrap().last().unwrap(), asked);
    }
    let mut stale = problem(412, "stale");
    stale.1["now"] = flag();
    let daemon = Scripted::answering(vec![(200, flag()), stale]);
    assert_eq!(
        type_at(&daemon.url, "sluicegate flag delete a -r x", None).code,
        5
    );
}

#[test]
fn a_flag_is_explained_rule_by_rule() {
    let flag = json!({"key": "a", "kind": "release", "type": "boolean", "value": false, "now": false, "revision": 41, "openings": []});
    let explained = json!({"flag": "a", "revision": 41, "value": true, "reason": "split ring", "not_asked": ["last"], "steps": [
        {"rule": "acme", "holds": false, "decides": false, "clauses": [
            {"clause": {"attribute": "account", "op": "in", "values": ["acme"]}, "found": "globex", "holds": false}]},
        {"rule": "ring", "holds": true, "decides": true, "clauses": [
            {"clause": {"segment": "beta"}, "found": "globex", "holds": true, "through": "member"}],
         "split": {"by": "account", "key": "globex", "bucket": 17, "of": 100_000, "shares": [
            {"value": true, "share": 0.05, "below": 5_000, "drawn": true}]}},
    ]});
    let daemon = Scripted::answering(vec![(200, flag), (200, explained)]);
    let ended = type_at(
        &daemon.url,
        "sluicegate flag explain a --context account=globex",
        None,
    );
    let wanted = "\
a says true to account=globex: split ring (revision 41)
  rule acme: does not hold
    no  account=acme   found globex
  rule ring: decides
    yes segment:beta   found globex, a member
    account=globex drew 17 of 100000, in the 5% below 5000 for true
  not asked any more: last
";
    assert_eq!(
        (ended.data.as_str(), ended.code),
        (wanted, 0),
        "{}",
        ended.talk
    );
    let asked = daemon.asked.join().unwrap();
    assert_eq!(asked[1], "ana: GET /api/v1/explain?flag=a&account=globex ");
}

#[test]
fn a_queue_is_explained_valve_by_valve() {
    let told = json!({"queue": "orders", "revision": 9, "verdict": "shed", "reason": "skipped", "opening": "o7", "rule": null,
        "links": [{"asks": "max_age", "found": "any age may pass", "decides": false},
                  {"asks": "skip", "found": "30% are skipped; it drew 17", "decides": true}],
        "whole_queue": {"rate": "50/s"}, "target": {"mode": null, "timeout": "30s"},
        "known": {"from": "query", "at": null, "unused": ["acount"], "unknown": [], "note": "only what the query tells is known"}});
    let daemon = Scripted::answering(vec![(200, told)]);
    let line = "sluicegate explain orders -c acount=acme -c id=17";
    let ended = type_at(&daemon.url, line, None);
    let wanted = "\
orders: shed (skipped), by the opening o7 (revision 9)
  max_age: any age may pass
  skip: 30% are skipped; it drew 17 -> decides
  for the whole queue: rate 50/s
";
    assert_eq!((ended.data.as_str(), ended.code), (wanted, 0));
    assert!(ended.talk.contains("acount: perhaps misspelt"));
    assert!(ended.talk.contains("only what"));
    let wanted = "ana: GET /api/v1/explain?queue=orders&acount=acme&id=17 ";
    assert_eq!(daemon.asked.join().unwrap(), [wanted]);
}

#[test]
fn a_value_is_previewed_for_everybody_or_for_some() {
    for (more, body) in [
        ("", r#"{"value":"30%"}"#),
        (
            " --when segment:beta",
            r#"{"open":{"value":"30%","when":[{"segment":"beta"}]}}"#,
        ),
    ] {
        let summary = "0 -> 3,012 of the last 10,000 messages are shed";
        let told = json!({"flag": "queue.orders.skip", "revision": 9, "summary": summary,
                          "effect": {"most_touched": [{"key": "acme", "messages": 12}]}, "confirm": 30});
        let daemon = Scripted::answering(vec![skip_flag(json!([])), (200, told)]);
        let line = format!("sluicegate flag preview queue.orders.skip 30%{more}");
        let ended = type_at(&daemon.url, &line, None);
        let wanted = format!("{summary}\nMOST TOUCHED  MESSAGES\nacme                12\n");
        assert_eq!((ended.data.as_str(), ended.code), (wanted.as_str(), 0));
        assert!(ended.talk.contains("--yes"), "{}", ended.talk);
        let asked = daemon.asked.join().unwrap();
        let path = "/api/v1/flags/queue.orders.skip/preview";
        assert_eq!(asked[1], format!("ana: POST {path} {body}"));
    }
}
