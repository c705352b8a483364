//! From what people wrote to what is asked: a flag and the openings over it become a [`Choice`].

use std::sync::Arc;

use super::choice::{Choice, Gives, Laid, Rule, Split};
use super::clause::{BadClause, compile_all};
use super::context::Vocabulary;
use super::flag::{BadFlag, Flag, FlagDocument, RuleDocument, Value};
use super::lots::Lots;
use super::opening::{Opening, OpeningId};
use super::rule_name::RuleNames;
use super::segment::Segments;
use super::units::Ratio;

/// Compiles a flag with what lies over it, oldest first; the names that it asks for get their slots.
///
/// # Errors
/// When a clause names a segment that is not there, or an opening's value does not fit.
pub fn compile<'a>(
    flag: &Flag,
    openings: impl Iterator<Item = &'a Arc<Opening>>,
    segments: &Segments,
    vocabulary: &mut Vocabulary,
) -> Result<Choice<Value>, BadFlag> {
    let key = flag.key.as_str();
    let document = flag.document();
    let clauses = |rule: &str, when, vocabulary: &mut Vocabulary| {
        compile_all(when, segments, vocabulary).map_err(|why| bad_clause(flag, rule, why))
    };
    let rules = document.rules.iter().map(|rule| {
        Ok(Rule {
            when: clauses(&rule.name, &rule.when, vocabulary)?,
            gives: gives(&document, rule, vocabulary)?,
        })
    });
    let rules = rules.collect::<Result<Arc<[_]>, BadFlag>>()?;
    let mut laid: Vec<Laid<Value>> = Vec::new();
    let openings: Vec<&Arc<Opening>> = openings.collect();
    let (value, way) = on_its_way(flag, &document, &openings)?;
    let mut below = value.clone();
    for opening in openings {
        let Some(json) = opening.value_on(key).filter(|_| !opening.beneath) else {
            continue;
        };
        let value = weakened(document.read(json)?, opening, &below);
        if opening.when.is_empty() {
            below = value.clone();
        }
        laid.push(Laid {
            opening: opening.id,
            when: clauses(&opening.id.to_string(), &opening.when, vocabulary)?,
            value,
        });
    }
    laid.reverse();
    Ok(Choice {
        laid: laid.into(),
        enabled: document.enabled,
        rules,
        names: RuleNames::of(document.rules.iter().map(|rule| &*rule.name)),
        value,
        way,
    })
}

/// What the flag itself says while its value is on its way to the one that was set.
fn on_its_way(
    flag: &Flag,
    document: &FlagDocument,
    openings: &[&Arc<Opening>],
) -> Result<(Value, Option<OpeningId>), BadFlag> {
    let way = openings.iter().rev().find(|opening| opening.beneath);
    match way.and_then(|way| Some((way, way.value_on(flag.key.as_str())?))) {
        Some((way, former)) => {
            let value = weakened(document.read(former)?, way, &flag.value);
            Ok((value, Some(way.id)))
        }
        None => Ok((flag.value.clone(), None)),
    }
}

/// What an opening lays over `below`: less of it while it goes back.
fn weakened(whole: Value, opening: &Opening, below: &Value) -> Value {
    if opening.strength < 1.0 {
        whole.at_strength(below, opening.strength).unwrap_or(whole)
    } else {
        whole
    }
}

fn gives(
    flag: &FlagDocument,
    rule: &RuleDocument,
    vocabulary: &mut Vocabulary,
) -> Result<Gives<Value>, BadFlag> {
    if let Some(value) = &rule.value {
        return Ok(Gives::Value(flag.read(value)?));
    }
    let lots = Lots::of(flag.bucketing, &flag.key, flag.seed.as_deref());
    let mut taken = 0.0;
    let shares = rule.split.iter().map(|share| {
        taken += share.share;
        let taken = Ratio::try_from(f64::min(taken, 1.0)).unwrap_or(Ratio::ZERO);
        Ok((lots.limit(taken), flag.read(&share.value)?))
    });
    Ok(Gives::Split(Box::new(Split {
        by: vocabulary.slot(flag.draws_by(rule)),
        shares: shares.collect::<Result<_, BadFlag>>()?,
        lots,
    })))
}

fn bad_clause(flag: &Flag, rule: &str, why: BadClause) -> BadFlag {
    BadFlag::Clause {
        key: flag.key.to_string(),
        rule: rule.to_owned(),
        why,
    }
}
