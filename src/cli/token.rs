//! `token new`: draws a secret, prints it once, and the table that makes the daemon know it. Asks no daemon. May import `rules`.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng;
use rand::rngs::SysRng;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::failure::{Exit, Failure};
use super::grammar::NewToken;
use super::session::Session;
use crate::rules::access::SECRET_PREFIX;
use crate::rules::names::Glob;

/// `token new`
pub(super) fn new(session: &mut Session<'_>, asked: &NewToken) -> Result<(), Failure> {
    let mut bits = [0_u8; 32];
    SysRng.try_fill_bytes(&mut bits).map_err(|why| {
        Failure::new(
            Exit::Failed,
            format!("this machine has no randomness to give: {why}"),
        )
    })?;
    let secret = format!("{SECRET_PREFIX}{}", URL_SAFE_NO_PAD.encode(bits));
    let expires = asked.lasting.map(|lasting| {
        let at_ms = session.now_ms.saturating_add(lasting.as_millis());
        let at = jiff::Timestamp::from_millisecond(at_ms.div_euclid(1_000).saturating_mul(1_000));
        at.unwrap_or(jiff::Timestamp::MAX).to_string()
    });
    let sha256 = hex(&Sha256::digest(&secret));
    let table = table(asked, &sha256, expires.as_deref());
    if session.json {
        let whole = json!({"name": asked.name, "secret": secret, "sha256": sha256, "expires": expires, "table": table});
        session.console.data(&whole.to_string());
        return Ok(());
    }
    session.console.say("The secret comes first and is shown this once: hand it over as SLUICEGATE_TOKEN. The table is for the file");
    session
        .console
        .say("of the daemon, which reads it again on SIGHUP (systemctl reload sluicegate).");
    session.console.data(&format!("{secret}\n\n{table}"));
    Ok(())
}

/// The table for the file.
fn table(asked: &NewToken, sha256: &str, expires: Option<&str>) -> String {
    let mut table = format!(
        "[[token]]\nname = {}\nrole = \"{}\"\n",
        quoted(&asked.name),
        asked.role
    );
    for (setting, globs) in [("queues", &asked.queues), ("flags", &asked.flags)] {
        if !globs.is_empty() {
            let names = globs
                .iter()
                .map(|glob: &Glob| quoted(&String::from(glob.clone())));
            let _ = writeln!(
                table,
                "{setting} = [{}]",
                names.collect::<Vec<_>>().join(", ")
            );
        }
    }
    let _ = write!(table, "sha256 = \"{sha256}\"");
    if let Some(expires) = expires {
        let _ = write!(table, "\nexpires = \"{expires}\"");
    }
    table
}

/// Visible ASCII as TOML writes it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, read_text};
    use crate::rules::access::{Role, is_secret};

    #[test]
    fn the_table_is_what_the_file_takes() {
        let asked = NewToken {
            name: "a\"na\\".to_owned(),
            role: Role::Operator,
            queues: vec!["orders".parse().unwrap(), "mail.*".parse().unwrap()],
            flags: Vec::new(),
            lasting: None,
        };
        let table = table(
            &asked,
            &hex(&Sha256::digest("x")),
            Some("2027-01-31T00:00:00Z"),
        );
        let text = format!(
            "[amqp]\nurl = 'amqp://127.0.0.1'\n[[queue]]\nname = 'orders'\ntarget.handler = 'x'\n{table}\n"
        );
        let read =
            read_text("x.toml", &text, &Environment::new()).unwrap_or_else(|why| panic!("{why}"));
        let token = &read.tokens[0];
        assert_eq!(
            (token.name.as_str(), token.role),
            ("a\"na\\", Role::Operator)
        );
        assert!(token.scope.has_queue("mail.eu") && token.expires_ms.is_some());
        assert_eq!(token.sha256.0.as_slice(), Sha256::digest("x").as_slice());
        let secret = format!("{SECRET_PREFIX}{}", URL_SAFE_NO_PAD.encode([255; 32]));
        assert!(is_secret(secret.as_bytes()));
    }
}
