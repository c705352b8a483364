//! The secret of a provider, read again when its file changes.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime};

use crate::config::provider::Credential;
use crate::config::secret::Secret;

/// So often a file is looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a provider knows us by.
#[derive(Debug)]
pub(in crate::targets) struct Keyring {
    credential: Option<Credential>,
    secret: RefCell<Option<Secret>>,
    written_at: Cell<Option<SystemTime>>,
    looked_at: Cell<Duration>,
}

impl Keyring {
    pub(super) fn new(credential: Option<&Credential>) -> Self {
        Self {
            secret: RefCell::new(credential.map(|credential| credential.at_first().clone())),
            written_at: Cell::new(credential.and_then(Credential::written_at)),
            looked_at: Cell::default(),
            credential: credential.cloned(),
        }
    }

    /// The secret; empty when there is none.
    pub(super) fn secret(&self) -> Secret {
        let nothing = || Secret::new(String::new());
        self.secret.borrow().clone().unwrap_or_else(nothing)
    }

    /// Whether there is another secret than before. A file that cannot be read now changes nothing.
    pub(in crate::targets) fn has_changed(&self, now: Duration) -> bool {
        let Some(credential) = &self.credential else {
            return false;
        };
        if now < self.looked_at.get() + LOOK_EVERY {
            return false;
        }
        self.looked_at.set(now);
        let written_at = credential.written_at();
        if written_at == self.written_at.get() {
            return false;
        }
        match credential.read() {
            Ok(secret) => {
                self.written_at.set(written_at);
                self.secret.replace(Some(secret.clone())) != Some(secret)
            }
            Err(why) => {
                tracing::warn!(
                    why,
                    "the secret of a provider changed and cannot be read; the old one stays"
                );
                false
            }
        }
    }
}
