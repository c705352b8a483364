//! The gate: the valves of one queue, compiled from a snapshot, and the one function that says what happens to a message.

use std::sync::Arc;
use std::time::Duration;

use super::facts::Facts;
use super::flag::Value;
use super::lots::Seed;
use super::names::{FlagKey, QueueName};
use super::opening::OpeningId;
use super::units::{Rate, Ratio, Span};
use super::valve::Valve;
use super::verdict::{Verdict, Why};

/// A valve's value as a message reads it, and the opening it comes from. (Rules for some of the messages will be asked in
/// [`Setting::read`]; the facts are given already.)
#[derive(Debug, Clone, PartialEq)]
pub struct Setting<T> {
    value: T,
    opening: Option<OpeningId>,
}

impl<T> Setting<T> {
    /// The value for a message with these facts, and the opening that laid it there.
    pub fn read(&self, _facts: &Facts) -> (&T, Option<OpeningId>) {
        (&self.value, self.opening)
    }
}

/// What `degrade` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Degrade {
    /// The whole job.
    None,
    /// No job.
    Reject,
    /// The light version of this name.
    Mode(Arc<str>),
}

/// The valves of one queue at one revision. Immutable: a message keeps the one it was dispatched under.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// The queue.
    pub queue: QueueName,
    /// The revision of the snapshot it was compiled from.
    pub revision: u64,
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
    max_age: Setting<Option<Span>>,
    degrade: Setting<Degrade>,
    protect: Setting<bool>,
    skip: Setting<Ratio>,
    skip_seed: Seed,
    timeout: Setting<Span>,
}

impl Gate {
    /// Compiles the gate of `queue`; `look_up` gives the value of a flag and the opening it comes from.
    pub fn compile(
        queue: &QueueName,
        revision: u64,
        look_up: impl Fn(&FlagKey) -> Option<(Value, Option<OpeningId>)>,
    ) -> Self {
        let read =
            |valve: Valve| look_up(&FlagKey::of_valve(queue, valve)).unwrap_or((Value::None, None));
        let flag = |valve| matches!(read(valve).0, Value::Boolean(true));
        let rate = |valve| match read(valve).0 {
            Value::Rate(rate) => Some(rate),
            _ => None,
        };
        let count = |valve| match read(valve).0 {
            Value::Integer(count) => Some(u32::try_from(count.max(0)).unwrap_or(u32::MAX)),
            _ => None,
        };
        Self {
            queue: queue.clone(),
            revision,
            pause: flag(Valve::Pause),
            rate: rate(Valve::Rate),
            rate_each: rate(Valve::RateEach),
            concurrency: count(Valve::Concurrency),
            concurrency_each: count(Valve::ConcurrencyEach),
            max_age: setting(read(Valve::MaxAge), |value| match value {
                Value::Duration(span) => Some(span),
                _ => None,
            }),
            degrade: setting(read(Valve::Degrade), |value| match value {
                Value::Text(mode) if mode.as_ref() == "reject" => Degrade::Reject,
                Value::Text(mode) if mode.as_ref() != "none" => Degrade::Mode(mode),
                _ => Degrade::None,
            }),
            protect: setting(read(Valve::Protect), |value| value == Value::Boolean(true)),
            skip: setting(read(Valve::Skip), |value| match value {
                Value::Ratio(share) => share,
                _ => Ratio::ZERO,
            }),
            skip_seed: Seed::of(FlagKey::of_valve(queue, Valve::Skip).as_str()),
            timeout: setting(read(Valve::Timeout), |value| match value {
                Value::Duration(span) => span,
                _ => Span::from_secs(30),
            }),
        }
    }

    /// Whether nothing at all may be dispatched: paused, or a limit of zero for the queue or for each of its keys.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        let rates = [self.rate, self.rate_each];
        let counts = [self.concurrency, self.concurrency_each];
        self.pause || rates.into_iter().flatten().any(Rate::is_stop) || counts.contains(&Some(0))
    }

    /// How long the target may take for this message.
    #[must_use]
    pub fn timeout(&self, facts: &Facts) -> Duration {
        self.timeout.read(facts).0.get()
    }

    /// The name of the light version that the worker shall do, if one is asked for.
    #[must_use]
    pub fn mode(&self, facts: &Facts) -> Option<Arc<str>> {
        match self.degrade.read(facts).0 {
            Degrade::Mode(mode) => Some(Arc::clone(mode)),
            Degrade::None | Degrade::Reject => None,
        }
    }
}

fn setting<T>(
    (value, opening): (Value, Option<OpeningId>),
    convert: impl Fn(Value) -> T,
) -> Setting<T> {
    Setting {
        value: convert(value),
        opening,
    }
}

/// What happens to a message: the order is the product. Asked on arrival and once more when a slot is free; the lots are the
/// same both times.
#[must_use]
pub fn decide(gate: &Gate, facts: &Facts, now_ms: i64) -> Verdict {
    let shed = |why, opening| Verdict::Shed { why, opening };
    // 1. Deadline: a job that is too late costs the worker nothing.
    let (max_age, by) = gate.max_age.read(facts);
    if let (Some(limit), Some(age)) = (max_age, facts.age_ms(now_ms))
        && age > limit.as_millis()
    {
        return shed(Why::Expired, by);
    }
    if facts.deadline_ms.is_some_and(|deadline| now_ms > deadline) {
        return shed(Why::Expired, None);
    }
    // What is not to be done yet is asked again when its time comes: today's valves do not shed tomorrow's jobs.
    if let Some(wait) = facts.not_yet(now_ms) {
        return Verdict::NotYet(wait);
    }
    // 2. Degrade: this one not at all.
    let (degrade, by) = gate.degrade.read(facts);
    if *degrade == Degrade::Reject {
        return shed(Why::Rejected, by);
    }
    // 3. Skip: a share, drawn by the message itself, so that a redelivery draws the same lot.
    let (share, by) = gate.skip.read(facts);
    if facts.lot.falls_in(*share, gate.skip_seed) && !*gate.protect.read(facts).0 {
        return shed(Why::Skipped, by);
    }
    Verdict::Run
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::rules::flag::Flag;
    use crate::rules::lots::KeyHash;

    fn gate(turned: &[(Valve, Json)]) -> Gate {
        let queue: QueueName = "orders".parse().unwrap();
        let modes = ["light".to_owned()];
        Gate::compile(&queue, 1, |key| {
            let valve = Valve::ALL
                .into_iter()
                .find(|valve| FlagKey::of_valve(&queue, *valve) == *key)?;
            let neutral = Flag::neutral_valve(&queue, valve, &modes);
            let json = turned
                .iter()
                .find(|(turned, _)| *turned == valve)
                .map_or_else(|| valve.neutral(), |(_, json)| json.clone());
            Some((neutral.read(&json).unwrap(), None))
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
