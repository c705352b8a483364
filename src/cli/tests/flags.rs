//! `flag`, and the manners of every write.

use super::*;

const OPEN: &str = "sluicegate flag open queue.orders.skip 70%";

fn opened() -> (u16, Json) {
    let opening = json!({
        "id": "o42", "values": {"queue.orders.skip": 0.7}, "owner": "ana", "reason": "INC-481",
        "opened_at": "2026-11-21T11:00:00Z", "ends_at": "2026-11-21T11:30:00Z",
    });
    (201, opening)
}

#[test]
fn an_opening_is_asked_for_as_typed() {
    let daemon = Scripted::answering(vec![skip_flag(json!([])), opened()]);
    let ended = type_at(
        &daemon.url,
        &format!("{OPEN} --for 5m --reason INC-481"),
        None,
    );
    assert_eq!(ended.code, 0, "{}", ended.talk);
    assert!(
        ended
            .data
            .starts_with("o42 is open until 2026-11-21 11:30:00Z"),
        "{}",
        ended.data
    );
    assert!(
        ended.data.contains("queue.orders.skip    70%   0%"),
        "{}",
        ended.data
    );
    assert_eq!(
        daemon.asked.join().unwrap(),
        [
            "ana: GET /api/v1/flags/queue.orders.skip ",
            r#"ana: POST /api/v1/openings {"values":{"queue.orders.skip":"70%"},"reason":"INC-481","for":"5m"}"#,
        ]
    );
}

#[test]
fn a_big_move_is_confirmed_by_yes_or_by_typing_its_size_or_not_at_all() {
    for (yes, person, code) in [
        (" --yes", None, 0),
        ("", Some("5m\n70\n"), 0),
        ("", Some("5m\n70%\n"), 0),
        (" --dry-run", None, 0),
        ("", None, 6),
        ("", Some("5m\nyes\n"), 6),
        ("", Some("5m\n"), 6),
    ] {
        let mut script = vec![skip_flag(json!([])), problem(409, "confirm-size")];
        if code == 0 {
            script.push(opened());
        }
        let daemon = Scripted::answering(script);
        let ended = type_at(&daemon.url, &format!("{OPEN} -r x{yes}"), person);
        assert_eq!(ended.code, code, "{yes} {person:?}: {}", ended.talk);
        let asked = daemon.asked.join().unwrap();
        let confirmed = asked.last().unwrap().contains(r#""confirm":70"#);
        assert_eq!(confirmed, code == 0, "{asked:?}");
        if code == 6 {
            assert!(ended.talk.contains("--yes"), "{}", ended.talk);
        }
    }
}

#[test]
fn nobody_is_asked_where_no_terminal_is() {
    for line in [
        "sluicegate flag set a 1",
        OPEN,
        "sluicegate flag close o1",
        "sluicegate flag create a --type integer --value 1",
        "sluicegate flag edit a --file -",
        "sluicegate flag rule add a r --value 1",
        "sluicegate flag rule remove a r",
        "sluicegate flag extend o1 --for 5m",
        "sluicegate flag undo a",
        "sluicegate flag delete a",
        "sluicegate flag apply a.toml",
        "sluicegate segment create s a",
        "sluicegate segment add s a",
        "sluicegate segment remove s a",
        "sluicegate segment delete s",
        "sluicegate queue pause orders",
        "sluicegate queue resume orders",
    ] {
        // Nothing is sent: no daemon answers there.
        let ended = type_at("http://127.0.0.1:9", line, None);
        assert_eq!((ended.code, ended.data.as_str()), (2, ""), "{line}");
        assert!(ended.talk.contains("--reason"), "{line}: {}", ended.talk);
    }
}

#[test]
fn flags_and_values_that_are_no_pairs_are_a_usage_error() {
    for (pairs, cure) in [
        ("a 1 b", "b has no value"),
        ("a 1 a 2", "a is named twice"),
        ("a 1 ö 2", "visible ASCII"),
    ] {
        let line = format!("sluicegate flag open {pairs} -r x");
        let ended = type_at("http://127.0.0.1:9", &line, None);
        assert_eq!(ended.code, 2, "{pairs}");
        assert!(ended.talk.contains(cure), "{pairs}: {}", ended.talk);
    }
}

#[test]
fn a_person_is_asked_for_reason_and_end() {
    let daemon = Scripted::answering(vec![skip_flag(json!([])), opened()]);
    let ended = type_at(&daemon.url, OPEN, Some("INC-481\n\n"));
    assert_eq!(ended.code, 0, "{}", ended.talk);
    let asked = daemon.asked.join().unwrap();
    let wanted = r#""reason":"INC-481","for":"30m"}"#;
    assert!(asked[1].ends_with(wanted), "{asked:?}");
    assert!(ended.talk.contains("why?") && ended.talk.contains("[30m]"));
    let daemon = Scripted::answering(vec![skip_flag(json!([]))]);
    assert_eq!(
        type_at(&daemon.url, OPEN, Some("\n")).code,
        2,
        "no reason, no change"
    );
}

#[test]
fn each_refusal_has_its_exit_code_and_cannot_drive_the_terminal() {
    for (status, word, code) in [
        (400, "malformed-request", 2),
        (403, "cross-site", 4),
        (404, "no-such-flag", 3),
        (412, "exists", 5),
        (421, "wrong-host", 4),
        (422, "bad-value", 2),
        (422, "limit", 6),
        (500, "broken", 1),
        (503, "store", 1),
    ] {
        let daemon = Scripted::answering(vec![problem(status, word)]);
        let ended = type_at(&daemon.url, "sluicegate flag get a", None);
        let wanted = "error: because\u{fffd}[2J\n";
        assert_eq!(
            (ended.code, ended.talk.as_str()),
            (code, wanted),
            "{status} {word}"
        );
        assert_eq!(ended.data, "");
    }
}

#[test]
fn whoever_was_faster_is_shown() {
    let mut theirs = skip_flag(json!([])).1;
    theirs["value"] = json!(0.3);
    theirs["revision"] = json!(44);
    let mut stale = problem(412, "stale");
    stale.1["now"] = theirs;
    let daemon = Scripted::answering(vec![skip_flag(json!([])), stale]);
    let ended = type_at(
        &daemon.url,
        "sluicegate flag set queue.orders.skip 10% -r x",
        None,
    );
    assert_eq!(ended.code, 5);
    assert!(
        ended
            .talk
            .contains("you saw 0% (revision 41), now it is 30% (revision 44)"),
        "{}",
        ended.talk
    );
    let asked = daemon.asked.join().unwrap();
    assert!(
        asked[1].contains("PATCH /api/v1/flags/queue.orders.skip \"41\"{"),
        "{asked:?}"
    );
}

#[test]
fn an_object_is_replaced_not_merged() {
    let flag = json!({
        "key": "load.plan", "kind": "config", "type": "object", "value": {"a": 1}, "now": {"a": 1}, "revision": 41,
        "openings": [],
    });
    let daemon = Scripted::answering(vec![(200, flag.clone()), (200, flag)]);
    let url = &daemon.url;
    let words = [
        "sluicegate",
        "flag",
        "set",
        "load.plan",
        r#"{"b":2}"#,
        "-r",
        "x",
        "--url",
        url,
    ];
    let ended = run(Cli::try_parse_from(words).unwrap().into(), None);
    assert_eq!(ended.code, 0, "{}", ended.talk);
    let asked = daemon.asked.join().unwrap();
    assert!(
        asked[1].starts_with("ana: PUT /api/v1/flags/load.plan \"41\"{"),
        "{asked:?}"
    );
    assert!(
        asked[1].contains(r#""kind":"config","type":"object","value":{"b":2}"#),
        "{asked:?}"
    );
}

#[test]
fn nobody_there_and_somebody_else_there_are_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let ended = type_at(&format!("http://{closed}"), "sluicegate queue list", None);
    assert_eq!(ended.code, 7);
    assert!(
        ended.talk.contains("sluicegate demo") && ended.talk.contains("--url"),
        "{}",
        ended.talk
    );

    let daemon = Scripted::answering(vec![(200, json!({"hello": "world"}))]);
    let ended = type_at(&daemon.url, "sluicegate flag get a", None);
    assert_eq!(ended.code, 1);
    assert!(ended.talk.contains("of one version"), "{}", ended.talk);
}

#[test]
fn lists_are_read_to_their_last_page() {
    let flag = |key: &str| json!({"key": key, "kind": "ops", "type": "rate", "value": null, "now": null, "revision": 0, "openings": []});
    let pages = vec![
        (
            200,
            json!({"items": [flag("queue.a.rate")], "next": "queue.a/rate"}),
        ),
        (200, json!({"items": [flag("queue.b.rate")], "next": null})),
    ];
    let daemon = Scripted::answering(pages);
    let ended = type_at(&daemon.url, "sluicegate flag list", None);
    let wanted = "\
FLAG          VALUE  TYPE  OPENING  ENDS  WHY
queue.a.rate   none  rate
queue.b.rate   none  rate
";
    assert_eq!(
        (ended.code, ended.data.as_str()),
        (0, wanted),
        "{}",
        ended.talk
    );
    let asked = daemon.asked.join().unwrap();
    assert_eq!(asked[1], "ana: GET /api/v1/flags?cursor=queue.a%2Frate ");
}

#[test]
fn closing_by_flag_ends_all_that_lies_on_it_and_tells_how_far_it_came() {
    let two = || skip_flag(json!([pausing("o7", true), pausing("o9", true)]));
    let closed = (200, pausing("o7", true));
    let line = "sluicegate flag close queue.orders.skip -r over";

    let daemon = Scripted::answering(vec![two(), closed.clone(), closed.clone()]);
    let ended = type_at(&daemon.url, line, None);
    assert_eq!((ended.code, ended.data.as_str()), (0, "closed: o7, o9\n"));

    let daemon = Scripted::answering(vec![two(), closed.clone(), problem(503, "store")]);
    let ended = type_at(&daemon.url, line, None);
    assert_eq!(ended.code, 1);
    assert!(
        ended.talk.contains("closed before that: o7"),
        "{}",
        ended.talk
    );

    let daemon = Scripted::answering(vec![skip_flag(json!([]))]);
    let ended = type_at(&daemon.url, line, None);
    assert_eq!(ended.code, 3);
    assert!(ended.talk.contains("no opening lies on"), "{}", ended.talk);

    let daemon = Scripted::answering(vec![closed]);
    assert_eq!(
        type_at(&daemon.url, "sluicegate flag close o7 -r over", None).code,
        0
    );
    let asked = daemon.asked.join().unwrap();
    assert_eq!(
        asked,
        [r#"ana: POST /api/v1/openings/o7/close {"reason":"over"}"#]
    );
}

#[test]
fn an_opening_may_be_for_some_and_end_in_steps() {
    let mut opening = opened();
    opening.1["when"] = json!([{"attribute": "type", "op": "starts_with", "values": ["bulk."]}, {"segment": "beta"}]);
    let daemon = Scripted::answering(vec![skip_flag(json!([])), opening]);
    let line = "sluicegate flag open queue.orders.skip 30% --when type^=bulk. --when segment:beta --for 1h --restore ramp:10m -r x";
    let ended = type_at(&daemon.url, line, None);
    assert_eq!(ended.code, 0, "{}", ended.talk);
    let wanted = "o42 is open for type^=bulk. and segment:beta until 2026-11-21 11:30:00Z";
    assert!(ended.data.starts_with(wanted), "{}", ended.data);
    let wanted = r#"{"values":{"queue.orders.skip":"30%"},"reason":"x","for":"1h","when":[{"attribute":"type","op":"starts_with","values":["bulk."]},{"segment":"beta"}],"restore":{"ramp":"10m"}}"#;
    let asked = daemon.asked.join().unwrap();
    assert!(asked[1].ends_with(wanted), "{asked:?}");
}

#[test]
fn an_opening_is_extended_and_shown_with_whom_it_is_for() {
    let daemon = Scripted::answering(vec![opened()]);
    let ended = type_at(
        &daemon.url,
        "sluicegate flag extend o42 --for 5m -r on",
        None,
    );
    assert!(
        ended.data.starts_with("o42 ends 2026-11-21 11:30:00Z"),
        "{}{}",
        ended.data,
        ended.talk
    );
    let wanted = r#"ana: POST /api/v1/openings/o42/extend {"reason":"on","for":"5m"}"#;
    assert_eq!(daemon.asked.join().unwrap(), [wanted]);

    let mut over = pausing("o7", true);
    over["when"] = json!([{"segment": "beta"}]);
    let daemon = Scripted::answering(vec![skip_flag(json!([over]))]);
    let ended = type_at(&daemon.url, "sluicegate flag get queue.orders.skip", None);
    assert!(ended.data.contains("segment:beta"), "{}", ended.data);
}

#[test]
fn a_program_gets_json_of_failures_too() {
    let daemon = Scripted::answering(vec![problem(404, "no-such-flag")]);
    let ended = type_at(&daemon.url, "sluicegate flag get a --json", None);
    let said: Json = serde_json::from_str(&ended.talk).unwrap();
    assert_eq!((ended.code, &said["error"]["exit"]), (3, &json!(3)));
    assert_eq!(said["error"]["problem"]["type"], "/problems/no-such-flag");
    let ended = type_at("http://127.0.0.1:9", "sluicegate flag set a 1 --json", None);
    let said: Json = serde_json::from_str(&ended.talk).unwrap();
    assert_eq!(said["error"]["exit"], 2);
}

#[test]
fn the_token_is_shown_to_the_daemon_alone() {
    let daemon = Scripted::answering(vec![problem(401, "unauthorized")]);
    let line = format!("sluicegate flag get a --url {}", daemon.url);
    let caller = Caller {
        token: Some("sg_secret".to_owned()),
        ..ana()
    };
    let ended = run_as(parse_line(&line).unwrap(), None, "", caller);
    assert_eq!(ended.code, 4);
    let asked = daemon.asked.join().unwrap();
    assert!(asked[0].contains("<Bearer sg_secret>"), "{asked:?}");
    assert!(!ended.talk.contains("sg_secret") && !ended.data.contains("sg_secret"));
}
