//! `[management]`: RabbitMQ's HTTP API, which tells what AMQP cannot. Its password is a secret, like the broker's URL.

use std::path::PathBuf;

use super::Management;
use super::build::{Around, Section, file_that_exists};
use super::problems::Notes;
use super::secret::{Secret, from_file, from_variable};
use super::tree::Place;
use super::url;

/// What the secret is, for people.
const WHAT: &str = "the password of the management API";

/// The section, when nothing in it is wrong.
pub(super) fn read(
    section: Section<'_>,
    around: &Around<'_>,
    notes: &mut Notes,
) -> Option<Management> {
    let ca_file = file_that_exists(section, "ca_file", around, notes);
    let url: String = section.get("url")?;
    let parts = url::management(&url).ok()?;
    if ca_file.is_some() && parts.scheme != "https" {
        notes.add(
            section.place("ca_file"),
            "`management.ca_file` is of use only with TLS, and the URL begins with http://",
            "begin the URL with https://, or leave `ca_file` out",
        );
    }
    let inline = url::userinfo(&url)?;
    let password = password(section, inline.password, parts.loopback(), around, notes)?;
    Some(Management {
        url: super::without_userinfo(&url)
            .trim_end_matches('/')
            .to_owned(),
        user: inline.user,
        password: Secret::new(password),
        ca_file,
    })
}

/// The password, from the one place where it is.
fn password(
    section: Section<'_>,
    inline: Option<String>,
    loopback: bool,
    around: &Around<'_>,
    notes: &mut Notes,
) -> Option<String> {
    let written = |way: &str| section.table.get(way).is_some();
    let given = usize::from(inline.is_some())
        + usize::from(written("password_file"))
        + usize::from(written("password_env"));
    if given != 1 {
        let what = match given {
            0 => "`management` has no password",
            _ => "`management` says in two places what the password is",
        };
        let help = "name a file by `password_file`, or a variable by `password_env`; in the URL it may stand only for loopback";
        notes.add(section.place("url"), what, help);
        return None;
    }
    if let Some(inline) = inline {
        if !loopback && matches!(section.place("url"), Place::Bytes(_)) {
            notes.add(
                section.place("url"),
                "`management.url` holds a password, and the API is not on this machine",
                "leave it out of the URL, and name a file by `password_file` or a variable by `password_env`",
            );
        }
        return Some(inline);
    }
    let (way, read) = if written("password_file") {
        let path: PathBuf = section.get("password_file")?;
        let read = from_file(&around.folder.join(path), WHAT);
        ("password_file", read)
    } else {
        let name: String = section.get("password_env")?;
        let read = from_variable(&name, around.environment, WHAT);
        ("password_env", read)
    };
    read.map_err(|why| notes.add_sentence(section.place(way), &format!("management.{way}"), &why))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SMALL, with};

    fn check(section: &str, expected: Result<(&str, &str, &str), &str>) {
        let text = format!("{SMALL}[management]\n{section}\n");
        let read = with(&text, &[("RABBIT", "canary")]);
        match (read, expected) {
            (Ok(read), Ok((url, user, password))) => {
                let read = read.management.unwrap();
                let said = (&*read.url, &*read.user, read.password.expose());
                assert_eq!(said, (url, user, password), "{section}");
            }
            (Err(problems), Err(part)) => {
                let said = problems.to_string();
                assert!(said.contains(part), "{section}: {said}");
                assert!(!said.contains("canary"), "{section}: {said}");
            }
            (read, _) => panic!("{section}: {read:?}"),
        }
    }

    #[test]
    fn the_password_is_in_one_place_and_never_shown() {
        let fine = Ok(("http://127.0.0.1:15672", "gate", "canary"));
        check("url = 'http://gate:canary@127.0.0.1:15672/'", fine);
        check(
            "url = 'http://gate@127.0.0.1:15672'\npassword_env = 'RABBIT'",
            fine,
        );
        check(
            "url = 'https://g%40te@rabbit.example/api-of-mine'\npassword_env = 'RABBIT'",
            Ok(("https://rabbit.example/api-of-mine", "g@te", "canary")),
        );
        check(
            "url = 'https://gate:canary@rabbit.example'",
            Err("not on this machine"),
        );
        check("url = 'http://gate@127.0.0.1'", Err("has no password"));
        check(
            "url = 'http://127.0.0.1'\npassword_env = 'RABBIT'",
            Err("names no user"),
        );
        check(
            "url = 'http://gate:canary@127.0.0.1'\npassword_env = 'RABBIT'",
            Err("in two places"),
        );
        check(
            "url = 'http://gate@127.0.0.1'\npassword_env = 'NOBODY'",
            Err("is not set"),
        );
        check(
            "url = 'amqp://gate:canary@127.0.0.1'",
            Err("neither http:// nor https://"),
        );
        check("url = 'http://gate:canary@127.0.0.1?x=1'", Err("`?`"));
        check(
            "url = 'http://gate:canary@127.0.0.1'\nca_file = 'Cargo.toml'",
            Err("`management.ca_file`"),
        );
        check(
            "password_env = 'RABBIT'",
            Err("`management.url` is missing"),
        );
    }

    #[test]
    fn without_the_section_there_is_none() {
        assert!(with(SMALL, &[]).unwrap().management.is_none());
    }
}
