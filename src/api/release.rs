//! `/api/v1/queues/{name}/release`: the blocked keys of a queue that keeps its order.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Answer;
use super::body::Named;
use super::error::{BAD_VALUE, BROKEN, INCOMPLETE, LONGEST_ECHO, NO_SUCH_KEY, Problem, STORE};
use super::write::{Sender, Write, WriteQuery};
use super::{Doors, QueueDoor, queues};
use crate::store::{Blocked, BlockedEntry};

/// The most blocked keys that are shown at once.
const MOST_SHOWN: usize = 100;
/// The longest reason, in bytes, as for changes of flags.
const LONGEST_REASON: usize = 1_024;

/// The keys that wait for their release after a failure; what comes of them is parked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BlockedKeys)]
pub(super) struct BlockedView {
    /// How many they are.
    count: u64,
    /// Those that are blocked longest, at most 100.
    keys: Vec<BlockedKey>,
}

/// A blocked key.
#[derive(Debug, Serialize, ToSchema)]
struct BlockedKey {
    /// The key; empty: messages without one; `*`: the whole queue.
    #[schema(example = "acme")]
    key: String,
    /// What failed.
    #[schema(example = "message o-17 failed: the worker answered 400")]
    cause: String,
    /// Since when.
    #[schema(format = DateTime)]
    since: String,
}

impl BlockedView {
    /// The blocked keys of a queue.
    pub(super) fn of(blocked: &Blocked) -> Self {
        Self {
            count: blocked.count(),
            keys: shown(&blocked.oldest(MOST_SHOWN)),
        }
    }
}

fn shown(entries: &[BlockedEntry]) -> Vec<BlockedKey> {
    let shown = entries.iter().take(MOST_SHOWN);
    shown
        .map(|entry| BlockedKey {
            key: entry.key.clone(),
            cause: entry.cause.clone(),
            since: jiff::Timestamp::from_millisecond(entry.since_ms)
                .unwrap_or_default()
                .to_string(),
        })
        .collect()
}

/// Which keys are released, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Release {
    /// The key.
    #[serde(default)]
    #[schema(example = "acme")]
    key: Option<String>,
    /// Every key that is blocked, instead of one.
    #[serde(default)]
    all: bool,
    /// Why; never empty.
    #[serde(default)]
    #[schema(
        required = true,
        min_length = 1,
        max_length = 1024,
        example = "the address is mended"
    )]
    reason: String,
    /// Shows what would be released; nothing is changed.
    #[serde(default)]
    dry_run: bool,
}

/// What was released.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Released {
    /// How many keys.
    released: usize,
    /// Which, at most 100 of them.
    keys: Vec<BlockedKey>,
    /// How many are still blocked.
    left: u64,
    /// Present and true when this only shows what would be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

/// Releases blocked keys: what comes of them from now on is done again. What was parked meanwhile stays in the park.
#[utoipa::path(post, path = "/api/v1/queues/{name}/release", tag = "queues", request_body = Release,
    params(("name" = String, Path, description = "The queue's name, percent-encoded: `billing%2Forders`."), WriteQuery),
    responses(
        (status = 200, description = "What was released (or would be: `dry_run`).", body = Released),
        (status = 404, description = "There is no such queue, or this key of it is not blocked."),
        (status = 422, description = "Neither `key` nor `all`, or both, or no `reason`."),
        (status = 503, description = "The store cannot be written; what was not released is still blocked."),
))]
pub(super) async fn release(
    State(doors): State<Arc<Doors>>,
    Named(name): Named,
    Write { body, sender }: Write<Release>,
) -> Result<Answer, Problem> {
    body.is_whole()?;
    let doing = tokio::task::spawn_blocking(move || {
        let queue = queues::find(&doors, &name)?;
        let dry_run = body.dry_run || sender.is_dry_run();
        sender.once(&doors, dry_run, || act(queue, &body, &sender, dry_run))
    });
    doing.await.unwrap_or_else(|_| {
        let sentence = "the release broke off by a fault of ours; look at what is blocked now before you repeat it, and report the log";
        Err(Problem::new(BROKEN, sentence))
    })
}

impl Release {
    fn is_whole(&self) -> Result<(), Problem> {
        if self.key.is_some() == self.all {
            let sentence = "say which: one blocked key (`key`), or every one (`\"all\": true`)";
            return Err(Problem::new(INCOMPLETE, sentence).at("/key"));
        }
        if self.reason.trim().is_empty() {
            let sentence = "say why (`reason`); it is kept in the log";
            return Err(Problem::new(INCOMPLETE, sentence).at("/reason"));
        }
        if self.reason.len() > LONGEST_REASON {
            let sentence = format!("`reason` may have {LONGEST_REASON} bytes; say it shorter");
            return Err(Problem::new(BAD_VALUE, sentence).at("/reason"));
        }
        Ok(())
    }
}

fn act(
    queue: &QueueDoor,
    body: &Release,
    sender: &Sender,
    dry_run: bool,
) -> Result<Answer, Problem> {
    let (blocked, name) = (&queue.blocked, &queue.settings.name);
    let entries = blocked.named(body.key.as_deref());
    if let Some(key) = body.key.as_ref().filter(|_| entries.is_empty()) {
        let key: String = key.chars().take(LONGEST_ECHO).collect();
        let sentence = format!(
            "the key {key:?} of `{name}` is not blocked; GET /api/v1/queues/{name} shows those that are"
        );
        return Err(Problem::new(NO_SUCH_KEY, sentence).at("/key"));
    }
    let mut released = entries.len();
    if !dry_run {
        released = blocked
            .release(&entries)
            .map_err(|why| Problem::new(STORE, why.to_string()))?;
        let reason: String = body.reason.chars().take(LONGEST_ECHO).collect();
        tracing::warn!(
            queue = %name, key = ?body.key, released, left = blocked.count(), who = ?sender.name(), why = ?reason,
            "blocked keys were released: what comes of them is done again"
        );
    }
    let left = blocked.count();
    let answer = Released {
        released,
        keys: shown(&entries),
        left: if dry_run {
            left - released.min(left as usize) as u64
        } else {
            left
        },
        dry_run,
    };
    Ok(Answer::new(StatusCode::OK, None, &answer))
}
