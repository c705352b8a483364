//! The lanes of a queue: a source each, how deep they are, and their removal. May import `rules` and `seams`.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join_all};
use lapin::Channel;
use lapin::options::QueueDeleteOptions;
use tokio::time::{Sleep, sleep, timeout};

use super::acks::merge;
use super::connection::{Link, Lost};
use super::depths::{Depths, Found};
use super::headers::short;
use super::notes::Notes;
use super::source::{self, Source, Step};
use crate::rules::lane::Lane;
use crate::rules::names::lane_queue;
use crate::rules::watermark::Tally;
use crate::seams::{LaneNews, Wanted};

/// How long a removal may take.
const REMOVE: Duration = Duration::from_secs(5);
/// By then a broker has noticed for sure that an earlier connection is dead: it waits for two heartbeats, of a minute at most.
const OLD_CONNECTION: Duration = Duration::from_secs(180);
/// Tries in vain after which a lane is said not to be read, when it is not known that only people can mend it.
const TRIES: u32 = 3;

/// The lanes of a queue that were wanted.
pub(super) struct Lanes {
    queue: String,
    in_order: bool,
    up: Option<Up>,
    all: BTreeMap<Lane, Entry>,
}

/// What there is while the connection is up.
struct Up {
    link: Rc<Link>,
    depths: Depths,
}

struct Entry {
    source: Source,
    removal: Removal,
    /// Whether it was said not to be read.
    unread: bool,
    /// While this lasts, the broker may still count messages as taken by an earlier connection that nobody consumes on. They would
    /// be deleted with the lane, which is empty if one looks at what is ready only.
    shadow: Option<Pin<Box<Sleep>>>,
}

enum Removal {
    No,
    Wanted,
    UnderWay(LocalBoxFuture<'static, bool>),
}

/// What happened.
pub(super) enum Event {
    Source(Lane, source::Event),
    /// Whether it was removed.
    Removal(Lane, bool),
    Depths(Vec<Found>),
}

impl Lanes {
    /// No lane of `queue` is wanted yet; `in_order`: it keeps its order.
    pub(super) fn new(queue: String, in_order: bool) -> Self {
        Self {
            queue,
            in_order,
            up: None,
            all: BTreeMap::new(),
        }
    }

    /// There is a connection.
    pub(super) fn connected(&mut self, link: Rc<Link>) {
        let depths = Depths::new(Rc::clone(&link), self.queue.clone());
        self.up = Some(Up { link, depths });
    }

    /// The connection is lost: what was out comes back, and is settled in vain.
    pub(super) fn lost(&mut self, notes: &mut Notes) {
        self.up = None;
        for (lane, entry) in &mut self.all {
            if !entry.source.flowing() && entry.source.out().is_some_and(|out| out > 0) {
                entry.shadow = Some(Box::pin(sleep(OLD_CONNECTION)));
            }
            entry.source.shut(notes);
            entry.stay(*lane, notes);
        }
    }

    /// Says what is wanted of a lane.
    pub(super) fn want(&mut self, lane: Lane, wanted: Wanted, notes: &mut Notes) {
        let entry = self.entry(lane);
        entry.source.want(wanted);
        // One under way is waited for: it tells what came of it.
        if matches!(entry.removal, Removal::Wanted) && wanted != Wanted::Idle {
            entry.stay(lane, notes);
        }
    }

    /// Removes a lane if it is empty.
    pub(super) fn remove(&mut self, lane: Lane) {
        let entry = self.entry(lane);
        entry.source.want(Wanted::Idle);
        if matches!(entry.removal, Removal::No) {
            entry.removal = Removal::Wanted;
        }
    }

    /// A lane that is new is asked for at once.
    fn entry(&mut self, lane: Lane) -> &mut Entry {
        let (queue, in_order, up) = (&self.queue, self.in_order, &mut self.up);
        self.all.entry(lane).or_insert_with(|| {
            if let Some(up) = up {
                up.depths.hurry(lane);
            }
            Entry {
                source: Source::new(lane_queue(queue, lane), Some(lane)).in_order(in_order),
                removal: Removal::No,
                unread: false,
                shadow: None,
            }
        })
    }

    /// Starts what is wanted and not under way.
    pub(super) fn steer(&mut self, notes: &mut Notes) {
        for (lane, entry) in &mut self.all {
            match &self.up {
                Some(up) => entry.steer(*lane, &up.link, notes),
                None => entry.stay(*lane, notes),
            }
        }
    }

    /// What happens next at the lanes that come after this one.
    pub(super) fn poll_after(
        &mut self,
        after: Option<Lane>,
        context: &mut Context<'_>,
    ) -> Poll<(Lane, Event)> {
        let from = after.map_or(Unbounded, Excluded);
        for (lane, entry) in self.all.range_mut((from, Unbounded)) {
            if let Removal::UnderWay(removal) = &mut entry.removal
                && let Poll::Ready(removed) = removal.as_mut().poll(context)
            {
                return Poll::Ready((*lane, Event::Removal(*lane, removed)));
            }
            if let Poll::Ready(event) = entry.source.poll(context) {
                return Poll::Ready((*lane, Event::Source(*lane, event)));
            }
        }
        Poll::Pending
    }

    /// What the broker says of depths.
    pub(super) fn poll_depths(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        match &mut self.up {
            Some(up) if !self.all.is_empty() => {
                let lanes = self.all.keys().copied();
                up.depths.poll_round(lanes, context).map(Event::Depths)
            }
            _ => Poll::Pending,
        }
    }

    /// Takes in what happened. An error: the connection is lost.
    pub(super) fn take_in(&mut self, event: Event, notes: &mut Notes) -> Result<(), Lost> {
        match event {
            Event::Source(lane, event) => return self.stepped(lane, event, notes),
            Event::Removal(lane, true) => self.gone(lane, notes),
            Event::Removal(lane, false) => {
                if let Some(entry) = self.all.get_mut(&lane) {
                    entry.stay(lane, notes);
                }
            }
            Event::Depths(found) => {
                for (lane, ready) in found {
                    self.found(lane, ready, notes);
                }
            }
        }
        Ok(())
    }

    fn stepped(&mut self, lane: Lane, event: source::Event, notes: &mut Notes) -> Result<(), Lost> {
        let Some(entry) = self.all.get_mut(&lane) else {
            return Ok(());
        };
        match entry.source.take_in(event, notes) {
            Step::Nothing | Step::Rested => {}
            step @ (Step::Opened | Step::Cancelled) => {
                if matches!(step, Step::Opened) && std::mem::take(&mut entry.unread) {
                    notes.tell(lane, LaneNews::Read);
                }
                if let Some(up) = &mut self.up {
                    up.depths.hurry(lane);
                }
            }
            Step::Broke(lost) => {
                if !self.up.as_ref().is_some_and(|up| up.link.up()) {
                    return Err(lost);
                }
                match lost {
                    Lost::Missing(_) => self.gone(lane, notes),
                    lost => entry.broke(lane, &lost, notes),
                }
            }
        }
        Ok(())
    }

    fn found(&mut self, lane: Lane, ready: Option<u64>, notes: &mut Notes) {
        let Some(entry) = self.all.get_mut(&lane) else {
            return;
        };
        if matches!(entry.removal, Removal::UnderWay(_)) {
            return;
        }
        match ready {
            Some(ready) => {
                entry.source.seen();
                if entry.source.flowing() {
                    entry.source.well();
                }
                notes.tell(lane, LaneNews::Depth { ready });
            }
            // The broker tells the consumer itself, and the client of a consume that is under way.
            None if entry.source.open() || entry.source.opening() => {}
            None => self.gone(lane, notes),
        }
    }

    fn gone(&mut self, lane: Lane, notes: &mut Notes) {
        if let Some(mut entry) = self.all.remove(&lane) {
            entry.source.shut(notes);
            notes.tell(lane, LaneNews::Gone);
        }
    }

    /// The lane that gave a receipt.
    pub(super) fn of_epoch(&self, epoch: u32) -> Option<&Source> {
        let mut sources = self.all.values().map(|entry| &entry.source);
        sources.find(|source| source.gave(epoch))
    }

    /// The lane that gave a receipt, to settle it.
    pub(super) fn of_epoch_mut(&mut self, epoch: u32) -> Option<&mut Source> {
        let mut sources = self.all.values_mut().map(|entry| &mut entry.source);
        sources.find(|source| source.gave(epoch))
    }

    /// Ends all consumers and has everything written that was asked for, within a deadline; gives what became of it.
    pub(super) async fn last_words(&mut self) -> Tally {
        self.up = None;
        let sources = self.all.values_mut().map(|entry| &mut entry.source);
        let mut told = Tally::default();
        for tally in join_all(sources.map(Source::last_words)).await {
            merge(&mut told, tally);
        }
        told
    }
}

impl Entry {
    fn steer(&mut self, lane: Lane, link: &Rc<Link>, notes: &mut Notes) {
        if matches!(self.removal, Removal::UnderWay(_)) {
            return;
        }
        self.source.steer(link);
        if matches!(self.removal, Removal::No) || !self.source.at_rest() {
            return;
        }
        if self.in_shadow() {
            return self.stay(lane, notes);
        }
        let channel = self.source.release(notes);
        let removal = remove(Rc::clone(link), channel, self.source.name().to_owned());
        self.removal = Removal::UnderWay(removal.boxed_local());
    }

    /// Its channel is gone. A lane that cannot be read fills up unseen, so this is told unless it may be over in a moment.
    fn broke(&mut self, lane: Lane, lost: &Lost, notes: &mut Notes) {
        let lasts = lost.needs_people() || self.source.tries() >= TRIES;
        self.source.rest(lost, notes);
        if lasts {
            self.unread = true;
            notes.tell(lane, LaneNews::Unread(lost.to_string()));
        }
    }

    /// It is not removed, if that was wanted.
    fn stay(&mut self, lane: Lane, notes: &mut Notes) {
        if !matches!(self.removal, Removal::No) {
            self.removal = Removal::No;
            notes.tell(lane, LaneNews::Stays);
        }
    }

    fn in_shadow(&mut self) -> bool {
        let over = |shadow: &mut Pin<Box<Sleep>>| shadow.as_mut().now_or_never().is_some();
        if self.shadow.as_mut().is_some_and(over) {
            self.shadow = None;
        }
        self.shadow.is_some()
    }
}

/// Removes a queue if it is empty and unused, and says whether it is gone.
///
/// The broker looks at what is ready only, so this must reach the queue after everything that was settled: on the same channel,
/// which a refusal closes when nothing needs it any more.
async fn remove(link: Rc<Link>, channel: Option<Rc<Channel>>, name: String) -> bool {
    let removed = async {
        let channel = match channel.filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => Rc::new(link.channel().await?),
        };
        let queue =
            short("the name of a lane", &name).map_err(|why| Lost::Broken(why.to_string()))?;
        let options = QueueDeleteOptions {
            if_unused: true,
            if_empty: true,
            nowait: false,
        };
        channel.queue_delete(queue, options).await?;
        // An error means that it is closed already.
        let _ = channel.close(200, "the lane is gone".into()).await;
        Ok::<_, Lost>(())
    };
    match timeout(REMOVE, removed).await {
        Ok(Ok(()) | Err(Lost::Missing(_))) => true,
        Ok(Err(lost)) => {
            tracing::debug!(queue = name, reason = %lost, "the lane is not removed");
            false
        }
        Err(_) => false,
    }
}
