//! Who does the work: an HTTP worker, the workers behind an admitted queue, a pool of
//! providers, or a Rust handler of this program. May import `config`, `seams`, `clock`, `vitals`, `metrics` and `rules`.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use thiserror::Error;

use crate::clock::Clock;
use crate::config::{OnUnknown, TargetSettings};
use crate::seams::{Job, Outcome, Outlet, Target};
use pool::{Pool, SharedPool};

mod answer;
mod conclusion;
pub mod handler;
pub mod http;
pub mod mail;
mod out;
pub mod pool;
mod provider;
mod queue;
mod request;
pub mod results;
mod suppression;

/// Makes a target on the thread of the queue that will use it, so that the target itself need not be `Send`.
type Maker = Arc<dyn Fn() -> Rc<dyn Target> + Send + Sync>;

/// The Rust handlers that `target = { handler = "…" }` may name; given to the daemon by the program that embeds it.
#[derive(Clone, Default)]
pub struct Handlers(BTreeMap<String, Maker>);

impl Handlers {
    /// Adds a handler under `name`; a later one of the same name takes its place.
    ///
    /// It is called for each attempt of each job, on the thread of its queue, for up to `slots` jobs at once: work that
    /// keeps a processor busy belongs on a thread of its own (`tokio::task::spawn_blocking`).
    #[must_use]
    pub fn with<F, Work>(self, name: &str, handler: F) -> Self
    where
        F: Fn(Job) -> Work + Send + Sync + 'static,
        Work: Future<Output = Outcome> + 'static,
    {
        let handler = Arc::new(handler);
        self.with_target(name, move || {
            let handler = Arc::clone(&handler);
            Rc::new(handler::Handler::new(move |job| handler(job)))
        })
    }

    /// Adds a target of your own making under `name`; `make` is called once for each queue that names it, on its thread.
    #[must_use]
    pub fn with_target(
        mut self,
        name: &str,
        make: impl Fn() -> Rc<dyn Target> + Send + Sync + 'static,
    ) -> Self {
        self.0.insert(name.to_owned(), Arc::new(make));
        self
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// Why there is no such target.
#[derive(Debug, Error, PartialEq)]
pub enum NoTarget {
    /// The address of an HTTP worker cannot be used.
    #[error(
        "a worker's address is written like \"http://127.0.0.1:8081/jobs\", without user and password; this one is not"
    )]
    NotAnAddress,
    /// The settings of a pool's providers cannot be used.
    #[error("the pool {pool:?} cannot be used: {why}")]
    NoPool {
        /// its name in the file
        pool: String,
        /// whose settings, and why
        why: String,
    },
    /// No handler has this name.
    #[error("there is no handler {name:?} in this program; it has: {known}")]
    NoHandler {
        /// the name in the file
        name: String,
        /// the names there are
        known: String,
    },
}

/// The target that a queue's settings ask for. Called on the thread of the queue's runtime, once for each queue; `outlet` is the
/// queue's own, by which an admitted queue and one that is told results are reached.
///
/// # Errors
/// When the address cannot be used, no handler has the name, or a provider of a pool cannot be used.
pub fn build(
    settings: &TargetSettings,
    (handlers, pools): (&Handlers, &[SharedPool]),
    clock: Clock,
    outlet: &impl Outlet,
    (on_unknown, attempts): (OnUnknown, u32),
) -> Result<Rc<dyn Target>, NoTarget> {
    match settings {
        TargetSettings::Http(address) => Ok(Rc::new(http::HttpWorker::new(address, clock)?)),
        TargetSettings::Queue(_) => {
            let outlet = outlet.clone();
            Ok(Rc::new(queue::AdmittedQueue::new(
                outlet, on_unknown, clock,
            )))
        }
        TargetSettings::Pool(name) => {
            let wrong = |why: String| NoTarget::NoPool {
                pool: name.to_string(),
                why,
            };
            let pool = pools.iter().find(|pool| pool.settings.name == *name);
            let pool = pool.ok_or_else(|| wrong("there is no such pool".to_owned()))?;
            let pool = Pool::new(pool, (on_unknown, attempts), outlet, clock).map_err(wrong)?;
            Ok(Rc::new(pool))
        }
        TargetSettings::Handler(name) => match handlers.0.get(name) {
            Some(make) => Ok(make()),
            None => Err(NoTarget::NoHandler {
                name: name.clone(),
                known: match handlers.names().collect::<Vec<_>>().join(", ") {
                    names if names.is_empty() => "none".to_owned(),
                    names => names,
                },
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryQueue;

    fn check(what: &str, settings: TargetSettings, expected: &str) {
        let handlers = Handlers::default()
            .with("mail", |_| async { Outcome::Done })
            .with("bill", |_| async { Outcome::Done });
        let (_, outlet) = MemoryQueue::new(Clock::system()).open();
        let built = build(
            &settings,
            (&handlers, &[]),
            Clock::system(),
            &outlet,
            (OnUnknown::Retry, 5),
        );
        let said = match built {
            Ok(_) => "there".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(said.contains(expected), "{what}: {said}");
    }

    #[test]
    fn settings_become_targets_or_say_what_is_wrong() {
        let http = |address: &str| TargetSettings::Http(address.to_owned());
        let handler = |name: &str| TargetSettings::Handler(name.to_owned());
        check("an address", http("http://127.0.0.1:8081/jobs"), "there");
        check("only a host", http("http://worker"), "there");
        check("no scheme", http("127.0.0.1:8081"), "is written like");
        check("another scheme", http("ftp://worker/"), "is written like");
        check("a password", http("http://a:b@worker/"), "without user");
        check("no host", http("http://"), "is written like");
        check("a handler", handler("bill"), "there");
        check(
            "an admitted queue",
            TargetSettings::Queue("orders.admitted".to_owned()),
            "there",
        );
        check("another name", handler("bil"), "it has: bill, mail");
    }
}
