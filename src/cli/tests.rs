//! The command line as a whole: what parses, what help says, and how each answer of a daemon ends a command.

use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value as Json, json};

use super::*;

/// Words of a line as a shell would split them, as far as the examples need it.
fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn parse_line(line: &str) -> Result<Command, clap::Error> {
    Cli::try_parse_from(split(line)).map(Command::from)
}

#[test]
fn the_grammar_holds_together() {
    Cli::command().debug_assert();
}

/// `debug` is part of what the parsed command says of itself.
fn parses(line: &str, debug: &str) {
    let command = parse_line(line).unwrap_or_else(|why| panic!("{line}: {why}"));
    let text = format!("{command:?}");
    assert!(text.contains(debug), "{line}: {debug} is not in {text}");
}

#[test]
fn what_people_type_is_understood() {
    parses(
        "sluicegate run --config a.toml",
        r#"Run { config: "a.toml" }"#,
    );
    parses("sluicegate demo", "listen: 127.0.0.1:7070, seconds: None");
    parses(
        "sluicegate demo --seconds 5 -q",
        "seconds: Some(5), quiet: true",
    );
    parses(
        "sluicegate check -c a.toml --connect --json",
        "connect: true, json: true",
    );
    parses("sluicegate schema", "Schema");
    parses(
        "sluicegate --url http://gate:1 flag list",
        r#"BaseUrl("http://gate:1")"#,
    );
    parses(
        "sluicegate flag list --url http://gate:1/ --json",
        "json: true",
    );
    parses("sluicegate flag set a -3 -r x", r#"value: "-3""#);
    parses(
        "sluicegate flag open a -0.5 b 2 --for 1m30s",
        r#"["a", "-0.5", "b", "2"]"#,
    );
    parses("sluicegate flag open a 70% -yn", "yes: true, dry_run: true");
    parses("sluicegate queue pause billing/orders", "billing/orders");
    parses("sluicegate completions zsh", "Zsh");
}

#[test]
fn what_cannot_be_meant_is_a_usage_error_with_its_cure() {
    for (line, cure) in [
        ("sluicegate", "Usage:"),
        ("sluicegate run", "--config"),
        ("sluicegate fly", "unrecognized subcommand"),
        ("sluicegate flag lst", "'list'"),
        ("sluicegate demo --seconds 0", "not in 1.."),
        ("sluicegate flag open a", "KEY VALUE"),
        (
            "sluicegate flag open a 1 --for soon",
            "write a number and a unit",
        ),
        ("sluicegate flag open a 1 --until tomorrow", "--until"),
        (
            "sluicegate flag open a 1 --for 1m --until 2026-11-21T18:00:00Z",
            "cannot be used with",
        ),
        ("sluicegate flag create a --type ration --value 1", "ratio"),
        ("sluicegate flag create a --type ratio", "--value"),
        (
            "sluicegate flag list --url https://gate",
            "https is not spoken",
        ),
        (
            "sluicegate flag list --url gate:7070",
            "http://127.0.0.1:7070",
        ),
        ("sluicegate queue pause", "<NAME>"),
        ("sluicegate completions cobol", "possible values"),
    ] {
        let error = parse_line(line).map(|_| ()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(cure), "{line}: {error}");
    }
}

#[test]
fn every_command_shows_examples_and_they_parse() {
    fn walk(command: &mut clap::Command, path: &str) {
        let help = command.render_help().to_string();
        let lead = format!("  {path}");
        let text = command.get_after_help().map(ToString::to_string);
        let text = text.unwrap_or_default();
        let examples: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("  sluicegate "))
            .collect();
        assert!(help.contains("Examples:"), "{path}");
        assert!(
            examples.iter().any(|line| line.starts_with(&lead)),
            "{path}"
        );
        for line in examples {
            assert!(line.len() <= 96, "too long for a terminal: {line}");
            let typed = line.trim().split(" > ").next().unwrap();
            parse_line(typed).unwrap_or_else(|why| panic!("{typed}: {why}"));
        }
        let below = command.get_subcommands_mut();
        for below in below.filter(|below| below.get_name() != "help") {
            let path = format!("{path} {}", below.get_name());
            walk(below, &path);
        }
    }
    walk(&mut Cli::command(), "sluicegate");
}

#[test]
fn help_lists_every_valve_with_its_help_and_all_exit_codes() {
    let help = Cli::command().render_long_help().to_string();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for valve in crate::rules::valve::Valve::ALL {
        let line = words(&format!("{} {}", valve.name(), valve.facts().help));
        assert!(words(&help).contains(&line), "{line}");
    }
    for exit in [
        Exit::Failed,
        Exit::Usage,
        Exit::NotFound,
        Exit::Denied,
        Exit::Conflict,
        Exit::Refused,
        Exit::Unreachable,
    ] {
        assert!(help.contains(&format!("  {} ", exit as u8)), "{exit:?}");
    }
}

#[test]
fn types_and_kinds_are_those_of_the_rules() {
    use crate::rules::flag::{Kind, ValueType};
    for word in help::TYPES {
        serde_json::from_value::<ValueType>(json!(word)).unwrap();
    }
    for word in help::KINDS {
        serde_json::from_value::<Kind>(json!(word)).unwrap();
    }
}

/// A sink that a test can read.
#[derive(Clone, Default)]
struct Sheet(Arc<Mutex<Vec<u8>>>);

impl Write for Sheet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sheet {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// How a command ended.
struct Ended {
    code: u8,
    data: String,
    talk: String,
}

/// Types `line` at the daemon at `url`; `person` answers questions, if there is one.
fn type_at(url: &str, line: &str, person: Option<&str>) -> Ended {
    let Command::Client(command) = parse_line(&format!("{line} --url {url}")).unwrap() else {
        panic!("{line} asks no daemon");
    };
    let (data, talk) = (Sheet::default(), Sheet::default());
    let person = person.map(|text| Box::new(Cursor::new(text.to_owned())) as Box<dyn BufRead>);
    let mut console = Console::new(Box::new(data.clone()), Box::new(talk.clone()), person);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ended = runtime.block_on(carry_out(&command, Some("ana"), &mut console));
    console.finish().unwrap();
    Ended {
        code: ended.map_or_else(|exit| exit as u8, |()| 0),
        data: data.text(),
        talk: talk.text(),
    }
}

/// A daemon that gives these answers in turn and tells what it was asked: `METHOD path body`.
struct Scripted {
    url: String,
    asked: JoinHandle<Vec<String>>,
}

impl Scripted {
    fn answering(script: Vec<(u16, Json)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            let answer_one = |(status, body): (u16, Json)| answer(&listener, status, &body);
            script.into_iter().map(answer_one).collect()
        });
        Self { url, asked }
    }
}

fn answer(listener: &TcpListener, status: u16, body: &Json) -> String {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        head.iter()
            .filter_map(|line| line.split_once(": "))
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
    };
    let length = header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut sent = vec![0; length];
    reader.read_exact(&mut sent).unwrap();
    let text = body.to_string();
    let length = text.len();
    write!(
        reader.get_mut(),
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\netag: \"41\"\r\ncontent-length: {length}\r\n\r\n{text}"
    )
    .unwrap();
    let request = head[0].trim_end_matches(" HTTP/1.1");
    let tag = header("if-match").unwrap_or_default();
    let user = header("sluicegate-user").unwrap_or_default();
    format!(
        "{user}: {request} {tag}{}",
        String::from_utf8(sent).unwrap()
    )
}

fn skip_flag(openings: Json) -> (u16, Json) {
    let flag = json!({
        "key": "queue.orders.skip", "kind": "ops", "type": "ratio", "value": 0.0, "now": 0.0, "revision": 41,
        "openings": openings,
    });
    (200, flag)
}

fn opened() -> (u16, Json) {
    let opening = json!({
        "id": "o42", "values": {"queue.orders.skip": 0.7}, "owner": "ana", "reason": "INC-481",
        "opened_at": "2026-11-21T11:00:00Z", "ends_at": "2026-11-21T11:30:00Z",
    });
    (201, opening)
}

fn problem(status: u16, word: &str) -> (u16, Json) {
    let body = json!({"type": format!("/problems/{word}"), "status": status, "detail": "because\u{1b}[2J", "size": 70});
    (status, body)
}

const OPEN: &str = "sluicegate flag open queue.orders.skip 70%";

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
    let Command::Client(command) = Command::from(Cli::try_parse_from(words).unwrap()) else {
        panic!("flag set asks a daemon");
    };
    let mut console = Console::new(Box::new(io::sink()), Box::new(io::sink()), None);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(carry_out(&command, None, &mut console))
        .unwrap();
    let asked = daemon.asked.join().unwrap();
    assert!(
        asked[1].starts_with(": PUT /api/v1/flags/load.plan \"41\"{\"value\":{\"b\":2}"),
        "{asked:?}"
    );
    assert!(
        asked[1].contains(r#""kind":"config","type":"object""#),
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
