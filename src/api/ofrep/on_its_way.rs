//! Large answers on their way: callers that ask and do not read must not fill the memory.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::failure::Failure;

/// The most that is on its way at once, in KiB.
const MOST_KIB: u32 = 64 * 1024;
/// So much is given to the connection at once.
const PIECE: usize = 64 * 1024;
/// When to ask again.
const AGAIN: Duration = Duration::from_secs(1);

/// Room for answers on their way.
#[derive(Debug)]
pub(super) struct OnTheirWay(Arc<Semaphore>);

impl Default for OnTheirWay {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_KIB as usize)))
    }
}

impl OnTheirWay {
    /// The answer as a body that gives its room back when it is gone.
    pub(super) fn send(&self, answer: Vec<u8>) -> Result<Body, Failure> {
        let kib = u32::try_from(answer.len().div_ceil(1024)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.0).try_acquire_many_owned(kib);
        let room = room.map_err(|_| Failure::too_many(AGAIN))?;
        Ok(Body::new(Answer {
            left: answer.into(),
            _room: room,
        }))
    }
}

struct Answer {
    left: Bytes,
    _room: OwnedSemaphorePermit,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let piece = self.left.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.left.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_that_nobody_reads_leave_no_room_until_they_are_gone() {
        let room = OnTheirWay::default();
        let half = MOST_KIB as usize * 1024 / 2;
        let first = room.send(vec![b'a'; half]).unwrap();
        let second = room.send(vec![b'b'; half]).unwrap();
        let refused = room.send(vec![b'c'; 1]);
        assert_eq!(refused.unwrap_err().verdict(), "429 GENERAL");
        drop(first);
        drop(room.send(vec![b'c'; half]).unwrap());
        let whole = axum::body::to_bytes(second, usize::MAX).await.unwrap();
        assert_eq!(whole, vec![b'b'; half]);
        drop(room.send(vec![b'd'; half]).unwrap());
    }
}
