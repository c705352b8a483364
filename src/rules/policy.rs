//! What the file lets no change do: limits that hold for everybody, whatever their role.

use std::collections::BTreeMap;

use super::document::{FlagDocument, Kind};
use super::flag::Flag;
use super::names::Glob;
use super::units::Ratio;

/// Limits that no change may cross.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The largest share that `skip` may take, by queue; the first that fits counts.
    pub largest_skip: Vec<(Glob, Ratio)>,
    /// The parts of a release flag's key, such as `<stakeholder>.<team>.<id>`; empty: any key.
    pub release_name: String,
    /// So many release flags of a team raise a warning; `None`: never.
    pub releases_of_a_team: Option<usize>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            largest_skip: Vec::new(),
            release_name: "<stakeholder>.<team>.<id>".to_owned(),
            releases_of_a_team: Some(20),
        }
    }
}

impl Policy {
    /// The largest share that `skip` of a queue may take.
    #[must_use]
    pub fn largest_skip(&self, queue: &str) -> Ratio {
        let mut limits = self.largest_skip.iter();
        let limit = limits.find(|(glob, _)| glob.fits(queue));
        limit.map_or(Ratio::ONE, |(_, limit)| *limit)
    }

    /// Why a flag cannot be made so, if it cannot: a release flag has an owner and a key after the pattern.
    #[must_use]
    pub fn objection(&self, flag: &FlagDocument) -> Option<String> {
        if flag.kind != Kind::Release {
            return None;
        }
        if flag.owner.trim().is_empty() {
            return Some(
                "a release flag needs an owner: the team that will take it away again".to_owned(),
            );
        }
        let parts = |text: &str| text.split('.').filter(|part| !part.is_empty()).count();
        let fits = self.release_name.is_empty()
            || (parts(&flag.key) == parts(&self.release_name)
                && flag.key.split('.').count() == parts(&flag.key));
        (!fits).then(|| {
            format!(
                "the key of a release flag is {}, such as shop.checkout.new-basket",
                self.release_name
            )
        })
    }

    /// The team of a release flag: the part of its key that the pattern calls `<team>`, else its owner.
    #[must_use]
    pub fn team(&self, flag: &Flag) -> String {
        let place = self
            .release_name
            .split('.')
            .position(|part| part == "<team>");
        let part = place.and_then(|place| flag.key.as_str().split('.').nth(place));
        part.map_or_else(|| flag.document().owner, str::to_owned)
    }

    /// A warning for each team with more open release flags than it should have.
    pub fn warnings<'a>(&self, flags: impl Iterator<Item = &'a Flag>) -> Vec<String> {
        let Some(most) = self.releases_of_a_team else {
            return Vec::new();
        };
        let mut teams: BTreeMap<String, usize> = BTreeMap::new();
        for flag in flags.filter(|flag| flag.kind() == Kind::Release) {
            *teams.entry(self.team(flag)).or_default() += 1;
        }
        let over = teams.into_iter().filter(|(_, count)| *count > most);
        over.map(|(team, count)| format!("{team} has {count} open release flags; {most} are meant to be the most, delete those that are done"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn flag(document: Json) -> FlagDocument {
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn release_flags_have_an_owner_and_a_name_after_the_pattern() {
        let policy = Policy::default();
        for (key, kind, owner, objection) in [
            ("shop.checkout.basket", "release", "checkout", None),
            (
                "shop.checkout.basket",
                "release",
                " ",
                Some("needs an owner"),
            ),
            (
                "basket",
                "release",
                "checkout",
                Some("<stakeholder>.<team>.<id>"),
            ),
            (
                "a..b.c",
                "release",
                "checkout",
                Some("<stakeholder>.<team>.<id>"),
            ),
            ("basket", "config", "", None),
        ] {
            let document = json!({"key": key, "kind": kind, "type": "boolean", "value": false, "owner": owner});
            let said = policy.objection(&flag(document));
            let fits = match (&said, objection) {
                (Some(said), Some(part)) => said.contains(part),
                (None, None) => true,
                _ => false,
            };
            assert!(fits, "{key}: {said:?}");
        }
    }

    #[test]
    fn a_team_with_many_open_releases_is_warned_of() {
        let policy = Policy {
            releases_of_a_team: Some(1),
            ..Policy::default()
        };
        let named = |key: &str| {
            let document =
                json!({"key": key, "kind": "release", "type": "boolean", "value": false});
            Flag::try_from(flag(document)).unwrap()
        };
        let flags = [named("a.pay.1"), named("a.pay.2"), named("a.mail.1")];
        let warnings = policy.warnings(flags.iter());
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("pay has 2"), "{warnings:?}");
    }

    #[test]
    fn the_first_limit_that_fits_counts() {
        let half = Ratio::try_from(0.5).unwrap();
        let policy = Policy {
            largest_skip: vec![("mail.*".parse().unwrap(), half)],
            ..Policy::default()
        };
        assert_eq!(policy.largest_skip("mail.bulk"), half);
        assert_eq!(policy.largest_skip("orders"), Ratio::ONE);
    }
}
