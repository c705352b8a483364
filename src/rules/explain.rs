//! Why a flag says what it says to somebody, rule by rule.
//!
//! The compiled flag that decides is asked, clause by clause; beside each answer stand the words that people wrote and what was
//! found. The value and the reason at the end are those of [`Choice::choose`].

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;

use super::audience::Audiences;
use super::choice::{Choice, Gives, Reason, Rule, Split};
use super::clause::{Clause, ClauseDocument};
use super::context::{Attribute, Context};
use super::flag::{FlagDocument, RuleDocument};
use super::opening::OpeningId;
use super::snapshot::Snapshot;

/// The most values of one clause that are repeated.
pub const MOST_SHOWN: usize = 20;

/// What a flag says to somebody, and why.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Explanation {
    /// The flag's key.
    pub flag: String,
    /// The revision of its last change.
    pub revision: u64,
    /// The value.
    pub value: Json,
    /// Why: `static`, `default`, `disabled`, `rule <name>`, `split <name>` or `opening <id>`.
    pub reason: String,
    /// What was asked, in its order; the last one gives the value, unless it is the one for everybody.
    pub steps: Vec<Step>,
    /// The openings and rules that were not asked any more.
    pub not_asked: Vec<String>,
}

/// An opening or a rule that was asked.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Step {
    /// The opening, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub opening: Option<OpeningId>,
    /// The rule's name, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Whether all its clauses hold.
    pub holds: bool,
    /// Its clauses, each asked by itself.
    pub clauses: Vec<Asked>,
    /// The lot that was drawn, of a rule with a split that holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<Drawn>,
    /// Whether it gives the value: it holds, and if it splits, the lot fell in one of the shares.
    pub decides: bool,
}

/// A clause that was asked.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Asked {
    /// What it asks, with its first values.
    pub clause: ClauseDocument,
    /// How many values are left out there.
    #[serde(skip_serializing_if = "is_zero")]
    pub values_left_out: usize,
    /// What it found: of a segment, the attribute that members are values of; `null`: nothing.
    pub found: Option<String>,
    /// Whether it holds.
    pub holds: bool,
    /// How somebody belongs to the segment: as a `member`, or by its `clauses`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<&'static str>,
}

/// A lot that was drawn.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Drawn {
    /// The attribute that draws.
    pub by: String,
    /// Its value; `null`: it is missing, and nothing was drawn.
    pub key: Option<String>,
    /// What was drawn, from 0.
    pub bucket: Option<u64>,
    /// How many buckets there are.
    pub of: u64,
    /// The shares in their order: the first whose limit is above the bucket takes it.
    pub shares: Vec<Share>,
}

/// A share of a split.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Share {
    /// What it gives.
    pub value: Json,
    /// Its size, 0 to 1.
    pub share: f64,
    /// Its limit: buckets below it, which the shares before did not take, are in it.
    pub below: u64,
    /// Whether the lot fell in it.
    pub drawn: bool,
}

/// Who asks, and what is known of them.
struct Asking<'a, C: ?Sized> {
    snapshot: &'a Snapshot,
    context: &'a C,
    audiences: &'a Audiences,
}

/// Explains what a flag of `snapshot` says in a context of its [`Snapshot::vocabulary`]; `None`: there is no such flag.
pub fn explain<C: Context + ?Sized>(
    snapshot: &Snapshot,
    key: &str,
    context: &C,
) -> Option<Explanation> {
    let (choice, audiences) = (snapshot.choice(key)?, snapshot.audiences());
    explain_choice(snapshot, key, choice, context, audiences, |value| {
        value.to_json()
    })
}

/// Explains a flag of `snapshot` as it was compiled for this kind of context.
pub(super) fn explain_choice<T, C: Context + ?Sized>(
    snapshot: &Snapshot,
    key: &str,
    choice: &Choice<T>,
    context: &C,
    audiences: &Audiences,
    show: impl Fn(&T) -> Json,
) -> Option<Explanation> {
    let document = snapshot.flag(key)?.document();
    let asking = Asking {
        snapshot,
        context,
        audiences,
    };
    let mut steps: Vec<Step> = Vec::new();
    let mut not_asked = Vec::new();
    let decided = |steps: &[Step]| steps.last().is_some_and(|step| step.decides);
    for laid in choice.laid.iter() {
        if decided(&steps) {
            not_asked.push(laid.opening.to_string());
        } else {
            steps.push(asking.opening(laid.opening, &laid.when));
        }
    }
    for (number, (rule, name)) in choice.rules.iter().zip(choice.rules()).enumerate() {
        if decided(&steps) || !choice.enabled {
            not_asked.push(name.to_owned());
        } else {
            let step = asking.rule(rule, &document, number, &show);
            steps.push(Step {
                rule: Some(name.to_owned()),
                ..step
            });
        }
    }
    // Beneath all of that lies the opening by which the value itself is on its way.
    if let Some(way) = choice.way {
        if decided(&steps) {
            not_asked.push(way.to_string());
        } else {
            steps.push(asking.opening(way, &[]));
        }
    }
    let chosen = choice.choose(context, audiences);
    Some(Explanation {
        flag: document.key.clone(),
        revision: document.revision,
        value: show(chosen.value),
        reason: words(choice, chosen.reason),
        steps,
        not_asked,
    })
}

/// A reason in words: `static`, `default`, `disabled`, `rule <name>`, `split <name>`, `opening <id>`.
#[must_use]
pub fn words<T>(choice: &Choice<T>, reason: Reason) -> String {
    let name = choice.rule(reason);
    let name = name.as_deref().unwrap_or_default();
    match reason {
        Reason::Static => "static".to_owned(),
        Reason::Default => "default".to_owned(),
        Reason::Disabled => "disabled".to_owned(),
        Reason::Rule(_) => format!("rule {name}"),
        Reason::Split(_) => format!("split {name}"),
        Reason::Opening(id) => format!("opening {id}"),
    }
}

impl<C: Context + ?Sized> Asking<'_, C> {
    fn opening(&self, id: OpeningId, when: &[Clause]) -> Step {
        let written = self.snapshot.opening(id).map(|opening| &*opening.when);
        let (holds, clauses) = self.clauses(when, written.unwrap_or_default());
        Step {
            opening: Some(id),
            rule: None,
            holds,
            clauses,
            split: None,
            decides: holds,
        }
    }

    fn rule<T>(
        &self,
        rule: &Rule<T>,
        flag: &FlagDocument,
        number: usize,
        show: &impl Fn(&T) -> Json,
    ) -> Step {
        let unwritten = RuleDocument::default();
        let written = flag.rules.get(number).unwrap_or(&unwritten);
        let (holds, clauses) = self.clauses(&rule.when, &written.when);
        let split = match &rule.gives {
            Gives::Split(split) if holds => Some(self.drawn(split, flag, written, show)),
            _ => None,
        };
        let drew = |split: &Drawn| split.shares.iter().any(|share| share.drawn);
        Step {
            opening: None,
            rule: None,
            holds,
            clauses,
            decides: holds && split.as_ref().is_none_or(drew),
            split,
        }
    }

    fn clauses(&self, asked: &[Clause], written: &[ClauseDocument]) -> (bool, Vec<Asked>) {
        let unwritten = ClauseDocument::default();
        let written = written.iter().chain(std::iter::repeat(&unwritten));
        let clauses: Vec<Asked> = asked
            .iter()
            .zip(written)
            .map(|(clause, written)| self.clause(clause, written))
            .collect();
        (clauses.iter().all(|clause| clause.holds), clauses)
    }

    fn clause(&self, clause: &Clause, written: &ClauseDocument) -> Asked {
        let mut shown = written.clone();
        let values_left_out = shown.values.len().saturating_sub(MOST_SHOWN);
        shown.values.truncate(MOST_SHOWN);
        let (found, through) = match clause {
            Clause::Segment { number, .. } => self.in_segment(*number),
            Clause::Attribute(slot, _) => (self.context.attribute(*slot), None),
        };
        Asked {
            clause: shown,
            values_left_out,
            found: found.map(text),
            holds: clause.holds(self.context, self.audiences),
            through,
        }
    }

    /// What a segment finds of somebody, and how they belong to it.
    fn in_segment(&self, number: u16) -> (Option<&Attribute>, Option<&'static str>) {
        let Some(Some(audience)) = self.audiences.0.get(usize::from(number)) else {
            return (None, None);
        };
        let found = self.context.attribute(audience.by);
        let member = found.is_some_and(|found| audience.members.contains(found));
        let through = match (member, self.audiences.includes(number, self.context)) {
            (true, _) => Some("member"),
            (false, true) => Some("clauses"),
            (false, false) => None,
        };
        (found, through)
    }

    fn drawn<T>(
        &self,
        split: &Split<T>,
        flag: &FlagDocument,
        written: &RuleDocument,
        show: &impl Fn(&T) -> Json,
    ) -> Drawn {
        let key = self.context.attribute(split.by);
        let bucket = key.map(|key| split.draw(key));
        let taken = |limit: &u64| bucket.is_some_and(|bucket| bucket < *limit);
        let takes = split.shares.iter().position(|(limit, _)| taken(limit));
        let sizes = written.split.iter().map(|share| share.share);
        let shares = split.shares.iter().zip(sizes.chain(std::iter::repeat(0.0)));
        Drawn {
            by: flag.draws_by(written).to_owned(),
            key: key.map(text),
            bucket,
            of: split.lots.most(),
            shares: shares
                .enumerate()
                .map(|(number, ((below, value), share))| Share {
                    value: show(value),
                    share,
                    below: *below,
                    drawn: takes == Some(number),
                })
                .collect(),
        }
    }
}

fn text(attribute: &Attribute) -> String {
    attribute.text().to_string()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::made_up::{COLOUR, any_flags, given};
    use super::*;
    use crate::rules::flag::Flag;
    use crate::rules::segment::{Segment, SegmentDocument};
    use crate::rules::snapshot::Stored;

    fn asked(snapshot: &Snapshot, given: &[(&str, &str)]) -> Vec<Option<Attribute>> {
        let told = given
            .iter()
            .map(|(name, text)| (*name, Attribute::of(text)));
        snapshot.context(told)
    }

    fn skip_for(rules: Json) -> Snapshot {
        let beta = json!({"name": "beta", "members": ["acme"],
            "when": [{"attribute": "plan", "op": "in", "values": ["free"]}]});
        let beta: SegmentDocument = serde_json::from_value(beta).unwrap();
        let flag = json!({"key": "basket", "kind": "config", "type": "ratio", "value": 0.0,
            "rules": rules, "revision": 41});
        let flag: FlagDocument = serde_json::from_value(flag).unwrap();
        let stored = Stored {
            flags: vec![Flag::try_from(flag).unwrap()],
            segments: vec![Segment::try_from(beta).unwrap()],
            ..Stored::default()
        };
        Snapshot::of(Vec::new(), stored)
    }

    fn basket(snapshot: &Snapshot, given: &[(&str, &str)]) -> Json {
        let told = explain(snapshot, "basket", &*asked(snapshot, given)).unwrap();
        serde_json::to_value(told).unwrap()
    }

    #[test]
    fn each_clause_tells_what_it_asked_what_it_found_and_whether_it_held() {
        let snapshot = skip_for(json!([
            {"name": "acme-bulk", "value": 1.0, "when": [
                {"attribute": "account", "op": "in", "values": ["acme"]},
                {"attribute": "type", "op": "starts_with", "values": ["bulk."]}]},
            {"name": "ring-1", "by": "account", "when": [{"segment": "beta"}],
             "split": [{"value": 0.5, "share": 0.05}, {"value": 0.25, "share": 0.9}]},
            {"name": "rest", "value": 0.1}]));
        let told = basket(&snapshot, &[("account", "acme"), ("type", "mail")]);
        let head =
            json!({"flag": "basket", "revision": 41, "value": 0.25, "reason": "split ring-1"});
        for (name, value) in head.as_object().unwrap() {
            assert_eq!(told[name], *value, "{told}");
        }
        assert_eq!(
            told["steps"][0],
            json!({"rule": "acme-bulk", "holds": false, "decides": false, "clauses": [
                {"clause": {"attribute": "account", "op": "in", "values": ["acme"]}, "found": "acme", "holds": true},
                {"clause": {"attribute": "type", "op": "starts_with", "values": ["bulk."]}, "found": "mail", "holds": false}]})
        );
        let bucket = told["steps"][1]["split"]["bucket"].as_u64().unwrap();
        assert!((5_000..95_000).contains(&bucket), "{bucket}");
        assert_eq!(
            told["steps"][1],
            json!({"rule": "ring-1", "holds": true, "decides": true,
                "clauses": [{"clause": {"segment": "beta"}, "found": "acme", "holds": true, "through": "member"}],
                "split": {"by": "account", "key": "acme", "bucket": bucket, "of": 100_000, "shares": [
                    {"value": 0.5, "share": 0.05, "below": 5_000, "drawn": false},
                    {"value": 0.25, "share": 0.9, "below": 95_000, "drawn": true}]}})
        );
        assert_eq!(told["not_asked"], json!(["rest"]));
        let free = basket(&snapshot, &[("plan", "free")]);
        assert_eq!(free["steps"][1]["clauses"][0]["through"], "clauses");
        assert_eq!(free["steps"][1]["clauses"][0]["found"], Json::Null);
        assert_eq!(
            free["steps"][1]["split"]["bucket"],
            Json::Null,
            "no key draws nothing"
        );
        assert_eq!(free["reason"], "rule rest");
        let nobody = basket(&snapshot, &[]);
        assert_eq!(nobody["steps"][1]["holds"], false);
        assert_eq!(nobody["steps"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn of_a_long_list_the_first_values_are_repeated() {
        let many: Vec<u32> = (0..100).collect();
        let rules = json!([{"name": "many", "value": 1.0,
            "when": [{"attribute": "account", "op": "in", "values": many}]}]);
        let told = basket(&skip_for(rules), &[("account", "99")]);
        let clause = &told["steps"][0]["clauses"][0];
        assert_eq!(
            (&clause["values_left_out"], &clause["holds"]),
            (&json!(80), &json!(true))
        );
    }

    #[test]
    fn what_is_not_there_is_not_explained() {
        assert_eq!(explain(&skip_for(json!([])), "bascet", &[][..]), None);
    }

    proptest! {
        #[test]
        fn the_answer_is_that_of_the_flag_and_the_steps_lead_to_it(snapshot in any_flags(), given in given()) {
            let told = given.iter().map(|(name, text)| (&**name, Attribute::of(text)));
            let context = snapshot.context(told);
            let handle = snapshot.handle(COLOUR).unwrap();
            let chosen = snapshot.ask(handle, &*context).unwrap();
            let told = explain(&snapshot, COLOUR, &*context).unwrap();
            prop_assert_eq!(&told.value, &chosen.value.to_json());
            prop_assert_eq!(&told.reason, &words(snapshot.choice(COLOUR).unwrap(), chosen.reason));
            // Who reads the steps alone comes to the same reason.
            let last = told.steps.last().filter(|step| step.decides);
            let by_steps = last.map(|step| match (step.opening, &step.rule, &step.split) {
                (Some(id), ..) => format!("opening {id}"),
                (_, Some(rule), Some(_)) => format!("split {rule}"),
                (_, rule, _) => format!("rule {}", rule.as_deref().unwrap_or_default()),
            });
            let of_everybody = ["static", "default", "disabled"];
            prop_assert_eq!(
                by_steps.clone().unwrap_or_else(|| told.reason.clone()),
                told.reason.clone()
            );
            prop_assert_eq!(by_steps.is_none(), of_everybody.contains(&&*told.reason));
            let drawn = last.and_then(|step| step.split.as_ref()?.shares.iter().find(|share| share.drawn));
            prop_assert!(drawn.is_none_or(|share| share.value == told.value));
            for step in &told.steps {
                prop_assert_eq!(step.holds, step.clauses.iter().all(|clause| clause.holds));
            }
            let entries = told.steps.len() + told.not_asked.len();
            let flag = snapshot.flag(COLOUR).unwrap().document();
            prop_assert_eq!(entries, flag.rules.len() + snapshot.openings_on(COLOUR).count());
        }
    }
}
