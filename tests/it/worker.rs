//! An HTTP worker that writes down what it got *before* it answers, and answers as a test says: well, badly, late or never.
//!
//! Plain sockets, so that it can also do what no server would: cut an answer short, or never end one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::keeper::eventually;

/// How the worker answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    /// This status, at once.
    Status(u16),
    /// 200 after this long.
    Slow(Duration),
    /// 429 with Retry-After in seconds.
    Throttle(u32),
    /// Nothing, ever; the connection stays open.
    Hang,
    /// The connection is closed without a word, after the whole request was read.
    Drop,
    /// The answer breaks off within its body.
    Cut,
    /// 200 with a body that never ends.
    Endless,
    /// A redirect.
    Redirect(String),
}

/// One request as the worker got it.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) at: Instant,
    pub(crate) id: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    /// A header, by its name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

type Decide = dyn Fn(&Got, usize) -> Reply + Send + Sync;

struct Inner {
    got: Mutex<Vec<Got>>,
    times: Mutex<BTreeMap<String, usize>>,
    decide: Mutex<Arc<Decide>>,
    in_hand: AtomicUsize,
    most_at_once: AtomicUsize,
    gone: AtomicBool,
    /// Its open connections, to be cut when it dies.
    open: Mutex<BTreeMap<u16, TcpStream>>,
}

/// The worker. It stops listening when it is dropped.
pub(crate) struct Worker {
    port: u16,
    inner: Arc<Inner>,
}

impl Worker {
    /// A worker that answers 200 at once.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Arc::new(Inner {
            got: Mutex::default(),
            times: Mutex::default(),
            decide: Mutex::new(Arc::new(|_, _| Reply::Status(200))),
            in_hand: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
            open: Mutex::default(),
        });
        listen(listener, &inner);
        Self { port, inner }
    }

    /// Dies as a process does: what it has in hand is never answered, and nobody listens any more. Its ledger stays. Gives how many
    /// connections it had; at most so many requests were on their way.
    pub(crate) fn dies(&self) -> usize {
        self.inner.gone.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let mut open = self
            .inner
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for stream in open.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        std::mem::take(&mut *open).len()
    }

    /// Listens again where it did.
    pub(crate) fn returns(&self) {
        self.inner.gone.store(false, Ordering::Relaxed);
        let listener = eventually("the port is free again", Duration::from_secs(10), || {
            TcpListener::bind(("127.0.0.1", self.port)).map_err(|why| why.to_string())
        });
        listen(listener, &self.inner);
    }

    /// Where jobs are to be posted.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/jobs", self.port)
    }

    /// From now on every job is answered so.
    pub(crate) fn always(&self, reply: Reply) {
        self.decides(move |_, _| reply.clone());
    }

    /// From now on this says how a job is answered, given the job and how often its id came before.
    pub(crate) fn decides(&self, decide: impl Fn(&Got, usize) -> Reply + Send + Sync + 'static) {
        *self
            .inner
            .decide
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(decide);
    }

    /// All that came, in the order in which it came.
    pub(crate) fn got(&self) -> Vec<Got> {
        self.inner
            .got
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How often each id came.
    pub(crate) fn ids(&self) -> BTreeMap<String, usize> {
        let times = self.inner.times.lock();
        times.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests were being answered at once, at most.
    pub(crate) fn most_at_once(&self) -> usize {
        self.inner.most_at_once.load(Ordering::Relaxed)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.inner.gone.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn listen(listener: TcpListener, inner: &Arc<Inner>) {
    let inner = Arc::clone(inner);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if inner.gone.load(Ordering::Relaxed) {
                return;
            }
            let Ok(stream) = stream else { return };
            let inner = Arc::clone(&inner);
            std::thread::spawn(move || {
                let open = |inner: &Inner| {
                    let mut open = inner.open.lock().unwrap_or_else(PoisonError::into_inner);
                    match (stream.peer_addr(), stream.try_clone()) {
                        (Ok(peer), Ok(stream)) if !inner.gone.load(Ordering::Relaxed) => {
                            open.insert(peer.port(), stream);
                            Some(peer.port())
                        }
                        _ => None,
                    }
                };
                let Some(port) = open(&inner) else { return };
                serve(&stream, &inner);
                let mut open = inner.open.lock().unwrap_or_else(PoisonError::into_inner);
                open.remove(&port);
            });
        }
    });
}

/// Serves one connection until it ends. Errors mean that the other side went away: nothing to do.
fn serve(stream: &TcpStream, inner: &Inner) {
    let Ok(mut reader) = stream.try_clone().map(BufReader::new) else {
        return;
    };
    while let Some(got) = read_request(&mut reader) {
        let now = inner.in_hand.fetch_add(1, Ordering::Relaxed) + 1;
        inner.most_at_once.fetch_max(now, Ordering::Relaxed);
        let before = write_down(inner, &got);
        let decide = Arc::clone(&inner.decide.lock().unwrap_or_else(PoisonError::into_inner));
        let reply = decide(&got, before);
        work(stream, inner, &reply);
        // Before the answer is written: whoever has read it may send the next one at once.
        inner.in_hand.fetch_sub(1, Ordering::Relaxed);
        if answer(stream, inner, reply).is_err() {
            return;
        }
    }
}

fn write_down(inner: &Inner, got: &Got) -> usize {
    let mut ledger = inner.got.lock().unwrap_or_else(PoisonError::into_inner);
    ledger.push(got.clone());
    let mut times = inner.times.lock().unwrap_or_else(PoisonError::into_inner);
    let times = times.entry(got.id.clone()).or_default();
    *times += 1;
    *times - 1
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Got> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|text| text.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Got {
        at: Instant::now(),
        id: headers.get("ce-id").cloned().unwrap_or_default(),
        headers,
        body,
    })
}

/// What takes time before an answer.
fn work(stream: &TcpStream, inner: &Inner, reply: &Reply) {
    match reply {
        Reply::Slow(time) => std::thread::sleep(*time),
        Reply::Hang => {
            while !inner.gone.load(Ordering::Relaxed) && still_there(stream) {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        _ => {}
    }
}

/// Gives an error when the connection must not be used again.
fn answer(mut stream: &TcpStream, inner: &Inner, reply: Reply) -> std::io::Result<()> {
    let closed = || Err(std::io::Error::other("closed on purpose"));
    match reply {
        Reply::Status(status) => status_line(stream, status, ""),
        Reply::Slow(_) => status_line(stream, 200, ""),
        Reply::Throttle(seconds) => {
            status_line(stream, 429, &format!("retry-after: {seconds}\r\n"))
        }
        Reply::Redirect(to) => status_line(stream, 302, &format!("location: {to}\r\n")),
        Reply::Hang | Reply::Drop => closed(),
        Reply::Cut => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")?;
            closed()
        }
        Reply::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            while !inner.gone.load(Ordering::Relaxed) {
                stream.write_all(&[b'x'; 1024])?;
                std::thread::sleep(Duration::from_millis(1));
            }
            closed()
        }
    }
}

fn status_line(mut stream: &TcpStream, status: u16, headers: &str) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status} x\r\n{headers}content-length: 0\r\n\r\n");
    stream.write_all(head.as_bytes())
}

fn still_there(stream: &TcpStream) -> bool {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(1)));
    let there = !matches!(stream.peek(&mut [0]), Ok(0));
    let _ = stream.set_read_timeout(None);
    there
}

#[test]
fn the_worker_writes_down_what_it_got_before_it_answers() {
    let worker = Worker::start();
    let seen = Arc::new(AtomicUsize::new(0));
    let by_decide = Arc::clone(&seen);
    worker.decides(move |_, before| {
        by_decide.fetch_add(1, Ordering::Relaxed);
        Reply::Status(if before == 0 { 500 } else { 200 })
    });
    for status in ["500", "200"] {
        let mut stream = TcpStream::connect(("127.0.0.1", worker.port)).unwrap();
        stream
            .write_all(b"POST /jobs HTTP/1.1\r\nce-id: a\r\ncontent-length: 2\r\n\r\n{}")
            .unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert!(answer.ends_with(status.as_bytes()), "{answer:?}");
    }
    assert_eq!(worker.ids(), BTreeMap::from([("a".to_owned(), 2)]));
    assert_eq!(worker.got()[0].body, b"{}");
    assert_eq!(worker.most_at_once(), 1);
}
