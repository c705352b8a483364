//! Tells others what happens to openings: one board, on which each notice is put once, and the webhooks of the file, which read it.
//!
//! Nobody who puts something on the board waits for anybody who reads it. May import `rules`, `config`, `clock`, `metrics` and
//! `store`.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::rules::notice::Notice;

pub use tell::Teller;

mod line;
mod tell;
mod webhook;

/// How many notices a reader of the board may be behind; then it misses the oldest.
const BEHIND: usize = 1_024;

/// Where notices are put. Whoever holds a clone of it puts on the same board.
#[derive(Debug, Clone)]
pub struct Board {
    notices: broadcast::Sender<Arc<Notice>>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            notices: broadcast::Sender::new(BEHIND),
        }
    }
}

impl Board {
    /// Puts a notice on the board, for whoever reads it; never waits.
    pub fn put(&self, notice: Notice) {
        // An error says that nobody reads the board, which is theirs to decide.
        let _ = self.notices.send(Arc::new(notice));
    }

    /// Reads what is put on the board from now on.
    #[must_use]
    pub fn read(&self) -> broadcast::Receiver<Arc<Notice>> {
        self.notices.subscribe()
    }
}
