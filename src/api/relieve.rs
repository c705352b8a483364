//! `/api/v1/queues/{name}/relieve`: one opening that lets a queue go which gets more than its workers can do, and what comes of it.
//! May import `rules`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::answer::Answer;
use super::body::Named;
use super::error::{BAD_VALUE, INCOMPLETE, Problem};
use super::openings::{End, view};
use super::preview::{PreviewView, compare};
use super::queues::find;
use super::shapes;
use super::views::OpeningView;
use super::write::{Turned, Words, Write, WriteQuery, turn};
use super::{Doors, QueueDoor};
use crate::config::Disposition;
use crate::rules::change::Edit;
use crate::rules::names::FlagKey;
use crate::rules::opening::{OpeningId, Restore};
use crate::rules::relief::forecast::{Before, Forecast, is_too_long, max_age};
use crate::rules::relief::health::{Until, UntilWell};
use crate::rules::relief::load::Load;
use crate::rules::snapshot::Snapshot;
use crate::rules::units::Span;
use crate::rules::value::Value as FlagValue;
use crate::rules::valve::Valve;

/// How long relief takes to go back when nobody says.
const USUAL_RAMP: Span = Span::from_secs(5 * 60);

/// How a queue is relieved, why, and until when.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Relief {
    /// A job that is done later than this after it was published is useless, such as `30s`; usually the queue's `deadline_after`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "30s")]
    deadline: Option<Span>,
    /// Skips this share (0 to 1, or `60%`) by lot, instead of letting the valve find what fits.
    #[serde(default)]
    #[schema(value_type = Option<f64>, example = 0.6)]
    ratio: Option<Value>,
    /// How long, such as `30m`; at most 24 h.
    #[serde(default, rename = "for")]
    #[schema(value_type = Option<String>, example = "30m")]
    length: Option<Span>,
    /// Until when, instead of `for`: a time (RFC 3339), or the queue's health. Usually `on-time >= 98% for 10m, at most 8h`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "on-time >= 98% for 10m, at most 8h")]
    until: Option<Until>,
    /// How it ends; usually in steps, over 5 minutes.
    #[serde(default)]
    #[schema(schema_with = shapes::restore, required = false)]
    restore: Option<Restore>,
    /// Why; never empty.
    #[serde(default)]
    #[schema(
        required = true,
        min_length = 1,
        max_length = 1024,
        example = "INC-481"
    )]
    reason: String,
    /// The size of a big move, as the answer 409 `confirm-size` told it.
    #[serde(default)]
    confirm: Option<u64>,
    /// Shows what it would do; nothing is changed.
    #[serde(default)]
    dry_run: bool,
}

/// A queue that is relieved, or would be.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Relieved {
    /// The opening that does it.
    #[serde(flatten)]
    opening: OpeningView,
    /// A job that is done later than this after it was published is useless.
    #[schema(example = "30s")]
    deadline: String,
    /// A job that is older than this when it would begin is shed: it could not be done before the deadline.
    #[schema(example = "29s 600ms")]
    max_age: String,
    /// What to know before you trust it.
    notes: Vec<String>,
    /// What comes of it, as far as the queue's vital signs tell.
    forecast: ForecastView,
    /// What it would do to messages like the last ones, flag by flag.
    preview: Vec<PreviewView>,
}

/// What comes of relief. Nothing is claimed of what is not known.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReliefForecast)]
struct ForecastView {
    /// Messages that wait at the broker.
    waiting: Option<u64>,
    /// About how many of them are shed at once.
    shed_at_once: Option<u64>,
    /// Jobs offered per second.
    offered_per_second: f64,
    /// Jobs per second that the workers can do; `null`: fewer than 30 were done so far.
    capacity_per_second: Option<f64>,
    /// Jobs per second done on time now; `null`: none had a deadline.
    on_time_per_second_now: Option<f64>,
    /// The most jobs per second that are done on time then.
    on_time_per_second_then: Option<f64>,
    /// About the share that is shed from then on, as long as so much comes.
    shed_ratio_then: Option<f64>,
    /// Accounts of which messages get another verdict, among the last messages; `null`: there are too few, or the queue has no `key`.
    accounts: Option<usize>,
}

/// What is to be opened.
struct Plan {
    deadline: Span,
    max_age: Span,
    ratio: Option<Value>,
    notes: Vec<String>,
}

/// Relieves a queue that gets more than its workers can do: what is too old to be done in time goes first, then, by itself, what the
/// workers cannot do. One opening, which ends by itself.
#[utoipa::path(post, path = "/api/v1/queues/{name}/relieve", tag = "queues", request_body = Relief,
    params(("name" = String, Path, description = "The queue's name, percent-encoded: `billing%2Forders`."), WriteQuery),
    responses(
        (status = 200, description = "What it would do (`dry_run`).", body = Relieved),
        (status = 201, description = "The queue is relieved.", body = Relieved),
        (status = 404, description = "There is no such queue."),
        (status = 409, description = "A big move; repeat with `confirm` = `size`."),
        (status = 422, description = "The deadline is not known, or something else is missing."),
))]
pub(super) async fn relieve(
    State(doors): State<Arc<Doors>>,
    Named(name): Named,
    Write { body, sender }: Write<Relief>,
) -> Result<Answer, Problem> {
    let door = find(&doors, &name)?;
    let now = doors.clock.now();
    let longest = sender.caller().longest_opening();
    let end = body.end(longest, now.ms)?;
    let plan = body.plan(door, now.mono)?;
    let edit = Edit::Open {
        values: plan.values(door),
        when: Vec::new(),
        ends_at_ms: end.at_ms,
        restore: body.restore.unwrap_or(Restore::Ramp(USUAL_RAMP)),
        until: end.until,
    };
    let words = Words {
        confirm: body.confirm,
        dry_run: body.dry_run,
        ..Words::because(&body.reason)
    };
    turn(doors, sender, edit, None, words, move |turned| {
        let relieved = plan.relieved(turned, &name);
        let status = match turned.dry_run {
            true => StatusCode::OK,
            false => StatusCode::CREATED,
        };
        Answer::new(status, None, &relieved)
    })
    .await
}

impl Relief {
    fn end(&self, longest: Span, now_ms: i64) -> Result<End, Problem> {
        if self.length.is_none() && self.until.is_none() {
            let usual = UntilWell::default();
            let until = UntilWell {
                at_most: usual.at_most.min(longest),
                lasting: usual.lasting.min(longest),
                ..usual
            };
            return Ok(End::when_well(until, now_ms));
        }
        End::of(self.length, self.until, now_ms)
    }

    fn plan(&self, door: &QueueDoor, now: std::time::Duration) -> Result<Plan, Problem> {
        let named = door.settings.deadline_after.map(|after| {
            let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            Span::from_millis(millis)
        });
        let name = &door.settings.name;
        let Some(deadline) = self.deadline.or(named) else {
            let sentence = format!(
                "when is a job of `{name}` too late? say it with `deadline`, such as \"30s\" (sluicegate relieve {name} --deadline 30s), or set `deadline_after` for it in the file"
            );
            return Err(Problem::new(INCOMPLETE, sentence).at("/deadline"));
        };
        if deadline.as_millis() == 0 {
            let sentence = "a deadline of 0s would shed everything; to stop the queue, pause it";
            return Err(Problem::new(BAD_VALUE, sentence).at("/deadline"));
        }
        let known = door
            .vitals
            .load()
            .is_some_and(|load| load.service_s.is_some());
        let median_s = door.vitals.report(now).service_p50_seconds;
        let median_s = median_s.filter(|_| known);
        let mut plan = Plan {
            deadline,
            max_age: max_age(deadline, median_s),
            ratio: self.ratio.clone(),
            notes: Vec::new(),
        };
        plan.note(door, named, median_s);
        Ok(plan)
    }
}

impl Plan {
    fn values(&self, door: &QueueDoor) -> Vec<(FlagKey, Value)> {
        let flag = |valve| FlagKey::of_valve(&door.settings.name, valve);
        let by_lot = match &self.ratio {
            Some(ratio) => (flag(Valve::Skip), ratio.clone()),
            None => (flag(Valve::SkipMode), json!("auto")),
        };
        vec![
            (flag(Valve::MaxAge), json!(self.max_age.to_string())),
            by_lot,
        ]
    }

    /// What to know before this is trusted.
    fn note(&mut self, door: &QueueDoor, named: Option<Span>, median_s: Option<f64>) {
        let (deadline, settings) = (self.deadline, &door.settings);
        match median_s {
            None => self.notes.push(
                "how long a job takes is not known yet (fewer than 30 were done), so max_age is the deadline itself and some jobs may begin too late; repeat this when some were done"
                    .to_owned(),
            ),
            Some(median_s) if is_too_long(deadline, median_s) => self.notes.push(format!(
                "a job takes {median_s:.2} s (the median), more than half of the deadline of {deadline}, so max_age is half of it and some jobs will be late; is the deadline right?"
            )),
            Some(_) => {}
        }
        match named {
            Some(named) if named != deadline => self.notes.push(format!(
                "on time is counted by the file's deadline_after, {named}, not by {deadline}"
            )),
            _ => {}
        }
        for (what, goes) in [
            ("on_expired", settings.on_expired),
            ("on_skip", settings.on_skip),
        ] {
            if goes == Disposition::Drop {
                self.notes.push(format!(
                    "what this sheds is gone for good: the file says {what} = \"drop\""
                ));
            }
        }
    }

    fn relieved(mut self, turned: &Turned, name: &str) -> Option<Relieved> {
        let id = OpeningId(turned.after.revision());
        let door = find(&turned.doors, name).ok()?;
        self.notes.extend(relieved_before(&turned.before, door));
        let previews: Vec<PreviewView> = self
            .values(door)
            .iter()
            .filter(|(key, _)| !key.as_str().ends_with(Valve::SkipMode.name()))
            .map(|(key, _)| {
                compare(
                    &turned.doors,
                    &turned.before,
                    &turned.after,
                    key.as_str(),
                    None,
                )
            })
            .collect();
        let accounts = previews.iter().filter_map(PreviewView::accounts).max();
        Some(Relieved {
            opening: view(turned, id)?,
            deadline: self.deadline.to_string(),
            max_age: self.max_age.to_string(),
            forecast: self.forecast(turned, door, accounts),
            notes: self.notes,
            preview: previews,
        })
    }

    fn forecast(&self, turned: &Turned, door: &QueueDoor, accounts: Option<usize>) -> ForecastView {
        let now = turned.doors.clock.now().mono;
        let report = door.vitals.report(now);
        let before = Before {
            ready: report.ready,
            oldest_s: report.oldest_age_seconds,
            done: report.done_per_second,
            on_time: report.on_time_ratio,
            load: door.vitals.load().unwrap_or(Load {
                offered: report.received_per_second,
                service_s: None,
                slots: report.slots,
            }),
        };
        let Forecast {
            at_once,
            offered,
            capacity,
            on_time_now,
            on_time_then,
            shed_then,
        } = before.forecast(self.max_age, self.skipped(&turned.after, door));
        ForecastView {
            waiting: before.ready,
            shed_at_once: at_once,
            offered_per_second: offered,
            capacity_per_second: capacity,
            on_time_per_second_now: on_time_now,
            on_time_per_second_then: on_time_then,
            shed_ratio_then: shed_then,
            accounts,
        }
    }

    /// The share that is skipped by lot in any case.
    fn skipped(&self, after: &Snapshot, door: &QueueDoor) -> f64 {
        let key = FlagKey::of_valve(&door.settings.name, Valve::Skip);
        match after.value(key.as_str()) {
            Some((FlagValue::Ratio(share), _)) => share.get(),
            _ => 0.0,
        }
    }
}

/// The openings that keep old messages of this queue away already.
fn relieved_before(before: &Snapshot, door: &QueueDoor) -> Option<String> {
    let key = FlagKey::of_valve(&door.settings.name, Valve::MaxAge);
    let newest = before.openings_on(key.as_str()).rfind(|one| !one.beneath)?;
    Some(format!(
        "{} lies on max_age already, and is covered by this one; `sluicegate flag close {0}` ends it, `sluicegate flag extend {0}` would have let it last longer",
        newest.id
    ))
}
