//! Who may: what a role allows, and the names within which it does.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::names::Glob;

/// What each secret of a token begins with, so that one that was left lying about is recognised.
pub const SECRET_PREFIX: &str = "sg_";
/// The characters of a secret after it: 256 bits in base64url.
pub const SECRET_CHARACTERS: usize = 43;

/// Whether a text has the form of a secret that we drew. No other is one: so there are no weak ones.
#[must_use]
pub fn is_secret(text: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    text.strip_prefix(SECRET_PREFIX.as_bytes())
        .is_some_and(|rest| rest.len() == SECRET_CHARACTERS && rest.iter().all(letter))
}

/// What somebody is trusted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, and changes within limits.
    Operator,
    /// Everything.
    Admin,
    /// A program: evaluates flags, and reports what came of work.
    Service,
}

/// Why a text is no role.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is no role; write viewer, operator, admin or service")]
pub struct NotARole(String);

/// What a request needs its caller to be trusted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// Nothing: also strangers may ask.
    Nothing,
    /// To be known at all.
    Name,
    /// To ask what flags say to somebody.
    Evaluate,
    /// To tell what came of work.
    Report,
    /// To see how flags and queues stand.
    View,
    /// To change flags and queues.
    Operate,
    /// To change what cannot be undone, or has no end.
    Administer,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Admin, Self::Service];

    /// Its word in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Service => "service",
        }
    }

    /// Whether it allows what needs this.
    #[must_use]
    pub const fn may(self, need: Need) -> bool {
        match need {
            Need::Nothing | Need::Name | Need::Evaluate => true,
            Need::Report => !matches!(self, Self::Viewer),
            Need::View => !matches!(self, Self::Service),
            Need::Operate => matches!(self, Self::Operator | Self::Admin),
            Need::Administer => matches!(self, Self::Admin),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Role {
    type Err = NotARole;
    fn from_str(text: &str) -> Result<Self, NotARole> {
        let mut all = Self::ALL.into_iter();
        all.find(|role| role.word() == text)
            .ok_or_else(|| NotARole(text.chars().take(40).collect()))
    }
}

impl Need {
    /// The roles that it takes, for people: `operator or admin`.
    #[must_use]
    pub fn roles(self) -> String {
        let roles = Role::ALL.into_iter().filter(|role| role.may(self));
        let words: Vec<&str> = roles.map(Role::word).collect();
        words.join(" or ")
    }
}

/// The queues and flags within which somebody's role holds; usually all.
///
/// Who has a queue has its valves, the flags `queue.<queue>.…`. A scope that names queues alone has no other flags, and one that
/// names flags alone has no queues.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    queues: Option<Vec<Glob>>,
    flags: Option<Vec<Glob>>,
}

impl Scope {
    /// The scope of these names; `None` for both: everything.
    #[must_use]
    pub fn new(queues: Option<Vec<Glob>>, flags: Option<Vec<Glob>>) -> Self {
        Self { queues, flags }
    }

    /// Whether nothing lies outside of it.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.queues.is_none() && self.flags.is_none()
    }

    /// Whether this queue lies within it, called as flags call it: `orders`, `billing/orders`.
    #[must_use]
    pub fn has_queue(&self, name: &str) -> bool {
        self.is_everything() || fits_one(self.queues.as_deref(), name)
    }

    /// Whether this flag lies within it.
    #[must_use]
    pub fn has_flag(&self, key: &str) -> bool {
        self.is_everything()
            || fits_one(self.flags.as_deref(), key)
            || queue_of(key).is_some_and(|queue| fits_one(self.queues.as_deref(), queue))
    }
}

fn fits_one(globs: Option<&[Glob]>, name: &str) -> bool {
    globs.unwrap_or_default().iter().any(|glob| glob.fits(name))
}

/// The queue that a valve's key names: `queue.<queue>.<valve>`, where the last dot ends the queue's name.
fn queue_of(key: &str) -> Option<&str> {
    let (queue, _) = key.strip_prefix("queue.")?.rsplit_once('.')?;
    Some(queue)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(names: &[&str]) -> Option<Vec<Glob>> {
        Some(names.iter().map(|name| name.parse().unwrap()).collect())
    }

    #[test]
    fn a_scope_has_its_names_and_the_valves_of_its_queues() {
        let everything = Scope::default();
        let orders = Scope::new(globs(&["orders", "mail.*"]), None);
        let team = Scope::new(None, globs(&["deptA.*"]));
        let both = Scope::new(globs(&["orders"]), globs(&["deptA.*"]));
        let nothing = Scope::new(globs(&[]), None);
        for (flag, who) in [
            ("queue.orders.skip", [true, true, false, true, false]),
            ("queue.orders.eu.skip", [true, false, false, false, false]),
            ("queue.mail.eu.skip", [true, true, false, false, false]),
            (
                "queue.billing/orders.skip",
                [true, false, false, false, false],
            ),
            ("queue.orders", [true, false, false, false, false]),
            ("deptA.shop.x", [true, false, true, true, false]),
            ("deptAB.shop.x", [true, false, false, false, false]),
        ] {
            let has =
                [&everything, &orders, &team, &both, &nothing].map(|scope| scope.has_flag(flag));
            assert_eq!(has, who, "{flag}");
        }
        for (queue, who) in [
            ("orders", [true, true, false, true, false]),
            ("mail.eu", [true, true, false, false, false]),
            ("billing/orders", [true, false, false, false, false]),
        ] {
            let has =
                [&everything, &orders, &team, &both, &nothing].map(|scope| scope.has_queue(queue));
            assert_eq!(has, who, "{queue}");
        }
    }

    #[test]
    fn each_role_may_what_it_is_for() {
        for (need, roles) in [
            (Need::Name, "viewer or operator or admin or service"),
            (Need::Evaluate, "viewer or operator or admin or service"),
            (Need::Report, "operator or admin or service"),
            (Need::View, "viewer or operator or admin"),
            (Need::Operate, "operator or admin"),
            (Need::Administer, "admin"),
        ] {
            assert_eq!(need.roles(), roles, "{need:?}");
        }
        assert_eq!("owner".parse::<Role>(), Err(NotARole("owner".to_owned())));
    }
}
