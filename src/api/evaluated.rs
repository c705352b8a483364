//! When a flag was last evaluated, by whoever counts that: a flag that is still asked for is not deleted.

use std::fmt;
use std::sync::Arc;

use super::Doors;

/// A flag that was evaluated within this time is in use, milliseconds.
pub(super) const IN_USE_MS: i64 = 3_600_000;

type Ask = dyn Fn(&str) -> Option<i64> + Send + Sync;

/// Tells when a flag was last evaluated, milliseconds since 1970; by default nobody knows.
#[derive(Clone, Default)]
pub struct LastEvaluated(Option<Arc<Ask>>);

impl LastEvaluated {
    /// Asks this of each flag's key.
    pub fn by(ask: impl Fn(&str) -> Option<i64> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(ask)))
    }
}

impl fmt::Debug for LastEvaluated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "counted"
        } else {
            "not counted"
        })
    }
}

impl Doors {
    /// When a flag was last evaluated, milliseconds since 1970; `None`: never since the start, or nobody counts.
    #[must_use]
    pub fn last_evaluated(&self, key: &str) -> Option<i64> {
        self.evaluated.0.as_ref()?(key)
    }
}
