//! Segments as they are asked: compiled for the names of one vocabulary.

use std::sync::Arc;

use super::clause::{Clause, all_hold, compile_all};
use super::context::{Context, Slot, Vocabulary};
use super::members::Members;
use super::segment::{Segment, Segments};

/// A segment compiled for one vocabulary.
#[derive(Debug)]
pub struct Audience {
    pub(super) by: Slot,
    pub(super) members: Arc<Members>,
    when: Arc<[Clause]>,
}

impl Audience {
    /// A segment whose clauses were checked, compiled.
    pub fn of(segment: &Segment, vocabulary: &mut Vocabulary) -> Self {
        let frame = segment.frame();
        Self {
            by: vocabulary.slot(&frame.by),
            members: Arc::clone(&segment.members),
            when: compile_all(&frame.when, &Segments::default(), vocabulary)
                .unwrap_or_default()
                .into(),
        }
    }

    /// The same audience with other members.
    #[must_use]
    pub fn with_members(&self, members: &Arc<Members>) -> Self {
        Self {
            by: self.by,
            members: Arc::clone(members),
            when: Arc::clone(&self.when),
        }
    }

    /// Whether it includes who is asked about.
    pub fn includes<C: Context + ?Sized>(&self, context: &C) -> bool {
        let member = context
            .attribute(self.by)
            .is_some_and(|found| self.members.contains(found));
        let clauses =
            || !self.when.is_empty() && all_hold(&self.when, context, &Audiences::default());
        member || clauses()
    }
}

/// Compiled segments by number; one that nobody asks for is left out.
#[derive(Debug, Clone, Default)]
pub struct Audiences(pub(super) Vec<Option<Arc<Audience>>>);

impl Audiences {
    /// Whether the segment of this number includes who is asked about.
    pub fn includes<C: Context + ?Sized>(&self, number: u16, context: &C) -> bool {
        let audience = self.0.get(usize::from(number)).and_then(Option::as_ref);
        audience.is_some_and(|audience| audience.includes(context))
    }

    /// The same, with other members of the segment of this number.
    #[must_use]
    pub fn with_members(&self, number: u16, members: &Arc<Members>) -> Self {
        let found = self.0.get(usize::from(number)).and_then(Option::as_ref);
        let renewed = found.map(|audience| Arc::new(audience.with_members(members)));
        self.with(number, renewed)
    }

    /// The same with another audience at a number.
    #[must_use]
    pub fn with(&self, number: u16, audience: Option<Arc<Audience>>) -> Self {
        let mut next = self.clone();
        let place = usize::from(number);
        if next.0.len() <= place {
            next.0.resize(place + 1, None);
        }
        if let Some(found) = next.0.get_mut(place) {
            *found = audience;
        }
        next
    }
}
