//! What a setting takes: the one description from which values are checked, the schema is drawn and cures are told.

use std::sync::Arc;

use super::near::nearest;
use super::people;
use super::tree::{Value, parse_value};
use super::url;
use crate::rules::facts::Source;
use crate::rules::names::{FlagKey, Glob, QueueName};
use crate::rules::notice::Kind;
use crate::rules::segment::SegmentName;
use crate::rules::units::{Ratio, Span};

/// A setting, declared once.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// What holds when nothing is written, as it would be written in a variable.
    pub(super) default: Option<&'static str>,
    /// How it may be written in the file; on settings that must be there.
    pub(super) needed: Option<&'static str>,
    /// Whether a reload applies it to the running daemon.
    pub(super) live: bool,
    /// One line for people.
    pub(super) help: &'static str,
}

/// A setting that may be left out and has no default.
pub(super) const fn setting(name: &'static str, shape: Shape, help: &'static str) -> Setting {
    Setting {
        name,
        shape,
        default: None,
        needed: None,
        live: false,
        help,
    }
}

/// A setting of a later version, or one that is not for the file: refused with the sentence that says so.
pub(super) const fn not_here(name: &'static str, why: &'static str) -> Setting {
    setting(name, Shape::NotHere, why)
}

impl Setting {
    pub(super) const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    pub(super) const fn needed(mut self, example: &'static str) -> Self {
        self.needed = Some(example);
        self
    }

    pub(super) const fn live(mut self) -> Self {
        self.live = true;
        self
    }
}

/// What a setting takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// A text of this form.
    Text(&'static Form),
    /// A duration within these bounds.
    Duration(Span, Span),
    /// A whole number within these bounds.
    Integer(i64, i64),
    /// Any number.
    Number,
    /// `true` or `false`
    Boolean,
    /// One of the first words; the second ones come with a later version.
    OneOf(&'static [&'static str], &'static [&'static str]),
    /// A list of texts of this form, none of them twice.
    Texts(&'static Form),
    /// A table whose names are free, and whose values are texts of this form.
    Free(&'static Form),
    /// Any value that JSON has.
    Any,
    /// `[name]`
    Section(&'static [Setting]),
    /// `[[name]]`, at most so many.
    Sections(&'static [Setting], usize),
    /// A table with exactly one of these.
    Choice(&'static [Setting]),
    /// Nothing: the setting is not in this version.
    NotHere,
}

/// The form of a text.
#[derive(Debug)]
pub(super) struct Form {
    /// What it is, for people.
    pub(super) what: &'static str,
    /// The regular expression of it, for editors.
    pub(super) pattern: Option<&'static str>,
    /// Whether it may hold a password: never shown.
    pub(super) secret: bool,
    /// Whether `check` never repeats what was written.
    pub(super) quiet: bool,
    /// Says what is wrong and what to do, divided by `; `.
    pub(super) check: fn(&str) -> Result<(), String>,
}

pub(super) const fn form(what: &'static str, check: fn(&str) -> Result<(), String>) -> Form {
    Form {
        what,
        pattern: None,
        secret: false,
        quiet: false,
        check,
    }
}

/// The reader of a type of `rules`, as the check of a form.
pub(super) fn parses<T: std::str::FromStr>(text: &str) -> Result<(), String>
where
    T::Err: std::fmt::Display,
{
    text.parse::<T>()
        .map(drop)
        .map_err(|why: T::Err| why.to_string())
}

pub(super) const TEXT: &Form = &form("a text", |_| Ok(()));
pub(super) const ADDRESS: &Form = &form(
    "an address and port, such as \"127.0.0.1:7070\"",
    |text| {
        parses::<std::net::SocketAddr>(text).map_err(|_| {
            format!("{text:?} is no address with a port; write one such as \"127.0.0.1:7070\" or \"[::1]:7070\"")
        })
    },
);
pub(super) const PATH: &Form = &form("a path, from the folder of this file", |text| {
    if text.is_empty() || text.contains('\0') {
        Err("the path is empty or holds a NUL; write the path of a file or folder".into())
    } else {
        Ok(())
    }
});
pub(super) const HOST: &Form = &form("a host name without scheme and port", |text| {
    let fine =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    if (1..=253).contains(&text.len()) && text.bytes().all(fine) {
        Ok(())
    } else {
        Err(format!(
            "{text:?} is no host name; write it in lower case, without scheme and port, such as \"gate.example.org\""
        ))
    }
});
pub(super) const LOG_FILTER: &Form = &form(
    "a log filter, such as \"info,sluicegate=debug\"",
    log_filter,
);
pub(super) const SOURCE: &Form = &Form {
    pattern: Some("^(header:.+|property:[a-z_]+|body:/.*)$"),
    ..form(
        "a place in a message, such as \"header:x-account\"",
        parses::<Source>,
    )
};
pub(super) const BROKER_URL: &Form = &Form {
    secret: true,
    quiet: true,
    pattern: Some("^amqps?://"),
    ..form("the URL of a broker", |text| url::broker(text).map(drop))
};
pub(super) const MANAGEMENT_URL: &Form = &Form {
    secret: true,
    quiet: true,
    pattern: Some("^https?://"),
    ..form("the URL of the management API", |text| {
        url::management(text)?;
        match url::userinfo(text) {
            Some(info) if !info.user.is_empty() => Ok(()),
            _ => Err("the user in the URL cannot be read; percent-encode it as UTF-8".into()),
        }
    })
};
pub(super) const WORKER_URL: &Form = &Form {
    quiet: true,
    pattern: Some("^http://"),
    ..form("the URL of a worker", url::http)
};
pub(super) const WEBHOOK_URL: &Form = &Form {
    secret: true,
    quiet: true,
    pattern: Some("^https?://"),
    ..form("the URL of a webhook", |text| url::webhook(text).map(drop))
};
pub(super) const NOTICE: &Form = &form("a kind of notice", parses::<Kind>);
pub(super) const VARIABLE: &Form = &form("the name of a variable of the environment", |text| {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !text.is_empty() && text.bytes().all(fine) {
        Ok(())
    } else {
        Err("this is no name of a variable; write one of letters, digits and `_`, such as \"BROKER_URL\"".into())
    }
});
pub(super) const QUEUE: &Form = &Form {
    pattern: Some("^[!-~]{1,150}$"),
    ..form("the name of a queue at the broker", queue)
};
pub(super) const WORD: &Form = &Form {
    pattern: Some("^[!-~]{1,64}$"),
    ..form("a name", word)
};
pub(super) const MODE: &Form = &Form {
    pattern: Some("^[!-~]{1,64}$"),
    ..form("the name of a light version", |text| match text {
        "none" | "reject" => Err(format!(
            "{text:?} has a meaning of its own for `degrade`; give the light version another name"
        )),
        _ => word(text),
    })
};
pub(super) const FLAG_KEY: &Form = &Form {
    pattern: Some("^[!-~]{1,200}$"),
    ..form("the key of a flag", parses::<FlagKey>)
};
pub(super) const RATIO: &Form = &Form {
    pattern: Some(r"^\s*[0-9.]+\s*%?\s*$"),
    ..form("a share, such as \"50%\"", parses::<Ratio>)
};
pub(super) const RELEASE_NAME: &Form = &form(
    "the parts of a key, such as \"<stakeholder>.<team>.<id>\"",
    |text| {
        if text.is_empty() || text.split('.').all(|part| !part.is_empty()) {
            Ok(())
        } else {
            Err(format!(
                "{text:?} has empty parts; write parts with one dot between them, such as \"<stakeholder>.<team>.<id>\""
            ))
        }
    },
);
pub(super) const SEGMENT_NAME: &Form = &Form {
    pattern: Some("^[!-.0-~]{1,100}$"),
    ..form("the name of a segment", parses::<SegmentName>)
};

pub(super) const GLOB: &Form = &Form {
    pattern: Some("^[!-~]{1,200}$"),
    ..form("a name, with `*` for any characters", parses::<Glob>)
};
pub(super) const NETWORK: &Form = &form("an address or network", |text| {
    people::network(text).map(drop)
});
pub(super) const HEADER: &Form = &Form {
    pattern: Some("^[A-Za-z0-9-]{1,64}$"),
    ..form("the name of a header", |text| {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(fine) {
            Ok(())
        } else {
            Err("this is no name of a header; write letters, digits and `-`, such as \"x-remote-user\"".into())
        }
    })
};
pub(super) const FINGERPRINT: &Form = &Form {
    secret: true,
    quiet: true,
    pattern: Some("^[0-9a-fA-F]{64}$"),
    ..form("the SHA-256 of a secret", parses::<people::Fingerprint>)
};
pub(super) const MOMENT: &Form = &form(
    "a time (RFC 3339), such as \"2027-01-31T00:00:00Z\"",
    |text| {
        parses::<jiff::Timestamp>(text)
            .map_err(|_| format!("{text:?} is no time; write one such as \"2027-01-31T00:00:00Z\""))
    },
);

fn word(text: &str) -> Result<(), String> {
    if (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        let shown: String = text.chars().take(80).collect();
        Err(format!(
            "{shown:?} cannot be a name here; use 1 to 64 visible ASCII characters without spaces"
        ))
    }
}

fn queue(text: &str) -> Result<(), String> {
    let ours = ["delay", "park", "dead", "lane"].iter().any(|kind| {
        text.strip_prefix("sluicegate.")
            .is_some_and(|rest| rest.starts_with(kind))
    });
    if ours {
        Err(format!(
            "{text:?} is one of the queues that Sluicegate keeps for itself; name the queue that the messages come from"
        ))
    } else {
        parses::<QueueName>(text)
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Stricter than the reader of filters, which takes the slip `inof` for the name of a module, and then logs nothing.
fn log_filter(text: &str) -> Result<(), String> {
    for directive in text.split(',') {
        let (module, level) = directive
            .rsplit_once('=')
            .unwrap_or(("sluicegate", directive));
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte);
        if module.is_empty() || !module.bytes().all(named) || !LEVELS.contains(&level) {
            let levels = LEVELS.join(", ");
            let cure = match nearest(level, LEVELS) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!(
                    "write levels ({levels}), also for one module: \"info,sluicegate=debug\""
                ),
            };
            return Err(format!("{directive:?} is no log filter; {cure}"));
        }
    }
    Ok(())
}

impl Shape {
    /// What it takes, for people.
    pub(super) fn what(&self) -> String {
        match self {
            Self::Text(form) => form.what.to_owned(),
            Self::Duration(least, most) => format!("a duration from {least} to {most}"),
            Self::Integer(least, most) => format!("a whole number from {least} to {most}"),
            Self::Number => "a number".to_owned(),
            Self::Boolean => "true or false".to_owned(),
            Self::OneOf(words, _) => format!("one of {}", quoted(words)),
            Self::Texts(form) => format!("a list of texts, each {}", form.what),
            Self::Free(form) => format!("a table of names, each with {}", form.what),
            Self::Any => "a value".to_owned(),
            Self::Section(_) => "a table".to_owned(),
            Self::Sections(..) => "a list of tables".to_owned(),
            Self::Choice(of) => format!(
                "a table with one of {}",
                quoted(
                    &of.iter()
                        .filter(|one| one.here())
                        .map(|one| one.name)
                        .collect::<Vec<_>>()
                )
            ),
            Self::NotHere => "nothing".to_owned(),
        }
    }

    /// Reads a value as it is written in a variable of the environment, or here as a default: texts without quotes, the rest
    /// as in the file. What cannot be read is taken as text, so that the check says what is wrong.
    pub(super) fn read(&self, text: &str, variable: &Arc<str>) -> Value {
        match self {
            Self::Text(_) | Self::Duration(..) | Self::OneOf(..) => Value::Text(text.to_owned()),
            _ => parse_value(text.trim(), variable).unwrap_or_else(|| Value::Text(text.to_owned())),
        }
    }

    /// The settings below it.
    pub(super) fn settings(&self) -> &'static [Setting] {
        match self {
            Self::Section(of) | Self::Sections(of, _) | Self::Choice(of) => of,
            _ => &[],
        }
    }
}

impl Setting {
    /// Whether this version has it.
    pub(super) fn here(&self) -> bool {
        !matches!(self.shape, Shape::NotHere)
    }
}

/// Words as people list them: `"a", "b"`.
pub(super) fn quoted(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    quoted.join(", ")
}
