//! A connection, as its requests see it: whether it stays, because it is listened on.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

/// A connection. Its requests find it among their extensions.
#[derive(Debug, Clone)]
pub(super) struct Guest(Arc<Mutex<Stay>>);

#[derive(Debug)]
enum Stay {
    /// It asks and goes; this is its place among those that do.
    Short { _place: OwnedSemaphorePermit },
    /// It listens, and is counted elsewhere.
    Long,
}

impl Guest {
    pub(super) fn new(place: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(Mutex::new(Stay::Short { _place: place })))
    }

    /// From now on it listens: its place among those that ask is free again.
    pub(super) fn stays(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Stay::Long;
    }

    /// Whether it listens.
    pub(super) fn listens(&self) -> bool {
        let stay = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*stay, Stay::Long)
    }
}
