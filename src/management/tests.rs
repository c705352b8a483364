//! The client against servers that answer badly, or not at all.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::client::{Client, Trouble};
use super::told::QueueTold;
use crate::config::Management;
use crate::config::secret::Secret;

fn client(url: &str) -> Client {
    Client::new(&Management {
        url: url.to_owned(),
        user: "gate".to_owned(),
        password: Secret::new("canary".to_owned()),
        ca_file: None,
    })
    .unwrap()
}

/// A server that gives every request the same answer, and what it was asked first.
fn serving(answer: Vec<u8>) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4_096];
            let length = stream.read(&mut head).unwrap_or(0);
            let _ = tell.send(String::from_utf8_lossy(&head[..length]).into_owned());
            // The other side may have seen enough.
            let _ = stream.write_all(&answer);
        }
    });
    (url, asked)
}

async fn asked(answer: &str) -> Result<Option<QueueTold>, Trouble> {
    let (url, _asked) = serving(answer.as_bytes().to_vec());
    client(&url).queue("/", "orders").await
}

#[tokio::test]
async fn bad_answers_are_told_apart_and_none_is_believed() {
    let told = asked("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await;
    assert!(matches!(told, Err(Trouble::Denied(401))), "{told:?}");
    let html = "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n<html></html>";
    for answer in [
        html,
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n",
    ] {
        let told = asked(answer).await;
        assert!(
            matches!(told, Err(Trouble::Unreadable(_))),
            "{answer}: {told:?}"
        );
    }
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{",
        "nonsense\r\n\r\n",
    ] {
        let told = asked(answer).await;
        assert!(
            matches!(told, Err(Trouble::Unreachable(_))),
            "{answer}: {told:?}"
        );
    }
    let told = asked("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
    assert!(matches!(told, Ok(None)), "{told:?}");
}

#[tokio::test]
async fn an_answer_without_end_is_read_no_further_than_four_mebibytes() {
    let mut answer = b"HTTP/1.1 200 OK\r\n\r\n\"".to_vec();
    answer.resize(16 << 20, b' ');
    let (url, _asked) = serving(answer);
    let told = client(&url).queue("/", "orders").await;
    assert!(
        matches!(&told, Err(Trouble::Unreadable(why)) if why.contains("4 MiB")),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_never_answers_is_waited_for_five_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let told = client(&url).queue("/", "orders").await;
    assert!(
        matches!(&told, Err(Trouble::Unreachable(why)) if why.contains("within 5 s")),
        "{told:?}"
    );
    drop(listener);
}

#[tokio::test]
async fn names_are_encoded_the_password_is_sent_and_never_told() {
    let (url, asked) = serving(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".to_vec());
    let client = client(&url);
    let trouble = client.queue("a/b", "or ders?x").await.unwrap_err();
    let request = asked.recv().unwrap();
    assert!(
        request.starts_with("GET /api/queues/a%2Fb/or%20ders%3Fx HTTP/1.1"),
        "{request}"
    );
    // gate:canary
    assert!(request.contains("Basic Z2F0ZTpjYW5hcnk="), "{request}");
    let shown = format!("{trouble}{trouble:?}{client:?}");
    assert!(!shown.contains("canary"), "{shown}");
}
