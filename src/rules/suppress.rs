//! Addresses that get no mail: a segment, asked for each recipient.

use super::audience::Audience;
use super::context::{Attribute, Vocabulary};
use super::segment::Segment;

/// What a clause may ask of a recipient.
const ADDRESS: &str = "recipient";
const DOMAIN: &str = "recipient_domain";

/// A segment as it is asked for recipients. Its members are addresses in lower case, or domains when it is `by` `recipient_domain`.
#[derive(Debug)]
pub struct Suppressed {
    audience: Audience,
    vocabulary: Vocabulary,
    /// The attribute that its members are said to be of.
    by: String,
}

impl Suppressed {
    /// This segment.
    #[must_use]
    pub fn of(segment: &Segment) -> Self {
        let mut vocabulary = Vocabulary::default();
        Self {
            audience: Audience::of(segment, &mut vocabulary),
            vocabulary,
            by: segment.frame().by.clone(),
        }
    }

    /// Whether this address gets no mail.
    #[must_use]
    pub fn has(&self, address: &str) -> bool {
        let address = address.to_ascii_lowercase();
        let domain = address.rsplit('@').next().unwrap_or_default();
        // Whatever its members are said to be of, here they are addresses.
        let given = [
            (&*self.by, &*address),
            (ADDRESS, &*address),
            (DOMAIN, domain),
        ];
        let given = given.map(|(name, text)| (name, Attribute::of(text)));
        self.audience
            .includes(self.vocabulary.context(given).as_slice())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::rules::segment::SegmentDocument;

    fn check(segment: Json, address: &str, expected: bool) {
        let document: SegmentDocument = serde_json::from_value(segment).unwrap();
        let segment = Segment::try_from(document).unwrap();
        assert_eq!(Suppressed::of(&segment).has(address), expected, "{address}");
    }

    #[test]
    fn members_are_addresses_and_clauses_ask_for_them() {
        let plain = json!({"name": "s", "members": ["ana@shop.example"]});
        check(plain.clone(), "ana@shop.example", true);
        check(plain.clone(), "Ana@SHOP.example", true);
        check(plain, "bob@shop.example", false);
        let domains = json!({"name": "s", "by": "recipient_domain", "members": ["shop.example"]});
        check(domains.clone(), "bob@shop.example", true);
        check(domains, "bob@other.example", false);
        let clause = json!({"name": "s", "when": [{"attribute": "recipient", "op": "ends_with", "values": [".test"]}]});
        check(clause.clone(), "bob@a.test", true);
        check(clause, "bob@test.example", false);
    }
}
