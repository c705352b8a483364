//! What a change would do to messages like those that came lately: the gate as it stands and as it would be, asked of the same
//! messages by the function that decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use super::change::{Change, Refused};
use super::choice::Choice;
use super::facts::Facts;
use super::gate::{Gate, decide};
use super::lots::{ByKey, KeyHash};
use super::sample::Sample;
use super::snapshot::Snapshot;
use super::valve::Valve;
use super::verdict::{Verdict, Why};

/// Below so many messages nothing is said.
pub const LEAST: usize = 100;
/// The most accounts and values that are named.
const NAMED: usize = 10;

/// What a change would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// How many messages were looked at.
    pub messages: usize,
    /// For how many they stand.
    pub stand_for: u64,
    /// When the first of them was taken, milliseconds since 1970.
    pub from_ms: i64,
    /// When the last was.
    pub to_ms: i64,
    /// Their verdicts, those that nobody gets left out.
    pub verdicts: Vec<Tally>,
    /// What the valve says to them, the most frequent first.
    pub values: Vec<Said>,
    /// How many get another verdict.
    pub changed: Counts,
    /// Of how many accounts; `None`: the queue names no key.
    pub accounts: Option<usize>,
    /// The accounts with the most of them, and how many.
    pub most_touched: Vec<(Arc<str>, usize)>,
    /// How many are exempt from a skip that would have taken them.
    pub protected: Moved,
    /// How many are not counted, because something that is asked for is not known of them; by name.
    pub unknown: BTreeMap<Arc<str>, usize>,
}

/// Messages, and for how many they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that were looked at.
    pub messages: usize,
    /// For how many they stand.
    pub stand_for: u64,
}

/// How many, before and after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// As the flags stand.
    pub before: Counts,
    /// As they would.
    pub after: Counts,
}

/// A verdict with its reason, and how many get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// `run`, `shed` or `wait`.
    pub verdict: &'static str,
    /// Why; `None`: it runs.
    pub reason: Option<&'static str>,
    /// How many.
    pub count: Moved,
}

/// A value of the valve, and how many it is said to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The value, as text.
    pub value: String,
    /// How many.
    pub count: Moved,
}

/// Why nothing is said.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoData {
    /// No message came, or too few.
    #[error(
        "no data: {0} messages came lately, at least {LEAST} are needed to say what a change would do"
    )]
    TooFew(usize),
    /// What a rule asks for is not known of those that came.
    #[error(
        "no data for {names} yet: it is not known of {unknown} of the last {of} messages; small headers are kept, bodies are not (name it under [queue.attributes], and it is known from then on)"
    )]
    Unknown {
        /// what is asked for
        names: String,
        /// of how many it is not known
        unknown: usize,
        /// of how many
        of: usize,
    },
}

impl Effect {
    /// How many messages are shed, before and after.
    #[must_use]
    pub fn shed(&self) -> Moved {
        let mut all = Moved::default();
        for tally in self.verdicts.iter().filter(|tally| tally.verdict == "shed") {
            all.before.join(tally.count.before);
            all.after.join(tally.count.after);
        }
        all
    }

    /// What would become of them, in a sentence: `1,003 -> 2,512 of the last 10,000 messages are shed; 87 accounts; protected: 0`.
    #[must_use]
    pub fn summary(&self) -> String {
        let shed = self.shed();
        let (before, after) = (shed.before.messages, shed.after.messages);
        let mut told = format!(
            "{} -> {} of the last {} messages are shed",
            thousands(before),
            thousands(after),
            thousands(self.messages)
        );
        if self.stand_for > self.messages as u64 {
            let stand_for = usize::try_from(self.stand_for).unwrap_or(usize::MAX);
            told += &format!(" (a sample of {})", thousands(stand_for));
        }
        if let Some(accounts) = self.accounts {
            told += &format!("; {} accounts", thousands(accounts));
        }
        told + &format!("; protected: {}", thousands(self.protected.after.messages))
    }

    /// The minutes that the messages came in; `None`: they came too fast to tell.
    #[must_use]
    pub fn minutes(&self) -> Option<f64> {
        let span = self.to_ms - self.from_ms;
        (span >= 1_000).then_some(span as f64 / 60_000.0)
    }
}

impl Counts {
    fn add(&mut self, sample: &Sample) {
        self.messages += 1;
        self.stand_for += u64::from(sample.stands_for);
    }

    fn join(&mut self, other: Self) {
        self.messages += other.messages;
        self.stand_for += other.stand_for;
    }
}

/// What a change would lead to, as if its size were confirmed, and the size that is to be confirmed if it is a big move.
///
/// # Errors
/// As [`Snapshot::with`].
pub fn tried(snapshot: &Snapshot, change: Change) -> Result<(Snapshot, Option<u64>), Refused> {
    match snapshot.with(&change) {
        Err(Refused::ConfirmSize { size, .. }) => {
            let confirmed = Change {
                confirm: Some(size),
                ..change
            };
            Ok((snapshot.with(&confirmed)?, Some(size)))
        }
        tried => Ok((tried?, None)),
    }
}

/// What comes of `after` in the place of `before` for these messages, oldest first; `valve` is the one that would be turned.
///
/// # Errors
/// See [`NoData`].
pub fn effect<'a>(
    before: &Gate,
    after: &Gate,
    valve: Valve,
    samples: impl Iterator<Item = &'a Sample>,
) -> Result<Effect, NoData> {
    let mut counting = Counting::default();
    for sample in samples {
        counting.count(before, after, valve, sample);
    }
    counting.done()
}

#[derive(Default)]
struct Counting {
    seen: usize,
    looked_at: Counts,
    span: Option<(i64, i64)>,
    /// By the number of the reason; the last one: it runs.
    verdicts: BTreeMap<usize, Moved>,
    values: BTreeMap<String, Moved>,
    changed: Counts,
    keyed: bool,
    accounts: ByKey<(Arc<str>, usize)>,
    protected: Moved,
    unknown: BTreeMap<Arc<str>, usize>,
}

impl Counting {
    fn count(&mut self, before: &Gate, after: &Gate, valve: Valve, sample: &Sample) {
        self.seen += 1;
        let (facts_before, unknown_before) = sample.asked(&before.asks);
        let (facts_after, unknown_after) = sample.asked(&after.asks);
        let unknown = [(before, unknown_before), (after, unknown_after)];
        let mut names: Vec<&Arc<str>> = unknown
            .iter()
            .flat_map(|(gate, slots)| slots.iter().filter_map(|slot| gate.asks.names().get(*slot)))
            .collect();
        names.sort_unstable();
        names.dedup();
        if !names.is_empty() {
            for name in names {
                *self.unknown.entry(Arc::clone(name)).or_default() += 1;
            }
            return;
        }
        self.looked_at.add(sample);
        let (first, _) = self.span.unwrap_or((sample.taken_ms, 0));
        self.span = Some((first, sample.taken_ms));
        let was = decide(before, &facts_before, sample.taken_ms);
        let would = decide(after, &facts_after, sample.taken_ms);
        let changed = place(&was) != place(&would);
        self.verdicts
            .entry(place(&was))
            .or_default()
            .before
            .add(sample);
        self.verdicts
            .entry(place(&would))
            .or_default()
            .after
            .add(sample);
        for (gate, facts, verdict, after) in [
            (before, &*facts_before, &was, false),
            (after, &*facts_after, &would, true),
        ] {
            self.says(gate, facts, valve, sample, after);
            if *verdict == Verdict::Run && is_exempt(gate, facts) {
                side(&mut self.protected, after).add(sample);
            }
        }
        if changed {
            self.changed.add(sample);
        }
        self.touch(&facts_after, changed);
    }

    fn says(&mut self, gate: &Gate, facts: &Facts, valve: Valve, sample: &Sample, after: bool) {
        let none = || "none".to_owned();
        let value = match valve {
            Valve::MaxAge => say(gate, &gate.max_age, facts, |limit| {
                limit.map_or_else(none, |limit| limit.to_string())
            }),
            Valve::Degrade => say(gate, &gate.degrade, facts, |mode| mode.word().to_owned()),
            Valve::Protect => say(gate, &gate.protect, facts, bool::to_string),
            Valve::Skip => say(gate, &gate.skip, facts, ToString::to_string),
            Valve::Timeout => say(gate, &gate.timeout, facts, ToString::to_string),
            _ => return,
        };
        side(self.values.entry(value).or_default(), after).add(sample);
    }

    fn touch(&mut self, facts: &Facts, changed: bool) {
        let Some((hash, key)) = &facts.key else {
            return;
        };
        self.keyed = true;
        if changed {
            let hash: KeyHash = *hash;
            let account = self.accounts.entry(hash);
            account.or_insert_with(|| (Arc::clone(key), 0)).1 += 1;
        }
    }

    fn done(self) -> Result<Effect, NoData> {
        if self.seen < LEAST {
            return Err(NoData::TooFew(self.seen));
        }
        if self.looked_at.messages < LEAST {
            let names: Vec<&str> = self.unknown.keys().map(|name| &**name).collect();
            return Err(NoData::Unknown {
                names: names.join(", "),
                unknown: self.seen - self.looked_at.messages,
                of: self.seen,
            });
        }
        let (from_ms, to_ms) = self.span.unwrap_or_default();
        let accounts = self.accounts.len();
        let mut most_touched: Vec<(Arc<str>, usize)> = self.accounts.into_values().collect();
        most_touched.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        most_touched.truncate(NAMED);
        let values = self.values.into_iter();
        let mut values: Vec<Said> = values.map(|(value, count)| Said { value, count }).collect();
        values.sort_by_key(|said| {
            std::cmp::Reverse(said.count.before.messages.max(said.count.after.messages))
        });
        values.truncate(NAMED);
        let verdicts = self.verdicts.into_iter().map(|(place, count)| {
            let why = Why::ALL.get(place);
            Tally {
                verdict: why.map_or("run", |why| why.verdict()),
                reason: why.map(|why| why.word()),
                count,
            }
        });
        Ok(Effect {
            messages: self.looked_at.messages,
            stand_for: self.looked_at.stand_for,
            from_ms,
            to_ms,
            verdicts: verdicts.collect(),
            values,
            changed: self.changed,
            accounts: self.keyed.then_some(accounts),
            most_touched,
            protected: self.protected,
            unknown: self.unknown,
        })
    }
}

/// A count as people read it: `10,000`.
#[must_use]
pub fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let first = digits.len() % 3;
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 3 == first {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The number of a verdict's reason; [`Why::COUNT`]: it runs.
fn place(verdict: &Verdict) -> usize {
    match verdict {
        Verdict::Run => Why::COUNT,
        Verdict::Shed { why, .. } => *why as usize,
        Verdict::NotYet(_) => Why::NotYet as usize,
    }
}

/// Whether a message that runs would have been skipped, had it not been exempt.
fn is_exempt(gate: &Gate, facts: &Facts) -> bool {
    let share = gate.ask(&gate.skip, facts).value;
    gate.skips(facts, *share) && *gate.ask(&gate.protect, facts).value
}

fn say<T>(gate: &Gate, choice: &Choice<T>, facts: &Facts, show: impl Fn(&T) -> String) -> String {
    show(gate.ask(choice, facts).value)
}

fn side(moved: &mut Moved, after: bool) -> &mut Counts {
    if after {
        &mut moved.after
    } else {
        &mut moved.before
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::rules::change::{Actor, Edit};
    use crate::rules::facts::Reading;
    use crate::rules::flag::{FlagDocument, RuleDocument};
    use crate::rules::made_up::orders;
    use crate::rules::message::{Field, Properties, Raw};
    use crate::rules::snapshot::Stored;

    fn start() -> Snapshot {
        Snapshot::of(vec![orders()], Stored::default())
    }

    fn turned(snapshot: &Snapshot, valve: Valve, value: Json, rules: Json) -> Snapshot {
        let key = format!("queue.orders.{}", valve.name());
        let rules: Vec<RuleDocument> = serde_json::from_value(rules).unwrap();
        let document = FlagDocument {
            value,
            rules,
            ..snapshot.flag(&key).unwrap().document()
        };
        let edit = Edit::Replace(Box::new(document));
        let change = Change {
            keep: true,
            ..Change::new(edit, Actor::new("ana", "cli"), "INC-481", 0)
        };
        tried(snapshot, change).unwrap().0
    }

    /// Messages of ten accounts, one each 60 ms, the odd ones 20 s old; read for the gate as it stands at the start.
    fn messages(count: usize) -> Vec<Sample> {
        let queue = orders();
        let reading = Reading {
            attributes: queue.attributes.clone(),
            key: Some("account".to_owned()),
            max_body: 1_000,
            ..Reading::default()
        };
        let asks = Arc::clone(&start().gate("orders").unwrap().asks);
        let message = |number: usize| {
            let at = 1_000_000 + number as i64 * 60;
            let account = format!("a-{}", number % 10);
            let raw = Raw {
                properties: Properties {
                    message_id: Some(format!("m-{number}")),
                    ..Properties::default()
                },
                headers: vec![
                    ("x-account".to_owned(), Field::LongString(account.into())),
                    (
                        "timestamp_in_ms".to_owned(),
                        Field::LongLongInt(at - 20_000 * (number as i64 % 2)),
                    ),
                ],
                body: b"{}".as_slice().into(),
                ..Raw::default()
            };
            let facts = reading.read(&raw, &asks).unwrap();
            Sample::of(&facts, &raw, at, 2)
        };
        (0..count).map(message).collect()
    }

    fn of(
        before: &Snapshot,
        after: &Snapshot,
        valve: Valve,
        count: usize,
    ) -> Result<Effect, NoData> {
        let gate = |snapshot: &Snapshot| Arc::clone(snapshot.gate("orders").unwrap());
        effect(&gate(before), &gate(after), valve, messages(count).iter())
    }

    fn told(effect: &Effect) -> Vec<(String, usize, usize)> {
        let tallies = effect.verdicts.iter().map(|tally| {
            let words = format!("{} {}", tally.verdict, tally.reason.unwrap_or("-"));
            (
                words,
                tally.count.before.messages,
                tally.count.after.messages,
            )
        });
        tallies.collect()
    }

    #[test]
    fn it_counts_what_decide_says_before_and_after() {
        let before = turned(&start(), Valve::MaxAge, json!("10s"), json!([]));
        let after = turned(&before, Valve::Skip, json!(1.0), json!([]));
        let effect = of(&before, &after, Valve::Skip, 1_000).unwrap();
        let verdicts = [
            ("shed expired", 500, 500),
            ("shed skipped", 0, 500),
            ("run -", 500, 0),
        ];
        assert_eq!(
            told(&effect),
            verdicts.map(|(words, b, a)| (words.to_owned(), b, a))
        );
        assert_eq!((effect.messages, effect.stand_for), (1_000, 2_000));
        assert_eq!(
            effect.changed,
            Counts {
                messages: 500,
                stand_for: 1_000
            }
        );
        assert_eq!(
            (effect.shed().before.messages, effect.shed().after.messages),
            (500, 1_000)
        );
        assert_eq!(effect.accounts, Some(5), "the even ones are young");
        assert_eq!(effect.most_touched[0], ("a-0".into(), 100));
        let summary = "500 -> 1,000 of the last 1,000 messages are shed (a sample of 2,000); 5 accounts; protected: 0";
        assert_eq!(effect.summary(), summary);
        let minutes = effect.minutes().unwrap();
        assert!((minutes - 1.0).abs() < 0.01, "{minutes}");
    }

    #[test]
    fn for_one_account_it_is_that_account_and_the_exempt_are_counted() {
        let rule = json!([{"name": "acme", "value": 1.0,
            "when": [{"attribute": "account", "op": "in", "values": ["a-3"]}]}]);
        let after = turned(&start(), Valve::Skip, json!(0.0), rule);
        let effect = of(&start(), &after, Valve::Skip, 1_000).unwrap();
        assert_eq!((effect.accounts, effect.changed.messages), (Some(1), 100));
        assert_eq!(effect.values[0].value, "0");
        assert_eq!(
            (
                effect.values[1].value.as_str(),
                effect.values[1].count.after.messages
            ),
            ("1", 100)
        );
        let exempt = turned(&after, Valve::Protect, json!(true), json!([]));
        let effect = of(&after, &exempt, Valve::Protect, 1_000).unwrap();
        assert_eq!(effect.protected.before.messages, 0);
        assert_eq!(effect.protected.after.messages, 100);
        assert_eq!(effect.shed().after.messages, 0);
    }

    #[test]
    fn counts_are_written_in_groups_of_three() {
        for (count, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345, "12,345"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(thousands(count), text);
        }
    }

    #[test]
    fn a_mode_changes_no_verdict_and_is_told_all_the_same() {
        let after = turned(&start(), Valve::Degrade, json!("light"), json!([]));
        let effect = of(&start(), &after, Valve::Degrade, 200).unwrap();
        assert_eq!(effect.changed.messages, 0);
        let values: Vec<_> = effect
            .values
            .iter()
            .map(|said| (said.value.as_str(), said.count.after.messages))
            .collect();
        assert_eq!(values, [("light", 200), ("none", 0)]);
    }

    #[test]
    fn it_says_no_data_rather_than_guess() {
        let skip = turned(&start(), Valve::Skip, json!(0.5), json!([]));
        for few in [0, LEAST - 1] {
            assert_eq!(
                of(&start(), &skip, Valve::Skip, few),
                Err(NoData::TooFew(few))
            );
        }
        let by_body = json!([{"name": "gold", "value": 0.5,
            "when": [{"attribute": "body.plan", "op": "in", "values": ["gold"]}]}]);
        let after = turned(&start(), Valve::Skip, json!(0.0), by_body);
        let said = of(&start(), &after, Valve::Skip, 200)
            .unwrap_err()
            .to_string();
        assert!(
            said.starts_with("no data for body.plan yet: it is not known of 200 of the last 200"),
            "{said}"
        );
        let by_header = json!([{"name": "gold", "value": 0.5,
            "when": [{"attribute": "header.x-plan", "op": "exists", "values": [false]}]}]);
        let after = turned(&start(), Valve::Skip, json!(0.0), by_header);
        let effect = of(&start(), &after, Valve::Skip, 200).unwrap();
        assert!(
            effect.unknown.is_empty() && effect.changed.messages > 50,
            "a small header is kept"
        );
    }
}
