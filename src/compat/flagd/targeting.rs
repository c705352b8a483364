//! The targeting of a flag, read into rules: chains of `if`, and shares by `fractional`.

use serde_json::{Map, Value as Json};

use super::conditions::{self, DEEPEST, Together, operation, referred, short};
use crate::rules::flag::{MOST_RULES, RuleDocument, ShareDocument};
use crate::rules::lots::STEPS;

/// The variants of a flag.
pub(super) struct Variants<'a> {
    pub(super) all: &'a Map<String, Json>,
    pub(super) default: &'a str,
}

impl Variants<'_> {
    /// The value of a variant.
    pub(super) fn value(&self, name: &str) -> Result<&Json, String> {
        let value = self.all.get(name);
        value.ok_or_else(|| format!("{name:?} is none of its variants"))
    }
}

/// What came of targeting.
#[derive(Default)]
pub(super) struct Read {
    pub(super) rules: Vec<RuleDocument>,
    /// The seed, if it is not the flag's key.
    pub(super) seed: Option<String>,
    /// Whether there are shares.
    pub(super) draws: bool,
}

/// Reads the targeting of a flag.
pub(super) fn read(
    targeting: &Json,
    variants: &Variants<'_>,
    evaluators: &Map<String, Json>,
) -> Result<Read, String> {
    let mut reading = Reading {
        variants,
        evaluators,
        read: Read::default(),
    };
    let nothing = targeting.as_object().is_some_and(Map::is_empty);
    if !nothing && !targeting.is_null() {
        reading.outcome(targeting, &[Together::new()], 0)?;
    }
    reading.drop_the_needless();
    Ok(reading.read)
}

struct Reading<'a> {
    variants: &'a Variants<'a>,
    evaluators: &'a Map<String, Json>,
    read: Read,
}

impl Reading<'_> {
    /// Adds the rules of an outcome for those of whom one of `when` holds; none of them goes on to what stands behind it.
    fn outcome(&mut self, logic: &Json, when: &[Together], depth: usize) -> Result<(), String> {
        if depth > DEEPEST {
            return Err(format!("it is nested deeper than {DEEPEST}"));
        }
        let logic = referred(logic, self.evaluators)?;
        match (logic, operation(logic)) {
            (Json::Null, _) => self.value(self.variants.default, when),
            (Json::String(name), _) => self.value(name, when),
            (Json::Bool(name), _) => self.value(if *name { "true" } else { "false" }, when),
            (_, Some(("if", given))) => self.chain(given, when, depth),
            (_, Some(("fractional", given))) => self.fractional(given, when),
            (_, Some(_)) => {
                let holds = conditions::read(logic, self.evaluators)?;
                self.value("true", &joined(when, &holds))?;
                self.value("false", when)
            }
            (other, None) => Err(format!("{} names no variant", short(other))),
        }
    }

    fn chain(&mut self, given: &[Json], when: &[Together], depth: usize) -> Result<(), String> {
        let (pairs, rest) = given.as_chunks::<2>();
        for [condition, outcome] in pairs {
            let holds = conditions::read(condition, self.evaluators)?;
            self.outcome(outcome, &joined(when, &holds), depth + 1)?;
        }
        self.outcome(rest.first().unwrap_or(&Json::Null), when, depth + 1)
    }

    fn value(&mut self, variant: &str, when: &[Together]) -> Result<(), String> {
        let value = self.variants.value(variant)?.clone();
        for when in when {
            self.push(RuleDocument {
                when: when.clone(),
                value: Some(value.clone()),
                ..RuleDocument::default()
            })?;
        }
        Ok(())
    }

    fn fractional(&mut self, given: &[Json], when: &[Together]) -> Result<(), String> {
        let (by, seed, shares) = match given.split_first() {
            Some((first, shares)) if !first.is_array() => {
                let (by, seed) = drawn_by(first)?;
                (by, seed, shares)
            }
            _ => ("targetingKey", None, given),
        };
        if self.read.draws && self.read.seed != seed {
            return Err(
                "its `fractional`s draw by different texts; a flag has one seed".to_owned(),
            );
        }
        (self.read.draws, self.read.seed) = (true, seed);
        let split = self.shares(shares)?;
        for when in when {
            self.push(RuleDocument {
                when: when.clone(),
                by: Some(by.to_owned()),
                split: split.clone(),
                ..RuleDocument::default()
            })?;
            // Who has no key to draw with gets the default.
            self.value(self.variants.default, std::slice::from_ref(when))?;
        }
        Ok(())
    }

    fn shares(&self, given: &[Json]) -> Result<Vec<ShareDocument>, String> {
        let mut weights: Vec<(&Json, u64)> = Vec::new();
        for share in given {
            let (name, weight) = match share.as_array().map(Vec::as_slice) {
                Some([Json::String(name)]) => (name, Some(1)),
                Some([Json::String(name), weight]) => (name, weight.as_u64()),
                _ => {
                    return Err(format!(
                        "a share of `fractional` is [variant, weight], got {}",
                        short(share)
                    ));
                }
            };
            let weight = weight.filter(|weight| *weight <= i32::MAX as u64);
            let weight = weight.ok_or_else(|| {
                format!("the weight of {name:?} is no whole number; computed ones have no equal")
            })?;
            weights.push((self.variants.value(name)?, weight));
        }
        let total: u64 = weights.iter().map(|(_, weight)| weight).sum();
        let mut upto = 0;
        let mut taken = 0;
        let mut split = Vec::new();
        for (value, weight) in weights.iter().filter(|(_, weight)| *weight > 0) {
            upto += weight;
            let limit = upto * u64::from(STEPS);
            if !limit.is_multiple_of(total) {
                return Err(format!(
                    "shares move in steps of 1/{STEPS}, which a total weight of {total} does not hit: some keys would change sides; use weights that add up to 100"
                ));
            }
            let limit = limit / total;
            let share = (limit - taken) as f64 / f64::from(STEPS);
            taken = limit;
            split.push(ShareDocument {
                value: (*value).clone(),
                share,
            });
        }
        if split.is_empty() {
            return Err("`fractional` has no share above zero".to_owned());
        }
        Ok(split)
    }

    fn push(&mut self, rule: RuleDocument) -> Result<(), String> {
        if self.read.rules.len() >= MOST_RULES {
            return Err(format!("it would become more than {MOST_RULES} rules"));
        }
        let name = format!("flagd-{}", self.read.rules.len() + 1);
        self.read.rules.push(RuleDocument { name, ..rule });
        Ok(())
    }

    /// Leaves out what decides nothing: rules behind one for everybody, and a last one that says what is said anyhow.
    fn drop_the_needless(&mut self) {
        let rules = &mut self.read.rules;
        let for_all = |rule: &RuleDocument| rule.when.is_empty() && rule.value.is_some();
        if let Some(last) = rules.iter().position(for_all) {
            rules.truncate(last + 1);
        }
        let default = self.variants.all.get(self.variants.default);
        while rules
            .last()
            .is_some_and(|rule| rule.value.as_ref() == default)
        {
            rules.pop();
        }
    }
}

/// Both hold. No alternative at all: never.
fn joined(when: &[Together], holds: &[Together]) -> Vec<Together> {
    when.iter()
        .flat_map(|when| holds.iter().map(|holds| [when.as_slice(), holds].concat()))
        .collect()
}

/// The attribute that draws, and the seed if it is not the flag's key: flagd hashes the key and the targeting key, unless a text is
/// given, which is hashed alone.
fn drawn_by(first: &Json) -> Result<(&str, Option<String>), String> {
    match operation(first) {
        Some(("var", _)) => Ok((conditions::attribute(first)?, Some(String::new()))),
        Some(("cat", [seed, by])) => {
            let by = conditions::attribute(by)?;
            match (operation(seed), seed) {
                (Some(("var", [Json::String(name)])), _) if name == "$flagd.flagKey" => {
                    Ok((by, None))
                }
                (_, Json::String(seed)) => Ok((by, Some(seed.clone()))),
                _ => Err(format!("`fractional` by {} has no equal", short(first))),
            }
        }
        _ => Err(format!("`fractional` by {} has no equal", short(first))),
    }
}
