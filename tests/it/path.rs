//! A network path that fails on request: a relay in front of a port that can stall either way, cut, or stay mute.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[derive(Default)]
struct Inner {
    stall_up: AtomicBool,
    stall_down: AtomicBool,
    mute: AtomicBool,
    gone: AtomicBool,
    accepted: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

/// The relay. Everything it holds is closed when it is dropped.
pub(crate) struct Path {
    port: u16,
    inner: Arc<Inner>,
}

impl Path {
    /// A path to this port of 127.0.0.1.
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Arc::new(Inner::default());
        let of_thread = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if of_thread.gone.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { return };
                of_thread.accepted.fetch_add(1, Ordering::Relaxed);
                relay(&of_thread, stream, target);
            }
        });
        Self { port, inner }
    }

    /// The port to connect to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many connections came.
    pub(crate) fn accepted(&self) -> usize {
        self.inner.accepted.load(Ordering::Relaxed)
    }

    /// From now on nothing passes from the client to the broker (or again).
    pub(crate) fn stall_up(&self, stalled: bool) {
        self.inner.stall_up.store(stalled, Ordering::Relaxed);
    }

    /// From now on nothing passes from the broker to the client (or again).
    pub(crate) fn stall_down(&self, stalled: bool) {
        self.inner.stall_down.store(stalled, Ordering::Relaxed);
    }

    /// From now on new connections are accepted and nobody ever speaks (or again).
    pub(crate) fn mute(&self, mute: bool) {
        self.inner.mute.store(mute, Ordering::Relaxed);
    }

    /// Cuts every connection now, in the middle of whatever is under way.
    pub(crate) fn cut(&self) {
        for stream in self.open().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.inner
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.inner.gone.store(true, Ordering::Relaxed);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn relay(inner: &Arc<Inner>, client: TcpStream, target: u16) {
    let mut open = inner.open.lock().unwrap_or_else(PoisonError::into_inner);
    if inner.mute.load(Ordering::Relaxed) {
        open.push(client);
        return;
    }
    // When nobody listens behind the path, the client is hung up on.
    let Ok(broker) = TcpStream::connect(("127.0.0.1", target)) else {
        return;
    };
    let both = client
        .try_clone()
        .and_then(|client| Ok((client, broker.try_clone()?)));
    let Ok((from_client, to_broker)) = both else {
        return;
    };
    open.extend(
        [client.try_clone(), broker.try_clone()]
            .into_iter()
            .flatten(),
    );
    let (up, down) = (Arc::clone(inner), Arc::clone(inner));
    std::thread::spawn(move || pass(from_client, to_broker, &up, |inner| &inner.stall_up));
    std::thread::spawn(move || pass(broker, client, &down, |inner| &inner.stall_down));
}

fn pass(mut from: TcpStream, mut to: TcpStream, inner: &Inner, stalled: fn(&Inner) -> &AtomicBool) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        while stalled(inner).load(Ordering::Relaxed) && !inner.gone.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
