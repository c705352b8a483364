//! The settings of `[[queue]]`, as [`super::list`] has the others.

use super::list::{LONGEST, seconds};
use super::list_pool::PROVIDER;
use super::shape::{
    FLAG_KEY, MODE, QUEUE, RATIO, SOURCE, Setting, Shape, WORD, WORKER_URL, setting,
};
use crate::rules::units::Span;

use Shape::{Choice, Duration, Free, Integer, OneOf, Section, Text, Texts};

const PLACES: &[&str] = &["drop", "dead_letter", "park"];

pub(super) const QUEUES: &[Setting] = &[
    setting("name", Text(QUEUE), "The queue's name at the broker.").needed("name = \"orders\""),
    setting(
        "vhost",
        Text(WORD),
        "Its vhost, when it is not that of the broker's URL; flags then call the queue <vhost>/<name>.",
    ),
    setting(
        "target",
        Choice(TARGET),
        "Where messages go that pass the gate.",
    )
    .needed("target = { http = \"http://127.0.0.1:8081/jobs\" }"),
    setting(
        "slots",
        Integer(1, 10_000),
        "Messages at the target at once; 1 when order = \"strict\".",
    )
    .or("8"),
    setting(
        "prefetch",
        Integer(1, 65_535),
        "Messages that the broker may have out with us; without it twice the slots, from 16 to 1000; 32 times, from 256, when order = \"key\".",
    ),
    setting(
        "attempts",
        Integer(1, 100),
        "How often a message is tried in all.",
    )
    .or("5"),
    setting(
        "preset",
        OneOf(&["celery"], &[]),
        "Who publishes: it says where id, deadline, not_before and some attributes are, unless they are set here.",
    ),
    setting(
        "key",
        Text(WORD),
        "The attribute that rate_each and concurrency_each count by.",
    ),
    setting(
        "attributes",
        Free(SOURCE),
        "What is known of a message, by name, and where it is found: header:, property: or body:.",
    ),
    setting(
        "id",
        Text(SOURCE),
        "Where the id is; without it the message id, else the correlation id, else a hash of the body.",
    ),
    setting(
        "age",
        Text(SOURCE),
        "Where the time of publishing is; without it header timestamp_in_ms, else property timestamp.",
    ),
    setting(
        "deadline",
        Text(SOURCE),
        "Where a time is after which the message is useless: seconds or milliseconds since 1970, or ISO 8601.",
    ),
    setting(
        "not_before",
        Text(SOURCE),
        "Where a time is before which the message is not to be done; its age counts from then.",
    ),
    setting(
        "deadline_after",
        Duration(Span::from_millis(1), LONGEST),
        "A job done later than this after it was published counts as late; sheds nothing by itself.",
    ),
    setting(
        "max_body_bytes",
        Integer(1, 134_217_728),
        "The largest body that is read; larger ones are dead-lettered.",
    )
    .or("4194304"),
    setting(
        "on_skip",
        OneOf(PLACES, &[]),
        "What happens to skipped messages.",
    )
    .or("park"),
    setting(
        "on_expired",
        OneOf(PLACES, &[]),
        "What happens to messages that came too late.",
    )
    .or("park"),
    setting(
        "on_rejected",
        OneOf(PLACES, &[]),
        "What happens to messages rejected by `degrade`.",
    )
    .or("dead_letter"),
    setting(
        "on_unknown",
        OneOf(&["retry", "failover", "park"], &[]),
        "What happens to messages that may have been done; of a pool of mail providers park, unless it is set.",
    )
    .or("retry"),
    setting(
        "order",
        OneOf(&["none", "key", "strict"], &[]),
        "Whether order is kept: for each `key`, or for all, one at a time.",
    )
    .or("none"),
    setting(
        "modes",
        Texts(MODE),
        "The light versions that `degrade` may name.",
    )
    .or("[]"),
    setting(
        "pass",
        Texts(FLAG_KEY),
        "Flags whose values are told to the worker.",
    )
    .or("[]"),
    setting(
        "hold",
        Duration(seconds(1), seconds(600)),
        "How long a message may be held undispatched within the prefetch.",
    )
    .or("5m"),
    setting(
        "dead_letter",
        Section(DEAD_LETTER),
        "Where dead letters go, instead of our own stream.",
    ),
    setting(
        "outcomes",
        Section(OUTCOMES),
        "Where workers behind an admitted queue report what came of their work, beside POST /api/v1/outcomes.",
    ),
    setting("park", Section(PARK), "How the park is kept."),
    setting(
        "relief",
        Section(RELIEF),
        "What the automatic valve may do, when `skip_mode` says auto.",
    ),
];

const TARGET: &[Setting] = &[
    setting("http", Text(WORKER_URL), "An HTTP worker at this URL."),
    setting(
        "handler",
        Text(WORD),
        "A Rust handler of this name, in the demo or in a program that embeds the library.",
    ),
    setting(
        "queue",
        Text(QUEUE),
        "An admitted queue that workers read, in the same vhost; it holds at most `slots` that are not taken.",
    ),
    setting("pool", Text(PROVIDER), "A pool of providers."),
];

const DEAD_LETTER: &[Setting] =
    &[
        setting("queue", Text(QUEUE), "A queue of yours, in the same vhost.")
            .needed("dead_letter = { queue = \"orders.dead\" }"),
    ];

const OUTCOMES: &[Setting] = &[setting(
    "queue",
    Text(QUEUE),
    "A queue of reports in JSON, in the same vhost; it is never declared by us.",
)
.needed("outcomes = { queue = \"orders.outcomes\" }")];

const RELIEF: &[Setting] = &[
    setting(
        "floor",
        Text(RATIO),
        "The share that it sheds in any case, drawn by lot.",
    )
    .or("0%"),
    setting(
        "ceiling",
        Text(RATIO),
        "The share that it sheds at most; [limits] skip holds for it, too.",
    )
    .or("100%"),
    setting(
        "step",
        Text(RATIO),
        "By so much the share that it sheds may rise at once; it may fall at once in any case.",
    )
    .or("100%"),
    setting(
        "bad_actor",
        OneOf(&["observe", "limit", "degrade"], &[]),
        "What becomes of a `key` that brings more than three times its fair share: it is reported; or cut to its share, when skip_mode is auto; or degraded by an opening.",
    )
    .or("observe"),
    setting(
        "degrade_to",
        Text(WORD),
        "What that opening lays on `degrade`: reject, or one of `modes`.",
    )
    .or("reject"),
    setting(
        "degrade_for",
        Duration(seconds(60), seconds(86_400)),
        "How long that opening lasts; it ends sooner when the key brings less again.",
    )
    .or("30m"),
];

const PARK: &[Setting] = &[
    setting(
        "as",
        OneOf(&["stream", "queue"], &[]),
        "Streams, one for each day; or plain durable queues, for brokers without streams.",
    )
    .or("stream"),
    setting(
        "max_age",
        Duration(seconds(3_600), LONGEST),
        "How long parked messages are kept.",
    )
    .or("7d"),
    setting(
        "max_bytes",
        Integer(1_048_576, 1_125_899_906_842_624),
        "How many bytes the stream or queue of one day may hold.",
    )
    .or("10737418240"),
];
