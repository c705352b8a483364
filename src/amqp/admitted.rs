//! An admitted queue that was there before us, with other arguments than ours: may it be used?
//!
//! The broker names the first argument that differs, with what was asked for and what stands: `inequivalent arg 'x-max-length' for
//! queue 'orders.admitted' in vhost '/': received the value '8' of type 'long' but current is none`. A policy may set a limit that
//! no declaration can see, so a queue without one is used; people are told, because without a limit it becomes the new backlog.
//! May import `config` and `seams`.

use lapin::options::QueueDeleteOptions;

use super::check::{Notes, ask};
use super::connection::{Link, Lost};
use super::declare::{arguments, declare};
use super::headers::short;
use super::probe::depth;
use crate::config::Queue;
use crate::rules::finding::Weight;
use crate::seams::Place;

/// The argument that bounds an admitted queue.
const LIMIT: &str = "x-max-length";
/// The argument that says what a full queue does.
const OVERFLOW: &str = "x-overflow";

/// What is to be thought of an admitted queue that exists with other arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Existing {
    /// It is used, and people are told this.
    Doubtful(String),
    /// It is not used, because messages would be lost in it.
    Harmful(String),
}

/// Judges by what the broker said when we declared it.
pub(super) fn existing(name: &str, said: &str) -> Existing {
    let differs = |argument: &str| said.contains(&format!("'{argument}'"));
    let unset = said.contains("current is none");
    if differs(OVERFLOW) {
        return Existing::Harmful(format!(
            "the admitted queue {name} drops messages when it is full, and they would be lost: declare it with `x-overflow` = reject-publish, or delete it so that it is declared by us ({said})"
        ));
    }
    let what = match (differs(LIMIT), unset) {
        (true, true) => {
            "has no `x-max-length`: unless a policy limits it, with reject-publish, everything is admitted at once and goes stale there"
        }
        (true, false) => "has another `x-max-length` than `slots`",
        _ => "exists with other arguments than ours",
    };
    Existing::Doubtful(format!(
        "the admitted queue {name} {what}; it is used as it is; delete it so that it is declared by us, or set `declare = false` when it is as you want it ({said})"
    ))
}

/// `check --connect`: is the queue of reports there?
pub(super) async fn check_outcomes(link: &Link, queue: &Queue, notes: &mut Notes<'_>) {
    if let Some(outcomes) = &queue.outcomes_queue {
        let there = ask(link, async |channel| depth(channel, outcomes).await).await;
        notes.answer(
            &format!("the queue of outcomes {outcomes} is there"),
            there.map(drop),
            "create it, or leave `outcomes` out",
        );
    }
}

/// `check --connect`: is the admitted queue as we would declare it, or can it be declared? One that was not there is gone again.
pub(super) async fn check(link: &Link, queue: &Queue, notes: &mut Notes<'_>) {
    let name = queue.admitted();
    if name.is_empty() {
        return;
    }
    let was_there = ask(link, async |channel| depth(channel, name).await).await;
    let declared = ask(link, async |channel| {
        declare(channel, name, arguments(queue, Place::Admitted)).await?;
        if matches!(was_there, Err(Lost::Missing(_))) {
            let name = short("the name of a queue", name);
            let name = name.map_err(|why| Lost::Broken(why.to_string()))?;
            let only_ours = QueueDeleteOptions {
                if_unused: true,
                if_empty: true,
                ..QueueDeleteOptions::default()
            };
            channel.queue_delete(name, only_ours).await?;
        }
        Ok(())
    });
    match (was_there.is_ok(), declared.await) {
        (true, declared) => report_existing(name, declared, notes),
        (false, declared) => notes.answer(
            &format!("the admitted queue {name} can be declared"),
            declared,
            "`sluicegate topology` prints the permissions that this needs",
        ),
    }
}

fn report_existing(name: &str, declared: Result<(), Lost>, notes: &mut Notes<'_>) {
    match declared {
        Ok(()) => notes.note(
            Weight::Fine,
            format!("the admitted queue {name} is there, with the limit that follows from `slots`"),
        ),
        Err(Lost::Broken(said)) => match existing(name, &said) {
            Existing::Doubtful(doubt) => notes.note(Weight::Warning, doubt),
            Existing::Harmful(harm) => notes.note(Weight::Problem, harm),
        },
        Err(lost) => notes.note(
            Weight::Problem,
            format!("{lost}; `sluicegate topology` prints the permissions that this needs"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(what: &str, said: &str, expected: &str) {
        let found = match existing("orders.admitted", said) {
            Existing::Doubtful(text) => format!("doubtful: {text}"),
            Existing::Harmful(text) => format!("harmful: {text}"),
        };
        assert!(found.starts_with(expected), "{what}: {found}");
    }

    #[test]
    fn what_the_broker_says_decides() {
        let of = "for queue 'orders.admitted' in vhost '/': received the value '8' of type 'long' but current is";
        check(
            "no limit",
            &format!("PRECONDITION_FAILED - inequivalent arg 'x-max-length' {of} none"),
            "doubtful: the admitted queue orders.admitted has no `x-max-length`",
        );
        check(
            "another limit",
            &format!(
                "PRECONDITION_FAILED - inequivalent arg 'x-max-length' {of} the value '9' of type 'long'"
            ),
            "doubtful: the admitted queue orders.admitted has another `x-max-length` than `slots`",
        );
        check(
            "it drops",
            "PRECONDITION_FAILED - inequivalent arg 'x-overflow' for queue 'orders.admitted' in vhost '/': received 'reject-publish' but current is 'drop-head'",
            "harmful: the admitted queue orders.admitted drops messages",
        );
        check(
            "something else",
            "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'orders.admitted' in vhost '/': received 'true' but current is 'false'",
            "doubtful: the admitted queue orders.admitted exists with other arguments",
        );
    }
}
