//! Answers, written beforehand: for each flag of a snapshot what it may say, as JSON. Who is asked for decides which of it is said,
//! by [`Choice::choose`] as everywhere. A flag that a change did not touch keeps its row. May import `rules` and `metrics`.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value as Json, json};
use xxhash_rust::xxh3::Xxh3;

use super::failure::{Failure, TARGETING_KEY_MISSING};
use crate::api::access::Caller;
use crate::metrics::{Metrics, Tally};
use crate::rules::choice::{Choice, Reason};
use crate::rules::context::{Attribute, Slot};
use crate::rules::flag::{Flag, Value, ValueType};
use crate::rules::opening::OpeningId;
use crate::rules::snapshot::Snapshot;

/// Whoever is asked for, as one snapshot knows them.
pub(super) struct Asker {
    context: Vec<Option<Attribute>>,
    /// Whether a targeting key was given.
    targeted: bool,
}

impl Asker {
    pub(super) fn new(context: Vec<Option<Attribute>>, targeted: bool) -> Self {
        Self { context, targeted }
    }
}

/// The newest sheet.
#[derive(Debug)]
pub(super) struct Sheets {
    newest: Mutex<Option<Arc<Sheet>>>,
    /// Makes tags differ from those of another run, whose file may have said something else.
    salt: u64,
}

impl Default for Sheets {
    fn default() -> Self {
        Self {
            newest: Mutex::default(),
            salt: RandomState::new().hash_one("etag"),
        }
    }
}

impl Sheets {
    /// The sheet of this snapshot.
    pub(super) fn of(&self, snapshot: Arc<Snapshot>, metrics: &Metrics) -> Arc<Sheet> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sheet) = newest.as_ref()
            && Arc::ptr_eq(&sheet.snapshot, &snapshot)
        {
            return Arc::clone(sheet);
        }
        let sheet = Arc::new(Sheet::of(snapshot, newest.as_deref(), self.salt, metrics));
        *newest = Some(Arc::clone(&sheet));
        sheet
    }
}

/// What all flags of a snapshot may say.
#[derive(Debug)]
pub(super) struct Sheet {
    snapshot: Arc<Snapshot>,
    /// By key.
    rows: Vec<Arc<Row>>,
    salt: u64,
}

impl Sheet {
    fn of(snapshot: Arc<Snapshot>, before: Option<&Self>, salt: u64, metrics: &Metrics) -> Self {
        let rows = snapshot.flags().filter_map(|flag| {
            let key = flag.key.as_str();
            let choice = snapshot.choice(key)?;
            // Both snapshots are held, so one address means one compiled flag.
            let kept = before.and_then(|before| {
                let same = std::ptr::eq(before.snapshot.choice(key)?, choice);
                before.row(key).filter(|_| same).cloned()
            });
            Some(kept.unwrap_or_else(|| Arc::new(Row::of(flag, choice, metrics.tally(key)))))
        });
        Self {
            rows: rows.collect(),
            salt,
            snapshot,
        }
    }

    /// The snapshot that answers.
    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// One flag.
    pub(super) fn row(&self, key: &str) -> Option<&Arc<Row>> {
        let place = self.rows.binary_search_by(|row| (*row.key).cmp(key));
        place.ok().and_then(|place| self.rows.get(place))
    }

    /// What one flag says to whoever asks, as JSON.
    pub(super) fn answer(&self, row: &Row, asker: &Asker) -> Result<Vec<u8>, Failure> {
        let mut json = Vec::new();
        if row.write(&self.snapshot, asker, &mut json) {
            return Ok(json);
        }
        Err(row.undrawn())
    }

    /// What all flags say to whoever asks: `{"flags": […]}` and the rest of a bulk answer.
    pub(super) fn answer_all(&self, asker: &Asker, caller: &Caller, streams: &str) -> Vec<u8> {
        let mut json = Vec::with_capacity(self.rows.len() * 192 + 256);
        json.extend_from_slice(b"{\"flags\":[");
        let rows = self.rows.iter().filter(|row| caller.sees_flag(&row.key));
        for (number, row) in rows.enumerate() {
            if number > 0 {
                json.push(b',');
            }
            if !row.write(&self.snapshot, asker, &mut json) {
                json.extend(serde_json::to_vec(&row.undrawn()).unwrap_or_default());
            }
            row.tally.listed();
        }
        let end = format!(
            "],\"metadata\":{{\"revision\":{}}},\"eventStreams\":{streams}}}",
            self.snapshot.revision()
        );
        json.extend_from_slice(end.as_bytes());
        json
    }

    /// The tag of [`Sheet::answer_all`]: another one when the flags change, what they ask of whoever asks, or the caller's scope.
    pub(super) fn tag(&self, asker: &Asker, caller: &Caller) -> String {
        let mut hash = Xxh3::with_seed(self.salt);
        hash.update(&self.snapshot.revision().to_le_bytes());
        hash.update(&caller.mark_of_scope().to_le_bytes());
        hash.update(&[u8::from(asker.targeted)]);
        for attribute in &asker.context {
            match attribute {
                None => hash.update(&[0]),
                Some(attribute) => {
                    hash.update(&[1]);
                    hash.update(&attribute.hash().0.to_le_bytes());
                }
            }
        }
        format!("\"{:016x}\"", hash.digest())
    }
}

/// What one flag may say.
#[derive(Debug)]
pub(super) struct Row {
    key: Box<str>,
    /// `{"key": …, "value": …`, without what ends it.
    choice: Choice<Box<[u8]>>,
    tails: Tails,
    draws_by: Box<[Slot]>,
    tally: Arc<Tally>,
}

/// What ends an answer: reason, variant and metadata.
#[derive(Debug)]
struct Tails {
    fixed: Box<[u8]>,
    default: Box<[u8]>,
    disabled: Box<[u8]>,
    rules: Box<[TailsOfRule]>,
    openings: Box<[(OpeningId, Box<[u8]>)]>,
}

#[derive(Debug)]
struct TailsOfRule {
    held: Box<[u8]>,
    drew: Box<[u8]>,
}

impl Row {
    fn of(flag: &Flag, choice: &Choice<Value>, tally: Arc<Tally>) -> Self {
        let key = Json::from(flag.key.as_str());
        let none = none_of(flag.value_type());
        let said = |value: &Value| {
            let value = match value {
                Value::None => none.clone(),
                value => value.to_json(),
            };
            format!("{{\"key\":{key},\"value\":{value}")
                .into_bytes()
                .into()
        };
        Self {
            key: flag.key.as_str().into(),
            choice: choice.map(said),
            tails: Tails::of(flag, choice),
            draws_by: choice.draws_by().collect(),
            tally,
        }
    }

    /// Its evaluations.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Writes what it says. `false`: nothing, since a lot was to be drawn and there is nothing to draw by.
    fn write(&self, snapshot: &Snapshot, asker: &Asker, json: &mut Vec<u8>) -> bool {
        let context = asker.context.as_slice();
        let chosen = self.choice.choose(context, snapshot.audiences());
        if chosen.reason == Reason::Default && !asker.targeted && self.lacks_a_key(context) {
            return false;
        }
        json.extend_from_slice(chosen.value);
        json.extend_from_slice(self.tails.of_reason(chosen.reason));
        true
    }

    fn lacks_a_key(&self, context: &[Option<Attribute>]) -> bool {
        let known = |slot: &Slot| {
            context
                .get(usize::from(slot.0))
                .is_some_and(Option::is_some)
        };
        !self.draws_by.iter().all(known)
    }

    fn undrawn(&self) -> Failure {
        let details =
            "this flag draws lots, and nothing was told to draw by; send a `targetingKey`";
        Failure::new(TARGETING_KEY_MISSING, details).of(&self.key)
    }
}

/// How "none" is written: the types that are texts have a word for it.
fn none_of(value_type: ValueType) -> Json {
    match value_type {
        ValueType::Duration | ValueType::Rate => Json::from("none"),
        _ => Json::Null,
    }
}

impl Tails {
    fn of(flag: &Flag, choice: &Choice<Value>) -> Self {
        let revision = flag.revision();
        let plain = |reason: &str| tail(reason, "default", &json!({ "revision": revision }));
        let rule = |reason: &str, name: &str| {
            tail(reason, name, &json!({ "revision": revision, "rule": name }))
        };
        let opening = |(id, for_everybody): (OpeningId, bool)| {
            let reason = if for_everybody {
                "STATIC"
            } else {
                "TARGETING_MATCH"
            };
            let name = id.to_string();
            let metadata = json!({ "revision": revision, "opening": name });
            (id, tail(reason, &name, &metadata))
        };
        Self {
            fixed: plain("STATIC"),
            default: plain("DEFAULT"),
            disabled: plain("DISABLED"),
            rules: choice
                .rules()
                .map(|name| TailsOfRule {
                    held: rule("TARGETING_MATCH", name),
                    drew: rule("SPLIT", name),
                })
                .collect(),
            openings: choice.openings().map(opening).collect(),
        }
    }

    fn of_reason(&self, reason: Reason) -> &[u8] {
        let rule = |number: u16| self.rules.get(usize::from(number));
        match reason {
            Reason::Static => &self.fixed,
            Reason::Default => &self.default,
            Reason::Disabled => &self.disabled,
            Reason::Rule(number) => rule(number).map_or(&self.default, |rule| &rule.held),
            Reason::Split(number) => rule(number).map_or(&self.default, |rule| &rule.drew),
            Reason::Opening(id) => {
                let mut openings = self.openings.iter();
                let found = openings.find(|(opening, _)| *opening == id);
                found.map_or(&self.default, |(_, tail)| tail)
            }
        }
    }
}

fn tail(reason: &str, variant: &str, metadata: &Json) -> Box<[u8]> {
    let variant = Json::from(variant);
    format!(",\"reason\":\"{reason}\",\"variant\":{variant},\"metadata\":{metadata}}}")
        .into_bytes()
        .into()
}
