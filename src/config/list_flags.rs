//! The settings of a file of flags, as [`super::list`] has those of the daemon.

use super::list::{MOST_FLAGS, MOST_SEGMENTS};
use super::shape::{FLAG_KEY, SEGMENT_NAME, Setting, Shape, TEXT, not_here, setting};

use Shape::{Any, Boolean, Number, OneOf, Sections, Text, Texts};

/// `flags.toml`
pub(super) const FLAGS_FILE: &[Setting] = &[
    setting("flag", Sections(FLAG, MOST_FLAGS), "A flag.")
        .needed("[[flag]] with key, kind, type and value"),
    setting(
        "segment",
        Sections(SEGMENT, MOST_SEGMENTS),
        "A named audience, for the rules of flags.",
    ),
];

const SEGMENT: &[Setting] = &[
    setting("name", Text(SEGMENT_NAME), "The name.").needed("name = \"beta\""),
    setting("description", Text(TEXT), "Who is meant, for people."),
    setting("owner", Text(TEXT), "The team that answers for it."),
    setting(
        "by",
        Text(TEXT),
        "The attribute that members are values of.",
    )
    .or("account"),
    setting("members", Texts(TEXT), "The members.").or("[]"),
    setting(
        "when",
        Any,
        "Who else belongs to it: clauses, as the API takes them, all of which hold.",
    ),
    not_here("revision", "it is set by the daemon; leave it out"),
];

const FLAG: &[Setting] = &[
    setting("key", Text(FLAG_KEY), "The key.").needed("key = \"orders.rate\""),
    setting(
        "kind",
        OneOf(
            &["ops", "release", "permission", "config", "migration"],
            &[],
        ),
        "What the flag is for.",
    )
    .needed("kind = \"ops\""),
    setting(
        "type",
        OneOf(
            &[
                "boolean", "ratio", "integer", "number", "duration", "rate", "string", "object",
            ],
            &[],
        ),
        "The type of its value.",
    )
    .needed("type = \"boolean\""),
    setting(
        "value",
        Any,
        "The value for everybody; \"none\" where the type has one: durations, rates, integers.",
    )
    .needed("value = …"),
    setting(
        "min",
        Number,
        "The smallest value allowed; durations in seconds, rates per second.",
    ),
    setting("max", Number, "The largest value allowed."),
    setting("choices", Texts(TEXT), "The values that a string may take.").or("[]"),
    setting("description", Text(TEXT), "What the flag does, for people."),
    setting("owner", Text(TEXT), "The team that answers for it."),
    setting("runbook", Text(TEXT), "Where to read what to do."),
    not_here("revision", "it is set by the daemon; leave it out"),
    setting(
        "enabled",
        Boolean,
        "false: everybody gets the value, no rule is asked.",
    )
    .or("true"),
    setting(
        "rules",
        Any,
        "Rules in order, as the API takes them: name, when, and value or split.",
    ),
    setting(
        "by",
        Text(TEXT),
        "The attribute whose lot decides in splits; usually account.",
    ),
    setting(
        "seed",
        Text(TEXT),
        "What lots are drawn with, instead of the key.",
    ),
    setting(
        "bucketing",
        OneOf(&["sluicegate", "flagd", "unleash", "rollout"], &[]),
        "Whose formula draws the lots.",
    )
    .or("\"sluicegate\""),
    setting(
        "managed",
        OneOf(&["file"], &[]),
        "Who edits it: file, by `flag apply` alone.",
    ),
];
