//! The conditions of JsonLogic that have an equal among our clauses, as alternatives of clauses that hold together.

use serde_json::{Map, Value as Json};

use crate::rules::clause::{ClauseDocument, MOST_CLAUSES, Op};

/// Clauses that all hold.
pub(super) type Together = Vec<ClauseDocument>;

/// The most alternatives of one condition.
const MOST_ALTERNATIVES: usize = 50;
/// How deep a condition may be nested.
pub(super) const DEEPEST: usize = 32;

/// Reads a condition: it holds when one of the alternatives does.
pub(super) fn read(
    condition: &Json,
    evaluators: &Map<String, Json>,
) -> Result<Vec<Together>, String> {
    Reading { evaluators }.of(condition, false, 0)
}

/// The operator of a JsonLogic object, and what it is given.
pub(super) fn operation(logic: &Json) -> Option<(&str, &[Json])> {
    let object = logic.as_object().filter(|object| object.len() == 1)?;
    let (operator, given) = object.iter().next()?;
    Some(match given {
        Json::Array(given) => (operator, given),
        one => (operator, std::slice::from_ref(one)),
    })
}

/// The rule that stands under a name in `$evaluators`; they do not nest.
pub(super) fn referred<'a>(
    logic: &'a Json,
    evaluators: &'a Map<String, Json>,
) -> Result<&'a Json, String> {
    match operation(logic) {
        Some(("$ref", [Json::String(name)])) => evaluators
            .get(name)
            .ok_or_else(|| format!("`$ref` names {name:?}, which is not among `$evaluators`")),
        _ => Ok(logic),
    }
}

/// The attribute that `{"var": …}` names.
pub(super) fn attribute(logic: &Json) -> Result<&str, String> {
    let Some(("var", given)) = operation(logic) else {
        return Err(format!(
            "{} is compared, where only an attribute (`var`) can be",
            short(logic)
        ));
    };
    match given {
        [Json::String(name)] if name == "$flagd.timestamp" => {
            Err("`$flagd.timestamp` has no equal; open the flag for a time instead".to_owned())
        }
        [Json::String(name)] if !name.is_empty() && !name.starts_with("$flagd.") => Ok(name),
        [_, _] => Err("`var` with a value of its own for what is missing has no equal".to_owned()),
        _ => Err(format!("{} names no attribute", short(logic))),
    }
}

/// The first of a JSON text, for a sentence.
pub(super) fn short(logic: &Json) -> String {
    let text = logic.to_string();
    let mut start: String = text.chars().take(80).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

struct Reading<'a> {
    evaluators: &'a Map<String, Json>,
}

impl Reading<'_> {
    /// The alternatives under which a condition holds, or when `negated`, under which it does not.
    fn of(&self, condition: &Json, negated: bool, depth: usize) -> Result<Vec<Together>, String> {
        if depth > DEEPEST {
            return Err(format!("it is nested deeper than {DEEPEST}"));
        }
        let condition = referred(condition, self.evaluators)?;
        let Some((operator, given)) = operation(condition) else {
            return match condition {
                Json::Bool(holds) if *holds != negated => Ok(vec![Vec::new()]),
                Json::Bool(_) => Ok(Vec::new()),
                other => Err(format!("{} is no condition", short(other))),
            };
        };
        match (operator, negated) {
            ("and" | "or", _) if given.is_empty() => Err(format!("`{operator}` of nothing")),
            ("!", _) => match given {
                [inner] => self.of(inner, !negated, depth + 1),
                _ => Err("`!` takes one condition".to_owned()),
            },
            ("and", false) | ("or", true) => self.all(given, negated, depth),
            ("or", false) | ("and", true) => self.any(given, negated, depth),
            _ => Ok(vec![vec![clause(operator, given, negated)?]]),
        }
    }

    fn any(&self, given: &[Json], negated: bool, depth: usize) -> Result<Vec<Together>, String> {
        let mut alternatives = Vec::new();
        for condition in given {
            alternatives.extend(self.of(condition, negated, depth + 1)?);
            bounded(&alternatives)?;
        }
        Ok(alternatives)
    }

    fn all(&self, given: &[Json], negated: bool, depth: usize) -> Result<Vec<Together>, String> {
        let mut alternatives = vec![Vec::new()];
        for condition in given {
            let more = self.of(condition, negated, depth + 1)?;
            let joined = alternatives.iter().flat_map(|before: &Together| {
                more.iter().map(|more| [before.as_slice(), more].concat())
            });
            // Never more than the square of the most.
            alternatives = joined.collect();
            bounded(&alternatives)?;
        }
        Ok(alternatives)
    }
}

fn bounded(alternatives: &[Together]) -> Result<(), String> {
    if alternatives.len() > MOST_ALTERNATIVES {
        return Err(format!(
            "a condition has more than {MOST_ALTERNATIVES} alternatives; write it as several flags"
        ));
    }
    if alternatives
        .iter()
        .any(|together| together.len() > MOST_CLAUSES)
    {
        return Err(format!(
            "more than {MOST_CLAUSES} conditions stand together; make a segment of some"
        ));
    }
    Ok(())
}

fn clause(operator: &str, given: &[Json], negated: bool) -> Result<ClauseDocument, String> {
    let made = |attribute: &str, op, values: Vec<Json>| ClauseDocument {
        attribute: Some(attribute.to_owned()),
        op: Some(op),
        values,
        segment: None,
    };
    let not = |what: &str| {
        Err(format!(
            "`!` of `{what}` has no equal: a missing attribute would count otherwise"
        ))
    };
    match (operator, given) {
        ("==" | "===" | "!=" | "!==", [one, other]) => {
            let turned = matches!(operation(other), Some(("var", _)));
            let (var, literal) = if turned { (other, one) } else { (one, other) };
            let attribute = attribute(var)?;
            let equal = operator.starts_with('=') != negated;
            match literal {
                Json::Null => Ok(made(attribute, Op::Exists, vec![(!equal).into()])),
                literal => {
                    let op = if equal { Op::In } else { Op::NotIn };
                    Ok(made(attribute, op, vec![plain(literal)?.clone()]))
                }
            }
        }
        ("in", [var, Json::Array(list)]) => {
            let op = if negated { Op::NotIn } else { Op::In };
            let values = list.iter().map(|value| plain(value).cloned());
            Ok(made(attribute(var)?, op, values.collect::<Result<_, _>>()?))
        }
        ("in", _) if negated => not("in"),
        ("in", [part @ Json::String(_), var]) => Ok(made(
            attribute(var)?,
            Op::Contains,
            vec![plain(part)?.clone()],
        )),
        ("starts_with" | "ends_with" | "sem_ver", _) if negated => not(operator),
        ("starts_with", [var, part @ Json::String(_)]) => Ok(made(
            attribute(var)?,
            Op::StartsWith,
            vec![plain(part)?.clone()],
        )),
        ("ends_with", [var, part @ Json::String(_)]) => Ok(made(
            attribute(var)?,
            Op::EndsWith,
            vec![plain(part)?.clone()],
        )),
        ("sem_ver", [var, Json::String(op), Json::String(version)]) => {
            let (op, version) = version_op(op, version)?;
            Ok(made(attribute(var)?, op, vec![version.into()]))
        }
        (operator, given) => {
            let given = short(&Json::from(given.to_vec()));
            Err(format!("`{operator}` with {given} has no equal here"))
        }
    }
}

/// What our clauses can compare with.
fn plain(literal: &Json) -> Result<&Json, String> {
    match literal {
        Json::String(text) if text.is_empty() => {
            Err("the empty text has no equal; ask whether the attribute exists".to_owned())
        }
        Json::String(_) | Json::Number(_) | Json::Bool(_) => Ok(literal),
        other => Err(format!(
            "{} cannot be compared with an attribute",
            short(other)
        )),
    }
}

/// flagd's `^` and `~` ask for equal first numbers alone, ours also for a version that is not earlier: so from the first of all.
fn version_op(op: &str, version: &str) -> Result<(Op, String), String> {
    let plain = match op {
        "=" => Op::SemverEq,
        "<" => Op::SemverLt,
        "<=" => Op::SemverLe,
        ">" => Op::SemverGt,
        ">=" => Op::SemverGe,
        "^" | "~" => {
            let numbers = version.trim_start_matches(['v', 'V']);
            let mut numbers = numbers.split(['.', '-', '+']);
            let major = numbers.next().unwrap_or_default();
            let minor = numbers.next().unwrap_or("0");
            return Ok(match op {
                "^" => (Op::SemverMajor, format!("{major}.0.0-0")),
                _ => (Op::SemverMinor, format!("{major}.{minor}.0-0")),
            });
        }
        other => return Err(format!("`sem_ver` with {other:?} has no equal here")),
    };
    Ok((plain, version.to_owned()))
}
