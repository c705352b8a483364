//! The providers: `[[provider]]`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::build::{Around, Section, file_that_exists};
use super::problems::Notes;
use super::secret::{Secret, from_file, from_variable};
use super::url;
use crate::rules::reply::Rule;
use crate::rules::units::{Rate, Ratio};

/// How a provider is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any service that takes the job as it is.
    Http,
    /// Mailgun's messages API.
    Mailgun,
    /// SendGrid's mail API, version 3.
    Sendgrid,
    /// Amazon SES, version 2.
    Ses,
    /// Postmark's email API.
    Postmark,
    /// A mail server.
    Smtp,
}

impl Kind {
    /// Its word in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Mailgun => "mailgun",
            Self::Sendgrid => "sendgrid",
            Self::Ses => "ses",
            Self::Postmark => "postmark",
            Self::Smtp => "smtp",
        }
    }

    fn of(word: &str) -> Option<Self> {
        let all = [
            Self::Http,
            Self::Mailgun,
            Self::Sendgrid,
            Self::Ses,
            Self::Postmark,
            Self::Smtp,
        ];
        all.into_iter().find(|kind| kind.word() == word)
    }
}

/// A secret that is read again when its file changes.
#[derive(Debug, Clone)]
pub struct Credential {
    file: Option<PathBuf>,
    first: Secret,
}

/// What stands in a file is no part of the settings: it is read again when it changes.
impl PartialEq for Credential {
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file && (self.file.is_some() || self.first == other.first)
    }
}

impl Credential {
    /// As it was when the file was read.
    #[must_use]
    pub fn at_first(&self) -> &Secret {
        &self.first
    }

    /// When its file was last written; `None`: it is in no file, or that cannot be seen.
    #[must_use]
    pub fn written_at(&self) -> Option<SystemTime> {
        std::fs::metadata(self.file.as_ref()?).ok()?.modified().ok()
    }

    /// As it is now.
    ///
    /// # Errors
    /// When its file cannot be read, is empty or open to others: a sentence with its cure.
    pub fn read(&self) -> Result<Secret, String> {
        match &self.file {
            Some(file) => from_file(file, WHAT).map(Secret::new),
            None => Ok(self.first.clone()),
        }
    }
}

const WHAT: &str = "the secret of the provider";

/// `[[provider]]`
#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    /// Its name.
    pub name: Arc<str>,
    /// How it is spoken to.
    pub kind: Kind,
    /// Where it is, without `/` at the end.
    pub url: String,
    /// What it knows us by.
    pub credential: Option<Credential>,
    /// Who signs in.
    pub user: Option<String>,
    /// The sending domain at Mailgun.
    pub domain: Option<String>,
    /// The AWS region.
    pub region: Option<String>,
    /// The domains of From that it may send; none: all.
    pub from_domains: Vec<String>,
    /// The most jobs out to it at once.
    pub slots: Option<usize>,
    /// The most jobs for each unit of time.
    pub rate: Option<Rate>,
    /// The most jobs of a day.
    pub per_day: Option<u64>,
    /// How long an answer may take.
    pub deadline: Duration,
    /// The share of its calls that fail when all is well.
    pub usual_failures: Ratio,
    /// Whether it takes an idempotency key.
    pub idempotent: bool,
    /// Who may have signed its certificate.
    pub ca_file: Option<PathBuf>,
    /// What its answers mean, beside what is known of its kind.
    pub answers: Vec<Rule>,
}

/// Every provider, when nothing in them is wrong.
pub(super) fn providers(
    sections: &[Section<'_>],
    around: &Around<'_>,
    notes: &mut Notes,
) -> Option<Vec<Provider>> {
    let read: Vec<Option<Provider>> = sections
        .iter()
        .map(|section| provider(*section, around, notes))
        .collect();
    let mut names = BTreeSet::new();
    for (section, provider) in sections.iter().zip(&read) {
        if let Some(provider) = provider
            && !names.insert(Arc::clone(&provider.name))
        {
            let what = format!("there are two providers of the name `{}`", provider.name);
            notes.add(section.place("name"), what, "give one of them another name");
        }
    }
    read.into_iter().collect()
}

fn provider(section: Section<'_>, around: &Around<'_>, notes: &mut Notes) -> Option<Provider> {
    let name: Option<String> = section.get("name");
    let path = format!("provider.{}", name.as_deref().unwrap_or("?"));
    let kind = section
        .get::<String>("kind")
        .and_then(|word| Kind::of(&word));
    let ca_file = file_that_exists(section, "ca_file", around, notes);
    let credential = credential(section, &path, around, notes);
    let kind = kind?;
    let needs = |setting: &str, notes: &mut Notes| {
        let given: Option<String> = section.get(setting);
        if given.is_none() && section.table.get(setting).is_none() {
            let what = format!(
                "`{path}.{setting}` is missing, and {} needs it",
                kind.word()
            );
            notes.add(section.place, what, format!("add `{setting} = \"…\"`"));
        }
        given
    };
    let keyed = !matches!(kind, Kind::Http | Kind::Smtp);
    if keyed && matches!(credential, Some(None)) {
        let what = format!("`{path}` has no key, and {} needs one", kind.word());
        notes.add(section.place, what, "add `api_key_file = \"…\"`");
    }
    let domain = match kind {
        Kind::Mailgun => Some(needs("domain", notes)?),
        _ => section.get("domain"),
    };
    let (region, user) = match kind {
        Kind::Ses => {
            let (region, user) = (needs("region", notes), needs("user", notes));
            (Some(region?), Some(user?))
        }
        _ => (section.get("region"), section.get("user")),
    };
    let written: Option<String> = match kind {
        Kind::Http | Kind::Smtp => Some(needs("url", notes)?),
        _ => section.get("url"),
    };
    let url = written.unwrap_or_else(|| own_url(kind, region.as_deref().unwrap_or_default()));
    if let Err(why) = url_fits(&url, kind) {
        notes.add_sentence(section.place("url"), &format!("{path}.url"), &why);
    }
    Some(Provider {
        name: name?.into(),
        kind,
        url: url.trim_end_matches('/').to_owned(),
        credential: credential?,
        user,
        domain,
        region,
        from_domains: section.get("from_domains")?,
        slots: section.get("slots"),
        rate: section.get("rate"),
        per_day: section.get("per_day"),
        deadline: section.get("deadline")?,
        usual_failures: section.get("usual_failures")?,
        idempotent: section.get("idempotent")?,
        ca_file,
        answers: answers(section, &path, notes)?,
    })
}

fn own_url(kind: Kind, region: &str) -> String {
    match kind {
        Kind::Mailgun => "https://api.mailgun.net".to_owned(),
        Kind::Sendgrid => "https://api.sendgrid.com".to_owned(),
        Kind::Postmark => "https://api.postmarkapp.com".to_owned(),
        Kind::Ses => format!("https://email.{region}.amazonaws.com"),
        Kind::Http | Kind::Smtp => String::new(),
    }
}

/// Whether a URL is one for this kind, and safe: secrets and mails go without TLS to this machine alone.
fn url_fits(text: &str, kind: Kind) -> Result<(), String> {
    let parts = url::parts(text)?;
    let smtp = kind == Kind::Smtp;
    let wanted: &[&str] = if smtp {
        &["smtp", "smtps"]
    } else {
        &["https", "http"]
    };
    if !wanted.contains(&parts.scheme.as_str()) {
        return Err(format!(
            "the URL of {} begins with {}; write it so",
            kind.word(),
            wanted.map_to_text()
        ));
    }
    if parts.scheme == "http" && !parts.loopback() {
        return Err("the URL is plain http to another machine; write https://".into());
    }
    if smtp && !["", "/"].contains(&parts.path.as_str()) {
        return Err("the URL of smtp has no path; write smtp://host:587".into());
    }
    Ok(())
}

trait MapToText {
    fn map_to_text(&self) -> String;
}

impl MapToText for &[&str] {
    fn map_to_text(&self) -> String {
        let all: Vec<String> = self.iter().map(|scheme| format!("{scheme}://")).collect();
        all.join(" or ")
    }
}

/// The secret; `Some(None)`: there is none.
fn credential(
    section: Section<'_>,
    path: &str,
    around: &Around<'_>,
    notes: &mut Notes,
) -> Option<Option<Credential>> {
    let file: Option<PathBuf> = section.get("api_key_file");
    let variable: Option<String> = section.get("api_key_env");
    let (way, read) = match (&file, variable) {
        (None, None) => return Some(None),
        (Some(_), Some(_)) => {
            let what = format!("`{path}` says in two places what its secret is");
            notes.add(section.place("api_key_env"), what, "leave one of them out");
            return None;
        }
        (Some(file), None) => ("api_key_file", from_file(&around.folder.join(file), WHAT)),
        (None, Some(name)) => (
            "api_key_env",
            from_variable(&name, around.environment, WHAT),
        ),
    };
    match read {
        Ok(text) => Some(Some(Credential {
            file: file.map(|file| around.folder.join(file)),
            first: Secret::new(text),
        })),
        Err(why) => {
            notes.add_sentence(section.place(way), &format!("{path}.{way}"), &why);
            None
        }
    }
}

fn answers(section: Section<'_>, path: &str, notes: &mut Notes) -> Option<Vec<Rule>> {
    let read = section.sections("answer").into_iter().map(|answer| {
        let at: Option<String> = answer.get("at");
        let is: Option<String> = answer.get("is");
        if at.as_ref().is_some_and(|at| !at.starts_with('/')) {
            let what = format!("`{path}.answer.at` is no JSON pointer");
            notes.add(answer.place("at"), what, "write it like \"/error/code\"");
        }
        if is.is_some() && at.is_none() {
            let what = format!("`{path}.answer.is` is found nowhere");
            notes.add(answer.place("is"), what, "say `at` which place of the body");
        }
        Rule::new(
            &answer.get::<String>("status")?,
            at,
            is,
            &answer.get::<String>("means")?,
        )
    });
    read.collect::<Vec<_>>().into_iter().collect()
}
