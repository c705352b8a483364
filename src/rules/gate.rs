//! The gate: the valves of one queue, compiled from a snapshot, and the one function that says what happens to a message.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::asks::Asks;
use super::audience::Audiences;
use super::choice::{Choice, Chosen, Reason};
use super::context::{Attribute, Context, Slot, Vocabulary};
use super::facts::Facts;
use super::flag::Value;
use super::lots::{Bucketing, KeyHash, Lots};
use super::members::Members;
use super::names::{FlagKey, QueueName};
use super::relief::asking::SkipMode;
use super::route::{Force, Route, Way};
use super::snapshot::GatedQueue;
use super::units::{Rate, Ratio, Span};
use super::valve::Valve;
pub use super::valve_value::Degrade;
use super::valve_value::{count, degrade, force, plain, rate, route, share, span};
use super::verdict::{By, Verdict, Why};

/// The attribute that tells types of jobs apart.
const JOB_TYPE: &str = "type";

/// The valves of one queue at one revision. Immutable: a message keeps the one it was dispatched under.
#[derive(Debug, Clone)]
pub struct Gate {
    /// The queue.
    pub queue: QueueName,
    /// The revision of the snapshot it was compiled from.
    pub revision: u64,
    /// What it asks of each message.
    pub asks: Arc<Asks>,
    /// See [`Valve::Pause`].
    pub pause: bool,
    /// See [`Valve::Rate`].
    pub rate: Option<Rate>,
    /// See [`Valve::RateEach`].
    pub rate_each: Option<Rate>,
    /// See [`Valve::Concurrency`].
    pub concurrency: Option<u32>,
    /// See [`Valve::ConcurrencyEach`].
    pub concurrency_each: Option<u32>,
    pub(super) max_age: Choice<Option<Span>>,
    pub(super) degrade: Choice<Degrade>,
    pub(super) protect: Choice<bool>,
    pub(super) skip: Choice<Ratio>,
    pub(super) skip_lots: Lots,
    /// The attribute that draws for `skip`; `None`: the id.
    pub(super) skip_by: Option<Slot>,
    /// Who turns `skip`.
    pub skip_mode: SkipMode,
    /// Who said so.
    pub skip_mode_by: By,
    /// The attribute that tells types of jobs apart; `None`: nothing does.
    type_slot: Option<Slot>,
    pub(super) timeout: Choice<Span>,
    /// The flags that are passed to the worker, by name.
    passed: Box<[Passed]>,
    /// Which provider of the pool gets a job; none: there is no pool.
    provider: Option<Choice<Route>>,
    /// What is forced on the pool's providers, in their order.
    forced: Arc<[Force]>,
    /// The segments that its rules ask about.
    segments: BTreeSet<u16>,
    pub(super) audiences: Audiences,
}

/// A flag that the worker is told, by its name.
type Passed = (Arc<str>, Choice<Arc<str>>);

/// A flag as a gate takes it in: its choice, and how it draws lots.
#[derive(Debug, Clone)]
pub struct Part {
    /// What it says to whom.
    pub choice: Choice<Value>,
    /// Whose formula draws, with which seed, by which attribute.
    pub draws: (Bucketing, Option<String>, Option<String>),
}

/// What a gate is compiled from.
pub trait Parts {
    /// The part of this key, for the names of this vocabulary.
    fn part(&mut self, key: &FlagKey, vocabulary: &mut Vocabulary) -> Option<Part>;
    /// The audiences of these segments.
    fn audiences(&mut self, wanted: &BTreeSet<u16>, vocabulary: &mut Vocabulary) -> Audiences;
}

impl Gate {
    /// Compiles the gate of a queue. Of the one `before` it keeps what is asked of each message, when that did not change.
    pub fn compile(
        queue: &GatedQueue,
        revision: u64,
        parts: &mut impl Parts,
        before: Option<&Self>,
    ) -> Self {
        let mut vocabulary = Vocabulary::default();
        for name in queue.attributes.keys() {
            vocabulary.slot(name);
        }
        let mut wanted = BTreeSet::new();
        let mut part = |key: &FlagKey, vocabulary: &mut Vocabulary| {
            let part = parts.part(key, vocabulary)?;
            wanted.extend(part.choice.segments());
            Some(part)
        };
        let mut valves =
            Valve::ALL.map(|valve| part(&FlagKey::of_valve(&queue.name, valve), &mut vocabulary));
        let passed = queue.pass.iter().filter_map(|key| {
            let part = part(key, &mut vocabulary)?;
            Some((key.as_str().into(), part.choice.map(plain)))
        });
        let passed = passed.collect();
        let (provider, forced) = steering(queue, |key| part(key, &mut vocabulary));
        let (bucketing, seed, by) = valves[Valve::Skip as usize]
            .as_mut()
            .map(|part| std::mem::take(&mut part.draws))
            .unwrap_or_default();
        let skip_key = FlagKey::of_valve(&queue.name, Valve::Skip);
        let skip_by = by.map(|name| vocabulary.slot(&name));
        let declared = queue.attributes.contains_key(JOB_TYPE);
        let type_slot = declared.then(|| vocabulary.slot(JOB_TYPE));
        let audiences = parts.audiences(&wanted, &mut vocabulary);
        let asks = Self::asks(queue, &vocabulary, before);
        let choice = |valve: Valve| {
            let part = valves[valve as usize].as_ref();
            part.map_or_else(|| Choice::always(Value::None), |part| part.choice.clone())
        };
        let one = |valve: Valve| choice(valve).for_everybody().value.clone();
        let skip_mode = choice(Valve::SkipMode);
        Self {
            queue: queue.name.clone(),
            revision,
            asks,
            pause: one(Valve::Pause) == Value::Boolean(true),
            rate: rate(&one(Valve::Rate)),
            rate_each: rate(&one(Valve::RateEach)),
            concurrency: count(&one(Valve::Concurrency)),
            concurrency_each: count(&one(Valve::ConcurrencyEach)),
            max_age: choice(Valve::MaxAge).map(span),
            degrade: choice(Valve::Degrade).map(degrade),
            protect: choice(Valve::Protect).map(|value| *value == Value::Boolean(true)),
            skip: choice(Valve::Skip).map(share),
            skip_lots: Lots::of(bucketing, skip_key.as_str(), seed.as_deref()),
            skip_by,
            skip_mode: SkipMode::of(skip_mode.for_everybody().value),
            skip_mode_by: Self::by(&skip_mode, skip_mode.for_everybody().reason),
            type_slot,
            timeout: choice(Valve::Timeout).map(|value| span(value).unwrap_or(Span::from_secs(30))),
            passed,
            provider,
            forced,
            segments: wanted,
            audiences,
        }
    }

    /// What is asked of each message; that of the gate before it, if it is the same.
    fn asks(queue: &GatedQueue, vocabulary: &Vocabulary, before: Option<&Self>) -> Arc<Asks> {
        let asks = Arc::new(Asks::of(
            vocabulary.names(),
            &queue.attributes,
            queue.name.as_str(),
        ));
        let kept = before.map(|before| &before.asks);
        kept.filter(|kept| **kept == asks).cloned().unwrap_or(asks)
    }

    /// The gate of a queue whose valves say this to everybody.
    pub fn of_values(queue: &QueueName, say: impl Fn(Valve) -> Value) -> Self {
        let gated = GatedQueue::named(queue.clone());
        Self::compile(&gated, 1, &mut Plain(queue, say), None)
    }

    /// Whether its rules ask about the segment of this number.
    #[must_use]
    pub fn asks_about(&self, segment: u16) -> bool {
        self.segments.contains(&segment)
    }

    /// The same gate at another revision, for which a segment has other members.
    #[must_use]
    pub fn with_members(&self, revision: u64, segment: u16, members: &Arc<Members>) -> Self {
        Self {
            revision,
            audiences: self.audiences.with_members(segment, members),
            ..self.clone()
        }
    }

    /// Whether nothing at all may be dispatched: paused, or a limit of zero for the queue or for each of its keys.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        let rates = [self.rate, self.rate_each];
        let counts = [self.concurrency, self.concurrency_each];
        self.pause || rates.into_iter().flatten().any(Rate::is_stop) || counts.contains(&Some(0))
    }

    /// The age beyond which this message is shed, if there is one.
    #[must_use]
    pub fn max_age(&self, facts: &Facts) -> Option<Duration> {
        self.ask(&self.max_age, facts).value.map(Span::get)
    }

    /// Whether this message is exempt from `skip` and from automatic shedding.
    #[must_use]
    pub fn protects(&self, facts: &Facts) -> bool {
        *self.ask(&self.protect, facts).value
    }

    /// The type of its job, when the queue tells types apart by an attribute of that name.
    #[must_use]
    pub fn job_type(&self, facts: &Facts) -> Option<KeyHash> {
        Some(facts.attribute(self.type_slot?)?.hash())
    }

    /// How long the target may take for this message.
    #[must_use]
    pub fn timeout(&self, facts: &Facts) -> Duration {
        self.ask(&self.timeout, facts).value.get()
    }

    /// The name of the light version that the worker shall do, if one is asked for.
    #[must_use]
    pub fn mode(&self, facts: &Facts) -> Option<Arc<str>> {
        match self.ask(&self.degrade, facts).value {
            Degrade::Mode(mode) => Some(Arc::clone(mode)),
            Degrade::None | Degrade::Reject => None,
        }
    }

    /// Which providers may have this message.
    #[must_use]
    pub fn way(&self, facts: &Facts) -> Way {
        let Some(provider) = &self.provider else {
            return Way::default();
        };
        let route = self.ask(provider, facts).value;
        Way {
            route: route.clone(),
            own: *route != *provider.for_everybody().value,
            forced: Arc::clone(&self.forced),
        }
    }

    /// Whether no flag is passed to the worker.
    #[must_use]
    pub fn passes_nothing(&self) -> bool {
        self.passed.is_empty()
    }

    /// The flags that are passed to the worker with this message, by name.
    pub fn passed<'a>(
        &'a self,
        facts: &'a Facts,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>)> {
        let said = |choice: &'a Choice<Arc<str>>| self.ask(choice, facts).value;
        self.passed
            .iter()
            .map(move |(key, choice)| (key, said(choice)))
    }

    pub(super) fn ask<'a, T>(&'a self, choice: &'a Choice<T>, facts: &Facts) -> Chosen<'a, T> {
        choice.choose(facts, &self.audiences)
    }

    /// Who decided, for the stamp of what is shed.
    pub(super) fn by<T>(choice: &Choice<T>, reason: Reason) -> By {
        By {
            opening: match reason {
                Reason::Opening(id) => Some(id),
                _ => None,
            },
            rule: choice.rule(reason),
            numbers: None,
        }
    }

    /// Whether the lot of a message falls in a share of `skip`.
    pub(super) fn skips(&self, facts: &Facts, share: Ratio) -> bool {
        self.skip_draw(facts) < self.skip_lots.limit(share)
    }

    /// What a message draws for `skip`.
    pub(super) fn skip_draw(&self, facts: &Facts) -> u64 {
        match (
            self.skip_by.and_then(|slot| facts.attribute(slot)),
            &self.skip_lots,
        ) {
            (Some(key), lots) => lots.draw(key),
            (None, Lots::Sluicegate(seed)) => u64::from(facts.lot.bucket(*seed)),
            (None, lots) => lots.draw(&Attribute::of(&facts.id)),
        }
    }
}

/// Which provider of the queue's pool gets a job, and what is forced on each.
fn steering(
    queue: &GatedQueue,
    mut part: impl FnMut(&FlagKey) -> Option<Part>,
) -> (Option<Choice<Route>>, Arc<[Force]>) {
    let pool = queue.pool.as_ref();
    let provider = pool.and_then(|pool| part(&FlagKey::of_pool(&pool.name)));
    let providers = pool.into_iter().flat_map(|pool| &pool.providers);
    let forced = providers.map(|name| {
        let part = part(&FlagKey::of_force(name));
        part.map_or(Force::None, |part| force(part.choice.for_everybody().value))
    });
    let forced = forced.collect();
    (provider.map(|part| part.choice.map(route)), forced)
}

/// Valves without rules.
struct Plain<'a, S>(&'a QueueName, S);

impl<S: Fn(Valve) -> Value> Parts for Plain<'_, S> {
    fn part(&mut self, key: &FlagKey, _: &mut Vocabulary) -> Option<Part> {
        let named = |valve: &Valve| FlagKey::of_valve(self.0, *valve) == *key;
        let valve = Valve::ALL.into_iter().find(named)?;
        Some(Part {
            choice: Choice::always((self.1)(valve)),
            draws: Default::default(),
        })
    }

    fn audiences(&mut self, _: &BTreeSet<u16>, _: &mut Vocabulary) -> Audiences {
        Audiences::default()
    }
}

/// What happens to a message: the order is the product. Asked on arrival and once more when a slot is free; the lots are the
/// same both times.
#[must_use]
pub fn decide(gate: &Gate, facts: &Facts, now_ms: i64) -> Verdict {
    // 1. Deadline: a job that is too late costs the worker nothing.
    let max_age = gate.ask(&gate.max_age, facts);
    if let (Some(limit), Some(age)) = (max_age.value, facts.age_ms(now_ms))
        && age > limit.as_millis()
    {
        return Verdict::shed(Why::Expired, Gate::by(&gate.max_age, max_age.reason));
    }
    if facts.deadline_ms.is_some_and(|deadline| now_ms > deadline) {
        return Verdict::shed(Why::Expired, By::default());
    }
    // What is not to be done yet is asked again when its time comes: today's valves do not shed tomorrow's jobs.
    if let Some(wait) = facts.not_yet(now_ms) {
        return Verdict::NotYet(wait);
    }
    // 2. Degrade: this one not at all.
    let degrade = gate.ask(&gate.degrade, facts);
    if *degrade.value == Degrade::Reject {
        return Verdict::shed(Why::Rejected, Gate::by(&gate.degrade, degrade.reason));
    }
    // 3. Skip: a share, drawn by the message itself, so that a redelivery draws the same lot.
    let skip = gate.ask(&gate.skip, facts);
    if gate.skips(facts, *skip.value) && !gate.protects(facts) {
        return Verdict::shed(Why::Skipped, Gate::by(&gate.skip, skip.reason));
    }
    Verdict::Run
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::rules::flag::Flag;

    fn gate(turned: &[(Valve, Json)]) -> Gate {
        let queue = "orders".parse().unwrap();
        Gate::of_values(&queue, |valve| {
            let neutral = Flag::neutral_valve(&queue, valve, &["light".to_owned()]);
            let said = turned.iter().find(|(turned, _)| *turned == valve);
            let json = said.map_or_else(|| valve.neutral(), |(_, json)| json.clone());
            neutral.read(&json).unwrap()
        })
    }

    fn facts(age_ms: Option<i64>) -> Facts {
        Facts {
            published_ms: age_ms.map(|age| 1_000_000 - age),
            ..Facts::bare(KeyHash::of(b"m-1"))
        }
    }

    fn check(what: &str, turned: &[(Valve, Json)], facts: &Facts, expected: &str) {
        let said = match decide(&gate(turned), facts, 1_000_000) {
            Verdict::Run => "run".to_owned(),
            Verdict::Shed { why, .. } => format!("shed ({})", why.word()),
            Verdict::NotYet(wait) => format!("wait {wait:?} ({})", Why::NotYet.word()),
        };
        assert_eq!(said, expected, "{what}");
    }

    #[test]
    fn late_messages_are_shed_and_those_of_unknown_age_pass() {
        let limit = |text: &str| [(Valve::MaxAge, json!(text))];
        let old = facts(Some(31_000));
        let doomed = Facts {
            deadline_ms: Some(999_999),
            ..facts(None)
        };
        check("nothing is turned", &[], &old, "run");
        check("a late job", &limit("30s"), &old, "shed (expired)");
        check("a young one", &limit("30s"), &facts(Some(500)), "run");
        check("exactly the limit still runs", &limit("31s"), &old, "run");
        check("an unknown age passes", &limit("30s"), &facts(None), "run");
        check("its own deadline counts", &[], &doomed, "shed (expired)");
    }

    #[test]
    fn what_is_not_to_be_done_yet_waits_and_its_age_counts_from_then() {
        let at = |not_before_ms: i64| Facts {
            not_before_ms: Some(not_before_ms),
            ..facts(Some(86_400_000))
        };
        let tomorrow = at(1_000_000 + 60_000);
        let doomed = Facts {
            deadline_ms: Some(999_999),
            ..tomorrow.clone()
        };
        let limit = || (Valve::MaxAge, json!("30s"));
        let today = [(Valve::Skip, json!(1.0)), (Valve::Degrade, json!("reject"))];
        let shut = [limit(), today[0].clone(), today[1].clone()];
        check("not yet", &[], &tomorrow, "wait 60s (not_yet)");
        check(
            "no valve asks it yet",
            &shut,
            &tomorrow,
            "wait 60s (not_yet)",
        );
        check("its deadline does", &[], &doomed, "shed (expired)");
        check("its time has come", &[limit()], &at(1_000_000), "run");
        check("a while ago", &[limit()], &at(970_000), "run");
        check("long ago", &[limit()], &at(969_999), "shed (expired)");
    }

    #[test]
    fn each_valve_sheds_by_itself() {
        let (degrade, all) = (
            |to: &str| (Valve::Degrade, json!(to)),
            (Valve::Skip, json!(1.0)),
        );
        let young = facts(Some(500));
        check("reject", &[degrade("reject")], &young, "shed (rejected)");
        check(
            "a mode goes to the worker",
            &[degrade("light")],
            &young,
            "run",
        );
        check("skip everything", &[all], &young, "shed (skipped)");
    }

    #[test]
    fn the_order_of_the_valves() {
        let protect = || (Valve::Protect, json!(true));
        let reject = || (Valve::Degrade, json!("reject"));
        let skip = || (Valve::Skip, json!(1.0));
        let limit = || (Valve::MaxAge, json!("30s"));
        let (young, old) = (facts(Some(500)), facts(Some(31_000)));
        check("protected from skip", &[skip(), protect()], &young, "run");
        check(
            "not from reject",
            &[reject(), protect()],
            &young,
            "shed (rejected)",
        );
        check(
            "not from max_age",
            &[limit(), protect()],
            &old,
            "shed (expired)",
        );
        check(
            "late beats skipped",
            &[limit(), skip()],
            &old,
            "shed (expired)",
        );
        check(
            "late beats rejected",
            &[limit(), reject()],
            &old,
            "shed (expired)",
        );
        check(
            "rejected beats skipped",
            &[reject(), skip()],
            &young,
            "shed (rejected)",
        );
    }

    #[test]
    fn zero_means_stop() {
        assert!(gate(&[(Valve::Rate, json!("0/s"))]).is_shut());
        assert!(gate(&[(Valve::Concurrency, json!(0))]).is_shut());
        assert!(gate(&[(Valve::Pause, json!(true))]).is_shut());
        assert!(gate(&[(Valve::RateEach, json!("0/s"))]).is_shut());
        assert!(
            !gate(&[
                (Valve::RateEach, json!("1/h")),
                (Valve::Concurrency, json!(1))
            ])
            .is_shut()
        );
    }

    proptest! {
        #[test]
        fn raising_skip_never_unskips(id in any::<u64>(), low in 0u32..=100, high in 0u32..=100) {
            let (low, high) = (low.min(high), low.max(high));
            let facts = Facts::bare(KeyHash(id));
            let at = |percent: u32| decide(&gate(&[(Valve::Skip, json!(f64::from(percent) / 100.0))]), &facts, 0);
            prop_assert!(at(low) == Verdict::Run || at(high) != Verdict::Run);
        }
    }
}
