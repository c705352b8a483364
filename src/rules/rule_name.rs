//! The names of a flag's rules: one text for all of them, and no copy where one of them decided.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// No name has one.
const BETWEEN: char = '\n';

/// The names of the rules of a flag, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct RuleNames(Arc<str>);

impl RuleNames {
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let each = names.flat_map(|name| name.chars().chain([BETWEEN]));
        Self(each.collect::<String>().into())
    }

    pub(super) fn get(&self, number: u16) -> RuleName {
        RuleName {
            all: self.clone(),
            number,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_terminator(BETWEEN)
    }
}

/// The name of a rule. Reads as a text.
#[derive(Clone)]
pub struct RuleName {
    all: RuleNames,
    number: u16,
}

impl Deref for RuleName {
    type Target = str;
    fn deref(&self) -> &str {
        let mut names = self.all.iter();
        names.nth(usize::from(self.number)).unwrap_or_default()
    }
}

impl From<&str> for RuleName {
    fn from(name: &str) -> Self {
        RuleNames::of([name].into_iter()).get(0)
    }
}

impl PartialEq for RuleName {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for RuleName {}

impl fmt::Debug for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_its_name() {
        let names = RuleNames::of(["beta", "a b", "ring"].into_iter());
        assert_eq!(names.iter().collect::<Vec<_>>(), ["beta", "a b", "ring"]);
        for (number, name) in (0..).zip(["beta", "a b", "ring", ""]) {
            assert_eq!(&*names.get(number), name);
        }
        assert_eq!(names.get(1), RuleName::from("a b"));
        assert_eq!(RuleNames::default().iter().count(), 0);
    }
}
