//! Every setting, declared once. The reader, the overrides by environment, the schema and the "did you mean" are drawn from
//! this list; a test holds `config/sluicegate.toml` to it.

use super::list_people::{MOST_PEOPLE, OFREP, TOKEN, USER};
use super::list_pool::{MOST_POOLS, MOST_PROVIDERS, POOLS, PROVIDERS};
use super::list_queues::QUEUES;
use super::shape::{
    ADDRESS, BROKER_URL, HEADER, HOST, LOG_FILTER, MANAGEMENT_URL, NETWORK, NOTICE, PATH, RATIO,
    RELEASE_NAME, Setting, Shape, VARIABLE, WEBHOOK_URL, setting,
};
use crate::rules::units::Span;

use Shape::{Boolean, Duration, Free, Integer, Section, Sections, Text, Texts};

pub(super) const fn seconds(count: u64) -> Span {
    Span::from_secs(count)
}

const DAY: u64 = 86_400;
pub(super) const LONGEST: Span = seconds(3_650 * DAY);

/// Each queue has a thread of its own, and its twelve valves count among the 2,000 flags.
pub(super) const MOST_QUEUES: usize = 100;
pub(super) const MOST_FLAGS: usize = crate::rules::snapshot::MOST_FLAGS;
pub(super) const MOST_SEGMENTS: usize = crate::rules::segment::MOST_SEGMENTS;

/// The ways to say where the broker is: exactly one.
pub(super) const URL_WAYS: [&str; 3] = ["url", "url_file", "url_env"];

/// `sluicegate.toml`
pub(super) const FILE: &[Setting] = &[
    setting("daemon", Section(DAEMON), "The daemon itself."),
    setting(
        "metrics",
        Section(METRICS),
        "A door of its own for Prometheus.",
    ),
    setting("amqp", Section(AMQP), "The broker.")
        .needed("[amqp] with url = \"amqp://127.0.0.1:5672/%2f\""),
    setting(
        "queue",
        Sections(QUEUES, MOST_QUEUES),
        "A queue that is taken in hand.",
    )
    .needed("[[queue]] with name = \"orders\" and a target"),
    setting(
        "management",
        Section(MANAGEMENT),
        "RabbitMQ's management API, for what AMQP cannot tell; without it that is unknown.",
    ),
    setting(
        "limits",
        Section(LIMITS),
        "What no change of a flag may do, whoever makes it.",
    ),
    setting("flags", Section(FLAGS), "How flags are named."),
    setting(
        "provider",
        Sections(PROVIDERS, MOST_PROVIDERS),
        "A service that can do a job: send a mail, or take it over HTTP.",
    ),
    setting(
        "pool",
        Sections(POOLS, MOST_POOLS),
        "Providers that stand in for each other.",
    ),
    setting(
        "token",
        Sections(TOKEN, MOST_PEOPLE),
        "Somebody who may come in with a token; `sluicegate token new` prints one.",
    )
    .live(),
    setting(
        "user",
        Sections(USER, MOST_PEOPLE),
        "Somebody whom a trusted proxy signs in.",
    )
    .live(),
    setting("ofrep", Section(OFREP), "A door of its own for services."),
    setting(
        "notify",
        Sections(NOTIFY, MOST_WEBHOOKS),
        "A webhook that is told of openings: when they begin, get another end, end soon and end.",
    )
    .live(),
];

/// Each has a queue of its own.
const MOST_WEBHOOKS: usize = 20;

const DAEMON: &[Setting] = &[
    setting(
        "listen",
        Text(ADDRESS),
        "Where the API and the pages are served; anywhere but loopback only with tokens, and TLS or a trusted proxy.",
    )
    .or("127.0.0.1:7070"),
    setting(
        "hosts",
        Texts(HOST),
        "Host names, beside loopback's own, by which the API may be called.",
    )
    .or("[]")
    .live(),
    setting(
        "data_dir",
        Text(PATH),
        "The folder where flags and their history are kept.",
    )
    .or("/var/lib/sluicegate"),
    setting(
        "flags_file",
        Text(PATH),
        "A file of flags with which a new store begins; read once, when data_dir holds no store.",
    ),
    setting(
        "stop_within",
        Duration(seconds(1), seconds(600)),
        "How long a stop may take before stragglers are named and cut off.",
    )
    .or("25s"),
    setting(
        "log",
        Text(LOG_FILTER),
        "What is logged: off, error, warn, info, debug, trace, also for one module.",
    )
    .or("info")
    .live(),
    setting("tls_cert_file", Text(PATH), "A PEM file with the certificate of this daemon and those that lead to its authority; the doors then speak TLS. Read again by a reload.").live(),
    setting("tls_key_file", Text(PATH), "A PEM file with the certificate's private key, which others than its owner and group may not read. Read again by a reload.").live(),
    setting("trusted_proxies", Texts(NETWORK), "Proxies that do TLS for us, and whose word is taken for whom they speak (X-Forwarded-For, `proxy_user_header`).")
        .or("[]")
        .live(),
    setting("proxy_user_header", Text(HEADER), "The header by which trusted proxies tell whom they signed in; see [[user]]. They must remove it from what comes to them.").live(),
];

const METRICS: &[Setting] = &[setting(
    "listen",
    Text(ADDRESS),
    "An address that serves /metrics and health only; without it they are served with the API.",
)];

const AMQP: &[Setting] = &[
    setting("url", Text(BROKER_URL), "The broker: amqp:// or amqps://, user, host, vhost; with a password only when it is this machine."),
    setting("url_file", Text(PATH), "A file that holds the URL, which others than its owner and group may not read."),
    setting("url_env", Text(VARIABLE), "The variable of the environment that holds the URL."),
    setting("ca_file", Text(PATH), "A PEM file with the authorities that may have signed the broker's certificate, instead of the public ones."),
    setting("declare", Boolean, "Whether our lanes, delay queues and park streams are declared by us; false: somebody else has made them, and there are no lanes.")
        .or("true"),
    setting("heartbeat", Duration(seconds(1), seconds(300)), "The heartbeat that is asked for, in whole seconds; a dead path is noticed after two.")
        .or("10s"),
];

const LIMITS: &[Setting] = &[
    setting("skip", Text(RATIO), "The largest share that any valve `skip` may take.")
        .or("100%")
        .live(),
    setting("skip_by_queue", Free(RATIO), "The same for some queues, by name, `*` for any characters; the first that fits counts.")
        .live(),
    setting("changes_per_minute", Integer(1, 100_000), "How many changes one person or program may make a minute; more are answered 429 with Retry-After.")
        .or("60")
        .live(),
    setting("evaluations_per_second", Integer(1, 1_000_000), "How many evaluations one token, or without tokens one address, may ask for a second by OFREP, however many flags each answers; more are answered 429 with Retry-After.")
        .or("5000")
        .live(),
];

const FLAGS: &[Setting] = &[
    setting(
        "release_name",
        Text(RELEASE_NAME),
        "The parts that the key of a release flag has; empty: any key.",
    )
    .or("<stakeholder>.<team>.<id>")
    .live(),
    setting(
        "releases_of_a_team",
        Integer(0, 2_000),
        "With more open release flags than this a team is warned; 0: never.",
    )
    .or("20")
    .live(),
];

const MANAGEMENT: &[Setting] = &[
    setting("url", Text(MANAGEMENT_URL), "Its address with a user who has the tag `management`; with a password only when it is this machine.")
        .needed("url = \"http://user@127.0.0.1:15672\""),
    setting("password_file", Text(PATH), "A file that holds the user's password, which others than its owner and group may not read."),
    setting("password_env", Text(VARIABLE), "The variable of the environment that holds the user's password."),
    setting("ca_file", Text(PATH), "A PEM file with the authorities that may have signed its certificate, instead of the system's."),
];

const NOTIFY: &[Setting] = &[
    setting("url", Text(WEBHOOK_URL), "Where notices are posted, as JSON: http:// or https://."),
    setting("url_file", Text(PATH), "A file that holds that URL when it is a secret, which others than its owner and group may not read."),
    setting("url_env", Text(VARIABLE), "The variable of the environment that holds that URL."),
    setting("events", Texts(NOTICE), "What it is told of: opened, extended, reminder, ramping, ended, closed, overdue; none named: all.")
        .or("[]"),
    setting("secret_file", Text(PATH), "A file with the secret that signs notices as Standard Webhooks has it, `whsec_` and base64; others than its owner and group may not read it."),
    setting("secret_env", Text(VARIABLE), "The variable of the environment that holds that secret."),
    setting("ca_file", Text(PATH), "A PEM file with the authorities that may have signed the receiver's certificate, instead of the system's."),
];
