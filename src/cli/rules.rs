//! `flag rule list`, `add` and `remove`. May import `rules`.

use serde_json::{Value as Json, json};

use super::clauses;
use super::failure::{Exit, Failure};
use super::grammar::{Keep, NewRule, Place, Terms};
use super::session::{Seen, Session, fields, would};
use super::table::{Side, Table};
use super::views::FlagView;
use super::words::{share, shown, typed};
use crate::rules::document::{RuleDocument, ShareDocument};
use crate::rules::names::FlagKey;

/// `flag rule list`
pub(super) async fn list(session: &mut Session<'_>, key: &FlagKey) -> Result<(), Failure> {
    let (flag, _) = session.flag(key.as_str()).await?;
    let answer = json!({"items": flag.whole["rules"].as_array().cloned().unwrap_or_default()});
    session.show(&answer, |console| {
        let table = table_of(&flag);
        if table.is_empty() {
            let value = shown(&flag.value, &flag.value_type);
            console.say(&format!("{key} has no rules: everybody gets {value}"));
        } else {
            console.data(&table.render(console.colour));
        }
    });
    Ok(())
}

/// The rules of a flag in their order, and last what everybody else gets.
pub(super) fn table_of(flag: &FlagView) -> Table {
    let mut table = Table::new([
        ("RULE", Side::Left),
        ("WHO", Side::Left),
        ("GETS", Side::Left),
    ]);
    for rule in &flag.rules {
        table.row([
            rule.name.as_str().into(),
            whom(rule).into(),
            gets(rule, flag).into(),
        ]);
    }
    if !flag.rules.is_empty() {
        let value = shown(&flag.value, &flag.value_type);
        table.row(["".into(), "everybody else".into(), value.into()]);
    }
    table
}

fn whom(rule: &RuleDocument) -> String {
    match rule.when.is_empty() {
        true => "everybody".to_owned(),
        false => clauses::shown(&rule.when),
    }
}

fn gets(rule: &RuleDocument, flag: &FlagView) -> String {
    if let Some(value) = &rule.value {
        return shown(value, &flag.value_type);
    }
    let by = rule.by.as_deref().or(flag.by.as_deref());
    let shares: Vec<String> = rule
        .split
        .iter()
        .map(|part| {
            let value = shown(&part.value, &flag.value_type);
            format!("{} of them {value}", share(part.share))
        })
        .collect();
    format!("{}, by {}", shares.join(", "), by.unwrap_or("account"))
}

/// `flag rule add`
pub(super) async fn add(session: &mut Session<'_>, new: &NewRule) -> Result<(), Failure> {
    let (flag, etag) = session.flag(new.key.as_str()).await?;
    let mut rules = flag.rules.clone();
    put(&mut rules, rule_of(new, &flag), &new.place, &flag.key)?;
    let reason = session.reason(&new.terms)?;
    let seen = Seen {
        flag: &flag,
        etag: &etag,
        keep: new.keep,
    };
    let after = write(session, &seen, &rules, &reason, &new.terms).await?;
    tell(session, &after, &new.terms)
}

fn rule_of(new: &NewRule, flag: &FlagView) -> RuleDocument {
    let value = |text: &str| typed(text, &flag.value_type);
    let split = new.gets.split.iter().map(|part| ShareDocument {
        value: value(&part.value),
        share: part.share.get(),
    });
    RuleDocument {
        name: new.name.clone(),
        when: new
            .whom
            .when
            .iter()
            .map(|clause| clause.0.clone())
            .collect(),
        value: new.gets.value.as_deref().map(value),
        by: new.by.clone(),
        split: split.collect(),
    }
}

/// Puts a rule where it shall stand: before all others, unless said otherwise.
fn put(
    rules: &mut Vec<RuleDocument>,
    rule: RuleDocument,
    place: &Place,
    key: &str,
) -> Result<(), Failure> {
    let at = |rules: &[RuleDocument], name: &str| rules.iter().position(|one| one.name == name);
    let same = at(rules, &rule.name);
    match (same, &place.before) {
        (Some(same), _) if place.replace => rules[same] = rule,
        (Some(_), _) => {
            let sentence = format!(
                "{key} has a rule {:?} already; --replace puts this one in its place, or choose another name",
                rule.name
            );
            return Err(Failure::new(Exit::Conflict, sentence));
        }
        (None, Some(before)) => {
            let at = at(rules, before).ok_or_else(|| no_rule(rules, before, key))?;
            rules.insert(at, rule);
        }
        (None, None) if place.replace => return Err(no_rule(rules, &rule.name, key)),
        (None, None) if place.last => rules.push(rule),
        (None, None) => rules.insert(0, rule),
    }
    Ok(())
}

fn no_rule(rules: &[RuleDocument], name: &str, key: &str) -> Failure {
    let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    let has = match names.is_empty() {
        true => "it has none".to_owned(),
        false => format!("it has {}", names.join(", ")),
    };
    Failure::new(Exit::NotFound, format!("{key} has no rule {name:?}; {has}"))
}

/// `flag rule remove`
pub(super) async fn remove(
    session: &mut Session<'_>,
    key: &FlagKey,
    name: &str,
    keep: Keep,
    terms: &Terms,
) -> Result<(), Failure> {
    let (flag, etag) = session.flag(key.as_str()).await?;
    let mut rules = flag.rules.clone();
    rules.retain(|rule| rule.name != name);
    if rules.len() == flag.rules.len() {
        return Err(no_rule(&rules, name, &flag.key));
    }
    let reason = session.reason(terms)?;
    let seen = Seen {
        flag: &flag,
        etag: &etag,
        keep,
    };
    let after = write(session, &seen, &rules, &reason, terms).await?;
    tell(session, &after, terms)
}

async fn write(
    session: &mut Session<'_>,
    seen: &Seen<'_>,
    rules: &[RuleDocument],
    reason: &str,
    terms: &Terms,
) -> Result<Json, Failure> {
    let rules = rules
        .iter()
        .map(|rule| serde_json::to_value(rule).unwrap_or_default());
    let change = fields([("rules", rules.collect()), ("reason", Json::from(reason))]);
    session.patch(seen, change, terms).await
}

/// Shows the rules as they stand after a change.
fn tell(session: &mut Session<'_>, after: &Json, terms: &Terms) -> Result<(), Failure> {
    let flag = FlagView::of(after.clone())?;
    session.show(after, |console| {
        let rules = match flag.rules.len() {
            0 => format!(
                "no rules: everybody gets {}",
                shown(&flag.value, &flag.value_type)
            ),
            1 => "1 rule:".to_owned(),
            count => format!("{count} rules, tried in this order:"),
        };
        let has = if terms.dry_run { "would have" } else { "has" };
        console.data(&format!("{}{} {has} {rules}", would(terms), flag.key));
        if !flag.rules.is_empty() {
            console.data(&table_of(&flag).render(console.colour));
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(word: &str) -> Place {
        Place {
            before: word.strip_prefix("before ").map(str::to_owned),
            last: word == "last",
            replace: word == "replace",
        }
    }

    fn check(name: &str, word: &str, wanted: Result<&str, Exit>) {
        let named = |name: &str| RuleDocument {
            name: name.to_owned(),
            ..RuleDocument::default()
        };
        let mut rules = vec![named("a"), named("b")];
        let new = RuleDocument {
            value: Some(json!(1)),
            ..named(name)
        };
        let put = put(&mut rules, new, &place(word), "k").map_err(|why| why.exit);
        let shown = |rule: &RuleDocument| {
            format!(
                "{}{}",
                rule.name,
                if rule.value.is_some() { "*" } else { "" }
            )
        };
        let after: Vec<String> = rules.iter().map(shown).collect();
        assert_eq!(
            put.map(|()| after.join(" ")),
            wanted.map(str::to_owned),
            "{name} {word}"
        );
    }

    #[test]
    fn a_rule_stands_where_it_was_told() {
        check("c", "", Ok("c* a b"));
        check("c", "last", Ok("a b c*"));
        check("c", "before b", Ok("a c* b"));
        check("c", "before d", Err(Exit::NotFound));
        check("a", "", Err(Exit::Conflict));
        check("a", "last", Err(Exit::Conflict));
        check("b", "replace", Ok("a b*"));
        check("c", "replace", Err(Exit::NotFound));
    }
}
