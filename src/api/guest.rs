//! A connection, as its requests see it: whether it stays, because it is listened on.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A connection. Its requests find it among their extensions.
#[derive(Clone)]
pub(super) struct Guest(Arc<Mutex<Option<Place>>>);

/// What a connection holds among those that ask and go; dropped, it is free for another.
type Place = Box<dyn Any + Send>;

impl Guest {
    pub(super) fn new(place: impl Any + Send) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(place)))))
    }

    /// From now on it listens, and is counted elsewhere: its place among those that ask is free again.
    pub(super) fn stays(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether it listens.
    pub(super) fn listens(&self) -> bool {
        let place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        place.is_none()
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.listens() { "listens" } else { "asks" })
    }
}
