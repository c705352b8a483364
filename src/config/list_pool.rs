//! The settings of providers and pools, declared once, as those in `list` are.

use super::shape::{
    Form, HOST, PATH, QUEUE, RATIO, SEGMENT_NAME, Setting, Shape, TEXT, VARIABLE, WEBHOOK_URL,
    WORD, form, parses, setting,
};
use super::url;
use crate::rules::reply::statuses;
use crate::rules::units::{Rate, Span};

use Shape::{Boolean, Duration, Free, Integer, OneOf, Section, Sections, Text, Texts};

/// Each has flags of its own, and each pool a series of metrics with each of its providers.
pub(super) const MOST_PROVIDERS: usize = 100;
pub(super) const MOST_POOLS: usize = 100;
const MOST_ANSWERS: usize = 50;

/// The kinds of providers.
pub(super) const KINDS: &[&str] = &["http", "mailgun", "sendgrid", "ses", "postmark", "smtp"];

/// What an answer may mean.
pub(super) const MEANINGS: &[&str] = &[
    "done",
    "recipient",
    "sender",
    "throttled",
    "later",
    "provider",
    "ours",
    "unknown",
];

const RATE: &Form = &form("a rate, such as \"50/s\"", parses::<Rate>);
const STATUS: &Form = &Form {
    pattern: Some("^[1-5]([0-9][0-9]|xx)$"),
    ..form("a status of HTTP, such as \"422\" or \"5xx\"", |text| {
        statuses(text).map(drop).ok_or_else(|| {
            format!("{text:?} is no status; write one such as \"422\", or \"5xx\" for all of them")
        })
    })
};
pub(super) const PROVIDER: &Form = &Form {
    pattern: Some("^[a-z0-9][a-z0-9_-]{0,62}$"),
    ..form("the name of a provider or pool", |text| {
        let fine =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        let begins = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        let shown: String = text.chars().take(80).collect();
        match text {
            "auto" => Err("\"auto\" has a meaning of its own; choose another name".into()),
            _ if begins && text.len() <= 63 && text.bytes().all(fine) => Ok(()),
            _ => Err(format!(
                "{shown:?} cannot name a provider or pool; use lower-case letters, digits, `-` and `_`, 63 at most"
            )),
        }
    })
};
const PROVIDER_URL: &Form = &Form {
    quiet: true,
    pattern: Some("^(https?|smtps?)://"),
    ..form("the URL of a provider", |text| {
        let parts = url::parts(text)?;
        if parts.userinfo {
            return Err("the URL of a provider may not hold user or password, since it is shown; write `user` and `api_key_file`".into());
        }
        if parts.query.is_some() {
            return Err("the URL of a provider has no `?`; leave what follows it out".into());
        }
        Ok(())
    })
};

/// `[[provider]]`
pub(super) const PROVIDERS: &[Setting] = &[
    setting("name", Text(PROVIDER), "The provider's name; its flag is provider.<name>.force.").needed("name = \"mailgun\""),
    setting("kind", OneOf(KINDS, &[]), "How it is spoken to: http (any service that takes the job as it is), mailgun, sendgrid, ses, postmark or smtp.")
        .needed("kind = \"mailgun\""),
    setting("url", Text(PROVIDER_URL), "Where it is: https:// (http:// only on this machine); of smtp smtp://host:587 (STARTTLS) or smtps://host:465; the four mail services have one of their own."),
    setting("api_key_file", Text(PATH), "A file with its API key, server token, AWS secret key or password, which others than its owner and group may not read; read again when it changes."),
    setting("api_key_env", Text(VARIABLE), "The variable of the environment that holds that secret."),
    setting("user", Text(TEXT), "Who signs in: the user of smtp, the access key id of ses."),
    setting("domain", Text(HOST), "The sending domain at mailgun."),
    setting("region", Text(WORD), "The AWS region of ses."),
    setting("from_domains", Texts(HOST), "The domains of From that it may send; none named: all.").or("[]"),
    setting("slots", Integer(1, 10_000), "The most jobs that may be out to it at once, beside the pool's largest_share."),
    setting("rate", Text(RATE), "The most jobs that it is given for each unit of time, such as \"50/s\"."),
    setting("per_day", Integer(1, 1_000_000_000), "The most jobs that it is given in one day (UTC)."),
    setting("deadline", Duration(Span::from_millis(100), Span::from_secs(300)), "How long one of its answers may take.").or("10s"),
    setting("usual_failures", Text(RATIO), "The share of its calls that fail when all is well; it rests when there is evidence of seven times as many.").or("5%"),
    setting("idempotent", Boolean, "Whether it does a job once that comes twice under the same idempotency-key; it is told the key in any case.").or("false"),
    setting("ca_file", Text(PATH), "A PEM file with the authorities that may have signed its certificate, instead of the public ones."),
    setting("answer", Sections(ANSWERS, MOST_ANSWERS), "What an answer of it means, beside what is known of its kind; the first that fits counts."),
];

const ANSWERS: &[Setting] = &[
    setting(
        "status",
        Text(STATUS),
        "The status that it is about: \"422\", or \"5xx\".",
    )
    .needed("status = \"422\""),
    setting(
        "at",
        Text(TEXT),
        "A JSON pointer into the answer's body, such as \"/error/code\"; without it any body fits.",
    ),
    setting(
        "is",
        Text(TEXT),
        "What is found there, as text; without it anything but null.",
    ),
    setting(
        "means",
        OneOf(MEANINGS, &[]),
        "done, recipient, sender, throttled, later, provider, ours or unknown.",
    )
    .needed("means = \"recipient\""),
];

/// `[[pool]]`
pub(super) const POOLS: &[Setting] = &[
    setting(
        "name",
        Text(PROVIDER),
        "The pool's name; its flag is pool.<name>.provider.",
    )
    .needed("name = \"mail\""),
    setting(
        "providers",
        Texts(PROVIDER),
        "Its providers, the first choice first.",
    )
    .needed("providers = [\"mailgun\", \"sendgrid\"]"),
    setting(
        "weights",
        Free(RATIO),
        "The share that each provider gets while it passes; without it the first gets all.",
    ),
    setting(
        "sticky",
        Boolean,
        "Whether the messages of one key of the queue go to one provider while it passes, when there are weights.",
    )
    .or("false"),
    setting(
        "largest_share",
        Text(RATIO),
        "The share of all slots of its queues that one of its providers may hold, so that one that hangs never holds all.",
    )
    .or("75%"),
    setting(
        "suppress",
        Text(SEGMENT_NAME),
        "A segment of addresses that get no mail: its members are addresses, or its clauses ask for `recipient` and `recipient_domain`.",
    ),
    setting(
        "results",
        Section(RESULTS),
        "Who is told what came of each job, before its message is acknowledged: a queue or a webhook.",
    ),
];

const RESULTS: &[Setting] = &[
    setting(
        "queue",
        Text(QUEUE),
        "A queue of yours, in the vhost of the queue that the job comes from; it is never declared by us.",
    ),
    setting(
        "url",
        Text(WEBHOOK_URL),
        "Where results are posted, as JSON: http:// or https://.",
    ),
    setting(
        "url_file",
        Text(PATH),
        "A file that holds that URL when it is a secret, which others than its owner and group may not read; it is read at the start.",
    ),
    setting(
        "url_env",
        Text(VARIABLE),
        "The variable of the environment that has that URL when it is a secret.",
    ),
    setting(
        "secret_file",
        Text(PATH),
        "A file with the secret that signs results as Standard Webhooks has it, `whsec_` and base64; others than its owner and group may not read it.",
    ),
    setting(
        "secret_env",
        Text(VARIABLE),
        "The variable of the environment that has the secret that signs results.",
    ),
];
