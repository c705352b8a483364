//! `compat`: flags from other systems, and to them. Asks no daemon. May import `compat` and `rules`.

use std::fmt::Display;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::documents;
use super::failure::{Exit, Failure};
use super::files;
use super::grammar::{CompatVerb, FlagdVerb, Notation, RedisArgs, RolloutVerb};
use super::session::Session;
use crate::compat::redis::{NoAnswer, Place, Redis};
use crate::compat::rollout::Side;
use crate::compat::{Imported, NoEqual, flagd, rollout};
use crate::rules::flag::FlagDocument;

/// `compat`
pub(super) fn compat(session: &mut Session<'_>, verb: &CompatVerb) -> Result<(), Failure> {
    match verb {
        CompatVerb::Flagd(FlagdVerb::Import { file, format }) => {
            let text = files::read(session.console, file)?;
            let imported = flagd::import(&text).map_err(usage)?;
            imported_to(session, imported, *format)
        }
        CompatVerb::Flagd(FlagdVerb::Export { file }) => {
            let exported = flagd::export(&flags(session, file)?);
            session.console.data(&format!("{:#}\n", exported.json));
            left_out(session, &exported.refused)
        }
        CompatVerb::Rollout(RolloutVerb::Import { redis, format }) => {
            let side = side(redis);
            let imported = rollout::import(&mut connect(redis)?, &side).map_err(unanswered)?;
            if imported == Imported::default() {
                let sentence = format!(
                    "no features: there is no {}; look whether --namespace and --database are right",
                    side.names()
                );
                return Err(Failure::new(Exit::NotFound, sentence));
            }
            imported_to(session, imported, *format)
        }
        CompatVerb::Rollout(RolloutVerb::Export {
            file,
            redis,
            dry_run,
        }) => {
            let flags = flags(session, file)?;
            export(session, &flags, redis, *dry_run)
        }
    }
}

fn export(
    session: &mut Session<'_>,
    flags: &[FlagDocument],
    asked: &RedisArgs,
    dry_run: bool,
) -> Result<(), Failure> {
    let mut redis = connect(asked)?;
    let written = rollout::export(&mut redis, flags, &side(asked)).map_err(unanswered)?;
    if !dry_run && !written.pairs.is_empty() {
        redis.set_all(&written.pairs).map_err(unanswered)?;
    }
    if session.json {
        let pairs = written.pairs.iter();
        let pairs: Vec<Json> = pairs
            .map(|(key, text)| json!({"key": key, "value": text}))
            .collect();
        session.console.data(&format!(
            "{:#}\n",
            json!({"written": pairs, "dry_run": dry_run})
        ));
    } else {
        for (key, text) in &written.pairs {
            session.console.data(&format!("{key} {text}\n"));
        }
        if written.pairs.is_empty() {
            session
                .console
                .say("nothing to write: Redis says so already");
        }
    }
    left_out(session, &written.refused)
}

fn imported_to(
    session: &mut Session<'_>,
    imported: Imported,
    format: Notation,
) -> Result<(), Failure> {
    let format = if session.json { Notation::Json } else { format };
    let documents = imported
        .flags
        .iter()
        .filter_map(|flag| serde_json::to_value(flag).ok());
    let documents = documents.map(|flag| Json::Object(documents::of_flag(&flag)));
    let text = documents::file(documents.collect(), Vec::new(), format)?;
    session.console.data(&text);
    left_out(session, &imported.refused)
}

/// The flags of a file, as `flag export` prints it.
fn flags(session: &mut Session<'_>, file: &Path) -> Result<Vec<FlagDocument>, Failure> {
    let text = files::read(session.console, file)?;
    let (flags, _) = documents::read_file(&text)?;
    serde_path_to_error::deserialize(flags)
        .map_err(|why| usage(format!("the flags cannot be read: {why}")))
}

fn left_out(session: &mut Session<'_>, refused: &[NoEqual]) -> Result<(), Failure> {
    for refused in refused {
        session.console.say(&format!("left out: {refused}"));
    }
    match refused.len() {
        0 => Ok(()),
        count => Err(Failure::new(
            Exit::Failed,
            format!("left out: {count}; they have no equal"),
        )),
    }
}

fn connect(asked: &RedisArgs) -> Result<Redis, Failure> {
    let password = std::env::var("SLUICEGATE_REDIS_PASSWORD").ok();
    let password = password.as_deref().filter(|password| !password.is_empty());
    if asked.user.is_some() && password.is_none() {
        return Err(usage(
            "--user needs a password: put it into SLUICEGATE_REDIS_PASSWORD",
        ));
    }
    let place = Place {
        address: &asked.redis,
        user: asked.user.as_deref(),
        password,
        database: asked.database,
    };
    Redis::connect(&place).map_err(unanswered)
}

fn side(asked: &RedisArgs) -> Side {
    Side {
        namespace: asked.namespace.clone(),
        by: asked.by.clone(),
        randomized: asked.randomized,
    }
}

fn usage(why: impl Display) -> Failure {
    Failure::new(Exit::Usage, why.to_string())
}

fn unanswered(why: NoAnswer) -> Failure {
    let exit = match why {
        NoAnswer::Gone(..) => Exit::Unreachable,
        NoAnswer::Denied(..) => Exit::Denied,
        NoAnswer::NoAddress(_) => Exit::Usage,
        NoAnswer::Meanwhile => Exit::Conflict,
        NoAnswer::Odd(..) | NoAnswer::NotText(..) => Exit::Failed,
    };
    Failure::new(exit, why.to_string())
}
