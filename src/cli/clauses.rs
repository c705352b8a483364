//! Clauses as they are typed and shown: `account=acme`, `type^=bulk.`, `segment:beta`. May import `rules`.

use std::fmt;
use std::str::FromStr;

use serde_json::Value as Json;
use thiserror::Error;

use crate::rules::clause::{BadClause, Clause, ClauseDocument, Op, attribute_name};
use crate::rules::context::{Vocabulary, plain_text};
use crate::rules::segment::{NotASegment, SegmentName, Segments};

/// The signs between an attribute and its values; where two begin at one place, the first of this list is meant.
const SIGNS: [(&str, Op); 11] = [
    ("!=", Op::NotIn),
    ("^=", Op::StartsWith),
    ("$=", Op::EndsWith),
    ("*=", Op::Contains),
    ("~=", Op::Matches),
    ("<=", Op::Le),
    (">=", Op::Ge),
    ("=", Op::In),
    ("<", Op::Lt),
    (">", Op::Gt),
    ("@", Op::Cidr),
];
const SEGMENT: &str = "segment:";

/// A clause as somebody typed it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Typed(pub(super) ClauseDocument);

/// Why a text is no clause; each sentence says the cure.
#[derive(Debug, Error, PartialEq)]
pub(super) enum NotAClause {
    #[error(
        "{0:?} is no clause; write one like account=acme,globex  type^=bulk.  retries>3  ip@10.0.0.0/8  plan?  segment:beta"
    )]
    NoSign(String),
    #[error("{0:?} names no attribute before its sign; write one like account=acme")]
    NoAttribute(String),
    #[error(
        "{clause:?} says nothing after `{sign}`; write one like account=acme, or account? for any that is there"
    )]
    NoValue { clause: String, sign: &'static str },
    #[error("{0:?} has a comma too many; values stand between commas, a comma in a value is \\,")]
    EmptyValue(String),
    #[error("{clause:?}: {typed} is no sign; {meant}")]
    OtherSign {
        clause: String,
        typed: &'static str,
        meant: &'static str,
    },
    #[error("{clause:?}: `{sign}` compares with a number, such as retries>3; got {value:?}")]
    NotANumber {
        clause: String,
        sign: &'static str,
        value: String,
    },
    #[error(
        "{0:?}: `!` stands before segment:NAME or before ATTRIBUTE?, as in !segment:beta; values are excluded by account!=acme"
    )]
    LoneNot(String),
    #[error(transparent)]
    Segment(#[from] NotASegment),
    #[error("{clause:?} is no clause as JSON: {why}")]
    Json { clause: String, why: String },
    #[error("{clause:?}: {why}")]
    Bad { clause: String, why: BadClause },
}

impl FromStr for Typed {
    type Err = NotAClause;
    fn from_str(text: &str) -> Result<Self, NotAClause> {
        let text = text.trim();
        let document = if text.starts_with('{') {
            serde_json::from_str(text).map_err(|why| NotAClause::Json {
                clause: short(text),
                why: why.to_string(),
            })?
        } else {
            read(text)?
        };
        checked(text, &document)?;
        Ok(Self(document))
    }
}

/// What the daemon would say of it, without asking; whether a segment is there only the daemon knows.
fn checked(text: &str, document: &ClauseDocument) -> Result<(), NotAClause> {
    if let (Some(name), None) = (&document.segment, &document.attribute) {
        name.parse::<SegmentName>()?;
        return Ok(());
    }
    let mut vocabulary = Vocabulary::default();
    Clause::compile(document, &Segments::default(), &mut vocabulary)
        .map(|_| ())
        .map_err(|why| NotAClause::Bad {
            clause: short(text),
            why,
        })
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

fn read(text: &str) -> Result<ClauseDocument, NotAClause> {
    let (not, rest) = match text.strip_prefix('!') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    if let Some(name) = rest.strip_prefix(SEGMENT) {
        return Ok(ClauseDocument {
            segment: Some(name.to_owned()),
            op: not.then_some(Op::NotIn),
            ..ClauseDocument::default()
        });
    }
    if let Some(name) = rest
        .strip_suffix('?')
        .filter(|name| sign_in(name).is_none())
    {
        let missing = not.then(|| vec![Json::from(false)]);
        return about(text, name, Op::Exists, missing.unwrap_or_default());
    }
    if not {
        return Err(NotAClause::LoneNot(short(text)));
    }
    let (name, sign, op, values) = sign_in(text).ok_or_else(|| NotAClause::NoSign(short(text)))?;
    other_sign(text, sign, values)?;
    about(text, name, op, values_of(text, sign, op, values.trim())?)
}

fn about(text: &str, name: &str, op: Op, values: Vec<Json>) -> Result<ClauseDocument, NotAClause> {
    let name = name.trim();
    if name.is_empty() {
        return Err(NotAClause::NoAttribute(short(text)));
    }
    let bad = |why| NotAClause::Bad {
        clause: short(text),
        why,
    };
    attribute_name(name).map_err(bad)?;
    Ok(ClauseDocument {
        attribute: Some(name.to_owned()),
        op: Some(op),
        values,
        segment: None,
    })
}

/// The first sign of a text, with what stands before and after it.
fn sign_in(text: &str) -> Option<(&str, &'static str, Op, &str)> {
    text.char_indices().find_map(|(at, _)| {
        let rest = &text[at..];
        let found = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign));
        found.map(|(sign, op)| (&text[..at], *sign, *op, &rest[sign.len()..]))
    })
}

/// Signs of other languages that would else become part of a value.
fn other_sign(text: &str, sign: &'static str, values: &str) -> Result<(), NotAClause> {
    let (typed, meant) = match (sign, values.chars().next()) {
        ("=", Some('=')) => ("`==`", "one = is enough"),
        ("=", Some('~')) => ("`=~`", "a regular expression is attribute~=pattern"),
        ("=", Some('>')) => ("`=>`", "write >= for that or more"),
        ("=", Some('<')) => ("`=<`", "write <= for that or less"),
        ("<", Some('>')) => ("`<>`", "write != for none of these"),
        _ => return Ok(()),
    };
    Err(NotAClause::OtherSign {
        clause: short(text),
        typed,
        meant,
    })
}

fn values_of(
    text: &str,
    sign: &'static str,
    op: Op,
    values: &str,
) -> Result<Vec<Json>, NotAClause> {
    if values.is_empty() {
        return Err(NotAClause::NoValue {
            clause: short(text),
            sign,
        });
    }
    match op {
        // Commas and backslashes belong to a pattern.
        Op::Matches => Ok(vec![Json::from(values)]),
        Op::Lt | Op::Le | Op::Gt | Op::Ge => {
            let number: Option<f64> = values.parse().ok().filter(|n: &f64| n.is_finite());
            let whole: Option<i64> = values.parse().ok();
            let number = whole.map(Json::from).or(number.map(Json::from));
            number
                .map(|number| vec![number])
                .ok_or_else(|| NotAClause::NotANumber {
                    clause: short(text),
                    sign,
                    value: short(values),
                })
        }
        _ => listed(text, values),
    }
}

/// Values between commas; `\,` is a comma and `\\` a backslash in a value.
fn listed(text: &str, values: &str) -> Result<Vec<Json>, NotAClause> {
    let mut all = vec![String::new()];
    let mut signs = values.chars().peekable();
    while let Some(sign) = signs.next() {
        match (sign, signs.peek().copied(), all.last_mut()) {
            ('\\', Some(next @ (',' | '\\')), Some(last)) => {
                last.push(next);
                signs.next();
            }
            (',', ..) => all.push(String::new()),
            (_, _, Some(last)) => last.push(sign),
            (_, _, None) => {}
        }
    }
    if all.iter().any(|value| value.trim().is_empty()) {
        return Err(NotAClause::EmptyValue(short(text)));
    }
    Ok(all.iter().map(|value| Json::from(value.trim())).collect())
}

/// A clause as it would be typed; one that has no signs is shown as JSON, which can be typed, too.
pub(super) struct Shown<'a>(pub(super) &'a ClauseDocument);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClauseDocument {
            attribute,
            op,
            values,
            segment,
        } = self.0;
        match (attribute, segment, op) {
            (None, Some(name), None | Some(Op::In)) => write!(f, "{SEGMENT}{name}"),
            (None, Some(name), Some(Op::NotIn)) => write!(f, "!{SEGMENT}{name}"),
            (Some(name), None, Some(Op::Exists)) => match values.as_slice() {
                [Json::Bool(false)] => write!(f, "!{name}?"),
                _ => write!(f, "{name}?"),
            },
            (Some(name), None, Some(op)) => match written(name, *op, values) {
                Some(text) => f.write_str(&text),
                None => self.as_json(f),
            },
            _ => self.as_json(f),
        }
    }
}

impl Shown<'_> {
    fn as_json(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self.0).unwrap_or_default())
    }
}

/// The text of a clause, if it reads as the same again.
fn written(name: &str, op: Op, values: &[Json]) -> Option<String> {
    let (sign, _) = SIGNS.iter().find(|(_, known)| *known == op)?;
    let plain: Vec<String> = values.iter().map(plain_text).collect::<Option<_>>()?;
    let list = match op {
        Op::Matches => plain.join(","),
        _ => {
            let escaped = plain.iter().map(|value| value.replace('\\', "\\\\"));
            let escaped: Vec<String> = escaped.map(|value| value.replace(',', "\\,")).collect();
            escaped.join(",")
        }
    };
    let text = format!("{name}{sign}{list}");
    let again: Typed = text.parse().ok()?;
    let same: Option<Vec<String>> = again.0.values.iter().map(plain_text).collect();
    let is_same = again.0.attribute.as_deref() == Some(name) && again.0.op == Some(op);
    (is_same && same? == plain).then_some(text)
}

/// Clauses one after the other, as all of them have to hold.
pub(super) fn shown(clauses: &[ClauseDocument]) -> String {
    let all: Vec<String> = clauses.iter().map(|one| Shown(one).to_string()).collect();
    all.join(" and ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn check(text: &str, wanted: Json, shown: &str) {
        let Typed(document) = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(serde_json::to_value(&document).unwrap(), wanted, "{text}");
        assert_eq!(Shown(&document).to_string(), shown, "{text}");
    }

    fn of(attribute: &str, op: &str, values: Json) -> Json {
        json!({"attribute": attribute, "op": op, "values": values})
    }

    #[test]
    fn each_sign_is_an_operator() {
        for (text, wanted) in [
            ("account=acme", of("account", "in", json!(["acme"]))),
            (
                "account=acme,globex",
                of("account", "in", json!(["acme", "globex"])),
            ),
            ("account!=acme", of("account", "not_in", json!(["acme"]))),
            (
                "type^=bulk.,mass.",
                of("type", "starts_with", json!(["bulk.", "mass."])),
            ),
            ("type$=.csv", of("type", "ends_with", json!([".csv"]))),
            ("type*=report", of("type", "contains", json!(["report"]))),
            (
                r"id~=^a{1,3}\d=$",
                of("id", "matches", json!([r"^a{1,3}\d=$"])),
            ),
            ("retries<5", of("retries", "lt", json!([5]))),
            ("retries<=5", of("retries", "le", json!([5]))),
            ("retries>-0.5", of("retries", "gt", json!([-0.5]))),
            ("header.x-size>=10", of("header.x-size", "ge", json!([10]))),
            (
                "ip@10.0.0.0/8,::1",
                of("ip", "cidr", json!(["10.0.0.0/8", "::1"])),
            ),
            (
                "body./customer/id=7",
                of("body./customer/id", "in", json!(["7"])),
            ),
            (r"name=a\,b\\", of("name", "in", json!([r"a,b\"]))),
            (r"path=c:\temp", of("path", "in", json!([r"c:\temp"]))),
            (
                "mail=ana@example.org",
                of("mail", "in", json!(["ana@example.org"])),
            ),
            (
                "url=http://a/?b=c",
                of("url", "in", json!(["http://a/?b=c"])),
            ),
        ] {
            let shown = if text.starts_with("path") {
                r"path=c:\\temp"
            } else {
                text
            };
            check(text, wanted, shown);
        }
        check(
            "plan?",
            json!({"attribute": "plan", "op": "exists"}),
            "plan?",
        );
        check("!plan?", of("plan", "exists", json!([false])), "!plan?");
        check("segment:beta", json!({"segment": "beta"}), "segment:beta");
        check(
            "!segment:beta",
            json!({"op": "not_in", "segment": "beta"}),
            "!segment:beta",
        );
        check(
            " account = acme , globex ",
            of("account", "in", json!(["acme", "globex"])),
            "account=acme,globex",
        );
        let version = r#"{"attribute":"v","op":"semver_ge","values":["2.1.0"]}"#;
        check(version, serde_json::from_str(version).unwrap(), version);
    }

    #[test]
    fn what_is_no_clause_is_refused_with_its_cure() {
        for (text, cure) in [
            ("account", "write one like account=acme"),
            ("", "write one like account=acme"),
            ("=acme", "names no attribute"),
            ("?", "names no attribute"),
            ("account=", "account? for any"),
            ("account=a,,b", "a comma too many"),
            ("account=a,", "a comma too many"),
            ("account==acme", "one = is enough"),
            ("id=~^a", "attribute~=pattern"),
            ("retries=>3", "write >="),
            ("retries=<3", "write <="),
            ("account<>acme", "write !="),
            ("retries>many", "compares with a number"),
            ("retries<nan", "compares with a number"),
            ("my account=acme", "no name of an attribute"),
            ("!account=acme", "stands before segment:NAME"),
            ("segment:a/b", "cannot name a segment"),
            ("segment:", "cannot name a segment"),
            ("ip@10.0.0.0/40", "10.0.0.0/40"),
            ("id~=(", "Matches"),
            ("{\"op\": 1}", "as JSON"),
            (
                r#"{"attribute":"a","segment":"b"}"#,
                "either an `attribute` or a `segment`",
            ),
        ] {
            let why = text.parse::<Typed>().unwrap_err().to_string();
            assert!(why.contains(cure), "{text}: {why}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_as_the_same_clause(
            name in "[a-z][a-z.-]{0,9}",
            sign in prop::sample::select(SIGNS.map(|(_, op)| op).to_vec()),
            values in prop::collection::vec("[ -~]{0,9}", 0..3),
        ) {
            let document = ClauseDocument {
                attribute: Some(name),
                op: Some(sign),
                values: values.into_iter().map(Json::from).collect(),
                segment: None,
            };
            if checked("", &document).is_ok() {
                let Typed(again) = Shown(&document).to_string().parse().unwrap();
                let texts = |of: &ClauseDocument| of.values.iter().map(plain_text).collect::<Vec<_>>();
                prop_assert_eq!((&again.attribute, again.op), (&document.attribute, document.op));
                prop_assert_eq!(texts(&again), texts(&document));
            }
        }

        #[test]
        fn no_text_is_too_much_for_it(text in "\\PC{0,40}") {
            let _ = text.parse::<Typed>();
        }
    }
}
