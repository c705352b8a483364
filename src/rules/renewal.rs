//! How a snapshot renews itself: what an edit touched is compiled anew, all else is shared with the snapshot before.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::asks::may_carry;
use super::audience::{Audience, Audiences};
use super::choice::Choice;
use super::compile::compile;
use super::context::Vocabulary;
use super::flag::{BadFlag, Flag};
use super::gate::{Gate, Part, Parts};
use super::names::{FlagKey, QueueName};
use super::segment::Segment;
use super::snapshot::{Entry, GatedQueue, Handle, Snapshot};

impl Snapshot {
    /// A flag with what lies over it, compiled for services.
    pub(super) fn entry(&mut self, flag: Arc<Flag>) -> Result<Entry, (Arc<Flag>, BadFlag)> {
        let vocabulary = Arc::make_mut(&mut self.vocabulary);
        let key = flag.key.as_str();
        let openings = self
            .openings
            .values()
            .filter(|opening| opening.value_on(key).is_some());
        match compile(&flag, openings, &self.segments, vocabulary) {
            Ok(choice) => Ok(Entry { flag, choice }),
            Err(why) => Err((flag, why)),
        }
    }

    /// Puts a flag in its place, or compiles the one there anew.
    pub(super) fn put(&mut self, flag: Arc<Flag>) -> Result<(), BadFlag> {
        let entry = self.entry(flag).map_err(|(_, why)| why)?;
        self.put_entry(entry);
        Ok(())
    }

    /// Compiles a flag anew; what of its rules and openings does not fit any more is left out.
    pub(super) fn put_what_fits(&mut self, flag: Arc<Flag>) {
        let entry = self.entry(flag).unwrap_or_else(Entry::without_rules);
        self.put_entry(entry);
    }

    fn put_entry(&mut self, entry: Entry) {
        let place = self
            .entries
            .binary_search_by(|known| known.flag.key.cmp(&entry.flag.key));
        match place {
            Ok(place) => {
                if let Some(found) = Arc::make_mut(&mut self.entries).get_mut(place) {
                    *found = Arc::new(entry);
                }
            }
            Err(place) => {
                let mut entries = self.entries.to_vec();
                entries.insert(place, Arc::new(entry));
                self.entries = entries.into();
                self.number();
            }
        }
    }

    /// Takes a flag out.
    pub(super) fn take_out(&mut self, key: &FlagKey) {
        let others = self.entries.iter().filter(|entry| entry.flag.key != *key);
        self.entries = others.cloned().collect();
        self.number();
    }

    /// Puts a segment in its place, compiled anew.
    pub(super) fn put_segment(&mut self, segment: &Arc<Segment>) {
        Arc::make_mut(&mut self.segments).put(Arc::clone(segment));
        if let Some(number) = self.segments.number(&segment.name) {
            let audience = Audience::of(segment, Arc::make_mut(&mut self.vocabulary));
            self.audiences = Arc::new(self.audiences.with(number, Some(Arc::new(audience))));
        }
    }

    /// Gives a segment that is there other members; nothing is compiled anew.
    pub(super) fn put_members(&mut self, segment: &Arc<Segment>) {
        Arc::make_mut(&mut self.segments).put(Arc::clone(segment));
        let Some(number) = self.segments.number(&segment.name) else {
            return;
        };
        self.audiences = Arc::new(self.audiences.with_members(number, &segment.members));
        let asking = self.gates.values().filter(|gate| gate.asks_about(number));
        let renewed: Vec<Gate> = asking
            .map(|gate| gate.with_members(self.revision, number, &segment.members))
            .collect();
        if renewed.is_empty() {
            return;
        }
        let gates = Arc::make_mut(&mut self.gates);
        gates.extend(
            renewed
                .into_iter()
                .map(|gate| (gate.queue.clone(), Arc::new(gate))),
        );
    }

    pub(super) fn number(&mut self) {
        let handles = (0..).zip(self.entries.iter());
        let handles = handles.map(|(place, entry)| (entry.flag.key.clone(), Handle(place)));
        self.handles = Arc::new(handles.collect());
    }

    /// The queues whose gates ask for one of these flags or segments.
    pub(super) fn queues_that_ask(
        &self,
        flags: &BTreeSet<FlagKey>,
        segments: &BTreeSet<u16>,
    ) -> Vec<QueueName> {
        let asks = |queue: &&GatedQueue| {
            let gate = self.gates.get(&queue.name);
            gate.is_some_and(|gate| segments.iter().any(|number| gate.asks_about(*number)))
                || queue.pass.iter().any(|key| flags.contains(key))
                || queue
                    .pool
                    .as_ref()
                    .is_some_and(|pool| flags.iter().any(|key| pool.is_steered_by(key)))
        };
        let asking = self.queues.iter().filter(asks);
        let valves = flags.iter().filter_map(|key| self.valve(key.as_str()));
        let queues: BTreeSet<&QueueName> = asking
            .chain(valves.map(|(queue, _)| queue))
            .map(|queue| &queue.name)
            .collect();
        queues.into_iter().cloned().collect()
    }

    pub(super) fn compile_gates(&mut self, names: &[QueueName]) {
        let queues = Arc::clone(&self.queues);
        for queue in queues.iter().filter(|queue| names.contains(&queue.name)) {
            let before = self.gates.get(&queue.name).cloned();
            let gate = Gate::compile(queue, self.revision, &mut &*self, before.as_deref());
            Arc::make_mut(&mut self.gates).insert(queue.name.clone(), Arc::new(gate));
        }
    }

    /// A name that the rules over a valve ask for and that no message of its queue carries.
    pub(super) fn unreadable(&self, key: &str) -> Option<(QueueName, Arc<str>)> {
        let (queue, _) = self.valve(key)?;
        let mut vocabulary = Vocabulary::default();
        let flag = self.flag(key)?;
        compile(flag, self.openings_on(key), &self.segments, &mut vocabulary).ok()?;
        if let Some(by) = &flag.document().by {
            vocabulary.slot(by);
        }
        let mut names = vocabulary.names().iter();
        let name = names.find(|name| !may_carry(name, &queue.attributes))?;
        Some((queue.name.clone(), Arc::clone(name)))
    }
}

impl Entry {
    /// A flag whose rules or openings do not fit any more: they are left out.
    pub(super) fn without_rules((flag, _): (Arc<Flag>, BadFlag)) -> Self {
        let choice = Choice::always(flag.value.clone());
        Self { flag, choice }
    }
}

impl Parts for &Snapshot {
    fn part(&mut self, key: &FlagKey, vocabulary: &mut Vocabulary) -> Option<Part> {
        let flag = self.flag(key.as_str())?;
        let openings = self.openings_on(key.as_str());
        let choice = compile(flag, openings, &self.segments, vocabulary);
        let document = flag.document();
        Some(Part {
            choice: choice.unwrap_or_else(|_| Choice::always(flag.value.clone())),
            draws: (document.bucketing, document.seed, document.by),
        })
    }

    fn audiences(&mut self, wanted: &BTreeSet<u16>, vocabulary: &mut Vocabulary) -> Audiences {
        self.segments
            .audiences(vocabulary, |number| wanted.contains(&number))
    }
}
