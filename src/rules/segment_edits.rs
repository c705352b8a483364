//! The edits of segments.

use std::sync::Arc;

use super::change::Refused;
use super::clause::{ClauseDocument, named_segments};
use super::edits::Touched;
use super::segment::{MOST_SEGMENTS, Segment, SegmentDocument, SegmentName};
use super::snapshot::Snapshot;

impl Snapshot {
    pub(super) fn standing_segment(
        &self,
        name: &SegmentName,
        seen: Option<u64>,
    ) -> Result<Arc<Segment>, Refused> {
        let found = self.segments.get(name.as_str());
        let found = found.ok_or_else(|| Refused::NoSegment(name.to_string()))?;
        match seen {
            Some(seen) if seen != found.revision() => Err(Refused::StaleSegment {
                name: name.clone(),
                seen,
                now: found.revision(),
            }),
            _ => Ok(Arc::clone(found)),
        }
    }

    pub(super) fn write_segment(
        &mut self,
        document: &SegmentDocument,
        seen: Option<u64>,
        touched: &mut Touched,
    ) -> Result<(), Refused> {
        let segment = Segment::try_from(SegmentDocument {
            revision: self.revision,
            ..document.clone()
        })?;
        match (self.segments.get(segment.name.as_str()), seen) {
            (Some(_), Some(0)) => return Err(Refused::SegmentExists(segment.name)),
            (Some(_), _) => {
                self.standing_segment(&segment.name, seen)?;
            }
            (None, Some(1..)) => return Err(Refused::NoSegment(segment.name.to_string())),
            (None, _) if self.segments.len() >= MOST_SEGMENTS => {
                return Err(Refused::Limit(format!(
                    "there are {MOST_SEGMENTS} segments already, which is the most; delete one"
                )));
            }
            (None, _) => {}
        }
        self.place_segment(segment, touched);
        Ok(())
    }

    pub(super) fn place_segment(&mut self, segment: Segment, touched: &mut Touched) {
        let segment = Arc::new(segment);
        self.put_segment(&segment);
        touched.segments.extend(self.segments.number(&segment.name));
    }

    pub(super) fn delete_segment(
        &mut self,
        name: &SegmentName,
        seen: Option<u64>,
    ) -> Result<(), Refused> {
        self.standing_segment(name, seen)?;
        let names = |clauses: &[ClauseDocument]| {
            named_segments(clauses).any(|named| named == name.as_str())
        };
        let rules = self
            .flags()
            .filter(|flag| flag.names_segment(name.as_str()));
        let flags = rules.map(|flag| flag.key.to_string());
        let openings = self.openings().filter(|opening| names(&opening.when));
        let users: Vec<String> = flags
            .chain(openings.map(|opening| opening.id.to_string()))
            .take(5)
            .collect();
        if !users.is_empty() {
            return Err(Refused::Limit(format!(
                "the segment `{name}` is used by {}; change those first",
                users.join(", ")
            )));
        }
        Arc::make_mut(&mut self.segments).remove(name);
        Ok(())
    }
}
