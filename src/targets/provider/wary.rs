//! A connection to a mail server that is read warily. An answer ends somewhere: a server that never stops talking is cut off. And what
//! stands in the clear behind the answer to STARTTLS is not taken for an answer within TLS: until then one byte at a time is read.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The most that is read between two commands of ours, in bytes: more than any answer.
const LONGEST: usize = 8 << 10;
/// The same within TLS: more than any handshake.
const LONGEST_ENCRYPTED: usize = 32 << 10;
/// What a TLS handshake begins with, and no command.
const HANDSHAKE: u8 = 0x16;

/// The connection.
#[derive(Debug)]
pub(super) struct Wary {
    stream: TcpStream,
    /// Read since we last wrote.
    read: usize,
    /// TLS is still to come, so nothing is read ahead.
    in_the_clear: bool,
    longest: usize,
}

impl Wary {
    pub(super) fn new(stream: TcpStream, will_encrypt: bool) -> Self {
        Self {
            stream,
            read: 0,
            in_the_clear: will_encrypt,
            longest: LONGEST,
        }
    }
}

impl AsyncTokioStream for Wary {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl AsyncRead for Wary {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read >= self.longest {
            let why = "its answer is longer than any";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        let count = if self.in_the_clear {
            let mut byte = [0];
            let mut one = ReadBuf::new(&mut byte);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut one))?;
            into.put_slice(one.filled());
            one.filled().len()
        } else {
            let before = into.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
            into.filled().len() - before
        };
        self.read += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wary {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.read = 0;
        if bytes.first() == Some(&HANDSHAKE) {
            self.in_the_clear = false;
            self.longest = LONGEST_ENCRYPTED;
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
