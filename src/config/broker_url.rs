//! The broker's URL, which is a secret: from the file (without a password, or for this machine), from a file of its own, or
//! from a variable of the environment.

use std::path::PathBuf;

use super::build::{Around, Section};
use super::list::URL_WAYS;
use super::problems::Notes;
use super::secret::{Secret, from_file, from_variable};
use super::tree::Place;
use super::url;

/// What the secret is, for people.
const WHAT: &str = "the broker's URL";

/// The broker, as far as other settings ask for it.
pub(super) struct Broker {
    pub(super) url: Secret,
    pub(super) vhost: String,
    pub(super) tls: bool,
}

/// Reads the URL from the one place where it is.
pub(super) fn read(amqp: Section<'_>, around: &Around<'_>, notes: &mut Notes) -> Option<Broker> {
    let given: Vec<&str> = URL_WAYS
        .into_iter()
        .filter(|way| amqp.table.get(way).is_some())
        .collect();
    let way = match given.as_slice() {
        [way] => *way,
        [] => {
            // Without the section the walk has said so.
            if *amqp.place != Place::Whole {
                let help = "add `url = \"amqp://127.0.0.1:5672/%2f\"`, or `url_file` or `url_env` when there is a password";
                notes.add(amqp.place, "`amqp` does not say where the broker is", help);
            }
            return None;
        }
        [first, second, ..] => {
            let what = format!("`amqp.{first}` and `amqp.{second}` both say where the broker is");
            notes.add(amqp.place(second), what, "leave one of them out");
            return None;
        }
    };
    let written: String = amqp.get(way)?;
    let place = amqp.place(way);
    let url = match way {
        "url_file" => noting(
            place,
            way,
            from_file(&around.folder.join(PathBuf::from(written)), WHAT),
            notes,
        )?,
        "url_env" => noting(
            place,
            way,
            from_variable(&written, around.environment, WHAT),
            notes,
        )?,
        _ => written,
    };
    let parts = match url::broker(&url) {
        Ok(parts) => parts,
        // What stands in `url` itself was checked by the walk.
        Err(why) if way != "url" => return noting(place, way, Err(why), notes),
        Err(_) => return None,
    };
    let in_file = way == "url" && matches!(place, Place::Bytes(_));
    if in_file && parts.password && !parts.loopback() {
        let help = "put the URL into a file that only the daemon may read, and name it by `url_file`; or name a variable by `url_env`";
        notes.add(
            place,
            "`amqp.url` holds a password, and the broker is not this machine",
            help,
        );
    }
    Some(Broker {
        vhost: url::vhost(&parts).ok()?,
        tls: parts.scheme == "amqps",
        url: Secret::new(url),
    })
}

fn noting<T>(place: &Place, way: &str, read: Result<T, String>, notes: &mut Notes) -> Option<T> {
    read.map_err(|why| notes.add_sentence(place, &format!("amqp.{way}"), &why))
        .ok()
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::read;

    const URL: &str = "amqps://user:canary@broker.example/%2f";

    /// What comes of a configuration beside a secret file of these bytes and this mode.
    fn outcome(secret: &[u8], mode: u32) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broker.url");
        std::fs::write(&path, secret).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let file = folder.path().join("sluicegate.toml");
        let text = "[amqp]\nurl_file = 'broker.url'\n[[queue]]\nname = 'q'\ntarget.handler = 'x'\n";
        std::fs::write(&file, text).unwrap();
        let settings = read(&file, &std::collections::BTreeMap::new());
        settings
            .map(|read| read.amqp.url.expose().to_owned())
            .map_err(|problems| format!("{problems}{problems:?}"))
    }

    #[test]
    fn a_secret_file_beside_the_configuration_is_read_and_trimmed() {
        for mode in [0o600, 0o640, 0o400] {
            assert_eq!(
                outcome(format!(" {URL}\n").as_bytes(), mode),
                Ok(URL.to_owned())
            );
        }
    }

    #[test]
    fn a_bad_secret_file_is_refused_without_a_word_of_what_is_in_it() {
        let long = format!("amqp://user:canary@{}", "h".repeat(70_000));
        for (secret, mode, part) in [
            (URL.as_bytes(), 0o644, "chmod o-rwx"),
            (URL.as_bytes(), 0o602, "chmod o-rwx"),
            (b" \n", 0o600, "is empty"),
            (b"amqp://canary\xff", 0o600, "not UTF-8"),
            (long.as_bytes(), 0o600, "is too long"),
            (b"canary", 0o600, "no `://`"),
            (b"http://user:canary@h", 0o600, "neither amqp:// nor"),
            (b"amqp://user:can\nary@h", 0o600, "character"),
        ] {
            let told = outcome(secret, mode).unwrap_err();
            assert!(told.contains(part), "awaited {part:?}: {told}");
            assert!(
                told.contains("sluicegate.toml:2:12: `amqp.url_file`: "),
                "{told}"
            );
            assert!(!told.contains("canary"), "{told}");
        }
    }
}
