//! Degrades the accounts that bring too much, where the file asks for that: by an opening like a person's, with a reason, its
//! numbers and an end. Turns knobs through the store like anyone. May import `store`, `clock` and `rules`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Now};
use crate::rules::change::{Actor, Change, Edit, Refused};
use crate::rules::clause::one_of;
use crate::rules::names::{FlagKey, QueueName};
use crate::rules::opening::{OpeningId, Restore};
use crate::rules::valve::Valve;
use crate::store::Store;

/// How often it is looked who is to blame.
const EVERY: Duration = Duration::from_secs(1);
/// Who opens and closes.
const WHO: &str = "guard";

/// An account that brings too much, and is to be degraded.
#[derive(Debug, Clone, PartialEq)]
pub struct TooMuch {
    /// The queue.
    pub queue: QueueName,
    /// The attribute by which accounts are told apart.
    pub attribute: String,
    /// The account.
    pub key: String,
    /// What is laid on `degrade` for it.
    pub to: String,
    /// For how long.
    pub lasting: Duration,
    /// What it brings, in numbers.
    pub why: String,
}

/// Looks who is to blame once a second, until told to stop. `blamed` says it.
pub async fn degrade(
    store: Arc<Store>,
    clock: Clock,
    mut blamed: impl FnMut(Now) -> Vec<TooMuch> + Send + 'static,
    stop: CancellationToken,
) {
    let mut degrader = Degrader::new(store);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let (now, too_much) = (clock.now(), blamed(clock.now()));
        if too_much.is_empty() && degrader.answered.is_empty() {
            continue;
        }
        // To open and to close waits for the disk, so it is done where waiting hurts nobody.
        let looked = tokio::task::spawn_blocking(move || {
            degrader.look(&too_much, now);
            degrader
        });
        match looked.await {
            Ok(back) => degrader = back,
            Err(why) => {
                tracing::error!(%why, "accounts that bring too much are not degraded any more");
                return;
            }
        }
    }
}

/// Who was answered, and how.
struct Degrader {
    store: Arc<Store>,
    answered: BTreeMap<(QueueName, String), Answered>,
}

/// An account that was degraded.
#[derive(Debug, Clone, Copy)]
struct Answered {
    opening: OpeningId,
    /// Not before this is it degraded again, also when a person has closed the opening: they knew why.
    again: Duration,
}

impl Degrader {
    fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            answered: BTreeMap::new(),
        }
    }

    /// Degrades who is to blame and was not answered, and ends what was opened for those who are not any more.
    fn look(&mut self, too_much: &[TooMuch], now: Now) {
        for one in too_much {
            let whom = (one.queue.clone(), one.key.clone());
            let answered = self.answered.get(&whom);
            if answered.is_some_and(|answered| answered.again > now.mono) {
                continue;
            }
            if let Some(opening) = self.open(one, now) {
                let again = now.mono + one.lasting;
                self.answered.insert(whom, Answered { opening, again });
            }
        }
        let is_to_blame = |(queue, key): &(QueueName, String)| {
            let same = |one: &TooMuch| one.queue == *queue && one.key == *key;
            too_much.iter().any(same)
        };
        let store = &self.store;
        self.answered.retain(|whom, answered| {
            is_to_blame(whom) || !close(store, answered.opening, &whom.1, now)
        });
    }

    fn open(&self, one: &TooMuch, now: Now) -> Option<OpeningId> {
        let flag = FlagKey::of_valve(&one.queue, Valve::Degrade);
        let when = vec![one_of(&one.attribute, &[&one.key])];
        // After a restart the one that was opened before still lies there.
        let snapshot = self.store.snapshot();
        let mut openings = snapshot.openings_on(flag.as_str());
        if let Some(there) = openings.find(|laid| laid.owner == WHO && *laid.when == *when) {
            return Some(there.id);
        }
        let length = i64::try_from(one.lasting.as_millis()).unwrap_or(i64::MAX);
        let edit = Edit::Open {
            values: vec![(flag.clone(), Json::from(one.to.as_str()))],
            when,
            ends_at_ms: now.ms.saturating_add(length),
            restore: Restore::Snap,
            until: None,
        };
        let change = Change::new(edit, Actor::new(WHO, "guard"), &one.why, now.ms);
        match self.store.turn(&change) {
            Ok(next) => {
                let opening = OpeningId(next.revision());
                tracing::warn!(queue = %one.queue, key = one.key, to = one.to, %opening, why = one.why, "an account that brings too much is degraded for a while");
                Some(opening)
            }
            Err(refused) => {
                tracing::error!(queue = %one.queue, key = one.key, %refused, "an account that brings too much could not be degraded; it is tried again each second");
                None
            }
        }
    }
}

/// Whether the opening is closed now.
fn close(store: &Store, opening: OpeningId, key: &str, now: Now) -> bool {
    if store.snapshot().opening(opening).is_none() {
        return true;
    }
    let why = "it brings no more than its fair share now";
    let change = Change::new(Edit::Close(opening), Actor::new(WHO, "guard"), why, now.ms);
    match store.turn_even_unwritten(&change) {
        Ok(_) | Err(Refused::NoOpening(_)) => {
            tracing::info!(key, %opening, "an account is degraded no more: {why}");
            true
        }
        Err(refused) => {
            tracing::error!(key, %opening, %refused, "an account could not be let back; it is tried again each second");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::rules::snapshot::{GatedQueue, Snapshot, Stored};

    const START_MS: i64 = 1_800_000_000_000;

    fn store() -> Arc<Store> {
        let name: QueueName = "orders".parse().unwrap();
        let metrics = Arc::new(Metrics::new(std::slice::from_ref(&name)).unwrap());
        let mut queue = GatedQueue::named(name);
        let source = "header:x-account".parse().unwrap();
        queue.attributes.insert("account".into(), source);
        let start = Snapshot::of(vec![queue], Stored::default());
        Arc::new(Store::in_memory(start, metrics))
    }

    fn at(second: u64) -> Now {
        Now {
            ms: START_MS + i64::try_from(second).unwrap() * 1_000,
            mono: Duration::from_secs(second),
        }
    }

    fn flood() -> TooMuch {
        TooMuch {
            queue: "orders".parse().unwrap(),
            attribute: "account".into(),
            key: "flood".into(),
            to: "reject".into(),
            lasting: Duration::from_secs(600),
            why: "flood brings work for 9.0 slots, its fair share is 1.0".into(),
        }
    }

    fn open(store: &Store) -> Vec<OpeningId> {
        let snapshot = store.snapshot();
        let on = snapshot.openings_on("queue.orders.degrade");
        on.map(|laid| laid.id).collect()
    }

    #[test]
    fn who_brings_too_much_is_degraded_until_it_does_not_or_its_time_is_over() {
        let store = store();
        let mut degrader = Degrader::new(Arc::clone(&store));
        degrader.look(&[flood()], at(1));
        degrader.look(&[flood()], at(2));
        let first = open(&store);
        assert_eq!(first.len(), 1);
        let snapshot = store.snapshot();
        let laid = snapshot.opening(first[0]).unwrap();
        assert_eq!(
            (laid.owner.as_str(), laid.reason.as_str()),
            ("guard", flood().why.as_str())
        );
        assert_eq!(laid.ends_at_ms, at(601).ms);
        assert_eq!(laid.when, [one_of("account", &["flood"])]);
        degrader.look(&[], at(300));
        assert_eq!(open(&store), []);
        degrader.look(&[flood()], at(301));
        assert_eq!(open(&store).len(), 1, "again, for it came again");
    }

    #[test]
    fn what_a_person_closed_stays_closed_and_what_lay_there_before_is_not_laid_twice() {
        let store = store();
        let mut degrader = Degrader::new(Arc::clone(&store));
        degrader.look(&[flood()], at(1));
        let mut restarted = Degrader::new(Arc::clone(&store));
        restarted.look(&[flood()], at(2));
        let ids = open(&store);
        assert_eq!(ids.len(), 1);
        let ana = Actor::new("ana", "test");
        store
            .turn(&Change::new(Edit::Close(ids[0]), ana, "theirs", at(3).ms))
            .unwrap();
        for second in 4..600 {
            degrader.look(&[flood()], at(second));
        }
        assert_eq!(open(&store), []);
        degrader.look(&[flood()], at(602));
        assert_eq!(
            open(&store).len(),
            1,
            "its time was over, and it still brings too much"
        );
    }
}
