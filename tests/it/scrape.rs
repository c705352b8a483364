//! The numbers that the daemon shows, and an auditor who checks at every moment that they add up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::http::request;

/// The numbers of one scrape, by series: `sluicegate_messages_in_hand{queue="orders"}`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    /// Reads Prometheus' text format.
    pub(crate) fn parse(page: &str) -> Self {
        let series = page.lines().filter(|line| !line.starts_with('#'));
        let parsed = series.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(parsed.collect())
    }

    /// One series, which must be there.
    pub(crate) fn get(&self, series: &str) -> f64 {
        *self
            .0
            .get(series)
            .unwrap_or_else(|| panic!("there is no series {series}"))
    }

    /// The sum of all series of a family whose labels contain all of `labels`, such as `queue="orders"`.
    pub(crate) fn sum(&self, family: &str, labels: &[&str]) -> f64 {
        let of_family = |name: &str| {
            name.strip_prefix(family)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        };
        self.0
            .iter()
            .filter(|(name, _)| of_family(name) && labels.iter().all(|label| name.contains(label)))
            .map(|(_, value)| value)
            .sum()
    }

    /// Messages of a queue settled for this reason.
    pub(crate) fn settled(&self, queue: &str, reason: &str) -> u64 {
        let labels = [format!("queue=\"{queue}\""), format!("reason=\"{reason}\"")];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        self.sum("sluicegate_messages_settled_total", &labels) as u64
    }

    /// A number that a queue has once.
    pub(crate) fn of_queue(&self, family: &str, queue: &str) -> f64 {
        self.get(&format!("sluicegate_{family}{{queue=\"{queue}\"}}"))
    }

    /// Where received differs from settled plus in hand.
    fn does_not_add_up(&self) -> Option<String> {
        let queues = self.0.keys().filter_map(|name| {
            let rest = name.strip_prefix("sluicegate_messages_received_total{queue=\"")?;
            rest.strip_suffix("\"}")
        });
        queues.into_iter().find_map(|queue| {
            let label = format!("queue=\"{queue}\"");
            let received = self.of_queue("messages_received_total", queue);
            let settled = self.sum("sluicegate_messages_settled_total", &[&label]);
            let in_hand = self.of_queue("messages_in_hand", queue);
            let wrong = received.to_bits() != (settled + in_hand).to_bits();
            wrong.then(|| {
                format!("{queue}: received {received}, settled {settled}, in hand {in_hand}")
            })
        })
    }
}

/// Scrapes as long as the daemon is there, and writes down each scrape that does not add up.
pub(crate) struct Auditor {
    wrong: Arc<Mutex<Vec<String>>>,
    seen: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Auditor {
    /// Begins to look, also while nobody listens there yet.
    pub(crate) fn start(port: u16) -> Self {
        let auditor = Self {
            wrong: Arc::default(),
            seen: Arc::default(),
            over: Arc::default(),
        };
        let (wrong, seen, over) = (
            Arc::clone(&auditor.wrong),
            Arc::clone(&auditor.seen),
            Arc::clone(&auditor.over),
        );
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                if let Ok(page) = request(port, "GET", "/metrics", &[], None) {
                    seen.fetch_add(1, Ordering::Relaxed);
                    let found = Scrape::parse(&page.body).does_not_add_up();
                    wrong
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend(found);
                }
                std::thread::sleep(Duration::from_millis(40));
            }
        });
        auditor
    }

    /// Says that every scrape so far added up, and that there was one.
    pub(crate) fn found_nothing(&self) {
        let seen = self.seen.load(Ordering::Relaxed);
        assert!(seen > 0, "no scrape was audited");
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(
            wrong.is_empty(),
            "in {} of {seen} scrapes: {wrong:?}",
            wrong.len()
        );
    }
}

impl Drop for Auditor {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
