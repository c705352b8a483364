//! `topology` and `bypass`: what is beside a queue, and how to do without it. They read the file and change nothing. May import
//! `config`, `rules` and `topology`.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::failure::{Exit, Failure};
use super::grammar::{Format, TopologyArgs};
use super::session::Session;
use super::views::{QueueView, read};
use crate::config::{self, Queue, Settings};
use crate::rules::names::{QueueName, segment};
use crate::topology::bypass::{self, Live};
use crate::topology::{definitions, page, permissions::permissions};

/// `topology`
pub(super) fn topology(session: &mut Session<'_>, asked: &TopologyArgs) -> Result<(), Failure> {
    let settings = settings(session, &asked.file.config)?;
    let queues: Vec<&Queue> = match &asked.queue {
        None => settings.queues.iter().collect(),
        Some(name) => vec![find(&settings, name)?],
    };
    let own: Vec<definitions::OwnQueue> = queues
        .iter()
        .flat_map(|queue| definitions::own_queues(&settings, queue, session.now_ms))
        .collect();
    let may = permissions(&settings, &queues, settings.amqp.declare);
    let own = definitions::queues(&own);
    let may = definitions::permissions(&asked.user, &may);
    let printed = match asked.format {
        Format::Text if session.json => pretty(&json!({"queues": own, "permissions": may})),
        Format::Text => {
            let file = asked.file.config.display().to_string();
            page::page(&settings, &queues, &asked.user, &file, session.now_ms)
        }
        Format::Definitions => pretty(&json!({"queues": own})),
        Format::Permissions => pretty(&json!({"permissions": may})),
    };
    session.console.data(&printed);
    if asked.format == Format::Definitions && settings.amqp.declare {
        let note = "note: the file says `declare = true`, so the daemon makes these itself: park and dead letters anew each day, and \
                    lanes, which have no names beforehand";
        session.console.say(note);
    }
    Ok(())
}

/// `bypass`
pub(super) async fn bypass(
    session: &mut Session<'_>,
    name: &QueueName,
    file: &Path,
) -> Result<(), Failure> {
    let settings = settings(session, file)?;
    let queue = find(&settings, name)?;
    let live = match live(session, name).await {
        Ok(live) => Some(live),
        Err(why) => {
            let note = format!("note: no live counts: {}", why.sentence);
            session.console.say(&note);
            None
        }
    };
    let page = bypass::page(&settings, queue, live.as_ref());
    session.console.data(&page);
    Ok(())
}

async fn live(session: &Session<'_>, name: &QueueName) -> Result<Live, Failure> {
    let path = format!("/api/v1/queues/{}", segment(name.as_str()));
    let answer = session.get(&path).await?;
    let queue: QueueView = read(&answer)?;
    Ok(Live {
        state: queue.vitals.state,
        ready: queue.vitals.ready,
        in_hand: queue.ledger.in_hand,
        lanes: answer["lanes"]["keys"]
            .as_u64()
            .zip(answer["lanes"]["messages"].as_u64()),
    })
}

/// The file; what is wrong with it is said whole, with its lines and carets.
fn settings(session: &mut Session<'_>, file: &Path) -> Result<Settings, Failure> {
    config::read(file, &config::environment()).map_err(|problems| {
        session.console.say(&problems.to_string());
        let sentence = format!("{} cannot be used; mend it first", file.display());
        Failure::new(Exit::Failed, sentence)
    })
}

fn find<'s>(settings: &'s Settings, name: &QueueName) -> Result<&'s Queue, Failure> {
    let found = settings.queues.iter().find(|queue| queue.name == *name);
    found.ok_or_else(|| {
        let known: Vec<&str> = settings
            .queues
            .iter()
            .map(|queue| queue.name.as_str())
            .collect();
        let sentence = format!("the file has no queue {name}; it has {}", known.join(", "));
        Failure::new(Exit::NotFound, sentence)
    })
}

fn pretty(json: &Json) -> String {
    serde_json::to_string_pretty(json).unwrap_or_default()
}
