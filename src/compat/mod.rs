//! Doors for those who come from elsewhere, and for those who go back: flags in the forms of other systems, read into ours and
//! written from ours. What has no equal is refused by name, never bent until it fits; what is taken over decides for the same keys
//! as before. May import `rules`.
//!
//! [`flagd`] reads and writes flagd's JSON, [`rollout`] the keys of the Rollout gem in a [`redis`].

pub mod flagd;
pub mod redis;
pub mod rollout;

use std::fmt;

use crate::rules::flag::FlagDocument;

/// What came of an import: the flags that have an equal, and those that were refused.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Imported {
    /// Our flags; each was checked.
    pub flags: Vec<FlagDocument>,
    /// What was left out.
    pub refused: Vec<NoEqual>,
}

/// Something that has no equal on the other side: whose it is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoEqual {
    /// The flag.
    pub flag: String,
    /// What has no equal, and what to do about it.
    pub what: String,
}

impl NoEqual {
    fn new(flag: &str, what: impl Into<String>) -> Self {
        Self {
            flag: flag.to_owned(),
            what: what.into(),
        }
    }
}

impl fmt::Display for NoEqual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.flag, self.what)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::context::Attribute;
    use crate::rules::flag::Flag;
    use crate::rules::snapshot::{Snapshot, Stored};

    /// The flags `chat` at 20 %, as the others write it.
    fn migrated(from: &str) -> (FlagDocument, &'static str) {
        if from == "rollout" {
            let side = rollout::Side {
                namespace: String::new(),
                by: "account".to_owned(),
                randomized: false,
            };
            let feature = rollout::Feature::read("20|||{}");
            return (feature.flag("chat", &side).unwrap(), "account");
        }
        let shares = json!({"fractional": [["on", 20], ["off", 80]]});
        let file = json!({"flags": {"chat": {"state": "ENABLED", "variants": {"on": true, "off": false},
            "defaultVariant": "off", "targeting": shares}}});
        let mut imported = flagd::import(&file.to_string()).unwrap();
        (imported.flags.remove(0), "targetingKey")
    }

    /// The golden file was computed apart from this program.
    #[test]
    fn a_migrated_share_keeps_the_same_accounts() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/lots.json")).unwrap();
        for from in ["rollout", "flagd"] {
            let counts = golden["counts"].as_array().unwrap().iter();
            let theirs = |count: &&serde_json::Value| {
                count["bucketing"] == from && count["flag"] == "chat" && count["share"] == 0.2
            };
            let golden = counts.clone().find(theirs).unwrap();
            let (flag, by) = migrated(from);
            let stored = Stored {
                flags: vec![Flag::try_from(flag).unwrap()],
                ..Stored::default()
            };
            let snapshot = Snapshot::of(Vec::new(), stored);
            let handle = snapshot.handle("chat").unwrap();
            let is_on = |id: &u32| {
                let context = snapshot.context([(by, Attribute::of(&id.to_string()))]);
                snapshot.ask(handle, &*context).unwrap().value.to_json() == true
            };
            let all = 1..=golden["ids_to"].as_u64().unwrap() as u32;
            let on: Vec<u32> = all.filter(is_on).collect();
            assert_eq!(json!(on[..9]), golden["first"], "{from}");
            assert_eq!(json!(on.len()), golden["count"], "{from}");
        }
    }
}
