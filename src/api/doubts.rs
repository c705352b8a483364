//! `/api/v1/providers/unknown`: jobs that a provider may have done, and what somebody says came of them. May import `rules` and `store`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Doors;
use super::access::Caller;
use super::answer::Answer;
use super::aside::aside;
use super::body::Asked;
use super::error::{BAD_VALUE, INCOMPLETE, LIMIT, LONGEST_ECHO, NO_SUCH_JOB, PARK, Problem, STORE};
use super::page::{Page, Paging};
use super::queues;
use super::views::rfc3339;
use super::write::{Words, Write, WriteQuery, turn};
use crate::rules::change::Edit;
use crate::rules::doubt::{Doubt, MOST_RESOLVED, Resolution, Resolved, Verdict};
use crate::rules::names::segment;

const LIST: &str = "/api/v1/providers/unknown";

/// A job that a provider may have done. Its message lies in the park.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobInDoubt)]
pub(super) struct DoubtView {
    /// The queue that it came from.
    #[schema(example = "mail")]
    queue: String,
    /// Its id.
    #[schema(example = "17")]
    id: String,
    /// The pool that it was given to.
    #[schema(example = "mail")]
    pool: String,
    /// The provider that may have done it.
    #[schema(example = "mailgun")]
    provider: String,
    /// The Message-ID of the mail, by which the provider's own log has it; `null`: it is no mail.
    message_id: Option<String>,
    /// The key that limits count by.
    account: Option<String>,
    /// Why nobody knows.
    #[schema(example = "it gave no full answer within 10s")]
    cause: String,
    /// Which attempt it was.
    attempt: u32,
    /// When.
    #[schema(format = DateTime)]
    at: String,
}

impl DoubtView {
    fn of(doubt: &Doubt) -> Self {
        let text = |text: &Option<Arc<str>>| text.as_ref().map(ToString::to_string);
        Self {
            queue: doubt.queue.to_string(),
            id: doubt.id.to_string(),
            pool: doubt.pool.to_string(),
            provider: doubt.provider.to_string(),
            message_id: text(&doubt.message_id),
            account: text(&doubt.account),
            cause: doubt.cause.clone(),
            attempt: doubt.attempt,
            at: rfc3339(doubt.at_ms),
        }
    }

    /// Its place in the list: queue, time and id, in that order.
    fn place(doubt: &Doubt) -> String {
        format!("{} {:020} {}", doubt.queue, doubt.at_ms, doubt.id)
    }
}

/// Which jobs in doubt.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DoubtsAsked {
    /// How many at most, from 1 to 500; usually 100.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// Where to go on: `next` of the page before.
    cursor: Option<String>,
    /// Only those of this queue.
    queue: Option<String>,
    /// Only those of this pool.
    pool: Option<String>,
    /// Only those that this provider may have done.
    provider: Option<String>,
}

/// Lists jobs that a provider may have done and that were not done again, by queue, the oldest first.
#[utoipa::path(get, path = LIST, tag = "providers", operation_id = "unknown_list", params(DoubtsAsked), responses(
    (status = 200, description = "One page of them.", body = Page<DoubtView>,
     headers(("Link" = String, description = "The next page, if there is one: `rel=\"next\"`."))),
))]
pub(super) async fn list(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    Asked(asked): Asked<DoubtsAsked>,
) -> Result<Page<DoubtView>, Problem> {
    let filters = [
        ("queue", &asked.queue),
        ("pool", &asked.pool),
        ("provider", &asked.provider),
    ];
    let filters = filters
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", segment(value.as_ref()?))));
    let path = match filters.collect::<Vec<_>>().join("&") {
        none if none.is_empty() => LIST.to_owned(),
        some => format!("{LIST}?{some}"),
    };
    let paging = Paging::at(asked.limit, asked.cursor.clone());
    let which = Which {
        queue: asked.queue,
        pool: asked.pool,
        provider: asked.provider,
        ids: None,
    };
    let all = aside(move || Ok(which.among(doors.store.doubts().all(), &caller))).await?;
    let after = asked.cursor.unwrap_or_default();
    let limit = paging.limit()?;
    let rest = all
        .iter()
        .map(|doubt| (DoubtView::place(doubt), doubt))
        .filter(|(place, _)| *place > after);
    let rest: Vec<_> = rest.take(limit + 1).collect();
    let places: Vec<String> = rest.iter().map(|(place, _)| place.clone()).collect();
    let mut views = rest.into_iter().map(|(_, doubt)| DoubtView::of(doubt));
    let last = places.get(limit - 1).cloned().unwrap_or_default();
    Page::of(&path, &paging, &mut views, |_| last.clone())
}

/// Which jobs in doubt are meant.
#[derive(Debug)]
struct Which {
    queue: Option<String>,
    pool: Option<String>,
    provider: Option<String>,
    /// `None`: whatever their id.
    ids: Option<Vec<String>>,
}

impl Which {
    /// Those of them that are there for the caller.
    fn among(&self, all: Vec<Doubt>, caller: &Caller) -> Vec<Doubt> {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        let fits = |doubt: &Doubt| {
            is(&self.queue, doubt.queue.as_str())
                && is(&self.pool, &doubt.pool)
                && is(&self.provider, &doubt.provider)
                && caller.sees_queue(doubt.queue.as_str())
                && (self.ids.as_ref()).is_none_or(|ids| ids.iter().any(|id| **id == *doubt.id))
        };
        all.into_iter().filter(fits).collect()
    }
}

/// Which jobs are resolved, and what came of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Resolve {
    /// `done` (it was done after all), `again` (it was not: its message goes back from the park to its queue, with the same Message-ID
    /// and idempotency key), or `failed` (it was not, and is not to be).
    #[serde(default)]
    #[schema(required = true, example = "done")]
    r#as: String,
    /// Only those of this queue; needed with `ids`.
    #[serde(default)]
    #[schema(example = "mail")]
    queue: Option<String>,
    /// The ids of jobs, 1 to 1,000.
    #[serde(default)]
    ids: Option<Vec<String>>,
    /// All that fit, at most 1,000 at once, instead of `ids`.
    #[serde(default)]
    all: bool,
    /// Only those of this pool.
    #[serde(default)]
    pool: Option<String>,
    /// Only those that this provider may have done.
    #[serde(default)]
    #[schema(example = "mailgun")]
    provider: Option<String>,
    /// Why; never empty.
    #[serde(default)]
    #[schema(
        required = true,
        min_length = 1,
        max_length = 1024,
        example = "the log of mailgun has it"
    )]
    reason: String,
    /// Shows what would be resolved; nothing is changed.
    #[serde(default)]
    dry_run: bool,
}

/// What was resolved.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ResolvedJobs)]
pub(super) struct ResolvedView {
    /// How many jobs.
    resolved: usize,
    /// done, again or failed.
    r#as: &'static str,
    /// The first 100 of them.
    jobs: Vec<DoubtView>,
    /// Of `again`: ids whose message was not found in the park; they stay in the list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_found: Vec<String>,
    /// How many jobs are still in doubt.
    left: usize,
    /// Present and true when this only shows what would be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

/// Says what came of jobs that a provider may have done. It is kept among the changes, and they leave the list.
#[utoipa::path(post, path = "/api/v1/providers/unknown/resolve", tag = "providers", request_body = Resolve, params(WriteQuery), responses(
    (status = 200, description = "What was resolved (or would be: `dry_run`).", body = ResolvedView),
    (status = 404, description = "There is no such queue, or none of these jobs is in doubt."),
    (status = 422, description = "Something was not said, or there are too many."),
    (status = 503, description = "The store cannot be written, or the park cannot be read; what was not resolved stays in the list."),
))]
pub(super) async fn resolve(
    State(doors): State<Arc<Doors>>,
    Write { body, sender }: Write<Resolve>,
) -> Result<Answer, Problem> {
    if let Some(answer) = sender.repeated(&doors)? {
        return Ok(answer);
    }
    let (verdict, caller) = (body.verdict()?, sender.caller().clone());
    let wanted = body.wanted(&doors, &caller).await?;
    let resolved = |doubt: &Doubt| Resolved {
        queue: doubt.queue.clone(),
        id: Arc::clone(&doubt.id),
    };
    let jobs: Vec<Resolved> = wanted.iter().map(resolved).collect();
    let edit = Edit::Resolve(Resolution {
        verdict,
        jobs: jobs.clone(),
    });
    let dry_run = body.dry_run || sender.is_dry_run();
    let words = Words {
        dry_run,
        ..Words::because(&body.reason)
    };
    let left = left(&doors, &caller).await?;
    let view = ResolvedView {
        resolved: wanted.len(),
        r#as: verdict.word(),
        jobs: wanted.iter().take(100).map(DoubtView::of).collect(),
        not_found: Vec::new(),
        left: left.saturating_sub(wanted.len()),
        dry_run,
    };
    let told = Answer::new(StatusCode::OK, None, &view);
    let written = turn(Arc::clone(&doors), sender, edit, None, words, move |_| told).await?;
    if dry_run {
        return Ok(written);
    }
    let gone = match verdict {
        Verdict::Again => put_back(&doors, wanted.clone()).await?,
        Verdict::Done | Verdict::Failed => jobs,
    };
    forget(&doors, verdict, wanted, gone.clone()).await?;
    if gone.len() == view.resolved {
        return Ok(written);
    }
    let missing = view
        .jobs
        .iter()
        .filter(|job| !gone.iter().any(|one| *one.id == *job.id));
    let view = ResolvedView {
        resolved: gone.len(),
        not_found: missing.map(|job| job.id.clone()).collect(),
        left: left.saturating_sub(gone.len()),
        ..view
    };
    Ok(Answer::new(StatusCode::OK, None, &view))
}

/// How many jobs are in doubt, as far as they are there for the caller.
async fn left(doors: &Arc<Doors>, caller: &Caller) -> Result<usize, Problem> {
    let (doors, caller) = (Arc::clone(doors), caller.clone());
    let sees = move |doubt: &&Doubt| caller.sees_queue(doubt.queue.as_str());
    aside(move || Ok(doors.store.doubts().all().iter().filter(sees).count())).await
}

async fn put_back(doors: &Doors, wanted: Vec<Doubt>) -> Result<Vec<Resolved>, Problem> {
    let put_back = doors.replayer.put_back(wanted).await;
    put_back.map_err(|why| {
        let sentence = format!("the park cannot be read: {why}; they stay in the list, try again");
        Problem::new(PARK, sentence)
    })
}

/// Takes jobs off the list.
async fn forget(
    doors: &Arc<Doors>,
    verdict: Verdict,
    wanted: Vec<Doubt>,
    gone: Vec<Resolved>,
) -> Result<(), Problem> {
    let doors = Arc::clone(doors);
    aside(move || {
        let forgotten = doors.store.doubts().forget(&gone);
        forgotten.map_err(|why| Problem::new(STORE, why.to_string()))?;
        for pool in &doors.pools {
            let of_it = wanted.iter().filter(|doubt| {
                doubt.pool == pool.settings.name && gone.iter().any(|one| one.id == doubt.id)
            });
            pool.metrics.resolved(verdict, of_it.count() as u64);
        }
        doors.replayer.recount();
        Ok(())
    })
    .await
}

impl Resolve {
    fn verdict(&self) -> Result<Verdict, Problem> {
        let sort = if self.r#as.is_empty() {
            INCOMPLETE
        } else {
            BAD_VALUE
        };
        let wrong = |_| {
            let sentence = "say what came of them (`as`): done, again or failed";
            Problem::new(sort, sentence).at("/as")
        };
        self.r#as.parse().map_err(wrong)
    }

    /// The jobs that are meant, at least one.
    async fn wanted(&self, doors: &Arc<Doors>, caller: &Caller) -> Result<Vec<Doubt>, Problem> {
        let incomplete = |sentence: &str, at: &str| Err(Problem::new(INCOMPLETE, sentence).at(at));
        if self.ids.is_some() == self.all {
            return incomplete(
                "say which: `queue` and `ids`, or every one that fits (`\"all\": true`)",
                "/ids",
            );
        }
        if self.ids.is_some() && self.queue.is_none() {
            return incomplete("say of which queue the `ids` are (`queue`)", "/queue");
        }
        if let Some(name) = &self.queue {
            match caller.sees_queue(name) {
                true => queues::find(doors, name).map(drop)?,
                false => return Err(queues::none(name)),
            }
        }
        if self.reason.trim().is_empty() {
            return incomplete("say why (`reason`); it is kept with the change", "/reason");
        }
        let which = Which {
            queue: self.queue.clone(),
            pool: self.pool.clone(),
            provider: self.provider.clone(),
            ids: self.ids.clone(),
        };
        let (doors, caller) = (Arc::clone(doors), caller.clone());
        let mut found = aside(move || Ok(which.among(doors.store.doubts().all(), &caller))).await?;
        if found.is_empty() {
            let first = self.ids.as_ref().and_then(|ids| ids.first());
            let which = first.map_or("none that fits".to_owned(), |id| {
                format!("{:?}", id.chars().take(LONGEST_ECHO).collect::<String>())
            });
            let sentence =
                format!("no such job is in doubt ({which}); GET {LIST} shows those that are");
            return Err(Problem::new(NO_SUCH_JOB, sentence));
        }
        if self
            .ids
            .as_ref()
            .is_some_and(|ids| ids.len() > MOST_RESOLVED)
        {
            let sentence = format!("name at most {MOST_RESOLVED} `ids` at once");
            return Err(Problem::new(LIMIT, sentence).at("/ids"));
        }
        found.truncate(MOST_RESOLVED);
        Ok(found)
    }
}
