//! A snapshot: all flags at one revision, compiled and immutable.
//!
//! What a change does not touch is shared with the snapshot before it, so that a change costs what it touches, however many flags
//! there are. Edits are made in [`super::edits`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::audience::Audiences;
use super::choice::{Choice, Chosen};
use super::context::{Attribute, Context, Vocabulary};
use super::facts::Source;
use super::flag::{Flag, Value};
use super::gate::Gate;
use super::lots::ByText;
use super::names::{FlagKey, QueueName};
use super::opening::{Opening, OpeningId};
use super::policy::Policy;
use super::segment::{Segment, Segments};
use super::valve::Valve;

/// The most flags that a store holds.
pub const MOST_FLAGS: usize = 2_000;
/// The longest reason, in bytes.
pub const LONGEST_REASON: usize = 1_024;

/// A queue whose valves are flags from the start.
#[derive(Debug, Clone, PartialEq)]
pub struct GatedQueue {
    /// Its name.
    pub name: QueueName,
    /// The modes that `degrade` may name.
    pub modes: Vec<String>,
    /// The attributes that the file finds in its messages.
    pub attributes: BTreeMap<Arc<str>, Source>,
    /// The flags that its worker is told.
    pub pass: Vec<FlagKey>,
    /// The pool of providers that does its work, if one does.
    pub pool: Option<GatedPool>,
}

/// A pool whose steering is flags from the start.
#[derive(Debug, Clone, PartialEq)]
pub struct GatedPool {
    /// Its name.
    pub name: Arc<str>,
    /// Its providers, the first choice first.
    pub providers: Vec<Arc<str>>,
}

impl GatedPool {
    /// Its flag, and those of its providers, at their neutral values.
    #[must_use]
    pub fn flags(&self) -> Vec<Flag> {
        let forces = self.providers.iter().map(|name| Flag::neutral_force(name));
        let mut flags: Vec<Flag> = forces.collect();
        flags.push(Flag::neutral_pool(&self.name, &self.providers));
        flags
    }

    /// Whether a flag steers it or one of its providers.
    #[must_use]
    pub fn is_steered_by(&self, key: &FlagKey) -> bool {
        *key == FlagKey::of_pool(&self.name)
            || self
                .providers
                .iter()
                .any(|name| *key == FlagKey::of_force(name))
    }
}

impl GatedQueue {
    /// A queue of this name with nothing else said.
    #[must_use]
    pub fn named(name: QueueName) -> Self {
        Self {
            name,
            modes: Vec::new(),
            attributes: BTreeMap::new(),
            pass: Vec::new(),
            pool: None,
        }
    }
}

/// What a store holds at one revision.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stored {
    /// The revision.
    pub revision: u64,
    /// The flags that were ever touched.
    pub flags: Vec<Flag>,
    /// The segments.
    pub segments: Vec<Segment>,
    /// The openings in force.
    pub openings: Vec<Opening>,
    /// The keys of deleted flags, with the revision that deleted them.
    pub tombstones: BTreeMap<FlagKey, u64>,
}

/// A flag with what it says to whom.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) flag: Arc<Flag>,
    pub(super) choice: Choice<Value>,
}

/// The place of a flag in one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle(pub(super) u32);

/// All flags at one revision.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(super) revision: u64,
    /// By key.
    pub(super) entries: Arc<[Arc<Entry>]>,
    /// The place of each key in `entries`.
    pub(super) handles: Arc<ByText<FlagKey, Handle>>,
    pub(super) segments: Arc<Segments>,
    pub(super) openings: Arc<BTreeMap<OpeningId, Arc<Opening>>>,
    pub(super) tombstones: Arc<BTreeMap<FlagKey, u64>>,
    pub(super) policy: Arc<Policy>,
    /// What services' flags ask for, beside what messages are asked for in each gate.
    pub(super) vocabulary: Arc<Vocabulary>,
    pub(super) audiences: Arc<Audiences>,
    pub(super) queues: Arc<[GatedQueue]>,
    pub(super) gates: Arc<BTreeMap<QueueName, Arc<Gate>>>,
}

impl Snapshot {
    /// The snapshot of what a store holds. Valves that the store does not know stand at their neutral value; a stored valve
    /// keeps its value, rules, owner and runbook, and takes its bounds, choices and help from this version. What is stored and no
    /// longer fits is left out: an opening whose value is bad, a rule whose segment is gone.
    #[must_use]
    pub fn of(queues: Vec<GatedQueue>, stored: Stored) -> Self {
        let mut flags: BTreeMap<FlagKey, Flag> = stored
            .flags
            .into_iter()
            .map(|flag| (flag.key.clone(), flag))
            .collect();
        for queue in &queues {
            for valve in Valve::ALL {
                let neutral = Flag::neutral_valve(&queue.name, valve, &queue.modes);
                let old = flags.get(&neutral.key);
                let kept = old.and_then(|old| neutral.taking_over(old).ok());
                flags.insert(neutral.key.clone(), kept.unwrap_or(neutral));
            }
        }
        for neutral in queues
            .iter()
            .filter_map(|queue| queue.pool.as_ref())
            .flat_map(GatedPool::flags)
        {
            let old = flags.get(&neutral.key);
            let kept = old.and_then(|old| neutral.taking_over(old).ok());
            flags.insert(neutral.key.clone(), kept.unwrap_or(neutral));
        }
        let mut segments = Segments::default();
        for segment in stored.segments {
            segments.put(Arc::new(segment));
        }
        let openings = stored.openings.into_iter();
        let mut snapshot = Self {
            revision: stored.revision,
            entries: Arc::default(),
            handles: Arc::default(),
            segments: Arc::new(segments),
            openings: Arc::new(
                openings
                    .map(|opening| (opening.id, Arc::new(opening)))
                    .collect(),
            ),
            tombstones: Arc::new(stored.tombstones),
            policy: Arc::default(),
            vocabulary: Arc::default(),
            audiences: Arc::default(),
            queues: queues.into(),
            gates: Arc::default(),
        };
        let vocabulary = Arc::make_mut(&mut snapshot.vocabulary);
        let audiences = snapshot.segments.audiences(vocabulary, |_| true);
        snapshot.audiences = Arc::new(audiences);
        let entries = flags.into_values().map(|flag| {
            let entry = snapshot.entry(Arc::new(flag));
            Arc::new(entry.unwrap_or_else(Entry::without_rules))
        });
        snapshot.entries = entries.collect();
        snapshot.number();
        let all: Vec<QueueName> = snapshot
            .queues
            .iter()
            .map(|queue| queue.name.clone())
            .collect();
        snapshot.compile_gates(&all);
        snapshot
    }

    /// The same flags under these limits.
    #[must_use]
    pub fn under(mut self, policy: Policy) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// The limits that no change may cross.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All flags, by key.
    pub fn flags(&self) -> impl Iterator<Item = &Arc<Flag>> {
        self.entries.iter().map(|entry| &entry.flag)
    }

    /// One flag, without what is laid over it.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<&Arc<Flag>> {
        self.found(key).map(|entry| &entry.flag)
    }

    /// Whether all flags are the same as in the snapshot before or after this one, without looking at each.
    #[must_use]
    pub fn shares_flags(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.entries, &other.entries)
    }

    /// All segments.
    #[must_use]
    pub fn segments(&self) -> &Segments {
        &self.segments
    }

    /// The keys of deleted flags, with the revision that deleted them.
    #[must_use]
    pub fn tombstones(&self) -> &BTreeMap<FlagKey, u64> {
        &self.tombstones
    }

    /// Whether the tombstones are the same as in the snapshot before or after this one, without looking at each.
    #[must_use]
    pub fn shares_tombstones(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.tombstones, &other.tombstones)
    }

    /// All openings in force, oldest first.
    pub fn openings(&self) -> impl Iterator<Item = &Arc<Opening>> {
        self.openings.values()
    }

    /// One opening.
    #[must_use]
    pub fn opening(&self, id: OpeningId) -> Option<&Arc<Opening>> {
        self.openings.get(&id)
    }

    /// The openings that lie on a flag, oldest first: the last one wins.
    pub fn openings_on<'a>(
        &'a self,
        key: &'a str,
    ) -> impl DoubleEndedIterator<Item = &'a Arc<Opening>> {
        let openings = self.openings.values();
        openings.filter(move |opening| opening.value_on(key).is_some())
    }

    /// What a flag says to everybody for whom nothing else is said, and the opening it comes from.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<(Value, Option<OpeningId>)> {
        let chosen = self.found(key)?.choice.for_everybody();
        Some((chosen.value.clone(), chosen.opening()))
    }

    /// The place of a flag.
    #[must_use]
    pub fn handle(&self, key: &str) -> Option<Handle> {
        self.handles.get(key).copied()
    }

    /// What a flag says to whoever asks: with a context of [`Snapshot::vocabulary`].
    pub fn ask<C: Context + ?Sized>(
        &self,
        handle: Handle,
        context: &C,
    ) -> Option<Chosen<'_, Value>> {
        let entry = self.entries.get(handle.0 as usize)?;
        Some(entry.choice.choose(context, &self.audiences))
    }

    /// The names that services' flags ask for.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// A context of what a service tells; what no flag asks for is left out.
    pub fn context<'a>(
        &self,
        given: impl IntoIterator<Item = (&'a str, Attribute)>,
    ) -> Vec<Option<Attribute>> {
        self.vocabulary.context(given)
    }

    /// A flag compiled for services.
    #[must_use]
    pub fn choice(&self, key: &str) -> Option<&Choice<Value>> {
        self.found(key).map(|entry| &entry.choice)
    }

    /// The segments compiled for services.
    #[must_use]
    pub fn audiences(&self) -> &Audiences {
        &self.audiences
    }

    /// The gate of a queue.
    #[must_use]
    pub fn gate(&self, queue: &str) -> Option<&Arc<Gate>> {
        self.gates.get(queue)
    }

    /// The queues whose valves these flags are.
    #[must_use]
    pub fn queues(&self) -> &[GatedQueue] {
        &self.queues
    }

    /// The queue whose valve a flag is, with the valve.
    #[must_use]
    pub fn valve(&self, key: &str) -> Option<(&GatedQueue, Valve)> {
        let (queue, name) = key.strip_prefix("queue.")?.rsplit_once('.')?;
        let valve = Valve::ALL.into_iter().find(|valve| valve.name() == name)?;
        let queue = self
            .queues
            .iter()
            .find(|gated| gated.name.as_str() == queue)?;
        Some((queue, valve))
    }

    fn found(&self, key: &str) -> Option<&Arc<Entry>> {
        self.entries.get(self.handle(key)?.0 as usize)
    }
}
