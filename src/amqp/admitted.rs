//! An admitted queue that was there before us, with other arguments than ours: may it be used?
//!
//! The broker names the first argument that differs, with what was asked for and what stands: `inequivalent arg 'x-max-length' for
//! queue 'orders.admitted' in vhost '/': received the value '8' of type 'long' but current is none`. A policy may set a limit that
//! no declaration can see, so a queue without one is used; people are told, because without a limit it becomes the new backlog.
//! Imports no room.

/// The argument that bounds an admitted queue.
pub(super) const LIMIT: &str = "x-max-length";
/// The argument that says what a full queue does.
pub(super) const OVERFLOW: &str = "x-overflow";

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
