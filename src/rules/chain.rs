//! Why a message runs, is shed or waits: the valves of its queue in the order of [`decide`](super::gate::decide), each with what it
//! asked, what it found, and whether it decided.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::choice::{Choice, Reason};
use super::context::{Context, Slot};
use super::explain::{Explanation, explain_choice};
use super::facts::Facts;
use super::gate::{Degrade, Gate};
use super::lots::Lots;
use super::names::FlagKey;
use super::opening::OpeningId;
use super::relief::asking::{Asking, SkipMode};
use super::relief::classes::Class;
use super::relief::decision::{Decision, Grounds};
use super::relief::valve::AutoValve;
use super::snapshot::Snapshot;
use super::units::{Ratio, Span};
use super::valve::Valve;
use super::verdict::{By, Verdict, Why};

/// What happens to a message, and why.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Chain {
    /// The queue.
    pub queue: String,
    /// The revision of the flags that were asked.
    pub revision: u64,
    /// `run`, `shed`, `wait`; `depends`: on the id, which was not told.
    pub verdict: &'static str,
    /// The word of the reason; `null`: it runs.
    pub reason: Option<&'static str>,
    /// The opening that decided.
    #[schemars(with = "Option<String>")]
    pub opening: Option<OpeningId>,
    /// The rule that decided.
    pub rule: Option<String>,
    /// What was asked, in its order; the last one decides, unless it runs.
    pub links: Vec<Link>,
    /// What holds for the whole queue and holds messages back without shedding them, by valve.
    pub whole_queue: Map<String, Json>,
    /// What the target is told, if it runs: the light version it shall do (`null`: the whole job), and how long it may take.
    pub target: Told,
}

/// One thing that was asked of a message.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Link {
    /// A valve, or `deadline` and `not_before`: what the message itself says.
    pub asks: &'static str,
    /// What was found, in a sentence.
    pub found: String,
    /// Whether that decided.
    pub decides: bool,
    /// The lot that the message drew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lot: Option<Lot>,
    /// Why the valve says what it says to this message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<Explanation>,
}

/// The lot that a message drew for `skip`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Lot {
    /// The attribute that draws.
    pub by: String,
    /// Its value; `null`: not told.
    pub key: Option<String>,
    /// What was drawn, from 0; `null`: nothing, because the id was not told.
    pub bucket: Option<u64>,
    /// How many buckets there are.
    pub of: u64,
    /// Buckets below this are skipped.
    pub below: u64,
}

/// What the target is told of a message.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Told {
    /// The light version it shall do.
    pub mode: Option<String>,
    /// How long it may take.
    #[schemars(with = "String")]
    pub timeout: Span,
}

/// Of whom is asked.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// What is known.
    pub facts: &'a Facts,
    /// Whether the id is known, too; else no lot is drawn by it.
    pub has_id: bool,
    /// When it is asked, milliseconds since 1970.
    pub now_ms: i64,
    /// The automatic valve; `None`: nothing is known of it yet, and it sheds nothing.
    pub auto: Option<Auto<'a>>,
}

/// The automatic valve of a queue, as it stands.
#[derive(Debug, Clone, Copy)]
pub struct Auto<'a> {
    /// The valve.
    pub valve: &'a AutoValve,
    /// How it is asked.
    pub asking: &'a Asking,
    /// The time, since the clock's start.
    pub now: Duration,
}

/// Explains what the gate of a queue says of a message; `None`: the queue has no gate.
#[must_use]
pub fn explain(snapshot: &Snapshot, queue: &str, message: Message<'_>) -> Option<Chain> {
    let gate = snapshot.gate(queue)?;
    let mut following = Following {
        snapshot,
        gate,
        message,
        links: Vec::new(),
    };
    let ended = following.follow();
    let (verdict, reason, by) = match ended {
        Ended::Runs => ("run", None, By::default()),
        Ended::Depends => ("depends", Some(Why::Skipped.word()), By::default()),
        Ended::At(Verdict::Run) => ("run", None, By::default()),
        Ended::At(Verdict::Shed { why, by }) => ("shed", Some(why.word()), by),
        Ended::At(Verdict::NotYet(_)) => ("wait", Some(Why::NotYet.word()), By::default()),
    };
    Some(Chain {
        queue: queue.to_owned(),
        revision: snapshot.revision(),
        verdict,
        reason,
        opening: by.opening,
        rule: by.rule.map(|rule| rule.to_string()),
        links: following.links,
        whole_queue: whole_queue(snapshot, gate),
        target: Told {
            mode: gate.mode(message.facts).map(|mode| mode.to_string()),
            timeout: Span::from_millis(
                u64::try_from(gate.timeout(message.facts).as_millis()).unwrap_or(u64::MAX),
            ),
        },
    })
}

fn whole_queue(snapshot: &Snapshot, gate: &Gate) -> Map<String, Json> {
    let of_all = [
        Valve::Pause,
        Valve::Rate,
        Valve::RateEach,
        Valve::Concurrency,
        Valve::ConcurrencyEach,
    ];
    let says = |valve: Valve| {
        let (value, _) = snapshot.value(FlagKey::of_valve(&gate.queue, valve).as_str())?;
        Some((valve.name().to_owned(), value.to_json()))
    };
    of_all.into_iter().filter_map(says).collect()
}

/// How the chain ended.
enum Ended {
    At(Verdict),
    Runs,
    Depends,
}

struct Following<'a> {
    snapshot: &'a Snapshot,
    gate: &'a Gate,
    message: Message<'a>,
    links: Vec<Link>,
}

impl<'a> Following<'a> {
    /// The order of [`decide`](super::gate::decide).
    fn follow(&mut self) -> Ended {
        let steps = [
            Self::max_age,
            Self::deadline,
            Self::not_before,
            Self::degrade,
            Self::skip,
            Self::auto,
        ];
        let ended = steps.into_iter().find_map(|step| step(self));
        ended.unwrap_or(Ended::Runs)
    }

    fn max_age(&mut self) -> Option<Ended> {
        let gate = self.gate;
        let age = self.message.facts.age_ms(self.message.now_ms);
        let (limit, reason) = self.ask(&gate.max_age);
        let late = age
            .zip(*limit)
            .is_some_and(|(age, limit)| age > limit.as_millis());
        let age = age.map(|age| Span::from_millis(age.unsigned_abs()));
        let found = match (age, limit) {
            (_, None) => "any age".to_owned(),
            (None, Some(limit)) => {
                format!("its age is unknown, so it passes; the limit is {limit}")
            }
            (Some(age), Some(limit)) => format!("it is {age} old; the limit is {limit}"),
        };
        let show =
            |limit: &Option<Span>| limit.map_or(Json::Null, |limit| limit.to_string().into());
        let says = self.says(Valve::MaxAge, &gate.max_age, show);
        self.link("max_age", found, late, says);
        late.then(|| self.shed(Why::Expired, Gate::by(&gate.max_age, reason)))
    }

    fn deadline(&mut self) -> Option<Ended> {
        let deadline = self.message.facts.deadline_ms?;
        let late = self.message.now_ms > deadline;
        let found = match late {
            true => "its own deadline has passed",
            false => "its own deadline is still to come",
        };
        self.link("deadline", found.to_owned(), late, None);
        late.then(|| self.shed(Why::Expired, By::default()))
    }

    fn not_before(&mut self) -> Option<Ended> {
        self.message.facts.not_before_ms?;
        let wait = self.message.facts.not_yet(self.message.now_ms);
        let found = wait.map_or_else(
            || "its time has come".to_owned(),
            |wait| {
                let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                format!("not to be done for another {}", Span::from_millis(millis))
            },
        );
        self.link("not_before", found, wait.is_some(), None);
        Some(Ended::At(Verdict::NotYet(wait?)))
    }

    fn degrade(&mut self) -> Option<Ended> {
        let gate = self.gate;
        let (degrade, reason) = self.ask(&gate.degrade);
        let show = |degrade: &Degrade| Json::from(degrade.word());
        let found = match degrade {
            Degrade::None => "the whole job".to_owned(),
            Degrade::Reject => "not done at all".to_owned(),
            Degrade::Mode(mode) => format!("the worker does the version {mode}"),
        };
        let rejects = *degrade == Degrade::Reject;
        let says = self.says(Valve::Degrade, &gate.degrade, show);
        self.link("degrade", found, rejects, says);
        rejects.then(|| self.shed(Why::Rejected, Gate::by(&gate.degrade, reason)))
    }

    fn skip(&mut self) -> Option<Ended> {
        let gate = self.gate;
        let (share, reason) = self.ask(&gate.skip);
        let lot = self.lot(*share);
        let skips = match lot.bucket {
            Some(bucket) => Some(bucket < lot.below),
            None if lot.below == 0 => Some(false),
            None if lot.below >= lot.of => Some(true),
            None => None,
        };
        let percent = format!("{}%", (share.get() * 1e5).round() / 1e3);
        let found = match skips {
            Some(true) => format!("{percent} are skipped, and it is among them"),
            Some(false) => format!("{percent} are skipped, and it is not among them"),
            None => format!("{percent} are skipped; tell its id to see whether it is among them"),
        };
        let show = |share: &Ratio| Json::from(share.get());
        let says = self.says(Valve::Skip, &gate.skip, show);
        let at = self.links.len();
        self.link("skip", found, false, says);
        if let Some(link) = self.links.get_mut(at) {
            link.lot = Some(lot);
        }
        if skips == Some(false) || self.is_protected() {
            return None;
        }
        if let Some(link) = self.links.get_mut(at) {
            link.decides = true;
        }
        Some(match skips {
            None => Ended::Depends,
            Some(_) => self.shed(Why::Skipped, Gate::by(&gate.skip, reason)),
        })
    }

    /// What the automatic valve says, also while people alone turn `skip`.
    fn auto(&mut self) -> Option<Ended> {
        let (auto, facts) = (self.message.auto?, self.message.facts);
        let candidate = auto.asking.candidate(self.gate, facts, self.message.now_ms);
        let decision = auto.valve.decide(auto.now, &candidate);
        let limit = auto.valve.limit(Class::Priority(candidate.priority));
        let mut said = decision.to_string();
        if let (Decision::Pass(_), Some(limit)) = (decision, limit) {
            said = format!("{said} ({limit})");
        }
        let mode = self.gate.skip_mode;
        let decides = mode == SkipMode::Auto && decision.sheds();
        let found = match mode {
            SkipMode::Auto => said,
            SkipMode::Observe => format!("it is only observed: {said}"),
            SkipMode::Manual => format!("people alone turn skip; by itself it would say: {said}"),
        };
        self.link("skip_mode", found, decides, None);
        let by_lot = matches!(
            decision,
            Decision::Shed(Grounds::Floor | Grounds::Outranked, _)
        );
        decides.then(|| match by_lot && !self.message.has_id {
            true => Ended::Depends,
            false => self.shed(Why::Skipped, self.gate.skip_mode_by.clone()),
        })
    }

    fn is_protected(&mut self) -> bool {
        let gate = self.gate;
        let (protected, _) = self.ask(&gate.protect);
        let (protected, found) = match protected {
            true => (true, "exempt from skip"),
            false => (false, "not exempt from skip"),
        };
        let show = |protected: &bool| Json::from(*protected);
        let says = self.says(Valve::Protect, &gate.protect, show);
        self.link("protect", found.to_owned(), protected, says);
        protected
    }

    fn lot(&self, share: Ratio) -> Lot {
        let (gate, facts) = (self.gate, self.message.facts);
        let name = |slot: Slot| gate.asks.names().get(usize::from(slot.0));
        let by = gate
            .skip_by
            .and_then(|slot| Some((&**name(slot)?, facts.attribute(slot)?)));
        let lots: &Lots = &gate.skip_lots;
        let (by, key) = match by {
            Some((by, key)) => (by, Some(key.text().to_string())),
            None => ("id", self.message.has_id.then(|| facts.id.to_string())),
        };
        Lot {
            by: by.to_owned(),
            bucket: key.as_ref().map(|_| gate.skip_draw(facts)),
            key,
            of: lots.most(),
            below: lots.limit(share),
        }
    }

    fn ask<T>(&self, choice: &'a Choice<T>) -> (&'a T, Reason) {
        let chosen = choice.choose(self.message.facts, &self.gate.audiences);
        (chosen.value, chosen.reason)
    }

    fn says<T>(
        &self,
        valve: Valve,
        choice: &Choice<T>,
        show: impl Fn(&T) -> Json,
    ) -> Option<Explanation> {
        let key = FlagKey::of_valve(&self.gate.queue, valve);
        explain_choice(
            self.snapshot,
            key.as_str(),
            choice,
            self.message.facts,
            &self.gate.audiences,
            show,
        )
    }

    fn link(
        &mut self,
        asks: &'static str,
        found: String,
        decides: bool,
        says: Option<Explanation>,
    ) {
        self.links.push(Link {
            asks,
            found,
            decides,
            lot: None,
            says,
        });
    }

    fn shed(&self, why: Why, by: By) -> Ended {
        Ended::At(Verdict::shed(why, by))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::made_up::{any_flags, given, orders};
    use super::*;
    use crate::rules::change::{Actor, Change, Edit};
    use crate::rules::flag::Flag;
    use crate::rules::gate::decide;
    use crate::rules::sample::told;
    use crate::rules::snapshot::Stored;

    const NOW: i64 = 1_000_000;

    fn flags(turned: &[(Valve, Json)]) -> Snapshot {
        let queue = orders();
        let turned = turned.iter().map(|(valve, value)| {
            let neutral = Flag::neutral_valve(&queue.name, *valve, &queue.modes);
            neutral.with_value(value, 41).unwrap()
        });
        let stored = Stored {
            revision: 41,
            flags: turned.collect(),
            ..Stored::default()
        };
        Snapshot::of(vec![orders()], stored)
    }

    fn message(snapshot: &Snapshot, given: &[(String, String)], age_ms: Option<i64>) -> Facts {
        let gate = snapshot.gate("orders").unwrap();
        let published = age_ms.map(|age| NOW - age);
        told(&gate.asks, &orders().attributes, given, published).facts
    }

    fn explained(snapshot: &Snapshot, facts: &Facts, has_id: bool) -> Chain {
        let message = Message {
            facts,
            has_id,
            now_ms: NOW,
            auto: None,
        };
        explain(snapshot, "orders", message).unwrap()
    }

    fn check(what: &str, turned: &[(Valve, Json)], has_id: bool, verdict: &str, found: &[&str]) {
        let snapshot = flags(turned);
        let given = [("id".to_owned(), "m-1".to_owned())];
        let facts = message(&snapshot, if has_id { &given } else { &[] }, Some(31_000));
        let chain = explained(&snapshot, &facts, has_id);
        let said = format!("{} {}", chain.verdict, chain.reason.unwrap_or_default());
        assert_eq!(said.trim(), verdict, "{what}");
        let last = chain
            .links
            .iter()
            .map(|link| format!("{}: {}", link.asks, link.found));
        assert_eq!(last.collect::<Vec<_>>(), found, "{what}");
    }

    #[test]
    fn the_chain_ends_where_it_is_decided() {
        let (any, whole) = ("max_age: any age", "degrade: the whole job");
        let none = "skip: 0% are skipped, and it is not among them";
        let all = "skip: 100% are skipped, and it is among them";
        let limit = || (Valve::MaxAge, json!("30s"));
        let skip = |share: f64| (Valve::Skip, json!(share));
        check("nothing is turned", &[], true, "run", &[any, whole, none]);
        check(
            "too old",
            &[limit(), skip(1.0)],
            true,
            "shed expired",
            &["max_age: it is 31s old; the limit is 30s"],
        );
        check(
            "rejected",
            &[(Valve::Degrade, json!("reject")), skip(1.0)],
            true,
            "shed rejected",
            &[any, "degrade: not done at all"],
        );
        check(
            "skipped",
            &[skip(1.0)],
            true,
            "shed skipped",
            &[any, whole, all, "protect: not exempt from skip"],
        );
        check(
            "protected",
            &[skip(1.0), (Valve::Protect, json!(true))],
            true,
            "run",
            &[any, whole, all, "protect: exempt from skip"],
        );
        let tell = "skip: 12.5% are skipped; tell its id to see whether it is among them";
        let exempt = "protect: not exempt from skip";
        check(
            "without an id",
            &[skip(0.125)],
            false,
            "depends skipped",
            &[any, whole, tell, exempt],
        );
        check(
            "all without an id",
            &[skip(1.0)],
            false,
            "shed skipped",
            &[any, whole, all, exempt],
        );
    }

    #[test]
    fn what_the_message_says_itself_is_a_link_too() {
        let snapshot = flags(&[]);
        let bare = message(&snapshot, &[], None);
        let doomed = Facts {
            deadline_ms: Some(NOW - 1),
            ..bare.clone()
        };
        let early = Facts {
            not_before_ms: Some(NOW + 60_000),
            ..bare
        };
        for (facts, verdict, asks) in [
            (doomed, ("shed", Some("expired")), "deadline"),
            (early, ("wait", Some("not_yet")), "not_before"),
        ] {
            let chain = explained(&snapshot, &facts, false);
            assert_eq!((chain.verdict, chain.reason), verdict);
            let last = chain.links.last().unwrap();
            assert_eq!((last.asks, last.decides), (asks, true));
        }
    }

    #[test]
    fn a_lot_tells_bucket_and_limit_and_the_whole_queue_its_limits() {
        let snapshot = flags(&[(Valve::Skip, json!(0.25)), (Valve::Rate, json!("50/s"))]);
        let given = [("id".to_owned(), "m-1".to_owned())];
        let chain = explained(&snapshot, &message(&snapshot, &given, None), true);
        let lot = chain.links[2].lot.clone().unwrap();
        assert_eq!((lot.by.as_str(), lot.key.as_deref()), ("id", Some("m-1")));
        assert_eq!((lot.of, lot.below), (100_000, 25_000));
        assert_eq!(chain.verdict == "shed", lot.bucket.unwrap() < lot.below);
        assert_eq!(chain.whole_queue["rate"], json!("50/s"));
        assert_eq!(chain.revision, 41);
    }

    #[test]
    fn who_decided_is_named() {
        let edit = Edit::Open {
            values: vec![("queue.orders.skip".parse().unwrap(), json!(1.0))],
            when: vec![super::super::clause::one_of("account", &["acme"])],
            ends_at_ms: 61_000,
            restore: Default::default(),
            until: None,
        };
        let change = Change {
            confirm: Some(100),
            ..Change::new(edit, Actor::new("ana", "cli"), "INC-481", 1_000)
        };
        let snapshot = flags(&[]).with(&change).unwrap();
        for (account, opening, verdict) in
            [("acme", Some(OpeningId(42)), "shed"), ("b", None, "run")]
        {
            let given = [("account".to_owned(), account.to_owned())];
            let chain = explained(&snapshot, &message(&snapshot, &given, None), false);
            assert_eq!(
                (chain.opening, chain.verdict),
                (opening, verdict),
                "{account}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_chain_says_what_decides_says(
            snapshot in any_flags(), given in given(), age in proptest::option::of(0..60_000i64),
            deadline in proptest::option::weighted(0.2, -5_000..5_000i64),
            not_before in proptest::option::weighted(0.2, -5_000..5_000i64),
        ) {
            let facts = Facts {
                deadline_ms: deadline.map(|by| NOW + by),
                not_before_ms: not_before.map(|by| NOW + by),
                ..message(&snapshot, &given, age)
            };
            let verdict = match decide(snapshot.gate("orders").unwrap(), &facts, NOW) {
                Verdict::Run => ("run", None, By::default()),
                Verdict::Shed { why, by } => ("shed", Some(why.word()), by),
                Verdict::NotYet(_) => ("wait", Some("not_yet"), By::default()),
            };
            let chain = explained(&snapshot, &facts, true);
            prop_assert_eq!((chain.verdict, chain.reason), (verdict.0, verdict.1));
            prop_assert_eq!(chain.opening, verdict.2.opening);
            prop_assert_eq!(chain.rule.as_deref(), verdict.2.rule.as_deref());
            // At most one link decides, and every valve's answer is explained.
            let by_links = chain.links.iter().filter(|link| link.decides && link.asks != "protect");
            prop_assert_eq!(by_links.count(), usize::from(chain.verdict != "run"));
            let own = ["deadline", "not_before"];
            prop_assert!(chain.links.iter().all(|link| link.says.is_some() != own.contains(&link.asks)));
        }
    }
}
