//! The settings of those who come in, declared once, as those in `list` are.

use super::shape::{ADDRESS, FINGERPRINT, GLOB, MOMENT, Setting, Shape, WORD, setting};

use Shape::{OneOf, Text, Texts};

/// Tokens, and users.
pub(super) const MOST_PEOPLE: usize = 1_000;

pub(super) const OFREP: &[Setting] = &[setting(
    "listen",
    Text(ADDRESS),
    "An address that serves services only: OFREP, authz, outcomes and health; without it they are served with the API alone.",
)];

const ROLES: &[&str] = &["viewer", "operator", "admin", "service"];

pub(super) const TOKEN: &[Setting] = &[
    setting("name", Text(WORD), "Whose it is; two of one name are both good, so that one can take the other's place.").needed("name = \"ana\""),
    setting("role", OneOf(ROLES, &[]), "What it allows: viewer reads, operator changes, admin also what has no end or way back, service evaluates and reports.")
        .needed("role = \"operator\""),
    setting("queues", Texts(GLOB), "The queues that it is for, with their valves; `*` for any characters. Without queues and flags: all."),
    setting("flags", Texts(GLOB), "The flags that it is for."),
    setting("sha256", Text(FINGERPRINT), "The SHA-256 of the secret, in hexadecimal.").needed("sha256 = \"…\", as `sluicegate token new` prints it"),
    setting("expires", Text(MOMENT), "When it stops being good (RFC 3339)."),
];

pub(super) const USER: &[Setting] = &[
    setting(
        "name",
        Text(WORD),
        "The name that the proxy tells; \"*\": everybody else whom it signs in.",
    )
    .needed("name = \"ana\""),
    setting("role", OneOf(ROLES, &[]), "What they may, as for tokens.")
        .needed("role = \"operator\""),
    setting(
        "queues",
        Texts(GLOB),
        "The queues that they may see and turn, with their valves.",
    ),
    setting(
        "flags",
        Texts(GLOB),
        "The flags that they may see and turn.",
    ),
];
