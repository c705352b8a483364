//! The command line as a whole, against a daemon that gives scripted answers: what is asked, what is printed, how it ends.

use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value as Json, json};

use super::*;

mod documents;
mod flags;
mod grammar;
mod history;
mod queues;
mod relieve;
mod router;
mod whole;

/// Words of a line as a shell would split them, as far as the examples need it.
fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = None;
    for c in line.chars() {
        match (c, quoted) {
            ('"' | '\'', None) => quoted = Some(c),
            (_, Some(quote)) if c == quote => quoted = None,
            (' ', None) => words.push(String::new()),
            _ => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn parse_line(line: &str) -> Result<Command, clap::Error> {
    Cli::try_parse_from(split(line)).map(Command::from)
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
    run(parse_line(&format!("{line} --url {url}")).unwrap(), person)
}

/// Carries out what was typed.
fn run(command: Command, person: Option<&str>) -> Ended {
    run_as(command, person, "", ana())
}

/// Somebody with a name.
fn ana() -> Caller {
    Caller {
        user: Some("ana".to_owned()),
        ..Caller::default()
    }
}

/// Types `line` at the daemon at `url` with `input` as standard input.
fn pipe_at(url: &str, line: &str, input: &str) -> Ended {
    let command = parse_line(&format!("{line} --url {url}")).unwrap();
    run_as(command, None, input, ana())
}

/// Carries out what `caller` typed, with `input` as standard input.
fn run_as(command: Command, person: Option<&str>, input: &str, caller: Caller) -> Ended {
    let Command::Client(command) = command else {
        panic!("{command:?} asks no daemon");
    };
    let (data, talk) = (Sheet::default(), Sheet::default());
    let person = person.map(|text| Box::new(Cursor::new(text.to_owned())) as Box<dyn BufRead>);
    let input = Cursor::new(input.to_owned());
    let mut console = Console::new(Box::new(data.clone()), Box::new(talk.clone()), person)
        .reading(Box::new(input));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ended = runtime.block_on(carry_out(&command, &caller, &mut console));
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
    // A text is sent as it is.
    let text = body
        .as_str()
        .map_or_else(|| body.to_string(), str::to_owned);
    let length = text.len();
    write!(
        reader.get_mut(),
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\netag: \"41\"\r\ncontent-length: {length}\r\n\r\n{text}"
    )
    .unwrap();
    let request = head[0].trim_end_matches(" HTTP/1.1");
    let tag = header("if-match").unwrap_or_default();
    let user = header("sluicegate-user").unwrap_or_default();
    let bearer = header("authorization").map_or_else(String::new, |shown| format!("<{shown}>"));
    format!(
        "{user}: {request} {bearer}{tag}{}",
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

fn problem(status: u16, word: &str) -> (u16, Json) {
    let body = json!({"type": format!("/problems/{word}"), "status": status, "detail": "because\u{1b}[2J", "size": 70});
    (status, body)
}

fn pausing(id: &str, value: bool) -> Json {
    json!({"id": id, "values": {"queue.orders.pause": value}, "owner": "ana", "reason": "x",
           "opened_at": "2026-11-21T11:00:00Z", "ends_at": "2026-11-21T11:30:00Z"})
}
