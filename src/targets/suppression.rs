//! Who gets no mail of a pool: the segment that its settings name, as it stands now. May import `rules`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::mail::Mail;
use super::pool::SharedPool;
use crate::rules::segment::Segment;
use crate::rules::suppress::Suppressed;

/// The segment as it was last asked.
#[derive(Debug, Default)]
pub(super) struct Suppression {
    kept: RefCell<Option<(Arc<Segment>, Rc<Suppressed>)>>,
    is_missing: Cell<bool>,
}

impl Suppression {
    /// Leaves out of a mail whoever gets none, and gives their addresses.
    pub(super) fn leave_out(&self, mail: &mut Mail, pool: &SharedPool) -> Vec<String> {
        let Some(suppressed) = self.now(pool) else {
            return Vec::new();
        };
        let left_out = mail.leave_out(|address| suppressed.has(address));
        pool.metrics.suppressed(left_out.len());
        left_out
    }

    /// Who gets no mail now.
    fn now(&self, pool: &SharedPool) -> Option<Rc<Suppressed>> {
        let name = pool.settings.suppress.as_ref()?;
        let flags = pool.flags.borrow();
        let segment = flags.segments().get(name.as_str());
        if self.is_missing.replace(segment.is_none()) != segment.is_none() {
            let (pool, missing) = (&pool.settings.name, segment.is_none());
            tracing::warn!(%pool, segment = %name, missing, "the segment of those who get no mail came or went; without it nobody is left out");
        }
        let segment = segment?;
        let mut kept = self.kept.borrow_mut();
        match &*kept {
            Some((of, suppressed)) if Arc::ptr_eq(of, segment) => Some(Rc::clone(suppressed)),
            _ => {
                let suppressed = Rc::new(Suppressed::of(segment));
                *kept = Some((Arc::clone(segment), Rc::clone(&suppressed)));
                Some(suppressed)
            }
        }
    }
}
