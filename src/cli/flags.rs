//! `flag list`, `get`, `create` and `set`. May import `rules`.

use hyper::{Method, header};
use serde_json::Value as Json;

use super::client::Ask;
use super::failure::Failure;
use super::grammar::{Keep, NewFlag, Terms};
use super::rules;
use super::session::{Seen, Session, fields, flag_path, would};
use super::table::{Cell, Side, Table, Tint};
use super::views::{FlagView, read};
use super::words::{lasting, moment, shown, typed};
use crate::rules::names::FlagKey;

/// `flag list`
pub(super) async fn list(
    session: &mut Session<'_>,
    part: Option<&str>,
    open: bool,
) -> Result<(), Failure> {
    let mut answer = session.list("/api/v1/flags").await?;
    if let Json::Array(items) = &mut answer["items"] {
        items.retain(|flag| wanted(flag, part.unwrap_or_default(), open));
    }
    let flags: Vec<FlagView> = read(&answer["items"])?;
    let now_ms = session.now_ms;
    session.show(&answer, |console| {
        if flags.is_empty() {
            console.say("no flag is like that; `sluicegate flag list` shows them all");
        } else {
            let table = table_of(&flags, now_ms).render(console.colour);
            console.data(&table);
        }
    });
    Ok(())
}

fn wanted(flag: &Json, part: &str, open: bool) -> bool {
    let named = flag["key"].as_str().is_some_and(|key| key.contains(part));
    let covered = flag["openings"]
        .as_array()
        .is_some_and(|all| !all.is_empty());
    named && (covered || !open)
}

fn table_of(flags: &[FlagView], now_ms: i64) -> Table {
    let mut table = Table::new([
        ("FLAG", Side::Left),
        ("VALUE", Side::Right),
        ("TYPE", Side::Left),
        ("OPENING", Side::Left),
        ("ENDS", Side::Right),
        ("WHY", Side::Left),
    ]);
    for flag in flags {
        let value = shown(&flag.now, &flag.value_type);
        let kind = match flag.rules.len() {
            0 => flag.value_type.clone(),
            1 => format!("{}, 1 rule", flag.value_type),
            count => format!("{}, {count} rules", flag.value_type),
        };
        let (tint, id, ends, why) = match flag.newest() {
            Some(over) => (
                Tint::Notable,
                over.id.as_str(),
                over.ends(now_ms),
                format!("{}: {}{}", over.owner, over.reason, over.only_for()),
            ),
            None => (Tint::Plain, "", String::new(), String::new()),
        };
        table.row([
            flag.key.as_str().into(),
            Cell::tinted(&value, tint),
            kind.into(),
            id.into(),
            ends.into(),
            why.into(),
        ]);
    }
    table
}

/// `flag get`
pub(super) async fn get(session: &mut Session<'_>, key: &FlagKey) -> Result<(), Failure> {
    let answer = session.get(&flag_path(key.as_str())).await?;
    let flag: FlagView = read(&answer)?;
    let now_ms = session.now_ms;
    session.show(&answer, |console| {
        console.data(&facts_of(&flag).render(console.colour));
        for table in [rules::table_of(&flag), openings_of(&flag, now_ms)] {
            if !table.is_empty() {
                console.data(&format!("\n{}", table.render(console.colour)));
            }
        }
    });
    Ok(())
}

fn facts_of(flag: &FlagView) -> Table {
    let show = |value: &Json| shown(value, &flag.value_type);
    let mut facts = Table::new([(flag.key.as_str(), Side::Left), ("", Side::Left)]);
    let tint = if flag.openings.is_empty() {
        Tint::Plain
    } else {
        Tint::Notable
    };
    facts.row(["  now".into(), Cell::tinted(&show(&flag.now), tint)]);
    let bound = |bound: Option<f64>| match bound {
        Some(seconds) if flag.value_type == "duration" => lasting(seconds),
        Some(bound) => bound.to_string(),
        None => String::new(),
    };
    for (name, text) in [
        ("  its own value", show(&flag.value)),
        (
            "  rules",
            match flag.enabled {
                true => String::new(),
                false => "off: the flag is disabled, everybody gets its own value".to_owned(),
            },
        ),
        ("  type", flag.value_type.clone()),
        ("  kind", flag.kind.clone()),
        ("  at least", bound(flag.min)),
        ("  at most", bound(flag.max)),
        ("  one of", flag.choices.join(", ")),
        ("  what it does", flag.description.clone()),
        ("  owner", flag.owner.clone()),
        ("  runbook", flag.runbook.clone()),
        ("  lots by", flag.by.clone().unwrap_or_default()),
        ("  seed", flag.seed.clone().unwrap_or_default()),
        (
            "  managed by",
            flag.managed.clone().map_or_else(String::new, |by| {
                format!("the {by} of flags: `flag apply` changes it, people open it")
            }),
        ),
        (
            "  last evaluated",
            flag.last_evaluated
                .as_deref()
                .map(moment)
                .unwrap_or_default(),
        ),
        ("  revision", flag.revision.to_string()),
    ] {
        if !text.is_empty() {
            facts.row([name.into(), text.into()]);
        }
    }
    facts
}

fn openings_of(flag: &FlagView, now_ms: i64) -> Table {
    let mut table = Table::new([
        ("OPENING", Side::Left),
        ("VALUE", Side::Right),
        ("OWNER", Side::Left),
        ("SINCE", Side::Left),
        ("ENDS", Side::Right),
        ("FOR", Side::Left),
        ("WHY", Side::Left),
    ]);
    let mut openings: Vec<_> = flag.openings.iter().collect();
    openings.sort_by_key(|opening| std::cmp::Reverse(opening.number()));
    for over in openings {
        table.row([
            over.id.as_str().into(),
            shown(over.on(&flag.key), &flag.value_type).into(),
            over.owner.as_str().into(),
            moment(&over.opened_at).into(),
            over.ends(now_ms).into(),
            over.whom().into(),
            over.reason.as_str().into(),
        ]);
    }
    table
}

/// `flag create`
pub(super) async fn create(session: &mut Session<'_>, new: &NewFlag) -> Result<(), Failure> {
    let reason = session.reason(&new.terms)?;
    let text = |text: &String| Json::from(text.as_str());
    let mut body = fields([
        ("key", Json::from(new.key.as_str())),
        ("kind", text(&new.kind)),
        ("type", text(&new.value_type)),
        ("value", typed(&new.value, &new.value_type)),
        ("description", text(&new.description)),
        ("owner", text(&new.owner)),
        ("runbook", text(&new.runbook)),
        ("choices", Json::from(new.choices.clone())),
        ("reason", Json::from(reason)),
    ]);
    let bounds = [("min", new.min), ("max", new.max)];
    body.extend(
        bounds
            .into_iter()
            .filter_map(|(name, bound)| Some((name.to_owned(), Json::from(bound?)))),
    );
    let lots = [("by", &new.by), ("seed", &new.seed)];
    body.extend(
        lots.into_iter()
            .filter_map(|(name, text)| Some((name.to_owned(), Json::from(text.as_deref()?)))),
    );
    let path = flag_path(new.key.as_str());
    let ask =
        Ask::write(Method::PUT, &path, body, new.terms.dry_run).with(header::IF_NONE_MATCH, "*");
    let answer = session.write(ask, &new.terms).await?.done()?;
    let value = shown(&answer["value"], &new.value_type);
    session.show(&answer, |console| {
        let made = if new.terms.dry_run {
            "would exist"
        } else {
            "exists"
        };
        console.data(&format!(
            "{}{} {made}, at {value}",
            would(&new.terms),
            new.key
        ));
    });
    Ok(())
}

/// `flag set`
pub(super) async fn set(
    session: &mut Session<'_>,
    key: &FlagKey,
    value: &str,
    keep: Keep,
    terms: &Terms,
) -> Result<(), Failure> {
    let (flag, etag) = session.flag(key.as_str()).await?;
    let reason = session.reason(terms)?;
    let value = typed(value, &flag.value_type);
    let seen = Seen {
        flag: &flag,
        etag: &etag,
        keep,
    };
    let answer = session.set(&seen, &value, &reason, terms).await?;
    let (was, is) = (
        shown(&flag.value, &flag.value_type),
        shown(&answer["value"], &flag.value_type),
    );
    let now_ms = session.now_ms;
    session.show(&answer, |console| {
        console.data(&format!("{}{key} {is} (was {was})", would(terms)));
        if let Some(over) = flag.in_force() {
            let note = format!(
                "it will be in force when the opening {} ends ({}): until then {key} stays at {}",
                over.id,
                over.ends(now_ms),
                shown(over.on(&flag.key), &flag.value_type)
            );
            console.say(&note);
        }
    });
    Ok(())
}
