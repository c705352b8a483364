//! `[[notify]]`: webhooks that are told of openings. Their addresses may be secrets, and what signs the notices is one.

use std::path::PathBuf;

use super::build::{Around, Section, file_that_exists};
use super::list::URL_WAYS;
use super::problems::Notes;
use super::secret::{Key, Secret, from_file, from_variable};
use super::{Notify, url};
use crate::rules::notice::Kind;

/// All webhooks, when nothing in them is wrong.
pub(super) fn all(
    sections: &[Section<'_>],
    around: &Around<'_>,
    notes: &mut Notes,
) -> Option<Vec<Notify>> {
    let read = sections.iter().enumerate();
    let read = read.map(|(index, section)| one(*section, index + 1, around, notes));
    // All are read before the first bad one is given up, so that all that is wrong is told.
    read.collect::<Vec<_>>().into_iter().collect()
}

fn one(
    section: Section<'_>,
    number: usize,
    around: &Around<'_>,
    notes: &mut Notes,
) -> Option<Notify> {
    let name = format!("notify.#{number}");
    let ca_file = file_that_exists(section, "ca_file", around, notes);
    let secret = secret(section, &name, around, notes);
    let url = address(section, &name, around, notes)?;
    let parts = url::webhook(&url).ok()?;
    if ca_file.is_some() && parts.scheme != "https" {
        notes.add(
            section.place("ca_file"),
            format!("`{name}.ca_file` is of use only with TLS, and the URL begins with http://"),
            "begin the URL with https://, or leave `ca_file` out",
        );
    }
    let mut events: Vec<Kind> = section.get("events")?;
    if events.is_empty() {
        events = Kind::ALL.to_vec();
    }
    Some(Notify {
        url: Secret::new(url),
        host: parts.host,
        events,
        secret: secret?,
        ca_file,
    })
}

/// The URL, from the one place where it is.
pub(super) fn address(
    section: Section<'_>,
    name: &str,
    around: &Around<'_>,
    notes: &mut Notes,
) -> Option<String> {
    let written = |way: &&str| section.table.get(way).is_some();
    let given: Vec<&str> = URL_WAYS.into_iter().filter(written).collect();
    let way = match given.as_slice() {
        [way] => *way,
        [] => {
            let help = "add `url`, or `url_file` or `url_env` when the address is a secret";
            notes.add(
                section.place,
                format!("`{name}` does not say where it is"),
                help,
            );
            return None;
        }
        [first, second, ..] => {
            let what = format!("`{name}.{first}` and `{name}.{second}` both say where it is");
            notes.add(section.place(second), what, "leave one of them out");
            return None;
        }
    };
    let what = "the URL of the webhook";
    let read = from_one_of(section, way, around, what)?;
    let checked = read.and_then(|url| url::webhook(&url).map(|_| url));
    match checked {
        Ok(url) => Some(url),
        // What stands in `url` itself was checked by the walk.
        Err(_) if way == "url" => None,
        Err(why) => {
            notes.add_sentence(section.place(way), &format!("{name}.{way}"), &why);
            None
        }
    }
}

/// What signs what is posted; `Some(None)`: nothing does.
pub(super) fn secret(
    section: Section<'_>,
    name: &str,
    around: &Around<'_>,
    notes: &mut Notes,
) -> Option<Option<Key>> {
    let written = |way: &&str| section.table.get(way).is_some();
    let ways: Vec<&str> = ["secret_file", "secret_env"]
        .into_iter()
        .filter(written)
        .collect();
    let way = match ways.as_slice() {
        [] => return Some(None),
        [way] => *way,
        _ => {
            let what = format!("`{name}` says in two places what signs what is posted");
            notes.add(section.place("secret_env"), what, "leave one of them out");
            return None;
        }
    };
    let read = from_one_of(section, way, around, "the secret of the webhook")?;
    match read.and_then(|text| text.parse()) {
        Ok(key) => Some(Some(key)),
        Err(why) => {
            notes.add_sentence(section.place(way), &format!("{name}.{way}"), &why);
            None
        }
    }
}

/// What stands in the file or variable that a setting names, or in the setting itself.
fn from_one_of(
    section: Section<'_>,
    way: &str,
    around: &Around<'_>,
    what: &str,
) -> Option<Result<String, String>> {
    let written: String = section.get(way)?;
    Some(if way.ends_with("_file") {
        from_file(&around.folder.join(PathBuf::from(written)), what)
    } else if way.ends_with("_env") {
        from_variable(&written, around.environment, what)
    } else {
        Ok(written)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SMALL, with};
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn check(section: &str, expected: Result<(&str, usize, bool), &str>) {
        let text = format!("{SMALL}[[notify]]\n{section}\n");
        let variables = [
            ("HOOK", "https://hooks.example/canary"),
            ("SIGNS", SECRET),
            ("SHORT", "whsec_Y2FuYXJ5"),
        ];
        match (with(&text, &variables), expected) {
            (Ok(read), Ok((host, events, signed))) => {
                assert!(!format!("{read:?}").contains("canary"));
                let [one] = read.notify.as_slice() else {
                    panic!("{section}: {read:?}");
                };
                let said = (one.host.as_str(), one.events.len(), one.secret.is_some());
                assert_eq!(said, (host, events, signed), "{section}");
            }
            (Err(problems), Err(part)) => {
                let said = problems.to_string();
                assert!(said.contains(part), "{section}: {said}");
                assert!(
                    !said.contains("canary") && !said.contains("Y2Fu"),
                    "{section}: {said}"
                );
            }
            (read, _) => panic!("{section}: {read:?}"),
        }
    }

    #[test]
    fn a_webhook_has_one_address_which_is_never_shown() {
        let all = Kind::ALL.len();
        check(
            "url = 'http://127.0.0.1:9/canary'",
            Ok(("127.0.0.1", all, false)),
        );
        check("url_env = 'HOOK'", Ok(("hooks.example", all, false)));
        check(
            "url_env = 'HOOK'\nevents = ['opened', 'ended']",
            Ok(("hooks.example", 2, false)),
        );
        check(
            "url_env = 'HOOK'\nsecret_env = 'SIGNS'",
            Ok(("hooks.example", all, true)),
        );
        check("events = ['opened']", Err("does not say where it is"));
        check("url = 'http://h'\nurl_env = 'HOOK'", Err("both say where"));
        check("url = 'https://u:canary@h'", Err("user or password"));
        check("url = 'ftp://canary'", Err("neither http:// nor https://"));
        check("url_env = 'SIGNS'", Err("no `://`"));
        check(
            "url_env = 'HOOK'\nevents = ['opend']",
            Err("there are opened, extended"),
        );
        check(
            "url_env = 'HOOK'\nsecret_env = 'SHORT'",
            Err("openssl rand -base64 32"),
        );
        check(
            "url_env = 'HOOK'\nsecret_env = 'HOOK'",
            Err("openssl rand -base64 32"),
        );
        check(
            "url_env = 'HOOK'\nsecret_env = 'SIGNS'\nsecret_file = 'x'",
            Err("two places"),
        );
        check(
            "url = 'http://h'\nca_file = 'Cargo.toml'",
            Err("of use only with TLS"),
        );
    }
}
