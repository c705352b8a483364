//! `queue release`, and the blocked keys of one queue. May import `rules`.

use hyper::Method;
use serde::Deserialize;
use serde_json::Value as Json;

use super::client::Ask;
use super::console::Console;
use super::failure::Failure;
use super::grammar::{Terms, Which};
use super::session::{Session, fields, would};
use super::table::{Side, Table};
use super::views::read;
use super::words::moment;
use crate::rules::names::{QueueName, segment};

/// The keys of a queue that wait for their release, as the daemon tells of them.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Blocked {
    count: u64,
    keys: Vec<BlockedKey>,
}

#[derive(Debug, Deserialize)]
struct BlockedKey {
    key: String,
    cause: String,
    since: String,
}

#[derive(Debug, Deserialize)]
struct Released {
    released: u64,
    keys: Vec<BlockedKey>,
    left: u64,
}

impl Blocked {
    /// The blocked keys, and how they are released.
    pub(super) fn show(&self, queue: &str, console: &mut Console) {
        if self.count == 0 {
            return;
        }
        let mut table = Table::new([
            ("BLOCKED KEY", Side::Left),
            ("SINCE", Side::Left),
            ("CAUSE", Side::Left),
        ]);
        for blocked in &self.keys {
            table.row([
                blocked.key.as_str().into(),
                moment(&blocked.since).as_str().into(),
                blocked.cause.as_str().into(),
            ]);
        }
        console.data(&format!("\n{}", table.render(console.colour)));
        let more = self.count.saturating_sub(self.keys.len() as u64);
        if more > 0 {
            console.data(&format!("and {more} more"));
        }
        console.say(&format!(
            "release: sluicegate queue release {queue} --key KEY --reason \"...\""
        ));
    }
}

/// `queue release`
pub(super) async fn release(
    session: &mut Session<'_>,
    name: &QueueName,
    which: &Which,
    terms: &Terms,
) -> Result<(), Failure> {
    let reason = session.reason(terms)?;
    let chosen = match &which.key {
        Some(key) => ("key", Json::from(key.as_str())),
        None => ("all", Json::from(which.all)),
    };
    let body = fields([chosen, ("reason", Json::from(reason))]);
    let path = format!("/api/v1/queues/{}/release", segment(name.as_str()));
    let ask = Ask::write(Method::POST, &path, body, terms.dry_run);
    let answer = session.write(ask, terms).await?.done()?;
    let released: Released = read(&answer)?;
    let named = match &released.keys[..] {
        [one] => format!("released {:?} of {name}", one.key),
        _ => format!("released {} keys of {name}", released.released),
    };
    let left = match released.left {
        0 => "none is blocked now".to_owned(),
        left => format!("{left} are still blocked"),
    };
    let sentence = format!("{}{named}; {left}", would(terms));
    session.show(&answer, |console| console.data(&sentence));
    Ok(())
}
