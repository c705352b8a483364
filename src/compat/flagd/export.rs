//! Our flags as flagd's JSON.

use serde_json::{Map, Value as Json, json};

use super::super::NoEqual;
use crate::rules::clause::{ClauseDocument, Op};
use crate::rules::flag::{FlagDocument, RuleDocument};
use crate::rules::lots::{Bucketing, STEPS};

/// What came of an export.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// flagd's JSON.
    pub json: Json,
    /// The flags that were left out.
    pub refused: Vec<NoEqual>,
}

/// Writes flags as flagd's JSON.
pub fn export<'a>(flags: impl IntoIterator<Item = &'a FlagDocument>) -> Exported {
    let mut written = Map::new();
    let mut refused = Vec::new();
    for flag in flags {
        match one(flag) {
            Ok(json) => {
                written.insert(flag.key.clone(), json);
            }
            Err(what) => refused.push(NoEqual::new(&flag.key, what)),
        }
    }
    let schema = "https://flagd.dev/schema/v0/flags.json";
    Exported {
        json: json!({"$schema": schema, "flags": written}),
        refused,
    }
}

fn one(flag: &FlagDocument) -> Result<Json, String> {
    let mut variants = Variants::default();
    let default = variants.name(&flag.value)?;
    let targeting = targeting(flag, &mut variants)?;
    let state = if flag.enabled { "ENABLED" } else { "DISABLED" };
    let mut json = json!({"state": state, "variants": variants.all, "defaultVariant": default});
    if let Some(object) = json.as_object_mut() {
        if let Some(targeting) = targeting {
            object.insert("targeting".to_owned(), targeting);
        }
        if !flag.description.is_empty() {
            object.insert(
                "metadata".to_owned(),
                json!({"description": flag.description}),
            );
        }
    }
    Ok(json)
}

/// Values by name: the text of a short text or a boolean, else a number.
#[derive(Default)]
struct Variants {
    all: Map<String, Json>,
}

impl Variants {
    fn name(&mut self, value: &Json) -> Result<String, String> {
        if value.is_null() {
            return Err("\"none\" is no value there".to_owned());
        }
        if let Some((name, _)) = self.all.iter().find(|(_, known)| *known == value) {
            return Ok(name.clone());
        }
        let name = match value {
            Json::Bool(value) => value.to_string(),
            Json::String(text)
                if (1..=40).contains(&text.len()) && !self.all.contains_key(text) =>
            {
                text.clone()
            }
            _ => format!("value-{}", self.all.len() + 1),
        };
        self.all.insert(name.clone(), value.clone());
        Ok(name)
    }
}

/// The rules as a chain of `if`.
fn targeting(flag: &FlagDocument, variants: &mut Variants) -> Result<Option<Json>, String> {
    let mut chain = Vec::new();
    let mut rules = flag.rules.iter().peekable();
    while let Some(rule) = rules.next() {
        let outcome = match &rule.value {
            Some(value) => variants.name(value)?.into(),
            None => {
                let equal = rules
                    .peek()
                    .is_none_or(|next| goes_on_alike(flag, rule, next));
                if !equal {
                    return Err(format!(
                        "who is in no share of rule {:?} goes on to the next rule; there they get the default",
                        rule.name
                    ));
                }
                fractional(flag, rule, variants)?
            }
        };
        if rule.when.is_empty() {
            chain.push(outcome);
            break;
        }
        let clauses = rule
            .when
            .iter()
            .map(clause)
            .collect::<Result<Vec<_>, _>>()?;
        chain.push(together("and", clauses));
        chain.push(outcome);
    }
    Ok(match chain.len() {
        0 => None,
        1 => chain.pop(),
        _ => Some(json!({"if": chain})),
    })
}

/// Whether the rule behind a split gives the default to all who fall through.
fn goes_on_alike(flag: &FlagDocument, rule: &RuleDocument, next: &RuleDocument) -> bool {
    next.when == rule.when && next.value.as_ref() == Some(&flag.value)
}

fn fractional(
    flag: &FlagDocument,
    rule: &RuleDocument,
    variants: &mut Variants,
) -> Result<Json, String> {
    if flag.bucketing != Bucketing::Flagd {
        return Err(format!(
            "rule {:?} draws lots by another formula; with bucketing \"flagd\" other accounts are in",
            rule.name
        ));
    }
    let var = json!({"var": flag.draws_by(rule)});
    let first = match (flag.seed.as_deref(), flag.draws_by(rule)) {
        (None, "targetingKey") => None,
        (None, _) => Some(json!({"cat": [{"var": "$flagd.flagKey"}, var]})),
        (Some(""), _) => Some(var),
        (Some(seed), _) => Some(json!({"cat": [seed, var]})),
    };
    let mut shares = Vec::new();
    let (mut sum, mut taken) = (0.0, 0);
    for share in &rule.split {
        sum += share.share;
        let limit = (f64::min(sum, 1.0) * f64::from(STEPS)).round() as u32;
        shares.push((variants.name(&share.value)?, limit - taken));
        taken = limit;
    }
    if taken < STEPS {
        shares.push((variants.name(&flag.value)?, STEPS - taken));
    }
    let divisor = shares
        .iter()
        .fold(STEPS, |divisor, (_, weight)| common(divisor, *weight));
    let shares = shares
        .into_iter()
        .map(|(name, weight)| json!([name, weight / divisor]));
    Ok(json!({"fractional": first.into_iter().chain(shares).collect::<Vec<_>>()}))
}

/// The greatest common divisor; `a` is above zero.
fn common(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common(b, a % b) }
}

fn together(operator: &str, mut all: Vec<Json>) -> Json {
    match all.pop() {
        Some(only) if all.is_empty() => only,
        last => {
            all.extend(last);
            json!({operator: all})
        }
    }
}

fn clause(clause: &ClauseDocument) -> Result<Json, String> {
    let (Some(attribute), Some(op)) = (&clause.attribute, clause.op) else {
        return Err("a segment has no equal there".to_owned());
    };
    let var = || json!({"var": attribute});
    let any =
        |make: &dyn Fn(&Json) -> Json| together("or", clause.values.iter().map(make).collect());
    let version = |op: &str| any(&|value| json!({"sem_ver": [var(), op, value]}));
    let same = |op: &str| {
        any(
            &|value| match value.as_str().is_some_and(|text| text.ends_with(".0-0")) {
                true => json!({"sem_ver": [var(), op, value]}),
                false => {
                    json!({"and": [{"sem_ver": [var(), op, value]}, {"sem_ver": [var(), ">=", value]}]})
                }
            },
        )
    };
    Ok(match op {
        Op::In if clause.values.len() == 1 => any(&|value| json!({"==": [var(), value]})),
        Op::In => json!({"in": [var(), clause.values]}),
        Op::NotIn => json!({"!": [{"in": [var(), clause.values]}]}),
        Op::StartsWith => any(&|value| json!({"starts_with": [var(), value]})),
        Op::EndsWith => any(&|value| json!({"ends_with": [var(), value]})),
        Op::Contains => any(&|value| json!({"in": [value, var()]})),
        Op::SemverEq => version("="),
        Op::SemverLt => version("<"),
        Op::SemverLe => version("<="),
        Op::SemverGt => version(">"),
        Op::SemverGe => version(">="),
        Op::SemverMajor => same("^"),
        Op::SemverMinor => same("~"),
        Op::Exists if clause.values.first() == Some(&Json::Bool(false)) => {
            json!({"==": [var(), null]})
        }
        Op::Exists => json!({"!=": [var(), null]}),
        Op::Matches | Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge | Op::Cidr => {
            return Err(format!("{op:?} has no equal there"));
        }
    })
}
